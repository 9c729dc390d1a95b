"""Settle what was quarantined: replay it unchanged, correct it, discard it or take a discard back, then let what waited behind it
into the history, in order.

Everything happens in the database, in one transaction; nothing goes through the queue again, where it would arrive behind what
waits for it. Each act is an audit entry, and the newest entry's key is the message's revision: whoever acts on an older one is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.db.models import QuerySet

from trades import corrections, history, ledger, rereading, unhandled
from trades.ledger import Entry
from trades.messages.facts import MessageRefused, ParsedMessage
from trades.messages.values import shorten
from trades.models import AuditEntry, Hold, Message

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

logger = logging.getLogger(__name__)
T = TypeVar("T")

Outcome, Action = Message.Outcome, AuditEntry.Action
# What waited is entered in pieces of so many messages and, beyond one, bytes: each piece may tell the whole of a trade anew.
CHUNK, CHUNK_BYTES = 1000, 16 * 2**20
DEADLOCK = "40P01"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
TRIES = 4
SETTLING = ["outcome", "dialect", "message_type", "mapping_version", "reason", "repeats_message"]
REFUSING = ["outcome", "dialect", "message_type", "mapping_version", "code", "reason", "line", "column", "element", "stated_trade_id"]
NOTE_WIDTH = 200
DID = {
    Action.REPLAY: "replayed this message",
    Action.REPLAY_REFUSED: "replayed this message, which was refused again,",
    Action.CORRECT: "corrected and replayed this message",
    Action.DISCARD: "discarded this message",
    Action.UNDO_DISCARD: "took back the discard of this message",
    Action.HELD: "let this message wait behind an earlier one",
}
DONE = {Action.REPLAY: "replayed", Action.CORRECT: "corrected", Action.DISCARD: "discarded"}


class Conflict(Exception):
    """The message is not as the person saw it: a sentence of who did what when. `entries` are the audit entries since, oldest first."""

    def __init__(self, sentence: str, entries: Sequence[AuditEntry] = ()) -> None:
        super().__init__(sentence)
        self.entries = list(entries)


class NotQuarantined(Conflict):
    """The message is not in quarantine any more: somebody settled it first."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a portal user, or where it is done from if nobody is signed in ("command line, root")."""

    user: AbstractBaseUser | None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What settling did: messages recorded (those that waited included), why the message was refused again, if it was, and the
    correction that stands in for it, if there is one."""

    recorded: int = 0
    still: str = ""
    correction: Message | None = None


def replay(message: Message, *, actor: Actor, note: str = "", seen: int | None = None, now: datetime) -> Result:
    """Read the message again, unchanged, and record it if it is understood now; a text in S3 that could not be had is fetched again.
    One that was taken for no trade event can be read again too. Raises Conflict, ValueError when S3 can't be read just now."""
    judgement, text = rereading.again(message, now=now)

    def settle() -> Result:
        hold, locked = _lock(message, seen, now, Outcome.QUARANTINED, Outcome.REFERENCE)
        if text is not None:
            rereading.take(locked, text)
        was_reference = locked.outcome == Outcome.REFERENCE
        if isinstance(judgement, MessageRefused):
            refusal: MessageRefused | None = judgement
        else:
            refusal = _enter_or_refuse([_entry(locked, judgement, hold)], now)[1]
        if refusal is not None and was_reference:
            locked.refresh_from_db()
        elif refusal is not None:
            history.refuse(locked, refusal)
            locked.save(update_fields=REFUSING)
        if refusal is not None:
            _audit(Action.REPLAY_REFUSED, locked, actor, note or str(refusal), now)
            return Result(still=str(refusal))
        _mark_settled(locked, now)
        entry = _audit(Action.REPLAY, locked, actor, note, now)
        is_news = not was_reference or locked.outcome == Outcome.RECORDED
        return Result(_recorded([locked] if is_news else []) + _let_go(hold, entry))

    return in_one_transaction(settle)


