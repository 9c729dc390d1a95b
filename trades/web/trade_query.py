"""Which trades a list shows, in which order: one reading of the address for page, refresh, counts, neighbours and export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

from trades.lifecycle import State, Status
from trades.messages.facts import EventClass
from trades.models import Trade
from trades.web import counting, keyset
from trades.web.keyset import Ordering
from trades.web.names import AllNames, all_names, all_queues
from trades.web.spans import Span
from trades.web.trade_filter import EXCEPTIONS, LABELS, NARROWING, SIZE, Filters, TradeFilter

FEW = 1_000  # trades; so many are looked up by id and sorted
NEWEST = "-updated"
FIELDS = {"updated": "updated_at", "trade": "trade_id", "first": "first_seen_at", "since": "status_since"}
# What an address carries on from page to page; a cursor it does not.
KEPT = (*NARROWING, "sort", "cols", "n", "view", "live")
WORDS = {
    **{member.value: member.value.replace("_", " ").capitalize() for enum in (State, Status, EventClass) for member in enum},
    **dict(EXCEPTIONS),
}
WORDED = ("state", "status", "last", "exception")
# One value of these, newest update first, is one index read from its start.
INDEXED = ("state", "status", "product")


@dataclass(frozen=True, slots=True)
class Chip:
    """One active filter, the words of its values, and the address without it."""

    key: str
    name: str
    value: str
    without: str


class TradeQuery:
    """A reading of the address of a list of trades. A bad value is an error of its field and filters nothing.

    `saved` is the query part that a saved view stands for; what the address states itself goes before it, and a parameter that it states
    as empty drops what the view says.
    """

    def __init__(self, params: QueryDict, *, me: str = "", saved: str = "") -> None:
        self.params = params
        self.view = QueryDict(saved)
        self.asked = _merged(params, self.view)
        self.form = TradeFilter(self.asked)
        self.form.is_valid()
        values = self.form.cleaned_data
        self.filters = Filters(**{name: values[name] for name in NARROWING if values.get(name)}, me=me)
        self.sort: str = values.get("sort") or NEWEST
        self.size = int(values.get("n") or SIZE)

    @property
    def ordering(self) -> Ordering:
        """The order of the list."""
        return Ordering("trades", FIELDS[self.sort.lstrip("-")], ascends=not self.sort.startswith("-"))

    @property
    def before_word(self) -> str:
        """What the page before this one is called."""
        return "Newer" if self.sort == NEWEST else "Previous"

    @property
    def after_word(self) -> str:
        """What the page after this one is called."""
        return "Older" if self.sort == NEWEST else "Next"

    @property
    def text(self) -> str:
        """The text that is looked for."""
        return self.filters.q

    @property
    def is_filtered(self) -> bool:
        """Whether anything is left out."""
        return bool(self.filters.stated)

    @property
    def errors(self) -> list[str]:
        """One sentence per parameter that could not be used."""
        return [f"{self.form[name].label}: {error}" for name, errors in self.form.errors.items() for error in errors]

    # The trades

    @cached_property
    def names(self) -> AllNames | None:
        """The products and parties of all trades, where they are needed."""
        return all_names() if self.filters.q or self.filters.party else None

    @cached_property
    def are_many_queues(self) -> bool:
        """Whether queues are told apart. No query where the names are needed anyway."""
        return len(all_queues(self.names)) > 1

    @cached_property
    def few(self) -> list[int] | None:
        """The ids of the trades that match, if they are few. One query at most, which stops where they are many."""
        if self._is_read_straight:
            return None
        first, *others = self.filters.legs(self.names)
        most = (FEW + 1) * (1 + len(others))
        found = list((first.union(*others, all=True) if others else first)[:most])
        ids = set(found)
        return sorted(ids) if len(found) < most and len(ids) <= FEW else None

    @property
    def _is_read_straight(self) -> bool:
        """Whether an index in the order of the list begins with what is asked for, or nothing is left out."""
        stated = self.filters.stated
        if stated in ([], [self.sort.lstrip("-")]):
            return True
        return len(stated) == 1 and stated[0] in INDEXED and len(getattr(self.filters, stated[0])) == 1 and self.sort == NEWEST

    def apply(self, trades: QuerySet[Trade]) -> QuerySet[Trade]:
        """The trades that match, in no order, asked as suits their number."""
        if self._is_read_straight:
            return trades.filter(self.filters.condition(self.names))
        return self.filters.walk(trades, self.names, self.ordering.field) if self.few is None else trades.filter(pk__in=self.few)

    def page(self, trades: QuerySet[Trade], params: Mapping[str, str] | None = None) -> keyset.Page[Trade]:
        """The page of the list that the address asks for."""
        return keyset.page(self.apply(trades), self.ordering, size=self.size, params=self.params if params is None else params)

    def beside(self, trade: Trade) -> tuple[Trade | None, Trade | None]:
        """The trades right before and right after one of the list."""
        return keyset.beside(self.apply(Trade.objects.only("id")), self.ordering, trade)

    def in_order(self, trades: QuerySet[Trade]) -> QuerySet[Trade]:
        """All trades that match, in the order of the list."""
        return self.apply(trades).order_by(*self.ordering.fields("-"))

    def leg(self) -> counting.Leg | None:
        """What has to be counted to say how many trades match; None where that is known already."""
        if self.few is not None or self.filters.q:
            return None
        first, *others = self.filters.legs(self.names, are_many=True)
        return counting.Leg(first.union(*others, all=True) if others else first)

    def total(self, counted: counting.Counted | None) -> counting.Counted:
        """How many trades match."""
        if self.few is not None:
            return counting.Counted(len(self.few))
        return counted if counted is not None else counting.Counted(FEW, is_bound=True)

    # The address

    def chips(self) -> list[Chip]:
        """The active filters, each with the address that drops it."""
        return [Chip(key, LABELS[key], self.words(key), self.address(drop=[key])) for key in self.filters.stated]

    def words(self, key: str) -> str:
        """The values of a filter as words."""
        value: Any = getattr(self.filters, key)
        if isinstance(value, Span):
            return value.word
        if isinstance(value, str):
            return value
        return ", ".join(WORDS.get(item, item) if key in WORDED else item for item in value)

    def values(self, key: str) -> list[str]:
        """The values that the address or the view gives a parameter."""
        return [value for value in self.asked.getlist(key) if value]

    def address(self, *, drop: Iterable[str] = (), **change: str | list[str]) -> str:
        """The query part of this list's address with some parameters dropped or changed, always without a cursor."""
        wanted = {key: self.values(key) for key in KEPT if key not in drop}
        wanted |= {key: value if isinstance(value, list) else [value] for key, value in change.items()}
        if "view" in drop:
            return query_part(wanted)
        # Beside a view only what differs from it is stated; what it has and the list has not is stated as empty.
        keys = (*KEPT, "after", "before")
        differs = {key: wanted.get(key) or [""] for key in keys if (wanted.get(key) or []) != self.view.getlist(key)}
        return query_part(differs if self.view else wanted)

    def kept(self, *without: str) -> list[tuple[str, str]]:
        """The parameters as hidden fields of a form that states some of them itself."""
        pairs = QueryDict(self.address(drop=without).removeprefix("?"))
        return [(key, value) for key, values in pairs.lists() for value in values if key not in without]

    def as_view(self) -> str:
        """What a saved view of this list says: filters, order, columns and rows."""
        return query_part({key: self.values(key) for key in KEPT if key not in ("view", "live")}).removeprefix("?")

    @property
    def is_changed(self) -> bool:
        """Whether the list is a saved view and no longer what was saved."""
        return bool(self.view) and any(self.values(key) != self.view.getlist(key) for key in KEPT if key not in ("view", "live"))


def query_part(params: Mapping[str, list[str]]) -> str:
    """A query part in the order in which the page names its parameters."""
    made = QueryDict(mutable=True)
    for key in (*KEPT, "after", "before"):
        if key in params:
            made.setlist(key, params[key])
    return f"?{made.urlencode()}"


def _merged(params: QueryDict, view: QueryDict) -> QueryDict:
    merged = view.copy()
    if params.get("form"):  # a form states all filters that there are
        for key in NARROWING:
            merged.pop(key, None)
    for key, values in params.lists():
        merged.setlist(key, values)
    for key in list(merged):
        merged.setlist(key, [value for value in merged.getlist(key) if value])
    return merged
