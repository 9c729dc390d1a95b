"""Who moves: publishers, relays, foreign senders, workers and operators, each running the product's own code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from django.db import DatabaseError, InterfaceError, close_old_connections

from tests.fifo.faults import UNSTORABLE, Weather
from tests.fifo.scheduler import Actor, VirtualEvent
from tests.support.native import native, several
from trades import dead_letters, history, publishing, quarantine, sqs
from trades.consumer import Receiver, Settings, Shared
from trades.management.commands.relay_publications import Relay
from trades.messages.facts import MessageRefused
from trades.models import Message, Upload
from trades.publishing import IncomingDocument
from trades.receiving import Quota

QUEUE, DEAD_LETTERS = "Faults.fifo", "FaultsDeadLetters.fifo"
AWAY = (DatabaseError, InterfaceError)
POISON = ("no-xml", "unknown", "half", "unstorable")
PLACE_OF_TIME = "2026-11-20T09:30:00Z"


@dataclass(frozen=True, slots=True)
class Item:
    """One document to hand in or to send. `kind` is "document", a word of POISON, or "two trades"."""

    kind: str
    trade: str
    body: str


@dataclass
class Plan:
    """What a run is made of, all drawn from its seed."""

    trades: int
    messages: int
    visibility: int
    workers: int
    receivers: int
    publishers: int
    relays: int
    operators: int
    foreigners: int
    hold: bool
    wait: int
    pace: float
    skew: float
    weights: list[int] = field(default_factory=list)
    most_receives: int = 0

    @classmethod
    def drawn(cls, rng: Random) -> Plan:
        """Sizes, speeds and numbers of actors."""
        return cls(
            trades=rng.randint(2, 6),
            messages=rng.randint(10, 40),
            visibility=rng.choice((5, 15, 30, 120)),
            workers=rng.randint(2, 4),
            receivers=rng.choice((1, 1, 2)),
            publishers=rng.randint(1, 2),
            relays=rng.randint(1, 2),
            operators=rng.randint(0, 2),
            foreigners=rng.randint(0, 1),
            hold=rng.random() < 0.8,
            wait=rng.choice((1, 5, 20)),
            pace=rng.choice((0.02, 0.2, 1.0)),
            skew=rng.choice((0.0, 0.0, 5.0, 300.0)),
            weights=[rng.choice((1, 3, 9)) for _ in range(13)],
            most_receives=rng.choice((0, 0, 0, 0, 2, 4)),
        )


class Traffic:
    """The documents of a run, and who still has to hand in which."""

    def __init__(self, rng: Random, plan: Plan, weather: Weather) -> None:
        self.rng = rng
        self.plan = plan
        self.weather = weather
        self.numbers = 0
        self.versions: dict[str, int] = {}
        self.poison_share = rng.choice((0.0, 0.05, 0.2))
        self.sent: list[sqs.Outgoing] = []
        items = [self._item() for _ in range(plan.messages)]
        share = plan.messages // 4 if plan.foreigners else 0
        self.foreign = items[:share]
        rest = items[share:]
        self.to_publish: list[list[Item]] = [rest[number :: plan.publishers] for number in range(plan.publishers)]
        self.is_done = False

    def _item(self) -> Item:
        trade = f"T-{self.rng.randint(1, self.plan.trades)}"
        kind = self.rng.choice(POISON) if self.rng.random() < self.poison_share else "document"
        if kind == "document" and self.rng.random() < 0.05:
            kind = "two trades"
        if kind != "document":
            self.weather.count(f"content: {kind}")
        return Item(kind, trade, self._body(kind, trade))

    def _body(self, kind: str, trade: str) -> str:
        if kind == "no-xml":
            return f"this is no XML, number {self._number()}"
        if kind == "unknown":
            return f"<Unknown number='{self._number()}'/>"
        if kind == "half":
            return several(self._native(trade), self._native(trade).replace(f"<TradeId>{trade}</TradeId>", ""))
        if kind == "two trades":
            other = f"T-{self.rng.randint(1, self.plan.trades)}"
            return several(self._native(trade), self._native(other))
        return self._native(trade, UNSTORABLE if kind == "unstorable" else "FO")

    def _native(self, trade: str, prefix: str = "FO") -> str:
        version = self.versions.get(trade, 0) + 1
        event = "BOOK" if version == 1 else self.rng.choices(("UPDATE", "CORRECT", "CANCEL", "BOOK"), (12, 2, 1, 1))[0]
        if self.rng.random() < 0.1:
            version += self.rng.choice((-1, 1))
        self.versions[trade] = max(version, 1)
        body = native(trade, event, max(version, 1), message_id=f"{prefix}-{self._number():04}", thread=self.rng.choice(("", "", "C-1")))
        minute = self.rng.randint(0, 59)
        return body.replace(PLACE_OF_TIME, f"2026-11-20T09:{minute:02}:00Z")

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def corrected(self, message: Message) -> str:
        """A text that an operator might write in the place of the message's own."""
        if UNSTORABLE in message.body:
            return message.body.replace(UNSTORABLE, "FIXED")
        if self.rng.random() < 0.2:
            return message.body + "<!-- still wrong -->"
        return self._native(message.group_id)

    def finished(self) -> bool:
        """Whether everybody has handed in everything."""
        return not self.foreign and not any(self.to_publish)


