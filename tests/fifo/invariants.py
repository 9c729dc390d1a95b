"""What must be true whatever broke: each a sentence when it is not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from tests.fifo.database import rows
from tests.fifo.model import Accepted, FifoBroker, Handled
from tests.fifo.scheduler import Actor
from trades.asof import Known, as_known_at
from trades.lifecycle import kinds_in, marks_of, reached_at
from trades.models import Trade

SETTLED_BY_ITSELF = {"RECORDED", "DUPLICATE", "REFERENCE"}
WAITING = {"QUARANTINED", "HELD"}
MOST_DELIVERIES_IN_CALM = 3
# Of one receiver in at most 90 seconds: pauses begin at a quarter of a second or more, and double up to 15 or more.
MOST_TRIES_IN_OUTAGE = 14
Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One stored message, as far as the invariants look at it."""

    pk: int
    message_id: str
    group: str
    outcome: str
    corrects: int | None
    is_settled: bool


@dataclass
class Watch:
    """Compares what the queue accepted with what is committed, while the run goes on."""

    broker: FifoBroker
    queue: str
    connection: BaseDatabaseWrapper
    hold: bool
    violations: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    stored: set[Identity] = field(default_factory=set)
    undone: set[int] = field(default_factory=set)
    handed: dict[str, int] = field(default_factory=dict)
    given_up: set[Identity] = field(default_factory=set)
    first: dict[Identity, int] = field(default_factory=dict)
    of_message: dict[str, Identity] = field(default_factory=dict)
    by_group: dict[str, list[Identity]] = field(default_factory=dict)
    tries: Counter[tuple[str, int, str, float]] = field(default_factory=Counter)
    outages: dict[str, float] = field(default_factory=lambda: {"queue": 0.0, "database": 0.0})
    calm_since: int | None = None
    _accepted: int = 0

    def violate(self, sentence: str) -> None:
        """Note a violation; the run ends with this step."""
        if sentence not in self.violations:
            self.violations.append(sentence)

    # What was accepted

    def update(self) -> None:
        """Take in what the queue accepted since: the first acceptance of each publication, and of each foreign message, counts."""
        accepted = self.broker.accepted[self.queue]
        for index in range(self._accepted, len(accepted)):
            message = accepted[index]
            # Other content under a publication id is for a person, once however often it is sent.
            identity = (message.publication_id, message.body) if message.publication_id else ("", message.message_id)
            self.of_message[message.message_id] = identity
            if identity not in self.first:
                self.first[identity] = index
                self.by_group.setdefault(message.group, []).append(identity)
        self._accepted = len(accepted)
        self.given_up = {self.of_message[moved.message_id] for moved in self.broker.moves if moved.source == self.queue}

    def sent(self, queue: str) -> None:
        """After a send: nothing of a group went past an unsent publication of it."""
        before = self._accepted
        self.update()
        fresh = [message for message in self.broker.accepted[queue][before:] if self.first[self.of_message[message.message_id]] >= before]
        for message in fresh:
            if message.publication_id:
                self._check_predecessors(message)

    def handed_in(self) -> None:
        """After a commit of somebody who hands in: in which order publications became visible to senders."""
        number = len(self.handed) + 1
        for (publication_id,) in rows(self.connection, "SELECT publication_id FROM trades_publication ORDER BY id"):
            self.handed.setdefault(_uuid_text(publication_id), number)

    def _check_predecessors(self, message: Accepted) -> None:
        earlier = rows(
            self.connection,
            "SELECT p.publication_id, p.body FROM trades_publication p JOIN trades_publication me ON me.group_id = p.group_id "
            "AND me.queue = p.queue AND p.id < me.id WHERE me.publication_id = %s AND me.body = %s ORDER BY p.id",
            *(self._uuid(message.publication_id), message.body),
        )
        for publication_id, body in earlier:
            text = _uuid_text(publication_id)
            # Of two people who hand in at once, one may have the smaller key and be stored later: nobody could have sent it before.
            is_before = self.handed.get(text, 0) <= self.handed.get(message.publication_id, 0)
            if is_before and (text, body) not in self.first:
                self.violate(
                    f"publication {message.publication_id} of group {message.group} was accepted before publication "
                    f"{_uuid_text(publication_id)}, which stands before it in the outbox and has not been accepted"
                )

    def _uuid(self, text: str) -> str:
        return text.replace("-", "") if self.connection.vendor == "sqlite" else text

    # What is committed

    def committed(self) -> None:
        """After a commit: nothing is recorded past a message of its group that is not stored, or that waits."""
        self.update()
        self._read()
        outcomes: dict[Identity, Row] = {}
        for row in self.rows:
            if row.corrects is None:
                self._check_row(row, outcomes)
        self.stored = set(outcomes)
        for group, identities in self.by_group.items():
            self._check_group(group, identities, outcomes)

    def _read(self) -> None:
        found = rows(
            self.connection,
            "SELECT id, message_id, group_id, outcome, corrects_id, settled_at IS NOT NULL FROM trades_message ORDER BY id",
        )
        self.rows = [Row(*values) for values in found]
        undone = rows(self.connection, "SELECT message_id FROM trades_auditentry WHERE action = 'undo discard'")
        self.undone = {pk for (pk,) in undone}

    def _check_row(self, row: Row, outcomes: dict[Identity, Row]) -> None:
        identity = self.of_message.get(row.message_id)
        if identity is None:
            self.violate(f"message {row.message_id} is stored, and the queue has never accepted it")
        elif identity in outcomes:
            self.violate(f"{self.name_of(identity)} is stored twice, as {outcomes[identity].message_id} and as {row.message_id}")
        else:
            outcomes[identity] = row

    def _check_group(self, group: str, identities: Sequence[Identity], outcomes: dict[Identity, Row]) -> None:
        missing: Identity | None = None
        waiting: Identity | None = None
        for identity in identities:
            row = outcomes.get(identity)
            if identity in self.given_up:
                # The group went on without it; what a person makes of it is judged by its events.
                continue
            if row is None:
                missing = missing or identity
                continue
            if missing:
                self.violate(f"in group {group}, {self.name_of(identity)} is stored and {self.name_of(missing)} before it is not")
            if waiting and self.hold and row.outcome in SETTLED_BY_ITSELF and row.pk not in self.undone:
                self.violate(
                    f"in group {group}, {self.name_of(identity)} is {row.outcome.lower()} past {self.name_of(waiting)}, which waits"
                )
            if row.outcome in WAITING and row.pk not in self.undone:
                waiting = waiting or identity

    def name_of(self, identity: Identity) -> str:
        """The message in words: what the queue calls it."""
        accepted = self.broker.accepted[self.queue][self.first[identity]]
        number = f"number {self.first[identity] + 1} accepted"
        return f"publication {identity[0]} ({number})" if identity[0] else f"message {accepted.message_id} ({number})"

    # What happens at the queue

    def deleted(self, message: Handled) -> None:
        """After a deletion: it was committed before."""
        self.update()
        identity = self.of_message[message.message_id]
        if identity not in self.stored:
            self.committed()
        if identity not in self.stored:
            self.violate(f"{self.name_of(identity)} was deleted from the queue before it was committed")

    def tried(self, actor: Actor, what: str) -> None:
        """Before a receive while the queue is away, or after one that brought messages while the database is: pauses must grow."""
        key = (actor.name, actor.life, what, self.outages[what])
        self.tries[key] += 1
        if self.tries[key] > MOST_TRIES_IN_OUTAGE:
            self.violate(f"{actor.name} received {self.tries[key]} times while the {what} was away")

    def calm(self) -> None:
        """From now on nothing breaks any more."""
        self.calm_since = len(self.broker.deliveries)


