"""Stop well: the first signal asks to finish what is in hand, the second ends the process at once."""

from __future__ import annotations

import _thread
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[Event]:
    """An event that the first SIGINT or SIGTERM sets; from then on the next signal kills the process as usual. Main thread only."""
    stop = Event()

    def ask(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # The interrupted code may hold the event's own lock, inside wait(): only another thread can set it without a deadlock.
        _thread.start_new_thread(stop.set, ())

    before = {each: signal.signal(each, ask) for each in SIGNALS}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class Backoff:
    """Growing pauses with jitter between tries, from `first` up to `longest` seconds, that end early when asked to stop."""

    def __init__(self, stop: Event, first: float = 0.5, longest: float = 30) -> None:
        self.stop = stop
        self.first = first
        self.longest = longest
        self.failures = 0

    def seconds(self) -> float:
        """Note a failure; gives the seconds to leave before the next try."""
        # 2**60 first-pauses are longer than any `longest`; beyond, the power would only grow without bound.
        seconds: float = min(self.longest, self.first * 2 ** min(self.failures, 60)) * random.uniform(0.5, 1)  # noqa: S311
        self.failures += 1
        return seconds

    def pause(self) -> None:
        """Note a failure and wait before the next try."""
        self.stop.wait(self.seconds())

    def reset(self) -> bool:
        """Start over after a success; gives whether there had been failures."""
        failed, self.failures = self.failures > 0, 0
        return failed
