"""Business order in the database: what arrives out of place lands where it belongs, and the trade is what its documents say."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support.facts import fact, message, record, understand_facts
from tests.support.native import NOON, native, received
from trades import history
from trades.asof import Known, as_known_at
from trades.lifecycle import kinds_in, marks_of
from trades.messages.facts import TradeEvent, TradeId
from trades.models import Event, Message, Trade
from trades.order import Marks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch) -> None:
    understand_facts(monkeypatch)


def queue_order() -> list[tuple[int, str, int | None]]:
    """Queue position, class and version of every event, by place in business order."""
    return list(Event.objects.order_by("place").values_list("position", "event_class", "version"))


def flags() -> dict[int, list[str]]:
    """The flags of the events that have some, by position."""
    return {event.position: event.flags for event in Event.objects.order_by("position") if event.flags}


def look(trade: Trade | None = None) -> dict[str, Any]:
    """What a trade's row says that must not depend on the order of arrival."""
    trade = trade or Trade.objects.get()
    names = ("state", "status", "version", "event_count", "product", "parties", "notional", "trade_date")
    return {name: getattr(trade, name) for name in (*names, "highest_version", "last_event_time", "order_marks")}


def check_against_telling_anew() -> None:
    """Every trade, place, flag and description is what telling all the trade's events from nothing gives."""
    for trade in Trade.objects.all():
        known = as_known_at(trade)
        told = known.in_queue_order()
        assert [(item.event.place, item.event.flags) for item in told] == [(item.chapter.place, item.flags) for item in told]
        standing = known.story.standing
        assert (trade.state, trade.status, trade.version) == (standing.state, standing.status or "", standing.version)
        assert {name: str(getattr(trade, name) or "") for name in ("trade_date", "product", "parties", "notional")} == {
            name: str(known.values.get(name, "")) for name in ("trade_date", "product", "parties", "notional")
        }
        assert trade.flagged_count == sum(bool(item.flags) for item in told)
        assert [item.event.position for item in told] == list(range(1, trade.event_count + 1))
        assert trade.exception_marks == marks_of(flag for item in told for flag in item.flags)
        assert set(trade.exceptions.values_list("kind", flat=True)) == set(kinds_in(trade.exception_marks))
        assert trade.status_since == came_into_its_status(known)


def came_into_its_status(known: Known) -> datetime:
    """When the last run of the present status began, in business order."""
    events = known.in_business_order()
    start = len(events) - 1
    while start and events[start - 1].chapter.status == known.story.standing.status:
        start -= 1
    event = events[start].event
    return min(event.event_time or event.recorded_at, event.recorded_at)


def test_a_late_version_lands_in_its_place_and_newer_values_stay() -> None:
    record(fact(version=1, notional="1", at=0), fact("T-1", "UPDATE", 3, notional="3", at=2))
    assert (flags(), Trade.objects.get().notional) == ({2: ["GAP"]}, "3 EUR")

    record(fact("T-1", "UPDATE", 2, notional="2", at=1, product="swap"))

    assert queue_order() == [(1, "BOOK", 1), (3, "UPDATE", 2), (2, "UPDATE", 3)]
    assert flags() == {3: ["LATE"]}
    trade = Trade.objects.get()
    assert (trade.version, trade.notional, trade.product, trade.flagged_count) == (3, "3 EUR", "swap", 1)


def test_what_comes_before_the_book_is_pending_until_the_book_arrives() -> None:
    record(fact("T-1", "UPDATE", 2, notional="2", at=1), fact("T-1", "CANCEL", 3, at=2))
    assert (flags(), Trade.objects.get().state) == ({1: ["PENDING"], 2: ["PENDING"]}, "PENDING")

    record(fact("T-1", "BOOK", 1, notional="1", product="swap", at=0))

    trade = Trade.objects.get()
    assert (trade.state, trade.version, trade.notional, trade.product) == ("CANCELLED", 3, "2 EUR", "swap")
    assert flags() == {3: ["LATE"]}
    # What was known when each was recorded stays as it was.
    assert list(Event.objects.order_by("position").values_list("state_after", flat=True)) == ["PENDING", "PENDING", "CANCELLED"]


