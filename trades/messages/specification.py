"""A mapping file as data: what it may hold, and how a message takes from the top of the file. Said before anything is compiled.

Every fault is one sentence: the key ("messages[2].fields.version.type", counted from 1), what it holds, what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lxml import etree

from trades.messages import checks
from trades.messages.checks import Check, Faults
from trades.messages.facts import EventClass
from trades.messages.fields import Spec, as_list
from trades.messages.paths import Tries, compiled
from trades.messages.values import CONVERTERS

# The facts of an event, and the type that each must come out as.
EVENT_TYPES = {
    **dict.fromkeys(("event_class", "event_kind", "status", "message_id", "sender", "correlation_id", "in_reply_to", "reason"), "text"),
    **dict.fromkeys(("version", "sequence"), "int"),
    "is_correction": "bool",
    "trade_date": "date",
    "event_time": "datetime",
}
TYPES = ("text", *CONVERTERS)
JSON_TYPES = ("text", "int", "decimal", "bool", "date-text")  # of details, which are kept as JSON
FORMATTED = ("date", "date-text", "datetime")
VARIABLES = ("root", "header", "event")
OWN_NAMESPACE = "*"  # a prefix bound to this stands for the namespace of the document's root
ALONE = "alone"
MAX_NAME = 60  # characters of a dialect's name
MAX_VERSION = 40
MAX_NESTING = 10  # of snippets within snippets

# XML Path Language (XPath) 1.0, section 4: the core function library.
FUNCTIONS = frozenset(
    (
        *("last", "position", "count", "id", "local-name", "namespace-uri", "name", "string", "concat", "starts-with", "contains"),
        *("substring-before", "substring-after", "substring", "string-length", "normalize-space", "translate", "boolean", "not"),
        *("true", "false", "lang", "number", "sum", "floor", "ceiling", "round"),
    )
)
_NODE_TYPES = frozenset({"comment", "text", "processing-instruction", "node"})
_OPERATORS = frozenset({"and", "or", "div", "mod"})
_NAME = r"[^\W\d][\w.-]*"
_TOKEN = re.compile(
    rf""""[^"]*"|'[^']*'|\$(?P<variable>{_NAME})|(?P<prefix>{_NAME}):(?!:)(?:{_NAME}|\*)(?P<foreign>\s*\()?|(?P<name>{_NAME})(?P<call>\s*\()?"""
)
_CONSTANT = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*""")
_SNIPPET = re.compile(r"\{(\w+)\}")


def faults(spec: Spec) -> list[str]:
    """What is wrong with a mapping file that is TOML: a sentence for each fault, none when it can be compiled."""
    found = list(_File(spec).faults())
    if not found:  # what is complete can only be said of what has the right form
        found = list(_incomplete(spec))
    return list(dict.fromkeys(found))


def merged(shared: Spec, own: Spec) -> dict[str, Any]:
    """What a message states, over what its dialect states for all: fields, ids and details key by key, fields even within."""
    whole = {**shared, **own}
    for key in ("fields", "ids", "details"):
        if key in shared and key in own:
            whole[key] = {**shared[key], **own[key]}
    for name, field in own.get("fields", {}).items():
        common = shared.get("fields", {}).get(name)
        if isinstance(common, dict) and isinstance(field, dict):
            whole["fields"][name] = {**common, **field}
    return whole


def shared_of(spec: Spec) -> dict[str, Any]:
    """What the top of a file states for all of its messages."""
    return {key: spec[key] for key in ("each", "fields", "ids", "details", "require", "type") if key in spec}


class _File:
    """The checks of one file: they need its prefixes and snippets."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._sound: set[str] = set()
        namespaces, define = spec.get("namespaces"), spec.get("define")
        self._namespaces: dict[str, Any] = namespaces if isinstance(namespaces, dict) else {}
        self._define: dict[str, Any] = define if isinstance(define, dict) else {}
        self._field_check = checks.table(
            {
                "xpath": self._paths,
                "cases": checks.list_of(checks.table({"when": self._path, "then": checks.text}, required=("when", "then"))),
                "map": checks.each(checks.text),
                "type": checks.one_of(*TYPES),
                "pick": checks.one_of("max"),
                "zone": checks.zone,
                "format": checks.time_format,
                "null_values": checks.texts,
                "once": checks.switch,
                **dict.fromkeys(("else", "value", "prefix", "suffix"), checks.text),
            }
        )
        nodes = dict.fromkeys(("by", "to", "key"), self._path)
        fields = checks.each(self._field)
        refer = checks.table({**nodes, "fields": fields}, required=("by", "to", "key", "fields"))
        self._list_check = checks.table(
            {"each": self._path, "fields": fields, "needs": checks.texts, "refer": refer}, required=("each", "fields")
        )

    def _whole(self) -> Check:
        shared = self._shared()
        message = {**shared, "roots": checks.texts, "when": self._path, "split": checks.one_of(ALONE), "reference": checks.text}
        match = {"namespace": checks.text_or_texts, "roots": checks.texts, "attributes": checks.each(checks.text)}
        return checks.table(
            {
                **shared,
                "dialect": checks.short(MAX_NAME),
                "title": checks.text,
                "version": checks.short(MAX_VERSION),
                "schema": checks.file_name,
                "doctype": checks.switch,
                "match": checks.table(match, required=("namespace",)),
                "namespaces": checks.each(checks.text),
                "define": checks.each(checks.text),
                "messages": checks.list_of(checks.table({**message, "otherwise": checks.switch}), at_least_one=True),
            },
            required=("dialect", "version", "match", "messages"),
        )

    def _shared(self) -> dict[str, Check]:
        ids = {"own": self._rules, "scheme": self._paths, "related": self._paths, "uti": self._path}
        rule = {"when": checks.each(checks.a_list), "test": self._path, "element": checks.text, "message": checks.text}
        return {
            "each": self._path,
            "type": self._path,
            "fields": checks.table(dict.fromkeys(EVENT_TYPES, self._field)),
            "ids": checks.table({**ids, "expected": checks.text, "null_values": checks.texts}),
            "details": checks.each(self._detail),
            "require": checks.list_of(checks.table(rule, required=("test", "element", "message"))),
        }

    def faults(self) -> Faults:
        """A sentence for each key that holds something else than it may."""
        yield from self._whole()("", self._spec)

    def _field(self, key: str, value: Any) -> Faults:
        if not isinstance(value, dict):
            yield from self._paths(key, value)
            return
        yield from self._field_check(key, value)
        if "format" in value and value.get("type", "text") in {*TYPES} - {*FORMATTED}:
            yield f"{key}.format needs a type; expected type = one of {', '.join(FORMATTED)}."

    def _detail(self, key: str, value: Any) -> Faults:
        if isinstance(value, dict) and "each" in value:
            yield from self._list_check(key, value)
            return
        yield from self._field(key, value)

    def _rules(self, key: str, value: Any) -> Faults:
        if not isinstance(value, list) or not value:
            yield checks.wrong(key, value, 'a list of rules, such as ["a:Id"]: the first that finds an id wins')
            return
        for number, rule in enumerate(value, 1):
            for place, path in enumerate(rule, 1) if isinstance(rule, list) else [(0, rule)]:
                yield from self._id_path(f"{key}[{number}][{place}]" if place else f"{key}[{number}]", path)

    def _id_path(self, key: str, value: Any) -> Faults:
        if isinstance(value, dict):
            yield from checks.table({"xpath": self._path, "scheme": self._paths}, required=("xpath",))(key, value)
        else:
            yield from self._path(key, value)

    def _paths(self, key: str, value: Any) -> Faults:
        if not isinstance(value, list):
            yield from self._path(key, value)
            return
        if not value:
            yield f"{key} is empty; expected an XPath or a list of them."
        for number, path in enumerate(value, 1):
            yield from self._path(f"{key}[{number}]", path)

    def _path(self, key: str, value: Any) -> Faults:
        if not isinstance(value, str) or not value.strip():
            yield checks.wrong(key, value, "an XPath, as text")
            return
        text = value
        for _ in range(MAX_NESTING):
            unknown = next((name for name in _SNIPPET.findall(text) if not isinstance(self._define.get(name), str)), None)
            if unknown is not None:
                yield f"{key} uses {{{unknown}}}, which [define] does not have; expected one of {checks.names(self._define)}."
                return
            text = _SNIPPET.sub(lambda match: str(self._define[match[1]]), text)
        if _SNIPPET.search(text):
            yield f"{key} uses a snippet of [define] that contains itself; expected snippets that end."
        elif "{" in text or "}" in text:
            yield checks.wrong(key, value, "braces around names of [define] alone")
        else:
            yield from self.expression(key, text)

    def expression(self, key: str, text: str) -> Faults:
        """A sentence for each fault of an XPath."""
        if text in self._sound:
            return
        said = list(self._vocabulary(text))
        yield from (f"{key}: {sentence}" for sentence in said)
        if said:
            return
        namespaces = {prefix: str(uri) for prefix, uri in self._namespaces.items()}
        try:
            compiled(text, namespaces, Tries())
            self._sound.add(text)
        except etree.XPathError as error:
            yield f"{key} is {checks.shown(text)}; expected an XPath 1.0 expression ({str(error).rstrip('.')})."

    def _vocabulary(self, text: str) -> Faults:
        for token in _TOKEN.finditer(text):
            prefix, name = token["prefix"], token["name"]
            if token["foreign"]:
                yield f"the function {token[0].rstrip(' (')} is not taken; expected the core functions of XPath 1.0 alone."
            elif prefix and prefix not in self._namespaces:
                yield f"the prefix {prefix} is not in [namespaces]; expected one of {checks.names(self._namespaces)}."
            elif token["variable"] and token["variable"] not in VARIABLES:
                yield f"the variable ${token['variable']} is not known; expected one of {', '.join(f'${name}' for name in VARIABLES)}."
            elif token["call"] and name not in FUNCTIONS | _NODE_TYPES | _OPERATORS:
                yield f"the function {name} is not taken; expected one of {', '.join(sorted(FUNCTIONS))}."


