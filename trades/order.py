"""The business order of one trade's events: what happened first, whatever arrived first. Pure.

Two events are put in order by the first of these rules that decides: (1) version, (2) sequence in the same thread, (3) the trade's
first book before the rest, (4) event time, (5) class of event, (6) arrival. Taken pair by pair this is not transitive: the rules can
say A before B, B before C and C before A. The order is therefore made of all pairs, the stronger rule first, leaving out a pair that
contradicts those taken before it; its two events are in conflict.

Events that contradict each other stand together between events that agree with all of them (they are a strongly connected component
of the relation "comes before"), so the order falls into blocks: an event that contradicts no other is a block by itself, and only
blocks of several need to look at all their pairs.

Limits: which of two books of the same version and time is the first, nothing says; their other content decides, and the second is
marked as assumed. Between contradictions of equal strength, the one between earlier events (by time) is kept. A block of more than
MOST_IN_A_BLOCK events is put in order roughly, and all its events are in conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum, IntFlag
from itertools import pairwise

from trades.lifecycle import Happening
from trades.messages.facts import EventClass

# The most events of one block whose pairs are all looked at (in about 0.2 s). See `_arrange_roughly` for larger ones.
MOST_IN_A_BLOCK = 400

RANKS: dict[EventClass, int] = {
    EventClass.BOOK: 0,
    EventClass.UPDATE: 1,
    EventClass.CORRECT: 1,
    EventClass.REQUEST: 2,  # before the status that answers it
    EventClass.STATUS: 3,
    EventClass.SNAPSHOT: 3,
    EventClass.RETRACT: 3,
    EventClass.TERMINATE: 4,
    EventClass.CANCEL: 5,
    EventClass.REINSTATE: 6,
}
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Rule(IntEnum):
    """What puts two events in order, the strongest first."""

    VERSION = 1
    SEQUENCE = 2
    FIRST_BOOK = 3
    TIME = 4
    CLASS = 5
    ARRIVAL = 6


class Marks(IntFlag):
    """What some event of a trade does not state; UNKNOWN where the events were not summed up."""

    UNVERSIONED = 1
    UNTIMED = 2
    UNKNOWN = 4


NO_MARKS = Marks(0)


@dataclass(frozen=True, slots=True)
class Extent:
    """What must be known of a trade's events to tell, at constant cost, that a further one comes after all of them.

    The highest version and latest time are those of all events that state one, whatever their class.
    """

    highest_version: int | None = None
    latest_time: datetime | None = None
    marks: Marks = NO_MARKS
    count: int = 0

    def is_followed_by(self, happening: Happening, thread_sequence: int | None) -> bool:
        """Whether an event that arrives last certainly also comes last in business order, by what the documents say.

        `thread_sequence` is the highest sequence number among the trade's events of the happening's thread, None when there is
        none. A book follows only where the trade is booked already, which is for the caller to know.
        """
        if self.count == 0:
            return True
        marks, version, time = int(self.marks), happening.version, happening.time
        if marks & _UNKNOWN:
            return False
        highest = self.highest_version
        if version is not None and highest is not None and version != highest:
            if version < highest:
                return False
            if not marks & _UNVERSIONED:
                return True
        if time is None or self.latest_time is None or marks & _UNTIMED or time <= self.latest_time:
            return False
        return thread_sequence is None or happening.sequence is None or happening.sequence >= thread_sequence

    def extended(self, happening: Happening) -> Extent:
        """The extent of the events with one more."""
        highest, latest, version, time = self.highest_version, self.latest_time, happening.version, happening.time
        marks, known = self.marks, int(self.marks)  # flags are slow to combine
        if version is None:
            marks = marks if known & _UNVERSIONED else marks | Marks.UNVERSIONED
        elif highest is None or version > highest:
            highest = version
        if time is None:
            marks = marks if known & _UNTIMED else marks | Marks.UNTIMED
        elif latest is None or time > latest:
            latest = time
        return Extent(highest, latest, marks, self.count + 1)


_UNVERSIONED, _UNTIMED, _UNKNOWN = (int(mark) for mark in (Marks.UNVERSIONED, Marks.UNTIMED, Marks.UNKNOWN))


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Events in business order, by their place in the order of arrival (from 0); which of them follow the one before them by arrival
    alone, or because nothing says which of the two books is the first; and which contradict others."""

    order: tuple[int, ...]
    assumed: frozenset[int]
    conflicting: frozenset[int]


