"""What live pages are told: when something changed, to whom, and at what cost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from tests.support.broker import FifoQueue
from tests.support.waiting import wait_until
from tests.web import factories, scenes
from trades import quarantine
from trades.models import Publication, SendAttempt
from trades.web import chips, pulse
from trades.web.counting import Counted
from trades.web.health import Workers
from trades.web.pulse import Pulse
from trades.web.readings import LOOK, QueueFigures, QueueWatch, Reading, look

NOW = factories.NOON


@pytest.fixture(autouse=True)
def fresh_pulse() -> Iterator[None]:
    """No reading of another test, and no stream left for the next."""
    pulse.pulse.reading = None
    yield
    wait_until(lambda: not watching(), "the end of the watching threads")


def watching() -> set[str]:
    """The names of the threads that watch for live pages."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("live-")}


def mark() -> str:
    """The mark without its safety counter."""
    return look().mark.partition(".")[0]


def reading(**facts: Any) -> Reading:
    defaults: dict[str, Any] = {
        "mark": "a.1", "newest": None, "messages": 0, "unsent": 0, "quarantined": 0, "exceptions": Counted(0), "newest_sent_at": None,
        "oldest_unsent": None, "workers": 1, "lost_workers": 0, "workers_at": NOW, "at": NOW,
    }  # fmt: skip
    return Reading(**{**defaults, **facts})


class Tab:
    """A browser's event stream, read in the test's own thread."""

    def __init__(self, client: Client) -> None:
        self.response = client.get("/live/")
        assert self.response.status_code == 200, self.response.content
        self.chunks = iter(self.response.streaming_content)  # type: ignore[attr-defined]

    def next_news(self) -> dict[str, Any]:
        """The next thing that is told; comments that only keep the stream open are passed over."""
        news: dict[str, Any] = json.loads(next(text[6:] for text in map(bytes.decode, self.chunks) if text.startswith("data: ")))
        return news

    def close(self) -> None:
        self.response.close()


@pytest.fixture
def open_tab(roles: None) -> Iterator[Callable[[Client], Tab]]:
    opened: list[Tab] = []

    def start(client: Client) -> Tab:
        opened.append(Tab(client))
        return opened[-1]

    yield start
    for tab in opened:
        tab.close()


# The mark


def settle() -> None:
    bad = factories.quarantined()
    before = mark()
    quarantine.discard(bad, actor=scenes.ANA, reason="sent twice", now=NOW)
    assert mark() != before


@pytest.mark.django_db
def test_the_mark_changes_with_everything_that_a_page_may_show() -> None:
    seen = [mark()]
    assert mark() == seen[0]

    def changes(act: Callable[[], object]) -> None:
        act()
        seen.append(mark())

    changes(lambda: scenes.record(scenes.told("BOOK", 1, 0)))
    changes(lambda: scenes.record(scenes.told("UPDATE", 2, 10), minute=10))
    changes(lambda: scenes.record("<TradeStatus>\n  <broken\n</TradeStatus>", minute=20, group="G-2"))
    changes(settle)
    changes(lambda: factories.upload(sent=False))
    changes(lambda: Publication.objects.update(state="SENT"))
    changes(lambda: SendAttempt.objects.create(publication=Publication.objects.get(), at=NOW, error="The queue is away."))
    changes(lambda: factories.message("DUPLICATE"))
    assert len(set(seen)) == len(seen)


@pytest.mark.django_db
def test_the_mark_changes_now_and_then_for_rows_that_were_committed_out_of_order() -> None:
    first, later, same = (look(now=NOW + timedelta(seconds=seconds)).mark for seconds in (0, 15, 14))

    assert first != later
    assert first == same
    assert first.partition(".")[0] == later.partition(".")[0]


@pytest.mark.django_db
def test_a_look_is_one_query_and_takes_in_workers_and_exceptions_every_few_seconds() -> None:
    with CaptureQueriesContext(connection) as first:
        last = look(now=NOW)
    with CaptureQueriesContext(connection) as second:
        look(last, now=NOW + timedelta(seconds=1))

    assert (len(first), len(second)) == (3, 1)