# Publishing


class Publisher:
    """A person at the upload page. What happens to the process does not make them forget what they have not handed in yet."""

    def __init__(self, traffic: Traffic, number: int) -> None:
        self.traffic = traffic
        self.todo = traffic.to_publish[number]

    def run(self, actor: Actor) -> None:
        """Hand in the next documents, in one upload."""
        rng = self.traffic.rng
        while True:
            actor.sleep(rng.uniform(0, 4))
            # As at the beginning of every request.
            close_old_connections()
            if self.todo:
                self._hand_in(actor, rng)

    def _hand_in(self, actor: Actor, rng: Random) -> None:
        first = self.todo[0]
        count = 1 if first.kind != "document" else next(
            (number for number, item in enumerate(self.todo[:5]) if item.kind != "document"), min(len(self.todo), 5)
        )  # fmt: skip
        items, self.todo[:] = self.todo[:count], self.todo[count:]
        is_handed_in = False
        try:
            publishing.publish(
                [IncomingDocument(f"{item.trade}.xml", item.body.encode()) for item in items],
                source=Upload.Source.WEB,
                user=None,
                clock=actor.scheduler.clock.utc,
                queue=QUEUE,
                group=None if first.kind == "document" else first.trade,
            )
            is_handed_in = True
        except AWAY:
            pass
        finally:
            # They do not know whether it was stored: some try again, and hand in again what was.
            if not is_handed_in and not actor.scheduler.is_over and (rng.random() < 0.7 or self.traffic.weather.is_calm):
                self.traffic.weather.count("content: handed in again")
                self.todo[:0] = items


def relay(actor: Actor) -> None:
    """`relay_publications`, until it is asked to stop."""
    stop = actor.process.stop = VirtualEvent(actor.scheduler)
    work = Relay(stop)  # type: ignore[arg-type]
    while not stop.is_set():
        work.step()
        stop.wait(1)


