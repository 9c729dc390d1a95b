"""Open the histories of trades to which something comes out of its place, and tell them anew.

An opened trade costs as much as it has events. Queue order stays as it is; an event's place in business order and what is out of
place about it are rewritten where they change, for all opened trades of a batch at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trades import bulk
from trades.course import Chapter, Course, Story
from trades.lifecycle import ARRIVAL_FLAGS, Flag, Happening, marks_of, reached_at
from trades.messages.facts import EventClass, TradeEvent
from trades.models import Event

# The columns that a happening is made of.
LIGHT = (
    "event_class", "status", "version", "sender", "correlation_id", "sequence", "event_time", "document_message_id", "in_reply_to",
)  # fmt: skip
FLAG_ORDER = {flag.value: number for number, flag in enumerate(Flag)}


def happening_of_row(values: Sequence[Any]) -> Happening:
    """A stored event as the rules see it, from its columns LIGHT."""
    event_class, status, version, sender, correlation_id, sequence, time, message_id, in_reply_to = values
    thread = (sender, correlation_id) if correlation_id else None
    return Happening(EventClass(event_class), status, version, thread, sequence, time, message_id, in_reply_to)


def happening_of(fact: TradeEvent) -> Happening:
    """A stated event as the rules see it."""
    thread = (fact.sender, fact.correlation_id) if fact.correlation_id else None
    return Happening(fact.event_class, fact.status, fact.version, thread, fact.sequence, fact.event_time, fact.message_id, fact.in_reply_to)


def sorted_flags(told: Iterable[Flag], of_arrival: Iterable[str]) -> list[str]:
    """The flags of an event as they are stored: those of the business order, and those that it got for good when it arrived."""
    return sorted({flag.value for flag in told}.union(of_arrival), key=FLAG_ORDER.__getitem__)


def of_arrival(flags: Iterable[str]) -> frozenset[str]:
    """Those of an event's stored flags that it got when it arrived, and keeps."""
    return frozenset(flags) & ARRIVAL_FLAGS


@dataclass(frozen=True, slots=True)
class Stored:
    """What may change of a stored event."""

    pk: int
    place: int
    flags: list[str]
    recorded_at: datetime


@dataclass(slots=True)
class Opened:
    """The whole history of one trade, in queue order: events that are stored, then those added now."""

    trade_id: int
    stored: list[Stored] = field(default_factory=list)
    course: Course = field(default_factory=Course)

    def flagged(self, story: Story) -> int:
        """How many of the stored events have flags in this story."""
        return sum(bool(chapter.flags or of_arrival(row.flags)) for row, chapter in zip(self.stored, story.chapters, strict=False))

    def marks(self, story: Story) -> tuple[int, int]:
        """The kinds of exceptions that the stored events give cause for in this story, as bits, and those of which one of them gave
        none before."""
        marks = new = 0
        for row, chapter in zip(self.stored, story.chapters, strict=False):
            if chapter.flags or row.flags:
                told = marks_of(chapter.flags)
                marks |= told | marks_of(of_arrival(row.flags))
                new |= told & ~marks_of(row.flags)
        return marks, new

    def status_since(self, story: Story, now: datetime) -> datetime:
        """When the trade came into its status, by all events in business order; those added now are recorded now."""
        since = now
        for index in reversed(self.course.order):
            if story.chapters[index].status is not story.standing.status:
                break
            recorded = self.stored[index].recorded_at if index < len(self.stored) else now
            since = reached_at(self.course.happenings[index].time, recorded)
        return since


def open_trades(pks: Sequence[int]) -> dict[int, Opened]:
    """The histories of these trades, by trade. One query."""
    opened = {pk: Opened(pk) for pk in pks}
    happenings: dict[int, list[Happening]] = {pk: [] for pk in pks}
    if opened:
        rows = Event.objects.filter(trade__in=list(opened)).order_by("trade", "position")
        columns = rows.values_list("trade_id", "pk", "place", "flags", "recorded_at", *LIGHT)
        for trade_id, pk, place, flags, recorded_at, *light in columns.iterator(2_000):
            opened[trade_id].stored.append(Stored(pk, place, flags, recorded_at))
            happenings[trade_id].append(happening_of_row(light))
    for trade_id, of_trade in happenings.items():
        opened[trade_id].course = Course(of_trade)
    return opened


@dataclass(slots=True)
class Changes:
    """Rows (trade, first and last place, by how much they move) and (event, its flags as JSON) to write."""

    moves: list[tuple[int, int, int, int]] = field(default_factory=list)
    flags: list[tuple[int, list[str]]] = field(default_factory=list)

    def add(self, opened: Opened, story: Story) -> None:
        """Note where the stored events of a trade stand otherwise in this story than in the database."""
        pairs = list(zip(opened.stored, story.chapters, strict=False))
        self.moves += _moves(opened.trade_id, pairs)
        for row, chapter in pairs:
            flags = sorted_flags(chapter.flags, of_arrival(row.flags)) if chapter.flags or row.flags else []
            if flags != row.flags:
                self.flags.append((row.pk, flags))

    def save(self) -> None:
        """Write them: a statement for all places, another for all flags."""
        # Names of our own tables and columns; the values travel as one parameter.
        if self.moves:
            table, document = bulk.given(self.moves, {"trade": "bigint", "low": "int", "high": "int", "step": "int"})
            bulk.execute(
                f"UPDATE trades_event SET place = trades_event.place + given.step FROM {table} "  # noqa: S608
                "WHERE trades_event.trade_id = given.trade AND trades_event.place BETWEEN given.low AND given.high",
                document,
            )
        if self.flags:
            table, document = bulk.given(self.flags, {"event": "bigint", "flags": "jsonb"})
            bulk.execute(f"UPDATE trades_event SET flags = given.flags FROM {table} WHERE trades_event.id = given.event", document)  # noqa: S608


def _moves(trade_id: int, pairs: Sequence[tuple[Stored, Chapter]]) -> Iterator[tuple[int, int, int, int]]:
    """The runs of neighbouring places that move by the same step."""
    steps = sorted((row.place, chapter.place - row.place) for row, chapter in pairs)
    low = high = step = 0
    for place, moves in steps:
        if step and (moves != step or place != high + 1):
            yield trade_id, low, high, step
            step = 0
        if moves and not step:
            low, step = place, moves
        high = place
    if step:
        yield trade_id, low, high, step


def course_of(events: Iterable[Event]) -> Course:
    """The course of stored events, all of one trade and in queue order."""
    return Course(happening_of_row([getattr(event, name) for name in LIGHT]) for event in events)
