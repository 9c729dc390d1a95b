"""Hardened XML reader: bytes of a file, or text of a queue message -> an lxml tree that is safe to walk.

A file is decoded here, by the rules of XML itself, and only its text, as UTF-8, is ever parsed: so what was understood when a
document was published is exactly what the queue carries. What would take long or much memory is refused before it is parsed.
"""

from __future__ import annotations

import codecs
import re
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from lxml import etree

from trades.messages.facts import MessageRefused
from trades.messages.values import shorten

MAX_BYTES = 10 * 1024 * 1024
SMALL = 32 * 1024  # bytes; whatever is in so small a document can't be too many of it
MAX_NODES = 500_000  # elements, comments and texts; attributes count twice. A node takes about 128 bytes once parsed, so 64 MB
MAX_DECLARATIONS = 100_000  # bytes of a DOCTYPE from its first declaration of an element to the end of its last
MAX_PREFIXES = 100  # namespaces that one element declares; they are repeated with each part of a document that is split
MAX_NAMESPACE = 1_000  # characters of that of the root element, for which mappings are compiled and kept
MAX_ENCODING_NAME = 40  # characters

XINCLUDE = "{http://www.w3.org/2001/XInclude}*"

# Extensible Markup Language (XML) 1.0, appendix F: a byte order mark, else how "<" is written, else the declaration, else UTF-8.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SHAPES = ((b"<\0\0\0", "utf-32-le"), (b"\0\0\0<", "utf-32-be"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_EBCDIC_DECLARATION = b"\x4c\x6f\xa7\x94"

# Codecs of Python's that are character encodings of documents; others ("idna", "unicode_escape") are not, and some are slow.
_ENCODINGS = frozenset(
    {
        *("utf-8", "ascii", "koi8-r", "koi8-u", "mac-roman", "shift_jis", "cp932", "euc_jp", "iso2022_jp"),
        *("gb2312", "gbk", "gb18030", "big5", "euc_kr", "cp949", "tis-620", "cp437", "cp850", "cp852"),
        *(f"iso8859-{part}" for part in range(1, 17)),
        *(f"cp125{page}" for page in range(9)),
    }
)

_DECLARED = re.compile(rb"""<\?xml\s[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._:-]*)["']""")
_DECLARATION = re.compile(r"""(<\?xml\s[^>]*?\bencoding\s*=\s*["'])([A-Za-z0-9._:-]*)""")
_DOCTYPE = re.compile(rb"(?>\s+|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE\b", re.DOTALL)
_DECLARES = re.compile(rb"<!(ENTITY|ATTLIST|NOTATION)\b")
_DECLARED_KINDS = {b"ENTITY": "entities", b"ATTLIST": "attributes", b"NOTATION": "notations"}
_NOT_TEXT = r"<(?:!--.*?-->|!\[CDATA\[.*?\]\]>|\?.*?\?>)"
_UNKNOWN_REFERENCE = re.compile(_NOT_TEXT.encode() + rb"|(&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);))", re.DOTALL)
_TAG = re.compile(rb"<[^<]*")  # and the text behind it: no value of an attribute holds a "<"
_LIBXML_PLACE = re.compile(r"\s*(?:, line \d+, column \d+)?\s*$")
_LIBXML_LIMIT = re.compile(r"(Excessive depth in document: \d+|too long|too big|too deep|huge|size limit exceeded|length exceeded)")

# Characters that Amazon SQS does not allow in a message body (SendMessage in the Amazon SQS API Reference).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_own = threading.local()


