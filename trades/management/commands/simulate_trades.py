"""Made-up trades: published like any others, or written straight into the database."""

from __future__ import annotations

import hashlib
import random
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.models import Max
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trades import history, routes, sqs
from trades.management.arguments import at_least, between
from trades.management.database import require_database
from trades.models import Document, Publication, Trade
from trades.simulator import live, recording, stories
from trades.simulator.day import DIALECTS, MOST_SEED, Day, close_of, count, documents, next_close
from trades.simulator.direct import Writer
from trades.simulator.stories import Plan
from trades.stopping import stop_on_signals

LINE_EVERY, LIVE_LINE_EVERY = 100_000, 1_000  # messages
LONG_BATCH = 200


DIRECT_ONLY, LIVE_ONLY = ("events", "long", "add"), ("rate", "bad_share", "dialect", "queue")
DIRECT_TRADES, LIVE_TRADES, LIVE_RATE, LIVE_BAD, LIVE_DIALECT = 2_000, 200, 10.0, 0.01, "mixed"


class Command(BaseCommand):
    """`manage.py simulate_trades`: see help."""

    help = (
        "Publish a made-up day of trades through outbox, queue and worker, at a steady rate: test data, to see the portal at work. With "
        "--direct instead, fill the database with the history of the last 30 days, to measure it. Refused where PRODUCTION is on."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How much, and how."""
        parser.add_argument(
            "--trades", type=at_least(1), metavar="N", help=f"how many trades (default {LIVE_TRADES}; with --direct {DIRECT_TRADES:,})"
        )
        parser.add_argument(
            "--seed",
            type=between(0, MOST_SEED),
            metavar="S",
            help="same seed, same messages until the next day is over (default: a new one)",
        )
        live = parser.add_argument_group("published")
        live.add_argument("--rate", type=_rate, metavar="R", help=f"messages a second, 0 as fast as it goes (default {LIVE_RATE:g})")
        live.add_argument("--bad-share", type=_share, metavar="X", help=f"of messages that can't be read, 0 to 1 (default {LIVE_BAD})")
        live.add_argument("--dialect", choices=DIALECTS, help="of the messages (default mixed)")
        live.add_argument("--queue", help="queue name, ending in .fifo (default: as for any document)")
        direct = parser.add_argument_group("written straight into the database")
        direct.add_argument("--direct", action="store_true", help="write the rows themselves; no worker should run meanwhile")
        direct.add_argument("--events", type=at_least(1), metavar="M", help="how many events in all (default: 5 per trade)")
        direct.add_argument("--long", type=at_least(0), metavar="K", help="one more trade, of K events, recorded last")
        direct.add_argument("--add", action="store_true", default=None, help="add to the trades that are there")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check that it may be done, then do it."""
        if settings.PRODUCTION:
            raise CommandError("PRODUCTION is on, and this makes up trades. Use it on a database for tests.")
        for name in LIVE_ONLY if options["direct"] else DIRECT_ONLY:
            if options.get(name) is not None:
                raise CommandError(f"--{name.replace('_', '-')} goes {'without' if options['direct'] else 'with'} --direct.")
        require_database()
        try:
            self._direct(options) if options["direct"] else self._live(options)
        except DatabaseError as error:
            raise CommandError(f"Stopped: {str(error).strip()}. What was written before stays.") from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. What was written before stays.", returncode=130) from None

    # Through outbox, queue and worker

    def _live(self, options: dict[str, Any]) -> None:
        now, seed = timezone.now(), options["seed"]
        if seed is None:
            seed = random.randrange(MOST_SEED)  # noqa: S311 - made up, not secret
        bad = LIVE_BAD if options.get("bad_share") is None else options["bad_share"]
        rate = LIVE_RATE if options.get("rate") is None else options["rate"]
        day = Day(options["trades"] or LIVE_TRADES, close_of(now), seed, bad, options.get("dialect") or LIVE_DIALECT)
        self._check_queue(options.get("queue"))
        self.stdout.write(f"Publishing {day.trades:,} made-up trades of {day.now:%d %b %Y}, seed {seed}.")
        if before := _published_before(day):
            self.stdout.write(f"{before} Choose another --seed.")
        started, total = time.monotonic(), count(day)
        with stop_on_signals() as stop, self._counting(total, LIVE_LINE_EVERY, "published") as done:
            published = live.publish(day, rate=rate, queue=options.get("queue"), clock=timezone.now, stop=stop, done=done)
        seconds = max(time.monotonic() - started, 0.001)
        is_whole = published.documents == total
        again = f" Again the same, {_while(day)}: {_again(day, options.get('queue'))}." if is_whole else ""
        self.stdout.write(
            f"{published.documents:,} messages of {len(published.trades):,} trades published in {seconds:.1f} s, {published.bad:,} of them "
            f"unreadable.{again}"
        )
        waiting = Publication.objects.unsent().filter(document__upload=published.upload).count()
        if waiting:
            words = "waits in the outbox for relay_publications" if waiting == 1 else "wait in the outbox for relay_publications"
            self.stdout.write(f"{waiting:,} {words}{f': {published.problem}' if published.problem else '.'}")
        if not is_whole:
            raise CommandError(
                f"Interrupted after {len(published.trades):,} of {day.trades:,} trades and {published.documents:,} of {total:,} messages, "
                f"which are upload {published.upload.pk}. To publish all of them; what is published already changes nothing {_while(day)}:"
                f"\npython manage.py simulate_trades {_again(day, options.get('queue'))}",
                returncode=130,
            )

    def _check_queue(self, name: str | None) -> None:
        try:
            routes.open_queue(name or settings.TRADES_QUEUE)
        except sqs.QueueError as error:
            raise CommandError(str(error)) from None

    @contextmanager
    def _counting(self, total: int, every: int, word: str) -> Iterator[Callable[[int], None]]:
        """Progress on a terminal, a line now and then elsewhere; gives what to call with how many messages are done."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        written = 0
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("Messages", total=total)

            def done(count: int) -> None:
                nonlocal written
                if not sys.stderr.isatty() and (written + count) // every > written // every:
                    self.stdout.write(f"{(written + count) // every * every:,} messages {word}")
                    self.stdout.flush()
                written += count
                progress.update(task, completed=min(written, total))

            yield done

    # Straight into the database

    def _direct(self, options: dict[str, Any]) -> None:
        trades = options["trades"] or DIRECT_TRADES
        events = options["events"] or 5 * trades
        if events < trades:
            raise CommandError(f"{events:,} events are too few for {trades:,} trades: each has one at least. Raise --events.")
        last = Trade.objects.aggregate(last=Max("pk"))["last"]
        if last is not None and not options["add"]:
            raise CommandError("There are trades in this database. Use --add to add to them, or another database (DATABASE_URL).")
        seed = 1 if options["seed"] is None else options["seed"]
        plan = Plan(trades, events, timezone.now(), settings.TRADES_QUEUE, seed, (last or 0) + 1)
        started, writer = time.monotonic(), Writer()
        with self._counting(plan.events, LINE_EVERY, "written") as done:
            writer.write(stories.told(plan), done)
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

    def _record_long(self, plan: Plan, events: int) -> None:
        """One long history, recorded in batches as a worker does it."""
        story = stories.long_story(plan, plan.first + plan.trades, events)
        for start in range(0, events, LONG_BATCH):
            steps = range(start, min(start + LONG_BATCH, events))
            for step in steps:
                recording.make_message(story, step, start + step)
            batch = [recording.received(story, step) for step in steps]
            history.record(batch, now=recording.moment(story, steps[-1], stories.At.RECORDED))


def _published_before(day: Day) -> str:
    """What is amiss with the seed, if anything: its trades are there, from these messages or from those of another day or size."""
    first = list(islice(documents(day), 20))
    if Document.objects.filter(sha256__in={hashlib.sha256(handed.text.encode()).hexdigest() for handed in first}).exists():
        return "This seed was published before: its messages will be taken for what they repeat."
    if Trade.objects.filter(trade_id__in={handed.trade_id for handed in first}).exists():
        return "This seed was published before, for another day or with other options: these are other messages of the same trades."
    return ""


def _while(day: Day) -> str:
    """Until when the command simulates the same day."""
    return f"until {next_close(day.now):%H:%M:%S UTC on %d %b %Y}"


def _again(day: Day, queue: str | None) -> str:
    """The options that publish the same messages again, as long as the day is the same."""
    bad = "" if day.bad_share == LIVE_BAD else f" --bad-share {day.bad_share}"
    dialect = "" if day.dialect == LIVE_DIALECT else f" --dialect {day.dialect}"
    return f"--seed {day.seed} --trades {day.trades}{bad}{dialect}{f' --queue {queue}' if queue else ''}"


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 100_000:
        raise ArgumentTypeError(f"{text!r} is no rate: give messages a second, 0 for as fast as it goes.")
    return rate


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} is no share: give a number from 0 to 1, such as 0.02.")
    return share
