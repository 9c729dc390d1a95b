"""Publish documents through the outbox: save the row first, then send it, strictly in order within its message group.

One sender at a time holds a queue's lease; it sends up to 10 messages a call, never two of one group in the same call, and
nothing past an unsent row of its group. What could not be sent stays in the outbox for `relay_publications`.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from threading import Event as Signal
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q

from trades import dialects, identifiers, messages, sqs
from trades.messages.facts import MessageRefused, TradeEvent, TradeId
from trades.models import Document, OutboxLease, Publication, PublicationQuerySet, Refusal, TradeIdentifier, Upload

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

T = TypeVar("T")
Clock = Callable[[], datetime]
PUBLICATION_ID = "PublicationId"
REFERENCE = "reference"  # code of a document that is understood and is about no trade
STORE_CHUNK = 100
SEND_CHUNK = 100
# So long a sender that died holds up its queue. One that is only slow may be overtaken in the middle of a call: the other begins with
# the same rows, which SQS takes once by their deduplication ids, and the slow one may make no further call.
LEASE = timedelta(seconds=10)
LEASE_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class IncomingDocument:
    """One file (or pasted text) handed in: a name for people and its exact bytes.

    `size` in bytes is stated for a document whose content was not read because it is over the limit.
    """

    name: str
    content: bytes
    size: int | None = None


@dataclass(slots=True)
class Delivery:
    """What one pass over a queue's outbox did: publications sent and failed, the sentence that says what stopped it, if anything
    did, and whether it left the work to another sender."""

    sent: int = 0
    failed: int = 0
    problem: str = ""
    busy: bool = False


def publish(
    documents: Sequence[IncomingDocument],
    *,
    source: Upload.Source,
    user: AbstractBaseUser | None,
    clock: Clock,
    queue: str | None = None,
    group: str | None = None,
) -> Upload:
    """Store the documents and their publications, then send them. What can't be sent now stays in the outbox; the upload's
    publications say which."""
    upload = begin(source=source, user=user, now=clock())
    name = queue or settings.TRADES_QUEUE
    for chunk in chunks(documents, STORE_CHUNK):
        store(upload, chunk, queue=name, group=group, now=clock())
    deliver(name, clock=clock, patience=2, at_most=5)
    return upload


def begin(*, source: Upload.Source, user: AbstractBaseUser | None, now: datetime) -> Upload:
    """A new upload to store documents under."""
    return Upload.objects.create(created_at=now, created_by=user, source=source)  # type: ignore[misc]


def store(upload: Upload, documents: Sequence[IncomingDocument], *, queue: str, now: datetime, group: str | None = None) -> list[Document]:
    """Save documents with their publications (outbox rows) and refusals, in one transaction.

    With `group` a document that is not understood is published all the same, under that message group, as it is.
    """
    read = [_read(document, group) for document in documents]
    known = _known_trades(part for parts in read for part in parts) if group is None else {}
    with transaction.atomic():
        rows = [_document(upload, document, parts) for document, parts in zip(documents, read, strict=True)]
        Document.objects.bulk_create(rows)
        numbered = [(row, number, part) for row, parts in zip(rows, read, strict=True) for number, part in enumerate(parts, start=1)]
        publications = [
            _publication(row, number, part, queue, _group_of(part, group, known), now) for row, number, part in numbered if not part.refusal
        ]
        Publication.objects.bulk_create(publications)
        Refusal.objects.bulk_create(_refusal(row, number, part.refusal) for row, number, part in numbered if part.refusal)
    return rows


def deliver(queue: str, *, clock: Clock, patience: float = 0, at_most: float | None = None, stop: Signal | None = None) -> Delivery:
    """Send what is unsent, oldest first.

    Waits up to `patience` seconds while another sender is at work, then leaves it to that one. Begins no call after `at_most`
    seconds: a backlog is the relay's, not that of the person who happens to upload next.
    """
    ends = time.monotonic() + at_most if at_most is not None else float("inf")
    delivery = Delivery()
    holder = uuid.uuid4().hex
    if not _acquire(queue, holder, clock, patience):
        return Delivery(problem="Another sender is at work on this queue; it sends these publications too.", busy=True)
    try:
        _send_all(sqs.open_queue(queue), holder, delivery, clock, lambda: time.monotonic() > ends or (stop is not None and stop.is_set()))
    except sqs.QueueError as error:
        delivery.problem = str(error)
        _unsent(queue).filter(last_error="").update(last_error=str(error))
    finally:
        _release(queue, holder, clock)
    return delivery


def waiting_queues() -> list[str]:
    """The queues that have unsent publications."""
    return list(Publication.objects.filter(state=Publication.State.PENDING).values_list("queue", flat=True).distinct().order_by("queue"))


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of up to `size`, without holding all of them."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


# Reading what was handed in


def _read(document: IncomingDocument, group: str | None) -> tuple[messages.Prepared, ...]:
    if document.size is not None and document.size > settings.TRADES_MAX_DOCUMENT_BYTES:
        return (messages.Prepared(text="", message=None, refusal=_too_large(document.size)),)
    try:
        parts = messages.prepare(document.content, max_bytes=settings.TRADES_MAX_DOCUMENT_BYTES, registry=dialects.in_use())
    except MessageRefused as refusal:
        parts = (messages.Prepared(text="", message=None, refusal=refusal),)
    parts = tuple(_only_trades(part) for part in parts)
    if group is not None and any(part.refusal for part in parts):
        parts = (_as_it_is(document),)
    return tuple(_checked(part, group) for part in parts)


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


def _checked(part: messages.Prepared, group: str | None) -> messages.Prepared:
    """The part, refused if SQS would refuse it."""
    if part.refusal:
        return part
    found = messages.first_forbidden_character(part.text)
    size = _outgoing(part.text, _group_of(part, group, {}), "0" * 64, uuid.UUID(int=0)).size
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


def _known_trades(parts: Iterable[messages.Prepared]) -> dict[TradeId, str]:
    """The trades that exist, each as the id it is kept under, by those ids of these messages that lead to them. One query."""
    keys = identifiers.keys_of(part.message.events[0] for part in parts if part.message)
    rows = TradeIdentifier.objects.filter(key__among=list(keys.values())).values_list("key", "trade__trade_id") if keys else ()
    found = dict(rows)
    return {trade_id: found[key] for trade_id, key in keys.items() if key in found}


def _group_of(part: messages.Prepared, group: str | None, known: dict[TradeId, str]) -> str:
    """The message group: that of the trade that the message will be found to be about, so that it is sent after what it follows.
    Its ids become known by that."""
    if group is not None or part.message is None:
        return sqs.group_id_for(group or "")
    ids = part.message.events[0].trade_ids
    name = next((known[trade_id] for trade_id in ids if trade_id in known), ids[0].value)
    for trade_id in ids:
        known.setdefault(trade_id, name)
    return sqs.group_id_for(name)


def _document(upload: Upload, document: IncomingDocument, parts: Sequence[messages.Prepared]) -> Document:
    understood = next((read_as for part in parts if (read_as := part.message or part.refusal) and read_as.dialect), None)
    return Document(
        upload=upload,
        name=document.name[-255:],
        content=document.content,
        size=document.size if document.size is not None else len(document.content),
        sha256=hashlib.sha256(document.content).hexdigest(),
        dialect=understood.dialect if understood else "",
        message_type=understood.message_type if understood else "",
    )


def _refusal(document: Document, number: int, refusal: MessageRefused) -> Refusal:
    return Refusal(document=document, part=number, code=refusal.code, reason=refusal.message, line=refusal.line, column=refusal.column)


def _publication(document: Document, number: int, part: messages.Prepared, queue: str, group_id: str, now: datetime) -> Publication:
    publication_id = uuid.uuid4()
    return Publication(
        publication_id=publication_id,
        document=document,
        part=number,
        queue=queue,
        group_id=group_id,
        deduplication_id=publication_id.hex,
        trade_id=part.message.events[0].trade_id.value if part.message else "",
        message_type=part.message.message_type if part.message else "",
        summary=summary_of(part.message.events) if part.message else "Not understood; published as it is",
        body=part.text,
        created_at=now,
    )


def summary_of(events: Sequence[TradeEvent]) -> str:
    """What a message was understood to say, in a few words: "BOOK version 1 of T-10045"."""
    first = events[0]
    words = [first.event_class.value, *([f"version {first.version}"] if first.version is not None else []), f"of {first.trade_id.value}"]
    if first.status:
        words.append(f"({first.status})")
    if len(events) > 1:
        words.append(f"and {len(events) - 1} more")
    return " ".join(words)[:255]


# Sending


def _outgoing(body: str, group_id: str, deduplication_id: str, publication_id: uuid.UUID) -> sqs.Outgoing:
    return sqs.Outgoing(body, group_id, deduplication_id, {PUBLICATION_ID: str(publication_id)})


def _unsent(queue: str) -> PublicationQuerySet:
    return Publication.objects.unsent().filter(queue=queue)


def _acquire(queue: str, holder: str, clock: Clock, patience: float) -> bool:
    OutboxLease.objects.get_or_create(queue=queue, defaults={"expires_at": clock()})
    deadline = time.monotonic() + patience
    while not _renew(queue, holder, clock()):
        if time.monotonic() >= deadline:
            return False
        Signal().wait(LEASE_POLL_SECONDS)
    return True


def _renew(queue: str, holder: str, now: datetime) -> bool:
    free = Q(holder=holder) | Q(expires_at__lte=now)
    return OutboxLease.objects.filter(free, queue=queue).update(holder=holder, expires_at=now + LEASE) == 1


def _release(queue: str, holder: str, clock: Clock) -> None:
    """Let the next sender begin at once. Where the connection broke a new one is tried; failing that, the lease runs out by itself."""
    lease = OutboxLease.objects.filter(queue=queue, holder=holder)
    try:
        lease.update(expires_at=clock())
    except DatabaseError:
        connection.close()
        with suppress(DatabaseError):
            lease.update(expires_at=clock())


def _send_all(queue: sqs.Queue, holder: str, delivery: Delivery, clock: Clock, ended: Callable[[], bool]) -> None:
    stopped_groups: set[str] = set()
    last = 0
    while rows := list(_unsent(queue.name).filter(id__gt=last)[:SEND_CHUNK]):
        last = rows[-1].pk
        for call in calls([row for row in rows if row.group_id not in stopped_groups]):
            ready = [row for row in call if row.group_id not in stopped_groups]
            if ended() or not _renew(queue.name, holder, clock()):
                return
            if ready:
                stopped_groups |= _send(queue, ready, delivery, clock)


def calls(rows: Sequence[Publication]) -> Iterator[list[Publication]]:
    """The rows in calls of up to 10 messages and 1 MiB, in order within each group and never two of a group in one call, so that
    an entry that fails can't be overtaken by the next of its group."""
    waiting = list(rows)
    while waiting:
        call: list[Publication] = []
        later: list[Publication] = []
        groups: set[str] = set()
        size = 0
        for row in waiting:
            bytes_of_row = _message_of(row).size
            if row.group_id in groups or len(call) == sqs.MAX_BATCH or (call and size + bytes_of_row > sqs.MAX_BATCH_BYTES):
                later.append(row)
            else:
                call.append(row)
                size += bytes_of_row
            groups.add(row.group_id)
        yield call
        waiting = later


