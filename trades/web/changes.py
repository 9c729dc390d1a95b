"""The first tab of an event: what differs from the event before it, or from another one, field by field and line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from trades.messages.facts import EventClass
from trades.models import Event, Message
from trades.web import compare, texts, words
from trades.web.compare import Change, Field
from trades.web.history_view import Lister
from trades.web.line_changes import Lines, canonical, line_changes
from trades.web.reading import Reading

MOST_LISTED = 9  # events in the menu beside the first and the newest
MOST_SOUGHT = 500  # events looked through for one that states values
MOST_FIELDS = 300
MOST_COMPARED = 1_000_000  # characters of a text that is compared line by line
LONGEST_VALUE = 300
TELLING = frozenset({EventClass.STATUS, EventClass.REQUEST, EventClass.SNAPSHOT})
SAME = "The two documents are the same to the byte."
SAME_BUT_FORM = "The two documents differ in formatting alone."
TOO_LARGE = "A document is too large to be compared line by line. Download the two and compare them with a program of your own."
ELSEWHERE = "What the event changed of the trade is said in the history and under Fields."
NOT_READ = "A document could not be read field by field; the lines below are those of the texts themselves."


@dataclass(frozen=True, slots=True)
class Choice:
    """An event to compare with: its words, where, and whether it is the one."""

    name: str
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """A way to lay the lines out."""

    name: str
    href: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What the tab shows. `old` is the position of the event compared with, 0 where there is nothing to compare with; `too_large` says
    that a document is too large for anything of it to be shown here."""

    old: int
    new: int
    fields: Sequence[Change]
    header: Sequence[Change]
    gone: Sequence[Change]
    come: Sequence[Change]
    stating: tuple[int, str] | None
    stated: Sequence[Field]
    left_out: int
    lines: Lines | None
    is_unified: bool
    is_auto: bool
    note: str | SafeString
    other_form: tuple[str, str] | None
    layouts: Sequence[Layout] = ()
    unfold: str = ""
    too_large: str = ""


def first_event(message: Message, position: int) -> Changes:
    """The tab of an event that has nothing before it: its fields."""
    if texts.is_large(message):
        size = words.plural(message.size, "byte")
        return _nothing_of(0, position, f"The document has {size}, too many for its values to be listed here. {ELSEWHERE}")
    text = message.body
    stated = [Field(field.path, field.name, words.cut(field.value, LONGEST_VALUE), field.is_header) for field in compare.fields_of(text)]
    own, header = [field for field in stated if not field.is_header], [field for field in stated if field.is_header]
    return Changes(
        0, position, (), [Change(f.path, f.name, None, f.value, True) for f in header], (), (), None, own, 0, None, False, False, "", None
    )


def changes_between(lister: Lister, old: Event, new: Event, messages: tuple[Message, Message]) -> Changes:
    """The tab of an event that is compared with another."""
    if why := texts.not_compared(*messages):
        links = ((lister.address.raw(event.position), event.position) for event in (old, new))
        both = format_html_join(" and ", '<a href="{}" download>event {}</a>', links)
        what_to_do = format_html("Download the texts of {} and compare them with a program of your own.", both)
        return _nothing_of(old.position, new.position, f"{why} {ELSEWHERE}", what_to_do)
    reading = lister.reading
    before, after = (message.body for message in messages)
    found = compare.changed_fields(before, after)
    sorted_ = _sorted(found or (), old, new)
    is_original = reading.form == "original" or found is None
    unified = reading.layout == "unified"
    lines, note = _lines(before, after, reading, is_original=is_original)
    if found is None:
        note = NOT_READ if lines else note

    def here(**change: str) -> str:
        return lister.address.event(new.position, **reading.here(**change))

    return Changes(
        old=old.position,
        new=new.position,
        fields=[_cut(change) for change in sorted_.fields[:MOST_FIELDS]],
        header=[_cut(change) for change in sorted_.header[:MOST_FIELDS]],
        gone=[_cut(change) for change in sorted_.gone[:MOST_FIELDS]],
        come=[_cut(change) for change in sorted_.come[:MOST_FIELDS]],
        stating=_stating(lister, old, new) if sorted_.come else None,
        stated=(),
        left_out=sum(max(0, len(part) - MOST_FIELDS) for part in sorted_),
        lines=lines,
        is_unified=unified,
        is_auto=not reading.layout,
        note=note,
        other_form=_other_form((before, after), lister, new, is_original=is_original) if found is not None else None,
        layouts=[
            Layout("Split", here(layout="split"), reading.layout == "split"),
            Layout("Unified", here(layout="unified"), unified),
        ],
        unfold=here(folds="open"),
    )


