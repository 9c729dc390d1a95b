"""Amazon SQS FIFO: open a queue, send, receive, delete, release. The only module that imports boto3.

Limits are AWS's own: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
boto3's environment variables choose broker, region and credentials.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import MessageSystemAttributeNameType

T = TypeVar("T")
_making_clients = threading.Lock()

MAX_BATCH = 10
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES = 1_048_576
MAX_QUEUE_NAME = 80
MAX_WAIT_SECONDS = 20
MAX_VISIBILITY_SECONDS = 43_200
VISIBILITY_SECONDS = 120
RETENTION_SECONDS = 14 * 24 * 60 * 60
# The highest that SQS allows: every receive of a batch counts for all its messages, also for those never tried.
MAX_RECEIVE_COUNT = 1_000
SENDING_SECONDS = {"connect_timeout": 3, "read_timeout": 6}
RECEIVING_SECONDS = {"connect_timeout": 5, "read_timeout": MAX_WAIT_SECONDS + 10}

SYSTEM_ATTRIBUTES: list[MessageSystemAttributeNameType] = [
    "SentTimestamp", "ApproximateReceiveCount", "SequenceNumber", "MessageGroupId", "MessageDeduplicationId",
]  # fmt: skip

# Letters, digits and punctuation of ASCII, no space (AWS SendMessage, MessageGroupId).
ID_PATTERN = re.compile(r"[!-~]{1,128}")
QUEUE_NAME_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")


class QueueError(Exception):
    """SQS could not do what was asked: one sentence with what to do."""


class QueueNotFound(QueueError):
    """The queue does not exist in this account and region."""


class BadQueueName(QueueError):
    """The name can't be that of a FIFO queue."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send; `attributes` become String message attributes."""

    body: str
    group_id: str
    deduplication_id: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes as SQS counts them: the body in UTF-8 plus each attribute's name, type and value (AWS message quotas)."""
        extra = sum(len(name) + len("String") + len(value.encode()) for name, value in self.attributes.items())
        return len(self.body.encode()) + extra


@dataclass(frozen=True, slots=True)
class Sent:
    """What SQS answered for a message it accepted."""

    message_id: str
    md5: str
    sequence_number: str


@dataclass(frozen=True, slots=True)
class Failed:
    """One entry of a batch call that SQS did not carry out."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class Received:
    """One message as handed over by the queue. Times are UTC; `receipt_handle` is good for this receive only."""

    queue: str
    message_id: str
    receipt_handle: str
    body: str
    md5: str
    group_id: str
    deduplication_id: str
    sequence_number: str
    sent_at: datetime | None
    receive_count: int
    attributes: Mapping[str, str]
    received_at: datetime

    @property
    def intact(self) -> bool:
        """Whether the body is what SQS says it stored. boto3 does not check this."""
        return md5_of(self.body) == self.md5


def md5_of(body: str) -> str:
    """Hex MD5 of the text in UTF-8, as SQS gives it in MD5OfMessageBody."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def group_id_for(trade_id: str) -> str:
    """The message group of a trade: its id where SQS allows every character of it, else a stable hash of it."""
    if ID_PATTERN.fullmatch(trade_id):
        return trade_id
    return "sha256-" + hashlib.sha256(trade_id.encode()).hexdigest()


