"""The distinct products and parties of all trades, read from their indexes by leaping from each value to the next.

A trade stores its parties as one text, "A / B"; a party is one part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.core.cache import cache
from django.db import connection

MOST = 20_000
KEPT = 10  # seconds
SEPARATOR = " / "

# One leap costs one look into the index, however many trades share the value. A number ends it, for LIMIT is not allowed there.
_LEAPS = """{name}(x, n) AS (
  SELECT MIN({name}), 1 FROM trades_trade WHERE {name} > ''
  UNION ALL
  SELECT (SELECT MIN(t.{name}) FROM trades_trade t WHERE t.{name} > {name}.x), {name}.n + 1
    FROM {name} WHERE {name}.x IS NOT NULL AND {name}.n <= %s
)"""
_SQL = (
    f"WITH RECURSIVE {_LEAPS.format(name='product')}, {_LEAPS.format(name='parties')} "  # noqa: S608 - names of ours
    "SELECT 'p', x FROM product WHERE x IS NOT NULL UNION ALL SELECT 'q', x FROM parties WHERE x IS NOT NULL"
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
    """What trades are called by: their products, and the texts that state their parties."""

    products: Names
    parties: Names

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
        cursor.execute(_SQL, [MOST, MOST])
        rows = cursor.fetchall()
    return AllNames(*(_names([value for kind, value in rows if kind == wanted]) for wanted in "pq"))


def _names(values: list[str]) -> Names:
    return Names(tuple(values[:MOST]), len(values) <= MOST)
