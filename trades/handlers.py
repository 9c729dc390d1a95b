"""A firm's own processing of what is recorded from a queue: a Python callable, called by the worker in the recording transaction.

Whoever records for a queue with a handler leaves each message to it (`unhandled`); the worker takes these in the order of recording,
so that what a person let into the history comes in its turn. docs/handlers.md tells firms how to write one.
"""

from __future__ import annotations

import inspect
import logging
import pkgutil
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.db import OperationalError, connection, transaction

from trades import history, unhandled
from trades.models import Event, Handler, Message, Trade, Unhandled, Worker
from trades.sqs import Failed as NotDone
from trades.sqs import Queue, Received

logger = logging.getLogger(__name__)

REFUSED = "handler-refused"
# A worker that is alive has written its row within this time.
ALIVE = timedelta(seconds=15)
# Between two tries of a message group whose message the handler did not take: doubled each time.
FIRST_SECONDS, LONGEST_SECONDS = 1, 30
# Of what others recorded, so many tries between two polls of the queue.
AT_ONCE = 200
# So much of that is looked at: what fails, or is in another worker's hands, must not hide the rest.
LOOK = 1000
# deadlock_detected, serialization_failure (PostgreSQL, appendix A): the whole recording is done again.
VICTIM = {"40P01", "40001"}


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message that has just been recorded: its row, and its events in the order in which it states them, each with its `trade`.

    A message that is about no trade, such as a price, has no events. `trade.state` and `trade.status` are those after everything
    recorded so far, `event.state_after` and `event.status_after` those after the event.
    """

    message: Message
    events: tuple[Event, ...]

    @property
    def trades(self) -> tuple[Trade, ...]:
        """The trades that the message is about, each once."""
        return tuple({event.trade_id: event.trade for event in self.events}.values())


class Processing(Protocol):
    """What a handler is: it takes one recorded message, writes what it likes with the ORM, and raises to say "not now" or Refuse."""

    def __call__(self, recorded: Recorded, /) -> object:
        """Take the message."""


class Refuse(Exception):
    """Raised by a handler: this message is never right. The sentence says what is wrong with it and what to do; the message is put
    into quarantine with it, where a person decides."""


class HandlerError(Exception):
    """A handler can't be used: a sentence that says why."""


class Failed(Exception):
    """The handler did not take a message now; nothing of the transaction is stored. Its cause is what the handler raised."""

    def __init__(self, sentence: str, message: Message) -> None:
        super().__init__(sentence)
        self.message = message

    def __repr__(self) -> str:
        return str(self)

    def before(self, batch: Sequence[Received]) -> Sequence[Received]:
        """Of a batch of one group, what may be recorded: that before the message; nothing where one recorded earlier was not taken."""
        ids = [received.message_id for received in batch]
        return batch[: ids.index(self.message.message_id)] if self.message.message_id in ids else []


class Replaced(Exception):
    """The queue has another handler now, or none: this worker must stop."""


class _Refusals(Exception):
    """Messages that the handler refused, each with its sentence, by SQS message id."""

    def __init__(self, found: dict[str, tuple[Message, str]]) -> None:
        super().__init__(found)
        self.found = found

    def require_among(self, new: Collection[str], name: str) -> None:
        """Raise Failed unless all these messages are new: what is in the history already can't be refused any more."""
        for message_id, (message, sentence) in self.found.items():
            if message_id not in new:
                words = f"{name} refused message {message.pk} of group {message.group_id}, which is in the history already, so that"
                raise Failed(f"{words} it is tried again: {sentence}", message) from None


# Which handler a queue has


def load(name: str) -> Processing:
    """The callable of that name, "package.module:callable" or dotted. Raises HandlerError."""
    try:
        found = pkgutil.resolve_name(name)
    except ValueError:
        raise HandlerError(f'--handler "{name}" is not the name of a Python callable: write package.module:callable.') from None
    except (ImportError, AttributeError) as error:
        raise HandlerError(
            f"--handler {name} can't be imported: {error}. The folder that its package is in must be on PYTHONPATH."
        ) from error
    except Exception as error:
        raise HandlerError(f"--handler {name} can't be imported, its module raised {type(error).__name__}: {error}.") from error
    if not callable(found) or inspect.isclass(found):
        kind = "a class" if inspect.isclass(found) else f"{type(found).__name__}, which can't be called"
        raise HandlerError(f"--handler {name} is {kind}. Name a function that takes one argument, a trades.handlers.Recorded.")
    if inspect.iscoroutinefunction(found):
        raise HandlerError(f"--handler {name} is a coroutine function, which a worker can't await. Name a plain function.")
    try:
        inspect.signature(found).bind(None)
    except TypeError:
        raise HandlerError(f"--handler {name} does not take one argument. It is called with one, a trades.handlers.Recorded.") from None
    processing: Processing = found
    return processing


