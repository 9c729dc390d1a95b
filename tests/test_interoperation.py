"""The plain pair of scripts and the portal work with each other's messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import native
from tests.support.processes import Process
from trades import publishing
from trades.handing_in import IncomingDocument
from trades.models import Event, Message, Upload


@pytest.mark.django_db(transaction=True)
def test_a_message_of_the_plain_sender_is_consumed_stored_and_in_the_history(
    queue: FifoQueue, worker_process: Callable[..., Process]
) -> None:
    plain = queue.resource.get_queue_by_name(QueueName=queue.name)
    body = native("T-10045")
    sent = plain.send_message(MessageBody=body, MessageGroupId="messageGroup1")

    assert worker_process("--until-empty", "--wait", "1").wait() == 0

    row = Message.objects.get()
    assert (row.message_id, row.body, row.group_id) == (sent["MessageId"], body, "messageGroup1")
    assert row.body_md5 == sent["MD5OfMessageBody"]
    assert Event.objects.get(trade__trade_id="T-10045").message == row
    assert queue.counts() == (0, 0)


@pytest.mark.django_db
def test_the_plain_receiver_gets_and_deletes_what_the_portal_published(queue: FifoQueue) -> None:
    body = native("T-10045")
    document = IncomingDocument("book.xml", body.encode())
    publishing.publish([document], source=Upload.Source.WEB, user=None, clock=timezone.now)

    printed = []
    for message in queue.resource.get_queue_by_name(QueueName=queue.name).receive_messages():
        printed.append(message.body)
        message.delete()

    assert printed == [body]
    assert queue.counts() == (0, 0)


@pytest.mark.django_db
def test_publishing_prints_what_the_plain_sender_prints(
    queue: FifoQueue, tmp_path: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "book.xml"  # type: ignore[operator]
    file.write_text(native("T-1"))

    call_command("publish_trades", str(file))

    printed = capsys.readouterr().out
    (message,) = queue.resource.get_queue_by_name(QueueName=queue.name).receive_messages()
    assert f"MessageId: {message.message_id}" in printed
    assert f"MD5OfMessageBody: {message.md5_of_body}" in printed
