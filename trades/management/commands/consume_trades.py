"""The worker process: consume a queue into the history."""

from __future__ import annotations

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

from trades import consumer, dead_letters, dialects, history, sqs
from trades.management.arguments import at_least, between
from trades.management.database import require_database
from trades.models import Message
from trades.stopping import stop_on_signals


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
        connection.close()
        dialects.in_use()  # read before the first message waits for it
        queue = options["queue"] or (settings.TRADES_DEAD_LETTER_QUEUE if options["dead_letter"] else settings.TRADES_QUEUE)
        if options["dead_letter"] and queue == settings.TRADES_QUEUE:
            raise CommandError(f"{queue} is the main queue: --dead-letter would put all of it into quarantine. Name the dead-letter queue.")
        if options["dead_letter"]:
            _require_dead_letters(queue)
        how = consumer.Settings(
            wait=options["wait"],
            receivers=options["receivers"],
            until_empty=options["until_empty"],
            max_messages=options["max_messages"],
            hold=settings.TRADES_HOLD,
            echo=self._echo if options["echo"] else None,
            record=_take_into_quarantine if options["dead_letter"] else None,
        )
        with stop_on_signals() as stop:
            try:
                report = consumer.run(queue, how, stop, timezone.now, self._ready)
            except sqs.QueueError as error:
                raise CommandError(str(error)) from None
        if options["dead_letter"]:
            self.stdout.write(_taken(queue, report))

    def _echo(self, body: str) -> None:
        with self.printing:
            self.stdout.write(body)
            self.stdout.flush()

    def _ready(self, line: str) -> None:
        self.stdout.write(f"consume_trades {line}")
        self.stdout.flush()


def _require_dead_letters(name: str) -> None:
    try:
        gives_up = "RedrivePolicy" in sqs.open_queue(name).attributes()
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