def read(document: bytes | str, *, max_bytes: int = MAX_BYTES) -> etree._Element:
    """The root element of a document; comments are kept, entities and external files never used.

    `bytes` are a file: its byte order mark or declaration states the encoding. `str` is text already (the body of a queue message):
    the encoding it declares is ignored. `max_bytes` limits the size, in bytes. Raises MessageRefused ("not-well-formed",
    "forbidden-construct", "too-large").
    """
    data = _as_utf8(document, max_bytes)
    if len(data) > SMALL:
        _refuse_too_many_nodes(data)
        _refuse_too_many_prefixes(data)
    has_doctype = _DOCTYPE.match(data) is not None
    if has_doctype:
        _refuse_declarations(data)
    try:
        root = etree.fromstring(data, _parser())
    except etree.XMLSyntaxError as error:
        raise _not_well_formed(data, error) from None
    namespace = str(root.tag).rpartition("}")[0][1:]
    if len(namespace) > MAX_NAMESPACE:
        sentence = f"The namespace of the root element has {len(namespace):,} characters; at most {MAX_NAMESPACE:,} are taken."
        line, column = Locator(data.decode()).locate(root)
        raise MessageRefused("too-large", sentence, line=line, column=column)
    if has_doctype:
        _refuse_unknown_references(data)
    for element in root.iter(XINCLUDE):
        line, column = Locator(data.decode()).locate(element)
        sentence = "XInclude is not taken, for it pulls other files in. Put the included text into the document."
        raise MessageRefused("forbidden-construct", sentence, line=line, column=column, element="include")
    return root


def to_text(document: bytes) -> str:
    """A file as the text that a queue message carries: decoded, without byte order mark, and its declaration stating UTF-8.

    A file in plain UTF-8 comes back unchanged to the byte. Raises MessageRefused when it cannot be decoded.
    """
    text = decode(document)
    match = _DECLARATION.match(text)
    if match and match[2].lower() not in ("utf-8", "utf8"):
        return f"{match[1]}UTF-8{text[match.end() :]}"
    return text


def decode(document: bytes | str, *, max_bytes: int | None = None) -> str:
    """The characters of a document, its declaration untouched and its byte order mark removed.

    Raises MessageRefused: "too-large" over `max_bytes`, "not-well-formed" when the bytes are not of the encoding they state.
    """
    if isinstance(document, str):
        return document.removeprefix("\ufeff")
    if max_bytes is not None and len(document) > max_bytes:
        raise _too_large(len(document), max_bytes)
    encoding, skip = _encoding_of(document)
    try:
        return document[skip:].decode(encoding)
    except UnicodeDecodeError as error:
        line, column = _place(document[skip : skip + error.start].decode(encoding, "replace"))
        byte = document[skip + error.start]
        name = _display(encoding)
        sentence = _looks_like(document[skip : skip + 200].decode(encoding, "replace")) or (
            f"The byte 0x{byte:02X} is not {name}, the encoding this document states or UTF-8 by default. "
            "State the true encoding in its XML declaration, or save it as UTF-8."
        )
        raise MessageRefused("not-well-formed", sentence, line=line, column=column) from None


class Locator:
    """Finds where in a document the elements of its tree stand. Nothing is done until the first question.

    The parser's own line is that of the end of a start tag and it keeps no column, so the tags are found again in the text.
    """

    def __init__(self, document: bytes | str) -> None:
        self._document = document
        self._tags: dict[tuple[str, str | None], _Tags] = {}

    def locate(self, element: etree._Element) -> tuple[int | None, int | None]:
        """Line and column, from 1, of the start tag of an element that `read` gave for this document."""
        same = (str(element.tag), element.prefix)
        if same not in self._tags:
            self._tags[same] = _Tags(element, self._text)
        offset = self._tags[same].offset(element)
        if offset is None:
            return element.sourceline, None
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    @cached_property
    def _text(self) -> str:
        return decode(self._document)

    @cached_property
    def _line_starts(self) -> array[int]:
        return array("L", [0, *(match.end() for match in re.finditer("\n", self._text))])


