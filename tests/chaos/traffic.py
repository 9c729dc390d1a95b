"""The files that publishing processes send, and the two lanes in which they send them."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.chaos.postgres import Postgres
from tests.support.native import native
from tests.support.processes import Process, manage

LANES = 2
POISON_PERCENT = 1
CONFIRMED_PERCENT = 10
# Publishing processes know this dialect, workers don't: so a message is published in its place and quarantined on arrival.
POISON_DIALECT = """\
dialect = "desk-slip"
title = "Slip of a desk"
version = "1"

[match]
namespace = "urn:chaos:slip"
roots = ["Slip"]

[namespaces]
s = "urn:chaos:slip"

[fields]
event_class = "'UPDATE'"
version = { xpath = "s:Version", type = "int" }

[ids]
own = ["s:Trade"]

[[messages]]
"""


@dataclass(frozen=True, slots=True)
class File:
    """One message as it was handed in: the `number`th of its trade, counted from 1, which is also its version."""

    path: Path
    trade: str
    number: int
    is_poison: bool
    body_sha256: str

    @property
    def name(self) -> str:
        """Its name, which no other file has."""
        return self.path.name


def write_files(folder: Path, seed: int, messages: int, trades: int) -> list[list[File]]:
    """The files of each lane, in the order to publish them; all files of a trade are in one lane. Also the dialect of poison."""
    chance = random.Random(f"traffic {seed}")
    names = [f"T-{number:05}" for number in range(1, trades + 1)]
    whose = names + [chance.choice(names) for _ in range(messages - trades)]
    chance.shuffle(whose)
    counts: dict[str, int] = dict.fromkeys(names, 0)
    lanes: list[list[File]] = [[] for _ in range(LANES)]
    for index, trade in enumerate(whose):
        counts[trade] += 1
        is_poison = counts[trade] > 1 and chance.random() * 100 < POISON_PERCENT
        body = slip(trade, counts[trade]) if is_poison else _message(trade, counts[trade], chance)
        path = folder / f"{index:06}.xml"
        path.write_text(body)
        lanes[int(trade[-5:]) % LANES].append(File(path, trade, counts[trade], is_poison, hashlib.sha256(body.encode()).hexdigest()))
    (folder / "dialects").mkdir()
    (folder / "dialects" / "slip.toml").write_text(POISON_DIALECT)
    return lanes


def slip(trade: str, number: int) -> str:
    """A message that only those understand who know the dialect."""
    return f'<Slip xmlns="urn:chaos:slip"><Trade>{trade}</Trade><Version>{number}</Version></Slip>'


def _message(trade: str, number: int, chance: random.Random) -> str:
    event = "BOOK" if number == 1 else "STATUS" if chance.random() * 100 < CONFIRMED_PERCENT else "UPDATE"
    return native(trade, event, number, "CONFIRMED" if event == "STATUS" else "", message_id=f"{trade}-{number}")


@dataclass(slots=True)
class Lane:
    """A publishing process after another, each with the next files that the database does not have yet."""

    name: str
    files: Sequence[File]
    postgres: Postgres
    environment: Mapping[str, str]
    may_start: Callable[[], bool]
    chunk: int
    stored: set[str] = field(default_factory=set)
    confirmed: set[str] = field(default_factory=set)
    announced: dict[str, str] = field(default_factory=dict)
    in_hand: list[File] = field(default_factory=list)
    unsure: bool = False

    @property
    def done(self) -> bool:
        """Whether every file is stored."""
        return not self.unsure and len(self.stored) == len(self.files)

    def start(self) -> Process | None:
        """The next process, or None while there is nothing to do, or nothing to be sure about."""
        if self.unsure and not self._looked():
            return None
        self.in_hand = [file for file in self.files if file.name not in self.stored][: self.chunk]
        if not self.in_hand or not self.may_start():
            return None
        environment = {**self.environment, "PGAPPNAME": self.name}
        return manage("publish_trades", "--json", *(str(file.path) for file in self.in_hand), environment=environment)

    def ended(self, process: Process, code: int) -> None:
        """Note what it said it had done; after any other end than success the database is asked."""
        for line in _objects(process.lines):
            if line.get("state") == "SENT":
                self.announced[line["publication_id"]] = line["MessageId"]
        names = {file.name for file in self.in_hand}
        if code == 0:
            self.stored |= names
            self.confirmed |= names
        else:
            self.unsure = True

    def _looked(self) -> bool:
        """Whether the database could say which files are stored. While the dead process's own backend lives, it may still commit."""
        try:
            with self.postgres.connect() as connection:
                alive = connection.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = %s", [self.name]).fetchone()
                if alive:
                    return False
                known = connection.execute("SELECT name FROM trades_document").fetchall()
        except psycopg.OperationalError:
            return False
        self.stored = {str(name) for (name,) in known} & {file.name for file in self.files}
        self.unsure = False
        return True


def _objects(lines: Sequence[str]) -> Iterator[dict[str, str]]:
    for line in lines:
        # A process that was killed may have left half a line.
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)