def arrange(happenings: Iterable[Happening]) -> Arrangement:
    """The business order of a trade's events, given in order of arrival."""
    return BusinessOrder(happenings).arrangement()


class BusinessOrder:
    """The events of one trade, given in order of arrival and kept in business order.

    The order is the same whether events are given at once or added one by one, and, as far as the documents decide it, whatever
    order they arrive in. An event that follows all others is added at constant cost, any other at the cost of a comparison with each.
    """

    __slots__ = ("_blocks", "_conflicting", "_first", "_order", "_reach", "happenings")

    def __init__(self, happenings: Iterable[Happening] = ()) -> None:
        self.happenings: list[Happening] = list(happenings)
        self._first = _first_book(self.happenings)
        self._blocks: list[list[int]]
        self._conflicting: set[int]
        self._order: list[int] | None
        self._reach: _Reach
        self._rebuild()

    def add(self, happening: Happening) -> int:
        """Put in an event that arrived after all others; its place in business order, from 1."""
        index = len(self.happenings)
        self.happenings.append(happening)
        first = _first_book(self.happenings) if happening.event_class is EventClass.BOOK else self._first
        replaces_first = first != self._first and self._first is not None
        self._first = first
        if replaces_first:
            self._rebuild()
        else:
            self._settle(self._place(index))
        return self.order.index(index) + 1 if self._blocks[-1] != [index] else index + 1

    @property
    def order(self) -> Sequence[int]:
        """The events in business order, by their index in `happenings`."""
        if self._order is None:
            self._order = [index for block in self._blocks for index in block]
        return self._order

    @property
    def extent(self) -> Extent:
        """What must be known of these events to tell whether a further one follows them all."""
        reach = self._reach
        return Extent(reach.highest_version, reach.latest_time, Marks(reach.marks), len(self.happenings))

    def arrangement(self) -> Arrangement:
        """The order as it stands."""
        assumed = frozenset(later for earlier, later in pairwise(self.order) if self._is_assumed(earlier, later))
        return Arrangement(tuple(self.order), assumed, frozenset(self._conflicting))

    def _is_assumed(self, earlier: int, later: int) -> bool:
        rule = _weigh(self.happenings, earlier, later, self._first)
        if rule == -Rule.FIRST_BOOK and self.happenings[later].event_class is EventClass.BOOK:
            rule = -abs(_weigh(self.happenings, earlier, later, None))  # What made it the first?
        return rule == -Rule.ARRIVAL

    def _rebuild(self) -> None:
        self._blocks, self._conflicting, self._order, self._reach = [], set(), None, _Reach()
        # Any sequence of placing gives the same blocks; one that is nearly right places nearly all at constant cost.
        for index in _nearly_ordered(self.happenings, self._first):
            self._place(index)
        for block in self._blocks:
            self._settle(block)

    def _place(self, index: int) -> list[int]:
        """Put an event into the block it belongs to, at its end; that block."""
        happening = self.happenings[index]
        start = end = len(self._blocks)
        if not self._reach.is_followed_by(happening, index, is_first_book=index == self._first):
            start, end = self._contradicted_by(index)
        if end == start:
            self._blocks.insert(start, [])
        block = self._blocks[start]
        for contradicted in self._blocks[start + 1 : end]:
            block += contradicted
        del self._blocks[start + 1 : end]
        block.append(index)
        self._order = None
        self._reach.take_in(happening, index, is_first_book=index == self._first)
        return block

    def _contradicted_by(self, index: int) -> tuple[int, int]:
        """From which block to which (not included) the events contradict this one: those from the first that holds an event after it
        to the last that holds one before it. When there are none, both say where it stands."""
        happenings, blocks, first = self.happenings, self._blocks, self._first
        start, end = 0, len(blocks)
        while start < end and all(_weigh(happenings, other, index, first) < 0 for other in blocks[start]):
            start += 1
        while start < end and all(_weigh(happenings, other, index, first) > 0 for other in blocks[end - 1]):
            end -= 1
        return start, end

    def _settle(self, block: list[int]) -> None:
        if len(block) > 1:
            block[:] = self._arranged(block)

    def _arranged(self, block: list[int]) -> list[int]:
        if len(block) > MOST_IN_A_BLOCK:
            self._conflicting.update(block)
            return _arrange_roughly(block, self.happenings, self._first)
        self._conflicting.difference_update(block)
        block.sort(key=lambda index: (_content_key(self.happenings[index]), index))
        constraints: list[list[tuple[int, int]]] = [[] for _ in Rule]
        for later in range(len(block)):
            for earlier in range(later - 1, -1, -1):
                rule = _weigh(self.happenings, block[earlier], block[later], self._first)
                constraints[abs(rule) - 1].append((earlier, later) if rule < 0 else (later, earlier))
        order, conflicting = _without_cycles(constraints, len(block))
        self._conflicting.update(block[position] for position in conflicting)
        return [block[position] for position in order]


