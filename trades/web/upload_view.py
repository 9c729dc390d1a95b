"""What the upload pages show: per document what was understood or refused, per message how far it got."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import Aggregate, Count, Max, Q
from django.urls import reverse
from django.utils.safestring import SafeString

from trades.models import Document, Event, Message, Publication, Refusal, Upload
from trades.publishing import REFERENCE
from trades.web import words
from trades.web.trade_view import event_address, message_address
from trades.web.words import Badge
from trades.web.xml_view import Excerpt, excerpt

FILES_PER_PAGE = 200
# Showing the line of an error reads the document again, so only of so many, and none that is large.
MOST_EXCERPTS = 20
EXCERPT_FROM_UP_TO = 512 * 1024  # bytes
PARTS_SHOWN = 100  # messages of one file


@dataclass(frozen=True, slots=True)
class PublishedMessage:
    """One message of a document: what it says, its receipt, and how far it got."""

    part: int
    publication: Publication
    badge: Badge
    progress: str
    links: list[tuple[str, str]]
    key: str


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """Why a document, or one message of it, was not published."""

    part: int
    badge: Badge
    place: str
    reason: str
    excerpt: Excerpt | None


@dataclass(slots=True)
class File:
    """One document of the upload. Of one with very many messages a window is shown, from the part `first` on."""

    document: Document
    parts: int
    first: int = 1
    published: int = 0
    refused: int = 0
    messages: list[PublishedMessage | RefusedMessage] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The last part of the window."""
        return min(self.first + PARTS_SHOWN - 1, self.parts)

    @property
    def earlier(self) -> int:
        """Where the window before this one starts, 0 if there is none."""
        return max(1, self.first - PARTS_SHOWN) if self.first > 1 else 0

    @property
    def later(self) -> int:
        """Where the window after this one starts, 0 if there is none."""
        return self.last + 1 if self.last < self.parts else 0


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over the whole upload, not only the page of it that is shown."""

    documents: int
    messages: int
    sent: int
    arrived: int
    quarantined: int
    held: int
    refused: int
    reference: int

    @property
    def has_arrived(self) -> bool:
        """Whether every published message has come out of the queue."""
        return self.arrived >= self.messages

    @property
    def settled(self) -> int:
        """How many messages came out of the queue and wait for nothing more."""
        return self.arrived - self.quarantined - self.held

    @property
    def is_settled(self) -> bool:
        """Whether no published message waits for anything."""
        return self.settled >= self.messages

    @property
    def sentence(self) -> str:
        """The counts in words."""
        parts = [words.plural(self.documents, "file"), f"{words.plural(self.messages, 'message')} published"]
        if self.messages:
            parts.append(f"{self.settled:,} settled")
        if self.quarantined:
            parts.append(f"{self.quarantined:,} in quarantine")
        if self.held:
            parts.append(f"{self.held:,} held")
        if self.refused:
            parts.append(f"{self.refused:,} refused")
        if self.reference:
            parts.append(f"{self.reference:,} kept as reference")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """One upload as the list shows it."""

    pk: int
    href: str
    when: SafeString
    age: SafeString
    who: str
    source: str
    documents: int
    messages: int
    unsent: int
    refused: int


def listed(uploads: Sequence[Upload], now: datetime) -> list[ListedUpload]:
    """Uploads with their counts. Three queries however many there are."""
    pks = [upload.pk for upload in uploads]
    documents = _counts(Document.objects.filter(upload__in=pks), "upload")
    messages = _counts(Publication.objects.filter(document__upload__in=pks), "document__upload", unsent=Q(state="PENDING"))
    refused = _counts(Refusal.objects.filter(document__upload__in=pks).exclude(code=REFERENCE), "document__upload")
    return [
        ListedUpload(
            pk=upload.pk,
            href=reverse("upload", args=[upload.pk]),
            when=words.full_tag(upload.created_at),
            age=words.age_tag(upload.created_at, now),
            who=who(upload),
            source=upload.get_source_display(),
            documents=documents[upload.pk]["n"],
            messages=messages[upload.pk]["n"],
            unsent=messages[upload.pk]["unsent"],
            refused=refused[upload.pk]["n"],
        )
        for upload in uploads
    ]


def _counts(rows: Any, by: str, **further: Q | Aggregate) -> dict[int, dict[str, int]]:
    counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    extra = {name: Count("pk", filter=asked) if isinstance(asked, Q) else asked for name, asked in further.items()}
    for row in rows.order_by().values(by).annotate(n=Count("pk"), **extra):
        counts[row[by]] = row
    return counts


def who(upload: Upload) -> str:
    """Who handed the documents in."""
    return upload.created_by.get_username() if upload.created_by else "command line"


def context_of(upload: Upload, params: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The context of the upload page. The number of queries does not depend on the number of files or messages.

    `params` may name the page of files, and with `file` and `from` one file and the part its messages are shown from.
    """
    documents = Document.objects.filter(upload=upload).defer("content").order_by("pk")
    page = Paginator(documents, FILES_PER_PAGE).get_page(params.get("page", "1"))
    # Counted before the rows are read: what arrives meanwhile shows in a row, and the count follows when the page asks again.
    totals = _totals(upload, page.paginator.count)
    files = _files(list(page), params)
    keys = _add_messages(files)
    _add_refusals(files)
    for file in files.values():
        file.messages.sort(key=lambda message: message.part)
    version = hashlib.sha256(repr((totals, keys)).encode()).hexdigest()[:16]
    return {
        "upload": upload,
        "who": who(upload),
        "when": words.full_tag(upload.created_at),
        "age": words.age_tag(upload.created_at, now),
        "page": page,
        "files": list(files.values()),
        "totals": totals,
        "version": version,
        "here": urlencode({name: params[name] for name in ("file", "from") if name in params} | {"page": page.number}),
    }


