"""The outbox relay: send what publishing could not send at once."""

from __future__ import annotations

import logging
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
        self.stdout.write("relay_publications ready: watching the outbox")
        self.stdout.flush()
        with stop_on_signals() as stop:
            backoff = Backoff(stop)
            while not stop.is_set():
                left = self._pass(stop, backoff)
                if options["until_empty"] and not left:
                    break
                stop.wait(options["interval"])

    def _pass(self, stop: Event, backoff: Backoff) -> bool:
        """Send what there is; gives whether anything is left."""
        close_old_connections()
        try:
            problems = [problem for queue in publishing.waiting_queues() if (problem := self._relay(queue, stop))]
            left = bool(publishing.waiting_queues())
        except DatabaseError as error:
            problems, left = [f"the database can't be used: {error}"], True
        if not problems:
            if backoff.reset():
                logger.info("sending works again")
            return left
        if backoff.failures == 0:
            logger.error("sending is held up, trying again until it works: %s", "; ".join(problems))
        backoff.pause()
        return left

    def _relay(self, queue: str, stop: Event) -> str:
        delivery = publishing.deliver(queue, clock=timezone.now, stop=stop)
        if delivery.sent or delivery.failed:
            logger.info("%s: sent %d, failed %d", queue, delivery.sent, delivery.failed)
        if delivery.busy:
            return ""
        return delivery.problem or (f"{delivery.failed} publications failed, see the outbox" if delivery.failed else "")
