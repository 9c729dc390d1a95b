"""The course of one trade: its events in business order, and the story they tell. Pure.

A chapter tells what the trade was after its event, by that event and those before it in business order; so an event that arrives
late changes only the chapters from its own place on. A retraction makes the trade what it would be without the event it takes out,
from the retraction on. Whether an event's values still count (`in_force`) is known at the end alone.

`append` tells the end of the story at constant cost, for an event that comes last anyway; `must_retell` says when it may not be used.

Limits: a correction or retraction that neither version, sequence nor time puts behind its event may stand before it, by arrival, and
is an orphan then. Message ids are not unique in the wild; the latest event of that id is taken. A retraction walks again from its
event to where that makes no more difference: as a rule a few events, at worst all that follow.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from trades.lifecycle import TABLE, TELLING, Flag, Happening, Standing, State, Status, step
from trades.messages.facts import EventClass
from trades.order import BusinessOrder, Extent

ADDRESSING = frozenset({EventClass.CORRECT, EventClass.RETRACT})


@dataclass(frozen=True, slots=True)
class Chapter:
    """One event in its trade's story.

    `place` counts from 1 in business order; `flags` are those of the business order, in the order of Flag; `state` and `status` are
    the trade's after this event. `addresses` is the arrival index (from 0) of the event whose values a correction replaces or that a
    retraction takes out: the latest correction of it, where there was one.

    `in_force` says that the event's values count: it did not come after the end (or that end was retracted since), was not
    retracted, not replaced by a correction, and is no orphan. The values of a correction count at the place of what it corrects. A
    retracted booking stays in force, because it ends the trade as a cancel does, and still says what was cancelled.
    """

    place: int
    flags: tuple[Flag, ...]
    state: State
    status: Status | None
    in_force: bool
    addresses: int | None


@dataclass(frozen=True, slots=True)
class Story:
    """Where a trade stands, and a chapter for each of its events, by arrival index (from 0)."""

    standing: Standing
    chapters: tuple[Chapter, ...]


class Course:
    """The events of one trade, given in order of arrival and kept in business order."""

    __slots__ = ("_business",)

    def __init__(self, happenings: Iterable[Happening] = ()) -> None:
        self._business = BusinessOrder(happenings)

    def add(self, happening: Happening) -> int:
        """Put in an event that arrived after all others; its place in business order, from 1."""
        return self._business.add(happening)

    @property
    def extent(self) -> Extent:
        """What `must_retell` and `append` need to know of these events."""
        return self._business.extent

    @property
    def order(self) -> Sequence[int]:
        """Arrival indices (from 0) in business order."""
        return self._business.order

    @property
    def happenings(self) -> list[Happening]:
        """The events by arrival."""
        return self._business.happenings

    def tell(self) -> Story:
        """The story of all events. Raises nothing, whatever the events are."""
        business = self._business
        arrangement = business.arrangement()
        marked = (
            (Flag.VERSION_CONFLICT, _version_conflicts(business.happenings)),
            (Flag.ORDER_ASSUMED, arrangement.assumed),
            (Flag.ORDER_CONFLICT, arrangement.conflicting),
        )
        return _Telling(business.happenings, arrangement.order).story(marked)


def must_retell(standing: Standing, extent: Extent, happening: Happening, thread_sequence: int | None) -> bool:
    """Whether a new event of a trade can only be told with all its events at hand.

    `standing` and `extent` are those of the trade so far; `thread_sequence` is the highest sequence number among its events of the
    new one's thread, None when there is none (it need not be looked up where the happening states no thread or no sequence).
    """
    event_class = happening.event_class
    if event_class in ADDRESSING:
        return True
    if event_class is EventClass.BOOK and extent.count and standing.state is State.PENDING:
        return True
    if happening.version is not None and happening.version == extent.highest_version and event_class not in TELLING:
        return True  # Another event may state this version with other content.
    return not extent.is_followed_by(happening, thread_sequence)


def append(standing: Standing, extent: Extent, happening: Happening) -> tuple[Standing, tuple[Flag, ...]]:
    """The standing after an event that need not be retold (`must_retell`), and its flags: what `Course.tell` would say of it."""
    after, flags = step(standing, happening)
    if _leaves_a_gap(happening.version, extent.highest_version):
        flags = (*flags, Flag.GAP)
    return after, flags


def _leaves_a_gap(version: int | None, highest: int | None) -> bool:
    return version is not None and highest is not None and version > highest + 1


class _Addressing:
    """Which event each correction and retraction is about. The events are given in business order.

    An event and its corrections are a *matter*, known by the index of the event.
    """

    __slots__ = (
        "_booking",
        "_by_message",
        "_by_thread",
        "_closed",
        "_happenings",
        "_valued",
        "addresses",
        "cancelling",
        "matter",
        "values",
    )

    def __init__(self, happenings: Sequence[Happening]) -> None:
        self._happenings = happenings
        self._by_thread: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._by_message: defaultdict[str, list[int]] = defaultdict(list)
        self._valued: list[int] = []
        self._closed: set[int] = set()
        self._booking: int | None = None
        self.matter: dict[int, int] = {}  # of every event that is neither an orphan nor tells only
        self.values: dict[int, int] = {}  # of a matter: the event whose values count for it
        self.addresses: dict[int, int] = {}
        self.cancelling: set[int] = set()  # retractions that end the trade

    def take(self, index: int, happening: Happening) -> None:
        """Take the next event."""
        event_class = happening.event_class
        if event_class in ADDRESSING:
            matter = self._find(happening)
            if matter is not None:
                self._address(index, happening, matter)
        elif event_class not in TELLING:
            self._know(index, index, happening)
            if event_class is EventClass.BOOK and self._booking is None:
                self._booking = index
            if event_class in (EventClass.BOOK, EventClass.UPDATE):
                self._valued.append(index)

    def _address(self, index: int, happening: Happening, matter: int) -> None:
        self.addresses[index] = self.values[matter]
        if happening.event_class is EventClass.CORRECT:
            self._know(index, matter, happening)
            return
        self.matter[index] = matter
        self._closed.add(matter)
        if self._is_booking(matter):
            self.cancelling.add(index)

    def _know(self, index: int, matter: int, happening: Happening) -> None:
        self.matter[index] = matter
        self.values[matter] = index
        if happening.thread is not None:
            self._by_thread[happening.thread].append(matter)
        if happening.message_id:
            self._by_message[happening.message_id].append(matter)

    def _find(self, happening: Happening) -> int | None:
        found = self._latest(self._by_thread.get(happening.thread)) if happening.thread is not None else None
        if found is None and happening.in_reply_to:
            found = self._latest(self._by_message.get(happening.in_reply_to))
        if found is None and happening.thread is None and happening.event_class is EventClass.CORRECT:
            found = self._latest(self._valued)
        return found

    def _latest(self, matters: list[int] | None) -> int | None:
        while matters and matters[-1] in self._closed:
            matters.pop()
        return matters[-1] if matters else None

    def _is_booking(self, matter: int) -> bool:
        """A retracted booking ends the trade (FpML 5 business processes, execution advice); a further booking, made in another thread
        than the first, is taken out like any other event."""
        if self._booking is None or self._happenings[matter].event_class is not EventClass.BOOK:
            return False
        return matter == self._booking or self._happenings[matter].thread == self._happenings[self._booking].thread


# Flags that are found otherwise than by walking, and the events that have them.
Marked = Sequence[tuple[Flag, AbstractSet[int]]]
# Where a trade stands, and what the events before its book make of it once it is booked.
Point = tuple[Standing, State]


class _Telling:
    """One walk through the business order, from nothing to where the trade stands."""

    __slots__ = ("_about", "_happenings", "_order", "_places", "_taken_out", "_trail", "_without_effect")

    def __init__(self, happenings: Sequence[Happening], order: Sequence[int]) -> None:
        self._happenings, self._order = happenings, order
        self._places = [0] * len(order)  # from 0, by arrival
        self._about = _Addressing(happenings)
        self._trail: list[Point] = [(Standing(), State.LIVE)]  # before each event, without what was taken out since
        self._taken_out: set[int] = set()
        self._without_effect: set[int] = set()  # events after the end

    def story(self, marked: Marked) -> Story:
        """The story, with these flags added to these events."""
        told: list[tuple[tuple[Flag, ...], Standing]] = []
        highest: int | None = None
        for place, index in enumerate(self._order):
            self._places[index] = place
            happening = self._happenings[index]
            flags = self._tell(index, happening)
            if happening.version is not None:
                if _leaves_a_gap(happening.version, highest):
                    flags = (*flags, Flag.GAP)
                highest = happening.version if highest is None else max(highest, happening.version)
            told.append((flags, self._trail[-1][0]))
        return Story(self._trail[-1][0], tuple(self._chapters(told, [(flag, events) for flag, events in marked if events])))

    def _chapters(self, told: Sequence[tuple[tuple[Flag, ...], Standing]], marked: Marked) -> Iterator[Chapter]:
        addresses = self._about.addresses
        for index, place in enumerate(self._places):
            flags, standing = told[place]
            if marked:
                flags = (*flags, *(flag for flag, events in marked if index in events))
            yield Chapter(place + 1, flags, standing.state, standing.status, self._is_in_force(index), addresses.get(index))

    def _tell(self, index: int, happening: Happening) -> tuple[Flag, ...]:
        about = self._about
        about.take(index, happening)
        if happening.event_class is EventClass.RETRACT and index in about.matter and index not in about.cancelling:
            self._take_out(about.matter[index])
        point, flags = self._step(index, happening, self._trail[-1])
        self._trail.append(point)
        if Flag.AFTER_END in flags:
            self._without_effect.add(index)
        return flags

    def _take_out(self, matter: int) -> None:
        """Walk again from an event on as if it had not been, as far as that makes a difference. The version once reached stays."""
        self._taken_out.add(matter)
        if matter in self._without_effect:
            return
        effects_changed, latest_correction = False, self._places[self._about.values[matter]]
        for place in range(self._places[matter], len(self._trail) - 1):
            index = self._order[place]
            (standing, once_booked), flags = self._step(index, self._happenings[index], self._trail[place])
            if (Flag.AFTER_END in flags) != (index in self._without_effect):
                self._without_effect ^= {index}
                effects_changed = True
            told, told_once_booked = self._trail[place + 1]
            same = standing.state is told.state and standing.status is told.status and once_booked is told_once_booked
            # Corrections go with what they correct: of this event, and of any other that has won or lost its effect.
            if same and place >= latest_correction and not effects_changed:
                return
            version = max((version for version in (standing.version, told.version) if version is not None), default=None)
            self._trail[place + 1] = replace(standing, version=version), once_booked

    def _step(self, index: int, happening: Happening, point: Point) -> tuple[Point, tuple[Flag, ...]]:
        standing, once_booked = point
        event_class = happening.event_class
        if event_class in ADDRESSING:
            matter = self._about.matter.get(index)
            if matter is None:
                return point, (Flag.PENDING, Flag.ORPHAN) if standing.state is State.PENDING else (Flag.ORPHAN,)
            if index in self._about.cancelling:
                event_class, happening = EventClass.CANCEL, replace(happening, event_class=EventClass.CANCEL)
            elif event_class is EventClass.CORRECT and matter in self._without_effect:
                return point, (Flag.AFTER_END,)
            elif event_class is EventClass.CORRECT and matter in self._taken_out:
                return point, ()
        elif index in self._taken_out:
            return point, ()
        after, flags = step(standing, happening)
        if standing.state is State.PENDING:
            if event_class is EventClass.BOOK:
                after = replace(after, state=once_booked)
            once_booked, _ = TABLE[once_booked, event_class]
        elif after is standing:
            return point, flags
        return (after, once_booked), flags

    def _is_in_force(self, index: int) -> bool:
        event_class = self._happenings[index].event_class
        if event_class in TELLING:
            return True
        matter = self._about.matter.get(index)
        if matter is None or index in self._without_effect:
            return False
        if event_class is EventClass.RETRACT:
            return True
        return self._about.values[matter] == index and matter not in self._taken_out


def _version_conflicts(happenings: Sequence[Happening]) -> set[int]:
    """Events of one class that state the same version. Corrections that one thread numbers one after the other are no conflict."""
    groups: defaultdict[tuple[int, EventClass], list[int]] = defaultdict(list)
    for index, happening in enumerate(happenings):
        if happening.version is not None and happening.event_class not in TELLING:
            groups[happening.version, happening.event_class].append(index)
    conflicts: set[int] = set()
    for (_, event_class), group in groups.items():
        if len(group) > 1:
            conflicts.update(_unnumbered(group, happenings) if event_class is EventClass.CORRECT else group)
    return conflicts


def _unnumbered(corrections: Sequence[int], happenings: Sequence[Happening]) -> Iterable[int]:
    """Those of several corrections that are not put in order by the sequence numbers of one thread."""
    numbers = Counter(happenings[index].sequence for index in corrections)
    threads = {happenings[index].thread for index in corrections}
    if len(threads) > 1 or None in threads or None in numbers:
        return corrections
    return (index for index in corrections if numbers[happenings[index].sequence] > 1)
