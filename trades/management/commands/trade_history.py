"""Print the history of a trade, in either of its two orders, as it is known now or was known at a moment."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Q

from trades import quarantine
from trades.asof import Known, Told, as_known_at, as_stated, is_whole_second, moment_of
from trades.description import stated_by
from trades.management.database import require_database
from trades.models import AuditEntry, Event, Message, Trade, TradeIdentifier, TradeLink

COLUMNS = "{:>5}  {:>8}  {:<9}  {:<14}  {:<7}  {:<23}  {:<23}  {:<10}  {:<12}  {}"
HEADING = ("queue", "business", "event", "status", "version", "event time", "recorded", "state", "status then", "flags")
DONE = {AuditEntry.Action.REPLAY: "replayed", AuditEntry.Action.CORRECT: "corrected", AuditEntry.Action.DISCARD: "discarded"}
REFUSED = (Message.Outcome.QUARANTINED, Message.Outcome.HELD, Message.Outcome.DISCARDED)
MOST_REFUSED = 100
FACTS = ("event_class", "event_kind", "status", "version", "sequence", "sender", "reason", "details")


class Command(BaseCommand):
    """`manage.py trade_history`: see help."""

    help = (
        "Print the history of a trade. The columns queue and business number the events 1..n in the order in which the queue handed "
        "them over and in the order that the documents themselves state. State and status then are those after the event: in queue "
        "order as they were when it was recorded, in business order and with --as-of as that order gives them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The trade, the order, the moment and the form."""
        parser.add_argument("trade_id", help="any id of the trade")
        parser.add_argument("--scheme", help="the id's scheme, where several trades share the id")
        parser.add_argument("--order", choices=["queue", "business"], default="queue", help="what to sort by (default: queue)")
        parser.add_argument("--as-of", metavar="TIME", help="as known at this time, such as 2026-11-22T10:00:00Z (that whole second)")
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Find the trade, print it."""
        require_database()
        by_business, moment = options["order"] == "business", _moment(options["as_of"])
        trade = _find(options["trade_id"], options["scheme"])
        if by_business or moment:
            known = as_known_at(trade, moment)
            if not known.events:
                raise CommandError(f"Nothing was known of trade {trade.trade_id} at {_known_at(moment)}.")
            heading = _heading_of_known(known)
            events: Iterable[dict[str, Any]] = map(_told, known.in_business_order() if by_business else known.in_queue_order())
        else:
            heading, events = _heading_of(trade), _recorded(trade)
        heading |= {"order": options["order"], "as_of": moment and as_stated(moment)} | _company(trade, moment)
        handled, refused = _handled(trade, moment), _refused(trade, moment)
        if options["as_json"]:
            told = [{"handling": _handling(event["event"], handled)} | _for_json(event) for event in events]
            heading |= _notional_or_quantity(heading["notional"], told)
            self.stdout.write(json.dumps(heading | {"events": told, "no_events": refused}, indent=2, ensure_ascii=False))
            return
        for line in (*_title(heading, moment), COLUMNS.format(*HEADING)):
            self.stdout.write(line)
        for event in events:
            self.stdout.write("  ".join([_line(event), *_handling(event["event"], handled)]))
        for row in refused:
            self.stdout.write(
                f"no event: message {row['message_id']} {', '.join(row['handling']) or row['outcome'].lower()}  {row['reason']}"
            )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return moment_of(text, zone=None)
    except ValueError:
        raise CommandError(f"--as-of {text} is not a time with a zone. Give it as 2026-11-22T10:00:00Z.") from None


def _find(trade_id: str, scheme: str | None) -> Trade:
    found = TradeIdentifier.objects.filter(value=trade_id[:255], **({} if scheme is None else {"scheme": scheme}))
    found = found.select_related("trade").order_by("scheme", "id")
    trades = {row.trade_id: row.trade for row in found}
    if not trades:
        raise CommandError(f"No trade {trade_id}. It may still be in the queue, in the outbox or in quarantine.")
    if len(trades) > 1:
        schemes = ", ".join(f"{row.scheme!r} ({row.trade.trade_id}, {row.trade.state.lower()})" for row in found)
        raise CommandError(f"Several trades have the id {trade_id}. Choose one with --scheme: {schemes}.")
    return next(iter(trades.values()))


# The trade


def _heading_of(trade: Trade) -> dict[str, Any]:
    names = ("trade_id", "scheme", "state", "status", "version", "event_count", "flagged_count", "product", "parties", "notional")
    return {name: getattr(trade, name) for name in names} | {"trade_date": trade.trade_date and trade.trade_date.isoformat()}


def _heading_of_known(known: Known) -> dict[str, Any]:
    standing, values = known.story.standing, known.values
    return _heading_of(known.trade) | {
        "state": standing.state.value,
        "status": standing.status.value if standing.status else "",
        "version": standing.version,
        "event_count": len(known.events),
        "flagged_count": sum(bool(told.flags) for told in known.in_queue_order()),
        **{name: str(values.get(name, "")) for name in ("product", "parties", "notional")},
        "trade_date": str(values["trade_date"]) if "trade_date" in values else None,
    }


def _notional_or_quantity(text: str, told: Iterable[dict[str, Any]]) -> dict[str, str]:
    """What the trade's row holds of either, told apart by what its events state as notionals."""
    stated = (stated_by(None, {"notionals": event["details"].get("notionals")}) for event in told)
    is_notional = any(values.get("notional") == text for values in stated)
    return {"notional": text if is_notional else "", "quantity": "" if is_notional else text}


