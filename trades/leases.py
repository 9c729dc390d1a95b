"""Who may send to a queue: one holder at a time, for a while that it goes on renewing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from threading import Event as Signal

from django.db import DatabaseError, connection
from django.db.models import Q

from trades.models import OutboxLease

Clock = Callable[[], datetime]
# So long a sender that died holds up its queue. One that is only slow may be overtaken in the middle of a call: the other begins with
# the same rows, which SQS takes once by their deduplication ids, and the slow one may make no further call.
LEASE = timedelta(seconds=10)
RENEWED = timedelta(seconds=2)  # so long it needs no renewal
POLL_SECONDS = 0.1


class Lease:
    """The right to send what the outbox has for one queue."""

    def __init__(self, queue: str, clock: Clock) -> None:
        self.queue = queue
        self.clock = clock
        self.holder = uuid.uuid4().hex
        self._renewed_at: datetime | None = None

    def acquire(self, patience: float = 0, stop: Signal | None = None) -> bool:
        """Whether it is ours now; while it is another's it is waited for so many seconds, or until asked to stop."""
        OutboxLease.objects.get_or_create(queue=self.queue, defaults={"expires_at": self.clock()})
        deadline, wait = time.monotonic() + patience, stop or Signal()
        while not self.renew():
            if time.monotonic() >= deadline or wait.wait(POLL_SECONDS):
                return False
        return True

    def is_held(self) -> bool:
        """Whether it is still ours, and will be for some seconds; it is renewed if that takes it."""
        age = self.clock() - self._renewed_at if self._renewed_at is not None else RENEWED
        return timedelta(0) <= age < RENEWED or self.renew()

    def renew(self) -> bool:
        """Take it or keep it, unless another has it. Gives whether it is ours."""
        now = self.clock()
        free = Q(holder=self.holder) | Q(expires_at__lte=now)
        is_ours = OutboxLease.objects.filter(free, queue=self.queue).update(holder=self.holder, expires_at=now + LEASE) == 1
        self._renewed_at = now if is_ours else None
        return is_ours

    def release(self) -> None:
        """Let the next one begin at once. Where the connection broke a new one is tried; failing that, it runs out by itself."""
        lease = OutboxLease.objects.filter(queue=self.queue, holder=self.holder)
        try:
            lease.update(expires_at=self.clock())
        except DatabaseError:
            connection.close()
            with suppress(DatabaseError):
                lease.update(expires_at=self.clock())


@contextmanager
def holding(queue: str, clock: Clock, patience: float = 0, stop: Signal | None = None) -> Iterator[Lease | None]:
    """The lease of a queue for the time of the block, None while another has it."""
    lease = Lease(queue, clock)
    if not lease.acquire(patience, stop):
        yield None
        return
    try:
        yield lease
    finally:
        lease.release()
