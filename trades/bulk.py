"""Find, make and insert many rows of a model, at about a third of what `__in` and `bulk_create` cost in CPU.

Django asks every field of every row how to prepare its value, and hands the driver thousands of parameters; recording would
spend most of its time there. Here the question is asked once per column: text and numbers are handed over as they are, which is
right for rows made by our own code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, TypeVar

from django.db import connection, models

M = TypeVar("M", bound=models.Model)
SQLITE_MOST = 10_000  # parameters; SQLite takes 32,766 in a statement unless built for more (https://www.sqlite.org/limits.html)
PLAIN = (models.CharField, models.TextField, models.IntegerField, models.BooleanField, models.ForeignKey, models.AutoField)


@models.Field.register_lookup
class Among(models.Lookup):
    """`column__among=[...]`: the rows with any of these values (at least one), as `__in`."""

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """`= ANY(array)` on PostgreSQL; SQLite has no arrays, and takes many parameters quickly."""
        column, parameters = self.process_lhs(compiler, connection)
        values = list(self.rhs)
        if isinstance(self.lhs.output_field, models.UUIDField):
            values = [self.lhs.output_field.get_db_prep_value(value, connection) for value in values]
        if connection.vendor == "postgresql":
            return f"{column} = ANY(%s)", [*parameters, values]
        if len(values) > SQLITE_MOST:
            return f"{column} IN (SELECT value FROM json_each(%s))", [*parameters, json.dumps(values)]  # noqa: S608
        return f"{column} IN ({', '.join(['%s'] * len(values))})", [*parameters, *values]


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows of one model go into the database."""

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    values_of: Callable[[models.Model], tuple[Any, ...]]
    converters: tuple[tuple[int, Callable[[Any], Any]], ...]

    def values(self, row: models.Model) -> list[Any]:
        """The row's values, ready for the statement, in the order of the columns."""
        values = list(self.values_of(row))
        for index, convert in self.converters:
            if values[index] is not None:
                values[index] = convert(values[index])
        return values


def new(model: type[M], **values: Any) -> M:
    """An unsaved row with these values by column name (`trade_id` for a relation), defaults for the rest. Values are not checked."""
    return model(*{**_defaults(model), **values}.values())


def insert(rows: Sequence[models.Model], or_else: str = "") -> None:
    """Insert new rows (UTC times, values of the fields' own types); `or_else` is what to do ON CONFLICT. Raises the same database
    errors as `bulk_create`."""
    if rows:
        _execute(_plan(type(rows[0]), connection.vendor, with_pk=False), rows, or_else)


def insert_with_keys(rows: Sequence[models.Model]) -> None:
    """As `insert`, and the rows get their primary keys, rising in the order given."""
    if not rows:
        return
    for row, (pk,) in zip(rows, _execute(_plan(type(rows[0]), connection.vendor, with_pk=False), rows, "RETURNING id"), strict=True):
        row.pk = pk
        row._state.adding = False  # noqa: SLF001 - as Django's own


def insert_missing(rows: Sequence[M], by: str) -> list[M]:
    """Insert those rows that break no unique constraint, and give these with their primary keys; the column `by` tells them apart.

    Where another transaction is about to insert the same, it waits for that to end.
    """
    if not rows:
        return []
    named = {getattr(row, by): row for row in rows}
    found = _execute(_plan(type(rows[0]), connection.vendor, with_pk=False), rows, f"ON CONFLICT DO NOTHING RETURNING id, {by}")
    for pk, name in found:
        named[name].pk = pk
        named[name]._state.adding = False  # noqa: SLF001 - as Django's own
    return [named[name] for _, name in found]


def rewrite(rows: Sequence[models.Model], names: Sequence[str]) -> None:
    """Write the named columns of rows that are in the database already."""
    if not rows:
        return
    columns = [connection.ops.quote_name(name) for name in names]
    changes = ", ".join(f"{column} = excluded.{column}" for column in columns)
    _execute(_plan(type(rows[0]), connection.vendor, with_pk=True), rows, f"ON CONFLICT (id) DO UPDATE SET {changes}")


