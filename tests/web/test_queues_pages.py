"""Several queues on the pages: told apart, filtered by, watched each by itself; one queue leaves the pages as they are."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.support.broker import FifoQueue
from tests.web import factories
from tests.web.asking import page
from tests.web.test_monitor import worker
from trades.models import AuditEntry, Handler, Publication, Unhandled, Worker
from trades.web import names, pulse
from trades.web.readings import QueueFigures, QueueWatch

pytestmark = pytest.mark.django_db
PRICES, PARTNER = "Prices.fifo", "Partner.fifo"
HTMX = {"HX-Request": "true"}
MOST_QUERIES = 12


def queues_file(folder: Path, *ours: str) -> str:
    """A queues file with these queues, and one of a partner that is only published to."""
    entries = [f'[queues."{queue}"]\ndeduplication = "content"\n' for queue in ours]
    partners = f'[queues."{PARTNER}"]\nurl = "https://sqs.eu-central-1.amazonaws.com/444455556666/FirmReports.fifo"\n'
    file = folder / "queues.toml"
    file.write_text("\n".join([*entries, partners]))
    return str(file)


@pytest.fixture
def several(settings: Settings, tmp_path: Path) -> None:
    """Two queues of ours, and one of a partner."""
    settings.TRADES_QUEUES_FILE = queues_file(tmp_path, PRICES)


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html.partition("<main")[2])).split())


def listed(html: str) -> list[str]:
    return re.findall(r'href="/trades/(T-\d+)/"', html)


def through(queue: str, trade_id: str, **fields: Any) -> None:
    """A trade whose newest event came from the queue."""
    trade = factories.trade(trade_id, queue=queue, **fields)
    factories.event(trade, message=factories.message(queue=queue, group_id=trade_id))


# The names


def test_queues_are_those_of_the_file_and_those_that_messages_came_from(several: None, settings: Settings) -> None:
    for queue in ("Old.fifo", "Old.fifo", PRICES):
        factories.message(queue=queue)

    assert names.all_queues() == [settings.TRADES_QUEUE, PRICES, "Old.fifo"]
    assert names.are_many_queues()


def test_the_names_are_found_by_leaps_through_an_index_not_by_reading_messages(db: None) -> None:
    with connection.cursor() as cursor:
        explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
        if connection.vendor != "sqlite":
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(explain + names._QUEUES, [names.MOST_QUEUES])
        plan = str(cursor.fetchall())

    assert "message_once_per_queue" in plan or "sqlite_autoindex_trades_message" in plan or "USING COVERING INDEX" in plan


def test_a_queues_file_that_cannot_be_used_leaves_the_pages(vera: Client, settings: Settings, tmp_path: Path) -> None:
    settings.TRADES_QUEUES_FILE = str(tmp_path / "missing.toml")

    assert names.own_queues() == [settings.TRADES_QUEUE]
    page(vera, "/monitor/")


# The blotter


def test_with_one_queue_neither_column_nor_filter_is_there(vera: Client) -> None:
    factories.event(factories.trade())

    html = page(vera, "/trades/")

    assert "k-queue" not in html
    assert "choose=queue" not in html
    assert "k-queue" not in page(vera, "/trades/?cols=trade,queue")


def test_with_several_queues_there_is_a_column_and_a_filter_with_counts(vera: Client, several: None) -> None:
    for number in range(3):
        through(factories.QUEUE, f"T-{number}")
    through(PRICES, "T-9")

    html = page(vera, "/trades/")
    assert "k-queue" in html
    assert "choose=queue" in html
    menu = vera.get("/trades/?choose=queue", headers=HTMX).content.decode()
    assert re.findall(r'class="w" title="([^"]+)".*?class="c">([^<]*)<', menu) == [(factories.QUEUE, "3"), (PRICES, "1")]
    assert listed(page(vera, f"/trades/?queue={PRICES}")) == ["T-9"]
    assert "1 trade" in text_of(page(vera, f"/trades/?queue={PRICES}"))


def test_a_trade_is_of_the_queue_of_its_newest_event_alone(vera: Client, several: None) -> None:
    through(PRICES, "T-1")
    moved = factories.trade("T-2", queue=factories.QUEUE)
    factories.event(moved, message=factories.message(queue=PRICES, group_id="T-2"))
    factories.event(moved, message=factories.message(queue=factories.QUEUE, group_id="T-2"))

    assert listed(page(vera, f"/trades/?queue={PRICES}")) == ["T-1"]
    assert sorted(listed(page(vera, f"/trades/?queue={PRICES}&queue={factories.QUEUE}"))) == ["T-1", "T-2"]


def test_a_queue_is_filtered_by_together_with_other_filters(vera: Client, several: None) -> None:
    through(PRICES, "T-1", state="LIVE", product="GOLD")
    through(PRICES, "T-2", state="CANCELLED", product="GOLD")
    through(factories.QUEUE, "T-3", state="LIVE", product="GOLD")

    for query in ("state=LIVE", "product=GOLD&state=LIVE", "q=T-1", "state=LIVE&status=CHECKED&q=GOLD"):
        assert listed(page(vera, f"/trades/?queue={PRICES}&{query}")) == ["T-1"]


def test_the_blotter_costs_the_same_with_several_queues(vera: Client, several: None) -> None:
    def queries() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            page(vera, f"/trades/?queue={PRICES}")
        return len(captured)

    through(PRICES, "T-0")
    first = queries()
    for number in range(1, 8):
        through(PRICES, f"T-{number}")

    assert queries() == first <= MOST_QUERIES


# Quarantine


def test_quarantine_shows_and_filters_by_queue(otto: Client, several: None) -> None:
    for queue in (factories.QUEUE, PRICES):
        factories.message("QUARANTINED", queue=queue, group_id=f"G-{queue}", code="no-trade-id", reason="None.")

    both, one = page(otto, "/quarantine/"), page(otto, f"/quarantine/?queue={PRICES}")

    assert both.count('<td class="c-queue">') == 2
    assert (f"G-{PRICES}" in one, f"G-{factories.QUEUE}" in one) == (True, False)
    assert f'href="?code=no-trade-id&queue={PRICES}"' in one
    assert "came from this queue" in page(otto, "/quarantine/?queue=None.fifo")


def test_with_one_queue_the_lists_say_nothing_of_queues(otto: Client) -> None:
    factories.quarantined()

    assert "c-queue" not in page(otto, "/quarantine/")
    assert "By queue" not in page(otto, "/quarantine/")


def test_reference_messages_are_told_apart_by_queue(vera: Client, several: None) -> None:
    for queue in (factories.QUEUE, PRICES):
        factories.message("REFERENCE", queue=queue, group_id=f"G-{queue}", reason="A price.")

    one = page(vera, f"/reference/?queue={PRICES}")

    assert (f"G-{PRICES}" in one, f"G-{factories.QUEUE}" in one) == (True, False)


# Monitor and health


def test_the_monitor_has_a_row_for_each_queue(vera: Client, several: None, monkeypatch: pytest.MonkeyPatch) -> None:
    worker()
    worker(queue=PRICES, pid=8)
    monkeypatch.setattr("trades.web.monitor.figures_by_queue", lambda: {PRICES: QueueFigures(41, 2, 0, at=timezone.now())})
    factories.upload(files=2, sent=False)
    Publication.objects.update(queue=PARTNER, created_at=timezone.now() - timedelta(minutes=3))
    Handler.objects.create(queue=PRICES, name="firm.prices.keep", since=factories.NOON)
    Unhandled.objects.create(message=factories.message(queue=PRICES), queue=PRICES)

    said = text_of(page(vera, "/monitor/"))

    assert f"{factories.QUEUE} Ours not known not known 0 1/1 none" in said
    assert f"{PRICES} Ours 41 2 0 1/1 firm.prices.keep 1 waits for it" in said
    assert f"{PARTNER} A partner's: published to not asked 2 oldest 3 m none, it is not consumed here none" in said


def test_with_one_queue_without_a_handler_there_is_no_table_of_queues(vera: Client) -> None:
    worker()

    assert "queues-title" not in page(vera, "/monitor/")


def test_the_monitor_costs_the_same_however_many_queues_there_are(vera: Client, several: None) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(vera, "/monitor/")
        return len(captured)

    page(vera, "/monitor/")
    few = queries()
    for number in range(5):
        worker(queue=f"Q-{number}.fifo")
        Handler.objects.create(queue=f"Q-{number}.fifo", name="firm.keep", since=factories.NOON)
        factories.upload(sent=False)
        Publication.objects.filter(queue=factories.QUEUE).update(queue=f"Q-{number}.fifo")

    assert queries() == few <= MOST_QUERIES


def test_the_banner_names_a_queue_that_no_worker_takes_from(vera: Client, several: None) -> None:
    worker()
    said = page(vera, "/uploads/")
    assert f"No worker has run yet on the queue {PRICES}, so nothing is taken from it." in said
    assert f"python manage.py consume_trades --queue {PRICES}" in said

    silent = worker(queue=PRICES, silent_for=180)
    assert f"No worker of the queue {PRICES} has reported for 3 m. Its messages wait until one runs." in page(vera, "/uploads/")

    Worker.objects.filter(pk=silent.pk).update(state="STOPPED")
    assert "State of the system" not in page(vera, "/uploads/")


def test_a_worker_of_one_queue_does_not_replace_one_of_another(vera: Client, several: None) -> None:
    worker(silent_for=180)
    worker(queue=PRICES, started_at=timezone.now() - timedelta(seconds=30))

    assert "Workers 1/2" in text_of(page(vera, "/monitor/"))


# Live


def test_each_of_our_queues_is_asked_and_they_are_summed(queue: FifoQueue, settings: Settings, tmp_path: Path) -> None:
    other = queue.client.create_queue(QueueName=f"B{queue.name}", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})
    settings.TRADES_QUEUES_FILE = queues_file(tmp_path, f"B{queue.name}")
    queue.client.send_message(QueueUrl=queue.url, MessageBody="<a/>", MessageGroupId="g")
    for number in range(2):
        queue.client.send_message(QueueUrl=other["QueueUrl"], MessageBody=f"<a{number}/>", MessageGroupId="g")
    watch = QueueWatch()

    watch.ask()

    assert {name: figures.visible for name, figures in watch.each.items()} == {queue.name: 1, f"B{queue.name}": 2}
    assert (watch.figures.visible, watch.figures.error) == (3, "")


def test_one_queue_that_does_not_answer_leaves_the_figures_of_the_others(queue: FifoQueue, settings: Settings, tmp_path: Path) -> None:
    settings.TRADES_QUEUES_FILE = queues_file(tmp_path, "Gone.fifo")
    watch = QueueWatch()

    watch.ask()

    assert watch.each[queue.name].visible == 0
    assert "Gone.fifo" in watch.each["Gone.fifo"].error
    assert watch.figures.error == watch.each["Gone.fifo"].error
    assert pulse.figures_by_queue() is pulse.pulse.queue.each


# Trace


def published(**fields: Any) -> Publication:
    """A publication that was sent, and arrived nowhere yet."""
    factories.upload()
    Publication.objects.update(**fields)
    return Publication.objects.get()


def test_what_went_to_a_partner_is_not_waited_for_here(vera: Client, several: None) -> None:
    publication = published(queue=PARTNER, traceparent="00-0af7651916cd43dd-b7ad-01")

    said = text_of(page(vera, f"/trace/publications/{publication.publication_id}/"))

    assert f"In the partner's queue {PARTNER} since 20 Nov 2026 12:00:00 UTC; what becomes of it there is not seen here." in said
    assert "Trace context 00-0af7651916cd43dd-b7ad-01" in said
    assert "Waits for a worker" not in said


def test_what_sqs_took_for_a_repetition_is_not_waited_for(vera: Client) -> None:
    publication = published(swallowed=True)

    said = text_of(page(vera, f"/trace/publications/{publication.publication_id}/"))

    assert "SQS took it for a message that it had within five minutes, and delivers that one alone." in said
    assert "Waits for a worker" not in said


def test_what_was_cancelled_says_who_did_it_and_why(vera: Client) -> None:
    publication = published(state="CANCELLED", sent_at=None, message_id="", md5="")
    AuditEntry.objects.create(at=factories.NOON, action="cancel", publication=publication, origin="command line, ana", note="wrong day")

    said = text_of(page(vera, f"/trace/publications/{publication.publication_id}/"))

    assert "Cancelled in the outbox by command line, ana on 20 Nov 2026 12:00:00 UTC: “wrong day”" in said
    assert "Not sent It was cancelled in the outbox." in said
    assert "not yet" not in said


def test_an_answer_names_the_queue_where_there_are_several(vera: Client, several: None) -> None:
    publication = published(queue=PRICES)

    said = text_of(page(vera, f"/trace/publications/{publication.publication_id}/"))

    assert f"In the queue {PRICES} since 20 Nov 2026 12:00:00 UTC; no worker has received it, and none runs on this queue." in said
