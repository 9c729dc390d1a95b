"""What the trade page shows, put into words: facts, lifecycle, what holds the trade up, and its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html, strip_tags
from django.utils.safestring import SafeString

from trades import exceptions
from trades.lifecycle import STEPS, State, Status
from trades.models import Event, Message, Trade
from trades.web import texts, words
from trades.web.addresses import TradeAddress
from trades.web.facts_view import Fact, described, linked_ids, related_links, trade_facts
from trades.web.history_view import Lister
from trades.web.identity import Meant, other_trades
from trades.web.reading import Reading
from trades.web.telling import Telling
from trades.web.time_in_status import ended_at, stays_of, took

ALWAYS_SHOWN = (Status.RECEIVED, Status.CHECKED, Status.CONFIRMED)
ENDS = {State.CANCELLED: "Cancelled", State.TERMINATED: "Terminated"}
MOST_COPIES = 20
MOST_OVERTAKEN = 10
LONGEST_WAS = 80  # characters of a value as it was


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the lifecycle strip; kind is "done", "now", "bad" or ""."""

    name: str
    kind: str
    when: SafeString | str
    is_current: bool


@dataclass(frozen=True, slots=True)
class HeadFact:
    """A fact of the head; `was` is its value before the newest event, "" where that did not change it."""

    name: str
    value: SafeString | str
    was: str = ""


@dataclass(frozen=True, slots=True)
class InStatus:
    """How long the trade is in its status: in words with the limit, and the tone."""

    said: str
    tone: str


def context_of(lister: Lister, selected: Event | None, meant: Meant) -> dict[str, object]:
    """The context of the trade page, the selected event's own tab aside. The number of queries is always the same."""
    trade, telling, reading, address = lister.trade, lister.telling, lister.reading, lister.address
    standing, identifiers = telling.story.standing, meant.identifiers
    values = [identifier.value for identifier in identifiers]
    history = lister.history(selected.position if selected else 0, values)
    return {
        "trade": trade,
        "address": address,
        "telling": telling,
        "state": words.STATES[standing.state],
        "status": words.STATUSES.get(standing.status or ""),
        "in_status": _in_status(trade, telling, lister.now) if reading.as_of is None else None,
        "owner": trade.owner if reading.as_of is None else None,
        "facts": _facts(trade, telling, reading, lister.described()),
        "identifiers": identifiers,
        "others": other_trades(trade, reading.as_of) if meant.is_linked else [],
        "steps": lifecycle_steps(telling, reading.as_of or lister.now),
        "stays": stays_of(telling, reading.as_of or lister.now),
        "history": history,
        "asides": lister.asides,
        "overtaken": [(position, address.event(position, **reading.query())) for position in telling.overtaken[:MOST_OVERTAKEN]],
        "dead_letters": [aside for aside in lister.asides.rows if aside.is_open and aside.is_dead_letter],
        "selected": selected,
        "selected_item": lister.item(selected) if selected else None,
        "right_after": lister.known_right_after(selected) if selected else "",
        "raw": address.raw(selected.position) if selected else "",
        "blocked": lister.asides.blocked,
    }


def _facts(trade: Trade, telling: Telling, reading: Reading, stated: Mapping[int, tuple[date | None, Any]]) -> list[HeadFact]:
    is_now = reading.as_of is None
    found = described(telling, stated)
    facts = list(trade_facts(trade, telling, found, is_now=is_now))
    was = _as_it_was(trade, telling, stated)
    if found.related:
        facts.append(("Related ids", linked_ids(related_links(found.related, trade))))
    flagged = telling.flagged
    facts += [
        ("First seen", words.full_tag(telling.events[0].recorded_at if telling.events else trade.first_seen_at)),
        ("Last update", words.full_tag(telling.events[-1].recorded_at if telling.events else trade.updated_at)),
        ("Events", words.plural(telling.count, "event") + (f", {flagged:,} flagged" if flagged else "") + _last_by_business(telling)),
    ]
    if is_now:
        facts.append(("Message group", trade.group_id or words.ABSENT))
    return [HeadFact(name, value, _before(value, was.get(name))) for name, value in facts]


def _as_it_was(trade: Trade, telling: Telling, stated: Mapping[int, tuple[date | None, Any]]) -> dict[str, SafeString | str]:
    """The facts without the newest event; none where it can't have changed them."""
    before = telling.before_newest
    if before is None:
        return {}
    facts: list[Fact] = list(trade_facts(trade, before, described(before, stated), is_now=False))
    return {name: value for name, value in facts if name != "Last reason"}


def _before(value: SafeString | str, was: SafeString | str | None) -> str:
    """The value as it was, where it was another."""
    if was is None or was == words.ABSENT or str(was) == str(value):
        return ""
    return words.cut(" ".join(strip_tags(str(was).replace("</span>", " </span>")).split()), LONGEST_WAS)


