"""Documents too large to hold in memory: their text is a file, and only a little of it is held at a time.

`write_text` makes such a file of the bytes of any document, by the rules of `encodings`.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trades.messages import encodings
from trades.messages.facts import MessageRefused

IN_MEMORY = 10 * 1024 * 1024  # bytes of a text that is read whole, as a message of the queue is
HELD = 1024 * 1024  # bytes of a text that is held for as long as what was understood of it
HEAD = 64 * 1024  # bytes in which the XML declaration ends


@dataclass(frozen=True, slots=True)
class LargeText:
    """A text in a file, as the queue (or the object that a message points to) carries it: UTF-8 without byte order mark.

    `size` in bytes and `sha256`, in hex, are those of the file. The encoding that its declaration states is ignored.
    """

    path: Path
    size: int
    sha256: str


def write_text(source: Iterable[bytes], path: Path, *, max_bytes: int) -> LargeText:
    """The text of a file that comes piece by piece, written to `path` as `encodings.to_text` would give it; an older file is replaced.

    A file in plain UTF-8 comes out unchanged to the byte. Raises MessageRefused: "too-large" as soon as what came, or its text,
    has more than `max_bytes`, "not-well-formed" with line and column when the bytes are not of the encoding they state. Then, and
    when the source fails, nothing is left at `path`.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("wb") as file:
            for piece in _text_of(_limited(source, max_bytes)):
                data = piece.encode()
                size += len(data)
                _refuse_larger(size, max_bytes)
                digest.update(data)
                file.write(data)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return LargeText(path, size, digest.hexdigest())


def text_of(document: LargeText) -> str:
    """The whole text, for a document that is small enough to be read as others are. Raises MessageRefused when it is not UTF-8."""
    return encodings.decode_as(document.path.read_bytes(), "utf-8")


def _limited(source: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    size = 0
    for piece in source:
        size += len(piece)
        _refuse_larger(size, max_bytes)
        yield piece


def _refuse_larger(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise MessageRefused("too-large", f"The document has more than {max_bytes:,} bytes, the most that is taken. Split it.")


def _text_of(source: Iterator[bytes]) -> Iterator[str]:
    head = _head(source)
    encoding, skip = encodings.encoding_of(head)
    decoder = Decoder(encoding)
    text = decoder.decode(head[skip:], final=False)
    if len(head) >= HEAD and text.startswith("<?xml") and ">" not in text:
        sentence = f'The XML declaration does not end within {HEAD:,} bytes. Expected one such as <?xml version="1.0"?>.'
        raise MessageRefused("not-well-formed", sentence, line=1, column=1)
    yield encodings.stating_utf_8(text)
    for piece in source:
        yield decoder.decode(piece, final=False)
    yield decoder.decode(b"", final=True)


def _head(source: Iterator[bytes]) -> bytes:
    head = bytearray()
    for piece in source:
        head += piece
        if len(head) >= HEAD:
            break
    return bytes(head)


class Position:
    """The place one has come to in a text that is passed over piece by piece."""

    def __init__(self) -> None:
        self._lines, self._column = 0, 0

    @property
    def place(self) -> tuple[int, int]:
        """Line and column, from 1, of what comes next."""
        return self._lines + 1, self._column + 1

    def pass_over(self, text: str) -> None:
        """Go on by this text."""
        last = text.rfind("\n")
        self._lines += text.count("\n")
        self._column = self._column + len(text) if last < 0 else len(text) - last - 1


class Decoder:
    """Decodes piece by piece; where that fails it knows the place."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._position = Position()
        self._start = ""

    def decode(self, data: bytes, *, final: bool) -> str:
        """The characters that these bytes complete. Raises MessageRefused where they are none."""
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise self._refusal(error) from None
        self._start = self._start or text[:200]
        self._position.pass_over(text)
        return text

    def _refusal(self, error: UnicodeDecodeError) -> MessageRefused:
        start = self._start or error.object[:200].decode(self._encoding, "replace")
        self._position.pass_over(error.object[: error.start].decode(self._encoding, "replace"))
        return encodings.wrong_byte(error.object[error.start], self._encoding, start, self._position.place)
