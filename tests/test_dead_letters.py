"""What SQS gave up delivering goes into quarantine, and what comes of it warns about the order."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from django.db import connection

from tests.support.native import NOON, native, received
from trades import dead_letters, history, quarantine
from trades.history import Report
from trades.models import Event, Hold, Message
from trades.quarantine import Actor, Result
from trades.sqs import Received

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome
SHELL = Actor(None, "command line, root")
BAD = "<TradeStatus><TradeId>T-1</TradeStatus>"


def given_up(message: Received, source: str = "") -> Received:
    """The message as the dead-letter queue hands it over."""
    return replace(message, queue="Dead.fifo", receipt_handle="dead", dead_letter_source=source, receive_count=1001)


def drain(*batch: Received, hold: bool = True) -> Report:
    return dead_letters.record(batch, now=NOON, queue="TradeStatus.fifo", hold=hold)


def record(*batch: Received) -> Report:
    return history.record(batch, now=NOON)


def rows() -> list[tuple[str, str, bool]]:
    return list(Message.objects.order_by("id").values_list("outcome", "code", "via_dead_letter"))


def replay(message: Message) -> quarantine.Result:
    return quarantine.replay(message, actor=SHELL, now=NOON)


@pytest.mark.parametrize("source", ["", "TradeStatus.fifo"])
def test_a_message_that_sqs_gave_up_is_in_quarantine_under_the_queue_it_came_from_and_its_group_waits(source: str) -> None:
    record(received(native("T-1")))

    report = drain(given_up(received(native("T-1", "UPDATE", 2)), source))
    record(received(native("T-1", "CANCEL", 3)), received(native("T-2"), "T-2"))

    assert report.outcomes == {"QUARANTINED": 1}
    assert [outcome for outcome, _, _ in rows()] == ["RECORDED", "QUARANTINED", "HELD", "RECORDED"]
    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    assert (message.queue, message.code, message.via_dead_letter) == ("TradeStatus.fifo", "dead-letter", True)
    assert (message.stated_trade_id, message.dialect, message.receive_count) == ("T-1", "native", 1001)
    assert "received 1,001 times" in message.reason
    assert Hold.objects.get().message == message


def test_one_that_is_not_understood_says_that_too() -> None:
    drain(given_up(received(BAD)))

    message = Message.objects.get()
    assert "not well-formed" in message.reason
    assert (message.code, message.line) == ("dead-letter", 1)
    assert replay(message).still
    assert rows() == [("QUARANTINED", "not-well-formed", True)]


def test_a_replay_of_it_warns_about_the_order_of_its_trade() -> None:
    record(received(native("T-1")), received(native("T-1", "UPDATE", 3)))
    drain(given_up(received(native("T-1", "UPDATE", 2))))

    replay(Message.objects.get(outcome=Outcome.QUARANTINED))

    assert [flags for flags in Event.objects.order_by("position").values_list("flags", flat=True) if "OVERTAKEN" in flags] == [
        ["LATE", "OVERTAKEN"]
    ]


def test_a_correction_of_it_warns_too() -> None:
    record(received(native("T-1")))
    drain(given_up(received(BAD)))

    quarantine.correct(Message.objects.get(code="dead-letter"), native("T-1", "CANCEL", 2), actor=SHELL, reason="tag", now=NOON)

    assert list(Event.objects.order_by("position").values_list("flags", flat=True)) == [[], ["OVERTAKEN"]]


def test_nothing_is_warned_of_where_nothing_of_the_group_was_recorded() -> None:
    drain(given_up(received(native("T-1"))))

    replay(Message.objects.get())

    assert list(Event.objects.values_list("flags", flat=True)) == [[]]


def test_those_of_one_group_wait_for_each_other_and_each_is_for_a_person_in_its_turn() -> None:
    drain(given_up(received(native("T-1"))), given_up(received(native("T-1", "UPDATE", 2))))
    drain(given_up(received(native("T-1", "CANCEL", 3))))
    assert rows() == [("QUARANTINED", "dead-letter", True), ("HELD", "", True), ("HELD", "", True)]

    replay(Message.objects.get(outcome=Outcome.QUARANTINED))

    assert rows() == [("RECORDED", "dead-letter", True), ("QUARANTINED", "dead-letter", True), ("HELD", "", True)]
    second = Message.objects.get(outcome=Outcome.QUARANTINED)
    assert "received 1,001 times" in second.reason
    assert Hold.objects.get().message == second


def test_several_of_one_group_can_be_replayed_in_one_go() -> None:
    bodies = [native("T-1"), native("T-1", "UPDATE", 2), native("T-1", "CANCEL", 3)]
    drain(*(given_up(received(body)) for body in bodies))

    results = [result for _, result in quarantine.settle_many(Message.objects.order_by("-id"), replay)]

    assert results == [Result(1), Result(1), Result(1)]
    assert list(Event.objects.order_by("position").values_list("event_class", flat=True)) == ["BOOK", "UPDATE", "CANCEL"]
    assert not Hold.objects.exists()


def test_one_that_arrives_in_a_group_that_waits_is_for_a_person_when_its_turn_comes() -> None:
    record(received(BAD), received(native("T-1")))
    drain(given_up(received(native("T-1", "CANCEL", 9))))
    record(received(native("T-1", "UPDATE", 10)))

    quarantine.discard(Message.objects.get(outcome=Outcome.QUARANTINED), actor=SHELL, reason="wrong file", now=NOON)

    assert [outcome for outcome, _, _ in rows()] == ["DISCARDED", "RECORDED", "QUARANTINED", "HELD"]
    assert Hold.objects.get().message == Message.objects.get(via_dead_letter=True)


def test_one_that_had_to_wait_behind_a_discard_taken_back_is_for_a_person_again() -> None:
    record(received(BAD))
    earlier = Message.objects.get()
    quarantine.discard(earlier, actor=SHELL, reason="wrong file", now=NOON)
    drain(given_up(received(native("T-1", "CANCEL", 9))))
    quarantine.undo_discard(earlier, actor=SHELL, reason="was right", now=NOON)

    quarantine.discard(earlier, actor=SHELL, reason="was wrong after all", now=NOON)

    assert rows() == [("DISCARDED", "not-well-formed", False), ("QUARANTINED", "dead-letter", True)]
    assert not Event.objects.exists()


def test_without_holding_each_is_a_case_of_its_own() -> None:
    drain(given_up(received(native("T-1"))), given_up(received(native("T-1", "UPDATE", 2))), hold=False)

    assert [code for _, code, _ in rows()] == ["dead-letter", "dead-letter"]
    assert not Hold.objects.exists()


def test_what_is_known_already_has_no_effect() -> None:
    publication_id = uuid.uuid4()
    one, two = received(native("T-1")), received(native("T-2"), "T-2", publication_id=publication_id)
    record(one, two)

    report = drain(given_up(one), given_up(replace(two, message_id="another")))
    again = drain(given_up(received(native("T-3"), message_id="third"), "Other.fifo"))
    drain(given_up(received(native("T-3"), message_id="third"), "Other.fifo"))

    assert (report.repeats, again.outcomes) == (2, {"QUARANTINED": 1})
    assert list(Message.objects.order_by("id").values_list("outcome", "repeats")) == [("RECORDED", 1), ("RECORDED", 1), ("QUARANTINED", 1)]


def test_a_known_publication_with_other_content_is_a_conflict_here_too() -> None:
    publication_id = uuid.uuid4()
    record(received(native("T-1"), publication_id=publication_id))

    drain(given_up(received(native("T-1", "CANCEL", 2), publication_id=publication_id)))

    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    assert (message.code, message.via_dead_letter) == ("publication-conflict", True)
    assert message.conflicts_with == Message.objects.get(publication_id=publication_id)


def test_one_batch_may_hold_messages_of_several_queues() -> None:
    drain(given_up(received(native("T-1")), "A.fifo"), given_up(received(native("T-2")), "B.fifo"), given_up(received(native("T-3"))))

    assert sorted(Message.objects.values_list("queue", flat=True)) == ["A.fifo", "B.fifo", "TradeStatus.fifo"]
    assert Hold.objects.count() == 3


def test_a_nul_that_postgresql_can_not_store_does_not_take_the_others_along() -> None:
    drain(given_up(received(native("T-1"), "A")), given_up(received(native("T-2"), "B", attributes={"note": "a\0b"})))

    expected = ["dead-letter", "not-storable" if connection.vendor == "postgresql" else "dead-letter"]
    assert [code for _, code, _ in rows()] == expected
