"""What differs between two texts, line by line: both sides beside each other, runs of equal lines folded, changed words marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from itertools import islice, zip_longest

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from lxml import etree
from pygments.lexers import XmlLexer
from pygments.token import STANDARD_TYPES

from trades import rehearsal
from trades.web import compare, words

FOLDED_FROM = 7  # equal lines in a row
AROUND = 2  # of these stay on either side of a change
SHOWN_LINES = 1_500
OPEN_IN_PLACE = 1_000  # lines of a text whose folds can be opened without loading the page again
LONGEST_LINE = 2_000  # characters
LONGEST_MARKED = 400  # characters of a line within which changed words are looked for
WHOLE = 10**9
MINUS = "\N{MINUS SIGN}"
MOST_PAIRED = 200  # lines of a change that are paired by their elements
_ELEMENT = re.compile(r"\s*</?[\w:.-]+")
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_lexer = XmlLexer(stripnl=False, ensurenl=False)


@dataclass(frozen=True, slots=True)
class Side:
    """A line of one of the texts: its number there, its sign, a class and a word for it, and its text as HTML."""

    number: int
    sign: str
    kind: str
    spoken: str
    html: SafeString


@dataclass(frozen=True, slots=True)
class Row:
    """What stands beside each other. `change` is the number of the change that begins here, 0 for none."""

    old: Side | None = None
    new: Side | None = None
    change: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that belong together: shown, or `folded` with that many lines left out."""

    rows: Sequence[Row]
    folded: int = 0


@dataclass(frozen=True, slots=True)
class Lines:
    """The comparison of two texts. `changed` counts the lines of either text that are not in the other."""

    sections: list[Section]
    changed: int = 0
    changes: int = 0
    left_out: int = 0
    can_open: bool = True


