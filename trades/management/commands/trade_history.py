"""Print the ordered history of a trade."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trades.management.database import require_database
from trades.models import Event, Trade


class Command(BaseCommand):
    """`manage.py trade_history`: see help."""

    help = "Print the history of a trade in queue order, 1..n."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The trade and the form."""
        parser.add_argument("trade_id", help="the trade's id")
        parser.add_argument("--scheme", help="the id's scheme, where several trades share the id")
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Find the trade, print it."""
        require_database()
        trade = self._find(options["trade_id"], options["scheme"])
        events = trade.events.select_related("message").order_by("position")
        if options["as_json"]:
            history = [self._as_dict(event) for event in events.iterator(chunk_size=500)]
            self.stdout.write(json.dumps(self._trade_dict(trade) | {"events": history}, indent=2, ensure_ascii=False))
            return
        self.stdout.write(
            f"{trade.trade_id}  {trade.state}  {trade.status or '-'}  version {trade.version or '-'}  {trade.event_count} events"
        )
        for event in events.iterator(chunk_size=500):
            self.stdout.write(self._line(event))

    def _find(self, trade_id: str, scheme: str | None) -> Trade:
        found = Trade.objects.filter(trade_id=trade_id, **({} if scheme is None else {"scheme": scheme})).order_by("id")[:2]
        if not found:
            raise CommandError(f"No trade {trade_id}. It may still be in the queue, in the outbox or in quarantine.")
        if len(found) > 1:
            schemes = Trade.objects.filter(trade_id=trade_id).order_by("id").values_list("scheme", flat=True)
            raise CommandError(f"Several trades have the id {trade_id}. Choose one with --scheme: {', '.join(map(repr, schemes))}.")
        return found[0]

    def _line(self, event: Event) -> str:
        version = "-" if event.version is None else str(event.version)
        recorded = f"{event.recorded_at:%Y-%m-%d %H:%M:%S} UTC"
        line = f"{event.position:>4}  {event.event_class:<9} {event.status or '-':<12} version {version:<4} {recorded}"
        return f"{line}  {event.state_after} {event.status_after} {' '.join(event.flags)}".rstrip()

    def _trade_dict(self, trade: Trade) -> dict[str, Any]:
        names = ("trade_id", "scheme", "state", "status", "version", "event_count", "product", "parties", "notional")
        return {name: getattr(trade, name) for name in names}

    def _as_dict(self, event: Event) -> dict[str, Any]:
        names = ("position", "event_class", "event_kind", "status", "version", "sequence", "sender", "reason", "flags", "details")
        message = event.message
        return {name: getattr(event, name) for name in names} | {
            "event_time": event.event_time and event.event_time.isoformat(),
            "recorded_at": event.recorded_at.isoformat(),
            "state_after": event.state_after,
            "status_after": event.status_after,
            "message_id": message.message_id,
            "group_id": message.group_id,
            "sequence_number": message.sequence_number,
            "sha256": message.body_sha256,
        }
