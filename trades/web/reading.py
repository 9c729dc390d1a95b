"""How the address of a trade's page asks for it to be read: in which order, as known when, and what is open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString

from trades.asof import as_stated, is_whole_second, moment_of
from trades.web import words

TABS = {"changes": "Changes", "xml": "XML", "fields": "Fields", "transport": "Transport"}
FIRST_TAB = "changes"
ALIASES = {"message": "xml"}
LAYOUTS = ("split", "unified")
FORMS = ("original", "formatted")
LONGEST_FIND, LONGEST_LISTED = 100, 2_000  # characters
EXAMPLE = "2026-11-21T14:32:07Z"
# A plus sign in an address stands for a space, so the zone of a time that was not encoded arrives as " 02:00".
_LOST_PLUS = re.compile(r"(?<=[\d]) (?=\d\d:?\d\d$)")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the parameters of an address say.

    `as_of` is UTC, None for what is known now; stated to the second it is the end of it. `around` is the place in the chosen order that
    the page shows, 0 for none; `complaint` is a sentence about a parameter that could not be used. `compare` is the position of the
    event to compare with, 0 for the one before; `layout` and `form` are "" unless chosen. `listed` is the query of the list of trades
    that the page was opened from, None where it was not.
    """

    is_business: bool = False
    is_oldest_first: bool = False
    as_of: datetime | None = None
    tab: str = FIRST_TAB
    around: int = 0
    complaint: str = ""
    compare: int = 0
    layout: str = ""
    form: str = ""
    is_wrapped: bool = True
    is_unfolded: bool = False
    find: str = ""
    listed: str | None = None

    def query(self, **change: str) -> dict[str, str]:
        """The parameters of an address that is read the same way, some of them changed, "" dropping one. What belongs to one
        event alone is not kept, nor `around`."""
        kept = {
            "order": "business" if self.is_business else "",
            "first": "oldest" if self.is_oldest_first else "",
            "as_of": as_text(self.as_of) if self.as_of else "",
            "tab": "" if self.tab == FIRST_TAB else self.tab,
            "layout": self.layout,
            "text": self.form,
            "wrap": "" if self.is_wrapped else "no",
        }
        told = {name: value for name, value in (kept | change).items() if value and (name, value) != ("tab", FIRST_TAB)}
        return told if self.listed is None else told | {"from": self.listed}

    def here(self, **change: str) -> dict[str, str]:
        """As `query`, with what belongs to the event that is open."""
        own = {"compare": str(self.compare) if self.compare else "", "find": self.find, "folds": "open" if self.is_unfolded else ""}
        return self.query(**(own | change))

    @property
    def as_of_input(self) -> str:
        """The moment as a date-time field takes it: at most milliseconds, rounded up so that nothing known then is lost."""
        if self.as_of is None:
            return ""
        # Browsers drop a fraction of .000, which would then stand for the whole second.
        milliseconds = max(1, -(-self.as_of.microsecond // 1000))
        return f"{self.as_of:%Y-%m-%dT%H:%M:%S}" + (f".{milliseconds:03}" if milliseconds < 1000 else "")

    @property
    def as_of_tag(self) -> SafeString | str:
        """The moment in words, with milliseconds (rounded up) where it is not a whole second."""
        if self.as_of is None:
            return ""
        if is_whole_second(self.as_of):
            return words.full_tag(self.as_of)
        up = self.as_of + timedelta(microseconds=-self.as_of.microsecond % 1000)
        shown = f"{words.day(up)} {up:%H:%M:%S}.{up.microsecond // 1000:03} UTC"
        return format_html('<time datetime="{}">{}</time>', as_text(self.as_of), shown)


def reading_of(params: Mapping[str, str], now: datetime) -> Reading:
    """What an address asks for. Values that are not known give the default; a time that can't be used is complained about."""
    as_of, complaint = _moment(params.get("as_of", "").strip(), now)
    tab = ALIASES.get(params.get("tab", ""), params.get("tab", ""))
    layout, form = params.get("layout", ""), params.get("text", "")
    return Reading(
        is_business=params.get("order") == "business",
        is_oldest_first=params.get("first") == "oldest",
        as_of=as_of,
        tab=tab if tab in TABS else FIRST_TAB,
        around=_number(params.get("around", "")),
        complaint=complaint,
        compare=_number(params.get("compare", "")),
        layout=layout if layout in LAYOUTS else "",
        form=form if form in FORMS else "",
        is_wrapped=params.get("wrap") != "no",
        is_unfolded=params.get("folds") == "open",
        find=params.get("find", "").strip()[:LONGEST_FIND],
        listed=params["from"][:LONGEST_LISTED] if "from" in params else None,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def as_text(moment: datetime) -> str:
    """A moment as an address states it: "2026-11-21T14:32:07Z" for the whole second, else "2026-11-21T14:32:07.000250Z"."""
    return as_stated(moment).removesuffix("+00:00") + "Z"


def _moment(text: str, now: datetime) -> tuple[datetime | None, str]:
    if not text:
        return None, ""
    try:
        moment = moment_of(_LOST_PLUS.sub("+", text))
    except ValueError:
        shown = text if len(text) <= 60 else f"{text[:59]}…"
        return None, f"“{shown}” is not a time that can be read. Write it as {EXAMPLE}. This page shows what is known now."
    if (moment.replace(microsecond=0) if is_whole_second(moment) else moment) > now:
        return None, f"{as_text(moment)} has not come yet. This page shows what is known now."
    return moment, ""
