"""Recording: every message stored, effect exactly once, order kept."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import DataError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from tests.support.native import NOON, native, received, several
from trades import history, ledger, quarantine
from trades.models import Event, Hold, Message, Trade
from trades.sqs import Received

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome
BAD = "<TradeStatus><TradeId>T-1</TradeStatus>"


def record(*batch: Received, hold: bool = True) -> history.Report:
    return history.record(batch, now=NOON, hold=hold)


def story(trade_id: str = "T-1") -> list[tuple[int, str]]:
    return list(Event.objects.filter(trade__trade_id=trade_id).order_by("position").values_list("position", "event_class"))


def outcomes() -> list[str]:
    return list(Message.objects.order_by("id").values_list("outcome", flat=True))


def test_a_batch_becomes_the_ordered_history_of_each_trade() -> None:
    record(
        received(native("T-1", "BOOK"), "T-1"),
        received(native("T-2", "BOOK"), "T-2"),
        received(native("T-1", "STATUS", 1, "CHECKED"), "T-1"),
        received(native("T-1", "UPDATE", 2), "T-1"),
    )
    record(received(native("T-1", "CANCEL", 3), "T-1"))

    assert story("T-1") == [(1, "BOOK"), (2, "STATUS"), (3, "UPDATE"), (4, "CANCEL")]
    assert story("T-2") == [(1, "BOOK")]
    trade = Trade.objects.get(trade_id="T-1")
    assert (trade.state, trade.version, trade.event_count, trade.last_class) == ("CANCELLED", 3, 4, "CANCEL")


def test_the_text_and_the_facts_of_the_queue_are_stored_as_they_came() -> None:
    message = received(native("T-1"), "T-1")

    record(message)

    row = Message.objects.get()
    assert row.body == message.body
    assert (row.message_id, row.group_id, row.sequence_number) == (message.message_id, "T-1", message.sequence_number)
    assert (row.sent_at, row.received_at, row.receive_count, row.body_md5) == (NOON, NOON, 1, message.md5)


def test_the_trade_shows_what_its_newest_statement_says() -> None:
    record(received(native("T-1")))

    trade = Trade.objects.get()
    assert (trade.product, trade.parties) == ("IRS 5Y EUR", "Northgate Bank / Kestrel Capital")
    assert trade.notional == "10000000.00 EUR"
    assert str(trade.trade_date) == "2026-11-20"


def test_a_message_delivered_again_has_no_effect_and_is_counted() -> None:
    message = received(native("T-1"))

    record(message)
    report = record(message)

    assert (report.repeats, story()) == (1, [(1, "BOOK")])
    assert Message.objects.get().repeats == 1


def test_a_publication_sent_twice_has_its_effect_once() -> None:
    publication_id = uuid.uuid4()
    body = native("T-1")

    record(received(body, publication_id=publication_id))
    record(received(body, publication_id=publication_id))

    assert story() == [(1, "BOOK")]
    assert Message.objects.get().repeats == 1


def test_a_publication_sent_twice_in_one_batch_has_its_effect_once() -> None:
    publication_id, body = uuid.uuid4(), native("T-1")

    report = record(received(body, publication_id=publication_id), received(body, publication_id=publication_id))

    assert (report.repeats, story()) == (1, [(1, "BOOK")])


def test_the_same_publication_with_other_content_is_a_conflict_for_a_person() -> None:
    publication_id = uuid.uuid4()

    record(received(native("T-1"), publication_id=publication_id))
    record(received(native("T-1", "CANCEL", 2), publication_id=publication_id))

    conflict = Message.objects.get(outcome=Outcome.QUARANTINED)
    assert conflict.code == "publication-conflict"
    assert str(publication_id) in conflict.reason
    assert story() == [(1, "BOOK")]


@pytest.mark.parametrize("batches", [1, 2])
def test_a_conflict_is_linked_to_the_message_that_came_first_and_names_its_trade(batches: int) -> None:
    publication_id = uuid.uuid4()
    first, other = (received(native("T-1", event, 1), publication_id=publication_id) for event in ("BOOK", "CANCEL"))

    for batch in [(first, other)] if batches == 1 else [(first,), (other,)]:
        record(*batch)
    report = record(other)

    original, conflict = Message.objects.order_by("id")
    assert (conflict.conflicts_with, conflict.publication_id, conflict.stated_trade_id) == (original, None, "T-1")
    assert list(original.conflicts.all()) == [conflict]
    assert (report.repeats, story()) == (1, [(1, "BOOK")])


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_conflict_sent_again_under_another_message_id_is_a_repeat_of_the_conflict(batches: int) -> None:
    publication_id, text = uuid.uuid4(), native("T-1", "CANCEL", 2)
    first = received(native("T-1"), publication_id=publication_id)
    again = [received(text, publication_id=publication_id) for _ in range(3)]
    other = received(native("T-1", "UPDATE", 3), publication_id=publication_id)

    ends = {1: [5], 2: [2, 5], 3: [1, 4, 5]}[batches]
    for start, end in zip([0, *ends], ends, strict=False):
        record(*[first, *again, other][start:end])

    assert list(Message.objects.order_by("id").values_list("outcome", "repeats", "body")) == [
        ("RECORDED", 0, first.body),
        ("QUARANTINED", 2, text),
        ("HELD", 0, other.body),
    ]
    original = Message.objects.get(outcome=Outcome.RECORDED)
    assert original.conflicts.count() == 2


@pytest.mark.parametrize("act", ["replay", "correct", "discard"])
def test_a_conflict_that_a_person_settled_is_a_repeat_when_it_is_sent_again(act: str) -> None:
    publication_id = uuid.uuid4()
    text = native("T-1", "CANCEL", 2)
    record(received(native("T-1"), publication_id=publication_id), received(text, publication_id=publication_id))
    conflict, who = Message.objects.get(outcome=Outcome.QUARANTINED), quarantine.Actor(None, "command line, root")
    if act == "replay":
        quarantine.replay(conflict, actor=who, now=NOON)
    elif act == "correct":
        quarantine.correct(conflict, native("T-1", "UPDATE", 2), actor=who, reason="version", now=NOON)
    else:
        quarantine.discard(conflict, actor=who, reason="wrong file", now=NOON)
    events, messages = Event.objects.count(), Message.objects.count()

    report = record(received(text, publication_id=publication_id))

    conflict.refresh_from_db()
    assert (report.repeats, conflict.repeats) == (1, 1)
    assert (Event.objects.count(), Message.objects.count(), Hold.objects.count()) == (events, messages, 0)


@pytest.mark.parametrize("is_conflict", [False, True])
def test_the_number_of_queries_for_publications_known_does_not_depend_on_how_many_they_are(is_conflict: bool) -> None:
    def queries(first: int, count: int) -> int:
        ids = {n: uuid.uuid4() for n in range(first, first + count)}
        texts = {n: native(f"T-{n}") for n in ids}
        record(*(received(texts[n], f"T-{n}", publication_id=ids[n]) for n in ids))
        if is_conflict:
            texts = {n: native(f"T-{n}", version=2) for n in ids}
            record(*(received(texts[n], f"T-{n}", publication_id=ids[n]) for n in ids))
        again = [received(texts[n], f"T-{n}", publication_id=ids[n]) for n in ids]
        with CaptureQueriesContext(connection) as captured:
            record(*again)
        assert Message.objects.filter(group_id=f"T-{first}").count() == 1 + is_conflict
        return len(captured)

    assert queries(0, 2) == queries(1000, 50)


def test_a_message_that_comes_twice_in_one_batch_is_counted() -> None:
    message = received(native("T-1"))

    record(message, message)

    assert Message.objects.get().repeats == 1


@pytest.mark.parametrize(
    ("body", "trade_id"),
    [
        (native("T-7").replace("<Version>1<", "<Version>one<"), "T-7"),
        (several(native("T-8"), native("T-9").replace("<Version>1<", "<Version>one<")), "T-8"),
        (native("T-7").replace("<TradeId>T-7</TradeId>", ""), ""),
        ("<TradeStatus><TradeId>T-7</TradeStatus>", ""),
        ("<unknown><TradeId>T-7</TradeId></unknown>", ""),
    ],
)
def test_a_refused_message_names_its_trade_where_that_can_be_read(body: str, trade_id: str) -> None:
    record(received(body))

    assert Message.objects.values_list("outcome", "stated_trade_id").get() == ("QUARANTINED", trade_id)


def test_a_message_that_the_database_refuses_names_its_trade(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(entries: list[ledger.Entry], **kwargs: object) -> ledger.Entered:
        if entries:
            raise DataError("value out of range")
        return ledger.Entered()

    monkeypatch.setattr(ledger, "enter", refusing)

    record(received(native("T-7")))

    assert Message.objects.values_list("code", "stated_trade_id", "dialect").get() == ("not-storable", "T-7", "native")


@pytest.mark.parametrize("batches", [1, 2])
def test_identical_text_in_another_message_is_a_duplicate_without_effect(batches: int) -> None:
    body = native("T-1")
    first, second = received(body), received(body)

    if batches == 1:
        record(first, second)
    else:
        record(first)
        record(second)

    copy = Message.objects.get(message_id=second.message_id)
    assert copy.outcome == Outcome.DUPLICATE
    assert copy.repeats_message == Message.objects.get(message_id=first.message_id)
    assert story() == [(1, "BOOK")]


def test_a_copy_of_a_message_of_several_trades_in_the_same_batch_sends_no_other_message_the_slow_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = several(native("T-1"), native("T-2"))

    with caplog.at_level("INFO", logger="trades.history"):
        record(received(body, "A"), received(body, "B"))

    assert list(Message.objects.order_by("id").values_list("outcome", flat=True)) == [Outcome.RECORDED, Outcome.DUPLICATE]
    assert "one by one" not in caplog.text


def test_one_message_with_several_trades_gives_an_event_to_each() -> None:
    record(received(several(native("T-1"), native("T-2"), native("T-1", "CANCEL", 2)), "messageGroup1"))

    assert story("T-1") == [(1, "BOOK"), (2, "CANCEL")]
    assert story("T-2") == [(1, "BOOK")]


def test_the_same_id_in_two_schemes_is_two_trades() -> None:
    record(received(native("T-1", scheme="urn:a")), received(native("T-1", scheme="urn:b")))

    assert sorted(Trade.objects.values_list("trade_id", "scheme")) == [("T-1", "urn:a"), ("T-1", "urn:b")]


def test_what_is_not_understood_is_quarantined_with_the_place_and_its_group_waits() -> None:
    record(
        received(native("T-1"), "T-1"),
        received(BAD, "T-1"),
        received(native("T-1", "CANCEL", 2), "T-1"),
        received(native("T-2"), "T-2"),
    )
    record(received(native("T-1", "STATUS", 2, "CHECKED"), "T-1"), received(native("T-2", "CANCEL", 2), "T-2"))

    assert outcomes() == ["RECORDED", "QUARANTINED", "HELD", "RECORDED", "HELD", "RECORDED"]
    bad = Message.objects.get(outcome=Outcome.QUARANTINED)
    assert (bad.code, bad.line) == ("not-well-formed", 1)
    assert bad.column
    assert Hold.objects.get().message == bad
    assert story("T-1") == [(1, "BOOK")]
    assert story("T-2") == [(1, "BOOK"), (2, "CANCEL")]


def test_without_hold_what_follows_a_quarantined_message_is_recorded_at_once() -> None:
    record(received(BAD, "T-1"), received(native("T-1"), "T-1"), hold=False)

    record(received(native("T-1", "CANCEL", 2), "T-1"), received(native("T-2"), "T-2"), hold=False)

    assert outcomes() == ["QUARANTINED", "RECORDED", "RECORDED", "RECORDED"]
    assert not Hold.objects.exists()
    assert list(Event.objects.order_by("id").values_list("flags", flat=True)) == [["GROUP_GAP"], ["GROUP_GAP"], []]


@pytest.mark.parametrize("body", ["not XML", "<?xml version='1.0'?><unknown/>", "{}", " ", BAD])
def test_whatever_arrives_is_stored(body: str) -> None:
    record(received(body))

    row = Message.objects.get()
    assert (row.body, row.outcome) == (body, Outcome.QUARANTINED)
    assert row.reason


def test_a_fault_in_a_mapping_quarantines_the_message_with_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("the mapping divides by zero")

    monkeypatch.setattr(history.messages, "parse", faulty)

    record(received(native("T-1")))

    row = Message.objects.get()
    assert (row.outcome, row.code) == (Outcome.QUARANTINED, "mapping-error")
    assert "divides by zero" in row.reason


def test_one_message_that_the_database_refuses_does_not_take_the_others_along(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ledger.enter

    def refusing(entries: list[ledger.Entry], **kwargs: object) -> ledger.Entered:
        if any("T-2" in entry.message.body for entry in entries):
            raise DataError("value out of range")
        return real(entries, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "enter", refusing)

    record(received(native("T-1"), "T-1"), received(native("T-2"), "T-2"), received(native("T-3"), "T-3"))

    assert outcomes() == ["RECORDED", "QUARANTINED", "RECORDED"]
    assert Message.objects.get(outcome=Outcome.QUARANTINED).code == "not-storable"


def test_a_database_that_is_away_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(ledger.Entered, "save", away)

    with pytest.raises(OperationalError):
        record(received(native("T-1")))

    assert not Message.objects.exists()
    assert not Trade.objects.exists()


def test_out_of_place_events_are_recorded_with_their_flags() -> None:
    record(received(native("T-1", "UPDATE", 2)), received(native("T-1", "BOOK", 1)), received(native("T-1", "CANCEL", 3)))
    record(received(native("T-1", "UPDATE", 4)))

    assert list(Event.objects.order_by("position").values_list("flags", flat=True)) == [[], ["LATE"], [], ["AFTER_END"]]
    assert Trade.objects.get().flagged_count == 2


def test_a_correction_of_nothing_is_an_orphan() -> None:
    record(received(native("T-1", "CORRECT", 2, thread="A")))

    assert Event.objects.get().flags == ["PENDING", "ORPHAN"]


def test_a_correction_of_a_thread_that_is_in_the_history_is_no_orphan() -> None:
    record(received(native("T-1", "BOOK", thread="A")))
    record(received(native("T-1", "CORRECT", 2, thread="A")))

    assert Event.objects.get(position=2).flags == []
    assert Trade.objects.get().state == "LIVE"


def test_the_number_of_queries_does_not_depend_on_the_size_of_the_batch() -> None:
    def queries(first: int, count: int) -> int:
        batch = [received(native(f"T-{first + n}"), f"T-{first + n}", publication_id=uuid.uuid4()) for n in range(count)]
        with CaptureQueriesContext(
            connection,
        ) as captured:
            record(*batch)
        return len(captured)

    few, many = queries(0, 2), queries(1000, 100)

    assert few == many
    assert many <= 14


def test_a_slow_worker_that_comes_back_finds_its_messages_recorded() -> None:
    one, two, three = (received(native("T-1", "UPDATE", n)) for n in (1, 2, 3))

    record(one, two, three)
    report = history.record([one, two], now=NOON + timedelta(minutes=5))

    assert report.repeats == 2
    assert [position for position, _ in story()] == [1, 2, 3]


def test_a_nul_that_postgresql_can_not_store_quarantines_only_its_message() -> None:
    record(received(native("T-1"), "T-1"), received(native("T-2"), "T-2", attributes={"note": "a\0b"}), received(native("T-3"), "T-3"))

    refused = Message.objects.exclude(outcome=Outcome.RECORDED)
    assert Message.objects.count() == 3
    assert [row.code for row in refused] == (["not-storable"] if connection.vendor == "postgresql" else [])


def test_a_group_that_is_held_stays_held_when_holding_is_switched_off() -> None:
    record(received(BAD, "T-1"), received(native("T-1"), "T-1"))
    record(received(native("T-1", "CANCEL", 2), "T-1"), hold=False)

    assert outcomes() == ["QUARANTINED", "HELD", "HELD"]