def _nothing_of(old: int, new: int, why: str, note: str | SafeString = "") -> Changes:
    return Changes(old, new, (), (), (), (), None, (), 0, None, False, False, note, None, too_large=why)


def choices(lister: Lister, position: int, compared: int) -> list[Choice]:
    """The events that the menu offers to compare with: the first, those around, the newest."""
    telling, reading = lister.telling, lister.reading
    positions = telling.positions(reading)
    place = telling.place(position, reading)
    low = max(1, place - MOST_LISTED // 2)
    places = dict.fromkeys([1, *range(low, min(telling.count, low + MOST_LISTED) + 1), telling.count])
    before = telling.before(position, reading)
    found = []
    for each in sorted(places, reverse=True):
        other = positions[each - 1]
        if other == position:
            continue
        event_class = words.class_word(telling.happenings[other - 1].event_class)
        name = f"Event {other:,}, {event_class.lower()}" + (", the one before" if other == before else "")
        query = reading.here(tab="", compare="" if other == before else str(other))
        found.append(Choice(name, lister.address.event(position, **query), other == compared))
    return found


class _Sorted(NamedTuple):
    """The changes by what they are: of the message's own header, of the trade, and those of which one of the documents says nothing."""

    header: list[Change]
    fields: list[Change]
    gone: list[Change]
    come: list[Change]


def _sorted(found: Sequence[Change], old: Event, new: Event) -> _Sorted:
    """A status, for one, says nothing of the trade's values: it does not take away those of the event before it, and those of the event
    after it are not new."""
    header = [change for change in found if change.is_header]
    fields = [change for change in found if not change.is_header]
    tells, told = new.event_class in TELLING, old.event_class in TELLING
    if tells == told:
        return _Sorted(header, fields, [], [])
    gone = [change for change in fields if tells and change.after is None]
    come = [change for change in fields if told and change.before is None]
    aside = {id(change) for change in (*gone, *come)}
    return _Sorted(header, [change for change in fields if id(change) not in aside], gone, come)


def _stating(lister: Lister, old: Event, new: Event) -> tuple[int, str] | None:
    """The last event before one that only tells, in the order that is asked for, that states values; and the comparison with it."""
    telling, reading = lister.telling, lister.reading
    positions = telling.positions(reading)
    place = min(telling.place(old.position, reading), telling.place(new.position, reading))
    for each in range(place - 1, max(0, place - MOST_SOUGHT), -1):
        position = positions[each - 1]
        if telling.happenings[position - 1].event_class not in TELLING:
            return position, lister.address.event(new.position, **reading.here(compare=str(position)))
    return None


def _lines(before: str, after: str, reading: Reading, *, is_original: bool) -> tuple[Lines | None, str]:
    if before == after:
        return None, SAME
    if max(len(before), len(after)) > MOST_COMPARED:
        return None, TOO_LARGE
    old, new = (before, after) if is_original else (canonical(before), canonical(after))
    if old == new:
        return None, SAME_BUT_FORM
    return line_changes(old, new, unified=reading.layout == "unified", unfolded=reading.is_unfolded), ""


def _other_form(both: tuple[str, str], lister: Lister, new: Event, *, is_original: bool) -> tuple[str, str] | None:
    """A sentence about the form that is not shown, and where it is."""
    if both[0] == both[1]:
        return None
    if is_original:
        href = lister.address.event(new.position, **lister.reading.here(text=""))
        return "These are the original texts, with differences of formatting.", href
    href = lister.address.event(new.position, **lister.reading.here(text="original"))
    return "Differences of formatting alone are hidden; lines are those of the formatted texts.", href


def _cut(change: Change) -> Change:
    before, after = (value if value is None else words.cut(value, LONGEST_VALUE) for value in (change.before, change.after))
    return Change(change.path, change.name, before, after, change.is_header)
