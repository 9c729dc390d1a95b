"""The blotter: the list of trades, newest first, which keeps itself current."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from trades.models import Message, SavedView, Trade, Worker
from trades.web import choosing, columns, counting, figures, keyset, tabs
from trades.web.access import SEE, needs
from trades.web.columns import Column, Row
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.preferences import YEAR
from trades.web.saved_views import own_views, query_of
from trades.web.trade_filter import LABELS, SIZES
from trades.web.trade_query import TradeQuery

COLUMNS_COOKIE = "columns"
LOOKED_THROUGH = 1_000  # messages in quarantine, the newest, for a text that no trade has
SHOWN = "X-Shown"  # what the browser has: a mark of the figures, then "row.mark" for each row, in order
HEADS = "X-Columns"  # the columns that it has, which another tab may have chosen anew since


@needs(SEE)
@require_safe
def blotter(request: HttpRequest) -> HttpResponse:
    """The blotter page; for htmx one filter's menu, or, with what the browser has, the rows that changed: 204 when none did."""
    own = own_views(request)
    query = query_of(request, own)
    opened = request.GET.get("choose", "")
    if wants_fragment(request) and opened in LABELS:
        menu = choosing.menu(query, opened, is_open=True, find=request.GET.get("find", "")[:100])
        return fragment(render(request, "trades/blotter_menu.html", {"menu": menu, "query": query}))
    if wants_fragment(request) and opened == "columns":
        return fragment(render(request, "trades/blotter_columns.html", _chooser(request, query)))
    shown = columns_of(request, query)
    page = query.page(columns.for_rows(Trade.objects.all(), shown))
    context = _listed(request, query, page, shown) | _around(request, query, own)
    context["version"] = _version(context)
    if wants_fragment(request) and (has := request.headers.get(SHOWN)) is not None:
        return _refresh(request, context, has.split())
    context |= _controls(request, query, opened)
    return remembered(request, query, fragment(render(request, "trades/blotter.html", context)))


def columns_of(request: HttpRequest, query: TradeQuery) -> tuple[Column, ...]:
    """The columns to show: those that an open page has, else those of the address, else those chosen last in this browser."""
    stated = [request.headers[HEADS]] if HEADS in request.headers else query.values("cols")
    return columns.chosen(query, stated or [request.COOKIES.get(COLUMNS_COOKIE, "")])


def remembered(request: HttpRequest, query: TradeQuery, response: HttpResponse) -> HttpResponse:
    """Keep columns that the address states for the next visit."""
    if stated := request.GET.getlist("cols"):
        keys = ",".join(column.key for column in columns.chosen(query, stated))
        response.set_cookie(COLUMNS_COOKIE, keys, max_age=YEAR, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax")
    return response


def _listed(request: HttpRequest, query: TradeQuery, page: keyset.Page[Trade], shown: Sequence[Column]) -> dict[str, Any]:
    """The rows and what stands under them."""
    now = timezone.now()
    return {
        "query": query,
        "page": page,
        "rows": [columns.row_of(trade, shown, now) for trade in page.rows],
        "heads": columns.heads(shown, query),
        "span": len(shown) + 1,
        "keys": ",".join(column.key for column in shown),
        "width": columns.least_width(shown),
        "here": query.address(),
        "is_live": request.GET.get("live") != "off",
        "is_still": not page.is_first or query.sort != "-updated",
        "at": {key: request.GET[key] for key in ("after", "before") if request.GET.get(key)},
        "sizes": [(size, query.address(n=str(size)), size == query.size) for size in SIZES],
        "newer": query.address(before=page.newer) if page.newer else "",
        "older": query.address(after=page.older) if page.older else "",
        "chips": query.chips(),
        **(_nothing(query) if not page.rows else {}),
    }


def _around(request: HttpRequest, query: TradeQuery, own: Sequence[SavedView]) -> dict[str, Any]:
    """The strip and the tabs, with everything that has to be counted counted at once."""
    legs = figures.legs(timezone.now()) | tabs.legs(request.user.pk)
    if leg := query.leg():
        legs["total"] = leg
    counts = counting.count(legs)
    exceptions = figures.open_exceptions()
    return {
        "figures": figures.figures(counts),
        "tabs": tabs.tabs(query, own, request.user.pk, counts, exceptions),
        "total": query.total(counts.get("total")),
        "view": request.GET.get("view", "") if query.view else "",
    }


def _controls(request: HttpRequest, query: TradeQuery, opened: str) -> dict[str, Any]:
    """The filter bar, and what else only a whole page needs."""
    chooser = _chooser(request, query) if opened == "columns" else {}
    return {
        "menus": choosing.menus(query, opened, request.GET.get("find", "")[:100]),
        "pause": query.address(drop=["live"]) if request.GET.get("live") == "off" else query.address(live="off"),
        "list_kept": query.kept("live"),  # where nothing is ticked, what is exported is the list
        "sort_kept": [(key, value) for key, value in query.kept("q") if key in ("sort", "n", "view", "cols", "live")],
        **chooser,
    }


def _chooser(request: HttpRequest, query: TradeQuery) -> dict[str, Any]:
    """What the menu of columns needs."""
    shown = {column.key for column in columns_of(request, query)}
    return {
        "columns": [(column, column.key in shown) for column in columns.offered(query)],
        "default_columns": query.address(cols=",".join(columns.usual(query))),
        "columns_kept": query.kept("cols"),
    }


def _refresh(request: HttpRequest, context: dict[str, Any], has: list[str]) -> HttpResponse:
    rows: Sequence[Row] = context["rows"]
    if has == [context["version"], *(f"r{row.pk}.{row.mark}" for row in rows)]:
        return nothing_new()
    had = set(has[1:])
    changed = [row for row in rows if f"r{row.pk}.{row.mark}" not in had]
    return fragment(render(request, "trades/blotter_refresh.html", context | {"rows": changed, "is_empty": not rows, "order": rows}))


def _version(context: dict[str, Any]) -> str:
    """A mark of what may change around the rows."""
    around = [str(context["total"]), context["newer"] == "", context["older"] == ""]
    around += [(tab.key, str(tab.count)) for tab in context["tabs"]]
    around += [(figure.key, figure.value, figure.told) for figure in context["figures"]]
    return hashlib.sha256(repr(around).encode()).hexdigest()[:12]


def _nothing(query: TradeQuery) -> dict[str, Any]:
    """Why there is nothing, and what to do."""
    if query.is_filtered:
        return {"in_quarantine": _in_quarantine(query.text) if query.text else 0}
    return {"worker": Worker.objects.order_by("-seen_at").first()}


def _in_quarantine(text: str) -> int:
    """How many of the newest quarantined messages hold the text that no trade has."""
    newest = Message.objects.filter(outcome=Message.Outcome.QUARANTINED).order_by("-id").values("pk")[:LOOKED_THROUGH]
    return Message.objects.filter(Q(body__contains=text) | Q(stated_trade_id=text), pk__in=newest).count()
