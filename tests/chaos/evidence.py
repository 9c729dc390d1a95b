"""What is known after a run: what was handed in, and what database and broker hold now. Plain data, so that it can be tampered with."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from tests.chaos.postgres import Postgres
from tests.chaos.traffic import File


@dataclass(slots=True)
class Publication:
    """A row of the outbox with the name of its file."""

    pk: int
    publication_id: uuid.UUID
    file: str
    group: str
    state: str
    message_id: str
    sequence: str
    attempts: int


@dataclass(slots=True)
class Message:
    """A row of what arrived."""

    pk: int
    publication_id: uuid.UUID | None
    message_id: str
    group: str
    sequence: str
    outcome: str
    body_sha256: str
    repeats: int
    receive_count: int


@dataclass(slots=True)
class Event:
    """An event with the id of its trade and the key of its message."""

    trade: str
    position: int
    place: int
    message: int
    version: int | None


@dataclass(slots=True)
class Evidence:
    """Everything that the invariants are about. `holds` are (group, key of the message waited for); `depths` are what the queues
    still have, by name: (waiting, in flight)."""

    files: list[File]
    publications: list[Publication]
    messages: list[Message]
    events: list[Event]
    holds: list[tuple[str, int]]
    confirmed: set[str] = field(default_factory=set)
    announced: dict[str, str] = field(default_factory=dict)
    depths: dict[str, tuple[int, int]] = field(default_factory=dict)


PUBLICATIONS = """SELECT p.id, p.publication_id, d.name, p.group_id, p.state, p.message_id, p.sequence_number, p.attempts
    FROM trades_publication p JOIN trades_document d ON d.id = p.document_id ORDER BY p.id"""
MESSAGES = """SELECT id, publication_id, message_id, group_id, sequence_number, outcome, body_sha256, repeats, receive_count
    FROM trades_message ORDER BY id"""
EVENTS = """SELECT t.trade_id, e.position, e.place, e.message_id, e.version
    FROM trades_event e JOIN trades_trade t ON t.id = e.trade_id ORDER BY t.id, e.position"""
HOLDS = "SELECT group_id, message_id FROM trades_hold ORDER BY group_id"


def read(postgres: Postgres, files: list[File]) -> Evidence:
    """The rows as they are now."""
    with postgres.connect() as connection:
        return Evidence(
            files,
            [Publication(*row) for row in connection.execute(PUBLICATIONS)],
            [Message(*row) for row in connection.execute(MESSAGES)],
            [Event(*row) for row in connection.execute(EVENTS)],
            [(group, message) for group, message in connection.execute(HOLDS)],
        )
