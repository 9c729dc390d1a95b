"""The business order, against its definition written down plainly."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trades import order
from trades.lifecycle import Happening
from trades.messages.facts import EventClass as E
from trades.order import Arrangement, BusinessOrder, Extent, Marks, arrange

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FRONT, BACK = ("FO", "A"), ("FO", "B")


def at(minute: int) -> datetime:
    return NOON + timedelta(minutes=minute)


TIMES = st.none() | st.integers(0, 4).map(at)
HAPPENINGS = st.builds(
    Happening,
    event_class=st.sampled_from(E),
    status=st.sampled_from(["", "CHECKED", "CONFIRMED", "odd"]),
    version=st.none() | st.integers(1, 4),
    thread=st.sampled_from([None, FRONT, BACK]),
    sequence=st.none() | st.integers(1, 3),
    time=TIMES,
    message_id=st.sampled_from(["", "m1", "m2", "m3"]),
    in_reply_to=st.sampled_from(["", "m1", "m2", "m9"]),
)
COURSES = st.lists(HAPPENINGS, max_size=8)
TIMED = st.builds(lambda happening, minute: replace(happening, time=at(minute)), HAPPENINGS, st.integers(0, 4))
VERSIONED = st.builds(lambda happening, version: replace(happening, version=version), HAPPENINGS, st.integers(1, 4))
LAST = st.builds(
    lambda happening, version, minute: replace(happening, version=version, time=at(minute)),
    HAPPENINGS,
    st.sampled_from([None, 4, 5]),
    st.sampled_from([4, 9]),
)


def rule_between(one: Happening, two: Happening, first: Happening | None) -> tuple[int, bool | None]:
    """(number of the rule that decides, whether `one` comes first), (6, None) where none but arrival does."""
    if None not in (one.version, two.version) and one.version != two.version:
        return 1, one.version < two.version  # type: ignore[operator]
    if one.thread is not None and one.thread == two.thread and None not in (one.sequence, two.sequence) and one.sequence != two.sequence:
        return 2, one.sequence < two.sequence  # type: ignore[operator]
    if first is one or first is two:
        return 3, first is one
    if one.time is not None and two.time is not None and one.time != two.time:
        return 4, one.time < two.time
    ranks = ["BOOK", "UPDATE CORRECT", "REQUEST", "STATUS SNAPSHOT RETRACT", "TERMINATE", "CANCEL", "REINSTATE"]
    mine, yours = (next(rank for rank, names in enumerate(ranks) if h.event_class.value in names.split()) for h in (one, two))
    return (5, mine < yours) if mine != yours else (6, None)


def by_definition(happenings: Sequence[Happening]) -> Arrangement:
    """All pairs, the strongest rule first and within a rule in an order that only the contents give, but for those closing a circle."""
    events = [replace(happening) for happening in happenings]  # so that `is` tells equal ones apart
    by_content = sorted(range(len(events)), key=lambda index: (order._content_key(events[index]), index))
    first = None
    for book in (events[index] for index in by_content if events[index].event_class is E.BOOK):
        rule, earlier = rule_between(book, first, None) if first else (0, True)
        first = book if rule <= 4 and earlier else first
    pairs = []
    for (later_at, later), (earlier_at, earlier_one) in itertools.permutations(enumerate(by_content), 2):
        if earlier_at < later_at:
            rule, comes_first = rule_between(events[earlier_one], events[later], first)
            comes_first = earlier_one < later if comes_first is None else comes_first
            pair = (earlier_one, later) if comes_first else (later, earlier_one)
            pairs.append((rule, later_at, -earlier_at, pair))
    kept: set[tuple[int, int]] = set()
    conflicting: set[int] = set()
    for rule, _, _, (one, two) in sorted(pairs):
        if leads_to(two, one, kept):
            conflicting |= {one, two} if rule < 6 else set()
        else:
            kept.add((one, two))
    line = sorted(range(len(events)), key=lambda index: sum(leads_to(other, index, kept) for other in range(len(events)) if other != index))
    assumed = set()
    for one, two in itertools.pairwise(line):
        rule, _ = rule_between(events[one], events[two], first)
        if rule == 3 and events[one] is first and events[two].event_class is E.BOOK:
            assumed |= {two} if rule_between(events[one], events[two], None)[0] == 6 else set()
        elif rule == 6 and one < two:
            assumed.add(two)
    return Arrangement(tuple(line), frozenset(assumed), frozenset(conflicting))


def leads_to(start: int, end: int, pairs: set[tuple[int, int]]) -> bool:
    reached, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        new = {two for one, two in pairs if one == here} - reached
        reached |= new
        waiting += new
    return end in reached


@settings(max_examples=150, deadline=None)
@given(COURSES)
def test_the_order_is_that_of_the_definition_however_events_are_given(happenings: list[Happening]) -> None:
    expected = by_definition(happenings)
    growing = BusinessOrder()

    for count, happening in enumerate(happenings, start=1):
        place = growing.add(happening)
        assert growing.order[place - 1] == count - 1

    assert arrange(happenings) == expected
    assert growing.arrangement() == expected


@settings(max_examples=100, deadline=None)
@given(COURSES, st.randoms(use_true_random=False))
def test_what_contradicts_does_not_depend_on_arrival(happenings: list[Happening], chance: random.Random) -> None:
    arrived = chance.sample(happenings, len(happenings))

    assert clashing(arrived) == clashing(happenings)


def clashing(happenings: Sequence[Happening]) -> Counter[Happening]:
    return Counter(happenings[index] for index in arrange(happenings).conflicting)


@settings(max_examples=150, deadline=None)
@given(st.lists(TIMED, max_size=6) | st.lists(VERSIONED, max_size=6), LAST)
def test_an_event_said_to_follow_all_others_comes_last_and_contradicts_none(happenings: list[Happening], last: Happening) -> None:
    extent = extent_of(happenings)
    sequences = [h.sequence for h in happenings if h.sequence is not None and h.thread == last.thread is not None]
    assume(extent.is_followed_by(last, max(sequences, default=None)))
    assume(last.event_class is not E.BOOK or not happenings or any(h.event_class is E.BOOK for h in happenings))

    before, after = arrange(happenings), arrange([*happenings, last])

    assert after == Arrangement((*before.order, len(happenings)), before.assumed, before.conflicting)
    assert BusinessOrder([*happenings, last]).extent == extent.extended(last)


def extent_of(happenings: Sequence[Happening]) -> Extent:
    extent = Extent()
    for happening in happenings:
        extent = extent.extended(happening)
    return extent


@settings(max_examples=60, deadline=None)
@given(st.lists(HAPPENINGS, max_size=12))
def test_a_block_too_large_for_all_pairs_keeps_versions_ascending_and_is_flagged(happenings: list[Happening]) -> None:
    exact = arrange(happenings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "MOST_IN_A_BLOCK", 3)
        rough, growing = arrange(happenings), BusinessOrder()
        for happening in happenings:
            growing.add(happening)

    assert growing.arrangement() == rough
    assert sorted(rough.order) == list(range(len(happenings)))
    assert exact.conflicting <= rough.conflicting
    versions = [happenings[index].version for index in rough.order if happenings[index].version is not None]
    assert versions == sorted(versions)  # type: ignore[type-var]


def test_version_is_stronger_than_sequence_book_and_time() -> None:
    newer_book = Happening(E.BOOK, version=2, thread=FRONT, sequence=1, time=at(0))
    older_update = Happening(E.UPDATE, version=1, thread=FRONT, sequence=2, time=at(9))

    assert arrange([newer_book, older_update]) == Arrangement((1, 0), frozenset(), frozenset())


def test_sequence_decides_within_a_thread_alone() -> None:
    early, late = Happening(E.UPDATE, thread=FRONT, sequence=2, time=at(0)), Happening(E.UPDATE, thread=FRONT, sequence=1, time=at(9))

    assert arrange([early, late]).order == (1, 0)
    assert arrange([early, replace(late, thread=BACK)]).order == (0, 1)


def test_the_first_book_comes_before_the_rest_and_a_later_one_goes_by_time() -> None:
    happenings = [
        Happening(E.UPDATE, time=at(1)),
        Happening(E.BOOK, time=at(5)),
        Happening(E.CANCEL, time=at(3)),
        Happening(E.BOOK, time=at(2)),
    ]

    assert arrange(happenings).order == (3, 0, 2, 1)


def test_without_times_the_class_decides_and_then_arrival_which_is_flagged() -> None:
    happenings = [Happening(E.CANCEL), Happening(E.STATUS), Happening(E.UPDATE), Happening(E.STATUS, "CHECKED"), Happening(E.BOOK)]

    assert arrange(happenings) == Arrangement((4, 2, 1, 3, 0), frozenset({3}), frozenset())


def test_a_circle_is_opened_at_its_weakest_and_both_events_are_flagged() -> None:
    happenings = [
        Happening(E.UPDATE, version=1, time=at(3)),
        Happening(E.UPDATE, version=2, time=at(1)),
        Happening(E.STATUS, time=at(2)),
    ]

    assert arrange(happenings) == Arrangement((0, 1, 2), frozenset(), frozenset({0, 2}))


def test_a_new_first_book_puts_the_old_one_where_its_time_says() -> None:
    line = BusinessOrder([Happening(E.BOOK, time=at(5)), Happening(E.UPDATE, time=at(3))])
    assert line.order == [0, 1]

    assert line.add(Happening(E.BOOK, time=at(1))) == 1
    assert line.order == [2, 1, 0]


@pytest.mark.parametrize(
    ("extent", "happening", "thread_sequence", "follows"),
    [
        (Extent(), Happening(E.UPDATE), None, True),
        (Extent(2, at(1), Marks(0), 3), Happening(E.UPDATE, version=3), None, True),
        (Extent(2, at(1), Marks.UNTIMED, 3), Happening(E.UPDATE, version=3), None, True),
        (Extent(2, at(1), Marks.UNVERSIONED, 3), Happening(E.UPDATE, version=3), None, False),
        (Extent(2, at(1), Marks.UNVERSIONED, 3), Happening(E.UPDATE, version=3, time=at(2)), None, True),
        (Extent(2, at(1), Marks(0), 3), Happening(E.UPDATE, version=1, time=at(2)), None, False),
        (Extent(2, at(1), Marks(0), 3), Happening(E.STATUS, version=2, time=at(2)), None, True),
        (Extent(2, at(1), Marks(0), 3), Happening(E.STATUS, version=2, time=at(1)), None, False),
        (Extent(None, at(1), Marks.UNVERSIONED, 3), Happening(E.UPDATE, time=at(2)), None, True),
        (Extent(None, at(1), Marks.UNTIMED, 3), Happening(E.UPDATE, time=at(2)), None, False),
        (Extent(None, at(1), Marks(0), 3), Happening(E.UPDATE, thread=FRONT, sequence=4, time=at(2)), 4, True),
        (Extent(None, at(1), Marks(0), 3), Happening(E.UPDATE, thread=FRONT, sequence=3, time=at(2)), 4, False),
        (Extent(2, at(1), Marks.UNKNOWN, 3), Happening(E.UPDATE, version=3, time=at(2)), None, False),
    ],
)
def test_what_follows_all_others_is_told_from_their_extent(
    extent: Extent, happening: Happening, thread_sequence: int | None, follows: bool
) -> None:
    assert extent.is_followed_by(happening, thread_sequence) is follows
