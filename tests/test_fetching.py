"""Messages whose text is in S3: what becomes of each, step by step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings as in_use
from pytest_django.fixtures import DjangoAssertNumQueries, Settings

from tests.support.broker import Bucket, FifoQueue
from tests.support.extended import (
    CLASS,
    MARKER,
    OLD_CLASS,
    OLD_MARKER,
    by_java,
    by_python,
    large,
    our_key,
    padded,
    send_large,
    send_pointer,
)
from tests.support.native import NOON, native, received
from tests.test_consumer import Signal, receiver, send
from trades import consumer, fetching, history, payloads, sqs
from trades.models import Event, Message, Payload

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome


@pytest.fixture(autouse=True)
def _one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step runs inside the test's transaction, whose connection must stay."""
    monkeypatch.setattr(consumer, "close_old_connections", lambda: None)


def left_over() -> list[Path]:
    folder = Path(in_use.VAR_DIR) / "spool"
    return list(folder.iterdir()) if folder.is_dir() else []


def versions(trade_id: str) -> list[int | None]:
    return list(Event.objects.filter(trade__trade_id=trade_id).order_by("position").values_list("version", flat=True))


# What both clients send


@pytest.mark.parametrize("name", [CLASS, OLD_CLASS])
@pytest.mark.parametrize("marker", [MARKER, OLD_MARKER])
@pytest.mark.parametrize("write", [by_java, by_python])
def test_the_text_of_a_pointer_is_recorded_as_if_sqs_had_carried_it(
    queue: FifoQueue, bucket: Bucket, name: str, marker: str, write: Callable[..., str]
) -> None:
    text = native("T-1")
    bucket.put("8a2c9f3e-0f0a-4b53-9d0e-5f1b1a6a7c11", text.encode())
    body = write(bucket.name, "8a2c9f3e-0f0a-4b53-9d0e-5f1b1a6a7c11", name)
    message_id = send_pointer(queue, body, len(text.encode()), marker=marker)

    receiver(queue).step()

    row = Message.objects.get()
    assert (row.outcome, row.message_id, row.body, row.pointer, row.payload) == (Outcome.RECORDED, message_id, text, body, None)
    assert (row.size, row.body_sha256) == (len(text.encode()), hashlib.sha256(text.encode()).hexdigest())
    assert row.body_md5 == hashlib.md5(body.encode()).hexdigest()
    assert versions("T-1") == [1]
    assert queue.counts() == (0, 0)
    assert bucket.keys() == ["8a2c9f3e-0f0a-4b53-9d0e-5f1b1a6a7c11"]
    assert left_over() == []


def test_a_large_text_is_kept_as_a_payload(queue: FifoQueue, bucket: Bucket) -> None:
    text = large("T-1")
    body = send_large(queue, bucket, text, key=our_key(text.encode()))

    receiver(queue).step()

    row = Message.objects.get()
    assert (row.outcome, row.body, row.pointer, row.size) == (Outcome.RECORDED, "", body, 1_500_000)
    assert row.payload is not None
    assert row.body_sha256 == row.payload.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert payloads.text_of(row, 1_500_000) == text
    assert versions("T-1") == [1]
    assert left_over() == []


def test_a_text_that_fits_into_a_row_is_in_it(queue: FifoQueue, bucket: Bucket) -> None:
    text = padded(native("T-1"), sqs.MAX_MESSAGE_BYTES)
    send_large(queue, bucket, text)

    receiver(queue).step()

    assert Message.objects.get().body == text
    assert not Payload.objects.exists()


def test_large_and_small_messages_of_a_group_are_recorded_in_order(
    queue: FifoQueue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "GATHER_BYTES", 2_000_000)
    for version in range(1, 7):
        if version % 2:
            send_large(queue, bucket, large("T-1", "UPDATE", version))
        else:
            send(queue, native("T-1", "UPDATE", version))

    worker = receiver(queue)
    while worker.step():
        pass

    assert versions("T-1") == [1, 2, 3, 4, 5, 6]
    assert set(Message.objects.values_list("outcome", "receive_count")) == {(Outcome.RECORDED, 1)}


