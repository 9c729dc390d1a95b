"""Record what was received: idempotent, in order, one transaction for a whole batch.

Every message becomes a `Message` row, whatever it contains. What is understood becomes events of its trades at the next
positions, or is kept for reference if it is no trade event; what is not understood is quarantined, and what follows it in its
message group is held behind it.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.db.models import CharField, F, Q, QuerySet, UUIDField, Value
from django.utils.functional import cached_property

from trades import bulk, deliveries, dialects, fetching, ledger, messages, payloads, unhandled
from trades.fetching import Fetched
from trades.ledger import Entry
from trades.messages.facts import MessageRefused, ParsedMessage
from trades.messages.large import LargeText
from trades.models import Handler, Hold, Message
from trades.sqs import Received

logger = logging.getLogger(__name__)

NAMED_TRADE = "trade_id"  # of what a refused message states: the first id of the first trade it names
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


def judge(body: str | LargeText) -> Judgement:
    """Parse a body. A fault of a mapping is a reason to quarantine the message, not to stop the worker; only a large text can raise
    OSError, when its file can't be read.

    A refusal states the id of the first trade that the body names (NAMED_TRADE), where that can be read.
    """
    try:
        return messages.parse(body, max_bytes=settings.TRADES_MAX_DOCUMENT_BYTES, registry=dialects.in_use())
    except MessageRefused as refusal:
        if refusal.dialect:
            refusal.stated = {**refusal.stated, NAMED_TRADE: _named_trade(body)}
        return refusal
    except OSError:
        raise
    except Exception as error:
        logger.exception("reading a message failed unexpectedly")
        return MessageRefused("mapping-error", f"Reading the message failed unexpectedly: {error!r}.")


def judge_received(received: Received) -> Judgement:
    """What a message is to be taken for, read where its text is. Raises OSError, DatabaseError."""
    if not isinstance(received, Fetched):
        return fetching.unread() if fetching.is_unread(received) else judge(received.body)
    if received.fault is not None:
        return received.fault
    if received.payload is None:
        return judge(received.body)
    with payloads.spooled(received.payload) as text:
        return judge(text)


def _named_trade(body: str | LargeText) -> str:
    """The id of the first trade that a message names, whatever else is wrong with it; "" where it can't be read."""
    try:
        found = dialects.in_use().recognise(messages.read(body, max_bytes=settings.TRADES_MAX_DOCUMENT_BYTES))
        contents = found.dialect.open(found.root, found.header)
        traced = contents.traced(contents.items()[0])
        return next((str(fact.value[0]) for fact in traced if fact.name == "trade_ids" and fact.value), "")
    except Exception:
        logger.debug("no trade id can be read", exc_info=True)
        return ""


def record(batch: Sequence[Received], *, now: datetime, hold: bool = True) -> Report:
    """Store a batch in the order given, each message with effect exactly once.

    `hold` False records what follows a quarantined message at once instead of holding it. After it returns, everything in the
    batch is committed and may be deleted from the queue. Raises DatabaseError when the database can't be used just now: then
    nothing of the batch is stored by this call beyond what an isolated message already committed, and trying again is safe.
    """
    return record_judged(batch, [judge_received(received) for received in batch], now=now, hold=hold)


def record_judged(batch: Sequence[Received], judgements: Sequence[Judgement], *, now: datetime, hold: bool) -> Report:
    """As `record`, each message with what it is to be taken for. All are of one queue."""
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
        refusal = not_storable(error, judgement)
    return _record([deliveries.storable(received)], [refusal], now, hold)


def not_storable(error: Exception, judgement: Judgement) -> MessageRefused:
    """The refusal of a message that was understood but that the database does not take (UNSTORABLE)."""
    return refused("not-storable", f"The message was understood but could not be stored: {error}.", judgement)


