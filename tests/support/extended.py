"""Messages whose text is in S3, as Amazon's Extended Clients for Java and Python send them: made here by hand, by bare boto3."""

from __future__ import annotations

import hashlib
import json
import uuid

from tests.support.broker import Bucket, FifoQueue
from tests.support.native import native

MARKER, OLD_MARKER = "ExtendedPayloadSize", "SQSLargePayloadSize"
CLASS, OLD_CLASS = "software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer"


LINE = "padding\n"


def by_java(bucket: str, key: str, name: str = CLASS) -> str:
    """The body that the Java client writes."""
    return f'["{name}",{{"s3BucketName":"{bucket}","s3Key":"{key}"}}]'


def by_python(bucket: str, key: str, name: str = CLASS) -> str:
    """The body that the Python client writes."""
    return json.dumps([name, {"s3BucketName": bucket, "s3Key": key}])


def our_key(content: bytes) -> str:
    """The key under which the portal stores a payload."""
    return f"trades/{hashlib.sha256(content).hexdigest()}.xml"


def send_pointer(queue: FifoQueue, body: str, size: int | str, *, group: str = "T-1", marker: str = MARKER, **attributes: str) -> str:
    """Send a message that stands for a payload; gives its message id."""
    others = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    number = {"DataType": "Number", "StringValue": str(size)}
    sent = queue.client.send_message(
        QueueUrl=queue.url,
        MessageBody=body,
        MessageGroupId=group,
        MessageDeduplicationId=uuid.uuid4().hex,
        MessageAttributes={**others, marker: number},  # type: ignore[dict-item]
    )
    return sent["MessageId"]


def send_large(queue: FifoQueue, bucket: Bucket, text: str, *, group: str = "T-1", key: str = "") -> str:
    """Store a text and send a message that stands for it; gives the body of the message."""
    content = text.encode()
    key = key or str(uuid.uuid4())
    bucket.put(key, content)
    body = by_java(bucket.name, key)
    send_pointer(queue, body, len(content), group=group)
    return body


def padded(text: str, size: int) -> str:
    """The native message with a comment that makes it so many bytes."""
    lines, rest = divmod(size - len(text.encode()) - len("<!---->\n"), len(LINE))
    return text.replace("<Header>", f"<!--{LINE * lines}{'x' * rest}-->\n<Header>", 1)


def large(trade_id: str = "T-1", event: str = "BOOK", version: int = 1, size: int = 1_500_000) -> str:
    """A valid native message of so many bytes."""
    return padded(native(trade_id, event, version), size)
