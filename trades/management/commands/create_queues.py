"""Create or verify the queues, their dead-letter queue and the bucket for payloads."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from trades import queues, routes, sqs, storage
from trades.queues import Outcome, Wishes

DIFFERS = 3


class Command(BaseCommand):
    """`manage.py create_queues`: see help."""

    help = (
        "Create the FIFO queues and the dead-letter queue they share with the attributes the portal needs, and on request the bucket for "
        "payloads. What exists is not changed without --apply: each difference is explained, and the exit status is then 3, or 1 if a "
        "queue could not be created for it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument(
            "--queue",
            action="append",
            metavar="NAME",
            help="a queue, ending in .fifo; may be repeated (default: those we consume here)",
        )
        parser.add_argument(
            "--dead-letter-queue",
            default=settings.TRADES_DEAD_LETTER_QUEUE,
            metavar="NAME",
            help="which they share (default %(default)s)",
        )
        parser.add_argument(
            "--bucket",
            metavar="NAME",
            help="this bucket too, for payloads: no public access, deleted when no message needs them",
        )
        parser.add_argument(
            "--no-high-throughput",
            action="store_false",
            dest="high_throughput",
            help="leave high-throughput mode as it is; a new queue is then limited to 300 calls a second",
        )
        parser.add_argument(
            "--kms-key", default="", metavar="KEY", help="encrypt the queues with this KMS key (id, alias/... or ARN), not one of SQS"
        )
        parser.add_argument(
            "--tag", action="append", default=[], type=_tag, metavar="KEY=VALUE", help="tag what is created; may be repeated"
        )
        parser.add_argument("--apply", action="store_true", help="change what differs")
        parser.add_argument("--dry-run", action="store_true", help="say what would be created or changed, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Dead-letter queue first, since the queues name it."""
        wishes = Wishes(
            high_throughput=options["high_throughput"],
            kms_key=options["kms_key"],
            tags=dict(options["tag"]),
            apply=options["apply"],
            dry_run=options["dry_run"],
        )
        names = list(dict.fromkeys(options["queue"] or _queues_here()))
        try:
            outcomes = queues.ensure_queues(names, options["dead_letter_queue"], wishes)
            if options["bucket"]:
                outcomes.append(storage.ensure_bucket(options["bucket"], wishes))
        except sqs.QueueError as error:
            raise CommandError(str(error)) from None
        for outcome in outcomes:
            self._tell(outcome, options["dry_run"])
        if missing := [outcome.name for outcome in outcomes if outcome.done == "not created"]:
            raise CommandError(
                f"Not created: {', '.join(missing)}. {options['dead_letter_queue']} must let such a queue in first, see above. "
                "`create_queues --apply` does that and changes what else is explained; --dry-run beside it only says what that would be."
            )
        if any(outcome.differs for outcome in outcomes):
            raise CommandError(
                "Some attributes differ from what the portal needs, see above. Change them, or let `create_queues --apply` do it, which "
                "leaves alone what others may rely on.",
                returncode=DIFFERS,
            )

    def _tell(self, outcome: Outcome, is_dry: bool) -> None:
        at = {"": "", "not created": " behind"}.get(outcome.done if outcome.place else "", " at")
        self.stdout.write(f"{outcome.name}: {outcome.done}{at} {outcome.place}".rstrip())
        if is_dry and outcome.done == "would be created":
            for attribute, value in outcome.wanted.items():
                self.stdout.write(f"  {attribute}: {value}")
        explained = [*outcome.differences, *outcome.left]
        if outcome.done == "changed":
            for difference in outcome.differences:
                self.stdout.write(f"  {difference.told('was {}, has been set to {}')}")
            explained = [*outcome.left]
        for difference in explained:
            if difference.is_wrong:
                self.stdout.write(f"  {difference.told()}: {difference.why}.")
                self.stdout.write(f"    {difference.fix}")
        if silent := [each.attribute for each in explained if not each.is_wrong]:
            self.stdout.write(f"  {', '.join(silent)}: {queues.NOT_REPORTED} by {sqs.broker_name()}, so nothing is known to be wrong")


def _queues_here() -> list[str]:
    """The queues that we consume and that are in this account and region, by the names they have there."""
    defined = routes.in_use().queues
    return [
        (name in defined and defined[name].queue) or name
        for name in routes.known_queues()
        if name not in defined or (defined[name].place == sqs.HERE and not defined[name].partner)
    ]


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ArgumentTypeError(f"{text!r} is no tag: write KEY=VALUE, such as desk=rates")
    return key, value
