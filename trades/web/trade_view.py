"""What the trade page shows, put into words: facts, lifecycle, what holds the trade up, and its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from trades.lifecycle import FLAG_WORDS, STEPS, Flag, State, Status
from trades.messages.facts import EventClass
from trades.models import Event, Hold, Message, Trade
from trades.web import words
from trades.web.addresses import TradeAddress
from trades.web.words import Badge

WINDOW = 200
ALWAYS_SHOWN = (Status.RECEIVED, Status.CHECKED, Status.CONFIRMED)
RESETTING = frozenset({EventClass.BOOK, EventClass.UPDATE, EventClass.CORRECT})
ENDS = {State.CANCELLED: "Cancelled", State.TERMINATED: "Terminated"}
LISTED = (
    "id", "trade_id", "position", "event_class", "event_kind", "status", "version", "event_time", "recorded_at", "flags", "reason",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the lifecycle strip; kind is "done", "now", "bad" or ""."""

    name: str
    kind: str
    when: SafeString | str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Item:
    """One event as the history lists it."""

    position: int
    href: str
    badges: list[Badge]
    recorded: SafeString
    line: str
    reason: str
    flags: list[str]
    is_selected: bool


@dataclass(frozen=True, slots=True)
class History:
    """A window of the history, and the addresses of the windows beside it ("" where there is none)."""

    items: list[Item]
    newest_first: bool
    other_order: str
    newer: str
    older: str
    span: str


@dataclass(frozen=True, slots=True)
class Held:
    """What the trade's message group waits for."""

    message: Message
    waiting: int


def context_of(trade: Trade, address: TradeAddress, selected: Event | None, params: Mapping[str, str]) -> dict[str, object]:
    """The context of the trade page, the selected event's own tab aside. Five queries."""
    now = timezone.now()
    return {
        "trade": trade,
        "address": address,
        "state": words.STATES[trade.state],
        "status": words.STATUSES.get(trade.status),
        "facts": list(_facts(trade)),
        "steps": lifecycle_steps(trade, now),
        "held": _held(trade),
        "quarantined": _quarantined(trade),
        "history": history_of(trade, address, selected.position if selected else 0, params, now),
        "selected": selected,
        "selected_item": item_of(selected, address, now) if selected else None,
        "raw": address.raw(selected.position) if selected else "",
    }


def _facts(trade: Trade) -> Iterator[tuple[str, str | SafeString]]:
    details = _latest_details(trade)
    flagged = f", {trade.flagged_count} flagged" if trade.flagged_count else ""
    yield "Trade date", words.day(trade.trade_date) or words.ABSENT
    yield "Product", trade.product or words.ABSENT
    yield "Parties", trade.parties or words.ABSENT
    yield "Notional", words.grouped(trade.notional) or words.ABSENT
    yield "Price", _amount(details, "price", ("price_currency", "currency"), "price_type") or words.ABSENT
    yield "Quantity", _amount(details, "quantity", ("quantity_unit",), "") or words.ABSENT
    yield "Version", str(trade.version) if trade.version is not None else words.ABSENT
    yield "Scheme", trade.scheme or words.ABSENT
    yield "First seen", words.full_tag(trade.first_seen_at)
    yield "Last update", words.full_tag(trade.updated_at)
    yield "Events", f"{words.plural(trade.event_count, 'event')}{flagged}"
    yield "Message group", trade.group_id or words.ABSENT


def _latest_details(trade: Trade) -> dict[str, Any]:
    """The details of the newest event that states the trade, where its price and quantity are."""
    describing = [*RESETTING, EventClass.SNAPSHOT]
    newest = Event.objects.filter(trade=trade, event_class__in=describing).exclude(details={}).order_by("-position")
    details = newest.values_list("details", flat=True).first()
    return details if isinstance(details, dict) else {}


def _amount(details: Mapping[str, Any], name: str, units: Sequence[str], kind: str) -> str:
    if not details.get(name):
        return ""
    unit = next((details[unit] for unit in units if details.get(unit)), "")
    stated = f" ({details[kind]})" if kind and details.get(kind) else ""
    return words.grouped(f"{details[name]} {unit}".strip()) + stated


