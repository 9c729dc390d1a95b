"""What a key of a configuration file may hold. Each check yields a sentence for each fault: the key, what it holds, what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from trades.messages.values import shorten

Faults = Iterator[str]
Check = Callable[[str, Any], Faults]


def table(checks: Mapping[str, Check], *, required: Iterable[str] = ()) -> Check:
    """A table of these names alone."""

    def check(key: str, value: Any) -> Faults:
        if not isinstance(value, dict):
            yield wrong(key, value, f"a table with {', '.join(sorted(checks))}")
            return
        for name, below in value.items():
            if name in checks:
                yield from checks[name](_under(key, name), below)
            else:
                yield f"{f'{key}: ' if key else ''}{shorten(name)!r} is not known; expected one of {', '.join(sorted(checks))}."
        yield from (f"{_under(key, name)} is missing." for name in required if name not in value)

    return check


def each(check_one: Check) -> Check:
    """A table of any names."""

    def check(key: str, value: Any) -> Faults:
        if not isinstance(value, dict):
            yield wrong(key, value, "a table")
            return
        for name, below in value.items():
            yield from check_one(_under(key, name), below)

    return check


def list_of(check_one: Check, *, at_least_one: bool = False) -> Check:
    """A list of tables."""

    def check(key: str, value: Any) -> Faults:
        if not isinstance(value, list) or (at_least_one and not value):
            yield wrong(key, value, f"a list of tables, such as [[{key}]]")
            return
        for number, one in enumerate(value, 1):
            yield from check_one(f"{key}[{number}]", one)

    return check


def text(key: str, value: Any) -> Faults:
    """A text."""
    if not isinstance(value, str):
        yield wrong(key, value, "text")


def file_name(key: str, value: Any) -> Faults:
    """The name of a file, without a folder."""
    if not isinstance(value, str) or not value or "/" in value or "\\" in value:
        yield wrong(key, value, "the name of a file beside this one, without a folder")


def short(most: int) -> Check:
    """A text that is not empty, of at most so many characters."""

    def check(key: str, value: Any) -> Faults:
        if not isinstance(value, str) or not 0 < len(value.strip()) <= most:
            yield wrong(key, value, f"text of 1 to {most} characters")

    return check


def texts(key: str, value: Any) -> Faults:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        yield wrong(key, value, "a list of texts")


def text_or_texts(key: str, value: Any) -> Faults:
    """A text, or a list of them."""
    if isinstance(value, list) and value:
        yield from texts(key, value)
    elif not isinstance(value, str):
        yield wrong(key, value, 'a text ("" for no namespace) or a list of texts')


def switch(key: str, value: Any) -> Faults:
    """True or false."""
    if not isinstance(value, bool):
        yield wrong(key, value, "true or false")


def a_list(key: str, value: Any) -> Faults:
    """A list of anything."""
    if not isinstance(value, list):
        yield wrong(key, value, "a list of values")


def one_of(*words: str) -> Check:
    """One of these words."""

    def check(key: str, value: Any) -> Faults:
        if value not in words:
            yield wrong(key, value, f"one of {', '.join(words)}" if len(words) > 1 else f'"{words[0]}"')

    return check


def zone(key: str, value: Any) -> Faults:
    """The name of a time zone."""
    try:
        ZoneInfo(value)
    except (TypeError, ValueError, OSError, KeyError):
        yield wrong(key, value, "the IANA name of a time zone, such as Europe/London")


def time_format(key: str, value: Any) -> Faults:
    """A pattern of dates or times (the codes of datetime.strptime)."""
    if not isinstance(value, str) or "%" not in value:
        yield wrong(key, value, "how it is written, such as %Y%m%d")
        return
    try:
        datetime.strptime("", value)  # noqa: DTZ007 the pattern is tried, no time is read
    except ValueError as error:
        if "does not match format" not in str(error):
            yield wrong(key, value, f"the codes of strptime, such as %Y%m%d ({error})")
    except re.error as error:
        yield wrong(key, value, f"each of the codes of strptime once ({error})")


def wrong(key: str, value: Any, expected: str) -> str:
    """The sentence about a key that holds something else than expected."""
    return f"{key or 'the file'} is {shown(value)}; expected {expected}."


def shown(value: Any) -> str:
    """A value as it is shown in a sentence."""
    shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
    return shown or shorten(f"'{value}'" if isinstance(value, str) else str(value))


def names(known: Iterable[str]) -> str:
    """Known names, as they are listed in a sentence."""
    return ", ".join(sorted(known)) or "none, for it is empty"


def _under(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name