def correct(message: Message, body: str, *, actor: Actor, reason: str, seen: int | None = None, now: datetime) -> Result:
    """Record a corrected text in the place of the message, whose own text is kept as it came.

    Raises MessageRefused when the text is not understood, ValueError without a reason or a change, Conflict; then nothing is stored.
    """
    _require(reason, "correct")
    text = corrections.as_stored(message, body)
    if corrections.is_unchanged(message, text):
        raise ValueError("The text is unchanged. Change what is wrong in it, or replay the message as it is.")
    judgement = corrections.judge(text)
    if isinstance(judgement, MessageRefused):
        raise judgement

    def settle() -> Result:
        hold, locked = _lock(message, seen, now, Outcome.QUARANTINED)
        correction = corrections.stand_in(locked, text, now)
        correction.corrects = locked
        if refusal := enter_stand_in(correction, judgement, now, locked, hold):
            raise refusal
        _mark_settled(locked, now, Outcome.CORRECTED)
        entry = _audit(Action.CORRECT, locked, actor, reason, now)
        return Result(_recorded([correction]) + _let_go(hold, entry), correction=correction)

    return in_one_transaction(settle)


def discard(message: Message, *, actor: Actor, reason: str, seen: int | None = None, now: datetime) -> Result:
    """Set the message aside, with a reason; its text is kept. Raises Conflict, or ValueError without a reason."""
    _require(reason, "discard")

    def settle() -> Result:
        hold, locked = _lock(message, seen, now, Outcome.QUARANTINED)
        _mark_settled(locked, now, Outcome.DISCARDED)
        return Result(_let_go(hold, _audit(Action.DISCARD, locked, actor, reason, now)))

    return in_one_transaction(settle)


def undo_discard(message: Message, *, actor: Actor, reason: str, seen: int | None = None, now: datetime) -> Result:
    """Take a discard back: the message is in quarantine again, and its group waits behind it from now on; what was recorded
    meanwhile stays. Behind an earlier message in quarantine it waits itself, and is read anew in its turn. A worker whose
    transaction overlaps records as if before it.

    Raises Conflict, or ValueError without a reason.
    """
    _require(reason, "take back the discard of")

    def settle() -> Result:
        hold, locked = _lock(message, seen, now, Outcome.DISCARDED)
        waits = hold is not None and hold.message_id < locked.pk
        locked.outcome, locked.settled_at = Outcome.HELD if waits else Outcome.QUARANTINED, None
        locked.save(update_fields=["outcome", "settled_at"])
        entry = _audit(Action.UNDO_DISCARD, locked, actor, reason, now)
        if hold is None and settings.TRADES_HOLD:
            Hold.objects.create(queue=locked.queue, group_id=locked.group_id, message=locked, since=now)
        elif hold is not None and not waits:
            _hold_earlier(hold, entry)
        return Result()

    return in_one_transaction(settle)


def settle_many(messages: Iterable[Message], act: Callable[[Message], Result]) -> Iterator[tuple[Message, Result | Exception]]:
    """Settle each message in a transaction of its own, in the order of arrival. What fails is given with its error, and the others
    go on."""
    for message in sorted(messages, key=lambda message: message.pk):
        try:
            yield message, act(message)
        except (Conflict, MessageRefused, ValueError, Message.DoesNotExist, DatabaseError) as error:
            yield message, error
        except Exception as error:
            logger.exception("settling message %s failed", message.message_id)
            yield message, error


def revision(message: Message) -> int:
    """The key of the newest audit entry of the message, 0 without one: what a person saw when they decided."""
    return AuditEntry.objects.filter(message=message).order_by("-id").values_list("id", flat=True).first() or 0


def waiting_behind(message: Message) -> int:
    """How many messages are held behind this one."""
    if not Hold.objects.filter(message=message).exists():
        return 0
    return _held(message.queue, message.group_id).count()


def who(entry: AuditEntry) -> str:
    """Who did it, in words."""
    return entry.user.get_username() if entry.user else entry.origin or "somebody"


def enter_stand_in(row: Message, parsed: ParsedMessage, now: datetime, original: Message, hold: Hold | None) -> MessageRefused | None:
    """Save the message and enter it into the history in the original's place; gives why the database can't take it, if it can't.

    `hold` is that of the original's group.
    """
    history.accept(row, parsed)
    row.save()
    return _enter_or_refuse([Entry(row, parsed, after_gap=_after_gap(original, hold), place=_place_of(original))], now)[1]


