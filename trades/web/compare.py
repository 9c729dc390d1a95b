"""What differs between two documents, field by field: the values and attributes of their elements, aligned by name, key and place.

Documents are read by the portal's own reader, so that nothing in them is resolved or fetched.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

from lxml import etree

from trades.messages import MessageRefused
from trades.messages.reader import read
from trades.web import words

MOST_CHARACTERS = 500_000  # of a document; a larger one is not compared field by field
MOST_SHOWN = 500
HEADERS = frozenset({"header", "hdr", "apphdr", "grphdr", "messageheader", "msghdr", "envelope"})
KEYS = frozenset({"id", "key", "role", "r", "name"})  # attributes that tell repeated elements apart
# Names that say little without the element they stand in.
GENERIC = frozenset(
    {"value", "amount", "amt", "id", "name", "code", "unit", "currency", "ccy", "date", "type", "cd", "text", "role", "lei", "scheme"}
)
ACRONYMS = frozenset({"lei", "isin", "upi", "uti", "usi", "bic", "cfi", "otc"})


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a document: where it stands, a name for it, and whether it is about the message rather than the trade."""

    path: str
    name: str
    value: str
    is_header: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """One field before and after; None where it is not present."""

    path: str
    name: str
    before: str | None
    after: str | None
    is_header: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk through a document has come to."""

    path: str = ""
    parent: str = ""
    is_header: bool = False

    def below(self, name: str, number: int = 0) -> Place:
        """An element here; the number where several of its name stand here."""
        path = f"{self.path}/{name}[{number}]" if number else f"{self.path}/{name}"
        return Place(path, name, self.is_header or name.lower() in HEADERS)

    def field(self, value: str) -> Field:
        """The value of the element that was come to."""
        return Field(self.path, _spoken(self.parent, self._above()), value, self.is_header)

    def attribute(self, name: str, value: str) -> Field:
        """An attribute of the element that was come to."""
        return Field(f"{self.path}/@{name}", _spoken(_local(name), self.parent), value, self.is_header)

    def _above(self) -> str:
        steps = self.path.split("/")
        return steps[-2].partition("[")[0] if len(steps) > 2 else ""


def tree_of(text: str) -> etree._Element | None:
    """The root element of a document; None for one that can't be read or is too large to compare."""
    if len(text) > MOST_CHARACTERS:
        return None
    try:
        return read(text)
    except MessageRefused:
        return None


def fields_of(text: str) -> list[Field]:
    """The values of a document in its own order, the first few hundred; empty for one that can't be read."""
    root = tree_of(text)
    if root is None:
        return []
    found: list[Field] = []
    for field in _fields(root, Place().below(_name(root))):
        if len(found) == MOST_SHOWN:
            break
        found.append(field)
    return found


def changed_fields(before: str, after: str) -> list[Change] | None:
    """What differs between two documents, in the order of the later one; None where one of them can't be read."""
    old, new = tree_of(before), tree_of(after)
    return None if old is None or new is None else list(_compared([Pair(old, new)], Place()))


class Pair(NamedTuple):
    """An element of the earlier document and its counterpart in the later one; None where it has none."""

    old: etree._Element | None
    new: etree._Element | None


def _compared(pairs: Sequence[Pair], place: Place) -> Iterator[Change]:
    """The changes between elements that stand at one place."""
    names = Counter(_name(old if new is None else new) for old, new in pairs)
    numbers: Counter[str] = Counter()
    for old, new in pairs:
        name = _name(old if new is None else new)
        numbers[name] += 1
        here = place.below(name, numbers[name] if names[name] > 1 else 0)
        if old is not None and new is not None and _name(old) == name:
            yield from _of_pair(old, new, here)
            continue
        if old is not None:
            yield from (_one_sided(field, is_new=False) for field in _fields(old, here if new is None else place.below(_name(old))))
        if new is not None:
            yield from (_one_sided(field, is_new=True) for field in _fields(new, here))


def _of_pair(old: etree._Element, new: etree._Element, here: Place) -> Iterator[Change]:
    before, after = _own(old, here), _own(new, here)
    for path in dict.fromkeys([*before, *after]):
        was, now = before.get(path), after.get(path)
        if was is None or now is None:
            yield from (_one_sided(field, is_new=was is None) for field in (was, now) if field is not None)
        elif was.value != now.value:
            yield Change(path, now.name, was.value, now.value, now.is_header)
    yield from _compared(_aligned(_children(old), _children(new)), here)


def _one_sided(field: Field, *, is_new: bool) -> Change:
    return Change(field.path, field.name, None if is_new else field.value, field.value if is_new else None, field.is_header)


# Which element of the one document is which of the other


def _aligned(old: Sequence[etree._Element], new: Sequence[etree._Element]) -> list[Pair]:
    """The children of two elements in pairs, in the order of the later ones; those that are gone stand after their like."""
    before, after = _by_name(old), _by_name(new)
    pairs: list[Pair] = []
    for name in dict.fromkeys([*after, *before]):
        pairs += _alike(before.get(name, []), after.get(name, []))
    return pairs