class _Tags:
    """Where the start tags of one name stand. Elements asked for in their own order are found in one walk of the document."""

    def __init__(self, element: etree._Element, text: str) -> None:
        self._first = element
        local_name = etree.QName(element).localname
        name = f"{element.prefix}:{local_name}" if element.prefix else local_name
        matches = re.finditer(rf"{_NOT_TEXT[:-1]}|({re.escape(name)})(?=[\s/>]))", text, re.DOTALL)
        self._offsets = array("L", (match.start() for match in matches if match[1]))
        self._known = len(self._offsets) == sum(1 for _ in self._elements())
        self._found: dict[etree._Element, int] = {}
        self._walk = enumerate(self._elements())

    def offset(self, element: etree._Element) -> int | None:
        """Where the tag of this element starts in the text; None when the tags and the elements do not match one to one."""
        if element not in self._found and self._known and not self._walk_to(element):
            self._walk = enumerate(self._elements())  # for it stands before the one asked for last
            self._walk_to(element)
        return self._found.get(element)

    def _walk_to(self, element: etree._Element) -> bool:
        # No list of them: a proxy of lxml for each element takes more memory than the tree itself.
        for number, other in self._walk:
            if other is element:
                self._found[element] = self._offsets[number]
                return True
        return False

    def _elements(self) -> Iterator[etree._Element]:
        prefix = self._first.prefix
        return (other for other in self._first.getroottree().getroot().iter(str(self._first.tag)) if other.prefix == prefix)


def first_forbidden_character(text: str) -> tuple[int, int, int] | None:
    """Line, column (both from 1) and code point of the first character that Amazon SQS refuses in a body, None if there is none.

    Allowed are U+0009, U+000A, U+000D, U+0020-U+D7FF, U+E000-U+FFFD and U+10000-U+10FFFF (SendMessage, Amazon SQS API Reference).
    """
    match = _FORBIDDEN.search(text)
    return (*_place(text[: match.start()]), ord(match[0])) if match else None


def _parser() -> etree.XMLParser:
    # One for each thread: a parser carries the error log of its last run.
    if not hasattr(_own, "parser"):
        _own.parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    parser: etree.XMLParser = _own.parser
    return parser


def _as_utf8(document: bytes | str, max_bytes: int) -> bytes:
    text = decode(document, max_bytes=max_bytes)
    if isinstance(document, bytes) and text.isascii() and len(text) == len(document):
        return document  # no second copy of 10 MB
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        line, column = _place(text[: error.start])
        sentence = f"The character U+{ord(text[error.start]):04X} is half of a pair and stands alone; XML does not allow it."
        raise MessageRefused("not-well-formed", sentence, line=line, column=column) from None
    if isinstance(document, str) and len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    return data


def _refuse_too_many_nodes(data: bytes) -> None:
    # At least as many as there are: what looks like a tag within a comment counts too. A text follows a ">" that no "<" follows.
    tags, texts = data.count(b"<") - data.count(b"</"), data.count(b">") - data.count(b"><")
    nodes = tags + texts + 2 * data.count(b"=")
    if nodes > MAX_NODES:
        sentence = f"The document has about {nodes:,} elements, texts and attributes (these count twice); at most {MAX_NODES:,} are taken."
        raise MessageRefused("too-large", f"{sentence} Split it into several files.")


def _refuse_too_many_prefixes(data: bytes) -> None:
    if data.count(b"xmlns") <= MAX_PREFIXES:
        return
    for tag in _TAG.finditer(data):
        prefixes = tag[0].count(b"xmlns")
        if prefixes > MAX_PREFIXES:
            line, column = _place(data[: tag.start()].decode())
            sentence = f"This element declares {prefixes:,} namespaces; at most {MAX_PREFIXES:,} are taken. Declare those that are used."
            raise MessageRefused("too-large", sentence, line=line, column=column)


def _encoding_of(document: bytes) -> tuple[str, int]:
    for mark, encoding in _MARKS:
        if document.startswith(mark):
            return encoding, len(mark)
    for shape, encoding in _SHAPES:
        if document.startswith(shape):
            return encoding, 0
    if document.startswith(_EBCDIC_DECLARATION):
        sentence = "The document is written in EBCDIC, which is not taken. Save it as UTF-8."
        raise MessageRefused("not-well-formed", sentence, line=1, column=1)
    match = _DECLARED.match(document)
    return (_known_encoding(match[1].decode(), match.start(1) + 1) if match else "utf-8"), 0


