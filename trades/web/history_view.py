"""The history of a trade in words: its ends or a window of it, in queue order or business order, with what is out of place shown in
its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trades.lifecycle import FLAG_WORDS, Flag
from trades.models import AuditEntry, Event, Message, Trade
from trades.web import words
from trades.web.addresses import TradeAddress
from trades.web.asides import Aside, Asides, asides_of
from trades.web.changed import Teller
from trades.web.reading import Reading, as_text
from trades.web.telling import Telling
from trades.web.time_in_status import took
from trades.web.words import Badge

WINDOW = 200
MOST_DESCRIBING = 50  # events that are looked into for what describes the trade; one of them states nearly always everything
END = 50  # events shown at either end of a history that is longer than a window
LONG_DELAY = timedelta(minutes=1)  # between sending and receiving; a shorter one is told by the event alone
NOT_LISTED = ("message__body", "message__attributes", "message__corrects__body", "message__corrects__attributes")
QUEUE_ORDER = "Queue order: as the queue handed the messages over. It never changes."
BUSINESS_ORDER = "Business order: as the documents themselves say, by version, sequence and time. What came late stands where it belongs."

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Item:
    """One event as the history lists it."""

    position: int
    href: str
    badges: list[Badge]
    received: SafeString
    recorded: SafeString
    changed: str
    line: str
    reason: str
    flags: list[str]
    told: list[str]
    links: list[tuple[str, str]]
    is_selected: bool
    gap: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Versions that are missing between two events in business order."""

    gap: str


@dataclass(frozen=True, slots=True)
class Between:
    """Events that are left out between the two ends of a long history, and where they are shown."""

    left_out: str
    href: str


@dataclass(frozen=True, slots=True)
class History:
    """A window of the history, and the addresses of the windows beside it ("" where there is none)."""

    entries: Sequence[Item | Gap | Aside | Between]
    span: str
    explained: str
    is_business: bool
    is_oldest_first: bool
    orders: list[tuple[str, str, bool]]
    directions: list[tuple[str, str, bool]]
    later: str
    earlier: str


