"""Whether messages flow: what waits where, which workers run, and the one thing about it that everybody must be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import CharField, Count, DateTimeField, F, IntegerField, QuerySet, Subquery, Value
from django.http import HttpRequest
from django.utils import timezone

from trades import outbox
from trades.models import Message, Publication, Worker
from trades.web import words
from trades.web.names import own_queues

SILENT_AFTER = timedelta(seconds=60)  # without a heartbeat
STUCK_AFTER = timedelta(seconds=60)  # that a publication was not sent
MISSED_FOR = timedelta(days=7)  # a worker that fell silent longer ago is not missed any more
MOST_WORKERS = 200  # rows that are looked at, newest heartbeat first
COMMAND = "python manage.py consume_trades"
LOOKED = "trades.health"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages are in quarantine, how many publications are not sent yet, since when the oldest of these waits, and how many
    of them may soon be in their queue twice."""

    quarantined: int = 0
    unsent: int = 0
    oldest_unsent: datetime | None = None
    near_horizon: int = 0


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers run, how many fell silent without having been stopped or replaced, and when one was heard last; then the same
    for each queue that they take messages from."""

    running: int = 0
    lost: int = 0
    last_seen: datetime | None = None
    by_queue: Mapping[str, Workers] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Of those that should run, how many do: "1/2"."""
        return f"{self.running}/{self.running + self.lost}" if self.running or self.lost else "none"


class Seen(NamedTuple):
    """What is known of one worker."""

    state: str
    queue: str
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Banner:
    """What everybody must be told about the state of the system, the command that helps, and whether the outbox shows more of it."""

    tone: str
    sentence: str
    command: str = ""
    is_about_outbox: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """The state of things at one moment, for the shell of every page."""

    waiting: Waiting
    workers: Workers
    now: datetime

    @property
    def unsent(self) -> int:
        """How many publications wait to be sent."""
        return self.waiting.unsent

    @property
    def unsent_words(self) -> str:
        """How many wait, and how long if that is long: "14, 6 m behind"."""
        since = self.waiting.oldest_unsent
        behind = f", {words.duration(self.now - since)} behind" if since and self.outbox_is_stuck else ""
        return f"{self.unsent:,} waiting" + behind

    @property
    def outbox_is_stuck(self) -> bool:
        """Whether something waits longer than sending takes."""
        return self.waiting.oldest_unsent is not None and self.now - self.waiting.oldest_unsent > STUCK_AFTER

    @property
    def banner(self) -> Banner | None:
        """The worst of what is wrong, None if nothing is. Workers that were all stopped in order are nobody's trouble."""
        if not self.workers.running and not self.workers.last_seen:
            return Banner("warn", "No worker has run yet, so nothing is taken from the queue.", COMMAND)
        if not self.workers.running and self.workers.lost:
            silence = words.duration(self.now - (self.workers.last_seen or self.now))
            return Banner("bad", f"No worker has reported for {silence}. Messages wait in the queue until one runs.", COMMAND)
        silent = [queue for queue, workers in self._without_worker() if workers.lost]
        if silent:
            since = words.duration(self.now - (self.workers.by_queue[silent[0]].last_seen or self.now))
            sentence = f"No worker of the queue {silent[0]} has reported for {since}. Its messages wait until one runs."
            return Banner("bad", sentence, command_for(silent[0]))
        return self._of_outbox() or self._of_queues_that_wait()

    def _of_outbox(self) -> Banner | None:
        if self.outbox_is_stuck:
            sentence = f"Publications are not sent: {self.unsent_words}. They go out by themselves when what stops them has passed."
            return Banner("bad", sentence, is_about_outbox=True)
        if self.waiting.near_horizon:
            return Banner("warn", outbox.horizon_warning(self.waiting.near_horizon), is_about_outbox=True)
        return None

    def _of_queues_that_wait(self) -> Banner | None:
        for queue, workers in self._without_worker():
            if not workers.last_seen:
                return Banner("warn", f"No worker has run yet on the queue {queue}, so nothing is taken from it.", command_for(queue))
        return None

    def _without_worker(self) -> Iterator[tuple[str, Workers]]:
        """Our queues that no worker takes messages from just now, while others run."""
        if self.workers.running:
            found = ((queue, self.workers.by_queue.get(queue, Workers())) for queue in own_queues())
            yield from ((queue, workers) for queue, workers in found if not workers.running)


