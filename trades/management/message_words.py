"""A message in quarantine, put into words for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from trades import payloads
from trades.messages.values import shorten
from trades.models import Event, Message
from trades.quarantine import Result

MOST_EVENTS = 3  # of one message that are named
WIDTH = 100  # characters of a line of a message around the place of its fault
START = 64 * 1024  # bytes of a large text that are shown or looked through
KEPT = {
    Message.Outcome.QUARANTINED: "open",
    Message.Outcome.HELD: "held",
    Message.Outcome.DISCARDED: "discarded",
    Message.Outcome.CORRECTED: "corrected",
}
Outcome = Message.Outcome


def state_of(row: Message) -> str:
    """How a message stands: "open", "replayed"."""
    return KEPT.get(Outcome(row.outcome)) or ("replayed" if row.settled_at else row.get_outcome_display().lower())


def facts_of(row: Message, waiting: int) -> dict[str, Any]:
    """What there is to know of a message, as values that JSON can carry."""
    names = (
        *("id", "message_id", "queue", "group_id", "sequence_number", "code", "reason", "line", "column", "element", "repeats"),
        *("size", "body_sha256", "pointer"),
    )
    moments = {name: (moment := getattr(row, name)) and moment.isoformat() for name in ("received_at", "sent_at", "settled_at")}
    links = {"trade_id": row.stated_trade_id, "conflicts_with": row.conflicts_with_id, "via_dead_letter": row.via_dead_letter}
    return {name: getattr(row, name) for name in names} | moments | links | {"waiting": waiting, "state": state_of(row)}


def columns_of(row: Message, waiting: int, now: datetime) -> tuple[object, ...]:
    """A line of the list: id, age, code, group, trade, how many wait behind it, state."""
    group, trade = shorten(row.group_id, 24), shorten(row.stated_trade_id or "-", 24)
    return row.pk, _age(now - row.received_at), row.code or "-", group, trade, waiting, state_of(row)


def _age(age: timedelta) -> str:
    minutes = max(0, int(age.total_seconds()) // 60)
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    return f"{hours} h {minutes % 60} m" if hours else f"{minutes} m"


def told(row: Message, waiting: int) -> Iterator[tuple[str, str]]:
    """What there is to know of a message, as label and text."""
    yield "message", f"{row.pk}  {row.message_id}"
    yield "state", state_of(row) + (f" since {time_of(row.settled_at)}" if row.settled_at else "")
    yield "queue", f"{row.queue}, group {row.group_id}, sequence number {row.sequence_number.lstrip('0') or '-'}"
    yield "size", f"{row.size:,} bytes, SHA-256 {row.body_sha256}"
    if row.pointer:
        yield "came through S3", shorten(row.pointer, 300)
    yield "received", f"{time_of(row.received_at)}, {plural(row.receive_count, 'time')}, then {row.repeats:,} more without effect"
    if row.message_type or row.dialect:
        yield "read as", ", ".join(name for name in (row.message_type, row.dialect) if name)
    if row.stated_trade_id:
        yield "trade", row.stated_trade_id
    if row.via_dead_letter:
        yield "dead letter", "SQS had given up delivering it; later messages of its group may have been recorded before it"
    if row.conflicts_with_id:
        yield "conflicts with", f"message {row.conflicts_with_id}, of the same publication"
    if row.corrects_id:
        yield "corrects", f"message {row.corrects_id}"
    for pk in row.corrections.values_list("pk", flat=True):
        yield "corrected by", f"message {pk}"
    if events := _events(row if row.outcome != Outcome.CORRECTED else row.corrections.first()):
        yield "recorded as", events
    yield "blocks", plural(waiting, "message") + " behind it" if waiting else "nothing"
    if row.reason:
        place = ", ".join(f"{name} {at}" for name, at in (("line", row.line), ("column", row.column)) if at is not None)
        yield "reason", f"{row.code}: {place + ': ' if place else ''}{row.reason}"


def excerpt(row: Message) -> Iterator[str]:
    """The line of the text that the fault is in, cut around the column, with a caret under it."""
    lines = (row.body if row.payload_id is None else payloads.start_of(row, START)).split("\n")
    if row.line is None or not 1 <= row.line <= len(lines):
        return
    text = "".join(character if character.isprintable() else " " for character in lines[row.line - 1])
    at = min(max(row.column or 1, 1), len(text) + 1) - 1
    start = max(0, at - WIDTH * 2 // 3)
    label = f"{row.line:>6} | "
    yield label + text[start : start + WIDTH]
    if row.column:
        yield " " * (len(label) + at - start) + "^"


def became(row: Message, result: Result | Exception, done: str) -> str:
    """What settling made of a message."""
    if isinstance(result, Message.DoesNotExist):
        return "is not there any more."
    if isinstance(result, Exception):
        return f"failed: {result}"
    if result.still:
        return f"refused again: {result.still}"
    events = _events(result.correction or row)
    by = f" by message {result.correction.pk}" if result.correction else ""
    return f"{done}{by}{events and ': ' + events}" + (f", {result.recorded:,} recorded" if result.recorded else "")


def _events(row: Message | None) -> str:
    """The events that a message brought: "event 3 of T-1", "" without any."""
    if row is None:
        return ""
    events = Event.objects.filter(message=row).order_by("id").select_related("trade")[: MOST_EVENTS + 1]
    named = [f"event {event.position} of {event.trade.trade_id}" for event in events]
    return ", ".join([*named[:MOST_EVENTS], "and further ones"] if len(named) > MOST_EVENTS else named)


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def time_of(moment: datetime) -> str:
    """A moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
