"""What the upload pages show: per document what was understood or refused, per message how far it got."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.urls import reverse
from django.utils.safestring import SafeString

from trades.models import Document, Event, Message, Publication, Refusal, Upload
from trades.web import words
from trades.web.trade_view import event_address, message_address
from trades.web.words import Badge
from trades.web.xml_view import Excerpt, excerpt

FILES_PER_PAGE = 200
# Showing the line of an error reads the document again, so only of so many, and none that is large.
MOST_EXCERPTS = 20
EXCERPT_FROM_UP_TO = 512 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class PublishedMessage:
    """One message of a document: what it says, its receipt, and how far it got."""

    publication: Publication
    badge: Badge
    progress: str
    links: list[tuple[str, str]]
    key: str


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """Why a document, or one message of it, was not published."""

    part: int
    place: str
    reason: str
    excerpt: Excerpt | None


@dataclass(slots=True)
class File:
    """One document of the upload."""

    document: Document
    messages: list[PublishedMessage] = field(default_factory=list)
    refusals: list[RefusedMessage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over the whole upload, not only the page of it that is shown."""

    documents: int
    messages: int
    sent: int
    arrived: int
    quarantined: int
    refused: int

    @property
    def is_settled(self) -> bool:
        """Whether every published message has come out of the queue."""
        return self.arrived >= self.messages

    @property
    def sentence(self) -> str:
        """The counts in words."""
        parts = [words.plural(self.documents, "file"), f"{words.plural(self.messages, 'message')} published"]
        if self.messages:
            parts.append(f"{self.arrived:,} out of the queue")
        if self.quarantined:
            parts.append(f"{self.quarantined:,} in quarantine")
        if self.refused:
            parts.append(f"{self.refused:,} refused")
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
    refused = _counts(Refusal.objects.filter(document__upload__in=pks), "document__upload")
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


def _counts(rows: Any, by: str, **conditions: Q) -> dict[int, dict[str, int]]:
    counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    extra = {name: Count("pk", filter=condition) for name, condition in conditions.items()}
    for row in rows.order_by().values(by).annotate(n=Count("pk"), **extra):
        counts[row[by]] = row
    return counts


def who(upload: Upload) -> str:
    """Who handed the documents in."""
    return upload.created_by.get_username() if upload.created_by else "command line"


def context_of(upload: Upload, page_number: str, now: datetime) -> dict[str, Any]:
    """The context of the upload page. The number of queries does not depend on the number of files."""
    documents = Document.objects.filter(upload=upload).defer("content").order_by("pk")
    page = Paginator(documents, FILES_PER_PAGE).get_page(page_number)
    files = {document.pk: File(document) for document in page}
    keys = _add_messages(files)
    _add_refusals(files)
    totals = _totals(upload, page.paginator.count)
    version = hashlib.sha256(repr((totals, keys)).encode()).hexdigest()[:16]
    return {
        "upload": upload,
        "who": who(upload),
        "when": words.full_tag(upload.created_at),
        "age": words.age_tag(upload.created_at, now),
        "page": page,
        "files": list(files.values()),
        "refused_badge": words.REFUSED,
        "totals": totals,
        "version": version,
    }


def _totals(upload: Upload, documents: int) -> Totals:
    publications = Publication.objects.filter(document__upload=upload)
    sent = publications.aggregate(all=Count("pk"), sent=Count("pk", filter=Q(state=Publication.State.SENT)))
    arrived = Message.objects.filter(publication_id__in=publications.values("publication_id")).aggregate(
        all=Count("pk"), quarantined=Count("pk", filter=Q(outcome=Message.Outcome.QUARANTINED))
    )
    refused = Refusal.objects.filter(document__upload=upload).count()
    return Totals(documents, sent["all"], sent["sent"], arrived["all"], arrived["quarantined"], refused)


def _add_messages(files: dict[int, File]) -> list[str]:
    """Put the published messages into their files; gives what of it can change."""
    publications = list(Publication.objects.filter(document__in=files).defer("body").order_by("pk"))
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
        return PublishedMessage(publication, words.WAITING, progress, [], f"p{publication.last_error}")
    if message is None:
        return PublishedMessage(publication, words.ON_ITS_WAY, "Waiting for a worker to record it.", [], "s")
    links = [(f"event {event.position} of {event.trade.trade_id}", event_address(event)) for event in events]
    if not links:
        links = [("open the message", message_address(message))]
    return PublishedMessage(publication, words.OUTCOMES[message.outcome], _progress(message), links, message.outcome)


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
    }[outcome]


def _add_refusals(files: dict[int, File]) -> None:
    refusals = list(Refusal.objects.filter(document__in=files).order_by("pk"))
    contents = _contents(refusals)
    for refusal in refusals:
        content = contents.get(refusal.document_id)
        shown = excerpt(content, refusal.line, refusal.column) if content is not None and refusal.line else None
        place = words.place(refusal.line, refusal.column)
        files[refusal.document_id].refusals.append(RefusedMessage(refusal.part, place, refusal.reason, shown))


def _contents(refusals: Iterable[Refusal]) -> dict[int, bytes]:
    wanted = list(dict.fromkeys(refusal.document_id for refusal in refusals if refusal.line))[:MOST_EXCERPTS]
    rows = Document.objects.filter(pk__in=wanted, size__lte=EXCERPT_FROM_UP_TO).values_list("pk", "content")
    return {pk: bytes(content) for pk, content in rows}
