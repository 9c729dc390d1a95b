"""One receiver step by step: what it deletes, what it gives back, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Event as Signal
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone
from psycopg import errors

from tests.support.broker import FifoQueue
from tests.support.canned import LOSE, Answer, canned, refusal
from tests.support.native import NOON, native
from trades import consumer, history, sqs
from trades.consumer import Receiver, Settings, Shared
from trades.models import Event, Message
from trades.receiving import Quota
from trades.sqs import Failed, Received

pytestmark = pytest.mark.django_db
Refusals = list[tuple[Received, Failed]]


class Pauses(Signal):
    """A stop signal whose waits take no time and are remembered; after `most` of them it is set."""

    def __init__(self, most: int = 10_000) -> None:
        super().__init__()
        self.most = most
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0)
        if len(self.seconds) >= self.most:
            self.set()
        return self.is_set()


def receiver(queue: FifoQueue, shared: Shared | None = None, stop: Signal | None = None, **settings: object) -> Receiver:
    how = Settings(wait=0, **settings)  # type: ignore[arg-type]
    return Receiver(sqs.open_queue(queue.name), how, Quota(how.max_messages), stop or Pauses(), timezone.now, shared)


def failing(times: int, error: Exception, real: Callable[..., object]) -> Callable[..., object]:
    """`real`, which raises the error instead for so many times."""
    tries = iter(range(times))

    def call(*args: object, **kwargs: object) -> object:
        if next(tries, None) is not None:
            raise error
        return real(*args, **kwargs)

    return call


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


def test_what_could_not_be_deleted_is_tried_again_while_it_is_ours(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1"), native("T-1", "UPDATE", 2))
    worker = receiver(queue)
    delete, failures = sqs.Queue.delete, iter(range(5))

    def trouble(self: sqs.Queue, batch: Sequence[Received]) -> Refusals:
        if next(failures, None) is None:
            return delete(self, batch)
        return [*delete(self, batch[:-1]), (batch[-1], Failed("InternalError", "try again"))]

    monkeypatch.setattr(sqs.Queue, "delete", trouble)
    worker.step()

    assert queue.counts() == (0, 0)
    assert list(Message.objects.values_list("repeats", flat=True)) == [0, 0]


def test_a_queue_that_goes_away_before_the_delete_is_waited_for(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trades")
    send(queue, native("T-1"))
    monkeypatch.setattr(sqs.Queue, "delete", failing(4, sqs.QueueError("nothing answers"), sqs.Queue.delete))

    receiver(queue).step()

    assert queue.counts() == (0, 0)
    assert [record.getMessage() for record in caplog.records if "the queue" in record.getMessage()] == [
        "the queue is away, trying again until it is back: nothing answers",
        "the queue is back",
    ]


@pytest.mark.parametrize("reason", ["stop", "lease"])
def test_a_message_that_is_not_deleted_in_the_end_comes_again_without_effect(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    send(queue, native("T-1"))
    worker, tries = receiver(queue), []

    def refusing(self: sqs.Queue, batch: Sequence[Received]) -> Refusals:
        tries.append(batch)
        if reason == "stop":
            worker.stop.set()
        elif len(tries) == 5:
            worker.lease.until = timezone.now()
        return [(message, Failed("InternalError", "try again")) for message in batch]

    with monkeypatch.context() as patch:
        patch.setattr(sqs.Queue, "delete", refusing)
        worker.step()
    # A stop allows one more try, and so does the end of the lease.
    assert len(tries) == (2 if reason == "stop" else 6)
    worker.queue.release(tries[0])
    receiver(queue).step()

    assert Message.objects.get().repeats == 1
    assert Event.objects.count() == 1
    assert queue.counts() == (0, 0)


def test_a_receipt_that_expired_is_no_error_and_is_not_tried_again(queue: FifoQueue, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trades")
    send(queue, native("T-1"))
    worker = receiver(queue)

    def record_late(batch: Sequence[Received], now: datetime) -> history.Report:
        report = history.record(batch, now=now)
        worker.queue.release(batch)
        others.extend(sqs.open_queue(queue.name).receive())
        return report

    others: list[Received] = []
    worker.settings.record = record_late
    worker.step()
    assert queue.counts() == (0, 1)
    assert not [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
    assert "no longer ours" in caplog.text

    worker.queue.release(others)
    worker.settings.record = None
    worker.step()

    assert Message.objects.get().repeats == 1
    assert Event.objects.count() == 1
    assert queue.counts() == (0, 0)


def test_a_damaged_message_and_what_follows_it_in_its_group_go_back(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, *(native("T-1", "UPDATE", n) for n in (1, 2, 3)))
    send(queue, native("T-2"), group="T-2")
    worker = receiver(queue)

    with monkeypatch.context() as patch:
        patch.setattr(sqs.Received, "intact", property(lambda self: "<Version>2</Version>" not in self.body))
        worker.step()
    assert list(Event.objects.order_by("trade__trade_id").values_list("trade__trade_id", "version")) == [("T-1", 1), ("T-2", 1)]
    assert queue.counts() == (2, 0)

    worker.step()

    assert list(Event.objects.filter(trade__trade_id="T-1").order_by("position").values_list("version", flat=True)) == [1, 2, 3]
    assert set(Message.objects.values_list("repeats", flat=True)) == {0}


def test_a_queue_that_is_away_is_waited_for(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = receiver(queue)
    monkeypatch.setattr(sqs.Queue, "receive", failing(1, sqs.QueueError("nothing answers"), sqs.Queue.receive))

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


@pytest.mark.django_db(transaction=True)
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


# Answers that are lost


class Remembering:
    """SQS's memory of attempts before a broker that has none: an id that is used again brings the same answer. Some are lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *fates: Exception | None) -> None:
        self.receive = sqs.Queue.receive
        self.fates = iter(fates)
        self.answers: dict[tuple[str, int], list[Received]] = {}
        memory = self

        def receive(queue: sqs.Queue, limit: int = 10, wait: int = 0, attempt_id: str | None = None) -> list[Received]:
            return memory.answer(queue, limit, attempt_id or "")

        monkeypatch.setattr(sqs.Queue, "receive", receive)

    def answer(self, queue: sqs.Queue, limit: int, attempt_id: str) -> list[Received]:
        fate = next(self.fates, None)
        if isinstance(fate, sqs.Refused):
            raise fate
        messages = self.answers.setdefault((attempt_id, limit), []) or self.receive(queue, limit, 0)
        self.answers[attempt_id, limit] = messages
        if fate:
            raise fate
        return messages


