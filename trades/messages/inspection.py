"""What the portal would make of a document: the facts of every message in it as plain values, without a database or a queue.

The keys are those people compare: what to expect of the document (`expect`), what it was recognised as, and what each event states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from lxml import etree

from trades.messages import prepare
from trades.messages.facts import EventClass, MessageRefused, ParsedMessage, TradeEvent, TradeId
from trades.messages.fields import MAX_ENTRIES, local_name
from trades.messages.large import LargeText
from trades.messages.reader import MAX_BYTES
from trades.messages.registry import Registry
from trades.messages.streaming import read
from trades.messages.values import shorten

Facts = dict[str, Any]

TEXTS = ("event_class", "event_kind", "status", "correlation_id", "message_id", "in_reply_to", "sender", "reason")
NUMBERS = ("version", "sequence")
EMPTY: Mapping[str, Any] = {
    "expect": "",
    "dialect": "",
    "message_type": "",
    "trade_ids": (),
    "event_class": "",
    "event_kind": "",
    "status": "",
    "trade_date": "",
    "version": None,
    "sequence": None,
    "correlation_id": "",
    "message_id": "",
    "in_reply_to": "",
    "sender": "",
    "event_time": "",
    "related_ids": (),
    "reason": "",
    "details": {},
}
WORDS: Mapping[str, str] = {
    "event": "a trade event",
    "snapshot": "a description of a trade, without an event",
    "no_trade_id": "a trade event without a trade id",
    "reference": "known, but no trade event",
    "private": "of an unknown format that seems to carry trades",
    "unknown": "of an unknown format",
    "malformed": "not a document that can be read",
}
LABELS: Mapping[str, str] = {
    "trade_ids": "trade ids",
    "event_class": "event class",
    "event_kind": "event kind",
    "trade_date": "trade date",
    "correlation_id": "correlation id",
    "message_id": "message id",
    "in_reply_to": "in reply to",
    "event_time": "event time",
    "related_ids": "related ids",
}
NONE = "NONE"  # the event class of a document that is no trade event
UNREADABLE = frozenset({"not-well-formed", "forbidden-construct"})
UNKNOWN = frozenset({"unknown-dialect", "several-documents"})
UNDERSTOOD = frozenset({"event", "snapshot", "reference"})
SEEMS_A_TRADE = ("trade", "deal")  # in a name of an element or attribute
NAMES_TOLD = 3


def inspect(document: bytes | LargeText, name: str, *, registry: Registry | None = None, max_bytes: int = MAX_BYTES) -> Facts:
    """What the portal would make of one file, as values that JSON can carry.

    `expect` is one of event, snapshot, no_trade_id, reference, private (of no known dialect, but it seems to carry trades), unknown,
    malformed. `trade_ids` has the UTI first; dates and times are as written or ISO 8601; what is not stated is "" or None. A refused
    document has `error` with code, message, line and column (from 1, None where not known). A file of several messages has `events`,
    one such object for each; above them then stand all ids and what the first event states. Never raises for a document.
    """
    try:
        prepared = prepare(document, max_bytes=max_bytes, registry=registry)
    except MessageRefused as refusal:
        return _refused(refusal, name)
    parts = [_refused(part.refusal, name) if part.refusal else _understood(part.message, name) for part in prepared]
    whole = _together(parts) if len(parts) > 1 else parts[0]
    if whole["expect"] == "unknown":
        _look_for_trades(whole, document, max_bytes)
    return whole


def is_understood(facts: Facts) -> bool:
    """Whether the document, and every message in it, is one that the portal takes or knows to be no trade event."""
    parts = facts.get("events", [facts])
    return all(part["expect"] in UNDERSTOOD and "error" not in part for part in parts)


def unreadable(name: str, sentence: str, code: str = "unreadable") -> Facts:
    """The same object for a file that could not be read at all."""
    return _refused(MessageRefused(code, sentence), name) | {"expect": "malformed", "event_class": NONE}


def rows(facts: Facts) -> Iterator[tuple[str, str]]:
    """What is stated, as (label, text) in a fixed order, for people to read; what is not stated is left out."""
    for key in EMPTY:
        value = facts[key]
        if key in ("expect", "details", "dialect", "message_type") or value in ("", None, NONE) or value == []:
            continue
        yield LABELS.get(key, key), " | ".join(value) if isinstance(value, list) else str(value)
    for name, value in facts["details"].items():
        texts = [_entry(entry) for entry in value] if isinstance(value, list) else [str(value)]
        yield from ((name.replace("_", " ") if number == 0 else "", text) for number, text in enumerate(texts))


def _entry(entry: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in entry.items())


def _understood(message: ParsedMessage | None, name: str) -> Facts:
    if message is None:
        raise ValueError("a prepared message is either understood or refused")
    warnings = list(message.warnings)
    if not message.events:
        facts = _facts(message.stated, message.dialect, message.message_type, name)
        return {**facts, "expect": "reference", "event_class": NONE, "warnings": [*warnings, message.reference]}
    parts = [_event(event, message, name) for event in message.events]
    whole = _together(parts) if len(parts) > 1 else parts[0]
    return {**whole, "warnings": [*warnings, *whole["warnings"]]}


def _event(event: TradeEvent, message: ParsedMessage, name: str) -> Facts:
    stated = {key: getattr(event, key) for key in (*TEXTS, *NUMBERS, "event_time_text", "trade_date", "related_ids", "details")}
    facts = _facts(stated, message.dialect, message.message_type, name)
    is_snapshot = event.event_class is EventClass.SNAPSHOT
    own = {"expect": "snapshot" if is_snapshot else "event", "trade_ids": _values(event.trade_ids)}
    return {**facts, **own, "warnings": list(_remarks(event))}


def _remarks(event: TradeEvent) -> Iterable[str]:
    if event.event_time and not event.zoned:
        yield f"The time {event.event_time_text} states no zone; it is read as UTC."
    for name, value in event.details.items():
        if isinstance(value, list) and len(value) >= MAX_ENTRIES:
            yield f"Of {name}, at most {MAX_ENTRIES} are kept; the document may hold more."


def _refused(refusal: MessageRefused, name: str) -> Facts:
    facts = _facts(refusal.stated, refusal.dialect, refusal.message_type, name)
    facts["expect"] = _expected_of(refusal)
    if facts["expect"] in ("malformed", "unknown"):
        facts["event_class"] = NONE
    error = {"code": refusal.code, "message": refusal.message, "line": refusal.line, "column": refusal.column}
    return {**facts, "warnings": [], "error": error}


def _expected_of(refusal: MessageRefused) -> str:
    if refusal.code in UNREADABLE or (refusal.code == "too-large" and not refusal.dialect):
        return "malformed"
    if refusal.code in UNKNOWN:
        return "unknown"
    return "no_trade_id" if refusal.code == "no-trade-id" else "event"


def _facts(stated: Mapping[str, Any], dialect: str, message_type: str, name: str) -> Facts:
    facts = {"file": name, **EMPTY, "dialect": dialect, "message_type": message_type}
    facts.update({key: str(stated.get(key) or "") for key in TEXTS})
    facts.update({key: stated.get(key) for key in NUMBERS})
    traded = stated.get("trade_date")
    facts["trade_date"] = traded.isoformat() if isinstance(traded, date) else ""
    facts["event_time"] = stated.get("event_time_text") or ""
    facts["trade_ids"] = []
    facts["related_ids"] = _values(stated.get("related_ids", ()))
    facts["details"] = dict(stated.get("details", {}))
    return facts


def _together(parts: Sequence[Facts]) -> Facts:
    """The facts of a file of several messages: all ids, the highest version, and else what its first event states."""
    events = [part for part in parts if part["expect"] in ("event", "snapshot") and "error" not in part]
    leading = (events or [part for part in parts if "error" in part] or parts)[0]
    told = events or [leading]
    own = _unique(value for part in told for value in part["trade_ids"])
    whole = {**leading, "trade_ids": own, "warnings": list(_remarks_on(parts, events)), "events": list(parts)}
    whole["related_ids"] = [value for value in _unique(value for part in told for value in part["related_ids"]) if value not in own]
    whole["version"] = max((part["version"] for part in told if part["version"] is not None), default=None)
    if any(part["expect"] == "event" for part in events):
        whole["expect"] = "event"
    return whole


def _remarks_on(parts: Sequence[Facts], events: Sequence[Facts]) -> Iterable[str]:
    refused = sum("error" in part for part in parts)
    if refused:
        yield f"{refused:,} of the {len(parts):,} messages are refused; see each."
    others = [part["message_type"] for part in parts if part["expect"] == "reference"]
    if events and others:
        yield f"{len(others):,} of the {len(parts):,} messages are no trade events: {', '.join(_unique(others)[:NAMES_TOLD])}."


def _look_for_trades(facts: Facts, document: bytes | LargeText, max_bytes: int) -> None:
    """Call an unknown document private when it seems to carry trades, and say so."""
    names: Counter[str] = Counter()
    for element in read(document, max_bytes=max_bytes).iter("*"):
        names.update(name for name in (local_name(element), *_attributes(element)) if _seems_a_trade(name))
    if not names:
        return
    facts["expect"] = "private"
    told = ", ".join(f"{count:,} × {shorten(name)}" for name, count in names.most_common(NAMES_TOLD))
    facts["warnings"].append(
        f"The document seems to carry trades ({told}), but no mapping reads this format. A mapping file can be written for it."
    )


def _attributes(element: etree._Element) -> Iterable[str]:
    return (etree.QName(str(name)).localname for name in element.attrib)


def _seems_a_trade(name: str) -> bool:
    name = name.lower()
    return any(word in name for word in SEEMS_A_TRADE)


def _values(ids: Iterable[TradeId]) -> list[str]:
    return _unique(trade_id.value for trade_id in ids)


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
