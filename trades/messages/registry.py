"""The dialects the portal reads, and which of them a document is of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from lxml import etree

from trades.messages.envelopes import Envelope, headers, read_envelopes, unwrap
from trades.messages.fields import MappingError, Misfit, local_name, namespace_of
from trades.messages.mapping import MAX_NAMES, Dialect
from trades.messages.values import shorten

FOLDER = Path(__file__).parent
ENVELOPES = "envelopes.toml"


class Found(NamedTuple):
    """A message in a document: its dialect, its root, and what the envelope around it says about it (as a rule nothing)."""

    dialect: Dialect
    root: etree._Element
    header: Sequence[etree._Element] = ()


class Registry:
    """Dialects by what their documents look like. Raises MappingError when two of them would take the same documents."""

    def __init__(self, dialects: Sequence[Dialect], envelopes: Sequence[Envelope] = ()) -> None:
        self.dialects = sorted(dialects, key=_specificity, reverse=True)
        self._envelopes = envelopes
        self._candidates = lru_cache(MAX_NAMES)(self._candidates_for)
        seen: dict[object, Dialect] = {}
        for dialect in self.dialects:
            for namespace in dialect.namespaces:
                looks = (namespace, frozenset(dialect.roots), frozenset(dialect.attributes.items()))
                if looks in seen:
                    names = " and ".join(sorted(f"{one.name} ({one.source})" for one in (seen[looks], dialect)))
                    raise MappingError(f"The mappings {names} match the same documents; make [match] of one more specific.")
                seen[looks] = dialect

    def with_dialect(self, dialect: Dialect) -> Registry:
        """These dialects and one more, which replaces one of the same name. Raises MappingError."""
        others = [other for other in self.dialects if other.name != dialect.name]
        return Registry([*others, dialect], self._envelopes)

    def recognise(self, root: etree._Element) -> Found:
        """The message that a document is, or that its envelopes wrap, in the most specific dialect that looks like it.

        Raises Misfit "unknown-dialect", or "several-documents" when an envelope holds more than one message.
        """
        dialect = self._dialect_of(root)
        if dialect:
            return Found(dialect, root)
        wrapped = unwrap(root, self._envelopes, self._dialect_of)
        if len(wrapped) > 1:
            sentence = f"The envelope {shorten(local_name(root))} holds {len(wrapped)} messages; one is taken. Send each by itself."
            raise Misfit("several-documents", sentence, wrapped[1][1])
        if wrapped:
            ((dialect, element),) = wrapped
            return Found(dialect, element, headers(element, root, self._envelopes))
        raise self._unknown(root)

    def _dialect_of(self, root: etree._Element) -> Dialect | None:
        for dialect in self._candidates(str(root.tag)):
            if dialect.matches_attributes(root):
                return dialect
        return None

    def _unknown(self, root: etree._Element) -> Misfit:
        namespace, name = namespace_of(root), local_name(root)
        where = f"in the namespace {shorten(namespace, 120)}" if namespace else "in no namespace"
        known = "; ".join(_looks(dialect) for dialect in self.dialects)
        return Misfit("unknown-dialect", f"The root element {shorten(name)} {where} is not known here. Accepted: {known}.", root)

    def _candidates_for(self, tag: str) -> list[Dialect]:
        name = etree.QName(tag)
        return [dialect for dialect in self.dialects if dialect.matches(name.namespace or "", name.localname)]


def load(*folders: Path) -> Registry:
    """The dialects and envelopes of all TOML files in these folders.

    A dialect replaces one of the same name in an earlier folder. Raises MappingError naming every file that is wrong.
    """
    dialects: dict[str, Dialect] = {}
    envelopes: list[Envelope] = []
    faults: list[str] = []
    for folder in folders:
        own: dict[str, Dialect] = {}
        for file in sorted(folder.glob("*.toml")):
            try:
                if file.name == ENVELOPES:
                    envelopes += read_envelopes(_text_of(file), file.name)
                    continue
                dialect = read_dialect(file)
                if dialect.name in own:
                    raise MappingError(
                        f"{file.name}: dialect is '{dialect.name}', as in {own[dialect.name].source}; expected another name."
                    )
                own[dialect.name] = dialect
            except MappingError as error:
                faults += error.args
        dialects |= own
    if faults:
        raise MappingError(*faults)
    return Registry(list(dialects.values()), envelopes)


def read_dialect(file: Path) -> Dialect:
    """The dialect of one TOML file; its schema is looked up beside it, then among the portal's own. Raises MappingError."""
    return Dialect(_text_of(file), file.name, file.parent, FOLDER / "schemas")


@cache
def builtin() -> Registry:
    """The dialects that come with the portal, compiled at first use."""
    return load(FOLDER / "dialects")


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise MappingError(f"{file.name}: byte {error.start + 1} is not UTF-8; expected a TOML file, which is in UTF-8.") from error
    except OSError as error:
        raise MappingError(f"{file.name}: {error.strerror}; expected a file that can be read.") from error


def _looks(dialect: Dialect) -> str:
    roots = "" if dialect.roots == ["*"] else f"{' or '.join(dialect.roots)} in "
    return f"{dialect.title} ({roots}{' or '.join(namespace or 'no namespace' for namespace in dialect.namespaces)})"


def _specificity(dialect: Dialect) -> tuple[bool, int, bool, int, str]:
    exact = "*" not in dialect.namespaces[0]
    return exact, len(dialect.namespaces[0]), dialect.roots != ["*"], len(dialect.attributes), dialect.name
