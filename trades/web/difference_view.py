"""What differs between two texts, as lines to read: with signs as well as colour, and cut where they are long."""

from __future__ import annotations

from dataclasses import dataclass

from trades import rehearsal
from trades.web import words

SHOWN_LINES = 400
LONGEST_LINE = 2_000  # characters
SIGNS = {"+": "+", "-": "\N{MINUS SIGN}", " ": " ", "@": "…"}
CLASSES = {"+": "add", "-": "del", "@": "skip"}
SPOKEN = {"+": "added", "-": "removed"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its numbers in the two texts ("" where it is not in one), its sign, a class for its colour, a word for its sign."""

    old: str
    new: str
    sign: str
    kind: str
    spoken: str
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The lines shown, how many lines are new or gone, and how many lines are left out at the end."""

    rows: list[Row]
    changed: int
    left_out: int


def difference(original: str, changed: str, *, shown: int = SHOWN_LINES) -> Difference:
    """What differs between two texts, with the lines around it."""
    lines = rehearsal.difference(original, changed)
    rows = [
        Row(
            str(line.old or ""),
            str(line.new or ""),
            SIGNS[line.kind],
            CLASSES.get(line.kind, ""),
            SPOKEN.get(line.kind, ""),
            words.cut(line.text.rstrip("\r\n"), LONGEST_LINE),
        )
        for line in lines[:shown]
    ]
    return Difference(rows, sum(line.kind in "+-" for line in lines), max(0, len(lines) - shown))