class _Reach:
    """How far a trade's events reach, with more detail than Extent: enough to see that an event follows them by any of the rules."""

    __slots__ = ("all_timed", "highest_version", "latest_time", "marks", "newest_of_rank", "sequences", "top_rank")

    def __init__(self) -> None:
        self.highest_version: int | None = None
        self.latest_time: datetime | None = None
        self.marks = 0
        self.all_timed = True  # but for the first book, to which times do not matter
        self.top_rank, self.newest_of_rank = -1, -1
        self.sequences: dict[tuple[str, str], int] = {}

    def is_followed_by(self, happening: Happening, index: int, *, is_first_book: bool) -> bool:
        version, highest, time, latest = happening.version, self.highest_version, happening.time, self.latest_time
        if version is not None and highest is not None and version != highest:
            if version < highest:
                return False
            if not self.marks & _UNVERSIONED:
                return True
        if is_first_book or self._is_passed_in_its_thread(happening):
            return self.top_rank < 0
        if time is not None and latest is not None and time != latest:
            if time < latest:
                return False
            if self.all_timed:
                return True
        rank = RANKS[happening.event_class]
        return rank > self.top_rank or (rank == self.top_rank and index > self.newest_of_rank)

    def take_in(self, happening: Happening, index: int, *, is_first_book: bool) -> None:
        version, time, thread, sequence = happening.version, happening.time, happening.thread, happening.sequence
        if version is None:
            self.marks |= _UNVERSIONED
        elif self.highest_version is None or version > self.highest_version:
            self.highest_version = version
        if time is None:
            self.marks |= _UNTIMED
            self.all_timed = self.all_timed and is_first_book
        elif self.latest_time is None or time > self.latest_time:
            self.latest_time = time
        if thread is not None and sequence is not None:
            self.sequences[thread] = max(sequence, self.sequences.get(thread, sequence))
        rank = RANKS[happening.event_class]
        if rank > self.top_rank:
            self.top_rank, self.newest_of_rank = rank, index
        elif rank == self.top_rank and index > self.newest_of_rank:
            self.newest_of_rank = index

    def _is_passed_in_its_thread(self, happening: Happening) -> bool:
        if happening.thread is None or happening.sequence is None:
            return False
        return self.sequences.get(happening.thread, happening.sequence) > happening.sequence