def test_what_a_message_weighs_is_what_its_payload_has() -> None:
    assert fetching.weight(received("small")) == 5
    assert fetching.weight(pointing(by_java("b", "k"), "5000000")) == 5_000_000
    assert fetching.weight(pointing(by_java("b", "k"), "many")) == len(by_java("b", "k"))
    assert fetching.weight(pointing(by_java("b", "k"), "999999999999")) == in_use.TRADES_MAX_DOCUMENT_BYTES


def pointing(body: str, size: str) -> sqs.Received:
    return replace(received(body), attributes={MARKER: size})


def test_messages_without_a_pointer_cost_nothing_more(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    batch = [received(native("T-1")), received("not XML")]

    with django_assert_num_queries(0):
        assert fetching.follow(batch, stop=Signal(), now=NOON).ready == batch
        assert list(fetching.parts(batch, 1)) == [batch]


# What can never be right


TEXT = native("T-1").encode()
WRONG: dict[str, tuple[int | str, str]] = {
    "payload-pointer: no whole number": ("many", by_java("{bucket}", "k")),
    "payload-pointer: no pointer": (len(TEXT), "<TradeStatus/>"),
    "payload-pointer: of another class": (len(TEXT), by_java("{bucket}", "k", "com.example.Pointer")),
    "payload-pointer: no key": (len(TEXT), by_java("{bucket}", "")),
    "payload-pointer: a key that is no text": (len(TEXT), by_java("{bucket}", "\\ud800")),
    "payload-pointer: a key that is too long": (len(TEXT), by_java("{bucket}", "k" * 1025)),
    "payload-pointer: a key with NUL": (len(TEXT), by_java("{bucket}", "a\\u0000b")),
    "payload-pointer: a bucket that is no text": (len(TEXT), by_java("a\\ud800", "k")),
    "payload-pointer: a bucket of several lines": (len(TEXT), by_java("a\\nb", "k")),
    "payload-pointer: a bucket that is too long": (len(TEXT), by_java("b" * 256, "k")),
    "payload-bucket": (len(TEXT), by_java("of-a-stranger", "k")),
    "payload-too-large": (2_000_001, by_java("{bucket}", "k")),
    "payload-missing: no object": (len(TEXT), by_java("{bucket}", "nowhere")),
    "payload-differs: longer than stated": (len(TEXT) - 1, by_java("{bucket}", "k")),
    "payload-differs: shorter than stated": (len(TEXT) + 1, by_java("{bucket}", "k")),
    "payload-differs: not of its key": (len(TEXT), by_java("{bucket}", our_key(b"another"))),
    "payload-not-text: Latin-1": (4, by_java("{bucket}", "latin")),
    "payload-not-text: cut in a character": (3, by_java("{bucket}", "cut")),
    "payload-not-text: NUL": (4, by_java("{bucket}", "nul")),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_payload_that_can_never_be_right_is_quarantined_and_nothing_is_lost(
    queue: FifoQueue, bucket: Bucket, settings: Settings, case: str
) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 2_000_000
    objects = {"k": TEXT, our_key(b"another"): TEXT, "latin": b"<\xe9/>", "cut": b"<a\xc3", "nul": b"<\0/>"}
    for key, content in objects.items():
        bucket.put(key, content)
    size, body = WRONG[case]
    body = body.replace("{bucket}", bucket.name)
    send_pointer(queue, body, size)
    send(queue, native("T-1", "UPDATE", 2))

    receiver(queue).step()

    first, second = Message.objects.order_by("id")
    assert (first.outcome, first.code) == (Outcome.QUARANTINED, case.partition(":")[0])
    assert (first.body, first.pointer, first.payload) == (body, body, None)
    assert second.outcome == Outcome.HELD
    assert queue.counts() == (0, 0)
    assert len(bucket.keys()) == len(objects)
    assert not Payload.objects.exists()
    assert left_over() == []


def test_the_reason_says_where_how_much_and_what_to_do(queue: FifoQueue, bucket: Bucket, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 2_000_000
    bucket.put("k", TEXT)
    for size, body in (
        (len(TEXT), by_java(bucket.name, "nowhere")),
        (len(TEXT), by_java("of-a-stranger", "k")),
        (3_000_000, by_java(bucket.name, "k")),
        (len(TEXT) + 1, by_java(bucket.name, "k")),
    ):
        send_pointer(queue, body, size, group=f"G-{hash(body)}-{size}")

    receiver(queue).step()

    place = f"s3://{bucket.name}"
    reasons = dict(Message.objects.values_list("code", "reason"))
    assert reasons["payload-missing"].startswith(f"The text of this message is {place}/nowhere, {len(TEXT):,} bytes as its sender says. S3")
    assert "Ask its sender to store it there again, then replay this message." in reasons["payload-missing"]
    assert reasons["payload-bucket"].endswith("add it to TRADES_PAYLOAD_BUCKETS, restart, and replay this message.")
    assert "3,000,000 bytes as its sender says. At most 2,000,000 bytes are taken." in reasons["payload-too-large"]
    assert f"The object has {len(TEXT):,}. Nothing of it was taken." in reasons["payload-differs"]


def test_a_bucket_that_is_not_ours_is_never_asked(queue: FifoQueue, bucket: Bucket, settings: Settings) -> None:
    bucket.put("k", TEXT)
    settings.TRADES_PAYLOAD_BUCKETS = [""]
    send_pointer(queue, by_java(bucket.name, "k"), len(TEXT))

    receiver(queue).step()

    assert Message.objects.get().code == "payload-bucket"


def test_a_bucket_that_is_gone_is_a_missing_payload(queue: FifoQueue, bucket: Bucket, settings: Settings) -> None:
    settings.TRADES_PAYLOAD_BUCKETS = ["gone-since-long-ago"]
    send_pointer(queue, by_java("gone-since-long-ago", "k"), len(TEXT))

    receiver(queue).step()

    assert Message.objects.get().code == "payload-missing"


# What is known already


def test_a_message_that_is_recorded_is_acknowledged_without_its_payload(queue: FifoQueue, bucket: Bucket) -> None:
    send_large(queue, bucket, large("T-1"), key="k")
    (message,) = sqs.open_queue(queue.name).receive()
    history.record(fetching.follow([message], stop=Signal(), now=NOON).ready, now=NOON)
    sqs.open_queue(queue.name).release([message])
    bucket.client.delete_object(Bucket=bucket.name, Key="k")

    receiver(queue).step()

    assert Message.objects.get().repeats == 1
    assert queue.counts() == (0, 0)


def test_a_publication_that_comes_again_while_its_payload_is_missing_is_no_conflict(queue: FifoQueue, bucket: Bucket) -> None:
    publication, text = "5b6f8f6e-6f9d-4b39-8e26-7f0a31c51a10", large("T-1").encode()
    body = by_java(bucket.name, our_key(text))
    bucket.put(our_key(text), text)
    send_pointer(queue, body, len(text), PublicationId=publication)
    receiver(queue).step()
    bucket.client.delete_object(Bucket=bucket.name, Key=our_key(text))

    send_pointer(queue, body, len(text), PublicationId=publication)
    receiver(queue).step()

    assert list(Message.objects.values_list("outcome", "repeats")) == [(Outcome.RECORDED, 1)]


def test_a_publication_with_another_large_content_is_a_conflict(queue: FifoQueue, bucket: Bucket) -> None:
    publication = "5b6f8f6e-6f9d-4b39-8e26-7f0a31c51a10"
    for version in (1, 2):
        text = large("T-1", "UPDATE", version).encode()
        bucket.put(our_key(text), text)
        send_pointer(queue, by_java(bucket.name, our_key(text)), len(text), PublicationId=publication)

    receiver(queue).step()

    assert list(Message.objects.order_by("id").values_list("outcome", "code")) == [
        (Outcome.RECORDED, ""),
        (Outcome.QUARANTINED, "publication-conflict"),
    ]


def test_a_publication_whose_object_was_replaced_is_a_conflict(queue: FifoQueue, bucket: Bucket) -> None:
    publication = "5b6f8f6e-6f9d-4b39-8e26-7f0a31c51a10"
    for version in (1, 2):
        text = native("T-1", "UPDATE", version).encode()
        bucket.put("newest", text)
        send_pointer(queue, by_java(bucket.name, "newest"), len(text), PublicationId=publication)
        receiver(queue).step()

    assert list(Message.objects.order_by("id").values_list("outcome", "code")) == [
        (Outcome.RECORDED, ""),
        (Outcome.QUARANTINED, "publication-conflict"),
    ]


def test_a_pointer_that_nobody_followed_is_never_read_as_a_document() -> None:
    history.record([pointing(by_java("b", "k"), "10")], now=NOON)

    assert Message.objects.get().code == "payload-unread"
