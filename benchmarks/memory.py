"""Whether a worker's memory stays flat: one receiver, an endless queue in the same process, an SQLite file in a temporary folder.

`python -m benchmarks.memory` records 200,000 messages and prints the memory after every tenth of them; `--count N` for another number.
Exit status 1 means that it grew by more than the figure after the first tenth.

Memory is what the process keeps for itself (resident less shared): SQLite maps its file, and mapped pages are not the worker's. Its
page cache, bounded at 20 MB by our settings, is bounded at 1 MB here, so that it is full before the first tenth is over.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

COUNT, STEPS, EVENTS_A_TRADE = 200_000, 10, 4
GROWTH_AT_MOST = 3.0


def private_megabytes() -> float:
    """Resident memory of this process that it shares with nothing, in MB."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(resident) - int(shared)) * resource.getpagesize() / 1e6


def record(count: int) -> list[float]:
    """Record that many messages; gives the memory after each tenth of them."""
    from trades.consumer import Receiver, Settings
    from trades.receiving import Quota

    receiver = Receiver(_endless_queue(), Settings(wait=0), Quota(None), threading.Event(), lambda: datetime.now(UTC))  # type: ignore[arg-type]
    seen, memory = 0, []
    for step in range(1, STEPS + 1):
        started, before = time.perf_counter(), seen
        while seen < step * count // STEPS:
            seen += receiver.step() or 0
        memory.append(private_megabytes())
        rate = (seen - before) / (time.perf_counter() - started)
        print(f"{seen:>10,} messages {memory[-1]:>8.1f} MB {rate:>8.0f} messages/s", flush=True)
    return memory


def _endless_queue() -> object:
    from tests.support.native import native, received
    from trades.sqs import Failed, Received

    class Endless:
        """Gives messages without end, each made when it is asked for, and remembers none."""

        name = url = "Endless.fifo"
        made = 0

        def attributes(self) -> dict[str, str]:
            return {"VisibilityTimeout": "120"}

        def receive(self, limit: int = 10, wait: int = 0, attempt_id: str | None = None) -> list[Received]:
            start, self.made = self.made, self.made + limit
            return [self.message(number) for number in range(start, self.made)]

        def message(self, number: int) -> Received:
            # Neighbours are of different trades, as in a busy queue.
            block, place = divmod(number, 1_000 * EVENTS_A_TRADE)
            version, trade = divmod(place, 1_000)
            trade_id = f"T-{block * 1_000 + trade:07}"
            return received(native(trade_id, "UPDATE" if version else "BOOK", version + 1), trade_id)

        def delete(self, messages: Sequence[Received]) -> list[tuple[Received, Failed]]:
            return []

        extend = release = delete

    return Endless()


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tradeportal.settings",
            "TRADES_VAR_DIR": folder,
            "DATABASE_URL": f"sqlite:///{folder}/memory.sqlite3",
            "LOG_LEVEL": "WARNING",
        }
        import django
        from django.conf import settings
        from django.core.management import call_command

        django.setup()
        options_of_sqlite = settings.DATABASES["default"]["OPTIONS"]
        options_of_sqlite["init_command"] = options_of_sqlite["init_command"].replace("cache_size=-20000", "cache_size=-1000")
        call_command("migrate", verbosity=0)
        memory = record(options.count)
    grown = max(memory) - memory[0]
    verdict = "reached" if grown <= GROWTH_AT_MOST else "MISSED"
    print(f"grown by {grown:.1f} MB after the first tenth of {options.count:,} messages   at most {GROWTH_AT_MOST:.0f}: {verdict}")
    sys.exit(0 if grown <= GROWTH_AT_MOST else 1)


if __name__ == "__main__":
    main()
