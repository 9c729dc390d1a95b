"""Publish documents through the outbox: save the row first, then send it, strictly in order within its message group.

One sender at a time holds a queue's lease; it sends up to 10 messages a call, never two of one group in the same call, and
nothing past an unsent row of its group. What could not be sent stays in the outbox for `relay_publications`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from threading import Event as Signal
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q

from trades import handing_in, sqs
from trades.handing_in import Groups, IncomingDocument, OutgoingMessage, begin, outgoing
from trades.models import Document, Draft, OutboxLease, Publication, PublicationQuerySet, SendAttempt, Upload

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

T = TypeVar("T")
Clock = Callable[[], datetime]
STORE_CHUNK = 100
SEND_CHUNK = 100
# So long a sender that died holds up its queue. One that is only slow may be overtaken in the middle of a call: the other begins with
# the same rows, which SQS takes once by their deduplication ids, and the slow one may make no further call.
LEASE = timedelta(seconds=10)
LEASE_POLL_SECONDS = 0.1
# Of one publication that are kept each by itself; later ones are counted, and the last one's error is kept.
MOST_ATTEMPTS = 50


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
    name, groups = queue or settings.TRADES_QUEUE, Groups()
    for chunk in chunks(documents, STORE_CHUNK):
        store(upload, chunk, queue=name, group=group, groups=groups, now=clock())
    deliver(name, clock=clock, patience=2, at_most=5)
    return upload


def store(
    upload: Upload,
    documents: Sequence[IncomingDocument],
    *,
    queue: str,
    now: datetime,
    group: str | None = None,
    groups: Groups | None = None,
) -> list[Document]:
    """Save documents with their publications (outbox rows) and refusals, in one transaction.

    With `group` a document that is not understood is published all the same, under that message group, as it is. `groups` must be the
    same for all calls of one upload.
    """
    read = handing_in.read(documents, group)
    with transaction.atomic():
        rows, outgoing = handing_in.save(upload, read, group=group, groups=groups)
        Publication.objects.bulk_create([publication(each, queue=queue, now=now) for each in outgoing])
    return rows


def publication(message: OutgoingMessage | Draft, *, queue: str, now: datetime) -> Publication:
    """A new row of the outbox for a message (not saved)."""
    publication_id = uuid.uuid4()
    return Publication(
        publication_id=publication_id,
        document=message.document,
        part=message.part,
        queue=queue,
        group_id=message.group_id,
        deduplication_id=publication_id.hex,
        trade_id=message.trade_id,
        message_type=message.message_type,
        summary=message.summary,
        body=message.body,
        created_at=now,
    )


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


# Sending


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
    return outgoing(row.body, row.group_id, row.deduplication_id, row.publication_id)


def _send(queue: sqs.Queue, rows: Sequence[Publication], delivery: Delivery, clock: Clock) -> set[str]:
    """Send one call's rows and store the answers; gives the groups that must not go on in this pass."""
    outgoing = [_message_of(row) for row in rows]
    try:
        answers = queue.send(outgoing)
    except sqs.QueueError as error:
        _note_failures(rows, str(error), clock())
        raise
    failed: set[str] = set()
    with transaction.atomic():
        for row, message, given in zip(rows, outgoing, answers, strict=True):
            answer = _verified(given, message)
            if isinstance(answer, sqs.Failed):
                _note_failures([row], str(answer), clock())
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


def _note_failures(rows: Sequence[Publication], error: str, now: datetime) -> None:
    attempts = [SendAttempt(publication=row, at=now, error=error) for row in rows if row.attempts < MOST_ATTEMPTS]
    with transaction.atomic():
        # Not what another sender, to whom the lease went meanwhile, has sent already.
        Publication.objects.unsent().filter(pk__in=[row.pk for row in rows]).update(attempts=F("attempts") + 1, last_error=error)
        SendAttempt.objects.bulk_create(attempts)
