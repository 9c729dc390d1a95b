"""What the tests of the model stand on: one queue on a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fifo.model import FifoBroker, VirtualClock
from trades import sqs


@dataclass
class ModelBench:
    """A queue of 120 seconds' visibility on a clock of its own."""

    clock: VirtualClock = field(default_factory=VirtualClock)

    def __post_init__(self) -> None:
        self.broker = FifoBroker(self.clock)
        self.queue = self.broker.create("Trades.fifo", {"VisibilityTimeout": "120"})

    def send(self, *bodies: str, group: str = "g") -> None:
        for body in bodies:
            (answer,) = self.queue.send([outgoing(body, group)])
            assert isinstance(answer, sqs.Sent)


def outgoing(body: str, group: str = "g", deduplication_id: str = "") -> sqs.Outgoing:
    return sqs.Outgoing(body, group, deduplication_id or f"id-{body}", {"PublicationId": f"p-{body}"})


def bodies(messages: Sequence[sqs.Received]) -> list[str]:
    return [message.body for message in messages]
