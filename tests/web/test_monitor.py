"""Queue and workers: the page, the banner of the shell, and the figures of both."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.web import factories
from tests.web.asking import page
from trades.models import Publication, Worker
from trades.web import health
from trades.web.readings import QueueFigures

pytestmark = pytest.mark.django_db


def worker(state: str = "IDLE", *, silent_for: float = 0, **fields: Any) -> Worker:
    """A worker that was heard of so many seconds ago."""
    seen = timezone.now() - timedelta(seconds=silent_for)
    defaults: dict[str, Any] = {
        "host": "host-1",
        "pid": 7,
        "version": "1",
        "queue": factories.QUEUE,
        "started_at": seen - timedelta(hours=1),
    }
    return Worker.objects.create(state=state, seen_at=seen, last_poll_at=seen, **{**defaults, **fields})


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html.partition("<main")[2]).split())


def test_without_any_worker_the_page_and_the_banner_say_how_to_start_one(vera: Client) -> None:
    said = text_of(page(vera, "/monitor/"))

    assert "No worker has run yet, so nothing is taken from the queue. Start one: python manage.py consume_trades" in said
    assert "No worker has run yet Start one: python manage.py consume_trades" in said


def test_each_worker_has_a_row_with_what_it_last_reported(vera: Client) -> None:
    worker("WORKING", pid=4711, received=12_418, recorded=12_400, repeats=18, failures=2, last_error="the queue was away")

    said = text_of(page(vera, "/monitor/"))

    assert "host-1 4711 Working" in said
    assert "12,418 12,400 18 2 the queue was away" in said
    assert "Workers 1/1" in said


def test_a_worker_that_fell_silent_is_told_from_one_that_was_stopped(vera: Client) -> None:
    worker("IDLE", silent_for=120, host="gone")
    worker("STOPPED", silent_for=120, host="stopped")

    said = text_of(page(vera, "/monitor/"))

    assert "gone 7 Silent 2 m ago" in said
    assert "stopped 7 Stopped 2 m ago" in said


def test_the_banner_is_about_workers_that_should_run_and_do_not(vera: Client) -> None:
    gone = worker("IDLE", silent_for=120)
    assert "No worker has reported for 2 m. Messages wait in the queue until one runs." in page(vera, "/uploads/")

    running = worker("WORKING", started_at=timezone.now() - timedelta(hours=3))
    assert "State of the system" not in page(vera, "/uploads/")

    Worker.objects.filter(pk=running.pk).update(state="STOPPED")
    Worker.objects.filter(pk=gone.pk).update(state="STOPPED")
    assert "State of the system" not in page(vera, "/uploads/")


def test_a_worker_that_was_replaced_is_not_missed() -> None:
    now = timezone.now()
    silent, other = worker(silent_for=300), worker(silent_for=600)
    new = worker("IDLE", started_at=now - timedelta(seconds=100))

    assert health.lost([new, silent, other], now) == [other]
    assert health.summed([new, silent, other], now).words == "1/2"


def test_the_banner_says_when_the_outbox_does_not_drain_and_only_then(vera: Client) -> None:
    worker()
    upload = factories.upload(files=3, sent=False)
    Publication.objects.update(created_at=timezone.now())
    assert "Publications are not sent" not in page(vera, "/uploads/")

    Publication.objects.filter(document__upload=upload).update(created_at=timezone.now() - timedelta(minutes=5))

    assert "Publications are not sent: 3 waiting, 5 m behind." in page(vera, "/uploads/")


def test_the_banner_warns_of_what_may_be_in_the_queue_twice_and_leads_to_the_outbox(vera: Client) -> None:
    worker()
    factories.upload(files=1, sent=False)
    since = timezone.now() - timedelta(minutes=4, seconds=10)
    Publication.objects.update(created_at=timezone.now(), attempts=1, uncertain_since=since)

    html = page(vera, "/uploads/")

    assert "1 publication may be in the queue already" in html
    assert '<a href="/outbox/">Outbox</a></section>' in html


def test_one_banner_at_a_time_the_worst_first(vera: Client) -> None:
    worker("IDLE", silent_for=120)
    factories.upload(sent=False)

    html = page(vera, "/uploads/")

    assert html.count('id="system-state"') == 1
    assert "No worker has reported" in html


def test_the_oldest_failure_of_the_outbox_is_shown_with_its_error(vera: Client) -> None:
    factories.upload(sent=False)
    publication = Publication.objects.get()
    Publication.objects.update(attempts=4, last_error="the queue answers nothing")

    html = page(vera, "/monitor/")

    assert "was tried 4 times: the queue answers nothing" in html
    assert f"/trace/publications/{publication.publication_id}/" in html


def test_figures_of_the_queue_are_shown_with_their_age_and_what_was_not_asked_is_not_known(
    vera: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trades.web.monitor.queue_figures", QueueFigures)
    assert "In the queue not known" in text_of(page(vera, "/monitor/"))
    figures = QueueFigures(4_120, 7, 0, 2, at=timezone.now() - timedelta(seconds=65), error="Nothing answers at the endpoint.")
    monkeypatch.setattr("trades.web.monitor.queue_figures", lambda: figures)

    said = text_of(page(vera, "/monitor/"))

    assert "In the queue 4,120" in said
    assert "Dead letters 2" in said
    assert "Figures of the queue, 1 m old." in said
    assert "did not answer: Nothing answers at the endpoint. The figures above are the last known." in said


def test_a_refresh_gets_the_part_that_changes(vera: Client) -> None:
    response = vera.get("/monitor/", headers={"HX-Request": "true"})

    assert response.content.decode().startswith('<div class="stack" id="monitor"')
    assert "HX-Request" in response["Vary"]
    assert response["Cache-Control"] == "no-store"


def test_the_page_costs_the_same_however_many_workers_there_are(vera: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            page(vera, "/monitor/")
        return len(captured)

    page(vera, "/monitor/")
    none = queries()
    for number in range(30):
        worker(pid=number)

    assert queries() == none <= 12


def test_people_without_a_role_do_not_see_it(nemo: Client) -> None:
    page(nemo, "/monitor/", status=403)