# Locks


def in_one_transaction(act: Callable[[], T]) -> T:
    """Do it in one transaction, from the start again where PostgreSQL ends that because it and a worker wait for each other (what
    waited is entered step by step, each locking its own trades), or where a worker has just made the group's hold."""
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                return act()
        except (OperationalError, IntegrityError) as error:
            may_go_on = isinstance(error, IntegrityError) or getattr(error.__cause__, "sqlstate", "") == DEADLOCK
            if connection.in_atomic_block or not may_go_on:
                raise
            logger.info("settling once more after: %s", error)
    with transaction.atomic():
        return act()


def _lock(message: Message, seen: int | None, now: datetime, *outcomes: Message.Outcome) -> tuple[Hold | None, Message]:
    # The hold before the message, the order in which the worker locks too.
    hold = Hold.objects.select_for_update().filter(queue=message.queue, group_id=message.group_id).first()
    locked = Message.objects.select_for_update().get(pk=message.pk)
    if locked.outcome not in outcomes or (seen is not None and revision(locked) != seen):
        entries = list(AuditEntry.objects.filter(message=locked, id__gt=seen or 0).select_related("user").order_by("id"))
        kind = Conflict if locked.outcome in outcomes else NotQuarantined
        raise kind(_told(locked, entries, now) if seen is not None else _not_so(locked, outcomes[0], entries, now), entries)
    return hold, locked


def _told(message: Message, entries: Sequence[AuditEntry], now: datetime) -> str:
    """What happened to the message since the person looked."""
    did = _did(entries[-1], now) if entries else "This message is no longer as it was shown"
    looking = (", " if did.endswith("”") else " ") + "while you were looking at it" if entries else ""
    return f"{did}{looking}. It is {message.get_outcome_display().lower()} now. Nothing was changed by you."


def _not_so(message: Message, needed: Message.Outcome, entries: Sequence[AuditEntry], now: datetime) -> str:
    """How the message stands, to somebody who did not look at it, and what was done to it last."""
    words = "discarded" if needed == Outcome.DISCARDED else "in quarantine"
    last = f" {_did(entries[-1], now)}." if entries else ""
    return f"Message {message.pk} is not {words}; it is {message.get_outcome_display().lower()}.{last}"


def _did(newest: AuditEntry, now: datetime) -> str:
    at = newest.at.astimezone(UTC)
    day = "" if at.date() == now.astimezone(UTC).date() else f" on {at.day} {at:%b %Y}"
    has_reason = newest.action in (Action.CORRECT, Action.DISCARD, Action.UNDO_DISCARD)
    reason = f", giving the reason “{shorten(newest.note, NOTE_WIDTH)}”" if has_reason else ""
    return f"{who(newest)} {DID.get(Action(newest.action), newest.action)} at {at:%H:%M:%S} UTC{day}{reason}"


def _require(reason: str, act: str) -> None:
    if not reason.strip():
        raise ValueError(f"A reason is needed to {act} a message.")


# What changes


def _mark_settled(message: Message, now: datetime, outcome: Message.Outcome | None = None) -> None:
    message.outcome, message.settled_at = outcome or message.outcome, now
    message.save(update_fields=["outcome", "settled_at"])


def _hold_earlier(hold: Hold, undone: AuditEntry) -> None:
    """Let the group wait behind this message; the later one that it waited for waits too, and is read anew in its turn."""
    later = hold.message
    if Message.objects.filter(pk=later.pk, outcome=Outcome.QUARANTINED).update(outcome=Outcome.HELD):
        note = f"Behind message {undone.message_id}, whose discard was taken back."
        _audit(Action.HELD, later, Actor(undone.user, undone.origin), note, undone.at)
    hold.message, hold.since = undone.message or later, undone.at
    hold.save(update_fields=["message", "since"])


