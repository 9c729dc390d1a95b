"""What a filter's menu offers: the values there are, each with how many trades have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils.text import capfirst

from trades.models import Trade, TradeException
from trades.web import counting
from trades.web.names import AllNames, all_names, all_queues
from trades.web.spans import HOW, HOW_MOMENT
from trades.web.trade_filter import LABELS, TradeFilter, of_queues
from trades.web.trade_query import TradeQuery

SHOWN = 40  # values; more are found by their text
COUNTED = 1_000  # trades of one value
SHOWN_FIRST = ("state", "status", "product", "party")
OF_TIME = {"traded": HOW.format("") + ".", "updated": HOW.format(HOW_MOMENT) + ".", "first": HOW.format(HOW_MOMENT) + "."}
SEARCHED = ("product", "party", "owner", "queue")
COLUMN = {"state": "state", "status": "status", "last": "last_class", "product": "product"}
SPANS = (("today", "Today"), ("-2h", "Last 2 h"), ("-7d", "Last 7 d"))


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that can be asked for."""

    value: str
    word: str
    is_chosen: bool
    count: counting.Counted | None = None


@dataclass(frozen=True, slots=True)
class Menu:
    """One filter: what it is called, what is chosen, and, once it is open, what else there is."""

    key: str
    name: str
    chosen: str
    values: Sequence[str]
    without: str
    is_shown: bool
    is_open: bool = False
    choices: Sequence[Choice] = ()
    find: str = ""
    is_searched: bool = False
    is_cut: bool = False
    hint: str = ""
    errors: Sequence[str] = ()
    quick: Sequence[tuple[str, str]] = ()


def menus(query: TradeQuery, opened: str, find: str) -> list[Menu]:
    """The menus of all filters but the text: those that are always there, then those that are in use; the rest are offered to be added."""
    many = query.are_many_queues or "queue" in (opened, *query.filters.stated)
    return [menu(query, key, is_open=key == opened, find=find) for key in LABELS if key != "q" and (many or key != "queue")]


def menu(query: TradeQuery, key: str, *, is_open: bool, find: str = "") -> Menu:
    """One filter's menu; only an open one costs queries."""
    choices, is_cut = _choices(query, key, find) if is_open and key not in OF_TIME else ([], False)
    is_active = key in query.filters.stated
    errors = [str(error) for error in query.form.errors.get(key, ())]
    return Menu(
        key, LABELS[key], query.words(key) if is_active else "", query.values(key), query.address(drop=[key]),
        is_shown=key in SHOWN_FIRST or is_active or is_open or bool(errors), is_open=is_open, choices=choices, find=find,
        is_searched=key in SEARCHED, is_cut=is_cut, hint=OF_TIME.get(key, ""), errors=errors,
        quick=_quick(query, key),
    )  # fmt: skip


def _quick(query: TradeQuery, key: str) -> list[tuple[str, str]]:
    """Spans that are asked for often."""
    spans = () if key not in OF_TIME else SPANS[:1] if key == "traded" else SPANS
    return [(query.address(**{key: value}), word) for value, word in spans]


def _choices(query: TradeQuery, key: str, find: str) -> tuple[list[Choice], bool]:
    """The values of a filter, those chosen first. One query for the counts, and one for the values where they are not known."""
    names = all_names() if key in ("product", "party") else None
    chosen = [] if key in query.form.errors else query.values(key)
    values = _values(key, names, find)
    words = dict(_offered(key)) or {"me": "Me", "none": "Nobody"}
    found = list(dict.fromkeys([*chosen, *values]))
    shown = found if key not in SEARCHED else found[: SHOWN + len(chosen)]
    texts = names.texts_by_party() if names and key == "party" else {}
    counts = counting.count({value: counting.Leg(_having(query, key, value, texts), COUNTED) for value in shown})
    choices = [Choice(value, words.get(value, value), value in chosen, counts[value]) for value in shown]
    return choices, len(shown) < len(found)


def _offered(key: str) -> list[tuple[str, str]]:
    field = TradeFilter.base_fields[key]
    return [(str(value), str(capfirst(word))) for value, word in getattr(field, "choices", ())]


def _values(key: str, names: AllNames | None, find: str) -> list[str]:
    if names is not None:
        values = list(names.products.values) if key == "product" else names.each_party()
    elif key == "owner":
        values = [
            "me",
            "none",
            *User.objects.filter(trades__isnull=False).distinct().order_by("username").values_list("username", flat=True),
        ]
    elif key == "queue":
        values = all_queues()
    else:
        values = [value for value, _ in _offered(key)]
    return [value for value in values if find.casefold() in value.casefold()]


def _having(query: TradeQuery, key: str, value: str, texts: Mapping[str, list[str]]) -> QuerySet[Any, Any]:
    trades = Trade.objects.order_by().values_list("pk")
    if key == "queue":
        return of_queues([value]).order_by().values_list("trade_id").distinct()
    if key in COLUMN:
        return trades.filter(**{COLUMN[key]: value})
    if key == "party":
        return trades.filter(parties__in=texts.get(value, []))
    if key == "owner":
        return trades.filter(Q(owner__isnull=True) if value == "none" else Q(owner__username=query.filters.me if value == "me" else value))
    if key == "flagged":
        return trades.filter(flagged_count__gt=0)
    return trades.filter(pk__in=TradeException.objects.filter(kind=value.upper(), acknowledged_at__isnull=True).values("trade"))
