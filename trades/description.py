"""What describes a trade - trade date, product, parties, notional - taken from the events that state it.

In business order the last event in force that books, updates or corrects the trade decides, value by value; any other event only
fills in what none of these states, the first one first. A correction's values stand where the corrected event stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trades.course import Chapter
from trades.lifecycle import Happening
from trades.messages.facts import EventClass, TradeEvent
from trades.models import Event, Trade

STATING = frozenset({EventClass.BOOK, EventClass.UPDATE, EventClass.CORRECT})
NAMES = ("trade_date", "product", "parties", "notional")
FIRST_LOOK, GROWTH = 4, 8

# Values by the names above; only what is stated.
Values = dict[str, object]
# Where values are to be found: in a fact at hand, or in an event stored, by its row's number.
Source = TradeEvent | int


def stated_by(trade_date: object, details: object) -> Values:
    """What an event says of the trade, from its trade date and its details."""
    found = details if isinstance(details, Mapping) else {}
    values = (trade_date, str(found.get("product", ""))[:255], _parties(found)[:500], _notional(found)[:100])
    return {name: value for name, value in zip(NAMES, values, strict=True) if value}


def take_over(trade: Trade, fact: TradeEvent) -> None:
    """Describe the trade by an event in force that comes after all its others."""
    states = fact.event_class in STATING
    for name, value in stated_by(fact.trade_date, fact.details).items():
        if states or not getattr(trade, name):
            setattr(trade, name, value)


@dataclass(slots=True)
class Search:
    """The values of one trade, looked for in its events from the most to the least telling."""

    sources: list[Source]
    values: Values = field(default_factory=dict)
    looked_at: int = 0

    def next(self, count: int) -> Sequence[Source]:
        """The next so many events to look at; none when all is found."""
        if len(self.values) == len(NAMES):
            return ()
        return self.sources[self.looked_at : self.looked_at + count]

    def look(self, sources: Iterable[Source], stored: Mapping[int, Values]) -> None:
        """Take from these events what was not found before."""
        for source in sources:
            self.looked_at += 1
            found = stored.get(source, {}) if isinstance(source, int) else stated_by(source.trade_date, source.details)
            self.values = found | self.values

    def describe(self, trade: Trade) -> None:
        """Write what was found to the trade; what no event in force states is not known."""
        trade.trade_date = self.values.get("trade_date")  # type: ignore[assignment]
        trade.product, trade.parties, trade.notional = (str(self.values.get(name, "")) for name in NAMES[1:])


def search_for(happenings: Sequence[Happening], chapters: Sequence[Chapter], sources: Sequence[Source]) -> Search:
    """A search through the events of one trade, all three by arrival."""
    classes = [happening.event_class for happening in happenings]
    in_force = [index for index, chapter in enumerate(chapters) if chapter.in_force]
    stating = [index for index in in_force if classes[index] in STATING]
    filling = [index for index in in_force if classes[index] not in STATING]
    stating.sort(key=lambda index: (chapters[_root(index, chapters, classes)].place, chapters[index].place), reverse=True)
    filling.sort(key=lambda index: chapters[index].place)
    return Search([sources[index] for index in (*stating, *filling)])


def find(searches: Sequence[Search]) -> None:
    """Look until all values are found. The number of queries grows only with the logarithm of how many events must be looked at."""
    count = FIRST_LOOK
    while any(steps := [search.next(count) for search in searches]):
        stored = _load({source for step in steps for source in step if isinstance(source, int)})
        for search, step in zip(searches, steps, strict=True):
            search.look(step, stored)
        count *= GROWTH


def _root(index: int, chapters: Sequence[Chapter], classes: Sequence[EventClass]) -> int:
    """The event that a correction, or a correction of a correction, is about in the end."""
    for _ in chapters:
        target = chapters[index].addresses
        if classes[index] is not EventClass.CORRECT or target is None:
            break
        index = target
    return index


def _load(wanted: set[int]) -> dict[int, Values]:
    if not wanted:
        return {}
    rows = Event.objects.filter(pk__among=list(wanted)).values_list("pk", "trade_date", "details")
    return {pk: stated_by(trade_date, details) for pk, trade_date, details in rows}


def _parties(details: Mapping[str, object]) -> str:
    parties = details.get("parties")
    named = [party.get("name") or party.get("lei") or "" for party in parties] if isinstance(parties, (list, tuple)) else []
    return " / ".join(dict.fromkeys(named))  # a party may have several roles


def _notional(details: Mapping[str, object]) -> str:
    notionals = details.get("notionals")
    if isinstance(notionals, (list, tuple)) and notionals:
        return " / ".join(f"{notional['amount']} {notional.get('currency', '')}".strip() for notional in notionals)
    return f"{details.get('quantity', '')} {details.get('quantity_unit', '')}".strip()
