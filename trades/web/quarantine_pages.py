"""Quarantine: what could not be understood, why, what waits behind it, and the two ways to settle it. Beside it, what was
understood and is no trade event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django import forms
from django.contrib import messages
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe

from trades import quarantine
from trades.models import AuditEntry, Event, Hold, Message, Publication
from trades.web import keyset, words
from trades.web.access import SEE, SETTLE, needs
from trades.web.trade_pages import xml_attachment
from trades.web.trade_view import event_address, message_address, transport_of
from trades.web.xml_view import xml_view

NEWEST = keyset.Ordering("quarantine")
NEWEST_REFERENCE = keyset.Ordering("reference")
SIZE = 50
MOST_WAITING = 50
Outcome = Message.Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """One message as a list shows it."""

    href: str
    reason: str
    place: str
    kind: str
    group_id: str
    message_id: str
    received: SafeString
    age: SafeString
    waiting: int


class SearchForm(forms.Form):
    """Text that a message's body, group or id holds."""

    q = forms.CharField(required=False, max_length=255)


class DiscardForm(forms.Form):
    """Why a message is set aside."""

    reason = forms.CharField(max_length=1000, error_messages={"required": "Say why this message is discarded. The reason is kept with it."})


class ReplayForm(forms.Form):
    """What to remember about a replay."""

    note = forms.CharField(max_length=1000, required=False)


@needs(SEE)
@require_safe
def quarantine_list(request: HttpRequest) -> HttpResponse:
    """The messages in quarantine, newest first."""
    rows = Message.objects.filter(outcome=Outcome.QUARANTINED).annotate(waiting=_waiting_behind())
    context = _list_context(request, rows, NEWEST)
    context["last"] = None if context["rows"] else _last_settled()
    return render(request, "trades/quarantine.html", context)


@needs(SEE)
@require_safe
def reference_list(request: HttpRequest) -> HttpResponse:
    """The messages that were understood and are no trade events, newest first."""
    rows = Message.objects.filter(outcome=Outcome.REFERENCE)
    return render(request, "trades/reference.html", _list_context(request, rows, NEWEST_REFERENCE))


def _list_context(request: HttpRequest, rows: QuerySet[Message], ordering: keyset.Ordering) -> dict[str, object]:
    form = SearchForm(request.GET)
    text = form.cleaned_data["q"] if form.is_valid() else ""
    if text:
        rows = rows.filter(Q(body__contains=text) | Q(group_id=text) | Q(message_id=text))
    page = keyset.page(rows.defer("body", "attributes"), ordering, size=SIZE, params=request.GET)
    return {"page": page, "rows": _listed(page.rows, timezone.now()), "text": text}


@needs(SEE)
@require_safe
def message(request: HttpRequest, pk: int) -> HttpResponse:
    """One message, whatever became of it."""
    return _message_page(request, get_object_or_404(Message, pk=pk), DiscardForm())


@needs(SEE)
@require_safe
def message_raw(request: HttpRequest, pk: int) -> HttpResponse:
    """The exact text of a message, in UTF-8, to save."""
    shown = get_object_or_404(Message, pk=pk)
    return xml_attachment(shown.body.encode(), f"{shown.message_id}.xml")


@needs(SETTLE)
@require_POST
def replay(request: HttpRequest, pk: int) -> HttpResponse:
    """Read a quarantined message again, unchanged, and record it and what waits behind it."""
    shown = get_object_or_404(Message, pk=pk)
    form = ReplayForm(request.POST)
    note = form.cleaned_data["note"] if form.is_valid() else ""
    return _settle(request, shown, "Replayed", lambda: quarantine.replay(shown, user=_person(request), note=note, now=timezone.now()))


