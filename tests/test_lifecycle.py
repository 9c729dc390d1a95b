"""The rules of a trade's life, cell by cell."""

from __future__ import annotations

import itertools

import pytest

from trades.lifecycle import (
    ARRIVAL_FLAGS,
    DUPLICATE_WORDS,
    FLAG_WORDS,
    TABLE,
    Flag,
    Happening,
    Standing,
    State,
    Status,
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
    after, flags = step(Standing(state), Happening(event_class))
    assert (after.state, flags) == (expected[0], () if expected[1] is None else (expected[1],))


def test_the_table_has_a_cell_for_every_state_and_class() -> None:
    assert set(TABLE) == set(itertools.product(State, E))
    assert set(COLUMNS) == set(E)


def test_every_flag_is_explained_in_a_sentence_of_its_own() -> None:
    sentences = [*FLAG_WORDS.values(), DUPLICATE_WORDS]

    assert set(FLAG_WORDS) == set(Flag)
    assert len(set(sentences)) == len(sentences)
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)


def test_flags_of_the_arrival_are_few_and_known() -> None:
    assert {F.LATE, F.GROUP_GAP, F.OVERTAKEN, F.TWO_TRADES} == ARRIVAL_FLAGS


def walk(*happenings: Happening) -> Standing:
    standing = Standing()
    for happening in happenings:
        standing, _ = step(standing, happening)
    return standing


def test_a_trade_goes_from_book_through_its_statuses() -> None:
    standing = walk(Happening(E.BOOK, version=1), Happening(E.STATUS, "CHECKED", 1), Happening(E.STATUS, "CONFIRMED", 1))

    assert standing == Standing(S.LIVE, Status.CONFIRMED, 1)


@pytest.mark.parametrize("event_class", [E.UPDATE, E.CORRECT])
@pytest.mark.parametrize("version", [None, 1, 2])
def test_an_update_or_correction_puts_the_trade_back_to_received(event_class: E, version: int | None) -> None:
    confirmed = Standing(S.LIVE, Status.CONFIRMED, 1)

    assert step(confirmed, Happening(event_class, version=version))[0].status is Status.RECEIVED
    assert step(confirmed, Happening(event_class, "CHECKED", version))[0].status is Status.CHECKED


def test_an_update_after_the_end_is_flagged_and_has_no_effect() -> None:
    ended = Standing(S.CANCELLED, Status.CONFIRMED, 2)

    after, flags = step(ended, Happening(E.UPDATE, version=3))

    assert after == ended
    assert flags == (F.AFTER_END,)


def test_a_book_with_a_higher_version_is_a_correction_and_a_second_one_a_rebook() -> None:
    confirmed = Standing(S.LIVE, Status.CONFIRMED, 1)

    assert step(confirmed, Happening(E.BOOK, version=2)) == (Standing(S.LIVE, Status.RECEIVED, 2), ())
    assert step(confirmed, Happening(E.BOOK, version=1)) == (confirmed, (F.REBOOK,))
    assert step(confirmed, Happening(E.BOOK)) == (confirmed, (F.REBOOK,))


def test_the_version_is_the_highest_of_the_events_that_make_one() -> None:
    live = Standing(S.LIVE, Status.CONFIRMED, 5)

    assert step(live, Happening(E.UPDATE, version=6))[0].version == 6
    assert step(live, Happening(E.UPDATE, version=3))[0].version == 5
    assert step(live, Happening(E.STATUS, "SETTLED", 7))[0].version == 5


def test_a_skipped_step_is_flagged_but_clearing_may_be_left_out() -> None:
    received, confirmed = Standing(S.LIVE, Status.RECEIVED, 1), Standing(S.LIVE, Status.CONFIRMED, 1)

    assert step(received, Happening(E.STATUS, "CONFIRMED", 1))[1] == (F.SKIPPED_STEP,)
    assert step(received, Happening(E.STATUS, "CHECKED", 1))[1] == ()
    assert step(confirmed, Happening(E.STATUS, "SETTLED", 1))[1] == ()


@pytest.mark.parametrize(
    ("word", "status"), [("Matched", Status.CHECKED), ("confirmed", Status.CONFIRMED), ("REJECTED", Status.REJECTED), ("Pending", None)]
)
def test_words_of_documents_stand_for_steps(word: str, status: Status | None) -> None:
    assert processing_status(word) is status
