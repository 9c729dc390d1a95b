"""What Amazon SQS accepts: sizes, characters, ids, batches and the attributes of a FIFO queue.

Source, unless said otherwise: the service text of AWS as botocore carries it (sqs/2012-11-05), the same as the API reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 1_048_576
MAX_BATCH = 10
MAX_ATTRIBUTES = 10
MAX_VISIBILITY = 43_200
MAX_IN_FLIGHT = 120_000
DEDUPLICATION_SECONDS = ATTEMPT_SECONDS = 300
PURGE_SECONDS = 60

# The Char production of XML 1.0.
FORBIDDEN_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ID = re.compile(r"[!-~]{1,128}")
ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")
ATTRIBUTE_NAME = re.compile(r"(?!\.)(?!aws\.|amazon\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.IGNORECASE)
ATTRIBUTE_TYPE = re.compile(r"(String|Number|Binary)(\..+)?")

DEFAULTS = {
    "VisibilityTimeout": "30",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "MaximumMessageSize": str(MAX_BYTES),
    "ReceiveMessageWaitTimeSeconds": "0",
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
RANGES = {
    "VisibilityTimeout": (0, MAX_VISIBILITY),
    "MessageRetentionPeriod": (60, 1_209_600),
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1_024, MAX_BYTES),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
}
CHOICES = {
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
MAX_RECEIVE_COUNTS = range(1, 1_001)


class Refusal(Exception):
    """SQS says no: `code` and `message` as AWS gives them. Nothing was done."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Settings:
    """The attributes of a queue that its rules depend on; times in seconds, sizes in bytes. `max_receives` 0: never given up."""

    visibility: int
    retention: int
    delay: int
    largest: int
    by_content: bool
    by_group: bool
    dead_letter_arn: str
    max_receives: int


def settings_of(attributes: Mapping[str, str]) -> Settings:
    """The attributes as numbers and flags."""
    redrive = json.loads(attributes.get("RedrivePolicy") or "{}")
    return Settings(
        visibility=int(attributes["VisibilityTimeout"]),
        retention=int(attributes["MessageRetentionPeriod"]),
        delay=int(attributes["DelaySeconds"]),
        largest=int(attributes["MaximumMessageSize"]),
        by_content=attributes["ContentBasedDeduplication"] == "true",
        by_group=attributes["DeduplicationScope"] == "messageGroup",
        dead_letter_arn=redrive.get("deadLetterTargetArn", ""),
        max_receives=int(redrive.get("maxReceiveCount", 10)) if redrive else 0,
    )


def check_queue_name(name: str) -> None:
    """Raise Refusal unless this can be the name of a FIFO queue."""
    if not QUEUE_NAME.fullmatch(name):
        raise Refusal(
            "InvalidParameterValue",
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix "
            "and be 1 to 80 in length.",
        )


