"""Envelopes: what wraps a business message (SOAP, SWIFT DataPDU, AppHdr beside Document) and is looked through to find it.

Only known envelopes are opened: a document of an unknown kind that quotes a trade message, a rejection say, must not book it again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from lxml import etree

from trades.messages.fields import MappingError, as_list, check_keys, local_name, namespace_of

D = TypeVar("D")

MAX_DEPTH = 6  # elements from the root of the document down to the message
MAX_VISITED = 1_000  # elements looked at on the way

KEYS = frozenset({"title", "namespace", "roots", "headers"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the root of an envelope looks like, and the local names of elements in it that describe the message (`$header`)."""

    namespaces: tuple[str, ...]
    roots: tuple[str, ...]
    headers: tuple[str, ...] = ()

    def is_around(self, root: etree._Element) -> bool:
        """Whether this element is such an envelope."""
        namespace, name = namespace_of(root), local_name(root)
        if not any(fnmatchcase(namespace, pattern) for pattern in self.namespaces):
            return False
        return any(fnmatchcase(name, pattern) for pattern in self.roots)


def read_envelopes(text: str, source: str) -> list[Envelope]:
    """The `[[envelope]]` tables of a TOML file. Raises MappingError."""
    try:
        spec = tomllib.loads(text)
        check_keys(spec, {"envelope"}, source)
        return [_envelope(table, f"{source}, envelope {number}") for number, table in enumerate(spec["envelope"], start=1)]
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{source}: {error}") from error
    except KeyError as error:
        raise MappingError(f"{source}: {error} is missing") from error


def unwrap(
    root: etree._Element, envelopes: Sequence[Envelope], known: Callable[[etree._Element], D | None]
) -> list[tuple[D, etree._Element]]:
    """The messages inside a document whose root is a known envelope, each with what `known` makes of it; none in any other."""
    found: list[tuple[D, etree._Element]] = []
    level = [root] if any(envelope.is_around(root) for envelope in envelopes) else []
    visited = 0
    for _ in range(MAX_DEPTH):
        level = [child for element in level for child in element.iterchildren("*")]
        visited += len(level)
        if visited > MAX_VISITED:
            break
        wrappers = []
        for element in level:
            dialect = known(element)
            if dialect is None:
                wrappers.append(element)
            else:
                found.append((dialect, element))
        level = wrappers
    return found


def headers(message: etree._Element, root: etree._Element, envelopes: Sequence[Envelope]) -> list[etree._Element]:
    """What the envelopes around a message say about it: those of their header elements that stand beside its ancestors or itself."""
    names = {name for envelope in envelopes if envelope.is_around(root) for name in envelope.headers}
    around = [message, *message.iterancestors()]
    beside = [child for element in around if element is not root for child in element.itersiblings("*", preceding=True)]
    return [element for element in beside if local_name(element) in names]


def _envelope(spec: dict[str, object], where: str) -> Envelope:
    check_keys(spec, KEYS, where)
    return Envelope(tuple(as_list(spec["namespace"])), tuple(as_list(spec["roots"])), tuple(as_list(spec.get("headers", []))))
