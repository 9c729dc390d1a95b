"""The history of a trade in words: a window of it in queue order or business order, with what is out of place shown in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Count
from django.urls import reverse
from django.utils.safestring import SafeString

from trades.lifecycle import FLAG_WORDS, Flag
from trades.models import Event, Message, Trade
from trades.web import words
from trades.web.addresses import TradeAddress
from trades.web.asides import Aside, Asides, asides_of
from trades.web.reading import Reading, as_text
from trades.web.telling import Telling
from trades.web.words import Badge

WINDOW = 200
LISTED = (
    "id", "trade_id", "message_id", "position", "event_class", "event_kind", "status", "version", "event_time", "recorded_at", "reason",
    "message__repeats", "message__via_dead_letter", "message__conflicts_with", "message__corrects__repeats",
    "message__corrects__via_dead_letter",
)  # fmt: skip
QUEUE_ORDER = "Queue order: as the queue handed the messages over. It never changes."
BUSINESS_ORDER = "Business order: as the documents themselves say, by version, sequence and time. What came late stands where it belongs."


@dataclass(frozen=True, slots=True)
class Item:
    """One event as the history lists it."""

    position: int
    href: str
    badges: list[Badge]
    recorded: SafeString
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
class History:
    """A window of the history, and the addresses of the windows beside it ("" where there is none)."""

    entries: Sequence[Item | Gap | Aside]
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
    copies: Mapping[int, int] = field(default_factory=dict)
    asides: Asides = field(default_factory=Asides)

    def item(self, event: Event, selected: int = 0) -> Item:
        """One event."""
        position = event.position
        badges = [words.CLASSES.get(event.event_class, Badge(event.event_class, "", "circle-dot"))]
        if event.status:
            badges.append(words.status_badge(event.status))
        return Item(
            position=position,
            href=self.address.event(position, **self.reading.query()),
            badges=badges,
            recorded=words.time_tag(event.recorded_at, self.now),
            line=self._line(event),
            reason=event.reason,
            flags=[FLAG_WORDS[Flag(flag)] if flag in Flag.__members__ else str(flag) for flag in self.telling.flags(position)],
            told=self.asides.told(event.message),
            links=self._links(event),
            is_selected=position == selected,
        )

    def _line(self, event: Event) -> str:
        said = [words.spaced(event.event_kind), f"version {event.version}" if event.version is not None else ""]
        said.append(f"at {words.full(event.event_time)}" if event.event_time else "no time stated")
        return ", ".join(word for word in said if word)

    def _links(self, event: Event) -> list[tuple[str, str]]:
        """The events that this one is about or that are about it, and its copies: words and address."""
        links = [
            (f"{relation.word} event {relation.position}", self.address.event(relation.position, **self.reading.query()))
            for relation in self.telling.relations(event.position)
        ]
        if copies := self.copies.get(event.message_id):
            here = self.address.event(event.position, **self.reading.query())
            links.append((f"{words.plural(copies, 'copy', 'copies')} had no effect", f"{here}#copies"))
        if original := event.message.corrects_id:
            links += [("Original message", _message_address(original)), ("Correction", _message_address(event.message_id))]
        if earlier := event.message.conflicts_with_id:
            links.append(("Same publication, other content", _message_address(earlier)))
        return links

    def history(self, selected: int, ids: Iterable[str]) -> History:
        """The window around the place that the address names, by default around the selected event, of the trade that goes by these
        ids. Five queries.

        Places run from 1 without gap in either order, so that a window is a range of them however long the history is.
        """
        telling, reading = self.telling, self.reading
        around = reading.around or (telling.place(selected, reading) if selected else telling.count)
        low, high = window(telling.count, around)
        positions = telling.positions(reading)[low - 1 : high]
        wanted = positions if reading.is_business else range(max(low - 1, 1), high + 1)  # with the one before: what lies between them
        found = Event.objects.filter(trade=self.trade, position__in=wanted).select_related("message__corrects").only(*LISTED)
        rows = {row.position: row for row in found}
        self.copies = _copies([row.message_id for row in rows.values()], reading.as_of)
        self.asides = asides_of(self.trade, ids, [row.message for row in rows.values()], reading.as_of, self.now)
        missing = telling.missing_versions() if reading.is_business else {}
        entries: list[Item | Gap | Aside] = []
        between = {} if reading.is_business else _between(self.asides.rows, rows, low, high, telling.count)
        for position in positions:
            entries += between.get(position, ())
            if position in missing:
                entries.append(Gap(_not_seen(*missing[position])))
            if position in rows:
                entries.append(self.item(rows[position], selected))
        entries += between.get(high + 1, ())
        return History(
            entries=entries if reading.is_oldest_first else entries[::-1],
            span=f"{low:,} to {high:,} of {telling.count:,}" if telling.count > WINDOW else words.plural(telling.count, "event"),
            explained=BUSINESS_ORDER if reading.is_business else QUEUE_ORDER,
            is_business=reading.is_business,
            is_oldest_first=reading.is_oldest_first,
            orders=[
                ("Queue", self._turned(selected, order=""), not reading.is_business),
                ("Business", self._turned(selected, order="business"), reading.is_business),
            ],
            directions=[
                ("Newest first", self._turned(selected, first=""), not reading.is_oldest_first),
                ("Oldest first", self._turned(selected, first="oldest"), reading.is_oldest_first),
            ],
            later=self._turned(selected, around=str(high + 1)) if high < telling.count else "",
            earlier=self._turned(selected, around=str(low - 1)) if low > 1 else "",
        )

    def _turned(self, selected: int, **change: str) -> str:
        query = self.reading.query(**change)
        return self.address.event(selected, **query) if selected else self.address.page(**query)

    def known_right_after(self, event: Event) -> str:
        """The address of the trade as it was known once the event was recorded."""
        return self.address.event(event.position, **self.reading.query(as_of=as_text(event.recorded_at)))


def window(count: int, around: int) -> tuple[int, int]:
    """The first and last place of the window that holds `around`; windows are full from the latest end."""
    around = min(max(around, 1), max(count, 1))
    high = count - (count - around) // WINDOW * WINDOW
    return max(1, high - WINDOW + 1), high


def _between(asides: Sequence[Aside], rows: Mapping[int, Event], low: int, high: int, count: int) -> dict[int, list[Aside]]:
    """The asides before each position of a window of queue order (before high + 1: at its end): each stands before the first event of
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


def _not_seen(first: int, last: int) -> str:
    return f"Version {first} not seen." if first == last else f"Versions {first:,} to {last:,} not seen."


def _copies(messages: Sequence[int], moment: datetime | None) -> dict[int, int]:
    """How many copies of these messages arrived, by message."""
    rows = Message.objects.filter(repeats_message__in=messages, outcome=Message.Outcome.DUPLICATE)
    rows = rows if moment is None else rows.filter(recorded_at__lte=moment)
    return dict(rows.order_by().values_list("repeats_message").annotate(Count("pk")))
