"""A delivery as the rows that are stored of it."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from datetime import datetime

from trades import bulk, receipts
from trades.fetching import Fetched
from trades.models import Message, Repeat
from trades.sqs import Received

PUBLICATION_ID = "PublicationId"


def publication_id_of(received: Received) -> uuid.UUID | None:
    """The publication id a message carries, None when it carries none that we could have made."""
    try:
        return uuid.UUID(received.attributes[PUBLICATION_ID])
    except (KeyError, ValueError):
        return None


def message_of(received: Received, now: datetime) -> Message:
    """The row of a message that was received (not saved, without its publication)."""
    body = received.body.encode()
    fetched = received if isinstance(received, Fetched) else None
    payload = fetched.payload if fetched else None
    return bulk.new(
        Message,
        queue=received.queue,
        message_id=received.message_id,
        group_id=received.group_id,
        deduplication_id=received.deduplication_id,
        sequence_number=received.sequence_number,
        attributes=dict(received.attributes),
        body=received.body,
        pointer=fetched.pointer if fetched else "",
        payload_id=payload.pk if payload else None,
        size=payload.size if payload else len(body),
        body_sha256=payload.sha256 if payload else hashlib.sha256(body).hexdigest(),
        body_md5=received.md5,
        sent_at=received.sent_at,
        received_at=received.received_at,
        recorded_at=now,
        receive_count=received.receive_count,
        worker=receipts.this_worker(),
        via_dead_letter=bool(received.dead_letter_source),
    )


def repeat_of(pk: int, received: Received) -> Repeat:
    """The row of one more delivery of a message that is stored (not saved)."""
    return bulk.new(
        Repeat,
        message_id=pk,
        received_at=received.received_at,
        receive_count=received.receive_count,
        sqs_message_id=received.message_id,
        worker=receipts.this_worker(),
    )


def storable(received: Received) -> Received:
    """The message without what PostgreSQL can't hold: NUL characters, and ids longer than SQS itself allows."""
    if isinstance(received, Fetched):
        received = replace(received, pointer=_without_nul(received.pointer))
    return replace(
        received,
        body=_without_nul(received.body),
        message_id=_without_nul(received.message_id)[:100],
        group_id=_without_nul(received.group_id)[:128],
        deduplication_id=_without_nul(received.deduplication_id)[:128],
        attributes={_without_nul(name): _without_nul(value) for name, value in received.attributes.items()},
    )


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")