def conflict(publication_id: uuid.UUID | None, judgement: Judgement) -> MessageRefused:
    """The refusal of a message under the publication id of another one with other content."""
    sentence = (
        f"Publication {publication_id} was received before with other content. Replay this message to record it as an event of its "
        "own, or discard it."
    )
    return refused("publication-conflict", sentence, judgement)


def refused(code: str, sentence: str, judgement: Judgement) -> MessageRefused:
    """The refusal of a message for a reason that does not lie in its text, with what the text was understood to be."""
    if isinstance(judgement, MessageRefused):
        stated: Mapping[str, object] = judgement.stated
    else:
        stated = {NAMED_TRADE: judgement.events[0].trade_id.value} if judgement.events else judgement.stated
    return MessageRefused(code, sentence, dialect=judgement.dialect, message_type=judgement.message_type, stated=stated)


def _record(batch: Sequence[Received], judgements: Sequence[Judgement], now: datetime, hold: bool) -> Report:
    with transaction.atomic():
        arrivals = _Arrivals(batch)
        blocked = _blocked_groups(batch)
        gaps = set() if hold else _groups_with_a_gap(batch)
        rows = [row for r, j in zip(batch, judgements, strict=True) if (row := arrivals.row_for(r, j, now))]
        entries = _settle(rows, blocked, gaps, hold)
        entered = ledger.enter(entries, now=now)
        _insert(rows, entered.copies)
        arrivals.save_conflicts()
        entered.save()
        if arrivals.has_handler:
            unhandled.leave(row.message for row in rows)
        _hold_groups(rows, blocked, now, hold)
        arrivals.count_repeats()
    return Report(Counter(row.message.outcome for row in rows), len(batch) - len(rows))


@dataclass(slots=True)
class _Row:
    """A message about to be stored, with what it was understood to be."""

    message: Message
    judgement: Judgement


class _Arrivals:
    """Which messages of a batch are new. One query, and one more where publications came with other content."""

    def __init__(self, batch: Sequence[Received]) -> None:
        publication_ids = [p for received in batch if (p := deliveries.publication_id_of(received))]
        same = Q(queue=batch[0].queue, message_id__among=[received.message_id for received in batch])
        known = Message.objects.filter(same | Q(publication_id__among=publication_ids) if publication_ids else same)
        fields = known.values_list("pk", "message_id", "publication_id", "body_sha256", "queue").union(
            _handler_of(batch[0].queue), all=True
        )
        self.queue = batch[0].queue
        self.has_handler = False
        # What is known: rows that are stored by their keys, and messages of this batch.
        self.message_ids: dict[str, int | Message] = {}
        self.publications: dict[uuid.UUID, tuple[int | Message, str]] = {}
        self.repeated: list[tuple[int | Message, Received]] = []
        self.conflicts: list[tuple[Message, Message]] = []
        for pk, message_id, publication_id, sha256, queue in fields:
            if not sha256:
                self.has_handler = True
                continue
            if queue == self.queue:
                self.message_ids[message_id] = pk
            if publication_id:
                self.publications[publication_id] = (pk, sha256)

    def row_for(self, received: Received, judgement: Judgement, now: datetime) -> _Row | None:
        """The row to store, None for a message that was stored before (or comes twice in this batch)."""
        if received.message_id in self.message_ids:
            self._repeat(self.message_ids[received.message_id], received)
            return None
        publication_id = deliveries.publication_id_of(received)
        message = deliveries.message_of(received, now)
        if publication_id in self.publications:
            original, sha256 = self.publications[publication_id]
            if sha256 == message.body_sha256 or _has_the_pointer_of(message, original):
                self._repeat(original, received)
                return None
            content = (publication_id, message.body_sha256)
            if content in self.other_contents:
                self._repeat(self.other_contents[content], received)
                return None
            self.other_contents[content] = message
            self._note_conflict(message, original)
            judgement = conflict(publication_id, judgement)
            publication_id = None
        message.publication_id = publication_id
        self.message_ids[received.message_id] = message
        if publication_id:
            self.publications[publication_id] = (message, message.body_sha256)
        return _Row(message, judgement)

    # Django's, not that of functools, which until Python 3.12 lets one thread at a time in, whatever the object.
    @cached_property
    def other_contents(self) -> dict[tuple[uuid.UUID | None, str], int | Message]:
        """The conflicts of the publications known before, by publication and content: sent again, they are repeats too."""
        originals = {pk: publication_id for publication_id, (pk, _) in self.publications.items() if isinstance(pk, int)}
        rows = Message.objects.filter(conflicts_with__in=originals, conflicts_with__isnull=False).order_by("-id")
        found = rows.values_list("conflicts_with", "body_sha256", "pk")
        return {(originals[original], sha256): pk for original, sha256, pk in found if original}

    def _repeat(self, known: int | Message, received: Received) -> None:
        if isinstance(known, Message):
            known.repeats += 1
        self.repeated.append((known, received))

    def _note_conflict(self, message: Message, original: int | Message) -> None:
        if isinstance(original, Message):
            self.conflicts.append((message, original))
        else:
            message.conflicts_with_id = original

    def save_conflicts(self) -> None:
        """Link the messages that conflict with another one of the same batch: that one had no key before."""
        for message, original in self.conflicts:
            Message.objects.filter(pk=message.pk).update(conflicts_with=original)

    def count_repeats(self) -> None:
        """Count the deliveries that had no effect on the rows that they repeat, and keep each of them."""
        by_count: defaultdict[int, list[int]] = defaultdict(list)
        for pk, count in Counter(known for known, _ in self.repeated if isinstance(known, int)).items():
            by_count[count].append(pk)
        for count, pks in by_count.items():  # as a rule 1 alone
            Message.objects.filter(pk__in=pks).update(repeats=F("repeats") + count)
        bulk.insert([deliveries.repeat_of(known if isinstance(known, int) else known.pk, received) for known, received in self.repeated])