def _files(documents: Sequence[Document], params: Mapping[str, str]) -> dict[int, File]:
    """The documents of the page with the number of their messages, and the window that is open. Two queries."""
    published = _counts(Publication.objects.filter(document__in=documents), "document", last=Max("part"))
    refused = _counts(Refusal.objects.filter(document__in=documents), "document", last=Max("part"))
    files = {}
    for document in documents:
        counts = published[document.pk], refused[document.pk]
        parts = max((count["last"] or 0 for count in counts), default=0)
        first = params.get("from", "") if params.get("file") == str(document.pk) else ""
        at = int(first) if first.isascii() and first.isdigit() and len(first) < 10 else 1
        files[document.pk] = File(document, parts, min(max(at, 1), max(parts, 1)), counts[0]["n"], counts[1]["n"])
    return files


def _in_window(files: Mapping[int, File]) -> Q:
    """The rows of the parts that are shown."""
    moved = [file for file in files.values() if file.first > 1]
    window = Q(document__in=[pk for pk, file in files.items() if file.first == 1], part__lte=PARTS_SHOWN)
    for file in moved:
        window |= Q(document=file.document, part__range=(file.first, file.last))
    return window


def _totals(upload: Upload, documents: int) -> Totals:
    publications = Publication.objects.filter(document__upload=upload)
    sent = publications.aggregate(all=Count("pk"), sent=Count("pk", filter=Q(state=Publication.State.SENT)))
    arrived = Message.objects.filter(publication_id__in=publications.values("publication_id")).aggregate(
        all=Count("pk"),
        quarantined=Count("pk", filter=Q(outcome=Message.Outcome.QUARANTINED)),
        held=Count("pk", filter=Q(outcome=Message.Outcome.HELD)),
    )
    refused = Refusal.objects.filter(document__upload=upload).aggregate(all=Count("pk"), known=Count("pk", filter=Q(code=REFERENCE)))
    return Totals(
        documents=documents,
        messages=sent["all"],
        sent=sent["sent"],
        arrived=arrived["all"],
        quarantined=arrived["quarantined"],
        held=arrived["held"],
        refused=refused["all"] - refused["known"],
        reference=refused["known"],
    )


def _add_messages(files: dict[int, File]) -> list[str]:
    """Put the published messages into their files; gives what of it can change."""
    publications = list(Publication.objects.filter(_in_window(files)).defer("body").order_by("pk"))
    arrived = {
        message.publication_id: message
        for message in Message.objects.filter(publication_id__in=[row.publication_id for row in publications]).defer("body", "attributes")
    }
    events = _events_by_message([message.pk for message in arrived.values()])
    keys = []
    for publication in publications:
        message = arrived.get(publication.publication_id)
        published = _published(publication, message, events[message.pk] if message else [])
        files[publication.document_id].messages.append(published)
        keys.append(published.key)
    return keys


def _events_by_message(pks: Sequence[int]) -> dict[int, list[Event]]:
    events: dict[int, list[Event]] = defaultdict(list)
    rows = Event.objects.filter(message__in=pks).select_related("trade").only("position", "message_id", "trade__trade_id")
    for event in rows.order_by("message_id", "part"):
        events[event.message_id].append(event)
    return events


def _published(publication: Publication, message: Message | None, events: Sequence[Event]) -> PublishedMessage:
    if message is None and publication.state == Publication.State.PENDING:
        progress = f"{publication.last_error or 'Not sent yet.'} It stays in the outbox; the relay sends it when the queue answers."
        return PublishedMessage(publication.part, publication, words.WAITING, progress, [], f"p{publication.last_error}")
    if message is None:
        return PublishedMessage(publication.part, publication, words.ON_ITS_WAY, "Waiting for a worker to record it.", [], "s")
    links = [(f"event {event.position} of {event.trade.trade_id}", event_address(event)) for event in events]
    if not links:
        links = [("open the message", message_address(message))]
    return PublishedMessage(publication.part, publication, words.OUTCOMES[message.outcome], _progress(message), links, message.outcome)


def _progress(message: Message) -> str:
    outcome = Message.Outcome(message.outcome)
    if outcome is Message.Outcome.QUARANTINED:
        at = words.place(message.line, message.column)
        return f"{at}: {message.reason}" if at else message.reason
    return {
        Message.Outcome.RECORDED: "",
        Message.Outcome.DUPLICATE: "The same content is in the history already; this copy had no effect.",
        Message.Outcome.HELD: "Waits behind a quarantined message of its group.",
        Message.Outcome.DISCARDED: "Discarded.",
        Message.Outcome.REFERENCE: f"{message.reason} No trade was changed.",
    }[outcome]


def _add_refusals(files: dict[int, File]) -> None:
    refusals = list(Refusal.objects.filter(_in_window(files)).order_by("pk"))
    contents = _contents(refusals)
    for refusal in refusals:
        content = contents.get(refusal.document_id)
        shown = excerpt(content, refusal.line, refusal.column) if content is not None and refusal.line else None
        place = words.place(refusal.line, refusal.column)
        badge = words.REFERENCE if refusal.code == REFERENCE else words.REFUSED
        files[refusal.document_id].messages.append(RefusedMessage(refusal.part, badge, place, refusal.reason, shown))


def _contents(refusals: Iterable[Refusal]) -> dict[int, bytes]:
    wanted = list(dict.fromkeys(refusal.document_id for refusal in refusals if refusal.line))[:MOST_EXCERPTS]
    rows = Document.objects.filter(pk__in=wanted, size__lte=EXCERPT_FROM_UP_TO).values_list("pk", "content")
    return {pk: bytes(content) for pk, content in rows}
