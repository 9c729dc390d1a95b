"""The one mapping engine: a dialect is a TOML file of XPath tables, compiled once, that turns a tree into trade events.

A file says which documents are its own (`match`), and for each of its messages which nodes are events (`each`), where their facts
stand (`fields`, `ids`, `details`) and which rules its schema cannot say (`require`); or, for one that says nothing of a trade, what
it is (`reference`). What a message does not state itself it takes from the top of the file. `dialects/native.toml` is the shortest
example.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from lxml import etree

from trades.messages import specification
from trades.messages.facts import ParsedMessage, TradeEvent
from trades.messages.fields import (
    Field,
    Ids,
    ListField,
    MappingError,
    Misfit,
    Spec,
    Traced,
    as_list,
    local_name,
    namespace_of,
    stated,
    traced,
)
from trades.messages.paths import Path, Place, Tries, compiled
from trades.messages.schema import Schema
from trades.messages.specification import ALONE, OWN_NAMESPACE
from trades.messages.values import Moment, shorten

MAX_EVENTS = 5_000  # of one document
MAX_ELEMENTS = 50_000  # of one event: some paths take time that grows with the square of it
MAX_NAMESPACES = 64  # for which a dialect of a namespace pattern stays compiled
MAX_TYPE = 100  # characters of a message type
MAX_STAR = 30  # characters of the varying part of a dialect's name
MAX_NAMES = 256  # of root elements whose tables are remembered


_IS_BULKY = etree.XPath(f"boolean(descendant::*[{MAX_ELEMENTS + 1}])")


class Rule:
    """Something a message must state beyond what its schema asks: where the facts are as in `when`, `test` leads to a text."""

    def __init__(self, spec: Spec, compile_path: Any) -> None:
        self._when: dict[str, list[Any]] = spec.get("when", {})
        self._test: Path = compile_path(spec["test"])
        self._element: str = spec["element"]
        self._message: str = spec["message"]

    def check(self, place: Place, facts: Mapping[str, Any]) -> None:
        """Raises Misfit when the rule is broken."""
        for name, values in self._when.items():
            if facts.get(name) not in values:
                return
        if not self._test.first(place):
            at = next(place.node.iter(f"{{*}}{self._element}"), place.node)
            raise Misfit("schema", self._message, at, self._element)


class MessageTable:
    """How one kind of message of a dialect is read."""

    def __init__(self, spec: Spec, compile_path: Any) -> None:
        self.roots: list[str] = spec.get("roots", ["*"])
        self.alone: bool = spec.get("split") == ALONE
        self.reference: str = spec.get("reference", "")
        self.otherwise: bool = spec.get("otherwise", False)
        self._when = compile_path(spec["when"]) if "when" in spec else None
        self._each: Path = compile_path(spec.get("each", "."))
        self._type: Path | None = compile_path(spec["type"]) if "type" in spec else None
        self._fields = [Field(name, field, compile_path) for name, field in spec.get("fields", {}).items()]
        if self.reference:
            return
        self._ids = Ids(spec["ids"], compile_path)
        self._details = [
            (ListField if isinstance(field, dict) and "each" in field else Field)(name, field, compile_path)
            for name, field in spec.get("details", {}).items()
        ]
        self._rules = [Rule(rule, compile_path) for rule in spec.get("require", [])]

    def takes(self, root_name: str) -> bool:
        """Whether a document of this root is, or may hold, this kind of message."""
        return any(fnmatchcase(root_name, root) for root in self.roots)

    def applies(self, place: Place) -> bool:
        """Whether the condition of this kind of message holds for the document."""
        return self._when is None or bool(self._when.nodes(place))

    def items(self, place: Place) -> list[etree._Element]:
        """The nodes that are one event each."""
        return self._each.nodes(place)

    def event(self, place: Place) -> TradeEvent:
        """The trade event of one item. Raises Misfit."""
        values = stated(self._fields, place)
        if "event_class" not in values:
            raise Misfit("not-an-event", f"{shorten(local_name(place.root))} carries no trade event that its mapping knows.", place.node)
        for rule in self._rules:
            rule.check(place, values)
        moment: Moment | None = values.pop("event_time", None)
        if moment:
            values.update(event_time=moment.utc, zoned=moment.zoned, event_time_text=moment.text)
        own, related, uti = self._ids.read(place)
        if not own:
            sentence = f"{shorten(local_name(place.node))} states no trade id. {self._ids.expected}".strip()
            raise Misfit("no-trade-id", sentence, place.node, stated={**values, "related_ids": related})
        details = stated(self._details, place)
        return TradeEvent(trade_ids=own, related_ids=related, uti=uti, details=details, **values)

    def facts(self, place: Place) -> dict[str, Any]:
        """What a message that is no trade event states all the same; nothing when it does not fit."""
        try:
            values = stated(self._fields, place)
        except Misfit:
            return {}
        moment: Moment | None = values.pop("event_time", None)
        return values | ({"event_time": moment.utc, "event_time_text": moment.text} if moment else {})

    def traced(self, place: Place) -> Iterator[Traced]:
        """Of every fact the mapping asks for: what it comes out as, by which rule, and where that stands. For trying a mapping out."""
        yield from (traced(field, place) for field in self._fields)
        if not self.reference:
            yield from self._ids.traced(place)
            yield from (traced(field, place) for field in self._details)

    def message_type(self, place: Place) -> str:
        """What the dialect calls this kind of message: by default the name of the document's root."""
        return shorten(self._type.first(place) if self._type else local_name(place.root), MAX_TYPE)


