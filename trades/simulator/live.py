"""Publish a made-up day the way any documents are published: outbox, queue, worker, history."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, islice
from threading import Event

from trades import publishing, sending, sqs
from trades.handing_in import Groups, IncomingDocument
from trades.models import Upload
from trades.simulator.day import Day, Handed, documents

Clock = Callable[[], datetime]
TICK = 0.2  # s
AT_ONCE = 100


@dataclass(slots=True)
class Published:
    """What was published so far, and what held up the last of it, if anything did."""

    upload: Upload
    documents: int = 0
    bad: int = 0
    trades: set[str] = field(default_factory=set)
    problem: str = ""


def publish(day: Day, *, rate: float, queue: str | None, clock: Clock, stop: Event, done: Callable[[int], None]) -> Published:
    """Publish the day at so many messages a second (0: as fast as it goes) until it is over or asked to stop.

    What can't be sent stays in the outbox. A message that can't be read is published as it is, in the group of its trade, as a person
    would with `publish_trades --group`.
    """
    published, groups = Published(publishing.begin(source=Upload.Source.COMMAND, user=None, now=clock())), Groups()
    for batch in _paced(documents(day), rate, stop):
        for bad_of, run in groupby(batch, lambda handed: handed.trade_id if handed.is_bad else ""):
            incoming = [IncomingDocument(handed.name, handed.text.encode()) for handed in run]
            group = sqs.group_id_for(bad_of) if bad_of else None
            publishing.store(published.upload, incoming, queue=queue, group=group, groups=groups, now=clock())
        published.documents += len(batch)
        published.bad += sum(handed.is_bad for handed in batch)
        published.trades.update(handed.trade_id for handed in batch)
        published.problem = _send(clock, stop)
        done(len(batch))
    return published


def _send(clock: Clock, stop: Event) -> str:
    deliveries = [sending.deliver(name, clock=clock, patience=2, stop=stop) for name in sending.waiting_queues()]
    problems = [problem for delivery in deliveries for problem in (delivery.problem, *delivery.failures.values())]
    return next(filter(None, problems), "")


def _paced(handed: Iterator[Handed], rate: float, stop: Event) -> Iterator[list[Handed]]:
    """The documents in batches, as many as are due by then, until asked to stop."""
    began, count = time.monotonic(), 0
    while not stop.is_set():
        due = AT_ONCE if not rate else min(AT_ONCE, int(rate * (time.monotonic() - began)) + 1 - count)
        batch = list(islice(handed, max(0, due)))
        if batch:
            count += len(batch)
            yield batch
        elif due > 0:
            return
        else:
            stop.wait(min(TICK, 1 / rate))
