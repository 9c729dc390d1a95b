"""Text that starts with other text, asked so that an index answers it, whichever the database is."""

from __future__ import annotations

from django.db import connection
from django.db.models import Q

LAST = 0x10FFFF
SURROGATES = range(0xD800, 0xE000)  # no text of a database has these


def prefixed(field: str, text: str) -> Q:
    """Rows whose field starts with the text as it is typed, or with its upper case form, which is how most ids are written."""
    asked = starting(field, text)
    return asked if text.upper() == text else asked | starting(field, text.upper())


def starting(field: str, text: str) -> Q:
    """Rows whose field starts with the text exactly. On SQLite a range, for its LIKE takes no index; elsewhere startswith, which does."""
    if connection.vendor != "sqlite":
        return Q(**{f"{field}__startswith": text})
    beyond = _beyond(text)
    return Q(**{f"{field}__gte": text}) & (Q(**{f"{field}__lt": beyond}) if beyond else Q())


def _beyond(text: str) -> str:
    """The least text that is greater than all that start with this one, empty if there is none."""
    for length in range(len(text), 0, -1):
        following = ord(text[length - 1]) + 1
        if following in SURROGATES:
            following = SURROGATES.stop
        if following <= LAST:
            return text[: length - 1] + chr(following)
    return ""
