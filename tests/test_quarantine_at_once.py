"""Several people and workers at once, each with a transaction of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from random import Random
from typing import TypeVar

import pytest
from django.db import connection, transaction

from tests.support.native import NOON, native, received
from tests.support.waiting import some_lock_is_waited_for, wait_until
from tests.test_business_order import check_against_telling_anew
from trades import dead_letters, history, quarantine
from trades.models import AuditEntry, Event, Hold, Message, Trade
from trades.quarantine import Actor, Conflict, Result

pytestmark = pytest.mark.django_db(transaction=True)
Outcome = Message.Outcome
SHELL = Actor(None, "command line, root")
BAD = "<broken"
T = TypeVar("T")


def in_thread(pool: ThreadPoolExecutor, act: Callable[[], T]) -> Future[T]:
    """The act in a thread with a database connection of its own."""

    def run() -> T:
        try:
            return act()
        finally:
            connection.close()

    return pool.submit(run)


def correct(message: Message, body: str, seen: int | None = None) -> Result:
    return quarantine.correct(message, body, actor=SHELL, reason="tag", seen=seen, now=NOON)


def discard(message: Message, seen: int | None = None) -> Result:
    return quarantine.discard(message, actor=SHELL, reason="wrong file", seen=seen, now=NOON)


def undo(message: Message) -> Result:
    return quarantine.undo_discard(message, actor=SHELL, reason="was right", now=NOON)


def only_on_postgresql() -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite lets one transaction write at a time, so that none waits for another in the middle")


def test_of_two_people_who_saw_the_same_one_settles_the_message_and_the_other_is_told_who() -> None:
    for number in range(12):
        history.record([received(f"{BAD}{number}", f"G-{number}"), received(native(f"T-{number}", "CANCEL", 2), f"G-{number}")], now=NOON)
        message = Message.objects.get(outcome=Outcome.QUARANTINED)
        acts = (partial(correct, message, native(f"T-{number}"), seen=0), partial(discard, message, seen=0))
        barrier = threading.Barrier(2)

        with ThreadPoolExecutor(2) as pool:
            results = [future.result() for future in [in_thread(pool, partial(_at_once, act, barrier)) for act in acts]]

        (told,) = (result for result in results if isinstance(result, Conflict))
        entry = AuditEntry.objects.get(message=message)
        assert told.entries == [entry]
        did = {"correct": "corrected and replayed", "discard": "discarded"}[entry.action]
        assert str(told).startswith(f"command line, root {did} this message at 12:00:00 UTC")
        expected = ["BOOK", "CANCEL"] if entry.action == "correct" else ["CANCEL"]
        events = Event.objects.filter(trade__trade_id=f"T-{number}").order_by("position")
        assert list(events.values_list("event_class", flat=True)) == expected


def _at_once(act: Callable[[], Result], barrier: threading.Barrier) -> Result | Conflict:
    barrier.wait(20)
    try:
        return act()
    except Conflict as conflict:
        return conflict


def test_a_worker_that_adds_to_the_group_while_a_correction_is_saved_waits_and_records_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    only_on_postgresql()
    history.record([received(BAD), received(native("T-1", "UPDATE", 2))], now=NOON)
    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    is_saving, real = threading.Event(), quarantine._let_go

    def let_go(*args: object) -> int:
        is_saving.set()
        wait_until(some_lock_is_waited_for, "the worker waits for the hold")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(quarantine, "_let_go", let_go)
    with ThreadPoolExecutor(2) as pool:
        correcting = in_thread(pool, lambda: correct(message, native("T-1")))
        assert is_saving.wait(20)
        working = in_thread(pool, lambda: history.record([received(native("T-1", "CANCEL", 3))], now=NOON))
        assert (correcting.result().recorded, working.result().outcomes) == (2, {"RECORDED": 1})

    assert list(Event.objects.order_by("position").values_list("event_class", "flags")) == [("BOOK", []), ("UPDATE", []), ("CANCEL", [])]
    assert not Hold.objects.exists()


def test_what_a_worker_is_just_adding_to_the_wait_is_let_go_with_the_rest() -> None:
    only_on_postgresql()
    history.record([received(BAD)], now=NOON)
    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    has_added = threading.Event()

    def work() -> None:
        with transaction.atomic():
            history.record([received(native("T-1", "UPDATE", 2))], now=NOON)
            has_added.set()
            wait_until(some_lock_is_waited_for, "the person waits for the hold")

    with ThreadPoolExecutor(2) as pool:
        working = in_thread(pool, work)
        assert has_added.wait(20)
        correcting = in_thread(pool, lambda: correct(message, native("T-1")))
        working.result()
        assert correcting.result().recorded == 2

    assert set(Message.objects.values_list("outcome", flat=True)) == {Outcome.CORRECTED, Outcome.RECORDED}


def test_two_discards_of_a_group_taken_back_at_once_leave_one_hold_on_the_earlier() -> None:
    for number in range(8):
        group = f"G-{number}"
        history.record([received(f"{BAD}{number}", group), received(f"{BAD}{number} too", group)], now=NOON)
        first, second = Message.objects.filter(group_id=group).order_by("id")
        discard(first)
        discard(second)
        barrier = threading.Barrier(2)

        with ThreadPoolExecutor(2) as pool:
            for future in [in_thread(pool, partial(_at_once, partial(undo, message), barrier)) for message in (first, second)]:
                assert future.result() == Result()

        assert Hold.objects.get(group_id=group).message == first
        assert list(Message.objects.filter(group_id=group).order_by("id").values_list("outcome", flat=True)) == ["QUARANTINED", "HELD"]


def test_people_who_settle_while_workers_record_never_break_the_order_of_a_group() -> None:
    dice, over = Random(11), threading.Event()
    plans = [_plan(f"G-{number}", dice) for number in range(6)]

    with ThreadPoolExecutor(4) as pool:
        workers = [in_thread(pool, partial(_work, plans[half::2])) for half in (0, 1)]
        people = [in_thread(pool, partial(_settle_until, over, Random(seed))) for seed in (1, 2)]
        try:
            for future in workers:
                future.result(60)
        finally:
            over.set()
        for future in people:
            future.result(60)
    wait_until(lambda: not _settle_something(dice), "all is settled")

    assert not Hold.objects.exists()
    assert not Message.objects.filter(outcome=Outcome.HELD).exists()
    for trade in Trade.objects.all():
        places = [event.message.corrects_id or event.message_id for event in trade.events.select_related("message").order_by("position")]
        assert places == sorted(places)
    check_against_telling_anew()


def _work(plans: list[list[tuple[str, str]]]) -> None:
    """Record what was planned for each group in batches of three, every fifth of them as one from the dead-letter queue."""
    batches = [plan[first : first + 3] for first in range(0, 12, 3) for plan in plans]
    for number, batch in enumerate(batches):
        messages = [received(body, group) for group, body in batch]
        if number % 5 == 4:
            dead_letters.record(messages, now=NOON, queue="TradeStatus.fifo")
        else:
            history.record(messages, now=NOON)


def _settle_until(over: threading.Event, dice: Random) -> None:
    while not over.is_set():
        _settle_something(dice)


def _plan(group: str, dice: Random) -> list[tuple[str, str]]:
    """Twelve messages of a group, about a third of which can't be read."""
    bodies = [native(group, "UPDATE" if version > 1 else "BOOK", version) for version in range(1, 13)]
    return [(group, f"{BAD}{body}" if dice.random() < 0.3 else body) for body in bodies]


def _settle_something(dice: Random) -> bool:
    """Settle one message in quarantine, if there is one."""
    messages = list(Message.objects.filter(outcome=Outcome.QUARANTINED).order_by("id"))
    if messages:
        message = dice.choice(messages)
        try:
            if message.body.startswith(BAD) and dice.random() < 0.3:
                discard(message)
            elif message.body.startswith(BAD):
                correct(message, message.body.removeprefix(BAD))
            else:
                quarantine.replay(message, actor=SHELL, now=NOON)
        except Conflict:
            pass  # the other person was faster
    return bool(messages)
