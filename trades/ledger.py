"""Enter understood messages into the histories of their trades, inside the caller's transaction.

The trades concerned are locked in the order of their keys, new ones made first, so that two workers never wait for each other
in a circle. The number of queries does not depend on the number of messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from trades import bulk
from trades.lifecycle import Flag, Happening, Standing, State, Status, fold, is_orphan, step
from trades.messages.facts import EventClass, ParsedMessage, TradeEvent, TradeId
from trades.models import Event, Message, Trade

ADDRESSING = frozenset({EventClass.CORRECT, EventClass.RETRACT})
DESCRIBING = frozenset({EventClass.BOOK, EventClass.UPDATE, EventClass.CORRECT, EventClass.SNAPSHOT})
CHANGING = [
    "state", "once_booked", "status", "version", "event_count", "flagged_count", "last_class", "last_event_time", "queue", "group_id",
    "trade_date", "product", "parties", "notional", "updated_at",
]  # fmt: skip


@dataclass(slots=True)
class Entry:
    """One message to enter, with what it was understood to be, and whether one before it in its group is in quarantine.

    The message need not be saved yet.
    """

    message: Message
    parsed: ParsedMessage
    after_gap: bool = False


@dataclass(slots=True)
class Entered:
    """Events, each with its message and trade, to save once the messages are saved, and the messages that turned out to be copies."""

    events: list[tuple[Event, Message, Trade]] = field(default_factory=list)
    copies: list[Message] = field(default_factory=list)

    def save(self) -> None:
        """Store the events and the new standing of their trades."""
        for event, message, _ in self.events:
            event.message_id = message.pk
        bulk.insert([event for event, _, _ in self.events])
        bulk.rewrite(list({trade.pk: trade for _, _, trade in self.events}.values()), CHANGING)


def trade_key(trade_id: TradeId) -> str:
    """The key of a trade's history: SHA-256 of scheme and id, both exactly as stated."""
    return hashlib.sha256(f"{trade_id.scheme}\x1f{trade_id.value}".encode()).hexdigest()


def enter(entries: Sequence[Entry], *, now: datetime) -> Entered:
    """Work out the events that the messages add, in the order given. A message whose every event is in the history already, byte
    for byte, becomes a DUPLICATE of the message that brought it."""
    entered = Entered()
    if not entries:
        return entered
    facts = [(entry, part, fact) for entry in entries for part, fact in enumerate(entry.parsed.events, start=1)]
    trades = _lock_trades({trade_key(fact.trade_id): fact.trade_id for _, _, fact in facts}, now)
    seen = _seen_contents(facts)
    earlier = _earlier_happenings(facts, trades)
    for entry, part, fact in facts:
        trade = trades[trade_key(fact.trade_id)]
        content = _content_sha256(entry.message, part)
        if (original := seen.get((trade.pk, content))) is not None:
            _mark_copy(entry, original, entered)
            continue
        seen[trade.pk, content] = entry.message
        event = _append(trade, entry, part, fact, content, earlier, now)
        entered.events.append((event, entry.message, trade))
    _unmark_partial_copies(entered)
    return entered


def _lock_trades(wanted: dict[str, TradeId], now: datetime) -> dict[str, Trade]:
    keys = sorted(wanted)
    missing = set(keys).difference(Trade.objects.filter(key__among=keys).values_list("key", flat=True))
    if missing:
        moments = {"first_seen_at": now, "updated_at": now}
        bulk.insert_missing(
            [bulk.new(Trade, key=key, scheme=wanted[key].scheme, trade_id=wanted[key].value, **moments) for key in sorted(missing)]
        )
    locked = Trade.objects.select_for_update().filter(key__among=keys).order_by("key")
    return {trade.key: trade for trade in locked}


def _seen_contents(facts: Iterable[tuple[Entry, int, TradeEvent]]) -> dict[tuple[int, str], int | Message]:
    contents = [_content_sha256(entry.message, part) for entry, part, _ in facts]
    rows = Event.objects.filter(content_sha256__among=contents).values_list("trade_id", "content_sha256", "message_id")
    return {(trade, content): message for trade, content, message in rows}


def _earlier_happenings(facts: Iterable[tuple[Entry, int, TradeEvent]], trades: dict[str, Trade]) -> dict[int, list[Happening]]:
    """The events so far of those trades that get a correction or a retraction; only these need more than their standing."""
    concerned = {trades[trade_key(fact.trade_id)].pk for _, _, fact in facts if fact.event_class in ADDRESSING}
    earlier: dict[int, list[Happening]] = {pk: [] for pk in concerned}
    if concerned:
        rows = Event.objects.filter(trade__in=concerned).order_by("trade", "position")
        for trade, event_class, status, version, sender, thread in rows.values_list(
            "trade_id", "event_class", "status", "version", "sender", "correlation_id"
        ):
            earlier[trade].append(Happening(EventClass(event_class), status, version, (sender, thread) if thread else None))
    return earlier


