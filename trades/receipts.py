"""What a worker process tells beside what it records: which process it is, and which deletes the queue confirmed to it.

Deletes are noted in memory and written by the heartbeat, since a statement more per batch would cost every message. They are evidence
for people: a note may be lost, and nothing else depends on it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import connection

from trades import bulk
from trades.models import Message
from trades.sqs import Failed, Received

# What is kept while the database is away; the oldest go first.
MOST = 20_000
PER_STATEMENT = 1_000
_COLUMNS = {"queue": "text", "message_id": "text", "at": "timestamptz"}
_NAME = Message._meta.get_field("worker").max_length or 0  # noqa: SLF001
_worker = ""


def this_worker() -> str:
    """The host and process id of this process while it is a worker ("host 4711"), "" in any other process."""
    return _worker


@contextmanager
def as_worker() -> Iterator[None]:
    """Around the time that this process is a worker."""
    global _worker  # noqa: PLW0603 - one process has one name, which is read for every message
    pid = str(os.getpid())
    _worker = f"{socket.gethostname()[: _NAME - len(pid) - 1]} {pid}"
    try:
        yield
    finally:
        _worker = ""


class Deletes:
    """Deletes that the queue confirmed and that are not written yet. Safe to use from several threads."""

    def __init__(self, most: int = MOST) -> None:
        self.dropped = 0
        self._lock = threading.Lock()
        self._noted: deque[tuple[str, str, datetime]] = deque(maxlen=most)

    def note(self, asked: Sequence[Received], failed: Sequence[tuple[Received, Failed]], at: datetime) -> None:
        """The queue answered a delete: all that were asked for are deleted, but those that failed."""
        refused = {message.receipt_handle for message, _ in failed}
        self._keep((m.dead_letter_source or m.queue, m.message_id, at) for m in asked if m.receipt_handle not in refused)

    def write(self) -> None:
        """Write what was noted. Raises DatabaseError where the database is away; what is not written is kept for the next time."""
        while some := self._take():
            try:
                _write(some)
            except Exception:
                self._keep_again(some)
                raise

    def _keep(self, notes: Iterable[tuple[str, str, datetime]]) -> None:
        with self._lock:
            for note in notes:
                self.dropped += len(self._noted) == self._noted.maxlen
                self._noted.append(note)

    def _keep_again(self, notes: Sequence[tuple[str, str, datetime]]) -> None:
        """Put the oldest back, as far as there is room: at the full left end of the queue the newest would fall out at the other."""
        with self._lock:
            room = (self._noted.maxlen or 0) - len(self._noted)
            self.dropped += max(0, len(notes) - room)
            self._noted.extendleft(reversed(notes[max(0, len(notes) - room) :]))

    def _take(self) -> list[tuple[str, str, datetime]]:
        with self._lock:
            return [self._noted.popleft() for _ in range(min(PER_STATEMENT, len(self._noted)))]


def _write(notes: Sequence[tuple[str, str, datetime]]) -> None:
    rows = [(queue, message_id, str(connection.ops.adapt_datetimefield_value(at))) for queue, message_id, at in notes]
    given, document = bulk.given(rows, _COLUMNS)
    # Rows that somebody has locked are left out: this must never wait in a circle with a worker or a person.
    skip = "FOR NO KEY UPDATE OF message SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""
    # Only names of our own are put into the text.
    found = f"""
        SELECT message.id, given.at FROM {given}
        JOIN trades_message AS message ON message.queue = given.queue AND message.message_id = given.message_id {skip}"""  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH found AS ({found}) UPDATE trades_message SET deleted_at = found.at FROM found WHERE trades_message.id = found.id",  # noqa: S608
            [document],
        )
