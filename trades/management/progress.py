"""How far a long command is, on standard error: one line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import Self, TextIO

EVERY_SECONDS, EVERY_ITEMS = 5.0, 1000
CLEAR = "\r\x1b[K"


class Progress:
    """Counts items of a known total. Use as a context manager; what is printed in between goes after `pause`."""

    def __init__(self, total: int, noun: str, output: TextIO, *, shown: bool = True) -> None:
        self.total = total
        self.noun = noun
        self.output = output
        self.shown = shown
        self.on_terminal = output.isatty()
        self.done = self.told = 0
        self.began = self.told_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Take the line away, before something else is printed."""
        if self.shown and self.on_terminal:
            print(CLEAR, end="", file=self.output, flush=True)

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        if not self.shown:
            return
        if self.on_terminal:
            print(CLEAR + self.sentence, end="", file=self.output, flush=True)
        elif self.done - self.told >= EVERY_ITEMS or time.monotonic() - self.told_at >= EVERY_SECONDS:
            self.told, self.told_at = self.done, time.monotonic()
            print(self.sentence, file=self.output, flush=True)

    @property
    def sentence(self) -> str:
        """Count, rate and time left."""
        seconds = time.monotonic() - self.began
        rate = self.done / seconds if seconds else 0.0
        left = f", {_duration((self.total - self.done) / rate)} left" if rate and self.done < self.total else ""
        return f"{self.done:,} of {self.total:,} {self.noun}, {rate:,.0f} a second{left}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} m"
    return f"{minutes} m {whole % 60} s" if minutes else f"{whole} s"
