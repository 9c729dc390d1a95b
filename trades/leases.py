"""Who may send to a queue: one holder at a time, for a while that it goes on renewing, and what it is about to send."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from threading import Event as Signal
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Coalesce

from trades.models import OutboxLease, Publication

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
        self._in_hand: dict[int, datetime] = {}  # since when

    def acquire(self, patience: float = 0, stop: Signal | None = None) -> bool:
        """Whether it is ours now; while it is another's it is waited for so many seconds, or until asked to stop."""
        OutboxLease.objects.get_or_create(queue=self.queue, defaults={"expires_at": self.clock()})
        deadline, wait = time.monotonic() + patience, stop or Signal()
        while not self._take():
            if time.monotonic() >= deadline or wait.wait(POLL_SECONDS):
                return False
        return True

    def is_held(self) -> bool:
        """Whether it is still ours, and will be for some seconds; it is renewed if that takes it."""
        age = self.clock() - self._renewed_at if self._renewed_at is not None else RENEWED
        return timedelta(0) <= age < RENEWED or self.renew()

    def renew(self) -> bool:
        """Keep it, unless another has had it since. Gives whether it is ours."""
        now = self.clock()
        return self._is_ours(now, self._own().update(expires_at=now + LEASE) == 1)

    def take_in_hand(self, publications: Iterable[int]) -> bool:
        """Keep it, and with it which publications (keys) are about to be sent: who dies before it could note what SQS answered leaves
        that to its successor. Gives whether the lease is ours."""
        now = self.clock()
        self._in_hand = dict.fromkeys(publications, now) | self._in_hand
        return self._is_ours(now, self._own().update(expires_at=now + LEASE, **self._left()) == 1)

    def settled(self, publications: Iterable[int]) -> None:
        """What became of these is noted, or they were not sent."""
        for publication in publications:
            self._in_hand.pop(publication, None)

    def release(self) -> None:
        """Let the next one begin at once. Where the connection broke a new one is tried; failing that, it runs out by itself."""
        try:
            self._own().update(expires_at=self.clock(), **self._left())
        except DatabaseError:
            connection.close()
            with suppress(DatabaseError):
                self._own().update(expires_at=self.clock(), **self._left())

    def _left(self) -> dict[str, Any]:
        """What the successor of a sender that died has to know: all that is in hand, and since when the first of it is."""
        return {"in_hand": sorted(self._in_hand), "in_hand_since": min(self._in_hand.values(), default=None)}

    def _own(self) -> QuerySet[OutboxLease]:
        return OutboxLease.objects.filter(queue=self.queue, holder=self.holder)

    def _is_ours(self, now: datetime, is_ours: bool) -> bool:
        self._renewed_at = now if is_ours else None
        return is_ours

    def _take(self) -> bool:
        """Take it if it is free."""
        now = self.clock()
        free = OutboxLease.objects.filter(queue=self.queue, expires_at__lte=now)
        ours = {"holder": self.holder, "expires_at": now + LEASE}
        if free.filter(in_hand_since=None).update(**ours):
            return self._is_ours(now, True)
        if not free.exists():
            return False
        with transaction.atomic():
            left = free.select_for_update().first()
            if left is None:
                return self._is_ours(now, False)
            # By now they may be in the queue, or on their way into it.
            unsure = Publication.objects.filter(pk__in=left.in_hand, state=Publication.State.PENDING)
            unsure.update(uncertain_since=Coalesce(F("uncertain_since"), left.in_hand_since))
            OutboxLease.objects.filter(pk=left.pk).update(**ours, in_hand=[], in_hand_since=None)
        return self._is_ours(now, True)


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
