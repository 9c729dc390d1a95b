"""What the page of exceptions shows, put into words: what is wrong with each trade, since when, whose it is, what to do next."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trades import exceptions
from trades.exceptions import AGES, KINDS, Entry, Group, Held, Known
from trades.lifecycle import FLAG_WORDS, Flag, Status
from trades.lifecycle import KINDS as KIND_OF
from trades.models import Event, Trade
from trades.web import reasons, words
from trades.web.addresses import TradeAddress, trade_url

LONGEST = 200
NAMES: dict[Group, str] = {
    Group.REJECTED: "Rejected",
    Group.DISPUTED: "Disputed",
    Group.WAITING: "Waiting behind quarantine",
    Group.GAP: "Gap",
    Group.CONFLICT: "Conflict",
    Group.AFTER_END: "After the end",
    Group.LATE: "Late",
    Group.OVERDUE: "Too long in status",
}
ICONS: dict[Group, str] = {
    Group.REJECTED: "circle-x",
    Group.DISPUTED: "arrow-left-right",
    Group.WAITING: "clock",
    Group.GAP: "triangle-alert",
    Group.CONFLICT: "copy",
    Group.AFTER_END: "ban",
    Group.LATE: "rotate-ccw",
    Group.OVERDUE: "clock",
}
# What to do, where it is the same for a whole group.
NEXT: dict[Group, str] = {
    Group.REJECTED: "Find out why with who rejected it; a correction or a cancellation ends this.",
    Group.DISPUTED: "Compare the terms with the counterparty; the side that is wrong sends a correction.",
    Group.GAP: "Look for what is missing in quarantine, or ask the sender for it.",
    Group.CONFLICT: "Compare the two, and ask the sender which one counts.",
    Group.AFTER_END: "Ask the sender whether the end or this event is wrong.",
    Group.LATE: "Check what was done with the trade before it came, then acknowledge.",
}
# What a trade waits for that is too long in a status.
OVERDUE: dict[str, str] = {
    Status.RECEIVED: "Find out why it was not checked.",
    Status.CHECKED: "Ask the counterparty for the confirmation.",
    Status.ALLEGED: "Book it, or reject what is alleged.",
}
AGE_WORDS = ("Under 30 min", "30 min to 1 h", "1 to 4 h", "4 h to 1 day", "Older than 1 day")


@dataclass(frozen=True, slots=True)
class Row:
    """One exception as a list shows it. `tick` says what was seen of it, for whoever acts on it; empty where nothing can be done here."""

    row_id: str
    tick: str
    name: str
    link: SafeString
    status: SafeString | str
    reason: SafeString | str
    advice: SafeString | str
    since: SafeString
    tone: str
    owner: str
    owned: SafeString | str
    is_mine: bool
    product: str
    parties: str
    note: str
    noted: SafeString | str
    may_be_acknowledged: bool


@dataclass(frozen=True, slots=True)
class Section:
    """A group with its rows: those shown, and the address of all."""

    key: str
    name: str
    icon: SafeString
    count: str
    rows: Sequence[Row]
    all_href: str
    advice: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Something to filter by: a word, how many there are, the address with it (without it where it is chosen)."""

    word: str
    count: str
    href: str
    is_chosen: bool
    key: str = ""
    share: int = 0


def rows_of(entries: Sequence[Entry], known: Known, me: int, now: datetime) -> list[tuple[str, Row]]:
    """The exceptions in words, each with its group."""
    return [(entry.group, _row(entry, known, me, now)) for entry in entries if entry.trade in known.trades or entry.group == Group.WAITING]


def version_of(rows: Sequence[tuple[str, Row]], *others: object) -> str:
    """A short text that is another when something on the page has changed, but for ages that tick."""
    shown = [(row.row_id, row.tick, row.reason, row.status, row.note, row.owner, row.tone) for _, row in rows]
    return hashlib.sha256(repr((shown, others)).encode()).hexdigest()[:16]


def _row(entry: Entry, known: Known, me: int, now: datetime) -> Row:
    group, trade = Group(entry.group), known.trades.get(entry.trade or 0)
    held = known.holds.get(entry.key) if group is Group.WAITING else None
    owner = trade.owner if trade else None
    reason, advice = _why(group, entry, trade, held, known, now)
    note: str = getattr(trade, "note", None) or ""
    return Row(
        row_id=f"{group}-{entry.key}",
        tick=f"{group}.{trade.pk}.{trade.owner_id or 0}.{trade.event_count}" if trade else "",
        name=trade.trade_id if trade else held.hold.group_id if held else "",
        link=_link(trade, held, f"{group}-{entry.key}-link"),
        status=words.STATUSES[trade.status].__html__() if trade and trade.status in words.STATUSES else words.ABSENT,
        reason=reason,
        advice=advice,
        since=words.age_tag(entry.since, now),
        tone=_tone(trade, group, now),
        owner=owner.get_username() if owner else "",
        owned=words.time_tag(trade.owned_since, now) if trade and trade.owned_since else "",
        is_mine=bool(owner and owner.pk == me),
        product=trade.product if trade else "",
        parties=trade.parties if trade else "",
        note=words.cut(note, LONGEST),
        noted=_noted(trade, now) if trade and note else "",
        may_be_acknowledged=group in KINDS,
    )


