"""Amazon SQS FIFO: open a queue, send, receive, extend, delete, release. The only module that imports boto3.

Limits are AWS's own: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
boto3's environment variables choose broker, region and credentials.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
# A queue that is silent must hold up neither a sender nor the end of a worker.
CALL_SECONDS = {"connect_timeout": 2, "read_timeout": 5}
# What a receive may take beyond its long poll.
ANSWER_SECONDS = 3

SYSTEM_ATTRIBUTES: list[MessageSystemAttributeNameType] = [
    "SentTimestamp", "ApproximateReceiveCount", "SequenceNumber", "MessageGroupId", "MessageDeduplicationId",
    "DeadLetterQueueSourceArn",
]  # fmt: skip

# Letters, digits and punctuation of ASCII, no space (AWS SendMessage, MessageGroupId).
ID_PATTERN = re.compile(r"[!-~]{1,128}")
QUEUE_NAME_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")

# RequestThrottled, ThrottlingException, KmsThrottled, OverLimit, RequestLimitExceeded and their like, old and new spelling.
THROTTLING = re.compile(r"throttl|overlimit|limitexceeded|toomanyrequests|slowdown", re.IGNORECASE)
# The same request would be refused again.
BAD_REQUEST = re.compile(r"InvalidParameter|InvalidAttribute|MissingParameter|Validation")
# A receipt handle that is no longer ours: AWS says the first for a FIFO queue, local brokers one of the others.
EXPIRED = re.compile(r"InvalidParameterValue|ReceiptHandleIsInvalid|MessageNotInflight")


class QueueError(Exception):
    """SQS could not be asked, or its answer was lost: one sentence with what to do. What was asked may have been done."""


class Refused(QueueError):
    """SQS answered, and did nothing."""


class Throttled(Refused):
    """SQS is asked too often, or more is in flight than it allows: ask again later and less often."""


class BadRequest(Refused):
    """SQS finds fault with the request itself, such as its attempt id: asked again, it is refused again."""


class QueueNotFound(Refused):
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

    @property
    def expired(self) -> bool:
        """Whether the receipt handle is stale: the message is visible again, was received again, or is gone."""
        return EXPIRED.search(self.code) is not None


@dataclass(frozen=True, slots=True)
class Received:
    """One message as handed over by the queue. Times are UTC; `receipt_handle` is good for this receive only.

    `dead_letter_source` is the name of the queue that SQS gave up delivering it from; empty unless this is a dead-letter queue.
    """

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
    dead_letter_source: str = ""

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
        raise _answered(doing, error) from None
    except BotoCoreError as error:
        raise QueueError(f"{doing}: {broker_name()}: {error}") from None
    except ValueError as error:
        raise QueueError(f"{doing}: {error}. Check AWS_ENDPOINT_URL_SQS, which is written like http://127.0.0.1:4566.") from None


def _answered(doing: str, error: ClientError) -> QueueError:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if "NonExistentQueue" in code or "QueueDoesNotExist" in code:
        return QueueNotFound(f"{doing}: the queue does not exist at {broker_name()}. Run `python manage.py create_queues`.")
    sentence = f"{doing}: {broker_name()} answered {code}: {message}"
    if status == 429 or THROTTLING.search(code):
        return Throttled(sentence)
    if status == 400 and BAD_REQUEST.search(code):
        return BadRequest(sentence)
    # A server's own fault says nothing about how far it came.
    return Refused(sentence) if 400 <= status < 500 else QueueError(sentence)


def client(attempts: int = 2, **seconds: float) -> SQSClient:
    """One SQS client per process, number of attempts and time-outs; clients are thread-safe, but must not cross a fork."""
    with _making_clients:  # boto3.client() itself is not thread-safe (boto3 guide, clients)
        return _client(attempts, **seconds)


def receiving_client(wait: int) -> SQSClient:
    """The client for receives of so long a poll. It asks once: who lost an answer asks again with the same attempt id, which boto3
    would not tell from a refusal that comes after it."""
    return client(attempts=1, connect_timeout=CALL_SECONDS["connect_timeout"], read_timeout=wait + ANSWER_SECONDS)


@functools.cache
def _client(attempts: int, **seconds: float) -> SQSClient:
    config = Config(
        # Named here, boto3 does not make its own name anew for every request, which costs a tenth of a call.
        user_agent="TradePortal",
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=64,
        **seconds,  # type: ignore[arg-type]
    )
    with sentences("Opening Amazon SQS"):
        return boto3.client("sqs", region_name=region(), config=config)


class Queue:
    """One FIFO queue, by name. `receiving` gives the client for receives of a long poll in seconds; None: all calls share one."""

    def __init__(self, name: str, sqs: SQSClient, url: str, receiving: Callable[[int], SQSClient] | None = None) -> None:
        self.name = name
        self.sqs = sqs
        self.url = url
        self.receiving = receiving or (lambda wait: sqs)

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

    def receive(self, limit: int = MAX_BATCH, wait: int = 0, attempt_id: str | None = None) -> list[Received]:
        """Up to `limit` (1..10) messages, waiting up to `wait` (0..20) seconds for the first. Raises QueueError.

        When an answer is lost, its messages stay invisible and their groups locked. Asking again with the same `attempt_id` and
        limit within five minutes brings the same messages (AWS ReceiveMessage, ReceiveRequestAttemptId). None is a fresh attempt.
        """
        with sentences(f"Receiving from {self.name}"):
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

    @staticmethod
    def _each(doing: str, runs: Iterable[Sequence[Received]], call: Callable[[Sequence[Received]], Any]) -> list[tuple[Received, Failed]]:
        failed: list[tuple[Received, Failed]] = []
        for ten in runs:
            with sentences(doing):
                answer = call(ten)
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


def open_queue(name: str) -> Queue:
    """The queue of that name, whose calls give up after seconds, receives after seconds more than they wait. Raises QueueError."""
    check_name(name)
    sqs = client(**CALL_SECONDS)
    with sentences(f"Opening the queue {name}"):
        return Queue(name, sqs, sqs.get_queue_url(QueueName=name)["QueueUrl"], receiving_client)


def batches(items: Sequence[T], size: int = MAX_BATCH) -> Iterator[Sequence[T]]:
    """The items in runs of up to `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


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