@dataclass(slots=True)
class Lister:
    """Puts events of one trade into the words of its history."""

    trade: Trade
    address: TradeAddress
    telling: Telling
    reading: Reading
    now: datetime
    ranges: Sequence[Range] = ()
    rows: Mapping[int, Event] = field(default_factory=dict)  # by position
    asides: Asides = field(default_factory=Asides)

    def load(self, selected: int, further: Iterable[int] = ()) -> None:
        """Read the events that the page shows around the selected one, those at `further` positions, and those that describe the
        trade. One query, and two for what stands beside the events.

        Places run from 1 without gap in either order, so that what is shown is a range or two of them however long the history is.
        """
        telling, reading = self.telling, self.reading
        around = reading.around or (telling.place(selected, reading) if selected else telling.count)
        self.ranges = shown_places(telling.count, around, is_chosen=bool(reading.around))
        positions = telling.positions(reading)
        wanted = {position for low, high in self.ranges for position in positions[max(low - 2, 0) : high]}  # with the one before
        wanted |= {selected, *further}
        before = telling.before_newest
        sources = {*telling.sources[:MOST_DESCRIBING], *(before.sources[:MOST_DESCRIBING] if before else ())}
        rows = Event.objects.filter(Q(position__in=wanted) | Q(pk__in=sources), trade=self.trade)
        copies = _copies(reading.as_of)
        found = (
            rows.select_related("message__corrects")
            .defer(*NOT_LISTED)
            .annotate(copies=Coalesce(Subquery(copies), 0), is_audited=_audited())
        )
        self.rows = {row.position: row for row in found}

    def described(self) -> dict[int, tuple[date | None, Any]]:
        """What the events that were read state of the trade, by row: its date and its details."""
        return {row.pk: (row.trade_date, row.details) for row in self.rows.values()}

    def item(self, event: Event, selected: int = 0, changed: str = "") -> Item:
        """One event."""
        position = event.position
        badges = [words.CLASSES.get(event.event_class, Badge(event.event_class, "", "circle-dot"))]
        if event.status:
            badges.append(words.status_badge(event.status))
        return Item(
            position=position,
            href=self.address.event(position, **self.reading.query()),
            badges=badges,
            received=self._received(event.message),
            recorded=words.time_tag(event.recorded_at, self.now),
            changed=changed,
            line=self._line(event),
            reason=event.reason,
            flags=[self._flag(flag, position) for flag in self.telling.flags(position)],
            told=[*self.asides.told(event.message), *_delayed(event.message)],
            links=self._links(event),
            is_selected=position == selected,
        )

    def _received(self, message: Message) -> SafeString:
        sent = f", sent {words.clock(message.sent_at)}" if message.sent_at else ""
        tag = words.time_tag(message.received_at, self.now)
        return format_html('<span title="Received {}{}">{}</span>', words.full(message.received_at), sent, tag)

    def _line(self, event: Event) -> str:
        said = [words.spaced(event.event_kind), f"version {event.version}" if event.version is not None else ""]
        said.append(f"stated {words.full(event.event_time)}" if event.event_time else "no time stated")
        return ", ".join(word for word in said if word)

    def _flag(self, flag: str, position: int) -> str:
        said = FLAG_WORDS[Flag(flag)] if flag in Flag.__members__ else str(flag)
        after = self._arrived_after(position) if flag == Flag.LATE else 0
        return f"{said} It arrived after event {after:,}." if after else said

    def _arrived_after(self, position: int) -> int:
        """The event that a late one stands before, and that was recorded earlier; 0 where there is none now."""
        place = self.telling.chapters[position - 1].place
        later = self.telling.business_order[place : place + WINDOW]
        return next((other for other in later if other < position), 0)

    def _links(self, event: Event) -> list[tuple[str, str]]:
        """The events that this one is about or that are about it, and its copies: words and address."""
        links = [
            (f"{relation.word} event {relation.position}", self.address.event(relation.position, **self.reading.query()))
            for relation in self.telling.relations(event.position)
        ]
        if copies := getattr(event, "copies", 0):
            here = self.address.event(event.position, **self.reading.query())
            links.append((f"{words.plural(copies, 'duplicate')} dropped", f"{here}#copies"))
        if original := event.message.corrects_id:
            links += [("Original message", _message_address(original)), ("Correction", _message_address(event.message_id))]
        if earlier := event.message.conflicts_with_id:
            links.append(("Same publication, other content", _message_address(earlier)))
        return links

    def history(self, selected: int, ids: Iterable[str]) -> History:
        """What the address shows of the history, of the trade that goes by these ids. `load` comes before. Two queries."""
        telling, reading = self.telling, self.reading
        listed = [
            row for row in self.rows.values() if any(low - 1 <= telling.place(row.position, reading) <= high for low, high in self.ranges)
        ]
        are_audited = any(getattr(row, "is_audited", True) for row in listed)
        self.asides = asides_of(self.trade, list(ids), [row.message for row in listed], reading.as_of, self.now, are_audited=are_audited)
        entries: list[Item | Gap | Aside | Between] = []
        for number, (low, high) in enumerate(self.ranges):
            if number:
                entries.append(self._between(self.ranges[number - 1][1], low))
            entries += self._range(low, high, selected)
        low, high = self.ranges[0][0], self.ranges[-1][1]
        return History(
            entries=entries if reading.is_oldest_first else entries[::-1],
            span=self._span(low, high),
            explained=BUSINESS_ORDER if reading.is_business else QUEUE_ORDER,
            is_business=reading.is_business,
            is_oldest_first=reading.is_oldest_first,
            orders=[
                ("Queue", self._turned(selected, order=""), not reading.is_business),
                ("Business", self._turned(selected, order="business"), reading.is_business),
            ],
            directions=[
                ("Newest", self._turned(selected, first=""), not reading.is_oldest_first),
                ("Oldest", self._turned(selected, first="oldest"), reading.is_oldest_first),
            ],
            later=self._turned(selected, around=str(high + 1)) if high < telling.count else "",
            earlier=self._turned(selected, around=str(low - 1)) if low > 1 else "",
        )

    def _span(self, low: int, high: int) -> str:
        count = self.telling.count
        is_part = count > WINDOW and len(self.ranges) == 1
        return f"{low:,} to {high:,} of {count:,}" if is_part else words.plural(count, "event")

    def _range(self, low: int, high: int, selected: int) -> list[Item | Gap | Aside | Between]:
        """The events of a range of places, the earliest first, with what stands between them."""
        telling, reading, teller = self.telling, self.reading, Teller()
        positions = telling.positions(reading)
        if low > 1 and (before := self.rows.get(positions[low - 2])):
            teller.take(before)
        missing = telling.missing_versions
        between = {} if reading.is_business else _between(self.asides.rows, self.rows, low, high, telling.count)
        entries: list[Item | Gap | Aside | Between] = []
        for place, position in enumerate(positions[low - 1 : high], start=low):
            entries += between.get(position, ())
            if position in missing:
                entries.append(Gap(_not_received(*missing[position])))
            if (event := self.rows.get(position)) is not None:
                entries.append(self.item(event, selected, teller.tell(event, is_first=place == 1)))
        return [*entries, *between.get(high + 1, ())]

    def _between(self, last: int, first: int) -> Between:
        count = first - last - 1
        return Between(f"Show {count:,} between", self.address.page(**self.reading.query(around=str(first - 1))))

    def _turned(self, selected: int, **change: str) -> str:
        query = self.reading.query(**change)
        return self.address.event(selected, **query) if selected else self.address.page(**query)

    def known_right_after(self, event: Event) -> str:
        """The address of the trade as it was known once the event was recorded."""
        return self.address.event(event.position, **self.reading.query(as_of=as_text(event.recorded_at)))