@pytest.mark.django_db
def test_a_reading_tells_what_the_chips_show() -> None:
    factories.quarantined()
    factories.upload(sent=False)
    trade = factories.trade()

    found = look()

    assert (found.newest, found.newest_sent_at, found.oldest_unsent) == (trade.updated_at, NOW, NOW)
    assert (found.messages > 0, found.unsent, found.quarantined, found.exceptions) == (True, 1, 1, Counted(1))  # long in its status


# Who is told


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/live/", "/live/now"])
def test_only_people_who_may_see_trades_are_told(address: str, nemo: Client, vera: Client) -> None:
    assert Client().get(address).status_code == 401
    assert nemo.get(address).status_code == 403
    assert vera.post(address).status_code == 405
    assert vera.get("/live/now").status_code == 200


def test_a_page_without_a_stream_asks_and_many_cost_one_look_a_second(vera: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        answers = [vera.get("/live/now") for _ in range(20)]

    assert len({answer.json()["mark"].partition(".")[0] for answer in answers}) == 1
    assert answers[0]["Cache-Control"] == "no-store"
    looks = sum(query["sql"].strip() == LOOK.strip() for query in queries)
    assert 1 <= looks < 20, "every page asked the database by itself"


def test_a_stream_tells_where_things_are_and_then_every_change(open_tab: Callable[[Client], Tab], vera: Client) -> None:
    tab = open_tab(vera)
    assert tab.response["Content-Type"] == "text/event-stream"
    assert tab.response["X-Accel-Buffering"] == "no"
    first = tab.next_news()
    assert first["quarantined"] == "0"

    factories.quarantined()

    while (news := tab.next_news())["quarantined"] == "0":
        pass
    assert news["mark"] != first["mark"]
    assert set(news) == {"mark", "at", "newest", "messages", "quarantined", "exceptions", "queue", "workers"}


def test_counts_in_the_navigation_are_told_as_the_page_writes_them() -> None:
    said = json.loads(chips.told(reading(quarantined=2029, exceptions=Counted(2029, is_bound=True)), QueueFigures()))

    assert (said["quarantined"], said["exceptions"]) == ("2,029", "2,029+")


def test_streams_beyond_the_cap_are_refused_until_one_closes(
    open_tab: Callable[[Client], Tab], vera: Client, otto: Client, settings: Settings
) -> None:
    settings.TRADES_LIVE_STREAMS = 1
    first = open_tab(vera)

    refused = otto.get("/live/")
    assert refused.status_code == 503
    assert refused["Retry-After"] == "60"
    assert otto.get("/live/now").status_code == 200

    first.close()
    first.close()
    assert pulse.pulse.streams == 0
    assert open_tab(otto).next_news()["mark"]


def test_threads_watch_only_while_there_are_streams(open_tab: Callable[[Client], Tab], vera: Client, otto: Client) -> None:
    assert watching() == set()
    tabs = [open_tab(vera), open_tab(otto)]
    assert watching() == {"live-look", "live-queue"}

    tabs[0].close()
    assert tabs[1].next_news()["mark"]
    assert "live-look" in watching()

    tabs[1].close()
    wait_until(lambda: not watching(), "the end of the watching threads")


def test_a_stream_keeps_no_connection(open_tab: Callable[[Client], Tab], vera: Client) -> None:
    tab = open_tab(vera)

    tab.next_news()

    assert connection.connection is None


def test_a_stream_ends_when_its_reader_has_signed_out(
    open_tab: Callable[[Client], Tab], vera: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "CHECK_SECONDS", 0)
    tab = open_tab(vera)
    tab.next_news()

    vera.logout()

    assert all(not chunk.startswith(b"data") for chunk in tab.chunks)
    assert connection.connection is None


def test_a_stream_ends_when_its_reader_has_lost_the_role(
    open_tab: Callable[[Client], Tab], vera: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.contrib.auth.models import User

    monkeypatch.setattr(pulse, "CHECK_SECONDS", 0)
    tab = open_tab(vera)
    tab.next_news()

    User.objects.get(username="vera").groups.clear()

    assert all(not chunk.startswith(b"data") for chunk in tab.chunks)


def test_a_stream_ends_by_itself_after_a_while(open_tab: Callable[[Client], Tab], vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "STREAM_SECONDS", 0)

    assert list(open_tab(vera).chunks) == [b"retry: 1000\n\n"]


def test_all_streams_end_and_none_opens_once_the_process_stops(transactional_db: None) -> None:
    own = Pulse()
    stream = own.open(lambda: True)
    lines = iter(stream)
    assert next(line for line in lines if line.startswith("data"))

    own.stop()

    assert all(not line.startswith("data") for line in lines)
    with pytest.raises(pulse.Full):
        own.open(lambda: True)
    wait_until(lambda: not watching(), "the end of the watching threads")
    stream.close()


# The chips


def test_the_queue_is_asked_how_much_it_holds(queue: FifoQueue) -> None:
    watch = QueueWatch()
    watch.ask()
    assert (watch.figures.visible, watch.figures.dead, watch.figures.error) == (0, 0, "")

    for group in ("T-1", "T-2"):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=f"<{group}/>", MessageGroupId=group)
    watch.ask()

    assert (watch.figures.visible, watch.figures.in_flight, watch.figures.delayed) == (2, 0, 0)
    assert watch.figures.empty_at is not None


def test_a_queue_that_does_not_answer_keeps_its_last_figures_beside_the_reason(settings: Settings) -> None:
    watch = QueueWatch()
    watch.each = {settings.TRADES_QUEUE: QueueFigures(7, 1, 0, at=NOW)}

    watch.ask()

    assert (watch.figures.visible, watch.figures.at) == (7, NOW)
    assert "nothing answers at" in watch.figures.error
    chip = chips.queue_chip(reading(), watch.figures)
    assert (chip["value"], chip["tone"]) == ("unreachable", "bad")
    assert "At 12:00:00 UTC: 7 visible" in chip["title"]


@pytest.mark.parametrize(
    ("facts", "figures", "words", "tone"),
    [
        ({}, QueueFigures(), "Queue not asked yet", ""),
        ({}, QueueFigures(0, 0, 0), "Queue 0", ""),
        ({"newest_sent_at": NOW - timedelta(seconds=5)}, QueueFigures(14, 2, 0), "Queue 14", ""),
        ({"newest_sent_at": NOW - timedelta(minutes=6)}, QueueFigures(4120, 2, 0), "Queue 4,120, 6 m behind", "warn"),
        # The newest message is of yesterday, but the queue was empty a moment ago.
        ({"newest_sent_at": NOW - timedelta(days=1)}, QueueFigures(1, 0, 0, empty_at=NOW - timedelta(seconds=9)), "Queue 1", ""),
        ({}, QueueFigures(1000, 0, 0), "Queue 1,000", "warn"),
        ({"unsent": 3, "oldest_unsent": NOW - timedelta(seconds=2)}, QueueFigures(0, 0, 0), "Queue 0", ""),
        ({"unsent": 3, "oldest_unsent": NOW - timedelta(minutes=2)}, QueueFigures(0, 0, 0), "Outbox 3 waiting, 2 m behind", "bad"),
    ],
)  # fmt: skip
def test_the_queue_chip_says_what_waits(facts: dict[str, Any], figures: QueueFigures, words: str, tone: str) -> None:
    chip = chips.queue_chip(reading(**facts), figures)

    assert (f"{chip['name']} {chip['value']}", chip["tone"]) == (words, tone)


@pytest.mark.parametrize(("running", "lost", "tone"), [(2, 0, ""), (1, 1, "warn"), (0, 1, "bad"), (0, 0, "bad")])
def test_the_workers_chip_says_the_same_as_the_page(running: int, lost: int, tone: str) -> None:
    chip = chips.workers_chip(reading(workers=running, lost_workers=lost))

    assert (chip["value"], chip["tone"]) == (Workers(running, lost).words, tone)
