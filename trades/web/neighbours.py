"""The list that a trade was opened from: its place there, and the trades before and after it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import BooleanField, Case, Q, Value, When
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from trades.models import Trade
from trades.web.addresses import TradeAddress
from trades.web.saved_views import query_of

MOST_COUNTED = 200  # places of a list that are counted


@dataclass(frozen=True, slots=True)
class Listed:
    """Where the list is, the trade's place in it, and the trades beside it ("" where the list ends)."""

    href: str
    place: str
    previous: str
    next: str


def listed_query(request: HttpRequest) -> str | None:
    """The query of the blotter that the page was reached from, None where it was reached otherwise or its address states one."""
    referer = request.headers.get("Referer", "")
    if "from" in request.GET or not url_has_allowed_host_and_scheme(referer, {request.get_host()}, require_https=request.is_secure()):
        return None
    path, _, query = referer.partition("#")[0].partition("?")
    return query if path in {request.build_absolute_uri(reverse(name)) for name in ("blotter", "trades")} else None


def listed(request: HttpRequest, trade: Trade, query: str | None) -> Listed | None:
    """The trade's neighbours in the list with this query, None where it was opened from none. Three queries at most: for the saved view,
    what few match, and the neighbours."""
    if query is None:
        return None
    found = query_of(request, params=QueryDict(query))
    rows, ordering = found.apply(Trade.objects.all()), found.ordering
    before = rows.filter(ordering.beyond(ordering.value(trade), trade.pk, later=False))
    after = rows.filter(ordering.beyond(ordering.value(trade), trade.pk, later=True))
    above = before.order_by(*ordering.fields("")).values("pk")[:MOST_COUNTED]
    below = after.order_by(*ordering.fields("-")).values("pk")[:1]
    is_after = Case(When(pk__in=below, then=Value(True)), default=Value(False), output_field=BooleanField())
    beside = Trade.objects.filter(Q(pk__in=above) | Q(pk__in=below)).annotate(is_after=is_after).order_by(*ordering.fields(""))
    rows_before: list[Trade] = []
    following = ""
    for row in beside.only("trade_id", "scheme"):
        if getattr(row, "is_after", False):
            following = _address(row, query)
        else:
            rows_before.append(row)
    place = len(rows_before) + 1
    said = f"{place:,} in this list" if place <= MOST_COUNTED else f"beyond {MOST_COUNTED:,} in this list"
    previous = _address(rows_before[0], query) if rows_before else ""
    return Listed(reverse("trades") + (f"?{query}" if query else ""), said, previous, following)


def _address(trade: Trade, query: str) -> str:
    return TradeAddress(trade.trade_id, trade.scheme or None).page(**{"from": query})
