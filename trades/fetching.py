"""The texts of messages that stand for a payload in S3: fetched before they are recorded, checked, and kept where they are large.

What can never be right is a fault of the message, which is quarantined with it. What may pass leaves the message in its queue.
"""

from __future__ import annotations

import codecs
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from threading import Event

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from trades import payloads, sqs
from trades.messages.facts import MessageRefused
from trades.messages.large import LargeText
from trades.models import Message, Payload
from trades.sqs import Received, buckets
from trades.sqs.buckets import Pointer

logger = logging.getLogger(__name__)

UNREAD = "payload-unread"
DENIED = (
    "Let the role read the bucket (s3:GetObject) and list it (s3:ListBucket): without the second, S3 says the same of an object that "
    "does not exist."
)
SEND_AGAIN = "Ask its sender to store it there again, then replay this message."


class Stopped(sqs.QueueError):
    """The process is to end before the text is here."""


@dataclass(frozen=True, slots=True)
class Text:
    """The text that a pointer leads to: `body`, or where that has more bytes than a message may have, "" and the payload that is kept."""

    body: str
    payload: Payload | None
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Fetched(Received):
    """A message whose text went through S3: `pointer` is what SQS delivered, `body` and `payload` are as those of a Text.

    With a `fault` there is no text: the body is the pointer.
    """

    pointer: str = ""
    payload: Payload | None = None
    fault: MessageRefused | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that are ready to be recorded, how many pointers among them were followed; the groups of others that must come again,
    and why, unless it is for a stop."""

    ready: list[Received]
    followed: int = 0
    waiting: frozenset[str] = frozenset()
    trouble: sqs.QueueError | None = None


def weight(message: Received) -> int:
    """Characters of a message, or the bytes that it says its payload has."""
    if not buckets.is_pointer(message):
        return len(message.body)
    try:
        return min(buckets.pointer_of(message).size, settings.TRADES_MAX_DOCUMENT_BYTES)
    except buckets.BadPointer:
        return len(message.body)


def printed(message: Received) -> str:
    """The text of a message for who follows a worker's work: of a large one where it is."""
    return message.pointer if isinstance(message, Fetched) and message.payload else message.body


def parts(batch: Sequence[Received], size: int) -> Iterator[Sequence[Received]]:
    """The batch in runs whose payloads have about that many bytes in all; one run where there are none."""
    if not any(map(buckets.is_pointer, batch)):
        yield batch
        return
    part: list[Received] = []
    total = 0
    for message in batch:
        if part and total + weight(message) > size:
            yield part
            part, total = [], 0
        part.append(message)
        total += weight(message)
    yield part


def follow(batch: Sequence[Received], *, stop: Event, now: datetime) -> Batch:
    """The messages of a batch, each pointer with its text or its fault; without those whose text can't be had now, and without what
    follows these in their groups. A pointer that is recorded already stays what it is. Raises DatabaseError."""
    pointers = [message for message in batch if buckets.is_pointer(message)]
    if not pointers:
        return Batch(list(batch))
    known = _known(pointers)
    ready: list[Received] = []
    waiting: set[str] = set()
    followed, trouble, is_away = 0, None, False
    for message in batch:
        if message.group_id in waiting:
            continue
        if not buckets.is_pointer(message) or (message.queue, message.message_id) in known:
            ready.append(message)
        elif is_away or stop.is_set():
            waiting.add(message.group_id)
        else:
            try:
                ready.append(_fetched(message, stop, now))
                followed += 1
            except (DatabaseError, InterfaceError):
                raise
            except Exception as error:
                if not isinstance(error, sqs.QueueError | OSError):
                    logger.exception("fetching a payload failed unexpectedly")
                waiting.add(message.group_id)
                # What S3 refuses may be one object's trouble; anything else is met by every other message too, in seconds each.
                is_away = not isinstance(error, sqs.Refused) or isinstance(error, sqs.Throttled)
                trouble = trouble if isinstance(error, Stopped) else _trouble(error)
    return Batch(ready, followed, frozenset(waiting), trouble)


def text(message: Received | Message, *, now: datetime, stop: Event | None = None) -> Text:
    """The text that a message stands for; a large one is kept when this returns, in a transaction of its own.

    Raises MessageRefused when it can never be right, QueueError, OSError and DatabaseError when it may be another time.
    """
    try:
        pointer = buckets.pointer_of(message)
    except buckets.BadPointer as error:
        raise MessageRefused("payload-pointer", f"{error} Ask its sender to send the text again.") from None
    _check(pointer)
    try:
        with payloads.spool() as path:
            return _kept(_downloaded(pointer, path, stop or Event()), now)
    except sqs.ObjectNotFound as error:
        words = f"{_of(pointer)} S3 has no such object: {error} A lifecycle rule of the bucket may have removed it."
        raise MessageRefused("payload-missing", f"{words} {SEND_AGAIN}") from None


