"""The queues by name: where each is, how much it takes, whose it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings

from trades import messages, queues, sqs
from trades.routes.file import in_use
from trades.routes.table import Choice, Definition, Opened

if TYPE_CHECKING:
    from trades.messages.facts import ParsedMessage

KNOWN_SECONDS = 300.0  # what a queue said about itself is believed so long
FAILED_SECONDS = 60.0  # and so long a queue that could not be asked is not asked again
ASKING = {"connect_timeout": 1, "read_timeout": 2}


class Known(NamedTuple):
    """What is known of a queue's attributes, and until when (monotonic seconds)."""

    attributes: Mapping[str, str]
    until: float


_known: dict[tuple[str, str, str], Known] = {}


def choose(message: ParsedMessage | None, document: bytes | str | messages.LargeText) -> Choice | None:
    """Where a message goes, by what it was understood to be (None: not understood) and by its own document, which is read again only
    when the XPath of a route asks for it. None for a message about no trade that no route takes.

    Raises MessageRefused when the XPath of a route fails on it, BadQueuesFile.
    """
    return in_use().choose(message, Opened(document, settings.TRADES_MAX_DOCUMENT_BYTES), settings.TRADES_QUEUE)


def known_queues() -> list[str]:
    """The names of the queues that we consume or publish to, TRADES_QUEUE first. The dead-letter queue is none of them."""
    table = in_use()
    names = dict.fromkeys([settings.TRADES_QUEUE, *(route.queue for route in table.routes), *table.queues])
    return [name for name in names if name != settings.TRADES_DEAD_LETTER_QUEUE]


def own_queues() -> list[str]:
    """Those of them that we consume, TRADES_QUEUE first."""
    return [name for name in known_queues() if not is_partners(name)]


def content_deduplication(queue: str) -> bool:
    """Whether SQS is to tell repetitions by the content: messages for this queue are sent without a deduplication id."""
    return _definition(queue).by_content


def is_partners(queue: str) -> bool:
    """Whether the queue is a partner's: published to, never consumed by us."""
    return _definition(queue).partner


def open_queue(name: str) -> sqs.Queue:
    """The queue of that name, where the queues file says it is. Raises QueueError, NotFifo for one that says it is a standard queue."""
    queue = _open(name)
    if _definition(name).place != sqs.HERE:
        found = attributes_of(name)
        if found:
            queues.require_fifo(name, found)
    return queue


def limit_of(queue: str) -> int:
    """The bytes that a message of this queue may have, as SQS counts them: its MaximumMessageSize, at most 1 MiB; that too while the
    queue can't be asked."""
    stated = attributes_of(queue).get("MaximumMessageSize", "")
    return min(int(stated), sqs.MAX_MESSAGE_BYTES) if stated.isdecimal() else sqs.MAX_MESSAGE_BYTES


def attributes_of(queue: str) -> Mapping[str, str]:
    """What the queue says about itself, as it was some minutes ago at most; nothing when it could not be asked. Seldom slow: a queue
    that gave no answer is not asked again for a minute."""
    key = (settings.TRADES_QUEUES_FILE, sqs.broker_name(), queue)
    known = _known.get(key)
    if known and time.monotonic() < known.until:
        return known.attributes
    before = known.attributes if known else {}
    # Meanwhile others go by what was known, instead of waiting too.
    _known[key] = Known(before, time.monotonic() + FAILED_SECONDS)
    try:
        found = _open(queue, attempts=1, seconds=ASKING).attributes()
    except sqs.QueueError:
        return before
    _known[key] = Known(found, time.monotonic() + KNOWN_SECONDS)
    return found


def _definition(name: str) -> Definition:
    return in_use().queues.get(name) or Definition()


def _open(name: str, attempts: int = 2, seconds: Mapping[str, float] = sqs.CALL_SECONDS) -> sqs.Queue:
    definition = _definition(name)
    queue = sqs.open_queue(definition.queue or name, definition.place, attempts=attempts, seconds=seconds)
    queue.name = name
    return queue
