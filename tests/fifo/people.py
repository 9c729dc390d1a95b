"""Who settles: operators of the quarantine, clerks of the outbox; and what happens to a bucket by itself."""

from __future__ import annotations

from random import Random

from django.db import close_old_connections

from tests.fifo.actors import AWAY, Traffic
from tests.fifo.bucket import ModelS3, Place
from tests.fifo.scheduler import Actor
from trades import outbox, quarantine, sqs
from trades.messages.facts import MessageRefused
from trades.models import Message, Publication


class Operator:
    """A person at the quarantine page."""

    def __init__(self, traffic: Traffic, s3: ModelS3) -> None:
        self.traffic = traffic
        self.s3 = s3

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
        elif (choice := rng.random()) < (0.6 if message.code.startswith("payload") else 0.35):
            self._ask_the_sender(message, rng)
            quarantine.replay(message, actor=who, seen=seen, now=now)
            act = "replay"
        elif choice < 0.7:
            quarantine.correct(message, self.traffic.corrected(message), actor=who, reason="it was wrong", seen=seen, now=now)
            act = "correct"
        else:
            quarantine.discard(message, actor=who, reason="not ours", seen=seen, now=now)
            act = "discard"
        self.traffic.weather.count(f"operator: {act}")

    def _ask_the_sender(self, message: Message, rng: Random) -> None:
        place = self.s3.place_in(message.pointer)
        if place in self.s3.stored and rng.random() < 0.7:
            self.s3.restore(place)
            self.traffic.weather.count("operator: had a payload stored again")


class Clerk:
    """A person at the outbox page."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic

    def run(self, actor: Actor) -> None:
        """Look, think, act."""
        rng = self.traffic.rng
        while True:
            actor.sleep(rng.uniform(0.5, 8))
            close_old_connections()
            try:
                self._act(actor, rng)
            except outbox.Conflict:
                self.traffic.weather.count("clerk: refused, Conflict")
            except sqs.QueueError:
                self.traffic.weather.count("clerk: the queue was away")
            except AWAY:
                self.traffic.weather.count("clerk: the database was away")

    def _act(self, actor: Actor, rng: Random) -> None:
        states = [Publication.State.PENDING] if rng.random() < 0.7 else [Publication.State.SENT]
        found = list(Publication.objects.filter(state__in=states).order_by("id"))
        if not found:
            return
        chosen = rng.sample(found, min(len(found), rng.choice((1, 1, 2))))
        pks = [publication.pk for publication in chosen]
        seen = outbox.revisions(chosen) if rng.random() < 0.5 else None
        actor.sleep(rng.uniform(0, 5))
        who, clock = quarantine.Actor(None, "a run of faults"), actor.scheduler.clock.utc
        if states == [Publication.State.PENDING] and rng.random() < 0.6:
            outbox.cancel(pks, actor=who, reason="handed in by mistake", clock=clock, seen=seen)
            self.traffic.weather.count("clerk: cancel")
        else:
            outbox.resend(pks, actor=who, clock=clock, seen=seen)
            self.traffic.weather.count("clerk: resend")


class Housekeeping:
    """What becomes of objects: a lifecycle rule removes them, somebody writes over them."""

    def __init__(self, traffic: Traffic, s3: ModelS3) -> None:
        self.traffic = traffic
        self.s3 = s3

    def run(self, actor: Actor) -> None:
        """Once in a while, until the faults stop."""
        rng = self.traffic.rng
        while True:
            actor.sleep(rng.uniform(5, 40))
            if self.s3.objects and not self.traffic.weather.is_calm:
                self._spoil(rng.choice(sorted(self.s3.objects)), rng)

    def _spoil(self, place: Place, rng: Random) -> None:
        content = self.s3.objects[place]
        if rng.random() < 0.6:
            self.s3.spoil(place, None)
            self.traffic.weather.count("S3: an object removed")
            return
        # What somebody else's key holds is judged by its length alone.
        is_shorter = not place[1].startswith("trades/") or rng.random() < 0.5
        self.s3.spoil(place, content[:-1] if is_shorter else content.replace(b"xxx", b"xyz"))
        self.traffic.weather.count("S3: an object written over")
