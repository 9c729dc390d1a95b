"""The model's answer to boto3's SQS client: the same requests, the same answers, the same ClientError."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from tests.fifo import rules
from tests.fifo.rules import Refusal
from tests.fifo.store import Receipt, Store, Stored
from trades import sqs

if TYPE_CHECKING:
    from tests.fifo.model import FifoBroker

ACCOUNT = "000000000000"
REGION = "eu-west-1"
# boto3 puts this before the codes that SQS had as exceptions before its JSON protocol.
PREFIX = "AWS.SimpleQueueService."
PREFIXED = {
    "NonExistentQueue", "TooManyEntriesInBatchRequest", "EmptyBatchRequest", "BatchEntryIdsNotDistinct", "BatchRequestTooLong",
    "InvalidBatchEntryId", "MessageNotInflight", "PurgeQueueInProgress",
}  # fmt: skip

Request = Mapping[str, Any]
Answer = dict[str, Any]


class ModelClient:
    """The operations of boto3's SQS client that the portal and the contract use. Raises ClientError."""

    def __init__(self, broker: FifoBroker) -> None:
        self.broker = broker

    # Queues

    def create_queue(self, **request: Any) -> Answer:
        """A new queue, or the one of that name when its attributes are the same."""
        return self._call("", request, lambda: self._create(request["QueueName"], {**rules.DEFAULTS, **request.get("Attributes", {})}))

    def _create(self, name: str, attributes: dict[str, str]) -> Answer:
        rules.check_queue_name(name)
        if name not in self.broker.stores:
            self._check(attributes)
            self.broker.new_store(name, attributes)
        elif self.broker.stores[name].attributes != attributes:
            raise Refusal("QueueAlreadyExists", "A queue already exists with the same name and a different value for an attribute.")
        return {"QueueUrl": url_of(name)}

    def _check(self, attributes: Mapping[str, str]) -> None:
        rules.check_queue_attributes(attributes)
        target = rules.settings_of(attributes).dead_letter_arn
        if target and name_of(target) not in self.broker.stores:
            raise Refusal(
                "InvalidParameterValue",
                f"Value {attributes['RedrivePolicy']} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.",
            )

    def get_queue_url(self, **request: Any) -> Answer:
        """Where the queue of that name is."""
        return self._call("", request, lambda: {"QueueUrl": url_of(self._known(request["QueueName"]))})

    def delete_queue(self, **request: Any) -> Answer:
        """Forget the queue; its logs stay."""

        def drop() -> Answer:
            del self.broker.stores[self._known(name_of(request["QueueUrl"]))]
            return {}

        return self._call("", request, drop)

    def purge_queue(self, **request: Any) -> Answer:
        """Drop every message."""

        def purge() -> Answer:
            self._store(request).purge()
            return {}

        return self._call("", request, purge)

    def set_queue_attributes(self, **request: Any) -> Answer:
        """Change attributes, from now on."""

        def change() -> Answer:
            store = self._store(request)
            changed = {**store.attributes, **request["Attributes"]}
            self._check(changed)
            store.configure(changed)
            return {}

        return self._call("", request, change)

    def get_queue_attributes(self, **request: Any) -> Answer:
        """All attributes, whichever are asked for."""

        def read() -> Answer:
            store = self._store(request)
            return {"Attributes": {**store.attributes, "QueueArn": arn_of(name_of(request["QueueUrl"])), **store.count()}}

        return self._call("attributes", request, read)

    # Messages

    def send_message(self, **request: Any) -> Answer:
        """Send one message."""
        return self._call("send", request, lambda: self._send(request, request))

    def send_message_batch(self, **request: Any) -> Answer:
        """Send up to ten, each accepted or refused by itself, in the order given."""

        def send() -> Answer:
            rules.check_entry_ids(request["Entries"])
            rules.check_batch_size(request["Entries"])
            return self._each("send", request["Entries"], lambda entry: self._send(request, entry))

        return self._call("send", request, send)

    def _send(self, request: Request, entry: Request) -> Answer:
        given = (entry.get(key) for key in ("MessageGroupId", "MessageDeduplicationId", "MessageAttributes", "DelaySeconds"))
        receipt, stored = self._store(request).send(entry["MessageBody"], *given)
        if stored is not None:
            self.broker.note_accepted(name_of(request["QueueUrl"]), stored)
        else:
            self.broker.note_swallowed(name_of(request["QueueUrl"]), receipt.message_id, entry.get("MessageAttributes") or {})
        return _acknowledged(receipt)

    def receive_message(self, **request: Any) -> Answer:
        """Up to ten messages that may be delivered now; without any, an answer without Messages at once."""

        def receive() -> Answer:
            limit, wait, visibility = (request.get(key) for key in ("MaxNumberOfMessages", "WaitTimeSeconds", "VisibilityTimeout"))
            rules.check_between("MaxNumberOfMessages", 1 if limit is None else limit, 1, rules.MAX_BATCH)
            rules.check_between("WaitTimeSeconds", wait or 0, 0, 20)
            rules.check_between("VisibilityTimeout", visibility or 0, 0, rules.MAX_VISIBILITY)
            attempt_id = request.get("ReceiveRequestAttemptId")
            if attempt_id is not None:
                rules.check_id("ReceiveRequestAttemptId", attempt_id)
            taken = self._store(request).receive(limit or 1, visibility, attempt_id)
            self.broker.deliveries += [self.broker.handled(name_of(request["QueueUrl"]), message) for message in taken]
            return {"Messages": [_delivered(message) for message in taken]} if taken else {}

        return self._call("receive", request, receive)

    def delete_message(self, **request: Any) -> Answer:
        """Delete what was received."""
        return self._call("delete", request, lambda: self._delete(request, request))

    def delete_message_batch(self, **request: Any) -> Answer:
        """Delete up to ten, each by itself."""

        def delete() -> Answer:
            rules.check_entry_ids(request["Entries"])
            return self._each("delete", request["Entries"], lambda entry: self._delete(request, entry))

        return self._call("delete", request, delete)

    def _delete(self, request: Request, entry: Request) -> Answer:
        if deleted := self._store(request).delete(entry["ReceiptHandle"]):
            self.broker.deletions.append(self.broker.handled(name_of(request["QueueUrl"]), deleted))
        return {}

    def change_message_visibility(self, **request: Any) -> Answer:
        """Keep what was received invisible, or give it back."""
        return self._call(_changing([request]), request, lambda: self._change(request, request))

    def change_message_visibility_batch(self, **request: Any) -> Answer:
        """The same for up to ten, each by itself."""
        operation = _changing(request["Entries"])

        def change() -> Answer:
            rules.check_entry_ids(request["Entries"])
            return self._each(operation, request["Entries"], lambda entry: self._change(request, entry))

        return self._call(operation, request, change)

    def _change(self, request: Request, entry: Request) -> Answer:
        self._store(request).change_visibility(entry["ReceiptHandle"], entry["VisibilityTimeout"])
        return {}

    # Shared

    def _call(self, operation: str, request: Request, act: Callable[[], Answer]) -> Answer:
        queue = request.get("QueueName") or name_of(request["QueueUrl"])
        if operation:
            self.broker.faults.before(operation, queue, request)
        try:
            answer = act()
        except Refusal as refusal:
            raise _client_error(refusal, operation) from None
        if operation:
            self.broker.faults.after(operation, queue, {**request, "answer": answer})
        return answer

    def _each(self, operation: str, entries: Sequence[Request], act: Callable[[Request], Answer]) -> Answer:
        successful, failed = [], []
        for entry in entries:
            try:
                if fault := self.broker.faults.per_entry(operation, entry):
                    raise Refusal(fault.code, fault.message)
                successful.append({"Id": entry["Id"], **act(entry)})
            except Refusal as refusal:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": refusal.code, "Message": refusal.message})
        return {key: value for key, value in (("Successful", successful), ("Failed", failed)) if value}

    def _known(self, name: str) -> str:
        if name not in self.broker.stores:
            raise Refusal("NonExistentQueue", "The specified queue does not exist.")
        return name

    def _store(self, request: Request) -> Store:
        return self.broker.stores[self._known(name_of(request["QueueUrl"]))]


