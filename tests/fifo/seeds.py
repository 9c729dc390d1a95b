"""One run: everybody on one queue and one database, until what broke is repaired. The seed decides everything."""

from __future__ import annotations

import gc
import json
import logging
import os
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

from django.conf import settings
from django.db import connection

from tests.fifo import actors, faults, invariants
from tests.fifo.actors import DEAD_LETTERS, QUEUE, Plan, Traffic
from tests.fifo.client import arn_of
from tests.fifo.database import Instruments, Waits, clean, quick_connections, watching
from tests.fifo.faults import Weather
from tests.fifo.invariants import Watch
from tests.fifo.model import FifoBroker, VirtualClock
from tests.fifo.scheduler import Actor, Outcome, Scheduler, VirtualEvent, VirtualLock, virtual_threading
from trades import publishing, sqs, stopping, visibility
from trades.management.commands import relay_publications

MOST_STEPS = 6_000
MOST_STEPS_IN_CALM = 12_000
CALM_PACE = 0.01
# Virtual seconds from the end of the faults to an empty queue and outbox.
LONGEST_CALM = 4 * 3600.0


class Run:
    """Everybody, on one queue and one database."""

    def __init__(self, seed: int, stack: ExitStack) -> None:
        self.rng = Random(seed)
        self.plan = plan = Plan.drawn(self.rng)
        self.clock = VirtualClock()
        self.broker = FifoBroker(self.clock, Random(self.rng.random()))
        self._make_queues()
        self.scheduler = Scheduler(self.rng, self.clock, plan.pace)
        self.watch = Watch(self.broker, QUEUE, stack.enter_context(watching()), plan.hold)
        self.weather = Weather(self.rng, self.scheduler, self.broker, self.watch, plan.visibility)
        self.traffic = Traffic(self.rng, plan, self.weather)
        self.broker.faults = self.weather
        in_transactions = connection.vendor == "postgresql"
        self.scheduler.prepare = lambda actor: self._prepare(actor, in_transactions=in_transactions)
        if in_transactions:
            self.scheduler.is_blocked = Waits(stack.enter_context(watching()), self.scheduler).is_blocked
        if plan.skew:
            self.weather.count("worker clocks that are wrong")

    def _make_queues(self) -> None:
        attributes = {"VisibilityTimeout": str(self.plan.visibility), "ContentBasedDeduplication": "true"}
        self.broker.create(DEAD_LETTERS, attributes)
        if self.plan.most_receives:
            policy = {"deadLetterTargetArn": arn_of(DEAD_LETTERS), "maxReceiveCount": self.plan.most_receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        self.broker.create(QUEUE, attributes)

    def _prepare(self, actor: Actor, *, in_transactions: bool) -> None:
        Instruments(actor, self.weather, in_transactions=in_transactions)

    def start(self) -> None:
        """Everybody begins."""
        plan, weights = self.plan, iter(self.plan.weights)
        for number in range(plan.publishers):
            self.scheduler.start(f"publisher {number + 1}", actors.Publisher(self.traffic, number).run, next(weights))
        for number in range(plan.relays):
            self.scheduler.start(f"relay {number + 1}", actors.relay, next(weights))
        for number in range(plan.foreigners):
            self.scheduler.start(f"foreigner {number + 1}", actors.Foreigner(self.traffic).run, next(weights))
        for number in range(plan.workers):
            self.scheduler.start(f"worker {number + 1}", actors.WorkerProcess(plan, self.rng).run, next(weights))
        if plan.most_receives:
            self.scheduler.start("worker of dead letters", actors.WorkerProcess(plan, self.rng, DEAD_LETTERS).run, next(weights))
        for number in range(plan.operators):
            self.scheduler.start(f"operator {number + 1}", actors.Operator(self.traffic).run, next(weights))

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
        self.weather.away_until.update(queue=0.0, database=0.0)
        self.watch.calm()
        # A machine that needs longer for a batch than the visibility timeout lasts would never be done.
        self.scheduler.pace = min(self.scheduler.pace, CALM_PACE)
        self.scheduler.note("-", "the faults stop")

    def _sound(self) -> bool:
        return not self.watch.violations and not self.scheduler.errors

    def _drained(self) -> bool:
        if not self.traffic.finished() or any(store.messages for store in self.broker.stores.values()):
            return False
        return not invariants.rows(self.watch.connection, "SELECT 1 FROM trades_publication WHERE state = 'PENDING' LIMIT 1")

    def _left(self) -> str:
        pending = invariants.rows(self.watch.connection, "SELECT count(*) FROM trades_publication WHERE state = 'PENDING'")[0][0]
        return f"{sum(len(store.messages) for store in self.broker.stores.values())} messages of the queues and {pending} of the outbox"

    def violations(self) -> Iterator[str]:
        """Everything that is not as it must be."""
        yield from self.watch.violations
        for actor, error in self.scheduler.errors:
            yield f"{actor.name} ended with {error!r}"
        if self._sound():
            yield from invariants.check_all(self.watch)


def run_seed(seed: int, *, keep_log: bool = False) -> Outcome:
    """Run one seed on the database that is configured, which is emptied first. Gives what came of it."""
    with cursors_left_open():
        return _run_seed(seed, keep_log)


def _run_seed(seed: int, keep_log: bool) -> Outcome:
    clean()
    with ExitStack() as stack:
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
    log = run.scheduler.log if keep_log or violations else []
    return Outcome(seed, run.scheduler.steps, len(run.broker.accepted[QUEUE]), run.weather.counts, violations, log)


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
        put(publishing, "time", time)
        put(publishing, "Signal", lambda: VirtualEvent(scheduler))
        put(relay_publications, "time", time)
        put(relay_publications, "timezone", SimpleNamespace(now=clock.utc))
        put(visibility, "threading", virtual_threading(scheduler))
        # Its lock was taken from `threading` when the class was made.
        put(visibility, "Lease", _leases_of(scheduler))
        put(sqs, "open_queue", run.broker.open)
        # Errors name the broker, and without an address boto3 would look for one in all its files, each time.
        stack.enter_context(mock.patch.dict(os.environ, AWS_ENDPOINT_URL_SQS=faults.URL))
        put(settings, "TRADES_HOLD", run.plan.hold)
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        yield
