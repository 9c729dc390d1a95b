"""Read again what was quarantined because its format was not known, now that a mapping may read it."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.models import Max, Q, QuerySet
from django.utils import timezone
from rich.console import Console
from rich.progress import Progress

from trades import quarantine, rereading
from trades.management.arguments import command_line
from trades.management.database import require_database
from trades.messages.facts import MessageRefused
from trades.messages.values import shorten
from trades.models import Message

UNKNOWN = "unknown-dialect"
REFERENCE = "reference"
CODES = (
    *(UNKNOWN, "several-documents", "no-trade-id", "not-an-event", "invalid-field", "schema", "mapping-error"),
    *("not-storable", "too-large", "forbidden-construct", "not-well-formed", "dead-letter", "handler-refused", REFERENCE),
    *("payload-missing", "payload-unread", "payload-bucket", "payload-too-large", "payload-differs", "payload-not-text"),
)
CHUNK = 200
MANY = 20
REASONS_KEPT = 1_000  # different ones; further ones are counted together
REASONS_TOLD = 20
OTHERS = ("", "other reasons")
NOTE = "reprocess_messages"
Outcome = Message.Outcome


@dataclass(slots=True)
class Tally:
    """What became of the messages: counts by outcome, how many were recorded with those that waited, and why others stay."""

    outcomes: Counter[str] = field(default_factory=Counter)
    recorded: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    def stays(self, refusal: MessageRefused) -> None:
        """Count one that is still not understood."""
        reason = (refusal.code, shorten(refusal.message, 200))
        self.reasons[reason if reason in self.reasons or len(self.reasons) < REASONS_KEPT else OTHERS] += 1


class Command(BaseCommand):
    """`manage.py reprocess_messages`: see help."""

    help = (
        "Read messages again that were quarantined because their format was not known, and record those that are understood now, in "
        "order, with what waits behind them. Can be interrupted and run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to read again, and how to report it."""
        parser.add_argument(
            "--code",
            action="append",
            choices=CODES,
            metavar="CODE",
            help=f"read those refused with this code instead, can be given several times (default {UNKNOWN}): {', '.join(CODES)}",
        )
        parser.add_argument("--queue", help="only messages of this queue")
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object per message, then one of the counts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Go through the messages in the order of their arrival."""
        require_database()
        self.as_json, self.is_dry = options["as_json"], options["dry_run"]
        self.tally = Tally()
        self.actor = quarantine.Actor(None, command_line())
        try:
            self._run(options["code"] or [UNKNOWN], options["queue"])
        except KeyboardInterrupt:
            self._report()
            raise CommandError("Interrupted. What is counted above is done; run it again for the rest.", returncode=130) from None
        except DatabaseError as error:
            self._report()
            raise CommandError(f"The database can't be used: {str(error).strip()}. Run it again for the rest.") from None
        self._report()

    def _run(self, codes: list[str], queue: str | None) -> None:
        asked = _asked(codes, queue)
        count, last = asked.count(), asked.aggregate(last=Max("pk"))["last"] or 0
        with Progress(console=Console(stderr=True), disable=count < MANY or not sys.stderr.isatty()) as progress:
            task = progress.add_task("Reading again", total=count)
            for pk in _keys(asked, last):
                message = asked.filter(pk=pk).first()
                if message is not None:  # else settled meanwhile
                    self._reprocess(message)
                progress.advance(task)

    def _reprocess(self, message: Message) -> None:
        try:
            self._read_again(message)
        except ValueError as error:  # a text, be it that of one behind it, can't be had just now
            self._tell(message, "could not be read now", 0, str(error))

    def _read_again(self, message: Message) -> None:
        judgement = rereading.again(message, now=timezone.now())[0]
        if isinstance(judgement, MessageRefused):
            if not self.is_dry and message.outcome == Outcome.QUARANTINED and _is_news(message, judgement):
                self._replay(message)
            self.tally.stays(judgement)
            self._tell(message, "still refused", 0, str(judgement))
        elif not judgement.events and message.outcome == Outcome.REFERENCE:
            self._tell(message, "no trade event", 0, judgement.reference)
        elif self.is_dry:
            waiting = quarantine.waiting_behind(message)
            behind = f"; {waiting} that wait behind it would follow" if waiting else ""
            outcome = "would be recorded" if judgement.events else "no trade event"
            self._tell(message, outcome, 0, f"read as {judgement.dialect}, {judgement.message_type}{behind}")
        else:
            self._settle(message, judgement.dialect)

    def _settle(self, message: Message, dialect: str) -> None:
        result = self._replay(message, f", read as {dialect}")
        if result is None:
            self._tell(message, "settled by somebody else", 0, "")
            return
        outcome = Message.objects.values_list("outcome", flat=True).get(pk=message.pk)
        self.tally.recorded += result.recorded
        word = {Outcome.RECORDED: "recorded", Outcome.REFERENCE: "no trade event", Outcome.DUPLICATE: "a copy"}.get(Outcome(outcome))
        self._tell(message, word or "still refused", result.recorded, result.still)

    def _replay(self, message: Message, note: str = "") -> quarantine.Result | None:
        try:
            return quarantine.replay(message, actor=self.actor, note=f"{NOTE}{note}", now=timezone.now())
        except quarantine.Conflict:
            return None

    def _tell(self, message: Message, outcome: str, recorded: int, reason: str) -> None:
        self.tally.outcomes[outcome] += 1
        if self.as_json:
            line = {"message": message.pk, "message_id": message.message_id, "group": message.group_id, "outcome": outcome}
            self.stdout.write(json.dumps({**line, "recorded": recorded, "reason": reason}, ensure_ascii=False))

    def _report(self) -> None:
        tally = self.tally
        reasons = [{"code": code, "reason": reason, "messages": n} for (code, reason), n in tally.reasons.most_common(REASONS_TOLD)]
        if self.as_json:
            self.stdout.write(json.dumps({"messages": tally.outcomes, "recorded": tally.recorded, "reasons": reasons}, ensure_ascii=False))
            return
        if not tally.outcomes:
            self.stdout.write("No message in quarantine was refused for this reason.")
            return
        counts = ", ".join(f"{count:,} {outcome}" for outcome, count in tally.outcomes.most_common())
        self.stdout.write(f"{tally.outcomes.total():,} read again: {counts}.")
        if tally.recorded:
            self.stdout.write(f"{tally.recorded:,} messages went into the history, those that waited included.")
        for reason in reasons:
            self.stdout.write(f"{reason['messages']:>7,}  {reason['code']}: {reason['reason']}")
        if self.is_dry:
            self.stdout.write("Nothing was changed (--dry-run).")


def _asked(codes: list[str], queue: str | None) -> QuerySet[Message]:
    wanted = Q(outcome=Outcome.QUARANTINED, code__in=codes)
    if REFERENCE in codes:
        wanted |= Q(outcome=Outcome.REFERENCE)
    messages = Message.objects.filter(wanted)
    return messages.filter(queue=queue) if queue else messages


def _keys(asked: QuerySet[Message], last: int) -> Iterator[int]:
    """The messages in the order of their arrival, up to `last`, a chunk at a time: what is settled on the way shifts nothing."""
    seen = 0
    while keys := list(asked.filter(pk__gt=seen, pk__lte=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        yield from keys
        seen = keys[-1]


def _is_news(message: Message, refusal: MessageRefused) -> bool:
    """Whether it is refused for another reason now, which whoever looks at it should see."""
    place = (refusal.code, refusal.line, refusal.column, refusal.element[:255])
    return place != (message.code, message.line, message.column, message.element)
