"""Record what was received: idempotent, in order, one transaction for a whole batch.

Every message becomes a `Message` row, whatever it contains. What is understood becomes events of its trades at the next
positions, or is kept for reference if it is no trade event; what is not understood is quarantined, and what follows it in its
message group is held behind it.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.db.models import F, Q

from trades import bulk, dialects, ledger, messages
from trades.ledger import Entry
from trades.messages.facts import MessageRefused, ParsedMessage
from trades.models import Hold, Message
from trades.sqs import Received

logger = logging.getLogger(__name__)

PUBLICATION_ID = "PublicationId"
Outcome = Message.Outcome
# Faults of a message, or a race with another worker; every other database error means "not now".
UNSTORABLE = (DataError, IntegrityError, ValueError, TypeError, ArithmeticError)


# What a body was understood to be, or why it was not.
Judgement = ParsedMessage | MessageRefused


@dataclass(slots=True)
class Report:
    """What became of a batch: messages by outcome, and how many were deliveries of something stored before."""

    outcomes: Counter[str] = field(default_factory=Counter)
    repeats: int = 0

    def add(self, other: Report) -> None:
        """Count what became of further messages."""
        self.outcomes += other.outcomes
        self.repeats += other.repeats


def judge(body: str) -> Judgement:
    """Parse a body. Never raises: a fault of a mapping is a reason to quarantine the message, not to stop the worker."""
    try:
        return messages.parse(body, max_bytes=settings.TRADES_MAX_DOCUMENT_BYTES, registry=dialects.in_use())
    except MessageRefused as refusal:
        return refusal
    except Exception as error:
        logger.exception("reading a message failed unexpectedly")
        return MessageRefused("mapping-error", f"Reading the message failed unexpectedly: {error!r}.")


def record(batch: Sequence[Received], *, now: datetime, hold: bool = True) -> Report:
    """Store a batch in the order given, each message with effect exactly once.

    `hold` False records what follows a quarantined message at once instead of holding it. After it returns, everything in the
    batch is committed and may be deleted from the queue. Raises DatabaseError when the database can't be used just now: then
    nothing of the batch is stored by this call beyond what an isolated message already committed, and trying again is safe.
    """
    return _record_isolating(batch, [judge(received.body) for received in batch], now, hold)


def _record_isolating(batch: Sequence[Received], judgements: Sequence[Judgement], now: datetime, hold: bool) -> Report:
    try:
        return _record(batch, judgements, now, hold)
    except UNSTORABLE as error:
        # A race with another worker, or one message that the database can't take. Alone, the second kind shows itself.
        logger.info("recording %d messages one by one after: %s", len(batch), error)
    report = Report()
    for received, judgement in zip(batch, judgements, strict=True):
        report.add(_record_alone(received, judgement, now, hold))
    return report


def _record_alone(received: Received, judgement: Judgement, now: datetime, hold: bool) -> Report:
    try:
        return _record([received], [judgement], now, hold)
    except UNSTORABLE as error:
        logger.error("message %s can't be stored as understood: %s", received.message_id, error)
        refusal = not_storable(error)
    return _record([_storable(received)], [refusal], now, hold)


def not_storable(error: Exception) -> MessageRefused:
    """The refusal of a message that was understood but that the database does not take (UNSTORABLE)."""
    return MessageRefused("not-storable", f"The message was understood but could not be stored: {error}.")


def _storable(received: Received) -> Received:
    """The message without what PostgreSQL can't hold: NUL characters, and ids longer than SQS itself allows."""
    return replace(
        received,
        body=_without_nul(received.body),
        message_id=_without_nul(received.message_id)[:100],
        group_id=_without_nul(received.group_id)[:128],
        deduplication_id=_without_nul(received.deduplication_id)[:128],
        attributes={_without_nul(name): _without_nul(value) for name, value in received.attributes.items()},
    )


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")


def _record(batch: Sequence[Received], judgements: Sequence[Judgement], now: datetime, hold: bool) -> Report:
    with transaction.atomic():
        arrivals = _Arrivals(batch)
        blocked = _blocked_groups(batch)
        gaps = set() if hold else _groups_with_a_gap(batch)
        rows = [row for r, j in zip(batch, judgements, strict=True) if (row := arrivals.row_for(r, j, now))]
        entries = _settle(rows, blocked, gaps, hold)
        entered = ledger.enter(entries, now=now)
        _insert(rows, entered.copies)
        entered.save()
        _hold_groups(rows, blocked, now, hold)
        arrivals.count_repeats()
    return Report(Counter(row.message.outcome for row in rows), len(batch) - len(rows))


@dataclass(slots=True)
class _Row:
    """A message about to be stored, with what it was understood to be."""

    message: Message
    judgement: Judgement


