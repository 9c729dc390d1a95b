"""The canonical facts in words: of a trade, gathered from the events that describe it, and of one event, field by field.

Numbers stay the decimal text of the document: they are grouped for reading and carry the exact text with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from trades.description import stated_by
from trades.identifiers import trade_key
from trades.lifecycle import Flag
from trades.messages.facts import TradeId
from trades.models import Event, Trade, TradeIdentifier
from trades.web import words
from trades.web.addresses import TradeAddress
from trades.web.telling import Telling

Shown = str | SafeString
Fact = tuple[str, Shown]
MOST_SHOWN = 50
# What belongs together is taken from one event: the first that states the leading name.
GROUPS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("product", "asset_class", "isin", "upi", "notionals", "parties", "venue", "confirmation"), ()),
    **dict.fromkeys(("effective_date", "maturity_date", "settlement_date"), ()),
    "price": ("price_currency", "currency", "price_type"),
    "quantity": ("quantity_unit",),
}
PLAIN = {"asset_class": "Asset class", "isin": "ISIN", "upi": "UPI"}
DATES = {"effective_date": "Effective", "maturity_date": "Matures", "settlement_date": "Settles"}
FURTHER = {"venue": "Venue", "confirmation": "Confirmation"}
SHOWN = frozenset({*GROUPS, *(name for names in GROUPS.values() for name in names), "other_ids", "related_ids"})
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIME_WITH_ZONE = re.compile(r"\d(Z|[+-]\d\d(:?\d\d)?)$")

Details = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """What describes a trade: its facts by name, the trade date, and the related ids that its events state."""

    details: Details
    trade_date: date | None
    related: list[TradeId]


def described(telling: Telling, rows: Mapping[int, tuple[date | None, Details]]) -> Described:
    """The facts of a trade as its events in force state them, the most telling first; `rows` holds what events state, by row."""
    found: dict[str, Any] = {}
    trade_date: date | None = None
    related: dict[TradeId, None] = {}
    for day, details in (rows[pk] for pk in telling.sources if pk in rows):
        trade_date = trade_date or day
        for name, companions in GROUPS.items():
            if details.get(name) and name not in found:
                found |= {taken: details[taken] for taken in (name, *companions) if details.get(taken)}
        related |= dict.fromkeys(_ids(details.get("related_ids")))
    return Described(found, trade_date, list(related))


def trade_facts(trade: Trade, telling: Telling, facts: Described, *, is_now: bool) -> Iterator[Fact]:
    """What the head of the trade's page shows. What the trade's own row says stands in where no event was looked into."""
    details = facts.details
    fallback = trade if is_now else Trade()
    yield "Trade date", words.day(facts.trade_date or fallback.trade_date) or words.ABSENT
    yield "Product", _text(details.get("product")) or fallback.product or words.ABSENT
    yield "Parties", parties(details) or fallback.parties or words.ABSENT
    yield _notional(details, fallback)
    yield "Price", _price(details) or words.ABSENT
    yield "Quantity", _amount(details, "quantity", "quantity_unit") or words.ABSENT
    for names in (PLAIN, DATES, FURTHER):
        yield from ((title, _shown(details[name])) for name, title in names.items() if details.get(name))
    version = telling.story.standing.version
    yield "Version", str(version) if version is not None else words.ABSENT
    if last_reason := _last_reason(telling):
        yield "Last reason", words.cut(last_reason, 160)


def _notional(details: Details, fallback: Trade) -> Fact:
    """The notional. A trade's own row has its quantity in the place of one that no event states."""
    quantity = {name: details[name] for name in ("quantity", "quantity_unit") if name in details}
    shown = notionals(details) or (
        "" if fallback.notional == stated_by(None, quantity).get("notional") else words.amount(fallback.notional)
    )
    is_either = bool(shown) and not quantity and "notionals" not in details
    return "Notional or quantity" if is_either else "Notional", shown or words.ABSENT


def _last_reason(telling: Telling) -> str:
    """The reason stated last in business order, of the events that have an effect."""
    for position in reversed(telling.business_order):
        reason, chapter = telling.events[position - 1].reason, telling.chapters[position - 1]
        if reason and chapter.in_force and Flag.AFTER_END not in chapter.flags:
            return reason
    return ""


def parties(details: Details) -> SafeString | str:
    """The parties with their roles and legal entity identifiers (ISO 17442)."""
    shown = [_party(party) for party in _records(details.get("parties"))]
    return format_html_join("", '<span class="party">{}</span>', ((party,) for party in shown if party))


def notionals(details: Details) -> SafeString | str:
    """The notional amounts with their currencies."""
    amounts = [_amount(notional, "amount", "currency") for notional in _records(details.get("notionals"))]
    return format_html_join(" / ", "{}", ((amount,) for amount in amounts if amount))


def _party(party: Details) -> SafeString | str:
    name, lei, role = (_text(party.get(key)) for key in ("name", "lei", "role"))
    if not name and not lei:
        return ""
    said = format_html("{} ", name) if name else ""
    lei_mark = format_html(' <span class="dim lei">LEI <span class="mono">{}</span></span>', lei) if lei else ""
    return format_html('{}<span class="dim">{}</span>{}', said, words.spaced(role), lei_mark)


def _price(details: Details) -> SafeString | str:
    shown = _amount(details, "price", "price_currency") if details.get("price_currency") else _amount(details, "price", "currency")
    kind = words.spaced(_text(details.get("price_type")))
    return format_html('{} <span class="dim">{}</span>', shown, kind) if shown and kind else shown


