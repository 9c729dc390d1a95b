"""What a worker process tells beside what it records: its name, repeats, deletes that the queue confirmed, attempts to send that failed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Event as Signal

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import NOON, native, received
from tests.support.processes import PATIENT, Process
from tests.support.waiting import wait_until
from trades import consumer, history, outbox_rows, publishing, receipts, sending, sqs
from trades.consumer import Receiver, Settings
from trades.handing_in import IncomingDocument
from trades.heartbeat import Heartbeat, Vitals
from trades.models import Message, Publication, Repeat, SendAttempt, Upload
from trades.receipts import Deletes
from trades.receiving import Quota
from trades.sqs import Failed, Queue, Received

pytestmark = pytest.mark.django_db


def kept(deletes: Deletes) -> list[str]:
    return [message_id for _, message_id, _ in deletes._noted]


def some(count: int, start: int = 0) -> list[Received]:
    return [received(native(f"T-{n}"), message_id=f"sqs-{n}") for n in range(start, start + count)]


# Which process


def test_only_a_worker_process_has_a_name_and_it_is_kept_with_what_it_received_first() -> None:
    history.record([received(native("T-1"), message_id="outside")], now=NOON)
    with receipts.as_worker():
        history.record([received(native("T-2"), message_id="inside")], now=NOON)

    found = dict(Message.objects.values_list("message_id", "worker"))

    assert found == {"outside": "", "inside": f"{socket.gethostname()} {os.getpid()}"}
    assert receipts.this_worker() == ""


def test_a_host_with_a_very_long_name_leaves_room_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 300)

    with receipts.as_worker():
        name = receipts.this_worker()

    assert len(name) == 150
    assert name.endswith(f"h {os.getpid()}")


# Repeats


def test_every_later_delivery_is_kept_with_its_time_its_count_and_its_sqs_id() -> None:
    first = received(native("T-1"), message_id="sqs-1")
    history.record([first], now=NOON)
    later = [replace(first, receive_count=n, received_at=NOON + timedelta(minutes=n)) for n in (2, 3)]

    with receipts.as_worker():
        for again in later:
            history.record([again], now=NOON)
        worker = receipts.this_worker()

    rows = list(
        Repeat.objects.order_by("pk").values_list("message__message_id", "receive_count", "received_at", "sqs_message_id", "worker")
    )
    assert rows == [("sqs-1", n, NOON + timedelta(minutes=n), "sqs-1", worker) for n in (2, 3)]
    assert Message.objects.get().repeats == 2


def test_a_repeat_within_one_batch_and_one_sent_anew_under_another_sqs_id_are_kept_too() -> None:
    document = IncomingDocument("book.xml", native("T-1").encode())
    publishing.publish([document], source=Upload.Source.COMMAND, user=None, clock=timezone.now)
    publication = Publication.objects.get()
    first = received(publication.body, message_id="sqs-1", publication_id=publication.publication_id)

    history.record([first, first, replace(first, message_id="sqs-2")], now=NOON)

    assert list(Repeat.objects.order_by("pk").values_list("sqs_message_id", flat=True)) == ["sqs-1", "sqs-2"]
    assert Message.objects.get().repeats == 2


def test_a_batch_without_repeats_costs_no_statement_for_them() -> None:
    def statements(batch: Sequence[Received]) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            history.record(batch, now=NOON)
        return [query["sql"] for query in queries if "trades_repeat" in query["sql"] or "deleted_at =" in query["sql"]]

    assert statements(some(3)) == []
    assert len(statements(some(3))) == 1


# Deletes


def test_what_the_queue_confirmed_is_written_in_one_statement_and_nothing_else_is() -> None:
    batch = some(4)
    history.record(batch[:3], now=NOON)
    deletes = Deletes()

    deletes.note(batch, [(batch[1], Failed("ReceiptHandleIsInvalid", "expired"))], NOON + timedelta(seconds=2))
    deletes.write()

    found = dict(Message.objects.values_list("message_id", "deleted_at"))
    assert found == {"sqs-0": NOON + timedelta(seconds=2), "sqs-1": None, "sqs-2": NOON + timedelta(seconds=2)}
    assert kept(deletes) == []


def test_a_dead_letter_is_told_under_the_queue_that_its_message_is_stored_under() -> None:
    history.record([received(native("T-1"), message_id="dead", queue="Source.fifo")], now=NOON)
    deletes = Deletes()

    deletes.note([received(native("T-1"), message_id="dead", queue="Dead.fifo")], [], NOON)
    deletes.write()
    assert Message.objects.get().deleted_at is None

    deletes.note([replace(received("", message_id="dead", queue="Dead.fifo"), dead_letter_source="Source.fifo")], [], NOON)
    deletes.write()
    assert Message.objects.get().deleted_at == NOON


def test_notes_wait_for_a_database_that_is_away_and_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    deletes = Deletes(most=5)
    deletes.note(some(3), [], NOON)

    def away(*_: object) -> None:
        # Meanwhile others are noted.
        deletes.note(some(4, start=3), [], NOON)
        raise OperationalError("the server is gone")

    monkeypatch.setattr(receipts, "_write", away)
    with pytest.raises(OperationalError):
        deletes.write()

    assert kept(deletes) == ["sqs-2", "sqs-3", "sqs-4", "sqs-5", "sqs-6"]
    assert deletes.dropped == 2
    deletes.note(some(2, start=7), [], NOON)
    assert kept(deletes) == ["sqs-4", "sqs-5", "sqs-6", "sqs-7", "sqs-8"]
    assert deletes.dropped == 4


def test_more_than_one_statement_takes_are_all_written() -> None:
    batch = some(7)
    history.record(batch, now=NOON)
    deletes = Deletes()
    deletes.note(batch, [], NOON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receipts, "PER_STATEMENT", 3)
        deletes.write()

    assert Message.objects.filter(deleted_at=NOON).count() == 7


def test_a_receiver_notes_what_the_queue_says_it_deleted(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "close_old_connections", lambda: None)
    for n in range(3):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=native(f"T-{n}"), MessageGroupId=f"T-{n}")
    real = Queue.delete

    def but_one(self: Queue, messages: Sequence[Received]) -> list[tuple[Received, Failed]]:
        real(self, messages[1:])
        return [(messages[0], Failed("ReceiptHandleIsInvalid", "expired"))]

    monkeypatch.setattr(Queue, "delete", but_one)
    receiver = Receiver(sqs.open_queue(queue.name), Settings(wait=0), Quota(None), Signal(), timezone.now)
    receiver.step()
    receiver.vitals.deletes.write()

    assert Message.objects.filter(deleted_at__isnull=False).count() == 2
    assert Message.objects.filter(deleted_at__isnull=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_heartbeat_writes_deletes_while_it_runs_and_at_the_end() -> None:
    batch = some(2)
    history.record(batch, now=NOON)
    vitals = Vitals()

    with Heartbeat("Trades.fifo", vitals, Signal(), timezone.now, every=0.05):
        vitals.deletes.note(batch[:1], [], NOON)
        wait_until(Message.objects.filter(deleted_at=NOON).exists, "the first delete to be written")
    with Heartbeat("Trades.fifo", vitals, Signal(), timezone.now, every=60):
        vitals.deletes.note(batch[1:], [], NOON)

    wait_until(lambda: Message.objects.filter(deleted_at=NOON).count() == 2, "the last delete to be written")


@pytest.mark.django_db(transaction=True)
def test_a_worker_process_tells_who_received_and_that_the_queue_deleted(queue: FifoQueue, worker_process: Callable[..., Process]) -> None:
    queue.client.send_message(QueueUrl=queue.url, MessageBody=native("T-1"), MessageGroupId="T-1")

    worker = worker_process("--max-messages", "1", "--wait", "1", before=PATIENT)

    assert worker.wait() == 0
    row = Message.objects.get()
    assert row.worker == f"{socket.gethostname()} {worker.pid}"
    assert row.deleted_at is not None
    assert row.deleted_at >= row.recorded_at


# Attempts to send


def test_every_failed_attempt_is_kept_up_to_a_number_and_counted_beyond_it(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_rows, "MOST_ATTEMPTS", 2)
    real, left = Queue.send, iter(range(3))

    def failing(self: Queue, messages: Sequence[sqs.Outgoing]) -> list[sqs.Sent | sqs.Failed]:
        if (n := next(left, None)) is not None:
            raise sqs.QueueError(f"nothing answers, time {n + 1}")
        return real(self, messages)

    monkeypatch.setattr(Queue, "send", failing)
    publishing.publish([IncomingDocument("book.xml", native("T-1").encode())], source=Upload.Source.COMMAND, user=None, clock=timezone.now)
    for _ in range(3):
        sending.deliver(queue.name, clock=timezone.now)

    publication = Publication.objects.get()
    assert (publication.state, publication.attempts) == (Publication.State.SENT, 4)
    assert list(SendAttempt.objects.order_by("pk").values_list("error", flat=True)) == [f"nothing answers, time {n}" for n in (1, 2)]


def test_an_entry_that_sqs_refuses_alone_is_an_attempt_of_that_publication_alone(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_refused(self: Queue, messages: Sequence[sqs.Outgoing]) -> list[sqs.Sent | sqs.Failed]:
        return [
            sqs.Failed("Internal", "try again") if message.group_id == "T-1" else sqs.Sent("id", sqs.md5_of(message.body), "1")
            for message in messages
        ]

    monkeypatch.setattr(Queue, "send", one_refused)
    documents = [IncomingDocument(f"{n}.xml", native(f"T-{n}").encode()) for n in (1, 2)]
    publishing.publish(documents, source=Upload.Source.COMMAND, user=None, clock=timezone.now)

    assert list(SendAttempt.objects.values_list("publication__group_id", "error")) == [("T-1", "Internal: try again")]