def broker_name() -> str:
    """Where boto3 will send requests, for messages to people; never holds a credential."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_SQS") or os.environ.get("AWS_ENDPOINT_URL")
    return endpoint or f"Amazon SQS, region {region() or boto3.session.Session().region_name or 'not set'}"


def region() -> str | None:
    """The region that AWS_REGION names. boto3 itself reads only AWS_DEFAULT_REGION, unlike every other SDK of AWS and its CLI."""
    return os.environ.get("AWS_REGION") or None


@contextmanager
def sentences(doing: str) -> Iterator[None]:
    """Turn what boto3 raises into a QueueError that says what was tried, what went wrong and what to do."""
    try:
        yield
    except NoRegionError:
        raise QueueError(f"{doing}: no AWS region is set. Set AWS_REGION, or start the local broker with `make run`.") from None
    except NoCredentialsError:
        raise QueueError(
            f"{doing}: no AWS credentials were found. Set a profile or role, or start the local broker with `make run`."
        ) from None
    except EndpointConnectionError:
        raise QueueError(f"{doing}: nothing answers at {broker_name()}. Check that the broker runs and is reachable.") from None
    except ClientError as error:
        code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        if "NonExistentQueue" in code or "QueueDoesNotExist" in code:
            raise QueueNotFound(f"{doing}: the queue does not exist at {broker_name()}. Run `python manage.py create_queues`.") from None
        raise QueueError(f"{doing}: {broker_name()} answered {code}: {message}") from None
    except BotoCoreError as error:
        raise QueueError(f"{doing}: {broker_name()}: {error}") from None
    except ValueError as error:
        raise QueueError(f"{doing}: {error}. Check AWS_ENDPOINT_URL_SQS, which is written like http://127.0.0.1:4566.") from None


def client(**seconds: float) -> SQSClient:
    """One SQS client per process and time-out; clients are thread-safe, but must not cross a fork."""
    with _making_clients:  # boto3.client() itself is not thread-safe (boto3 guide, clients)
        return _client(**seconds)


@functools.cache
def _client(**seconds: float) -> SQSClient:
    config = Config(
        # Named here, boto3 does not make its own name anew for every request, which costs a tenth of a call.
        user_agent="TradePortal",
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=64,
        **seconds,  # type: ignore[arg-type]
    )
    with sentences("Opening Amazon SQS"):
        return boto3.client("sqs", region_name=region(), config=config)


class Queue:
    """One FIFO queue, by name."""

    def __init__(self, name: str, sqs: SQSClient, url: str) -> None:
        self.name = name
        self.sqs = sqs
        self.url = url

    def send(self, messages: Sequence[Outgoing]) -> list[Sent | Failed]:
        """Send up to 10 messages (1 MiB in all) in one call, the answers in the same order. Raises QueueError."""
        entries: list[Any] = [
            {
                "Id": str(index),
                "MessageBody": message.body,
                "MessageGroupId": message.group_id,
                "MessageDeduplicationId": message.deduplication_id,
                "MessageAttributes": {name: {"DataType": "String", "StringValue": value} for name, value in message.attributes.items()},
            }
            for index, message in enumerate(messages)
        ]
        with sentences(f"Sending to {self.name}"):
            answer = self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        results: dict[str, Sent | Failed] = {
            entry["Id"]: Sent(entry["MessageId"], entry["MD5OfMessageBody"], entry.get("SequenceNumber", ""))
            for entry in answer.get("Successful", [])
        }
        results |= _failures(answer)
        return [results.get(entry["Id"], Failed("NoAnswer", "SQS did not mention this message")) for entry in entries]

    def receive(self, limit: int = MAX_BATCH, wait: int = 0) -> list[Received]:
        """Up to `limit` (1..10) messages, waiting up to `wait` (0..20) seconds for the first. Raises QueueError.

        Each call carries an attempt id of its own, so that boto3's retry of a lost answer gets the same messages again instead of
        leaving their groups locked (AWS ReceiveMessage, ReceiveRequestAttemptId).
        """
        with sentences(f"Receiving from {self.name}"):
            answer = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=wait,
                MessageSystemAttributeNames=SYSTEM_ATTRIBUTES,
                MessageAttributeNames=["All"],
                ReceiveRequestAttemptId=uuid.uuid4().hex,
            )
        received_at = datetime.now(UTC)
        return [_received(self.name, message, received_at) for message in answer.get("Messages", [])]

    def delete(self, messages: Sequence[Received]) -> list[tuple[Received, Failed]]:
        """Delete any number of messages, 10 a call; gives those that SQS did not delete. Raises QueueError."""
        failed: list[tuple[Received, Failed]] = []
        for ten in batches(messages):
            with sentences(f"Deleting from {self.name}"):
                answer = self.sqs.delete_message_batch(
                    QueueUrl=self.url,
                    Entries=[{"Id": str(index), "ReceiptHandle": message.receipt_handle} for index, message in enumerate(ten)],
                )
            failed += [(ten[int(index)], failure) for index, failure in _failures(answer).items()]
        return failed

    def release(self, messages: Sequence[Received]) -> list[tuple[Received, Failed]]:
        """Give messages back at once instead of after their visibility timeout, 10 a call. Raises QueueError."""
        failed: list[tuple[Received, Failed]] = []
        for ten in batches(messages):
            with sentences(f"Giving messages back to {self.name}"):
                answer = self.sqs.change_message_visibility_batch(
                    QueueUrl=self.url,
                    Entries=[
                        {"Id": str(index), "ReceiptHandle": message.receipt_handle, "VisibilityTimeout": 0}
                        for index, message in enumerate(ten)
                    ],
                )
            failed += [(ten[int(index)], failure) for index, failure in _failures(answer).items()]
        return failed

    def attributes(self) -> dict[str, str]:
        """All attributes of the queue, as SQS gives them. Raises QueueError."""
        with sentences(f"Reading the attributes of {self.name}"):
            answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}


def check_name(name: str) -> None:
    """Raise BadQueueName unless SQS would accept the name for a FIFO queue."""
    if not QUEUE_NAME_PATTERN.fullmatch(name):
        raise BadQueueName(
            f'The queue name "{name}" cannot be a FIFO queue: it needs up to {MAX_QUEUE_NAME} letters, digits, - and _, ending in ".fifo".'
        )


def open_queue(name: str, *, receiving: bool = False) -> Queue:
    """The queue of that name. `receiving` allows for long polls; without it calls give up after seconds. Raises QueueError."""
    check_name(name)
    sqs = client(**(RECEIVING_SECONDS if receiving else SENDING_SECONDS))
    with sentences(f"Opening the queue {name}"):
        return Queue(name, sqs, sqs.get_queue_url(QueueName=name)["QueueUrl"])


def wanted_attributes(dead_letter_arn: str | None = None) -> dict[str, str]:
    """The attributes our queues have, as SQS names them; times in seconds, sizes in bytes."""
    wanted = {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "VisibilityTimeout": str(VISIBILITY_SECONDS),
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
        "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
    }
    if dead_letter_arn:
        wanted["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": MAX_RECEIVE_COUNT})
    return wanted


def ensure_queue(name: str, dead_letter_arn: str | None = None) -> tuple[Queue, bool, dict[str, tuple[str, str]]]:
    """The queue, whether it was made just now, and for one that existed what differs: {attribute: (found, wanted)}.

    Nothing of an existing queue is changed. Raises QueueError.
    """
    wanted = wanted_attributes(dead_letter_arn)
    try:
        queue = open_queue(name)
    except QueueNotFound:
        with sentences(f"Creating the queue {name}"):
            url = client(**SENDING_SECONDS).create_queue(QueueName=name, Attributes=wanted)["QueueUrl"]  # type: ignore[arg-type]
        return Queue(name, client(**SENDING_SECONDS), url), True, {}
    found = queue.attributes()
    differs = {key: (found.get(key, "not set"), value) for key, value in wanted.items() if not _same(found.get(key), value)}
    return queue, False, differs


def batches(items: Sequence[T], size: int = MAX_BATCH) -> Iterator[Sequence[T]]:
    """The items in runs of up to `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _same(found: str | None, wanted: str) -> bool:
    if found is not None and wanted.startswith("{"):
        return {k: str(v) for k, v in json.loads(found).items()} == {k: str(v) for k, v in json.loads(wanted).items()}
    return found == wanted


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
    )


def _text(attribute: Mapping[str, Any]) -> str:
    return attribute["StringValue"] if "StringValue" in attribute else bytes(attribute.get("BinaryValue", b"")).hex()
