"""The words and small marks of the pages: times, ages, numbers, and the badges of states, statuses and classes.

Rows are put into words here, in Python; templates only loop over what is ready.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from lucide.templatetags.lucide import lucide

from trades.lifecycle import State, Status, processing_status
from trades.messages.facts import EventClass

ABSENT = mark_safe('<span class="dim" aria-hidden="true">–</span><span class="vh">not provided</span>')
_LONG_NUMBER = re.compile(r"(?<![\d.,\w])([+-]?)(\d{4,})(?![\d,])")
_THREES = re.compile(r"(?<=\d)(?=(?:\d{3})+$)")
_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def icon(name: str) -> SafeString:
    """A small icon that points into the sprite of the page."""
    return format_html('<svg class="ic ic-s" aria-hidden="true"><use href="#i-{}"/></svg>', name)


@dataclass(frozen=True, slots=True)
class Badge:
    """A word with an icon and a tone ("", "info", "ok", "warn", "bad" or "void"), so that colour never carries meaning alone."""

    word: str
    tone: str
    icon: str

    def __html__(self) -> SafeString:
        return format_html(
            '<span class="st {}"><svg class="ic ic-s" aria-hidden="true"><use href="#i-{}"/></svg>{}</span>',
            self.tone,
            self.icon,
            self.word,
        )

    __str__ = __html__


STATES: dict[str, Badge] = {
    State.PENDING: Badge("Pending", "warn", "clock"),
    State.LIVE: Badge("Live", "info", "circle-dot"),
    State.TERMINATED: Badge("Terminated", "", "circle-stop"),
    State.CANCELLED: Badge("Cancelled", "void", "ban"),
}
STATUSES: dict[str, Badge] = {
    Status.RECEIVED: Badge("Received", "", "circle-dashed"),
    Status.CHECKED: Badge("Checked", "info", "check"),
    Status.CONFIRMED: Badge("Confirmed", "ok", "circle-check"),
    Status.CLEARED: Badge("Cleared", "ok", "circle-check"),
    Status.SETTLED: Badge("Settled", "ok", "circle-check"),
    Status.ALLEGED: Badge("Alleged", "warn", "clock"),
    Status.DISPUTED: Badge("Disputed", "bad", "arrow-left-right"),
    Status.REJECTED: Badge("Rejected", "bad", "circle-x"),
}
CLASSES: dict[str, Badge] = {
    EventClass.BOOK: Badge("Book", "info", "circle-dot"),
    EventClass.UPDATE: Badge("Update", "info", "pencil"),
    EventClass.CORRECT: Badge("Correct", "info", "pencil"),
    EventClass.RETRACT: Badge("Retract", "warn", "rotate-ccw"),
    EventClass.CANCEL: Badge("Cancel", "bad", "ban"),
    EventClass.TERMINATE: Badge("Terminate", "", "circle-stop"),
    EventClass.REINSTATE: Badge("Reinstate", "info", "rotate-ccw"),
    EventClass.STATUS: Badge("Status", "", "message-square"),
    EventClass.REQUEST: Badge("Request", "", "send"),
    EventClass.SNAPSHOT: Badge("Snapshot", "", "file-text"),
}
OUTCOMES: dict[str, Badge] = {
    "RECORDED": Badge("Recorded", "ok", "circle-check"),
    "DUPLICATE": Badge("Duplicate", "", "copy"),
    "HELD": Badge("Held", "warn", "clock"),
    "QUARANTINED": Badge("Quarantined", "bad", "circle-x"),
    "DISCARDED": Badge("Discarded", "void", "ban"),
    "REFERENCE": Badge("Reference", "", "book-open"),
    "CORRECTED": Badge("Corrected", "info", "pencil"),
}
REPLAYED = Badge("Replayed", "ok", "rotate-ccw")
WAITING = Badge("Waiting to be sent", "warn", "clock")
ON_ITS_WAY = Badge("In the queue", "info", "send")
CANCELLED = Badge("Cancelled", "void", "ban")
REFUSED = Badge("Refused", "bad", "circle-x")
REFERENCE = OUTCOMES["REFERENCE"]
# Beside those of badges, what pages point at again and again.
ROW_ICONS = {"flag", "triangle-alert", "clock", "split", "history", "git-merge", "octagon-x", "inbox", "chevron-down", "x"}


def class_word(event_class: str) -> str:
    """The class of an event as a word: "Book"."""
    badge = CLASSES.get(event_class)
    return badge.word if badge else event_class


def status_badge(word: str) -> Badge:
    """The badge of a document's own status word, in the tone of the step it stands for."""
    step = processing_status(word)
    known = STATUSES[step] if step else Badge("", "", "message-square")
    return Badge(word.replace("_", " ").capitalize() if word.isupper() else word, known.tone, known.icon)


