"""Zip files that are handed in: their entries as documents, within bounds, each a file on disk under a name of ours.

The sizes that an archive states are not believed: what is read is counted.
"""

from __future__ import annotations

import lzma
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from django.conf import settings
from django.template.defaultfilters import filesizeformat

from trades.handing_in import IncomingDocument
from trades.messages.facts import MessageRefused

MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
ENTRY = b"PK\x01\x02"  # how each entry of the directory begins
SUFFIX = ".zip"
ARCHIVES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".zst")
PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MOST_ENTRIES = 10_000  # folders and other files included
# XML shrinks to a twentieth, at times to a fiftieth. What expands to more than this, beyond a mebibyte, is no document.
MOST_RATIO = 200
SMALL = 1024 * 1024
PIECE = 64 * 1024
FAULTS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


class _TooMuch(Exception):
    """An archive that is not read on: a code and a sentence."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def is_zip(name: str, file: IO[bytes]) -> bool:
    """Whether a file is an archive, by its name or by how it begins. Leaves the file at its start."""
    file.seek(0)
    begins = file.read(4)
    file.seek(0)
    return name.lower().endswith(SUFFIX) or begins in MAGIC


def expanded(name: str, file: IO[bytes], size: int, *, most_files: int, most_bytes: int, folder: Path) -> list[IncomingDocument]:
    """The documents of an archive in the order of their names, each named by its path in it, with its content in a file of `folder`.

    An entry that is not taken is a document that says why; an archive that can't be taken at all is one such document, and nothing of
    it is taken.
    """
    try:
        _count_entries(file)
        with zipfile.ZipFile(file) as archive:
            return list(_documents(archive, size, most_files, most_bytes, folder))
    except _TooMuch as fault:
        return [refused(name, fault.code, str(fault), size)]
    except FAULTS as error:
        sentence = f"The archive can't be read: {_said(error)}. Nothing of it was taken; make it again and hand it in once more."
        return [refused(name, "damaged-archive", sentence, size)]


def refused(name: str, code: str, sentence: str, size: int = 0) -> IncomingDocument:
    """A document that was not read, with the reason."""
    return IncomingDocument(name, b"", size, refusal=MessageRefused(code, sentence))


def _count_entries(file: IO[bytes]) -> None:
    """Raises _TooMuch for too many entries. Opening the archive would make an object of each, a gigabyte of them in 100 MB."""
    found, end = 0, b""
    while piece := file.read(PIECE):
        found += (end + piece).count(ENTRY)
        end = piece[1 - len(ENTRY) :]
        if found > MOST_ENTRIES:
            raise _TooMuch("archive-too-large", f"The archive has more than {MOST_ENTRIES:,} entries, and no more are looked at. Split it.")


def _documents(archive: zipfile.ZipFile, size: int, most_files: int, most_bytes: int, folder: Path) -> Iterator[IncomingDocument]:
    entries = archive.infolist()
    files = sorted((entry for entry in entries if not entry.is_dir() and not _is_hidden(entry.filename)), key=lambda entry: entry.filename)
    if not files:
        raise _TooMuch("empty-archive", "The archive has no files.")
    if len(files) > most_files:
        raise _TooMuch("archive-too-large", f"The archive has {len(files):,} files, and {most_files:,} more can be taken. Split it.")
    counter = _Counter(size, most_bytes)
    for entry in files:
        yield _document(archive, entry, counter, folder / f"{uuid.uuid4().hex}.xml")


def _document(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, counter: _Counter, path: Path) -> IncomingDocument:
    name = shown_name(entry.filename)
    if reason := _not_taken(entry):
        return refused(name, *reason)
    limit = settings.TRADES_MAX_DOCUMENT_BYTES
    try:
        begins = _write(archive, entry, counter, limit, path)
    except FAULTS as error:
        return refused(name, "damaged-archive", f"This entry of the archive can't be read: {_said(error)}.")
    if begins is None:
        return refused(name, "too-large", f"The document has more than {filesizeformat(limit)}, and no more are taken. Split it.")
    if begins in MAGIC:
        return refused(name, *_NESTED)
    return IncomingDocument(name, path=path)


_NESTED = ("nested-archive", "This is an archive within the archive, which is not opened. Hand it in by itself.")


def _not_taken(entry: zipfile.ZipInfo) -> tuple[str, str] | None:
    """Why an entry is not read, from its name and header alone."""
    name = entry.filename.lower()
    if name.endswith(ARCHIVES):
        return _NESTED
    if not name.endswith(".xml"):
        return "not-xml", "The name does not end in .xml; it was left out."
    if entry.flag_bits & 0x1:
        return "encrypted", "This entry of the archive is encrypted. Make the archive without a password."
    if entry.compress_type not in PLAIN_METHODS:
        return "damaged-archive", "This entry is compressed in a way that is not read. Make the archive with the usual method (deflate)."
    return None


class _Counter:
    """Counts what an archive expands to, whatever it states. Raises _TooMuch."""

    def __init__(self, archive_bytes: int, most: int) -> None:
        self.total, self.most, self.archive_bytes = 0, most, max(archive_bytes, 1)

    def add(self, count: int) -> None:
        """Take so many bytes into account."""
        self.total += count
        if self.total > self.most:
            sentence = f"The archive expands to more than {filesizeformat(self.most)}, which is all that can be taken. Split it."
            raise _TooMuch("archive-too-large", sentence)
        if self.total > SMALL and self.total > MOST_RATIO * self.archive_bytes:
            sentence = f"The archive expands to more than {MOST_RATIO} times its size, which no documents do. Nothing of it was taken."
            raise _TooMuch("archive-too-large", sentence)


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, counter: _Counter, limit: int, path: Path) -> bytes | None:
    """Write the content of an entry to a file; gives how it begins, None where it is larger than the limit."""
    length, begins = 0, b""
    with archive.open(entry) as stream, path.open("wb") as file:
        while piece := stream.read(PIECE):
            counter.add(len(piece))
            length += len(piece)
            if length > limit:
                file.truncate(0)
                return None
            begins = begins or piece[:4]
            file.write(piece)
    return begins


def shown_name(name: str) -> str:
    """A name as people may see it: control characters become spaces."""
    return "".join(character if character.isprintable() else " " for character in name.replace("\\", "/")) or "file"


def _is_hidden(name: str) -> bool:
    """What systems add to archives and folders by themselves."""
    parts = name.split("/")
    return parts[0] == "__MACOSX" or any(part.startswith(".") and part.strip(".") for part in parts) or parts[-1].lower() == "thumbs.db"


def _said(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__
