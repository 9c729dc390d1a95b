"""Messages made of facts, for tests of what is recorded rather than of how documents are read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.native import NOON, received
from trades import history
from trades.messages.facts import EventClass, ParsedMessage, TradeEvent, TradeId
from trades.sqs import Received

UTI = "urn:uti"
_known: dict[str, ParsedMessage] = {}
_numbers = itertools.count(1)


def understand_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the bodies that `message` makes are understood to be the facts that they were made of; any other is read."""
    read = history.judge
    monkeypatch.setattr(history, "judge", lambda body: _known.get(body) or read(body))


def fact(ids: str | Sequence[TradeId] = "T-1", event: str = "BOOK", version: int | None = None, **stated: Any) -> TradeEvent:
    """One event. `ids` is a word of ids without a scheme ("A B"), one beginning with UTI being the UTI; `at` is its time in minutes
    after noon, None for none; `notional` and `product` go into the details."""
    trade_ids = tuple(TradeId("", value) for value in ids.split()) if isinstance(ids, str) else tuple(ids)
    minutes, details = stated.pop("at", None), dict(stated.pop("details", {}))
    if "notional" in stated:
        details["notionals"] = [{"amount": stated.pop("notional"), "currency": "EUR"}]
    if "product" in stated:
        details["product"] = stated.pop("product")
    return TradeEvent(
        event_class=EventClass(event),
        trade_ids=trade_ids,
        version=version,
        event_time=None if minutes is None else NOON + timedelta(minutes=minutes),
        uti=next((trade_id for trade_id in trade_ids if trade_id.value.startswith("UTI")), None),
        details=details,
        **stated,
    )


def message(*facts: TradeEvent, group: str = "", body: str = "", reference: str = "") -> Received:
    """A delivery of a message that carries these events; every call gives another body unless one is given."""
    body = body or f"message {next(_numbers)}"
    _known[body] = ParsedMessage("test", "facts", "1", facts, reference)
    return received(body, group or (facts[0].trade_id.value if facts else "T-1"))


def record(*batch: Received | TradeEvent, now: datetime = NOON, hold: bool = True) -> history.Report:
    """Record a batch; a fact stands for a message of its own."""
    return history.record([message(item) if isinstance(item, TradeEvent) else item for item in batch], now=now, hold=hold)