def is_unread(message: Message | Received) -> bool:
    """Whether a message stands for a text in S3 that was not had."""
    if isinstance(message, Message):
        return message.pointer != "" and message.pointer == message.body
    return not isinstance(message, Fetched) and buckets.is_pointer(message)


def unread() -> MessageRefused:
    """The refusal of a message that is unread and whose turn it is: nothing is fetched meanwhile."""
    sentence = "The text of this message is in S3 and could not be had when the message came. Replay it: it is fetched again."
    return MessageRefused(UNREAD, sentence)


def sentence(error: Exception) -> str:
    """Why a text can't be had just now, and what to do."""
    if isinstance(error, sqs.Denied):
        return f"{error} {DENIED}"
    if isinstance(error, OSError):
        return payloads.unwritable(error)
    return str(error) if isinstance(error, sqs.QueueError) else f"Fetching a payload failed unexpectedly: {error!r}."


def _known(pointers: Sequence[Received]) -> set[tuple[str, str]]:
    """Queue and id of those that are recorded: what they point to may be gone by now, and is not needed."""
    queues, ids = {message.queue for message in pointers}, {message.message_id for message in pointers}
    return set(Message.objects.filter(queue__in=queues, message_id__in=ids).values_list("queue", "message_id"))


def _fetched(message: Received, stop: Event, now: datetime) -> Fetched:
    as_sent = {field.name: getattr(message, field.name) for field in fields(Received)}
    try:
        found = text(message, now=now, stop=stop)
    except MessageRefused as fault:
        return Fetched(**as_sent, pointer=message.body, fault=fault)
    return Fetched(**as_sent | {"body": found.body}, pointer=message.body, payload=found.payload)


def _trouble(error: Exception) -> sqs.QueueError:
    return error if isinstance(error, sqs.Throttled) else sqs.QueueError(sentence(error))


def _check(pointer: Pointer) -> None:
    """Raises MessageRefused for what is not even asked for."""
    if pointer.bucket not in settings.TRADES_PAYLOAD_BUCKETS:
        what = f'{_of(pointer)} The bucket "{pointer.bucket}" is not one that this portal reads.'
        raise MessageRefused("payload-bucket", f"{what} If it may be, add it to TRADES_PAYLOAD_BUCKETS, restart, and replay this message.")
    if pointer.size > settings.TRADES_MAX_DOCUMENT_BYTES:
        most = f"At most {settings.TRADES_MAX_DOCUMENT_BYTES:,} bytes are taken."
        what = f"{_of(pointer)} {most} Ask its sender to split it, or raise TRADES_MAX_DOCUMENT_BYTES and replay this message."
        raise MessageRefused("payload-too-large", what)


def _of(pointer: Pointer) -> str:
    return f"The text of this message is {pointer.place}, {pointer.size:,} bytes as its sender says."


def _downloaded(pointer: Pointer, path: Path, stop: Event) -> LargeText:
    """The object as a file, checked. Raises MessageRefused when it is not what its message and its key say, or no text."""
    digest, decoder, size = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")(), 0
    with closing(buckets.read(pointer)) as pieces, path.open("wb") as file:
        for piece in pieces:
            if stop.is_set():
                raise Stopped("Stopped while the payload was being read.")
            size += len(piece)
            if size > pointer.size:
                raise _differs(pointer, "The object has more")
            _refuse_no_text(pointer, decoder, piece, size - len(piece))
            digest.update(piece)
            file.write(piece)
    _refuse_no_text(pointer, decoder, b"", size, final=True)
    if size != pointer.size:
        raise _differs(pointer, f"The object has {size:,}")
    if pointer.sha256 not in ("", digest.hexdigest()):
        raise _differs(pointer, f"The SHA-256 of the object is {digest.hexdigest()}, another than its key states")
    return LargeText(path, size, digest.hexdigest())


def _differs(pointer: Pointer, how: str) -> MessageRefused:
    return MessageRefused("payload-differs", f"{_of(pointer)} {how}. Nothing of it was taken. {SEND_AGAIN}")


def _refuse_no_text(pointer: Pointer, decoder: codecs.IncrementalDecoder, piece: bytes, offset: int, *, final: bool = False) -> None:
    try:
        decoder.decode(piece, final)
        at, what = offset + piece.find(b"\0"), "NUL is no character of a text"
        is_text = b"\0" not in piece
    except UnicodeDecodeError as error:
        at, what, is_text = offset + error.start - (len(error.object) - len(piece)), f"the bytes are not UTF-8 ({error.reason})", False
    if not is_text:
        words = f"{_of(pointer)} The object is no text: at byte {at + 1:,} {what}. Ask its sender to send it again as text in UTF-8."
        raise MessageRefused("payload-not-text", words)


def _kept(found: LargeText, now: datetime) -> Text:
    if found.size > sqs.MAX_MESSAGE_BYTES:
        return Text("", payloads.keep(found, now=now), found.size, found.sha256)
    return Text(found.path.read_bytes().decode(), None, found.size, found.sha256)
