"""The lease of a queue's outbox when its sender gets into trouble."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event, Thread

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import native
from trades import leases, outbox, publishing, sending, sqs
from trades.handing_in import IncomingDocument
from trades.models import OutboxLease, Publication, Upload
from trades.quarantine import Actor
from trades.sqs import Failed, Outgoing, Sent

pytestmark = pytest.mark.django_db(transaction=True)


def store(queue: FifoQueue, *versions: int) -> None:
    """Outbox rows of one trade that nobody has tried to send."""
    documents = [IncomingDocument(f"{version}.xml", native("T-1", "UPDATE", version).encode()) for version in versions]
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=timezone.now())
    publishing.store(upload, documents, queue=queue.name, now=timezone.now())


def bodies(queue: FifoQueue) -> list[str]:
    """What the queue has, in its order; nothing is deleted."""
    answer = queue.client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10)
    return [message["Body"] for message in answer.get("Messages", [])]


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no connection to lose")
def test_a_sender_whose_connection_broke_lets_the_next_one_begin_at_once(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    store(queue, 1, 2)
    send = sqs.Queue.send

    def break_while_sending(self: sqs.Queue, messages: list[Outgoing]) -> list[Sent | Failed]:
        with connection.cursor() as cursor, pytest.raises(DatabaseError):
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return send(self, messages)

    monkeypatch.setattr(sqs.Queue, "send", break_while_sending)
    with pytest.raises(DatabaseError):
        sending.deliver(queue.name, clock=timezone.now)
    monkeypatch.undo()

    assert OutboxLease.objects.get().expires_at <= timezone.now()
    assert sending.deliver(queue.name, clock=timezone.now).sent == 2
    assert bodies(queue) == list(Publication.objects.order_by("id").values_list("body", flat=True))


def test_a_slow_sender_that_is_overtaken_in_a_call_changes_nothing(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call reaches the queue when the other sender has sent all: the message is there already, and it may send no other."""
    store(queue, 1, 2, 3)
    send = sqs.Queue.send
    calling, overtaken = Event(), Event()

    def first_call_is_slow(self: sqs.Queue, messages: list[Outgoing]) -> list[Sent | Failed]:
        if not calling.is_set():
            calling.set()
            assert overtaken.wait(30)
        return send(self, messages)

    monkeypatch.setattr(sqs.Queue, "send", first_call_is_slow)
    slow: list[sending.Delivery] = []

    def later() -> datetime:
        return timezone.now() + leases.LEASE + timedelta(seconds=1)

    def send_slowly() -> None:
        slow.append(sending.deliver(queue.name, clock=lambda: later() if overtaken.is_set() else timezone.now()))
        connection.close()

    thread = Thread(target=send_slowly)
    thread.start()
    assert calling.wait(30)
    assert sending.deliver(queue.name, clock=timezone.now).busy
    assert sending.deliver(queue.name, clock=later).sent == 3
    overtaken.set()
    thread.join(30)

    assert [delivery.sent for delivery in slow] == [1]
    assert bodies(queue) == list(Publication.objects.order_by("id").values_list("body", flat=True))


def overtaken_in_its_first_call(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> Callable[[], datetime]:
    """Lets that happen, when the lease has run out, while the first call is on its way; gives the clock of the sender that makes it."""
    send = sqs.Queue.send
    late: list[bool] = []

    def first_call_is_slow(self: sqs.Queue, messages: list[Outgoing]) -> list[Sent | Failed]:
        if not late:
            late.append(True)
            meanwhile()
        return send(self, messages)

    monkeypatch.setattr(sqs.Queue, "send", first_call_is_slow)
    return lambda: timezone.now() + (leases.LEASE + timedelta(seconds=1) if late else timedelta())


def test_a_slow_sender_takes_no_message_for_swallowed_that_another_one_has_sent(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time it notes its call, a later publication with the same content has the id of the message too."""
    store(queue, 1, 1)
    Publication.objects.update(deduplication_id="", body=native("T-1"))

    def another_sends_all() -> None:
        assert sending.deliver(queue.name, clock=clock).sent == 2

    clock = overtaken_in_its_first_call(monkeypatch, another_sends_all)
    sending.deliver(queue.name, clock=clock)

    assert list(Publication.objects.order_by("id").values_list("state", "swallowed")) == [("SENT", False), ("SENT", True)]


def test_what_was_cancelled_during_a_call_whose_answer_is_lost_says_that_it_may_be_in_the_queue(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(queue, 1)

    def a_person_cancels_it() -> None:
        outbox.cancel([Publication.objects.get().pk], actor=Actor(None, "a test"), reason="by mistake", clock=clock)
        raise sqs.QueueError("the answer was lost")

    clock = overtaken_in_its_first_call(monkeypatch, a_person_cancels_it)
    sending.deliver(queue.name, clock=clock)

    row = Publication.objects.get()
    assert row.state == Publication.State.CANCELLED
    assert row.uncertain_since is not None