def test_an_orphan_finds_its_target_when_that_arrives() -> None:
    thread: dict[str, Any] = {"sender": "FO", "correlation_id": "C1"}
    record(fact("T-1", "CORRECT", 2, notional="7", at=1, sequence=2, **thread))
    assert flags() == {1: ["PENDING", "ORPHAN"]}
    assert Trade.objects.get().notional == ""

    record(fact("T-1", "BOOK", 1, notional="1", product="swap", at=0, sequence=1, **thread))

    trade = Trade.objects.get()
    assert (trade.state, trade.notional, flags()) == ("LIVE", "7 EUR", {2: ["LATE"]})
    check_against_telling_anew()


def test_a_correction_of_the_booking_does_not_overwrite_a_later_increase() -> None:
    thread: dict[str, Any] = {"sender": "FO", "correlation_id": "C1"}
    record(fact(notional="1", product="swp", at=0, sequence=1, **thread))
    record(fact("T-1", "UPDATE", notional="5", at=10))
    record(fact("T-1", "CORRECT", notional="2", product="swap", at=20, sequence=2, **thread))

    trade = Trade.objects.get()
    assert (trade.notional, trade.product) == ("5 EUR", "swap")


def test_a_retracted_update_takes_its_values_along_and_a_retracted_booking_cancels() -> None:
    record(
        fact(notional="1", at=0, sender="FO", correlation_id="C1"),
        fact("T-1", "UPDATE", notional="5", at=1, sender="FO", correlation_id="C2"),
    )
    record(fact("T-1", "RETRACT", at=2, sender="FO", correlation_id="C2"))
    assert (Trade.objects.get().notional, Trade.objects.get().state) == ("1 EUR", "LIVE")

    record(fact("T-1", "RETRACT", at=3, sender="FO", correlation_id="C1"))

    assert (Trade.objects.get().notional, Trade.objects.get().state) == ("1 EUR", "CANCELLED")
    check_against_telling_anew()


def test_an_event_before_an_end_that_arrives_after_it_counts() -> None:
    record(fact(notional="1", at=0), fact("T-1", "TERMINATE", at=10), fact("T-1", "UPDATE", notional="9", at=20))
    assert flags() == {3: ["AFTER_END"]}

    record(fact("T-1", "UPDATE", notional="5", at=5))

    assert (Trade.objects.get().notional, Trade.objects.get().state) == ("5 EUR", "TERMINATED")
    assert flags() == {3: ["AFTER_END"], 4: ["LATE"]}


def test_two_messages_that_state_one_version_are_both_kept_and_both_flagged() -> None:
    record(fact(version=1, at=0), fact("T-1", "UPDATE", 2, at=1, notional="2"))
    record(fact("T-1", "UPDATE", 2, at=2, notional="22"))

    assert flags() == {2: ["VERSION_CONFLICT"], 3: ["VERSION_CONFLICT"]}
    assert (Trade.objects.get().notional, Trade.objects.get().flagged_count) == ("22 EUR", 2)


def test_a_lower_sequence_of_a_thread_goes_before_what_was_recorded() -> None:
    thread: dict[str, Any] = {"sender": "FO", "correlation_id": "C1"}
    record(fact(at=0, sequence=1, notional="1", **thread), fact("T-1", "UPDATE", at=5, sequence=4, notional="4", **thread))

    record(
        fact("T-1", "UPDATE", at=9, sequence=2, notional="2", **thread), fact("T-1", "UPDATE", at=10, sequence=5, notional="5", **thread)
    )

    assert list(Event.objects.order_by("place").values_list("sequence", flat=True)) == [1, 2, 4, 5]
    assert flags() == {3: ["LATE"]}
    assert Trade.objects.get().notional == "5 EUR"


def test_a_snapshot_fills_in_what_is_not_known_and_changes_nothing_that_is() -> None:
    record(fact("T-1", "SNAPSHOT", notional="9", product="swap", at=0, trade_date=date(2026, 11, 20)))
    record(fact("T-1", "BOOK", notional="1", at=1))
    record(fact("T-1", "SNAPSHOT", notional="8", product="option", at=2))
    record(fact("T-1", "UPDATE", product="swaption", at=3))

    trade = Trade.objects.get()
    assert (trade.notional, trade.product, trade.trade_date) == ("1 EUR", "swaption", date(2026, 11, 20))
    check_against_telling_anew()


