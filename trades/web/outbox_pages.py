"""One publication, and what people do with the outbox: send now or again, and cancel for a reason."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_safe

from trades import outbox, payloads
from trades.models import AuditEntry, Publication
from trades.quarantine import who
from trades.web import outbox_list, words
from trades.web.access import PUBLISH, SEE, needs
from trades.web.deeds import DeedForm
from trades.web.settling import actor_of
from trades.web.texts import START
from trades.web.xml_view import XmlView, start_view, xml_view

MOST = 200
MOST_ATTEMPTS = 50
LONGEST_KEY = 18  # digits
SEEN = re.compile(r"[0-9]{1,18}\.[A-Z]+")
NO_REASON = "Say why. The reason is kept with the publication."
SIGNED_OUT = "You were signed out, and nothing was done. Tick the publications again."
State = Publication.State


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that can be done to publications: the button's verb, the states it is for, what it does, whether a reason is needed."""

    verb: str
    states: frozenset[str]
    effect: str
    needs_reason: bool


DEEDS = {
    "send": Deed(
        "Send",
        frozenset({State.PENDING, State.SENT}),
        "Those that wait are tried at once. Those that were sent already go again, as the same publication under a new deduplication "
        "id, and behind later messages of their groups: a portal that has them acknowledges them without effect, another receiver may "
        "take them twice.",
        False,
    ),
    "cancel": Deed(
        "Cancel",
        frozenset({State.PENDING}),
        "They are never sent. What waits behind them in their groups goes out without them: cancel a booking, and its update arrives "
        "first.",
        True,
    ),
}


@dataclass(frozen=True, slots=True)
class Ticked:
    """The publications that an address or a form names, in the order of the outbox, and what was seen of each. `complaint` is a
    sentence where nothing can be done with them."""

    rows: Sequence[Publication]
    seen: dict[int, str]
    left_out: int = 0
    complaint: str = ""

    @property
    def keys(self) -> list[str]:
        """The publications and what was seen of each, as a form carries them."""
        return [f"{row.pk}:{self.seen[row.pk]}" for row in self.rows]


@needs(SEE)
@require_safe
def publication(request: HttpRequest, publication_id: uuid.UUID) -> HttpResponse:
    """One publication: what it is, every attempt to send it, and what people did with it."""
    row = Publication.objects.select_related("document", "payload").defer("document__content").filter(publication_id=publication_id).first()
    if row is None:
        raise Http404("There is no such publication in the outbox.")
    now, entries = timezone.now(), AuditEntry.objects.filter(publication=row).select_related("user").order_by("-id")
    context = {
        "publication": row,
        "badge": outbox_list.badge_of(row),
        "facts": _facts(row),
        "xml": _text(row),
        "text_size": filesizeformat(row.payload.size if row.payload else len(row.body.encode())),
        "failures": [(words.full_tag(one.at), one.error) for one in row.failures.order_by("-id")[:MOST_ATTEMPTS]],
        "entries": [(words.full_tag(entry.at), who(entry), entry.get_action_display(), entry.note) for entry in entries[:MOST_ATTEMPTS]],
        "warning": _warning(row, now),
        "may_act": request.user.has_perm(PUBLISH) and row.state != State.CANCELLED,
        "is_sent": row.state == State.SENT,
    }
    return render(request, "trades/publication.html", context)


@needs(SEE)
@needs(PUBLISH)
@require_http_methods(["GET", "HEAD", "POST"])
def outbox_act(request: HttpRequest) -> HttpResponse:
    """Ask before the ticked publications are sent or cancelled; then do it, and say what became of them."""
    if request.method != "POST" and not request.GET:
        messages.warning(request, SIGNED_OUT)
        return redirect("outbox")
    params = request.POST if request.method == "POST" else request.GET
    form = DeedForm(params, DEEDS, NO_REASON)
    is_valid = form.is_valid()
    name = form.cleaned_data.get("act") or next(iter(DEEDS))
    chosen = ticked(params, DEEDS[name])
    if request.method == "POST" and is_valid and not chosen.complaint:
        return _done(request, name, chosen, form)
    is_wrong = bool(chosen.complaint) or (request.method == "POST" and not is_valid)
    return _asking(request, name, chosen, form if request.method == "POST" else None, status=422 if is_wrong else 200)


def ticked(params: QueryDict, deed: Deed) -> Ticked:
    """What the parameters `p` name: "12", or "12:7.SENT" for a publication that was seen at this revision. Two queries."""
    named = dict(pair for text in params.getlist("p") if (pair := _named(text)))
    if len(named) > MOST:
        return Ticked([], {}, complaint=f"{len(named):,} publications are ticked. Take at most {MOST} at once.")
    rows = list(Publication.objects.filter(pk__in=named).defer("body", "document__content").select_related("document").order_by("pk"))
    revisions = outbox.revisions(rows)
    seen = {pk: revision if (stated := named[pk]) is None else stated for pk, revision in revisions.items()}
    # One that changed since it was seen is not left out in silence: acting on it says what changed.
    fitting = [row for row in rows if row.state in deed.states or named[row.pk] is not None]
    complaint = "" if fitting else "No publication is ticked that this could be done with. Go back to the list, which shows how they stand."
    return Ticked(fitting, seen, len(rows) - len(fitting), complaint)


