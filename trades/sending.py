"""Send what is in the outbox, strictly in order within each message group.

One sender at a time holds a queue's lease; it sends up to 10 messages a call, never two of one group at the same time, and nothing
past an unsent row of its group. A message that is larger than its queue takes goes to S3 first. What could not be sent stays in the
outbox for `relay_publications`.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event as Signal
from typing import Any, BinaryIO, NamedTuple, cast
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from trades import bulk, leases, payloads, routes, sqs
from trades.backlog import Backlog, Key
from trades.handing_in import attributes, outgoing
from trades.leases import Clock, Lease
from trades.models import Payload, Publication, SendAttempt
from trades.sqs import buckets

# Of one publication that are kept each by itself; later ones are counted, and the last one's error is kept.
MOST_ATTEMPTS = 50
# While SQS works on one call the next is made ready: their groups are never the same.
CALLS_AT_ONCE = 2
ANSWER = {
    "pk": "bigint", "deduplication": "text", "message": "text", "md5": "text", "sequence": "text", "pointer": "text", "repeated": "boolean",
}  # fmt: skip


@dataclass(slots=True)
class Delivery:
    """What one pass over a queue's outbox did: publications sent, the error of each message group that could not go on, the sentence
    that says what stopped it, if anything did, whether it left the work to another sender, and whether it ended before all was tried."""

    sent: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    busy: bool = False
    ended: bool = False

    @property
    def failed(self) -> int:
        """Publications that could not be sent: one of each group that stopped."""
        return len(self.failures)


def deliver(
    queue: str,
    *,
    clock: Clock,
    patience: float = 0,
    at_most: float | None = None,
    stop: Signal | None = None,
    skip: Collection[str] = (),
) -> Delivery:
    """Send what is unsent, oldest first, but of the message groups to `skip`.

    Waits up to `patience` seconds while another sender is at work, then leaves it to that one. Begins no call after `at_most`
    seconds: a backlog is the relay's, not that of the person who happens to upload next. Ends after the call in hand when asked to stop.
    """
    ends = time.monotonic() + at_most if at_most is not None else float("inf")
    delivery = Delivery()
    with leases.holding(queue, clock, patience, stop) as lease:
        if lease is None:
            return Delivery(problem="Another sender is at work on this queue; it sends these publications too.", busy=True)
        try:
            sender = Sender(
                routes.open_queue(queue), lease, delivery, skip, lambda: time.monotonic() > ends or (stop is not None and stop.is_set())
            )
            sender.send_all()
        except sqs.QueueError as error:
            delivery.problem = str(error)
            Publication.objects.unsent().filter(queue=queue, last_error="").update(last_error=str(error))
    return delivery


def waiting_queues() -> list[str]:
    """The queues that have unsent publications."""
    return list(Publication.objects.filter(state=Publication.State.PENDING).values_list("queue", flat=True).distinct().order_by("queue"))


class Row(NamedTuple):
    """What is read of a publication to send it."""

    id: int
    publication_id: UUID
    group_id: str
    deduplication_id: str
    traceparent: str
    body: str
    payload_id: int | None
    size: int
    attempts: int


COLUMNS = ", ".join(Row._fields)


@dataclass(slots=True)
class Entry:
    """One message of a call."""

    row: Row
    message: sqs.Outgoing
    is_pointer: bool = False


@dataclass(slots=True)
class Call:
    """Messages on their way to SQS, and when they set off."""

    entries: list[Entry]
    at: datetime
    answer: Future[list[sqs.Sent | sqs.Failed]]


class Sender:
    """One pass over the outbox of a queue whose lease is held."""

    def __init__(self, queue: sqs.Queue, lease: Lease, delivery: Delivery, skip: Collection[str], ended: Callable[[], bool]) -> None:
        self.queue = queue
        self.lease = lease
        self.delivery = delivery
        self.ended = ended
        self.limit = routes.limit_of(queue.name)
        self.backlog = Backlog(queue.name, self.limit, skip)
        self.s3_away: sqs.QueueError | None = None

    def send_all(self) -> None:
        """Until nothing is left that may be sent, or it is to end. Raises QueueError when the queue takes no calls."""
        flying: deque[Call] = deque()
        with ThreadPoolExecutor(CALLS_AT_ONCE, "send") as pool:
            try:
                while True:
                    while len(flying) < CALLS_AT_ONCE and (entries := self._next()):
                        flying.append(self._begin(entries, pool if flying or self.backlog.has_more else None))
                    if not flying:
                        return
                    self._finish(flying.popleft())
            except sqs.QueueError:
                for call in flying:
                    with suppress(sqs.QueueError):
                        self._finish(call)
                raise

    def _next(self) -> list[Entry]:
        while not self._is_over() and (keys := self.backlog.take()):
            entries = self._entries(keys)
            if not self._is_over() and entries:
                return entries
        return []

    def _is_over(self) -> bool:
        self.delivery.ended = self.delivery.ended or self.ended() or not self.lease.is_held()
        return self.delivery.ended

    def _entries(self, keys: Sequence[Key]) -> list[Entry]:
        """The messages of these rows, with what is too large for the queue stored in S3; what can't be is noted as failed."""
        rows = {row.id: row for row in _read([key.pk for key in keys])}
        entries = []
        for key in keys:
            row = rows.get(key.pk)
            if row is None:  # cancelled, or sent by somebody who was slow
                self.backlog.go_on(key.group)
                continue
            try:
                entry = self._entry(row)
            except (sqs.QueueError, OSError) as error:
                self._store([], [(row, payloads.unwritable(error) if isinstance(error, OSError) else str(error))])
                continue
            if entry is not None:
                entries.append(entry)
        return entries

    def _entry(self, row: Row) -> Entry | None:
        """The message of a row, None where there is no time left to store its text in S3. Raises QueueError, OSError."""
        message = outgoing(row.body, row.group_id, row.deduplication_id, row.publication_id, row.traceparent)
        size = max(row.size, message.size)
        if size <= self.limit:
            return Entry(row, message)
        if not settings.TRADES_PAYLOAD_BUCKET:
            raise sqs.Refused(
                f"The message takes {size:,} bytes with its attributes, and {self.queue.name} carries at most {self.limit:,}. "
                "Set TRADES_PAYLOAD_BUCKET to an S3 bucket to send larger ones."
            )
        if self._is_over():
            return None
        if self.s3_away is not None:
            raise sqs.QueueError(f"S3 did not answer a moment ago and was not asked for this text. {self.s3_away}")
        with _text_of(row) as (text, length, sha256):
            pointer = buckets.Pointer(settings.TRADES_PAYLOAD_BUCKET, buckets.key_of(sha256), length)
            self._put(pointer, text)
        # The lease may have gone to another meanwhile, whose order would be broken.
        self.delivery.ended = self.delivery.ended or not self.lease.renew()
        numbers = {buckets.PAYLOAD_SIZE: length}
        known = attributes(row.publication_id, row.traceparent)
        return Entry(row, sqs.Outgoing(pointer.body, row.group_id, row.deduplication_id, known, numbers), is_pointer=True)

    def _put(self, pointer: buckets.Pointer, text: BinaryIO) -> None:
        try:
            buckets.put(pointer, cast(BinaryIO, _Renewing(text, self.lease)))
        except sqs.Denied as error:
            raise sqs.Denied(f"{error} Let the role store objects in the bucket (s3:PutObject).") from None
        except sqs.Refused:
            raise
        except sqs.QueueError as error:
            self.s3_away = error  # each try would take seconds, in which nothing else is sent
            raise

    def _begin(self, entries: list[Entry], pool: Executor | None = None) -> Call:
        messages = [entry.message for entry in entries]
        at = self.lease.clock()
        if pool is not None and CALLS_AT_ONCE > 1:
            return Call(entries, at, pool.submit(self.queue.send, messages))
        answer: Future[list[sqs.Sent | sqs.Failed]] = Future()
        try:
            answer.set_result(self.queue.send(messages))
        except sqs.QueueError as error:
            answer.set_exception(error)
        return Call(entries, at, answer)

    def _finish(self, call: Call) -> None:
        """Store the answers of a call. Raises QueueError when it has none that is about one of its messages."""
        try:
            answers = call.answer.result()
        except sqs.QueueError as error:
            if not _is_about_content(error):
                uncertain = None if isinstance(error, sqs.Refused) else call.at
                _note_failures([(entry.row, str(error)) for entry in call.entries], self.lease.clock(), uncertain)
                raise
            if len(call.entries) > 1:  # for the fault of one
                for entry in call.entries:
                    if not self._is_over():
                        self._finish(self._begin([entry]))
                return
            answers = [sqs.Failed("", str(error))]
        sent: list[tuple[Entry, sqs.Sent]] = []
        failed: list[tuple[Row, str]] = []
        for entry, answer in zip(call.entries, answers, strict=True):
            if isinstance(answer, sqs.Failed):
                failed.append((entry.row, str(answer) if answer.code else answer.message))
            elif answer.md5 != sqs.md5_of(entry.message.body):
                failed.append((entry.row, "SQS stored another text than was sent (their MD5 differ); the message is sent again"))
            else:
                sent.append((entry, answer))
        self._store(sent, failed)

    def _store(self, sent: Sequence[tuple[Entry, sqs.Sent]], failed: Sequence[tuple[Row, str]]) -> None:
        now = self.lease.clock()
        with transaction.atomic() if failed else nullcontext():  # one statement needs none
            _note_sent(sent, now)
            _note_failures(failed, now)
        self.delivery.sent += len(sent)
        for entry, _ in sent:
            self.backlog.go_on(entry.row.group_id)
        for row, error in failed:
            self.backlog.stop(row.group_id)
            self.delivery.failures[row.group_id] = error


