"""Where a value stands in a document: XPath 1.0, compiled once.

Most paths of a mapping are plain chains of children (`t:Header/t:Sender`, `t:TradeId/@scheme`, from the root `$root/f:header/f:sentBy`).
An XPath call costs some microseconds; all chains of a mapping together are answered by one walk over the few children they name.

Paths start at the item. `$root` is the message, which an envelope may wrap (so `/*` may be the envelope); `$header` is what the
envelope says about it, if it says anything; `$event` is the item that an entry of a list belongs to.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from lxml import etree

from trades.messages.values import collapse

_STEP = r"(?:[A-Za-z_][\w.-]*:)?[A-Za-z_][\w.-]*"
_CHAIN = re.compile(rf"(\$root/)?(?:({_STEP}(?:/{_STEP})*)(?:/@({_STEP}))?|@({_STEP})|\.)")
_PREFIX = re.compile(r"\b[A-Za-z_][\w.-]*:(?!:)")
_STRING = etree.XPath("string()")

MAX_SAME = 10_001  # elements that one chain leads to, beyond which no document has events or ids that are taken

Namespaces = Mapping[str, str]
Slots = dict[int, list[Any]]  # elements


class Trie:
    """The chains of one mapping as a tree of names; each chain that is asked for has a number, its slot."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[int, Trie]] = {}
        self.slots = 0

    def slot(self, names: list[str], root: Trie | None = None) -> int:
        """The number under which `walk` gives the elements that this chain of names leads to."""
        root = root or self
        head, *tail = names
        number, below = self.names.get(head) or (-1, Trie())
        if tail:
            self.names[head] = (number, below)
            return below.slot(tail, root)
        if number < 0:
            number, root.slots = root.slots, root.slots + 1
        self.names[head] = (number, below)
        return number

    def walk(self, element: etree._Element, slots: Slots) -> Slots:
        """All elements below `element` that a chain leads to, in document order, by slot."""
        names = self.names
        for child in element:
            found = names.get(child.tag)  # type: ignore[arg-type]  # comments have a function for a tag
            if found is not None:
                number, below = found
                if number >= 0:
                    if number in slots:
                        if len(slots[number]) < MAX_SAME:
                            slots[number].append(child)
                    else:
                        slots[number] = [child]
                if below.names:
                    below.walk(child, slots)
        return slots


class Tries:
    """The chains of one mapping: those from the item and those from the root of the document."""

    def __init__(self) -> None:
        self.item = Trie()
        self.root = Trie()


class Place:
    """What paths are evaluated on: a node of a document, the event it belongs to, and what was found already."""

    __slots__ = ("event", "header", "item_slots", "memo", "node", "root", "root_slots", "tries")

    def __init__(self, node: etree._Element, root: etree._Element, tries: Tries, header: Sequence[etree._Element] = ()) -> None:
        self.node = node
        self.event = node
        self.root = root
        self.header = header
        self.memo: dict[object, Any] = {}
        self.item_slots = tries.item.walk(node, {})
        self.root_slots = tries.root.walk(root, {})
        self.tries = tries

    def item(self, node: etree._Element) -> Place:
        """The place of one event of the same document."""
        place = self.below(node)
        place.event = node
        return place

    def below(self, node: etree._Element) -> Place:
        """The place of a node that belongs to this event."""
        place = Place.__new__(Place)
        place.node, place.event, place.root, place.header = node, self.event, self.root, self.header
        place.memo, place.root_slots, place.tries = self.memo, self.root_slots, self.tries
        place.item_slots = self.tries.item.walk(node, {}) if len(node) else {}
        return place


class Path(ABC):
    """One compiled path."""

    source = ""  # as the mapping file has it
    attribute = ""  # the local name of the attribute it leads to, where that is known
    item_slot = -1  # of a chain from the item: where the walk puts its elements; nothing there, nothing stated
    item_attribute = ""  # of such a chain: the attribute it ends with, as lxml names it

    @abstractmethod
    def nodes(self, place: Place) -> list[Any]:
        """What the path leads to: elements, or texts (attributes, results of functions), in document order."""

    @abstractmethod
    def element(self, place: Place, text: str) -> etree._Element:
        """The element that states this text, for telling people where; the place's own node if none is known."""

    def first(self, place: Place) -> str:
        """The first text that is not empty, as an XML token; "" if there is none."""
        for node in self.nodes(place):
            text = text_of(node)
            if text:
                return text
        return ""


