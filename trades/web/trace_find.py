"""Find the way of a message by any id that somebody may have of it. Only what an index answers is asked."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse

from trades.models import Document, Draft, Event, Message, Publication, Refusal
from trades.web import words
from trades.web.names import all_queues
from trades.web.prefix import prefixed
from trades.web.trace_hops import trace_address
from trades.web.words import Badge

LONGEST = 255
MOST = 50
MOST_DOCUMENTS = 20
NUMBER = re.compile(r"[0-9]{1,18}")
MD5 = re.compile(r"[0-9a-fA-F]{32}")
SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Hit:
    """One way that was found: its address, what it says, where it is, when it began, and its ids in short."""

    href: str
    title: str
    badge: Badge
    at: datetime
    told: str
    document: Document | None = None  # where it has no publication or message to lead to


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, and whether there is more than is listed."""

    hits: list[Hit]
    has_more: bool


def find(text: str) -> Found:
    """The ways that the text is an id of, the newest first. At most six queries."""
    if not text or "\x00" in text or len(text) > LONGEST:
        return Found([], False)
    documents = _documents(text)
    publications = _publications(text, [document.pk for document in documents])
    messages = _messages(text, [publication.publication_id for publication in publications])
    publications += _brought(messages, publications)
    hits = _hits(publications, messages, documents)
    return Found(hits[:MOST], len(hits) > MOST or len(documents) == MOST_DOCUMENTS)


def _documents(text: str) -> list[Document]:
    """Documents by the SHA-256 of their content, their name or its beginning, or the number of their upload."""
    if SHA256.fullmatch(text):
        asked = Q(sha256=text.lower())
    elif NUMBER.fullmatch(text):
        asked = Q(upload=int(text)) | prefixed("name", text)
    elif _uuid(text):
        return []
    else:
        asked = prefixed("name", text)
    rows = Document.objects.filter(asked).select_related("upload__created_by").defer("content").order_by("-id")
    refused = Exists(Refusal.objects.filter(document=OuterRef("pk")))
    drafted = Exists(Draft.objects.filter(document=OuterRef("pk")))
    return list(rows.annotate(is_refused=refused, is_drafted=drafted)[:MOST_DOCUMENTS])


def _publications(text: str, documents: Sequence[int]) -> list[Publication]:
    asked = Q(message_id=text)
    if documents:
        asked |= Q(document__in=documents)
    if (publication_id := _uuid(text)) is not None:
        asked |= Q(publication_id=publication_id)
    if MD5.fullmatch(text):
        asked |= Q(md5=text.lower(), md5__gt="")
    return list(_shown(asked))


def _shown(asked: Q) -> Iterable[Publication]:
    return Publication.objects.filter(asked).select_related("document").defer("body", "document__content").order_by("-id")[: MOST + 1]


def _messages(text: str, publications: Sequence[uuid.UUID]) -> list[Message]:
    """Messages by any id of theirs, and those that the publications became."""
    asked = Q(publication_id__in=[*publications, *([found] if (found := _uuid(text)) else [])])
    if SHA256.fullmatch(text):
        return _newest(asked) if publications else []
    asked |= Q(queue__in=all_queues(), message_id=text)  # an SQS message id alone is in no index
    if NUMBER.fullmatch(text):
        asked |= Q(pk=int(text))
    if MD5.fullmatch(text):
        asked |= Q(body_md5=text.lower())
    told = Event.objects.filter(document_message_id=text, document_message_id__gt="").values_list("message", flat=True)
    if pks := list(told[:MOST]):
        asked |= Q(pk__in=pks)
    return _newest(asked)


def _newest(asked: Q) -> list[Message]:
    return list(Message.objects.filter(asked).defer("body", "attributes").order_by("-id")[: MOST + 1])


def _brought(messages: Sequence[Message], known: Sequence[Publication]) -> list[Publication]:
    """The publications that messages came from, those known left out."""
    missing = {message.publication_id for message in messages if message.publication_id} - {row.publication_id for row in known}
    return list(_shown(Q(publication_id__in=missing))) if missing else []


def _uuid(text: str) -> uuid.UUID | None:
    """The UUID, with or without dashes as in a deduplication id of ours."""
    try:
        return uuid.UUID(text) if len(text) in (32, 36) else None
    except ValueError:
        return None


def _hits(publications: Sequence[Publication], messages: Sequence[Message], documents: Sequence[Document]) -> list[Hit]:
    by_publication = {message.publication_id: message for message in messages if message.publication_id}
    ids = {row.publication_id for row in publications}
    hits = [_of_publication(row, by_publication.get(row.publication_id)) for row in publications]
    hits += [_of_message(row) for row in messages if row.publication_id not in ids]
    hits += [_of_document(row) for row in documents if row.is_refused or row.is_drafted]  # type: ignore[attr-defined]
    return sorted(hits, key=lambda hit: hit.at, reverse=True)


def _of_publication(publication: Publication, message: Message | None) -> Hit:
    waits = {Publication.State.SENT: words.ON_ITS_WAY, Publication.State.CANCELLED: words.CANCELLED}.get(
        Publication.State(publication.state), words.WAITING
    )
    badge = words.OUTCOMES[message.outcome] if message else waits
    told = f"{publication.document.name}, upload {publication.document.upload_id}"
    if message:
        told += f", message {message.pk}"
    href = reverse("trace_publication", args=[publication.publication_id])
    return Hit(href, publication.summary or str(publication.publication_id), badge, publication.created_at, told)


def _of_message(message: Message) -> Hit:
    title = " ".join(part for part in (message.message_type or "Message", message.message_id) if part)
    told = f"message {message.pk} of group {message.group_id}"
    return Hit(trace_address(message.pk), title, words.OUTCOMES[message.outcome], message.sent_at or message.received_at, told)


def _of_document(document: Document) -> Hit:
    refused = document.is_refused  # type: ignore[attr-defined]
    badge = words.REFUSED if refused else Badge("In review", "warn", "clock")
    href = reverse("upload", args=[document.upload_id])
    told = f"not published, upload {document.upload_id}"
    return Hit(href, document.name, badge, document.upload.created_at, told, document)