def _named(text: str) -> tuple[int, str | None] | None:
    key, colon, seen = text.partition(":")
    if not key.isdecimal() or len(key) > LONGEST_KEY or (colon and not SEEN.fullmatch(seen)):
        return None
    return int(key), seen if colon else None


def _asking(
    request: HttpRequest, name: str, chosen: Ticked, form: DeedForm | None, *, conflict: str = "", status: int = 200
) -> HttpResponse:
    now = timezone.now()
    context: dict[str, Any] = {
        "act": name,
        "deed": DEEDS[name],
        "chosen": chosen,
        "rows": outbox_list.listed(chosen.rows, now),
        "button": f"{DEEDS[name].verb} {words.plural(len(chosen.rows), 'publication')}",
        "form": form,
        "conflict": conflict,
        "may_ask": not chosen.complaint and (not conflict or _is_as_seen(chosen)),
    }
    return render(request, "trades/outbox_act.html", context, status=status)


def _is_as_seen(chosen: Ticked) -> bool:
    """Whether nothing has become of the publications since they were seen, so that the same can be asked for once more. Two queries."""
    rows = Publication.objects.filter(pk__in=[row.pk for row in chosen.rows]).only("pk", "state")
    return outbox.revisions(rows) == {row.pk: chosen.seen[row.pk] for row in chosen.rows}


def _done(request: HttpRequest, name: str, chosen: Ticked, form: DeedForm) -> HttpResponse:
    pks, actor, reason = [row.pk for row in chosen.rows], actor_of(request), form.cleaned_data["reason"]
    try:
        if name == "cancel":
            cancelled = outbox.cancel(pks, actor=actor, reason=reason, clock=timezone.now, seen=chosen.seen)
            messages.success(request, f"{words.plural(len(cancelled.publications), 'publication')} cancelled.")
            if cancelled.warning:
                messages.warning(request, cancelled.warning)
            return redirect("outbox")
        resent = outbox.resend(pks, actor=actor, reason=reason, clock=timezone.now, seen=chosen.seen)
    except outbox.Conflict as conflict:
        return _asking(request, name, chosen, form, conflict=str(conflict), status=409)
    sent = sum(row.state == State.SENT for row in resent.publications)
    title = f"Sent: {sent:,} of {words.plural(len(resent.publications), 'publication')}"
    told = [
        (reverse("publication", args=[row.publication_id]), sentence)
        for row, sentence in zip(resent.publications, resent.sentences, strict=False)
    ]
    context = {"title": title, "told": told, "problems": resent.problems, "all_well": sent == len(resent.publications)}
    return render(request, "trades/outbox_done.html", context)


def _warning(row: Publication, now: datetime) -> str:
    is_near = row.state == State.PENDING and row.uncertain_since is not None and now - row.uncertain_since >= outbox.NEAR
    return outbox.horizon_warning(1) if is_near else ""


def _text(row: Publication) -> XmlView:
    """The text to send; of a large one the start."""
    if row.payload is None:
        return xml_view(row.body)
    size = words.plural(row.payload.size, "byte")
    note = format_html("The text has {}; these are the first {}. The document has all of it.", size, f"{START:,}")
    return start_view(payloads.start_of(row, START), note)


def _document(row: Publication) -> SafeString:
    """The file that it came in, to save."""
    document = row.document
    part = f", message {row.part} of it" if row.part > 1 else ""
    if not document.size:
        return format_html("{}{}", document.name, part)
    href = reverse("document_original", args=[document.upload_id, document.pk])
    return format_html('<a href="{}" download>{}</a>{}', href, document.name, part)


def _facts(row: Publication) -> list[tuple[str, SafeString | str, bool]]:
    """What is known of it: (name, value, whether it is an id)."""
    facts: list[tuple[str, SafeString | str, bool]] = [
        ("Publication id", str(row.publication_id), True),
        ("Document", _document(row), False),
        ("Queue", row.queue, True),
        ("Route", row.route, False),
        ("Message group", row.group_id, True),
        ("Deduplication id", row.deduplication_id or "none: SQS takes the SHA-256 of the body", bool(row.deduplication_id)),
        ("Size", f"{row.size:,} bytes with its attributes" if row.size else "", False),
        ("Trace context", row.traceparent, True),
        ("Attempts", f"{row.attempts:,}", False),
        ("Last error", row.last_error, False),
        ("Perhaps in the queue since", words.full_tag(row.uncertain_since) if row.uncertain_since else "", False),
        ("Sent", words.full_tag(row.sent_at) if row.sent_at else "", False),
        ("MessageId", row.message_id, True),
        ("MD5OfMessageBody", row.md5, True),
        ("SequenceNumber", row.sequence_number, True),
        ("Body sent", row.pointer, True),
    ]
    return [fact for fact in facts if fact[1]]