def _is_about_content(error: sqs.QueueError) -> bool:
    """Whether SQS refused a whole call for what is in it."""
    return isinstance(error, sqs.BadRequest) or "BatchRequestTooLong" in str(error)


# Texts


class _Renewing:
    """A file the reading of which renews the lease: a large one may take its time."""

    def __init__(self, file: BinaryIO, lease: Lease) -> None:
        self.file = file
        self.lease = lease

    def read(self, size: int = -1) -> bytes:
        """As of the file."""
        self.lease.is_held()
        return self.file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@contextmanager
def _text_of(row: Row) -> Iterator[tuple[BinaryIO, int, str]]:
    """The text of a row as a file, its bytes and its SHA-256."""
    if row.payload_id is None:
        data = row.body.encode()
        yield io.BytesIO(data), len(data), hashlib.sha256(data).hexdigest()
        return
    with payloads.spooled(Payload.objects.get(pk=row.payload_id)) as text, text.path.open("rb") as file:
        yield file, text.size, text.sha256


# Rows


def _read(pks: Sequence[int]) -> list[Row]:
    """Those of the rows that are still unsent."""
    table, document = bulk.given([(pk,) for pk in pks], {"pk": "bigint"})
    statement = f"SELECT {COLUMNS} FROM {table} JOIN trades_publication ON id = given.pk WHERE state = 'PENDING'"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(statement, [document])
        # SQLite gives a UUID as its hex digits.
        return [Row(pk, UUID(str(publication_id)), *rest) for pk, publication_id, *rest in cursor.fetchall()]