def _alike(old: list[etree._Element], new: list[etree._Element]) -> list[Pair]:
    """Elements of one name in pairs: by key where each has one of its own, else by place, those at both ends that are equal first."""
    if len(old) < 2 and len(new) < 2:
        return [Pair(old[0] if old else None, new[0] if new else None)]
    keys_old, keys_new = [_key(element) for element in old], [_key(element) for element in new]
    if not _tell_apart(keys_old) or not _tell_apart(keys_new):
        return _by_place(old, new)
    by_key = dict(zip(keys_old, old, strict=True))
    pairs = [Pair(by_key.pop(key, None), element) for key, element in zip(keys_new, new, strict=True)]
    left = list(by_key.values())
    unmatched = [at for at, (match, _) in enumerate(pairs) if match is None]
    if len(left) == len(unmatched):  # the key itself has changed
        for at, element in zip(unmatched, left, strict=True):
            pairs[at] = Pair(element, pairs[at].new)
        return pairs
    return [*pairs, *(Pair(element, None) for element in left)]


def _by_place(old: list[etree._Element], new: list[etree._Element]) -> list[Pair]:
    texts_old, texts_new = [exact(element) for element in old], [exact(element) for element in new]
    most = min(len(old), len(new))
    head = next((at for at in range(most) if texts_old[at] != texts_new[at]), most)
    tail = next((at for at in range(most - head) if texts_old[-1 - at] != texts_new[-1 - at]), most - head)
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    longest = max(len(middle_old), len(middle_new))
    middle = [
        Pair(middle_old[at] if at < len(middle_old) else None, middle_new[at] if at < len(middle_new) else None) for at in range(longest)
    ]
    ends_old, ends_new = old[len(old) - tail :], new[len(new) - tail :]
    return [*map(Pair, old[:head], new[:head]), *middle, *map(Pair, ends_old, ends_new)]


def _tell_apart(keys: Sequence[str]) -> bool:
    return all(keys) and len(set(keys)) == len(keys)


def _key(element: etree._Element) -> str:
    """What names an element among its like: an attribute, else a child."""
    for name, value in element.attrib.items():
        if _local(str(name)).lower() in KEYS and str(value).strip():
            return f"@{_local(str(name))} {value}"
    for child in _children(element):
        name = _name(child).lower()
        if name in ("id", "name") or name.endswith(("id", "identifier")):
            return f"{name} {_text(child)}" if _text(child) else ""
    return ""


def exact(element: etree._Element) -> bytes:
    """An element in a form that is the same for all that state the same, whatever their quotes, prefixes' places and empty tags."""
    try:
        return etree.tostring(element, method="c14n")
    except etree.C14NError:  # libxml2 refuses a namespace that is no absolute URI, such as "urgent"
        return etree.tostring(deepcopy(element), method="c14n2")


def _by_name(elements: Sequence[etree._Element]) -> dict[str, list[etree._Element]]:
    found: dict[str, list[etree._Element]] = defaultdict(list)
    for element in elements:
        found[_name(element)].append(element)
    return found


# One document


def _fields(element: etree._Element, here: Place) -> Iterator[Field]:
    yield from _own(element, here).values()
    children = _children(element)
    names, numbers = Counter(_name(child) for child in children), Counter[str]()
    for child in children:
        name = _name(child)
        numbers[name] += 1
        yield from _fields(child, here.below(name, numbers[name] if names[name] > 1 else 0))


def _own(element: etree._Element, here: Place) -> dict[str, Field]:
    """What an element itself states, by path: its attributes, and its text if it has any or nothing stands in it."""
    names = Counter(_local(str(name)) for name in element.attrib)
    # Of several attributes that differ by namespace alone each is called by its whole name, so that none hides another.
    fields = [
        here.attribute(_local(str(name)) if names[_local(str(name))] == 1 else str(name), str(value))
        for name, value in element.attrib.items()
    ]
    text = _text(element)
    if text or not len(element):
        fields.append(here.field(text))
    return {field.path: field for field in fields}


def _children(element: etree._Element) -> list[etree._Element]:
    return [child for child in element if isinstance(child.tag, str)]


def _text(element: etree._Element) -> str:
    return " ".join(part for part in (str(text).strip() for text in (element.text or "", *(child.tail or "" for child in element))) if part)


def _name(element: etree._Element | None) -> str:
    return "" if element is None else _local(str(element.tag))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _spoken(name: str, above: str) -> str:
    said = words.spaced(name)
    if above and said in GENERIC:
        said = f"{words.spaced(above)} {said}"
    said = " ".join(word.upper() if word in ACRONYMS else word for word in said.split())
    return said[:1].upper() + said[1:]