def health_of(request: HttpRequest) -> Health:
    """The state of things, nothing for somebody who is not signed in. One query, made once per request."""
    looked: Health | None = request.META.get(LOOKED)
    if looked is None:
        now = timezone.now()
        looked = request.META[LOOKED] = look(now) if request.user.is_authenticated else Health(Waiting(), Workers(), now)
    return looked


def waiting_for(request: HttpRequest) -> Waiting:
    """What waits, nothing for somebody who is not signed in."""
    return health_of(request).waiting


def workers_for(request: HttpRequest) -> Workers:
    """How the workers are, nothing for somebody who is not signed in."""
    return health_of(request).workers


def newest_workers() -> QuerySet[Worker]:
    """The workers heard of last, newest heartbeat first."""
    return Worker.objects.order_by("-seen_at", "-pk")[:MOST_WORKERS]


def is_running(worker: Worker | Seen, now: datetime) -> bool:
    """Whether it has given a sign of life lately and has not stopped."""
    return worker.state != Worker.State.STOPPED and now - worker.seen_at <= SILENT_AFTER


def lost(workers: Iterable[Worker | Seen], now: datetime) -> list[Worker | Seen]:
    """Workers that fell silent without having stopped, less those that one that runs now was started in place of."""
    running = sorted((worker.started_at for worker in workers if is_running(worker, now)), reverse=True)
    missed: list[Worker | Seen] = []
    for worker in workers:
        if worker.state == Worker.State.STOPPED or not SILENT_AFTER < now - worker.seen_at <= MISSED_FOR:
            continue
        if running and running[0] > worker.seen_at:
            running.pop(0)
        else:
            missed.append(worker)
    return missed


def summed(rows: Iterable[Worker | Seen], now: datetime) -> Workers:
    """The figures of the workers."""
    queues: defaultdict[str, list[Worker | Seen]] = defaultdict(list)
    for worker in rows:
        queues[worker.queue].append(worker)
    each = {queue: _of_queue(workers, now) for queue, workers in queues.items()}
    running, missed = (sum(getattr(workers, name) for workers in each.values()) for name in ("running", "lost"))
    return Workers(running, missed, max((workers.last_seen for workers in each.values() if workers.last_seen), default=None), each)


def _of_queue(workers: Sequence[Worker | Seen], now: datetime) -> Workers:
    running = sum(is_running(worker, now) for worker in workers)
    return Workers(running, len(lost(workers, now)), max((worker.seen_at for worker in workers), default=None))


def command_for(queue: str) -> str:
    """What starts a worker that takes messages from the queue."""
    return COMMAND if queue == settings.TRADES_QUEUE else f"{COMMAND} --queue {queue}"


def look(now: datetime) -> Health:
    """Look at all of it in one query, over partial indexes and the few rows of the workers."""
    pending = Publication.objects.filter(state=Publication.State.PENDING)
    # In the order of the index: by id alone SQLite would walk past everything that was ever sent.
    oldest = Subquery(pending.order_by("queue", "id").values("created_at")[:1])
    never = Value(None, DateTimeField())
    # The workers first: their columns give those of the others their types.
    rows = _workers().union(
        _counted("unsent", pending, oldest),
        _counted("near horizon", outbox.near_horizon(now), never),
        _counted("quarantined", Message.objects.filter(outcome=Message.Outcome.QUARANTINED), never),
        all=True,
    )
    counts, seen = {}, []
    for what, queue, number, since, seen_at in rows:
        if what in ("unsent", "quarantined", "near horizon"):
            counts[what] = (number, since)
        else:
            seen.append(Seen(what, queue, since, seen_at))
    (quarantined, _), (near, _) = (counts.get(what, (0, None)) for what in ("quarantined", "near horizon"))
    unsent, since = counts.get("unsent", (0, None))
    return Health(Waiting(quarantined, unsent, since, near), summed(seen, now), now)


def _workers() -> QuerySet[Any, Any]:
    """A row for each worker, in the columns of `_counted`: state, queue, 0, when it started and when it was heard last."""
    rows = Worker.objects.order_by().annotate(n=Value(0, IntegerField()))
    return rows.values_list(F("state"), F("queue"), F("n"), F("started_at"), F("seen_at"))


def _counted(what: str, rows: QuerySet[Any, Any], since: Subquery | Value) -> QuerySet[Any, Any]:
    named = rows.order_by().annotate(what=Value(what, CharField()), none=Value("", CharField())).values("what", "none")
    counted: QuerySet[Any, Any] = named.annotate(n=Count("pk"), since=since, never=Value(None, DateTimeField()))
    return counted.values_list("what", "none", "n", "since", "never")
