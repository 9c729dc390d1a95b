"""Calls to SQS: how they are filled, what their answers mean, and what one that fails holds up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from threading import Event as Signal
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.support.broker import Bucket, FifoQueue
from tests.support.native import NOON, native
from tests.support.sending import Answers, answering, outbox, received
from trades import payloads, publishing, sending, sqs
from trades.backlog import Backlog
from trades.handing_in import IncomingDocument
from trades.management.commands import relay_publications
from trades.models import OutboxLease, Publication, SendAttempt, Upload
from trades.sqs import Outgoing, Queue, buckets

pytestmark = pytest.mark.django_db
State = Publication.State


def deliver(queue: FifoQueue) -> sending.Delivery:
    return sending.deliver(queue.name, clock=timezone.now)


# Which messages go together


def calls_of(backlog: Backlog) -> list[list[str]]:
    """The groups of each call, when every one succeeds."""
    calls = []
    while call := backlog.take():
        calls.append([key.group for key in call])
        for key in call:
            backlog.go_on(key.group)
    return calls


def test_a_call_never_holds_two_messages_of_one_group() -> None:
    outbox("Q.fifo", "a", "b", "a", "c", "a")

    assert calls_of(Backlog("Q.fifo", sqs.MAX_MESSAGE_BYTES)) == [["a", "b", "c"], ["a"], ["a"]]


def test_a_call_stays_within_ten_messages_and_one_mebibyte() -> None:
    outbox("Many.fifo", *(str(n) for n in range(25)))
    outbox("Large.fifo", "a", "b", "c", size=600_000)

    assert [len(call) for call in calls_of(Backlog("Many.fifo", sqs.MAX_MESSAGE_BYTES))] == [10, 10, 5]
    assert [len(call) for call in calls_of(Backlog("Large.fifo", sqs.MAX_MESSAGE_BYTES))] == [1, 1, 1]


def test_what_goes_through_s3_takes_little_of_a_call() -> None:
    outbox("Q.fifo", "a", "b", "c", size=600_000)

    assert calls_of(Backlog("Q.fifo", 262_144)) == [["a", "b", "c"]]


def test_calls_are_full_although_one_group_has_most_of_the_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trades.backlog.WINDOW", 10)
    outbox("Q.fifo", *["long"] * 30, *(str(n) for n in range(60)))

    sizes = [len(call) for call in calls_of(Backlog("Q.fifo", sqs.MAX_MESSAGE_BYTES))]

    assert (sizes[:6], sum(sizes)) == ([10] * 6, 90)


def test_a_backlog_of_many_groups_takes_few_requests_and_keeps_the_order_of_each_group(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = outbox(queue.name, *(f"T-{n % 25}" for n in range(100)))
    sizes = answering(monkeypatch, lambda _, answers: answers)

    delivery = deliver(queue)

    assert (delivery.sent, len(sizes)) == (100, 10)
    got = received(queue)
    for group in {row.group_id for row in rows}:
        assert [body for name, body in got if name == group] == [row.body for row in rows if row.group_id == group]


# What the answers mean


def test_a_lost_answer_is_noted_with_its_time_until_the_message_is_sent(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox(queue.name, "T-1")

    def lose(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        raise sqs.QueueError("nothing came back")

    with monkeypatch.context() as patch:
        answering(patch, lose)
        first = deliver(queue)
        since = Publication.objects.get().uncertain_since
        deliver(queue)
        row = Publication.objects.get()
    assert first.problem == row.last_error == "nothing came back"
    assert (row.attempts, row.uncertain_since, since is not None) == (2, since, True)

    deliver(queue)

    row.refresh_from_db()
    assert (row.state, row.uncertain_since, row.swallowed, row.attempts) == (State.SENT, None, False, 3)
    assert len(received(queue)) == 1


def test_what_sqs_refuses_is_certain_not_to_be_in_the_queue(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox(queue.name, "T-1")

    def refuse(self: Queue, messages: Sequence[Outgoing]) -> Answers:
        raise sqs.Throttled("too often")

    monkeypatch.setattr(Queue, "send", refuse)
    deliver(queue)

    row = Publication.objects.get()
    assert (row.attempts, row.last_error, row.uncertain_since) == (1, "too often", None)


def test_a_message_that_sqs_takes_for_another_one_is_noted_as_swallowed(queue: FifoQueue) -> None:
    outbox(queue.name, "T-1", "T-1", body=native("T-1"))
    Publication.objects.update(deduplication_id="")

    deliver(queue)

    first, second = Publication.objects.order_by("id")
    assert (first.state, first.swallowed) == (State.SENT, False)
    assert (second.state, second.swallowed, second.message_id) == (State.SENT, True, first.message_id)
    assert len(received(queue)) == 1


def test_two_of_one_call_with_the_same_content_are_one_message_and_one_swallowed(queue: FifoQueue) -> None:
    outbox(queue.name, "T-1", "T-2", body=native("T-1"))
    Publication.objects.update(deduplication_id="")

    deliver(queue)

    assert list(Publication.objects.order_by("id").values_list("swallowed", flat=True)) == [False, True]


def test_a_call_that_is_refused_for_one_of_its_messages_goes_on_without_it(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox(queue.name, "T-1", "bad", "T-2", "bad")
    real = Queue.send

    def refuse(self: Queue, messages: Sequence[Outgoing]) -> Answers:
        if any(message.group_id == "bad" for message in messages):
            raise sqs.BadRequest("Sending: InvalidParameterValue")
        return real(self, messages)

    monkeypatch.setattr(Queue, "send", refuse)
    delivery = deliver(queue)

    assert (delivery.sent, delivery.problem, delivery.failures) == (2, "", {"bad": "Sending: InvalidParameterValue"})
    unsent = Publication.objects.unsent().values_list("group_id", "attempts", "last_error")
    assert list(unsent) == [("bad", 1, "Sending: InvalidParameterValue"), ("bad", 0, "")]
    assert SendAttempt.objects.count() == 1


def test_a_slow_senders_answer_does_not_undo_that_the_message_is_to_be_sent_again(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox(queue.name, "T-1")

    def meanwhile(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        Publication.objects.update(deduplication_id="another")
        return answers

    answering(monkeypatch, meanwhile)
    deliver(queue)

    assert Publication.objects.get().state == State.PENDING


def test_a_sender_that_is_asked_to_stop_leaves_the_rest_and_lets_the_next_one_begin(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox(queue.name, *["T-1"] * 3)
    stop = Signal()

    def ask(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        stop.set()
        return answers

    answering(monkeypatch, ask)
    delivery = sending.deliver(queue.name, clock=timezone.now, stop=stop)

    assert (delivery.sent, delivery.ended) == (1, True)
    assert OutboxLease.objects.get().expires_at <= timezone.now()


# Through S3


def test_a_message_that_is_too_large_for_its_queue_goes_through_s3(small: FifoQueue, bucket: Bucket) -> None:
    body = native("T-1") + f"<!--{'é' * 2000}-->"
    outbox(small.name, "T-1", body=body, size=len(body.encode()) + 60)

    assert deliver(small).sent == 1

    (message,) = small.client.receive_message(QueueUrl=small.url, MessageAttributeNames=["All"])["Messages"]
    kind, where = json.loads(message["Body"])
    row = Publication.objects.get()
    assert (kind, where["s3BucketName"]) == ("software.amazon.payloadoffloading.PayloadS3Pointer", bucket.name)
    assert message["MessageAttributes"]["ExtendedPayloadSize"] == {"StringValue": str(len(body.encode())), "DataType": "Number"}
    assert message["MessageAttributes"]["PublicationId"]["StringValue"] == str(row.publication_id)
    assert bucket.client.get_object(Bucket=bucket.name, Key=where["s3Key"])["Body"].read().decode() == body
    assert (row.state, row.pointer, row.md5) == (State.SENT, message["Body"], sqs.md5_of(message["Body"]))


def test_a_large_document_travels_from_its_file_to_s3(queue: FifoQueue, bucket: Bucket) -> None:
    content = (native("T-1") + f"<!--{'x' * 2_000_000}-->").encode()
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=NOON)
    publishing.store(upload, [IncomingDocument("large.xml", content)], now=NOON)

    assert deliver(queue).sent == 1

    row = Publication.objects.get()
    key = json.loads(row.pointer)[1]["s3Key"]
    assert row.payload is not None
    assert key == f"trades/{row.payload.sha256}.xml"
    assert bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read() == content


def test_a_payload_that_s3_does_not_take_stops_only_its_group(small: FifoQueue, settings: Settings) -> None:
    settings.TRADES_PAYLOAD_BUCKET = "there-is-no-such-bucket"
    outbox(small.name, "T-1", "T-1", body="x" * 3000, size=3000)
    outbox(small.name, "T-2")

    delivery = deliver(small)

    first, second, other = Publication.objects.order_by("id")
    assert (delivery.sent, delivery.problem, list(delivery.failures)) == (1, "", ["T-1"])
    assert (first.attempts, second.attempts, other.state) == (1, 0, State.SENT)
    assert "s3://there-is-no-such-bucket/trades/" in first.last_error
    assert first.uncertain_since is None


def test_a_role_that_may_not_store_payloads_is_told_what_to_allow(
    small: FifoQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRADES_PAYLOAD_BUCKET = "firm-payloads"
    monkeypatch.setattr(buckets, "put", Mock(side_effect=sqs.Denied("Storing the payload: S3 answered AccessDenied: no.")))
    outbox(small.name, "T-1", "T-2", body="x" * 3000, size=3000)

    deliver(small)

    said = "Storing the payload: S3 answered AccessDenied: no. Let the role store objects in the bucket (s3:PutObject)."
    assert set(Publication.objects.values_list("last_error", flat=True)) == {said}


def test_without_a_bucket_a_message_that_is_too_large_says_what_to_set(small: FifoQueue, settings: Settings) -> None:
    settings.TRADES_PAYLOAD_BUCKET = ""
    outbox(small.name, "T-1", body="x" * 3000, size=3000)

    deliver(small)

    row = Publication.objects.get()
    assert (row.state, row.attempts) == (State.PENDING, 1)
    assert "carries at most 2,048. Set TRADES_PAYLOAD_BUCKET" in row.last_error


def test_while_s3_is_away_it_is_asked_once_and_what_needs_no_payload_goes_on(
    small: FifoQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRADES_PAYLOAD_BUCKET = "firm-payloads"
    away = Mock(side_effect=sqs.QueueError("Storing the payload: nothing answers."))
    monkeypatch.setattr(buckets, "put", away)
    outbox(small.name, "T-1", "T-2", "T-3", body="x" * 3000, size=3000)
    outbox(small.name, "T-4")

    delivery = deliver(small)

    assert (away.call_count, delivery.sent, set(delivery.failures)) == (1, 1, {"T-1", "T-2", "T-3"})
    assert all("nothing answers" in row.last_error for row in Publication.objects.exclude(group_id="T-4"))
    assert (deliver(small).failed, away.call_count) == (3, 2)


def test_a_folder_that_is_full_stops_only_the_groups_of_large_documents(
    queue: FifoQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRADES_PAYLOAD_BUCKET = "firm-payloads"
    content = (native("T-1") + f"<!--{'x' * 2_000_000}-->").encode()
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=NOON)
    publishing.store(upload, [IncomingDocument("large.xml", content)], now=NOON)
    outbox(queue.name, "T-2")
    monkeypatch.setattr(payloads, "_write", Mock(side_effect=OSError(28, "No space left on device")))

    delivery = deliver(queue)

    assert (delivery.sent, delivery.problem, list(delivery.failures)) == (1, "", ["T-1"])
    row = Publication.objects.get(group_id="T-1", state=State.PENDING)
    assert row.last_error == "A payload can't be written to the folder TRADES_VAR_DIR: [Errno 28] No space left on device."


# The relay


def test_a_group_that_fails_is_tried_less_and_less_often_and_holds_up_no_other(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay_publications, "close_old_connections", lambda: None)
    now = [1000.0]
    monkeypatch.setattr(relay_publications, "time", SimpleNamespace(monotonic=lambda: now[0]))
    outbox(queue.name, "bad", "bad", "T-1")

    def fail(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        return [
            sqs.Failed("InternalError", "try again") if message.group_id == "bad" else answer
            for message, answer in zip(messages, answers, strict=True)
        ]

    answering(monkeypatch, fail)
    relay = relay_publications.Relay(Signal())
    for _ in range(10):
        relay.step()
    assert Publication.objects.get(group_id="T-1").state == State.SENT
    assert list(Publication.objects.filter(group_id="bad").order_by("id").values_list("attempts", flat=True)) == [1, 0]
    assert not relay.is_stuck()

    for _ in range(relay_publications.TRIES):
        now[0] += 60
        relay.step()
    assert relay.is_stuck()
    assert sum("message group bad is held up" in record.getMessage() for record in caplog.records) == 1


def test_a_relay_is_stuck_when_the_only_queue_left_could_not_be_asked_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_publications, "close_old_connections", lambda: None)
    now = [0.0]
    monkeypatch.setattr(relay_publications, "time", SimpleNamespace(monotonic=lambda: now[0]))
    outbox("Nowhere.fifo", "T-1")
    relay = relay_publications.Relay(Signal())

    stuck = []
    for _ in range(relay_publications.QUEUE_TRIES):
        now[0] += 60
        relay.step()
        stuck.append(relay.is_stuck())

    assert stuck == [False] * (relay_publications.QUEUE_TRIES - 1) + [True]
    assert Publication.objects.get().state == State.PENDING


def test_what_nears_the_end_of_deduplication_is_warned_about_once(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay_publications, "close_old_connections", lambda: None)
    monkeypatch.setattr(relay_publications, "LOOK_SECONDS", 0)
    outbox("Typo.fifo", "T-1")
    Publication.objects.update(uncertain_since=timezone.now() - timedelta(minutes=4, seconds=1))
    relay = relay_publications.Relay(Signal())

    for _ in range(3):
        relay.step()

    assert sum("may be in the queue already" in record.getMessage() for record in caplog.records) == 1
