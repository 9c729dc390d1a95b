"""What a firm has of its own: a table that its handler writes, and handlers to give to workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from trades.handlers import Recorded

TABLE = "CREATE TABLE firm_booking (message_id bigint, trade_id varchar(80), version integer)"


@contextmanager
def bookings_table() -> Iterator[None]:
    """The table, for as long as the block lasts."""
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE firm_booking")


def book(recorded: Recorded, /) -> None:
    """The handler: a row for each event, one without a trade for a message that has none."""
    rows = [(recorded.message.pk, event.trade.trade_id, event.version) for event in recorded.events] or [(recorded.message.pk, "", 0)]
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO firm_booking VALUES (%s, %s, %s)", rows)


def booked(trade_id: str | None = None) -> list[tuple[str, int]]:
    """(trade, version) of every row, in the order of writing."""
    key = "ctid" if connection.vendor == "postgresql" else "rowid"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT trade_id, version FROM firm_booking ORDER BY {key}")
        rows: list[tuple[str, int]] = cursor.fetchall()
    return [(trade, version) for trade, version in rows if trade_id in (None, trade)]
