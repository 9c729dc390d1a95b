"""Hardened XML reader: bytes of a file, or text of a queue message -> an lxml tree that is safe to walk.

A file is decoded first (`encodings`), and only its text, as UTF-8, is ever parsed: so what was understood when a
document was published is exactly what the queue carries. What would take long or much memory is refused before it is parsed.
"""

from __future__ import annotations

import re
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import Protocol

from lxml import etree

from trades.messages.encodings import decode, looks_like, place_after, too_large
from trades.messages.facts import MessageRefused
from trades.messages.values import shorten

MAX_BYTES = 10 * 1024 * 1024
SMALL = 32 * 1024  # bytes; whatever is in so small a document can't be too many of it
MAX_NODES = 500_000  # elements, comments and texts; attributes count twice. A node takes about 128 bytes once parsed, so 64 MB
MAX_DECLARATIONS = 100_000  # bytes of a DOCTYPE from its first declaration of an element to the end of its last
MAX_PREFIXES = 100  # namespaces that one element declares; they are repeated with each part of a document that is split
MAX_NAMESPACE = 1_000  # characters of that of the root element, for which mappings are compiled and kept

XINCLUDE = "{http://www.w3.org/2001/XInclude}*"

_DOCTYPE = re.compile(rb"(?>\xef\xbb\xbf|\s+|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE\b", re.DOTALL)
DECLARES = re.compile(rb"<!(ENTITY|ATTLIST|NOTATION)\b")
_DECLARED_KINDS = {b"ENTITY": "entities", b"ATTLIST": "attributes", b"NOTATION": "notations"}
_NOT_TEXT = r"<(?:!--.*?-->|!\[CDATA\[.*?\]\]>|\?.*?\?>)"
UNKNOWN_REFERENCE = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9a-fA-F]+);)")
_UNKNOWN_REFERENCE = re.compile(_NOT_TEXT.encode() + b"|(" + UNKNOWN_REFERENCE.pattern + b")", re.DOTALL)
_TAG = re.compile(rb"<[^<]*")  # and the text behind it: no value of an attribute holds a "<"
_LIBXML_PLACE = re.compile(r"\s*(?:, line \d+, column \d+)?\s*$")
_LIBXML_LIMIT = re.compile(r"(Excessive depth in document: \d+|too long|too big|too deep|huge|size limit exceeded|length exceeded)")

_own = threading.local()


def read(document: bytes | str, *, max_bytes: int = MAX_BYTES) -> etree._Element:
    """The root element of a document; comments are kept, entities and external files never used.

    `bytes` are a file: its byte order mark or declaration states the encoding. `str` is text already (the body of a queue message):
    the encoding it declares is ignored. `max_bytes` limits the size, in bytes. Raises MessageRefused ("not-well-formed",
    "forbidden-construct", "too-large").
    """
    data = _as_utf8(document, max_bytes)
    if len(data) > SMALL:
        refuse_too_many_nodes(count_nodes(data))
        _refuse_too_many_prefixes(data)
    has_doctype = _DOCTYPE.match(data) is not None
    if has_doctype:
        _refuse_declarations(data)
    try:
        root = etree.fromstring(data, _parser())
    except etree.XMLSyntaxError as error:
        raise not_well_formed(data[:200], error) from None
    refuse_long_namespace(root, Locator(document))
    if has_doctype:
        refuse_confusing_doctype(root)
        _refuse_unknown_references(data)
    refuse_inclusions(root, Locator(document))
    return root


def refuse_long_namespace(root: etree._Element, locator: Locates) -> None:
    """Raises MessageRefused when that of the root element has more than MAX_NAMESPACE characters."""
    namespace = str(root.tag).rpartition("}")[0][1:]
    if len(namespace) > MAX_NAMESPACE:
        sentence = f"The namespace of the root element has {len(namespace):,} characters; at most {MAX_NAMESPACE:,} are taken."
        line, column = locator.locate(root)
        raise MessageRefused("too-large", sentence, line=line, column=column)


