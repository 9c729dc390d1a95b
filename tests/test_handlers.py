"""A firm's own processing: called once for each recorded message, in order, in the transaction that records it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from threading import Event as Signal

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.support.bookings import book, booked, bookings_table
from tests.support.broker import FifoQueue
from tests.support.native import NOON, native, received
from tests.support.waiting import wait_until
from tests.test_consumer import Pauses, receiver, send
from trades import consumer, handlers, history, quarantine, unhandled
from trades.handlers import Processing, Recorded, Refuse, Work
from trades.models import Event, Handler, Hold, Message, Unhandled
from trades.quarantine import Actor

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome
CLERK = Actor(None, "a test")
QUEUE = "TradeStatus.fifo"
NAME = "firm:book"
PRICES = '<Prices xmlns="urn:example:prices"/>'


@pytest.fixture(autouse=True)
def _one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "close_old_connections", lambda: None)


@pytest.fixture(autouse=True)
def _table(db: None) -> Iterator[None]:
    with bookings_table():
        yield


def working(call: Processing = book, queue: str = QUEUE) -> Work:
    handlers.register(queue, NAME, NOON)
    return Work(queue, NAME, call)


def taken(work: Work) -> int:
    return work.catch_up(timezone.now(), Signal(), lambda error: None)


def refusing(wrong: int) -> Processing:
    def call(recorded: Recorded, /) -> None:
        book(recorded)
        if any(event.version == wrong for event in recorded.events):
            raise Refuse(f"Version {wrong} has no book. Name one and replay the message.")

    return call


def failing(is_wrong: Callable[[Event], bool]) -> Processing:
    def call(recorded: Recorded, /) -> None:
        book(recorded)
        if any(is_wrong(event) for event in recorded.events):
            raise LookupError("no such book")

    return call


# What it is called for


def test_it_is_called_once_for_each_recorded_message_in_order_with_its_events_and_trades() -> None:
    seen: list[Recorded] = []
    one, two = native("T-1"), native("T-1", "UPDATE", 2)

    def call(recorded: Recorded, /) -> None:
        assert Message.objects.filter(pk=recorded.message.pk, outcome=Outcome.RECORDED).exists()
        seen.append(recorded)

    again = received(one)
    working(call).record([again, received(two), received(native("T-2"), "T-2"), again, received(two)], NOON)

    assert [[(event.trade.trade_id, event.version) for event in each.events] for each in seen] == [[("T-1", 1)], [("T-1", 2)], [("T-2", 1)]]
    assert [trade.event_count for trade in seen[0].trades] == [2]
    assert not Unhandled.objects.exists()


def test_it_is_not_called_for_what_is_quarantined_held_or_delivered_again() -> None:
    work = working()
    delivery = received(native("T-1"))

    work.record([delivery, received("<broken"), received(native("T-1", "UPDATE", 2))], NOON)
    work.record([delivery], NOON)

    assert booked() == [("T-1", 1)]
    assert list(Message.objects.order_by("id").values_list("outcome", flat=True)) == ["RECORDED", "QUARANTINED", "HELD"]


def test_a_message_about_no_trade_is_given_to_it_without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = history.messages.facts.ParsedMessage
    prices = parsed(dialect="prices", message_type="Prices", mapping_version="1", events=(), reference="These are prices.")
    monkeypatch.setattr(history, "judge", lambda body: prices)

    working().record([received(PRICES, "EUR")], NOON)

    assert Message.objects.get().outcome == Outcome.REFERENCE
    assert booked() == [("", 0)]


def test_recording_without_a_handler_asks_no_more_than_before() -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        history.record([received(native("T-1"))], now=NOON)

    asking = [query["sql"] for query in queries if "trades_handler" in query["sql"]]
    assert len(asking) == 1
    assert "trades_message" in asking[0]
    assert not any("trades_unhandled" in query["sql"] for query in queries)


# When it fails


def test_an_error_stops_its_group_alone_from_that_message_on(queue: FifoQueue) -> None:
    is_repaired = Signal()
    for version in (1, 2, 3):
        for trade in ("T-1", "T-2", "T-3"):
            send(queue, native(trade, "UPDATE", version), group=trade)
    work = working(failing(lambda event: event.trade.trade_id == "T-2" and event.version == 2 and not is_repaired.is_set()), queue.name)
    stop = Pauses()
    worker = receiver(queue, work=work, stop=stop)

    worker.step()

    assert booked("T-1") == [("T-1", 1), ("T-1", 2), ("T-1", 3)]
    assert booked("T-2") == [("T-2", 1)]
    assert booked("T-3") == [("T-3", 1), ("T-3", 2), ("T-3", 3)]
    assert Event.objects.count() == len(booked())
    assert queue.counts() == (0, 2)
    assert stop.seconds == []
    assert worker.vitals.last_error.startswith("firm:book failed at message ")
    assert worker.vitals.last_error.endswith("of group T-2, to be tried again: LookupError: no such book")
    is_repaired.set()
    wait_until(worker.step, "the messages to come again")
    assert booked("T-2") == [("T-2", 1), ("T-2", 2), ("T-2", 3)]
    assert list(Event.objects.filter(trade__trade_id="T-2").order_by("position").values_list("version", flat=True)) == [1, 2, 3]
    assert queue.counts() == (0, 0)


def test_a_group_rests_longer_after_each_failure() -> None:
    assert [handlers.seconds_before_try(times) for times in (1, 2, 3, 4, 5, 6, 1000)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_database_error_that_it_keeps_quiet_about_loses_nothing() -> None:
    def quiet(recorded: Recorded, /) -> None:
        book(recorded)
        with contextlib.suppress(IntegrityError):
            Message.objects.create(queue=QUEUE, message_id=recorded.message.message_id, size=1, received_at=NOON, recorded_at=NOON)

    with pytest.raises(handlers.Failed, match="transaction"), transaction.atomic():
        working(quiet).record([received(native("T-1"))], NOON)

    assert booked() == []
    assert not Message.objects.exists()


def test_statements_that_fail_quietly_lose_nothing() -> None:
    def quiet(recorded: Recorded, /) -> None:
        book(recorded)
        with connection.cursor() as cursor, contextlib.suppress(DatabaseError):
            cursor.execute("INSERT INTO no_such_table VALUES (1)")

    batch = [received(native("T-1"))]
    if connection.vendor == "postgresql":  # the transaction is beyond repair
        with pytest.raises(handlers.Failed, match="aborted"), transaction.atomic():
            working(quiet).record(batch, NOON)
        assert booked() == []
        assert not Message.objects.exists()
    else:
        working(quiet).record(batch, NOON)
        assert booked() == [("T-1", 1)]
        assert Message.objects.count() == 1


# When it refuses


def test_a_refused_message_is_quarantined_with_its_sentence_and_its_group_waits() -> None:
    batch = [received(native(trade, "UPDATE", version), trade) for version in (1, 2, 3) for trade in ("T-1", "T-2")]

    def call(recorded: Recorded, /) -> None:
        book(recorded)
        if recorded.events[0].trade.trade_id == "T-2" and recorded.events[0].version == 2:
            raise Refuse("No book for T-2. Name one and replay the message.")

    report = working(call).record(batch, NOON)

    assert dict(report.outcomes) == {"RECORDED": 4, "QUARANTINED": 1, "HELD": 1}
    assert booked() == [("T-1", 1), ("T-2", 1), ("T-1", 2), ("T-1", 3)]
    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    assert (message.code, message.reason) == ("handler-refused", "No book for T-2. Name one and replay the message.")
    assert (message.stated_trade_id, message.dialect) == ("T-2", "native")
    assert Hold.objects.get().message == message


def test_several_refused_messages_are_all_quarantined() -> None:
    batch = [received(native(f"T-{n}", "UPDATE", 9 if n % 2 else 1), f"T-{n}") for n in range(6)]

    report = working(refusing(9)).record(batch, NOON)

    assert dict(report.outcomes) == {"RECORDED": 3, "QUARANTINED": 3}
    assert booked() == [("T-0", 1), ("T-2", 1), ("T-4", 1)]


def test_where_nothing_is_held_what_follows_a_refused_message_is_recorded() -> None:
    work = working(refusing(2))
    work.hold = False

    report = work.record([received(native("T-1", "UPDATE", version)) for version in (1, 2, 2, 3)], NOON)

    assert dict(report.outcomes) == {"RECORDED": 2, "QUARANTINED": 2}
    assert booked() == [("T-1", 1), ("T-1", 3)]
    assert not Hold.objects.exists()


def test_what_is_in_the_history_already_can_t_be_refused_and_waits() -> None:
    work = working(refusing(2))
    work.record([received(native("T-1", "UPDATE", 1)), received(native("T-1", "UPDATE", 2))], NOON)
    errors: list[str] = []

    quarantine.replay(Message.objects.get(outcome=Outcome.QUARANTINED), actor=CLERK, now=NOON)
    work.catch_up(NOON, Signal(), errors.append)
    with pytest.raises(handlers.Failed, match="in the history already"):
        work.record([received(native("T-1", "UPDATE", 3))], NOON)

    assert "refused message" in errors[0]
    assert Unhandled.objects.count() == 1
    assert booked() == [("T-1", 1)]
    work.call = book
    work.record([received(native("T-1", "UPDATE", 3))], NOON)
    assert booked() == [("T-1", 1), ("T-1", 2), ("T-1", 3)]


# What others record


def test_what_a_person_lets_into_the_history_is_given_to_it_in_its_turn() -> None:
    work = working()
    work.record([received(native("T-1")), received("<broken"), received(native("T-1", "UPDATE", 3))], NOON)
    bad = Message.objects.get(outcome=Outcome.QUARANTINED)

    quarantine.correct(bad, native("T-1", "UPDATE", 2), actor=CLERK, reason="unreadable", now=NOON)
    assert booked() == [("T-1", 1)]
    work.record([received(native("T-1", "UPDATE", 4)), received(native("T-2"), "T-2")], NOON)

    assert booked() == [("T-1", 1), ("T-1", 2), ("T-1", 3), ("T-1", 4), ("T-2", 1)]
    assert taken(work) == 0


def test_an_idle_worker_takes_what_a_person_let_in(queue: FifoQueue) -> None:
    worker = receiver(queue, work=working(queue=queue.name))
    worker.settings.work.record([received("<broken", queue=queue.name), received(native("T-1", "UPDATE", 2), queue=queue.name)], NOON)  # type: ignore[union-attr]
    quarantine.discard(Message.objects.get(outcome=Outcome.QUARANTINED), actor=CLERK, reason="a test", now=NOON)

    assert worker.step() == 1
    assert worker.step() == 0

    assert booked() == [("T-1", 2)]


def test_what_a_worker_without_it_records_waits_for_it() -> None:
    work = working()

    history.record([received(native("T-1")), received("<broken", "T-2")], now=NOON)
    assert booked() == []
    work.record([received(native("T-1", "UPDATE", 2))], NOON)

    assert booked() == [("T-1", 1), ("T-1", 2)]


def test_what_another_worker_has_in_hand_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    work = working()
    history.record([received(native("T-1", "UPDATE", version)) for version in (1, 2)], now=NOON)
    in_hand, take_one = Unhandled.objects.earliest("id").pk, work._take_one
    monkeypatch.setattr(work, "_take_one", lambda pk: pk != in_hand and take_one(pk))

    assert taken(work) == 0
    work.record([received(native("T-1", "UPDATE", 3))], NOON)

    assert booked() == [("T-1", 1), ("T-1", 2), ("T-1", 3)]


def test_what_fails_hides_no_other_group_from_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "LOOK", 2)
    work = working(failing(lambda event: event.trade.trade_id == "T-1"))
    history.record([received(native("T-1", "UPDATE", version)) for version in (1, 2, 3)] + [received(native("T-2"), "T-2")], now=NOON)

    with CaptureQueriesContext(connection) as queries:
        assert [work.catch_up(NOON, Signal(), lambda error: None) for _ in range(2)] == [0, 1]

    assert booked() == [("T-2", 1)]
    # None looks for the first of a group, which takes the longer the more there is.
    assert not [query for query in queries if "group_id" in query["sql"] and query["sql"].endswith("LIMIT 1")]


def test_a_group_that_fails_does_not_hold_up_what_others_left() -> None:
    is_repaired = Signal()
    work = working(failing(lambda event: event.trade.trade_id == "T-1" and not is_repaired.is_set()))
    history.record([received(native("T-1")), received(native("T-2"), "T-2"), received(native("T-1", "UPDATE", 2))], now=NOON)
    errors: list[str] = []

    assert work.catch_up(NOON, Signal(), errors.append) == 1
    assert work.catch_up(NOON, Signal(), errors.append) == 0

    assert len(errors) == 1  # it rests before it is tried again
    is_repaired.set()
    assert taken(work) == 2
    assert booked() == [("T-2", 1), ("T-1", 1), ("T-1", 2)]


def test_a_price_that_is_read_again_is_not_given_to_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = history.messages.facts.ParsedMessage
    prices = parsed(dialect="prices", message_type="Prices", mapping_version="1", events=(), reference="These are prices.")
    work = working()
    with monkeypatch.context() as patch:
        patch.setattr(history, "judge", lambda body: prices)
        work.record([received(native("T-1"))], NOON)
        quarantine.replay(Message.objects.get(), actor=CLERK, now=NOON)
        assert taken(work) == 0

    quarantine.replay(Message.objects.get(), actor=CLERK, now=NOON)

    assert taken(work) == 1
    assert booked() == [("", 0), ("T-1", 1)]


def test_rows_left_to_it_keep_the_order_of_recording() -> None:
    working()
    history.record([received(native("T-1", "UPDATE", version)) for version in (1, 2, 3)], now=NOON)

    waiting = unhandled.of_groups(QUEUE, ["T-1"]).values_list("message__events__version", flat=True)

    assert list(waiting) == [1, 2, 3]
    assert unhandled.oldest(QUEUE, (), 2) == list(Unhandled.objects.order_by("id").values_list("id", "message__group_id")[:2])
    assert unhandled.oldest(QUEUE, ("T-1",), 2) == []
    assert Handler.objects.get().name == NAME
