"""Which handler a queue has: named at the start of a worker, one at a time, until it is retired."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.support.bookings import book
from tests.support.broker import FifoQueue
from tests.support.native import NOON, native, received
from tests.test_consumer import receiver
from trades import consumer, handlers, history
from trades.handlers import Work
from trades.models import Handler, Message, Unhandled, Worker

pytestmark = pytest.mark.django_db
QUEUE = "TradeStatus.fifo"
MODULE = """
import trades.handlers

def book(recorded): ...
def two(recorded, more): ...
async def later(recorded): ...
class Booking: ...
LIMIT = 5
"""


@pytest.fixture
def firm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a firm's module that can be imported."""
    (tmp_path / "firm_at_start.py").write_text(MODULE)
    (tmp_path / "firm_broken.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    yield_name = "firm_at_start"
    sys.modules.pop(yield_name, None)
    return yield_name


def a_worker(handler: str, seconds_ago: int = 1, state: str = "IDLE") -> Worker:
    seen = NOON - timedelta(seconds=seconds_ago)
    return Worker.objects.create(
        host="alpha", pid=4711, version="1", queue=QUEUE, handler=handler, state=state, started_at=seen, seen_at=seen
    )


@pytest.mark.parametrize("form", ["{}:book", "{}.book"])
def test_it_is_named_with_a_colon_or_dotted(firm: str, form: str) -> None:
    assert handlers.load(form.format(firm)).__name__ == "book"  # type: ignore[attr-defined]
    assert handlers.canonical(form.format(firm)) == f"{firm}:book"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_firm:book", "No module named 'no_such_firm'. The folder that its package is in must be on PYTHONPATH"),
        ("firm_at_start:cook", "has no attribute 'cook'"),
        ("firm_at_start:LIMIT", "is int, which can't be called"),
        ("firm_at_start:Booking", "is a class"),
        ("firm_at_start:two", "does not take one argument"),
        ("firm_at_start:later", "is a coroutine function"),
        ("firm_broken:book", "its module raised ZeroDivisionError: division by zero"),
        ("not a name", "is not the name of a Python callable: write package.module:callable."),
    ],
)
def test_one_that_can_t_be_used_is_a_sentence(firm: str, name: str, sentence: str) -> None:
    with pytest.raises(CommandError) as caught:
        call_command("consume_trades", "--handler", name)

    assert sentence in str(caught.value)
    assert not Handler.objects.exists()


def test_dead_letters_have_no_handler(firm: str, queue: FifoQueue) -> None:
    with pytest.raises(CommandError, match="can't go with --dead-letter"):
        call_command("consume_trades", "--dead-letter", "--handler", f"{firm}:book")


def test_another_one_is_refused_while_a_worker_with_the_first_is_alive() -> None:
    handlers.register(QUEUE, "firm:book", NOON)
    handlers.register(QUEUE, "firm.book", NOON)  # the same
    worker = a_worker("firm:book")

    with pytest.raises(handlers.HandlerError, match="is processed by firm:book, by process 4711 on alpha"):
        handlers.register(QUEUE, "firm:cook", NOON)
    with pytest.raises(handlers.HandlerError, match="before it has no handler"):
        handlers.retire(QUEUE, NOON)

    assert handlers.of_queue(QUEUE) == "firm:book"
    Worker.objects.filter(pk=worker.pk).update(state=Worker.State.STOPPED)
    handlers.register(QUEUE, "firm:cook", NOON)
    assert handlers.of_queue(QUEUE) == "firm:cook"


def test_a_worker_that_is_silent_is_not_alive() -> None:
    handlers.register(QUEUE, "firm:book", NOON)
    a_worker("firm:book", seconds_ago=16)
    a_worker("", seconds_ago=1)

    handlers.register(QUEUE, "firm:cook", NOON)

    assert handlers.of_queue(QUEUE) == "firm:cook"


def test_a_worker_whose_handler_was_replaced_records_nothing_and_stops(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "close_old_connections", lambda: None)
    handlers.register(queue.name, "firm:book", NOON)
    work = Work(queue.name, "firm:book", book)
    worker = receiver(queue, work=work)
    queue.client.send_message(QueueUrl=queue.url, MessageBody=native("T-1"), MessageGroupId="T-1")
    Handler.objects.update(name="firm:cook")

    worker.step()

    assert worker.stop.is_set()
    assert work.replaced == f"firm:book is no longer the handler of {queue.name}."
    assert not Message.objects.exists()
    assert queue.counts() == (1, 0)


def test_a_retired_one_leaves_nothing_behind() -> None:
    handlers.register(QUEUE, "firm:book", NOON)
    history.record([received(native("T-1")), received(native("T-1", "UPDATE", 2))], now=NOON)

    assert handlers.retire(QUEUE, NOON) == ("firm:book", 2)

    history.record([received(native("T-1", "UPDATE", 3))], now=NOON)
    assert not Unhandled.objects.exists()
    assert handlers.retire(QUEUE, NOON) == ("", 0)
