"""One fact of a mapping: where it stands, what it is made into, and what is said when the document does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lxml import etree

from trades.messages.facts import TradeId
from trades.messages.paths import Path, Place, text_of
from trades.messages.values import CONVERTERS, Converter, dates_like, moments_like, shorten, to_event_class

MAX_ID = 255  # characters of an id or a scheme
MAX_TEXT = 500  # characters of any other value
MAX_ENTRIES = 50  # of a list in the details, which are for showing
LIMITS = {"message_id": MAX_ID, "sender": MAX_ID, "correlation_id": MAX_ID, "in_reply_to": MAX_ID, "status": 100, "event_time": 100}

Spec = Mapping[str, Any]
Compile = Callable[[str], Path]

FIELD_KEYS = frozenset(
    ("xpath", "type", "cases", "map", "else", "value", "prefix", "suffix", "pick", "format", "zone", "null_values", "once")
)
LIST_KEYS = frozenset({"each", "fields", "needs"})
ID_KEYS = frozenset({"own", "scheme", "first", "related", "expected"})


class MappingError(ValueError):
    """A mapping file is wrong; the sentence says what and where."""


class Misfit(Exception):
    """What a document states does not fit: a MessageRefused in the making, with the element still to be located."""

    def __init__(self, code: str, sentence: str, node: etree._Element, name: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.node = node
        self.name = shorten(name or local_name(node), MAX_ID)


def local_name(node: etree._Element) -> str:
    """The name of an element without its namespace."""
    return etree.QName(node).localname


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
        check_keys(spec, FIELD_KEYS, name)
        self.name = name
        self._paths = [compile_path(text) for text in _as_list(spec.get("xpath", []))]
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


class ListField:
    """A list of small tables, one for each node that `each` leads to; what lacks one of `needs` is left out."""

    slot = -1
    is_text = False
    attribute = ""
    limit = 0

    def __init__(self, name: str, spec: Spec, compile_path: Compile) -> None:
        check_keys(spec, LIST_KEYS, name)
        self.name = name
        self._each = compile_path(spec["each"])
        self._fields = [Field(key, field, compile_path) for key, field in spec["fields"].items()]
        self._needs: list[str] = spec.get("needs", [])

    def read(self, place: Place) -> Any:
        """The entries, at most MAX_ENTRIES; None when there are none."""
        entries = [stated(self._fields, place.below(node)) for node in self._each.nodes(place)[:MAX_ENTRIES]]
        return [entry for entry in entries if entry and all(name in entry for name in self._needs)] or None


class Ids:
    """The identifiers of the trade an item is about, and those of related trades.

    `own` is a list of rules (each a path, or several whose results are joined): the first rule that leads to an id wins.
    An id for which `first` holds, the UTI, leads the others.
    """

    def __init__(self, spec: Spec, compile_path: Compile) -> None:
        check_keys(spec, ID_KEYS, "ids")
        self._own = [[compile_path(text) for text in _as_list(rule)] for rule in spec["own"]]
        self._scheme = [compile_path(text) for text in _as_list(spec.get("scheme", []))]
        self._first = compile_path(spec["first"]) if "first" in spec else None
        self._related = [compile_path(text) for text in _as_list(spec.get("related", []))]
        self.expected: str = spec.get("expected", "")

    def read(self, place: Place) -> tuple[tuple[TradeId, ...], tuple[TradeId, ...]]:
        """The trade's own ids, the leading one first, and the related ones that are none of its own."""
        own: dict[TradeId, bool] = {}
        for rule in self._own:
            for node in (node for path in rule for node in path.nodes(place)):
                self._add(own, node, place)
            if own:
                break
        values = {trade_id.value for trade_id in own}
        related: dict[TradeId, bool] = {}
        for node in (node for path in self._related for node in path.nodes(place)):
            self._add(related, node, place)
        ordered = tuple(sorted(own, key=lambda trade_id: not own[trade_id])) if self._first else tuple(own)
        return ordered, tuple(trade_id for trade_id in related if trade_id.value not in values)

    def _add(self, found: dict[TradeId, bool], node: Any, place: Place) -> None:
        value = text_of(node)
        if not value:
            return
        at = place.below(node) if etree.iselement(node) else place
        scheme = next((text for path in self._scheme if (text := path.first(at))), "")
        for text, what in ((value, "id"), (scheme, "scheme of the id")):
            if len(text) > MAX_ID:
                sentence = f"The {what} '{shorten(text)}' has {len(text):,} characters; expected at most {MAX_ID}."
                raise Misfit("invalid-field", sentence, at.node)
        found.setdefault(TradeId(scheme, value), self._first is not None and bool(self._first.nodes(at)))


def _converter(name: str, spec: Spec) -> Converter | None:
    if name == "event_class":
        return to_event_class
    kind = spec.get("type", "text")
    if kind == "text":
        return None
    if kind == "date" and "format" in spec:
        return dates_like(spec["format"])
    if kind == "datetime" and ("format" in spec or "zone" in spec):
        return moments_like(spec.get("format", ""), spec.get("zone", "UTC"))
    if kind not in CONVERTERS:
        raise MappingError(f"{name}: the type {kind!r} is not known; expected text, {', '.join(CONVERTERS)}")
    return CONVERTERS[kind]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
