"""Take the messages of a dead-letter queue into quarantine: SQS gave up delivering them, and their groups went on without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from django.db import transaction

from trades import history
from trades.messages.facts import MessageRefused
from trades.sqs import Received

CODE = "dead-letter"


def record(batch: Sequence[Received], *, now: datetime, queue: str, hold: bool = True) -> history.Report:
    """Store a batch as `history.record` does, each message under the queue that it came from (`queue` where it does not say), and in
    quarantine, whatever it says: a person decides, for later messages of its group may have been recorded before it.

    One known already has no effect. What follows in its group waits, unless `hold` is False. Raises DatabaseError.
    """
    by_source: dict[str, list[Received]] = {}
    for received in batch:
        source = received.dead_letter_source or queue
        by_source.setdefault(source, []).append(replace(received, queue=source, dead_letter_source=source))
    judged = [(of_source, [_given_up(received) for received in of_source]) for _, of_source in sorted(by_source.items())]
    report = history.Report()
    with transaction.atomic():
        for of_source, refusals in judged:
            report.add(history.record_judged(of_source, refusals, now=now, hold=hold))
    return report


def refusal(queue: str, receive_count: int, judgement: history.Judgement) -> MessageRefused:
    """Why a message that SQS gave up delivering from this queue, after so many receives, is for a person, whatever it says."""
    why = f" It could not be read: {judgement}" if isinstance(judgement, MessageRefused) else ""
    sentence = (
        f"SQS gave up delivering this message from {queue} and put it into the dead-letter queue; it was received "
        f"{receive_count:,} times. Later messages of its group may have been recorded before it.{why} "
        "Replay, correct or discard it."
    )
    given_up = history.refused(CODE, sentence, judgement)
    if isinstance(judgement, MessageRefused):
        given_up.line, given_up.column, given_up.element = judgement.line, judgement.column, judgement.element
    return given_up


def _given_up(received: Received) -> MessageRefused:
    return refusal(received.queue, received.receive_count, history.judge_received(received))
