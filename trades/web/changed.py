"""What an event changed of its trade's canonical facts, in one line: "Notional 10,000,000 → 12,000,000 EUR"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from trades.messages.facts import EventClass
from trades.models import Event
from trades.web import words

ARROW = "\N{RIGHTWARDS ARROW}"
LONGEST = 48  # characters of a value
MOST = 4  # changes that one line tells
NAMES = {
    "product": "Product", "notional": "Notional", "quantity": "Quantity", "price": "Price", "parties": "Parties",
    "trade_date": "Trade date", "effective_date": "Effective", "maturity_date": "Matures",
    "settlement_date": "Settles", "asset_class": "Asset class", "isin": "ISIN", "upi": "UPI",
    "venue": "Venue", "confirmation": "Confirmation",
}  # fmt: skip
DATES = frozenset({"trade_date", "effective_date", "maturity_date", "settlement_date"})
STATING = frozenset({EventClass.BOOK, EventClass.UPDATE, EventClass.CORRECT})

Values = dict[str, str]


def values_of(event: Event) -> Values:
    """What the event states of the trade, in words, by name; only what it states."""
    details: Mapping[str, Any] = event.details if isinstance(event.details, Mapping) else {}
    found = {name: _text(details.get(name)) for name in NAMES}
    found |= {
        "trade_date": words.day(event.trade_date),
        "notional": _notional(details.get("notionals")),
        "parties": _parties(details.get("parties")),
        "price": _amount(details.get("price"), details.get("price_currency") or details.get("currency")),
        "quantity": _amount(details.get("quantity"), details.get("quantity_unit")),
    }
    return {name: _day(value) if name in DATES else value for name, value in found.items() if value}


class Teller:
    """Tells what each of a trade's events changed, given them in order, the earliest first. What stood before the first of them is not
    known unless it is the trade's first."""

    def __init__(self) -> None:
        self._known: Values = {}

    def take(self, event: Event) -> None:
        """Know what an event states, and say nothing of it."""
        self._known |= values_of(event)

    def tell(self, event: Event, *, is_first: bool) -> str:
        """What the event changed of what was known before; "" for nothing."""
        stated = values_of(event)
        told = list(_news(self._known, stated, event.event_class))
        if is_first or (event.event_class == EventClass.BOOK and not self._known):
            told = [", ".join(stated[name] for name in ("product", "notional", "parties") if name in stated)]
        self._known |= stated
        line = "; ".join(text for text in told[:MOST] if text)
        return f"{line}; {len(told) - MOST} more" if len(told) > MOST else line


def _news(known: Values, stated: Values, event_class: str) -> Iterator[str]:
    for name, title in NAMES.items():
        now, was = stated.get(name, ""), known.get(name, "")
        if now and was and now != was:
            yield f"{title} {_before(was, now)} {ARROW} {words.cut(now, LONGEST)}"
        elif now and not was and known and event_class in STATING:
            yield f"{title} set to {words.cut(now, LONGEST)}"


def _before(was: str, now: str) -> str:
    """The value before, without the unit that both have."""
    number, _, unit = was.rpartition(" ")
    return words.cut(number if number and now.endswith(f" {unit}") and "/" not in was and now[:1].isdigit() else was, LONGEST)


def _notional(value: object) -> str:
    rows = [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
    return " / ".join(shown for row in rows[:3] if (shown := _amount(row.get("amount"), row.get("currency"))))


def _parties(value: object) -> str:
    rows = [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []
    return " / ".join(dict.fromkeys(_text(row.get("name") or row.get("lei")) for row in rows[:6] if row.get("name") or row.get("lei")))


def _amount(value: object, unit: object) -> str:
    text = _text(value)
    return words.grouped(text) + (f" {unit}" if unit else "") if text else ""


def _day(value: str) -> str:
    try:
        return words.day(date.fromisoformat(value))
    except ValueError:
        return value


def _text(value: object) -> str:
    return "" if value is None or isinstance(value, (list, dict)) else str(value)
