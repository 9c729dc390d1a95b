"""What a run was and found, and the report of it in lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from tests.chaos.evidence import Evidence
from tests.chaos.invariants import Violation
from tests.chaos.processes import Summary

MOST_VIOLATIONS = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """How large a run is. `chunk` is how many files a publishing process gets."""

    messages: int = 10_000
    trades: int = 1_000
    seconds: float = 120
    seed: int = 1
    workers: int = 3
    relays: int = 2
    chunk: int = 1_000
    visibility_seconds: int = 20


@dataclass(frozen=True, slots=True)
class Sample:
    """How far things were at a moment: seconds since the beginning, publications stored, sent, and messages stored."""

    at: float
    stored: int
    sent: int
    received: int

    @property
    def counts(self) -> tuple[int, int, int]:
        """What moves."""
        return self.stored, self.sent, self.received


@dataclass(slots=True)
class Outcome:
    """A run as it went. Times are seconds since its beginning."""

    wanted: Wanted
    samples: list[Sample] = field(default_factory=list)
    whole_seconds: float = 0.0
    # Of this process, and of those that it started.
    cpu_seconds: tuple[float, float] = (0.0, 0.0)
    violence_began: float = 0.0
    violence_ended: float = 0.0
    drained: float = 0.0
    stop_seconds: float = 0.0
    acts: Counter[str] = field(default_factory=Counter)
    acts_left: int = 0
    depths: dict[str, tuple[int, int]] = field(default_factory=dict)
    settled: tuple[int, int] = (0, 0)
    evidence: Evidence | None = None
    processes: Summary = field(default_factory=Summary)
    violations: list[Violation] = field(default_factory=list)


def lines(outcome: Outcome) -> Iterator[str]:
    """The report."""
    wanted = outcome.wanted
    yield f"Chaos, seed {wanted.seed}: {wanted.messages:,} messages over {wanted.trades:,} trades, {outcome.drained:.0f} s"
    yield f"  {wanted.workers} workers, {wanted.relays} relays, 2 publishers; PostgreSQL and the broker behind proxies"
    yield f"  violence for {outcome.violence_ended - outcome.violence_began:.0f} s, {outcome.acts.total()} acts:"
    yield from (f"    {count:>4}  {what}" for what, count in sorted(outcome.acts.items(), key=lambda item: -item[1]))
    if outcome.acts_left:
        yield f"    {outcome.acts_left:>4}  acts had no target in time"
    yield from _processes(outcome.processes)
    if outcome.evidence:
        yield from _messages(outcome.evidence)
    yield f"  then settled: {outcome.settled[0]} replayed, {outcome.settled[1]} discarded"
    yield from _throughput(outcome)
    own, theirs = outcome.cpu_seconds
    yield f"  once drained, all ended {outcome.stop_seconds:.1f} s after SIGTERM"
    yield f"  {outcome.whole_seconds:.0f} s with setting up and settling; CPU {own:.0f} s here and {theirs:.0f} s in what was started"
    yield f"  queues at the end (waiting, in flight): {outcome.depths}"
    yield f"  violations: {len(outcome.violations)}"
    yield from (f"    {violation}" for violation in outcome.violations[:MOST_VIOLATIONS])
    if len(outcome.violations) > MOST_VIOLATIONS:
        yield f"    and {len(outcome.violations) - MOST_VIOLATIONS} more"


def _processes(found: Summary) -> Iterator[str]:
    started = ", ".join(f"{count} {kind}s" for kind, count in sorted(found.lives.items()))
    yield f"  processes started: {started}"
    yield from (f"    {count:>4}  {end}" for end, count in sorted(found.ends.items()))
    if found.stopping:
        longest = max(found.stopping)
        yield f"  after SIGTERM workers and relays ended within {median(found.stopping):.1f} s (median), {longest:.1f} s at most"
    yield "  lines about outages: " + (", ".join(f"{told} {count}" for told, count in sorted(found.outages.items())) or "none")


def _messages(evidence: Evidence) -> Iterator[str]:
    outcomes = Counter(message.outcome for message in evidence.messages)
    yield "  messages: " + ", ".join(f"{outcome.lower()} {count:,}" for outcome, count in sorted(outcomes.items()))
    again = [message.receive_count for message in evidence.messages if message.receive_count > 1]
    repeats = sum(message.repeats for message in evidence.messages)
    most = f", one of them {max(again)} times" if again else ""
    yield f"  received more than once before being stored: {len(again)}{most}; again after being stored: {repeats}"
    tries = [row.attempts for row in evidence.publications if row.attempts > 1]
    yield f"  publications sent in more than one attempt: {len(tries)}{f', at most {max(tries)}' if tries else ''}"


def _throughput(outcome: Outcome) -> Iterator[str]:
    phases = (
        ("before", 0.0, outcome.violence_began),
        ("during", outcome.violence_began, outcome.violence_ended),
        ("after", outcome.violence_ended, outcome.drained),
    )
    rates = [f"{name} {_rate(outcome.samples, begins, ends):.0f}" for name, begins, ends in phases]
    yield f"  messages a second: {', '.join(rates)}"
    pauses = list(_pauses([sample for sample in outcome.samples if sample.at <= outcome.drained]))
    draining = outcome.drained - outcome.violence_ended
    yield f"  longest time without progress: {max(pauses, default=0):.1f} s; drained {draining:.0f} s after the violence"


def _rate(samples: Sequence[Sample], begins: float, ends: float) -> float:
    """Messages stored a second between two moments."""
    inside = [sample for sample in samples if begins <= sample.at <= ends]
    if len(inside) < 2:
        return 0.0
    return (inside[-1].received - inside[0].received) / (inside[-1].at - inside[0].at)


def _pauses(samples: Sequence[Sample]) -> Iterator[float]:
    since = 0.0
    for earlier, later in pairwise(samples):
        if later.received > earlier.received:
            since = later.at
        yield later.at - since
