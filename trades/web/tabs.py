"""The tabs over the blotter: views with their counts, and the views that a person keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db.models import Q
from django.http import QueryDict
from django.urls import reverse

from trades.lifecycle import State, Status
from trades.models import SavedView, Trade
from trades.web.counting import Counted, Leg
from trades.web.figures import IN_PROGRESS, in_progress
from trades.web.trade_query import NARROWING, TradeQuery, query_part


@dataclass(frozen=True, slots=True)
class View:
    """A tab over the list: a name, the filters it stands for, and the condition that counts them."""

    key: str
    name: str
    query: str
    condition: Q | None  # None: what is in progress
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Tab:
    """A view as the page shows it."""

    key: str
    name: str
    count: Counted | None
    tone: str
    href: str
    is_current: bool = False
    is_own: bool = False


def views(person: int | None) -> tuple[View, ...]:
    """The views that everybody has; the last is of what the person owns."""
    return (
        View("all", "All", "", Q()),
        View("progress", "In progress", IN_PROGRESS, None),
        View("pending", "Pending", "?state=PENDING", Q(state=State.PENDING.value), "warn"),
        View("confirmed", "Confirmed", "?status=CONFIRMED", Q(status=Status.CONFIRMED.value)),
        View("settled", "Settled", "?status=SETTLED", Q(status=Status.SETTLED.value)),
        View("cancelled", "Cancelled", "?state=CANCELLED", Q(state=State.CANCELLED.value)),
        View("mine", "Mine", "?owner=me", Q(owner=person)),
    )


def legs(person: int | None) -> dict[str, Leg]:
    """What has to be counted for the tabs."""
    trades = Trade.objects.order_by().values_list("pk")
    return {
        f"tab {view.key}": Leg(trades.filter(view.condition) if view.condition is not None else in_progress()) for view in views(person)
    }


def tabs(query: TradeQuery, own: Iterable[SavedView], person: int | None, counts: Mapping[str, Counted], exceptions: Counted) -> list[Tab]:
    """The tabs, with the one that the address shows marked."""
    asked = {key: query.values(key) for key in NARROWING if query.values(key)}
    view_name = query.params.get("view", "")
    of_everybody = views(person)
    current = next((view.key for view in of_everybody if asked == dict(QueryDict(view.query.removeprefix("?")).lists())), "all")
    shown = []
    for view in of_everybody:
        filters = QueryDict(view.query.removeprefix("?"))
        is_current = not query.view and view.key == current
        count = counts[f"tab {view.key}"]
        shown.append(Tab(view.key, view.name, count, view.tone if count else "", _href(query, filters), is_current))
    shown.insert(1, Tab("exceptions", "Exceptions", exceptions, "bad" if exceptions else "", reverse("exceptions")))
    for kept in own:
        href = query_part({"view": [kept.name]})
        shown.append(Tab(f"own{kept.pk}", kept.name, None, "", href, bool(query.view) and kept.name == view_name, is_own=True))
    return shown


def _href(query: TradeQuery, filters: QueryDict) -> str:
    """The address of a view; order, columns and number of rows are kept."""
    kept = {} if query.view else {key: query.values(key) for key in ("sort", "cols", "n", "live") if query.values(key)}
    return query_part(kept | dict(filters.lists()))
