"""Rows of the outbox as a sender reads them, and what it notes of them: what SQS answered, or what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction

from trades import bulk, sqs
from trades.models import Publication, SendAttempt

# Of one publication that are kept each by itself; later ones are counted, and the last one's error is kept.
MOST_ATTEMPTS = 50
ANSWER = {
    "pk": "bigint", "deduplication": "text", "at": "timestamptz", "message": "text", "md5": "text", "sequence": "text", "pointer": "text",
    "repeated": "boolean",
}  # fmt: skip


class Row(NamedTuple):
    """What is read of a publication to send it."""

    id: int
    publication_id: UUID
    group_id: str
    deduplication_id: str
    traceparent: str
    body: str
    payload_id: int | None
    size: int
    attempts: int


@dataclass(slots=True)
class Entry:
    """One message of a call."""

    row: Row
    message: sqs.Outgoing
    is_pointer: bool = False


@dataclass(slots=True)
class Answer:
    """What SQS said of one message that it took, and when."""

    entry: Entry
    sent: sqs.Sent
    at: datetime


def unsent(pks: Sequence[int]) -> list[Row]:
    """Those of the rows that are still unsent."""
    if not pks:
        return []
    return [Row(*values) for values in Publication.objects.filter(pk__among=pks, state=Publication.State.PENDING).values_list(*Row._fields)]


def note_sent(answers: Sequence[Answer]) -> None:
    """Keep what SQS answered. A row that was made ready to be sent again meanwhile, under a new deduplication id, stays as it is.

    SQS answers a repetition with the id of the message that it has (AWS, SendMessage): where that is another publication's, this one
    will not be delivered.
    """
    if not answers:
        return
    seen: set[str] = set()
    rows = []
    for entry, sent, at in ((each.entry, each.sent, each.at) for each in answers):
        pointer = entry.message.body if entry.is_pointer else ""
        values = sent.message_id, sent.md5, sent.sequence_number, pointer, sent.message_id in seen
        rows.append((entry.row.id, entry.row.deduplication_id, str(connection.ops.adapt_datetimefield_value(at)), *values))
        seen.add(sent.message_id)
    table, document = bulk.given(rows, ANSWER)
    statement = (
        "UPDATE trades_publication SET state = 'SENT', sent_at = given.at, attempts = attempts + 1, last_error = '', "  # noqa: S608
        "uncertain_since = NULL, message_id = given.message, md5 = given.md5, sequence_number = given.sequence, pointer = given.pointer, "
        # A sender that was slow may note once more what another one has noted: by then a repetition may have the id of the message too.
        "swallowed = CASE WHEN trades_publication.state = 'SENT' AND trades_publication.message_id = given.message "
        "THEN trades_publication.swallowed ELSE "
        "(given.repeated OR EXISTS (SELECT 1 FROM trades_publication other WHERE other.message_id = given.message "
        # An expression, lest SQLite take the index of all the queue's rows.
        "AND other.queue || '' = trades_publication.queue AND other.state = 'SENT' AND other.id <> trades_publication.id)) END "
        f"FROM {table} WHERE trades_publication.id = given.pk AND trades_publication.deduplication_id = given.deduplication"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [document])


def note_failures(failed: Sequence[tuple[Row, str]], now: datetime, uncertain: datetime | None = None) -> None:
    """Keep what went wrong; `uncertain` is when they set off, if they may have arrived."""
    if not failed:
        return
    table, document = bulk.given([(row.id, error) for row, error in failed], {"pk": "bigint", "error": "text"})
    statement = (
        "UPDATE trades_publication SET attempts = attempts + 1, last_error = given.error, "  # noqa: S608
        f"uncertain_since = COALESCE(uncertain_since, %s) FROM {table} "
        # Not what another sender, to whom the lease went meanwhile, has sent already; one cancelled then may be in the queue all the same.
        "WHERE trades_publication.id = given.pk AND trades_publication.state <> 'SENT'"
    )
    attempts = [SendAttempt(publication_id=row.id, at=now, error=error) for row, error in failed if row.attempts < MOST_ATTEMPTS]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, [connection.ops.adapt_datetimefield_value(uncertain), document])
        bulk.insert(attempts)