def refuse_inclusions(root: etree._Element, locator: Locates) -> None:
    """Raises MessageRefused for an element of XInclude."""
    for element in root.iter(XINCLUDE):
        line, column = locator.locate(element)
        sentence = "XInclude is not taken, for it pulls other files in. Put the included text into the document."
        raise MessageRefused("forbidden-construct", sentence, line=line, column=column, element="include")


class Locates(Protocol):
    """Finds where in a document the elements of its tree stand."""

    def locate(self, element: etree._Element) -> tuple[int | None, int | None]:
        """Line and column, from 1, of the start tag of an element that was read from this document; None where not known."""


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
        name = written_name(element)
        matches = re.finditer(rf"{_NOT_TEXT[:-1]}|({re.escape(name)})(?=[\s/>]))", text, re.DOTALL)
        self._offsets = array("L", (match.start() for match in matches if match[1]))
        self._known = len(self._offsets) == sum(1 for _ in same_name(element))
        self._found: dict[etree._Element, int] = {}
        self._walk = enumerate(same_name(self._first))

    def offset(self, element: etree._Element) -> int | None:
        """Where the tag of this element starts in the text; None when the tags and the elements do not match one to one."""
        if element not in self._found and self._known and not self._walk_to(element):
            self._walk = enumerate(same_name(self._first))  # for it stands before the one asked for last
            self._walk_to(element)
        return self._found.get(element)

    def _walk_to(self, element: etree._Element) -> bool:
        # No list of them: a proxy of lxml for each element takes more memory than the tree itself.
        for number, other in self._walk:
            if other is element:
                self._found[element] = self._offsets[number]
                return True
        return False


def written_name(element: etree._Element) -> str:
    """The name of an element as its tag has it, with its prefix."""
    local_name = etree.QName(element).localname
    return f"{element.prefix}:{local_name}" if element.prefix else local_name


def same_name(element: etree._Element) -> Iterator[etree._Element]:
    """All elements of the document with the name and the prefix of this one, in their order."""
    root = element.getroottree().getroot()
    return (other for other in root.iter(str(element.tag)) if other.prefix == element.prefix)


def _parser() -> etree.XMLParser:
    # One for each thread: a parser carries the error log of its last run.
    if not hasattr(_own, "parser"):
        _own.parser = new_parser()
    parser: etree.XMLParser = _own.parser
    return parser


def new_parser() -> etree.XMLParser:
    """A parser of UTF-8 that loads nothing and has the limits of libxml2 (parser.h, XML_MAX_*)."""
    return etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _as_utf8(document: bytes | str, max_bytes: int) -> bytes:
    text = decode(document, max_bytes=max_bytes)
    if isinstance(document, bytes) and text.isascii() and len(text) == len(document):
        return document  # no second copy of 10 MB
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        line, column = place_after(text[: error.start])
        sentence = f"The character U+{ord(text[error.start]):04X} is half of a pair and stands alone; XML does not allow it."
        raise MessageRefused("not-well-formed", sentence, line=line, column=column) from None
    if isinstance(document, str) and len(data) > max_bytes:
        raise too_large(len(data), max_bytes)
    return data


def count_nodes(data: bytes) -> int:
    """At least as many nodes as there are: what looks like a tag within a comment counts too. Attributes count twice."""
    # A text follows a ">" that no "<" follows.
    tags, texts = data.count(b"<") - data.count(b"</"), data.count(b">") - data.count(b"><")
    return tags + texts + 2 * data.count(b"=")


def refuse_too_many_nodes(nodes: int) -> None:
    """Raises MessageRefused for a document of so many nodes, if it is too many."""
    if nodes > MAX_NODES:
        sentence = f"The document has about {nodes:,} elements, texts and attributes (these count twice); at most {MAX_NODES:,} are taken."
        raise MessageRefused("too-large", f"{sentence} Split it into several files.")


def _refuse_too_many_prefixes(data: bytes) -> None:
    found = tag_of_many_prefixes(data)
    if found:
        raise too_many_prefixes(found[1], place_after(data[: found[0]].decode()))


