"""What breaks, where, and how often: drawn from the seed, and counted by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from botocore.exceptions import ClientError, EndpointConnectionError, IncompleteReadError, ReadTimeoutError
from django.db import DataError, OperationalError, connection

from tests.fifo import model
from tests.fifo.invariants import Watch
from tests.fifo.scheduler import Actor, Died, Scheduler
from trades import sqs

URL, S3_URL = "https://sqs.model", "https://s3.model"
UNSTORABLE = "UNSTORABLE"
DEDUPLICATION_WINDOW = 300.0
# At most so many per run, so that every run gets somewhere.
MOST = 60
RATES = (0.02, 0.05, 0.15)
WORKER = ("worker",)
SENDERS = ("publisher", "relay", "clerk")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: the points where it can strike, whom (empty: anybody), and how often compared with others."""

    name: str
    points: tuple[str, ...]
    strike: Callable[[Weather, Actor], None]
    whom: tuple[str, ...] = ()
    share: float = 1.0


class SqlState(Exception):
    """Stands for the driver's error, which carries PostgreSQL's code."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Weather(model.Faults):
    """The faults of one run: hooks of the model's queues and of the actors' connections."""

    def __init__(self, rng: Random, scheduler: Scheduler, broker: model.FifoBroker, watch: Watch, visibility: float) -> None:
        self.rng = rng
        self.scheduler = scheduler
        self.clock = scheduler.clock
        self.broker = broker
        self.watch = watch
        self.visibility = visibility
        self.is_calm = False
        self.counts: Counter[str] = Counter()
        self.injected = 0
        self.away_until = watch.outages
        self.is_unstorable = True
        self._deleted = 0
        self.rates: dict[str, list[tuple[Kind, float]]] = {}
        # Only some kinds each time: what is rare together with everything else is common alone.
        for kind in KINDS:
            if rng.random() < 0.5:
                rate = rng.choice(RATES) * kind.share
                for point in kind.points:
                    self.rates.setdefault(point, []).append((kind, rate))
        self.entry_failure = rng.choice((0.0, 0.0, 0.03, 0.1))

    def count(self, kind: str) -> None:
        """One more of these."""
        self.counts[kind] += 1

    def inject(self, kind: str) -> None:
        """One more of these, of which a run has only so many."""
        self.injected += 1
        self.count(kind)

    def is_away(self, what: str) -> bool:
        """Whether "queue", "database" or "S3" is away for everybody just now."""
        return self.clock.now < self.away_until[what]

    # Places in the database

    def strike(self, actor: Actor, point: str, what: str = "") -> None:
        """Perhaps something breaks here."""
        if actor.in_transaction or point in ("begin", "single statement"):
            self._check_database(actor, point)
        if self.is_calm or self.injected >= MOST:
            return
        number = self.rng.random()
        for kind, rate in self.rates.get(point, ()):
            if kind.whom and actor.process.kind not in kind.whom:
                continue
            number -= rate
            if number < 0:
                self.scheduler.note(actor.name, f"FAULT {kind.name}, at: {point} {what}".rstrip())
                self.inject(kind.name)
                self.watch.arrived(actor)
                kind.strike(self, actor)
                return

    def _check_database(self, actor: Actor, point: str) -> None:
        if self.is_away("database") and point in ("begin", "single statement", "statement"):
            self.watch.arrived(actor)
            raise OperationalError("the database is away: a fault of the run")

    def committed(self, actor: Actor) -> None:
        """After each commit: is all well?"""
        if actor.process.kind in ("worker", "operator"):
            self.watch.committed()
        elif actor.process.kind == "publisher":
            self.watch.handed_in()
        if actor.process.kind in SENDERS:
            self.watch.noted(actor)

    def statement(self, actor: Actor, sql: str, parameters: Any) -> None:
        """Some content can't be stored until somebody repairs the database."""
        if self.is_unstorable and sql.startswith("INSERT INTO") and "trades_event" in sql and UNSTORABLE in str(parameters):
            raise DataError("a value that this column does not take")

    # Places at the queue

    def before(self, operation: str, queue: str, details: Mapping[str, Any]) -> None:
        """The request is on its way."""
        if (actor := self.scheduler.current) is None:
            return
        if operation == "send" and actor.process.kind in SENDERS:
            self.watch.sets_off(actor, details)
        try:
            self._before(actor, operation, _size(details))
        except BaseException:
            self.watch.arrived(actor)
            raise

    def _before(self, actor: Actor, operation: str, size: str) -> None:
        actor.pause(f"before {operation}{size}")
        if self.is_away("queue"):
            if operation == "receive":
                self.watch.tried(actor, "queue")
            raise EndpointConnectionError(endpoint_url=URL)
        self.strike(actor, f"before {operation}")

    def after(self, operation: str, queue: str, details: Mapping[str, Any]) -> None:
        """The answer is on its way back."""
        if (actor := self.scheduler.current) is None:
            return
        for deleted in self.broker.deletions[self._deleted :]:
            self.watch.deleted(deleted)
        self._deleted = len(self.broker.deletions)
        if operation == "send":
            self.watch.sent(queue)
        messages = details["answer"].get("Messages", ())
        if operation == "receive" and not messages:
            # What is empty is no place for a fault, and the long poll takes its time.
            actor.pause("nothing came", self.clock.now + float(details.get("WaitTimeSeconds") or 0))
            return
        if messages and self.is_away("database"):
            self.watch.tried(actor, "database")
        try:
            actor.pause(f"after {operation}{_size(details) or f' of {len(messages)}'}")
            self.strike(actor, f"after {operation}")
        except BaseException:
            self.watch.arrived(actor)
            raise

    def per_entry(self, operation: str, entry: Mapping[str, Any]) -> sqs.Failed | None:
        """One entry of a batch may fail by itself."""
        actor = self.scheduler.current
        if actor is None or self.is_calm or not self.entry_failure or self.injected >= MOST:
            return None
        if self.rng.random() >= self.entry_failure:
            return None
        kind = f"part of a {operation} failed"
        self.scheduler.note(actor.name, f"FAULT {kind}")
        self.inject(kind)
        return sqs.Failed("InternalError", "a fault of the run")

    # Places at S3

    def at_s3(self, point: str, bucket: str, key: str) -> None:
        """A request for an object, its answer, or a part of it, is on its way."""
        if (actor := self.scheduler.current) is None:
            return
        self.watch.asked_s3(actor, point, bucket, key)
        actor.pause(f"{point} {bucket}/{key}")
        if self.is_away("S3"):
            if point == "before get":
                self.watch.tried(actor, "S3", key)
            raise EndpointConnectionError(endpoint_url=S3_URL)
        self.strike(actor, point)


