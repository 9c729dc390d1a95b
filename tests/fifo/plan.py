"""What a run is made of, all drawn from its seed: sizes, speeds, queues, routes, and who takes part."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from trades import sqs

QUEUES = ("Faults.fifo", "Faults2.fifo", "Faults3.fifo")
QUEUE = QUEUES[0]
DEAD_LETTERS = "FaultsDeadLetters.fifo"
BUCKET, PARTNERS, FORBIDDEN = "payloads", "payloads-of-a-partner", "payloads-of-somebody"
ROUTED_EVENTS = (["CANCEL"], ["CORRECT", "CANCEL"], ["UPDATE"])
# Bytes that make a message larger than its queue takes, and others larger than a row holds.
PADDING = (0, 0, 1_800, 4_000)
QUEUE_BYTES, ROW_BYTES = 2_048, 4_096


@dataclass
class Plan:
    """What a run is made of. `workers` are those of each queue; `by_content` and `handled` name one queue or none."""

    trades: int
    messages: int
    visibility: int
    workers: list[int]
    receivers: int
    publishers: int
    relays: int
    operators: int
    clerks: int
    foreigners: int
    hold: bool
    wait: int
    pace: float
    skew: float
    weights: list[int] = field(default_factory=list)
    most_receives: int = 0
    own_dead_letters: bool = False
    is_large: bool = False
    small_rows: bool = False
    by_content: str = ""
    handled: str = ""
    routes: list[dict[str, Any]] = field(default_factory=list)
    # Messages of a call; where they are fewer than SQS takes, several calls are made ready together.
    batch: int = sqs.MAX_BATCH

    @classmethod
    def drawn(cls, rng: Random) -> Plan:
        """Sizes, speeds and numbers of actors."""
        trades, queues = rng.randint(2, 6), rng.choice((1, 1, 2, 3))
        return cls(
            trades=trades,
            messages=rng.randint(10, 40),
            visibility=rng.choice((5, 15, 30, 120)),
            workers=[rng.randint(2, 4)] if queues == 1 else [rng.randint(1, 2) for _ in range(queues)],
            receivers=rng.choice((1, 1, 2)),
            publishers=rng.randint(1, 2),
            relays=rng.randint(1, 2),
            operators=rng.randint(0, 2),
            clerks=rng.randint(0, 1),
            foreigners=rng.randint(0, 1),
            hold=rng.random() < 0.8,
            wait=rng.choice((1, 5, 20)),
            pace=rng.choice((0.02, 0.2, 1.0)),
            skew=rng.choice((0.0, 0.0, 5.0, 300.0)),
            weights=[rng.choice((1, 3, 9)) for _ in range(20)],
            most_receives=rng.choice((0, 0, 0, 0, 2, 4)),
            own_dead_letters=rng.random() < 0.5,
            is_large=rng.random() < 0.5,
            small_rows=rng.random() < 0.5,
            by_content=rng.choice(QUEUES[:queues]) if rng.random() < 0.3 else "",
            handled=rng.choice(QUEUES[:queues]) if rng.random() < 0.4 else "",
            routes=[_route(rng, queue, trades) for queue in QUEUES[1:queues]],
            batch=rng.choice((1, 2, sqs.MAX_BATCH)),
        )

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues, the default first."""
        return QUEUES[: len(self.workers)]

    @property
    def row_bytes(self) -> int:
        """The longest text that is kept in a row."""
        return ROW_BYTES if self.is_large and self.small_rows else sqs.MAX_MESSAGE_BYTES

    def dead_letters_of(self, queue: str) -> str:
        """Where SQS puts what it gives up delivering from this queue."""
        return f"DeadLettersOf{queue}" if self.own_dead_letters else DEAD_LETTERS

    @property
    def spec(self) -> dict[str, Any]:
        """What the queues file would say."""
        return {"routes": self.routes, "queues": {self.by_content: {"deduplication": "content"}} if self.by_content else {}}


def _route(rng: Random, queue: str, trades: int) -> dict[str, Any]:
    """Some trades go to the queue, or some events of all trades."""
    if rng.random() < 0.4:
        return {"name": f"events for {queue}", "queue": queue, "event_class": rng.choice(ROUTED_EVENTS)}
    chosen = rng.sample(range(1, trades + 1), rng.randint(1, trades - 1))
    test = " or ".join(f"//*[local-name()='TradeId']='T-{number}'" for number in chosen)
    return {"name": f"trades for {queue}", "queue": queue, "xpath": test}