def _amount(details: Details, name: str, unit: str) -> SafeString | str:
    stated = _text(details.get(name))
    return words.amount(stated, _text(details.get(unit))) if stated else ""


def _shown(value: object) -> str:
    text = _text(value)
    return words.day(date.fromisoformat(text)) if _ISO_DATE.fullmatch(text) and _is_date(text) else text


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _records(value: object) -> list[Details]:
    return [record for record in value if isinstance(record, Mapping)][:MOST_SHOWN] if isinstance(value, list) else []


# Ids


def _ids(value: object) -> list[TradeId]:
    return [TradeId(_text(record.get("scheme")), _text(record.get("id"))) for record in _records(value) if record.get("id")]


def related_links(ids: Sequence[TradeId], but: Trade) -> list[tuple[TradeId, str]]:
    """Ids, each with the address of the trade that goes by it, "" where the portal has none. One query."""
    keys = {trade_key(trade_id): trade_id for trade_id in ids[:MOST_SHOWN]}
    rows = TradeIdentifier.objects.filter(key__in=keys).exclude(trade=but).select_related("trade") if keys else []
    addresses = {row.key: TradeAddress(row.trade.trade_id, row.trade.scheme or None).page() for row in rows}
    return [(trade_id, addresses.get(key, "")) for key, trade_id in keys.items()]


def linked_ids(links: Iterable[tuple[TradeId, str]]) -> SafeString:
    """Ids in words, as links where there is a trade."""
    return format_html_join("", '<span class="party">{}</span>', ((_linked(trade_id, href),) for trade_id, href in links))


def _linked(trade_id: TradeId, href: str) -> SafeString:
    shown = format_html('<a class="mono" href="{}">{}</a>', href, trade_id.value) if href else _mono(trade_id.value)
    return format_html('{} <span class="dim">{}</span>', shown, trade_id.scheme) if trade_id.scheme else shown


def _mono(text: str) -> SafeString:
    return format_html('<span class="mono">{}</span>', text)


# One event


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields of an event that belong together."""

    title: str
    fields: list[Fact]


def field_groups(event: Event, trade: Trade, telling: Telling) -> list[FieldGroup]:
    """Everything the document says about this event, and what the portal made of it. One query at most."""
    chapter = telling.chapters[event.position - 1]
    links = related_links(_ids(event.details.get("related_ids")), trade)
    further = _ids(event.details.get("other_ids"))
    groups = [
        FieldGroup("Event", _stated(event)),
        FieldGroup("Trade", list(_canonical(event))),
        FieldGroup("Ids", [*_further_ids(further), *([("Related ids", linked_ids(links))] if links else [])]),
        FieldGroup("Further details", list(_flattened("", {k: v for k, v in event.details.items() if k not in SHOWN}))),
        FieldGroup(
            "Effect",
            [
                ("State when recorded", event.state_after.capitalize()),
                ("Status when recorded", event.status_after.capitalize() or words.ABSENT),
                ("Place in business order", f"{chapter.place:,} of {telling.count:,}"),
                ("State after it in business order", chapter.state.value.capitalize()),
                ("Status after it in business order", chapter.status.value.capitalize() if chapter.status else words.ABSENT),
                ("Counts toward the present values", "yes" if chapter.in_force else "no"),
            ],
        ),
    ]
    return [group for group in groups if group.fields]


def _stated(event: Event) -> list[Fact]:
    stated: list[tuple[str, object]] = [
        ("Event class", event.event_class), ("Event kind", event.event_kind), ("Status", event.status), ("Version", event.version),
        ("Sequence", event.sequence), ("Reason", event.reason), ("Sender", event.sender), ("Message id", event.document_message_id),
        ("Correlation id", event.correlation_id), ("In reply to", event.in_reply_to),
    ]  # fmt: skip
    fields: list[Fact] = [(name, str(value)) for name, value in stated if value not in (None, "")]
    if event.event_time:
        fields.append(("Event time", words.full_tag(event.event_time)))
    if event.event_time_text:
        fields.append(("Event time as stated", event_time_as_stated(event.event_time_text, event.event_time)))
    return fields


def event_time_as_stated(text: str, utc: datetime | None) -> Shown:
    """The document's own words for the time, with a note on how they were read where they have no zone."""
    if _TIME_WITH_ZONE.search(text) and not _ISO_DATE.fullmatch(text):
        return text
    digits = re.sub(r"\D", "", text)[:14]
    zone = "as UTC" if utc is None or utc.strftime("%Y%m%d%H%M%S").startswith(digits) else "in the zone of its mapping"
    return format_html('{} <span class="dim">no zone stated, read {}</span>', text, zone)


def _canonical(event: Event) -> Iterator[Fact]:
    details: Details = event.details
    facts: list[Fact] = [
        ("Trade date", words.day(event.trade_date)),
        ("Product", _text(details.get("product"))),
        *((title, _shown(details.get(name))) for name, title in PLAIN.items()),
        ("Parties", parties(details)),
        ("Notional", notionals(details)),
        ("Price", _price(details)),
        ("Quantity", _amount(details, "quantity", "quantity_unit")),
        *((title, _shown(details.get(name))) for name, title in (DATES | FURTHER).items()),
    ]
    yield from ((name, value) for name, value in facts if value)


def _further_ids(ids: Sequence[TradeId]) -> list[Fact]:
    return [("Further ids of the trade", linked_ids((trade_id, "") for trade_id in ids))] if ids else []


def _flattened(path: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flattened(f"{path} › {key}" if path else str(key).replace("_", " "), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value, start=1):
            yield from _flattened(f"{path} {number}", inner)
    elif value not in (None, ""):
        yield path, str(value)
