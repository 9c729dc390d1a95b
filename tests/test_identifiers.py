"""Several ids of one trade: a message is about the trade that any of its ids leads to, and two trades are never merged."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.support.facts import UTI, fact, message, record, understand_facts
from tests.support.native import NOON, native, received
from tests.support.waiting import some_lock_is_waited_for, wait_until
from trades import history, identifiers, publishing
from trades.messages.facts import TradeEvent, TradeId
from trades.models import Event, Message, Publication, Trade, TradeIdentifier, TradeLink, Upload

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def facts(monkeypatch: pytest.MonkeyPatch) -> None:
    understand_facts(monkeypatch)


def trades() -> dict[str, list[str]]:
    """The classes of the events of each trade, in queue order, by the id that the trade is kept under."""
    return {
        trade.trade_id: list(trade.events.order_by("position").values_list("event_class", flat=True))
        for trade in Trade.objects.order_by("id")
    }


def ids() -> dict[str, str]:
    """The trade that each id leads to."""
    return dict(TradeIdentifier.objects.values_list("value", "trade__trade_id"))


def links() -> list[tuple[str, ...]]:
    """The pairs, each in the order of the alphabet: which of two trades of one batch is made first is of no importance."""
    return [tuple(sorted(pair)) for pair in TradeLink.objects.order_by("id").values_list("first__trade_id", "second__trade_id")]


def flags() -> list[list[str]]:
    return list(Event.objects.order_by("id").values_list("flags", flat=True))


def test_a_trade_is_found_by_any_of_its_ids() -> None:
    record(fact("UTI-1 A B", version=1))
    record(fact("B", "UPDATE", 2))
    record(fact("A C", "UPDATE", 3))
    record(fact("C", "CANCEL", 4))

    assert trades() == {"UTI-1": ["BOOK", "UPDATE", "UPDATE", "CANCEL"]}
    assert ids() == {"UTI-1": "UTI-1", "A": "UTI-1", "B": "UTI-1", "C": "UTI-1"}
    assert list(TradeIdentifier.objects.filter(is_uti=True).values_list("value", flat=True)) == ["UTI-1"]
    assert not TradeLink.objects.exists()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_messages_of_one_trade_find_each_other_in_any_order_of_arrival_within_a_batch_and_across(order: tuple[int, ...]) -> None:
    every = [fact("A B", version=1), fact("B A", "UPDATE", 2), fact("A B", "UPDATE", 3), fact("B A", "CANCEL", 4)]
    arriving = [every[index] for index in order]

    record(*arriving[:2])
    record(*arriving[2:])

    trade = Trade.objects.get()
    assert sorted(ids()) == ["A", "B"]
    assert (trade.state, trade.version, trade.event_count) == ("CANCELLED", 4, 4)
    assert list(Event.objects.order_by("place").values_list("version", flat=True)) == [1, 2, 3, 4]


def test_the_same_value_in_another_scheme_is_another_id() -> None:
    record(fact([TradeId("urn:a", "1"), TradeId("urn:b", "2")]), fact([TradeId("urn:b", "1"), TradeId("urn:a", "2")]))

    assert Trade.objects.count() == 2


def test_related_ids_never_match() -> None:
    record(fact("A", version=1, related_ids=(TradeId("", "B"),)), fact("B", version=1))

    assert trades() == {"A": ["BOOK"], "B": ["BOOK"]}
    assert Event.objects.get(trade__trade_id="A").details["related_ids"] == [{"scheme": "", "id": "B"}]


def test_ids_of_two_trades_in_one_message_link_the_two_for_a_person() -> None:
    record(fact("A", version=1))
    record(fact("B", version=1))

    record(fact("B A C", "UPDATE", 2))

    assert trades() == {"A": ["BOOK"], "B": ["BOOK", "UPDATE"]}
    assert (flags(), links()) == ([[], [], ["TWO_TRADES"]], [("A", "B")])
    assert ids() == {"A": "A", "B": "B", "C": "B"}
    link = TradeLink.objects.get()
    assert (link.message, link.since) == (Message.objects.order_by("-id")[0], NOON)


def test_two_trades_are_linked_once_however_often_a_message_says_so() -> None:
    record(fact("A"), fact("B"))
    record(fact("A B", "UPDATE", at=1), fact("B A", "UPDATE", at=2))
    record(fact("A B", "UPDATE", at=3))

    assert links() == [("A", "B")]
    assert flags() == [[], [], ["TWO_TRADES"], ["TWO_TRADES"], ["TWO_TRADES"]]


def test_two_trades_are_found_within_one_batch() -> None:
    record(fact("A"), fact("B"), fact("A B", "UPDATE", at=1))

    assert (trades(), links()) == ({"A": ["BOOK", "UPDATE"], "B": ["BOOK"]}, [("A", "B")])


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("event", ["CORRECT", "RETRACT", "CANCEL"])
def test_a_correction_under_a_new_id_in_the_thread_of_one_trade_is_linked_to_it(event: str, batches: int) -> None:
    booked, corrected = fact("A", sender="FO", correlation_id="C1"), fact("B", event, sender="FO", correlation_id="C1", at=1)

    for batch in [[booked, corrected]] if batches == 1 else [[booked], [corrected]]:
        record(*batch)

    assert sorted(trades()) == ["A", "B"]
    assert links() == [("A", "B")]
    assert "TWO_TRADES" in Event.objects.get(trade__trade_id="B").flags


def test_a_thread_of_several_trades_or_of_another_sender_says_nothing() -> None:
    record(fact("A", sender="FO", correlation_id="C1"), fact("B", sender="FO", correlation_id="C1"))
    record(fact("C", "CANCEL", sender="FO", correlation_id="C1"), fact("D", "CANCEL", sender="BO", correlation_id="C1"))
    record(fact("E", sender="X", correlation_id="C2"), fact("F", "UPDATE", sender="X", correlation_id="C2"))

    assert (links(), len(trades())) == ([], 6)


def test_an_id_longer_than_its_column_still_finds_its_trade() -> None:
    long = TradeId("", "x" * 400)

    record(fact([TradeId("", "A"), long]), message(fact([long, TradeId("", "B")], "UPDATE", at=1), group="A"))

    assert trades() == {"A": ["BOOK", "UPDATE"]}


def test_planning_needs_no_database_and_follows_the_ids_own_order() -> None:
    facts = [fact("X A"), fact("B Y"), fact("X B", "UPDATE"), fact("Z", "UPDATE")]
    keys = identifiers.keys_of(facts)
    known = {keys[TradeId("", "A")]: 1, keys[TradeId("", "B")]: 2}

    planned = identifiers.plan(facts, keys, known)

    assert planned.targets == [1, 2, 1, keys[TradeId("", "Z")]]
    assert (planned.others, list(planned.opening)) == ({2: [2]}, [3])
    assert [new.trade_id.value for new in planned.new_ids.values()] == ["X", "Y", "Z"]


# Publishing


def test_a_document_is_published_to_the_group_of_the_trade_that_any_of_its_ids_leads_to() -> None:
    other = '<OtherTradeId scheme="urn:uti">{}</OtherTradeId>'
    first = native("T-1").replace("</TradeId>", "</TradeId>" + other.format("U-1"))
    record(received(first))
    documents = [
        native("U-1", "UPDATE", 2, scheme="urn:uti"),
        native("T-1", "UPDATE", 3),
        native("T-2", "UPDATE", 2).replace("</TradeId>", "</TradeId>" + other.format("U-1")),
        native("T-3").replace("</TradeId>", "</TradeId>" + other.format("U-3")),
    ]
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=NOON)

    with CaptureQueriesContext(connection) as captured:
        publishing.store(upload, [publishing.IncomingDocument("x.xml", text.encode()) for text in documents], queue="Q.fifo", now=NOON)

    groups = list(Publication.objects.order_by("id").values_list("group_id", flat=True))
    assert groups == ["T-1", "T-1", "T-1", "T-3"]
    assert sum("trades_tradeidentifier" in query["sql"] for query in captured) == 1


def test_documents_of_one_upload_that_share_an_id_are_published_to_one_group_although_no_trade_is_known_yet() -> None:
    both = native("T-1").replace("</TradeId>", '</TradeId><OtherTradeId scheme="urn:uti">U-1</OtherTradeId>')
    documents = [publishing.IncomingDocument("x.xml", text.encode()) for text in (both, native("U-1", "UPDATE", 2, scheme="urn:uti"))]
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=NOON)

    publishing.store(upload, documents, queue="Q.fifo", now=NOON)

    assert list(Publication.objects.order_by("id").values_list("group_id", flat=True)) == ["T-1", "T-1"]


@pytest.mark.parametrize("way", ["page", "command"])
def test_documents_that_share_an_id_are_published_to_one_group_however_far_apart_they_are_stored(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trades.handing_in.documents.CHUNK", 1)
    both = native("T-1").replace("</TradeId>", '</TradeId><OtherTradeId scheme="urn:uti">U-1</OtherTradeId>')
    texts = [both, native("T-2"), native("U-1", "UPDATE", 2, scheme="urn:uti")]

    if way == "page":
        documents = [publishing.IncomingDocument("x.xml", text.encode()) for text in texts]
        publishing.publish(documents, source=Upload.Source.ADMIN, user=None, clock=timezone.now)
    else:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.xml").write_text(text)
        with suppress(CommandError):  # no queue is there
            call_command("publish_trades", str(tmp_path))

    assert list(Publication.objects.order_by("id").values_list("group_id", flat=True)) == ["T-1", "T-2", "T-1"]


# Several workers


@pytest.mark.django_db(transaction=True)
def test_workers_that_meet_the_ids_of_a_trade_at_once_make_one_trade() -> None:
    """Each worker knows the trade by another pair of its ids; whoever is first, all find the one trade, and nothing is lost."""
    rounds, workers = 6, 4

    for number in range(rounds):
        names = [f"{number}-{letter}" for letter in "ABCDE"]
        barrier = threading.Barrier(workers)

        def work(worker: int, names: list[str] = names, barrier: threading.Barrier = barrier) -> None:
            # Every pair shares the first id, and leads with an id of its own.
            batch = [
                message(fact(f"{names[worker + 1]} {names[0]}", "UPDATE", version, notional=str(version)))
                for version in range(10 * worker + 1, 10 * worker + 4)
            ]
            barrier.wait()
            try:
                history.record(batch, now=NOON)
            finally:
                connection.close()

        with ThreadPoolExecutor(workers) as pool:
            for future in [pool.submit(work, worker) for worker in range(workers)]:
                future.result()

        trade = Trade.objects.get(identifiers__value=names[0])
        assert {trade_id for trade_id, kept in ids().items() if kept == trade.trade_id} == set(names)
        assert list(trade.events.order_by("position").values_list("position", flat=True)) == list(range(1, 3 * workers + 1))
        assert trade.version == 10 * (workers - 1) + 3
        assert trade.notional == f"{trade.version} EUR"
    assert Trade.objects.count() == rounds
    assert not TradeLink.objects.exists()
    assert not Message.objects.exclude(outcome="RECORDED").exists()


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_waited_for_another_ones_new_id_goes_to_its_trade() -> None:
    """The other worker has made the trade of B but not committed; this one makes A, then meets B."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite lets one transaction write at a time, so that none waits for an id in the middle of its own")
    is_made, may_end = threading.Event(), threading.Event()

    def first() -> None:
        try:
            with transaction.atomic():
                identifiers.match([fact("C B")], NOON)
                is_made.set()
                assert may_end.wait(20)
        finally:
            connection.close()

    def second() -> identifiers.Matched:
        try:
            with transaction.atomic():
                return identifiers.match([fact("A B"), fact("A", "UPDATE")], NOON)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(first)
        assert is_made.wait(20)
        ours = pool.submit(second)
        wait_until(some_lock_is_waited_for, "the second worker waits for the first one's id")
        may_end.set()
        other.result()
        matched = ours.result()

    assert {trade.trade_id for trade in matched.trades} == {"C"}
    assert (ids(), Trade.objects.count()) == ({"C": "C", "B": "C", "A": "C"}, 1)


def test_a_fact_of_the_uti_scheme_marks_its_id() -> None:
    uti = TradeId(UTI, "1030-X")
    stated = TradeEvent(event_class=fact().event_class, trade_ids=(uti, TradeId("", "A")), uti=uti)

    record(stated)

    assert list(TradeIdentifier.objects.order_by("id").values_list("scheme", "value", "is_uti")) == [
        (UTI, "1030-X", True),
        ("", "A", False),
    ]
