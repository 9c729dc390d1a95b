"""The outbox relay: send what publishing could not send at once."""

from __future__ import annotations

import logging
import time
from argparse import ArgumentParser
from threading import Event
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from trades import publishing
from trades.management.arguments import at_least
from trades.management.database import require_database
from trades.stopping import Backoff, stop_on_signals

logger = logging.getLogger(__name__)
DATABASE = "the database"


class Trouble:
    """What holds up one queue (or the database): the sentence, and when to try again. Others go on meanwhile."""

    def __init__(self, stop: Event) -> None:
        self.backoff = Backoff(stop)
        self.sentence = ""
        self.retry_at = 0.0

    def note(self, what: str, sentence: str) -> None:
        """Put the next try off; a sentence is logged when it is a new one."""
        if sentence != self.sentence:
            logger.error("%s is held up, trying again until it works: %s", what, sentence)
        self.sentence, self.retry_at = sentence, time.monotonic() + self.backoff.seconds()


class Relay:
    """Sends every queue's unsent publications, each queue at its own pace."""

    def __init__(self, stop: Event) -> None:
        self.stop = stop
        self.troubles: dict[str, Trouble] = {}

    def step(self) -> bool:
        """Send what there is; gives whether anything is left."""
        close_old_connections()
        try:
            for queue in publishing.waiting_queues():
                if self._is_due(queue):
                    self._deliver(queue)
            left = bool(publishing.waiting_queues())
        except DatabaseError as error:
            self._note(DATABASE, str(error).strip())
            return True
        self._clear(DATABASE)
        return left

    def _deliver(self, queue: str) -> None:
        delivery = publishing.deliver(queue, clock=timezone.now, stop=self.stop)
        if delivery.sent or delivery.failed:
            logger.info("%s: sent %d, failed %d", queue, delivery.sent, delivery.failed)
        problem = delivery.problem or (f"{delivery.failed} publications failed, see the outbox" if delivery.failed else "")
        if problem and not delivery.busy:
            self._note(queue, problem)
        elif not problem:
            self._clear(queue)

    def _is_due(self, what: str) -> bool:
        trouble = self.troubles.get(what)
        return trouble is None or time.monotonic() >= trouble.retry_at

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
        parser.add_argument("--until-empty", action="store_true", help="stop once nothing is left to send")

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
                stop.wait(options["interval"])
