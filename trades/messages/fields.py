"""One fact of a mapping: where it stands, what it is made into, and what is said when the document does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lxml import etree

from trades.messages.facts import TradeId
from trades.messages.paths import Path, Place, text_of
from trades.messages.values import CONVERTERS, Converter, dates_like, moments_like, shorten, to_event_class

MAX_ID = 255  # characters of an id or a scheme
MAX_IDS = 1_000  # that one path finds of one trade
MAX_RELATED = 10_000
MAX_TEXT = 500  # characters of any other value
MAX_ENTRIES = 50  # of a list in the details, which are for showing
LIMITS = {"message_id": MAX_ID, "sender": MAX_ID, "correlation_id": MAX_ID, "in_reply_to": MAX_ID, "status": 100, "event_time": 100}

Spec = Mapping[str, Any]
Compile = Callable[[str], Path]


class MappingError(ValueError):
    """Mapping files are wrong; `args` are the sentences that say what and where, one for each fault."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


class Misfit(Exception):
    """What a document states does not fit: a MessageRefused in the making, with the element still to be located.

    `stated` holds what was understood all the same.
    """

    def __init__(self, code: str, sentence: str, node: etree._Element, name: str = "", *, stated: Mapping[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.node = node
        self.name = shorten(name or local_name(node), MAX_ID)
        self.stated: Mapping[str, Any] = stated or {}
        self.message_type = ""


class Traced(NamedTuple):
    """A fact of a mapping as it came out: its value (None: not stated), the rule that led to it ("" for none; the rules that were
    tried, where nothing is stated), the element where it stands, and what was wrong with it."""

    name: str
    value: Any
    rule: str = ""
    node: etree._Element | None = None
    fault: str = ""


def local_name(node: etree._Element) -> str:
    """The name of an element without its namespace."""
    return str(node.tag).rpartition("}")[2]  # etree.QName takes ten times as long, for every message


def namespace_of(node: etree._Element) -> str:
    """The namespace of an element, "" for none."""
    return str(node.tag).rpartition("}")[0][1:]


def check_keys(spec: Spec, allowed: Iterable[str], where: str) -> None:
    """Raises MappingError when a table of a mapping has a key that means nothing there."""
    for key in spec:
        if key not in allowed:
            raise MappingError(f"{where}: {key!r} is not known; expected one of {', '.join(sorted(allowed))}")


class Field:
    """One value. Its text is that of the first case that holds, else the first path that leads to a text, else `value`.

    `once` says that it is the same for all events of a document: thousands of events would each search the root again.
    """

    def __init__(self, name: str, spec: Any, compile_path: Compile) -> None:
        spec = spec if isinstance(spec, dict) else {"xpath": spec}
        self.name = name
        self._paths = [compile_path(text) for text in as_list(spec.get("xpath", []))]
        self._cases = [(compile_path(case["when"]), case["then"]) for case in spec.get("cases", [])]
        self._map: dict[str, str] | None = spec.get("map")
        self._otherwise: str | None = spec.get("else")
        self._default: str = spec.get("value", "")
        self._prefix: str = spec.get("prefix", "")
        self._suffix: str = spec.get("suffix", "")
        self._nulls = frozenset(spec.get("null_values", []))
        self._pick_all = spec.get("pick") == "max"
        self._convert = _converter(name, spec)
        self.limit = LIMITS.get(name, MAX_TEXT)
        self._once: bool = spec.get("once", False)
        self._plain = self._paths[0] if len(self._paths) == 1 and spec.keys() <= {"xpath", "type", "format", "zone"} else None
        # Most fields of a mapping are not in a given message; this lets a table pass them over without asking.
        self.slot = self._plain.item_slot if self._plain else -1
        self.attribute = self._plain.item_attribute if self._plain else ""
        self.is_text = self._convert is None

    def read(self, place: Place) -> Any:
        """The value, converted; None when the document states none. Raises Misfit when what it states is no such value."""
        if self._plain:  # the usual case, kept short for speed
            text = self._plain.first(place)
            if not text or (self._convert is None and len(text) <= self.limit):
                return text or None
            return self._finished(text, self._plain, place)
        if not self._once:
            return self._read(place)
        if self not in place.memo:
            place.memo[self] = self._read(place)
        return place.memo[self]

    def origin(self, place: Place) -> tuple[str, etree._Element | None]:
        """The rule that states the value, as the mapping file has it, and the element where it stands; all rules when none does."""
        for when, _ in self._cases:
            if when.nodes(place):
                return f"when {when.source}", place.node
        for path in self._paths:
            text = path.first(place)
            if text and text not in self._nulls:
                return path.source, path.element(place, text)
        return self._default or " | ".join(path.source for path in self._paths), None

    def _read(self, place: Place) -> Any:
        for when, then in self._cases:
            if when.nodes(place):
                return self._converted(self._affixed(then), None, place)
        for path in self._paths:
            if self._pick_all:
                values = [self._finished(text, path, place) for text in map(text_of, path.nodes(place)) if text]
                if values:
                    return max(values)
            else:
                text = path.first(place)
                if text and text not in self._nulls:
                    return self._finished(text, path, place)
        return self._converted(self._default, None, place)

    def _finished(self, text: str, path: Path, place: Place) -> Any:
        if len(text) > self.limit:
            raise self._misfit(text, path, place, f"at most {self.limit} characters")
        if self._map is not None:
            mapped = self._map.get(text, self._otherwise)
            if mapped is None:
                raise self._misfit(text, path, place, "one of " + ", ".join(self._map))
            text = mapped
        return self._converted(self._affixed(text) or self._default, path, place)

    def _affixed(self, text: str) -> str:
        return f"{self._prefix}{text}{self._suffix}" if text else ""

    def _converted(self, text: str, path: Path | None, place: Place) -> Any:
        if not text or self._convert is None:
            return text or None
        try:
            return self._convert(text)
        except ValueError as expected:
            raise self._misfit(text, path, place, str(expected)) from None

    def _misfit(self, text: str, path: Path | None, place: Place, expected: str) -> Misfit:
        node = path.element(place, text) if path else place.node
        name = local_name(node) if path else self.name
        about = f"Attribute {path.attribute} of {shorten(name)}" if path and path.attribute else shorten(name)
        return Misfit("invalid-field", f"{about} is '{shorten(text)}'; expected {expected}.", node, name)


def stated(fields: Sequence[Field | ListField], place: Place) -> dict[str, Any]:
    """The values of those fields that the place states. Raises Misfit."""
    slots = place.item_slots
    values: dict[str, Any] = {}
    for field in fields:
        if field.slot >= 0:
            elements = slots.get(field.slot)
            if elements is None:
                continue
            # The busiest lines of a worker: a short text in an element without children is what `read` would give, without its calls.
            element = elements[0]
            if field.is_text and not len(element):
                text = element.get(field.attribute) if field.attribute else element.text
                if text and text.isascii() and len(text) <= field.limit and (text := " ".join(text.split())):
                    values[field.name] = text
                    continue
        value = field.read(place)
        if value is not None:
            values[field.name] = value
    return values


def traced(field: Field | ListField, place: Place) -> Traced:
    """One field as it came out, whatever is wrong with it."""
    try:
        value = field.read(place)
    except Misfit as misfit:
        return Traced(field.name, None, field.origin(place)[0], misfit.node, misfit.sentence)
    except etree.XPathError as error:
        return Traced(field.name, None, "", None, f"The rule fails on this document: {error}.")
    rule, node = field.origin(place)
    return Traced(field.name, value, rule, None if value is None else node)


class Reference:
    """Facts that stand at another node of the document, which an entry names by a key (FpML: @href of a party's @id)."""

    def __init__(self, name: str, spec: Spec, compile_path: Compile) -> None:
        self._by: Path = compile_path(spec["by"])
        self._to: Path = compile_path(spec["to"])
        self._key: Path = compile_path(spec["key"])
        self._fields = [Field(key, field, compile_path) for key, field in spec["fields"].items()]

    def read(self, entry: Place) -> dict[str, Any]:
        """The values at the node that the entry names; none when there is no such node."""
        target = self._index(entry).get(self._by.first(entry))
        return {} if target is None else stated(self._fields, entry.below(target))

    def _index(self, entry: Place) -> dict[str, etree._Element]:
        if self not in entry.memo:  # the same for all entries of all events of a document
            named = [(self._key.first(entry.below(node)), node) for node in self._to.nodes(entry)]
            entry.memo[self] = {key: node for key, node in reversed(named) if key}
        index: dict[str, etree._Element] = entry.memo[self]
        return index


class ListField:
    """A list of small tables, one for each node that `each` leads to; what lacks one of `needs` is left out."""

    slot = -1
    is_text = False
    attribute = ""
    limit = 0

    def __init__(self, name: str, spec: Spec, compile_path: Compile) -> None:
        self.name = name
        self._each = compile_path(spec["each"])
        self._fields = [Field(key, field, compile_path) for key, field in spec["fields"].items()]
        self._needs: list[str] = spec.get("needs", [])
        self._refer = Reference(name, spec["refer"], compile_path) if "refer" in spec else None

    def read(self, place: Place) -> Any:
        """The entries, at most MAX_ENTRIES; None when there are none."""
        entries = [self._entry(place.below(node)) for node in self._each.nodes(place)[:MAX_ENTRIES]]
        return [entry for entry in entries if entry and all(name in entry for name in self._needs)] or None

    def origin(self, place: Place) -> tuple[str, etree._Element | None]:
        """The rule that leads to the entries, and the first of their elements."""
        nodes = self._each.nodes(place)
        return self._each.source, nodes[0] if nodes and etree.iselement(nodes[0]) else None

    def _entry(self, place: Place) -> dict[str, Any]:
        entry = stated(self._fields, place)
        return {**entry, **self._refer.read(place)} if self._refer else entry


class IdPath(NamedTuple):
    """Where an id stands, and where, from there, its scheme."""

    path: Path
    schemes: list[Path]


class Ids:
    """The identifiers of the trade an item is about, and those of related trades.

    `own` is a list of rules (each a path, or several whose results are joined): the first rule that leads to an id wins. A path is a
    text, or a table of `xpath` and a `scheme` of its own where one kind of id is unique in a wider or narrower sense than the others.
    An id for which `uti` holds is a unique transaction identifier and leads the others. An id in `null_values` is none.
    """

    def __init__(self, spec: Spec, compile_path: Compile) -> None:
        scheme = spec.get("scheme", [])

        def id_path(path: Any) -> IdPath:
            path = path if isinstance(path, dict) else {"xpath": path}
            return IdPath(compile_path(path["xpath"]), [compile_path(text) for text in as_list(path.get("scheme", scheme))])

        self._own = [[id_path(path) for path in as_list(rule)] for rule in spec["own"]]
        self._uti = compile_path(spec["uti"]) if "uti" in spec else None
        self._nulls = frozenset(spec.get("null_values", []))
        self._related = [id_path(path) for path in as_list(spec.get("related", []))]
        self.expected: str = spec.get("expected", "")

    def read(self, place: Place) -> tuple[tuple[TradeId, ...], tuple[TradeId, ...], TradeId | None]:
        """The trade's own ids, the leading one first, the related ones that are none of its own, and the UTI."""
        own: dict[TradeId, bool] = {}
        for rule in self._own:
            for path, schemes in rule:
                for node in _at_most(MAX_IDS, path.nodes(place), place):
                    self._add(own, node, schemes, place)
            if own:
                break
        values = {trade_id.value for trade_id in own}
        related: dict[TradeId, bool] = {}
        for path, schemes in self._related:
            for node in _at_most(MAX_RELATED, path.nodes(place), place):
                self._add(related, node, schemes, place)
        ordered = tuple(sorted(own, key=lambda trade_id: not own[trade_id])) if self._uti else tuple(own)
        uti = ordered[0] if ordered and own[ordered[0]] else None
        return ordered, tuple(trade_id for trade_id in related if trade_id.value not in values), uti

    def traced(self, place: Place) -> Iterator[Traced]:
        """Where the trade's own ids and the related ones come from."""
        try:
            own, related, _ = self.read(place)
        except Misfit as misfit:
            yield Traced("trade_ids", None, "", misfit.node, misfit.sentence)
            return
        rules = [[path for path, _ in rule] for rule in self._own]
        tried = next((rule for rule in rules if any(path.first(place) for path in rule)), [path for rule in rules for path in rule])
        for name, ids, paths in (("trade_ids", own, tried), ("related_ids", related, [path for path, _ in self._related])):
            if paths:
                stated_by = next(((path, text) for path in paths if (text := path.first(place))), None)
                node = stated_by[0].element(place, stated_by[1]) if ids and stated_by else None
                yield Traced(name, [trade_id.value for trade_id in ids] or None, " | ".join(path.source for path in paths), node)

    def _add(self, found: dict[TradeId, bool], node: Any, schemes: list[Path], place: Place) -> None:
        value = text_of(node)
        if not value or value in self._nulls:
            return
        at = place.below(node) if etree.iselement(node) else place
        scheme = next((text for path in schemes if (text := path.first(at))), "")
        for text, what in ((value, "id"), (scheme, "scheme of the id")):
            if len(text) > MAX_ID:
                sentence = f"The {what} '{shorten(text)}' has {len(text):,} characters; expected at most {MAX_ID}."
                raise Misfit("invalid-field", sentence, at.node)
        found.setdefault(TradeId(scheme, value), self._uti is not None and bool(self._uti.nodes(at)))


def _at_most(most: int, nodes: list[Any], place: Place) -> list[Any]:
    if len(nodes) > most:
        raise Misfit("too-large", f"{shorten(local_name(place.node))} states {len(nodes):,} ids; at most {most:,} are taken.", place.node)
    return nodes


def _converter(name: str, spec: Spec) -> Converter | None:
    if name == "event_class":
        return to_event_class
    kind = spec.get("type", "text")
    if kind == "text":
        return None
    if kind in ("date", "date-text") and "format" in spec:
        return dates_like(spec["format"], as_text=kind == "date-text")
    if kind == "datetime" and ("format" in spec or "zone" in spec):
        return moments_like(spec.get("format", ""), spec.get("zone", ""))
    return CONVERTERS[kind]


def as_list(value: Any) -> list[Any]:
    """The value itself if it is a list, else a list of it."""
    return value if isinstance(value, list) else [value]