def tag_of_many_prefixes(data: bytes) -> tuple[int, int] | None:
    """Where the first tag starts that declares more than MAX_PREFIXES namespaces, and how many it declares; None if there is none."""
    if data.count(b"xmlns") <= MAX_PREFIXES:
        return None
    counted = ((tag.start(), tag[0].count(b"xmlns")) for tag in _TAG.finditer(data))
    return next(((start, prefixes) for start, prefixes in counted if prefixes > MAX_PREFIXES), None)


def too_many_prefixes(prefixes: int, place: tuple[int, int]) -> MessageRefused:
    """The refusal of an element at this place."""
    sentence = f"This element declares {prefixes:,} namespaces; at most {MAX_PREFIXES:,} are taken. Declare those that are used."
    return MessageRefused("too-large", sentence, line=place[0], column=place[1])


def _refuse_declarations(data: bytes) -> None:
    # Before parsing: declared entities and default attributes can make a small document very large.
    declaration = DECLARES.search(data)
    if declaration:
        raise declares(declaration[1], place_after(data[: declaration.start()].decode()))
    first, last = data.find(b"<!ELEMENT"), data.rfind(b"<!ELEMENT")
    size = (data.find(b">", last) + 1 or len(data)) - first
    if first >= 0 and size > MAX_DECLARATIONS:
        raise declares_much(size, place_after(data[:first].decode()))


def declares(what: bytes, place: tuple[int, int]) -> MessageRefused:
    """The refusal of a DOCTYPE that declares at this place what DECLARES found."""
    kind = _DECLARED_KINDS[what]
    sentence = f"The DOCTYPE declares {kind}, which is not taken. Remove the declarations and write their text where it is used."
    return _forbidden(sentence, place)


def declares_much(size: int, place: tuple[int, int]) -> MessageRefused:
    """The refusal of a DOCTYPE whose elements are declared in more than MAX_DECLARATIONS bytes."""
    sentence = f"The DOCTYPE declares elements in {size:,} bytes; at most {MAX_DECLARATIONS:,} are taken. Remove the declarations."
    return MessageRefused("too-large", sentence, line=place[0], column=place[1], element="DOCTYPE")


def refuse_confusing_doctype(root: etree._Element) -> None:
    """Raises MessageRefused when the name of the DTD may be taken for the start of a comment, which would hide what follows."""
    if "<" in (root.getroottree().docinfo.system_url or ""):
        sentence = "The DOCTYPE names a DTD with '<' in its name, which is not taken. Remove the <!DOCTYPE ...> line."
        raise MessageRefused("forbidden-construct", sentence, element="DOCTYPE")


def _refuse_unknown_references(data: bytes) -> None:
    # The parser drops a reference to an entity of a DTD that it does not load: a trade id would come out shortened.
    for match in _UNKNOWN_REFERENCE.finditer(data):
        if match[1]:
            raise unknown_reference(place_after(data[: match.start(1)].decode()))


def unknown_reference(place: tuple[int, int]) -> MessageRefused:
    """The refusal of a reference at this place to something that XML itself does not know."""
    return _forbidden("An entity of the DTD is used here, and DTDs are never loaded. Write its text in its place.", place)


def _forbidden(sentence: str, place: tuple[int, int]) -> MessageRefused:
    return MessageRefused("forbidden-construct", sentence, line=place[0], column=place[1], element="DOCTYPE")


def not_well_formed(start: bytes, error: etree.XMLSyntaxError) -> MessageRefused:
    """The refusal of what the parser does not take; `start` are the first bytes of the document."""
    line, column = error.position
    reason = _LIBXML_PLACE.sub("", (error.msg or "").removesuffix(f" (<string>, line {line})")).strip()
    beyond_limit = _LIBXML_LIMIT.search(reason)
    if beyond_limit:
        sentence = f"The document goes beyond what is taken in one place: {shorten(reason[: beyond_limit.end(1)], 200)}."
    else:
        sentence = looks_like(start.decode(errors="replace")) or f"The document is not well-formed XML: {shorten(reason, 200)}."
    return MessageRefused("too-large" if beyond_limit else "not-well-formed", sentence, line=max(line or 1, 1), column=max(column or 1, 1))
