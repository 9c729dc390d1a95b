"""A document as lines to read: highlighted, each with an anchor, a marked one where something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import XmlLexer

HIGHLIGHT_UP_TO = 200_000  # characters; above it, plain text is quick and highlighting is not
SHOWN_LINES = 2_000
SHOWN_CHARACTERS = 400_000
EXCERPT_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its number from 1, its text as HTML, whether it is the one to look at."""

    number: int
    html: SafeString
    is_marked: bool


@dataclass(frozen=True, slots=True)
class XmlView:
    """The lines shown, and a sentence when they are not all."""

    lines: list[Line]
    note: str | SafeString = ""

    def has(self, line: int | None) -> bool:
        """Whether the line is among those shown."""
        return line is not None and bool(self.lines) and self.lines[0].number <= line <= self.lines[-1].number


@dataclass(frozen=True, slots=True)
class Excerpt:
    """One line of a document around a place in it, and the caret below: both as text."""

    number: int
    text: str
    caret: str


def xml_view(text: str, *, marked: int | None = None) -> XmlView:
    """The document as lines. A large one is shown in part, as plain text, with the marked line in the part."""
    if len(text) <= HIGHLIGHT_UP_TO:
        html = highlight(text, XmlLexer(stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True)).rstrip("\n")
        return XmlView(_lines(html.split("\n"), 1, marked))
    lines = text.split("\n")
    first = max(1, (marked or 1) - SHOWN_LINES // 2)
    shown = "\n".join(lines[first - 1 : first - 1 + SHOWN_LINES])[:SHOWN_CHARACTERS]
    note = f"The message has {len(lines):,} lines. These are lines {first:,} to {first + shown.count(chr(10)):,}; download it to see all."
    return XmlView(_lines([escape(line) for line in shown.split("\n")], first, marked), note)


def start_view(text: str, note: str | SafeString, *, marked: int | None = None) -> XmlView:
    """The start of a document as plain lines: it may end within a comment, which can't be highlighted. `note` says what it is."""
    return XmlView(_lines([escape(line) for line in text.split("\n")], 1, marked), note)


def excerpt(content: bytes, line: int, column: int | None) -> Excerpt | None:
    """The line of a document that an error is in, cut around the column; None when the document has no such line or it is blank."""
    lines = _decoded(content).split("\n")
    if not 1 <= line <= len(lines) or not lines[line - 1].strip():
        return None
    text = "".join(character if character.isprintable() else " " for character in lines[line - 1].rstrip("\r"))
    at = min(max(column or 1, 1), len(text) + 1) - 1
    start = max(0, at - EXCERPT_WIDTH * 2 // 3)
    return Excerpt(line, text[start : start + EXCERPT_WIDTH], " " * (at - start) + "^" if column else "")


def _lines(html: Sequence[str], first: int, marked: int | None) -> list[Line]:
    # Made of escaped text alone: by Pygments, or by escape().
    return [Line(number, mark_safe(line), number == marked) for number, line in enumerate(html, start=first)]  # noqa: S308


def _decoded(content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return content.decode(encoding, errors="replace")
