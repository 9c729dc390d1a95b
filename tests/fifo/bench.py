"""What the checks of the contract stand on: one SQS client, fresh queues, and a wait."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

Message = dict[str, Any]
MIB = 1_048_576


@dataclass
class Bench:
    """One broker under check. `wait` lets that many seconds pass; `patience` is the long poll of every receive, in seconds."""

    client: SQSClient
    wait: Callable[[float], None]
    patience: int = 0
    made: list[str] = field(default_factory=list)

    def queue(self, **attributes: str) -> Queue:
        """A fresh FIFO queue, with explicit deduplication ids unless the attributes say otherwise."""
        name = f"contract-{uuid.uuid4().hex[:16]}.fifo"
        url = self.client.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **attributes})["QueueUrl"]  # type: ignore[dict-item]
        self.made.append(url)
        if self.patience:
            self.wait(1)  # A new queue can be used after a second (AWS CreateQueue).
        return Queue(self, name, url)

    def clean_up(self) -> None:
        """Delete the queues made."""
        while self.made:
            self.client.delete_queue(QueueUrl=self.made.pop())


@dataclass(frozen=True)
class Queue:
    """One queue, in the words of the checks."""

    bench: Bench
    name: str
    url: str

    @property
    def client(self) -> Any:
        """The client, free of the types of its requests, as checks also make wrong ones."""
        return self.bench.client

    def send(self, body: str, group: str = "g", deduplication_id: str | None = None, **more: Any) -> Message:
        """Send one message, with a deduplication id of its own unless one is given."""
        given = {"MessageGroupId": group, "MessageDeduplicationId": deduplication_id or uuid.uuid4().hex}
        answer: Message = self.client.send_message(QueueUrl=self.url, MessageBody=body, **{**given, **more})
        return answer

    def send_plain(self, body: str, **more: Any) -> Message:
        """Send one message with nothing but what is given."""
        answer: Message = self.client.send_message(QueueUrl=self.url, MessageBody=body, **more)
        return answer

    def send_batch(self, entries: Sequence[Mapping[str, Any]]) -> Message:
        """Send in one call; ids and what else is missing are filled in."""
        filled = [
            {"Id": str(index), "MessageGroupId": "g", "MessageDeduplicationId": uuid.uuid4().hex, **entry}
            for index, entry in enumerate(entries)
        ]
        answer: Message = self.client.send_message_batch(QueueUrl=self.url, Entries=filled)
        return answer

    def receive(self, limit: int = 10, **more: Any) -> list[Message]:
        """One receive."""
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=limit,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
            **{"WaitTimeSeconds": self.bench.patience, **more},
        )
        return list(answer.get("Messages", []))

    def bodies(self, limit: int = 10) -> list[str]:
        """The bodies that one receive brings."""
        return bodies(self.receive(limit))

    def delete(self, message: Message) -> None:
        """Delete what was received."""
        self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def change(self, message: Message, seconds: int) -> None:
        """Change how long a received message stays invisible."""
        self.client.change_message_visibility(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds)

    def change_all(self, messages: Sequence[Message], seconds: int) -> Message:
        """The same for several in one call."""
        entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": seconds} for i, m in enumerate(messages)]
        answer: Message = self.client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)
        return answer

    def delete_all(self, handles: Sequence[str]) -> Message:
        """Delete in one call."""
        entries = [{"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(handles)]
        answer: Message = self.client.delete_message_batch(QueueUrl=self.url, Entries=entries)
        return answer

    def attributes(self) -> dict[str, str]:
        """All attributes."""
        return dict(self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"])

    def holds(self, *, waiting: int = 0, in_flight: int = 0, delayed: int = 0) -> None:
        """Fail unless the queue counts so many messages. The counts of AWS itself lag by up to a minute (GetQueueAttributes)."""
        names = [f"ApproximateNumberOfMessages{what}" for what in ("", "NotVisible", "Delayed")]
        found: list[int] = []
        for _ in range(1 + 90 * self.bench.patience):
            attributes = self.attributes()
            found = [int(attributes[name]) for name in names]
            if found == [waiting, in_flight, delayed]:
                return
            self.bench.wait(self.bench.patience)
        raise AssertionError(f"waiting, in flight and delayed: {found}, and not {[waiting, in_flight, delayed]}")


Check = Callable[[Bench], None]


def onto(checks: dict[str, Check]) -> Callable[[Check], Check]:
    """A decorator that puts a rule on the list."""

    def check(function: Check) -> Check:
        checks[function.__name__] = function
        return function

    return check


def filled(queue: Queue, *bodies: str, group: str = "g") -> list[Message]:
    """Send messages one by one; gives them as one receive brings them."""
    for body in bodies:
        queue.send(body, group)
    return queue.receive()


def bodies(messages: Sequence[Message]) -> list[str]:
    """What the messages say."""
    return [message["Body"] for message in messages]


def refusal(act: Callable[[], object]) -> str:
    """The code of the error that SQS answers with, without its old prefix; "accepted" when there is none."""
    try:
        act()
    except ClientError as error:
        return str(error.response["Error"]["Code"]).rpartition(".")[2]
    except ParamValidationError as error:
        raise AssertionError(f"boto3 itself refuses the request, so that the broker is not asked: {error}") from None
    return "accepted"


def same(found: object, wanted: object, what: str) -> None:
    """Fail with a sentence unless both are equal."""
    assert found == wanted, f"{what}: {found!r}, and not {wanted!r}"
