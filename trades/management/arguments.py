"""Checks of command-line values that say what is wrong."""

from __future__ import annotations

import getpass
from argparse import ArgumentTypeError
from collections.abc import Callable


def at_least(lowest: int) -> Callable[[str], int]:
    """A whole number from `lowest` up."""
    return between(lowest, None)


def between(lowest: int, highest: int | None) -> Callable[[str], int]:
    """A whole number from `lowest` to `highest`, both included; None means no upper end."""
    expected = f"a whole number from {lowest} " + ("up" if highest is None else f"to {highest}")

    def check(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not {expected}") from None
        if number < lowest or (highest is not None and number > highest):
            raise ArgumentTypeError(f"{text} is not {expected}")
        return number

    return check


def command_line() -> str:
    """Where a command is run from, for the audit trail: "command line, root"."""
    try:
        return f"command line, {getpass.getuser()}"
    except (KeyError, OSError, ImportError):  # a container may have no name for its user
        return "command line"
