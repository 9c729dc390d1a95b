"""Messages whose text is in S3, through a real worker process: as Amazon's Extended Clients send them, and as large as they may be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from tests.chaos.proxy import Proxy
from tests.support.broker import Bucket, FifoQueue
from tests.support.extended import by_java, by_python, large, send_large, send_pointer
from tests.support.native import native
from tests.support.processes import Process
from tests.support.waiting import wait_until
from trades import payloads, quarantine
from trades.models import Event, Message, Worker

pytestmark = pytest.mark.django_db(transaction=True)
Outcome = Message.Outcome
WorkerProcess = Callable[..., Process]
ME = quarantine.Actor(None, "a test")


def versions(trade_id: str) -> list[int | None]:
    return list(Event.objects.filter(trade__trade_id=trade_id).order_by("position").values_list("version", flat=True))


def work_until_empty(worker_process: WorkerProcess) -> None:
    worker = worker_process("--until-empty", "--wait", "1")
    assert worker.wait(60) == 0, worker.output


def test_what_the_java_and_the_python_client_send_is_consumed(queue: FifoQueue, bucket: Bucket, worker_process: WorkerProcess) -> None:
    java, old_java, python = (native("T-1", "UPDATE", version) for version in (1, 2, 3))
    bucket.put("0b8ec2f4-5d35-4a0c-9a53-1b8c3c1f3f0e", java.encode())
    bucket.put("blotter/2026-11-20/6f1d2c9a-77c5-4b0b-8f3f-b6f2f0b5a9d1", old_java.encode())
    bucket.put("d4a2b0a6-6e0f-4a0c-8f5e-0d6a4c1b2e3f", python.encode())
    sent = [
        # useLegacyReservedAttributeName is on unless it is switched off, and then the new name is sent.
        (by_java(bucket.name, "0b8ec2f4-5d35-4a0c-9a53-1b8c3c1f3f0e"), java, "SQSLargePayloadSize"),
        (by_java(bucket.name, "blotter/2026-11-20/6f1d2c9a-77c5-4b0b-8f3f-b6f2f0b5a9d1"), old_java, "ExtendedPayloadSize"),
        (by_python(bucket.name, "d4a2b0a6-6e0f-4a0c-8f5e-0d6a4c1b2e3f"), python, "ExtendedPayloadSize"),
    ]
    for body, text, marker in sent:
        send_pointer(queue, body, len(text.encode()), marker=marker, Desk="rates")

    work_until_empty(worker_process)

    assert versions("T-1") == [1, 2, 3]
    rows = Message.objects.order_by("id")
    assert [(row.body, row.pointer, row.attributes[marker]) for row, (_, _, marker) in zip(rows, sent, strict=True)] == [
        (text, body, str(len(text.encode()))) for body, text, _ in sent
    ]
    assert queue.counts() == (0, 0)
    assert len(bucket.keys()) == 3


def test_a_missing_payload_is_quarantined_and_replayed_once_it_is_back(
    queue: FifoQueue, bucket: Bucket, worker_process: WorkerProcess
) -> None:
    text = large("T-1", "UPDATE", 1)
    send_large(queue, bucket, text, key="lost")
    send_large(queue, bucket, large("T-1", "UPDATE", 2))
    bucket.client.delete_object(Bucket=bucket.name, Key="lost")
    work_until_empty(worker_process)
    first, second = Message.objects.order_by("id")
    assert (first.outcome, first.code, second.outcome) == (Outcome.QUARANTINED, "payload-missing", Outcome.HELD)

    assert quarantine.replay(first, actor=ME, now=timezone.now()).still.startswith("The text of this message is s3://")
    bucket.put("lost", text.encode())
    first.refresh_from_db()
    assert quarantine.replay(first, actor=ME, now=timezone.now()).recorded == 2

    assert versions("T-1") == [1, 2]
    first.refresh_from_db()
    assert (first.body, payloads.text_of(first, 2_000_000)) == ("", text)


def test_while_s3_is_away_other_groups_flow_and_afterwards_nothing_is_missing(
    queue: FifoQueue, bucket: Bucket, worker_process: WorkerProcess
) -> None:
    port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
    assert port
    with Proxy(port) as proxy:
        proxy.close()
        send_large(queue, bucket, large("T-1", "UPDATE", 1))
        send_large(queue, bucket, native("T-1", "UPDATE", 2))
        worker = worker_process("--wait", "1", environment={"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"})
        worker.wait_for_line("S3 is away")
        for number in range(2, 12):
            queue.client.send_message(QueueUrl=queue.url, MessageBody=native(f"T-{number}"), MessageGroupId=f"T-{number}")
        wait_until(lambda: Event.objects.count() == 10, "the messages of other groups")
        assert versions("T-1") == []
        wait_until(lambda: Worker.objects.filter(state="WAITING", last_error__contains="nothing answers at").exists(), "a waiting worker")

        proxy.open()
        wait_until(lambda: versions("T-1") == [1, 2], "the messages that waited for S3", 60)

        worker.wait_for_line("S3 is back")
        worker.signal()
        assert worker.wait() == 0
    assert queue.counts() == (0, 0)
    assert set(Message.objects.values_list("outcome", "repeats")) == {(Outcome.RECORDED, 0)}


def test_a_stop_during_a_long_download_is_honoured_and_nothing_is_lost(
    queue: FifoQueue, bucket: Bucket, worker_process: WorkerProcess, var_dir: Path
) -> None:
    port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
    assert port
    text = large("T-1", size=20_000_000)
    send_large(queue, bucket, text)
    with Proxy(port) as proxy:
        proxy.delay = 0.5  # for each 64 KiB: the whole would take two minutes and a half
        worker = worker_process("--wait", "1", environment={"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}"})
        wait_until(lambda: any(path.stat().st_size for path in (var_dir / "spool").glob("*")), "the first bytes of the payload")
        worker.signal()
        assert worker.wait(60) == 0
    assert list((var_dir / "spool").iterdir()) == []
    assert queue.counts() == (1, 0)

    work_until_empty(worker_process)

    assert versions("T-1") == [1]


@pytest.mark.parametrize("size", [1_500_000, 64 * 1024 * 1024])
def test_a_large_document_goes_through_a_worker(
    queue: FifoQueue, bucket: Bucket, worker_process: WorkerProcess, var_dir: Path, size: int
) -> None:
    text = large("T-1", size=size)
    send_large(queue, bucket, text)

    work_until_empty(worker_process)

    row = Message.objects.get()
    assert (row.outcome, row.size, row.body) == (Outcome.RECORDED, size, "")
    assert row.payload
    with payloads.spooled(row.payload) as kept:
        assert kept.path.read_bytes() == text.encode()
    assert versions("T-1") == [1]
    assert list((var_dir / "spool").iterdir()) == []
    assert queue.counts() == (0, 0)