def _noted(trade: Trade, now: datetime) -> SafeString:
    return format_html("{}, {}", getattr(trade, "noted_by", None) or "", words.time_tag(getattr(trade, "noted_at", None), now))


def _link(trade: Trade | None, held: Held | None, element_id: str) -> SafeString:
    if trade is not None:
        return format_html('<a class="id" id="{}" href="{}">{}</a>', element_id, trade_url(trade.trade_id), trade.trade_id)
    group = held.hold.group_id if held else ""
    address = reverse("message", args=[held.hold.message_id]) if held else ""
    return format_html('<span class="vh">Message group </span><a class="id" id="{}" href="{}">{}</a>', element_id, address, group)


def _tone(trade: Trade | None, group: Group, now: datetime) -> str:
    """The tone of an age: that of the status's limit, where the status is what is wrong."""
    if trade is None or group in KINDS or group is Group.WAITING:
        return ""
    limit, length = exceptions.limit_of(trade.status), now - trade.status_since
    if limit is None or length < limit.warn:
        return ""
    return "bad" if length >= limit.limit else "warn"


# Why, and what to do


def _why(
    group: Group, entry: Entry, trade: Trade | None, held: Held | None, known: Known, now: datetime
) -> tuple[SafeString | str, SafeString | str]:
    if held is not None:
        return _waiting(held)
    if trade is None:
        return "", ""
    events = known.events.get(trade.pk, ())
    if group in KINDS:
        return _caused(KINDS[group], entry, trade, events), ""
    last = next((event for event in events if event.place == trade.event_count), None)
    if group is Group.OVERDUE:
        limit = exceptions.limit_of(trade.status)
        allowed = f"; the limit is {words.duration(limit.limit).removesuffix(' 0 m').removesuffix(' 0 h')}" if limit else ""
        return f"{trade.status.capitalize()} for too long{allowed}.", OVERDUE.get(trade.status, "Find out what it waits for.")
    return _stated(trade, last), ""


def _waiting(held: Held) -> tuple[SafeString, SafeString]:
    message = held.hold.message
    count = words.plural(held.waiting, "message")
    address = reverse("message", args=[message.pk])
    reason = format_html(
        '{} {} behind one that could not be understood: {}', count, "waits" if held.waiting == 1 else "wait",
        words.cut(reasons.told(message), LONGEST),
    )  # fmt: skip
    return reason, format_html('<a href="{}">Open the message in front</a>, then correct, replay or discard it.', address)


def _caused(kind: str, entry: Entry, trade: Trade, events: Sequence[Event]) -> SafeString | str:
    """What the event says that gave cause, where it is the same as when it did."""
    for event in events:
        for flag in event.flags:
            if event.recorded_at == entry.since and KIND_OF.get(flag) == kind:
                return format_html("{}: {}", _event_link(trade, event, "Event"), FLAG_WORDS[Flag(flag)])
    return next(sentence for flag, sentence in FLAG_WORDS.items() if KIND_OF.get(flag) == kind)


def _stated(trade: Trade, last: Event | None) -> SafeString | str:
    word = trade.status.capitalize()
    if last is None:
        return f"{word}."
    said = f": {words.cut(last.reason, LONGEST)}" if last.reason else ", without a reason stated"
    return format_html("{} by {}{}", word, _event_link(trade, last), said) if last.status else f"{word}."


def _event_link(trade: Trade, event: Event, word: str = "event") -> SafeString:
    return format_html('<a href="{}">{} {}</a>', TradeAddress(trade.trade_id).event(event.position), word, event.position)


def number(count: int, cut: bool) -> str:
    """A count that may not be all: "43", "2,000+"."""
    return f"{count:,}{'+' if cut else ''}"


def age_choices(counts: exceptions.Counts, groups: Sequence[Group], chosen: int | None, addresses: Sequence[str]) -> list[Choice]:
    """The parts of the ageing bar, each with its share of all in percent."""
    total = counts.of(groups) or 1
    found = [counts.of(groups, part) for part in range(len(AGES) + 1)]
    is_cut = bool(counts.cut.intersection(groups))
    return [
        Choice(AGE_WORDS[part], number(count, is_cut and count > 0), addresses[part], part == chosen, str(part), round(100 * count / total))
        for part, count in enumerate(found)
    ]
