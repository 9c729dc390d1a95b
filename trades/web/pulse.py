"""The live streams of a process: one look a second at the database and one every ten at the queues, for all of them together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections

from trades.web import chips
from trades.web.readings import QueueFigures, QueueWatch, Reading, look

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
QUEUE_SECONDS = 10.0
BEAT_SECONDS = 2.0  # how soon a browser that has gone is noticed: only writing to it tells
STREAM_SECONDS = 300.0
CHECK_SECONDS = 30.0


class Full(Exception):
    """As many streams are open as this process may have."""


class Pulse:
    """The streams of this process and what they share. Its threads run only while there are streams."""

    def __init__(self) -> None:
        self.streams = 0
        self.stopping = False
        self.reading: Reading | None = None
        self.queue = QueueWatch()
        self._read_at = 0.0
        self._looking = threading.Lock()
        self._changed = threading.Condition()
        self._threads: dict[str, threading.Thread] = {}

    # For requests

    def open(self, is_allowed: Callable[[], bool]) -> Stream:
        """A new stream. `is_allowed` is asked now and then whether its reader may still see it. Raises Full."""
        with self._changed:
            if self.stopping or self.streams >= settings.TRADES_LIVE_STREAMS:
                raise Full
            self.streams += 1
            if "look" not in self._threads:
                self.reading = None  # of long ago
            self._keep("look", self._look, LOOK_SECONDS)
            self._keep("queue", self.queue.ask, QUEUE_SECONDS)
        return Stream(self, is_allowed)

    def now(self) -> Reading:
        """The reading of this second: however many ask, the database is asked once. Raises DatabaseError."""
        with self._looking:
            is_old = time.monotonic() - self._read_at > LOOK_SECONDS
            return self._read() if self.reading is None or is_old else self.reading

    # For streams

    def wait_for_news(self, seen: tuple[Reading, QueueFigures] | None, seconds: float) -> tuple[Reading, QueueFigures] | None:
        """What there is once it differs from what was seen, or so many seconds have passed."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping or self._latest() != seen, seconds)
            return self._latest()

    def closed(self) -> None:
        """A stream has ended. With the last one the threads end too."""
        with self._changed:
            self.streams -= 1
            self._changed.notify_all()

    def stop(self) -> None:
        """End all streams and open none any more. Safe in a signal handler: it takes no lock, and the threads see it within a second."""
        self.stopping = True

    def _latest(self) -> tuple[Reading, QueueFigures] | None:
        return (self.reading, self.queue.figures) if self.reading else None

    def _read(self) -> Reading:
        self.reading, self._read_at = look(self.reading), time.monotonic()
        return self.reading

    # The threads

    def _keep(self, name: str, act: Callable[[], None], seconds: float) -> None:
        if name not in self._threads:
            self._threads[name] = threading.Thread(target=self._run, args=(name, act, seconds), name=f"live-{name}", daemon=True)
            self._threads[name].start()

    def _run(self, name: str, act: Callable[[], None], seconds: float) -> None:
        try:
            while True:
                act()
                with self._changed:
                    self._changed.notify_all()
                    if self._changed.wait_for(lambda: self.stopping or not self.streams, seconds):
                        # Under the lock, so that a stream that opens now starts another.
                        del self._threads[name]
                        return
        except BaseException:
            with self._changed:
                self._threads.pop(name, None)
            raise

    def _look(self) -> None:
        try:
            # Whoever waits for the lock has a connection: waiting for one with the lock could exhaust the pool.
            connection.ensure_connection()
            with self._looking:
                self._read()
        except (DatabaseError, InterfaceError) as error:
            logger.debug("no look at the database: %s", error)
        finally:
            let_go()


class Stream:
    """The text of one event stream. It counts among the streams until it is closed, which the server does when the browser has gone."""

    def __init__(self, pulse: Pulse, is_allowed: Callable[[], bool]) -> None:
        self.pulse = pulse
        self.is_allowed = is_allowed
        self._is_open = True

    def __iter__(self) -> Iterator[str]:
        # What the request opened would otherwise stay open as long as the stream.
        let_go()
        yield "retry: 1000\n\n"
        seen = None
        started = checked = time.monotonic()
        while self._is_open and time.monotonic() - started < STREAM_SECONDS:
            news = self.pulse.wait_for_news(seen, BEAT_SECONDS)
            if self.pulse.stopping:
                return
            if time.monotonic() - checked > CHECK_SECONDS:
                checked = time.monotonic()
                if not self._may_go_on():
                    return
            yield ":\n\n" if news is None or news == seen else f"data: {chips.told(*news)}\n\n"
            seen = news

    def _may_go_on(self) -> bool:
        try:
            return self.is_allowed()
        except (DatabaseError, InterfaceError) as error:
            logger.debug("a live stream ends: %s", error)
            return False
        finally:
            let_go()

    def close(self) -> None:
        """Give the place to another stream."""
        if self._is_open:
            self._is_open = False
            self.pulse.closed()


def let_go() -> None:
    """Give every database connection of this thread back: to the pool, or close it."""
    for one in connections.all(initialized_only=True):
        if not one.in_atomic_block:
            one.close()


pulse = Pulse()


def queue_figures() -> QueueFigures:
    """What the queues together last said to this process, which asks them while live pages are open."""
    return pulse.queue.figures


def figures_by_queue() -> Mapping[str, QueueFigures]:
    """The same of each queue."""
    return pulse.queue.each
