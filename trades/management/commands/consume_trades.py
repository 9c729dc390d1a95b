"""The worker process: consume a queue into the history."""

from __future__ import annotations

import logging
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import datetime
from io import TextIOWrapper
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from trades import consumer, dead_letters, dialects, handlers, history, queue_checks, queues, routes, sqs
from trades.management.arguments import at_least, between
from trades.management.database import database_needed, require_database
from trades.models import Message
from trades.stopping import stop_on_signals

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    """`manage.py consume_trades`: see help."""

    help = (
        "Receive trade-status messages from an SQS FIFO queue and record them in the ordered history of their trades. "
        "Stops at SIGTERM or Ctrl-C after finishing what is in hand; a second signal stops at once."
    )

    printing = threading.Lock()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument(
            "--queue",
            help=f"queue name, ending in .fifo (default {settings.TRADES_QUEUE}; with --dead-letter {settings.TRADES_DEAD_LETTER_QUEUE})",
        )
        parser.add_argument(
            "--dead-letter", action="store_true", help="take the messages of the dead-letter queue into quarantine, where a person decides"
        )
        handler = parser.add_mutually_exclusive_group()
        handler.add_argument(
            "--handler",
            metavar="MODULE:CALLABLE",
            help="call this Python function for each message that is recorded, in the same transaction (docs/handlers.md)",
        )
        handler.add_argument(
            "--no-handler", action="store_true", help="the queue's handler is retired; what it was not given yet it will not be given"
        )
        parser.add_argument("--until-empty", action="store_true", help="stop when the queue gives nothing more")
        parser.add_argument("--max-messages", type=at_least(1), metavar="N", help="stop after N messages")
        parser.add_argument(
            "--wait", type=between(0, sqs.MAX_WAIT_SECONDS), default=10, metavar="SECONDS", help="long poll, 0 to 20 (default %(default)s)"
        )
        parser.add_argument("--receivers", type=between(1, 32), default=1, metavar="N", help="receiving threads (default %(default)s)")
        parser.add_argument("--print", action="store_true", dest="echo", help="print the body of each message once it is recorded")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the worker until it is done or asked to stop."""
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know every character of a body
        require_database()
        dialects.in_use()  # read before the first message waits for it
        queue = options["queue"] or (settings.TRADES_DEAD_LETTER_QUEUE if options["dead_letter"] else settings.TRADES_QUEUE)
        if options["dead_letter"] and queue == settings.TRADES_QUEUE:
            raise CommandError(f"{queue} is the main queue: --dead-letter would put all of it into quarantine. Name the dead-letter queue.")
        if routes.is_partners(queue):
            raise CommandError(f"{queue} is a partner's queue: we publish to it, and only the partner consumes it. Name one of ours.")
        if options["dead_letter"]:
            _require_dead_letters(queue)
        _look_at(queue)
        with database_needed():
            work = self._work(queue, options)
        connection.close()
        how = consumer.Settings(
            wait=options["wait"],
            receivers=options["receivers"],
            until_empty=options["until_empty"],
            max_messages=options["max_messages"],
            hold=settings.TRADES_HOLD,
            echo=self._echo if options["echo"] else None,
            record=_take_into_quarantine if options["dead_letter"] else None,
            work=work,
        )
        with stop_on_signals() as stop:
            try:
                report = consumer.run(queue, how, stop, timezone.now, self._say)
            except sqs.QueueError as error:
                raise CommandError(str(error)) from None
        if work and work.replaced:
            raise CommandError(f"{work.replaced} The worker stopped.")
        if options["dead_letter"]:
            self.stdout.write(_taken(queue, report))

    def _work(self, queue: str, options: dict[str, Any]) -> handlers.Work | None:
        name, now = options["handler"], timezone.now()
        if options["dead_letter"] and name:
            raise CommandError("--handler can't go with --dead-letter: dead letters are not recorded, a person decides about them.")
        try:
            if name:
                work = handlers.Work(queue, name, handlers.load(name), hold=settings.TRADES_HOLD)
                handlers.register(queue, name, now)
                return work
            retired, waiting = handlers.retire(queue, now) if options["no_handler"] else ("", 0)
        except handlers.HandlerError as error:
            raise CommandError(str(error)) from None
        if retired:
            self._say(f"The handler {retired} of {queue} is retired; {waiting} recorded messages were not given to it.")
        elif not options["dead_letter"] and (left_to := handlers.of_queue(queue)):
            self._say(
                f"{queue} has the handler {left_to}, which this worker does not call: what it records waits for a worker with "
                f"--handler {left_to}. If there is to be none any more, start it with --no-handler."
            )
        return None

    def _say(self, line: str) -> None:
        self.stdout.write(f"consume_trades {line}")
        self.stdout.flush()

    def _echo(self, body: str) -> None:
        with self.printing:
            self.stdout.write(body)
            self.stdout.flush()


def _look_at(queue: str) -> None:
    """Log what is amiss about the queue. Raises CommandError for a standard queue; one that can't be asked is the worker's matter."""
    try:
        sqs.check_name(queue)
        found = routes.attributes_of(queue)
        if found:
            queues.require_fifo(queue, found)
    except sqs.QueueError as error:
        raise CommandError(str(error)) from None
    for warning in queue_checks.warnings(queue, found) if found else ():
        logger.warning("%s", warning)


def _require_dead_letters(name: str) -> None:
    try:
        gives_up = "RedrivePolicy" in routes.open_queue(name).attributes()
    except sqs.QueueError as error:
        raise CommandError(str(error)) from None
    if gives_up:
        raise CommandError(
            f"{name} has a dead-letter queue of its own, so it is a main queue: --dead-letter would put all of it into quarantine. "
            "Name the dead-letter queue."
        )


def _take_into_quarantine(batch: Sequence[sqs.Received], now: datetime) -> history.Report:
    return dead_letters.record(batch, now=now, queue=settings.TRADES_QUEUE, hold=settings.TRADES_HOLD)


def _taken(queue: str, report: history.Report) -> str:
    quarantined = report.outcomes[Message.Outcome.QUARANTINED]
    others = {"wait behind them": report.outcomes[Message.Outcome.HELD], "had been received before": report.repeats}
    also = "".join(f", {count} {words}" for words, count in others.items() if count)
    return f"{quarantined} message{'' if quarantined == 1 else 's'} of {queue} taken into quarantine{also}."
