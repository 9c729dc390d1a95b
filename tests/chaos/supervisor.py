"""A small service manager: starts processes, starts those that end again at once, and sends the signals it is told to send."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.processes import Process

Start = Callable[[], Process | None]
Ended = Callable[[Process, int], None]


@dataclass(slots=True)
class Life:
    """One process from start to end."""

    slot: str
    kind: str
    process: Process
    signals: list[str] = field(default_factory=list)
    code: int | None = None
    asked_at: float = 0.0
    stopping_seconds: float = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether it has said so; publishers never do. Before that a signal ends it as it ends any process."""
        return self.kind == "publisher" or any(" ready" in line for line in list(self.process.lines))

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        if not self.signals:
            self.asked_at = time.monotonic()
        self.signals.append(number.name)
        self.process.signal(number)


@dataclass(slots=True)
class Slot:
    """A place for one process at a time. `start` gives the next one, None when there is nothing to run just now."""

    name: str
    kind: str
    start: Start
    ended: Ended = lambda process, code: None
    life: Life | None = None


class Supervisor:
    """All slots. Nothing happens but in `tick`, `send` and `stop`. Use as a context manager: leaving it kills what runs."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.lives: list[Life] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def tick(self, *, starting: bool = True) -> None:
        """Note which processes have ended, and start the next where there is one."""
        for slot in self.slots:
            if slot.life is not None and not slot.life.process.running:
                self._bury(slot, slot.life)
            if slot.life is None and starting and (process := slot.start()):
                slot.life = Life(slot.name, slot.kind, self._stack.enter_context(process))
                self.lives.append(slot.life)

    def send(self, kind: str, chance: float, number: signal.Signals) -> bool:
        """Send a signal to one of the processes of that kind that are at work and not asked to stop; gives whether there is one."""
        lives = [slot.life for slot in self.slots if slot.life and slot.kind == kind]
        at_work = [life for life in lives if life.process.running and not life.signals and life.is_ready]
        if at_work:
            at_work[int(chance * len(at_work))].send(number)
        return bool(at_work)

    def stop(self, seconds: float) -> list[Life]:
        """Ask every process to stop, start none any more, and wait; gives those that still run after so many seconds."""
        for slot in self.slots:
            if slot.life and slot.life.process.running and not slot.life.signals:
                slot.life.send(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(slot.life for slot in self.slots) and time.monotonic() < deadline:
            self.tick(starting=False)
            time.sleep(0.05)
        return [slot.life for slot in self.slots if slot.life]

    def lines(self) -> Iterator[tuple[Life, str]]:
        """Every line that any process printed."""
        for life in self.lives:
            for line in list(life.process.lines):
                yield life, line

    def write_logs(self, folder: Path) -> None:
        """What each process printed, a file each, with how it ended."""
        for number, life in enumerate(self.lives):
            end = f"ended with {life.code} after {', '.join(life.signals) or 'no signal'}"
            (folder / f"{number:03}-{life.slot}.log").write_text(f"{life.process.output}\n-- process {life.process.pid} {end}\n")

    def _bury(self, slot: Slot, life: Life) -> None:
        life.code = life.process.wait(5)
        if life.signals:
            life.stopping_seconds = time.monotonic() - life.asked_at
        slot.life = None
        slot.ended(life.process, life.code)