def test_without_a_version_or_a_time_the_order_of_arrival_is_taken_and_said() -> None:
    record(fact("T-1"), fact("T-1", "UPDATE", notional="1"), fact("T-1", "UPDATE", notional="2"))

    assert flags() == {3: ["ORDER_ASSUMED"]}
    assert Trade.objects.get().notional == "2 EUR"


def test_an_arrival_flag_stays_when_the_history_is_told_anew() -> None:
    record(fact(version=1, at=0), fact("T-1", "UPDATE", 3, at=3))
    record(fact("T-1", "UPDATE", 2, at=2))

    record(fact("T-1", "CORRECT", 4, at=4))

    assert flags()[3] == ["LATE"]


SEQUENCES: dict[str, list[TradeEvent]] = {
    "versions": [
        fact("A B", "BOOK", 1, at=0, notional="1", product="swap", status="RECEIVED"),
        fact("A", "STATUS", 1, at=1, status="CHECKED"),
        fact("A", "UPDATE", 2, at=2, notional="2"),
        fact("A", "STATUS", 2, at=3, status="CONFIRMED"),
        fact("C A", "CANCEL", 3, at=4),
    ],
    "threads": [
        fact("A", "BOOK", at=0, notional="1", product="swp", sender="S", correlation_id="C1", sequence=1),
        fact("A", "UPDATE", at=1, notional="2", sender="S", correlation_id="C2", sequence=1),
        fact("A", "CORRECT", at=2, notional="3", product="swap", sender="S", correlation_id="C1", sequence=2),
        fact("A", "UPDATE", at=3, notional="4", sender="S", correlation_id="C3", sequence=1),
        fact("A", "RETRACT", at=4, sender="S", correlation_id="C3", sequence=2),
    ],
    "ended and reinstated": [
        fact("A", "BOOK", at=0, notional="1"),
        fact("A", "TERMINATE", at=1),
        fact("A", "UPDATE", at=2, notional="2"),
        fact("A", "REINSTATE", at=3),
        fact("A", "UPDATE", at=4, notional="4"),
    ],
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_every_order_of_arrival_gives_the_same_trade_and_the_same_business_order(name: str) -> None:
    events = SEQUENCES[name]
    expected: tuple[object, ...] | None = None

    for number, order in enumerate(itertools.permutations(range(len(events)))):
        body = f"{name} {number} "
        messages = [message(_renamed(events[index], number), body=f"{body}{index}") for index in order]
        # In one batch, in two, and one by one.
        cut = (0, 2, 3)[number % 3]
        for batch in [messages[:cut], messages[cut:]] if number % 4 else [[item] for item in messages]:
            if batch:
                record(*batch)
        trade = Trade.objects.get(identifiers__value=f"A-{number}")
        placed = [item.removeprefix(body) for item in trade.events.order_by("place").values_list("message__body", flat=True)]
        told = [[flag for flag in item if flag != "LATE"] for item in trade.events.order_by("place").values_list("flags", flat=True)]
        expected = expected or (look(trade), placed, told)
        assert (look(trade), placed, told) == expected, order
    check_against_telling_anew()


def _renamed(event: TradeEvent, number: int) -> TradeEvent:
    """The same event of another trade."""
    return replace(event, trade_ids=tuple(replace(trade_id, value=f"{trade_id.value}-{number}") for trade_id in event.trade_ids))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_native_messages_of_a_trade_give_the_same_trade_in_any_order_of_arrival(order: tuple[int, ...]) -> None:
    documents = [
        native("T-1", "BOOK", 1).replace("09:30:00Z", "09:30:01Z"),
        native("T-1", "STATUS", 1, "CHECKED").replace("09:30:00Z", "09:30:02Z"),
        native("T-1", "UPDATE", 2).replace("09:30:00Z", "09:30:03Z").replace("10000000.00", "12000000.00"),
        native("T-1", "STATUS", 2, "CONFIRMED").replace("09:30:00Z", "09:30:04Z"),
    ]

    for index in order:
        history.record([received(documents[index])], now=NOON)
    report = history.record([received(documents[index]) for index in order], now=NOON)

    trade = Trade.objects.get()
    assert (trade.state, trade.status, trade.version, trade.notional) == ("LIVE", "CONFIRMED", 2, "12000000.00 EUR")
    assert list(Event.objects.order_by("place").values_list("event_class", "version")) == [
        ("BOOK", 1), ("STATUS", 1), ("UPDATE", 2), ("STATUS", 2),
    ]  # fmt: skip
    assert [trade.events.get(position=number).place for number in range(1, 5)] == [index + 1 for index in order]
    assert report.outcomes == {"DUPLICATE": 4}
    check_against_telling_anew()


def test_replaying_everything_adds_nothing_and_changes_nothing() -> None:
    messages = [message(event) for event in reversed(SEQUENCES["threads"])]
    record(*messages)
    before, rows = look(), list(Event.objects.order_by("id").values())

    again = [received(item.body, "A") for item in messages]
    report = record(*again)

    assert report.outcomes == {"DUPLICATE": 5}
    assert (look(), list(Event.objects.order_by("id").values())) == (before, rows)


@pytest.mark.parametrize("seed", range(25))
def test_whatever_arrives_in_whatever_batches_the_rows_are_what_telling_all_of_it_anew_gives(seed: int) -> None:
    dice = Random(seed)
    coherent = dice.random() < 0.5
    events = [_any_event(dice, number, coherent=coherent) for number in range(dice.randint(1, 14))]
    dice.shuffle(events)

    for name in ("one", "many"):
        own = [replace(event, trade_ids=(TradeId("", name),), sender=name) for event in events]
        messages = [message(event, body=f"{seed} {name} {n}") for n, event in enumerate(own)]
        while messages:
            size = 1 if name == "one" else dice.randint(1, 6)
            record(*messages[:size])
            del messages[:size]
            check_against_telling_anew()

    one, many = (Trade.objects.get(trade_id=name) for name in ("one", "many"))
    columns = ("position", "place", "flags", "state_after", "status_after", "version", "event_class")
    assert list(one.events.order_by("position").values(*columns)) == list(many.events.order_by("position").values(*columns))
    assert look(one) == look(many)


def _any_event(dice: Random, number: int, *, coherent: bool) -> TradeEvent:
    """Some event; a coherent one has a version and a time that agree, as far as it has them."""
    version, minute = (number // 2, number) if coherent else (dice.randint(1, 4), dice.randint(0, 5))
    thread = dice.choice(["", "", "C1", "C2"])
    return fact(
        "T-1",
        dice.choice(["BOOK", "UPDATE", "UPDATE", "CORRECT", "RETRACT", "STATUS", "TERMINATE", "CANCEL", "REINSTATE", "SNAPSHOT"]),
        dice.choice([None, version, version]),
        at=dice.choice([None, minute, minute, minute]),
        correlation_id=thread,
        sequence=dice.choice([None, number, dice.randint(1, 5)]) if thread else None,
        status=dice.choice(["", "CHECKED", "CONFIRMED"]),
        details=dice.choice([{}, {"product": f"p{number}"}, {"quantity": str(number)}]),
    )


# What it costs


def queries(batch: Sequence[TradeEvent]) -> int:
    messages = [message(item) for item in batch]
    with CaptureQueriesContext(connection) as captured:
        record(*messages)
    return len(captured)


def test_a_batch_takes_as_many_queries_however_many_trades_are_opened() -> None:
    def late(count: int, name: str) -> int:
        record(*[fact(f"{name}{n}", "BOOK", 1, at=0, notional="1") for n in range(count)])
        record(*[fact(f"{name}{n}", "UPDATE", 3, at=2, notional="3") for n in range(count)])
        return queries([fact(f"{name}{n}", "UPDATE", 2, at=1, notional="2") for n in range(count)])

    few, many = late(2, "few"), late(60, "many")

    assert few == many
    assert many <= 20
    check_against_telling_anew()


def test_events_in_order_take_no_query_more_than_before_business_order_was_kept() -> None:
    names = [f"T-{n}" for n in range(20)]
    opening = queries([fact(name, "BOOK", 1, at=0) for name in names])
    following = queries([fact(name, "UPDATE", 2, at=1) for name in names])
    new_ids = queries([fact(f"{name} X{name}", "UPDATE", 3, at=2) for name in names])
    threaded = queries([fact(name, "UPDATE", 4, at=3, sender="S", correlation_id="C", sequence=1) for name in names])

    # Savepoint aside: messages known, holds, ids, contents, trades; then messages, events, trades written.
    assert (opening - following, new_ids - following, threaded - following) == (1, 1, 1)
    assert following <= 10


def test_a_late_event_in_a_trade_of_10_000_events_gets_its_place_among_them() -> None:
    record(*[fact("T-1", "BOOK", 1, at=0, notional="1")])
    batch = [fact("T-1", "UPDATE", version, at=version) for version in range(3, 10_002)]
    for start in range(0, len(batch), 1_000):
        record(*batch[start : start + 1_000])
    assert (Trade.objects.get().event_count, flags()) == (10_000, {2: ["GAP"]})

    record(fact("T-1", "UPDATE", 2, at=2))

    assert Event.objects.get(version=2).place == 2
    assert list(Event.objects.filter(version__in=[1, 3, 10_001]).order_by("version").values_list("place", flat=True)) == [1, 3, 10_001]
    assert flags() == {10_001: ["LATE"]}


# What was known when


def test_a_trade_is_shown_as_it_was_known_at_a_moment() -> None:
    def hour(number: int) -> Any:
        return NOON + timedelta(hours=number)

    record(fact("T-1", "UPDATE", 2, at=1, notional="2"), now=hour(1))
    record(fact("T-1", "BOOK", 1, at=0, notional="1", product="swap"), now=hour(2))
    record(fact("T-1", "CANCEL", 3, at=3), now=hour(3))
    trade = Trade.objects.get()

    def known(moment: Any) -> tuple[object, ...]:
        then = as_known_at(trade, moment)
        story = then.story.standing
        return story.state, story.version, then.values.get("product"), [(t.event.position, t.flags) for t in then.in_business_order()]

    assert as_known_at(trade, hour(0)).events == []
    assert known(hour(1)) == ("PENDING", 2, None, [(1, ["PENDING"])])
    assert known(hour(2)) == ("LIVE", 2, "swap", [(2, ["LATE"]), (1, [])])
    assert known(hour(3)) == known(None) == ("CANCELLED", 3, "swap", [(2, ["LATE"]), (1, []), (3, [])])


def test_a_worker_whose_clock_is_behind_does_not_put_an_event_before_what_was_known_then() -> None:
    record(fact("T-1", "BOOK", 1, at=0), now=NOON + timedelta(seconds=2))
    record(fact("T-1", "CANCEL", 2, at=1), now=NOON)
    trade = Trade.objects.get()

    assert as_known_at(trade, NOON + timedelta(seconds=1)).events == []
    assert [event.position for event in as_known_at(trade, NOON + timedelta(seconds=2)).events] == [1, 2]
    assert trade.updated_at == NOON + timedelta(seconds=2)


# Trades recorded before business order was kept


def test_a_trade_whose_order_was_not_kept_is_told_anew_at_its_next_event() -> None:
    record(fact("T-1", "UPDATE", 2, at=1, notional="2"), fact("T-1", "BOOK", 1, at=0, notional="1"))
    for event in Event.objects.all():
        Event.objects.filter(pk=event.pk).update(place=event.position, flags=[])
    Trade.objects.update(order_marks=Marks.UNKNOWN.value, highest_version=None, last_event_time=None, notional="1 EUR", flagged_count=0)

    record(fact("T-1", "UPDATE", 3, at=2))

    assert queue_order() == [(2, "BOOK", 1), (1, "UPDATE", 2), (3, "UPDATE", 3)]
    assert (Trade.objects.get().notional, Trade.objects.get().order_marks) == ("2 EUR", 0)
    check_against_telling_anew()


# Messages that are known, and no trade events


def test_a_message_that_is_no_trade_event_is_stored_with_what_it_is() -> None:
    report = record(message(reference="A heartbeat of the clearing house."))

    row = Message.objects.get()
    assert (row.outcome, row.reason, row.dialect) == ("REFERENCE", "A heartbeat of the clearing house.", "test")
    assert report.outcomes == {"REFERENCE": 1}
    assert not Trade.objects.exists()