def _company(trade: Trade, moment: datetime | None) -> dict[str, Any]:
    """The other ids of the trade, and the trades that a message said, until the moment, may be the same one."""
    ids = [{"scheme": row.scheme, "id": row.value, "uti": row.is_uti} for row in trade.identifiers.order_by("-is_uti", "id")]
    links = TradeLink.objects.filter(Q(first=trade) | Q(second=trade)).select_related("first", "second").order_by("id")
    links = links if moment is None else links.filter(since__lte=moment)
    linked = [link.second if link.first_id == trade.pk else link.first for link in links]
    return {"ids": ids, "perhaps_same_as": [{"scheme": other.scheme, "id": other.trade_id} for other in linked]}


def _title(heading: dict[str, Any], moment: datetime | None) -> Iterator[str]:
    version = "-" if heading["version"] is None else heading["version"]
    flagged = f", {heading['flagged_count']} flagged" if heading["flagged_count"] else ""
    then = f"  as known at {_known_at(moment)}" if moment else ""
    yield (
        f"{heading['trade_id']}  {heading['state']}  {heading['status'] or '-'}  version {version}  "
        f"{heading['event_count']} event{'' if heading['event_count'] == 1 else 's'}{flagged}{then}"
    )
    own = {"scheme": heading["scheme"], "id": heading["trade_id"]}
    others = [row for row in heading["ids"] if {"scheme": row["scheme"], "id": row["id"]} != own]
    if others:
        yield "also known as: " + ", ".join(f"{row['id']}{' (UTI)' if row['uti'] else ''}" for row in others)
    if heading["perhaps_same_as"]:
        yield "perhaps the same trade as: " + ", ".join(row["id"] for row in heading["perhaps_same_as"])


# What people did


def _handled(trade: Trade, moment: datetime | None) -> dict[int, list[str]]:
    """What people did until the moment to the messages of the trade's events and to those that name the trade, by message."""
    of_events = Q(message__events__trade=trade) | Q(message__corrections__events__trade=trade)
    entries = AuditEntry.objects.filter(of_events | Q(message__stated_trade_id__in=_ids(trade)), action__in=DONE)
    entries = entries if moment is None else entries.filter(at__lte=moment)
    handled: dict[int, list[str]] = {}
    for entry in entries.select_related("user").order_by("id").distinct():
        note = f" ({entry.note})" if entry.note else ""
        handled.setdefault(entry.message_id or 0, []).append(f"{DONE[AuditEntry.Action(entry.action)]} by {quarantine.who(entry)}{note}")
    return handled


def _handling(event: Event, handled: dict[int, list[str]]) -> list[str]:
    message = event.message
    return [*handled.get(message.corrects_id or 0, []), *handled.get(message.pk, [])]


def _refused(trade: Trade, moment: datetime | None) -> list[dict[str, Any]]:
    """The messages that name the trade and are none of its events, as they are now, of those that had come by the moment."""
    rows = Message.objects.filter(stated_trade_id__in=_ids(trade), stated_trade_id__gt="", outcome__in=REFUSED)
    rows = rows if moment is None else rows.filter(recorded_at__lte=moment)
    handled = _handled(trade, moment)
    names = ("message_id", "outcome", "code", "reason")
    found = rows.defer("body", "attributes").order_by("id")[:MOST_REFUSED]
    return [{name: getattr(row, name) for name in names} | {"handling": handled.get(row.pk, [])} for row in found]


def _ids(trade: Trade) -> list[str]:
    return list(trade.identifiers.values_list("value", flat=True))


# Its events


def _recorded(trade: Trade) -> Iterator[dict[str, Any]]:
    events = trade.events.select_related("message").defer("message__body").order_by("position")
    for event in events.iterator(chunk_size=500):
        yield {"place": event.place, "flags": event.flags, "state_after": event.state_after, "status_after": event.status_after} | _facts(
            event
        )


def _told(told: Told) -> dict[str, Any]:
    chapter = told.chapter
    after = {"state_after": chapter.state.value, "status_after": chapter.status.value if chapter.status else ""}
    return {"place": chapter.place, "flags": told.flags} | after | _facts(told.event)


def _facts(event: Event) -> dict[str, Any]:
    return {"position": event.position, "event": event, "event_time": event.event_time, "recorded_at": event.recorded_at}


def _for_json(facts: dict[str, Any]) -> dict[str, Any]:
    event = facts.pop("event")
    message = event.message
    transport = {name: getattr(message, name) for name in ("queue", "message_id", "group_id", "sequence_number", "size")} | {
        "sha256": message.body_sha256
    }
    moments = {name: facts[name] and facts[name].isoformat() for name in ("event_time", "recorded_at")}
    return facts | {name: getattr(event, name) for name in FACTS} | moments | transport


def _line(facts: dict[str, Any]) -> str:
    event = facts["event"]
    version = "-" if event.version is None else str(event.version)
    times = (_time(event.event_time), _time(event.recorded_at))
    after = (facts["state_after"], facts["status_after"] or "-")
    return COLUMNS.format(
        facts["position"], facts["place"], event.event_class, event.status or "-", version, *times, *after, " ".join(facts["flags"])
    ).rstrip()


def _known_at(moment: datetime | None) -> str:
    return _time(moment) if moment is None or is_whole_second(moment) else f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC"


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "-"
