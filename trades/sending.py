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
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event as Signal
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.db import transaction

from trades import leases, outbox_rows, payloads, routes, sqs
from trades.backlog import Backlog, Key
from trades.handing_in import attributes, outgoing
from trades.leases import Clock, Lease
from trades.models import Payload, Publication
from trades.outbox_rows import Answer, Entry, Row
from trades.sqs import buckets

PATIENCE_SECONDS, PERSON_SECONDS = 2, 5  # that a person waits for another sender, and for the sending
# While SQS works on one call the next is made ready: their groups are never the same.
CALLS_AT_ONCE = 2
# Calls the rows of which are read together, and the answers of which are noted together, but no later than so many seconds.
CALLS_IN_HAND, NOTED_AFTER = 5, timedelta(seconds=1)
NO_ANSWER = "NoAnswer"  # of sqs.Queue.send, to a message that SQS does not mention


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
    meanwhile: Callable[[], bool] | None = None,
) -> Delivery:
    """Send what is unsent, oldest first, but of the message groups to `skip`.

    Waits up to `patience` seconds while another sender is at work, then leaves it to that one. Begins no call after `at_most`
    seconds: a backlog is the relay's, not that of the person who happens to upload next. Ends after the call in hand when asked to stop.
    While SQS works, a short step of other work is done by `meanwhile`, which gives whether there is more of it and raises nothing.
    """
    ends = time.monotonic() + at_most if at_most is not None else float("inf")
    delivery = Delivery()
    with leases.holding(queue, clock, patience, stop) as lease:
        if lease is None:
            return Delivery(problem="Another sender is at work on this queue; it sends these publications too.", busy=True)
        try:
            ended = lambda: time.monotonic() > ends or (stop is not None and stop.is_set())  # noqa: E731
            Sender(_open(queue, clock), lease, delivery, skip, ended, meanwhile).send_all()
        except sqs.QueueError as error:
            delivery.problem = str(error)
            Publication.objects.unsent().filter(queue=queue, last_error="").update(last_error=str(error))
    return delivery


def _open(queue: str, clock: Clock) -> sqs.Queue:
    """The queue. One that can't be asked for was an attempt to send what is first in its outbox. Raises QueueError."""
    try:
        return routes.open_queue(queue)
    except sqs.QueueError as error:
        first = Publication.objects.unsent().filter(queue=queue).values_list("pk", flat=True)[:1]
        outbox_rows.note_failures([(row, str(error)) for row in outbox_rows.unsent(list(first))], clock())
        raise


def deliver_for_person(queues: Iterable[str], *, clock: Clock) -> list[Delivery]:
    """Send what is unsent of these queues for somebody who waits for a page. A backlog is the relay's, and so is every queue that is
    left when others did not answer for so long."""
    ends = time.monotonic() + PERSON_SECONDS
    deliveries: list[Delivery] = []
    for queue in queues:
        if time.monotonic() > ends and any(delivery.problem or delivery.failed for delivery in deliveries):
            deliveries.append(Delivery(problem=f"{queue} has not been asked yet: another queue took too long. The relay sends what waits."))
        else:
            deliveries.append(deliver(queue, clock=clock, patience=PATIENCE_SECONDS, at_most=PERSON_SECONDS))
    return deliveries


def waiting_queues() -> list[str]:
    """The queues that have unsent publications."""
    return list(Publication.objects.filter(state=Publication.State.PENDING).values_list("queue", flat=True).distinct().order_by("queue"))


@dataclass(slots=True)
class Call:
    """Messages on their way to SQS, and when they set off."""

    entries: list[Entry]
    at: datetime
    answer: Future[list[sqs.Sent | sqs.Failed]]


