"""What recording keeps for those who look after trades: what is wrong with each, since when, and since when it has its status."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.support.facts import fact, message, record, understand_facts
from tests.support.native import NOON
from trades import exceptions, history
from trades.lifecycle import KINDS as KIND_OF
from trades.lifecycle import Flag, Kind, marks_of, reached_at
from trades.models import Event, Trade, TradeException

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch) -> None:
    understand_facts(monkeypatch)


def open_kinds() -> list[str]:
    return sorted(TradeException.objects.filter(acknowledged_at__isnull=True).values_list("kind", flat=True))


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_gap_opens_an_exception_that_goes_when_it_is_filled() -> None:
    record(fact(version=1, at=0), fact("T-1", "UPDATE", 3, at=2))
    assert open_kinds() == ["GAP"]

    record(fact("T-1", "UPDATE", 2, at=1))

    assert open_kinds() == ["LATE"]
    assert Trade.objects.get().exception_marks == 2


def test_a_new_cause_opens_what_was_acknowledged_and_keeps_the_age_of_what_is_open() -> None:
    history.record([message(fact(version=1, at=0)), message(fact("T-1", "UPDATE", 3, at=2))], now=at(10))
    history.record([message(fact("T-1", "UPDATE", 5, at=3))], now=at(20))
    assert TradeException.objects.get().since == at(10)
    TradeException.objects.update(acknowledged_at=at(25))

    history.record([message(fact("T-1", "UPDATE", 6, at=4))], now=at(30))
    assert open_kinds() == []
    history.record([message(fact("T-1", "UPDATE", 8, at=5))], now=at(40))

    row = TradeException.objects.get()
    assert (row.kind, row.since, row.acknowledged_at) == ("GAP", at(40), None)


def test_an_earlier_event_that_comes_to_be_after_the_end_opens_what_was_acknowledged() -> None:
    record(fact(version=1, at=0), fact("T-1", "UPDATE", 2, at=5), fact("T-1", "TERMINATE", 3, at=10), fact("T-1", "UPDATE", 4, at=12))
    assert open_kinds() == ["AFTER_END"]
    TradeException.objects.update(acknowledged_at=at(25))

    history.record([message(fact("T-1", "CANCEL", at=2))], now=at(30))

    assert Event.objects.get(position=2).flags == ["AFTER_END"]
    assert Event.objects.get(position=5).flags == ["LATE"]
    assert open_kinds() == ["AFTER_END", "LATE"]
    assert TradeException.objects.get(kind="AFTER_END").since == at(30)


def test_events_in_order_take_no_statement_for_exceptions() -> None:
    record(fact(version=1, at=0))

    with CaptureQueriesContext(connection) as captured:
        record(fact("T-1", "UPDATE", 2, at=1), fact("T-2", version=1, at=0))

    assert not [query for query in captured.captured_queries if "tradeexception" in query["sql"]]


def test_a_batch_takes_one_statement_for_all_that_opens() -> None:
    record(*[fact(f"T-{number}", version=1, at=0) for number in range(30)])

    with CaptureQueriesContext(connection) as captured:
        record(*[fact(f"T-{number}", "UPDATE", 3, at=1) for number in range(30)])

    statements = [query["sql"] for query in captured.captured_queries if "tradeexception" in query["sql"]]
    assert len({statement.partition("VALUES")[0] for statement in statements}) == 1
    assert TradeException.objects.filter(kind="GAP").count() == 30


def test_a_status_is_since_when_the_document_says_but_no_later_than_recorded() -> None:
    stated = fact(version=1, at=0).event_time
    history.record([message(fact(version=1, at=0))], now=at(600))
    assert Trade.objects.get().status_since == stated
    history.record([message(fact("T-1", "STATUS", 1, at=None, status="CHECKED"))], now=at(610))
    assert Trade.objects.get().status_since == at(610)
    history.record([message(fact("T-1", "STATUS", 1, at=50_000, status="CONFIRMED"))], now=at(620))

    trade = Trade.objects.get()
    assert (trade.status, trade.status_since) == ("CONFIRMED", at(620))


def test_the_same_status_again_is_since_the_first_time() -> None:
    record(fact(version=1, at=0), fact("T-1", "STATUS", 1, at=1, status="CHECKED"))
    before = Trade.objects.get().status_since

    record(fact("T-1", "STATUS", 1, at=5, status="CHECKED"), fact("T-1", "CANCEL", 2, at=9))

    assert Trade.objects.get().status_since == before


def test_a_status_that_arrives_late_moves_the_moment_back() -> None:
    history.record([message(fact(version=1, at=0)), message(fact("T-1", "STATUS", 1, at=5, status="CHECKED"))], now=at(10))
    assert Trade.objects.get().status_since == at(5)

    history.record([message(fact("T-1", "STATUS", 1, at=3, status="CHECKED"))], now=at(20))

    assert Trade.objects.get().status_since == at(3)


def test_every_flag_of_an_exception_has_one_bit() -> None:
    assert [marks_of([flag]) for flag in (Flag.GAP, Flag.OVERTAKEN, Flag.TWO_TRADES, Flag.AFTER_END, Flag.REBOOK)] == [1, 2, 4, 8, 0]
    assert set(KIND_OF.values()) == set(Kind)
    assert [kind.value for kind in Kind] == TradeException.Kind.values
    assert reached_at(None, NOON) == NOON


@pytest.mark.parametrize(("status", "minutes"), [("CHECKED", 120), ("ALLEGED", 30), ("SETTLED", None), ("", None)])
def test_a_limit_warns_at_half_of_it(status: str, minutes: int | None) -> None:
    limit = exceptions.limit_of(status)

    if minutes is None:
        assert limit is None
    else:
        assert limit == exceptions.Limit(timedelta(minutes=minutes / 2), timedelta(minutes=minutes))
