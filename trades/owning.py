"""What people do about trades: own them, let go of them, note something, acknowledge what is wrong. Each act is an audit entry.

Nobody overwrites what they had not seen: an act names, for each trade, the owner and the number of events that were on the page.
Rows of a trade are only written under the trade's lock, taken in the order of their keys, as workers do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q

from trades.lifecycle import Kind
from trades.models import AuditEntry, Trade, TradeException

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MOST = 200  # trades at a time
MOST_CHARACTERS = 1_000
Action = AuditEntry.Action


@dataclass(frozen=True, slots=True)
class Seen:
    """A trade as it stood on the page of whoever acts: its owner (0 for none), its number of events, and what is to be acknowledged."""

    trade: int
    owner: int = 0
    events: int = 0
    kinds: frozenset[Kind] = frozenset()


@dataclass(slots=True)
class Result:
    """The trades that were acted on, and a sentence for each that was not."""

    done: list[Trade] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def assign(seen: Sequence[Seen], *, user: User, now: datetime) -> Result:
    """Make somebody the owner of trades. A trade that has got another owner since it was seen keeps that one."""

    def act(trade: Trade, known: Seen) -> str | None:
        if trade.owner_id == user.pk:
            return ""
        if (trade.owner_id or 0) != known.owner:
            return _owned_now(trade)
        trade.owner, trade.owned_since = user, now
        return None

    return _act(seen, Action.ASSIGN, act, user=user, now=now)


def release(seen: Sequence[Seen], *, user: User, now: datetime) -> Result:
    """Leave trades without an owner. A trade that has got another owner since it was seen keeps that one."""

    def act(trade: Trade, known: Seen) -> str | None:
        if trade.owner_id is None:
            return ""
        if trade.owner_id != known.owner:
            return _owned_now(trade)
        trade.owner = trade.owned_since = None
        return None

    return _act(seen, Action.RELEASE, act, user=user, now=now)


def note(seen: Sequence[Seen], text: str, *, user: User, now: datetime) -> Result:
    """Keep a note with trades."""
    return _act(seen, Action.NOTE, lambda trade, known: None, user=user, now=now, words=text[:MOST_CHARACTERS])


def acknowledge(seen: Sequence[Seen], *, user: User, now: datetime) -> Result:
    """Take exceptions off the list until there is a new cause. Not those of a trade that got a further event since it was seen."""

    def act(trade: Trade, known: Seen) -> str | None:
        if trade.event_count != known.events:
            return f"{trade.trade_id} got a further event meanwhile. Look at it, then acknowledge."
        open_kinds = Q(trade=trade, kind__in=[kind.value for kind in known.kinds], acknowledged_at__isnull=True)
        return None if TradeException.objects.filter(open_kinds).update(acknowledged_at=now) else ""

    return _act(seen, Action.ACKNOWLEDGE, act, user=user, now=now)


def _act(
    seen: Sequence[Seen],
    action: AuditEntry.Action,
    act: Callable[[Trade, Seen], str | None],
    *,
    user: User,
    now: datetime,
    words: str = "",
) -> Result:
    """Let `act` change each trade: None when it did, "" when there was nothing to do, else why it did not."""
    result, entries = Result(), []
    wanted = {each.trade: each for each in _merged(seen)[:MOST]}
    with transaction.atomic():
        trades = Trade.objects.select_for_update(no_key=True, of=("self",)).select_related("owner").filter(pk__in=wanted).order_by("pk")
        for trade in trades:
            refusal = act(trade, wanted[trade.pk])
            if refusal:
                result.refused.append(refusal)
                continue
            result.done.append(trade)
            if refusal is None:
                told = words or ", ".join(sorted(kind.value for kind in wanted[trade.pk].kinds))
                entries.append(AuditEntry(at=now, user=user, action=action, trade=trade, note=told))
        if action in (Action.ASSIGN, Action.RELEASE):
            Trade.objects.bulk_update(result.done, ["owner", "owned_since"])
        AuditEntry.objects.bulk_create(entries)
    return result


def _merged(seen: Sequence[Seen]) -> list[Seen]:
    """One for each trade, with all the kinds that were ticked for it."""
    merged: dict[int, Seen] = {}
    for each in seen:
        kinds = each.kinds | (merged[each.trade].kinds if each.trade in merged else frozenset())
        merged[each.trade] = Seen(each.trade, each.owner, each.events, kinds)
    return list(merged.values())


def _owned_now(trade: Trade) -> str:
    if trade.owner is None:
        return f"{trade.trade_id} has no owner any more."
    since = f", since {trade.owned_since.astimezone(UTC):%H:%M:%S} UTC" if trade.owned_since else ""
    return f"{trade.trade_id} belongs to {trade.owner.get_username()} now{since}. Nothing was changed."
