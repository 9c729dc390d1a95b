"""Take in what people hand in: read each document, keep its exact bytes, and say which messages it holds and what is refused, why.

What is kept becomes either publications at once (`trades.publishing`) or drafts, which a person looks at before anything is sent.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from trades import dialects, identifiers, messages, sqs
from trades.messages.facts import MessageRefused, ParsedMessage, TradeEvent, TradeId
from trades.models import Document, Draft, Refusal, TradeIdentifier, Upload

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

PUBLICATION_ID = "PublicationId"
REFERENCE = "reference"  # code of a document that is understood and is about no trade
IN_ORDER = ("document__position", "document_id", "part")


class NotInReview(Exception):
    """A person has decided about the upload already; nothing can be added to it."""


@dataclass(frozen=True, slots=True)
class IncomingDocument:
    """One file (or pasted text) handed in: a name for people and its exact bytes.

    `size` in bytes is stated for a document whose content was not read, because it is over the limit or for the reason of
    `refusal`. `position` is its place in the upload where documents do not come in their order, 0 where they do.
    """

    name: str
    content: bytes
    size: int | None = None
    position: int = 0
    refusal: MessageRefused | None = None


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document with the messages found in it, each understood or refused."""

    incoming: IncomingDocument
    parts: tuple[messages.Prepared, ...]


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message to publish, with the group that it belongs to."""

    document: Document
    part: int
    group_id: str
    trade_id: str
    message_type: str
    summary: str
    body: str


def begin(*, source: Upload.Source, user: AbstractBaseUser | None, now: datetime, stage: Upload.Stage = Upload.Stage.PUBLISHED) -> Upload:
    """A new upload to store documents under."""
    return Upload.objects.create(created_at=now, created_by=user, source=source, stage=stage)  # type: ignore[misc]


def read(documents: Iterable[IncomingDocument], group: str | None = None) -> list[ReadDocument]:
    """Read documents; nothing is stored. With `group` a document that is not understood is passed on as it is."""
    return [ReadDocument(document, _read(document, group)) for document in documents]


def save(
    upload: Upload, documents: Sequence[ReadDocument], *, group: str | None = None, groups: Groups | None = None
) -> tuple[list[Document], list[OutgoingMessage]]:
    """Store documents and their refusals, inside the caller's transaction; gives their rows and the messages to publish, in order.

    `groups` are those of the documents of this upload that were saved before.
    """
    groups = groups or Groups()
    groups.look_up(part.message for document in documents for part in document.parts if part.message)
    rows = [_document(upload, document) for document in documents]
    Document.objects.bulk_create(rows)
    numbered = [(row, number, part) for row, each in zip(rows, documents, strict=True) for number, part in enumerate(each.parts, start=1)]
    Refusal.objects.bulk_create([_refusal(row, number, part.refusal) for row, number, part in numbered if part.refusal])
    return rows, [_outgoing_message(row, number, part, group, groups) for row, number, part in numbered if not part.refusal]


def keep_for_review(upload: Upload, documents: Sequence[ReadDocument], *, queue: str) -> list[Document]:
    """Store documents with their refusals and, for each message, a draft. Nothing is published.

    Raises NotInReview when a person has decided meanwhile.
    """
    with transaction.atomic():
        if Upload.objects.select_for_update().get(pk=upload.pk).stage != Upload.Stage.REVIEW:
            raise NotInReview
        rows, outgoing_messages = save(upload, documents)
        Draft.objects.bulk_create([_draft(message, queue) for message in outgoing_messages], batch_size=100)
    return rows


def drafts_of(upload: Upload) -> QuerySet[Draft]:
    """What is in review of an upload, in the order in which it would be published."""
    return Draft.objects.filter(document__upload=upload).order_by(*IN_ORDER)


class Groups:
    """The message group of each message: that of the trade that it will be found to be about, so that it is sent after what it
    follows. Asked for one message after the other, in order; what one makes known counts for the next."""

    def __init__(self) -> None:
        self._known: dict[TradeId, str] = {}

    def look_up(self, understood: Iterable[ParsedMessage]) -> None:
        """Find the trades that exist of the messages asked for next. One query."""
        self._known = _known_trades(message.events[0] for message in understood if message.events) | self._known

    def of(self, message: ParsedMessage) -> str:
        """The group of the next message. Its ids become known by that."""
        ids = message.events[0].trade_ids
        name = next((self._known[trade_id] for trade_id in ids if trade_id in self._known), ids[0].value)
        for trade_id in ids:
            self._known.setdefault(trade_id, name)
        return sqs.group_id_for(name)


def outgoing(body: str, group_id: str, deduplication_id: str, publication_id: uuid.UUID) -> sqs.Outgoing:
    """A message as it travels."""
    return sqs.Outgoing(body, group_id, deduplication_id, {PUBLICATION_ID: str(publication_id)})


def summary_of(events: Sequence[TradeEvent]) -> str:
    """What a message was understood to say, in a few words: "BOOK version 1 of T-10045"."""
    first = events[0]
    words = [first.event_class.value, *([f"version {first.version}"] if first.version is not None else []), f"of {first.trade_id.value}"]
    if first.status:
        words.append(f"({first.status})")
    if len(events) > 1:
        words.append(f"and {len(events) - 1} more")
    return " ".join(words)[:255]


# Reading


def _read(document: IncomingDocument, group: str | None) -> tuple[messages.Prepared, ...]:
    if document.refusal is not None:
        return (messages.Prepared(text="", message=None, refusal=document.refusal),)
    if document.size is not None and document.size > settings.TRADES_MAX_DOCUMENT_BYTES:
        return (messages.Prepared(text="", message=None, refusal=_too_large(document.size)),)
    try:
        parts = messages.prepare(document.content, max_bytes=settings.TRADES_MAX_DOCUMENT_BYTES, registry=dialects.in_use())
    except MessageRefused as refusal:
        parts = (messages.Prepared(text="", message=None, refusal=refusal),)
    parts = tuple(_only_trades(part) for part in parts)
    if group is not None and any(part.refusal for part in parts):
        parts = (_as_it_is(document),)
    return tuple(_checked(part) for part in parts)


def _only_trades(part: messages.Prepared) -> messages.Prepared:
    """The part, refused if it is about no trade: there is no group that it belongs to."""
    if part.message is None or not part.message.reference:
        return part
    sentence = f"{part.message.reference} It is kept with the upload and not published; publish_trades --group publishes it as it is."
    message = part.message
    refusal = MessageRefused(REFERENCE, sentence, dialect=message.dialect, message_type=message.message_type)
    return replace(part, message=None, refusal=refusal)


def _too_large(size: int) -> MessageRefused:
    limit = settings.TRADES_MAX_DOCUMENT_BYTES
    return MessageRefused("too-large", f"The document has {size:,} bytes, and at most {limit:,} are taken. Split it.")


def _as_it_is(document: IncomingDocument) -> messages.Prepared:
    try:
        return messages.Prepared(text=document.content.decode(), message=None, refusal=None)
    except UnicodeDecodeError as error:
        refusal = MessageRefused("not-text", f"Byte {error.start + 1} is not UTF-8 text, which a message must be. Save the file as UTF-8.")
        return messages.Prepared(text="", message=None, refusal=refusal)


def _checked(part: messages.Prepared) -> messages.Prepared:
    """The part, refused if SQS would refuse it."""
    if part.refusal:
        return part
    found = messages.first_forbidden_character(part.text)
    size = size_of(part.text)
    if found:
        line, column, codepoint = found
        sentence = f"The character U+{codepoint:04X} can't travel in an SQS message. Remove it."
        refusal = MessageRefused("forbidden-character", sentence, line=line, column=column)
    elif not part.text:
        refusal = MessageRefused("empty", "The document is empty.")
    elif size > sqs.MAX_MESSAGE_BYTES:
        sentence = (
            f"The message takes {size:,} bytes with its attributes, and SQS carries at most {sqs.MAX_MESSAGE_BYTES:,}. Split the document."
        )
        refusal = MessageRefused("too-large", sentence)
    else:
        return part
    return messages.Prepared(text=part.text, message=part.message, refusal=refusal)


def size_of(body: str) -> int:
    """Bytes of a message with this text as SQS counts them, its attributes included."""
    return outgoing(body, "", "", uuid.UUID(int=0)).size


def _known_trades(facts: Iterable[TradeEvent]) -> dict[TradeId, str]:
    """The trades that exist, each as the id it is kept under, by those ids of these events that lead to them. One query."""
    keys = identifiers.keys_of(facts)
    rows = TradeIdentifier.objects.filter(key__among=list(keys.values())).values_list("key", "trade__trade_id") if keys else ()
    found = dict(rows)
    return {trade_id: found[key] for trade_id, key in keys.items() if key in found}


# Rows


def _document(upload: Upload, document: ReadDocument) -> Document:
    incoming = document.incoming
    understood = next((read_as for part in document.parts if (read_as := part.message or part.refusal) and read_as.dialect), None)
    return Document(
        upload=upload,
        name=incoming.name[-255:],
        content=incoming.content,
        size=incoming.size if incoming.size is not None else len(incoming.content),
        sha256=hashlib.sha256(incoming.content).hexdigest(),
        position=incoming.position,
        dialect=understood.dialect if understood else "",
        message_type=understood.message_type if understood else "",
    )


def _refusal(document: Document, number: int, refusal: MessageRefused) -> Refusal:
    return Refusal(document=document, part=number, code=refusal.code, reason=refusal.message, line=refusal.line, column=refusal.column)


def _outgoing_message(document: Document, number: int, part: messages.Prepared, group: str | None, groups: Groups) -> OutgoingMessage:
    understood = part.message
    return OutgoingMessage(
        document=document,
        part=number,
        group_id=sqs.group_id_for(group or "") if group is not None or understood is None else groups.of(understood),
        trade_id=understood.events[0].trade_id.value if understood else "",
        message_type=understood.message_type if understood else "",
        summary=summary_of(understood.events) if understood else "Not understood; published as it is",
        body=part.text,
    )


def _draft(message: OutgoingMessage, queue: str) -> Draft:
    return Draft(
        document=message.document,
        part=message.part,
        queue=queue,
        group_id=message.group_id,
        trade_id=message.trade_id,
        message_type=message.message_type,
        summary=message.summary,
        body=message.body,
        size=size_of(message.body),
        body_sha256=hashlib.sha256(message.body.encode()).hexdigest(),
    )
