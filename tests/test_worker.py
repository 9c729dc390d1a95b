"""The worker as a real process, with real signals, on a broker that keeps FIFO rules."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.support.broker import FifoQueue
from tests.support.native import native
from tests.support.processes import Process
from tests.support.waiting import wait_until
from trades.models import Event, Message

pytestmark = pytest.mark.django_db(transaction=True)
Worker = Callable[..., Process]


def send(queue: FifoQueue, *bodies: str, group: str = "T-1") -> None:
    for body in bodies:
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId=group)


def positions(trade_id: str) -> list[tuple[int, int | None]]:
    return list(Event.objects.filter(trade__trade_id=trade_id).order_by("position").values_list("position", "version"))


def test_it_drains_the_queue_in_order_and_ends(queue: FifoQueue, worker_process: Worker) -> None:
    for n in range(1, 16):
        send(queue, native("T-1", "UPDATE", n), group="T-1")
        send(queue, native("T-2", "UPDATE", n), group="T-2")

    worker = worker_process("--until-empty", "--wait", "1")

    assert worker.wait() == 0
    assert positions("T-1") == positions("T-2") == [(n, n) for n in range(1, 16)]
    assert queue.counts() == (0, 0)


def test_several_receivers_keep_the_order_of_every_group(queue: FifoQueue, worker_process: Worker) -> None:
    for n in range(1, 11):
        for trade in ("T-1", "T-2", "T-3"):
            send(queue, native(trade, "UPDATE", n), group=trade)

    assert worker_process("--until-empty", "--wait", "1", "--receivers", "3").wait() == 0

    for trade in ("T-1", "T-2", "T-3"):
        assert positions(trade) == [(n, n) for n in range(1, 11)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_nothing_left_in_flight(queue: FifoQueue, worker_process: Worker, number: int) -> None:
    worker = worker_process("--wait", "1")
    send(queue, native("T-1"))
    wait_until(Message.objects.exists, "the message to be recorded")

    worker.signal(number)

    assert worker.wait(10) == 0
    assert queue.counts() == (0, 0)
    assert "Traceback" not in worker.output


def test_a_second_signal_ends_it_at_once(queue: FifoQueue, worker_process: Worker) -> None:
    worker = worker_process("--wait", "20")

    worker.signal(signal.SIGTERM)
    # The first signal has been handled once the second one kills; either order of arrival ends the long poll early.
    wait_until(lambda: worker.signal(signal.SIGTERM) or not worker.running, "the process to end", 10)

    assert worker.wait(1) == -signal.SIGTERM


def test_it_stops_after_as_many_messages_as_asked(queue: FifoQueue, worker_process: Worker) -> None:
    send(queue, *(native("T-1", "UPDATE", n) for n in range(1, 6)))

    assert worker_process("--max-messages", "3", "--wait", "1").wait() == 0

    assert Message.objects.count() == 3
    assert queue.counts() == (2, 0)


def test_it_prints_the_body_of_each_message_when_asked(queue: FifoQueue, worker_process: Worker) -> None:
    body = native("T-1")
    send(queue, body)

    worker = worker_process("--until-empty", "--wait", "1", "--print")

    assert worker.wait() == 0
    assert body in worker.output


def test_a_bad_message_does_not_stop_it(queue: FifoQueue, worker_process: Worker) -> None:
    send(queue, "not XML", group="messageGroup1")
    send(queue, native("T-2"), group="T-2")

    assert worker_process("--until-empty", "--wait", "1").wait() == 0

    assert set(Message.objects.values_list("outcome", flat=True)) == {"QUARANTINED", "RECORDED"}
    assert queue.counts() == (0, 0)


def test_a_queue_that_does_not_exist_is_a_sentence(queue: FifoQueue, command: Callable[..., Process], shared_database: str) -> None:
    process = command("consume_trades", "--queue", "Nowhere.fifo")

    assert process.wait() == 1
    assert "create_queues" in process.output
    assert "Traceback" not in process.output


def test_a_name_that_is_not_fifo_is_a_sentence(queue: FifoQueue, command: Callable[..., Process], shared_database: str) -> None:
    process = command("consume_trades", "--queue", "Trades")

    assert process.wait() == 1
    assert '.fifo"' in process.output
    assert "Traceback" not in process.output


def test_a_database_without_tables_is_a_sentence(queue: FifoQueue, command: Callable[..., Process], tmp_path: object) -> None:
    process = command("consume_trades", environment={"DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3"})

    assert process.wait() == 1
    assert "manage.py migrate" in process.output
    assert "Traceback" not in process.output
