"""Amazon SQS FIFO in process, on a virtual clock, exact where AWS is exact and at its worst where AWS leaves something open.

    clock = VirtualClock()
    broker = FifoBroker(clock)
    queue = broker.create("Trades.fifo", {"VisibilityTimeout": "120"})

`queue` is the portal's own `sqs.Queue` over `broker.client`, which answers as boto3's client does, so that the code under test
is the product's down to the request. Nothing reads real time. A long poll with nothing to deliver answers at once and moves no
clock: whoever drives the clock decides how long waiting takes.

Faults enter through `broker.faults` (see Faults); `accepted`, `swallowed`, `deliveries`, `deletions` and `moves` tell what truly happened.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from tests.fifo.client import ModelClient, arn_of, name_of
from tests.fifo.rules import Refusal
from tests.fifo.store import Store, Stored
from trades import sqs

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PUBLICATION_ID = "PublicationId"


class VirtualClock:
    """Seconds since 1970 that pass only when told to."""

    def __init__(self, start: datetime = START) -> None:
        self.now = start.timestamp()

    def utc(self) -> datetime:
        """The time as the portal has it."""
        return datetime.fromtimestamp(self.now, UTC)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self.now += seconds


@dataclass(frozen=True, slots=True)
class Accepted:
    """One message as a queue took it in; swallowed duplicates are none. `moved_from`: the queue it is a dead letter of."""

    group: str
    message_id: str
    sequence_number: str
    deduplication_id: str
    publication_id: str
    body: str
    at: float
    moved_from: str = ""


@dataclass(frozen=True, slots=True)
class Handled:
    """One delivery or deletion."""

    queue: str
    group: str
    message_id: str
    sequence_number: str
    receipt_handle: str
    receive_count: int
    at: float
    publication_id: str


@dataclass(frozen=True, slots=True)
class Swallowed:
    """One message that a queue took for a repetition of another: `message_id` is that of the first."""

    queue: str
    message_id: str
    publication_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Moved:
    """A message that went to, or came back from, the dead letters."""

    source: str
    target: str
    group: str
    message_id: str
    at: float


class Faults:
    """Where faults enter. This one lets everything pass; a subclass raises what boto3 or `sqs` would, or a crash.

    `operation` is send, receive, delete, release (visibility 0), extend or attributes; `queue` the name of the queue; `details` the
    request as boto3 takes it, for `after` with the answer under "answer".
    """

    def before(self, operation: str, queue: str, details: Mapping[str, Any]) -> None:
        """Called before anything took effect: raising loses the request."""

    def after(self, operation: str, queue: str, details: Mapping[str, Any]) -> None:
        """Called when everything took effect: raising loses the answer."""

    def per_entry(self, operation: str, entry: Mapping[str, Any]) -> sqs.Failed | None:
        """What becomes of one entry of a send, delete, release or extend: Failed, and nothing is done for it; None to go on.

        `entry` is as boto3 takes it; FifoBroker.of_handle finds the message of a ReceiptHandle.
        """
        return None


class FifoBroker:
    """The queues of one account.

    With `rng` a receive takes groups in random order and at times fewer messages than asked for; without it the groups that wait
    longest come first, and as many messages as there are. A message without PublicationId or deduplication id is sent by
    `client.send_message`, as somebody else's program would.
    """

    def __init__(self, clock: VirtualClock, rng: random.Random | None = None) -> None:
        self.clock = clock
        self.rng = rng
        self.faults = Faults()
        self.accepted: dict[str, list[Accepted]] = {}
        self.deliveries: list[Handled] = []
        self.deletions: list[Handled] = []
        self.swallowed: list[Swallowed] = []
        self.moves: list[Moved] = []
        self.stores: dict[str, Store] = {}
        self.client = ModelClient(self)
        self._queues = 0
        self._messages = 0

    def create(self, name: str, attributes: Mapping[str, str] | None = None) -> ModelQueue:
        """A new queue, or the one of that name when its attributes are the same. Raises sqs.QueueError."""
        with sqs.sentences(f"Creating the queue {name}"):
            self.client.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **(attributes or {})})
        return self.open(name)

    def open(self, name: str) -> ModelQueue:
        """As sqs.open_queue, and to be put in its place. Raises sqs.QueueNotFound."""
        with sqs.sentences(f"Opening the queue {name}"):
            return ModelQueue(name, self.client, self.client.get_queue_url(QueueName=name)["QueueUrl"], self.clock)

    def of_handle(self, handle: str) -> Stored | None:
        """The message that a receipt handle was given for, in whatever queue; None once it is gone."""
        for store in self.stores.values():
            try:
                return store.of_handle(handle)
            except Refusal:
                continue
        return None

    def redrive(self, dead_letters: str) -> int:
        """Send all that waits among the dead letters to where it came from, oldest first, as StartMessageMoveTask; gives how many.

        They arrive as new messages, at the end of their groups.
        """
        store = self.stores[dead_letters]
        waiting = [message for message in store.messages.values() if message.source_arn and not message.handle]
        for message in waiting:
            target = name_of(message.source_arn)
            store.remove(message)
            moved = self.stores[target].put(
                self._new_message_id(), message.group, message.deduplication_id, message.body, message.attributes
            )
            self.note_accepted(target, moved)
            self.moves.append(Moved(dead_letters, target, moved.group, moved.message_id, self.clock.now))
        return len(waiting)

    def new_store(self, name: str, attributes: dict[str, str]) -> Store:
        """An empty queue of that name."""
        self._queues += 1
        self.accepted[name] = []
        self.stores[name] = Store(
            number=self._queues,
            attributes=attributes,
            now=lambda: self.clock.now,
            new_message_id=self._new_message_id,
            give_up=lambda message: self._give_up(name, message),
            rng=self.rng,
        )
        return self.stores[name]

    def note_accepted(self, queue: str, message: Stored, moved_from: str = "") -> None:
        """Write down that the queue took the message in."""
        self.accepted[queue].append(
            Accepted(
                message.group, message.message_id, str(message.sequence), message.deduplication_id, publication_of(message), message.body,
                self.clock.now, moved_from,
            )
        )  # fmt: skip

    def note_swallowed(self, queue: str, message_id: str, attributes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down that the queue took a message for a repetition of this one."""
        self.swallowed.append(Swallowed(queue, message_id, publication_in(attributes), self.clock.now))

    def handled(self, queue: str, message: Stored) -> Handled:
        """What a delivery or a deletion of the message looks like in the log."""
        return Handled(
            queue, message.group, message.message_id, str(message.sequence), message.handle, message.receives, self.clock.now,
            publication_of(message),
        )  # fmt: skip

    def _new_message_id(self) -> str:
        self._messages += 1
        return str(uuid.UUID(int=(0x51F0 << 112) + self._messages))

    def _give_up(self, queue: str, message: Stored) -> None:
        """Move a message to the dead letters: its deduplication id becomes its message id, its time of arrival starts anew."""
        target = name_of(self.stores[queue].settings.dead_letter_arn)
        dead = self.stores[target].put(
            message.message_id, message.group, message.message_id, message.body, message.attributes,
            source_arn=arn_of(queue), receives_elsewhere=message.receives + message.receives_elsewhere,
        )  # fmt: skip
        self.note_accepted(target, dead, moved_from=queue)
        self.moves.append(Moved(queue, target, message.group, message.message_id, self.clock.now))


class ModelQueue(sqs.Queue):
    """The portal's queue over the model: only the time of receiving comes from the virtual clock."""

    def __init__(self, name: str, client: ModelClient, url: str, clock: VirtualClock) -> None:
        super().__init__(name, cast(Any, client), url)
        self.clock = clock

    def receive(self, limit: int = sqs.MAX_BATCH, wait: int = 0, attempt_id: str | None = None) -> list[sqs.Received]:
        """As sqs.Queue, at once even with `wait`."""
        now = self.clock.utc()
        return [replace(message, received_at=now) for message in super().receive(limit, wait, attempt_id)]


def publication_of(message: Stored) -> str:
    """The publication id that the portal gave the message, empty for a foreign one."""
    return publication_in(message.attributes)


def publication_in(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """The publication id among the attributes of a message as boto3 has them, "" without one."""
    return str(attributes.get(PUBLICATION_ID, {}).get("StringValue", ""))