def check_queue_attributes(attributes: Mapping[str, str]) -> None:
    """Raise Refusal for an attribute that does not exist, or a value out of its range. Given are all attributes of the queue."""
    for name, value in attributes.items():
        if name not in DEFAULTS and name != "RedrivePolicy":
            raise Refusal("InvalidAttributeName", f"Unknown Attribute {name}.")
        low, high = RANGES.get(name, (0, 0))
        if name in RANGES and not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise Refusal("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        if name in CHOICES and value not in CHOICES[name]:
            raise Refusal("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    if attributes["FifoQueue"] != "true":
        raise Refusal("InvalidAttributeValue", "Invalid value for the parameter FifoQueue. This is a model of FIFO queues only.")
    if attributes["FifoThroughputLimit"] == "perMessageGroupId" and attributes["DeduplicationScope"] != "messageGroup":
        raise Refusal(
            "InvalidAttributeValue",
            "The value perMessageGroupId for the parameter FifoThroughputLimit is allowed only when DeduplicationScope is messageGroup.",
        )
    _check_redrive_policy(attributes.get("RedrivePolicy", ""))


def _check_redrive_policy(policy: str) -> None:
    if not policy:
        return
    try:
        redrive = json.loads(policy)
        known = bool(redrive["deadLetterTargetArn"]) and int(redrive.get("maxReceiveCount", 10)) in MAX_RECEIVE_COUNTS
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise Refusal("InvalidParameterValue", f"Value {policy} for parameter RedrivePolicy is invalid.")


def check_entry_ids(entries: Sequence[Mapping[str, Any]]) -> None:
    """Raise Refusal for a batch that as a whole can't be carried out."""
    if not entries:
        raise Refusal("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > MAX_BATCH:
        raise Refusal(
            "TooManyEntriesInBatchRequest", f"Maximum number of entries per request are {MAX_BATCH}. You have sent {len(entries)}."
        )
    for entry in entries:
        if not ENTRY_ID.fullmatch(entry["Id"]):
            raise Refusal(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
            )
    ids = [entry["Id"] for entry in entries]
    if len(set(ids)) != len(ids):
        raise Refusal("BatchEntryIdsNotDistinct", f"Id {max(ids, key=ids.count)} repeated.")


def check_batch_size(entries: Sequence[Mapping[str, Any]]) -> None:
    """Raise Refusal where all messages together are longer than one call may carry."""
    total = sum(size_of(entry["MessageBody"], entry.get("MessageAttributes", {})) for entry in entries)
    if total > MAX_BYTES:
        raise Refusal("BatchRequestTooLong", f"Batch requests cannot be longer than {MAX_BYTES} bytes. You have sent {total} bytes.")


def size_of(body: str, attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes as SQS counts them: the body in UTF-8 and of each attribute its name, type and value."""
    total = len(body.encode("utf-8", "surrogatepass"))
    for name, attribute in attributes.items():
        value = attribute.get("StringValue", "").encode("utf-8", "surrogatepass") or attribute.get("BinaryValue", b"")
        total += len(name) + len(attribute.get("DataType", "")) + len(value)
    return total


def check_message(body: str, attributes: Mapping[str, Mapping[str, Any]], largest: int) -> None:
    """Raise Refusal unless body and attributes may be stored in a queue whose largest message has so many bytes."""
    if not body:
        raise Refusal("MissingParameter", "The request must contain the parameter MessageBody.")
    if FORBIDDEN_CHARACTER.search(body):
        raise Refusal(
            "InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF ..."
        )
    _check_message_attributes(attributes)
    if size_of(body, attributes) > largest:
        raise Refusal("InvalidParameterValue", f"One or more parameters are invalid. Reason: Message must be shorter than {largest} bytes.")


def _check_message_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise Refusal("InvalidParameterValue", f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10].")
    for name, attribute in attributes.items():
        if not ATTRIBUTE_NAME.fullmatch(name):
            raise Refusal("InvalidParameterValue", f"The message attribute name '{name}' is invalid.")
        if not ATTRIBUTE_TYPE.fullmatch(attribute.get("DataType", "")):
            raise Refusal("InvalidParameterValue", f"The message attribute '{name}' has an invalid message attribute type.")
        if not (attribute.get("StringValue") or attribute.get("BinaryValue")):
            raise Refusal("InvalidParameterValue", f"The message attribute '{name}' must contain a non-empty message attribute value.")
        if FORBIDDEN_CHARACTER.search(attribute.get("StringValue", "")):
            raise Refusal("InvalidMessageContents", f"Invalid characters found in the message attribute '{name}'.")


def check_id(parameter: str, value: str) -> None:
    """Raise Refusal unless SQS takes this as a message group, deduplication or receive attempt id."""
    if not ID.fullmatch(value):
        raise Refusal(
            "InvalidParameterValue",
            f"Value {value} for parameter {parameter} is invalid. Reason: {parameter} can only include alphanumeric and punctuation "
            "characters. 1 to 128 in length.",
        )


def check_no_delay(seconds: int | None) -> None:
    """Raise Refusal for a message with a delay of its own, which a FIFO queue has only as a whole."""
    if seconds is not None:
        raise Refusal(
            "InvalidParameterValue",
            f"Value {seconds} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this "
            "queue type.",
        )


def check_between(parameter: str, value: int, low: int, high: int) -> None:
    """Raise Refusal unless the number lies in its range, ends included."""
    if not low <= value <= high:
        raise Refusal(
            "InvalidParameterValue",
            f"Value {value} for parameter {parameter} is invalid. Reason: Must be between {low} and {high}, if provided.",
        )