# At the end


def check_all(watch: Watch) -> Iterator[str]:
    """A sentence for everything that is not as it must be at the end of a run."""
    watch.committed()
    yield from every_message_is_accounted_for(watch)
    yield from the_outbox_is_sent(watch)
    yield from waiting_is_visible(watch)
    yield from events_are_in_queue_order(watch)
    yield from trades_are_as_told_anew()
    yield from the_queue_is_not_asked_again_and_again(watch)


def every_message_is_accounted_for(watch: Watch) -> Iterator[str]:
    """Each accepted publication, and each foreign message, has one row; one that is recorded has events, a copy its original."""
    events = Counter(pk for (pk,) in rows(watch.connection, "SELECT message_id FROM trades_event"))
    by_identity: defaultdict[Identity, list[Row]] = defaultdict(list)
    for row in watch.rows:
        if row.message_id in watch.of_message:
            by_identity[watch.of_message[row.message_id]].append(row)
        if row.outcome == "RECORDED" and not events[row.pk]:
            yield f"message {row.message_id} is recorded and has no event"
        if row.outcome != "RECORDED" and events[row.pk]:
            yield f"message {row.message_id} is {row.outcome.lower()} and has events"
    for identity in watch.first:
        if len(by_identity[identity]) != 1:
            yield f"{watch.name_of(identity)} is stored {len(by_identity[identity])} times"


def the_outbox_is_sent(watch: Watch) -> Iterator[str]:
    """Every publication that was stored is sent, as the message that SQS says it is."""
    found = rows(watch.connection, "SELECT publication_id, body, state, message_id, queue FROM trades_publication ORDER BY id")
    for publication_id, body, state, message_id, _ in found:
        text = _uuid_text(publication_id)
        if state != "SENT":
            yield f"publication {text} is still {state.lower()}"
        elif watch.of_message.get(message_id) != (text, body):
            yield f"publication {text} is noted as sent as message {message_id}, which is another"


