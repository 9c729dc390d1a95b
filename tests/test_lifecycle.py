"""The rules of a trade's life, cell by cell."""

from __future__ import annotations

import itertools

import pytest

from trades.lifecycle import (
    FLAG_WORDS,
    TABLE,
    Flag,
    Happening,
    Standing,
    State,
    Status,
    addressed,
    fold,
    is_orphan,
    processing_status,
    step,
)
from trades.messages.facts import EventClass as E

S, F = State, Flag

# State after, and flag, written out by hand from the rules of a trade's life: rows are states, columns event classes.
COLUMNS = (E.BOOK, E.UPDATE, E.CORRECT, E.RETRACT, E.TERMINATE, E.CANCEL, E.REINSTATE, E.STATUS, E.REQUEST, E.SNAPSHOT)
P = (S.PENDING, F.PENDING)
EXPECTED = {
    S.PENDING: ((S.LIVE, None), P, P, P, P, P, P, P, P, (S.PENDING, None)),
    S.LIVE: (
        (S.LIVE, F.REBOOK),
        *[(S.LIVE, None)] * 3,
        (S.TERMINATED, None),
        (S.CANCELLED, None),
        (S.LIVE, F.NOT_ENDED),
        *[(S.LIVE, None)] * 3,
    ),
    S.TERMINATED: (
        *[(S.TERMINATED, F.AFTER_END)] * 2,
        *[(S.TERMINATED, None)] * 2,
        (S.TERMINATED, F.AFTER_END),
        (S.CANCELLED, None),
        (S.LIVE, None),
        *[(S.TERMINATED, None)] * 3,
    ),
    S.CANCELLED: (
        *[(S.CANCELLED, F.AFTER_END)] * 2,
        *[(S.CANCELLED, None)] * 2,
        *[(S.CANCELLED, F.AFTER_END)] * 2,
        (S.LIVE, None),
        *[(S.CANCELLED, None)] * 3,
    ),
}


@pytest.mark.parametrize(("state", "event_class"), list(itertools.product(State, COLUMNS)))
def test_every_state_and_class_lead_where_the_rules_say(state: State, event_class: E) -> None:
    expected = EXPECTED[state][COLUMNS.index(event_class)]

    assert TABLE[state, event_class] == expected
    after, flags = step(Standing(state=state, once_booked=S.LIVE), Happening(event_class))
    assert (after.state, flags) == (expected[0], () if expected[1] is None else (expected[1],))


def test_the_table_has_a_cell_for_every_state_and_class() -> None:
    assert set(TABLE) == set(itertools.product(State, E))
    assert set(COLUMNS) == set(E)


def test_every_flag_is_explained_in_words() -> None:
    assert set(FLAG_WORDS) == set(Flag)


def stand(*happenings: Happening) -> Standing:
    return fold(happenings)


def test_a_trade_goes_from_book_through_its_statuses() -> None:
    standing = stand(Happening(E.BOOK, version=1), Happening(E.STATUS, "CHECKED", 1), Happening(E.STATUS, "CONFIRMED", 1))

    assert standing == Standing(S.LIVE, Status.CONFIRMED, 1, S.LIVE)


def test_an_update_puts_the_trade_back_to_received() -> None:
    standing = stand(Happening(E.BOOK, version=1), Happening(E.STATUS, "CONFIRMED", 1), Happening(E.UPDATE, version=2))

    assert (standing.status, standing.version) == (Status.RECEIVED, 2)


def test_a_status_about_an_older_version_does_not_change_the_status() -> None:
    standing = stand(Happening(E.BOOK, version=1), Happening(E.UPDATE, version=2), Happening(E.STATUS, "CONFIRMED", 1))

    assert standing.status is Status.RECEIVED


def test_a_cancel_before_the_book_takes_effect_when_the_book_arrives() -> None:
    early = stand(Happening(E.CANCEL, version=2))
    booked = stand(Happening(E.CANCEL, version=2), Happening(E.BOOK, version=1))

    assert early.state is S.PENDING
    assert booked.state is S.CANCELLED


def test_an_update_before_the_book_leaves_the_trade_live_once_booked() -> None:
    assert stand(Happening(E.UPDATE, version=2), Happening(E.BOOK, version=1)).state is S.LIVE


def test_an_update_after_the_end_is_flagged_and_has_no_effect() -> None:
    ended = Standing(S.CANCELLED, Status.CONFIRMED, 2)

    after, flags = step(ended, Happening(E.UPDATE, version=3))

    assert after == ended
    assert flags == (F.AFTER_END,)