def xpath(namespaces: Mapping[str, Any]) -> Check:
    """A check of XPaths with these prefixes, in files that have no snippets."""
    file = _File({"namespaces": namespaces})

    def check(key: str, value: Any) -> Faults:
        if not isinstance(value, str) or not value.strip():
            yield checks.wrong(key, value, "an XPath, as text")
        else:
            yield from file.expression(key, value)

    return check


def _incomplete(spec: Spec) -> Faults:
    """What is missing, and what does not go together, in a file whose every key has the right form."""
    if "*" in spec["dialect"] and not any("*" in pattern for pattern in as_list(spec["match"]["namespace"])):
        yield "dialect has a *, but match.namespace has none; expected one there, for what it stands for names the dialect."
    shared = shared_of(spec)
    for number, own in enumerate(spec["messages"], 1):
        whole = merged(shared, own)
        for name, field in whole.get("fields", {}).items():
            key = f"messages[{number}].fields.{name}" if name in own.get("fields", {}) else f"fields.{name}"
            yield from _unfit_field(key, field, (EVENT_TYPES[name],))
            if name == "event_class":
                yield from _unfit_class(key, field)
        for name, detail in whole.get("details", {}).items():
            key = f"messages[{number}].details.{name}" if name in own.get("details", {}) else f"details.{name}"
            yield from _unfit_detail(key, detail)
        if not whole.get("reference"):
            if "event_class" not in whole.get("fields", {}):
                yield f"messages[{number}].fields.event_class is missing; expected what such a message does to its trade, or reference."
            if "own" not in whole.get("ids", {}):
                yield f"messages[{number}].ids.own is missing; expected where the ids of the trade stand, or reference."


