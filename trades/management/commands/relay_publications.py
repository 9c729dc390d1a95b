"""The outbox relay: send what publishing could not send at once."""

from __future__ import annotations

import logging
import time
from argparse import ArgumentParser
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from trades import outbox, sending
from trades.leases import POLL_SECONDS
from trades.management.arguments import at_least
from trades.management.database import require_database
from trades.stopping import Backoff, stop_on_signals

logger = logging.getLogger(__name__)
DATABASE = "the database"
TURN_SECONDS = 2  # of one queue, before the next one has its turn: less than people wait for its lease (outbox.PATIENCE_SECONDS)
LOOK_SECONDS = 10  # between looks for what nears the horizon of deduplication
TRIES, QUEUE_TRIES = 3, 8  # after so many a message group counts as stuck, and a queue, which takes about two minutes


class Trouble:
    """What holds up one queue, one message group of it, or the database: the sentence, and when to try again. Others go on meanwhile."""

    def __init__(self, stop: Event) -> None:
        self.backoff = Backoff(stop)
        self.sentence = ""
        self.retry_at = 0.0

    def note(self, what: str, sentence: str) -> None:
        """Put the next try off; a sentence is logged when it is a new one."""
        if sentence != self.sentence:
            logger.error("%s is held up, trying again until it works: %s", what, sentence)
        self.sentence, self.retry_at = sentence, time.monotonic() + self.backoff.seconds()

    @property
    def is_due(self) -> bool:
        """Whether it is time to try again."""
        return time.monotonic() >= self.retry_at


class Relay:
    """Sends every queue's unsent publications, each queue and each of its message groups at its own pace."""

    def __init__(self, stop: Event) -> None:
        self.stop = stop
        self.troubles: dict[str, Trouble] = {}
        self.groups: dict[str, dict[str, Trouble]] = {}
        self.has_more = False
        self._near = False
        self._look_at = 0.0

    def step(self) -> bool:
        """Send what there is; gives whether anything is left."""
        close_old_connections()
        self.has_more = False
        try:
            for queue in sending.waiting_queues():
                if self._is_due(queue):
                    self._deliver(queue)
            left = bool(sending.waiting_queues())
            self._warn()
        except DatabaseError as error:
            self._note(DATABASE, str(error).strip())
            return True
        self._clear(DATABASE)
        return left

    def is_stuck(self) -> bool:
        """Whether all that is left belongs to message groups that were tried several times and could not go on, or to queues that were
        tried for minutes."""
        away = {queue for queue, trouble in self.troubles.items() if trouble.backoff.failures >= QUEUE_TRIES}
        if DATABASE in self.troubles or len(away) < len(self.troubles):
            return False
        stuck = {
            queue: [group for group, trouble in troubles.items() if trouble.backoff.failures >= TRIES]
            for queue, troubles in self.groups.items()
        }
        try:
            return not outbox.has_unsent_but(stuck, away)
        except DatabaseError:  # the next step tells
            return False

    def _deliver(self, queue: str) -> None:
        troubles = self.groups.setdefault(queue, {})
        skip = {group for group, trouble in troubles.items() if not trouble.is_due}
        began = time.monotonic()
        delivery = sending.deliver(queue, clock=timezone.now, at_most=TURN_SECONDS, stop=self.stop, skip=skip)
        if delivery.busy:
            return
        self.has_more |= delivery.ended
        if delivery.sent or delivery.failed:
            self._tell(queue, delivery, time.monotonic() - began)
        if delivery.problem:
            self._note(queue, delivery.problem)
            return
        self._clear(queue)
        for group, error in delivery.failures.items():
            troubles.setdefault(group, Trouble(self.stop)).note(f"{queue}, message group {group}", error)
        if not delivery.ended:
            for group in [group for group in troubles if group not in skip and group not in delivery.failures]:
                del troubles[group]

    def _tell(self, queue: str, delivery: sending.Delivery, seconds: float) -> None:
        left = outbox.count_unsent(queue)
        rate = f" ({delivery.sent / seconds:,.0f} a second)" if seconds > 1 else ""
        after = f"{left:,} left" if left else "nothing is left"
        logger.info("%s: sent %d, failed %d in %.1f s%s; %s", queue, delivery.sent, delivery.failed, seconds, rate, after)

    def _warn(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        near = outbox.near_horizon(timezone.now()).count()
        if near and not self._near:
            logger.warning("%s", outbox.horizon_warning(near))
        self._near = bool(near)

    def _is_due(self, what: str) -> bool:
        trouble = self.troubles.get(what)
        return trouble is None or trouble.is_due

    def _note(self, what: str, sentence: str) -> None:
        self.troubles.setdefault(what, Trouble(self.stop)).note(what, sentence)

    def _clear(self, what: str) -> None:
        if self.troubles.pop(what, None):
            logger.info("%s works again", what)


class Command(BaseCommand):
    """`manage.py relay_publications`: see help."""

    help = "Send publications that are still in the outbox, in order within each message group, again and again until they are sent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument("--interval", type=at_least(1), default=1, metavar="SECONDS", help="pause between looks (default %(default)s)")
        parser.add_argument(
            "--until-empty",
            action="store_true",
            help="stop once nothing is left to send; with exit status 1 once all that is left failed several times, waits behind that, or "
            "is for a queue that could not be asked for minutes",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Relay until asked to stop."""
        require_database()
        with stop_on_signals() as stop:
            self.stdout.write("relay_publications ready: watching the outbox")
            self.stdout.flush()
            relay = Relay(stop)
            while not stop.is_set():
                left = relay.step()
                if options["until_empty"] and not left:
                    break
                if options["until_empty"] and relay.is_stuck():
                    raise CommandError("What is left in the outbox could not be sent, see above and the outbox.", returncode=1)
                # Between two turns a person who waits for the queue's lease gets it.
                stop.wait(2 * POLL_SECONDS if relay.has_more else options["interval"])
