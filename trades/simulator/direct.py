"""Write stories straight into the database, without queue or worker: the rows that recording them would leave, a hundred times faster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from django.db import connection, models, transaction

from trades.models import Document, Message, Trade, Upload
from trades.simulator import recording
from trades.simulator.stories import Of, Story
from trades.simulator.templates import MODELS, RowTemplate, Template, Templates

CHUNK = 5_000  # steps whose rows are kept in memory
# Chunks in a transaction. Digests are scattered over their indexes, so that every transaction writes most pages of these.
CHUNKS = 10
SQLITE_CACHE = 256 * 1024  # KiB, to keep these pages in
UPLOAD_SIZES = (1, 1, 1, 2, 3, 5, 8, 20)  # documents, in turn


@dataclass(slots=True)
class Live:
    """What is known of a story that is being written: its template, and the keys of its rows."""

    template: Template
    left: int
    trade: int = 0
    messages: dict[int, int] = field(default_factory=dict)


class Table:
    """One table: rows that wait to be written, and the next key."""

    def __init__(self, model: type[models.Model]) -> None:
        meta = model._meta  # noqa: SLF001
        quote = connection.ops.quote_name
        fields = meta.concrete_fields
        self.name = meta.db_table
        self.position = next((index for index, named in enumerate(fields) if named.name == "position" and model is Document), 0)
        self.columns = ", ".join(quote(str(named.column)) for named in fields)
        self.marks = ", ".join(["%s"] * len(fields))
        self.rows: list[list[Any]] = []
        self.last = 0

    def write(self) -> int:
        """Write the rows that wait; how many they were."""
        rows, self.rows = self.rows, []
        if not rows:
            return 0
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                with cursor.copy(f"COPY {self.name} ({self.columns}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
                # Names of our own alone; the keys were given here, so that others are told from where on to give theirs.
                cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [self.name, self.last])
            else:
                cursor.executemany(f"INSERT INTO {self.name} ({self.columns}) VALUES ({self.marks})", rows)  # noqa: S608
        return len(rows)

    def read_last_key(self) -> None:
        """The last key that was ever given."""
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, 'id'))", [self.name])
            else:
                cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [self.name])
            found = cursor.fetchone()
        self.last = (found and found[0]) or 0


class Writer:
    """Writes steps in the order given, in transactions of some ten thousand."""

    def __init__(self) -> None:
        self.templates = Templates()
        self.rows = 0
        self._tables = {model: Table(model) for model in MODELS}
        self._live: dict[str, Live] = {}
        self._sequence = 0
        self._uploads = self._upload = 0
        self._documents_left = self._documents = 0

    def write(self, steps: Iterable[tuple[Story, int]], done: Callable[[int], None] = lambda _: None) -> None:
        """Write all steps; `done` hears now and then how many more are written."""
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute(f"PRAGMA cache_size = -{SQLITE_CACHE}")
        chunks = _chunks(iter(steps), CHUNK)
        while together := list(islice(chunks, 1)):
            with transaction.atomic():
                for chunk in chain(together, islice(chunks, CHUNKS - 1)):
                    self._write(chunk)
                    done(len(chunk))

    def _write(self, chunk: Sequence[tuple[Story, int]]) -> None:
        for story, _ in chunk:
            self._begin(story)
        self._lock()
        for story, step in chunk:
            self._add(story, step)
        self.rows += sum(table.write() for table in self._tables.values())

    def _begin(self, story: Story) -> None:
        """Have the template of a story at hand. Making one takes keys, on PostgreSQL, which are given back to nobody."""
        name = story.values[Of.TRADE_ID]
        if name not in self._live:
            self._live[name] = Live(self.templates.of(story), len(story.shape.steps))
            recording.name_trade(story)

    def _lock(self) -> None:
        """Keep others from giving keys until the end of the transaction."""
        if connection.vendor == "postgresql":
            names = ", ".join(table.name for table in self._tables.values())
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
        for table in self._tables.values():
            table.read_last_key()

    def _add(self, story: Story, step: int) -> None:
        live = self._live[story.values[Of.TRADE_ID]]
        self._sequence += 1
        recording.make_message(story, step, self._sequence)
        for row in live.template.rows[step]:
            if row.model is not Upload or self._opens_upload():
                self._fill(row, story.values, live, step)
        recording.forget_message(story, step)
        live.left -= 1
        if not live.left:
            del self._live[story.values[Of.TRADE_ID]]

    def _fill(self, row: RowTemplate, given: Sequence[Any], live: Live, step: int) -> None:
        table = self._tables[row.model]
        values = list(row.values)
        values[0] = table.last = table.last + 1
        for column, place in row.slots:
            values[column] = given[place]
        for column, parts in row.joined:
            values[column] = "".join([part if isinstance(part, str) else given[part] for part in parts])
        for reference in row.references:
            values[reference.column] = self._key(live, reference.model, reference.step)
        if row.model is Message:
            live.messages[step] = table.last
        elif row.model is Trade:
            live.trade = table.last
        elif row.model is Upload:
            self._upload = table.last
        elif row.model is Document:
            self._documents += 1
            self._documents_left -= 1
            values[table.position] = self._documents
        table.rows.append(values)

    def _key(self, live: Live, model: type[models.Model], step: int) -> int:
        if model is Message:
            return live.messages[step]
        if model is Upload:
            return self._upload
        return live.trade if model is Trade else self._tables[model].last

    def _opens_upload(self) -> bool:
        if self._documents_left:
            return False
        self._documents_left, self._documents = UPLOAD_SIZES[self._uploads % len(UPLOAD_SIZES)], 0
        self._uploads += 1
        return True


def _chunks(steps: Iterator[tuple[Story, int]], size: int) -> Iterator[list[tuple[Story, int]]]:
    while chunk := list(islice(steps, size)):
        yield chunk
