"""The text of a correction: what a person wrote to stand in for a message that could not be understood."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime

from trades import history, messages, payloads, sqs
from trades.messages.facts import MessageRefused
from trades.models import Message, Payload


def as_stored(message: Message, body: str) -> str:
    """The text as it is stored: forms send every line end as CR LF, which the original keeps only if it has any."""
    return body if _has_returns(message) else _with_plain_ends(body)


def is_unchanged(message: Message, text: str) -> bool:
    """Whether the text differs from the message's own in its line ends at most."""
    # Plain line ends make a text at most half as long.
    original = payloads.text_of(message, 2 * len(text.encode()) + 1)
    return original is not None and _with_plain_ends(text) == _with_plain_ends(original)


def _has_returns(message: Message) -> bool:
    return "\r" in message.body if message.payload is None else any(b"\r" in piece for piece in payloads.pieces(message.payload))


def _with_plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n")


def judge(text: str) -> history.Judgement:
    """What a text written by a person says, or why it can't be a message."""
    if found := messages.first_forbidden_character(text):
        line, column, codepoint = found
        sentence = f"The character U+{codepoint:04X} can't be in an SQS message. Remove it."
        return MessageRefused("forbidden-character", sentence, line=line, column=column)
    if (size := len(text.encode())) > messages.MAX_BYTES:
        sentence = f"A corrected text may have {messages.MAX_BYTES:,} bytes, and this one has {size:,}. Publish it as a document instead."
        return MessageRefused("too-large", sentence)
    return history.judge(text)


def stand_in(original: Message, text: str, now: datetime) -> Message:
    """A message of this text at the original's place in its group (not saved, not linked to the original)."""
    body = text.encode()
    payload = _kept(body, now) if len(body) > sqs.MAX_MESSAGE_BYTES else None
    return Message(
        queue=original.queue,
        message_id=f"corrected-{uuid.uuid4()}",
        group_id=original.group_id,
        sequence_number=original.sequence_number,
        sent_at=original.sent_at,
        body="" if payload else text,
        payload=payload,
        size=len(body),
        body_sha256=hashlib.sha256(body).hexdigest(),
        body_md5=hashlib.md5(body, usedforsecurity=False).hexdigest(),
        received_at=now,
        recorded_at=now,
    )


def _kept(body: bytes, now: datetime) -> Payload:
    with payloads.spool() as path:
        path.write_bytes(body)
        return payloads.keep(path, now=now)
