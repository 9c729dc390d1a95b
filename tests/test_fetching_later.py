"""Payloads in S3 that can't be had just now: their groups wait, the others go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError
from pytest_django.fixtures import Settings

from tests.support.broker import Bucket, FifoQueue
from tests.support.extended import large, send_large
from tests.support.native import native
from tests.test_consumer import Pauses, receiver, send
from tests.test_fetching import left_over, versions
from trades import consumer, payloads, sqs
from trades.models import Message, Payload
from trades.sqs import buckets

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome


@pytest.fixture(autouse=True)
def _one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step runs inside the test's transaction, whose connection must stay."""
    monkeypatch.setattr(consumer, "close_old_connections", lambda: None)


def s3_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
    sqs.forget_clients()


@pytest.fixture
def rested(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Groups rest for no time; gives (group, seconds) of every message that would have."""
    found: list[tuple[str, int]] = []
    extend = sqs.Queue.extend

    def at_once(self: sqs.Queue, messages: list[sqs.Received], seconds: int) -> object:
        found.extend((message.group_id, seconds) for message in messages)
        return extend(self, messages, 0)

    monkeypatch.setattr(sqs.Queue, "extend", at_once)
    return found


def test_while_s3_is_away_its_groups_wait_and_the_others_go_on(
    queue: FifoQueue,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    rested: list[tuple[str, int]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "trades")
    send(queue, native("T-1", "UPDATE", 1))
    send_large(queue, bucket, large("T-1", "UPDATE", 2))
    send(queue, native("T-1", "UPDATE", 3))
    send_large(queue, bucket, native("T-2"), group="T-2")
    send(queue, native("T-3"), group="T-3")
    worker = receiver(queue)

    s3_at(monkeypatch, "http://127.0.0.1:9")
    worker.step()

    assert (versions("T-1"), versions("T-2"), versions("T-3")) == ([1], [], [1])
    assert queue.counts() == (3, 0)
    assert sorted(rested) == [("T-1", 1), ("T-1", 1), ("T-2", 1)]
    assert "nothing answers at http://127.0.0.1:9" in worker.vitals.last_error
    assert worker.vitals.state == "WAITING"
    worker.step()
    assert sorted(rested[3:]) == [("T-1", 2), ("T-1", 2), ("T-2", 2)]

    s3_at(monkeypatch, os.environ["AWS_ENDPOINT_URL"])
    worker.step()

    assert (versions("T-1"), versions("T-2"), versions("T-3")) == ([1, 2, 3], [1], [1])
    assert set(Message.objects.values_list("outcome", "repeats")) == {(Outcome.RECORDED, 0)}
    assert worker.vitals.state != "WAITING"
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("S3 is")]
    assert len(told) == 2
    assert told[1] == "S3 is back"


def test_an_object_that_may_not_be_read_makes_its_group_wait_and_says_what_to_allow(
    queue: FifoQueue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, rested: list[tuple[str, int]]
) -> None:
    read = buckets.read

    def denied(pointer: buckets.Pointer) -> Iterator[bytes]:
        if pointer.key == "secret":
            raise sqs.Denied(f"Reading the payload {pointer.place}: S3 answered AccessDenied: no.")
        return read(pointer)

    monkeypatch.setattr(buckets, "read", denied)
    send_large(queue, bucket, native("T-1"), key="secret")
    send_large(queue, bucket, native("T-2"), group="T-2")
    worker = receiver(queue)

    worker.step()

    assert (versions("T-1"), versions("T-2")) == ([], [1])
    assert rested == [("T-1", 1)]
    assert "secret: S3 answered AccessDenied: no. Let the role read the bucket (s3:GetObject) and list it" in worker.vitals.last_error


def test_a_defect_makes_only_its_group_wait(
    queue: FifoQueue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, rested: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(buckets, "read", lambda pointer: refuse(KeyError("a defect of ours")))
    send_large(queue, bucket, native("T-1"))
    send(queue, native("T-2"), group="T-2")
    worker = receiver(queue)

    worker.step()

    assert (versions("T-1"), versions("T-2")) == ([], [1])
    assert rested == [("T-1", 1)]
    assert worker.vitals.last_error == "Fetching a payload failed unexpectedly: KeyError('a defect of ours')."
    assert "Traceback" in caplog.text


def test_a_database_that_goes_away_while_a_payload_is_kept_gives_everything_back(
    queue: FifoQueue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_large(queue, bucket, large("T-1", "UPDATE", 1))
    send(queue, native("T-1", "UPDATE", 2))
    worker = receiver(queue)
    with monkeypatch.context() as patch:
        patch.setattr(payloads, "keep", lambda *_, **__: refuse(OperationalError("the server is gone")))
        worker.step()
    assert queue.counts() == (2, 0)
    assert "the server is gone" in worker.vitals.last_error
    assert left_over() == []

    worker.step()

    assert versions("T-1") == [1, 2]


def test_a_folder_that_is_full_makes_its_group_wait(
    queue: FifoQueue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, settings: Settings, rested: list[tuple[str, int]], tmp_path: Path
) -> None:
    settings.VAR_DIR = tmp_path / "a file"
    settings.VAR_DIR.touch()
    send_large(queue, bucket, native("T-1"))
    worker = receiver(queue)

    worker.step()

    assert not Message.objects.exists()
    assert rested == [("T-1", 1)]
    assert worker.vitals.last_error.startswith("A payload can't be written to the folder TRADES_VAR_DIR: ")


def test_what_waits_behind_a_payload_is_not_recorded_in_a_later_part(
    queue: FifoQueue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, rested: list[tuple[str, int]]
) -> None:
    for version in (1, 2):
        send_large(queue, bucket, large("T-1", "UPDATE", version), key=f"v{version}")
        send_large(queue, bucket, large("T-2", "UPDATE", version), group="T-2")
    read = buckets.read
    monkeypatch.setattr(
        buckets, "read", lambda pointer: refuse(sqs.Refused("S3 answered InvalidObjectState")) if pointer.key == "v1" else read(pointer)
    )
    worker = receiver(queue)
    batch = worker._gather()
    monkeypatch.setattr(consumer, "GATHER_BYTES", 1_000_000)
    worker._settle(batch)

    assert (versions("T-1"), versions("T-2")) == ([], [1, 2])
    assert rested == [("T-1", 1), ("T-1", 1)]


def refuse(error: Exception) -> Iterator[bytes]:
    raise error


def test_a_stop_ends_a_long_download_and_gives_its_message_back_at_once(
    queue: FifoQueue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Pauses()
    read = buckets.read

    def slow(pointer: buckets.Pointer) -> Iterator[bytes]:
        for piece in read(pointer):
            yield piece
            stop.set()

    monkeypatch.setattr(buckets, "read", slow)
    send_large(queue, bucket, large("T-1", "UPDATE", 1))
    send(queue, native("T-1", "UPDATE", 2))
    send(queue, native("T-2"), group="T-2")
    worker = receiver(queue, stop=stop)

    worker.step()

    assert (versions("T-1"), versions("T-2")) == ([], [1])
    assert queue.counts() == (2, 0)
    assert worker.vitals.last_error == ""
    assert not Payload.objects.exists()
    assert left_over() == []
