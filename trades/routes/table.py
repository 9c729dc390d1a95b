"""The routes as they are asked: which queue a message goes to, by what it was understood to be and by its own document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import TypeVar

from lxml import etree

from trades import dialects, messages, sqs
from trades.messages.facts import MessageRefused, ParsedMessage
from trades.messages.fields import Misfit, namespace_of
from trades.messages.paths import Path, Place, Tries, compiled
from trades.messages.specification import OWN_NAMESPACE
from trades.messages.values import shorten

T = TypeVar("T")
MAX_NAMESPACES = 256  # of documents, for each of which an XPath is kept compiled
ROUTE_FAILED = "route-failed"  # code of a message that no queue can be chosen for, because the XPath of a route fails


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a message goes: the queue, the route that chose it ("" where none did: the default), and the message group that the route
    gives a message about no trade ("" for one about a trade)."""

    queue: str
    route: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """What the file says about a queue: its name where it is ("" for the name it has here) and that place, whether SQS is to tell
    repetitions by the content, and whether it is a partner's: published to, never consumed."""

    queue: str = ""
    place: sqs.Place = sqs.HERE
    by_content: bool = False
    partner: bool = False


class Opened:
    """The document of a message, read when the first XPath asks for it."""

    def __init__(self, document: bytes | str | messages.LargeText, max_bytes: int) -> None:
        self._document = document
        self._max_bytes = max_bytes

    @cached_property
    def root(self) -> etree._Element | None:
        """The root of the message, inside the envelope if there is one; None if it is no XML."""
        return self._found[0]

    @property
    def header(self) -> list[etree._Element]:
        """What the envelope says about the message."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[etree._Element | None, list[etree._Element]]:
        try:
            root = messages.read(self._document, max_bytes=self._max_bytes)
        except MessageRefused:
            return None, []
        try:
            found = dialects.in_use().recognise(root)
        except Misfit:
            return root, []
        return found.root, list(found.header)


class Query:
    """An XPath on the document of a message. A prefix of the namespace "*" stands for that of the message's root."""

    def __init__(self, xpath: str, namespaces: Mapping[str, str]) -> None:
        self._xpath = xpath
        self._namespaces = namespaces
        self._for = lru_cache(MAX_NAMESPACES)(self._compiled)

    def holds(self, document: Opened) -> bool:
        """Whether it leads to anything; nothing does in what is no XML. Raises etree.XPathError."""
        return self._on(document, lambda path, place: bool(path.nodes(place)), otherwise=False)

    def text(self, document: Opened) -> str:
        """The first text that it leads to, "" if there is none. Raises etree.XPathError."""
        return self._on(document, lambda path, place: path.first(place), otherwise="")

    def _on(self, document: Opened, ask: Callable[[Path, Place], T], *, otherwise: T) -> T:
        root = document.root
        if root is None:
            return otherwise
        tries, path = self._for(namespace_of(root))
        return ask(path, Place(root, root, tries, document.header))

    def _compiled(self, namespace: str) -> tuple[Tries, Path]:
        tries = Tries()
        bound = {prefix: namespace if uri == OWN_NAMESPACE else uri for prefix, uri in self._namespaces.items()}
        return tries, compiled(self._xpath, bound, tries)


@dataclass(frozen=True, slots=True)
class Route:
    """One route: its conditions, all of which must hold, and where it leads. An empty condition is none."""

    name: str
    queue: str
    dialect: tuple[str, ...] = ()
    message_type: tuple[str, ...] = ()
    product: tuple[str, ...] = ()
    event_class: tuple[str, ...] = ()
    xpath: Query | None = None
    group: str = ""
    group_xpath: Query | None = None

    @property
    def for_reference(self) -> bool:
        """Whether it is for messages about no trade, which get their message group from it; all others are for trades."""
        return bool(self.group or self.group_xpath)

    @property
    def takes_all(self) -> bool:
        """Whether nothing of its kind gets past it."""
        return not (
            self.dialect or self.message_type or self.product or self.event_class or self.xpath or (self.group_xpath and not self.group)
        )

    def choice(self, message: ParsedMessage | None, document: Opened) -> Choice | None:
        """Where it sends this message, None if it does not take it. Raises etree.XPathError."""
        if self.for_reference != (message is not None and not message.events):
            return None
        if not self._suits(message) or (self.xpath and not self.xpath.holds(document)):
            return None
        if not self.for_reference:
            return Choice(self.queue, self.name)
        stated = self.group_xpath.text(document) if self.group_xpath else ""
        group = sqs.group_id_for(stated) if stated else self.group
        return Choice(self.queue, self.name, group) if group else None

    def _suits(self, message: ParsedMessage | None) -> bool:
        if message is None:
            return not (self.dialect or self.message_type or self.product or self.event_class)
        products = [str(event.details.get("product") or "") for event in message.events]
        return (
            _like(self.dialect, [message.dialect])
            and _like(self.message_type, [message.message_type])
            and _like(self.product, products)
            and _like(self.event_class, [event.event_class.value for event in message.events])
        )


@dataclass(frozen=True, slots=True)
class Table:
    """What one queues file says: the routes in their order, and the queues it describes, by name."""

    routes: tuple[Route, ...] = ()
    queues: Mapping[str, Definition] = field(default_factory=dict)

    def choose(self, message: ParsedMessage | None, document: Opened, default: str) -> Choice | None:
        """The choice of the first route that takes the message, else the default queue; None for a message about no trade that no
        route takes. Raises MessageRefused when the XPath of a route fails on it."""
        for route in self.routes:
            try:
                choice = route.choice(message, document)
            except etree.XPathError as error:
                sentence = f'The XPath of the route "{route.name}" fails on this message ({shorten(str(error), 120)}). Correct the route.'
                raise MessageRefused(ROUTE_FAILED, sentence) from None
            if choice:
                return choice
        return None if message is not None and not message.events else Choice(default)


def _like(patterns: tuple[str, ...], values: list[str]) -> bool:
    return not patterns or any(fnmatchcase(value, pattern) for value in values for pattern in patterns)
