"""The text of a correction: what a person wrote to stand in for a message that could not be understood."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime

from trades import history, messages
from trades.messages.facts import MessageRefused
from trades.models import Message


def as_stored(message: Message, body: str) -> str:
    """The text as it is stored: forms send every line end as CR LF, which the original keeps only if it has any."""
    return body if "\r" in message.body else _with_plain_ends(body)


def is_unchanged(message: Message, text: str) -> bool:
    """Whether the text differs from the message's own in its line ends at most."""
    return _with_plain_ends(text) == _with_plain_ends(message.body)


def _with_plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n")


def judge(text: str) -> history.Judgement:
    """What a text written by a person says, or why it can't be a message."""
    if found := messages.first_forbidden_character(text):
        line, column, codepoint = found
        sentence = f"The character U+{codepoint:04X} can't be in an SQS message. Remove it."
        return MessageRefused("forbidden-character", sentence, line=line, column=column)
    return history.judge(text)


def stand_in(original: Message, text: str, now: datetime) -> Message:
    """A message of this text at the original's place in its group (not saved, not linked to the original)."""
    body = text.encode()
    return Message(
        queue=original.queue,
        message_id=f"corrected-{uuid.uuid4()}",
        group_id=original.group_id,
        sequence_number=original.sequence_number,
        sent_at=original.sent_at,
        body=text,
        size=len(body),
        body_sha256=hashlib.sha256(body).hexdigest(),
        body_md5=hashlib.md5(body, usedforsecurity=False).hexdigest(),
        received_at=now,
        recorded_at=now,
    )
