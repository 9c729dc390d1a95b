"""Receive so that no answer is lost for good: what SQS handed over is asked for again with the same attempt id."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trades import sqs
from trades.sqs import Queue, Received

logger = logging.getLogger(__name__)

# For so long SQS gives the messages of a lost answer again to who asks with the same attempt id.
ATTEMPT_LIFE = timedelta(minutes=5)


def sound(batch: Sequence[Received]) -> list[Received]:
    """The batch without messages whose text is not what SQS stored, nor what follows them in their groups."""
    damaged: set[str] = set()
    whole: list[Received] = []
    for message in batch:
        if not message.intact:
            logger.error("message %s arrived damaged: its MD5 differs; it is given back", message.message_id)
            damaged.add(message.group_id)
        if message.group_id not in damaged:
            whole.append(message)
    return whole


@dataclass(slots=True)
class Quota:
    """How many messages may still be received, shared by all receivers; None means no end."""

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


@dataclass(frozen=True, slots=True)
class Attempt:
    """One receive, whatever becomes of its answer. Its messages are reserved in the quota."""

    id: str
    limit: int
    made_at: datetime


class Attempts:
    """The receives of one receiver, one after the other."""

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        self.lost: Attempt | None = None

    def next(self, wanted: int, now: datetime) -> Attempt:
        """The attempt whose answer was lost, as it was, while SQS remembers it; else a fresh one for as many as the quota allows."""
        if self.lost is not None:
            if now - self.lost.made_at < ATTEMPT_LIFE:
                return self.lost
            self.quota.put_back(self.lost.limit)
            self.lost = None
        return Attempt(sqs.new_attempt_id(), self.quota.take(wanted), now)

    def receive(self, queue: Queue, attempt: Attempt, wait: int) -> list[Received]:
        """The messages of an attempt. Raises QueueError, and remembers the attempt while its answer may hold messages."""
        try:
            received = queue.receive(attempt.limit, wait, attempt.id)
        except sqs.QueueError as error:
            # A refusal says that nothing was done this time, and nothing about an answer that was lost before.
            if not isinstance(error, sqs.Refused) or (self.lost and not isinstance(error, sqs.BadRequest)):
                self.lost = attempt
            else:
                self.lost = None
                self.quota.put_back(attempt.limit)
            raise
        self.lost = None
        self.quota.put_back(attempt.limit - len(received))
        return received

    def give_back(self, queue: Queue) -> None:
        """What an answer that was lost has handed over is locked for everybody: ask for it once more, and give it back."""
        if self.lost is None:
            return
        attempt, self.lost = self.lost, None
        self.quota.put_back(attempt.limit)
        try:
            queue.release(queue.receive(attempt.limit, 0, attempt.id))
        except sqs.QueueError as error:
            logger.info("what a lost answer may have held comes again after its timeout: %s", error)
