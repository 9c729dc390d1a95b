"""What must be true whatever broke: each a sentence when it is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from tests.fifo.bucket import ModelS3
from tests.fifo.database import rows
from tests.fifo.handled import Handling
from tests.fifo.model import Accepted, FifoBroker, Handled, publication_in
from tests.fifo.outgoing import Outbox, sha256
from tests.fifo.scheduler import Actor

SETTLED_BY_ITSELF = {"RECORDED", "DUPLICATE", "REFERENCE"}
WAITING = {"QUARANTINED", "HELD"}
# A sender renews its lease of ten seconds when two have passed: within eight nobody can take it away.
SAFE_SECONDS = 8.0
# Of one receiver in at most 90 seconds: pauses begin at a quarter of a second or more, and double up to 15 or more.
MOST_TRIES_IN_OUTAGE = 14
Identity = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One stored message, as far as the invariants look at it."""

    pk: int
    message_id: str
    queue: str
    group: str
    outcome: str
    corrects: int | None
    is_settled: bool
    sha256: str
    is_unread: bool


@dataclass
class Watch:
    """Compares what the queues accepted with what is committed, while the run goes on."""

    broker: FifoBroker
    s3: ModelS3
    queues: Sequence[str]
    connection: BaseDatabaseWrapper
    hold: bool
    allowed: Sequence[str]
    handling: Handling | None = None
    violations: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    stored: set[Identity] = field(default_factory=set)
    undone: set[int] = field(default_factory=set)
    handed: dict[str, int] = field(default_factory=dict)
    given_up: set[Identity] = field(default_factory=set)
    first: dict[Identity, int] = field(default_factory=dict)
    of_message: dict[str, Identity] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    by_group: dict[tuple[str, str], list[Identity]] = field(default_factory=dict)
    tries: Counter[tuple[str, int, str, float, str]] = field(default_factory=Counter)
    outages: dict[str, float] = field(default_factory=lambda: {"queue": 0.0, "database": 0.0, "S3": 0.0})
    calm_since: int | None = None
    # Senders: what each has on its way and since when.
    flying: dict[str, tuple[Actor, float, set[str]]] = field(default_factory=dict)
    _accepted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.connection)

    def violate(self, sentence: str) -> None:
        """Note a violation; the run ends with this step."""
        if sentence not in self.violations:
            self.violations.append(sentence)

    # What was accepted

    def update(self) -> None:
        """Take in what the queues accepted since: the first acceptance of each publication, and of each foreign message, counts."""
        for queue in self.queues:
            accepted = self.broker.accepted[queue]
            for message in accepted[self._accepted[queue] :]:
                # Other content under a publication id is for a person, once however often it is sent.
                text = self._text_of(message)
                identity = (message.publication_id, text) if message.publication_id else ("", message.message_id)
                self.of_message[message.message_id], self.texts[message.message_id] = identity, text
                if identity not in self.first:
                    self.first[identity] = len(self.first)
                    self.by_group.setdefault((queue, message.group), []).append(identity)
            self._accepted[queue] = len(accepted)
        self.given_up = {self.of_message[moved.message_id] for moved in self.broker.moves if moved.source in self.queues}

    def _text_of(self, message: Accepted) -> str:
        """The SHA-256 of what the message says: of what was first put where it points, if it is a pointer."""
        place = self.s3.place_in(message.body)
        return sha256(message.body.encode() if place is None else self.s3.stored.get(place, message.body.encode()))

    def sent(self, queue: str) -> None:
        """After a send: nothing of a group went past an unsent publication of it, and no pointer ahead of its payload."""
        before, known = self._accepted[queue], len(self.first)
        self.update()
        for message in self.broker.accepted[queue][before:]:
            place = self.s3.place_in(message.body)
            if place is not None and place not in self.s3.stored:
                self.violate(f"publication {message.publication_id} was accepted before its payload {place[1]} was stored")
            if message.publication_id and self.first[self.of_message[message.message_id]] >= known:
                self._check_predecessors(message)

    def handed_in(self) -> None:
        """After a commit of somebody who hands in: in which order publications became visible to senders."""
        number = len(self.handed) + 1
        for row in self.outbox.read():
            self.handed.setdefault(row.publication_id, number)

    def _check_predecessors(self, message: Accepted) -> None:
        outbox, acts = self.outbox.read(), self.outbox.acts()
        identity = self.of_message[message.message_id]
        own = next((row for row in outbox if (row.publication_id, row.sha256) == identity), None)
        swallowed = {each.publication_id for each in self.broker.swallowed}
        for row in outbox:
            if own is None or (row.queue, row.group) != (own.queue, own.group) or row.pk >= own.pk or row.state == "CANCELLED":
                continue
            # Of two people who hand in at once, one may have the smaller key and be stored later: nobody could have sent it before.
            if self.handed.get(row.publication_id, 0) > self.handed.get(message.publication_id, 0):
                continue
            if (row.publication_id, row.sha256) not in self.first and row.publication_id not in swallowed:
                self.violate(
                    f"publication {message.publication_id} of group {message.group} was accepted before publication "
                    f"{row.publication_id}, which stands before it in the outbox and has not been accepted"
                )
            if row.state == "PENDING" and "resend" not in acts[row.pk]:
                self.violate(
                    f"publication {message.publication_id} of group {message.group} was accepted before it was noted that publication "
                    f"{row.publication_id} was sent, which stands before it in the outbox and would be sent again behind it"
                )

    # What senders do

    def sets_off(self, actor: Actor, request: Mapping[str, Any]) -> None:
        """Before a send: from now on these may be in the queue."""
        ids = {publication_in(entry.get("MessageAttributes") or {}) for entry in request.get("Entries", ())} - {""}
        self.flying[actor.name] = actor, self.broker.clock.now, ids

    def arrived(self, actor: Actor) -> None:
        """After a send was noted, or something went wrong with it."""
        self.flying.pop(actor.name, None)

    def noted(self, actor: Actor) -> None:
        """After a commit of a sender, or of somebody at the outbox."""
        self.arrived(actor)
        if actor.in_transaction and actor.process.kind == "clerk":
            self._check_cancelled()

    def _check_cancelled(self) -> None:
        cancelled = {row.publication_id for row in self.outbox.read() if row.state == "CANCELLED"}
        for sender, since, ids in self.flying.values():
            if not sender.is_dead and self.broker.clock.now - since < SAFE_SECONDS:
                for publication_id in sorted(ids & cancelled):
                    self.violate(f"publication {publication_id} was cancelled while {sender.name} was sending it")

    def asked_s3(self, actor: Actor, point: str, bucket: str, key: str) -> None:
        """Before and after a request to S3: it is one that may be made, and keeps no lock waiting."""
        if actor.in_transaction:
            self.violate(f"{actor.name} asked S3 for {key} within a transaction")
        if bucket not in self.allowed:
            self.violate(f"{actor.name} asked for {key} in the bucket {bucket}, which is not allowed")
        if point == "before remove":
            self.violate(f"{actor.name} removed the payload {key}")

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
        for (_, group), identities in self.by_group.items():
            self._check_group(group, identities, outcomes)
        for sentence in self.handling.look(self.rows) if self.handling else ():
            self.violate(sentence)

    def _read(self) -> None:
        found = rows(
            self.connection,
            "SELECT id, message_id, queue, group_id, outcome, corrects_id, settled_at IS NOT NULL, body_sha256, "
            "pointer <> '' AND pointer = body FROM trades_message ORDER BY id",
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
            if row.is_unread and row.outcome in SETTLED_BY_ITSELF:
                self.violate(f"{self.name_of(identity)} is {row.outcome.lower()}, and its payload was never read")
            # What the database could not hold is stored as near to it as can be, and waits for a person.
            if not row.is_unread and row.sha256 != self.texts[row.message_id] and row.outcome in SETTLED_BY_ITSELF:
                self.violate(f"{self.name_of(identity)} is stored with another text than was sent")

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
        number = f"number {self.first[identity] + 1} accepted"
        return f"publication {identity[0]} ({number})" if identity[0] else f"message {identity[1]} ({number})"

    # What happens at the queue

    def deleted(self, message: Handled) -> None:
        """After a deletion: it was committed before."""
        self.update()
        identity = self.of_message[message.message_id]
        if identity not in self.stored:
            self.committed()
        if identity not in self.stored:
            self.violate(f"{self.name_of(identity)} was deleted from the queue before it was committed")

    def tried(self, actor: Actor, what: str, of: str = "") -> None:
        """Before a receive while the queue is away, after one that brought messages while the database is, or before a request for an
        object while S3 is: pauses must grow."""
        key = (actor.name, actor.life, what, self.outages[what], of)
        self.tries[key] += 1
        if self.tries[key] > MOST_TRIES_IN_OUTAGE:
            self.violate(f"{actor.name} received {self.tries[key]} times while the {what} was away")

    def calm(self) -> None:
        """From now on nothing breaks any more."""
        self.calm_since = len(self.broker.deliveries)
