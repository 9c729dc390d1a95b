"""The list of what could not be understood: what is open and what was settled. Beside it, what was understood and is no trade event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.cache import cache
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from trades.models import AuditEntry, Event, Hold, Message
from trades.web import keyset, reasons, words
from trades.web.access import SEE, SETTLE, needs
from trades.web.addresses import trade_url
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.names import all_queues, are_many_queues
from trades.web.trade_view import event_address, message_address

NEWEST = keyset.Ordering("quarantine")
NEWEST_SETTLED = keyset.Ordering("settled", "settled_at")
NEWEST_REFERENCE = keyset.Ordering("reference")
SIZE = 50
COUNTED = 5_000  # rows, the newest, of which reasons are counted
COUNTS_LAST = 2  # seconds
LONGEST_REASON = 240
LONGEST_KEY = 18  # digits
Outcome = Message.Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """One message as a list shows it."""

    pk: int
    href: str
    reason: str
    place: str
    code: str
    kind: str
    trade: SafeString
    group_id: str
    queue: str
    message_id: str
    received: SafeString
    age: SafeString
    waiting: int
    state: SafeString
    marks: SafeString
    became: SafeString | str
    may_be_undone: bool
    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One reason or queue to filter by: its words, how many messages have it (None: not counted), and the address with it (without
    it, where it is chosen)."""

    word: str
    count: int | None
    href: str
    is_chosen: bool


class SearchForm(forms.Form):
    """What a list is narrowed to: text that a message's body, group, trade or id holds, a reason code, and a queue."""

    q = forms.CharField(required=False, max_length=255)
    code = forms.SlugField(required=False, max_length=40)
    queue = forms.CharField(required=False, max_length=80)


@needs(SEE)
@require_safe
def quarantine_list(request: HttpRequest) -> HttpResponse:
    """The messages in quarantine, newest first; with `view=settled` those that people settled, the last settled first."""
    is_settled = request.GET.get("view") == "settled"
    rows = settled_messages() if is_settled else Message.objects.filter(outcome=Outcome.QUARANTINED)
    view = {"view": "settled"} if is_settled else {}
    ordering = NEWEST_SETTLED if is_settled else NEWEST
    if wants_fragment(request):
        return _news(request)
    context = _list_context(request, rows.annotate(waiting=waiting_behind()), ordering, view)
    newest = max((row.pk for row in context["rows"]), default=0)
    context |= {
        "news": "" if is_settled or context["page"].newer else f"{reverse('quarantine')}?{_query({}, context['asked'], seen=str(newest))}",
        "is_settled": is_settled,
        "choices": _choices(rows, ordering, view, context["asked"]),
        "last": (last := None if context["rows"] or is_settled else _last_settled()),
        "last_was": reasons.became(last) if last else "",
        "may_tick": any(row.may_be_undone for row in context["rows"]) if is_settled else bool(context["rows"]),
        "may_settle": request.user.has_perm(SETTLE),
    }
    return render(request, "trades/quarantine.html", context)


@needs(SEE)
@require_safe
def reference_list(request: HttpRequest) -> HttpResponse:
    """The messages that were understood and are no trade events, newest first."""
    rows = Message.objects.filter(outcome=Outcome.REFERENCE)
    return render(request, "trades/reference.html", _list_context(request, rows, NEWEST_REFERENCE, {}))


def _news(request: HttpRequest) -> HttpResponse:
    """How many messages came into quarantine after the newest one that somebody sees: "3 new messages", 204 for none."""
    seen = request.GET.get("seen", "")
    if not seen.isdecimal() or len(seen) > LONGEST_KEY:
        return nothing_new()
    rows = Message.objects.filter(outcome=Outcome.QUARANTINED, pk__gt=int(seen))
    count = _narrowed(rows, _asked(request)).values("pk")[:COUNTED].count()
    return fragment(HttpResponse(words.plural(count, "new message"))) if count else nothing_new()