def _note_sent(sent: Sequence[tuple[Entry, sqs.Sent]], now: datetime) -> None:
    """Keep what SQS answered. A row that was made ready to be sent again meanwhile, under a new deduplication id, stays as it is.

    SQS answers a repetition with the id of the message that it has (AWS, SendMessage): where that is another publication's, this one
    will not be delivered.
    """
    if not sent:
        return
    seen: set[str] = set()
    rows = []
    for entry, answer in sent:
        pointer = entry.message.body if entry.is_pointer else ""
        values = answer.message_id, answer.md5, answer.sequence_number, pointer, answer.message_id in seen
        rows.append((entry.row.id, entry.row.deduplication_id, *values))
        seen.add(answer.message_id)
    table, document = bulk.given(rows, ANSWER)
    statement = (
        "UPDATE trades_publication SET state = 'SENT', sent_at = %s, attempts = attempts + 1, last_error = '', uncertain_since = NULL, "  # noqa: S608
        "message_id = given.message, md5 = given.md5, sequence_number = given.sequence, pointer = given.pointer, "
        # A sender that was slow may note once more what another one has noted: by then a repetition may have the id of the message too.
        "swallowed = CASE WHEN trades_publication.state = 'SENT' AND trades_publication.message_id = given.message "
        "THEN trades_publication.swallowed ELSE "
        "(given.repeated OR EXISTS (SELECT 1 FROM trades_publication other WHERE other.message_id = given.message "
        # An expression, lest SQLite take the index of all the queue's rows.
        "AND other.queue || '' = trades_publication.queue AND other.state = 'SENT' AND other.id <> trades_publication.id)) END "
        f"FROM {table} WHERE trades_publication.id = given.pk AND trades_publication.deduplication_id = given.deduplication"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [connection.ops.adapt_datetimefield_value(now), document])


def _note_failures(failed: Sequence[tuple[Row, str]], now: datetime, uncertain: datetime | None = None) -> None:
    """Keep what went wrong; `uncertain` is when they set off, if they may have arrived."""
    if not failed:
        return
    table, document = bulk.given([(row.id, error) for row, error in failed], {"pk": "bigint", "error": "text"})
    statement = (
        "UPDATE trades_publication SET attempts = attempts + 1, last_error = given.error, "  # noqa: S608
        f"uncertain_since = COALESCE(uncertain_since, %s) FROM {table} "
        # Not what another sender, to whom the lease went meanwhile, has sent already; one cancelled then may be in the queue all the same.
        "WHERE trades_publication.id = given.pk AND trades_publication.state <> 'SENT'"
    )
    attempts = [SendAttempt(publication_id=row.id, at=now, error=error) for row, error in failed if row.attempts < MOST_ATTEMPTS]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [connection.ops.adapt_datetimefield_value(uncertain), document])
        bulk.insert(attempts)
