"""What one FIFO queue holds and whom it gives it to. No part of a call walks over all messages.

Where AWS leaves something open, the answer that is worst for the portal is taken; such places say so.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice, takewhile
from typing import Any

from tests.fifo import rules
from tests.fifo.rules import Refusal


class State(Enum):
    """Where a message stands, as the three approximate counts of a queue have it."""

    AVAILABLE = "ApproximateNumberOfMessages"
    IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
    DELAYED = "ApproximateNumberOfMessagesDelayed"


@dataclass(slots=True)
class Stored:
    """One message in a queue. Times are seconds of the clock; `handle` is that of the last receive, the only one that works."""

    message_id: str
    sequence: int
    group: str
    deduplication_id: str
    body: str
    attributes: Mapping[str, Mapping[str, Any]]
    sent_at: float
    visible_from: float
    state: State = State.AVAILABLE
    receives: int = 0
    receives_elsewhere: int = 0
    received_at: float = 0.0
    first_received_at: float = 0.0
    handle: str = ""
    visibility_changed: bool = False
    source_arn: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a sender is told; `fresh` is False where the message was swallowed as a duplicate."""

    message_id: str
    sequence: int
    md5: str
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Attempt:
    """One receive, for whoever asks with its attempt id again."""

    at: float
    messages: list[tuple[Stored, str]]


