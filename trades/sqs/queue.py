"""One FIFO queue: send, receive, extend, delete, release."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trades.sqs.clients import CALL_SECONDS, HERE, Place, client, receiving_client
from trades.sqs.errors import sentences
from trades.sqs.limits import MAX_BATCH, batches, check_name
from trades.sqs.wire import Failed, Outgoing, Received, Sent

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import MessageSystemAttributeNameType

SYSTEM_ATTRIBUTES: list[MessageSystemAttributeNameType] = [
    "SentTimestamp", "ApproximateReceiveCount", "SequenceNumber", "MessageGroupId", "MessageDeduplicationId",
    "DeadLetterQueueSourceArn",
]  # fmt: skip


class Queue:
    """One FIFO queue, by name. `receiving` gives the client for receives of a long poll in seconds; None: all calls share one."""

    def __init__(
        self, name: str, sqs: SQSClient, url: str, receiving: Callable[[int], SQSClient] | None = None, place: Place = HERE
    ) -> None:
        self.name = name
        self.sqs = sqs
        self.url = url
        self.receiving = receiving or (lambda wait: sqs)
        self.at = place.words

    def send(self, messages: Sequence[Outgoing]) -> list[Sent | Failed]:
        """Send up to 10 messages (1 MiB in all) in one call, the answers in the same order. Raises QueueError."""
        entries: list[Any] = [{"Id": str(index), **_entry(message)} for index, message in enumerate(messages)]
        with sentences(f"Sending to {self.name}", at=self.at):
            answer = self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        results: dict[str, Sent | Failed] = {
            entry["Id"]: Sent(entry["MessageId"], entry["MD5OfMessageBody"], entry.get("SequenceNumber", ""))
            for entry in answer.get("Successful", [])
        }
        results |= _failures(answer)
        return [results.get(entry["Id"], Failed("NoAnswer", "SQS did not mention this message")) for entry in entries]

    def receive(self, limit: int = MAX_BATCH, wait: int = 0, attempt_id: str | None = None) -> list[Received]:
        """Up to `limit` (1..10) messages, waiting up to `wait` (0..20) seconds for the first. Raises QueueError.

        When an answer is lost, its messages stay invisible and their groups locked. Asking again with the same `attempt_id` and
        limit within five minutes brings the same messages (AWS ReceiveMessage, ReceiveRequestAttemptId). None is a fresh attempt.
        """
        with sentences(f"Receiving from {self.name}", at=self.at):
            answer = self.receiving(wait).receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=wait,
                MessageSystemAttributeNames=SYSTEM_ATTRIBUTES,
                MessageAttributeNames=["All"],
                ReceiveRequestAttemptId=attempt_id or new_attempt_id(),
            )
        received_at = datetime.now(UTC)
        return [_received(self.name, message, received_at) for message in answer.get("Messages", [])]

    def delete(self, messages: Sequence[Received]) -> list[tuple[Received, Failed]]:
        """Delete any number of messages, 10 a call; gives those that SQS did not delete. Raises QueueError."""

        def call(ten: Sequence[Received]) -> Any:
            entries = [{"Id": str(index), "ReceiptHandle": message.receipt_handle} for index, message in enumerate(ten)]
            return self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)  # type: ignore[arg-type]

        return self._each(f"Deleting from {self.name}", batches(messages), call)

    def extend(self, messages: Sequence[Received], seconds: int) -> list[tuple[Received, Failed]]:
        """Keep messages invisible for so many seconds from now, 10 a call in the order given; gives those that SQS did not extend.
        Raises QueueError."""
        return self._each(f"Keeping messages of {self.name}", batches(messages), lambda ten: self._change_visibility(ten, seconds))

    def release(self, messages: Sequence[Received]) -> list[tuple[Received, Failed]]:
        """Give messages back at once instead of after their visibility timeout; gives those that SQS did not take back.

        All messages of a group go back in one call, so that nobody is handed a later one without those before it; of more than
        10 the last go first, which stay locked behind the first. Raises QueueError.
        """
        return self._each(f"Giving messages back to {self.name}", runs_of_groups(messages), lambda ten: self._change_visibility(ten, 0))

    def _change_visibility(self, ten: Sequence[Received], seconds: int) -> Any:
        entries = [
            {"Id": str(index), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": seconds} for index, message in enumerate(ten)
        ]
        return self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)  # type: ignore[arg-type]

    def _each(
        self, doing: str, runs: Iterable[Sequence[Received]], call: Callable[[Sequence[Received]], Any]
    ) -> list[tuple[Received, Failed]]:
        failed: list[tuple[Received, Failed]] = []
        for ten in runs:
            with sentences(doing, at=self.at):
                answer = call(ten)
            failed += [(ten[int(index)], failure) for index, failure in _failures(answer).items()]
        return failed

    def attributes(self) -> dict[str, str]:
        """All attributes of the queue, as SQS gives them. Raises QueueError."""
        with sentences(f"Reading the attributes of {self.name}", at=self.at):
            answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}


def open_queue(name: str, place: Place = HERE, *, attempts: int = 2, seconds: Mapping[str, float] = CALL_SECONDS) -> Queue:
    """The queue of that name, there or where the place says, whose calls give up after these seconds, receives after seconds more than
    they wait. Raises QueueError."""
    check_name(name)
    sqs = client(attempts, place, **seconds)
    owner: Any = {"QueueOwnerAWSAccountId": place.owner} if place.owner else {}
    with sentences(f"Opening the queue {name}", at=place.words):
        url = place.url or sqs.get_queue_url(QueueName=name, **owner)["QueueUrl"]
    return Queue(name, sqs, url, lambda wait: receiving_client(wait, place), place)


def runs_of_groups(messages: Sequence[Received], size: int = MAX_BATCH) -> Iterator[Sequence[Received]]:
    """The messages in runs of up to `size` that never split a group that fits into one; of a longer group its last run comes first."""
    groups: dict[str, list[Received]] = {}
    for message in messages:
        groups.setdefault(message.group_id, []).append(message)
    run: list[Received] = []
    for part in (part for group in groups.values() for part in reversed(list(batches(group, size)))):
        if len(run) + len(part) > size:
            yield run
            run = []
        run.extend(part)
    if run:
        yield run


def _entry(message: Outgoing) -> dict[str, Any]:
    texts = {name: {"DataType": "String", "StringValue": value} for name, value in message.attributes.items()}
    numbers = {name: {"DataType": "Number", "StringValue": str(value)} for name, value in message.numbers.items()}
    entry = {"MessageBody": message.body, "MessageGroupId": message.group_id, "MessageAttributes": texts | numbers}
    return entry | ({"MessageDeduplicationId": message.deduplication_id} if message.deduplication_id else {})


def new_attempt_id() -> str:
    """An id for one receive, whatever becomes of its answer."""
    return uuid.uuid4().hex


def _failures(answer: Mapping[str, Any]) -> dict[str, Failed]:
    return {entry["Id"]: Failed(entry.get("Code", ""), entry.get("Message", "")) for entry in answer.get("Failed", [])}


def _received(queue: str, message: Mapping[str, Any], received_at: datetime) -> Received:
    system = message.get("Attributes", {})
    sent = system.get("SentTimestamp")
    sequence = system.get("SequenceNumber", "")
    return Received(
        queue=queue,
        message_id=message["MessageId"],
        receipt_handle=message["ReceiptHandle"],
        body=message["Body"],
        md5=message["MD5OfBody"],
        group_id=system.get("MessageGroupId", ""),
        deduplication_id=system.get("MessageDeduplicationId", ""),
        sequence_number=sequence.zfill(39) if sequence else "",
        sent_at=datetime.fromtimestamp(int(sent) / 1000, UTC) if sent else None,
        receive_count=int(system.get("ApproximateReceiveCount", "1")),
        attributes={name: _text(value) for name, value in message.get("MessageAttributes", {}).items()},
        received_at=received_at,
        dead_letter_source=system.get("DeadLetterQueueSourceArn", "").rpartition(":")[2],
    )


def _text(attribute: Mapping[str, Any]) -> str:
    return attribute["StringValue"] if "StringValue" in attribute else bytes(attribute.get("BinaryValue", b"")).hex()
