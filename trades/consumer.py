"""The worker: receive, record, delete; give back what could not be recorded; stop well.

It never trusts its visibility timeout: a worker that was too slow finds its messages recorded already and does nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event

from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from trades import history, sqs
from trades.sqs import Queue, Received
from trades.stopping import Backoff

logger = logging.getLogger(__name__)

# More per transaction costs less a message, as long as the batch fits in memory and is recorded well within the visibility timeout.
GATHER = 200
GATHER_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Settings:
    """How a worker runs. `wait` is the long poll in seconds (0..20); `max_messages` None means no end."""

    wait: int = 10
    receivers: int = 1
    until_empty: bool = False
    max_messages: int | None = None
    hold: bool = True
    echo: Callable[[str], None] | None = None


@dataclass(slots=True)
class Quota:
    """How many messages may still be received, shared by all receivers."""

    left: int | None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, wanted: int) -> int:
        """Reserve up to `wanted` messages; gives how many."""
        with self.lock:
            granted = wanted if self.left is None else min(wanted, self.left)
            if self.left is not None:
                self.left -= granted
            return granted

    def put_back(self, unused: int) -> None:
        """Give back what was reserved and not received."""
        with self.lock:
            if self.left is not None:
                self.left += unused


class Receiver:
    """One loop of receiving and recording, in a thread of its own with its own database connection."""

    def __init__(self, queue: Queue, settings: Settings, quota: Quota, stop: Event, clock: Callable[[], datetime]) -> None:
        self.queue = queue
        self.settings = settings
        self.quota = quota
        self.stop = stop
        self.clock = clock
        self.queue_backoff = Backoff(stop)
        self.database_backoff = Backoff(stop)
        self.damage_backoff = Backoff(stop)

    def run(self) -> None:
        """Work until asked to stop, or until the queue is empty or the quota used up where the settings say so."""
        try:
            while not self.stop.is_set():
                found = self.step()
                if found == 0 and (self.settings.until_empty or self.quota.left == 0):
                    break
        finally:
            connection.close()

    def step(self) -> int | None:
        """Receive one batch and settle it; gives how many messages came, None when queue or database could not be asked."""
        # Each receive of a message counts towards its dead-letter limit, so nothing is received for a database that is away.
        if self.database_backoff.failures and not self._database_answers():
            return None
        try:
            batch = self._gather()
        except sqs.QueueError as error:
            self._away(self.queue_backoff, "the queue", error)
            return None
        if self.queue_backoff.reset():
            logger.info("the queue is back")
        if batch:
            self._settle(batch)
        return len(batch)

    def _gather(self) -> list[Received]:
        """Messages of several receives while each comes back full. A group in flight is locked, so order is kept across them."""
        batch: list[Received] = []
        size, wait = 0, self.settings.wait
        while len(batch) < GATHER and size < GATHER_BYTES and not self.stop.is_set():
            granted = self.quota.take(min(sqs.MAX_BATCH, GATHER - len(batch)))
            if not granted:
                break
            try:
                received = self.queue.receive(granted, wait)
            except sqs.QueueError:
                self.quota.put_back(granted)
                if not batch:
                    raise
                break
            self.quota.put_back(granted - len(received))
            batch += received
            size += sum(len(message.body) for message in received)
            if len(received) < granted:
                break
            wait = 0
        return batch

    def _settle(self, batch: list[Received]) -> None:
        started = time.perf_counter()
        sound = self._without_damaged_groups(batch)
        close_old_connections()
        try:
            report = history.record(sound, now=self.clock(), hold=self.settings.hold) if sound else history.Report()
        except (DatabaseError, InterfaceError) as error:
            self._give_back(sound)
            self._away(self.database_backoff, "the database", error)
            return
        finally:
            # Not kept through the next long poll: a pool has fewer connections than there may be receivers.
            close_old_connections()
        if self.database_backoff.reset():
            logger.info("the database is back")
        self._delete(sound)
        self._echo(sound)
        logger.info("%s in %.0f ms", _words(report), 1000 * (time.perf_counter() - started))

    def _database_answers(self) -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except (DatabaseError, InterfaceError) as error:
            self._away(self.database_backoff, "the database", error)
            return False
        finally:
            close_old_connections()
        return True

    def _without_damaged_groups(self, batch: list[Received]) -> list[Received]:
        """The batch without messages whose text is not what SQS stored, nor what follows them in their groups: those go back."""
        damaged: set[str] = set()
        sound: list[Received] = []
        for message in batch:
            if not message.intact:
                logger.error("message %s arrived damaged: its MD5 differs; it is given back", message.message_id)
                damaged.add(message.group_id)
            if message.group_id not in damaged:
                sound.append(message)
        if damaged:
            self._give_back([message for message in batch if message.group_id in damaged])
            self.damage_backoff.pause()
        else:
            self.damage_backoff.reset()
        return sound

    def _echo(self, batch: list[Received]) -> None:
        if self.settings.echo:
            try:
                for message in batch:
                    self.settings.echo(message.body)
            except BrokenPipeError:
                logger.info("nobody reads what is printed any more; stopping")
                self.settings.echo = None
                self.stop.set()

    def _delete(self, batch: list[Received]) -> None:
        """Delete what is recorded. What can't be deleted comes again and is then acknowledged without effect."""
        try:
            failed = self.queue.delete(batch)
            if failed:
                failed = self.queue.delete([message for message, _ in failed])
            for message, failure in failed:
                logger.warning("message %s is recorded but was not deleted (%s); it will come again", message.message_id, failure)
        except sqs.QueueError as error:
            logger.warning("%d recorded messages were not deleted (%s); they will come again", len(batch), error)

    def _give_back(self, batch: list[Received]) -> None:
        self.quota.put_back(len(batch))
        try:
            for message, failure in self.queue.release(batch):
                logger.warning("message %s was not given back (%s); it comes again after its timeout", message.message_id, failure)
        except sqs.QueueError as error:
            logger.warning("%d messages were not given back (%s); they come again after their timeout", len(batch), error)

    def _away(self, backoff: Backoff, what: str, error: Exception) -> None:
        if backoff.failures == 0:
            logger.error("%s is away, trying again until it is back: %s", what, error)
        backoff.pause()


def run(name: str, settings: Settings, stop: Event, clock: Callable[[], datetime], ready: Callable[[str], None]) -> None:
    """Run a worker on the queue of that name until it is done or asked to stop. Raises QueueError if the queue can't be opened.

    `ready` is called once with a line to print when the worker is about to receive.
    """
    queue = sqs.open_queue(name, receiving=True)
    quota = Quota(settings.max_messages)
    receivers = [Receiver(queue, settings, quota, stop, clock) for _ in range(settings.receivers)]
    ready(f"ready: queue {name} at {sqs.broker_name()}, {settings.receivers} receiving, wait {settings.wait} s")
    with ThreadPoolExecutor(settings.receivers, thread_name_prefix="receiver") as pool:
        running = [pool.submit(receiver.run) for receiver in receivers]
        done, _ = futures.wait(running, return_when=futures.FIRST_EXCEPTION)
        if any(future.exception() for future in done):
            logger.error("a receiver failed; the others finish what they have in hand")
            stop.set()
        for future in running:
            future.result()


def _words(report: history.Report) -> str:
    parts = [f"{outcome.lower()} {count}" for outcome, count in sorted(report.outcomes.items())]
    if report.repeats:
        parts.append(f"acknowledged again {report.repeats}")
    return ", ".join(parts) or "nothing recorded"
