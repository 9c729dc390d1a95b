"""The worker: receive, record, delete; give back what could not be recorded; stop well.

It keeps what it holds invisible to others, and trusts that for nothing: a worker that was too slow finds its messages recorded
already and does nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from threading import Event

from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from trades import fetching, handlers, history, receipts, routes, sqs, visibility
from trades.handlers import Replaced, Work
from trades.heartbeat import Heartbeat, Vitals
from trades.receiving import Attempts, Quota, sound
from trades.sqs import Failed, Queue, Received
from trades.stopping import Backoff
from trades.visibility import Keeper

logger = logging.getLogger(__name__)

# More per transaction costs less a message, as long as the batch fits in memory and is recorded well within the visibility timeout.
GATHER = 200
GATHER_BYTES = 8 * 1024 * 1024
# Between short polls of a queue that is empty.
IDLE_SECONDS = 0.5
# How late the main thread may notice a signal.
SIGNAL_SECONDS = 1.0
# deadlock_detected, serialization_failure (PostgreSQL, appendix A).
VICTIM = {"40P01", "40001"}
QUEUE, DATABASE, PAYLOADS = "the queue", "the database", "S3"
# A message whose payload could not be had comes again within this time, unless it went elsewhere.
FORGET = timedelta(minutes=2)
Recording = Callable[[Sequence[Received], datetime], history.Report]
Call = Callable[[Sequence[Received]], list[tuple[Received, Failed]]]


@dataclass(slots=True)
class Settings:
    """How a worker runs. `wait` is the long poll in seconds (0..20); `max_messages` None means no end; `record` stores a batch in one
    transaction, None for `history.record`; `work` is the handler that is given what is recorded."""

    wait: int = 10
    receivers: int = 1
    until_empty: bool = False
    max_messages: int | None = None
    hold: bool = True
    echo: Callable[[str], None] | None = None
    record: Recording | None = None
    work: Work | None = None


@dataclass(slots=True)
class Shared:
    """What the receivers of one process have in common."""

    vitals: Vitals
    keeper: Keeper

    @classmethod
    def of(cls, queue: Queue, clock: Callable[[], datetime], stop: Event) -> Shared:
        """For the receivers of that queue. Asks it for its visibility timeout."""
        return cls(Vitals(), Keeper(queue, visibility.timeout_of(queue), clock, stop))


class Receiver:
    """One loop of receiving and recording, in a thread of its own with its own database connection."""

    def __init__(
        self, queue: Queue, settings: Settings, quota: Quota, stop: Event, clock: Callable[[], datetime], shared: Shared | None = None
    ) -> None:
        self.queue = queue
        self.settings = settings
        self.quota = quota
        self.stop = stop
        self.clock = clock
        self.shared = shared or Shared.of(queue, clock, stop)
        self.vitals = self.shared.vitals
        self.lease = self.shared.keeper.lease()
        self.attempts = Attempts(quota)
        self.queue_backoff = Backoff(stop)
        self.database_backoff = Backoff(stop)
        self.fault_backoff = Backoff(stop)
        self.resting: set[str] = set()  # groups of the batch in hand that the handler did not take, or whose payload could not be had
        self.forget_at: datetime | None = None

    def run(self) -> None:
        """Work until asked to stop, or until the queue is empty or the quota used up where the settings say so."""
        try:
            while not self.stop.is_set():
                found = self.step()
                if found == 0 and (self.settings.until_empty or self.quota.left == 0):
                    break
                if found == 0 and self.settings.wait == 0:
                    self.stop.wait(IDLE_SECONDS)
            self.attempts.give_back(self.queue)
        finally:
            self.vitals.gone(id(self))
            connection.close()

    def step(self) -> int | None:
        """Receive one batch and settle it; gives how many messages came, None when queue or database could not be asked."""
        # Each receive of a message counts towards its dead-letter limit, so nothing is received for a database that is away.
        if self.database_backoff.failures and not self._database_answers():
            return None
        try:
            batch = self._gather()
        except sqs.QueueError as error:
            self._away(QUEUE, error)
            self.queue_backoff.pause()
            return None
        self._back(QUEUE, self.queue_backoff)
        if self.forget_at and self.clock() > self.forget_at:
            self._back(PAYLOADS)
        if batch:
            with self.vitals.working():
                self._settle(batch)
        else:
            # It was asked above if it had been away. One that answers but can't be written to is met again with the next message.
            self._back(DATABASE, self.database_backoff)
        return len(batch) + (self._catch_up(self.settings.work) if self.settings.work else 0)

    def _catch_up(self, work: Work) -> int:
        """Give the handler what was recorded elsewhere, as by a person; gives how many messages it took."""
        try:
            return work.catch_up(self.clock(), self.stop, self.vitals.note)
        except Replaced as error:
            self._replaced(error)
        except (DatabaseError, InterfaceError) as error:
            self._away(DATABASE, error)
            self.database_backoff.pause()
        finally:
            close_old_connections()
        return 0

    def _replaced(self, error: Replaced) -> None:
        logger.error("%s This worker stops.", error)
        self.vitals.note(str(error))
        self.stop.set()

    def keeping(self, batch: Sequence[Received]) -> AbstractContextManager[None]:
        """Keeps the batch invisible to others while the block lasts."""
        return self.shared.keeper.keeping(batch, self.lease)

    def _gather(self) -> list[Received]:
        """Messages of several receives while each comes back full. A group in flight is locked, so order is kept across them."""
        batch: list[Received] = []
        size, wait = 0, self.settings.wait
        while len(batch) < GATHER and size < GATHER_BYTES and not self.stop.is_set():
            attempt = self.attempts.next(min(sqs.MAX_BATCH, GATHER - len(batch)), self.clock())
            if not attempt.limit:
                break
            try:
                received = self.attempts.receive(self.queue, attempt, wait)
            except sqs.QueueError:
                if not batch:
                    raise
                break
            self.vitals.polled(self.clock(), len(received))
            if not batch:
                self.lease = self.shared.keeper.lease()
            batch += received
            size += sum(map(fetching.weight, received))
            if len(received) < attempt.limit:
                break
            wait = 0
        return batch

    def _settle(self, batch: list[Received]) -> None:
        try:
            with self.keeping(batch):
                close_old_connections()
                recorded = self._recorded(batch)
        except (DatabaseError, InterfaceError) as error:
            self.resting.clear()
            self._give_back(batch)
            self._away(DATABASE, error)
            self.database_backoff.pause()
            return
        finally:
            # Not kept through the next long poll: a pool has fewer connections than there may be receivers.
            close_old_connections()
        self._back(DATABASE, self.database_backoff)
        done = {message.receipt_handle for message in recorded}
        left = [message for message in batch if message.receipt_handle not in done]
        given_up = [message for message in left if message.group_id not in self.resting]
        self._give_back(given_up)
        self._give_back([message for message in left if message.group_id in self.resting], partial(handlers.let_rest, self.queue))
        self.resting.clear()
        self._delete(recorded)
        self._echo(recorded)
        _pause_or_reset(self.fault_backoff, bool(given_up))

    def _recorded(self, batch: Sequence[Received]) -> list[Received]:
        """Record what is sound of a batch, in parts where payloads are fetched for it; gives what is recorded. Raises DatabaseError."""
        recorded: list[Received] = []
        behind: set[str] = set()
        for part in fetching.parts(sound(batch), GATHER_BYTES):
            recorded += self._record(self._followed([message for message in part if message.group_id not in behind]))
            done = {message.receipt_handle for message in recorded}
            behind |= {message.group_id for message in part if message.receipt_handle not in done}
        return recorded

    def _followed(self, batch: Sequence[Received]) -> list[Received]:
        """The batch with the texts that are in S3. The groups of what can't be had now rest for a while, in which others go on."""
        found = fetching.follow(batch, stop=self.stop, now=self.clock())
        self.resting |= found.waiting
        if found.trouble:
            self._away(PAYLOADS, found.trouble)
            self.forget_at = self.clock() + FORGET
        elif found.followed:
            self._back(PAYLOADS)
        return found.ready

    def _record(self, batch: Sequence[Received]) -> list[Received]:
        """Record messages; gives those that are recorded. A defect of ours stops only the group that meets it. Raises DatabaseError."""
        if not batch:
            return []
        started = time.perf_counter()
        try:
            report = self._stored_even_if_a_victim(batch)
        except (DatabaseError, InterfaceError):
            raise
        except Replaced as error:
            self._replaced(error)
            return []
        except Exception as error:
            logger.exception("recording %s failed unexpectedly; given back", _messages(batch))
            self.vitals.note(repr(error))
            if len(groups := _by_group(batch)) > 1:
                return [message for group in groups for message in self._record(group)]
            if not isinstance(error, handlers.Failed):
                return []
            self.resting.add(batch[0].group_id)
            return self._record(error.before(batch))
        self.vitals.recorded(report)
        logger.info("%s in %.0f ms", _words(report), 1000 * (time.perf_counter() - started))
        return list(batch)

    def _stored_even_if_a_victim(self, batch: Sequence[Received]) -> history.Report:
        """PostgreSQL ends one of two transactions that stand in each other's way. That is no outage, and done again it mostly succeeds."""
        try:
            return self._stored(batch)
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", None) not in VICTIM:
                raise
            logger.info("another transaction went first, recording again: %s", error)
        return self._stored(batch)

    def _stored(self, batch: Sequence[Received]) -> history.Report:
        record = self.settings.work.record if self.settings.work else self.settings.record
        if record:
            return record(batch, self.clock())
        return history.record(batch, now=self.clock(), hold=self.settings.hold)

    def _database_answers(self) -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except (DatabaseError, InterfaceError) as error:
            self._away(DATABASE, error)
            self.database_backoff.pause()
            return False
        finally:
            close_old_connections()
        return True

    def _echo(self, batch: Sequence[Received]) -> None:
        if self.settings.echo:
            try:
                for message in batch:
                    self.settings.echo(fetching.printed(message))
            except BrokenPipeError:
                logger.info("nobody reads what is printed any more; stopping")
                self.settings.echo = None
                self.stop.set()

    def _delete(self, batch: Sequence[Received]) -> None:
        """Delete what is recorded. What can't be deleted comes again and is then acknowledged without effect."""
        left, why = self._persist(self._deleted, batch)
        if left:
            logger.warning("%s recorded but not deleted, to come again without effect: %s", _messages(left), why)

    def _deleted(self, batch: Sequence[Received]) -> list[tuple[Received, Failed]]:
        failed = self.queue.delete(batch)
        self.vitals.deletes.note(batch, failed, self.clock())
        return failed

    def _give_back(self, batch: Sequence[Received], how: Call | None = None) -> None:
        self.quota.put_back(len(batch))
        left, why = self._persist(how if how and not self.stop.is_set() else self.queue.release, batch)
        if left:
            logger.warning("%s not given back, to come again after the timeout: %s", _messages(left), why)

    def _persist(self, call: Call, batch: Sequence[Received]) -> tuple[list[Received], str]:
        """Do what the call does to all messages, trying again while they are ours. After a stop one more try is made, no other.

        Gives those for which it was not done, and why. A receipt that expired is none of these: the message is no longer ours.
        """
        left, why = list(batch), ""
        while left:
            is_last = self.stop.is_set() or self.clock() >= self.lease.until
            try:
                left, why = _not_done(call(left))
                self._back(QUEUE)
            except sqs.QueueError as error:
                why = str(error)
                self._away(QUEUE, error)
            if left and is_last:
                break
            _pause_or_reset(self.queue_backoff, bool(left))
        return left, why

    def _away(self, what: str, error: Exception) -> None:
        if self.vitals.away(what, id(self), str(error)):
            words = "is away, trying again until it is back"
            if isinstance(error, sqs.Throttled):
                words = "is throttled, trying again more slowly"
            logger.error("%s %s: %s", what, words, error)

    def _back(self, what: str, backoff: Backoff | None = None) -> None:
        if backoff:
            backoff.reset()
        if self.vitals.back(what, id(self)):
            logger.info("%s is back", what)