def _known_encoding(stated: str, column: int) -> str:
    try:
        encoding = codecs.lookup(stated).name if len(stated) <= MAX_ENCODING_NAME else ""
    except (LookupError, ValueError):
        encoding = ""
    if encoding in _ENCODINGS:
        return encoding
    if encoding.startswith(("utf-16", "utf-32")):
        sentence = f"The XML declaration states {shorten(stated)}, but the document is not written in it."
    else:
        sentence = f"The XML declaration states the encoding {shorten(stated) or 'of no name'}, which is not known."
    raise MessageRefused("not-well-formed", f"{sentence} Save it as UTF-8.", line=1, column=column)


def _refuse_declarations(data: bytes) -> None:
    # Before parsing: declared entities and default attributes can make a small document very large.
    declaration = _DECLARES.search(data)
    if declaration:
        kind = _DECLARED_KINDS[declaration[1]]
        sentence = f"The DOCTYPE declares {kind}, which is not taken. Remove the declarations and write their text where it is used."
        raise _forbidden(sentence, data, declaration.start())
    first, last = data.find(b"<!ELEMENT"), data.rfind(b"<!ELEMENT")
    size = (data.find(b">", last) + 1 or len(data)) - first
    if first >= 0 and size > MAX_DECLARATIONS:
        line, column = _place(data[:first].decode())
        sentence = f"The DOCTYPE declares elements in {size:,} bytes; at most {MAX_DECLARATIONS:,} are taken. Remove the declarations."
        raise MessageRefused("too-large", sentence, line=line, column=column, element="DOCTYPE")


def _refuse_unknown_references(data: bytes) -> None:
    # The parser drops a reference to an entity of a DTD that it does not load: a trade id would come out shortened.
    for match in _UNKNOWN_REFERENCE.finditer(data):
        if match[1]:
            sentence = "An entity of the DTD is used here, and DTDs are never loaded. Write its text in its place."
            raise _forbidden(sentence, data, match.start(1))


def _forbidden(sentence: str, data: bytes, offset: int) -> MessageRefused:
    line, column = _place(data[:offset].decode())
    return MessageRefused("forbidden-construct", sentence, line=line, column=column, element="DOCTYPE")


def _not_well_formed(data: bytes, error: etree.XMLSyntaxError) -> MessageRefused:
    line, column = error.position
    reason = _LIBXML_PLACE.sub("", (error.msg or "").removesuffix(f" (<string>, line {line})")).strip()
    beyond_limit = _LIBXML_LIMIT.search(reason)
    if beyond_limit:
        sentence = f"The document goes beyond what is taken in one place: {shorten(reason[: beyond_limit.end(1)], 200)}."
    else:
        sentence = _looks_like(data[:200].decode(errors="replace")) or f"The document is not well-formed XML: {shorten(reason, 200)}."
    return MessageRefused("too-large" if beyond_limit else "not-well-formed", sentence, line=max(line or 1, 1), column=max(column or 1, 1))


def _looks_like(start: str) -> str:
    start = start.lstrip(" \t\r\n").lower()
    if not start:
        return "The document is empty. Expected an XML document."
    if start.startswith(("{", "[")):
        return "This looks like JSON, not XML. Expected an XML document."
    if start.startswith(("<!doctype html", "<html")):
        return "This is an HTML page, not a trade message. Save the XML document itself."
    if start.startswith(("pk\x03\x04", "\x1f")):
        return "This is a compressed file. Unpack it and publish the XML documents in it."
    if not start.startswith("<"):
        return "This does not start as XML does, with '<'. Expected an XML document."
    return ""


def _too_large(size: int, max_bytes: int) -> MessageRefused:
    return MessageRefused("too-large", f"The document has {size:,} bytes; at most {max_bytes:,} are taken. Split it into several files.")


def _display(encoding: str) -> str:
    return encoding.upper().replace("ISO8859", "ISO-8859").replace("ASCII", "US-ASCII").replace("CP125", "windows-125")


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")
