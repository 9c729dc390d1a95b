"""Correct one message and replay it: the editor with its check, the review of what would happen, and the saving."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from trades import corrections, quarantine, rehearsal
from trades.messages.facts import MessageRefused
from trades.models import AuditEntry, Message
from trades.web import correcting, message_view, settling, texts
from trades.web.access import SEE, SETTLE, needs
from trades.web.correcting import Check
from trades.web.difference_view import difference
from trades.web.fragments import fragment, wants_fragment
from trades.web.message_pages import NO_REASON
from trades.web.trade_view import message_address


class CorrectionForm(forms.Form):
    """The corrected text, why, what was seen of the message, and which step comes next."""

    text = forms.CharField(required=False, strip=False)
    reason = forms.CharField(required=False, max_length=1000)
    seen = forms.IntegerField(required=False, min_value=0)
    step = forms.ChoiceField(required=False, choices=[(step, step) for step in ("edit", "check", "review", "apply")])


@needs(SEE)
@needs(SETTLE)
@require_http_methods(["GET", "HEAD", "POST"])
def correct(request: HttpRequest, pk: int) -> HttpResponse:
    """The editor, and the steps after it; htmx asks for the check alone."""
    shown = message_view.existing(pk)
    if why_not := texts.why_not_corrected(shown):
        messages.warning(request, why_not)
        return redirect("message", shown.pk)
    if request.method != "POST":
        if shown.outcome != Message.Outcome.QUARANTINED:
            messages.warning(request, "This message is not in quarantine any more. This page shows what became of it.")
            return redirect("message", shown.pk)
        return fragment(_editor(request, shown, shown.body, quarantine.revision(shown)))
    form = CorrectionForm(request.POST)
    form.is_valid()
    # A text that the form can't take (it has a NUL character) is judged like any other: the check says what is wrong with it.
    text = corrections.as_stored(shown, form.cleaned_data.get("text", request.POST.get("text", "")))
    if wants_fragment(request):
        return fragment(render(request, "trades/correct_check.html", {"check": correcting.check(text, shown.body)}))
    return fragment(_step(request, shown, form, text))


def _step(request: HttpRequest, shown: Message, form: CorrectionForm, text: str) -> HttpResponse:
    step, seen = form.cleaned_data.get("step") or "edit", form.cleaned_data.get("seen") or 0
    if step == "edit":
        return _editor(request, shown, text, seen)
    if step == "check":
        return _editor(request, shown, text, seen, correcting.check(text, shown.body))
    if shown.outcome != Message.Outcome.QUARANTINED or quarantine.revision(shown) != seen:
        return _changed(request, shown, text, None, seen)
    if step == "apply" and "reason" not in form.errors and form.cleaned_data["reason"].strip():
        return _apply(request, shown, text, form.cleaned_data["reason"], seen)
    checked = correcting.check(text, shown.body)
    if not checked.is_good:
        return _editor(request, shown, text, seen, checked, status=422)
    wrong = (form.errors.get("reason") or [NO_REASON])[0] if step == "apply" else ""
    return _review(request, shown, text, form, str(wrong))


def _apply(request: HttpRequest, shown: Message, text: str, reason: str, seen: int) -> HttpResponse:
    try:
        result = quarantine.correct(shown, text, actor=settling.actor_of(request), reason=reason, seen=seen, now=timezone.now())
    except quarantine.Conflict as conflict:
        return _changed(request, Message.objects.get(pk=shown.pk), text, conflict, seen)
    except MessageRefused as refusal:
        return _editor(request, shown, text, seen, correcting.refused(refusal, text), status=422)
    except ValueError as error:
        return _editor(request, shown, text, seen, Check(reason=str(error)), status=422)
    (told,) = settling.tell("Corrected and replayed", [(shown, result)])
    messages.success(request, told.sentence)
    return redirect(f"{message_address(shown)}?corrected")


def _editor(request: HttpRequest, shown: Message, text: str, seen: int, checked: Check | None = None, *, status: int = 200) -> HttpResponse:
    context = {"check": checked or correcting.check(text, shown.body), "text": text, "seen": seen}
    return render(request, "trades/correct.html", context | _about(shown), status=status)


def _review(request: HttpRequest, shown: Message, text: str, form: CorrectionForm, wrong: str) -> HttpResponse:
    effect = rehearsal.effect(shown, text, now=timezone.now())
    if effect.refusal is not None:
        return _editor(request, shown, text, form.cleaned_data.get("seen") or 0, correcting.refused(effect.refusal, text), status=422)
    context = {
        "difference": difference(shown.body, text),
        "effect": correcting.told(effect),
        "text": text,
        "seen": form.cleaned_data.get("seen") or 0,
        "reason": request.POST.get("reason", ""),
        "wrong": wrong,
    }
    return render(request, "trades/correct_review.html", context | _about(shown), status=422 if wrong else 200)


def _changed(request: HttpRequest, shown: Message, text: str, conflict: quarantine.Conflict | None, seen: int) -> HttpResponse:
    """Somebody else was quicker: who, what they did, and the text, so that nothing of it is lost."""
    theirs = correcting.corrected_elsewhere(shown)
    conflict = conflict or _conflict(shown, seen)
    context = {
        "conflict": conflict,
        "since": message_view.noted_since(conflict, shown),
        "difference": difference(theirs.body if theirs else shown.body, text),
        "is_theirs": theirs is not None,
        "text": text,
        "seen": quarantine.revision(shown),
        "is_open": shown.outcome == Message.Outcome.QUARANTINED,
    }
    return render(request, "trades/correct_conflict.html", context | _about(shown), status=409)


def _conflict(shown: Message, seen: int) -> quarantine.Conflict:
    entries = AuditEntry.objects.filter(message=shown, pk__gt=seen).select_related("user").order_by("pk")
    return quarantine.Conflict("This message was changed while you were writing. Nothing was changed by you.", list(entries))


def _about(shown: Message) -> dict[str, object]:
    return {"message": shown, "href": message_address(shown)}