def _unfit_detail(key: str, detail: Any) -> Faults:
    if not isinstance(detail, dict) or "each" not in detail:
        yield from _unfit_field(key, detail, JSON_TYPES)
        return
    for below, table in (("", detail), (".refer", detail.get("refer", {}))):
        for name, field in table.get("fields", {}).items():
            yield from _unfit_field(f"{key}{below}.fields.{name}", field, JSON_TYPES)


def _unfit_field(key: str, field: Any, types: tuple[str, ...]) -> Faults:
    table = field if isinstance(field, dict) else {"xpath": field}
    if not any(name in table for name in ("xpath", "cases", "value")):
        yield f"{key} does not say where the value is; expected xpath, cases or value."
    kind = table.get("type", "text")
    if kind not in types:
        missing = "is missing" if "type" not in table else f"is {checks.shown(kind)}"
        expected = f'"{types[0]}"' if len(types) == 1 else f"one of {', '.join(types)}"
        yield f"{key}.type {missing}; expected {expected}."


def _unfit_class(key: str, field: Any) -> Faults:
    """Constants that come out as no class of events."""
    table = field if isinstance(field, dict) else {"xpath": field}
    prefix, suffix = table.get("prefix", ""), table.get("suffix", "")
    said = {f"{key}.map.{name}": value for name, value in table.get("map", {}).items()}
    said |= {f"{key}.cases[{number}].then": case["then"] for number, case in enumerate(table.get("cases", []), 1)}
    said |= {f"{key}.else": table.get("else", "")}
    if "map" not in table:
        constants = (_CONSTANT.fullmatch(path) for path in as_list(table.get("xpath", [])))
        said |= {f"{key}.xpath": match[1] or match[2] for match in constants if match}
    whole = {name: f"{prefix}{value}{suffix}" for name, value in said.items() if value} | {f"{key}.value": table.get("value", "")}
    for name, value in whole.items():
        if value and value not in list(EventClass):
            yield f"{name} is {checks.shown(value)}; expected one of {', '.join(EventClass)}."
