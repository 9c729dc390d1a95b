"""Where a message was, told afterwards: real processes, a broker that keeps FIFO rules, and the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import native
from tests.support.processes import PATIENT, Process
from tests.support.waiting import wait_until
from trades import history, sqs
from trades.models import Message, Publication, Repeat

pytestmark = pytest.mark.django_db(transaction=True)
Worker = Callable[..., Process]
STATES = re.compile(r'<li class="(done|bad|warn|next|unknown)">.*?<h3>([^<]*)', re.DOTALL)


@pytest.fixture
def reader() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada"), backend="django.contrib.auth.backends.ModelBackend")
    return client


def traced(client: Client, text: str) -> tuple[str, list[tuple[str, str]]]:
    """The page that a search for the id leads to, and the state and name of each hop."""
    response = client.get(reverse("trace"), {"q": text}, follow=True)
    html = unescape(response.content.decode())
    return html, [(state, name.strip()) for state, name in STATES.findall(html)]


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


def test_a_file_that_a_command_published_is_traced_from_the_file_to_the_screen(
    queue: FifoQueue, worker_process: Worker, command: Callable[..., Process], reader: Client, tmp_path: Path
) -> None:
    file = tmp_path / "book.xml"
    file.write_text(native("T-10041"))
    assert command("publish_trades", str(file)).wait() == 0
    publication = Publication.objects.get()
    _, before = traced(reader, publication.message_id)
    assert before == [
        ("done", "Handed in"), ("done", "Checked"), ("done", "Outbox"), ("done", "Accepted by SQS"),
        ("next", "Received"), ("next", "Recorded"), ("next", "Deleted from the queue"), ("next", "Shown"),
    ]  # fmt: skip

    worker = worker_process("--until-empty", "--wait", "1", before=PATIENT)
    assert worker.wait() == 0
    wait_until(Message.objects.filter(deleted_at__isnull=False).exists, "the delete to be reported")
    html, after = traced(reader, str(publication.publication_id))

    assert after == [
        ("done", "Handed in"), ("done", "Checked"), ("done", "Outbox"), ("done", "Accepted by SQS"),
        ("done", "Received"), ("done", "Recorded"), ("done", "Deleted from the queue"), ("done", "Shown"),
    ]  # fmt: skip
    assert re.search(r"Recorded as event 1 of T-10041 [\d.]+ (ms|s) after it was handed in\.", plain(html))
    assert f"By worker {Message.objects.get().worker}." in plain(html)
    assert Message.objects.get().worker.endswith(f" {worker.pid}")
    assert "On the command line." in plain(html)
    assert "(equals ours)" in html
    assert queue.counts() == (0, 0)


def test_a_message_of_a_plain_sender_that_comes_twice_shows_both_deliveries(
    queue: FifoQueue, worker_process: Worker, reader: Client
) -> None:
    sent = queue.resource.get_queue_by_name(QueueName=queue.name).send_message(MessageBody=native("T-7"), MessageGroupId="T-7")
    # What a worker leaves behind that is killed between its commit and its delete.
    in_hand = sqs.open_queue(queue.name).receive()
    history.record(in_hand, now=timezone.now())
    sqs.open_queue(queue.name).release(in_hand)  # as the end of its visibility timeout does
    html, before = traced(reader, sent["MessageId"])
    assert before[-2:] == [("unknown", "Deleted from the queue"), ("done", "Shown")]
    assert "Delete not reported yet" in html

    worker = worker_process("--max-messages", "1", "--wait", "5", before=PATIENT)
    assert worker.wait() == 0
    wait_until(Message.objects.filter(deleted_at__isnull=False).exists, "the delete to be reported")
    html, after = traced(reader, sent["MessageId"])

    assert after == [
        ("done", "Sent"), ("done", "Received"), ("done", "Recorded"), ("warn", "Delivered again"),
        ("done", "Deleted from the queue"), ("done", "Shown"),
    ]  # fmt: skip
    repeat = Repeat.objects.get()
    assert (repeat.receive_count, repeat.sqs_message_id) == (2, sent["MessageId"])
    assert repeat.worker.endswith(f" {worker.pid}")
    assert "(equals that of its text)" in html
    assert Message.objects.get().repeats == 1


def test_what_a_worker_could_not_understand_is_traced_to_quarantine_and_what_follows_behind_it(
    queue: FifoQueue, worker_process: Worker, reader: Client
) -> None:
    for body in ("not XML", native("T-1")):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId="T-1")

    assert worker_process("--until-empty", "--wait", "1").wait() == 0

    bad, held = Message.objects.order_by("pk")
    first, _ = traced(reader, bad.message_id)
    second, hops = traced(reader, held.message_id)
    assert "In quarantine since" in plain(first)
    assert f"Waits behind message {bad.pk} in quarantine" in plain(second)
    assert ("warn", "Held") in hops
    assert hops[-1] == ("next", "Recorded")