def given(rows: Sequence[Sequence[Any]], columns: Mapping[str, str]) -> tuple[str, str]:
    """Values as a table for the FROM of a statement of one's own: its text, and the one parameter that it takes.

    `columns` are names with PostgreSQL types; the values are those that JSON knows.
    """
    document = json.dumps([dict(zip(columns, row, strict=True)) for row in rows], ensure_ascii=False)
    if connection.vendor == "postgresql":
        types = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return f"json_to_recordset(%s::json) AS given({types})", document
    extracted = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in columns)
    return f"(SELECT {extracted} FROM json_each(%s)) AS given", document  # noqa: S608


def execute(statement: str, document: str) -> None:
    """Execute a statement of one's own over `given` values."""
    with connection.cursor() as cursor:
        cursor.execute(statement, [document])


def _execute(plan: Plan, rows: Sequence[models.Model], ending: str = "") -> list[tuple[Any, ...]]:
    values = [plan.values(row) for row in rows]
    returning = "RETURNING" in ending
    # Only names of our own models are put into the text.
    insert = f"INSERT INTO {plan.table} ({', '.join(plan.columns)})"
    row = f"({', '.join(['%s'] * len(plan.columns))})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"{insert} {_recordset(plan)} {ending}", [_document(values)])
            return list(cursor.fetchall()) if returning else []
        if not returning:
            cursor.executemany(f"{insert} VALUES {row} {ending}", values)
            return []
        answers: list[tuple[Any, ...]] = []
        most = SQLITE_MOST // len(plan.columns)
        for start in range(0, len(values), most):
            chunk = values[start : start + most]
            cursor.execute(f"{insert} VALUES {', '.join([row] * len(chunk))} {ending}", [value for each in chunk for value in each])
            answers += cursor.fetchall()
        return answers


def _recordset(plan: Plan) -> str:
    # One parameter instead of thousands: psycopg handles each in Python. The columns are c0, c1, ... to keep the document short.
    columns = ", ".join(f"c{index} {kind}" for index, kind in enumerate(plan.types))
    return f"SELECT * FROM json_to_recordset(%s::json) AS rows({columns})"  # noqa: S608


def _document(rows: Sequence[list[Any]]) -> str:
    names = [f"c{index}" for index in range(len(rows[0]))]
    return json.dumps([dict(zip(names, values, strict=True)) for values in rows], ensure_ascii=False)


@cache
def _defaults(model: type[models.Model]) -> dict[str, Any]:
    return {field.attname: field.get_default() for field in model._meta.concrete_fields}  # noqa: SLF001


@cache
def _plan(model: type[models.Model], vendor: str, *, with_pk: bool) -> Plan:
    fields = [field for field in model._meta.concrete_fields if with_pk or not field.primary_key]  # noqa: SLF001
    converters = [(index, convert) for index, field in enumerate(fields) if (convert := _converter(field, vendor))]
    quote = connection.ops.quote_name
    return Plan(
        table=quote(model._meta.db_table),  # noqa: SLF001
        columns=tuple(quote(str(field.column)) for field in fields),
        types=tuple(_type(field) for field in fields),
        values_of=attrgetter(*(field.attname for field in fields)),
        converters=tuple(converters),
    )


def _type(field: models.Field[Any, Any]) -> str:
    # As text: a cast to varchar(n) would cut a value that is too long, where storing it must fail.
    return "text" if isinstance(field, models.CharField) else str(field.db_type(connection))


def _converter(field: models.Field[Any, Any], vendor: str) -> Callable[[Any], Any] | None:
    if isinstance(field, PLAIN):
        return None
    if vendor == "postgresql":
        if isinstance(field, models.BinaryField):
            return lambda value: f"\\x{bytes(value).hex()}"
        return None if isinstance(field, models.JSONField) else str
    if isinstance(field, models.DateTimeField):
        return _sqlite_time
    return json.dumps if isinstance(field, models.JSONField) else lambda value: field.get_db_prep_save(value, connection)


@lru_cache(maxsize=1024)  # a batch holds the same few moments again and again
def _sqlite_time(value: datetime) -> str:
    return str(value.astimezone(UTC).replace(tzinfo=None))
