"""Text of a document -> plain values. Every converter raises ValueError with what it expected, in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from trades.messages.facts import EventClass

MAX_DIGITS = 18  # what a signed 64-bit database column surely holds

MAX_SPLIT = 100_000  # characters of a text that is taken apart into its words

_WHITESPACE = " \t\r\n"
_SPACES = dict.fromkeys(map(ord, _WHITESPACE), " ")
_WHITESPACE_RUN = re.compile(r"[ \t\r\n]{2,}|[\t\r\n]")
_INTEGER = re.compile(r"\+?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
_DATE = re.compile(rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:T{_TIME})?{_ZONE}?|([0-9]{{8}})")
_DATETIME = re.compile(rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T|[0-9]{{8}}-){_TIME}({_ZONE})?")

Converter = Callable[[str], object]


class Moment(NamedTuple):
    """A time in UTC, whether its zone is known from the document or its mapping (else UTC was assumed), and its own words."""

    utc: datetime
    zoned: bool
    text: str


def collapse(text: str) -> str:
    """The text as an XML token: outer white space cut, inner runs made one space (XML Schema 1.0 part 2, 4.3.6)."""
    if len(text) > MAX_SPLIT:
        return _collapsed(text)
    if text.isascii():  # then str.split knows no white space that XML allows beside its four characters
        return " ".join(text.split())
    return _WHITESPACE_RUN.sub(" ", text.strip(_WHITESPACE))


def _collapsed(text: str) -> str:
    # Of a long text the words, each an object, would take twenty times the memory of the text.
    text = text.strip(_WHITESPACE).translate(_SPACES)
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def shorten(text: str, width: int = 60) -> str:
    """The text, cut to `width` characters for use in a sentence."""
    return text if len(text) <= width else text[: width - 1] + "…"


def to_int(text: str) -> int:
    """A whole number of at most 18 digits."""
    if not _INTEGER.fullmatch(text) or len(text.lstrip("+0")) > MAX_DIGITS:
        raise ValueError(f"a whole number of at most {MAX_DIGITS} digits")
    return int(text)


def to_decimal(text: str) -> str:
    """The text itself, checked to be a decimal number (xs:decimal); never a float, so no digit is lost."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError("a decimal number such as 1250.50")
    return text


def to_bool(text: str) -> bool:
    """An xs:boolean."""
    if text not in ("true", "false", "1", "0"):
        raise ValueError("true or false")
    return text in ("true", "1")


def to_date(text: str) -> date:
    """An xs:date; a zone suffix (2007-03-21-08:00) is cut, and so is the time of an xs:dateTime.

    Also 20240304, as FIX writes it (FIX 5.0 SP2, LocalMktDate).
    """
    match = _DATE.fullmatch(text)
    try:
        return date.fromisoformat((match[1] or match[2]) if match else "")
    except ValueError:
        raise ValueError("a date such as 2024-03-04") from None


def to_date_text(text: str) -> str:
    """An xs:date as 2024-03-04, without its zone: a date that JSON can carry."""
    return to_date(text).isoformat()


def to_moment(text: str) -> Moment:
    """An xs:dateTime, as UTC; without a zone UTC is assumed. Also 20240304-09:30:00 (FIX 5.0 SP2, UTCTimestamp)."""
    match = _DATETIME.fullmatch(text)
    if match:
        stated = text if match[1].endswith("T") else f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:]}"
        try:
            return _in_utc(datetime.fromisoformat(stated), bool(match[2]), text, UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError("a date and time such as 2024-03-04T09:30:00Z")


def to_event_class(text: str) -> EventClass:
    """A class of events."""
    try:
        return EventClass(text)
    except ValueError:
        raise ValueError(f"one of {', '.join(EventClass)}") from None


def dates_like(pattern: str, *, as_text: bool = False) -> Converter:
    """A converter of dates written as `pattern` (the codes of datetime.strptime), to a date or to text such as 2024-03-04."""

    def convert(text: str) -> date | str:
        try:
            stated = datetime.strptime(text, pattern).date()  # noqa: DTZ007 a date has no zone
            return stated.isoformat() if as_text else stated
        except ValueError:
            raise ValueError(f"a date written as {pattern}") from None

    return convert


def moments_like(pattern: str, zone: str) -> Converter:
    """A converter of times written as `pattern` ("" means xs:dateTime), in `zone` (an IANA name) where the text states none. With
    zone "" UTC is assumed."""
    assumed = ZoneInfo(zone or "UTC")

    def convert(text: str) -> Moment:
        try:
            stated = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)  # noqa: DTZ007 the zone follows
            return _in_utc(stated, stated.tzinfo is not None, text, assumed, is_told=bool(zone))
        except (ValueError, OverflowError):
            raise ValueError(f"a time written as {pattern or '2024-03-04T09:30:00Z'}") from None

    return convert


def _in_utc(stated: datetime, zoned: bool, text: str, assumed: tzinfo, *, is_told: bool = False) -> Moment:
    return Moment((stated if zoned else stated.replace(tzinfo=assumed)).astimezone(UTC), zoned or is_told, text)


CONVERTERS: dict[str, Converter] = {
    "int": to_int,
    "decimal": to_decimal,
    "bool": to_bool,
    "date": to_date,
    "date-text": to_date_text,
    "datetime": to_moment,
}
