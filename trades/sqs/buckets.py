"""Payloads in S3, in the wire format of Amazon's Extended Clients: the message carries a pointer, the bucket the document.

Body and attributes are those of https://github.com/awslabs/amazon-sqs-java-extended-client-lib and
https://github.com/awslabs/amazon-sqs-python-extended-client-lib, of today and of before their attribute and class were renamed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from trades.sqs.clients import s3_client
from trades.sqs.errors import sentences

POINTER_CLASS = "software.amazon.payloadoffloading.PayloadS3Pointer"
POINTER_CLASSES = {POINTER_CLASS, "com.amazon.sqs.javamessaging.MessageS3Pointer"}
PAYLOAD_SIZE = "ExtendedPayloadSize"
# What says that a body is a pointer: the present name and the one that the Java client still writes unless told otherwise.
MARKERS = (PAYLOAD_SIZE, "SQSLargePayloadSize")
PIECE = 64 * 1024  # bytes read at a time: few enough to come within seconds on a slow line
MAX_BUCKET = 255  # characters, as older names may have (AWS, bucket naming rules)
MAX_KEY = 1024  # bytes (AWS, naming S3 objects)
_OUR_KEY = re.compile(r"trades/([0-9a-f]{64})\.xml")


class BadPointer(ValueError):
    """The message says that its payload is in S3, and not where: one sentence."""


class Delivered(Protocol):
    """What of a message says whether it stands for a payload."""

    @property
    def body(self) -> str:
        """As SQS delivered it."""

    @property
    def attributes(self) -> Mapping[str, str]:
        """Its message attributes, as text."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a payload is, and how many bytes it has according to its sender."""

    bucket: str
    key: str
    size: int

    @property
    def body(self) -> str:
        """The body of a message that carries this pointer."""
        return json.dumps([POINTER_CLASS, {"s3BucketName": self.bucket, "s3Key": self.key}], separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """What the key says of the content, "" unless it is one of ours."""
        match = _OUR_KEY.fullmatch(self.key)
        return match[1] if match else ""

    @property
    def place(self) -> str:
        """For people."""
        return f"s3://{self.bucket}/{self.key}"


def key_of(sha256: str) -> str:
    """The key under which we keep a payload: the same content always under the same key, so that a resend is the same message."""
    return f"trades/{sha256}.xml"


def is_pointer(message: Delivered) -> bool:
    """Whether a message stands for a payload in S3, by its marker attribute."""
    return any(marker in message.attributes for marker in MARKERS)


def pointer_of(message: Delivered) -> Pointer:
    """Where the payload of a message is. Raises BadPointer."""
    size = next((message.attributes[marker] for marker in MARKERS if marker in message.attributes), "")
    if not (size.isascii() and size.isdigit() and len(size) <= 12):
        raise BadPointer(f"The attribute that marks a payload in S3 must give its bytes as a whole number, and gives {size[:40]!r}.")
    found = place_in(message.body)
    if found is None or found[0] not in POINTER_CLASSES:
        shape = f'["{POINTER_CLASS}",{{"s3BucketName":"...","s3Key":"..."}}]'
        raise BadPointer(f"The message is marked as standing for a payload in S3, and its body is no pointer. Expected {shape}.")
    _, bucket, key = found
    return Pointer(bucket, key, int(size))


def place_in(body: str) -> tuple[str, str, str] | None:
    """Class, bucket and key that a body names, of whatever class; None where they can't be those of an object."""
    try:
        kind, where = json.loads(body)
        bucket, key = where["s3BucketName"], where["s3Key"]
        # PostgreSQL stores no NUL, and no page can show a surrogate.
        is_place = bucket.isprintable() and 0 < len(bucket) <= MAX_BUCKET and "\0" not in key and 0 < len(key.encode()) <= MAX_KEY
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return (kind, bucket, key) if is_place and isinstance(kind, str) else None


def put(pointer: Pointer, content: BinaryIO) -> None:
    """Store a payload, from a file that can be read again; S3 compares its SHA-256 where our key has it. Raises QueueError."""
    checksum = {"ChecksumSHA256": base64.b64encode(bytes.fromhex(pointer.sha256)).decode()} if pointer.sha256 else {}
    with sentences(f"Storing the payload {pointer.place}", "S3"):
        s3_client().put_object(
            Bucket=pointer.bucket,
            Key=pointer.key,
            Body=content,
            ContentLength=pointer.size,
            ContentType="application/xml",
            **checksum,  # type: ignore[arg-type]
        )


def read(pointer: Pointer) -> Generator[bytes, None, None]:
    """A payload, piece by piece, whatever its true length. Raises ObjectNotFound, and QueueError for all that may pass."""
    with sentences(f"Reading the payload {pointer.place}", "S3"):
        answer = s3_client().get_object(Bucket=pointer.bucket, Key=pointer.key)
        # As a context manager the body gives its raw stream, which has no pieces.
        with closing(answer["Body"]) as body:
            yield from body.iter_chunks(PIECE)
