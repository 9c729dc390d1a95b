"""Counts that stay cheap however many rows there are: each stops at a bound, many are one query, and they are kept for a moment."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

BOUND = 10_000  # rows of one count; a page must cost the same when there are a hundred times as many trades
KEPT = 2  # seconds


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows there are, at least."""

    number: int
    is_bound: bool = False

    def __str__(self) -> str:
        return f"{self.number:,}+" if self.is_bound else f"{self.number:,}"

    def __bool__(self) -> bool:
        return self.number > 0


@dataclass(frozen=True, slots=True)
class Leg:
    """What is to be counted, and where counting stops."""

    rows: QuerySet[Any, Any]
    bound: int = BOUND


def count(legs: Mapping[str, Leg]) -> dict[str, Counted]:
    """How many rows each leg has. What is not known from a moment ago takes one query, for all of it together."""
    compiled = {name: _compiled(leg) for name, leg in legs.items()}
    keys = {name: "count-" + hashlib.sha256(repr(sql).encode()).hexdigest() for name, sql in compiled.items()}
    known = cache.get_many(list(keys.values()))
    if missing := {keys[name]: sql for name, sql in compiled.items() if keys[name] not in known}:
        found = _ask(missing)
        cache.set_many(found, KEPT)
        known |= found
    return {name: _bounded(known[keys[name]], leg.bound) for name, leg in legs.items()}


def _bounded(number: int, bound: int) -> Counted:
    return Counted(min(number, bound), number > bound)


def _compiled(leg: Leg) -> tuple[str, tuple[Any, ...]]:
    """SQL that gives the ids, and its parameters; empty where nothing can match."""
    try:
        return leg.rows[: leg.bound + 1].query.sql_with_params()
    except EmptyResultSet:
        return "", ()


def _ask(legs: Mapping[str, tuple[str, tuple[Any, ...]]]) -> dict[str, int]:
    parts = [f"(SELECT COUNT(*) FROM ({sql}) t)" if sql else "0" for sql, _ in legs.values()]  # noqa: S608 - made by the ORM
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", [value for _, params in legs.values() for value in params])
        row = cursor.fetchone()
    return dict(zip(legs, row, strict=True))
