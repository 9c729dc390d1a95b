"""Rows of the outbox to send, what SQS has of them, and answers of SQS that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.support.broker import FifoQueue
from tests.support.native import NOON, native
from trades import publishing, sqs
from trades.models import Document, Publication, Upload
from trades.sqs import Outgoing, Queue

Answers = list[sqs.Sent | sqs.Failed]


def outbox(name: str, *groups: str, body: str = "", size: int = 100) -> list[Publication]:
    """Rows that nobody has tried to send, one of each group named."""
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=NOON)
    of = Document.objects.create(upload=upload, name="book.xml", content=b"", size=0)
    rows = [
        Publication(
            document=of,
            part=number,
            queue=name,
            group_id=group,
            deduplication_id=f"{name}-{number}",
            body=body or native(group, "UPDATE", number),
            size=size,
            created_at=NOON,
        )
        for number, group in enumerate(groups, start=1)
    ]
    return Publication.objects.bulk_create(rows)


def received(queue: FifoQueue) -> list[tuple[str, str]]:
    """(group, body) of everything in the queue, in its order."""
    found: list[tuple[str, str]] = []
    while got := queue.client.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
    ).get("Messages"):
        found += [(message["Attributes"]["MessageGroupId"], message["Body"]) for message in got]
        for message in got:
            queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
    return found


def answering(monkeypatch: pytest.MonkeyPatch, change: Callable[[Sequence[Outgoing], Answers], Answers]) -> list[int]:
    """From now on SQS does what it is asked, and `change` makes the answer; gives the sizes of the calls."""
    real, sizes = Queue.send, list[int]()

    def send(self: Queue, messages: Sequence[Outgoing]) -> Answers:
        sizes.append(len(messages))
        return change(messages, real(self, messages))

    monkeypatch.setattr(Queue, "send", send)
    return sizes
