"""The outbox as a list: what waits, what fails, what was sent and what was cancelled."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from trades import outbox, sqs
from trades.models import Publication
from trades.web import counting, keyset, words
from trades.web.access import PUBLISH, SEE, needs
from trades.web.addresses import trade_url
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.names import all_queues, are_many_queues
from trades.web.words import Badge

SIZE = 50
LONGEST_ERROR = 240
SENT_THROUGH_S3 = "through S3"
State = Publication.State

SENT = Badge("Sent", "ok", "circle-check")
SWALLOWED = Badge("Taken for a repeat", "warn", "copy")
WAITING = Badge("Waiting", "warn", "clock")
FAILING = Badge("Failing", "bad", "circle-x")
UNCERTAIN = Badge("Perhaps in the queue", "warn", "send")
CANCELLED = Badge("Cancelled", "void", "ban")


@dataclass(frozen=True, slots=True)
class View:
    """One way of looking at the outbox: its word, which rows, in which order, and what an empty one says."""

    word: str
    rows: Q
    ordering: keyset.Ordering
    empty: str


# What waits goes out from its beginning; everything else is news.
VIEWS = {
    "waiting": View("Waiting", Q(state=State.PENDING), keyset.Ordering("outbox-waiting", ascends=True), "Nothing waits to be sent"),
    "failing": View("Failing", Q(state=State.PENDING, attempts__gt=0), keyset.Ordering("outbox-failing"), "Nothing fails"),
    "sent": View("Sent", Q(state=State.SENT), keyset.Ordering("outbox-sent"), "Nothing was sent yet"),
    "cancelled": View("Cancelled", Q(state=State.CANCELLED), keyset.Ordering("outbox-cancelled"), "Nothing was cancelled"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One publication as a list shows it."""

    pk: int
    href: str
    summary: str
    trade: str
    trade_href: str
    group_id: str
    queue: str
    made: SafeString
    age: SafeString
    attempts: int
    error: str
    badge: Badge
    notes: Sequence[str]
    sent: SafeString | str


@dataclass(frozen=True, slots=True)
class Tab:
    """A view to choose: its word, how many rows it has ("" where that is not counted), its address."""

    word: str
    count: str
    href: str
    is_chosen: bool
    is_bad: bool


class SearchForm(forms.Form):
    """What the list is narrowed to: an id, and a queue."""

    q = forms.CharField(required=False, max_length=255)
    queue = forms.CharField(required=False, max_length=80)


@needs(SEE)
@require_safe
def outbox_list(request: HttpRequest) -> HttpResponse:
    """The publications of one view, narrowed to an id and a queue; for htmx whether there is news."""
    name = request.GET.get("view", "")
    name = name if name in VIEWS else "waiting"
    view, asked, now = VIEWS[name], _asked(request), timezone.now()
    counts = outbox.counts(now)
    mark = f"{counts.pending}.{counts.failing}.{counts.uncertain}"
    if wants_fragment(request):
        return _news(request.GET.get("seen", ""), mark)
    rows = narrowed(Publication.objects.filter(view.rows), asked)
    page = keyset.page(rows.defer("body", "document__content").select_related("document"), view.ordering, size=SIZE, params=request.GET)
    query = _query(name, asked)
    context = {
        "page": page,
        "rows": listed(page.rows, now),
        "view": name,
        "empty": view.empty,
        "tabs": _tabs(name, counts, asked),
        "asked": asked,
        "queues": all_queues() if are_many_queues() or asked["queue"] else [],
        "pager_query": f"&{query}" if query else "",
        "news": "" if asked["q"] or page.newer else f"{reverse('outbox')}?{urlencode({'view': name, 'seen': mark})}",
        "cancelled": _cancelled() if name == "waiting" and not page.rows else 0,
        "warning": outbox.horizon_warning(counts.near_horizon) if counts.near_horizon else "",
        "oldest": words.age_tag(counts.oldest, now) if counts.oldest else "",
        "may_act": request.user.has_perm(PUBLISH) and name != "cancelled" and bool(page.rows),
    }
    return render(request, "trades/outbox.html", context)


def _cancelled() -> counting.Counted:
    """How many publications were cancelled, as far as they are counted. One query."""
    rows = Publication.objects.filter(VIEWS["cancelled"].rows).order_by("-id").values_list("pk")
    return counting.count({"cancelled": counting.Leg(rows)})["cancelled"]


def narrowed(rows: QuerySet[Publication], asked: Mapping[str, str]) -> QuerySet[Publication]:
    """Those of the publications with an id (of the publication, the message, the trade or the group) and of a queue."""
    text = asked["q"]
    if text:
        by = Q(message_id=text) | Q(trade_id=text) | Q(group_id=text)
        rows = rows.filter(by | Q(publication_id=found) if (found := _uuid(text)) else by)
    return rows.filter(queue=asked["queue"]) if asked["queue"] else rows


def listed(rows: Sequence[Publication], now: datetime) -> list[Row]:
    """The publications put into words; their texts are not looked at."""
    return [
        Row(
            pk=row.pk,
            href=reverse("publication", args=[row.publication_id]),
            summary=row.summary or f"Publication {row.publication_id}",
            trade=row.trade_id,
            trade_href=trade_url(row.trade_id) if row.trade_id else "",
            group_id=row.group_id,
            queue=row.queue,
            made=words.time_tag(row.created_at, now),
            age=words.age_tag(row.created_at, now),
            attempts=row.attempts,
            error=words.cut(row.last_error, LONGEST_ERROR),
            badge=badge_of(row),
            notes=notes_of(row),
            sent=words.time_tag(row.sent_at, now) if row.sent_at else "",
        )
        for row in rows
    ]


def badge_of(row: Publication) -> Badge:
    """How a publication stands."""
    if row.state == State.SENT:
        return SWALLOWED if row.swallowed else SENT
    if row.state == State.CANCELLED:
        return CANCELLED
    if row.uncertain_since is not None:
        return UNCERTAIN
    return FAILING if row.attempts else WAITING


def notes_of(row: Publication) -> list[str]:
    """What else a list says of it."""
    return [
        f"{row.document.name}" + (f", message {row.part}" if row.part > 1 else ""),
        *([f"route {row.route}"] if row.route else []),
        *([f"{row.size:,} bytes {SENT_THROUGH_S3}"] if row.pointer or row.size > sqs.MAX_MESSAGE_BYTES else []),
    ]


def _asked(request: HttpRequest) -> dict[str, str]:
    form = SearchForm(request.GET)
    form.is_valid()
    text = {name: form.cleaned_data.get(name, "").strip().replace("\0", "") for name in ("q", "queue")}
    return text if text["queue"] in {"", *all_queues()} else text | {"queue": ""}


def _news(seen: str, mark: str) -> HttpResponse:
    return nothing_new() if seen == mark else fragment(HttpResponse("The outbox has changed"))


def _tabs(chosen: str, counts: outbox.Counts, asked: Mapping[str, str]) -> list[Tab]:
    of = {"waiting": counts.pending, "failing": counts.failing}
    return [
        Tab(
            view.word,
            f"{of[name]:,}" if name in of else "",
            f"{reverse('outbox')}?{_query(name, {'queue': asked['queue']})}".rstrip("?"),
            name == chosen,
            name == "failing" and bool(counts.failing),
        )
        for name, view in VIEWS.items()
    ]


def _query(view: str, asked: Mapping[str, str]) -> str:
    kept = {"view": "" if view == "waiting" else view, **asked}
    return urlencode({name: value for name, value in kept.items() if value})


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
