"""Texts and files that are too large for a row: kept once in the database, in parts, and read back without holding them in memory."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction

from trades.messages.large import LargeText
from trades.models import Draft, Message, Payload, PayloadPart, Publication

PART = 1024 * 1024  # bytes of a part, the last one may have fewer
FORGOTTEN_SECONDS = 24 * 3600  # a file in the spool that is older was left by a process that was killed

Row = Message | Draft | Publication


def keep(source: Path | LargeText, *, now: datetime) -> Payload:
    """The payload with the content of a file, stored unless it is there already: all of it in one transaction, or nothing.

    Raises OSError when the file can't be read, or is not what its LargeText says.
    """
    size, sha256 = (source.size, source.sha256) if isinstance(source, LargeText) else _measured(source)
    if (known := Payload.objects.filter(sha256=sha256).first()) is not None:
        return known
    path = source.path if isinstance(source, LargeText) else source
    with transaction.atomic(), path.open("rb") as file:
        # Who keeps the same at the same time waits here for the other to commit.
        payload, is_new = Payload.objects.get_or_create(sha256=sha256, defaults={"size": size, "created_at": now})
        if is_new and _store(payload, file) != (size, sha256):
            raise OSError(f"The file {path.name} changed while it was being kept.")
    return payload


def pieces(payload: Payload) -> Iterator[bytes]:
    """The content in pieces of at most a mebibyte, each a query of its own: no more than one of them is held."""
    found, number = 0, 0
    while found < payload.size:
        number += 1
        content = bytes(payload.parts.values_list("content", flat=True).get(number=number))
        found += len(content)
        yield content


@contextmanager
def spool() -> Iterator[Path]:
    """The path of a temporary file for one large text, for the time of the block; nothing is there yet."""
    folder = Path(settings.VAR_DIR) / "spool"
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    path = folder / f"{uuid.uuid4().hex}.xml"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def unwritable(error: OSError) -> str:
    """Why a file can't be written to the spool, as a sentence."""
    return f"A payload can't be written to the folder TRADES_VAR_DIR: {error}."


@contextmanager
def spooled(payload: Payload) -> Iterator[LargeText]:
    """The content as a temporary file, which is gone after the block."""
    with spool() as path:
        _write(pieces(payload), path)
        yield LargeText(path, payload.size, payload.sha256)


@contextmanager
def document_of(row: Row) -> Iterator[str | LargeText]:
    """The text of a message, draft or publication, ready to be parsed within the block."""
    if row.payload is None:
        yield row.body
        return
    with spooled(row.payload) as text:
        yield text


def text_of(row: Row, limit: int) -> str | None:
    """The whole text of a message, draft or publication where it has at most so many bytes, else None."""
    if row.payload is None:
        return row.body if len(row.body.encode()) <= limit else None
    return b"".join(pieces(row.payload)).decode() if row.payload.size <= limit else None


def start_of(row: Row, limit: int) -> str:
    """At most so many bytes of the text of a message, draft or publication, from its start; no character is cut in two."""
    data = row.body[:limit].encode() if row.payload is None else _first(row.payload, limit)
    return data[:limit].decode("utf-8", "ignore")


def _measured(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _store(payload: Payload, file: BinaryIO) -> tuple[int, str]:
    """Store the parts of a new payload; gives size and SHA-256 of what was read."""
    digest, size, number = hashlib.sha256(), 0, 0
    while content := file.read(PART):
        number += 1
        PayloadPart.objects.create(payload=payload, number=number, content=content)
        digest.update(content)
        size += len(content)
    return size, digest.hexdigest()


def _first(payload: Payload, limit: int) -> bytes:
    data = bytearray()
    for piece in pieces(payload):
        data += piece
        if len(data) >= limit:
            break
    return bytes(data)


def _write(source: Iterable[bytes], path: Path) -> None:
    with path.open("wb") as file:
        file.writelines(source)


def _sweep(folder: Path) -> None:
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - FORGOTTEN_SECONDS:
                path.unlink()