def _size(details: Mapping[str, Any]) -> str:
    return f" of {len(details['Entries'])}" if "Entries" in details else ""


# What the kinds do


def die(weather: Weather, actor: Actor) -> None:
    """The process is gone, as by SIGKILL."""
    weather.scheduler.kill(actor.process)
    raise Died


def lose_request(weather: Weather, actor: Actor) -> None:
    """Nothing answers."""
    raise EndpointConnectionError(endpoint_url=URL)


def lose_answer(weather: Weather, actor: Actor) -> None:
    """It was done, and nobody is told."""
    raise ReadTimeoutError(endpoint_url=URL)


def lose_answer_for_long(weather: Weather, actor: Actor) -> None:
    """The next try comes when SQS has forgotten the deduplication id."""
    weather.clock.advance(DEDUPLICATION_WINDOW + weather.rng.uniform(1, 60))
    raise ReadTimeoutError(endpoint_url=URL)


def throttle(weather: Weather, actor: Actor) -> None:
    """SQS is asked too often."""
    answer = {"Error": {"Code": "RequestThrottled", "Message": "a fault of the run"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    raise ClientError(cast(Any, answer), "queue")


def slow_down(weather: Weather, actor: Actor) -> None:
    """S3 is asked too often."""
    answer = {"Error": {"Code": "SlowDown", "Message": "a fault of the run"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    raise ClientError(cast(Any, answer), "object")


def deny(weather: Weather, actor: Actor) -> None:
    """Somebody changes the policy of the bucket, and changes it back."""
    answer = {"Error": {"Code": "AccessDenied", "Message": "a fault of the run"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    raise ClientError(cast(Any, answer), "object")


def cut(weather: Weather, actor: Actor) -> None:
    """The line breaks in the middle of an object."""
    raise IncompleteReadError(actual_bytes=1024, expected_bytes=2048)


def pass_time(weather: Weather, actor: Actor) -> None:
    """Longer than the visibility timeout, while nobody extends anything."""
    weather.clock.advance(weather.visibility + 1)


def freeze(weather: Weather, actor: Actor) -> None:
    """The whole process stands still for a while, as a machine that is suspended; others go on."""
    actor.process.frozen_until = weather.clock.now + weather.rng.uniform(0.5, 2.5) * max(weather.visibility, 35)
    actor.pause("stands still")


def break_statement(weather: Weather, actor: Actor) -> None:
    """The database refuses for now."""
    raise OperationalError("a fault of the run")


def deadlock(weather: Weather, actor: Actor) -> None:
    """PostgreSQL ends one of two transactions that wait for each other."""
    raise OperationalError("deadlock detected: a fault of the run") from SqlState("40P01")


def drop_connection(weather: Weather, actor: Actor) -> None:
    """The connection is gone, whatever was under way."""
    if connection.vendor == "postgresql" and connection.connection is not None:
        # PostgreSQL finds out by itself, but at a time of its own; what waits for its locks would go on at another step each time.
        connection.connection.rollback()
        connection.connection.close()
    raise OperationalError("server closed the connection unexpectedly: a fault of the run")


def take_database_away(weather: Weather, actor: Actor) -> None:
    """For everybody, for a while."""
    weather.away_until["database"] = weather.clock.now + weather.rng.uniform(5, 90)
    raise OperationalError("the database is away: a fault of the run")


def take_queue_away(weather: Weather, actor: Actor) -> None:
    """For everybody, for a while."""
    weather.away_until["queue"] = weather.clock.now + weather.rng.uniform(5, 90)
    raise EndpointConnectionError(endpoint_url=URL)


def take_s3_away(weather: Weather, actor: Actor) -> None:
    """For everybody, for a while."""
    weather.away_until["S3"] = weather.clock.now + weather.rng.uniform(5, 90)
    raise EndpointConnectionError(endpoint_url=S3_URL)


def ask_to_stop(weather: Weather, actor: Actor) -> None:
    """SIGTERM."""
    if actor.process.stop is not None:
        actor.process.stop.set()


KINDS = (
    Kind("crash in a transaction", ("statement",), die, share=0.1),
    Kind("crash before commit", ("before commit",), die),
    Kind("crash after commit", ("committed",), die),
    Kind("crash before delete", ("before delete",), die),
    Kind("crash after delete", ("after delete",), die),
    Kind("crash before send", ("before send",), die),
    Kind("crash after send, before its answer", ("after send",), die),
    Kind("crash after receive", ("after receive",), die),
    Kind("crash elsewhere", ("begin", "before receive", "before release", "after release", "before extend"), die, share=0.5),
    Kind("send request lost", ("before send",), lose_request),
    Kind("send answer lost", ("after send",), lose_answer),
    Kind("send answer lost, resent after the five minutes", ("after send",), lose_answer_for_long),
    Kind("receive request lost", ("before receive",), lose_request, share=0.3),
    Kind("receive answer lost", ("after receive",), lose_answer),
    Kind("delete request lost", ("before delete",), lose_request),
    Kind("delete answer lost", ("after delete",), lose_answer),
    Kind("release lost", ("before release", "after release"), lose_answer),
    Kind("extension lost", ("before extend", "after extend"), lose_answer),
    Kind("crash around a put to S3", ("before put", "after put"), die),
    Kind("crash around a get from S3", ("before get", "after get", "in get"), die),
    Kind("put request lost", ("before put",), lose_request),
    Kind("put answer lost", ("after put",), lose_answer),
    Kind("get request lost", ("before get",), lose_request),
    Kind("get answer lost", ("after get",), lose_answer),
    Kind("get cut in the middle", ("in get",), cut),
    Kind("S3 throttled", ("before put", "before get"), slow_down),
    Kind("S3 denied", ("before put", "before get"), deny, share=0.5),
    Kind("S3 away for a while", ("before put", "before get", "in get"), take_s3_away, share=0.3),
    Kind("throttled", ("before send", "before receive", "before delete", "before release", "before extend"), throttle, share=0.5),
    Kind("visibility expired before recording", ("after receive", "begin", "after get"), pass_time, WORKER),
    Kind("visibility expired before delete", ("committed", "before delete"), pass_time, WORKER),
    Kind("slow worker, back late", ("begin", "after receive", "before delete", "in get"), freeze, WORKER),
    Kind("slow sender, back late", ("before send", "after send", "before put", "after put"), freeze, SENDERS),
    Kind("database error", ("statement", "single statement"), break_statement, share=0.1),
    Kind("commit failed", ("before commit",), break_statement),
    Kind("deadlock", ("statement",), deadlock, share=0.1),
    Kind("connection dropped in a transaction", ("statement",), drop_connection, share=0.1),
    Kind("connection dropped during commit", ("committed",), drop_connection),
    Kind("database away for a while", ("begin",), take_database_away, share=0.2),
    Kind("queue away for a while", ("before send", "before receive", "before delete"), take_queue_away, share=0.1),
    Kind("SIGTERM", ("after receive", "begin", "committed", "before delete", "before release", "in get"), ask_to_stop, share=0.4),
)
