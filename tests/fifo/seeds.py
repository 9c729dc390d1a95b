"""One run: everybody on some queues, a bucket and one database, until what broke is repaired. The seed decides everything."""

from __future__ import annotations

import gc
import json
import logging
import os
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.conf import settings
from django.db import connection

from tests.fifo import actors, faults, people
from tests.fifo.actors import Traffic
from tests.fifo.bucket import ModelS3
from tests.fifo.client import arn_of
from tests.fifo.database import Instruments, Waits, clean, quick_connections, rows, table_of_handler, watching
from tests.fifo.endings import check_all
from tests.fifo.faults import Weather
from tests.fifo.handled import Firm, Handling
from tests.fifo.invariants import Watch
from tests.fifo.model import FifoBroker, VirtualClock
from tests.fifo.plan import BUCKET, FORBIDDEN, PARTNERS, QUEUE_BYTES, Plan
from tests.fifo.scheduler import Actor, Body, Outcome, Scheduler, VirtualEvent, VirtualLock, virtual_threading
from trades import backlog, leases, sending, sqs, stopping, visibility
from trades.handing_in import reading
from trades.management.commands import relay_publications
from trades.routes import file, places
from trades.sqs import buckets

MOST_STEPS = 6_000
MOST_STEPS_IN_CALM = 12_000
CALM_PACE = 0.01
# Virtual seconds from the end of the faults to an empty queue and outbox.
LONGEST_CALM = 4 * 3600.0


class Run:
    """Everybody, on some queues, a bucket and one database."""

    def __init__(self, seed: int, stack: ExitStack) -> None:
        self.rng = Random(seed)
        self.plan = plan = Plan.drawn(self.rng)
        self.clock = VirtualClock()
        self.broker = FifoBroker(self.clock, Random(self.rng.random()))
        self._make_queues()
        self.scheduler = Scheduler(self.rng, self.clock, plan.pace)
        seen = stack.enter_context(watching())
        self.s3 = ModelS3(BUCKET, PARTNERS, FORBIDDEN)
        handling = Handling(seen, plan.handled) if plan.handled else None
        self.watch = Watch(self.broker, self.s3, plan.queues, seen, plan.hold, (BUCKET, PARTNERS), handling)
        self.weather = Weather(self.rng, self.scheduler, self.broker, self.watch, plan.visibility)
        self.traffic = Traffic(self.rng, plan, self.weather)
        self.firm = Firm(self.rng, self.weather)
        self.broker.faults = self.s3.faults = self.weather
        in_transactions = connection.vendor == "postgresql"
        self.scheduler.prepare = lambda actor: self._prepare(actor, in_transactions=in_transactions)
        if in_transactions:
            self.scheduler.is_blocked = Waits(stack.enter_context(watching()), self.scheduler).is_blocked
        if plan.skew:
            self.weather.count("worker clocks that are wrong")

    def _make_queues(self) -> None:
        plan = self.plan
        attributes = {"VisibilityTimeout": str(plan.visibility), "ContentBasedDeduplication": "true"}
        largest = {"MaximumMessageSize": str(QUEUE_BYTES)} if plan.is_large else {}
        for queue in plan.queues:
            dead_letters = plan.dead_letters_of(queue)
            self.broker.create(dead_letters, attributes)
            policy = {"deadLetterTargetArn": arn_of(dead_letters), "maxReceiveCount": plan.most_receives}
            redrive = {"RedrivePolicy": json.dumps(policy)} if plan.most_receives else {}
            self.broker.create(queue, attributes | largest | redrive)

    def _prepare(self, actor: Actor, *, in_transactions: bool) -> None:
        Instruments(actor, self.weather, in_transactions=in_transactions)

    def start(self) -> None:
        """Everybody begins."""
        plan, weights = self.plan, iter(self.plan.weights)
        if plan.handled:
            self.firm.register(plan.handled, self.clock.utc())
        for number in range(plan.publishers):
            self._start(f"publisher {number + 1}", actors.Publisher(self.traffic, number).run, weights)
        for number in range(plan.relays):
            self._start(f"relay {number + 1}", actors.relay, weights)
        for number in range(plan.foreigners):
            self._start(f"foreigner {number + 1}", actors.Foreigner(self.traffic, self.s3).run, weights)
        for queue, count in zip(plan.queues, plan.workers, strict=True):
            for number in range(count):
                # Some workers of the queue may run without its handler: what they record is left to the others.
                firm = self.firm if queue == plan.handled and (number == 0 or self.rng.random() < 0.7) else None
                self._start(f"worker {number + 1} of {queue}", actors.WorkerProcess(plan, self.rng, queue, firm).run, weights)
        for queue in sorted({plan.dead_letters_of(queue) for queue in plan.queues}) if plan.most_receives else ():
            self._start(f"worker of {queue}", actors.WorkerProcess(plan, self.rng, queue, takes_dead_letters=True).run, weights)
        for number in range(plan.operators):
            self._start(f"operator {number + 1}", people.Operator(self.traffic, self.s3).run, weights)
        for number in range(plan.clerks):
            self._start(f"clerk {number + 1}", people.Clerk(self.traffic).run, weights)
        if plan.is_large:
            self._start("housekeeping", people.Housekeeping(self.traffic, self.s3).run, weights)

    def _start(self, name: str, body: Body, weights: Iterator[int]) -> None:
        self.scheduler.start(name, body, next(weights))

    def go(self) -> None:
        """Until all is handed in and the faults are used up; then in calm until queue and outbox are empty."""
        while not self.traffic.finished() and self.scheduler.steps < MOST_STEPS and self._sound():
            self.scheduler.step()
        for _ in range(self.rng.randint(0, 400)):
            if not self._sound():
                break
            self.scheduler.step()
        self._calm()
        ends, began = self.clock.now + LONGEST_CALM, self.scheduler.steps
        while self._sound() and not self._drained():
            if self.scheduler.steps - began > MOST_STEPS_IN_CALM or self.clock.now > ends:
                self.watch.violate(f"after the faults had stopped, {self._left()} did not drain")
                return
            self.scheduler.step()

    def _calm(self) -> None:
        self.weather.is_calm = True
        self.weather.away_until.update(queue=0.0, database=0.0, S3=0.0)
        self.watch.calm()
        # A machine that needs longer for a batch than the visibility timeout lasts would never be done.
        self.scheduler.pace = min(self.scheduler.pace, CALM_PACE)
        self.scheduler.note("-", "the faults stop")

    def _sound(self) -> bool:
        return not self.watch.violations and not self.scheduler.errors

    def _drained(self) -> bool:
        return self.traffic.finished() and not self._in_queues() and not any(self._in_tables())

    def _in_queues(self) -> int:
        return sum(len(store.messages) for store in self.broker.stores.values())

    def _in_tables(self) -> tuple[int, int]:
        """What waits in the outbox, and for a handler."""
        pending = rows(self.watch.connection, "SELECT count(*) FROM trades_publication WHERE state = 'PENDING'")[0][0]
        return pending, rows(self.watch.connection, "SELECT count(*) FROM trades_unhandled")[0][0]

    def _left(self) -> str:
        pending, unhandled = self._in_tables()
        return f"{self._in_queues()} messages of the queues, {pending} of the outbox and {unhandled} for a handler"

    def violations(self) -> Iterator[str]:
        """Everything that is not as it must be."""
        yield from self.watch.violations
        for actor, error in self.scheduler.errors:
            yield f"{actor.name} ended with {error!r}"
        if self._sound():
            yield from check_all(self.watch)


