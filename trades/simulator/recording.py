"""Record the steps of a story as the portal does it: by the code that publishes, records and settles real messages."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from trades import handing_in, history, publishing, quarantine
from trades.handing_in import IncomingDocument
from trades.identifiers import trade_key
from trades.messages.facts import TradeId
from trades.models import Message, Publication, Upload
from trades.simulator.stories import OTHER_SCHEME, SCHEME, At, Of, Story
from trades.sqs import Received

ACTOR = quarantine.Actor(None, "simulate_trades")
DISCARDED = "sent again by the system that made it"


def name_trade(story: Story) -> None:
    """Fill in the keys of the trade's ids."""
    values = story.values
    values[Of.KEY] = trade_key(TradeId(SCHEME, values[Of.TRADE_ID]))
    values[Of.OTHER_KEY] = trade_key(TradeId(OTHER_SCHEME, values[Of.OTHER_ID]))


def make_message(story: Story, step: int, sequence: int) -> None:
    """Fill in the text of a step's message, and what follows from it; `sequence` rises with every message of the queue."""
    at, values = story.at(step), story.values
    body = story.body(step)
    content = body.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    values[at + At.SEQUENCE] = str(sequence).zfill(39)
    values[at + At.DEDUPLICATION] = values[at + At.PUBLICATION_HEX] or sha256
    values[at + At.BODY], values[at + At.BYTES], values[at + At.SIZE] = body, content, len(content)
    values[at + At.SIZE_SENT] = handing_in.size_of(len(body.encode()))
    values[at + At.MD5], values[at + At.SHA256] = hashlib.md5(content, usedforsecurity=False).hexdigest(), sha256


def forget_message(story: Story, step: int) -> None:
    """Drop the text of a step's message."""
    at = story.at(step)
    story.values[at + At.BODY] = story.values[at + At.BYTES] = None


def record(story: Story, step: int) -> None:
    """Record one step, whose message is made."""
    now = moment(story, step, At.RECORDED)
    if not story.shape.steps[step].is_message:
        bad = Message.objects.get(queue=story.values[Of.QUEUE], group_id=story.values[Of.TRADE_ID], outcome=Message.Outcome.QUARANTINED)
        quarantine.discard(bad, actor=ACTOR, reason=DISCARDED, now=now)
        return
    if story.is_published:
        _publish(story, step)
    delivery = received(story, step)
    history.record([delivery], now=now)
    rows = Message.objects.filter(queue=delivery.queue, message_id=delivery.message_id)
    # What a worker process adds of its own.
    rows.update(worker=story.value(step, At.WORKER), deleted_at=moment(story, step, At.DELETED))
    if story.shape.steps[step].again:
        again = moment(story, step, At.AGAIN)
        history.record([replace(delivery, received_at=again, receive_count=2)], now=again)
        rows.get().deliveries.update(worker=story.value(step, At.WORKER))


def moment(story: Story, step: int, name: At) -> datetime:
    """One of the step's moments."""
    return datetime.fromisoformat(story.value(step, name)).replace(tzinfo=UTC)


def received(story: Story, step: int) -> Received:
    """The delivery of a step's message, which is made."""
    value = {name: story.value(step, name) for name in At}
    attributes: Mapping[str, str] = {handing_in.PUBLICATION_ID: value[At.PUBLICATION]} if story.is_published else {}
    return Received(
        queue=story.values[Of.QUEUE],
        message_id=value[At.MESSAGE_ID],
        receipt_handle="",
        body=value[At.BODY],
        md5=value[At.MD5],
        group_id=story.values[Of.TRADE_ID],
        deduplication_id=value[At.DEDUPLICATION],
        sequence_number=value[At.SEQUENCE],
        sent_at=moment(story, step, At.SENT),
        receive_count=1,
        attributes=attributes,
        received_at=moment(story, step, At.RECEIVED),
    )


def _publish(story: Story, step: int) -> None:
    """Hand the message in, and note that it was sent, as the relay does."""
    created, value = moment(story, step, At.CREATED), story.value
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=created)
    document = IncomingDocument(value(step, At.FILE), value(step, At.BYTES))
    (row,) = publishing.store(upload, [document], queue=story.values[Of.QUEUE], now=created)
    Publication.objects.filter(document=row).update(
        publication_id=uuid.UUID(value(step, At.PUBLICATION)),
        deduplication_id=value(step, At.DEDUPLICATION),
        state=Publication.State.SENT,
        sent_at=moment(story, step, At.ACKNOWLEDGED),
        attempts=1,
        message_id=value(step, At.MESSAGE_ID),
        md5=value(step, At.MD5),
        sequence_number=value(step, At.SEQUENCE),
    )
