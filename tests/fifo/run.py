"""
`python -m tests.fifo.run --seeds 1000`: many runs, each decided by its seed, and what broke in them; exit status 1 on a violation.

`--seed N` replays one and prints every step. On PostgreSQL: `python -m tests.support.with_postgres tests.fifo.run ...`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.util
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fifo.scheduler import Outcome

MEMORY = Path("/dev/shm")
PROGRESS_SECONDS = 10.0


def prepare(plant: str = "") -> None:
    """Make this process ready for runs: a database of its own, and a planted fault if one is wanted."""
    if MEMORY.is_dir():
        tempfile.tempdir = str(MEMORY)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
    import django

    django.setup()
    from django.db import connection

    from tests.fifo.planted import planted

    is_shared = connection.vendor != "sqlite"
    if is_shared:
        connection.settings_dict["TEST"]["NAME"] = f"faults_{os.getpid()}"
    before = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, serialize=False)
    context = planted(plant)
    context.__enter__()

    def leave() -> None:
        context.__exit__(None, None, None)
        if is_shared:
            connection.creation.destroy_test_db(before, verbosity=0)

    # Runs at the end of the main process and of those that multiprocessing starts.
    multiprocessing.util.Finalize(None, leave, exitpriority=10)


def run_one(seed: int) -> Outcome:
    """One run in a process that is ready."""
    from tests.fifo.seeds import run_seed

    outcome = run_seed(seed)
    outcome.log.clear()
    return outcome


def outcomes(seeds: Sequence[int], processes: int, plant: str) -> Iterator[Outcome]:
    """The outcomes of the seeds, in their order."""
    with multiprocessing.get_context("spawn").Pool(processes, partial(prepare, plant)) as pool:
        yield from pool.imap(run_one, seeds)
        pool.close()
        pool.join()


class Report:
    """What is printed of many runs."""

    def __init__(self, total: int, write: Callable[[str], None]) -> None:
        self.total = total
        self.write = write
        self.started = self.told = time.monotonic()
        self.runs = self.steps = self.accepted = 0
        self.faults: Counter[str] = Counter()
        self.violations: list[tuple[int, str]] = []

    def add(self, outcome: Outcome) -> None:
        """One more run."""
        self.runs += 1
        self.steps += outcome.steps
        self.accepted += outcome.accepted
        self.faults += outcome.faults
        for sentence in outcome.violations:
            self.violations.append((outcome.seed, sentence))
            self.write(f"seed {outcome.seed}: {sentence}")
        if outcome.violations:
            self.write(f"Replay it step by step: {replay_command(outcome.seed)}")
        if time.monotonic() - self.told > PROGRESS_SECONDS:
            self.told = time.monotonic()
            self.write(f"{self.runs:,} of {self.total:,} runs, {len(self.violations)} violations")

    def tell(self, database: str) -> None:
        """The whole."""
        seconds = time.monotonic() - self.started
        for title, is_fault in (("Faults injected, by kind", True), ("Content and people", False)):
            self.write(f"\n{title}:")
            for kind, count in sorted(self.faults.items()):
                if (": " not in kind) is is_fault:
                    self.write(f"  {count:8,}  {kind}")
        injected = sum(count for kind, count in self.faults.items() if ": " not in kind)
        self.write(
            f"\n{self.runs:,} runs on {database} in {seconds:,.0f} s: {self.steps:,} steps, {self.accepted:,} messages accepted, "
            f"{injected:,} faults injected, {len(self.violations)} violations."
        )


def replay_command(seed: int) -> str:
    """How the run is made again with every step printed."""
    by_postgres = "tests.support.with_postgres " if "postgres" in os.environ.get("TESTS_DATABASE_URL", "") else ""
    return f"python -m {by_postgres}tests.fifo.run --seed {seed}"


def step_by_step(seed: int, plant: str) -> int:
    """Run one seed and print its whole log."""
    prepare(plant)
    from tests.fifo.seeds import run_seed

    outcome = run_seed(seed, keep_log=True)
    for step in outcome.log:
        print(step)
    for sentence in outcome.violations:
        print(f"VIOLATION: {sentence}")
    print(f"seed {seed}: {outcome.steps:,} steps, {outcome.accepted} messages accepted, {len(outcome.violations)} violations")
    return bool(outcome.violations)


def many(start: int, count: int, processes: int, plant: str) -> int:
    """Run seeds and report; a planted fault is done with at the first seed that shows it."""
    report = Report(count, lambda line: print(line, flush=True))
    for outcome in outcomes(range(start, start + count), processes, plant):
        report.add(outcome)
        if plant and report.violations:
            print(f"{plant}: caught at seed {outcome.seed}, the {report.runs}. that ran")
            return 1
    report.tell("PostgreSQL" if "postgres" in os.environ.get("TESTS_DATABASE_URL", "") else "SQLite")
    return bool(report.violations)


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default %(default)s)")
    parser.add_argument("--start", type=int, default=0, help="the first (default %(default)s)")
    parser.add_argument("--seed", type=int, help="only this one, with every step printed")
    parser.add_argument("--plant", default="", help="plant a fault into the product first: see tests/fifo/planted.py")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="at the same time (default %(default)s)")
    given = parser.parse_args(arguments)
    if given.seed is not None:
        return step_by_step(given.seed, given.plant)
    return many(given.start, given.seeds, given.processes, given.plant)


if __name__ == "__main__":
    sys.exit(main())