@dataclass
class Store:
    """The messages of one queue. `now` tells the time, `new_message_id` names messages, `give_up` takes what goes to the dead letters.

    `rng`: takes groups in random order, as SQS promises none between groups, and at times fewer messages than asked for, as SQS may.
    Without it the group that waits longest is first.
    """

    number: int
    attributes: dict[str, str]
    now: Callable[[], float]
    new_message_id: Callable[[], str]
    give_up: Callable[[Stored], None]
    rng: random.Random | None = None
    in_flight_limit: int = rules.MAX_IN_FLIGHT
    counts: Counter[State] = field(default_factory=Counter)
    messages: OrderedDict[int, Stored] = field(default_factory=OrderedDict)
    _groups: dict[str, OrderedDict[int, Stored]] = field(default_factory=dict)
    _ready: dict[str, None] = field(default_factory=dict)
    _waking: list[tuple[float, int]] = field(default_factory=list)
    _history: dict[tuple[str | None, str], tuple[float, Receipt]] = field(default_factory=dict)
    _history_order: deque[tuple[float, tuple[str | None, str]]] = field(default_factory=deque)
    _attempts: OrderedDict[str, Attempt] = field(default_factory=OrderedDict)
    _sequence: int = 3
    _accepted: int = 0
    _receives: int = 0
    _purged_at: float = -rules.PURGE_SECONDS

    def __post_init__(self) -> None:
        self.configure(self.attributes)

    def configure(self, attributes: dict[str, str]) -> None:
        """Follow these attributes from now on."""
        self.attributes = attributes
        self.settings = rules.settings_of(attributes)

    # Sending

    def send(
        self,
        body: str,
        group: str | None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        delay: int | None = None,
    ) -> tuple[Receipt, Stored | None]:
        """What the sender is told, and the message unless it was swallowed as a duplicate. Raises Refusal."""
        attributes = attributes or {}
        rules.check_message(body, attributes, self.settings.largest)
        rules.check_no_delay(delay)
        if group is None:
            raise Refusal("MissingParameter", "The request must contain the parameter MessageGroupId.")
        rules.check_id("MessageGroupId", group)
        if deduplication_id is None and self.settings.by_content:
            deduplication_id = hashlib.sha256(body.encode()).hexdigest()
        if deduplication_id is None:
            raise Refusal(
                "InvalidParameterValue",
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            )
        rules.check_id("MessageDeduplicationId", deduplication_id)
        md5 = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
        if earlier := self._earlier(group, deduplication_id):
            # Open: whose MD5 is told when the content differs. That of the request, so that the swallowing goes unnoticed.
            # Open: whether a resend starts the five minutes anew. It does not, so that a later resend enters as a duplicate.
            return Receipt(earlier.message_id, earlier.sequence, md5, fresh=False), None
        stored = self.put(self.new_message_id(), group, deduplication_id, body, attributes)
        receipt = Receipt(stored.message_id, stored.sequence, md5)
        self._remember(group, deduplication_id, receipt)
        return receipt, stored

    def put(
        self, message_id: str, group: str, deduplication_id: str, body: str, attributes: Mapping[str, Mapping[str, Any]], **more: Any
    ) -> Stored:
        """Store a message at the end of its group, whatever was sent before."""
        self._wake()
        now, delay = self.now(), self.settings.delay
        state = State.DELAYED if delay else State.AVAILABLE
        stored = Stored(message_id, self._next_sequence(), group, deduplication_id, body, attributes, now, now + delay, state, **more)
        self.messages[stored.sequence] = stored
        self._groups.setdefault(group, OrderedDict())[stored.sequence] = stored
        self.counts[state] += 1
        if delay:
            heapq.heappush(self._waking, (stored.visible_from, stored.sequence))
        self._look_at(group)
        return stored

    def _next_sequence(self) -> int:
        # 128 bits, rising, with gaps. Doubling at first makes the decimal text longer every few messages, so that the order
        # of the text is not the order of the numbers.
        self._accepted += 1
        self._sequence += (self._sequence if self._accepted < 120 else 0) + 1 + self._accepted % 7
        return self._sequence

    def _earlier(self, group: str, deduplication_id: str) -> Receipt | None:
        now = self.now()
        while self._history_order and now - self._history_order[0][0] >= rules.DEDUPLICATION_SECONDS:
            at, key = self._history_order.popleft()
            if key in self._history and self._history[key][0] == at:
                del self._history[key]
        found = self._history.get((group if self.settings.by_group else None, deduplication_id))
        return found[1] if found else None

    def _remember(self, group: str, deduplication_id: str, receipt: Receipt) -> None:
        now = self.now()
        for key in ((None, deduplication_id), (group, deduplication_id)):
            self._history[key] = now, receipt
            self._history_order.append((now, key))

    # Receiving

    def receive(self, limit: int, visibility: int | None, attempt_id: str | None) -> list[Stored]:
        """The messages given out, in the order of the answer: groups one after the other, each in its own order."""
        self._wake()
        seconds = self.settings.visibility if visibility is None else visibility
        if again := self._again(attempt_id, seconds):
            return again
        if self.rng is not None:
            limit = self.rng.choice((limit, limit, self.rng.randint(1, limit)))
        room = min(limit, self.in_flight_limit - self.counts[State.IN_FLIGHT])
        taken: list[Stored] = []
        for group in self._groups_to_try(limit):
            taken += self._deliverable(group, room - len(taken))
        for message in taken:
            self._deliver(message, seconds)
        if attempt_id and taken:
            self._attempts[attempt_id] = Attempt(self.now(), [(message, message.handle) for message in taken])
            self._attempts.move_to_end(attempt_id)
        return taken

    def _groups_to_try(self, most: int) -> list[str]:
        if self.rng is None:
            return list(islice(self._ready, most))
        return self.rng.sample(list(self._ready), min(most, len(self._ready)))

    def _deliverable(self, group: str, room: int) -> list[Stored]:
        """From the head of the group up to the first that is invisible: a message is deliverable if no earlier one is invisible
        (sqs-fifo.md, section 4: spring-cloud-aws #444, localstack #12457)."""
        while True:
            members = self._groups.get(group, OrderedDict()).values()
            run = list(takewhile(lambda message: message.state is State.AVAILABLE, islice(members, max(room, 0))))
            spent = [message for message in run if self.settings.max_receives and message.receives >= self.settings.max_receives]
            if not spent:
                return run
            # Open: whether the rest of the group waits for the next call. It goes on at once.
            for message in spent:
                self.remove(message)
                self.give_up(message)

    def _deliver(self, message: Stored, seconds: int) -> None:
        self._receives += 1
        message.receives += 1
        message.received_at = self.now()
        message.first_received_at = message.first_received_at or message.received_at
        message.visibility_changed = False
        handle = f"{self.number}:{message.sequence}:{self._receives}"
        message.handle = base64.b64encode(handle.encode()).decode()
        self._hide(message, seconds)

    def _again(self, attempt_id: str | None, seconds: int) -> list[Stored]:
        now = self.now()
        while self._attempts and now - next(iter(self._attempts.values())).at >= rules.ATTEMPT_SECONDS:
            self._attempts.popitem(last=False)
        attempt = self._attempts.get(attempt_id or "")
        # Open: what follows when one was deleted, changed or given out again. An ordinary receive, which brings other messages.
        if attempt is None or not all(self._untouched(message, handle) for message, handle in attempt.messages):
            return []
        for message, _ in attempt.messages:
            message.receives += 1  # Open as well. Counting brings the message nearer to the dead letters.
            self._hide(message, seconds)
        return [message for message, _ in attempt.messages]

    def _untouched(self, message: Stored, handle: str) -> bool:
        held = message.sequence in self.messages and message.state is State.IN_FLIGHT
        return held and message.handle == handle and not message.visibility_changed

    # What was received

    def delete(self, handle: str) -> Stored | None:
        """The message deleted just now, None if it was gone already. Raises Refusal: a FIFO queue refuses an expired handle."""
        message = self.of_handle(handle)
        if message is None:
            return None
        self._check_current(message, handle)
        if message.state is not State.IN_FLIGHT:
            raise _expired(handle)
        self.remove(message)
        return message

    def change_visibility(self, handle: str, seconds: int) -> Stored:
        """Make the message invisible for so many seconds from now, 0: visible at once. Raises Refusal."""
        rules.check_between("VisibilityTimeout", seconds, 0, rules.MAX_VISIBILITY)
        message = self.of_handle(handle)
        if message is None:
            raise _invalid(handle, "Message does not exist or is not available for visibility timeout change.")
        self._check_current(message, handle)
        if message.state is not State.IN_FLIGHT:
            raise Refusal("MessageNotInflight", "The specified message isn't in flight.")
        # From the receive on and not from now; the whole 12 hours are refused even right after it (SQS visibility timeout guide).
        if self.now() - message.received_at + seconds >= rules.MAX_VISIBILITY:
            raise Refusal(
                "InvalidParameterValue",
                f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond "
                f"the limit [{rules.MAX_VISIBILITY} seconds].",
            )
        message.visibility_changed = True
        self._hide(message, seconds)
        return message

    def of_handle(self, handle: str) -> Stored | None:
        """The message that the handle was given for, None once it is gone. Raises Refusal for a handle of no receive of this queue."""
        self._wake()
        try:
            number, sequence, _ = (int(part) for part in base64.b64decode(handle, validate=True).decode().split(":"))
        except ValueError:
            number = sequence = -1
        if number != self.number:
            raise Refusal("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')
        return self.messages.get(sequence)

    def _check_current(self, message: Stored, handle: str) -> None:
        # The API reference has an old handle succeed without deleting; for FIFO the visibility timeout guide has it fail.
        if message.handle != handle:
            raise _expired(handle)

    # The whole queue

    def count(self) -> dict[str, str]:
        """The approximate counts as the attributes of a queue give them, here exact."""
        self._wake()
        return {state.value: str(self.counts[state]) for state in State}

    def purge(self) -> None:
        """Drop all messages, those in flight too. Raises Refusal within 60 seconds of the last time."""
        if self.now() - self._purged_at < rules.PURGE_SECONDS:
            raise Refusal("PurgeQueueInProgress", "Only one PurgeQueue operation is allowed every 60 seconds.")
        self._purged_at = self.now()
        for message in list(self.messages.values()):
            self.remove(message)

    def remove(self, message: Stored) -> None:
        """Take a message out, whatever its state; its group goes on with the next."""
        del self.messages[message.sequence]
        members = self._groups[message.group]
        del members[message.sequence]
        if not members:
            del self._groups[message.group]
        self.counts[message.state] -= 1
        self._look_at(message.group)

    def _hide(self, message: Stored, seconds: int) -> None:
        self.counts[message.state] -= 1
        message.visible_from = self.now() + seconds
        message.state = State.IN_FLIGHT if seconds else State.AVAILABLE
        self.counts[message.state] += 1
        if seconds:
            heapq.heappush(self._waking, (message.visible_from, message.sequence))
        self._look_at(message.group)

    def _wake(self) -> None:
        """Bring the state of the queue up to the time of the clock."""
        now = self.now()
        while self._waking and self._waking[0][0] <= now:
            message = self.messages.get(heapq.heappop(self._waking)[1])
            if message and message.state is not State.AVAILABLE and message.visible_from <= now:
                self.counts[message.state] -= 1
                message.state = State.AVAILABLE
                self.counts[message.state] += 1
                self._look_at(message.group)
        while self.messages and next(iter(self.messages.values())).sent_at + self.settings.retention <= now:
            self.remove(next(iter(self.messages.values())))

    def _look_at(self, group: str) -> None:
        head = next(iter(self._groups.get(group, OrderedDict()).values()), None)
        if head is not None and head.state is State.AVAILABLE:
            self._ready.setdefault(group)
        else:
            self._ready.pop(group, None)


def _expired(handle: str) -> Refusal:
    return _invalid(handle, "The receipt handle has expired.")


def _invalid(handle: str, reason: str) -> Refusal:
    return Refusal("InvalidParameterValue", f"Value {handle} for parameter ReceiptHandle is invalid. Reason: {reason}")
