"""What the processes themselves showed: how they ended, what they printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.invariants import Violation
from tests.chaos.supervisor import Life, Supervisor

SERVICES = {"worker", "relay"}
OUTAGES = {"is away": "went away", "is back": "came back", "is held up": "was held up", "works again": "worked again"}


@dataclass(slots=True)
class Summary:
    """Counts over all processes of a run."""

    lives: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    outages: Counter[str] = field(default_factory=Counter)
    # Seconds from SIGTERM to the end, of those that ended by themselves.
    stopping: list[float] = field(default_factory=list)


def summary(supervisor: Supervisor) -> Summary:
    """What all processes did."""
    found = Summary()
    for life in supervisor.lives:
        found.lives[life.kind] += 1
        if life.code is not None:
            found.ends[f"{life.kind} {'after ' + life.signals[0] if life.signals else 'by itself'}: {life.code}"] += 1
        if life.signals == ["SIGTERM"] and life.kind in SERVICES and life.is_ready:
            found.stopping.append(life.stopping_seconds)
    for life, line in supervisor.lines():
        for words, told in OUTAGES.items():
            if words in line:
                found.outages[f"{life.kind}: {told}"] += 1
    return found


def violations(lives: Sequence[Life]) -> list[Violation]:
    """Processes that ended or spoke as none should."""
    return [violation for life in lives for violation in _of(life)]


def _of(life: Life) -> Iterator[Violation]:
    where = f"{life.slot}, process {life.process.pid}"
    if "Traceback (most recent call last)" in life.process.output:
        yield Violation("traceback", where, life.process.output.rpartition("\n")[2])
    if life.kind not in SERVICES or life.code is None:
        return
    if life.signals == ["SIGTERM"] and life.is_ready and life.code != 0:
        yield Violation("ended badly", where, f"after SIGTERM it ended with {life.code}")
    if not life.signals and not (life.code == 1 and "CommandError: " in life.process.output):
        yield Violation("ended by itself", where, f"without a signal or a sentence, with {life.code}")