class Item(NamedTuple):
    """One event of a document: the node that states it, and the table that reads it."""

    table: MessageTable
    node: etree._Element


class Tables:
    """The messages of a dialect, compiled for one namespace."""

    def __init__(self, spec: Spec, namespace: str) -> None:
        self.tries = Tries()
        self._namespaces = {prefix: namespace if uri == OWN_NAMESPACE else uri for prefix, uri in spec.get("namespaces", {}).items()}
        self._define: Mapping[str, str] = spec.get("define", {})
        self._paths: dict[str, Path] = {}
        shared = specification.shared_of(spec)
        self.messages = [MessageTable(specification.merged(shared, message), self._compile) for message in spec["messages"]]
        self.for_root = lru_cache(MAX_NAMES)(self._for_root)

    def _for_root(self, root_name: str) -> list[MessageTable]:
        return [message for message in self.messages if message.takes(root_name)]

    def _compile(self, text: str) -> Path:
        if text not in self._paths:
            full = text
            while "{" in full:
                full = full.format_map(self._define)
            self._paths[text] = compiled(full, self._namespaces, self.tries)
            self._paths[text].source = text
        return self._paths[text]


class Dialect:
    """One mapping file, ready for use. Its schema is the first of that name in `folders`. Raises MappingError when it is wrong."""

    def __init__(self, text: str, source: str, *folders: FilePath) -> None:
        spec = _read(text, source)
        self._spec = spec
        self.source = source
        self.name: str = spec["dialect"]
        self.title: str = spec.get("title", self.name)
        self.mapping_version = f"{spec['version']}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        self.namespaces: list[str] = as_list(spec["match"]["namespace"])
        self.roots: list[str] = spec["match"].get("roots", ["*"])
        self.attributes: dict[str, str] = spec["match"].get("attributes", {})
        self._takes_doctype: bool = spec.get("doctype", True)
        self._schema = _schema(spec["schema"], folders, source) if "schema" in spec else None
        self._tables = {self.namespaces[0]: Tables(spec, self.namespaces[0])}

    def matches(self, namespace: str, root_name: str) -> bool:
        """Whether documents of this root element may be of this dialect."""
        if not any(fnmatchcase(namespace, pattern) for pattern in self.namespaces):
            return False
        return any(fnmatchcase(root_name, root) for root in self.roots)

    def matches_attributes(self, root: etree._Element) -> bool:
        """Whether the root element has the attributes that the dialect asks for."""
        return all(fnmatchcase(root.get(name) or "", pattern) for name, pattern in self.attributes.items())

    def check(self, node: etree._Element) -> None:
        """Raises Misfit when the node, a root or an item, breaks the dialect's schema, or has a DOCTYPE that the dialect forbids."""
        if not self._takes_doctype and node.getroottree().docinfo.internalDTD is not None:
            sentence = f"A {self.title} document takes no DOCTYPE. Remove the <!DOCTYPE ...> line."
            raise Misfit("forbidden-construct", sentence, node, "DOCTYPE")
        if self._schema:
            self._schema.check(node)

    def open(self, root: etree._Element, header: Sequence[etree._Element] = ()) -> Contents:
        """The contents of a message of this dialect; `header` is what its envelope says about it."""
        return Contents(self, self._tables_for(root), root, header)

    def name_for(self, root: etree._Element) -> str:
        """The dialect's name; "*" in it is what the "*" of its namespace stands for ("fpml-5-*": "fpml-5-confirmation")."""
        if "*" not in self.name:
            return self.name
        return self.name.replace("*", self._star(namespace_of(root)))

    @lru_cache(MAX_NAMES)  # noqa: B019 dialects are few and live as long as the process
    def _star(self, namespace: str) -> str:
        pattern = next(pattern for pattern in self.namespaces if fnmatchcase(namespace, pattern))
        head, _, tail = pattern.partition("*")
        return shorten(namespace[len(head) : len(namespace) - len(tail)], MAX_STAR)

    def _tables_for(self, root: etree._Element) -> Tables:
        namespace = namespace_of(root)
        tables = self._tables.get(namespace)
        if tables is None:
            if len(self._tables) > MAX_NAMESPACES:
                self._tables.clear()
            tables = self._tables[namespace] = Tables(self._spec, namespace)
        return tables


