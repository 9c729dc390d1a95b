"""How a worker process is: what its receivers count, what is away, and the row that says so to everybody else."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Self

from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction

from tradeportal import __version__
from trades import history
from trades.models import Worker
from trades.receipts import Deletes

logger = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
# How long the end of a process waits for its last heartbeat: a database that is away must not hold it up.
LAST_SECONDS = 5.0
KEPT = timedelta(days=7)
State = Worker.State


class Vitals:
    """Counts of a process, and which of its receivers wait for what. Safe to use from several threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.total = history.Report()
        self.received = 0
        self.outages = 0
        self.last_error = ""
        self.last_poll_at: datetime | None = None
        self.deletes = Deletes()
        self._busy = 0
        self._waiting: defaultdict[str, set[int]] = defaultdict(set)

    def polled(self, now: datetime, received: int) -> None:
        """The queue answered a receive."""
        with self.lock:
            self.last_poll_at = now
            self.received += received

    def recorded(self, report: history.Report) -> None:
        """A batch, or a part of one, is committed."""
        with self.lock:
            self.total.add(report)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around the time that a receiver has messages in hand."""
        with self.lock:
            self._busy += 1
        try:
            yield
        finally:
            with self.lock:
                self._busy -= 1

    def away(self, what: str, who: int, error: str) -> bool:
        """Receiver `who` can't use `what`; gives whether that is news: one outage is told once, however many receivers meet it."""
        with self.lock:
            is_news = not self._waiting[what]
            self._waiting[what].add(who)
            self.last_error = error
            self.outages += is_news
            return is_news

    def back(self, what: str, who: int) -> bool:
        """Receiver `who` can use `what`; gives whether that is news: an outage is over when no receiver waits any more."""
        with self.lock:
            waiting = self._waiting[what]
            was_waiting = who in waiting
            waiting.discard(who)
            return was_waiting and not waiting

    def gone(self, who: int) -> None:
        """Receiver `who` has ended and waits for nothing."""
        with self.lock:
            for waiting in self._waiting.values():
                waiting.discard(who)

    def note(self, error: str) -> None:
        """Remember what went wrong last."""
        with self.lock:
            self.last_error = error

    @property
    def state(self) -> Worker.State:
        """What the process does just now."""
        with self.lock:
            if any(self._waiting.values()):
                return State.WAITING
            return State.WORKING if self._busy else State.IDLE


class Heartbeat:
    """Writes the Worker row of this process, and the deletes that it noted: at once, then every few seconds from a thread of its own,
    and when it ends.

    A database that is away never disturbs the worker: a heartbeat is then left out.
    """

    def __init__(
        self,
        queue: str,
        vitals: Vitals,
        stop: threading.Event,
        clock: Callable[[], datetime],
        every: float = EVERY_SECONDS,
        handler: str = "",
    ) -> None:
        self.queue = queue
        self.handler = handler
        self.vitals = vitals
        self.stop = stop
        self.clock = clock
        self.every = every
        self.key = uuid.uuid4()
        self.started_at = clock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(LAST_SECONDS)

    def _run(self) -> None:
        self.beat(State.STARTING)
        self._quietly(self._forget_the_gone)
        while not self._ended.wait(self.every):
            self.beat(State.STOPPING if self.stop.is_set() else self.vitals.state)
            self._quietly(self.vitals.deletes.write)
        self.beat(State.STOPPED)
        self._quietly(self.vitals.deletes.write)
        connection.close()

    def beat(self, state: Worker.State) -> None:
        """Write the row, unless the database is away."""
        self._quietly(lambda: self._write(state))

    def _quietly(self, write: Callable[[], object]) -> None:
        close_old_connections()
        try:
            write()
        except (DatabaseError, InterfaceError, ValueError) as error:
            logger.debug("no heartbeat: %s", error)
        finally:
            close_old_connections()

    def _write(self, state: Worker.State) -> None:
        vitals = self.vitals
        values = {
            "state": state,
            "seen_at": self.clock(),
            "last_poll_at": vitals.last_poll_at,
            "received": vitals.received,
            "recorded": vitals.total.outcomes.total(),
            "repeats": vitals.total.repeats,
            "failures": vitals.outages,
            "last_error": vitals.last_error,
        }
        here = {"host": socket.gethostname()[:255], "pid": os.getpid(), "version": __version__}
        whose = {**here, "queue": self.queue, "handler": self.handler}
        with transaction.atomic():
            if not Worker.objects.filter(key=self.key).update(**values):
                Worker.objects.create(key=self.key, started_at=self.started_at, **whose, **values)

    def _forget_the_gone(self) -> None:
        Worker.objects.filter(seen_at__lt=self.clock() - KEPT).delete()
