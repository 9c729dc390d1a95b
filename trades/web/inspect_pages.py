"""Try a document out: what the portal would make of it, by which rules, with a mapping of one's own if there is one. Stores nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods

from trades import dialects, payloads
from trades.messages import LargeText, MappingError, MessageRefused, Registry, inspection, to_text, write_text
from trades.messages.inspection import Facts
from trades.messages.large import HELD
from trades.messages.mapping import Dialect
from trades.messages.registry import FOLDER
from trades.messages.tracing import MAX_ITEMS, ItemMatches, trace
from trades.web import texts, words
from trades.web.access import INSPECT, SEE, check, needs
from trades.web.message_view import existing
from trades.web.upload_form import PASTED_NAME
from trades.web.xml_view import XmlView, start_view, xml_view

MAPPING_NAME = "pasted mapping"
MOST_MAPPING = 256 * 1024  # characters
SHOWN_AGAIN = 300_000  # characters of a file that are put into the form, to be tried again with another mapping
TONES = {"event": "ok", "snapshot": "ok", "reference": "info", "no_trade_id": "warn", "private": "warn"}
WORDS = {"private": "Unknown format, seems to carry trades"}
ICONS = {"ok": "circle-check", "info": "file-text", "warn": "triangle-alert", "bad": "circle-x"}


class InspectForm(forms.Form):
    """A document, and a mapping file to read it with. After `is_valid`, `document` or `large`, and `name`, are what to look at."""

    sample_file = forms.FileField(required=False, allow_empty_file=True)
    sample = forms.CharField(required=False, strip=False)
    mapping = forms.CharField(
        required=False,
        strip=False,
        max_length=MOST_MAPPING,
        error_messages={"max_length": "A mapping may have %(limit_value)d characters."},
    )

    document: bytes | None = None
    large: UploadedFile[Any] | None = None  # a file that is not held in memory, in place of a document
    name: str = ""

    @property
    def limit(self) -> str:
        """How large a document may be, in words."""
        return f"Up to {filesizeformat(settings.TRADES_MAX_DOCUMENT_BYTES)}."

    def clean(self) -> dict[str, Any]:
        """Take the file if there is one, else what was pasted."""
        file: UploadedFile[Any] | None = self.cleaned_data.get("sample_file")
        pasted: str = self.cleaned_data.get("sample") or ""
        if file is not None and (file.size or 0) > settings.TRADES_MAX_DOCUMENT_BYTES:
            self.add_error("sample_file", f"{file.name} has {filesizeformat(file.size or 0)}. {self.limit}")
        elif file is not None and (file.size or 0) > HELD:
            self.large, self.name = file, file.name or "file"
        elif file is not None:
            self.document, self.name = file.read(), file.name or "file"
        elif pasted.strip():
            # The mark says that it is UTF-8, whatever its declaration says.
            self.document, self.name = pasted.encode("utf-8-sig", errors="replace"), PASTED_NAME
        elif not self.errors:
            self.add_error("sample", "Paste a document, or choose a file.")
        return self.cleaned_data


@dataclass(frozen=True, slots=True)
class Part:
    """One message of the document: what it is, what is wrong with it, and the rules that matched."""

    heading: str
    badge: words.Badge
    facts: Facts
    place: str
    found: ItemMatches | None
    warnings: Sequence[str] = ()


@needs(INSPECT)
@require_http_methods(["GET", "HEAD", "POST"])
def inspect(request: HttpRequest) -> HttpResponse:
    """The form, and below it what the portal would make of the document."""
    check(request, SEE)
    asked, too_large = _asked(request)
    form = InspectForm(request.POST, request.FILES) if request.method == "POST" else InspectForm(initial=asked)
    context: dict[str, Any] = {"form": form, "faults": dialects.faults(), "mapping_faults": (), "too_large": too_large}
    if form.is_bound and form.is_valid():
        try:
            with _document_of(form) as document:
                context |= _inspected(document, form.name, _registry(form.cleaned_data["mapping"]))
        except MessageRefused as refusal:
            form.add_error("sample_file", str(refusal))
        except MappingError as error:
            context["mapping_faults"] = error.args
    wrong = bool(form.errors or context["mapping_faults"])
    context["sample"] = context.get("text") or form["sample"].value() or ""
    return render(request, "trades/inspect.html", context, status=422 if wrong else 200)


def _asked(request: HttpRequest) -> tuple[dict[str, str], SafeString | str]:
    """The message of the portal that an address names, as the document to look at; of one that is too large for the form a sentence."""
    key = request.GET.get("message", "")
    if not key.isdecimal() or len(key) > 18:
        return {}, ""
    message = existing(int(key))
    if not texts.is_large(message):
        return {"sample": message.body}, ""
    size, raw = words.plural(message.size, "byte"), reverse("message_raw", args=[message.pk])
    sentence = 'Message {} has {}, too many for this form. <a href="{}" download>Download it</a> and choose it as a file.'
    return {}, format_html(sentence, message.pk, size, raw)


@contextmanager
def _document_of(form: InspectForm) -> Iterator[bytes | LargeText]:
    """What to look at, for the time of the block. Raises MessageRefused for a large file that is no text."""
    if form.large is None:
        yield form.document or b""
        return
    with payloads.spool() as path:
        yield write_text(form.large.chunks(), path, max_bytes=settings.TRADES_MAX_DOCUMENT_BYTES)


def _registry(mapping: str) -> Registry:
    if not mapping.strip():
        return dialects.in_use()
    return dialects.in_use().with_dialect(Dialect(mapping, MAPPING_NAME, FOLDER / "schemas"))


def _inspected(document: bytes | LargeText, name: str, registry: Registry) -> dict[str, Any]:
    most = settings.TRADES_MAX_DOCUMENT_BYTES
    facts = inspection.inspect(document, name, registry=registry, max_bytes=most)
    parts: Sequence[Facts] = facts.get("events", [facts])
    found = trace(document, registry=registry, max_bytes=most)
    text = _text_of(document)
    error = next((part["error"] for part in parts if "error" in part), None)
    return {
        "facts": facts,
        "title": _title(facts),
        "badge": _badge(facts),
        "parts": [_part(part, number, len(parts), found) for number, part in enumerate(parts[:MAX_ITEMS], 1)],
        "left_out": max(0, len(parts) - MAX_ITEMS),
        "json": json.dumps(facts, ensure_ascii=False, indent=2)[:SHOWN_AGAIN],
        "xml": _xml_of(document, text, error["line"] if error else None),
        "text": text if len(text) <= SHOWN_AGAIN and isinstance(document, bytes) else "",
    }


def _part(facts: Facts, number: int, count: int, found: Sequence[ItemMatches]) -> Part:
    error = facts.get("error")
    matches = found[number - 1] if number <= len(found) else None
    alone = "What the mapping found" if matches else "What was found"
    heading = f"Message {number} of {count}" if count > 1 else alone
    place = words.place(error["line"], error["column"]) if error else ""
    return Part(heading, _badge(facts), facts, place, matches, _warnings(facts, is_alone=count == 1))


def _warnings(facts: Facts, *, is_alone: bool) -> list[str]:
    """What was remarked on a message and on each of its events; of the only message, its own stands above already."""
    told = [] if is_alone else list(facts["warnings"])
    told += (warning for event in facts.get("events", ()) for warning in event["warnings"])
    return list(dict.fromkeys(told))


def _title(facts: Facts) -> str:
    read_as = ", ".join(text for text in (facts["message_type"], facts["dialect"]) if text)
    return f"{facts['file']} is {inspection.WORDS[facts['expect']]}" + (f": {read_as}." if read_as else ".")


def _badge(facts: Facts) -> words.Badge:
    tone = "bad" if "error" in facts and facts["expect"] in ("event", "snapshot") else TONES.get(facts["expect"], "bad")
    word = WORDS.get(facts["expect"]) or facts["expect"].replace("_", " ").capitalize()
    return words.Badge("Refused" if tone == "bad" and facts["expect"] == "event" else word, tone, ICONS[tone])


def _xml_of(document: bytes | LargeText, text: str, marked: int | None) -> XmlView:
    if isinstance(document, bytes):
        return xml_view(text, marked=marked)
    note = f"The document has {words.plural(document.size, 'byte')}; these are the first {texts.START:,}."
    return start_view(text, note, marked=marked)


def _text_of(document: bytes | LargeText) -> str:
    """The text, of a large one the start."""
    if isinstance(document, LargeText):
        with document.path.open("rb") as file:
            return file.read(texts.START).decode("utf-8", "ignore")
    try:
        return to_text(document)
    except MessageRefused:
        return document.decode("utf-8", errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
