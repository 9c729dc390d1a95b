"""Which rule of a mapping led to which fact of a document, and where it stands: for people who write a mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from trades.messages.facts import MessageRefused
from trades.messages.fields import Misfit, Traced, local_name
from trades.messages.large import LargeText
from trades.messages.reader import MAX_BYTES, Locates
from trades.messages.registry import Registry
from trades.messages.streaming import locator, read
from trades.messages.values import Moment, shorten

MAX_ITEMS = 20  # of one document: what is wrong with a mapping shows in the first


@dataclass(frozen=True, slots=True)
class Match:
    """A fact the mapping asks for: what it came out as ("" when the document does not state it), by which rule, where, and what was
    wrong with it. `line` and `column` count from 1."""

    name: str
    value: str
    rule: str
    line: int | None = None
    column: int | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ItemMatches:
    """What the mapping made of one event (or other message) of a document: the element that states it, and its facts."""

    element: str
    line: int | None
    matches: Sequence[Match]

    @property
    def missed(self) -> list[str]:
        """The facts that the mapping asks for and the document does not state."""
        return [match.name for match in self.matches if not match.value and not match.fault]


def trace(document: bytes | LargeText, *, registry: Registry, max_bytes: int = MAX_BYTES) -> list[ItemMatches]:
    """The rules that matched in the first items of a document; nothing when it is of no known dialect or cannot be read."""
    try:
        root = read(document, max_bytes=max_bytes)
        found = registry.recognise(root)
        contents = found.dialect.open(found.root, found.header)
        items = contents.items()[:MAX_ITEMS]
    except (Misfit, MessageRefused, etree.XPathError):
        return []
    where = locator(document)
    return [
        ItemMatches(shorten(local_name(item.node)), where.locate(item.node)[0], [_match(fact, where) for fact in contents.traced(item)])
        for item in items
    ]


def _match(fact: Traced, where: Locates) -> Match:
    line, column = (None, None) if fact.node is None else where.locate(fact.node)
    return Match(fact.name, _as_text(fact.value), " ".join(fact.rule.split()), line, column, fact.fault)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Moment):
        return value.text
    if isinstance(value, list):
        return "; ".join(_as_text(entry) for entry in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    return str(value)