LOST = sqs.QueueError("the connection was closed")


def test_after_a_lost_answer_its_messages_come_at_once(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, *(native("T-1", "UPDATE", n) for n in range(1, 4)))
    Remembering(monkeypatch, LOST, LOST)
    worker = receiver(queue)

    assert [worker.step(), worker.step(), worker.step()] == [None, None, 3]

    assert list(Event.objects.order_by("position").values_list("version", flat=True)) == [1, 2, 3]
    assert queue.counts() == (0, 0)


def test_an_answer_that_is_lost_after_others_of_its_batch_costs_neither(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(20):
        send(queue, native(f"T-{n}"), group=f"T-{n}")
    Remembering(monkeypatch, None, LOST)
    worker = receiver(queue)

    assert [worker.step(), worker.step()] == [10, 10]

    assert Event.objects.count() == 20


def test_every_receive_that_was_answered_is_followed_by_a_fresh_attempt(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Remembering(monkeypatch, None, sqs.Throttled("RequestThrottled"), None)
    worker = receiver(queue)

    assert [worker.step() for _ in range(3)] == [0, None, 0]

    assert len(memory.answers) == 2


@pytest.mark.parametrize("refused", [sqs.Throttled("RequestThrottled"), sqs.Refused("ExpiredToken"), sqs.QueueNotFound("not yet")])
def test_a_refusal_does_not_make_it_forget_an_answer_that_was_lost(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, refused: sqs.Refused
) -> None:
    send(queue, native("T-1"))
    Remembering(monkeypatch, LOST, refused)
    worker = receiver(queue, max_messages=10)

    assert [worker.step() for _ in range(3)] == [None, None, 1]
    assert worker.quota.left == 9


def test_an_attempt_that_sqs_calls_bad_is_not_made_again(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Remembering(monkeypatch, LOST, sqs.BadRequest("InvalidParameterValue"))
    worker = receiver(queue, max_messages=4)

    assert [worker.step() for _ in range(3)] == [None, None, 0]

    assert len(memory.answers) == 2
    assert worker.quota.left == 4


def test_an_answer_lost_before_a_refusal_within_seconds_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(operation: str, request: dict[str, Any]) -> Answer:
        asked.append(request["ReceiveRequestAttemptId"])
        return {1: LOSE, 2: refusal("RequestThrottled")}.get(len(asked), {})

    with canned(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        worker = Receiver(sqs.open_queue("Trades.fifo"), Settings(wait=0), Quota(None), Pauses(), timezone.now)
        results = [worker.step() for _ in range(4)]

    assert results == [None, None, 0, 0]
    assert asked[0] == asked[1] == asked[2] != asked[3]


def test_an_attempt_is_given_up_when_sqs_has_forgotten_it(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1"))
    memory = Remembering(monkeypatch, LOST, LOST)
    worker, now = receiver(queue, max_messages=4), NOON
    worker.clock = lambda: now

    worker.step()
    now += timedelta(minutes=4)
    worker.step()
    assert len(memory.answers) == 1
    now += timedelta(minutes=1)
    worker.step()

    assert len(memory.answers) == 2
    assert {limit for _, limit in memory.answers} == {4}
    assert worker.quota.left == 4


def test_what_a_lost_answer_holds_is_given_back_at_a_stop(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1"))
    Remembering(monkeypatch, LOST)
    worker = receiver(queue, max_messages=10)
    worker.step()
    assert queue.counts() == (0, 1)

    worker.attempts.give_back(worker.queue)

    assert queue.counts() == (1, 0)
    assert worker.quota.left == 10


# Giving up


@pytest.mark.parametrize("victim", [errors.DeadlockDetected, errors.SerializationFailure])
def test_the_victim_of_a_deadlock_is_recorded_again_at_once_and_quietly(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, victim: type[Exception]
) -> None:
    caplog.set_level("INFO", "trades")
    send(queue, native("T-1"), native("T-1", "UPDATE", 2))
    error = OperationalError("deadlock detected")
    error.__cause__ = victim()
    monkeypatch.setattr(history, "record", failing(1, error, history.record))
    worker = receiver(queue)

    worker.step()

    assert list(Message.objects.values_list("receive_count", "repeats")) == [(1, 0), (1, 0)]
    assert queue.counts() == (0, 0)
    assert worker.vitals.outages == 0
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_the_victim_of_one_deadlock_after_the_other_gives_its_batch_back(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1"))
    error = OperationalError("deadlock detected")
    error.__cause__ = errors.DeadlockDetected()
    monkeypatch.setattr(history, "record", failing(2, error, history.record))
    worker = receiver(queue)

    worker.step()

    assert queue.counts() == (1, 0)
    assert worker.vitals.outages == 1


def test_a_defect_stops_only_the_group_that_meets_it(queue: FifoQueue, caplog: pytest.LogCaptureFixture) -> None:
    send(queue, native("T-1", "UPDATE", 1), native("T-1", "UPDATE", 2))
    send(queue, native("T-2"), group="T-2")

    def defective(batch: Sequence[Received], now: datetime) -> history.Report:
        if any("<Version>2<" in message.body for message in batch):
            raise KeyError("a defect of ours")
        return history.record(batch, now=now)

    worker = receiver(queue, record=defective)
    worker.step()
    assert list(Event.objects.values_list("trade__trade_id", flat=True)) == ["T-2"]
    assert queue.counts() == (2, 0)
    assert "Traceback" in caplog.text
    assert worker.vitals.last_error == "KeyError('a defect of ours')"

    worker.settings.record = None
    worker.step()

    assert list(Event.objects.filter(trade__trade_id="T-1").order_by("position").values_list("version", flat=True)) == [1, 2]


def test_what_could_not_be_given_back_is_tried_again(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    send(queue, native("T-1"))
    monkeypatch.setattr(history, "record", failing(1, OperationalError("the server is gone"), history.record))
    monkeypatch.setattr(sqs.Queue, "release", failing(3, sqs.QueueError("nothing answers"), sqs.Queue.release))

    receiver(queue).step()

    assert queue.counts() == (1, 0)


class Asked:
    """A queue that counts how often it is asked for anything."""

    def __init__(self, queue: sqs.Queue) -> None:
        self._queue = queue
        self.times = 0

    def __getattr__(self, name: str) -> object:
        self.times += 1
        return getattr(self._queue, name)


class Trouble:
    """Ways in which everything fails for good."""

    @staticmethod
    def queue(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(sqs.Queue, "receive", failing(10_000, sqs.QueueError("nothing answers"), print))

    @staticmethod
    def throttling(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(sqs.Queue, "receive", failing(10_000, sqs.Throttled("RequestThrottled"), print))

    @staticmethod
    def database(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(history, "record", failing(10_000, OperationalError("the server is gone"), print))
        patch.setattr(consumer.connection, "cursor", failing(10_000, OperationalError("the server is gone"), print))

    @staticmethod
    def recording(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(history, "record", failing(10_000, OperationalError("too many connections"), print))

    @staticmethod
    def defect(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(history, "record", failing(10_000, RuntimeError("a defect of ours"), print))

    @staticmethod
    def damage(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(sqs.Received, "intact", property(lambda self: False))

    @staticmethod
    def delete(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(sqs.Queue, "delete", lambda self, batch: [(message, Failed("InternalError", "no")) for message in batch])

    @staticmethod
    def nothing_to_do(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(sqs.Queue, "receive", lambda self, limit, wait, attempt_id: [])


@pytest.mark.parametrize("trouble", [name for name in vars(Trouble) if not name.startswith("_")])
def test_no_trouble_makes_it_spin(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    send(queue, native("T-1"), native("T-1", "UPDATE", 2))
    getattr(Trouble, trouble)(monkeypatch)
    pauses = Pauses(20)
    worker = receiver(queue, stop=pauses)
    asked = worker.queue = Asked(worker.queue)  # type: ignore[assignment]
    monkeypatch.setattr(consumer.connection, "close", lambda: None)

    worker.run()

    assert len(pauses.seconds) == 20
    assert all(0.2 <= seconds <= 30 for seconds in pauses.seconds)
    assert 0 < asked.times <= 3 * len(pauses.seconds)
    if trouble != "nothing_to_do":
        assert max(pauses.seconds) >= 15


# What is told


@pytest.mark.parametrize("what", ["queue", "database"])
def test_an_outage_is_told_once_by_a_process_with_several_receivers(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    caplog.set_level("INFO", "trades")
    for n in range(4):
        send(queue, native(f"T-{n}"), group=f"T-{n}")
    first = receiver(queue)
    workers = [first, *(receiver(queue, first.shared) for _ in range(2))]
    with monkeypatch.context() as patch:
        getattr(Trouble, what)(patch)
        for worker in workers * 3:
            worker.step()
    for worker in workers:
        worker.step()

    lines = [record.getMessage() for record in caplog.records if "the " + what in record.getMessage()]
    assert len(lines) == 2
    assert lines[0].startswith(f"the {what} is away")
    assert lines[1] == f"the {what} is back"
    assert first.vitals.outages == 1
    assert Event.objects.count() == 4


def test_throttling_is_told_as_such(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trades")
    monkeypatch.setattr(sqs.Queue, "receive", failing(3, sqs.Throttled("SQS answered RequestThrottled"), sqs.Queue.receive))
    worker = receiver(queue)

    for _ in range(4):
        worker.step()

    assert [record.getMessage() for record in caplog.records] == [
        "the queue is throttled, trying again more slowly: SQS answered RequestThrottled",
        "the queue is back",
    ]


def test_counts_are_kept(queue: FifoQueue) -> None:
    send(queue, native("T-1"), "not XML")
    send(queue, native("T-2"), group="T-2")
    worker = receiver(queue)

    worker.step()

    assert worker.vitals.received == 3
    assert worker.vitals.total.outcomes == {"RECORDED": 2, "QUARANTINED": 1}
    assert worker.vitals.last_poll_at
