"""Keyset paging: the next page starts after a row, not at a count, so that page 20,000 costs what page 1 costs.

`a <= x AND (a < x OR id < i)` lets SQLite and PostgreSQL start inside the index; `a < x OR (a = x AND id < i)` does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from django.core.signing import BadSignature, Signer
from django.db.models import Model, Q, QuerySet

M = TypeVar("M", bound=Model)
VERSION = 2


@dataclass(frozen=True, slots=True)
class Ordering:
    """By one field that is never null (None: by id alone), ties by id; the highest first unless it ascends.

    The name keeps cursors of one list out of another.
    """

    name: str
    field: str | None = None
    ascends: bool = False

    def fields(self, sign: str) -> list[str]:
        """Arguments for order_by: sign "-" is the order of the list, "" the reverse."""
        sign = "-" if (sign == "-") is not self.ascends else ""
        return [sign + name for name in (self.field, "id") if name]

    def beyond(self, value: Any, pk: int, *, later: bool) -> Q:
        """The rows that stand after (or before) the row with this value and id."""
        side = "lt" if later is not self.ascends else "gt"
        if self.field is None:
            return Q(**{f"id__{side}": pk})
        return Q(**{f"{self.field}__{side}e": value}) & (Q(**{f"{self.field}__{side}": value}) | Q(**{f"id__{side}": pk}))

    def value(self, row: Model) -> Any:
        """What the row is ordered by."""
        return getattr(row, self.field) if self.field else None


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some rows, the cursors to either side ("" where the list ends), and whether a cursor had to be put aside."""

    rows: list[M]
    newer: str
    older: str
    bad_cursor: bool = False

    @property
    def is_first(self) -> bool:
        """Whether the list begins with this page."""
        return not self.newer


class BadCursor(Exception):
    """A cursor that this list did not make."""


def page(rows: QuerySet[M], ordering: Ordering, *, size: int, params: Mapping[str, str]) -> Page[M]:
    """One page of the rows: after the cursor `params["after"]`, before `params["before"]`, else the first.

    A cursor that can't be used gives the first page with `bad_cursor` set. At most two queries.
    """
    try:
        if before := params.get("before"):
            return _newer_than(rows, ordering, size, before)
        if after := params.get("after"):
            return _older_than(rows, ordering, size, after)
    except BadCursor:
        return _first(rows, ordering, size, bad_cursor=True)
    return _first(rows, ordering, size)


def beside(rows: QuerySet[M], ordering: Ordering, row: M) -> tuple[M | None, M | None]:
    """The rows right before and right after a row of the list. Two queries."""
    before, after = (rows.filter(ordering.beyond(ordering.value(row), row.pk, later=later)) for later in (False, True))
    return before.order_by(*ordering.fields("")).first(), after.order_by(*ordering.fields("-")).first()


def _first(rows: QuerySet[M], ordering: Ordering, size: int, *, bad_cursor: bool = False) -> Page[M]:
    found = list(rows.order_by(*ordering.fields("-"))[: size + 1])
    return Page(found[:size], "", _cursor(found[size - 1], ordering) if len(found) > size else "", bad_cursor)


def _older_than(rows: QuerySet[M], ordering: Ordering, size: int, cursor: str) -> Page[M]:
    found = list(rows.filter(_beyond(ordering, cursor, later=True)).order_by(*ordering.fields("-"))[: size + 1])
    if not found:
        return _first(rows, ordering, size)
    older = _cursor(found[size - 1], ordering) if len(found) > size else ""
    return Page(found[:size], _cursor(found[0], ordering), older)


def _newer_than(rows: QuerySet[M], ordering: Ordering, size: int, cursor: str) -> Page[M]:
    found = list(rows.filter(_beyond(ordering, cursor, later=False)).order_by(*ordering.fields(""))[: size + 1])
    if len(found) <= size:
        return _first(rows, ordering, size)
    found = found[size - 1 :: -1]
    return Page(found, _cursor(found[0], ordering), _cursor(found[-1], ordering))


def _beyond(ordering: Ordering, cursor: str, *, later: bool) -> Q:
    value, pk = _read(cursor, ordering)
    return ordering.beyond(value, pk, later=later)


def _signer(ordering: Ordering) -> Signer:
    # Signed, so that a cursor that arrives is one we gave; the version is in the salt, so that older ones are put aside.
    return Signer(salt=f"keyset.{VERSION}.{ordering.name}.{ordering.field}.{ordering.ascends}", sep=".")


def _cursor(row: Model, ordering: Ordering) -> str:
    value = ordering.value(row)
    stated = ["t", value.isoformat()] if isinstance(value, datetime) else ["v", value]
    return _signer(ordering).sign_object([*stated, row.pk])


def _read(cursor: str, ordering: Ordering) -> tuple[Any, int]:
    try:
        kind, value, pk = _signer(ordering).unsign_object(cursor)
    except (BadSignature, ValueError) as error:
        raise BadCursor from error
    return (datetime.fromisoformat(value) if kind == "t" else value), pk
