"""The database of a run: every actor's own connection with places where it pauses and breaks, and a connection that watches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from unittest import mock

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.fifo.scheduler import Actor, Scheduler

# Children before parents.
TABLES = (
    "trades_tradelink", "trades_auditentry", "trades_unhandled", "trades_handler", "trades_hold", "trades_event", "trades_tradeidentifier",
    "trades_tradeexception", "trades_repeat", "trades_message", "trades_trade", "trades_outboxlease", "trades_sendattempt",
    "trades_publication", "trades_refusal", "trades_draft", "trades_document", "trades_upload", "trades_payloadpart", "trades_payload",
    "trades_worker",
)  # fmt: skip
TAKEN = "faults_taken"  # what the handler of a run took, in this order
# What Django says to begin and end, and to a connection that it has just made.
CONTROL = ("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK", "PRAGMA", "SET ")


class Breaker(Protocol):
    """What may break at a place in the database."""

    def strike(self, actor: Actor, point: str, what: str = "") -> None:
        """Called at each point; may raise, kill the actor, or let time pass."""

    def committed(self, actor: Actor) -> None:
        """Called after each commit, before anything else happens."""

    def statement(self, actor: Actor, sql: str, parameters: Any) -> None:
        """Called before each statement that may fail for what it holds."""


class Instruments:
    """Pauses and breaks at the statements, begins and commits of an actor's own connection."""

    def __init__(self, actor: Actor, breaker: Breaker, *, in_transactions: bool) -> None:
        self.actor = actor
        self.breaker = breaker
        self.in_transactions = in_transactions
        # Any: Django gives what it does at the end of a transaction no public name.
        made: Any = connections["default"]
        self.connection = made
        made.ensure_connection()
        actor.in_transaction = False
        self._commit: Callable[[], None] = made._commit
        self._set_autocommit = made.set_autocommit
        made.execute_wrappers.append(self.execute)
        made._commit = self.commit
        made.set_autocommit = self.set_autocommit

    def execute(self, execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
        """Around every statement."""
        actor = self.actor
        if sql.startswith(CONTROL):
            return execute(sql, parameters, many, context)
        actor.check()
        words = _in_short(sql)
        if actor.in_transaction:
            if self.in_transactions:
                actor.pause(f"in a transaction, {words}")
            self.breaker.strike(actor, "statement", words)
            self.breaker.statement(actor, sql, parameters)
        else:
            actor.pause(words)
            self.breaker.strike(actor, "single statement", words)
        self._note_backend()
        try:
            result = execute(sql, parameters, many, context)
        finally:
            if actor.must_report:
                actor.must_report = False
                actor.scheduler.report(actor)
        if not actor.in_transaction and not sql.startswith("SELECT"):
            self.breaker.committed(actor)
            self.breaker.strike(actor, "committed", words)
        return result

    def commit(self) -> None:
        """In the place of the connection's own."""
        actor = self.actor
        if not actor.in_transaction:
            self._commit()
            return
        if actor.is_dead:
            self._undo()
            actor.check()
        if self.in_transactions:
            actor.pause("before commit")
        try:
            self.breaker.strike(actor, "before commit")
        except BaseException:
            self._undo()
            raise
        self._commit()
        self.breaker.committed(actor)
        self.breaker.strike(actor, "committed", "transaction")

    def set_autocommit(self, autocommit: bool, **options: Any) -> None:
        """In the place of the connection's own: False begins a transaction, True ends it."""
        actor = self.actor
        if not autocommit:
            actor.pause("begins a transaction")
            self.breaker.strike(actor, "begin")
        self._note_backend()
        self._set_autocommit(autocommit, **options)
        was, actor.in_transaction = actor.in_transaction, not autocommit
        if autocommit and was and not actor.is_dead:
            actor.pause("ended a transaction")

    def _undo(self) -> None:
        # Django ends a transaction that it did not roll back by turning autocommit on, which on SQLite commits it.
        self.connection._rollback()

    def _note_backend(self) -> None:
        if self.connection.vendor == "postgresql" and self.connection.connection is not None:
            self.actor.backend = self.connection.connection.info.backend_pid


def _in_short(sql: str) -> str:
    """SELECT trades_message of a statement, for the log: no values and no keys, which differ between databases."""
    words = sql.replace('"', " ").split()
    table = next((word for word in words if word.startswith(("trades_", TAKEN)) and "." not in word), "")
    return f"{words[0]} {table}".strip()


@contextmanager
def watching() -> Iterator[BaseDatabaseWrapper]:
    """A connection of its own that may be used from any thread, without faults."""
    made = connections.create_connection("default")
    made.inc_thread_sharing()
    try:
        yield made
    finally:
        made.close()


def rows(watch: BaseDatabaseWrapper, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What is committed."""
    with watch.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


@contextmanager
def quick_connections() -> Iterator[None]:
    """From now on connections are made for a run: no waiting for the disk, no pool, and nothing waits long for a lock."""
    options = {name: value for name, value in connection.settings_dict["OPTIONS"].items() if name != "pool"}
    if connection.vendor == "sqlite":
        options |= {"timeout": 5, "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"}
    else:
        # PostgreSQL looks for deadlocks at once, so that whoever closes a circle is the one to be refused.
        options |= {"options": "-c synchronous_commit=off -c deadlock_timeout=1ms"}
    with mock.patch.dict(connection.settings_dict, OPTIONS=options, CONN_MAX_AGE=None, CONN_HEALTH_CHECKS=False):
        yield


def clean() -> None:
    """Delete all rows of the product."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")


@contextmanager
def table_of_handler() -> Iterator[None]:
    """Where the handler of a run writes, for as long as the block lasts."""
    key = "integer PRIMARY KEY AUTOINCREMENT" if connection.vendor == "sqlite" else "bigserial PRIMARY KEY"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TAKEN}")
        cursor.execute(f"CREATE TABLE {TAKEN} (id {key}, message_id bigint NOT NULL)")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {TAKEN}")


class Waits:
    """Who waits for whom in PostgreSQL. A circle is none: PostgreSQL ends it by itself."""

    def __init__(self, watch: BaseDatabaseWrapper, scheduler: Scheduler) -> None:
        self.watch = watch
        self.scheduler = scheduler

    def is_blocked(self, actor: Actor) -> bool:
        """Whether the actor waits for a lock that another actor holds, and will until that one goes on."""
        own = actor.backend
        todo = self._blockers(own)
        if not todo:
            return False
        waits = {each.backend: self._blockers(each.backend) for each in self.scheduler.actors if each.blocked}
        seen: set[int] = set()
        while todo:
            pid = todo.pop()
            if pid == own:
                return False
            if pid not in seen:
                seen.add(pid)
                todo |= waits.get(pid, set())
        return True

    def _blockers(self, backend: int) -> set[int]:
        return {pid for (pid,) in rows(self.watch, "SELECT unnest(pg_blocking_pids(%s))", backend)} if backend else set()
