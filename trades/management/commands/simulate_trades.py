"""Fill a database with made-up trades."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.models import Max
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trades import history
from trades.management.arguments import at_least
from trades.management.database import require_database
from trades.models import Trade
from trades.simulator import recording, stories
from trades.simulator.direct import Writer
from trades.simulator.stories import Plan

LINE_EVERY = 100_000  # messages
LONG_BATCH = 200


class Command(BaseCommand):
    """`manage.py simulate_trades`: see help."""

    help = (
        "Fill the database with made-up trades and their history over the last 30 days: test data, to try the portal and to measure it. "
        "Refused where PRODUCTION is on, and where there are trades already unless --add is given. No worker should run meanwhile."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How much, and how."""
        parser.add_argument("--trades", type=at_least(1), default=2_000, metavar="N", help="how many trades (default %(default)s)")
        parser.add_argument("--events", type=at_least(1), metavar="M", help="how many events in all (default: 5 per trade)")
        parser.add_argument("--direct", action="store_true", help="write the rows straight into the database; there is no other way yet")
        parser.add_argument("--seed", type=at_least(0), default=1, metavar="S", help="same seed, same history (default %(default)s)")
        parser.add_argument("--long", type=at_least(0), default=0, metavar="K", help="one more trade, of K events, recorded last")
        parser.add_argument("--add", action="store_true", help="add to the trades that are there")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check that it may be done, then write."""
        if settings.PRODUCTION:
            raise CommandError("PRODUCTION is on, and this makes up trades. Use it on a database for tests.")
        if not options["direct"]:
            raise CommandError("Add --direct: writing the rows straight into the database is the only way there is yet.")
        events = options["events"] or 5 * options["trades"]
        if events < options["trades"]:
            raise CommandError(f"{events:,} events are too few for {options['trades']:,} trades: each has one at least. Raise --events.")
        require_database()
        try:
            self._run(options, events)
        except DatabaseError as error:
            raise CommandError(f"Stopped: {str(error).strip()}. What was written before stays. Is a worker running?") from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. What was written before stays.", returncode=130) from None

    def _run(self, options: dict[str, Any], events: int) -> None:
        last = Trade.objects.aggregate(last=Max("pk"))["last"]
        if last is not None and not options["add"]:
            raise CommandError("There are trades in this database. Use --add to add to them, or another database (DATABASE_URL).")
        plan = Plan(options["trades"], events, timezone.now(), settings.TRADES_QUEUE, options["seed"], (last or 0) + 1)
        started, writer = time.monotonic(), Writer()
        self._write(plan, writer)
        if options["long"]:
            self._record_long(plan, options["long"])
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
        seconds = time.monotonic() - started
        self.stdout.write(
            f"{plan.trades:,} trades with {events:,} events in {seconds:.1f} s: {writer.rows:,} rows, {writer.rows / seconds:,.0f} a "
            f"second, from {len(writer.templates)} recorded shapes."
        )

    def _write(self, plan: Plan, writer: Writer) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        written = 0
        with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("Messages", total=plan.events)

            def done(count: int) -> None:
                nonlocal written
                if not sys.stderr.isatty() and (written + count) // LINE_EVERY > written // LINE_EVERY:
                    self.stdout.write(f"{(written + count) // LINE_EVERY * LINE_EVERY:,} messages written")
                written += count
                progress.update(task, completed=min(written, plan.events))

            writer.write(stories.told(plan), done)

    def _record_long(self, plan: Plan, events: int) -> None:
        """One long history, recorded in batches as a worker does it."""
        story = stories.long_story(plan, plan.first + plan.trades, events)
        for start in range(0, events, LONG_BATCH):
            steps = range(start, min(start + LONG_BATCH, events))
            for step in steps:
                recording.make_message(story, step, start + step)
            batch = [recording.received(story, step) for step in steps]
            history.record(batch, now=recording.moment(story, steps[-1], stories.At.RECORDED))
