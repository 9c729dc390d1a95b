"""The shapes that a trade's history can have: which messages come, in which order, and what is wrong with some of them. Pure.

A shape is written as words. BOOK, UPDATE, CORRECT, CANCEL, TERMINATE and REINSTATE are events, any other word is a status. Each may
carry signs: `+` skips a version, `<` happened before what arrived just before it, `=` is followed by a copy with the same bytes, `%` is
delivered twice, `?` can't be read (it is quarantined, and what follows is held). `discard` is a person who sets that message aside.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

EVENTS = frozenset({"BOOK", "UPDATE", "CORRECT", "CANCEL", "TERMINATE", "REINSTATE"})
SIGNS = "+<=%?"
DISCARD = "discard"
ENDS = ("SETTLED", "CANCEL", "TERMINATE", DISCARD)
ROUND = "UPDATE CHECKED CONFIRMED"


@dataclass(frozen=True, slots=True)
class Step:
    """One message, or what else happens to the trade: `copy_of` is the step whose bytes come again, `again` says that the queue
    delivers the message twice."""

    event: str
    version: int
    status: str = ""
    is_late: bool = False
    is_bad: bool = False
    copy_of: int | None = None
    again: bool = False

    @property
    def is_message(self) -> bool:
        """Whether a message comes, other than an act of a person."""
        return self.event != DISCARD

    @property
    def states_details(self) -> bool:
        """Whether the message carries the whole description of the trade."""
        return self.event in ("BOOK", "UPDATE", "CORRECT")


@dataclass(frozen=True, slots=True)
class Shape:
    """A history, step by step, and how many events it makes."""

    text: str
    steps: tuple[Step, ...]
    events: int = field(compare=False)

    @property
    def is_finished(self) -> bool:
        """Whether nothing more is to be expected for the trade."""
        return self.text.rstrip(SIGNS).endswith(ENDS)


@lru_cache(maxsize=4096)
def shape(text: str) -> Shape:
    """The shape that these words describe."""
    steps = tuple(_steps(text))
    return Shape(text, steps, sum(_makes_event(steps)))


def _steps(text: str) -> Iterator[Step]:
    version = count = 0
    for word in text.split():
        name = word.rstrip(SIGNS)
        signs = word[len(name) :]
        event = name if name in EVENTS or name == DISCARD else "STATUS"
        if event in EVENTS:
            version = max(version, 1) if event == "BOOK" else version + (2 if "+" in signs else 1)
        stated = 1 if event == "BOOK" else max(version, 1)
        status = "RECEIVED" if event == "BOOK" else name if event == "STATUS" else ""
        yield Step(event, stated, status, "<" in signs, "?" in signs, again="%" in signs)
        count += 1
        if "=" in signs:
            yield Step(event, stated, status, copy_of=count - 1)
            count += 1


def _makes_event(steps: tuple[Step, ...]) -> Iterator[bool]:
    """Whether each step makes an event in the end: not what is no message, a copy, or waits for good behind a bad one."""
    left = [index for index, step in enumerate(steps) if step.event == DISCARD]
    is_held = False
    for index, step in enumerate(steps):
        if step.is_bad:
            is_held = not any(at > index for at in left)
        yield step.is_message and not step.is_bad and step.copy_of is None and not is_held


# How often, and the shape. What is common comes first; oddities are about one in twenty.
_WEIGHED = """
300 BOOK CHECKED CONFIRMED SETTLED
140 BOOK CHECKED CONFIRMED CLEARED SETTLED
90 BOOK CHECKED UPDATE CHECKED CONFIRMED SETTLED
60 BOOK UPDATE CHECKED CONFIRMED CLEARED SETTLED
50 BOOK CHECKED CONFIRMED UPDATE CHECKED CONFIRMED SETTLED
40 BOOK CHECKED CORRECT CHECKED CONFIRMED SETTLED
30 BOOK CHECKED UPDATE UPDATE CHECKED CONFIRMED CLEARED SETTLED
30 BOOK CHECKED CONFIRMED UPDATE UPDATE CORRECT CHECKED CONFIRMED CLEARED SETTLED
25 BOOK CHECKED CONFIRMED CLEARED UPDATE CHECKED CONFIRMED CLEARED SETTLED
25 BOOK CONFIRMED SETTLED
20 BOOK CHECKED DISPUTED CORRECT CHECKED CONFIRMED SETTLED
14 BOOK CHECKED DISPUTED UPDATE CHECKED CONFIRMED CLEARED SETTLED
14 BOOK REJECTED CORRECT CHECKED CONFIRMED SETTLED
12 BOOK CANCEL
16 BOOK CHECKED CANCEL
12 BOOK CHECKED UPDATE CANCEL
10 BOOK REJECTED CANCEL
8 BOOK CHECKED CONFIRMED CANCEL
20 BOOK CHECKED CONFIRMED TERMINATE
12 BOOK CHECKED CONFIRMED CLEARED TERMINATE
10 BOOK CHECKED CONFIRMED UPDATE CHECKED CONFIRMED TERMINATE
6 BOOK CHECKED CONFIRMED TERMINATE REINSTATE SETTLED
4 BOOK CHECKED CANCEL REINSTATE CHECKED CONFIRMED SETTLED
3 BOOK CHECKED DISPUTED CANCEL
12 BOOK
14 BOOK CHECKED
12 BOOK CHECKED CONFIRMED
8 BOOK CHECKED CONFIRMED CLEARED
6 BOOK UPDATE
6 BOOK CHECKED UPDATE
6 BOOK CHECKED UPDATE CHECKED
5 BOOK CHECKED CONFIRMED UPDATE CHECKED CONFIRMED
5 BOOK CHECKED DISPUTED
3 BOOK CHECKED CONFIRMED DISPUTED
3 BOOK CHECKED UPDATE CHECKED DISPUTED
4 BOOK REJECTED
2 BOOK CHECKED REJECTED
2 BOOK CHECKED CORRECT
6 BOOK CHECKED= CONFIRMED SETTLED
4 BOOK= CHECKED CONFIRMED SETTLED
4 BOOK CHECKED CONFIRMED% CLEARED SETTLED
3 BOOK CHECKED UPDATE= CHECKED CONFIRMED SETTLED
2 BOOK% CHECKED CONFIRMED TERMINATE
1 BOOK CHECKED CONFIRMED SETTLED=
6 BOOK CONFIRMED CHECKED< SETTLED
4 BOOK CHECKED SETTLED CONFIRMED<
3 BOOK CHECKED CONFIRMED UPDATE DISPUTED< CHECKED CONFIRMED SETTLED
3 UPDATE+ BOOK<
1 CHECKED BOOK< CONFIRMED SETTLED
2 BOOK CANCEL CHECKED<
4 BOOK CHECKED UPDATE+ CHECKED CONFIRMED SETTLED
3 BOOK UPDATE+ CHECKED
2 BOOK CHECKED CONFIRMED UPDATE+ CHECKED
2 BOOK CORRECT+ CHECKED CONFIRMED SETTLED
1 UPDATE+ CHECKED
1 CHECKED
1 CANCEL+
3 BOOK CHECKED CANCEL UPDATE
2 BOOK CANCEL CONFIRMED
2 BOOK CHECKED TERMINATE UPDATE
1 BOOK CHECKED REINSTATE CONFIRMED SETTLED
1 BOOK CHECKED CONFIRMED CANCEL CANCEL
1 BOOK CHECKED CONFIRMED SETTLED BOOK
2 BOOK UPDATE?
2 BOOK CHECKED UPDATE? CHECKED
1 BOOK CHECKED UPDATE? CHECKED CONFIRMED SETTLED
1 BOOK CHECKED? CONFIRMED CLEARED
1 BOOK CORRECT? UPDATE CHECKED UPDATE CHECKED CONFIRMED
2 BOOK UPDATE? CHECKED discard
2 BOOK CHECKED CONFIRMED? CLEARED SETTLED discard
1 BOOK? UPDATE CHECKED discard
1 BOOK CHECKED CONFIRMED CANCEL? discard
"""
WEIGHTS: dict[str, int] = {text: int(weight) for weight, _, text in (line.partition(" ") for line in _WEIGHED.strip().splitlines())}


class Choice:
    """Chooses shapes so that so many trades have so many events in all."""

    def __init__(self, trades: int, events: int, chance: random.Random) -> None:
        self._trades, self._events, self._chance = trades, events, chance
        self._texts, self._weights = list(WEIGHTS), list(WEIGHTS.values())

    def next(self) -> Shape:
        """The shape of the next trade."""
        self._trades -= 1
        most = self._events - self._trades  # each of those to come has one event at least
        found = _exactly(most) if self._trades == 0 else self._drawn(most)
        self._events -= found.events
        return found

    def _drawn(self, most: int) -> Shape:
        mean = self._events / (self._trades + 1)
        drawn = [self._grown(shape(text), mean) for text in self._chance.choices(self._texts, self._weights, k=2)]
        near = min(drawn, key=lambda one: abs(one.events - mean)) if self._chance.random() < self._pull(mean) else drawn[0]
        return near if near.events <= most else _exactly(max(1, min(most, round(mean))))

    def _pull(self, mean: float) -> float:
        """How often the nearer of two shapes is taken: the farther what is left is from the usual, the more often."""
        return min(1.0, 0.05 + abs(mean - USUAL) / 2)

    def _grown(self, drawn: Shape, mean: float) -> Shape:
        """The shape with more amendments where trades have many events; now and then a long one."""
        rounds = int(max(0.0, self._chance.gauss(mean - USUAL, max(0.0, mean - USUAL) / 3)) // 3) if mean > USUAL + 2 else 0
        if not rounds or not drawn.text.startswith("BOOK CHECKED "):
            return drawn
        return shape(f"BOOK CHECKED {f'{ROUND} ' * min(rounds, 200)}{drawn.text.removeprefix('BOOK CHECKED ')}")


def _exactly(events: int) -> Shape:
    """A plain shape of so many events."""
    rounds, rest = divmod(events - 1, 3)
    return shape(" ".join(["BOOK", *[ROUND] * rounds, *ROUND.split()[:rest]]))


def long_text(events: int) -> str:
    """The words of one very long history."""
    return _exactly(events).text


USUAL = sum(shape(text).events * weight for text, weight in WEIGHTS.items()) / sum(WEIGHTS.values())