class Foreigner:
    """Somebody else's program: no publication id, deduplication by content; or one that repeats our publication id by mistake."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def run(self, actor: Actor) -> None:
        """Send one message at a time, each until it is acknowledged, so that their order is known."""
        rng = self.traffic.rng
        queue = sqs.open_queue(QUEUE)
        while True:
            actor.sleep(rng.uniform(0, 4))
            if self.traffic.foreign:
                item = self.traffic.foreign[0]
                if self._send(queue, actor, self._outgoing(actor, item, rng)):
                    self.traffic.foreign.pop(0)
                    self.traffic.weather.count("content: from a foreign sender")

    def _outgoing(self, actor: Actor, item: Item, rng: Random) -> sqs.Outgoing:
        known = [message for message in self.traffic.weather.broker.accepted[QUEUE] if message.publication_id]
        if known and rng.random() < 0.15:
            copied = rng.choice(known)
            self.traffic.weather.count("content: publication id with other content")
            attributes = {"PublicationId": copied.publication_id}
            return sqs.Outgoing(item.body, copied.group, hashlib.sha256(item.body.encode()).hexdigest(), attributes)
        return sqs.Outgoing(item.body, item.trade, hashlib.sha256(item.body.encode()).hexdigest())

    def _send(self, queue: sqs.Queue, actor: Actor, outgoing: sqs.Outgoing) -> bool:
        for _ in range(3):
            try:
                if isinstance(queue.send([outgoing])[0], sqs.Sent):
                    return True
            except sqs.QueueError:
                pass
            actor.sleep(1)
        return False


# Working


class WorkerProcess:
    """`consume_trades` with one or two receivers, and a clock that may be wrong; or `consume_trades --dead-letter`."""

    def __init__(self, plan: Plan, rng: Random, queue: str = QUEUE) -> None:
        self.plan = plan
        self.queue = queue
        self.skew = timedelta(seconds=rng.uniform(-plan.skew, plan.skew))

    def run(self, actor: Actor) -> None:
        """Until it is asked to stop."""
        scheduler = actor.scheduler

        def clock() -> datetime:
            return scheduler.clock.utc() + self.skew

        stop = actor.process.stop = VirtualEvent(scheduler)
        queue = sqs.open_queue(self.queue)
        shared = Shared.of(queue, clock, stop)  # type: ignore[arg-type]
        how = Settings(wait=self.plan.wait, hold=self.plan.hold, record=None if self.queue == QUEUE else self._take_into_quarantine)
        receivers = [Receiver(queue, how, Quota(None), stop, clock, shared) for _ in range(self.plan.receivers)]  # type: ignore[arg-type]
        others = [scheduler.spawn(actor.process, "second", receiver.run) for receiver in receivers[1:]]
        receivers[0].run()
        while any(not other.finished for other in others):
            actor.sleep(0.1)

    def _take_into_quarantine(self, batch: Sequence[sqs.Received], now: datetime) -> history.Report:
        return dead_letters.record(batch, now=now, queue=QUEUE, hold=self.plan.hold)


# Settling


class Operator:
    """A person at the quarantine page."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def run(self, actor: Actor) -> None:
        """Look, think, act; and see what somebody else did meanwhile."""
        rng = self.traffic.rng
        while True:
            actor.sleep(rng.uniform(1, 20))
            close_old_connections()
            try:
                self._settle_one(actor, rng)
            except (quarantine.Conflict, MessageRefused, ValueError) as refused:
                self.traffic.weather.count(f"operator: refused, {type(refused).__name__}")
            except AWAY:
                self.traffic.weather.count("operator: the database was away")

    def _settle_one(self, actor: Actor, rng: Random) -> None:
        if rng.random() < 0.1:
            self.traffic.weather.is_unstorable = False
        outcomes = [Message.Outcome.QUARANTINED, *([Message.Outcome.DISCARDED] if rng.random() < 0.3 else [])]
        found = list(Message.objects.filter(outcome__in=outcomes).order_by("id"))
        if not found:
            return
        message = rng.choice(found)
        seen = quarantine.revision(message) if rng.random() < 0.5 else None
        actor.sleep(rng.uniform(0, 5))
        who = quarantine.Actor(None, "a run of faults")
        now = actor.scheduler.clock.utc()
        if message.outcome == Message.Outcome.DISCARDED:
            quarantine.undo_discard(message, actor=who, reason="it was right", seen=seen, now=now)
            act = "undo discard"
        elif (choice := rng.random()) < 0.35:
            quarantine.replay(message, actor=who, seen=seen, now=now)
            act = "replay"
        elif choice < 0.7:
            quarantine.correct(message, self.traffic.corrected(message), actor=who, reason="it was wrong", seen=seen, now=now)
            act = "correct"
        else:
            quarantine.discard(message, actor=who, reason="not ours", seen=seen, now=now)
            act = "discard"
        self.traffic.weather.count(f"operator: {act}")