def run_seed(seed: int, *, keep_log: bool = False) -> Outcome:
    """Run one seed on the database that is configured, which is emptied first. Gives what came of it."""
    with cursors_left_open():
        return _run_seed(seed, keep_log)


def _run_seed(seed: int, keep_log: bool) -> Outcome:
    clean()
    with ExitStack() as stack:
        stack.enter_context(table_of_handler())
        stack.enter_context(quick_connections())
        run = Run(seed, stack)
        stack.enter_context(everything_virtual(run))
        try:
            run.start()
            run.go()
        finally:
            run.scheduler.end()
        violations = list(run.violations())
    run.weather.counts["content: given up by SQS"] += len(run.broker.moves)
    run.weather.counts["content: swallowed by SQS"] += len(run.broker.swallowed)
    run.weather.counts["content: payloads in S3"] += len(run.s3.stored)
    log = run.scheduler.log if keep_log or violations else []
    return Outcome(
        seed, run.scheduler.steps, sum(len(run.broker.accepted[queue]) for queue in run.plan.queues), run.weather.counts, violations, log
    )


@contextmanager
def cursors_left_open() -> Iterator[None]:
    """Who is killed in the middle of a result closes no cursor; that is no news when its frames are collected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def _leases_of(scheduler: Scheduler) -> Callable[..., visibility.Lease]:
    lease: Any = visibility.Lease
    return lambda *values: lease(*values, lock=VirtualLock(scheduler))


@contextmanager
def everything_virtual(run: Run) -> Iterator[None]:
    """Time, chance and queues of the product come from the run."""
    rng, clock, scheduler = run.rng, run.clock, run.scheduler
    time = SimpleNamespace(monotonic=lambda: clock.now)
    with ExitStack() as stack:

        def put(target: Any, name: str, value: Any) -> None:
            stack.enter_context(mock.patch.object(target, name, value))

        put(uuid, "uuid4", lambda: uuid.UUID(int=rng.getrandbits(128), version=4))
        put(stopping, "random", SimpleNamespace(uniform=rng.uniform))
        put(sending, "time", time)
        # Who moves is decided by the seed, and not by threads.
        put(sending, "CALLS_AT_ONCE", 1)
        put(backlog, "sqs", SimpleNamespace(MAX_BATCH=run.plan.batch, MAX_BATCH_BYTES=sqs.MAX_BATCH_BYTES))
        if run.plan.batch < sqs.MAX_BATCH:
            put(backlog, "PLENTY", 1)
        put(leases, "time", time)
        put(leases, "Signal", lambda: VirtualEvent(scheduler))
        put(relay_publications, "time", time)
        put(relay_publications, "timezone", SimpleNamespace(now=clock.utc))
        put(visibility, "threading", virtual_threading(scheduler))
        # Its lock was taken from `threading` when the class was made.
        put(visibility, "Lease", _leases_of(scheduler))
        put(sqs, "open_queue", lambda name, place=None, **_: run.broker.open(name))
        # Of one process, and here each has but one thread that hands in.
        put(reading, "_one_large_at_a_time", nullcontext())
        put(places, "time", time)
        put(places, "_known", {})
        table = file._table(run.plan.spec)
        put(file, "_in_use", lambda name: table)
        put(buckets, "s3_client", lambda: run.s3)
        put(sqs, "MAX_MESSAGE_BYTES", run.plan.row_bytes)
        # Errors name the broker, and without an address boto3 would look for one in all its files, each time.
        stack.enter_context(mock.patch.dict(os.environ, AWS_ENDPOINT_URL_SQS=faults.URL, AWS_ENDPOINT_URL_S3=faults.S3_URL))
        put(settings, "TRADES_HOLD", run.plan.hold)
        put(settings, "TRADES_QUEUE", run.plan.queues[0])
        put(settings, "TRADES_PAYLOAD_BUCKET", BUCKET)
        put(settings, "TRADES_PAYLOAD_BUCKETS", [BUCKET, PARTNERS])
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        yield