def register(queue: str, name: str, now: datetime) -> None:
    """Make the handler known as that of the queue, so that everybody who records for it leaves messages to it from now on.

    It replaces one of another name whose workers have stopped. Raises HandlerError while one of these is alive.
    """
    name = canonical(name)
    with transaction.atomic():
        row, _ = Handler.objects.select_for_update().get_or_create(queue=queue, defaults={"name": name, "since": now})
        if row.name == name:
            return
        _require_none_alive(queue, f"is processed by {row.name}", f"before it is processed by {name}", now)
        logger.warning("the handler of %s was %s and is %s now", queue, row.name, name)
        row.name, row.since = name, now
        row.save()


def of_queue(queue: str) -> str:
    """The name of the queue's handler, "" for none."""
    return Handler.objects.filter(queue=queue).values_list("name", flat=True).first() or ""


def retire(queue: str, now: datetime) -> tuple[str, int]:
    """The queue has no handler any more; gives the name of the one it had ("" for none), and how many recorded messages it was never
    given. Raises HandlerError while a worker with it is alive."""
    with transaction.atomic():
        row = Handler.objects.select_for_update().filter(queue=queue).first()
        if row is None:
            return "", 0
        _require_none_alive(queue, f"is processed by {row.name}", "before it has no handler", now)
        waiting, _ = Unhandled.objects.filter(queue=queue).delete()
        row.delete()
    return row.name, waiting


def canonical(name: str) -> str:
    """The name in the form "package.module:callable"."""
    module, _, attribute = name.rpartition(".")
    return name if ":" in name or not module else f"{module}:{attribute}"


def _require_none_alive(queue: str, how: str, before: str, now: datetime) -> None:
    workers = Worker.objects.filter(queue=queue, seen_at__gte=now - ALIVE).exclude(handler="").exclude(state=Worker.State.STOPPED)
    if alive := [f"process {worker.pid} on {worker.host}" for worker in workers.order_by("id")]:
        raise HandlerError(
            f"{queue} {how}, by {', '.join(alive)}. Stop these workers {before}; one that was killed counts as alive for "
            f"{ALIVE.seconds} seconds."
        )


# A handler at work


