"""`python -m tests.chaos.run`: real workers, relays and publishers under random violence, then the invariants, then a report.

Exit status 1 means that an invariant was violated; the logs of all processes are then kept in the folder that is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

import psycopg

from tests.chaos import evidence, processes, report
from tests.chaos.arena import QUEUE, arena
from tests.chaos.invariants import Violation, violations
from tests.chaos.plan import plan
from tests.chaos.report import Outcome, Sample, Wanted
from tests.chaos.settle import settle_everything
from tests.chaos.supervisor import Slot, Supervisor
from tests.chaos.traffic import Lane, write_files
from tests.chaos.violence import Violence
from tests.support.processes import Process, manage

TICK_SECONDS = 0.1
SAMPLE_SECONDS = 0.5
TELL_SECONDS = 10
# The rest is published after the violence.
SHARE_BEFORE_DRAIN = 0.85
# So much is sent before workers start, and received before the violence begins.
HEAD_START = 0.08
CALM_SHARE = 0.06
CALM_AT_MOST = 60
# The broker slows down with what is queued.
BACKLOG = 1_200
# Longer than a lease, a visibility timeout and the longest pause between tries together.
STUCK_SECONDS = 120
STOP_SECONDS = 75
COUNTS = """SELECT (SELECT count(*) FROM trades_publication), (SELECT count(*) FROM trades_publication WHERE state = 'SENT'),
    (SELECT count(*) FROM trades_message)"""


class Run:
    """One run, phase by phase: calm, violence, drain, stop, settle. Use as a context manager: leaving it ends everything."""

    def __init__(self, wanted: Wanted, folder: Path, say: Callable[[str], None]) -> None:
        self.wanted, self.folder, self.say = wanted, folder, say
        self.outcome = Outcome(wanted)
        self.stack = ExitStack()
        self.told_at = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.arena = stack.enter_context(arena(self.folder, self.wanted.visibility_seconds))
            self.supervisor = stack.enter_context(Supervisor())
            (self.folder / "files").mkdir()
            lanes = write_files(self.folder / "files", self.wanted.seed, self.wanted.messages, self.wanted.trades)
            self.files = [file for lane in lanes for file in lane]
            publishing = {**self.arena.environment, "TRADES_DIALECTS_DIR": str(self.folder / "files" / "dialects")}
            self.lanes = [
                Lane(f"publisher-{number}", files, self.arena.postgres, publishing, self._may_publish, self.wanted.chunk)
                for number, files in enumerate(lanes, start=1)
            ]
            self.stack = stack.pop_all()
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def go(self) -> Outcome:
        """All phases; what they found is in the outcome."""
        self._fill_slots("publisher", "relay")
        self._tick_until(lambda: self.latest.sent >= HEAD_START * self.wanted.messages, CALM_AT_MOST)
        self._fill_slots("worker")
        self.say(f"seed {self.wanted.seed}: {self.wanted.messages:,} messages over {self.wanted.trades:,} trades")
        self._tick_until(self._is_going, CALM_AT_MOST)
        self._violence()
        self._drain()
        self._stop()
        self._judge(settled=False)
        replayed, discarded, problems = settle_everything(self.arena)
        self.outcome.settled = (replayed, discarded)
        self.outcome.violations += [Violation("not settled", "quarantine", problem) for problem in problems]
        self._judge(settled=True)
        self.outcome.violations += processes.violations(self.supervisor.lives)
        self.outcome.processes = processes.summary(self.supervisor)
        return self.outcome

    def _fill_slots(self, *kinds: str) -> None:
        def service(*arguments: str) -> Callable[[], Process]:
            return lambda: manage(*arguments, environment=self.arena.environment)

        slots = [Slot(f"worker-{number + 1}", "worker", service("consume_trades", "--wait", "2")) for number in range(self.wanted.workers)]
        slots += [Slot(f"relay-{number + 1}", "relay", service("relay_publications")) for number in range(self.wanted.relays)]
        slots += [Slot(lane.name, "publisher", lane.start, lane.ended) for lane in self.lanes]
        self.supervisor.slots += [slot for slot in slots if slot.kind in kinds]

    # Phases

    def _is_going(self) -> bool:
        return self.latest.received >= CALM_SHARE * self.wanted.messages

    def _violence(self) -> None:
        self.outcome.violence_began = began = self.elapsed
        self.say(f"{began:.0f} s: violence for {self.wanted.seconds:.0f} s")
        acts = plan(self.wanted.seed, self.wanted.seconds)
        moments = {"busy": self._is_in_flight, "sending": self._is_sending}
        with Violence(acts, self.arena, self.supervisor, moments) as violence:
            while self.elapsed < began + self.wanted.seconds:
                violence.tick(self.elapsed - began)
                self._tick()
        self.outcome.acts = violence.done
        self.outcome.acts_left = len(violence.due)
        self.outcome.violence_ended = self.elapsed
        self.say(f"{self.elapsed:.0f} s: violence is over, draining")

    def _is_in_flight(self) -> bool:
        return self.arena.depths()[QUEUE][1] > 0

    def _is_sending(self) -> bool:
        """Whether a sender sent something just now and has more: one that waits for the lease of a dead one could not be hurt."""
        return len(self.outcome.samples) > 1 and self.outcome.samples[-2].sent < self.latest.sent < self.latest.stored

    def _drain(self) -> None:
        """Until nothing is left, or nothing moves any more."""
        moved_at, before = self.elapsed, self.latest
        while not self._is_drained():
            self._tick()
            if self.latest.counts != before.counts:
                moved_at, before = self.elapsed, self.latest
            if self.elapsed - moved_at > STUCK_SECONDS:
                self.outcome.violations.append(Violation("stuck", "run", f"nothing moved for {STUCK_SECONDS} s: {self.latest}"))
                break
        self.outcome.drained = self.elapsed

    def _is_drained(self) -> bool:
        all_stored = all(lane.done for lane in self.lanes)
        same = self.latest.stored == self.latest.sent == self.latest.received
        return all_stored and same and not any(sum(depth) for depth in self.arena.depths().values())

    def _stop(self) -> None:
        began = self.elapsed
        for life in self.supervisor.stop(STOP_SECONDS):
            self.outcome.violations.append(Violation("does not stop", life.slot, f"process {life.process.pid} runs on after SIGTERM"))
        self.outcome.stop_seconds = self.elapsed - began
        self.outcome.depths = self.arena.depths()

    def _judge(self, *, settled: bool) -> None:
        found = evidence.read(self.arena.postgres, self.files)
        found.confirmed = {name for lane in self.lanes for name in lane.confirmed}
        found.announced = {key: value for lane in self.lanes for key, value in lane.announced.items()}
        found.depths = self.outcome.depths
        known = set(self.outcome.violations)
        self.outcome.violations += [violation for violation in violations(found, settled=settled) if violation not in known]
        if not settled:
            self.outcome.evidence = found

    # The loop

    @property
    def elapsed(self) -> float:
        """Seconds since everything was ready to begin."""
        return time.monotonic() - self.began

    @property
    def latest(self) -> Sample:
        """The newest sample."""
        return self.outcome.samples[-1] if self.outcome.samples else Sample(0, 0, 0, 0)

    def _tick_until(self, condition: Callable[[], bool], seconds: float) -> None:
        ends = self.elapsed + seconds
        while not condition() and self.elapsed < ends:
            self._tick()

    def _tick(self) -> None:
        self.supervisor.tick()
        if self.elapsed - self.latest.at > SAMPLE_SECONDS:
            self._sample()
        if self.elapsed - self.told_at > TELL_SECONDS:
            self.told_at = self.elapsed
            now = self.latest
            self.say(f"{self.elapsed:.0f} s: {now.stored:,} stored, {now.sent:,} sent, {now.received:,} received")
        time.sleep(TICK_SECONDS)

    def _sample(self) -> None:
        # While the server is down there is nothing to count.
        with suppress(psycopg.OperationalError), self.arena.postgres.connect() as connection:
            stored, sent, received = connection.execute(COUNTS).fetchone() or (0, 0, 0)
            self.outcome.samples.append(Sample(self.elapsed, stored, sent, received))

    def _may_publish(self) -> bool:
        """Whether a publisher may go on: the queue stays shallow, and the files last until after the violence."""
        latest = self.latest
        if latest.stored - latest.received > BACKLOG:
            return False
        return bool(self.outcome.violence_ended) or latest.stored < SHARE_BEFORE_DRAIN * self.wanted.messages


def run(wanted: Wanted, say: Callable[[str], None], *, keep_logs: bool = False) -> Outcome:
    """One whole run. The folder with its logs is removed unless something was violated or failed, or they are to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="tradeportal-chaos-"))
    keep = True
    began, before = time.monotonic(), os.times()
    this: Run | None = None
    try:
        with Run(wanted, folder, say) as this:
            outcome = this.go()
        after = os.times()
        outcome.whole_seconds = time.monotonic() - began
        own, theirs = after.user + after.system - before.user - before.system, after.children_user - before.children_user
        outcome.cpu_seconds = own, theirs + after.children_system - before.children_system
        keep = keep_logs or bool(outcome.violations)
    finally:
        if keep and this is not None:
            _keep_logs(this, folder)
            say(f"The logs are in {folder}.")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _keep_logs(this: Run, folder: Path) -> None:
    logs = folder / "logs"
    logs.mkdir()
    if hasattr(this, "supervisor"):
        this.supervisor.write_logs(logs)
    (logs / "violations.txt").write_text("".join(f"{violation}\n" for violation in this.outcome.violations))
    if this.outcome.evidence:
        (logs / "evidence.json").write_text(json.dumps(asdict(this.outcome.evidence), default=str, indent=1))


def main() -> None:
    """The command."""
    usual = Wanted()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=usual.messages)
    parser.add_argument("--trades", type=int, help="default: a tenth of the messages")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of violence")
    parser.add_argument("--seed", type=int, help="default: a random one")
    parser.add_argument("--keep", action="store_true", help="keep the logs even if nothing was violated")
    options = parser.parse_args()
    # Only where the local broker is installed is read from the settings; processes get their own.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    wanted = Wanted(
        messages=options.messages,
        trades=options.trades or max(1, options.messages // 10),
        seconds=options.seconds,
        seed=random.randrange(1_000_000) if options.seed is None else options.seed,
    )
    outcome = run(wanted, lambda line: print(line, flush=True), keep_logs=options.keep)
    print("\n" + "\n".join(report.lines(outcome)))
    sys.exit(1 if outcome.violations else 0)


if __name__ == "__main__":
    main()
