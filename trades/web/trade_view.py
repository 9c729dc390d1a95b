"""What the trade page shows, put into words: facts, lifecycle, what holds the trade up, and its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trades.lifecycle import STEPS, Flag, State, Status
from trades.messages.facts import EventClass
from trades.models import Event, Hold, Message, Trade
from trades.web import words
from trades.web.addresses import TradeAddress
from trades.web.facts_view import Fact, described, linked_ids, related_links, trade_facts
from trades.web.history_view import Lister
from trades.web.identity import identifiers_of, other_trades
from trades.web.reading import Reading
from trades.web.telling import Telling

ALWAYS_SHOWN = (Status.RECEIVED, Status.CHECKED, Status.CONFIRMED)
RESETTING = frozenset({EventClass.BOOK, EventClass.UPDATE, EventClass.CORRECT})
ENDS = {State.CANCELLED: "Cancelled", State.TERMINATED: "Terminated"}
MOST_COPIES = 20
MOST_OVERTAKEN = 10


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the lifecycle strip; kind is "done", "now", "bad" or ""."""

    name: str
    kind: str
    when: SafeString | str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Held:
    """What the trade's message group waits for."""

    message: Message
    waiting: int


def context_of(lister: Lister, selected: Event | None) -> dict[str, object]:
    """The context of the trade page, the selected event's own tab aside. The number of queries is always the same."""
    trade, telling, reading, address = lister.trade, lister.telling, lister.reading, lister.address
    standing = telling.story.standing
    identifiers = identifiers_of(trade)
    history = lister.history(selected.position if selected else 0, [identifier.value for identifier in identifiers])
    return {
        "trade": trade,
        "address": address,
        "telling": telling,
        "state": words.STATES[standing.state],
        "status": words.STATUSES.get(standing.status or ""),
        "facts": _facts(trade, telling, reading),
        "identifiers": identifiers,
        "others": other_trades(trade, reading.as_of),
        "steps": lifecycle_steps(telling, lister.now),
        "history": history,
        "asides": lister.asides,
        "overtaken": [
            (position, address.event(position, **reading.query()))
            for position in range(1, telling.count + 1)
            if Flag.OVERTAKEN in telling.flags(position)
        ][:MOST_OVERTAKEN],
        "dead_letters": [aside for aside in lister.asides.rows if aside.is_open and aside.is_dead_letter],
        "selected": selected,
        "selected_item": lister.item(selected) if selected else None,
        "right_after": lister.known_right_after(selected) if selected else "",
        "raw": address.raw(selected.position) if selected else "",
    } | ({} if reading.as_of else {"held": _held(trade), "quarantined": _quarantined(trade)})


def _facts(trade: Trade, telling: Telling, reading: Reading) -> list[Fact]:
    is_now = reading.as_of is None
    found = described(telling)
    facts = list(trade_facts(trade, telling, found, is_now=is_now))
    if found.related:
        facts.append(("Related ids", linked_ids(related_links(found.related, trade))))
    flagged = sum(bool(telling.flags(position)) for position in range(1, telling.count + 1))
    facts += [
        ("First seen", words.full_tag(telling.events[0].recorded_at if telling.events else trade.first_seen_at)),
        ("Last update", words.full_tag(telling.events[-1].recorded_at if telling.events else trade.updated_at)),
        ("Events", words.plural(telling.count, "event") + (f", {flagged:,} flagged" if flagged else "") + _last_by_business(telling)),
    ]
    return [*facts, ("Message group", trade.group_id or words.ABSENT)] if is_now else facts


def _last_by_business(telling: Telling) -> str:
    """Which event is the last in business order, where it is not the newest."""
    last = telling.business_order[-1] if telling.count else 0
    return f", event {last:,} last in business order" if last != telling.count else ""


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


def lifecycle_steps(telling: Telling, now: datetime) -> list[Step]:
    """The strip: the steps in order, each with the time it was reached since the values last changed, then how the trade ended or
    what it is stuck in."""
    reached = _reached(telling, now)
    standing = telling.story.standing
    current = standing.status
    at = STEPS.index(current) if current in STEPS else max((STEPS.index(s) for s in reached if s in STEPS), default=-1)
    shown = [step for step in STEPS if step in ALWAYS_SHOWN or STEPS.index(step) <= at]
    steps = []
    for step in shown:
        kind = ("now" if step is current else "done") if step in reached and STEPS.index(step) <= at else ""
        missing = "not seen" if STEPS.index(step) < at else ""
        steps.append(Step(step.value.capitalize(), kind, reached[step] if kind else missing, step is current))
    if current is not None and current not in STEPS:
        steps.append(Step(current.value.capitalize(), "bad", reached.get(current, ""), True))
    if (state := standing.state) in ENDS:
        steps.append(Step(ENDS[state], "bad" if state is State.CANCELLED else "done", _ended(telling, now), False))
    return steps


def _reached(telling: Telling, now: datetime) -> dict[Status, SafeString]:
    """When each status was reached since the last event, in business order, that set new values."""
    reached: dict[Status, datetime] = {}
    before: Status | None = None
    for known, chapter in telling.in_business_order():
        if chapter.status is not None and chapter.status is not before:
            if known.happening.event_class in RESETTING:
                reached.clear()
            reached[chapter.status] = known.time
        before = chapter.status or before
    return {status: words.time_tag(time, now) for status, time in reached.items()}


def _ended(telling: Telling, now: datetime) -> SafeString | str:
    """When the trade came into the state that it ended in."""
    since: datetime | None = None
    for known, chapter in telling.in_business_order():
        if chapter.state is not telling.story.standing.state:
            since = None
        elif since is None:
            since = known.time
    return words.time_tag(since, now) if since else ""


# One event


def copies_of(message: Message, moment: datetime | None) -> QuerySet[Message]:
    """The messages with the same content that arrived later and had no effect, as far as known at the moment."""
    rows = Message.objects.filter(repeats_message=message, outcome=Message.Outcome.DUPLICATE).defer("body", "attributes").order_by("pk")
    return rows if moment is None else rows.filter(recorded_at__lte=moment)


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
        ("Publication id", _publication_id(message), bool(message.publication_id)),
        ("SHA-256", message.body_sha256, True),
        ("MD5", message.body_md5, True),
        ("Size", words.plural(message.size, "byte"), False),
        ("Dialect", message.dialect or words.ABSENT, False),
        ("Message type", message.message_type or words.ABSENT, False),
    ]
    return facts


def _publication_id(message: Message) -> str | SafeString:
    if message.publication_id:
        return str(message.publication_id)
    if message.corrects_id is not None:
        return "none: a person wrote it as a correction"
    if message.conflicts_with_id is None:
        return "sent by another program"
    first = Message.objects.only("publication_id").get(pk=message.conflicts_with_id)
    return format_html('{}, which <a href="{}">message {}</a> brought first', first.publication_id, message_address(first), first.pk)


def event_address(event: Event) -> str:
    """The address of an event's page; its trade must be loaded."""
    return TradeAddress(event.trade.trade_id).event(event.position)


def message_address(message: Message) -> str:
    """The address of a message's own page."""
    return reverse("message", args=[message.pk])
