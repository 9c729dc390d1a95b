"""One receiver step by step: what it deletes, what it gives back, and when."""

from __future__ import annotations

from threading import Event as Signal

import pytest
from django.db import OperationalError
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import native
from trades import consumer, history, sqs
from trades.consumer import Quota, Receiver, Settings
from trades.models import Event, Message

pytestmark = pytest.mark.django_db


def receiver(queue: FifoQueue, **settings: object) -> Receiver:
    how = Settings(wait=0, **settings)  # type: ignore[arg-type]
    stop = Signal()
    made = Receiver(sqs.open_queue(queue.name, receiving=True), how, Quota(how.max_messages), stop, timezone.now)
    # A pause between tries would only make the test slower.
    made.database_backoff.first = made.queue_backoff.first = made.damage_backoff.first = 0
    return made


def send(queue: FifoQueue, *bodies: str, group: str = "T-1") -> None:
    for body in bodies:
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId=group)


@pytest.fixture(autouse=True)
def _one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step runs inside the test's transaction, whose connection must stay."""
    monkeypatch.setattr(consumer, "close_old_connections", lambda: None)


def test_a_step_records_then_deletes(queue: FifoQueue) -> None:
    send(queue, native("T-1"), native("T-1", "CANCEL", 2))

    assert receiver(queue).step() == 2

    assert Event.objects.count() == 2
    assert queue.counts() == (0, 0)


def test_a_step_gathers_several_receives(queue: FifoQueue) -> None:
    for n in range(35):
        send(queue, native(f"T-{n}"), group=f"T-{n}")

    assert receiver(queue).step() == 35


def test_when_the_database_is_away_everything_is_given_back_in_order(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1", "UPDATE", 1), native("T-1", "UPDATE", 2), native("T-1", "UPDATE", 3))

    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("the server is gone")

    worker = receiver(queue)
    with monkeypatch.context() as patch:
        patch.setattr(history, "record", away)
        worker.step()
    assert queue.counts() == (3, 0)
    assert not Message.objects.exists()

    worker.step()

    assert list(Event.objects.order_by("position").values_list("version", flat=True)) == [1, 2, 3]
    assert list(Message.objects.values_list("receive_count", flat=True)) == [2, 2, 2]


def test_the_outage_is_logged_once_and_so_is_its_end(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trades")
    send(queue, native("T-1"))
    real, tries = history.record, iter(range(3))

    def away(*args: object, **kwargs: object) -> history.Report:
        if next(tries, None) is not None:
            raise OperationalError("the server is gone")
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(history, "record", away)
    worker = receiver(queue)
    for _ in range(4):
        worker.step()

    lines = [record.getMessage() for record in caplog.records]
    assert sum("is away" in line for line in lines) == 1
    assert sum(line == "the database is back" for line in lines) == 1


def test_a_message_that_could_not_be_deleted_comes_again_without_effect(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1"))
    worker = receiver(queue)

    def failing(self: sqs.Queue, batch: list[sqs.Received]) -> list[tuple[sqs.Received, sqs.Failed]]:
        self.release(batch)
        return [(message, sqs.Failed("InternalError", "try again")) for message in batch]

    with monkeypatch.context() as patch:
        patch.setattr(sqs.Queue, "delete", failing)
        worker.step()
    worker.step()

    assert Message.objects.get().repeats == 1
    assert Event.objects.count() == 1
    assert queue.counts() == (0, 0)


def test_a_damaged_message_and_what_follows_it_in_its_group_go_back(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1", "UPDATE", 1), native("T-1", "UPDATE", 2))
    send(queue, native("T-2"), group="T-2")
    worker = receiver(queue)
    intact = sqs.Received.intact

    with monkeypatch.context() as patch:
        patch.setattr(sqs.Received, "intact", property(lambda self: "<Version>1</Version><Event>UPDATE" not in self.body))
        worker.step()
    assert sqs.Received.intact is intact
    assert list(Event.objects.values_list("trade__trade_id", flat=True)) == ["T-2"]

    worker.step()

    assert list(Event.objects.filter(trade__trade_id="T-1").order_by("position").values_list("version", flat=True)) == [1, 2]


def test_a_queue_that_is_away_is_waited_for(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = receiver(queue)

    def away(*args: object) -> None:
        raise sqs.QueueError("nothing answers")

    with monkeypatch.context() as patch:
        patch.setattr(sqs.Queue, "receive", away)
        assert worker.step() is None
    assert worker.step() == 0


def test_nothing_is_received_for_a_database_that_is_away(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1"))
    worker = receiver(queue)

    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr(history, "record", away)
        patch.setattr(consumer.connection, "cursor", away)
        for _ in range(20):
            worker.step()
    worker.step()

    # One receive before the outage was known, one after it ended.
    assert Message.objects.get().receive_count == 2


def test_when_one_receiver_dies_all_stop_and_the_reason_is_raised(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = iter(range(1000))

    def step(self: Receiver) -> int:
        if next(steps) == 5:
            raise RuntimeError("a defect")
        return 0

    monkeypatch.setattr(Receiver, "step", step)
    monkeypatch.setattr(Receiver, "run", lambda self: [self.step() for _ in iter(self.stop.is_set, True)])

    with pytest.raises(RuntimeError, match="a defect"):
        consumer.run(queue.name, Settings(wait=0, receivers=3), Signal(), timezone.now, lambda line: None)


def test_a_reader_that_went_away_ends_the_worker_after_the_messages_are_deleted(queue: FifoQueue) -> None:
    send(queue, native("T-1"))

    def gone(body: str) -> None:
        raise BrokenPipeError

    worker = receiver(queue, echo=gone)
    worker.step()

    assert worker.stop.is_set()
    assert queue.counts() == (0, 0)
