"""Spans of time as addresses state them: today, -2h, -7d, a day, or a..b with either end left out. All in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone

from trades.web import words

DAY = timedelta(days=1)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_BACK = re.compile(r"-(\d{1,5})([mhd])")
HOW = "Write today, 2026-11-20, 2026-11-16..2026-11-20{}"
HOW_MOMENT = ", or a length of time such as -2h or -7d"


@dataclass(frozen=True, slots=True)
class Span:
    """From one moment up to, and without, another; None leaves that side open."""

    since: datetime | None
    until: datetime | None
    word: str

    def condition(self, field: str) -> Q:
        """Moments of the field that lie in the span."""
        asked = {f"{field}__gte": self.since, f"{field}__lt": self.until}
        return Q(**{name: moment for name, moment in asked.items() if moment is not None})

    def of_days(self, field: str) -> Q:
        """Dates of the field that lie in the span."""
        asked = {f"{field}__gte": self.since and self.since.date(), f"{field}__lt": self.until and self.until.date()}
        return Q(**{name: day for name, day in asked.items() if day is not None})


class SpanField(forms.CharField):
    """A span of whole days; with `moments` also times and lengths back from now."""

    def __init__(self, *, moments: bool = False, **options: Any) -> None:
        super().__init__(required=False, max_length=60, **options)
        self.moments = moments

    def clean(self, value: Any) -> Span | None:
        """The span, None where nothing is stated. Raises ValidationError with how to write one."""
        text: str = super().clean(value)
        try:
            return read(text.strip(), timezone.now(), moments=self.moments) if text.strip() else None
        except (ValueError, OverflowError):
            raise ValidationError(f"“{words.cut(text, 40)}” is no such time. {HOW.format(HOW_MOMENT if self.moments else '')}.") from None


def read(text: str, now: datetime, *, moments: bool = False) -> Span:
    """The span that a text states. Raises ValueError or OverflowError for another text."""
    if text == "today":
        return _days(now.date(), now.date(), "today")
    if moments and (back := _BACK.fullmatch(text)):
        # To the minute, so that what is counted a moment apart is asked in the same words.
        start = (now - timedelta(**{UNITS[back[2]]: int(back[1])})).replace(second=0, microsecond=0)
        return Span(start, None, f"the last {back[1]} {_unit(back[2], int(back[1]))}")
    first, dots, last = (part.strip() for part in text.partition(".."))
    if not dots:
        return _days(date.fromisoformat(first), date.fromisoformat(first), words.day(date.fromisoformat(first)))
    if not first and not last:
        raise ValueError(text)
    since = _moment(first, moments) if first else None
    until = _end(last, moments)
    if since is not None and until is not None and since >= until:
        raise ValueError(text)
    return Span(since, until, f"{first or 'the beginning'} to {last or 'now'}")


def _unit(letter: str, number: int) -> str:
    return UNITS[letter].removesuffix("" if number != 1 else "s")


def _days(first: date, last: date, word: str) -> Span:
    return Span(datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC) + DAY, word)


def _end(text: str, moments: bool) -> datetime | None:
    if not text:
        return None
    return _moment(text, moments) + (DAY if _is_day(text) else timedelta())


def _moment(text: str, moments: bool) -> datetime:
    if not moments or _is_day(text):
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_day(text: str) -> bool:
    """Whether a text states a day alone, also in a shorter form of ISO 8601: "20261120"."""
    return len(text) <= len("2026-11-20")