class Contents:
    """What one document holds, in its own order."""

    def __init__(self, dialect: Dialect, tables: Tables, root: etree._Element, header: Sequence[etree._Element]) -> None:
        self._dialect = dialect
        self._root = root
        self._at_root = Place(root, root, tables.tries, header)
        self._using = [table for table in tables.for_root(local_name(root)) if table.applies(self._at_root)]

    def items(self) -> list[Item]:
        """All items, at least one: events, and messages that are none. Raises Misfit when the document has none, or too many."""
        claimed: dict[etree._Element, MessageTable] = {}
        for table in self._using:
            if table.otherwise and claimed:
                continue
            for node in table.items(self._at_root):
                claimed.setdefault(node, table)
        if not claimed:
            self._dialect.check(self._root)  # a schema says it better
            name, title = shorten(local_name(self._root)), self._dialect.title
            sentence = f"{name} holds no trade event that the mapping of {title} knows: none of its `each` leads to an element here."
            raise Misfit("not-an-event", sentence, self._root)
        if len(claimed) > MAX_EVENTS:
            sentence = f"The document has {len(claimed):,} events; at most {MAX_EVENTS:,} are taken. Split it into several files."
            raise Misfit("too-large", sentence, self._root)
        self._refuse_bulky(claimed)
        nodes = list(claimed) if len(set(claimed.values())) == 1 else [node for node in self._root.iter() if node in claimed]
        return [Item(claimed[node], node) for node in nodes]

    def _refuse_bulky(self, claimed: Iterable[etree._Element]) -> None:
        if _IS_BULKY(self._root):
            node = next((node for node in claimed if _IS_BULKY(node)), None)
            if node is not None:
                sentence = f"{shorten(local_name(node))} holds more than {MAX_ELEMENTS:,} elements, the most that one message may have."
                raise Misfit("too-large", sentence, node)

    def message(self, items: Sequence[Item]) -> ParsedMessage:
        """What these items of the document say, as one message. Raises Misfit."""
        events = [item for item in items if not item.table.reference]
        others = [item for item in items if item.table.reference]
        first = (events or others)[0]
        place = self._place(first)
        message_type = first.table.message_type(place)
        try:
            return ParsedMessage(
                self._dialect.name_for(self._root),
                message_type,
                self._dialect.mapping_version,
                tuple(self._event(number, events) for number in range(len(events))),
                reference="" if events else first.table.reference,
                stated={} if events else first.table.facts(place),
                warnings=_passed_over(others) if events else (),
            )
        except Misfit as misfit:
            misfit.message_type = message_type
            raise

    def _event(self, number: int, events: Sequence[Item]) -> TradeEvent:
        try:
            return events[number].table.event(self._place(events[number]))
        except Misfit as misfit:
            if len(events) > 1:  # a message is recorded whole or not at all, so that a replay adds what it should
                misfit.sentence += f" This is event {number + 1:,} of {len(events):,} in the message; the others wait with it."
            raise

    def traced(self, item: Item) -> list[Traced]:
        """Where the facts of one item come from."""
        return list(item.table.traced(self._place(item)))

    def _place(self, item: Item) -> Place:
        return self._at_root if item.node is self._root else self._at_root.item(item.node)


def _passed_over(items: Sequence[Item]) -> tuple[str, ...]:
    if not items:
        return ()
    names = ", ".join(sorted({shorten(local_name(item.node)) for item in items})[:5])
    return (f"{len(items):,} of the messages in the document are no trade events: {names}.",)


def _read(text: str, source: str) -> dict[str, Any]:
    try:
        spec = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{source}: {error}; expected TOML.") from error
    faults = specification.faults(spec)
    if faults:
        raise MappingError(*(f"{source}: {fault}" for fault in faults))
    return spec


def _schema(name: str, folders: Sequence[FilePath], source: str) -> Schema:
    file = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if file is None:
        raise MappingError(f"{source}: schema is '{name}'; expected the name of an XML Schema beside the mapping file.")
    try:
        return Schema(file)
    except (etree.XMLSchemaError, etree.XMLSyntaxError, OSError) as error:
        raise MappingError(f"{source}: schema is '{name}'; expected an XML Schema ({error}).") from error
