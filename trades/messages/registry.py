"""The dialects the portal reads, and which of them a document is of."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

from lxml import etree

from trades.messages.fields import MappingError, Misfit, local_name
from trades.messages.mapping import MAX_NAMES, Dialect
from trades.messages.values import shorten

FOLDER = Path(__file__).parent


class Registry:
    """Dialects by what their documents look like. Raises MappingError when two of them would take the same documents."""

    def __init__(self, dialects: list[Dialect]) -> None:
        self.dialects = sorted(dialects, key=_specificity, reverse=True)
        self._candidates = lru_cache(MAX_NAMES)(self._candidates_for)
        seen: dict[object, str] = {}
        for dialect in self.dialects:
            looks = (dialect.namespace, frozenset(dialect.roots), frozenset(dialect.attributes.items()))
            if looks in seen:
                names = " and ".join(sorted((seen[looks], dialect.name)))
                raise MappingError(f"the mappings {names} match the same documents; make one more specific")
            seen[looks] = dialect.name

    def recognise(self, root: etree._Element) -> Dialect:
        """The most specific dialect whose documents look like this one. Raises Misfit "unknown-dialect"."""
        for dialect in self._candidates(str(root.tag)):
            if dialect.matches_attributes(root):
                return dialect
        namespace, name = etree.QName(root).namespace or "", local_name(root)
        where = f"in the namespace {shorten(namespace, 120)}" if namespace else "in no namespace"
        known = "; ".join(_looks(dialect) for dialect in self.dialects)
        raise Misfit("unknown-dialect", f"The root element {shorten(name)} {where} is not known here. Accepted: {known}.", root)

    def _candidates_for(self, tag: str) -> list[Dialect]:
        name = etree.QName(tag)
        return [dialect for dialect in self.dialects if dialect.matches(name.namespace or "", name.localname)]


def load(*folders: Path) -> Registry:
    """The dialects of all TOML files in these folders, schemas being looked up in `schemas/` beside this file.

    Raises MappingError naming the file that is wrong.
    """
    files = sorted(file for folder in folders for file in folder.glob("*.toml"))
    return Registry([Dialect(file.read_text("utf-8"), file.name, FOLDER / "schemas") for file in files])


@cache
def builtin() -> Registry:
    """The dialects that come with the portal, compiled at first use."""
    return load(FOLDER / "dialects")


def _looks(dialect: Dialect) -> str:
    roots = "" if dialect.roots == ["*"] else f"{' or '.join(dialect.roots)} in "
    return f"{dialect.title} ({roots}{dialect.namespace or 'no namespace'})"


def _specificity(dialect: Dialect) -> tuple[bool, int, bool, int, str]:
    exact = "*" not in dialect.namespace
    return exact, len(dialect.namespace), dialect.roots != ["*"], len(dialect.attributes), dialect.name