class _Arrivals:
    """Which messages of a batch are new. One query."""

    def __init__(self, batch: Sequence[Received]) -> None:
        publication_ids = [p for received in batch if (p := publication_id_of(received))]
        same = Q(queue=batch[0].queue, message_id__among=[received.message_id for received in batch])
        known = Message.objects.filter(same | Q(publication_id__among=publication_ids) if publication_ids else same)
        fields = known.values_list("pk", "message_id", "publication_id", "body_sha256", "queue")
        self.queue = batch[0].queue
        self.message_ids: dict[str, int | None] = {}
        self.publications: dict[uuid.UUID, tuple[int | None, str]] = {}
        self.repeated: list[int] = []
        for pk, message_id, publication_id, sha256, queue in fields:
            if queue == self.queue:
                self.message_ids[message_id] = pk
            if publication_id:
                self.publications[publication_id] = (pk, sha256)

    def row_for(self, received: Received, judgement: Judgement, now: datetime) -> _Row | None:
        """The row to store, None for a message that was stored before (or comes twice in this batch)."""
        if received.message_id in self.message_ids:
            self._repeat(self.message_ids[received.message_id])
            return None
        publication_id = publication_id_of(received)
        message = _message(received, now)
        if publication_id in self.publications:
            pk, sha256 = self.publications[publication_id]
            if sha256 == message.body_sha256:
                self._repeat(pk)
                return None
            judgement = _conflict(publication_id)
            publication_id = None
        message.publication_id = publication_id
        self.message_ids[received.message_id] = None
        if publication_id:
            self.publications[publication_id] = (None, message.body_sha256)
        return _Row(message, judgement)

    def _repeat(self, pk: int | None) -> None:
        if pk is not None:
            self.repeated.append(pk)

    def count_repeats(self) -> None:
        """Count the deliveries that had no effect on the rows that they repeat."""
        if self.repeated:
            Message.objects.filter(pk__in=self.repeated).update(repeats=F("repeats") + 1)


def publication_id_of(received: Received) -> uuid.UUID | None:
    """The publication id a message carries, None when it carries none that we could have made."""
    try:
        return uuid.UUID(received.attributes[PUBLICATION_ID])
    except (KeyError, ValueError):
        return None


def refuse(message: Message, refusal: MessageRefused) -> None:
    """Put a message into quarantine with the reason (not saved)."""
    message.outcome = Outcome.QUARANTINED
    if refusal.dialect:
        message.dialect, message.message_type = refusal.dialect, refusal.message_type
    message.code, message.reason = refusal.code, refusal.message
    message.line, message.column, message.element = refusal.line, refusal.column, refusal.element[:255]


def accept(message: Message, parsed: ParsedMessage) -> bool:
    """Note what a message was understood to be (not saved). False if it is no trade event: then it is settled by that, and keeps
    the sentence that says what it is."""
    message.dialect, message.message_type, message.mapping_version = parsed.dialect, parsed.message_type, parsed.mapping_version
    if not parsed.events or message.outcome == Outcome.REFERENCE:
        message.reason = parsed.reference
    message.outcome = Outcome.RECORDED if parsed.events else Outcome.REFERENCE
    return bool(parsed.events)


def _conflict(publication_id: uuid.UUID | None) -> MessageRefused:
    return MessageRefused(
        "publication-conflict",
        f"Publication {publication_id} was received before with other content. Replay this message to record it as an event of its "
        "own, or discard it.",
    )


def _message(received: Received, now: datetime) -> Message:
    body = received.body.encode()
    return bulk.new(
        Message,
        queue=received.queue,
        message_id=received.message_id,
        group_id=received.group_id,
        deduplication_id=received.deduplication_id,
        sequence_number=received.sequence_number,
        attributes=dict(received.attributes),
        body=received.body,
        size=len(body),
        body_sha256=hashlib.sha256(body).hexdigest(),
        body_md5=received.md5,
        sent_at=received.sent_at,
        received_at=received.received_at,
        recorded_at=now,
        receive_count=received.receive_count,
    )


def _blocked_groups(batch: Sequence[Received]) -> set[str]:
    """The groups of the batch that wait behind a quarantined message; their holds stay locked until the end of the transaction."""
    groups = {received.group_id for received in batch}
    holds = Hold.objects.select_for_update().filter(queue=batch[0].queue, group_id__among=groups).order_by("group_id")
    return {hold.group_id for hold in holds}


def _groups_with_a_gap(batch: Sequence[Received]) -> set[str]:
    """Where nothing is held: the groups of the batch with a message in quarantine, which those after it do not wait for."""
    groups = {received.group_id for received in batch}
    unsettled = Message.objects.filter(outcome=Outcome.QUARANTINED, queue=batch[0].queue, group_id__among=groups)
    return set(unsettled.values_list("group_id", flat=True))


def _settle(rows: Iterable[_Row], blocked: set[str], gaps: set[str], hold: bool) -> list[Entry]:
    """Give every row its outcome as far as it is known before the trades are looked at; returns those that go into the history."""
    stopped = set(blocked)
    entries = []
    for row in rows:
        message, judgement = row.message, row.judgement
        is_for_a_trade = isinstance(judgement, ParsedMessage) and accept(message, judgement)
        if message.group_id in stopped:
            # What is no trade event waits too: read with another mapping then, it may be one, and must not have been overtaken.
            message.outcome, message.reason = Outcome.HELD, ""
        elif isinstance(judgement, MessageRefused):
            refuse(message, judgement)
            (stopped if hold else gaps).add(message.group_id)
        elif is_for_a_trade:
            entries.append(Entry(message, judgement, after_gap=message.group_id in gaps))
    return entries


def _insert(rows: Sequence[_Row], copies: Sequence[Message]) -> None:
    """Store the rows; copies of a message of the same batch go last, since they point at it."""
    later = [message for message in copies if message.repeats_message_id is None]
    delayed = {id(message) for message in later}
    bulk.insert_with_keys([row.message for row in rows if id(row.message) not in delayed])
    for message in later:
        message.repeats_message_id = message.repeats_message.pk if message.repeats_message else None
    bulk.insert_with_keys(later)


def _hold_groups(rows: Iterable[_Row], blocked: set[str], now: datetime, hold: bool) -> None:
    holds = [
        Hold(queue=row.message.queue, group_id=row.message.group_id, message=row.message, since=now)
        for row in rows
        if row.message.outcome == Outcome.QUARANTINED and row.message.group_id not in blocked
    ]
    if hold and holds:
        Hold.objects.bulk_create(holds)