@dataclass(slots=True)
class _Run:
    """Neighbouring lines that are equal, or that differ."""

    is_equal: bool
    old: list[rehearsal.Line] = field(default_factory=list)
    new: list[rehearsal.Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that are made as they are asked for, and how many they are at least; or lines that are folded."""

    rows: Iterator[Row]
    count: int
    folded: int = 0


def line_changes(before: str, after: str, *, unified: bool, unfolded: bool = False) -> Lines:
    """What differs between two texts. The work is bounded, however large they are."""
    runs = _runs(rehearsal.difference(before, after, context=WHOLE))
    changed = sum(len(run.old) + len(run.new) for run in runs if not run.is_equal)
    changes = sum(not run.is_equal for run in runs)
    can_open = sum(max(len(run.old), len(run.new)) for run in runs) <= OPEN_IN_PLACE
    sections: list[Section] = []
    room, number = SHOWN_LINES, 0
    for at, run in enumerate(runs):
        if run.is_equal:
            parts = _folded(run, first=at == 0, last=at == len(runs) - 1, keep=can_open, unfolded=unfolded)
        else:
            number += 1
            parts = iter([_unified(run, number) if unified else _Part(_beside(run, number), max(len(run.old), len(run.new)))])
        for part in parts:
            rows = list(islice(part.rows, max(0, room)))
            sections.append(Section(rows, part.folded))
            room -= max(part.count, len(rows))
    return Lines([part for part in sections if part.rows or part.folded], changed, changes, max(0, -room), can_open)


def canonical(text: str) -> str:
    """A document in a form that is the same for all that differ in formatting alone; the text itself where it can't be read."""
    root = compare.tree_of(text)
    if root is None:
        return text
    etree.indent(root)
    return compare.exact(root).decode()


def formatted(text: str) -> str:
    """A document with a line for each element; the text itself where it can't be read."""
    root = compare.tree_of(text)
    if root is None:
        return text
    etree.indent(root)
    return str(etree.tostring(root, encoding="unicode"))


def _runs(lines: Sequence[rehearsal.Line]) -> list[_Run]:
    runs: list[_Run] = []
    for line in lines:
        if line.kind == "@":
            continue
        is_equal = line.kind == " "
        if not runs or runs[-1].is_equal != is_equal:
            runs.append(_Run(is_equal))
        if line.kind != "+":
            runs[-1].old.append(line)
        if line.kind != "-":
            runs[-1].new.append(line)
    return runs


def _folded(run: _Run, *, first: bool, last: bool, keep: bool, unfolded: bool) -> Iterator[_Part]:
    """A run of equal lines, its middle folded where it is long."""
    count = len(run.old)
    if unfolded or count < FOLDED_FROM:
        yield _Part(_equal(run.old), count)
        return
    low, high = (0 if first else AROUND), count - (0 if last else AROUND)
    yield _Part(_equal(run.old[:low]), low)
    yield _Part(_equal(run.old[low:high] if keep else []), high - low if keep else 0, high - low)
    yield _Part(_equal(run.old[high:]), count - high)


def _equal(lines: Sequence[rehearsal.Line]) -> Iterator[Row]:
    for line in lines:
        html = _highlighted(line.text)
        yield Row(Side(line.old or 0, "", "", "", html), Side(line.new or 0, "", "", "", html))


def _beside(run: _Run, number: int) -> Iterator[Row]:
    for at, (old, new) in enumerate(_paired(run)):
        of_old, of_new = _marks(old, new)
        yield Row(_side(old, of_old), _side(new, of_new), number if at == 0 else 0)


def _paired(run: _Run) -> Iterator[tuple[rehearsal.Line | None, rehearsal.Line | None]]:
    """The lines that differ beside each other: those of the same element, else in their order."""
    if max(len(run.old), len(run.new)) > MOST_PAIRED:
        yield from zip_longest(run.old, run.new)
        return
    names_old, names_new = ([_element(line.text) for line in lines] for lines in (run.old, run.new))
    for _, a, b, c, d in SequenceMatcher(None, names_old, names_new, autojunk=False).get_opcodes():
        yield from zip_longest(run.old[a:b], run.new[c:d])


def _element(line: str) -> str:
    found = _ELEMENT.match(line)
    return found[0] if found else line


def _unified(run: _Run, number: int) -> _Part:
    return _Part(_one_under_another(run, number), len(run.old) + len(run.new))


def _one_under_another(run: _Run, number: int) -> Iterator[Row]:
    # Of a longer run no more is shown.
    rows = list(_beside(_Run(False, run.old[:SHOWN_LINES], run.new[:SHOWN_LINES]), 0))
    alone = [*(Row(old=row.old) for row in rows if row.old), *(Row(new=row.new) for row in rows if row.new)]
    yield replace(alone[0], change=number)
    yield from alone[1:]


def _side(line: rehearsal.Line | None, marks: Sequence[bool]) -> Side | None:
    if line is None:
        return None
    html = _highlighted(line.text, marks)
    if line.kind == "-":
        return Side(line.old or 0, MINUS, "del", "removed", html)
    return Side(line.new or 0, "+", "add", "added", html)


# Within a line


def _marks(old: rehearsal.Line | None, new: rehearsal.Line | None) -> tuple[list[bool], list[bool]]:
    """Which characters of two lines differ; none where the lines have little in common or are long."""
    if old is None or new is None or max(len(old.text), len(new.text)) > LONGEST_MARKED:
        return [], []
    parts_old, parts_new = _WORDS.findall(old.text), _WORDS.findall(new.text)
    matcher = SequenceMatcher(None, parts_old, parts_new, autojunk=False)
    if matcher.ratio() < 0.4:
        return [], []
    marks_old, marks_new = [False] * len(parts_old), [False] * len(parts_new)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != "equal":
            marks_old[a:b], marks_new[c:d] = [True] * (b - a), [True] * (d - c)
    return _spread(parts_old, marks_old), _spread(parts_new, marks_new)


def _spread(parts: Sequence[str], marks: Sequence[bool]) -> list[bool]:
    return [mark for part, mark in zip(parts, marks, strict=True) for _ in part]


def _highlighted(text: str, marks: Sequence[bool] = ()) -> SafeString:
    """A line of XML as HTML: its parts in classes, the marked characters marked."""
    text = words.cut(text.rstrip("\r"), LONGEST_LINE)
    if len(text) > LONGEST_MARKED:
        return escape(text)
    pieces: list[SafeString] = []
    at = 0
    for kind, part in _lexer.get_tokens(text):
        name = STANDARD_TYPES.get(kind, "")
        for chunk, is_marked in _chunks(part, marks[at : at + len(part)]):
            html = format_html("<mark>{}</mark>", chunk) if is_marked else escape(chunk)
            pieces.append(format_html('<span class="{}">{}</span>', name, html) if name else html)
        at += len(part)
    return mark_safe("".join(pieces))  # noqa: S308 - each piece was escaped above


def _chunks(text: str, marks: Sequence[bool]) -> Iterator[tuple[str, bool]]:
    if not marks:
        yield text, False
        return
    start = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or marks[at] != marks[start]:
            yield text[start:at], marks[start]
            start = at
