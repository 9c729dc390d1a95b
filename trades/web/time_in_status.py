"""How long a trade was in each status: the bar under its history, and the times between the steps of its life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.safestring import SafeString

from trades.lifecycle import State, Status
from trades.web import words
from trades.web.telling import Telling

WIDTH = 1_000  # units of the picture
LEAST = 4  # units that even the shortest stay takes
OVER = frozenset({State.CANCELLED, State.TERMINATED})
TONES = {
    Status.RECEIVED: "n", Status.CHECKED: "i", Status.CONFIRMED: "g", Status.CLEARED: "g2", Status.SETTLED: "g3", Status.ALLEGED: "w",
    Status.DISPUTED: "b", Status.REJECTED: "b2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay in a status: where it stands in the picture, and the same in words."""

    name: str
    tone: str
    x: int
    width: int
    since: SafeString
    took: str
    is_now: bool
    share: str


@dataclass(frozen=True, slots=True)
class Stays:
    """All stays of a trade, the earliest first; `rest` counts those that are too many to be shown."""

    rows: list[Stay]
    total: str
    rest: int = 0


MOST = 40


def took(length: timedelta) -> str:
    """A length of time to the second where it is under an hour: "4 m 11 s", else as everywhere: "1 h 12 m"."""
    seconds = max(0, int(length.total_seconds()))
    if 60 <= seconds < 3600 and seconds % 60:
        return f"{seconds // 60} m {seconds % 60:02} s"
    if seconds >= 3600 and not seconds % 3600 and seconds < 86400:
        return f"{seconds // 3600} h"
    return words.duration(length)


def stays_of(telling: Telling, now: datetime) -> Stays | None:
    """How long the trade was in each status, until the moment `now` or until it ended; None where it was in none."""
    moves = telling.moves
    if not moves:
        return None
    shown = moves[-MOST:]
    end = _end(telling, now)
    ends = [*(move.since for move in shown[1:]), end]
    lengths = [max(timedelta(), until - move.since) for move, until in zip(shown, ends, strict=True)]
    total = sum(lengths, timedelta())
    rows, x = [], 0
    room = WIDTH - LEAST * len(shown)
    for number, (move, length) in enumerate(zip(shown, lengths, strict=True), start=1):
        share = length / total if total else 1 / len(shown)
        width = LEAST + round(room * share)
        is_last = number == len(shown)
        width = WIDTH - x if is_last else min(width, WIDTH - x)
        rows.append(
            Stay(
                name=move.status.value.capitalize(),
                tone=TONES[move.status],
                x=x,
                width=max(1, width),
                since=words.time_tag(move.since, now),
                took=took(length),
                is_now=is_last and telling.story.standing.state not in OVER,
                share=f"{share:.0%}",
            )
        )
        x += width
    return Stays(rows, took(total), len(moves) - len(shown))


def ended_at(telling: Telling) -> datetime | None:
    """When the trade came into the state that it is in."""
    since: datetime | None = None
    for known, chapter in telling.in_business_order():
        if chapter.state is not telling.story.standing.state:
            since = None
        elif since is None:
            since = known.time
    return since


def _end(telling: Telling, now: datetime) -> datetime:
    over = telling.story.standing.state in OVER
    return max((ended_at(telling) if over else None) or now, telling.moves[-1].since)
