"""Keep messages invisible while they are being recorded, however long that takes.

A batch that is recorded quickly costs nothing here: one thread looks around a few times per visibility timeout, and ends when
nothing has been in hand for a while.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trades import sqs
from trades.sqs import Failed, Queue, Received

logger = logging.getLogger(__name__)

# SQS's own default, for a queue whose attributes can't be read.
DEFAULT_SECONDS = 30
# SQS counts twelve hours from the receive, and refuses what would go beyond (AWS, visibility timeout).
LONGEST = timedelta(seconds=sqs.MAX_VISIBILITY_SECONDS - 5)
# A recording that hangs, say on a connection that went silent, must let others have its groups.
TIMEOUTS, AT_LEAST = 10, timedelta(minutes=15)
LOOKS_PER_TIMEOUT = 12


def timeout_of(queue: Queue) -> int:
    """The queue's visibility timeout in seconds, at least 1; SQS's default when the queue does not tell."""
    try:
        return max(1, int(queue.attributes()["VisibilityTimeout"]))
    except (sqs.QueueError, KeyError) as error:
        logger.warning("the visibility timeout of %s is not known, %d s are supposed: %s", queue.name, DEFAULT_SECONDS, error)
        return DEFAULT_SECONDS


@dataclass(slots=True)
class Lease:
    """How long a batch is ours: received at `start`, invisible to others until `until`, as far as SQS has told us, and never kept
    beyond `end`."""

    start: datetime
    until: datetime
    end: datetime
    messages: list[Received] = field(default_factory=list)
    told: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Keeper:
    """Extends the visibility of what a process holds. Shared by its receivers; its thread runs only while something is held."""

    def __init__(self, queue: Queue, seconds: int, clock: Callable[[], datetime], stop: threading.Event) -> None:
        self.queue = queue
        self.seconds = seconds
        self.clock = clock
        self.stop = stop
        self._leases: list[Lease] = []
        self._lock = threading.Lock()
        self._running = False

    def lease(self) -> Lease:
        """The lease of messages that were received just now."""
        now, whole = self.clock(), timedelta(seconds=self.seconds)
        return Lease(now, now + whole, now + longest(whole))

    @contextmanager
    def keeping(self, batch: Sequence[Received], lease: Lease) -> Iterator[None]:
        """Extend the batch, in time, until the block ends. After it nothing of the batch is extended any more."""
        lease.messages = heads_first(batch)
        with self._lock:
            self._leases.append(lease)
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="visibility", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._leases.remove(lease)
            # An extension under way must not come after the messages are given back: they would be locked for nobody.
            with lease.lock:
                lease.messages = []

    def _watch(self) -> None:
        pause, idle = threading.Event(), 0
        while True:
            pause.wait(self.seconds / LOOKS_PER_TIMEOUT)
            with self._lock:
                leases = list(self._leases)
                idle = 0 if leases else idle + 1
                if idle > LOOKS_PER_TIMEOUT:
                    self._running = False
                    return
            for lease in leases:
                try:
                    self.extend_if_due(lease)
                except Exception:
                    logger.exception("extending the visibility of messages failed unexpectedly")

    def extend_if_due(self, lease: Lease) -> None:
        """Extend what a lease holds once a third of its time is over, up to its end, which a stop brings near: one timeout from then.

        A lost lease is only told: the rows decide what it means.
        """
        now, whole = self.clock(), timedelta(seconds=self.seconds)
        if self.stop.is_set():
            lease.end = min(lease.end, now + whole)
        if lease.until - now > whole * 2 / 3:
            return
        wanted = min(whole, lease.end - now)
        if lease.until >= lease.end or wanted < timedelta(seconds=1):
            if now >= lease.end:
                self._tell(lease, len(lease.messages), f"recording has taken {(now - lease.start).total_seconds():.0f} s")
            return
        try:
            failed = self._extend(lease, int(wanted.total_seconds()))
        except sqs.QueueError as error:
            self._tell(lease, len(lease.messages), str(error))
            return
        lost = {message.message_id for message, failure in failed if failure.expired}
        if failed:
            self._tell(lease, len(failed), str(failed[0][1]))
        with lease.lock:
            lease.messages = [message for message in lease.messages if message.message_id not in lost]
        if len(lost) == len(failed):
            lease.until = now + wanted

    def _extend(self, lease: Lease, seconds: int) -> list[tuple[Received, Failed]]:
        """Ten a call, each call under the lock of the lease, so that its end waits for one call at most."""
        failed: list[tuple[Received, Failed]] = []
        for ten in list(sqs.batches(lease.messages)):
            with lease.lock:
                if not lease.messages:
                    break
                failed += self.queue.extend(ten, seconds)
        return failed

    def _tell(self, lease: Lease, count: int, why: str) -> None:
        if not lease.told:
            lease.told = True
            logger.warning("%d of the messages in hand may be delivered again, without effect: %s", count, why)


def longest(whole: timedelta) -> timedelta:
    """How long after its receive a batch may be kept in a queue of that visibility timeout."""
    return min(LONGEST, max(TIMEOUTS * whole, AT_LEAST))


def heads_first(batch: Sequence[Received]) -> list[Received]:
    """The first message of each group, then all others: SQS hands a group to someone else from its first visible message on."""
    heads: dict[str, Received] = {}
    for message in batch:
        heads.setdefault(message.group_id, message)
    return [*heads.values(), *(message for message in batch if heads[message.group_id] is not message)]
