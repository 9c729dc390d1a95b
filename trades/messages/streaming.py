"""A document in a file -> an lxml tree that is safe to walk, with little of its text in memory at any time.

What `reader` refuses is refused here too, by the same rules. What stands in one place at a length that no mapping asks for (an
attachment, a comment) is shortened in the tree, once the document is known to be well-formed there; the document itself stays.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from enum import Enum, auto
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from trades.messages import encodings, large, reader
from trades.messages.facts import MessageRefused
from trades.messages.large import LargeText, Position

CHUNK = 256 * 1024  # bytes that are read, and shortened or not, at a time
LONG = 1024 * 1024  # bytes from one "<" to the next; in fewer, texts are not told from tags
KEPT = 8 * 1024 * 1024  # bytes of a text, comment, CDATA section or instruction before it is shortened; the parser takes 10,000,000
SURELY_NONE = 64 * 1024  # characters that are no space, beyond which a text is no value that any mapping takes
SHORTEST_LINES = 16  # bytes on average, of lines that are kept
MAX_TAG = 10_000_000  # bytes


class Kind(Enum):
    """What a part of a document is: MARKUP holds tags and the texts between them, TEXT is from a long text, BOUND opens or closes
    one of the others, or is a whole one that is short."""

    MARKUP = auto()
    TEXT = auto()
    BOUND = auto()
    COMMENT = auto()
    CDATA = auto()
    INSTRUCTION = auto()


_OPENED = {b"<!--": (Kind.COMMENT, b"-->"), b"<![CDATA[": (Kind.CDATA, b"]]>"), b"<?": (Kind.INSTRUCTION, b"?>")}
_OPENS = re.compile(rb"<!--|<!\[CDATA\[|<\?")
_TAG = re.compile(rb"""<(?:[^"'>]++|"[^"]*+"|'[^']*+')*+>""")
_ELEMENT = re.compile(b"<!ELEMENT")
_OVERLAP = 16  # bytes, more than the longest thing looked for
_SPACE = b" \t\r\n"

# What must be seen by the parser, for it may be wrong there or mean something else than itself.
_SEEN_IN = {
    Kind.TEXT: re.compile(rb"[^\t\n\r -~]|[]&>]"),
    Kind.COMMENT: re.compile(rb"[^\t\n\r -~]|--|\A-|-\Z"),
    Kind.CDATA: re.compile(rb"[^\t\n\r -~]|]"),
    Kind.INSTRUCTION: re.compile(rb"[^\t\n\r -~]|\?"),
}


class Piece(NamedTuple):
    """A part of a document and where it starts, in bytes."""

    kind: Kind
    offset: int
    data: bytes


def read(document: bytes | str | LargeText, *, max_bytes: int = reader.MAX_BYTES) -> etree._Element:
    """The root element of a document, large or not, as `reader.read` gives it. Raises MessageRefused."""
    if not isinstance(document, LargeText):
        return reader.read(document, max_bytes=max_bytes)
    if document.size > max_bytes:
        raise encodings.too_large(document.size, max_bytes)
    if document.size <= large.IN_MEMORY:
        return reader.read(large.text_of(document), max_bytes=max_bytes)
    _refuse_by_its_bytes(document)
    has_doctype = _has_doctype_and_tags_that_are_taken(document)
    if has_doctype:
        _refuse_declarations(document)
    return _parsed(document, has_doctype)


def locator(document: bytes | str | LargeText) -> reader.Locates:
    """What finds the elements of a document, large or not."""
    if not isinstance(document, LargeText):
        return reader.Locator(document)
    return FileLocator(document) if document.size > large.IN_MEMORY else _TextLocator(document)


class _TextLocator(reader.Locator):
    """Finds where in a document that is no longer in memory the elements of its tree stand."""

    def __init__(self, document: LargeText) -> None:
        super().__init__("")
        self._file = document

    @cached_property
    def _text(self) -> str:
        return large.text_of(self._file)


class FileLocator:
    """Finds where in a large document the elements of its tree stand, by reading the file once for each."""

    def __init__(self, document: LargeText) -> None:
        self._document = document

    def locate(self, element: etree._Element) -> tuple[int | None, int | None]:
        """Line and column, from 1, of the start tag of an element that `read` gave for this document."""
        number = next(number for number, other in enumerate(reader.same_name(element)) if other is element)
        tag = re.compile(b"<" + re.escape(reader.written_name(element)).encode() + rb"(?=[\s/>])")
        found, offset = 0, 0
        for piece in pieces(self._document.path):
            if piece.kind is Kind.MARKUP:
                for match in tag.finditer(piece.data):
                    offset = piece.offset + match.start() if found == number else offset
                    found += 1
        if found != sum(1 for _ in reader.same_name(element)):
            return None, None  # the parser's own line is that of the shortened text
        return _place(self._document, offset)


# The parts of a document


def pieces(path: Path) -> Iterator[Piece]:
    """The parts of a document, in their order; together they are the document. No tag is in two of them, if it is one."""
    with path.open("rb") as file:
        splitter = Splitter()
        while data := file.read(max(CHUNK, splitter.waiting)):  # for a long tag is looked at again with what comes
            yield from splitter.split(data)
        yield from splitter.split(b"", final=True)


class Splitter:
    """Tells the parts of a document apart, which comes piece by piece."""

    def __init__(self) -> None:
        self._left = b""
        self._offset = 0
        self._kind = Kind.MARKUP
        self._end = b""  # of the comment, CDATA section or instruction that is open

    @property
    def waiting(self) -> int:
        """Bytes that are of no complete part yet."""
        return len(self._left)

    def split(self, data: bytes, *, final: bool = False) -> Iterator[Piece]:
        """The parts that these further bytes complete. Raises TagTooLong."""
        data, at = self._left + data, 0
        while at < len(data):
            kind, end = self._next(data, at, final)
            if end == at:
                break
            yield Piece(kind, self._offset + at, data[at:end])
            at = end
        self._left, self._offset = data[at:], self._offset + at

    def _next(self, data: bytes, at: int, final: bool) -> tuple[Kind, int]:
        """Kind and end of the part that starts here; the end is the start while more must come."""
        if self._end:
            return self._inside(data, at, final)
        opens = _OPENS.search(data, at)
        if opens and opens.start() == at:
            return self._opened(data, opens)
        if opens or final:
            return Kind.MARKUP, opens.start() if opens else len(data)
        last = data.rfind(b"<", at)
        if last != at:
            return (Kind.TEXT, min(len(data), at + CHUNK)) if last < 0 else (Kind.MARKUP, last)
        if len(data) - at < LONG:
            return Kind.MARKUP, at
        tag = _TAG.match(data, at)
        if not tag and len(data) - at > MAX_TAG:
            raise TagTooLong(self._offset + at)
        return Kind.MARKUP, tag.end() if tag else at

    def _opened(self, data: bytes, opens: re.Match[bytes]) -> tuple[Kind, int]:
        kind, closed = _OPENED[opens[0]]
        end = data.find(closed, opens.end())
        if 0 <= end - opens.start() < CHUNK:
            return Kind.BOUND, end + len(closed)
        self._kind, self._end = kind, closed
        return Kind.BOUND, opens.end()

    def _inside(self, data: bytes, at: int, final: bool) -> tuple[Kind, int]:
        end = data.find(self._end, at)
        if end == at:
            length, self._end = len(self._end), b""
            return Kind.BOUND, at + length
        if end < 0:
            end = len(data) if final else max(at, len(data) - len(self._end) + 1)
        return self._kind, min(end, at + CHUNK)


class TagTooLong(Exception):
    """A tag goes beyond MAX_TAG bytes; `offset` is where it starts."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


# Refusals before it is parsed


def _refuse_by_its_bytes(document: LargeText) -> None:
    """Raises MessageRefused for what is not UTF-8, or has too many nodes."""
    decoder = large.Decoder("utf-8")
    nodes, last = 0, b""
    for data in _chunks(document):
        decoder.decode(data, final=False)
        nodes += reader.count_nodes(data) - ((last + data[:1]) in (b"</", b"><"))
        last = data[-1:]
    decoder.decode(b"", final=True)
    reader.refuse_too_many_nodes(nodes)


def _has_doctype_and_tags_that_are_taken(document: LargeText) -> bool:
    """Whether a document type declaration stands before the root element. Raises MessageRefused for a tag that is too long or
    declares too many namespaces."""
    start = b""  # of the first thing that is no space, comment or instruction
    try:
        for piece in pieces(document.path):
            if not start and piece.kind in (Kind.MARKUP, Kind.TEXT):
                start = piece.data.lstrip(_SPACE + codecs.BOM_UTF8)[:20]
            found = reader.tag_of_many_prefixes(piece.data) if piece.kind is Kind.MARKUP else None
            if found:
                raise reader.too_many_prefixes(found[1], _place(document, piece.offset + found[0]))
    except TagTooLong as too_long:
        line, column = _place(document, too_long.offset)
        sentence = f"A tag starts here that goes beyond {MAX_TAG:,} bytes, the most that are taken in one place."
        raise MessageRefused("too-large", sentence, line=line, column=column) from None
    return start.startswith(b"<!DOCTYPE")


def _refuse_declarations(document: LargeText) -> None:
    # All bytes, whatever part they seem to be of: within a DOCTYPE the parts may be others than they seem.
    first, last, end, offset, before = -1, -1, -1, 0, b""
    for data in _chunks(document):
        window, start = before + data, offset - len(before)
        declaration = reader.DECLARES.search(window)
        if declaration:
            raise reader.declares(declaration[1], _place(document, start + declaration.start()))
        for element in _ELEMENT.finditer(window):
            last, end = start + element.start(), -1
            first = last if first < 0 else first
        if last >= 0 and end < 0:
            closed = window.find(b">", max(0, last - start))
            end = start + closed + 1 if closed >= 0 else -1
        offset, before = offset + len(data), window[-_OVERLAP:]
    size = (end if end >= 0 else document.size) - first
    if first >= 0 and size > reader.MAX_DECLARATIONS:
        raise reader.declares_much(size, _place(document, first))


def _place(document: LargeText, offset: int) -> tuple[int, int]:
    decoder, position = codecs.getincrementaldecoder("utf-8")("replace"), Position()
    for data in _chunks(document):
        position.pass_over(decoder.decode(data[:offset]))
        offset -= len(data)
        if offset <= 0:
            break
    return position.place


def _chunks(document: LargeText) -> Iterator[bytes]:
    with document.path.open("rb") as file:
        while data := file.read(CHUNK):
            yield data


# Parsing


def _parsed(document: LargeText, has_doctype: bool) -> etree._Element:
    # Within a DOCTYPE the parts may be others than they seem: then the parser is given all of them.
    shortener, references = None if has_doctype else _Shortener(), _References() if has_doctype else None
    try:
        # Not parser.feed(): it passes over an unknown reference, and takes what follows for another document (lxml 6.1).
        root = etree.parse(_Reading(_together(document, shortener, references)), reader.new_parser()).getroot()
    except etree.XMLSyntaxError as error:
        refusal = reader.not_well_formed(next(_chunks(document), b"")[:200], error)
        if shortener and shortener.has_shortened:
            refusal.column, refusal.line = None, None if shortener.has_lost_lines else refusal.line
        raise refusal from None
    where = FileLocator(document)
    reader.refuse_long_namespace(root, where)
    if has_doctype:
        reader.refuse_confusing_doctype(root)
    if references and references.unknown is not None:
        raise reader.unknown_reference(_place(document, references.unknown))
    reader.refuse_inclusions(root, where)
    return root


def _together(document: LargeText, shortener: _Shortener | None, references: _References | None) -> Iterator[bytes]:
    """What the parser is given, with many small parts in one, for each call takes time."""
    together = bytearray()
    for piece in pieces(document.path):
        if references:
            references.look_at(piece)
        together += shortener.shortened(piece) if shortener else piece.data
        if len(together) >= CHUNK:
            yield bytes(together)
            together.clear()
    yield bytes(together)


class _Reading:
    """Some parts of a document as a file to read from."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def read(self, size: int = -1) -> bytes:
        """The next part, b"" at the end; lxml takes what it needs of it."""
        return next((part for part in self._parts if part), b"")


class _Shortener:
    """Leaves out of a long text, comment, CDATA section or instruction what goes beyond KEPT bytes, as far as it is plain.

    What is left means the same to a mapping. Lines stay unless there is little in them,
    and of digits in base64 or hexadecimal a number that can be theirs.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._characters = 0  # that are no space
        self._open_reference = False
        self.has_shortened = self.has_lost_lines = False

    def shortened(self, piece: Piece) -> bytes:
        """What the parser is given for a part of the document."""
        if piece.kind not in _SEEN_IN:
            self._bytes, self._characters, self._open_reference = 0, 0, False
            return piece.data
        data, characters = piece.data, len(piece.data.translate(None, _SPACE))
        may_be_value = self._characters < SURELY_NONE and characters > 0
        self._bytes, self._characters = self._bytes + len(data), self._characters + characters
        if self._bytes <= KEPT or may_be_value or self._open_reference or _SEEN_IN[piece.kind].search(data):
            self._open_reference = piece.kind is Kind.TEXT and data.rfind(b"&") > data.rfind(b";")
            return data
        self.has_shortened = True
        end = _start_of_last(data, min(characters, 4 + characters % 4))
        lines = data.count(b"\n", 0, end)
        if lines > len(data) // SHORTEST_LINES:
            lines, self.has_lost_lines = 0, True
        return (b"\n" * lines or b" ") + data[end:]


def _start_of_last(data: bytes, characters: int) -> int:
    """Where so many characters that are no space stand at the end of the data."""
    start = len(data)
    while characters:
        start -= 1
        characters -= data[start] not in _SPACE
    return start


class _References:
    """Looks for references to entities that XML itself does not know: the parser leaves them out without a word."""

    def __init__(self) -> None:
        self.unknown: int | None = None
        self._before = b""  # the start of a reference that goes on

    def look_at(self, piece: Piece) -> None:
        """Look at the next part; `unknown` is the place of the first that was found."""
        if self.unknown is None and piece.kind in (Kind.MARKUP, Kind.TEXT):
            text = self._before + piece.data
            started = text.rfind(b"&") if piece.kind is Kind.TEXT else -1
            end = started if started > text.rfind(b";") else len(text)
            match = reader.UNKNOWN_REFERENCE.search(text, 0, end)
            self.unknown = piece.offset - len(self._before) + match.start() if match else None
            self._before = text[end:]
