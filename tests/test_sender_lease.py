"""The lease of a queue's outbox when its sender gets into trouble."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Event, Thread

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import native
from trades import publishing, sqs
from trades.models import OutboxLease, Publication, Upload
from trades.publishing import IncomingDocument
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
        publishing.deliver(queue.name, clock=timezone.now)
    monkeypatch.undo()

    assert OutboxLease.objects.get().expires_at <= timezone.now()
    assert publishing.deliver(queue.name, clock=timezone.now).sent == 2
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
    slow: list[publishing.Delivery] = []

    def send_slowly() -> None:
        slow.append(publishing.deliver(queue.name, clock=timezone.now))
        connection.close()

    def later() -> datetime:
        return timezone.now() + publishing.LEASE + timedelta(seconds=1)

    thread = Thread(target=send_slowly)
    thread.start()
    assert calling.wait(30)
    assert publishing.deliver(queue.name, clock=timezone.now).busy
    assert publishing.deliver(queue.name, clock=later).sent == 3
    overtaken.set()
    thread.join(30)

    assert [delivery.sent for delivery in slow] == [1]
    assert bodies(queue) == list(Publication.objects.order_by("id").values_list("body", flat=True))
