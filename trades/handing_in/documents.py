"""What comes in, and how much of it is held at a time; how a message of it travels."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from trades import sqs
from trades.messages.facts import MessageRefused

T = TypeVar("T")
PUBLICATION_ID, TRACEPARENT = "PublicationId", "traceparent"
CHUNK, CHUNK_BYTES = 500, 8 * 1024 * 1024  # what is held and stored together


@dataclass(frozen=True, slots=True)
class IncomingDocument:
    """One file (or pasted text) handed in: a name for people, and its exact bytes or the file on disk that has them.

    `size` in bytes is stated for a document whose content was not read, because it is over the limit or for the reason of
    `refusal`. `position` is its place in the upload where documents do not come in their order, 0 where they do.
    """

    name: str
    content: bytes = b""
    size: int | None = None
    position: int = 0
    refusal: MessageRefused | None = None
    path: Path | None = None

    @property
    def length(self) -> int:
        """Bytes, read or not. Raises OSError when the file is gone."""
        if self.size is not None:
            return self.size
        return self.path.stat().st_size if self.path else len(self.content)


def chunks(documents: Iterable[IncomingDocument]) -> Iterator[list[IncomingDocument]]:
    """The documents in lists that are to be read and stored one after the other: few enough, and small enough together."""
    return by_bytes(documents, lambda document: document.length)


def by_bytes(items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in lists of up to CHUNK of them and CHUNK_BYTES, or of one that is larger."""
    chunk: list[T] = []
    total = 0
    for item in items:
        size = size_of(item)
        if chunk and (len(chunk) == CHUNK or total + size > CHUNK_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += size
    if chunk:
        yield chunk


def attributes(publication_id: uuid.UUID, traceparent: str) -> dict[str, str]:
    """The message attributes that every message of ours travels with."""
    return {PUBLICATION_ID: str(publication_id), **({TRACEPARENT: traceparent} if traceparent else {})}


def outgoing(body: str, group_id: str, deduplication_id: str, publication_id: uuid.UUID, traceparent: str = "") -> sqs.Outgoing:
    """A message as it travels."""
    return sqs.Outgoing(body, group_id, deduplication_id, attributes(publication_id, traceparent))


def size_of(text_bytes: int, traceparent: str = "") -> int:
    """Bytes of a message with so long a text as SQS counts them, its attributes included."""
    return text_bytes + _size_of_attributes(traceparent)


@lru_cache(maxsize=64)  # asked for every message, and nearly always the same
def _size_of_attributes(traceparent: str) -> int:
    return outgoing("", "", "", uuid.UUID(int=0), traceparent).size