class Work:
    """A handler at work on its queue, in a worker. Safe to use from several threads: each takes other message groups.

    `name` is that of `register`.
    """

    def __init__(self, queue: str, name: str, call: Processing, *, hold: bool = True) -> None:
        self.queue = queue
        self.name = canonical(name)
        self.call = call
        self.hold = hold
        self.replaced = ""  # a sentence, once the queue has another handler
        self._failed: dict[str, tuple[int, datetime]] = {}
        self._lock = threading.Lock()

    def record(self, batch: Sequence[Received], now: datetime) -> history.Report:
        """Store a batch as `history.record` does, and give what is new to the handler, all in one transaction.

        Raises Failed when the handler raises, Replaced, DatabaseError: then nothing of the batch is stored.
        """
        groups = {received.group_id for received in batch}
        stopped: set[str] = set()
        for pk, group in list(unhandled.of_groups(self.queue, groups).values_list("pk", "message__group_id")):
            if group not in stopped and not self._take_one(pk):
                stopped.add(group)
        judgements = [history.judge_received(received) for received in batch]
        refused: set[str] = set()
        while True:
            try:
                with transaction.atomic():
                    report = history.record_judged(batch, judgements, now=now, hold=self.hold)
                    self._take(list(unhandled.of_groups(self.queue, groups).select_for_update(of=("self",)).select_related("message")))
                return report
            except _Refusals as refusals:
                refusals.require_among({received.message_id for received in batch} - refused, self.name)
                refused |= refusals.found.keys()
                judgements = [
                    history.refused(REFUSED, refusals.found[received.message_id][1], judgement)
                    if received.message_id in refusals.found
                    else judgement
                    for received, judgement in zip(batch, judgements, strict=True)
                ]

    def catch_up(self, now: datetime, stop: threading.Event, note: Callable[[str], object]) -> int:
        """Give the handler some of what others recorded for it, in the order of recording, each in a transaction of its own; gives how
        many it took. What it did not take is told by `note`, and its group tried again later, less and less often.

        Raises Replaced, DatabaseError.
        """
        taken = tried = 0
        stopped: set[str] = set()
        for pk, group in unhandled.oldest(self.queue, self._resting(now), LOOK):
            if tried == AT_ONCE or stop.is_set():
                break
            if group in stopped:
                continue
            tried += 1
            try:
                if self._take_one(pk):
                    taken += 1
                    self._note(group, None)
                else:
                    stopped.add(group)
            except Failed as failure:
                stopped.add(group)
                logger.error("%s", failure, exc_info=failure)
                note(str(failure))
                self._note(group, now)
        return taken

    def _take_one(self, pk: int) -> bool:
        """Give the handler one message that waits, of which none waits before it; False if another worker has it in hand, or had."""
        with transaction.atomic():
            locked = Unhandled.objects.select_for_update(of=("self",), skip_locked=True).select_related("message").filter(pk=pk)
            try:
                return self._take(list(locked))
            except _Refusals as refusals:
                refusals.require_among([], self.name)
                raise

    def _take(self, waiting: Sequence[Unhandled]) -> bool:
        """Call the handler for each, in this transaction; False for none. Raises Failed, _Refusals."""
        if not Handler.objects.filter(queue=self.queue, name=self.name).exists():
            self.replaced = f"{self.name} is no longer the handler of {self.queue}."
            raise Replaced(self.replaced)
        refusals: dict[str, tuple[Message, str]] = {}
        stopped: set[str] = set()
        for recorded in _recorded([row.message for row in waiting]):
            if recorded.message.group_id in stopped:
                continue
            try:
                self._call(recorded)
            except Refuse as refusal:
                sentence = str(refusal) or f"{self.name} refused this message and did not say why."
                refusals[recorded.message.message_id] = (recorded.message, sentence)
                stopped.add(recorded.message.group_id)
        if refusals:
            raise _Refusals(refusals)
        Unhandled.objects.filter(pk__in=[row.pk for row in waiting]).delete()
        return bool(waiting)

    def _call(self, recorded: Recorded) -> None:
        try:
            # What the handler broke and kept quiet about must not end our transaction without a word: SQL says nothing at COMMIT.
            with transaction.atomic():
                self.call(recorded)
                if connection.needs_rollback:
                    raise RuntimeError("it went on after a database error; wrap what may fail in transaction.atomic()")
        except Refuse:
            raise
        except Exception as error:
            if isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", None) in VICTIM:
                raise
            message = recorded.message
            words = f"{self.name} failed at message {message.pk} of group {message.group_id}, to be tried again"
            raise Failed(f"{words}: {type(error).__name__}: {error}", message) from error

    def _resting(self, now: datetime) -> list[str]:
        with self._lock:
            return [group for group, (_, until) in self._failed.items() if now < until]

    def _note(self, group: str, failed_at: datetime | None) -> None:
        with self._lock:
            times, _ = self._failed.pop(group, (0, None))
            if failed_at is not None:
                self._failed[group] = (times + 1, failed_at + timedelta(seconds=seconds_before_try(times + 1)))


def seconds_before_try(failures: int) -> int:
    """How long a message group rests after so many failures (at least one) of its handler."""
    seconds: int = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(failures - 1, 10))
    return seconds


def let_rest(queue: Queue, batch: Sequence[Received]) -> list[tuple[Received, NotDone]]:
    """Keep messages whose group the handler did not take invisible for a while, longer each time; gives those that SQS did not keep.
    Raises QueueError."""
    counts: dict[str, int] = {}
    for received in batch:
        counts.setdefault(received.group_id, received.receive_count)
    return [
        failure
        for seconds in sorted({seconds_before_try(count) for count in counts.values()})
        for failure in queue.extend([each for each in batch if seconds_before_try(counts[each.group_id]) == seconds], seconds)
    ]


def _recorded(messages: Sequence[Message]) -> Iterable[Recorded]:
    """The messages with their events, in the order given."""
    events: defaultdict[int, list[Event]] = defaultdict(list)
    rows = Event.objects.filter(message__in=messages).select_related("trade").order_by("message_id", "part", "id")
    shared: dict[Any, Trade] = {}
    for event in rows if messages else ():
        event.trade = shared.setdefault(event.trade_id, event.trade)
        events[event.message_id].append(event)
    for message in messages:
        yield Recorded(message, tuple(events[message.pk]))