def _held(trade: Trade) -> Held | None:
    hold = Hold.objects.select_related("message").defer("message__body").filter(queue=trade.queue, group_id=trade.group_id).first()
    if hold is None:
        return None
    waiting = Message.objects.filter(queue=trade.queue, group_id=trade.group_id, outcome=Message.Outcome.HELD).count()
    return Held(hold.message, waiting)


def _quarantined(trade: Trade) -> list[Message]:
    rows = Message.objects.filter(queue=trade.queue, group_id=trade.group_id, outcome=Message.Outcome.QUARANTINED)
    return list(rows.defer("body").order_by("-id")[:10])


# Lifecycle


def lifecycle_steps(trade: Trade, now: datetime) -> list[Step]:
    """The strip: the steps in order, each with the time it was reached since the values last changed, then how the trade ended or
    what it is stuck in."""
    reached = _reached(trade, now)
    current = Status(trade.status) if trade.status else None
    at = STEPS.index(current) if current in STEPS else max((STEPS.index(s) for s in reached if s in STEPS), default=-1)
    shown = [step for step in STEPS if step in ALWAYS_SHOWN or STEPS.index(step) <= at]
    steps = []
    for step in shown:
        kind = ("now" if step is current else "done") if step in reached and STEPS.index(step) <= at else ""
        missing = "not seen" if STEPS.index(step) < at else ""
        steps.append(Step(step.value.capitalize(), kind, reached[step] if kind else missing, step is current))
    if current is not None and current not in STEPS:
        steps.append(Step(current.value.capitalize(), "bad", reached.get(current, ""), True))
    if (state := State(trade.state)) in ENDS:
        steps.append(Step(ENDS[state], "bad" if state is State.CANCELLED else "done", _ended(trade, now), False))
    return steps


def _reached(trade: Trade, now: datetime) -> dict[Status, SafeString]:
    """When each status was reached since the last event that set new values."""
    rows = Event.objects.filter(trade=trade).exclude(status_after="").order_by("position")
    reached: dict[Status, SafeString] = {}
    before = ""
    for event_class, after, event_time, recorded_at in rows.values_list("event_class", "status_after", "event_time", "recorded_at"):
        if event_class in RESETTING and after != before:
            reached.clear()
        if after != before:
            reached[Status(after)] = words.time_tag(event_time or recorded_at, now)
        before = after
    return reached


def _ended(trade: Trade, now: datetime) -> SafeString | str:
    """When the trade came into the state that it ended in."""
    rows = Event.objects.filter(trade=trade)
    last_other = rows.exclude(state_after=trade.state).order_by("-position").values_list("position", flat=True)[:1]
    since = next(iter(last_other), 0)
    first = rows.filter(position__gt=since).order_by("position").values_list("event_time", "recorded_at").first()
    return words.time_tag(first[0] or first[1], now) if first else ""


# History


def history_of(trade: Trade, address: TradeAddress, selected: int, params: Mapping[str, str], now: datetime) -> History:
    """The window of the history around `params["around"]`, by default around the selected event.

    Positions run from 1 without gap, so a window is a range of positions: the index answers it however long the history is.
    """
    newest_first = params.get("order") != "oldest"
    low, high = _window(trade.event_count, _number(params.get("around", "")) or selected or trade.event_count)
    rows = Event.objects.filter(trade=trade, position__range=(low, high)).only(*LISTED)
    rows = rows.order_by("-position" if newest_first else "position")
    order = {} if newest_first else {"order": "oldest"}
    here = address.event(selected, **({} if order else {"order": "oldest"})) if selected else address.page()

    def beside(around: int) -> str:
        return address.event(selected or around, **order, around=str(around))

    return History(
        items=[item_of(row, address, now, selected, **order) for row in rows],
        newest_first=newest_first,
        other_order=here,
        newer=beside(high + 1) if high < trade.event_count else "",
        older=beside(low - 1) if low > 1 else "",
        span=f"{low:,} to {high:,} of {trade.event_count:,}" if trade.event_count > WINDOW else words.plural(trade.event_count, "event"),
    )


