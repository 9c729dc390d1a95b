"""The story of a trade: what its events in business order make of it, and what of that holds for all events there can be."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.test_order import BACK, COURSES, FRONT, HAPPENINGS, LAST, TIMED, VERSIONED, at, extent_of
from trades.course import ADDRESSING, Chapter, Course, Story, append, must_retell
from trades.lifecycle import ARRIVAL_FLAGS, Flag, Happening, Standing, State, Status
from trades.messages.facts import EventClass as E
from trades.order import Extent, Marks

S, F = State, Flag
ASSUMED = {F.ORDER_ASSUMED}


def tell(*happenings: Happening) -> Story:
    return Course(happenings).tell()


def told(story: Story) -> list[tuple[int, list[str], str]]:
    """(place, flags, state) of each event by arrival."""
    return [(chapter.place, [flag.value for flag in chapter.flags], chapter.state.value) for chapter in story.chapters]


def in_force(story: Story) -> list[int]:
    return [index for index, chapter in enumerate(story.chapters) if chapter.in_force]


def business(happenings: Sequence[Happening], *without: Flag) -> tuple[Standing, list[tuple[object, ...]]]:
    """The story with its events themselves instead of their indices, in business order."""
    course = Course(happenings)
    story = course.tell()
    chapters: list[tuple[object, ...]] = []
    for index in course.order:
        chapter = story.chapters[index]
        about = None if chapter.addresses is None else happenings[chapter.addresses]
        flags = tuple(flag for flag in chapter.flags if flag not in without)
        chapters.append((happenings[index], flags, chapter.state, chapter.status, chapter.in_force, about))
    return story.standing, chapters


# What holds for all events


@settings(max_examples=100, deadline=None)
@given(COURSES)
def test_a_story_told_as_events_arrive_is_the_story_told_from_nothing(happenings: list[Happening]) -> None:
    growing = Course()

    for count, happening in enumerate(happenings, start=1):
        place = growing.add(happening)
        anew = Course(happenings[:count])
        story = growing.tell()

        assert (list(growing.order), story, growing.extent) == (list(anew.order), anew.tell(), anew.extent)
        assert growing.extent == extent_of(happenings[:count])
        assert story.chapters[-1].place == place


@settings(max_examples=150, deadline=None)
@given(st.lists(TIMED, max_size=6) | st.lists(VERSIONED, max_size=6) | COURSES, LAST)
def test_an_event_that_comes_last_is_told_at_constant_cost_as_it_is_with_all_others(happenings: list[Happening], last: Happening) -> None:
    before, after = tell(*happenings), tell(*happenings, last)
    extent = extent_of(happenings)
    sequences = [h.sequence for h in happenings if h.sequence is not None and h.thread == last.thread is not None]
    assume(not must_retell(before.standing, extent, last, max(sequences, default=None)))

    standing, flags = append(before.standing, extent, last)

    assert standing == after.standing
    chapter = Chapter(len(happenings) + 1, flags, standing.state, standing.status, F.AFTER_END not in flags, None)
    assert after.chapters == (*before.chapters, chapter)


@settings(max_examples=100, deadline=None)
@given(COURSES, HAPPENINGS)
def test_an_event_that_fits_changes_only_what_follows_it(happenings: list[Happening], late: Happening) -> None:
    before, after = Course(happenings), Course([*happenings, late])
    story, anew = before.tell(), after.tell()
    assume([index for index in after.order if index != len(happenings)] == list(before.order))
    assume(F.ORDER_CONFLICT not in anew.chapters[-1].flags)

    place = anew.chapters[-1].place

    for then, now in zip(story.chapters, anew.chapters, strict=False):
        if then.place < place:
            # Another event of the same version, and what its values are replaced or taken out by, are not matters of place.
            flags = tuple(flag for flag in now.flags if flag is not F.VERSION_CONFLICT or flag in then.flags)
            assert replace(now, flags=flags, in_force=then.in_force) == then


@settings(max_examples=100, deadline=None)
@given(st.lists(TIMED.filter(lambda happening: happening.event_class is not E.BOOK), min_size=4, max_size=9))
def test_a_trade_is_left_as_if_what_was_retracted_had_not_been(happenings: list[Happening]) -> None:
    happenings = [Happening(E.BOOK, time=at(-1), version=1), *(replace(h, version=None, sequence=None) for h in happenings)]
    story = tell(*happenings)
    retracted = {matter_of(index, story, happenings) for index, h in enumerate(happenings) if h.event_class is E.RETRACT}
    assume(0 not in retracted)

    remain = [
        h
        for index, (h, chapter) in enumerate(zip(happenings, story.chapters, strict=True))
        if h.event_class is not E.RETRACT and F.ORPHAN not in chapter.flags and matter_of(index, story, happenings) not in retracted
    ]

    standing = tell(*remain).standing
    assert (story.standing.state, story.standing.status) == (standing.state, standing.status)


def matter_of(index: int, story: Story, happenings: Sequence[Happening]) -> int:
    """What a correction or retraction is about in the end; any other event itself."""
    while happenings[index].event_class in ADDRESSING and (about := story.chapters[index].addresses) is not None:
        index = about
    return index


@st.composite
def decidable(draw: st.DrawFn) -> list[Happening]:
    """Events whose documents put every two of them in order: their times all differ, and their versions, if any, ascend with them."""
    happenings = draw(st.lists(HAPPENINGS, max_size=6))
    versions = sorted(happening.version for happening in happenings if happening.version is not None)
    return [
        replace(happening, time=at(minute), sequence=None, version=None if happening.version is None else versions.pop(0))
        for minute, happening in enumerate(happenings)
    ]


@settings(max_examples=60, deadline=None)
@given(decidable(), st.randoms(use_true_random=False))
def test_whatever_arrives_first_decidable_events_give_the_same_story(happenings: list[Happening], chance: random.Random) -> None:
    story = business(happenings)
    assume(not any({F.ORDER_CONFLICT, F.ORDER_ASSUMED}.intersection(chapter.flags) for chapter in tell(*happenings).chapters))

    assert business(chance.sample(happenings, len(happenings))) == story


@settings(max_examples=100, deadline=None)
@given(COURSES, st.randoms(use_true_random=False))
def test_conflicts_do_not_depend_on_arrival(happenings: list[Happening], chance: random.Random) -> None:
    assert conflicts(chance.sample(happenings, len(happenings))) == conflicts(happenings)


def conflicts(happenings: Sequence[Happening]) -> Counter[tuple[Happening, Flag]]:
    flags = (F.VERSION_CONFLICT, F.ORDER_CONFLICT)
    story = tell(*happenings)
    return Counter((h, flag) for h, chapter in zip(happenings, story.chapters, strict=True) for flag in flags if flag in chapter.flags)


@settings(max_examples=100, deadline=None)
@given(st.lists(HAPPENINGS | st.builds(Happening, st.sampled_from(E), version=st.integers(), sequence=st.integers()), max_size=20))
def test_no_events_are_too_odd_to_tell(happenings: list[Happening]) -> None:
    story = tell(*happenings)

    assert sorted(chapter.place for chapter in story.chapters) == list(range(1, len(happenings) + 1))
    for chapter in story.chapters:
        assert list(chapter.flags) == [flag for flag in Flag if flag in chapter.flags]
        assert not ARRIVAL_FLAGS.intersection(chapter.flags)
    last = max(story.chapters, key=lambda chapter: chapter.place, default=None)
    assert last is None or (last.state, last.status) == (story.standing.state, story.standing.status)


# The cases of the rules


def test_a_lower_version_that_arrives_late_is_put_in_its_place_and_closes_the_gap() -> None:
    book, newest, missing = (Happening(E.BOOK, version=1), Happening(E.UPDATE, version=3), Happening(E.UPDATE, version=2))

    assert told(tell(book, newest)) == [(1, [], "LIVE"), (2, ["GAP"], "LIVE")]
    story = tell(book, newest, missing)
    assert told(story) == [(1, [], "LIVE"), (3, [], "LIVE"), (2, [], "LIVE")]
    assert story.standing.version == 3


def test_a_first_version_above_one_is_no_gap() -> None:
    assert told(tell(Happening(E.BOOK, version=2), Happening(E.UPDATE, version=3))) == [(1, [], "LIVE"), (2, [], "LIVE")]


@pytest.mark.parametrize("event_class", [E.UPDATE, E.CANCEL, E.TERMINATE, E.STATUS, E.REQUEST])
def test_what_arrives_before_the_book_is_pending_until_the_book_arrives(event_class: E) -> None:
    early, book = Happening(event_class, time=at(1)), Happening(E.BOOK, time=at(0))
    after = {E.CANCEL: "CANCELLED", E.TERMINATE: "TERMINATED"}.get(event_class, "LIVE")

    assert told(tell(early)) == [(1, ["PENDING"], "PENDING")]
    assert told(tell(early, book)) == [(2, [], after), (1, [], "LIVE")]


def test_what_stands_before_the_book_by_its_version_applies_once_the_trade_is_booked() -> None:
    story = tell(Happening(E.CANCEL, version=1), Happening(E.BOOK, version=2))

    assert told(story) == [(1, ["PENDING"], "PENDING"), (2, [], "CANCELLED")]


def test_two_contents_of_one_version_are_both_flagged_and_the_later_counts() -> None:
    one, two = Happening(E.UPDATE, version=2, time=at(2)), Happening(E.UPDATE, version=2, time=at(1))
    story = tell(Happening(E.BOOK, version=1, time=at(0)), one, two)

    assert told(story) == [(1, [], "LIVE"), (3, ["VERSION_CONFLICT"], "LIVE"), (2, ["VERSION_CONFLICT"], "LIVE")]


def test_statuses_of_one_version_and_a_correction_of_the_version_it_corrects_are_no_conflict() -> None:
    story = tell(
        Happening(E.BOOK, version=1, thread=FRONT, sequence=1, time=at(0)),
        Happening(E.STATUS, "CHECKED", 1, time=at(1)),
        Happening(E.STATUS, "CONFIRMED", 1, time=at(2)),
        Happening(E.CORRECT, version=1, thread=FRONT, sequence=2, time=at(3)),
        Happening(E.CORRECT, version=1, thread=FRONT, sequence=3, time=at(4)),
    )

    assert [chapter.flags for chapter in story.chapters] == [()] * 5


def test_corrections_of_one_version_that_no_sequence_tells_apart_are_a_conflict() -> None:
    story = tell(Happening(E.BOOK, version=1), Happening(E.CORRECT, version=2, time=at(1)), Happening(E.CORRECT, version=2, time=at(2)))

    assert [chapter.flags for chapter in story.chapters] == [(), (F.VERSION_CONFLICT,), (F.VERSION_CONFLICT,)]


def test_a_status_about_an_older_version_does_not_change_the_status() -> None:
    story = tell(Happening(E.BOOK, version=1), Happening(E.UPDATE, version=2), Happening(E.STATUS, "CHECKED", 1))

    assert (story.standing.status, story.chapters[-1].place) == (Status.RECEIVED, 2)


def test_a_correction_stands_in_the_place_of_what_it_corrects_wherever_later_events_stand() -> None:
    story = tell(
        Happening(E.BOOK, version=1, thread=FRONT),
        Happening(E.UPDATE, version=2, thread=BACK),
        Happening(E.TERMINATE, version=3),
        Happening(E.CORRECT, version=4, thread=FRONT),
    )

    assert story.standing == Standing(S.TERMINATED, Status.RECEIVED, 4)
    assert (story.chapters[3].addresses, in_force(story)) == (0, [1, 2, 3])


def test_a_correction_without_a_thread_is_about_the_trade_s_latest_values() -> None:
    story = tell(
        Happening(E.BOOK, version=1), Happening(E.UPDATE, version=2), Happening(E.TERMINATE, version=3), Happening(E.CORRECT, version=4)
    )

    assert (story.chapters[3].addresses, in_force(story), story.standing.state) == (1, [0, 2, 3], S.TERMINATED)


def test_a_correction_may_name_the_message_it_answers() -> None:
    story = tell(
        Happening(E.BOOK, time=at(0), message_id="m1"),
        Happening(E.UPDATE, time=at(1), message_id="m2"),
        Happening(E.CORRECT, time=at(2), thread=BACK, message_id="m3", in_reply_to="m1"),
        Happening(E.CORRECT, time=at(3), in_reply_to="m1"),
        Happening(E.RETRACT, time=at(4), in_reply_to="m2"),
    )

    assert [chapter.addresses for chapter in story.chapters] == [None, None, 0, 2, 1]
    assert in_force(story) == [3, 4]


def test_a_correction_or_retraction_of_what_is_not_there_has_no_effect_until_it_is() -> None:
    booked = Happening(E.BOOK, thread=FRONT, time=at(0))
    ended = Happening(E.TERMINATE, thread=BACK, time=at(1))
    taken_back = Happening(E.RETRACT, thread=BACK, time=at(2))

    assert told(tell(taken_back)) == [(1, ["PENDING", "ORPHAN"], "PENDING")]
    orphaned = tell(booked, taken_back)
    assert (told(orphaned), in_force(orphaned)) == ([(1, [], "LIVE"), (2, ["ORPHAN"], "LIVE")], [0])
    assert told(tell(booked, taken_back, ended)) == [(1, [], "LIVE"), (3, [], "LIVE"), (2, [], "TERMINATED")]


def test_an_orphan_correction_leaves_status_and_version_alone() -> None:
    story = tell(Happening(E.BOOK, "CONFIRMED", 1, FRONT), Happening(E.CORRECT, version=5, thread=BACK))

    assert story.standing == Standing(S.LIVE, Status.CONFIRMED, 1)


@pytest.mark.parametrize("event_class", [E.TERMINATE, E.CANCEL])
def test_a_retracted_end_reopens_the_trade_and_what_came_after_it_counts(event_class: E) -> None:
    story = tell(
        Happening(E.BOOK, thread=FRONT, time=at(0)),
        Happening(event_class, thread=BACK, time=at(1)),
        Happening(E.UPDATE, time=at(2)),
        Happening(E.RETRACT, thread=BACK, time=at(3)),
    )

    assert [chapter.state for chapter in story.chapters[2:]] == [story.chapters[1].state, S.LIVE]
    assert story.chapters[2].flags == (F.AFTER_END,)
    assert in_force(story) == [0, 2, 3]


def test_a_retracted_booking_ends_the_trade_and_still_says_what_it_was() -> None:
    story = tell(
        Happening(E.BOOK, thread=FRONT, time=at(0)), Happening(E.RETRACT, thread=FRONT, time=at(1)), Happening(E.UPDATE, time=at(2))
    )

    assert story.standing.state is S.CANCELLED
    assert in_force(story) == [0, 1]


def test_a_second_booking_of_another_thread_can_be_retracted_alone() -> None:
    booked, again = Happening(E.BOOK, thread=FRONT, time=at(0)), Happening(E.BOOK, thread=BACK, time=at(1))

    assert tell(booked, again, Happening(E.RETRACT, thread=BACK, time=at(2))).standing.state is S.LIVE
    assert tell(booked, again, Happening(E.RETRACT, thread=FRONT, time=at(2))).standing.state is S.CANCELLED


def test_a_second_retraction_of_the_same_event_is_an_orphan() -> None:
    ended = Happening(E.TERMINATE, thread=BACK, time=at(1))
    story = tell(
        Happening(E.BOOK, thread=FRONT, time=at(0)),
        ended,
        Happening(E.RETRACT, thread=BACK, time=at(2)),
        Happening(E.RETRACT, thread=BACK, time=at(3)),
    )

    assert story.chapters[3].flags == (F.ORPHAN,)


def test_a_retracted_update_gives_the_status_back_and_keeps_the_version_reached() -> None:
    story = tell(
        Happening(E.BOOK, "CONFIRMED", 1, FRONT),
        Happening(E.UPDATE, "", 2, BACK, time=at(1)),
        Happening(E.RETRACT, "", None, BACK, time=at(2)),
    )

    assert story.standing == Standing(S.LIVE, Status.CONFIRMED, 2)


def test_a_retraction_of_a_corrected_event_takes_the_event_out() -> None:
    story = tell(
        Happening(E.BOOK, thread=FRONT, time=at(0)),
        Happening(E.TERMINATE, thread=BACK, time=at(1)),
        Happening(E.CORRECT, thread=BACK, time=at(2)),
        Happening(E.RETRACT, thread=BACK, time=at(3)),
    )

    assert (story.standing.state, story.chapters[3].addresses, in_force(story)) == (S.LIVE, 2, [0, 3])


def test_a_correction_of_what_came_after_the_end_has_no_effect_until_the_end_is_retracted() -> None:
    happenings = [
        Happening(E.BOOK, "CONFIRMED", time=at(0)),
        Happening(E.TERMINATE, thread=FRONT, time=at(1)),
        Happening(E.UPDATE, thread=BACK, time=at(2)),
        Happening(E.CORRECT, thread=BACK, time=at(3)),
    ]
    story = tell(*happenings)
    assert [chapter.flags for chapter in story.chapters[2:]] == [(F.AFTER_END,), (F.AFTER_END,)]
    assert story.standing == Standing(S.TERMINATED, Status.CONFIRMED)

    reopened = tell(*happenings, Happening(E.RETRACT, thread=FRONT, time=at(4)))
    assert (in_force(reopened), reopened.standing) == ([0, 3, 4], Standing(S.LIVE, Status.RECEIVED))


# FpML 5.10, workbook "Message Sequence Examples" (business process execution advice)


def advice(event_class: E, thread: str, sequence: int, minute: int) -> Happening:
    return Happening(event_class, thread=("IM", thread), sequence=sequence, time=at(minute))


RETRACTED_LAST_IN_FIRST_OUT = [
    advice(E.BOOK, "D001", 1, 0), advice(E.CORRECT, "D001", 2, 1), advice(E.UPDATE, "D002", 1, 2), advice(E.UPDATE, "D003", 1, 3),
    advice(E.TERMINATE, "D004", 1, 4), advice(E.RETRACT, "D004", 2, 5), advice(E.RETRACT, "D003", 2, 6),
    advice(E.RETRACT, "D002", 2, 7), advice(E.RETRACT, "D001", 3, 8),
]  # fmt: skip


def test_retractions_last_in_first_out_undo_one_event_each_and_in_the_end_the_trade() -> None:
    story = tell(*RETRACTED_LAST_IN_FIRST_OUT)

    assert [chapter.state for chapter in story.chapters] == [S.LIVE] * 4 + [S.TERMINATED] + [S.LIVE] * 3 + [S.CANCELLED]
    assert [chapter.addresses for chapter in story.chapters] == [None, 0, None, None, None, 4, 3, 2, 1]
    assert in_force(story) == [1, 5, 6, 7, 8]


def test_each_event_is_corrected_after_all_of_them_happened() -> None:
    story = tell(
        advice(E.BOOK, "E001", 1, 0), advice(E.CORRECT, "E001", 2, 1), advice(E.UPDATE, "E002", 1, 2), advice(E.UPDATE, "E003", 1, 3),
        advice(E.UPDATE, "E004", 1, 4), advice(E.CORRECT, "E001", 3, 5), advice(E.CORRECT, "E002", 2, 6),
        advice(E.CORRECT, "E003", 2, 7), advice(E.CORRECT, "E004", 2, 8),
    )  # fmt: skip

    assert [chapter.addresses for chapter in story.chapters] == [None, 0, None, None, None, 1, 2, 3, 4]
    assert in_force(story) == [5, 6, 7, 8]
    assert not any(chapter.flags for chapter in story.chapters)


def test_a_correction_that_was_overtaken_is_late_and_not_the_one_that_counts() -> None:
    book, overtaking, overtaken = advice(E.BOOK, "C001", 1, 0), advice(E.CORRECT, "C001", 4, 9), advice(E.CORRECT, "C001", 3, 9)
    story = tell(book, overtaking, overtaken)

    assert [chapter.place for chapter in story.chapters] == [1, 3, 2]
    assert [chapter.addresses for chapter in story.chapters] == [None, 2, 0]
    assert in_force(story) == [1]


def test_the_workbook_s_sequence_gives_one_story_in_many_orders_of_arrival() -> None:
    story = business(RETRACTED_LAST_IN_FIRST_OUT)
    chance = random.Random(5)

    for _ in range(200):
        assert business(chance.sample(RETRACTED_LAST_IN_FIRST_OUT, len(RETRACTED_LAST_IN_FIRST_OUT))) == story


def test_native_messages_of_a_trade_give_one_story_in_every_order_of_arrival() -> None:
    happenings = [
        Happening(E.BOOK, "RECEIVED", 1, time=at(0)), Happening(E.STATUS, "CHECKED", 1, time=at(1)), Happening(E.UPDATE, "", 2, time=at(2)),
        Happening(E.CORRECT, "", 3, time=at(3)), Happening(E.TERMINATE, "", 4, time=at(4)), Happening(E.REINSTATE, "", 5, time=at(5)),
    ]  # fmt: skip
    story = business(happenings)

    for arrived in itertools.permutations(happenings):
        assert business(arrived) == story


# When the short path may not be taken


@pytest.mark.parametrize(
    ("state", "extent", "happening", "retold"),
    [
        (S.LIVE, Extent(1, at(0), Marks(0), 1), Happening(E.UPDATE, version=2), False),
        (S.LIVE, Extent(1, at(0), Marks(0), 1), Happening(E.STATUS, "CHECKED", 1, time=at(1)), False),
        (S.LIVE, Extent(1, at(0), Marks(0), 1), Happening(E.UPDATE, version=1, time=at(1)), True),
        (S.LIVE, Extent(1, at(0), Marks(0), 1), Happening(E.CORRECT, version=2), True),
        (S.LIVE, Extent(1, at(0), Marks(0), 1), Happening(E.RETRACT, version=2), True),
        (S.LIVE, Extent(1, at(0), Marks(0), 1), Happening(E.BOOK, version=2), False),
        (S.PENDING, Extent(1, at(0), Marks(0), 1), Happening(E.BOOK, version=2), True),
        (S.PENDING, Extent(), Happening(E.BOOK, version=2), False),
        (S.LIVE, Extent(1, at(0), Marks.UNKNOWN, 1), Happening(E.UPDATE, version=2), True),
    ],
)
def test_what_cannot_be_told_by_itself_is_retold(state: State, extent: Extent, happening: Happening, *, retold: bool) -> None:
    assert must_retell(Standing(state), extent, happening, None) is retold
