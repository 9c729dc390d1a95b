"""XML -> facts. Pure: standard library and lxml, no Django, no clock, no network.

    bytes of a file, or text of a queue message -> reader -> registry (which dialect) -> mapping (what it says) -> TradeEvents

A dialect is a file in `dialects/`; nothing here names an element of any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lxml import etree

from trades.messages import splitting
from trades.messages.facts import EventClass, MessageRefused, ParsedMessage, TradeEvent, TradeId
from trades.messages.fields import MappingError, Misfit
from trades.messages.mapping import Contents, Item
from trades.messages.reader import MAX_BYTES, Locator, first_forbidden_character, read, to_text
from trades.messages.registry import Found, Registry, builtin, load
from trades.messages.values import shorten

__all__ = [
    "MAX_BYTES",
    "EventClass",
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
    "to_text",
]


@dataclass(frozen=True, slots=True)
class Prepared:
    """One message to publish: the text of its body, and either what it was understood to be or why it is refused."""

    text: str
    message: ParsedMessage | None = None
    refusal: MessageRefused | None = None


def parse(document: bytes | str, *, max_bytes: int = MAX_BYTES, registry: Registry | None = None) -> ParsedMessage:
    """What a document says.

    `bytes` are a file, `str` is the body of a queue message (the encoding it declares is ignored); `max_bytes` limits either.
    Raises MessageRefused, and nothing else, for any document that cannot be taken.
    """
    root = read(document, max_bytes=max_bytes)
    with _refusing(Locator(document), found := _Opening()):
        contents = found.open(root, registry or builtin())
        found.check()
        return contents.message(contents.items())


def prepare(document: bytes, *, max_bytes: int = MAX_BYTES, registry: Registry | None = None) -> tuple[Prepared, ...]:
    """The messages to publish of a file, each understood or refused.

    A file of one message is passed on as it is (`to_text`). A file of several is split into documents of one message each, for each
    must go to the group of its own trade; a bad one is refused by itself, at its place in the file, and the rest go on.
    Raises MessageRefused when the file cannot be read as XML at all, or is larger than `max_bytes`.
    """
    root = read(document, max_bytes=max_bytes)
    text, locator = to_text(document), Locator(document)
    try:
        with _refusing(locator, found := _Opening()):
            contents = found.open(root, registry or builtin())
            items = contents.items()
            if len(items) > 1 or (items[0].table.alone and items[0].node is not root):
                if not items[0].table.alone:
                    splitting.refuse_repetition([item.node for item in items])
                return tuple(_parts(items, found, contents, locator))
            found.check()
            return (Prepared(text, contents.message(items)),)
    except MessageRefused as refusal:
        return (Prepared(text, refusal=refusal),)


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


def _parts(items: Sequence[Item], found: _Opening, contents: Contents, locator: Locator) -> Iterator[Prepared]:
    each_alone = items[0].table.alone
    if not each_alone:
        found.check()
    read_as = [_part(item, found, contents, locator, alone=each_alone) for item in items]
    if each_alone and not any(isinstance(part, MessageRefused) for part in read_as):
        found.check()
    nodes = [item.node for item in items]
    for text, part in zip(splitting.alone(nodes) if each_alone else splitting.pruned(nodes), read_as, strict=True):
        yield Prepared(text, refusal=part) if isinstance(part, MessageRefused) else Prepared(text, part)


def _part(item: Item, found: _Opening, contents: Contents, locator: Locator, *, alone: bool) -> ParsedMessage | MessageRefused:
    try:
        with _refusing(locator, found):
            if alone:
                found.check(item)
            return contents.message([item])
    except MessageRefused as refusal:
        return refusal


@contextmanager
def _refusing(locator: Locator, opening: _Opening) -> Iterator[None]:
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