def _message_of(row: Publication) -> sqs.Outgoing:
    return _outgoing(row.body, row.group_id, row.deduplication_id, row.publication_id)


def _send(queue: sqs.Queue, rows: Sequence[Publication], delivery: Delivery, clock: Clock) -> set[str]:
    """Send one call's rows and store the answers; gives the groups that must not go on in this pass."""
    outgoing = [_message_of(row) for row in rows]
    try:
        answers = queue.send(outgoing)
    except sqs.QueueError as error:
        _note_failures(rows, str(error))
        raise
    failed: set[str] = set()
    with transaction.atomic():
        for row, message, given in zip(rows, outgoing, answers, strict=True):
            answer = _verified(given, message)
            if isinstance(answer, sqs.Failed):
                _note_failures([row], str(answer))
                failed.add(row.group_id)
                delivery.failed += 1
                continue
            Publication.objects.filter(pk=row.pk).update(
                state=Publication.State.SENT,
                sent_at=clock(),
                attempts=F("attempts") + 1,
                last_error="",
                message_id=answer.message_id,
                md5=answer.md5,
                sequence_number=answer.sequence_number,
            )
            delivery.sent += 1
    return failed


def _verified(answer: sqs.Sent | sqs.Failed, message: sqs.Outgoing) -> sqs.Sent | sqs.Failed:
    if isinstance(answer, sqs.Sent) and answer.md5 != sqs.md5_of(message.body):
        return sqs.Failed("MD5Differs", "SQS stored another text than was sent; it is sent again with the same deduplication id")
    return answer


def _note_failures(rows: Sequence[Publication], error: str) -> None:
    # Not what another sender, to whom the lease went meanwhile, has sent already.
    Publication.objects.unsent().filter(pk__in=[row.pk for row in rows]).update(attempts=F("attempts") + 1, last_error=error)
