"""XML -> facts. Pure: standard library and lxml, no Django, no clock, no network.

    bytes of a file, or text of a queue message -> reader -> registry (which dialect) -> mapping (what it says) -> TradeEvents

`streaming` reads what is too large for memory from its file (`large`), by the same rules.
A dialect is a file in `dialects/`; nothing here names an element of any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from lxml import etree

from trades.messages import large, splitting
from trades.messages.encodings import first_forbidden_character, to_text
from trades.messages.facts import EventClass, MessageRefused, ParsedMessage, TradeEvent, TradeId
from trades.messages.fields import MappingError, Misfit
from trades.messages.large import LargeText, write_text
from trades.messages.mapping import Contents, Item
from trades.messages.reader import MAX_BYTES, Locates
from trades.messages.registry import Found, Registry, builtin, load
from trades.messages.streaming import locator, read
from trades.messages.values import shorten

__all__ = [
    "MAX_BYTES",
    "EventClass",
    "LargeText",
    "MappingError",
    "MessageRefused",
    "ParsedMessage",
    "Prepared",
    "Registry",
    "TradeEvent",
    "TradeId",
    "builtin",
    "first_forbidden_character",
    "load",
    "parse",
    "prepare",
    "read",
    "to_text",
    "write_text",
]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One message to publish: the text of its body, and either what it was understood to be or why it is refused.

    A large text is not held: then `text` is "" and `large` says where it is.
    """

    text: str
    message: ParsedMessage | None = None
    refusal: MessageRefused | None = None
    large: LargeText | None = None


def parse(document: bytes | str | LargeText, *, max_bytes: int = MAX_BYTES, registry: Registry | None = None) -> ParsedMessage:
    """What a document says.

    `bytes` are a file, `str` and LargeText the body of a queue message (the encoding it declares is ignored); `max_bytes` limits each.
    Raises MessageRefused, and nothing else, for any document that cannot be taken; OSError when the file of a LargeText can't be read.
    """
    try:
        return _parsed(document, max_bytes, registry or builtin())
    except MessageRefused as refusal:
        raise _alone(refusal) from refusal.__cause__


def prepare(document: bytes | LargeText, *, max_bytes: int = MAX_BYTES, registry: Registry | None = None) -> tuple[Prepared, ...]:
    """The messages to publish of a file (LargeText: of the text of one), each understood or refused.

    A file of one message is passed on as it is (`to_text`). A file of several is split into documents of one message each, for each
    must go to the group of its own trade; a bad one is refused by itself, at its place in the file, and the rest go on. One that is
    too large for memory (large.IN_MEMORY) is not split but refused.
    Raises MessageRefused when the file cannot be read as XML at all, or is larger than `max_bytes`.
    """
    try:
        return _prepared(document, max_bytes, registry or builtin())
    except MessageRefused as refusal:
        raise _alone(refusal) from refusal.__cause__


def _parsed(document: bytes | str | LargeText, max_bytes: int, registry: Registry) -> ParsedMessage:
    root = read(document, max_bytes=max_bytes)
    with _refusing(locator(document), found := _Opening()):
        contents = found.open(root, registry)
        found.check()
        return contents.message(contents.items())


def _prepared(document: bytes | LargeText, max_bytes: int, registry: Registry) -> tuple[Prepared, ...]:
    root = read(document, max_bytes=max_bytes)
    whole, where = _whole(document), locator(document)
    try:
        with _refusing(where, found := _Opening()):
            contents = found.open(root, registry)
            items = contents.items()
            if len(items) > 1 or (items[0].table.alone and items[0].node is not root):
                _refuse_splitting(document, root)
                if not items[0].table.alone:
                    splitting.refuse_repetition([item.node for item in items])
                return tuple(_parts(items, found, contents, where))
            found.check()
            return (replace(whole, message=contents.message(items)),)
    except MessageRefused as refusal:
        return (replace(whole, refusal=_alone(refusal)),)


def _alone(refusal: MessageRefused) -> MessageRefused:
    # What led to it would keep the whole tree in memory for as long as the refusal is kept.
    for error in filter(None, (refusal, refusal.__cause__)):
        error.__traceback__ = error.__context__ = None
    return refusal


def _whole(document: bytes | LargeText) -> Prepared:
    """A document as it is passed on, nothing yet understood of it."""
    if not isinstance(document, LargeText):
        return Prepared(to_text(document))
    return Prepared("", large=document) if document.size > large.HELD else Prepared(large.text_of(document))


def _refuse_splitting(document: bytes | LargeText, root: etree._Element) -> None:
    if isinstance(document, LargeText) and document.size > large.IN_MEMORY:
        sentence = f"A document of several messages may have at most {large.IN_MEMORY:,} bytes, and this one has {document.size:,}."
        raise Misfit("too-large", f"{sentence} Split it into several files.", root)


class _Opening:
    """A document on its way from a tree to its contents."""

    def __init__(self) -> None:
        self.found: Found | None = None

    def open(self, root: etree._Element, registry: Registry) -> Contents:
        self.found = registry.recognise(root)
        return self.found.dialect.open(self.found.root, self.found.header)

    def check(self, item: Item | None = None) -> None:
        """Raises Misfit when the message, or this one of several, breaks the schema of its dialect."""
        if self.found:
            self.found.dialect.check(item.node if item else self.found.root)

    @property
    def dialect(self) -> str:
        """The name of the dialect, "" while it is not known."""
        return self.found.dialect.name_for(self.found.root) if self.found else ""


def _parts(items: Sequence[Item], found: _Opening, contents: Contents, locator: Locates) -> Iterator[Prepared]:
    each_alone = items[0].table.alone
    if not each_alone:
        found.check()
    read_as = [_part(item, found, contents, locator, alone=each_alone) for item in items]
    if each_alone and not any(isinstance(part, MessageRefused) for part in read_as):
        found.check()
    nodes = [item.node for item in items]
    for text, part in zip(splitting.alone(nodes) if each_alone else splitting.pruned(nodes), read_as, strict=True):
        yield Prepared(text, refusal=part) if isinstance(part, MessageRefused) else Prepared(text, part)


def _part(item: Item, found: _Opening, contents: Contents, locator: Locates, *, alone: bool) -> ParsedMessage | MessageRefused:
    try:
        with _refusing(locator, found):
            if alone:
                found.check(item)
            return contents.message([item])
    except MessageRefused as refusal:
        return _alone(refusal)


@contextmanager
def _refusing(locator: Locates, opening: _Opening) -> Iterator[None]:
    """Turns what goes wrong with a document that was read into the refusal people see, with line and column."""
    try:
        yield
    except Misfit as misfit:
        line, column = locator.locate(misfit.node)
        raise MessageRefused(
            misfit.code,
            misfit.sentence,
            line=line,
            column=column,
            element=misfit.name,
            dialect=opening.dialect,
            message_type=misfit.message_type,
            stated=misfit.stated,
        ) from None
    except MessageRefused:
        raise
    except Exception as error:
        cause = shorten(f"{type(error).__name__}: {error}", 200)
        sentence = f"The mapping of this kind of document failed ({cause}). Report it with the document; it is no fault of the sender."
        raise MessageRefused("mapping-error", sentence, dialect=opening.dialect) from error