def _handler_of(queue: str) -> QuerySet[Handler, Any]:
    """The handler of the queue, if it has one, told from messages by an empty hash. Asked with them, for a query costs every batch."""
    no_publication, no_hash = Value(None, output_field=UUIDField()), Value("", output_field=CharField())
    return Handler.objects.filter(queue=queue).values_list("pk", "name", no_publication, no_hash, "queue")


def refuse(message: Message, refusal: MessageRefused) -> None:
    """Put a message into quarantine with the reason (not saved)."""
    message.outcome = Outcome.QUARANTINED
    if refusal.dialect:
        message.dialect, message.message_type = refusal.dialect, refusal.message_type
    message.code, message.reason = refusal.code, refusal.message
    message.line, message.column, message.element = refusal.line, refusal.column, refusal.element[:255]
    message.stated_trade_id = str(refusal.stated.get(NAMED_TRADE, ""))[:255] or message.stated_trade_id


def accept(message: Message, parsed: ParsedMessage) -> bool:
    """Note what a message was understood to be (not saved). False if it is no trade event: then it is settled by that, and keeps
    the sentence that says what it is."""
    message.dialect, message.message_type, message.mapping_version = parsed.dialect, parsed.message_type, parsed.mapping_version
    if not parsed.events or message.outcome == Outcome.REFERENCE:
        message.reason = parsed.reference
    message.outcome = Outcome.RECORDED if parsed.events else Outcome.REFERENCE
    return bool(parsed.events)


def _has_the_pointer_of(message: Message, original: int | Message) -> bool:
    """Whether both point to the same payload, of which one was not had: its content has no other name then."""
    if not message.pointer:
        return False
    if isinstance(original, Message):
        return message.pointer == original.pointer and (fetching.is_unread(message) or fetching.is_unread(original))
    same = Message.objects.filter(pk=original, pointer=message.pointer)
    return (same if fetching.is_unread(message) else same.filter(body=message.pointer)).exists()


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
