"""The one mapping engine: a dialect is a TOML file of XPath tables, compiled once, that turns a tree into trade events.

A file says which documents are its own (`match`), and for each of its messages which nodes are events (`each`), where their facts
stand (`fields`, `ids`, `details`) and which rules its schema cannot say (`require`). What a message does not state itself it takes
from the top of the file. `dialects/native.toml` is the shortest example.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from lxml import etree

from trades.messages.facts import TradeEvent
from trades.messages.fields import Field, Ids, ListField, MappingError, Misfit, Spec, check_keys, local_name, stated
from trades.messages.paths import Path, Place, Tries, compiled
from trades.messages.schema import Schema
from trades.messages.values import Moment, shorten

MAX_EVENTS = 10_000  # of one document
MAX_NAMESPACES = 64  # for which a dialect of a namespace pattern stays compiled
MAX_TYPE = 100  # characters of a message type
MAX_NAMES = 256  # of root elements whose tables are remembered
OWN_NAMESPACE = "*"  # a prefix bound to this stands for the namespace of the document's root

SHARED_KEYS = frozenset({"each", "fields", "ids", "details", "require"})
DIALECT_KEYS = SHARED_KEYS | {"dialect", "title", "version", "schema", "doctype", "match", "namespaces", "define", "messages", "type"}
MESSAGE_KEYS = SHARED_KEYS | {"roots", "when", "split", "ignore"}
MATCH_KEYS = frozenset({"namespace", "roots", "attributes"})
EVENT_FIELDS = frozenset(field.name for field in dataclass_fields(TradeEvent)) - {
    "trade_ids",
    "related_ids",
    "details",
    "zoned",
    "event_time_text",
}


class Rule:
    """Something a message must state beyond what its schema asks: where the facts are as in `when`, `test` leads to a text."""

    def __init__(self, spec: Spec, compile_path: Any) -> None:
        check_keys(spec, {"when", "test", "element", "message"}, "require")
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

    def __init__(self, spec: Spec, compile_path: Any, where: str) -> None:
        check_keys(spec, MESSAGE_KEYS, where)
        check_keys(spec.get("fields", {}), EVENT_FIELDS, f"{where}, fields")
        self.roots: list[str] = spec.get("roots", ["*"])
        self.split: bool = spec.get("split", False)
        self.ignore: str = spec.get("ignore", "")
        self._when = compile_path(spec["when"]) if "when" in spec else None
        self._each: Path = compile_path(spec.get("each", "."))
        if self.ignore:
            return
        self._fields = [Field(name, field, compile_path) for name, field in spec.get("fields", {}).items()]
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
        own, related = self._ids.read(place)
        if not own:
            raise Misfit("no-trade-id", f"{shorten(local_name(place.node))} states no trade id. {self._ids.expected}".strip(), place.node)
        details = stated(self._details, place)
        return TradeEvent(trade_ids=own, related_ids=related, details=details, **values)


class Item(NamedTuple):
    """One event of a document: the node that states it, and the table that reads it."""

    table: MessageTable
    node: etree._Element


class Tables:
    """The messages of a dialect, compiled for one namespace."""

    def __init__(self, spec: Spec, namespace: str, where: str) -> None:
        self.tries = Tries()
        self._namespaces = {prefix: namespace if uri == OWN_NAMESPACE else uri for prefix, uri in spec.get("namespaces", {}).items()}
        self._define: Mapping[str, str] = spec.get("define", {})
        self._paths: dict[str, Path] = {}
        shared = {key: spec[key] for key in SHARED_KEYS if key in spec}
        self.messages = [
            MessageTable(_merged(shared, message), self._compile, f"{where}, messages {number}")
            for number, message in enumerate(spec["messages"], 1)
        ]
        self.type = self._compile(spec["type"]) if "type" in spec else None
        self.for_root = lru_cache(MAX_NAMES)(self._for_root)

    def _for_root(self, root_name: str) -> list[MessageTable]:
        return [message for message in self.messages if message.takes(root_name)]

    def _compile(self, text: str) -> Path:
        if text not in self._paths:
            full = text
            while "{" in full:
                full = full.format_map(self._define)
            self._paths[text] = compiled(full, self._namespaces, self.tries)
        return self._paths[text]


class Dialect:
    """One mapping file, ready for use. Raises MappingError when it is wrong."""

    def __init__(self, text: str, source: str, folder: FilePath) -> None:
        try:
            spec = tomllib.loads(text)
            check_keys(spec, DIALECT_KEYS, source)
            check_keys(spec["match"], MATCH_KEYS, f"{source}, match")
            self._spec = spec
            self._source = source
            self.name: str = spec["dialect"]
            self.title: str = spec.get("title", self.name)
            self.mapping_version = f"{spec['version']}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"
            self.namespace: str = spec["match"]["namespace"]
            self.roots: list[str] = spec["match"].get("roots", ["*"])
            self.attributes: dict[str, str] = spec["match"].get("attributes", {})
            self._takes_doctype: bool = spec.get("doctype", True)
            self._schema = Schema(folder / spec["schema"]) if "schema" in spec else None
            self._tables = {self.namespace: Tables(spec, self.namespace, source)}
        except KeyError as error:
            raise MappingError(f"{source}: {error} is missing") from error
        except (tomllib.TOMLDecodeError, etree.XPathError, etree.XMLSchemaError, OSError) as error:
            raise MappingError(f"{source}: {error}") from error

    def matches(self, namespace: str, root_name: str) -> bool:
        """Whether documents of this root element may be of this dialect."""
        return fnmatchcase(namespace, self.namespace) and any(fnmatchcase(root_name, root) for root in self.roots)

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

    def open(self, root: etree._Element) -> Contents:
        """The contents of a document of this dialect."""
        return Contents(self.title, self._tables_for(root), root)

    def _tables_for(self, root: etree._Element) -> Tables:
        namespace = etree.QName(root).namespace or ""
        tables = self._tables.get(namespace)
        if tables is None:
            if len(self._tables) > MAX_NAMESPACES:
                self._tables.clear()
            tables = self._tables[namespace] = Tables(self._spec, namespace, self._source)
        return tables


class Contents:
    """What one document holds, in its own order."""

    def __init__(self, title: str, tables: Tables, root: etree._Element) -> None:
        self._title = title
        self._type = tables.type
        self._root = root
        self._at_root = Place(root, root, tables.tries)
        self._using = [table for table in tables.for_root(local_name(root)) if table.applies(self._at_root)]

    def parts(self) -> list[Item]:
        """The items that are messages by themselves and are published one by one; none unless the mapping says so. Raises Misfit."""
        return self.items() if any(table.split for table in self._using) and len(self._root) else []

    def items(self) -> list[Item]:
        """All items, at least one. Raises Misfit when the document has none, or too many."""
        claimed: dict[etree._Element, MessageTable] = {}
        for table in self._using:
            if table.ignore:
                raise Misfit("not-an-event", table.ignore, self._root)
            for node in table.items(self._at_root):
                claimed.setdefault(node, table)
        if not claimed:
            name = shorten(local_name(self._root))
            raise Misfit("not-an-event", f"{name} is not a trade event that the mapping of {self._title} knows.", self._root)
        if len(claimed) > MAX_EVENTS:
            sentence = f"The document has {len(claimed):,} events; at most {MAX_EVENTS:,} are taken. Split it into several files."
            raise Misfit("too-large", sentence, self._root)
        nodes = list(claimed) if len(self._using) == 1 else [node for node in self._root.iter() if node in claimed]
        return [Item(claimed[node], node) for node in nodes]

    def event(self, item: Item) -> TradeEvent:
        """The trade event of one item. Raises Misfit."""
        return item.table.event(self._at_root if item.node is self._root else self._at_root.item(item.node))

    def message_type(self, node: etree._Element) -> str:
        """What the dialect calls a message that is all in `node`: its name, unless the mapping says otherwise."""
        return shorten(self._type.first(self._at_root.item(node)) if self._type else local_name(node), MAX_TYPE)


def _merged(shared: Spec, own: Spec) -> dict[str, Any]:
    """What a message states, over what its dialect states for all: fields, ids and details key by key, fields even within."""
    merged = {**shared, **own}
    for key in ("fields", "ids", "details"):
        if key in shared and key in own:
            merged[key] = {**shared[key], **own[key]}
    for name, field in own.get("fields", {}).items():
        common = shared.get("fields", {}).get(name)
        if isinstance(common, dict) and isinstance(field, dict):
            merged["fields"][name] = {**common, **field}
    return merged
