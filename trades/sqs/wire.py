"""A message on its way: what is sent, what SQS answers, what is received."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from trades.sqs.limits import md5_of

# A receipt handle that is no longer ours: AWS says the first for a FIFO queue, local brokers one of the others.
EXPIRED = re.compile(r"InvalidParameterValue|ReceiptHandleIsInvalid|MessageNotInflight")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send; `attributes` become String message attributes, `numbers` Number ones.

    Without a deduplication id ("") SQS takes the SHA-256 of the body for one, where the queue has content-based deduplication.
    """

    body: str
    group_id: str
    deduplication_id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes as SQS counts them: the body in UTF-8 plus each attribute's name, type and value (AWS message quotas)."""
        texts = sum(len(name) + len("String") + len(value.encode()) for name, value in self.attributes.items())
        numbers = sum(len(name) + len("Number") + len(str(value)) for name, value in self.numbers.items())
        return len(self.body.encode()) + texts + numbers


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
