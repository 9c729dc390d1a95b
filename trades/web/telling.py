"""A trade's events told for a page: where each stands in either order, what is out of place about it, and what it is about."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from trades import description, retelling
from trades.course import Chapter, Course, Story
from trades.lifecycle import Flag, Happening, Status
from trades.messages.facts import EventClass
from trades.models import Event, Trade
from trades.web.reading import Reading

# A trade of more events than this is told once and kept, as long as nothing new is recorded of it.
LONG = 500
MOST_KEPT = 100_000  # events of such trades, in one process; about half a kilobyte each
STARTING_ANEW = frozenset({EventClass.BOOK, EventClass.UPDATE, EventClass.CORRECT})
# An event of these classes may change the values that describe a trade; any other one only fills in what none of these states.
DESCRIBING = STARTING_ANEW | {EventClass.RETRACT, EventClass.SNAPSHOT}


@dataclass(frozen=True, slots=True)
class Known:
    """What telling a trade needs of one of its events."""

    pk: int
    happening: Happening
    flags: list[str]
    recorded_at: datetime
    reason: str

    @property
    def time(self) -> datetime:
        """When it happened as the document states it, else when it was recorded."""
        return self.happening.time or self.recorded_at


@dataclass(frozen=True, slots=True)
class Relation:
    """A word about another event of the same trade: "Corrects", and that event's position."""

    word: str
    position: int


@dataclass(frozen=True, slots=True)
class Move:
    """That a trade came into a status: when, by which event, and whether new values made its steps start again."""

    status: Status
    since: datetime
    position: int
    starts_anew: bool


class Telling:
    """The events of a trade that were known at a moment, by position (from 1), with the story they tell."""

    def __init__(self, events: Sequence[Known]) -> None:
        self.events = events
        self.happenings = [known.happening for known in events]
        self.story: Story = Course(self.happenings).tell()
        self.chapters: Sequence[Chapter] = self.story.chapters
        order = sorted(range(len(events)), key=lambda index: self.chapters[index].place)
        self.business_order = [index + 1 for index in order]
        self._relations = _relations(self.happenings, self.chapters)

    @property
    def count(self) -> int:
        """How many events were known."""
        return len(self.events)

    def positions(self, reading: Reading) -> Sequence[int]:
        """The positions of all events in the order that is asked for, the earliest first."""
        return self.business_order if reading.is_business else range(1, self.count + 1)

    def place(self, position: int, reading: Reading) -> int:
        """Where an event stands in the order that is asked for, from 1."""
        return self.chapters[position - 1].place if reading.is_business else position

    def flags(self, position: int) -> list[str]:
        """What is out of place about an event: by the business order, and since its arrival."""
        arrived_with = retelling.of_arrival(self.events[position - 1].flags)
        return retelling.sorted_flags(self.chapters[position - 1].flags, arrived_with)

    def relations(self, position: int) -> list[Relation]:
        """The other events that an event is about, or that are about it."""
        return self._relations.get(position, [])

    @cached_property
    def missing_versions(self) -> dict[int, tuple[int, int]]:
        """The first and last version that are missing right before an event in business order, by the event's position."""
        missing, highest = {}, None
        for position in self.business_order:
            version = self.happenings[position - 1].version
            if version is not None and highest is not None and Flag.GAP in self.chapters[position - 1].flags and version > highest + 1:
                missing[position] = (highest + 1, version - 1)
            if version is not None:
                highest = version if highest is None else max(highest, version)
        return missing

    def in_business_order(self) -> Iterator[tuple[Known, Chapter]]:
        """Every event with its chapter, the earliest first."""
        return ((self.events[position - 1], self.chapters[position - 1]) for position in self.business_order)

    @cached_property
    def moves(self) -> list[Move]:
        """Every change of status in business order, the earliest first."""
        moves: list[Move] = []
        before: Status | None = None
        for position in self.business_order:
            known, status = self.events[position - 1], self.chapters[position - 1].status
            if status is not None and status is not before:
                starts_anew = known.happening.event_class in STARTING_ANEW
                moves.append(Move(status, min(known.time, known.recorded_at), position, starts_anew))
            before = status or before
        return moves

    @cached_property
    def flagged(self) -> int:
        """How many events have something out of place."""
        # Of the stored flags only those of arrival: the others may be of events that were not known yet.
        found = zip(self.events, self.chapters, strict=True)
        return sum(bool(chapter.flags or retelling.of_arrival(known.flags)) for known, chapter in found)

    @cached_property
    def overtaken(self) -> list[int]:
        """The positions of the events that later messages of their group were recorded before."""
        return [position for position, known in enumerate(self.events, start=1) if Flag.OVERTAKEN in known.flags]

    @cached_property
    def before_newest(self) -> Telling | None:
        """The trade without its newest event; None where that event can't have changed what describes the trade."""
        if self.count < 2 or self.happenings[-1].event_class not in DESCRIBING:
            return None
        return Telling(self.events[:-1])

    @cached_property
    def sources(self) -> list[int]:
        """The rows of the events in force, those first whose values describe the trade."""
        return self.most_telling()

    def before(self, position: int, reading: Reading) -> int:
        """The position of the event before this one in the order that is asked for, 0 for the first."""
        place = self.place(position, reading)
        return self.positions(reading)[place - 2] if place > 1 else 0

    def most_telling(self) -> list[int]:
        """The rows of the events in force, those first whose values describe the trade."""
        search = description.search_for(self.happenings, self.chapters, [known.pk for known in self.events])
        return [source for source in search.sources if isinstance(source, int)]


