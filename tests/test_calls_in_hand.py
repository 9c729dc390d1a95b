"""What a sender holds while it makes several calls, what it leaves when it dies, and what can be done while SQS works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries, Settings

from tests.support.broker import FifoQueue
from tests.support.native import NOON, native
from tests.support.sending import Answers, answering, outbox, received
from trades import leases, outbox_rows, payloads, sending, sqs
from trades import outbox as desk
from trades.handing_in import Ahead, IncomingDocument
from trades.models import OutboxLease, Publication, SendAttempt
from trades.quarantine import Actor
from trades.routes import places
from trades.sqs import Outgoing, Queue, QueueError, buckets

pytestmark = pytest.mark.django_db
State = Publication.State
AFTER = leases.LEASE + timedelta(seconds=1)


class Killed(BaseException):
    """The end of a process in the middle of something."""


def killed_before_noting(monkeypatch: pytest.MonkeyPatch, queue: FifoQueue, *, outright: bool) -> None:
    """Send until the first answers are to be noted. Killed outright, a process does not even release its lease."""

    def kill(*values: object) -> None:
        raise Killed

    with monkeypatch.context() as context:
        context.setattr(outbox_rows, "note_sent", kill)
        if outright:
            context.setattr(leases.Lease, "release", lambda self: None)
        with pytest.raises(Killed):
            sending.deliver(queue.name, clock=timezone.now)


def later() -> datetime:
    return timezone.now() + AFTER


@pytest.mark.parametrize("outright", [True, False])
def test_what_a_sender_sent_and_did_not_live_to_note_may_be_in_the_queue_says_its_successor(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, outright: bool
) -> None:
    outbox(queue.name, "T-1", "T-1", "T-2")
    before = timezone.now()
    killed_before_noting(monkeypatch, queue, outright=outright)

    with leases.holding(queue.name, later) as lease:
        assert lease is not None
        sent = Publication.objects.filter(uncertain_since__isnull=False)

        assert {row.body for row in sent} == {body for _, body in received(queue)}
        assert all(row.state == State.PENDING and row.uncertain_since and before <= row.uncertain_since <= later() for row in sent)
    assert OutboxLease.objects.get().in_hand == []


def test_what_a_sender_that_died_may_have_sent_is_sent_once_and_certain_then(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = outbox(queue.name, *["T-1", "T-2"] * 3)
    killed_before_noting(monkeypatch, queue, outright=True)

    assert sending.deliver(queue.name, clock=later).sent == len(rows)
    assert not Publication.objects.exclude(state=State.SENT, uncertain_since=None).exists()
    assert len(received(queue)) == len(rows)


def test_cancelling_what_a_sender_that_died_may_have_sent_warns(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = outbox(queue.name, "T-1")
    killed_before_noting(monkeypatch, queue, outright=True)

    cancelled = desk.cancel([row.pk], actor=Actor(None, "a test"), reason="by mistake", clock=later)

    assert "may be in the queue already" in cancelled.warning


def test_nearly_five_minutes_after_a_sender_died_what_it_may_have_sent_is_warned_about(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = outbox(queue.name, "T-1")
    killed_before_noting(monkeypatch, queue, outright=True)
    with leases.holding(queue.name, later):
        pass

    assert not desk.near_horizon(timezone.now() + timedelta(minutes=3, seconds=50)).exists()
    assert desk.near_horizon(timezone.now() + timedelta(minutes=4)).get() == row


def test_a_sender_leaves_nothing_in_hand_that_it_noted_or_did_not_begin(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox(queue.name, *(f"T-{number}" for number in range(60)))
    stop = Signal()

    def stop_in_the_first_call(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        stop.set()
        return answers

    answering(monkeypatch, stop_in_the_first_call)
    delivery = sending.deliver(queue.name, clock=timezone.now, stop=stop)

    assert delivery.ended
    assert 10 <= delivery.sent < 60
    assert OutboxLease.objects.get().in_hand == []
    assert Publication.objects.filter(state=State.SENT).count() == delivery.sent


def test_a_sender_whose_lease_another_one_had_meanwhile_sends_nothing_that_it_had_in_hand(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read its rows before: by now they may be cancelled."""
    rows = outbox(queue.name, *(f"T-{number}" for number in range(40)))
    overtaken = Signal()

    def clock() -> datetime:
        return timezone.now() + (AFTER if overtaken.is_set() else timedelta())

    def another_one_cancels(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        if not overtaken.is_set():
            overtaken.set()
            desk.cancel([row.pk for row in rows[30:]], actor=Actor(None, "a test"), reason="by mistake", clock=clock)
        return answers

    monkeypatch.setattr(sending, "CALLS_AT_ONCE", 1)
    answering(monkeypatch, another_one_cancels)
    delivery = sending.deliver(queue.name, clock=clock)

    assert (delivery.sent, delivery.ended) == (10, True)
    assert Publication.objects.filter(state=State.CANCELLED).count() == 10
    assert len(received(queue)) == 10


def test_what_is_in_hand_is_so_since_the_first_of_it_was_taken(queue: FifoQueue) -> None:
    moments = iter([NOON, NOON, NOON + timedelta(seconds=5), NOON + timedelta(seconds=6), NOON + timedelta(seconds=7)])
    lease = leases.Lease(queue.name, lambda: next(moments))
    assert lease.acquire()

    assert lease.take_in_hand([1])
    assert lease.take_in_hand([2])
    assert OutboxLease.objects.get().in_hand_since == NOON + timedelta(seconds=5)
    lease.settled([1])
    assert lease.take_in_hand([3])
    assert OutboxLease.objects.get().in_hand_since == NOON + timedelta(seconds=6)


def test_what_a_sender_did_not_begin_is_not_in_doubt_when_it_ends_in_an_error(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox(queue.name, *(f"T-{number}" for number in range(110)))
    killed_before_noting(monkeypatch, queue, outright=False)

    with leases.holding(queue.name, later):
        unsure = Publication.objects.filter(uncertain_since__isnull=False)
        assert {row.body for row in unsure} == {body for _, body in received(queue)}


def test_a_message_that_the_answer_does_not_mention_or_mistakes_may_be_in_the_queue(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox(queue.name, "T-1", "T-2", "T-3")

    def strange(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        return [
            sqs.Failed("NoAnswer", "SQS did not mention this message"),
            sqs.Sent("id", "0" * 32, "1"),
            sqs.Failed("InternalError", "no"),
        ]

    answering(monkeypatch, strange)
    sending.deliver(queue.name, clock=timezone.now)

    assert [row.uncertain_since is not None for row in Publication.objects.order_by("id")] == [True, True, False]


# What is noted when


def test_rows_are_read_and_answers_noted_for_several_calls_together(
    queue: FifoQueue, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    outbox(queue.name, *(f"T-{number}" for number in range(300)))

    with django_assert_max_num_queries(45):  # 30 calls
        assert sending.deliver(queue.name, clock=timezone.now).sent == 300


def test_the_next_of_a_group_sets_off_only_when_it_is_noted_that_the_one_before_it_was_sent(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else both would be sent again after a crash, and if that took five minutes, the first behind the second."""
    outbox(queue.name, *["T-1", "T-2"] * 5)
    passed: list[str] = []

    def look(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        for message in messages:
            own = Publication.objects.get(deduplication_id=message.deduplication_id)
            before = Publication.objects.unsent().filter(group_id=own.group_id, pk__lt=own.pk)
            passed.extend(before.values_list("deduplication_id", flat=True))
        return answers

    monkeypatch.setattr(sending, "CALLS_AT_ONCE", 1)
    answering(monkeypatch, look)

    assert sending.deliver(queue.name, clock=timezone.now).sent == 10
    assert passed == []


@pytest.mark.django_db(transaction=True)
def test_what_sqs_answered_is_noted_although_the_next_call_gets_no_answer_for_long(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox(queue.name, *(f"T-{number}" for number in range(20)))
    noted, now = Signal(), timezone.now()
    note, send = outbox_rows.note_sent, Queue.send

    def noting(answers: Sequence[Any]) -> None:
        note(answers)
        if answers:
            noted.set()

    def the_second_is_silent(self: Queue, messages: Sequence[Outgoing]) -> Answers:
        if messages[0].group_id != "T-0":
            assert noted.wait(10)
        return send(self, messages)

    monkeypatch.setattr(outbox_rows, "note_sent", noting)
    monkeypatch.setattr(Queue, "send", the_second_is_silent)
    monkeypatch.setattr(sending, "NOTED_AFTER", timedelta(milliseconds=10))

    assert sending.deliver(queue.name, clock=lambda: now).sent == 20


def test_what_sqs_answered_is_noted_before_a_text_goes_to_s3(queue: FifoQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TRADES_PAYLOAD_BUCKET = "firm-payloads"
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"MaximumMessageSize": "2048"})
    places._known.clear()
    outbox(queue.name, *(f"T-{number}" for number in range(20)))
    outbox(queue.name, "large", body="x" * 3000, size=3000)
    sent: list[int] = []
    monkeypatch.setattr(buckets, "put", lambda *values: sent.append(Publication.objects.filter(state=State.SENT).count()))

    sending.deliver(queue.name, clock=timezone.now)

    assert sent == [10]


# While SQS works


@pytest.mark.django_db(transaction=True)
def test_other_work_goes_on_while_sqs_works(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox(queue.name, *(f"T-{number}" for number in range(20)))
    steps, enough = [], Signal()
    real = Queue.send

    def step() -> bool:
        steps.append(timezone.now())
        if len(steps) == 3:
            enough.set()
        return len(steps) < 3

    def until_it_was_done(self: Queue, messages: Sequence[Outgoing]) -> Answers:
        assert enough.wait(30)
        return real(self, messages)

    monkeypatch.setattr(Queue, "send", until_it_was_done)

    assert sending.deliver(queue.name, clock=timezone.now, meanwhile=step).sent == 20
    assert enough.is_set()


@pytest.mark.django_db(transaction=True)
def test_other_work_goes_on_while_sqs_works_on_the_only_group(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox(queue.name, "T-1", "T-1")
    worked = Signal()
    real = Queue.send

    def until_it_was_done(self: Queue, messages: Sequence[Outgoing]) -> Answers:
        assert worked.wait(5)
        return real(self, messages)

    def step() -> bool:
        worked.set()
        return False

    monkeypatch.setattr(Queue, "send", until_it_was_done)

    assert sending.deliver(queue.name, clock=timezone.now, meanwhile=step).sent == 2


def test_documents_are_read_one_by_one_and_then_all(tmp_path: Path) -> None:
    texts = [native("T-1", "BOOK", 1), native("T-1", "UPDATE", 2), native("T-1", "UPDATE", 3)]
    ahead = Ahead([IncomingDocument(f"{n}.xml", text.encode()) for n, text in enumerate(texts)], now=NOON, queue="Q.fifo")

    assert [ahead.step() for _ in range(4)] == [True, True, True, False]
    assert [document.parts[0].text for document in ahead.all()] == texts


def test_what_is_large_or_gone_is_not_read_ahead(tmp_path: Path) -> None:
    large, gone = tmp_path / "large.xml", tmp_path / "gone.xml"
    large.write_bytes(native().encode() + b" " * 1024 * 1024)

    def reads(*paths: Path) -> Ahead:
        return Ahead([IncomingDocument(path.name, path=path) for path in paths], now=NOON, queue="Q.fifo")

    assert not reads(large).step()
    assert not payloads.Payload.objects.exists()
    assert not reads(gone).step()
    with pytest.raises(FileNotFoundError):
        reads(gone).all()


# Queues that can't be asked


def test_a_queue_that_can_not_even_be_asked_for_was_an_attempt_to_send_the_oldest(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = outbox(queue.name, "T-1", "T-2")

    def away(name: str) -> Queue:
        raise QueueError("SQS does not answer.")

    with monkeypatch.context() as context:
        context.setattr(sending.routes, "open_queue", away)
        sending.deliver(queue.name, clock=timezone.now)

    found = Publication.objects.order_by("pk").values_list("pk", "attempts", "last_error", "uncertain_since")
    assert list(found) == [(first.pk, 1, "SQS does not answer.", None), (second.pk, 0, "SQS does not answer.", None)]
    assert SendAttempt.objects.get().publication_id == first.pk


# For a person who waits


def test_after_a_queue_that_did_not_answer_for_long_the_others_are_left_to_the_relay(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox("Silent.fifo", "T-1")
    outbox(queue.name, "T-1")
    open_queue: Callable[[str], Queue] = sending.routes.open_queue
    late = Signal()

    def silent(name: str) -> Queue:
        if name == queue.name:
            return open_queue(name)
        late.set()
        raise QueueError("SQS does not answer.")

    monkeypatch.setattr(sending.routes, "open_queue", silent)
    started = sending.time.monotonic()
    monkeypatch.setattr(sending.time, "monotonic", lambda: started + (6 if late.is_set() else 0))
    first, second = sending.deliver_for_person(["Silent.fifo", queue.name], clock=timezone.now)

    assert first.problem == "SQS does not answer."
    assert second.problem == f"{queue.name} has not been asked yet: another queue took too long. The relay sends what waits."
    assert Publication.objects.filter(state=State.PENDING).count() == 2


def test_when_s3_did_not_answer_for_long_the_other_queues_are_left_to_the_relay(
    settings: Settings, queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRADES_PAYLOAD_BUCKET = "firm-payloads"
    started = sending.time.monotonic()
    asked: list[int] = []

    def silent(*values: object) -> None:
        asked.append(1)
        raise sqs.QueueError("S3 does not answer.")

    monkeypatch.setattr(buckets, "put", silent)
    monkeypatch.setattr(sending.time, "monotonic", lambda: started + 6 * len(asked))
    monkeypatch.setattr(sending.routes, "limit_of", lambda name: 2048)
    for name in (queue.dead_letter_name, queue.name):
        outbox(name, "T-1", body="x" * 3000, size=3000)

    sending.deliver_for_person([queue.dead_letter_name, queue.name], clock=timezone.now)

    assert len(asked) == 1
