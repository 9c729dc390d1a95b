"""`manage.py run_portal`: the whole portal on this machine, in one command."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from trades.portal.run import Options, Portal


class Command(BaseCommand):
    """Start database, broker, web server, worker and relay together, and stop them together."""

    help = "Run the whole portal on this machine: migrate, local SQS broker, web server, worker, relay. Ctrl-C stops all of it."
    # Queue and database are not there yet; each part checks for itself once they are.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to listen and which parts to leave out."""
        parser.add_argument("--host", default=Options.host, help="address of the web server (default %(default)s)")
        parser.add_argument("--port", type=port_number, default=Options.port, help="port of the web server (default %(default)s)")
        parser.add_argument(
            "--broker-port", type=port_number, default=Options.broker_port, help="port of the local broker (default %(default)s)"
        )
        parser.add_argument("--workers", type=worker_count, default=Options.workers, help="how many workers to run (default %(default)s)")
        parts = {
            "broker": "start no local broker; use what AWS settings or the machine's role say",
            "web": "start no web server",
            "worker": "start no worker: messages stay queued",
            "relay": "start no outbox relay",
            "demo": "make no demo users and publish no demo day",
        }
        for part, words in parts.items():
            parser.add_argument(f"--no-{part}", action="store_false", dest=part, help=words)

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal comes."""
        Portal(Options(**{name: options[name] for name in Options.__dataclass_fields__})).run()


def port_number(text: str) -> int:
    """A TCP port. Raises argparse.ArgumentTypeError with a sentence."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; give a number from 1 to 65535")
    return int(text)


def worker_count(text: str) -> int:
    """How many workers. Raises argparse.ArgumentTypeError with a sentence."""
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not a number of workers; give 1 to 64, or --no-worker for none")
    return int(text)