def test_a_book_with_a_higher_version_is_a_correction_and_a_second_one_a_rebook() -> None:
    live = Standing(S.LIVE, Status.RECEIVED, 1)

    assert step(live, Happening(E.BOOK, version=2))[1] == ()
    assert step(live, Happening(E.BOOK, version=1))[1] == (F.REBOOK,)
    assert step(live, Happening(E.BOOK))[1] == (F.REBOOK,)


def test_a_lower_version_is_flagged_and_keeps_newer_values() -> None:
    live = Standing(S.LIVE, Status.CONFIRMED, 5)

    after, flags = step(live, Happening(E.UPDATE, version=3))

    assert (after.version, after.status, flags) == (5, Status.CONFIRMED, (F.OLD_VERSION,))


def test_a_skipped_step_is_flagged_but_clearing_may_be_left_out() -> None:
    received, confirmed = Standing(S.LIVE, Status.RECEIVED, 1), Standing(S.LIVE, Status.CONFIRMED, 1)

    assert step(received, Happening(E.STATUS, "CONFIRMED", 1))[1] == (F.SKIPPED_STEP,)
    assert step(received, Happening(E.STATUS, "CHECKED", 1))[1] == ()
    assert step(confirmed, Happening(E.STATUS, "SETTLED", 1))[1] == ()


def test_a_retraction_takes_out_the_event_of_its_thread() -> None:
    booked = Happening(E.BOOK, version=1, thread=("FO", "A"))
    ended = Happening(E.TERMINATE, version=2, thread=("FO", "B"))

    assert stand(booked, ended).state is S.TERMINATED
    assert stand(booked, ended, Happening(E.RETRACT, thread=("FO", "B"))).state is S.LIVE


def test_a_retracted_booking_cancels_the_trade() -> None:
    standing = stand(Happening(E.BOOK, thread=("FO", "A")), Happening(E.RETRACT, thread=("FO", "A")))

    assert standing.state is S.CANCELLED


def test_a_correction_stands_in_the_place_of_what_it_corrects() -> None:
    booked = Happening(E.BOOK, version=1, thread=("FO", "A"))
    ended = Happening(E.TERMINATE, version=2, thread=("FO", "B"))

    assert stand(booked, ended, Happening(E.CORRECT, version=3, thread=("FO", "A"))).state is S.TERMINATED


def test_a_correction_of_an_unknown_thread_addresses_nothing() -> None:
    booked = Happening(E.BOOK, thread=("FO", "A"))

    assert addressed([booked], Happening(E.CORRECT, thread=("FO", "B"))) is None
    assert addressed([booked], Happening(E.CORRECT)) == 0
    assert addressed([], Happening(E.CORRECT)) is None


@pytest.mark.parametrize(
    ("word", "status"), [("Matched", Status.CHECKED), ("confirmed", Status.CONFIRMED), ("REJECTED", Status.REJECTED), ("Pending", None)]
)
def test_words_of_documents_stand_for_steps(word: str, status: Status | None) -> None:
    assert processing_status(word) is status


def test_a_correction_of_a_lower_version_than_what_it_corrects_leaves_newer_values() -> None:
    standing = stand(Happening(E.BOOK, version=1), Happening(E.UPDATE, version=2), Happening(E.CORRECT, version=1))

    assert standing.version == 2


@pytest.mark.parametrize("version", [None, 1])
def test_a_correction_puts_a_confirmed_trade_back_to_received(version: int | None) -> None:
    thread = ("FO", "A")
    standing = stand(
        Happening(E.BOOK, version=version, thread=thread),
        Happening(E.STATUS, "CONFIRMED", version),
        Happening(E.CORRECT, version=version, thread=thread),
    )

    assert (standing.state, standing.status) == (S.LIVE, Status.RECEIVED)


def test_a_second_retraction_of_the_same_event_is_an_orphan() -> None:
    booked, retraction = Happening(E.BOOK, thread=("FO", "A")), Happening(E.RETRACT, thread=("FO", "A"))
    ended = Happening(E.TERMINATE, thread=("FO", "B"))

    assert not is_orphan([booked], retraction)
    assert is_orphan([booked, retraction], retraction)
    assert is_orphan([booked, ended, Happening(E.RETRACT, thread=("FO", "B"))], Happening(E.RETRACT, thread=("FO", "B")))


def test_a_retraction_of_a_corrected_event_takes_the_event_out() -> None:
    thread = ("FO", "B")
    standing = stand(
        Happening(E.BOOK, thread=("FO", "A")),
        Happening(E.TERMINATE, thread=thread),
        Happening(E.CORRECT, thread=thread),
        Happening(E.RETRACT, thread=thread),
    )

    assert standing.state is S.LIVE
