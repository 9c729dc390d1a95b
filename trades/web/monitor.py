"""Queue and workers: whether messages flow, and if not, where they wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from trades import routes
from trades.models import Handler, Publication, Unhandled, Worker
from trades.web import health, words
from trades.web.access import SEE, needs
from trades.web.fragments import fragment, wants_fragment
from trades.web.names import own_queues
from trades.web.pulse import QueueFigures, figures_by_queue, queue_figures

_UNHANDLED = Coalesce(
    Subquery(Unhandled.objects.filter(queue=OuterRef("queue")).order_by().values("queue").annotate(n=Count("pk")).values("n")), 0
)
SHOWN = 50  # workers, newest heartbeat first
UNKNOWN = "not known"
State = Worker.State
SILENT = words.Badge("Silent", "bad", "circle-x")
STATES: dict[str, words.Badge] = {
    State.STARTING: words.Badge("Starting", "info", "circle-dashed"),
    State.IDLE: words.Badge("Idle", "ok", "check"),
    State.WORKING: words.Badge("Working", "ok", "circle-dot"),
    State.WAITING: words.Badge("Waiting", "warn", "clock"),
    State.STOPPING: words.Badge("Stopping", "", "circle-stop"),
    State.STOPPED: words.Badge("Stopped", "", "circle-stop"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One worker as the table shows it."""

    host: str
    pid: int
    state: words.Badge
    heard: SafeString
    polled: SafeString | str
    started: SafeString
    version: str
    received: str
    recorded: str
    repeats: str
    failures: str
    last_error: str
    queue: str


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue as the table shows it: what waits in it and before it, who takes messages from it, and what is done with them."""

    name: str
    whose: str
    is_ours: bool
    visible: str
    in_flight: str
    unsent: str
    oldest: SafeString | str
    workers: str
    is_alone: bool
    handler: str
    unhandled: int
    error: str


@dataclass(frozen=True, slots=True)
class Figures:
    """What the queue last said of itself, in words, and how old that is."""

    visible: str
    in_flight: str
    delayed: str
    dead: str
    has_dead: bool
    is_known: bool
    known: SafeString | str
    error: str


@needs(SEE)
@require_safe
def monitor(request: HttpRequest) -> HttpResponse:
    """The figures of queue and outbox, and a row for each worker."""
    now = timezone.now()
    workers = list(health.newest_workers()[:SHOWN])
    waiting = health.waiting_for(request)
    queues = queue_rows(health.workers_for(request), now)
    context = {
        "queues": queues,
        "are_many": len(queues) > 1,
        "has_handler": any(row.handler for row in queues),
        "figures": figures_of(queue_figures(), now),
        "oldest_unsent": words.age_tag(waiting.oldest_unsent, now) if waiting.oldest_unsent else "",
        "workers": [row_of(worker, now) for worker in workers],
        "failed": _last_failure(),
        "command": health.COMMAND,
        "queue": settings.TRADES_QUEUE,
        "dead_letters": settings.TRADES_DEAD_LETTER_QUEUE,
    }
    if wants_fragment(request):
        return fragment(render(request, "trades/monitor_body.html", context))
    return fragment(render(request, "trades/monitor.html", context))


def row_of(worker: Worker, now: datetime) -> Row:
    """A worker in words. One that fell silent without having stopped is said to be silent, whatever it said last."""
    is_silent = worker.state != State.STOPPED and not health.is_running(worker, now)
    return Row(
        host=worker.host,
        pid=worker.pid,
        state=SILENT if is_silent else STATES[worker.state],
        heard=words.age_tag(worker.seen_at, now),
        polled=format_html("{} ago", words.age_tag(worker.last_poll_at, now)) if worker.last_poll_at else words.ABSENT,
        started=words.time_tag(worker.started_at, now),
        version=worker.version,
        received=f"{worker.received:,}",
        recorded=f"{worker.recorded:,}",
        repeats=f"{worker.repeats:,}",
        failures=f"{worker.failures:,}",
        last_error=worker.last_error,
        queue=worker.queue,
    )


def queue_rows(workers: health.Workers, now: datetime) -> list[QueueRow]:
    """A row for each queue that the portal knows, then for each other that something waits for. Two queries."""
    unsent = {queue: (count, since) for queue, count, since in _unsent_by_queue()}
    handlers = {handler.queue: handler for handler in Handler.objects.annotate(left=_UNHANDLED)}
    running = [queue for queue, found in workers.by_queue.items() if found.running]
    names = dict.fromkeys([*_known(), *unsent, *handlers, *running])
    return [_queue_row(name, workers.by_queue.get(name, health.Workers()), unsent, handlers.get(name), now) for name in names]


def _queue_row(
    name: str, workers: health.Workers, unsent: Mapping[str, tuple[int, datetime]], handler: Handler | None, now: datetime
) -> QueueRow:
    count, since = unsent.get(name, (0, None))
    said, is_ours = figures_by_queue().get(name, QueueFigures()), name in own_queues()
    whose = "Ours" if is_ours else "A partner's: published to" if name in _known() else "Not in use any more"
    if name == settings.TRADES_DEAD_LETTER_QUEUE:
        whose = "Dead letters"
    return QueueRow(
        name=name,
        whose=whose,
        is_ours=is_ours,
        visible=_number(said.visible),
        in_flight=_number(said.in_flight),
        unsent=f"{count:,}",
        oldest=words.age_tag(since, now) if since else "",
        workers=workers.words,
        is_alone=is_ours and not workers.running,
        handler=handler.name if handler else "",
        unhandled=getattr(handler, "left", 0),
        error=said.error,
    )


def _known() -> list[str]:
    try:
        return routes.known_queues()
    except routes.BadQueuesFile:
        return own_queues()


def _unsent_by_queue() -> Iterable[tuple[str, int, datetime]]:
    """Of each queue that publications wait for: its name, how many, and since when the first of them waits."""
    pending = Publication.objects.filter(state=Publication.State.PENDING).order_by()
    # The first by id, as the index has them: the least moment would be looked up in every row.
    first = pending.filter(queue=OuterRef("queue")).order_by("queue", "id").values("created_at")[:1]
    return pending.values("queue").annotate(n=Count("pk")).annotate(since=Subquery(first)).values_list("queue", "n", "since")


def figures_of(said: QueueFigures, now: datetime) -> Figures:
    """What the queue said in words; what it has not said is not known."""
    known = format_html("Figures of the queue, {} old.", words.age_tag(said.at, now)) if said.at else "The queue has not answered yet."
    return Figures(
        visible=_number(said.visible),
        in_flight=_number(said.in_flight),
        delayed=_number(said.delayed),
        dead=_number(said.dead),
        has_dead=bool(said.dead),
        is_known=said.at is not None,
        known=known,
        error=said.error,
    )


def _number(figure: int | None) -> str:
    return UNKNOWN if figure is None else f"{figure:,}"


def _last_failure() -> Publication | None:
    """The oldest publication that could not be sent, which the others wait behind."""
    failed = Publication.objects.unsent().exclude(last_error="").only("id", "last_error", "attempts", "created_at", "publication_id")
    return failed.order_by("queue", "id").first()  # as the partial index is; by id alone every row ever sent would be passed
