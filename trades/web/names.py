"""The distinct products and parties of all trades and queues of all messages, read from their indexes by leaping from each value to the
next.

A trade stores its parties as one text, "A / B"; a party is one part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.db import connection

from trades import routes

MOST = 20_000
MOST_QUEUES = 500
KEPT = 10  # seconds
SEPARATOR = " / "

# One leap costs one look into the index, however many trades share the value. A number ends it, for LIMIT is not allowed there.
_LEAPS = """{name}(x, n) AS (
  SELECT MIN({name}), 1 FROM {table} WHERE {name} > ''
  UNION ALL
  SELECT (SELECT MIN(t.{name}) FROM {table} t WHERE t.{name} > {name}.x), {name}.n + 1
    FROM {name} WHERE {name}.x IS NOT NULL AND {name}.n <= %s
)"""
_QUEUE_LEAPS = _LEAPS.format(name="queue", table="trades_message")
_QUEUES = f"WITH RECURSIVE {_QUEUE_LEAPS} SELECT x FROM queue WHERE x IS NOT NULL"  # noqa: S608 - names of ours
_SQL = (
    f"WITH RECURSIVE {_LEAPS.format(name='product', table='trades_trade')}, "  # noqa: S608 - names of ours
    f"{_LEAPS.format(name='parties', table='trades_trade')}, {_QUEUE_LEAPS} "
    "SELECT 'product', x FROM product WHERE x IS NOT NULL UNION ALL SELECT 'party', x FROM parties WHERE x IS NOT NULL "
    "UNION ALL SELECT 'queue', x FROM queue WHERE x IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Names:
    """Distinct values of a column, in order; `is_whole` is False where there are more than are read."""

    values: tuple[str, ...]
    is_whole: bool = True

    def holding(self, text: str) -> list[str]:
        """The values that hold the text, whatever the case."""
        sought = text.casefold()
        return [value for value in self.values if sought in value.casefold()]


@dataclass(frozen=True, slots=True)
class AllNames:
    """What trades are called by: their products, and the texts that state their parties; and the queues that their messages came from."""

    products: Names
    parties: Names
    came_from: tuple[str, ...] = ()

    def texts_with(self, parties: Iterable[str]) -> list[str]:
        """The texts that have one of the parties as a part."""
        wanted = set(parties)
        return [text for text in self.parties.values if text in wanted or not wanted.isdisjoint(text.split(SEPARATOR))]

    def texts_by_party(self) -> dict[str, list[str]]:
        """Every party with the texts that have it as a part."""
        found: dict[str, list[str]] = {}
        for text in self.parties.values:
            for part in dict.fromkeys((text, *text.split(SEPARATOR))):
                found.setdefault(part, []).append(text)
        return found

    def each_party(self) -> list[str]:
        """Every party once."""
        return sorted({part for text in self.parties.values for part in text.split(SEPARATOR) if part})


def all_names() -> AllNames:
    """The products and parties of all trades, at most some seconds old. One query."""
    kept: AllNames | None = cache.get("trade-names")
    if kept is None:
        cache.set("trade-names", kept := _read(), KEPT)
    return kept


def _read() -> AllNames:
    with connection.cursor() as cursor:
        cursor.execute(_SQL, [MOST, MOST, MOST_QUEUES])
        rows = cursor.fetchall()
    products, parties, queues = ([value for kind, value in rows if kind == wanted] for wanted in ("product", "party", "queue"))
    return AllNames(_names(products), _names(parties), tuple(queues))


def _names(values: list[str]) -> Names:
    return Names(tuple(values[:MOST]), len(values) <= MOST)


def own_queues() -> list[str]:
    """The queues that the portal takes messages from, TRADES_QUEUE first; a queues file that can't be used leaves that one."""
    try:
        return routes.own_queues()
    except routes.BadQueuesFile:
        return [settings.TRADES_QUEUE]


def is_partners(queue: str) -> bool:
    """Whether the queue is a partner's, published to and never consumed here; not so where the queues file can't be used."""
    try:
        return routes.is_partners(queue)
    except routes.BadQueuesFile:
        return False


def all_queues(names: AllNames | None = None) -> list[str]:
    """The queues that the portal takes messages from, and those that messages came from before. One query where the names are not at
    hand, kept for some seconds."""
    came_from: Sequence[str] | None = names.came_from if names else cache.get("queue-names")
    if came_from is None:
        with connection.cursor() as cursor:
            cursor.execute(_QUEUES, [MOST_QUEUES])
            came_from = [queue for (queue,) in cursor.fetchall()]
        cache.set("queue-names", came_from, KEPT)
    return list(dict.fromkeys([*own_queues(), *came_from]))


def are_many_queues() -> bool:
    """Whether pages have to tell queues apart."""
    return len(all_queues()) > 1
