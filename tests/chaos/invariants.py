"""What must be true after a run, whatever was done to the processes. Pure: judges evidence, touches nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from tests.chaos.evidence import Event, Evidence, Message, Publication

Row = TypeVar("Row", Publication, Message)
OPEN = {"QUARANTINED", "HELD"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be: a stable word for what, the trade (or file, or queue) and a sentence."""

    kind: str
    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.sentence}"


def violations(evidence: Evidence, *, settled: bool) -> list[Violation]:
    """Everything that is wrong. `settled` says that people have settled all that was quarantined, so that nothing may wait."""
    checks: list[Callable[[Evidence], Iterator[Violation]]] = [
        _handed_in, _sent, _accepted_in_order, _received_once, _recorded_once, _numbered, _in_order, _drained,
    ]  # fmt: skip
    checks.append(_nothing_waits if settled else _waits_for_good_reason)
    return [violation for check in checks for violation in check(evidence)]


def _handed_in(evidence: Evidence) -> Iterator[Violation]:
    """Every file is in the outbox once, those of a trade in their order, and what a process reported is true."""
    stored = Counter(publication.file for publication in evidence.publications)
    for file in evidence.files:
        if stored[file.name] != 1:
            reported = ", although its process reported success" if file.name in evidence.confirmed else ""
            yield Violation("not stored once", file.trade, f"file {file.name} is in the outbox {stored[file.name]} times{reported}")
    number = {file.name: file.number for file in evidence.files}
    for group, rows in _by_group(evidence.publications).items():
        for earlier, later in pairwise(rows):
            if number[earlier.file] >= number[later.file]:
                yield Violation("outbox out of order", group, f"file {later.file} was stored after {earlier.file}")
    sent = {str(row.publication_id): row.message_id for row in evidence.publications}
    for publication_id, message_id in evidence.announced.items():
        if sent.get(publication_id) != message_id:
            said = f"publication {publication_id} was reported as message {message_id}, and is {sent.get(publication_id)}"
            yield Violation("reported otherwise", publication_id, said)


def _sent(evidence: Evidence) -> Iterator[Violation]:
    """The outbox is empty."""
    for row in evidence.publications:
        if row.state != "SENT" or not row.message_id:
            yield Violation("not sent", row.group, f"publication {row.pk} is {row.state} after {row.attempts} attempts")


def _accepted_in_order(evidence: Evidence) -> Iterator[Violation]:
    """The queue accepted each group in the order of the outbox."""
    for group, rows in _by_group(evidence.publications).items():
        for earlier, later in pairwise(rows):
            if int(earlier.sequence or 0) >= int(later.sequence or 0):
                yield Violation("accepted out of order", group, f"publication {later.pk} was accepted before {earlier.pk}")


def _received_once(evidence: Evidence) -> Iterator[Violation]:
    """Each publication arrived as one message, as it was written, in the order of its group; and nothing else arrived."""
    arrived: dict[object, list[Message]] = defaultdict(list)
    for message in evidence.messages:
        arrived[message.publication_id].append(message)
    body = {file.name: file.body_sha256 for file in evidence.files}
    for row in evidence.publications:
        messages = arrived.pop(row.publication_id, [])
        if len(messages) != 1:
            yield Violation("not received once", row.group, f"publication {row.pk} was stored as {len(messages)} messages")
        elif messages[0].body_sha256 != body.get(row.file) or messages[0].group != row.group:
            yield Violation("altered", row.group, f"message {messages[0].pk} is not what publication {row.pk} sent")
    for messages in arrived.values():
        for message in messages:
            yield Violation("from nowhere", message.group, f"message {message.pk} ({message.outcome}) belongs to no publication")
    for group, messages in _by_group(evidence.messages).items():
        for earlier, later in pairwise(messages):
            if int(earlier.sequence) >= int(later.sequence):
                yield Violation("stored out of order", group, f"message {later.pk} was stored after message {earlier.pk}")