def _last_by_business(telling: Telling) -> str:
    """Which event is the last in business order, where it is not the newest."""
    last = telling.business_order[-1] if telling.count else 0
    return f", event {last:,} last in business order" if last != telling.count else ""


def _in_status(trade: Trade, telling: Telling, now: datetime) -> InStatus | None:
    standing = telling.story.standing
    if standing.status is None or standing.state in ENDS:
        return None
    age = max(timedelta(), now - trade.status_since)
    limit = exceptions.limit_of(standing.status.value)
    said = f"{took(age)} in status"
    if limit is None:
        return InStatus(said, "")
    tone = "bad" if age > limit.limit else "warn" if age > limit.warn else ""
    return InStatus(f"{said}, limit {took(limit.limit)}", tone)


# Lifecycle


def lifecycle_steps(telling: Telling, now: datetime) -> list[Step]:
    """The strip: the steps in order, the first with its time, the others with how long it took to reach them, since the values last
    changed; then how the trade ended or what it is stuck in."""
    reached = _reached(telling)
    standing = telling.story.standing
    current, is_over = standing.status, standing.state in ENDS
    at = STEPS.index(current) if current in STEPS else max((STEPS.index(s) for s in reached if s in STEPS), default=-1)
    shown = [step for step in STEPS if step in ALWAYS_SHOWN or STEPS.index(step) <= at]
    steps, last = [], None
    for step in shown:
        kind = ("now" if step is current and not is_over else "done") if step in reached and STEPS.index(step) <= at else ""
        missing = "not seen" if STEPS.index(step) < at else ""
        when = _since(reached[step], last, now) if kind else missing
        last = reached[step] if kind else last
        steps.append(Step(step.value.capitalize(), kind, when, step is current and not is_over))
    if current is not None and current not in STEPS:
        since = reached.get(current)
        when = "" if since is None else _since(since, last, now) if is_over else format_html("{} here", took(now - since))
        steps.append(Step(current.value.capitalize(), "bad", when, not is_over))
        last = since or last
    if (state := standing.state) in ENDS:
        ended = ended_at(telling)
        steps.append(Step(ENDS[state], "bad" if state is State.CANCELLED else "done", _since(ended, last, now) if ended else "", True))
    return steps


def _reached(telling: Telling) -> dict[Status, datetime]:
    """When each status was reached since the last event, in business order, that set new values."""
    reached: dict[Status, datetime] = {}
    for move in telling.moves:
        if move.starts_anew:
            reached.clear()
        reached[move.status] = move.since
    return reached


def _since(moment: datetime, last: datetime | None, now: datetime) -> SafeString:
    """The time of the first step, and of a later one how long it took to reach it."""
    if last is None:
        return words.time_tag(moment, now)
    return format_html(
        '<time datetime="{0}" title="{1}">+{2}</time>', f"{moment:%Y-%m-%dT%H:%M:%SZ}", words.full(moment), took(moment - last)
    )


# One event


def copies_of(message: Message, moment: datetime | None) -> QuerySet[Message]:
    """The messages with the same content that arrived later and had no effect, as far as known at the moment."""
    rows = Message.objects.filter(repeats_message=message, outcome=Message.Outcome.DUPLICATE).defer("body", "attributes").order_by("pk")
    return rows if moment is None else rows.filter(recorded_at__lte=moment)


def transport_of(message: Message) -> list[tuple[str, str | SafeString, bool]]:
    """The facts of the message's way through the queue: name, value, whether it is worth copying."""
    facts: list[tuple[str, str | SafeString, bool]] = [
        ("Queue", message.queue, True),
        ("Message id", message.message_id, True),
        ("Message group", message.group_id, True),
        ("Deduplication id", message.deduplication_id or words.ABSENT, bool(message.deduplication_id)),
        *texts.travelled(message),
        ("Sequence number", message.sequence_number.lstrip("0") or words.ABSENT, bool(message.sequence_number)),
        ("Sent", words.exact_tag(message.sent_at), message.sent_at is not None),
        ("Received", words.exact_tag(message.received_at), True),
        ("Recorded", words.exact_tag(message.recorded_at), True),
        ("Receive count", str(message.receive_count), True),
        ("Received first by", message.worker or words.ABSENT, bool(message.worker)),
        ("Repeated deliveries", f"{message.repeats}", True),
        ("Publication id", _publication_id(message), bool(message.publication_id)),
        *([("Trace context", context, True)] if (context := texts.trace_context(message)) else []),
        ("SHA-256", message.body_sha256, True),
        ("MD5", message.body_md5, True),
        ("Size", words.plural(message.size, "byte"), True),
        ("Dialect", message.dialect or words.ABSENT, bool(message.dialect)),
        ("Message type", message.message_type or words.ABSENT, bool(message.message_type)),
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