def _append(
    trade: Trade, entry: Entry, part: int, fact: TradeEvent, content: str, earlier: dict[int, list[Happening]], now: datetime
) -> Event:
    message = entry.message
    thread = (fact.sender, fact.correlation_id) if fact.correlation_id else None
    happening = Happening(fact.event_class, fact.status, fact.version, thread)
    standing, flags = _advance(_standing_of(trade), happening, earlier.get(trade.pk))
    if entry.after_gap:
        flags = (*flags, Flag.GAP)
    trade.event_count += 1
    trade.flagged_count += bool(flags)
    trade.state, trade.once_booked = standing.state.value, standing.once_booked.value
    trade.status, trade.version = standing.status.value if standing.status else "", standing.version
    trade.last_class, trade.last_event_time = fact.event_class.value, fact.event_time
    trade.queue, trade.group_id, trade.updated_at = message.queue, message.group_id, now
    if not {Flag.AFTER_END, Flag.OLD_VERSION}.intersection(flags):
        _describe(trade, fact)
    return bulk.new(
        Event,
        trade_id=trade.pk,
        position=trade.event_count,
        part=part,
        event_class=fact.event_class.value,
        event_kind=fact.event_kind,
        status=fact.status,
        version=fact.version,
        sequence=fact.sequence,
        sender=fact.sender,
        document_message_id=fact.message_id,
        correlation_id=fact.correlation_id,
        in_reply_to=fact.in_reply_to,
        event_time=fact.event_time,
        event_time_text=fact.event_time_text,
        trade_date=fact.trade_date,
        reason=fact.reason,
        details=_details(fact),
        flags=[flag.value for flag in flags],
        state_after=trade.state,
        status_after=trade.status,
        content_sha256=content,
        recorded_at=now,
    )


def _standing_of(trade: Trade) -> Standing:
    return Standing(State(trade.state), Status(trade.status) if trade.status else None, trade.version, State(trade.once_booked))


def _advance(standing: Standing, happening: Happening, earlier: list[Happening] | None) -> tuple[Standing, tuple[Flag, ...]]:
    after, flags = step(standing, happening)
    if earlier is None:
        return after, flags
    if happening.event_class in ADDRESSING:
        if is_orphan(earlier, happening):
            flags = (*flags, Flag.ORPHAN)
        after = fold([*earlier, happening])
    earlier.append(happening)
    return after, flags


def _describe(trade: Trade, fact: TradeEvent) -> None:
    """Take over what the event says of the trade: all of it from an event that states the trade, else only what was not known."""
    details, states = fact.details, fact.event_class in DESCRIBING
    for name, value in (
        ("trade_date", fact.trade_date),
        ("product", str(details.get("product", ""))[:255]),
        ("parties", _parties(details)[:500]),
        ("notional", _notional(details)[:100]),
    ):
        if value and (states or not getattr(trade, name)):
            setattr(trade, name, value)


def _parties(details: object) -> str:
    parties = details.get("parties", []) if isinstance(details, dict) else []
    return " / ".join(party.get("name") or party.get("lei") or "" for party in parties)


def _notional(details: object) -> str:
    if not isinstance(details, dict):
        return ""
    if notionals := details.get("notionals"):
        return " / ".join(f"{notional['amount']} {notional.get('currency', '')}".strip() for notional in notionals)
    return f"{details.get('quantity', '')} {details.get('quantity_unit', '')}".strip()


def _details(fact: TradeEvent) -> dict[str, object]:
    related = [{"scheme": trade_id.scheme, "id": trade_id.value} for trade_id in fact.related_ids]
    other = [{"scheme": trade_id.scheme, "id": trade_id.value} for trade_id in fact.trade_ids[1:]]
    return dict(fact.details) | ({"other_ids": other} if other else {}) | ({"related_ids": related} if related else {})


def _content_sha256(message: Message, part: int) -> str:
    return message.body_sha256 if part == 1 else hashlib.sha256(f"{message.body_sha256}:{part}".encode()).hexdigest()


def _mark_copy(entry: Entry, original: int | Message, entered: Entered) -> None:
    entry.message.outcome = Message.Outcome.DUPLICATE
    if isinstance(original, Message):
        entry.message.repeats_message = original
    else:
        entry.message.repeats_message_id = original
    entered.copies.append(entry.message)


def _unmark_partial_copies(entered: Entered) -> None:
    """A message that brought at least one new event is recorded, not a duplicate."""
    bringing = {id(message) for _, message, _ in entered.events}
    for message in [message for message in entered.copies if id(message) in bringing]:
        message.outcome, message.repeats_message = Message.Outcome.RECORDED, None
        entered.copies.remove(message)
