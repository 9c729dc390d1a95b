"""The outbox as it is committed, for those who watch."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from tests.fifo.database import rows


@dataclass(frozen=True, slots=True)
class Publication:
    """One row, as far as the invariants look at it; `sha256` is that of its whole text."""

    pk: int
    publication_id: str
    queue: str
    group: str
    state: str
    message_id: str
    swallowed: bool
    is_uncertain: bool
    sha256: str


@dataclass
class Outbox:
    """Reads it from a connection of its own."""

    connection: BaseDatabaseWrapper

    def read(self) -> list[Publication]:
        """All rows, in the order in which they are to be sent."""
        found = rows(
            self.connection,
            "SELECT p.id, p.publication_id, p.queue, p.group_id, p.state, p.message_id, p.swallowed, p.uncertain_since IS NOT NULL, "
            "p.body, l.sha256 FROM trades_publication p LEFT JOIN trades_payload l ON l.id = p.payload_id ORDER BY p.id",
        )
        return [Publication(pk, uuid_text(name), *rest, kept or sha256(body.encode())) for pk, name, *rest, body, kept in found]  # type: ignore[call-arg]

    def acts(self) -> defaultdict[int, set[str]]:
        """What people did, by the key of the publication."""
        found: defaultdict[int, set[str]] = defaultdict(set)
        for pk, action in rows(self.connection, "SELECT publication_id, action FROM trades_auditentry WHERE publication_id IS NOT NULL"):
            found[pk].add(action)
        return found


def sha256(data: bytes) -> str:
    """Of a text, in hex."""
    return hashlib.sha256(data).hexdigest()


def uuid_text(value: Any) -> str:
    """A UUID as a message carries it; SQLite gives its hex digits alone."""
    text = str(value)
    return text if "-" in text else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
