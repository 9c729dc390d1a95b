"""Who moves: publishers, relays, foreign senders and workers, each running the product's own code."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from django.db import DatabaseError, InterfaceError, close_old_connections

from tests.fifo.bucket import ModelS3
from tests.fifo.faults import UNSTORABLE, Weather
from tests.fifo.handled import Firm
from tests.fifo.plan import BUCKET, FORBIDDEN, PADDING, PARTNERS, QUEUE_BYTES, Plan
from tests.fifo.scheduler import Actor, VirtualEvent
from tests.support.native import native, several
from trades import dead_letters, handlers, history, payloads, publishing, routes, sqs
from trades.consumer import Receiver, Settings, Shared
from trades.handing_in import IncomingDocument
from trades.management.commands.relay_publications import Relay
from trades.models import Message, Upload
from trades.receiving import Quota

AWAY = (DatabaseError, InterfaceError)
POISON = ("no-xml", "unknown", "half", "unstorable")
# How others write a pointer: class, marker, and how Java and Python write JSON.
CLASSES = ("software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer")
MARKERS = ("ExtendedPayloadSize", "SQSLargePayloadSize")
SEPARATORS = ((",", ":"), (", ", ": "))
PLACE_OF_TIME = "2026-11-20T09:30:00Z"


@dataclass(frozen=True, slots=True)
class Item:
    """One document to hand in or to send. `kind` is "document", a word of POISON, or "two trades"."""

    kind: str
    trade: str
    body: str


class Traffic:
    """The documents of a run, and who still has to hand in which."""

    def __init__(self, rng: Random, plan: Plan, weather: Weather) -> None:
        self.rng = rng
        self.plan = plan
        self.weather = weather
        self.numbers = 0
        self.versions: dict[str, int] = {}
        self.poison_share = rng.choice((0.0, 0.05, 0.2))
        items: list[Item] = []
        for _ in range(plan.messages):
            # What says the same again is swallowed where SQS goes by the content, and a copy elsewhere.
            is_again = plan.by_content and items and rng.random() < 0.15
            items.append(rng.choice(items) if is_again else self._item())
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
            return f"this is no XML, number {self._number()}{self._padding()}"
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
        minute, padding = self.rng.randint(0, 59), self._padding()
        body = body.replace("</Header>", f"</Header><!--{padding}-->") if padding else body
        return body.replace(PLACE_OF_TIME, f"2026-11-20T09:{minute:02}:00Z")

    def _padding(self) -> str:
        return "x" * self.rng.choice(PADDING) if self.plan.is_large else ""

    def _number(self) -> int:
        self.numbers += 1
        return self.numbers

    def corrected(self, message: Message) -> str:
        """A text that an operator might write in the place of the message's own."""
        text = payloads.text_of(message, sqs.MAX_MESSAGE_BYTES) or ""
        if UNSTORABLE in text:
            return text.replace(UNSTORABLE, "FIXED")
        if self.rng.random() < 0.2:
            return text + "<!-- still wrong -->"
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
                # Nobody but a few says where it goes: the routes do.
                queue=rng.choice(self.traffic.plan.queues) if rng.random() < 0.1 else None,
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

    def __init__(self, traffic: Traffic, s3: ModelS3) -> None:
        self.traffic = traffic
        self.s3 = s3
        self.next: tuple[str, sqs.Outgoing] | None = None

    def run(self, actor: Actor) -> None:
        """Send one message at a time, each until it is acknowledged, so that their order is known."""
        rng = self.traffic.rng
        while True:
            actor.sleep(rng.uniform(0, 4))
            if self.traffic.foreign:
                if self.next is None:
                    self.next = self._outgoing(self.traffic.foreign[0], rng)
                if self._send(actor, *self.next):
                    self.traffic.foreign.pop(0)
                    self.next = None
                    self.traffic.weather.count("content: from a foreign sender")

    def _outgoing(self, item: Item, rng: Random) -> tuple[str, sqs.Outgoing]:
        """The queue and the message; what it points to, if it is a pointer, is in S3 when this returns."""
        queue = rng.choice(self.traffic.plan.queues)
        known = [message for message in self.traffic.weather.broker.accepted[queue] if message.publication_id]
        is_small = len(item.body) < QUEUE_BYTES - 200
        if known and is_small and rng.random() < 0.15:
            copied = rng.choice(known)
            self.traffic.weather.count("content: publication id with other content")
            attributes = {"PublicationId": copied.publication_id}
            return queue, sqs.Outgoing(item.body, copied.group, hashlib.sha256(item.body.encode()).hexdigest(), attributes)
        body, numbers = (item.body, {}) if is_small else self._pointer(item.body, rng)
        return queue, sqs.Outgoing(body, item.trade, hashlib.sha256(item.body.encode()).hexdigest(), numbers=numbers)

    def _pointer(self, text: str, rng: Random) -> tuple[str, dict[str, int]]:
        bucket = rng.choices((PARTNERS, BUCKET, FORBIDDEN), (6, 2, 1))[0]
        key = str(uuid.uuid4())
        self.traffic.weather.count(f"content: a foreign pointer{'' if bucket != FORBIDDEN else ' to a bucket that is not allowed'}")
        body = json.dumps([rng.choice(CLASSES), {"s3BucketName": bucket, "s3Key": key}], separators=rng.choice(SEPARATORS))
        # Their own trouble with S3 is none of ours.
        self.s3.stored[bucket, key] = self.s3.objects[bucket, key] = text.encode()
        return body, {rng.choice(MARKERS): len(text.encode())}

    def _send(self, actor: Actor, queue: str, outgoing: sqs.Outgoing) -> bool:
        for _ in range(3):
            try:
                if isinstance(sqs.open_queue(queue).send([outgoing])[0], sqs.Sent):
                    return True
            except sqs.QueueError:
                pass
            actor.sleep(1)
        return False


# Working


class WorkerProcess:
    """`consume_trades` with one or two receivers, and a clock that may be wrong; with the handler of a firm, or `--dead-letter`."""

    def __init__(self, plan: Plan, rng: Random, queue: str, firm: Firm | None = None, *, takes_dead_letters: bool = False) -> None:
        self.plan = plan
        self.queue = queue
        self.firm = firm
        self.takes_dead_letters = takes_dead_letters
        self.skew = timedelta(seconds=rng.uniform(-plan.skew, plan.skew))

    def run(self, actor: Actor) -> None:
        """Until it is asked to stop."""
        scheduler = actor.scheduler

        def clock() -> datetime:
            return scheduler.clock.utc() + self.skew

        stop = actor.process.stop = VirtualEvent(scheduler)
        queue = routes.open_queue(self.queue)
        shared = Shared.of(queue, clock, stop)  # type: ignore[arg-type]
        how = Settings(
            wait=self.plan.wait,
            hold=self.plan.hold,
            record=self._take_into_quarantine if self.takes_dead_letters else None,
            work=handlers.Work(self.queue, self.firm.name, self.firm.take, hold=self.plan.hold) if self.firm else None,
        )
        receivers = [Receiver(queue, how, Quota(None), stop, clock, shared) for _ in range(self.plan.receivers)]  # type: ignore[arg-type]
        others = [scheduler.spawn(actor.process, "second", receiver.run) for receiver in receivers[1:]]
        receivers[0].run()
        while any(not other.finished for other in others):
            actor.sleep(0.1)

    def _take_into_quarantine(self, batch: Sequence[sqs.Received], now: datetime) -> history.Report:
        return dead_letters.record(batch, now=now, queue=self.plan.queues[0], hold=self.plan.hold)
