"""The blotter: the list of trades, newest first, which keeps itself current."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core.cache import cache
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe
from django_htmx.http import trigger_client_event

from trades.models import Event, Message, Trade
from trades.web import keyset, words
from trades.web.access import SEE, needs
from trades.web.addresses import trade_url
from trades.web.context import waiting_for
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.trade_query import NEWEST, SIZES, VIEWS, TradeQuery, count_views

COUNTS_LAST = 2  # seconds; counting reads every trade, and the page asks every three seconds
COLUMNS = (
    "id", "trade_id", "state", "status", "last_class", "event_count", "flagged_count", "product", "parties", "notional", "trade_date",
    "updated_at",
)  # fmt: skip
# The position of a trade's last event in business order: one look into an index for each row shown.
LAST_BY_BUSINESS = Event.objects.filter(trade=OuterRef("pk"), place=OuterRef("event_count")).values("position")[:1]
LONG = 17  # characters; shorter text fits its cell and needs no title
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """One trade as the table shows it: every cell ready."""

    pk: int
    href: str
    trade_id: str
    state: SafeString
    status: SafeString
    last_class: str
    last_title: str
    events: SafeString
    product: SafeString
    parties: SafeString
    notional: SafeString
    trade_date: str
    updated: SafeString
    changed: bool


@dataclass(frozen=True, slots=True)
class Tab:
    """A view over the list with its number of trades and its address."""

    name: str
    count: int
    tone: str
    href: str
    is_current: bool


@needs(SEE)
@require_safe
def blotter(request: HttpRequest) -> HttpResponse:
    """The blotter page, or for htmx what changes on it: 204 when nothing did since the version that the request names."""
    query = TradeQuery(request.GET)
    trades = Trade.objects.only(*COLUMNS).annotate(last_by_business=Subquery(LAST_BY_BUSINESS))
    page = keyset.page(query.apply(trades), NEWEST, size=query.size, params=request.GET)
    counts = cache.get_or_set("blotter-counts", count_views, COUNTS_LAST) or {}
    version = _version(page.rows, counts, waiting_for(request).quarantined)
    seen = request.GET.get("seen", "")
    if wants_fragment(request) and seen == version:
        return nothing_new()
    since = _newest_of(seen) if wants_fragment(request) else None
    tabs = [Tab(view.name, counts[view.key], view.tone, view.address(query), view.is_shown_by(query)) for view in VIEWS]
    context = _context(request, query, page, since) | {"tabs": tabs, "total": _total(query, tabs), "version": version}
    if not wants_fragment(request):
        return fragment(render(request, "trades/blotter.html", context))
    response = render(request, "trades/blotter_rows.html", context)
    return fragment(trigger_client_event(response, "quarantined", {"count": waiting_for(request).quarantined}))


def _context(request: HttpRequest, query: TradeQuery, page: keyset.Page[Trade], since: datetime | None) -> dict[str, object]:
    now = timezone.now()
    paused = request.GET.get("live") == "off"
    return {
        "query": query,
        "filter_fields": [query.form["state"], query.form["status"]],
        "chips": query.chips(),
        "page": page,
        "rows": [row_of(trade, now, since) for trade in page.rows],
        "here": query.address(),
        "paused": paused,
        "live": page.is_first and not paused and not page.bad_cursor,
        "pause": query.address(drop=["live"]) if paused else query.address(live="off"),
        "sizes": [(size, query.address(n=str(size)), size == query.size) for size in SIZES],
        "newer": query.address(before=page.newer) if page.newer else "",
        "older": query.address(after=page.older) if page.older else "",
        "in_quarantine": _in_quarantine(query) if not page.rows else 0,
    }


def row_of(trade: Trade, now: datetime, since: datetime | None = None) -> Row:
    """A trade put into words; marked as changed if it was updated after `since`."""
    return Row(
        pk=trade.pk,
        href=trade_url(trade.trade_id),
        trade_id=trade.trade_id,
        state=words.STATES[trade.state].__html__(),
        status=words.STATUSES[trade.status].__html__() if trade.status else words.ABSENT,
        last_class=words.class_word(trade.last_class),
        last_title=_last_by_business(trade),
        events=_events(trade),
        product=_cell(trade.product),
        parties=_cell(trade.parties),
        notional=_cell(words.grouped(trade.notional)),
        trade_date=words.day(trade.trade_date) or words.ABSENT,
        updated=words.time_tag(trade.updated_at, now),
        changed=since is not None and trade.updated_at > since,
    )


def _last_by_business(trade: Trade) -> str:
    """Which event is the last in business order, where it is not the one that arrived last."""
    last = getattr(trade, "last_by_business", None)
    return f"The event that arrived last. In business order, event {last} is the last." if last not in (None, trade.event_count) else ""


def _cell(text: str) -> SafeString:
    """The cell of a text that is cut where it is too long for it; then the whole of it is its title."""
    title = format_html(' title="{}"', text) if len(text) > LONG else ""
    return format_html("<td{}>{}</td>", title, text or words.ABSENT)


def _events(trade: Trade) -> SafeString:
    if not trade.flagged_count:
        return format_html("{}", trade.event_count)
    flagged = f"{trade.flagged_count} flagged"
    return format_html(
        '<span class="flag" title="{}">{}<span class="vh">{}, </span></span> {}', flagged, words.icon("flag"), flagged, trade.event_count
    )


def _total(query: TradeQuery, tabs: Sequence[Tab]) -> int | None:
    """How many trades the list has, None where nobody counted: then text or a status narrows a tab."""
    current = next((tab for tab in tabs if tab.is_current), None)
    return current.count if current and not query.text and not query.statuses else None


def _in_quarantine(query: TradeQuery) -> int:
    """How many quarantined messages hold the text that no trade matches."""
    if not query.text:
        return 0
    return Message.objects.filter(outcome=Message.Outcome.QUARANTINED, body__contains=query.text).count()


def _version(rows: Sequence[Trade], counts: dict[str, int], quarantined: int) -> str:
    """What the page shows, as a short mark: the newest update in microseconds, and a digest of all that may change."""
    shown = [(trade.pk, trade.updated_at.isoformat()) for trade in rows]
    digest = hashlib.sha256(repr((shown, counts, quarantined)).encode()).hexdigest()[:16]
    newest = max((trade.updated_at for trade in rows), default=EPOCH)
    return f"{(newest - EPOCH) // timedelta(microseconds=1)}-{digest}"


def _newest_of(version: str) -> datetime | None:
    microseconds = version.partition("-")[0]
    if not microseconds.isascii() or not microseconds.isdigit() or len(microseconds) > 16:
        return None
    return EPOCH + timedelta(microseconds=int(microseconds))