def settled_messages() -> QuerySet[Message]:
    """The messages that people replayed, corrected or discarded."""
    return Message.objects.filter(settled_at__isnull=False)


def waiting_behind() -> Coalesce:
    """Per message, how many are held in the group that it holds up. Only the message that the hold names has any behind it."""
    held = Message.objects.filter(outcome=Outcome.HELD, queue=OuterRef("queue"), group_id=OuterRef("group_id"))
    behind = Hold.objects.filter(message=OuterRef("pk")).annotate(
        n=Subquery(held.order_by().values("group_id").annotate(n=Count("pk")).values("n"))
    )
    return Coalesce(Subquery(behind.values("n")[:1]), 0)


def listed(rows: Sequence[Message], now: datetime) -> list[Row]:
    """The messages put into words; their bodies are not looked at. One query where some of them are settled."""
    events = _events_of([row.pk for row in rows if row.settled_at is not None])
    return [
        Row(
            pk=row.pk,
            href=message_address(row),
            reason=words.cut(reasons.plain(row.reason), LONGEST_REASON),
            place=words.place(row.line, row.column),
            code=reasons.code_word(row.code),
            kind=", ".join(name for name in (row.message_type, row.dialect) if name),
            trade=_trade_of(row, events.get(row.pk)),
            group_id=row.group_id,
            queue=row.queue,
            message_id=row.message_id,
            received=words.time_tag(row.received_at, now),
            age=words.age_tag(row.received_at, now),
            waiting=getattr(row, "waiting", 0),
            state=_state(row, now),
            marks=_marks(row),
            became=_became(events.get(row.pk)),
            may_be_undone=row.outcome == Outcome.DISCARDED,
            name=f"{reasons.code_word(row.code) if row.code else 'message'}, received {words.full(row.received_at)}",
        )
        for row in rows
    ]


def _events_of(keys: Sequence[int]) -> dict[int, Event]:
    """An event that each of these messages, or the one that corrects it, was recorded as."""
    if not keys:
        return {}
    brought = Q(message__in=keys) | Q(message__corrects__in=keys)
    rows = Event.objects.filter(brought).select_related("trade", "message").defer("details", "message__body", "message__attributes")
    found: dict[int, Event] = {}
    for event in rows.order_by("-part"):
        original = event.message.corrects_id
        found[original if original in keys and original is not None else event.message_id] = event
    return found


def _became(event: Event | None) -> SafeString | str:
    return format_html('<a href="{}">Event {}</a>', event_address(event), event.position) if event else ""


def _trade_of(message: Message, event: Event | None) -> SafeString:
    if event is None:
        return trade_link(message)
    return format_html('<a class="id" href="{}">{}</a>', trade_url(event.trade.trade_id), event.trade.trade_id)


def trade_link(message: Message) -> SafeString:
    """The trade that a refused message names, with a link to where it is or would be."""
    named = message.stated_trade_id
    return format_html('<a class="id" href="{}">{}</a>', trade_url(named), named) if named else words.ABSENT


def _state(row: Message, now: datetime) -> SafeString:
    badge = reasons.standing(row)
    return format_html("{} {}", badge, words.time_tag(row.settled_at, now)) if row.settled_at else format_html("{}", badge)


def _marks(row: Message) -> SafeString:
    """What else there is to know of a message at a glance."""
    marks = []
    if row.via_dead_letter:
        marks.append(words.Badge("From the dead-letter queue", "warn", "triangle-alert"))
    if row.conflicts_with_id is not None:
        marks.append(words.Badge("Same publication, other content", "warn", "copy"))
    return format_html_join(" ", "{}", ((mark,) for mark in marks))


def _asked(request: HttpRequest) -> dict[str, str]:
    form = SearchForm(request.GET)
    form.is_valid()
    return {name: form.cleaned_data.get(name, "") for name in ("q", "code", "queue")}


