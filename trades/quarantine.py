"""Settle what was quarantined: replay it unchanged or discard it, then let what waited behind it into the history, in order.

Everything happens in the database, in one transaction; nothing goes through the queue again, where it would arrive behind what
waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet

from trades import history, ledger
from trades.ledger import Entry
from trades.messages.facts import MessageRefused
from trades.models import AuditEntry, Hold, Message

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

logger = logging.getLogger(__name__)

Outcome = Message.Outcome
CHUNK = 100
DEADLOCK = "40P01"  # https://www.postgresql.org/docs/current/errcodes-appendix.html
DEADLOCK_TRIES = 4
SETTLING = ["outcome", "dialect", "message_type", "mapping_version", "reason", "repeats_message"]


class NotQuarantined(Exception):
    """The message is not in quarantine any more: somebody settled it first."""


@dataclass(frozen=True, slots=True)
class Result:
    """What settling did: messages recorded (those that waited included), and why the message was refused again, if it was."""

    recorded: int = 0
    still: str = ""


def replay(message: Message, *, user: AbstractBaseUser | None, note: str = "", now: datetime) -> Result:
    """Read the message again, unchanged, and record it if it is understood now. One that was taken for no trade event can be read
    again too. Raises NotQuarantined."""

    def settle() -> Result:
        hold, locked = _lock(message, Outcome.QUARANTINED, Outcome.REFERENCE)
        judgement = history.judge(locked.body)
        if isinstance(judgement, MessageRefused):
            history.refuse(locked, judgement)
            refusal: MessageRefused | None = judgement
        else:
            _, refusal = _enter_or_refuse([Entry(locked, judgement)], now)
        if refusal is not None:
            locked.save()
            _audit("replay refused", locked, user, note or str(refusal), now)
            return Result(still=str(refusal))
        _audit("replay", locked, user, note, now)
        return Result(_recorded([locked]) + _let_go(hold, locked, now))

    return _in_one_transaction(settle)


def discard(message: Message, *, user: AbstractBaseUser | None, reason: str, now: datetime) -> Result:
    """Set the message aside for good, with a reason; its text is kept. Raises NotQuarantined, or ValueError without a reason."""
    if not reason.strip():
        raise ValueError("A reason is needed to discard a message.")

    def settle() -> Result:
        hold, locked = _lock(message, Outcome.QUARANTINED)
        locked.outcome = Outcome.DISCARDED
        locked.save(update_fields=["outcome"])
        _audit("discard", locked, user, reason, now)
        return Result(_let_go(hold, locked, now))

    return _in_one_transaction(settle)


def waiting_behind(message: Message) -> int:
    """How many messages are held behind this one."""
    if not Hold.objects.filter(message=message).exists():
        return 0
    return _held(message.queue, message.group_id).count()


def _in_one_transaction(settle: Callable[[], Result]) -> Result:
    """Do it in one transaction, from the start again where PostgreSQL ends that because it and a worker wait for each other: what
    waited is entered step by step, each locking its own trades."""
    for _ in range(DEADLOCK_TRIES):
        try:
            with transaction.atomic():
                return settle()
        except OperationalError as error:
            if connection.in_atomic_block or getattr(error.__cause__, "sqlstate", "") != DEADLOCK:
                raise
            logger.info("settling once more after: %s", error)
    with transaction.atomic():
        return settle()


def _lock(message: Message, *outcomes: Message.Outcome) -> tuple[Hold | None, Message]:
    # The hold before the message, the order in which the worker locks too.
    hold = Hold.objects.select_for_update().filter(queue=message.queue, group_id=message.group_id).first()
    locked = Message.objects.select_for_update().get(pk=message.pk)
    if locked.outcome not in outcomes:
        raise NotQuarantined(f"Message {locked.message_id} is {locked.get_outcome_display().lower()} already. Reload the page.")
    return hold, locked


def _let_go(hold: Hold | None, settled: Message, now: datetime) -> int:
    """Record what waited, up to the next message that is not understood: that one is quarantined and holds the rest."""
    if hold is None or hold.message_id != settled.pk:
        return 0
    recorded = 0
    while waiting := list(_held(hold.queue, hold.group_id)[:CHUNK]):
        entries: list[Entry] = []
        for message in waiting:
            judgement = history.judge(message.body)
            if isinstance(judgement, MessageRefused):
                history.refuse(message, judgement)
                break
            entries.append(Entry(message, judgement))
        entered, refusal = _enter_or_refuse(entries, now)
        recorded += _recorded(waiting[:entered])
        if refusal is not None or len(entries) < len(waiting):
            next_one = waiting[entered]
            next_one.save()
            hold.message = next_one
            hold.save(update_fields=["message"])
            return recorded
    hold.delete()
    return recorded


def _recorded(messages: list[Message]) -> int:
    """How many were recorded: copies of what the history has already have no effect."""
    return sum(message.outcome == Outcome.RECORDED for message in messages)


def _enter_or_refuse(entries: list[Entry], now: datetime) -> tuple[int, MessageRefused | None]:
    """Enter the messages in order, up to the first that the database can't take: that one is refused (not saved).

    Gives how many were entered, and the refusal.
    """
    try:
        with transaction.atomic():
            return _enter(entries, now), None
    except history.UNSTORABLE as error:
        if len(entries) == 1:
            refusal = history.not_storable(error)
            history.refuse(entries[0].message, refusal)
            return 0, refusal
    for count, entry in enumerate(entries):
        _, refused = _enter_or_refuse([entry], now)
        if refused is not None:
            return count, refused
    return len(entries), None


def _held(queue: str, group_id: str) -> QuerySet[Message]:
    return Message.objects.filter(queue=queue, group_id=group_id, outcome=Outcome.HELD).order_by("id")


def _enter(entries: list[Entry], now: datetime) -> int:
    entered = ledger.enter([entry for entry in entries if history.accept(entry.message, entry.parsed)], now=now)
    Message.objects.bulk_update([entry.message for entry in entries], SETTLING)
    entered.save()
    return len(entries)


def _audit(action: str, message: Message, user: AbstractBaseUser | None, note: str, now: datetime) -> None:
    AuditEntry.objects.create(at=now, user=user, action=action, message=message, note=note)  # type: ignore[misc]
