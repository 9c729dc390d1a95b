"""Documents that are handed in -> the messages in them, each with its queue, or the reason why it is refused."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from trades import dialects, messages, payloads, routes, sqs
from trades.handing_in.documents import IncomingDocument, size_of
from trades.messages.facts import MessageRefused, ParsedMessage
from trades.messages.large import Decoder, LargeText
from trades.models import Payload

REFERENCE = "reference"  # code of a document that is understood and is about no trade
PIECE = 1024 * 1024  # bytes
# The page sends three files at once; each may cost 100 MB while it is read.
_one_large_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a document: its text, empty where it is in the payload, its bytes and SHA-256, what it was understood to be or
    why it is refused, and where it goes (`group`: that of the route, for a message about no trade)."""

    text: str = ""
    size: int = 0
    sha256: str = ""
    payload: Payload | None = None
    message: ParsedMessage | None = None
    refusal: MessageRefused | None = None
    queue: str = ""
    route: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document with the messages found in it, each understood or refused. `content` is empty where it is in the payload."""

    name: str
    position: int
    content: bytes
    size: int
    sha256: str
    parts: tuple[Part, ...]
    payload: Payload | None = None


def read(
    documents: Iterable[IncomingDocument], *, now: datetime, group: str | None = None, queue: str | None = None, traceparent: str = ""
) -> list[ReadDocument]:
    """Read documents. Nothing is stored but the payloads of large ones, so not to be called within a transaction.

    With `group` a document of which nothing is understood is passed on as it is. `queue` is that of all messages; without it the
    routes choose. Raises OSError when a file can't be read, BadQueuesFile.
    """
    return Ahead(documents, now=now, group=group, queue=queue, traceparent=traceparent).all()


class Ahead:
    """Reads documents as `read` does: small ones while there is time, the rest when all are needed."""

    def __init__(
        self,
        documents: Iterable[IncomingDocument],
        *,
        now: datetime,
        group: str | None = None,
        queue: str | None = None,
        traceparent: str = "",
    ) -> None:
        self._documents = list(documents)
        self._reader = _Reader(now, group, queue, traceparent, cache(routes.limit_of))
        self._read: list[ReadDocument] = []

    def step(self) -> bool:
        """Read one more. Gives whether the next could be read too; what goes wrong is raised by `all`."""
        left = self._documents[len(self._read) : len(self._read) + 1]
        try:
            if not left or left[0].length > sqs.MAX_MESSAGE_BYTES:  # its payload would be stored
                return False
            self._read.append(self._reader.read(left[0]))
        except Exception:  # noqa: BLE001 - it is read again by `all`
            return False
        return True

    def all(self) -> list[ReadDocument]:
        """All documents. Raises as `read`."""
        return [*self._read, *(self._reader.read(document) for document in self._documents[len(self._read) :])]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads documents as `read` is asked to."""

    now: datetime
    group: str | None
    queue: str | None
    traceparent: str
    limit_of: Callable[[str], int]

    def read(self, document: IncomingDocument) -> ReadDocument:
        """The document with its messages, nothing of it held that is large."""
        size = document.length
        refusal = document.refusal or (_too_large(size) if size > settings.TRADES_MAX_DOCUMENT_BYTES else None)
        if refusal:
            return ReadDocument(document.name, document.position, b"", size, _sha256(b""), (Part(refusal=refusal),))
        if size <= sqs.MAX_MESSAGE_BYTES:
            content = document.path.read_bytes() if document.path else document.content
            return ReadDocument(document.name, document.position, content, len(content), _sha256(content), self._parts(content, None))
        if document.path:
            return self._large(document, document.path)
        with payloads.spool() as path:
            path.write_bytes(document.content)
            return self._large(document, path)

    def _large(self, document: IncomingDocument, path: Path) -> ReadDocument:
        original = payloads.keep(path, now=self.now)
        with payloads.spool() as target, _one_large_at_a_time:
            try:
                content = messages.write_text(_pieces(path), target, max_bytes=settings.TRADES_MAX_DOCUMENT_BYTES)
            except MessageRefused as refusal:
                parts = self._finished((messages.Prepared("", refusal=refusal),), LargeText(path, original.size, original.sha256))
            else:
                parts = self._parts(content, LargeText(path, original.size, original.sha256))
        return ReadDocument(document.name, document.position, b"", original.size, original.sha256, parts, original)

    def _parts(self, content: bytes | LargeText, original: LargeText | None) -> tuple[Part, ...]:
        """The messages of a file's bytes, or of its text if that is large; then `original` are its bytes."""
        try:
            found = messages.prepare(content, max_bytes=settings.TRADES_MAX_DOCUMENT_BYTES, registry=dialects.in_use())
        except MessageRefused as refusal:
            found = (messages.Prepared("", refusal=refusal),)
        return self._finished(found, original or content)

    def _finished(self, found: tuple[messages.Prepared, ...], original: bytes | LargeText) -> tuple[Part, ...]:
        parts = [self._finish(prepared) for prepared in found]
        if self.group is not None and all(prepared.refusal for prepared in found):
            parts = [self._finish(_as_it_is(found, original))]
        return tuple(parts)

    def _finish(self, prepared: messages.Prepared) -> Part:
        """The message with its queue and, where it is large, its payload; refused if there is no queue that could take it."""
        if prepared.refusal:
            return Part(message=prepared.message, refusal=prepared.refusal)
        data = prepared.text.encode()
        try:
            choice = self._choice(prepared)
            self._check(prepared, prepared.large.size if prepared.large else len(data), choice.queue)
        except MessageRefused as refusal:
            return Part(message=prepared.message, refusal=refusal)
        where: dict[str, Any] = {"message": prepared.message, "queue": choice.queue, "route": choice.route, "group": choice.group}
        if prepared.large:
            return Part("", prepared.large.size, prepared.large.sha256, payloads.keep(prepared.large, now=self.now), **where)
        if len(data) <= sqs.MAX_MESSAGE_BYTES:
            return Part(prepared.text, len(data), _sha256(data), **where)
        with payloads.spool() as path:
            path.write_bytes(data)
            return Part("", len(data), _sha256(data), payloads.keep(path, now=self.now), **where)

    def _choice(self, prepared: messages.Prepared) -> routes.Choice:
        """Where the message goes. Raises MessageRefused if nowhere: it is about no trade, and no route has a group for it."""
        message = prepared.message
        if self.queue is None:
            document = prepared.large or prepared.text
            choice = routes.choose(message, document)
            if choice is None and self.group is not None:
                choice = routes.choose(None, document)
        else:
            choice = None if message is not None and not message.events and self.group is None else routes.Choice(self.queue)
        if choice is not None:
            return choice
        said, dialect, message_type = (message.reference, message.dialect, message.message_type) if message else ("", "", "")
        sentence = (
            f"{said} It is kept with the upload and not published: it belongs to no message group. A route with a group publishes such "
            "messages (docs/queues.md), and so does a message group that is named when it is handed in."
        )
        raise MessageRefused(REFERENCE, sentence.strip(), dialect=dialect, message_type=message_type)

    def _check(self, prepared: messages.Prepared, text_bytes: int, queue: str) -> None:
        """Raises MessageRefused if the queue, or S3 in place of it, would not take the message."""
        if not text_bytes:
            raise MessageRefused("empty", "The document is empty.")
        # What SQS allows is what XML allows, so that it holds for a text in S3 too; only a large one that is no XML may be any.
        if found := messages.first_forbidden_character(prepared.text):
            line, column, codepoint = found
            sentence = f"The character U+{codepoint:04X} can't travel in an SQS message. Remove it."
            raise MessageRefused("forbidden-character", sentence, line=line, column=column)
        size = size_of(text_bytes, self.traceparent)
        if not settings.TRADES_PAYLOAD_BUCKET and size > (limit := self.limit_of(queue)):
            raise MessageRefused(
                "too-large",
                f"The message takes {size:,} bytes with its attributes, and {queue} carries at most {limit:,}. "
                "Set TRADES_PAYLOAD_BUCKET to an S3 bucket to send larger ones, or split the document.",
            )


def _as_it_is(found: tuple[messages.Prepared, ...], original: bytes | LargeText) -> messages.Prepared:
    """A document as one message that is not understood: as text in UTF-8 if it could be read as XML, else as its bytes are."""
    first = found[0]
    if len(found) == 1 and first.refusal and first.refusal.code == "unknown-dialect":
        return replace(first, refusal=None)
    try:
        if isinstance(original, bytes):
            return messages.Prepared(original.decode())
        decoder = Decoder("utf-8")
        for piece in _pieces(original.path):
            decoder.decode(piece, final=False)
        decoder.decode(b"", final=True)
        return messages.Prepared("", large=original)
    except UnicodeDecodeError as error:
        sentence = f"Byte {error.start + 1} is not UTF-8 text, which a message must be. Save the file as UTF-8."
    except MessageRefused as refusal:
        sentence = f"It is not UTF-8 text, which a message must be: {refusal.message}"
    return messages.Prepared("", refusal=MessageRefused("not-text", sentence))


def _too_large(size: int) -> MessageRefused:
    limit = settings.TRADES_MAX_DOCUMENT_BYTES
    return MessageRefused("too-large", f"The document has {size:,} bytes, and at most {limit:,} are taken. Split it.")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