class Chain(Path):
    """Children of children, then an attribute if one is named, from the item or from the root: answered by the walk."""

    def __init__(self, match: re.Match[str], namespaces: Namespaces, tries: Tries) -> None:
        self._from_root = bool(match[1])
        self._attribute = _clark(match[3] or match[4] or "", namespaces)
        self.attribute = self._attribute.rpartition("}")[2]
        names = [_clark(step, namespaces) for step in match[2].split("/")] if match[2] else []
        self._slot = (tries.root if self._from_root else tries.item).slot(names) if names else -1
        self.item_slot = -1 if self._from_root else self._slot
        self.item_attribute = self._attribute

    def _elements(self, place: Place) -> Sequence[etree._Element]:
        if self._slot < 0:
            return (place.root if self._from_root else place.node,)
        return (place.root_slots if self._from_root else place.item_slots).get(self._slot, ())

    def nodes(self, place: Place) -> list[Any]:
        """The elements, or their attributes."""
        elements = self._elements(place)
        if self._attribute:
            return [value for element in elements if (value := element.get(self._attribute)) is not None]
        return list(elements)

    def first(self, place: Place) -> str:
        """The first text that is not empty."""
        # The busiest lines of a worker: what `nodes` and `text_of` do, without their lists and calls.
        attribute, slot = self._attribute, self._slot
        elements = self._elements(place) if slot < 0 else (place.root_slots if self._from_root else place.item_slots).get(slot, ())
        for element in elements:
            text = element.get(attribute) if attribute else element.text if not len(element) else str(_STRING(element))
            if text and (text := collapse(text)):
                return text
        return ""

    def element(self, place: Place, text: str) -> etree._Element:
        """The element that states it."""
        stated = (element for element in self._elements(place) if text == self._text(element))
        return next(stated, place.node)

    def _text(self, element: etree._Element) -> str:
        return collapse(element.get(self._attribute) or "") if self._attribute else text_of(element)


class Expression(Path):
    """Any other XPath 1.0. Raises etree.XPathSyntaxError when it is none."""

    def __init__(self, text: str, namespaces: Namespaces) -> None:
        self._evaluate = etree.XPath(text, namespaces={prefix: uri for prefix, uri in namespaces.items() if uri}, regexp=False)
        self._variables = [name for name in ("root", "event", "header") if f"${name}" in text]
        # From the root it is the same for every item, so worth remembering; each part of a union must be.
        parts = [part.strip().lstrip("(").lstrip() for part in text.split("|")]
        self._same_for_all = all(part.startswith(("/", "$root", "$header")) for part in parts) and "event" not in self._variables

    def nodes(self, place: Place) -> list[Any]:
        """The nodes; a number or a condition that holds as its text."""
        if not self._same_for_all:
            return self._found(place)
        found: list[Any] | None = place.memo.get(self)
        if found is None:
            found = place.memo[self] = self._found(place)
        return found

    def element(self, place: Place, text: str) -> etree._Element:
        """The element that states it, or holds the attribute that does."""
        node = next((node for node in self.nodes(place) if text_of(node) == text), place.node)
        if isinstance(node, str):  # lxml's results know the element they are from, unless a function made them
            node = node.getparent() if hasattr(node, "getparent") else None
        return place.node if node is None else node

    def _found(self, place: Place) -> list[Any]:
        found = self._evaluate(place.node, **{name: getattr(place, name) for name in self._variables})
        return found if isinstance(found, list) else _as_texts(found)


def compiled(text: str, namespaces: Namespaces, tries: Tries) -> Path:
    """The path of this text; its chains are added to `tries`. Raises etree.XPathSyntaxError, or KeyError for an unknown prefix."""
    text = _without_empty_prefixes(text, namespaces)
    match = _CHAIN.fullmatch(text)
    return Chain(match, namespaces, tries) if match else Expression(text, namespaces)


def text_of(node: Any) -> str:
    """The whole text of an element (comments left out), or the text itself, as an XML token."""
    if isinstance(node, str):
        return collapse(node)
    # Comments and processing instructions count as children: `text` alone would be only a part.
    return collapse(str(_STRING(node)) if len(node) else node.text or "")


def _as_texts(found: object) -> list[str]:
    if isinstance(found, bool):
        return ["true"] if found else []
    if isinstance(found, float):
        return [] if isnan(found) else [f"{found:.0f}" if found.is_integer() else repr(found)]
    return [str(found)] if found else []


def _clark(name: str, namespaces: Namespaces) -> str:
    """A name as lxml writes it: {namespace}local."""
    prefix, _, local = name.rpartition(":")
    return f"{{{namespaces[prefix]}}}{local}" if prefix else local


def _without_empty_prefixes(text: str, namespaces: Namespaces) -> str:
    """XPath 1.0 has no prefix for "no namespace": a prefix bound to it is left out."""
    return _PREFIX.sub(lambda match: "" if namespaces.get(match[0][:-1]) == "" else match[0], text)
