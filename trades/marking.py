"""What is wrong with trades as the flags of their events tell: rows that open, open again, and go. The trades must be locked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from trades import bulk
from trades.lifecycle import kinds_in
from trades.models import Trade, TradeException


@dataclass(slots=True)
class Marking:
    """Rows to open, with the moment of their cause, and rows (trade, kind) that have no cause any more."""

    opened: list[tuple[int, str, datetime]] = field(default_factory=list)
    gone: list[tuple[int, str]] = field(default_factory=list)

    def note(self, trade: Trade, *, caused: int, marks: int, at: datetime) -> None:
        """Give a trade its marks, where `caused` are those that the events which arrive now give cause for."""
        before = trade.exception_marks
        self.opened += [(trade.pk, kind.value, at) for kind in kinds_in(marks & (caused | ~before))]
        self.gone += [(trade.pk, kind.value) for kind in kinds_in(before & ~marks)]
        trade.exception_marks = marks

    def save(self) -> None:
        """Write them: one statement for all that open, one for all that go."""
        if self.opened:
            rows = [bulk.new(TradeException, trade_id=pk, kind=kind, since=since) for pk, kind, since in sorted(self.opened)]
            bulk.insert(rows, or_else=REOPEN)
        if self.gone:
            _delete(self.gone)


# What is open already keeps its age.
REOPEN = (
    "ON CONFLICT (trade_id, kind) DO UPDATE SET since = excluded.since, acknowledged_at = NULL "
    "WHERE trades_tradeexception.acknowledged_at IS NOT NULL"
)


def _delete(gone: Iterable[tuple[int, str]]) -> None:
    table, document = bulk.given(sorted(gone), {"trade": "bigint", "kind": "text"})
    bulk.execute(
        f"DELETE FROM trades_tradeexception WHERE (trade_id, kind) IN (SELECT given.trade, given.kind FROM {table})",  # noqa: S608
        document,
    )
