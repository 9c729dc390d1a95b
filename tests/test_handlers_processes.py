"""A handler in real worker processes: killed, several at a time, while a person settles."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from tests.support.bookings import booked, bookings_table
from tests.support.broker import FifoQueue
from tests.support.native import native
from tests.support.processes import Process
from tests.support.waiting import wait_until
from tests.test_worker import fill, send
from trades import quarantine
from trades.models import Event, Message, Unhandled, Worker
from trades.quarantine import Actor

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Process]
MODULE = """
import os, pathlib, signal, time
from django.db import transaction
from tests.support.bookings import book

FOLDER = pathlib.Path(__file__).parent

def hangs(recorded):
    book(recorded)
    if (FOLDER / "hang").exists():
        (FOLDER / "inside").touch()
        time.sleep(600)

def dies_after_commit(recorded):
    book(recorded)
    if (FOLDER / "die").exists():
        transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.fixture
def firm(tmp_path: Path, shared_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on PYTHONPATH with the firm's module, and the firm's table."""
    (tmp_path / "firm_processes.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with bookings_table():
        yield tmp_path


def soon_again(queue: FifoQueue) -> None:
    """What a killed worker holds comes again after two seconds."""
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "2"})


def recorded(trade_id: str) -> list[tuple[str, int | None]]:
    events = Event.objects.filter(trade__trade_id=trade_id).order_by("position")
    return [(trade_id, version) for version in events.values_list("version", flat=True)]


def test_a_kill_inside_the_handler_repeats_nothing(queue: FifoQueue, worker_process: Start, firm: Path) -> None:
    soon_again(queue)
    send(queue, *(native("T-1", "UPDATE", version) for version in (1, 2, 3)))
    (firm / "hang").touch()
    killed = worker_process("--wait", "1", "--handler", "firm_processes:hangs")
    wait_until((firm / "inside").exists, "the handler to be called")
    assert not Message.objects.exists()

    killed.signal(signal.SIGKILL)
    killed.wait()
    (firm / "hang").unlink()
    worker_process("--wait", "1", "--handler", "firm_processes:hangs")

    wait_until(lambda: len(booked()) == 3, "the messages to be processed")
    wait_until(lambda: queue.counts() == (0, 0), "the messages to be deleted")
    assert booked() == recorded("T-1") == [("T-1", 1), ("T-1", 2), ("T-1", 3)]


def test_a_kill_after_the_commit_repeats_nothing(queue: FifoQueue, worker_process: Start, firm: Path) -> None:
    soon_again(queue)
    send(queue, native("T-1"), native("T-1", "UPDATE", 2))
    (firm / "die").touch()
    killed = worker_process("--wait", "1", "--handler", "firm_processes:dies_after_commit")
    assert killed.wait() == -signal.SIGKILL
    assert booked() == [("T-1", 1), ("T-1", 2)]
    (firm / "die").unlink()

    worker_process("--wait", "1", "--handler", "firm_processes:dies_after_commit")
    wait_until(lambda: queue.counts() == (0, 0) and Message.objects.filter(repeats__gt=0).count() == 2, "the messages to come again")

    assert booked() == recorded("T-1") == [("T-1", 1), ("T-1", 2)]


def test_two_workers_keep_the_order_of_every_trade_while_a_person_settles(queue: FifoQueue, worker_process: Start, firm: Path) -> None:
    for trade in ("T-0", "T-1", "T-2"):
        send(queue, native(trade, "UPDATE", 1000), f"<broken {trade}", native(trade, "UPDATE", 1001), group=trade)
    workers = [worker_process("--wait", "1", "--receivers", "2", "--handler", "tests.support.bookings:book") for _ in range(2)]
    fill(queue, groups=5, count=100)
    wait_until(lambda: Message.objects.filter(outcome="QUARANTINED").count() == 3, "the broken messages")

    for message in Message.objects.filter(outcome="QUARANTINED").order_by("-id"):
        quarantine.discard(message, actor=Actor(None, "a test"), reason="broken", now=timezone.now())

    wait_until(lambda: Message.objects.filter(outcome="RECORDED").count() == 106, "all messages to be recorded")
    wait_until(lambda: not Unhandled.objects.exists(), "the handler to be given what waited")
    for worker in workers:
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.output
    for trade in (f"T-{n}" for n in range(5)):
        assert booked(trade) == recorded(trade)
    assert len(booked()) == 106
    assert queue.counts() == (0, 0)
    assert set(Worker.objects.values_list("handler", flat=True)) == {"tests.support.bookings:book"}


def test_a_worker_without_it_says_that_its_messages_wait(queue: FifoQueue, worker_process: Start, firm: Path) -> None:
    assert worker_process("--until-empty", "--wait", "0", "--handler", "tests.support.bookings:book").wait() == 0
    send(queue, native("T-1"))

    plain = worker_process("--until-empty", "--wait", "1")

    assert plain.wait() == 0
    assert f"{queue.name} has the handler tests.support.bookings:book, which this worker does not call" in plain.output
    assert booked() == []
    assert worker_process("--until-empty", "--wait", "1", "--handler", "tests.support.bookings:book").wait() == 0
    assert booked() == [("T-1", 1)]


def test_it_is_retired_by_hand(queue: FifoQueue, worker_process: Start, firm: Path) -> None:
    assert worker_process("--until-empty", "--wait", "0", "--handler", "tests.support.bookings:book").wait() == 0

    retiring = worker_process("--until-empty", "--wait", "0", "--no-handler")

    assert retiring.wait() == 0
    assert (
        f"The handler tests.support.bookings:book of {queue.name} is retired; 0 recorded messages were not given to it." in retiring.output
    )
