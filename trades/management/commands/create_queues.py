"""Create or verify the queue and its dead-letter queue."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from trades import queues, sqs

DIFFERS = 3


class Command(BaseCommand):
    """`manage.py create_queues`: see help."""

    help = (
        "Create the FIFO queue and its dead-letter queue with the attributes the portal needs. Existing queues are not changed: what "
        "differs is listed, and the exit status is then 3."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument("--queue", default=settings.TRADES_QUEUE, help="queue name, ending in .fifo (default %(default)s)")
        parser.add_argument("--dead-letter-queue", default=settings.TRADES_DEAD_LETTER_QUEUE, help="its name (default %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Dead-letter queue first, since the queue names it."""
        try:
            sqs.check_name(options["queue"])
            dead_letter, differs = self._ensure(options["dead_letter_queue"], None)
            _, more = self._ensure(options["queue"], dead_letter.attributes()["QueueArn"])
        except sqs.QueueError as error:
            raise CommandError(str(error)) from None
        if differs or more:
            raise CommandError("Some attributes differ from what the portal needs, see above. Change them.", returncode=DIFFERS)

    def _ensure(self, name: str, dead_letter_arn: str | None) -> tuple[sqs.Queue, bool]:
        queue, created, differences = queues.ensure_queue(name, dead_letter_arn)
        self.stdout.write(f"{name}: {'created' if created else 'exists'} at {queue.url}")
        for attribute, (found, wanted) in differences.items():
            self.stdout.write(f"  {attribute} is {found}, should be {wanted}")
        return queue, bool(differences)