Key = tuple[int, int, datetime, datetime | None]
_kept: OrderedDict[Key, Telling] = OrderedDict()
_lock = threading.Lock()


def tell(trade: Trade, moment: datetime | None) -> Telling:
    """The trade as it was known at the moment (UTC), None for now. One query for the few columns it takes, of every event; none for a
    long trade that this process has told already and that has no new event since."""
    if trade.event_count <= LONG:
        return _told(trade, moment)
    key = (trade.pk, trade.event_count, trade.updated_at, moment)
    with _lock:
        if (kept := _kept.get(key)) is not None:
            _kept.move_to_end(key)
            return kept
    telling = _told(trade, moment)
    if moment is not None or telling.count == trade.event_count:  # else events were recorded since the trade was read
        _keep(key, telling)
    return telling


def forget() -> None:
    """Tell every trade anew."""
    with _lock:
        _kept.clear()


def _keep(key: Key, telling: Telling) -> None:
    with _lock:
        for older in [other for other in _kept if other[0] == key[0] and other[1:3] != key[1:3]]:
            del _kept[older]
        _kept[key] = telling
        while len(_kept) > 1 and sum(kept.count for kept in _kept.values()) > MOST_KEPT:
            _kept.popitem(last=False)


def _told(trade: Trade, moment: datetime | None) -> Telling:
    rows = Event.objects.filter(trade=trade).order_by("position")
    rows = rows if moment is None else rows.filter(recorded_at__lte=moment)
    columns = rows.values_list("pk", "flags", "recorded_at", "reason", *retelling.LIGHT)
    return Telling([Known(pk, retelling.happening_of_row(light), flags, at, why) for pk, flags, at, why, *light in columns.iterator(2_000)])


def _relations(happenings: Sequence[Happening], chapters: Sequence[Chapter]) -> dict[int, list[Relation]]:
    relations: dict[int, list[Relation]] = defaultdict(list)
    alike: dict[tuple[EventClass, int | None], list[int]] = defaultdict(list)
    for position, (happening, chapter) in enumerate(zip(happenings, chapters, strict=True), start=1):
        if chapter.addresses is not None:
            target, is_correction = chapter.addresses + 1, happening.event_class is EventClass.CORRECT
            relations[position].append(Relation("Corrects" if is_correction else "Retracts", target))
            relations[target].append(Relation("Corrected by" if is_correction else "Retracted by", position))
        if Flag.VERSION_CONFLICT in chapter.flags:
            alike[happening.event_class, happening.version].append(position)
    for positions in alike.values():
        for position in positions:
            relations[position] += [Relation("Conflicts with", other) for other in positions[:4] if other != position]
    return relations
