"""A firm's own processing in a run: it writes a row for each message it is given, and at times does not take one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from random import Random
from typing import Protocol

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.fifo.database import TAKEN, rows
from trades.handlers import Recorded, Refuse
from trades.models import Handler


class Counting(Protocol):
    """Who knows whether anything may still go wrong, and counts."""

    is_calm: bool

    def count(self, kind: str) -> None:
        """One more of these."""


class Firm:
    """The handler of one queue."""

    name = "firm:take"

    def __init__(self, rng: Random, weather: Counting) -> None:
        self.rng = rng
        self.weather = weather

    def register(self, queue: str, now: datetime) -> None:
        """Make it known as that of the queue, before any worker begins."""
        Handler.objects.create(queue=queue, name=self.name, since=now)

    def take(self, recorded: Recorded, /) -> None:
        """The handler."""
        with connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {TAKEN} (message_id) VALUES (%s)", [recorded.message.pk])
        self.weather.count("handler: called")
        if self.weather.is_calm:
            return
        chance = self.rng.random()
        if chance < 0.1:
            self.weather.count("handler: refused a message")
            raise Refuse("This is not for us.")
        if chance < 0.3:
            self.weather.count("handler: failed")
            raise LookupError("not just now")


class Row(Protocol):
    """What is looked at of a stored message."""

    @property
    def pk(self) -> int:
        """Its key."""

    @property
    def queue(self) -> str:
        """Where it came from."""

    @property
    def group(self) -> str:
        """Its message group."""

    @property
    def outcome(self) -> str:
        """What became of it."""

    @property
    def corrects(self) -> int | None:
        """The message that it stands in for."""


class Handling:
    """Compares what was recorded from a queue with what its handler took."""

    def __init__(self, watch: BaseDatabaseWrapper, queue: str) -> None:
        self.watch = watch
        self.queue = queue
        self.recorded: defaultdict[str, list[int]] = defaultdict(list)
        self.seen: set[int] = set()

    def look(self, messages: Sequence[Row]) -> Iterator[str]:
        """After a commit: what each group's messages were recorded as, in that order they were taken, each once."""
        fresh = [row for row in messages if row.queue == self.queue and row.outcome == "RECORDED" and row.pk not in self.seen]
        for row in sorted(fresh, key=lambda row: row.corrects or row.pk):
            self.seen.add(row.pk)
            self.recorded[row.group].append(row.pk)
        groups = {row.pk: row.group for row in messages}
        taken: defaultdict[str, list[int]] = defaultdict(list)
        for (pk,) in rows(self.watch, f"SELECT message_id FROM {TAKEN} ORDER BY id"):
            taken[groups.get(pk, "of nothing that is stored")].append(pk)
        for group, pks in taken.items():
            if pks != self.recorded[group][: len(pks)]:
                yield f"group {group} of {self.queue} was recorded as {self.recorded[group]}, and its handler took {pks}"

    def end(self) -> Iterator[str]:
        """At the end: everything that was recorded was taken."""
        taken = {pk for (pk,) in rows(self.watch, f"SELECT message_id FROM {TAKEN}")}
        for pk in sorted(self.seen - taken):
            yield f"message {pk} of {self.queue} is recorded, and its handler was never given it"