def _recorded_once(evidence: Evidence) -> Iterator[Violation]:
    """A recorded message is one event of its trade, any other is none."""
    events: dict[int, list[Event]] = defaultdict(list)
    for event in evidence.events:
        events[event.message].append(event)
    known = {message.pk: message for message in evidence.messages}
    for message in evidence.messages:
        wanted, found = int(message.outcome == "RECORDED"), len(events.get(message.pk, ()))
        if found != wanted:
            yield Violation("not recorded once", message.group, f"message {message.pk} is {message.outcome} and has {found} events")
        if message.outcome not in {"RECORDED", "DISCARDED", *OPEN}:
            yield Violation("unexpected outcome", message.group, f"message {message.pk} is {message.outcome}")
    for event in evidence.events:
        if event.message not in known or known[event.message].group != event.trade:
            yield Violation("wrong trade", event.trade, f"event {event.position} comes from message {event.message}, which is not its own")


def _numbered(evidence: Evidence) -> Iterator[Violation]:
    """Positions and places of each trade are 1..n without gap."""
    for trade, events in _by_trade(evidence.events).items():
        wanted = list(range(1, len(events) + 1))
        if [event.position for event in events] != wanted:
            yield Violation("gap", trade, f"the positions are {[event.position for event in events]}")
        if sorted(event.place for event in events) != wanted:
            yield Violation("gap", trade, f"the places are {sorted(event.place for event in events)}")


def _in_order(evidence: Evidence) -> Iterator[Violation]:
    """The events of each trade are in the order in which its files were handed in."""
    publication = {row.publication_id: row for row in evidence.publications}
    number = {file.name: file.number for file in evidence.files}
    of_message = {
        message.pk: number[publication[message.publication_id].file]
        for message in evidence.messages
        if message.publication_id in publication and publication[message.publication_id].file in number
    }
    for trade, events in _by_trade(evidence.events).items():
        for earlier, later in pairwise(events):
            if of_message.get(earlier.message, 0) >= of_message.get(later.message, 0):
                told = f"position {later.position} is file {of_message.get(later.message)} of the trade, after file "
                yield Violation("out of order", trade, told + str(of_message.get(earlier.message)))
        for event in events:
            if event.version != of_message.get(event.message):
                yield Violation("wrong content", trade, f"position {event.position} states version {event.version}")


def _waits_for_good_reason(evidence: Evidence) -> Iterator[Violation]:
    """Poison is quarantined, or held behind other poison; whatever follows it in its group is held; nothing else is."""
    poison = {file.body_sha256 for file in evidence.files if file.is_poison}
    holds = dict(evidence.holds)
    for group, messages in _by_group(evidence.messages).items():
        first: Message | None = None
        for message in messages:
            is_first = first is None and message.body_sha256 in poison
            if is_first:
                first = message
            wanted = "QUARANTINED" if is_first else "HELD" if first else "RECORDED"
            if message.outcome != wanted:
                yield Violation("overtaken" if first else "held up", group, f"message {message.pk} is {message.outcome}, not {wanted}")
        if holds.pop(group, None) != (first.pk if first else None):
            yield Violation("wrong hold", group, f"the hold of the group does not wait for {first.pk if first else 'nothing'}")
    for group in holds:
        yield Violation("wrong hold", group, "a group without messages is held")


def _nothing_waits(evidence: Evidence) -> Iterator[Violation]:
    """Everything is recorded or discarded, and only poison is discarded."""
    poison = {file.body_sha256 for file in evidence.files if file.is_poison}
    for message in evidence.messages:
        if message.outcome in OPEN:
            yield Violation("not let go", message.group, f"message {message.pk} is still {message.outcome}")
        if message.outcome == "DISCARDED" and message.body_sha256 not in poison:
            yield Violation("lost", message.group, f"message {message.pk} is discarded, and nobody discarded it")
    for group, _ in evidence.holds:
        yield Violation("not let go", group, "the hold of the group is still there")


def _drained(evidence: Evidence) -> Iterator[Violation]:
    """No queue has anything left, neither waiting nor in flight."""
    for queue, (waiting, in_flight) in evidence.depths.items():
        if waiting or in_flight:
            yield Violation("not drained", queue, f"{waiting} messages wait and {in_flight} are in flight")


def _by_group(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.pk):
        groups[row.group].append(row)
    return groups


def _by_trade(events: Iterable[Event]) -> dict[str, list[Event]]:
    trades: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.position):
        trades[event.trade].append(event)
    return trades