def _let_go(hold: Hold | None, settled: AuditEntry) -> int:
    """Record what waited, up to the next message that is not understood: that one is quarantined and holds the rest."""
    if hold is None or hold.message_id != settled.message_id:
        return 0
    recorded = 0
    while waiting := _next_waiting(hold):
        entries: list[Entry] = []
        for message in waiting:
            judgement = rereading.in_turn(message)
            if isinstance(judgement, MessageRefused):
                history.refuse(message, judgement)
                break
            entries.append(_entry(message, judgement, hold))
        entered, refusal = _enter_or_refuse(entries, settled.at)
        recorded += _recorded(waiting[:entered])
        _settle_in_turn([message for message in waiting[:entered] if message.code], settled)
        if refusal is not None or len(entries) < len(waiting):
            next_one = waiting[entered]
            # The row is not locked: a worker may count a repeat of it just now.
            next_one.save(update_fields=REFUSING)
            hold.message = next_one
            hold.save(update_fields=["message"])
            return recorded
    hold.delete()
    return recorded


def _next_waiting(hold: Hold) -> list[Message]:
    held = _held(hold.queue, hold.group_id)
    last, total = 0, 0
    for pk, size in held.values_list("pk", "size")[:CHUNK]:
        total += size
        if last and total > CHUNK_BYTES:
            break
        last = pk
    return list(held.filter(pk__lte=last).select_related("conflicts_with").defer("conflicts_with__body"))


def _settle_in_turn(messages: Sequence[Message], settled: AuditEntry) -> None:
    """Messages that were in quarantine before they waited, and left it without anybody's looking at them again: say why."""
    note = f"In its turn, after message {settled.message_id} was {DONE[Action(settled.action)]}."
    for message in messages:
        _mark_settled(message, settled.at)
        _audit(Action.REPLAY, message, Actor(settled.user, settled.origin), note, settled.at)


def _recorded(messages: list[Message]) -> int:
    """Leave them to the handler of their queue; gives how many were recorded: copies of what the history has already have no effect."""
    unhandled.leave_where_handled(messages)
    return sum(message.outcome == Outcome.RECORDED for message in messages)


def _entry(message: Message, parsed: ParsedMessage, hold: Hold | None) -> Entry:
    return Entry(message, parsed, after_gap=_after_gap(message, hold), place=_place_of(message))


def _place_of(message: Message) -> int:
    """Where it stands in its group (ledger.Entry): of one that SQS gave up delivering, anything recorded may be later."""
    original = message.corrects or message
    return 0 if original.via_dead_letter else original.pk


def _after_gap(message: Message, hold: Hold | None) -> bool:
    """Where nothing is held: whether an earlier message of the group is still in quarantine."""
    if hold is not None:
        return False
    earlier = Message.objects.filter(outcome=Outcome.QUARANTINED, id__lt=message.pk, queue=message.queue, group_id=message.group_id)
    return earlier.exists()


def _enter_or_refuse(entries: list[Entry], now: datetime) -> tuple[int, MessageRefused | None]:
    """Enter the messages in order, up to the first that the database can't take: that one is refused (not saved).

    Gives how many were entered, and the refusal.
    """
    try:
        with transaction.atomic():
            return _enter(entries, now), None
    except history.UNSTORABLE as error:
        if len(entries) == 1:
            refusal = history.not_storable(error, entries[0].parsed)
            history.refuse(entries[0].message, refusal)
            return 0, refusal
    for count, entry in enumerate(entries):
        if (refused := _enter_or_refuse([entry], now)[1]) is not None:
            return count, refused
    return len(entries), None


def _held(queue: str, group_id: str) -> QuerySet[Message]:
    return Message.objects.filter(queue=queue, group_id=group_id, outcome=Outcome.HELD).order_by("id")


def _enter(entries: list[Entry], now: datetime) -> int:
    entered = ledger.enter([entry for entry in entries if history.accept(entry.message, entry.parsed)], now=now)
    Message.objects.bulk_update([entry.message for entry in entries], SETTLING, batch_size=100)
    entered.save()
    return len(entries)


def _audit(action: str, message: Message, actor: Actor, note: str, now: datetime) -> AuditEntry:
    row = AuditEntry(at=now, user=actor.user, origin=actor.origin[:150], action=action, message=message, note=note.strip())  # type: ignore[misc]
    row.save()
    return row
