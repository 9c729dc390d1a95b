"""What SQS and S3 allow, and the ids made to fit.

Limits are AWS's own: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from trades.sqs.errors import BadQueueName

T = TypeVar("T")

MAX_BATCH = 10
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES = 1_048_576
MAX_QUEUE_NAME = 80
MAX_WAIT_SECONDS = 20
MAX_VISIBILITY_SECONDS = 43_200

# Letters, digits and punctuation of ASCII, no space (AWS SendMessage, MessageGroupId).
ID_PATTERN = re.compile(r"[!-~]{1,128}")
QUEUE_NAME_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")


def md5_of(body: str) -> str:
    """Hex MD5 of the text in UTF-8, as SQS gives it in MD5OfMessageBody."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def group_id_for(trade_id: str) -> str:
    """The message group of a trade: its id where SQS allows every character of it, else a stable hash of it."""
    if ID_PATTERN.fullmatch(trade_id):
        return trade_id
    return "sha256-" + hashlib.sha256(trade_id.encode()).hexdigest()


def check_name(name: str) -> None:
    """Raise BadQueueName for the name of a standard queue, or one that SQS would not accept."""
    if not name.endswith(".fifo"):
        raise BadQueueName(
            f'"{name}" is the name of a standard queue, which keeps no order and may deliver a message twice: the history of a trade '
            f'would be wrong. The type of a queue can\'t be changed; create a FIFO queue, whose name ends in ".fifo", and name that.'
        )
    if not QUEUE_NAME_PATTERN.fullmatch(name):
        raise BadQueueName(
            f'The queue name "{name}" cannot be a FIFO queue: it needs up to {MAX_QUEUE_NAME} letters, digits, - and _, ending in ".fifo".'
        )


def batches(items: Sequence[T], size: int = MAX_BATCH) -> Iterator[Sequence[T]]:
    """The items in runs of up to `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
