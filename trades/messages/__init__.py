"""XML -> facts. Pure: standard library and lxml, no Django, no clock, no network.

    bytes of a file, or text of a queue message -> reader -> registry (which dialect) -> mapping (what it says) -> TradeEvents

A dialect is a file in `dialects/`; nothing here names an element of any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lxml import etree

from trades.messages.facts import EventClass, MessageRefused, ParsedMessage, TradeEvent, TradeId
from trades.messages.fields import MappingError, Misfit
from trades.messages.mapping import Contents, Dialect, Item
from trades.messages.reader import MAX_BYTES, Locator, first_forbidden_character, read, to_text
from trades.messages.registry import Registry, builtin, load
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
    with _refusing(Locator(document)):
        return _understood(root, (registry or builtin()).recognise(root))


def prepare(document: bytes, *, max_bytes: int = MAX_BYTES, registry: Registry | None = None) -> tuple[Prepared, ...]:
    """The messages to publish of a file, each understood or refused.

    A file of one message is passed on as it is (`to_text`). A file that its dialect says is a collection (native TradeStatuses) is
    split into documents of one message each; a bad one is refused by itself, at its place in the file, and the rest go on.
    Raises MessageRefused when the file cannot be read as XML at all, or is larger than `max_bytes`.
    """
    root = read(document, max_bytes=max_bytes)
    text, locator = to_text(document), Locator(document)
    try:
        with _refusing(locator):
            dialect = (registry or builtin()).recognise(root)
            contents = dialect.open(root)
            parts = [_prepared_part(item, dialect, contents, locator) for item in contents.parts()]
            if not parts:
                return (Prepared(text, _understood(root, dialect)),)
            if all(part.message for part in parts):
                dialect.check(root)
            return tuple(parts)
    except MessageRefused as refusal:
        return (Prepared(text, refusal=refusal),)


def _understood(root: etree._Element, dialect: Dialect) -> ParsedMessage:
    dialect.check(root)
    contents = dialect.open(root)
    events = tuple(contents.event(item) for item in contents.items())
    return ParsedMessage(dialect.name, contents.message_type(root), dialect.mapping_version, events)


def _prepared_part(item: Item, dialect: Dialect, contents: Contents, locator: Locator) -> Prepared:
    text = etree.tostring(item.node, encoding="unicode", with_tail=False)
    try:
        with _refusing(locator):
            dialect.check(item.node)
            event = contents.event(item)
            return Prepared(text, ParsedMessage(dialect.name, contents.message_type(item.node), dialect.mapping_version, (event,)))
    except MessageRefused as refusal:
        return Prepared(text, refusal=refusal)


@contextmanager
def _refusing(locator: Locator) -> Iterator[None]:
    """Turns what goes wrong with a document that was read into the refusal people see, with line and column."""
    try:
        yield
    except Misfit as misfit:
        line, column = locator.locate(misfit.node)
        raise MessageRefused(misfit.code, misfit.sentence, line=line, column=column, element=misfit.name) from None
    except MessageRefused:
        raise
    except Exception as error:
        cause = shorten(f"{type(error).__name__}: {error}", 200)
        sentence = f"The mapping of this kind of document failed ({cause}). Report it with the document; it is no fault of the sender."
        raise MessageRefused("mapping-error", sentence) from error
