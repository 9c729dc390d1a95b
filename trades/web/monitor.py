"""Queue and workers: whether messages flow, and if not, where they wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from trades.models import Publication, Worker
from trades.web import health, words
from trades.web.access import SEE, needs
from trades.web.fragments import fragment, wants_fragment
from trades.web.pulse import QueueFigures, queue_figures

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
    context = {
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