def _narrowed(rows: QuerySet[Message], asked: Mapping[str, str]) -> QuerySet[Message]:
    if text := asked["q"]:
        rows = rows.filter(Q(body__contains=text) | Q(group_id=text) | Q(message_id=text) | Q(stated_trade_id=text))
    return rows.filter(**{name: asked[name] for name in ("code", "queue") if asked[name]})


def _list_context(request: HttpRequest, rows: QuerySet[Message], ordering: keyset.Ordering, kept: Mapping[str, str]) -> dict[str, Any]:
    asked = _asked(request)
    rows, text, large = _narrowed(rows, asked), asked["q"], _too_large(rows, asked)
    queues = all_queues() if are_many_queues() or asked["queue"] else []
    page = keyset.page(rows.defer("body", "attributes"), ordering, size=SIZE, params=request.GET)
    query = _query(kept, asked)
    return {
        "page": page,
        "rows": listed(page.rows, timezone.now()),
        "text": text,
        "tabs": cache.get_or_set("message-tabs", _count_tabs, COUNTS_LAST),
        "code": reasons.code_word(asked["code"]) if asked["code"] else "",
        "asked": asked,
        "kept": dict(kept) | {name: asked[name] for name in ("code", "queue") if asked[name]},
        "queues": queues,
        "by_queue": [_queue_choice(queue, kept, asked) for queue in queues],
        "passed_over": large,
        "pager_query": f"&{query}" if query else "",
        "without_text": "?" + _query(kept, asked, q=""),
        "without_code": "?" + _query(kept, asked, code=""),
    }


def _too_large(rows: QuerySet[Message], asked: Mapping[str, str]) -> bool:
    """Whether the text that is looked for may be in a message that is too large to be looked through."""
    return bool(asked["q"]) and rows.filter(payload__isnull=False).exists()


def _queue_choice(queue: str, kept: Mapping[str, str], asked: Mapping[str, str]) -> Choice:
    is_chosen = queue == asked["queue"]
    return Choice(queue, None, "?" + _query(kept, asked, queue="" if is_chosen else queue), is_chosen)


def _query(kept: Mapping[str, str], asked: Mapping[str, str], **change: str) -> str:
    return urlencode({name: value for name, value in {**kept, **asked, **change}.items() if value})


def _choices(rows: QuerySet[Message], ordering: keyset.Ordering, kept: Mapping[str, str], asked: Mapping[str, str]) -> list[Choice]:
    """The reasons of the newest messages of a view, the most frequent first."""
    counts: dict[str, int] = cache.get_or_set(f"{ordering.name}-codes", lambda: _count_codes(rows, ordering), COUNTS_LAST) or {}
    shown = {**counts, **({asked["code"]: 0} if asked["code"] and asked["code"] not in counts else {})}
    return [
        Choice(reasons.code_word(code), count, "?" + _query(kept, asked, code="" if code == asked["code"] else code), code == asked["code"])
        for code, count in sorted(shown.items(), key=lambda item: (-item[1], item[0]))
    ]


def _count_codes(rows: QuerySet[Message], ordering: keyset.Ordering) -> dict[str, int]:
    newest = rows.order_by(*ordering.fields("-")).values("pk")[:COUNTED]
    counts = Message.objects.filter(pk__in=newest).exclude(code="").order_by().values("code").annotate(n=Count("pk"))
    return dict(counts.values_list("code", "n"))


def _count_tabs() -> dict[str, str]:
    """How many messages are settled, and how many are kept for reference, as far as they are counted."""
    settled, reference = settled_messages(), Message.objects.filter(outcome=Outcome.REFERENCE)
    counts = {"settled": settled.values("pk")[: COUNTED + 1].count(), "reference": reference.values("pk")[: COUNTED + 1].count()}
    return {name: f"{min(count, COUNTED):,}{'+' if count > COUNTED else ''}" for name, count in counts.items()}


def _last_settled() -> AuditEntry | None:
    return AuditEntry.objects.filter(message__isnull=False).select_related("user", "message").defer("message__body").order_by("-id").first()
