"""What a stored message says, read from its row anew; where its text in S3 was never had, that is fetched first."""

from __future__ import annotations

from datetime import datetime

from trades import dead_letters, fetching, history, payloads, sqs
from trades.fetching import Text
from trades.messages.facts import MessageRefused
from trades.models import Message


def judge(message: Message) -> history.Judgement:
    """What the text of the message says. Raises ValueError when a large one can't be written to the spool just now."""
    if fetching.is_unread(message):
        return fetching.unread()
    try:
        with payloads.document_of(message) as document:
            return history.judge(document)
    except OSError as error:
        raise ValueError(f"{payloads.unwritable(error)} Nothing was changed.") from None


def in_turn(message: Message) -> history.Judgement:
    """What a message that waited is taken for: a dead letter, or one with the publication id of another, is for a person, however it
    reads. Raises ValueError as `judge` does."""
    judgement = judge(message)
    if message.via_dead_letter:
        judgement = dead_letters.refusal(message.queue, message.receive_count, judgement)
    if message.conflicts_with is None:
        return judgement
    return history.conflict(message.conflicts_with.publication_id, judgement)


def again(message: Message, *, now: datetime) -> tuple[history.Judgement, Text | None]:
    """What the message says, and its text where that had to be fetched first. Outside of any transaction that holds locks.

    Raises ValueError when the text can't be had just now.
    """
    if not fetching.is_unread(message):
        return judge(message), None
    try:
        text = fetching.text(message, now=now)
        if text.payload is None:
            return history.judge(text.body), text
        with payloads.spooled(text.payload) as large:
            return history.judge(large), text
    except MessageRefused as refusal:
        return refusal, None
    except (sqs.QueueError, OSError) as error:
        raise ValueError(f"The text of this message can't be fetched just now. {fetching.sentence(error)} Nothing was changed.") from None


def take(message: Message, text: Text) -> None:
    """Store the text that was fetched with its message."""
    message.body, message.payload, message.size, message.body_sha256 = text.body, text.payload, text.size, text.sha256
    message.save(update_fields=["body", "payload", "size", "body_sha256"])
