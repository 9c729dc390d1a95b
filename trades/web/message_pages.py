"""The page of one message, and what people do with it there: replay it unchanged, discard it, undo that."""

from __future__ import annotations

from collections.abc import Callable

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from trades import quarantine
from trades.models import Message
from trades.web import message_view, settling, texts
from trades.web.access import SEE, SETTLE, needs
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.trade_pages import xml_attachment

NO_REASON = "Say why. The reason is kept with the message."
LONGEST_KEY = 18  # digits
SIGNED_OUT = "You were signed out, and nothing was done."
# Whoever was signed out before they acted comes back to the address of the act by following a link.
acts = require_http_methods(["GET", "HEAD", "POST"])


class ReasonForm(forms.Form):
    """Why somebody does something, and what they had seen of the message: the id of its last audit entry, 0 for none."""

    reason = forms.CharField(max_length=1000, error_messages={"required": NO_REASON})
    seen = forms.IntegerField(required=False, min_value=0)


class NoteForm(forms.Form):
    """What to remember about a replay, and what was seen of the message."""

    note = forms.CharField(max_length=1000, required=False)
    seen = forms.IntegerField(required=False, min_value=0)


@needs(SEE)
@require_safe
def message(request: HttpRequest, pk: int) -> HttpResponse:
    """One message, whatever became of it; for htmx what somebody did to it since it was shown: 204 for nothing."""
    if wants_fragment(request):
        return _done_since(request, pk)
    return _page(request, message_view.existing(pk))


def _done_since(request: HttpRequest, pk: int) -> HttpResponse:
    seen = request.GET.get("seen", "")
    if not seen.isdecimal() or len(seen) > LONGEST_KEY:
        return nothing_new()
    entries = message_view.acts_since(pk, int(seen))
    if not entries:
        return nothing_new()
    return fragment(render(request, "trades/message_news.html", {"told": message_view.told_of(entries[-1]), "pk": pk}))


@needs(SEE)
@require_safe
def message_raw(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The exact text of a message, in UTF-8, to save."""
    shown = message_view.existing(pk)
    return xml_attachment(shown.payload or shown.body.encode(), f"{shown.message_id}.xml")


@needs(SEE)
@needs(SETTLE)
@acts
def replay(request: HttpRequest, pk: int) -> HttpResponse:
    """Read a quarantined message again, unchanged, and record it and what waits behind it."""
    shown, form = message_view.existing(pk), NoteForm(request.POST)
    if request.method != "POST":
        return _ask_again(request, shown)
    if not form.is_valid():
        return _page(request, shown, form, act="replay", status=422)
    note, seen = form.cleaned_data["note"], form.cleaned_data["seen"]
    return _settle(
        request,
        shown,
        "Replayed",
        lambda: quarantine.replay(shown, actor=settling.actor_of(request), note=note, seen=seen, now=timezone.now()),
    )


@needs(SEE)
@needs(SETTLE)
@acts
def discard(request: HttpRequest, pk: int) -> HttpResponse:
    """Set a quarantined message aside for a reason, and record what waits behind it."""
    return _settle_for_a_reason(request, pk, "Discarded", quarantine.discard)


@needs(SEE)
@needs(SETTLE)
@acts
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    """Put a discarded message back into quarantine, for a reason."""
    return _settle_for_a_reason(request, pk, "Discard undone", quarantine.undo_discard)


def _settle_for_a_reason(request: HttpRequest, pk: int, done: str, act: Callable[..., quarantine.Result]) -> HttpResponse:
    shown, form = message_view.existing(pk), ReasonForm(request.POST)
    if request.method != "POST":
        return _ask_again(request, shown)
    if not form.is_valid():
        return _page(request, shown, form, act="reason", status=422)
    reason, seen = form.cleaned_data["reason"], form.cleaned_data["seen"]
    return _settle(request, shown, done, lambda: act(shown, actor=settling.actor_of(request), reason=reason, seen=seen, now=timezone.now()))


def _ask_again(request: HttpRequest, shown: Message) -> HttpResponse:
    messages.warning(request, f"{SIGNED_OUT} Give the reason again.")
    return redirect("message", shown.pk)


def _settle(request: HttpRequest, shown: Message, done: str, act: Callable[[], quarantine.Result]) -> HttpResponse:
    try:
        result = act()
    except quarantine.Conflict as conflict:
        return _page(request, Message.objects.get(pk=shown.pk), conflict=conflict, status=409)
    except ValueError as error:  # its text can't be fetched just now
        messages.warning(request, str(error))
        return redirect("message", shown.pk)
    (told,) = settling.tell(done, [(shown, result)])
    (messages.success if told.tone == "ok" else messages.warning)(request, told.sentence)
    return redirect("message", shown.pk)


def _page(
    request: HttpRequest,
    shown: Message,
    form: forms.Form | None = None,
    *,
    act: str = "",
    conflict: quarantine.Conflict | None = None,
    status: int = 200,
) -> HttpResponse:
    context = message_view.context_of(shown, timezone.now())
    may_settle = request.user.has_perm(SETTLE)
    context |= {
        "form": form,
        "act": act,
        "conflict": conflict,
        "since": message_view.noted_since(conflict, shown) if conflict else [],
        "is_corrected_now": "corrected" in request.GET,
        "may_settle": may_settle,
        "may_replay": may_settle and context["is_open"],
        "may_correct": texts.why_not_corrected(shown) == "",
        "may_undo": may_settle and context["is_discarded"],
    }
    return render(request, "trades/message.html", context, status=status)