def item_of(event: Event, address: TradeAddress, now: datetime, selected: int = 0, **query: str) -> Item:
    """An event in the words of the history."""
    badges = [words.CLASSES.get(event.event_class, Badge(event.event_class, "", "circle-dot"))]
    if event.status:
        badges.append(words.status_badge(event.status))
    said = [event.event_kind.replace("_", " ").lower(), f"version {event.version}" if event.version is not None else ""]
    said.append(f"at {words.full(event.event_time)}" if event.event_time else "no time stated")
    return Item(
        position=event.position,
        href=address.event(event.position, **query),
        badges=badges,
        recorded=words.time_tag(event.recorded_at, now),
        line=", ".join(word for word in said if word),
        reason=event.reason,
        flags=[FLAG_WORDS[Flag(flag)] if flag in Flag.__members__ else str(flag) for flag in event.flags],
        is_selected=event.position == selected,
    )


def _window(count: int, around: int) -> tuple[int, int]:
    """The positions of the window that holds `around`; windows are full from the newest end."""
    around = min(max(around, 1), max(count, 1))
    high = count - (count - around) // WINDOW * WINDOW
    return max(1, high - WINDOW + 1), high


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


# One event


def fields_of(event: Event) -> list[tuple[str, str | SafeString]]:
    """Everything the document says about this event, field by field."""
    stated = {
        "event class": event.event_class, "event kind": event.event_kind, "status": event.status, "version": event.version,
        "sequence": event.sequence, "sender": event.sender, "message id": event.document_message_id,
        "correlation id": event.correlation_id, "in reply to": event.in_reply_to, "event time as stated": event.event_time_text,
        "trade date": words.day(event.trade_date), "reason": event.reason,
    }  # fmt: skip
    fields: list[tuple[str, str | SafeString]] = [(name, str(value)) for name, value in stated.items() if value not in (None, "")]
    if event.event_time:
        fields.append(("event time", words.full_tag(event.event_time)))
    fields += _flattened("", event.details)
    fields.append(("state after", event.state_after.capitalize()))
    fields.append(("status after", event.status_after.capitalize() or words.ABSENT))
    return fields


def _flattened(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flattened(f"{path} › {key}" if path else str(key).replace("_", " "), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value, start=1):
            yield from _flattened(f"{path} {number}", inner)
    elif value not in (None, ""):
        yield path, str(value)


def transport_of(message: Message) -> list[tuple[str, str | SafeString, bool]]:
    """The facts of the message's way through the queue: name, value, whether it is worth copying."""
    facts: list[tuple[str, str | SafeString, bool]] = [
        ("Queue", message.queue, False),
        ("Message id", message.message_id, True),
        ("Message group", message.group_id, True),
        ("Deduplication id", message.deduplication_id or words.ABSENT, bool(message.deduplication_id)),
        ("Sequence number", message.sequence_number.lstrip("0") or words.ABSENT, bool(message.sequence_number)),
        ("Sent", words.full_tag(message.sent_at), False),
        ("Received", words.full_tag(message.received_at), False),
        ("Recorded", words.full_tag(message.recorded_at), False),
        ("Receive count", str(message.receive_count), False),
        ("Repeated deliveries", f"{message.repeats}", False),
        (
            "Publication id",
            str(message.publication_id) if message.publication_id else "sent by another program",
            bool(message.publication_id),
        ),
        ("SHA-256", message.body_sha256, True),
        ("MD5", message.body_md5, True),
        ("Size", words.plural(message.size, "byte"), False),
        ("Dialect", message.dialect or words.ABSENT, False),
        ("Message type", message.message_type or words.ABSENT, False),
    ]
    return facts


def event_address(event: Event) -> str:
    """The address of an event's page; its trade must be loaded."""
    return TradeAddress(event.trade.trade_id).event(event.position)


def message_address(message: Message) -> str:
    """The address of a message's own page."""
    return reverse("message", args=[message.pk])
