"""The rows of what is handed in: an upload, its documents with what is refused of them, its drafts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from trades import bulk
from trades.handing_in.documents import CHUNK, IncomingDocument, chunks, size_of
from trades.handing_in.groups import Groups
from trades.handing_in.reading import Part, ReadDocument, read
from trades.messages.facts import MessageRefused, ParsedMessage, TradeEvent
from trades.models import Document, Draft, Payload, Refusal, Upload

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

NOT_UNDERSTOOD = "Not understood; published as it is"  # the summary of such a message
MOST_BYTES = 2**31 - 1  # that the column counts; of a file that was not read it may have more
IN_ORDER = ("document__position", "document_id", "part")
# W3C Trace Context, version 00: https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class NotInReview(Exception):
    """A person has decided about the upload already; nothing can be added to it."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message to publish: what a draft has too. `size` is as SQS counts it, attributes included."""

    document: Document
    part: int
    queue: str
    route: str
    group_id: str
    trade_id: str
    message_type: str
    summary: str
    body: str
    payload: Payload | None
    size: int
    body_sha256: str


def begin(
    *,
    source: Upload.Source,
    user: AbstractBaseUser | None,
    now: datetime,
    stage: Upload.Stage = Upload.Stage.PUBLISHED,
    group: str = "",
    traceparent: str = "",
) -> Upload:
    """A new upload to store documents under. `group` is the message group for those that are not understood, "" to refuse them; a
    `traceparent` that is not valid is dropped."""
    traced = traceparent if _TRACEPARENT.fullmatch(traceparent) else ""
    return Upload.objects.create(
        created_at=now,
        created_by=user,
        source=source,
        stage=stage,
        group_id=group,
        traceparent=traced,  # type: ignore[misc]
    )


def save(
    upload: Upload, documents: Sequence[ReadDocument], *, group: str | None = None, groups: Groups | None = None
) -> tuple[list[Document], list[OutgoingMessage]]:
    """Store documents and their refusals, inside the caller's transaction; gives their rows and the messages to publish, in order.

    `group` is the message group of all of them; without it each goes to that of its trade, and what is not understood, or is about
    no trade and has none of its route, to that of the upload. `groups` are those of the documents of this upload that were saved before.
    """
    groups = groups or Groups()
    groups.look_up(part.message for document in documents for part in document.parts if part.message)
    rows = [_document(upload, document) for document in documents]
    bulk.insert_with_keys(rows)
    numbered = [(row, number, part) for row, each in zip(rows, documents, strict=True) for number, part in enumerate(each.parts, start=1)]
    Refusal.objects.bulk_create([_refusal(row, number, part.refusal) for row, number, part in numbered if part.refusal])
    return rows, [_outgoing_message(row, number, part, group, groups) for row, number, part in numbered if not part.refusal]


def take_for_review(upload: Upload, documents: Iterable[IncomingDocument], *, now: datetime) -> None:
    """Read and store documents that have places, a few at a time; what is stored at such a place of the upload already stays.

    Nothing is published. Raises NotInReview when a person has decided meanwhile, OSError when a file can't be read.
    """
    for chunk in chunks(documents):
        found = read(chunk, now=now, group=upload.group_id or None, traceparent=upload.traceparent)
        keep_for_review(upload, found)


def keep_for_review(upload: Upload, documents: Sequence[ReadDocument]) -> None:
    """Store documents with their refusals and, for each message, a draft. As `take_for_review`, in one transaction."""
    with transaction.atomic():
        if Upload.objects.select_for_update().get(pk=upload.pk).stage != Upload.Stage.REVIEW:
            raise NotInReview
        # The same request, sent once more because its answer was lost, may have been faster.
        places = [document.position for document in documents if document.position]
        taken = set(upload.documents.filter(position__in=places).values_list("position", flat=True))
        _, outgoing_messages = save(upload, [document for document in documents if document.position not in taken])
        Draft.objects.bulk_create([_draft(message) for message in outgoing_messages], batch_size=CHUNK)


def drafts_of(upload: Upload) -> QuerySet[Draft]:
    """What is in review of an upload, in the order in which it would be published."""
    return Draft.objects.filter(document__upload=upload).order_by(*IN_ORDER)


def summary_of(events: Sequence[TradeEvent]) -> str:
    """What a message was understood to say, in a few words: "BOOK version 1 of T-10045"."""
    first = events[0]
    words = [first.event_class.value, *([f"version {first.version}"] if first.version is not None else []), f"of {first.trade_id.value}"]
    if first.status:
        words.append(f"({first.status})")
    if len(events) > 1:
        words.append(f"and {len(events) - 1} more")
    return " ".join(words)[:255]


def warning(count: int, group: str) -> str:
    """What becomes of messages that are published as they are: of so many, in this message group."""
    one = count == 1
    who = "1 message is not understood and goes out as it is" if one else f"{count:,} messages are not understood and go out as they are"
    then = "holds what follows in that group until a person decides" if settings.TRADES_HOLD else "flags what follows in that group"
    return (
        f"{who}, in message group {group}. A worker of this portal puts such a message into quarantine and {then}. Any other consumer "
        f"gets {'it as it is' if one else 'them as they are'}."
    )


def _document(upload: Upload, document: ReadDocument) -> Document:
    understood = next((read_as for part in document.parts if (read_as := part.message or part.refusal) and read_as.dialect), None)
    return Document(
        upload=upload,
        name=document.name[-255:],
        content=document.content,
        payload=document.payload,
        size=min(document.size, MOST_BYTES),
        sha256=document.sha256,
        position=document.position,
        dialect=understood.dialect if understood else "",
        message_type=understood.message_type if understood else "",
    )


def _refusal(document: Document, number: int, refusal: MessageRefused) -> Refusal:
    return Refusal(document=document, part=number, code=refusal.code, reason=refusal.message, line=refusal.line, column=refusal.column)


def _outgoing_message(document: Document, number: int, part: Part, group: str | None, groups: Groups) -> OutgoingMessage:
    understood = part.message
    return OutgoingMessage(
        document=document,
        part=number,
        queue=part.queue,
        route=part.route,
        group_id=_group(document.upload, part, group, groups),
        trade_id=understood.events[0].trade_id.value if understood and understood.events else "",
        message_type=understood.message_type if understood else "",
        summary=_summary(understood),
        body=part.text,
        payload=part.payload,
        size=size_of(part.size, document.upload.traceparent),
        body_sha256=part.sha256,
    )


def _group(upload: Upload, part: Part, group: str | None, groups: Groups) -> str:
    if group is not None:
        return group
    if part.message is None or not part.message.events:
        return part.group or upload.group_id
    return groups.of(part.message)


def _summary(understood: ParsedMessage | None) -> str:
    if understood is None:
        return NOT_UNDERSTOOD
    return summary_of(understood.events) if understood.events else understood.reference[:255]


def _draft(message: OutgoingMessage) -> Draft:
    return Draft(**{field: getattr(message, field) for field in OutgoingMessage.__slots__})