def _weigh(happenings: Sequence[Happening], index: int, other: int, first: int | None) -> int:
    """The rule that puts two events in order, as the number of a Rule: negative when `index` comes before `other`. `first` is the
    trade's first book."""
    one, two = happenings[index], happenings[other]
    mine, yours = one.version, two.version
    if mine is not None and yours is not None and mine != yours:
        return -1 if mine < yours else 1
    mine, yours = one.sequence, two.sequence
    if mine is not None and yours is not None and mine != yours and one.thread is not None and one.thread == two.thread:
        return -2 if mine < yours else 2
    if first is not None and first in (index, other):
        return -3 if index == first else 3
    if one.time is not None and two.time is not None and one.time != two.time:
        return -4 if one.time < two.time else 4
    mine, yours = RANKS[one.event_class], RANKS[two.event_class]
    if mine != yours:
        return -5 if mine < yours else 5
    return -6 if index < other else 6


def _without_cycles(constraints: Sequence[Sequence[tuple[int, int]]], count: int) -> tuple[list[int], set[int]]:
    """The order of 0..count-1 that (earlier, later) pairs give, strongest rule first, without those that would close a circle; and
    who is in a pair left out, unless arrival alone had put it there.

    Every pair is constrained, so what is kept is a total order. Sets of positions are the bits of an integer.
    """
    before, after = [0] * count, [0] * count
    conflicting: set[int] = set()
    for rule, pairs in enumerate(constraints, start=1):
        for earlier, later in pairs:
            if before[earlier] >> later & 1:
                if rule != Rule.ARRIVAL:
                    conflicting.update((earlier, later))
            elif not after[earlier] >> later & 1:
                up, down = before[earlier] | 1 << earlier, after[later] | 1 << later
                for position in _bits(up):
                    after[position] |= down
                for position in _bits(down):
                    before[position] |= up
    return sorted(range(count), key=lambda position: before[position].bit_count()), conflicting


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest


def _arrange_roughly(block: Sequence[int], happenings: Sequence[Happening], first: int | None) -> list[int]:
    """A block too large to look at all its pairs: by time, those without one last; then those that state a version change places
    among themselves so that versions ascend. Sequence numbers are not looked at."""
    by_time = sorted(block, key=lambda index: _time_key(happenings[index], index, first))
    places = [place for place, index in enumerate(by_time) if happenings[index].version is not None]
    versioned = sorted((by_time[place] for place in places), key=lambda index: happenings[index].version or 0)
    for place, index in zip(places, versioned, strict=True):
        by_time[place] = index
    return by_time


def _nearly_ordered(happenings: Sequence[Happening], first: int | None) -> list[int]:
    indices = range(len(happenings))
    if any(happening.version is None for happening in happenings):
        return sorted(indices, key=lambda index: _time_key(happenings[index], index, first))
    return sorted(indices, key=lambda index: (happenings[index].version or 0, _time_key(happenings[index], index, first)))


def _time_key(happening: Happening, index: int, first: int | None) -> tuple[bool, bool, datetime, int, int]:
    return index != first, happening.time is None, happening.time or LONG_AGO, RANKS[happening.event_class], index


def _content_key(happening: Happening) -> tuple[object, ...]:
    """Puts events in one order that does not depend on their arrival: by time, then by all else that they state."""
    return (
        happening.time or LONG_AGO,
        happening.time is None,
        -1 if happening.version is None else happening.version,
        happening.thread or ("", ""),
        -1 if happening.sequence is None else happening.sequence,
        happening.event_class.value,
        happening.message_id,
        happening.in_reply_to,
        happening.status,
    )


def _first_book(happenings: Sequence[Happening]) -> int | None:
    """The book that makes the trade: the earliest by version, sequence and time, else by content, so that it does not depend on
    arrival."""
    books = [index for index, happening in enumerate(happenings) if happening.event_class is EventClass.BOOK]
    if len(books) > 1:
        books.sort(key=lambda index: (_content_key(happenings[index]), index))
    first = books[0] if books else None
    for book in books[1:]:
        if first is not None and -Rule.TIME <= _weigh(happenings, book, first, None) < 0:
            first = book
    return first
