"""A trade at a glance, beside the list: its facts, its last events, and what the newest of them changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from trades.models import Event, Trade
from trades.web import columns, words
from trades.web.access import SEE, needs
from trades.web.addresses import TradeAddress
from trades.web.fragments import fragment, wants_fragment
from trades.web.saved_views import query_of
from trades.web.words import Badge

EVENTS = 5
MOST_CHANGES = 12
LONGEST = 80


@dataclass(frozen=True, slots=True)
class Line:
    """One event of a trade."""

    href: str
    position: int
    badge: Badge
    status: str
    recorded: SafeString


@dataclass(frozen=True, slots=True)
class Change:
    """One value that an event states otherwise than the event before it."""

    name: str
    before: str
    after: str


@needs(SEE)
@require_safe
def preview(request: HttpRequest, pk: int) -> HttpResponse:
    """A trade at a glance. htmx gets the panel alone; the page of its own has links to the trades beside it in the list."""
    rows = columns.for_rows(Trade.objects.select_related("owner"), [columns.BY_KEY["owner"]])
    trade = get_object_or_404(rows, pk=pk)
    now, address = timezone.now(), TradeAddress(trade.trade_id)
    events = list(Event.objects.filter(trade=trade, position__gt=trade.event_count - EVENTS - 1).order_by("-position"))
    changed = list(_changes(events[1].details, events[0].details)) if len(events) > 1 else []
    context = {
        "trade": trade,
        "href": address.page(),
        "state": words.STATES[trade.state],
        "status": words.STATUSES.get(trade.status),
        "level": columns.level(trade, now),
        "age": words.age_tag(trade.status_since, now),
        "facts": list(_facts(trade)),
        "events": [_line(event, address, now) for event in events[:EVENTS]],
        "changes": changed[:MOST_CHANGES],
        "more_changes": len(changed) - MOST_CHANGES,
        "newest": trade.event_count,
    }
    if not wants_fragment(request):
        query = query_of(request)
        before, after = query.beside(trade)
        context["beside"] = [
            (word, reverse("preview", args=[other.pk]) + query.address()) for word, other in (("Newer", before), ("Older", after)) if other
        ]
        context["list"] = reverse("trades") + query.address()
    return fragment(render(request, "trades/preview.html" if wants_fragment(request) else "trades/preview_page.html", context))


def _facts(trade: Trade) -> Iterator[tuple[str, SafeString | str]]:
    yield "Product", trade.product or words.ABSENT
    yield "Parties", trade.parties or words.ABSENT
    yield "Notional or quantity", words.grouped(trade.notional) or words.ABSENT
    yield "Trade date", words.day(trade.trade_date) or words.ABSENT
    yield "Version", words.ABSENT if trade.version is None else str(trade.version)
    yield "First seen", words.full_tag(trade.first_seen_at)
    yield "Updated", words.full_tag(trade.updated_at)
    yield "Owner", trade.owner.get_username() if trade.owner else words.ABSENT


def _line(event: Event, address: TradeAddress, now: Any) -> Line:
    badge = words.CLASSES.get(event.event_class, Badge(event.event_class, "", "circle-dot"))
    return Line(address.event(event.position), event.position, badge, event.status, words.time_tag(event.recorded_at, now))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What the later of two events states otherwise. What it does not state is no change."""
    for name, value in after.items():
        if value not in (None, "", before.get(name)):
            yield Change(words.spaced(name).capitalize(), _shown(before.get(name)), _shown(value))


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, Mapping):
        return words.cut(", ".join(filter(None, map(_shown, value.values()))), LONGEST)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return words.cut("; ".join(filter(None, map(_shown, value))), LONGEST)
    return words.cut(words.grouped(str(value)), LONGEST)
