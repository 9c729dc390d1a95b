"""The worker as a real process, with real signals, on a broker that keeps FIFO rules."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from tests.support.broker import FifoQueue
from tests.support.canned import SILENCE, Answer, canned
from tests.support.native import native
from tests.support.processes import Process
from tests.support.waiting import wait_until
from trades import sqs
from trades.models import Event, Message

pytestmark = pytest.mark.django_db(transaction=True)
Worker = Callable[..., Process]


def send(queue: FifoQueue, *bodies: str, group: str = "T-1") -> None:
    for body in bodies:
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId=group)


def fill(queue: FifoQueue, groups: int, count: int) -> None:
    """A backlog: `count` messages over so many trades, each trade's in the order of its versions."""
    for start in range(0, count, 10):
        entries = [
            {"Id": str(n), "MessageBody": native(f"T-{n % groups}", "UPDATE", n // groups + 1), "MessageGroupId": f"T-{n % groups}"}
            for n in range(start, start + 10)
        ]
        queue.client.send_message_batch(QueueUrl=queue.url, Entries=entries)  # type: ignore[arg-type]


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

    assert worker.wait() == 0
    assert queue.counts() == (0, 0)
    assert "Traceback" not in worker.output


@pytest.mark.parametrize("moment", ["when it receives", "when it records"])
@pytest.mark.parametrize("receivers", [1, 3])
def test_a_signal_in_the_middle_of_a_backlog_leaves_nothing_in_flight(
    queue: FifoQueue, worker_process: Worker, moment: str, receivers: int
) -> None:
    fill(queue, groups=20, count=200)
    worker = worker_process("--wait", "1", "--receivers", str(receivers))
    wait_until(lambda: queue.counts()[1] if moment == "when it receives" else Message.objects.exists(), moment)

    worker.signal(signal.SIGTERM)

    assert worker.wait(30) == 0
    waiting, in_flight = queue.counts()
    assert in_flight == 0
    assert waiting + Message.objects.count() == 200
    assert set(Message.objects.values_list("repeats", flat=True)) <= {0}
    for trade in range(20):
        assert [position for position, _ in positions(f"T-{trade}")] == [version for _, version in positions(f"T-{trade}")]


# The kernel gives the signal to the other thread, so that it interrupts nothing that the main thread waits in. The same happens by
# chance to a signal that comes just as a wait begins.
UNHEARD = """
import signal, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


@pytest.mark.usefixtures("shared_database", "var_dir")
def test_a_signal_that_interrupts_nothing_ends_it_too(queue: FifoQueue) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "tradeportal.settings"}
    with Process(sys.executable, "-c", UNHEARD, "consume_trades", "--wait", "1", environment=settings) as worker:
        worker.wait_for_line("consume_trades ready")
        send(queue, native("T-1"))
        wait_until(Message.objects.exists, "the message to be recorded")

        worker.signal(signal.SIGTERM)

        assert worker.wait() == 0
    assert queue.counts() == (0, 0)


def test_a_second_signal_ends_it_at_once(queue: FifoQueue, worker_process: Worker) -> None:
    asked: list[str] = []

    def answer(operation: str, request: dict[str, Any]) -> Answer:
        asked.append(operation)
        return SILENCE

    with canned(answer) as url:
        worker = worker_process("--wait", "20", environment={"AWS_ENDPOINT_URL_SQS": url})
        wait_until(lambda: asked, "the worker to receive")  # before that the first signal alone ends it as quickly

        worker.signal(signal.SIGTERM)
        # The first signal has been handled once the second one kills; either order of arrival ends the long poll early.
        wait_until(lambda: worker.signal(signal.SIGTERM) or not worker.running, "the process to end")

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


def test_a_database_that_goes_while_it_starts_is_a_sentence(
    queue: FifoQueue, command: Callable[..., Process], shared_database: str
) -> None:
    lost = "from unittest.mock import Mock; from django.db import OperationalError; from trades import handlers; "
    lost += "handlers.of_queue = Mock(side_effect=OperationalError('server closed the connection'))"

    worker = command("consume_trades", "--until-empty", before=lost)

    assert worker.wait() == 1
    assert "The database can't be used: server closed the connection. Check DATABASE_URL" in worker.output
    assert "Traceback" not in worker.output


# Trouble on the way


def test_what_waits_for_a_lock_stays_its_own(queue: FifoQueue, worker_process: Worker) -> None:
    timeout = 5
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": str(timeout)})
    # Both are there before anybody receives: a worker that is given the first alone locks the group of the second.
    send(queue, native("T-1"), native("T-1", "UPDATE", 2))

    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE trades_message")
        worker = worker_process("--wait", "1")
        wait_until(lambda: queue.counts() == (0, 2), "the worker to receive the messages")
        end = time.monotonic() + 2 * timeout
        wait_until(lambda: time.monotonic() > end, "two visibility timeouts")
        assert sqs.open_queue(queue.name).receive() == []
    wait_until(lambda: queue.counts() == (0, 0), "the messages to be recorded and deleted")

    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert list(Message.objects.values_list("receive_count", "repeats")) == [(1, 0), (1, 0)]
    # Apart from the advice that it starts with, about so short a timeout.
    assert [line for line in worker.lines if "WARNING" in line and "VisibilityTimeout" not in line] == []


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="a server whose sessions can be ended")
def test_connections_that_the_server_ended_are_renewed(queue: FifoQueue, worker_process: Worker) -> None:
    worker = worker_process("--wait", "1", "--receivers", "2")
    for version in range(1, 6):
        send(queue, native("T-1", "UPDATE", version))
        wait_until(lambda: queue.counts() == (0, 0), "the message to be recorded and deleted")
        assert len(positions("T-1")) == version
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )

    worker.signal(signal.SIGTERM)

    assert worker.wait() == 0
    assert positions("T-1") == [(n, n) for n in range(1, 6)]
    assert queue.counts() == (0, 0)
    assert "Traceback" not in worker.output
    # A pool looks at a connection before it gives it out: what was ended between two batches is no outage.
    assert "the database is away" not in worker.output


def test_a_silent_queue_does_not_hold_up_its_end(queue: FifoQueue, worker_process: Worker) -> None:
    asked: list[str] = []

    def answer(operation: str, request: dict[str, Any]) -> Answer:
        asked.append(request["ReceiveRequestAttemptId"])
        return SILENCE

    with canned(answer) as url:
        worker = worker_process("--wait", "1", environment={"AWS_ENDPOINT_URL_SQS": url})
        wait_until(lambda: asked, "the worker to receive")
        worker.signal(signal.SIGTERM)

        assert worker.wait(25) == 0
    # Asked once more for what the answer that was lost may have held.
    assert len(asked) == 2
    assert len(set(asked)) == 1
    assert "Traceback" not in worker.output


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="a server over a network")
def test_a_server_that_has_gone_without_a_word_is_noticed() -> None:
    connection.ensure_connection()

    parameters = connection.connection.info.get_parameters()

    assert parameters.items() >= {"connect_timeout": "5", "tcp_user_timeout": "30000", "keepalives_idle": "15"}.items()


# The dead-letter queue


def test_the_dead_letter_queue_is_taken_into_quarantine(queue: FifoQueue, worker_process: Worker) -> None:
    for body, group in ((native("T-1"), "T-1"), ("not XML", "T-2")):
        queue.client.send_message(QueueUrl=queue.dead_letter_url, MessageBody=body, MessageGroupId=group)

    worker = worker_process("--dead-letter", "--until-empty", "--wait", "1")

    assert worker.wait() == 0
    assert list(Message.objects.values_list("queue", "outcome")) == [(queue.name, "QUARANTINED")] * 2
    assert not Event.objects.exists()
    assert f"2 messages of {queue.dead_letter_name} taken into quarantine." in worker.output
    left = queue.client.get_queue_attributes(QueueUrl=queue.dead_letter_url, AttributeNames=["All"])["Attributes"]
    assert (left["ApproximateNumberOfMessages"], left["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


def test_the_main_queue_is_not_taken_for_a_dead_letter_queue(queue: FifoQueue, command: Worker, shared_database: str) -> None:
    process = command("consume_trades", "--dead-letter", "--queue", queue.name)

    assert process.wait() == 1
    assert "is the main queue" in process.output


def test_a_queue_that_gives_up_messages_itself_is_not_taken_for_a_dead_letter_queue(
    queue: FifoQueue, command: Worker, shared_database: str
) -> None:
    arn = queue.client.get_queue_attributes(QueueUrl=queue.dead_letter_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 5}}'
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"RedrivePolicy": redrive})
    send(queue, native("T-1"))
    process = command("consume_trades", "--dead-letter", "--queue", queue.name, environment={"TRADES_QUEUE": "Another.fifo"})

    assert process.wait() == 1
    assert "has a dead-letter queue of its own" in process.output
    assert "Traceback" not in process.output
    assert queue.counts() == (1, 0)


# Memory


def test_memory_stays_flat() -> None:
    with Process(sys.executable, "-m", "benchmarks.memory", "--count", "6000") as process:
        assert process.wait(110) == 0, process.output

    assert "grown by" in process.output
