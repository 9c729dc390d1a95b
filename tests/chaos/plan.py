"""What is done to whom and when: decided by a seed before it begins."""

from __future__ import annotations

import random
from dataclasses import dataclass

# (what is done, to whom, times a minute, how long it lasts in seconds: from, to). What is done to a "busy" one waits until messages
# are in flight, and to a "sending" one until the outbox is being sent: at any other moment it would seldom hurt.
VIOLENCE: tuple[tuple[str, str, float, float, float], ...] = (
    ("SIGKILL", "busy worker", 10, 0, 0),
    ("SIGKILL", "worker", 4, 0, 0),
    ("SIGTERM", "busy worker", 4, 0, 0),
    ("SIGTERM", "worker", 4, 0, 0),
    # A sender that is killed delays everything until its lease runs out, so few are.
    ("SIGKILL", "sending relay", 0.5, 0, 0),
    ("SIGKILL", "relay", 1, 0, 0),
    ("SIGTERM", "relay", 2, 0, 0),
    ("SIGKILL", "sending publisher", 0.5, 0, 0),
    ("SIGKILL", "publisher", 0.5, 0, 0),
    ("SIGTERM", "publisher", 0.5, 0, 0),
    ("restart fast", "busy database", 1, 0, 0),
    ("restart immediate", "sending database", 0.5, 0, 0),
    ("restart immediate", "busy database", 1, 0, 0),
    ("stop", "database", 0.5, 1, 4),
    ("sever", "database", 1, 0, 0),
    ("sever", "busy database", 4, 0, 0),
    ("sever", "sending database", 2, 0, 0),
    ("slow", "database", 1.5, 1, 3),
    ("swallow answers", "busy database", 2, 0.5, 1.5),
    ("sever", "broker", 1, 0, 0),
    ("sever", "busy broker", 4, 0, 0),
    ("slow", "broker", 1.5, 1, 3),
    ("swallow answers", "busy broker", 2, 0.5, 2),
    ("swallow answers", "sending broker", 2, 0.5, 2),
    ("close port", "broker", 1, 2, 6),
    ("close port", "sending broker", 1, 2, 6),
)


@dataclass(frozen=True, slots=True)
class Act:
    """One act of violence: `at` seconds after the beginning, lasting `seconds`; `chance` (0..1) picks one of several targets."""

    at: float
    what: str
    whom: str
    seconds: float
    chance: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.what} {self.whom}{lasting}"


def plan(seed: int, seconds: float) -> list[Act]:
    """The acts of that many seconds, in order of time; every kind at least once. The same seed gives the same acts."""
    chance = random.Random(f"violence {seed}")
    acts = [
        Act(chance.uniform(0, seconds), what, whom, chance.uniform(shortest, longest), chance.random())
        for what, whom, per_minute, shortest, longest in VIOLENCE
        for _ in range(max(1, round(per_minute * seconds / 60)))
    ]
    return sorted(acts, key=lambda act: act.at)
