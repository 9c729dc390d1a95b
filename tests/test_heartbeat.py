"""The row of a worker: what it says, and that writing it never disturbs the worker."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event as Signal

import pytest
from django.db import OperationalError
from django.utils import timezone

import tradeportal
from tests.support.broker import FifoQueue
from tests.support.native import NOON, native
from tests.support.processes import PATIENT, Process
from tests.support.waiting import wait_until
from trades.heartbeat import Heartbeat, Vitals
from trades.history import Report
from trades.models import Worker

State = Worker.State


def beating(vitals: Vitals, stop: Signal | None = None) -> Heartbeat:
    return Heartbeat("Trades.fifo", vitals, stop or Signal(), timezone.now, every=0.05)


def row(**such: object) -> Worker:
    """The row, once it is so."""
    return wait_until(lambda: list(Worker.objects.filter(**such)), f"a row with {such}")[0]


# What is counted


def test_an_outage_is_news_once_however_many_receivers_meet_it() -> None:
    vitals = Vitals()

    went = [vitals.away("the queue", who, "nothing answers") for who in (1, 2, 1, 3)]
    came = [vitals.back("the queue", who) for who in (2, 2, 1, 4, 3, 3)]

    assert went == [True, False, False, False]
    assert came == [False, False, False, False, True, False]
    assert vitals.outages == 1
    assert vitals.last_error == "nothing answers"


def test_queue_and_database_are_away_each_on_its_own() -> None:
    vitals = Vitals()

    assert vitals.away("the queue", 1, "a")
    assert vitals.away("the database", 1, "b")
    states = [(vitals.back(what, 1), vitals.state) for what in ("the queue", "the database")]

    assert states == [(True, State.WAITING), (True, State.IDLE)]


def test_a_receiver_that_has_ended_waits_for_nothing() -> None:
    vitals = Vitals()
    vitals.away("the queue", 1, "a")

    vitals.gone(1)

    assert vitals.state == State.IDLE
    assert vitals.away("the queue", 2, "a")


def test_the_state_says_whether_anybody_has_messages_in_hand() -> None:
    vitals = Vitals()

    states = []
    with vitals.working():
        with vitals.working():
            states.append(vitals.state)
        states.append(vitals.state)
    states.append(vitals.state)

    assert states == [State.WORKING, State.WORKING, State.IDLE]


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]

    assert tradeportal.__version__ == project["version"]


# The row


@pytest.mark.django_db(transaction=True)
def test_a_row_is_written_at_the_start_while_it_runs_and_at_the_end() -> None:
    vitals = Vitals()

    with beating(vitals):
        first = row()
        assert (first.queue, first.version, first.received) == ("Trades.fifo", tradeportal.__version__, 0)
        vitals.polled(NOON, 12)
        vitals.recorded(Report(Counter(RECORDED=9, QUARANTINED=2), repeats=1))
        vitals.away("the database", 1, "the server is gone")
        second = row(state=State.WAITING)
    assert (second.received, second.recorded, second.repeats) == (12, 11, 1)
    assert (second.failures, second.last_error, second.last_poll_at) == (1, "the server is gone", NOON)

    assert row(state=State.STOPPED).seen_at >= second.seen_at
    assert Worker.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_it_beats_while_nothing_happens() -> None:
    with beating(Vitals()):
        row(seen_at__gt=row().seen_at + timedelta(seconds=0.1))
        assert Worker.objects.get().state == State.IDLE


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_was_asked_to_stop_says_so() -> None:
    stop = Signal()
    with beating(Vitals(), stop):
        stop.set()
        assert row(state=State.STOPPING)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_is_away_costs_heartbeats_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    write, tries = Heartbeat._write, iter([OperationalError("the server is gone"), ValueError("a NUL character")])

    def failing(self: Heartbeat, state: Worker.State) -> None:
        if error := next(tries, None):
            raise error
        write(self, state)

    monkeypatch.setattr(Heartbeat, "_write", failing)

    with beating(Vitals()):
        wait_until(Worker.objects.exists, "the database to be written to again")
    assert next(tries, None) is None


@pytest.mark.django_db(transaction=True)
def test_rows_of_workers_unseen_for_a_week_are_removed_at_a_start() -> None:
    now = timezone.now()
    for host, days in (("gone", 8), ("quiet", 6)):
        seen_at = now - timedelta(days=days)
        Worker.objects.create(host=host, pid=1, version="0", queue="q", started_at=seen_at, seen_at=seen_at)

    with beating(Vitals()):
        wait_until(lambda: not Worker.objects.filter(host="gone").exists(), "the old row to be removed")

    assert Worker.objects.filter(host="quiet").exists()


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_removed_comes_back() -> None:
    with beating(Vitals()):
        wait_until(Worker.objects.exists, "the first heartbeat")
        Worker.objects.all().delete()
        wait_until(Worker.objects.exists, "the next heartbeat")


@pytest.mark.django_db(transaction=True)
def test_a_worker_process_has_a_row_from_its_start_to_its_end(queue: FifoQueue, worker_process: Callable[..., Process]) -> None:
    queue.client.send_message(QueueUrl=queue.url, MessageBody=native("T-1"), MessageGroupId="T-1")

    worker = worker_process("--max-messages", "1", "--wait", "1", before=PATIENT)

    assert worker.wait() == 0
    last = Worker.objects.get()
    assert (last.pid, last.queue, last.state, last.received, last.recorded) == (worker.pid, queue.name, State.STOPPED, 1, 1)
    assert last.last_poll_at
    assert last.started_at <= last.last_poll_at <= last.seen_at