def run(name: str, settings: Settings, stop: Event, clock: Callable[[], datetime], ready: Callable[[str], None]) -> history.Report:
    """Run a worker on the queue of that name until it is done or asked to stop; gives what became of all messages.

    `ready` is called once with a line to print when the worker is about to receive. Raises QueueError if the queue can't be opened.
    """
    queue = routes.open_queue(name)
    shared = Shared.of(queue, clock, stop)
    quota = Quota(settings.max_messages)
    handler = settings.work.name if settings.work else ""
    receivers = [Receiver(queue, settings, quota, stop, clock, shared) for _ in range(settings.receivers)]
    ready(f"ready: queue {name} at {queue.at or sqs.broker_name()}, {settings.receivers} receiving, wait {settings.wait} s")
    threads = ThreadPoolExecutor(settings.receivers, thread_name_prefix="receiver")
    with receipts.as_worker(), Heartbeat(name, shared.vitals, stop, clock, handler=handler), threads as pool:
        running = [pool.submit(receiver.run) for receiver in receivers]
        done = _ended(running)
        if any(future.exception() for future in done):
            logger.error("a receiver failed; the others finish what they have in hand")
            stop.set()
        for future in running:
            future.result()
    return shared.vitals.total


def _ended(running: Sequence[Future[None]]) -> set[Future[None]]:
    """The receivers that have ended, once all have or one failed."""
    # A signal that comes just as a wait begins is handled only when that wait ends, so no wait of the main thread may be without end.
    while True:
        done, others = futures.wait(running, SIGNAL_SECONDS, futures.FIRST_EXCEPTION)
        if not others or any(future.exception() for future in done):
            return done


def _messages(some: Sequence[object]) -> str:
    return f"{len(some)} message{'' if len(some) == 1 else 's'}"


def _by_group(batch: Sequence[Received]) -> list[list[Received]]:
    groups: dict[str, list[Received]] = {}
    for message in batch:
        groups.setdefault(message.group_id, []).append(message)
    return list(groups.values())


def _not_done(failed: list[tuple[Received, Failed]]) -> tuple[list[Received], str]:
    """What to try again, and why it failed."""
    ours = [(message, failure) for message, failure in failed if not failure.expired]
    if len(ours) < len(failed):
        logger.info("no longer ours, for the receipt expired: %s", _messages(failed[len(ours) :]))
    return [message for message, _ in ours], str(ours[0][1]) if ours else ""


def _pause_or_reset(backoff: Backoff, failed: bool) -> None:
    if failed:
        backoff.pause()
    else:
        backoff.reset()


def _words(report: history.Report) -> str:
    parts = [f"{outcome.lower()} {count}" for outcome, count in sorted(report.outcomes.items())]
    if report.repeats:
        parts.append(f"acknowledged again {report.repeats}")
    return ", ".join(parts) or "nothing recorded"