@cache
def sprite() -> SafeString:
    """The icons that badges point at, once per page, so that a row costs bytes for the reference alone."""
    badges = (*STATES.values(), *STATUSES.values(), *CLASSES.values(), *OUTCOMES.values())
    return mark_safe("".join(map(_symbol, sorted({badge.icon for badge in badges} | ROW_ICONS))))  # noqa: S308 - made by the icon package


def _symbol(name: str) -> str:
    """The shapes of an icon, to be pointed at; how lines are drawn is said by the style sheet, once."""
    drawn = lucide(name, size=None)
    shapes = re.sub(r"\s+(?=<)|(?<=>)\s+", "", drawn[drawn.index(">") + 1 : drawn.rindex("</svg>")]).replace(" />", "/>")
    return f'<symbol id="i-{name}" viewBox="0 0 24 24">{shapes}</symbol>'


def clock(moment: datetime) -> str:
    """The time of day in UTC: "14:32:07 UTC"."""
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC"


def day(value: date | None) -> str:
    """A date as "20 Nov 2026", empty for None."""
    return f"{value.day} {value:%b %Y}" if value else ""


def full(moment: datetime) -> str:
    """Date and time in UTC: "20 Nov 2026 14:32:07 UTC"."""
    return f"{day(moment.astimezone(UTC))} {clock(moment)}"


def short(moment: datetime, now: datetime) -> str:
    """The time for a moment of today, else date and minute: "14:32:07", "20 Nov 14:32", "20 Nov 2025"."""
    moment, now = moment.astimezone(UTC), now.astimezone(UTC)
    if moment.date() == now.date():
        return f"{moment:%H:%M:%S}"
    return f"{moment.day} {moment:%b %H:%M}" if moment.year == now.year else day(moment)


def time_tag(moment: datetime | None, now: datetime) -> SafeString:
    """A time element with the short form as its text and the full one as its title; the mark of absence for None."""
    if moment is None:
        return ABSENT
    return format_html('<time datetime="{}" title="{}">{}</time>', _machine(moment), full(moment), short(moment, now))


def full_tag(moment: datetime | None) -> SafeString:
    """A time element with the full form as its text."""
    return ABSENT if moment is None else format_html('<time datetime="{}">{}</time>', _machine(moment), full(moment))


def exact_tag(moment: datetime | None) -> SafeString:
    """A time element with the full form to the millisecond as its text: "20 Nov 2026 14:32:07.402 UTC"."""
    if moment is None:
        return ABSENT
    moment = moment.astimezone(UTC)
    shown = f"{day(moment)} {moment:%H:%M:%S}.{moment.microsecond // 1000:03} UTC"
    return format_html('<time datetime="{}">{}</time>', f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}", shown)


def age_tag(moment: datetime, now: datetime) -> SafeString:
    """How long ago, as a time element that the browser keeps current."""
    return format_html('<time datetime="{}" title="{}" data-age>{}</time>', _machine(moment), full(moment), duration(now - moment))


def duration(length: timedelta) -> str:
    """A length of time in its two largest units: "12 s", "34 m", "1 h 12 m", "3 d 4 h"; from 100 days on in days alone."""
    seconds = max(0, int(length.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days:
        return f"{days} d {hours % 24} h" if days < 100 else f"{days} d"
    if hours:
        return f"{hours} h {minutes % 60} m"
    return f"{minutes} m" if minutes else f"{seconds} s"


def grouped(text: str) -> str:
    """Decimal text with its whole part grouped in threes and a true minus sign: "10000000.5 EUR" gives "10,000,000.5 EUR"."""
    return re.sub(r"(?<!\S)-(?=[\d.])", "\N{MINUS SIGN}", _LONG_NUMBER.sub(lambda number: number[1] + _THREES.sub(",", number[2]), text))


def amount(stated: str, unit: str = "") -> SafeString | str:
    """Decimal text grouped for reading, then its unit. The exact text goes along where grouping changed it."""
    shown = grouped(stated)
    number = shown if shown == stated else format_html('<data value="{}" title="stated as {}">{}</data>', stated, stated, shown)
    return format_html("{} {}", number, unit) if unit else number


def spaced(name: str) -> str:
    """A name written in one word as several, in lower case: "fixedRate" gives "fixed rate"."""
    return _WORD_STARTS.sub(" ", name).replace("_", " ").lower()


def cut(text: str, most: int) -> str:
    """The text, cut where it is longer than so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def place(line: int | None, column: int | None) -> str:
    """Where in a document: "line 3, column 7", empty when not known."""
    return ", ".join(f"{name} {at}" for name, at in (("line", line), ("column", column)) if at is not None)


def plural(count: int, word: str, words: str = "") -> str:
    """A count with its word: "1 message", "3 messages"."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def _machine(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