@needs(SETTLE)
@require_POST
def discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Set a quarantined message aside for a reason, and record what waits behind it."""
    shown = get_object_or_404(Message, pk=pk)
    form = DiscardForm(request.POST)
    if not form.is_valid():
        return _message_page(request, shown, form, status=422)
    reason = form.cleaned_data["reason"]
    return _settle(request, shown, "Discarded", lambda: quarantine.discard(shown, user=_person(request), reason=reason, now=timezone.now()))


def _person(request: HttpRequest):  # type: ignore[no-untyped-def]  # the user model is a setting
    return request.user if request.user.is_authenticated else None


def _settle(request: HttpRequest, shown: Message, done: str, act: Callable[[], quarantine.Result]) -> HttpResponse:
    try:
        result = act()
    except quarantine.NotQuarantined:
        messages.warning(request, "Somebody else settled this message first. This page shows what became of it.")
    else:
        if result.still:
            messages.warning(request, f"Replayed and refused again: {result.still}")
        else:
            recorded = f" {words.plural(result.recorded, 'message')} recorded." if result.recorded else ""
            messages.success(request, f"{done}.{recorded}")
    return redirect("message", shown.pk)


def _listed(rows: Sequence[Message], now: datetime) -> list[Row]:
    return [
        Row(
            href=message_address(row),
            reason=row.reason,
            place=words.place(row.line, row.column),
            kind=", ".join(name for name in (row.message_type, row.dialect) if name),
            group_id=row.group_id,
            message_id=row.message_id,
            received=words.time_tag(row.received_at, now),
            age=words.age_tag(row.received_at, now),
            waiting=getattr(row, "waiting", 0),
        )
        for row in rows
    ]


def _waiting_behind() -> Coalesce:
    """Per message, how many are held in the group that it holds up. Only the message that the hold names has any behind it."""
    held = Message.objects.filter(outcome=Outcome.HELD, queue=OuterRef("queue"), group_id=OuterRef("group_id"))
    behind = Hold.objects.filter(message=OuterRef("pk")).annotate(
        n=Subquery(held.order_by().values("group_id").annotate(n=Count("pk")).values("n"))
    )
    return Coalesce(Subquery(behind.values("n")[:1]), 0)


def _last_settled() -> AuditEntry | None:
    return AuditEntry.objects.select_related("user", "message").defer("message__body").order_by("-id").first()


def _message_page(request: HttpRequest, shown: Message, form: DiscardForm, status: int = 200) -> HttpResponse:
    now = timezone.now()
    hold = Hold.objects.filter(queue=shown.queue, group_id=shown.group_id).select_related("message").defer("message__body").first()
    waiting = _held_behind(shown) if hold and hold.message_id == shown.pk else Message.objects.none()
    context = {
        "message": shown,
        "badge": words.OUTCOMES[shown.outcome],
        "place": words.place(shown.line, shown.column),
        "received": words.full_tag(shown.received_at),
        "age": words.age_tag(shown.received_at, now),
        "xml": xml_view(shown.body, marked=shown.line),
        "transport": transport_of(shown),
        "held_by": hold.message if hold and shown.outcome == Outcome.HELD else None,
        "held": [(row, message_address(row), words.full_tag(row.received_at)) for row in waiting[:MOST_WAITING]],
        "waiting_count": waiting.count(),
        "audit": list(AuditEntry.objects.filter(message=shown).select_related("user").order_by("-id")),
        "events": [
            (event, event_address(event)) for event in Event.objects.filter(message=shown).select_related("trade").order_by("part")[:50]
        ],
        "upload_pk": _upload_of(shown),
        "form": form,
        "may_settle": shown.outcome == Outcome.QUARANTINED and request.user.has_perm(SETTLE),
        "is_open": shown.outcome == Outcome.QUARANTINED,
        "is_reference": shown.outcome == Outcome.REFERENCE,
    }
    return render(request, "trades/message.html", context, status=status)


def _held_behind(shown: Message) -> QuerySet[Message]:
    held = Message.objects.filter(queue=shown.queue, group_id=shown.group_id, outcome=Outcome.HELD)
    return held.defer("body", "attributes").order_by("pk")


def _upload_of(shown: Message) -> int | None:
    if shown.publication_id is None:
        return None
    return Publication.objects.filter(publication_id=shown.publication_id).values_list("document__upload", flat=True).first()