def waiting_is_visible(watch: Watch) -> Iterator[str]:
    """What waits, waits behind a message in quarantine that its group is held for."""
    holds = dict(rows(watch.connection, "SELECT group_id, message_id FROM trades_hold"))
    by_pk = {row.pk: row for row in watch.rows}
    for group, pk in holds.items():
        if by_pk[pk].outcome != "QUARANTINED":
            yield f"group {group} is held for message {by_pk[pk].message_id}, which is {by_pk[pk].outcome.lower()}"
    for row in watch.rows:
        if row.outcome in WAITING and watch.hold and row.group not in holds:
            yield f"message {row.message_id} is {row.outcome.lower()} and nothing holds its group {row.group}"
        if row.outcome == "HELD" and row.pk < holds.get(row.group, 0):
            yield f"message {row.message_id} is held behind a later one of its group"


def events_are_in_queue_order(watch: Watch) -> Iterator[str]:
    """The events of a trade from one group stand in the order of acceptance; what a person let in later is marked as overtaken."""
    by_pk = {row.pk: row for row in watch.rows}
    found = rows(
        watch.connection,
        "SELECT e.trade_id, m.group_id, e.position, e.message_id, e.flags FROM trades_event e JOIN trades_message m ON m.id = e.message_id "
        "ORDER BY e.trade_id, m.group_id, e.position",
    )
    # The latest so far of each trade and group: of all its events, and of those that SQS did not give up.
    newest: dict[tuple[int, str], int] = {}
    sound: dict[tuple[int, str], int] = {}
    for trade, group, position, pk, flags in found:
        origin, key = by_pk[by_pk[pk].corrects or pk], (trade, group)
        identity = watch.of_message[origin.message_id]
        index, is_dead_letter = watch.first[identity], identity in watch.given_up
        is_overtaken = index < sound.get(key, -1)
        may_be = is_dead_letter or origin.pk in watch.undone or (not watch.hold and origin.is_settled)
        where = f"event {position} of trade {trade}, of message {origin.message_id} (number {index + 1} accepted)"
        if is_overtaken and not may_be:
            yield f"{where}, stands after an event of a message that group {group} accepted later"
        # A worker that is slower than SQS's patience records a dead letter without a mark.
        if is_overtaken and "OVERTAKEN" not in _json(flags) and not is_dead_letter:
            yield f"{where}, is overtaken and its flags are {_json(flags)}"
        # Of a dead letter nobody knows what came before it: whatever is in the history counts as later.
        if index > newest.get(key, -1) and "OVERTAKEN" in _json(flags) and not is_dead_letter:
            yield f"{where}, is not overtaken and its flags are {_json(flags)}"
        newest[key] = max(index, newest.get(key, -1))
        if not is_dead_letter:
            sound[key] = max(index, sound.get(key, -1))


def trades_are_as_told_anew() -> Iterator[str]:
    """Positions 1..n, places, flags and state of each trade are what telling all its events from nothing gives."""
    for trade in Trade.objects.order_by("id"):
        known = as_known_at(trade)
        told = known.in_queue_order()
        if [item.event.position for item in told] != list(range(1, trade.event_count + 1)):
            yield f"trade {trade} counts {trade.event_count} events at positions {[item.event.position for item in told]}"
        if [(item.event.place, item.event.flags) for item in told] != [(item.chapter.place, item.flags) for item in told]:
            yield f"places or flags of trade {trade} are not those of the story told anew"
        standing = known.story.standing
        stored = (trade.state, trade.status, trade.version)
        if stored != (standing.state, standing.status or "", standing.version):
            yield f"trade {trade} is {stored}, and told anew it is {standing}"
        if trade.flagged_count != sum(bool(item.flags) for item in told):
            yield f"trade {trade} counts {trade.flagged_count} events with flags"
        yield from _exceptions_are_as_told(trade, known)


def _exceptions_are_as_told(trade: Trade, known: Known) -> Iterator[str]:
    marks = marks_of(flag for item in known.in_queue_order() for flag in item.flags)
    kinds = set(trade.exceptions.values_list("kind", flat=True))
    if trade.exception_marks != marks or kinds != set(kinds_in(marks)):
        yield f"trade {trade} has the marks {trade.exception_marks} and the exceptions {sorted(kinds)}; its events give cause for {marks}"
    since: datetime | None = None
    for item in known.in_business_order():
        if item.chapter.status is not known.story.standing.status:
            since = None
        elif since is None:
            since = reached_at(item.event.event_time, item.event.recorded_at)
    if since is not None and trade.status_since != since:
        yield f"trade {trade} is in its status since {trade.status_since}; told anew it is since {since}"


def the_queue_is_not_asked_again_and_again(watch: Watch) -> Iterator[str]:
    """Once nothing breaks any more, no message is delivered more than a few times."""
    deliveries = Counter(delivery.message_id for delivery in watch.broker.deliveries[watch.calm_since or 0 :])
    for message_id, count in deliveries.items():
        if count > MOST_DELIVERIES_IN_CALM:
            yield f"message {message_id} was delivered {count} times after the faults had stopped"


def _uuid_text(value: Any) -> str:
    text = str(value)
    return text if "-" in text else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _json(value: Any) -> list[str]:
    return list(json.loads(value) if isinstance(value, str) else value)