def url_of(name: str) -> str:
    """Where the queue is, for whoever asks for an address."""
    return f"https://sqs.{REGION}.model/{ACCOUNT}/{name}"


def arn_of(name: str) -> str:
    """The queue as policies name it."""
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"


def name_of(address: str) -> str:
    """The queue that a URL or an ARN leads to."""
    return address.rpartition("/")[2].rpartition(":")[2]


def _changing(entries: Sequence[Request]) -> str:
    return "extend" if any(entry["VisibilityTimeout"] for entry in entries) else "release"


def _acknowledged(receipt: Receipt) -> Answer:
    return {"MessageId": receipt.message_id, "MD5OfMessageBody": receipt.md5, "SequenceNumber": str(receipt.sequence)}


def _delivered(message: Stored) -> Answer:
    system = {
        "SenderId": ACCOUNT,
        "SentTimestamp": str(int(message.sent_at * 1000)),
        "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
        "ApproximateReceiveCount": str(message.receives + message.receives_elsewhere),
        "SequenceNumber": str(message.sequence),
        "MessageGroupId": message.group,
        "MessageDeduplicationId": message.deduplication_id,
    }
    if message.source_arn:
        system["DeadLetterQueueSourceArn"] = message.source_arn
    return {
        "MessageId": message.message_id,
        "ReceiptHandle": message.handle,
        "Body": message.body,
        "MD5OfBody": sqs.md5_of(message.body),
        "Attributes": system,
        "MessageAttributes": dict(message.attributes),
    }


def _client_error(refusal: Refusal, operation: str) -> ClientError:
    code = (PREFIX if refusal.code in PREFIXED else "") + refusal.code
    answer = {"Error": {"Code": code, "Message": refusal.message}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(cast(Any, answer), operation or "queue")