def shown_places(count: int, around: int, *, is_chosen: bool) -> list[Range]:
    """The places of a history that are shown: all, both ends of a long one, or the window that holds the place `around` where that
    was chosen or is at neither end."""
    if count > WINDOW and not is_chosen and (around <= END or around > count - END):
        return [(1, END), (count - END + 1, count)]
    return [window(count, around)]


def window(count: int, around: int) -> Range:
    """The first and last place of the window that holds `around`; windows are full from the latest end."""
    if not count:
        return 1, 0
    around = min(max(around, 1), count)
    high = count - (count - around) // WINDOW * WINDOW
    return max(1, high - WINDOW + 1), high


def _between(asides: Sequence[Aside], rows: Mapping[int, Event], low: int, high: int, count: int) -> dict[int, list[Aside]]:
    """The asides before each position of a range of queue order (before high + 1: at its end): each stands before the first event of
    which the message came after it, a correction being where its original came."""
    came = {position: row.message.corrects_id or row.message_id for position, row in rows.items()}
    found: dict[int, list[Aside]] = {}
    for aside in asides:
        place = next((position for position in range(max(low - 1, 1), high + 1) if came.get(position, 0) > aside.key), high + 1)
        if place >= low and (place <= high or high == count):
            found.setdefault(place, []).append(aside)
    return found


def _message_address(pk: int) -> str:
    return reverse("message", args=[pk])


def _not_received(first: int, last: int) -> str:
    return f"Version {first} not received." if first == last else f"Versions {first:,} to {last:,} not received."


def _delayed(message: Message) -> list[str]:
    if message.sent_at is None or message.received_at - message.sent_at < LONG_DELAY:
        return []
    return [f"Received {took(message.received_at - message.sent_at)} after it was sent."]


def _audited() -> Exists:
    """Whether anybody did something to an event's message, or to the one that it corrects."""
    return Exists(AuditEntry.objects.filter(Q(message=OuterRef("message")) | Q(message=OuterRef("message__corrects"))))


def _copies(moment: datetime | None):  # type: ignore[no-untyped-def]  # a count for each event's message
    """How many copies of an event's message arrived."""
    rows = Message.objects.filter(repeats_message=OuterRef("message"), outcome=Message.Outcome.DUPLICATE)
    rows = rows if moment is None else rows.filter(recorded_at__lte=moment)
    return rows.order_by().values("repeats_message").annotate(count=Count("pk")).values("count")