class Sender:
    """One pass over the outbox of a queue whose lease is held."""

    def __init__(
        self,
        queue: sqs.Queue,
        lease: Lease,
        delivery: Delivery,
        skip: Collection[str],
        ended: Callable[[], bool],
        meanwhile: Callable[[], bool] | None = None,
    ) -> None:
        self.queue = queue
        self.lease = lease
        self.delivery = delivery
        self.ended = ended
        self.meanwhile = meanwhile
        self.limit = routes.limit_of(queue.name)
        self.backlog = Backlog(queue.name, self.limit, skip)
        self.s3_away: sqs.QueueError | None = None
        self._calls: deque[list[Key]] = deque()
        self._rows: dict[int, Row] = {}
        self._answers: list[Answer] = []

    def send_all(self) -> None:
        """Until nothing is left that may be sent, or it is to end. Raises QueueError when the queue takes no calls."""
        flying: deque[Call] = deque()
        with ThreadPoolExecutor(CALLS_AT_ONCE, "send") as pool:
            try:
                while True:
                    while len(flying) < CALLS_AT_ONCE and (entries := self._next()):
                        is_alone = not (flying or self._calls or self.backlog.has_more or self.meanwhile)
                        flying.append(self._begin(entries, None if is_alone else pool))
                    if not flying:
                        break
                    self._finish(flying.popleft())
            except sqs.QueueError:
                for call in flying:
                    with suppress(sqs.QueueError):
                        self._finish(call)
                raise
            finally:
                self.lease.settled(self._rows)  # that no call was begun for
                self._note()

    def _next(self) -> list[Entry]:
        while not self._is_over() and (self._calls or self._plan()):
            entries = self._entries(self._calls.popleft())
            # Whatever the time: what took long to be stored in S3 would do so again, and never be sent.
            if entries and self.lease.is_held():
                return entries
        return []

    def _is_over(self) -> bool:
        self.delivery.ended = self.delivery.ended or self.ended() or not self.lease.is_held()
        return self.delivery.ended

    def _plan(self) -> bool:
        """Read what the next calls send. Gives whether there is any, and the lease still ours."""
        if keys := self.backlog.take():
            self._calls.append(keys)
        while len(self._calls) < CALLS_IN_HAND and self.backlog.has_plenty and self._text_bytes() < sqs.MAX_BATCH_BYTES:
            self._calls.append(self.backlog.take())
        # Of a group no more than one may be in doubt: sent again after five minutes, two would be there twice, the first behind the second.
        if {key.group for keys in self._calls for key in keys} & {answer.entry.row.group_id for answer in self._answers}:
            self._note()
        self._rows |= {row.id: row for row in outbox_rows.unsent([key.pk for keys in self._calls for key in keys])}
        self.delivery.ended = self.delivery.ended or (bool(self._rows) and not self.lease.take_in_hand(self._rows))
        return bool(self._calls) and not self.delivery.ended

    def _text_bytes(self) -> int:
        return sum(key.text_size for keys in self._calls for key in keys)

    def _entries(self, keys: Sequence[Key]) -> list[Entry]:
        """The messages of these rows, with what is too large for the queue stored in S3; what can't be is noted as failed."""
        entries = []
        for key in keys:
            row = self._rows.get(key.pk)
            if row is None:  # cancelled, or sent by somebody who was slow
                self.backlog.go_on(key.group)
                continue
            try:
                entry = self._entry(row)
            except (sqs.QueueError, OSError) as error:
                self._note([(row, payloads.unwritable(error) if isinstance(error, OSError) else str(error))])
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
        self._note()  # that may take minutes
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
        for entry in entries:
            self._rows.pop(entry.row.id, None)
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
        """Take the answers of a call. Raises QueueError when it has none that is about one of its messages."""
        self._wait_for(call)
        try:
            answers = call.answer.result()
        except sqs.QueueError as error:
            if not _is_about_content(error):
                uncertain = None if isinstance(error, sqs.Refused) else call.at
                outbox_rows.note_failures([(entry.row, str(error)) for entry in call.entries], self.lease.clock(), uncertain)
                self.lease.settled(entry.row.id for entry in call.entries)
                raise
            if len(call.entries) > 1:  # for the fault of one
                self._rows |= {entry.row.id: entry.row for entry in call.entries}
                for entry in call.entries:
                    if not self._is_over():
                        self._finish(self._begin([entry]))
                return
            answers = [sqs.Failed("", str(error))]
        self._take(call, answers)

    def _wait_for(self, call: Call) -> None:
        """Until there is an answer, with other work. While that takes long, what SQS answered before is noted."""
        while self.meanwhile is not None and not call.answer.done() and self.meanwhile():
            if self._is_due(self.lease.clock()):
                self._note()
        if self._answers and wait([call.answer], NOTED_AFTER.total_seconds()).not_done:
            self._note()

    def _take(self, call: Call, answers: Sequence[sqs.Sent | sqs.Failed]) -> None:
        now = self.lease.clock()
        failed: list[tuple[Row, str]] = []
        unsure: list[tuple[Row, str]] = []
        for entry, answer in zip(call.entries, answers, strict=True):
            if isinstance(answer, sqs.Failed):
                which = unsure if answer.code == NO_ANSWER else failed
                which.append((entry.row, str(answer) if answer.code else answer.message))
            elif answer.md5 != sqs.md5_of(entry.message.body):
                unsure.append((entry.row, "SQS stored another text than was sent (their MD5 differ); the message is sent again"))
            else:
                self._answers.append(Answer(entry, answer, now))
                self.delivery.sent += 1
                self.backlog.go_on(entry.row.group_id)
        if failed or unsure or len(self._answers) >= CALLS_IN_HAND * sqs.MAX_BATCH or self._is_due(now):
            self._note(failed, unsure, call.at)

    def _is_due(self, now: datetime) -> bool:
        return bool(self._answers) and now - self._answers[0].at >= NOTED_AFTER

    def _note(
        self, failed: Sequence[tuple[Row, str]] = (), unsure: Sequence[tuple[Row, str]] = (), set_off: datetime | None = None
    ) -> None:
        """Store the answers that there are, what failed, and what did so and may be in the queue since then all the same."""
        with transaction.atomic() if failed or unsure else nullcontext():  # one statement needs none
            outbox_rows.note_sent(self._answers)
            outbox_rows.note_failures(failed, self.lease.clock())
            outbox_rows.note_failures(unsure, self.lease.clock(), set_off)
        self.lease.settled(answer.entry.row.id for answer in self._answers)
        self._answers = []
        for row, error in (*failed, *unsure):
            self.lease.settled([row.id])
            self._rows.pop(row.id, None)
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
