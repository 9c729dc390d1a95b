"""Correct many messages alike: find and replace over the ticked ones, shown first, then applied to those that are understood."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from trades import corrections, quarantine, sqs
from trades.models import Message
from trades.web import correcting, settling, texts, words
from trades.web.access import SEE, SETTLE, needs
from trades.web.correcting import Check
from trades.web.difference_view import Difference, difference
from trades.web.many_pages import Ticked, ask_again, confirming, results, ticked, was_signed_out
from trades.web.message_pages import NO_REASON
from trades.web.trade_view import message_address

SHOWN_LINES = 40  # of each difference
LONGEST_TEXT = 10_000  # characters to find, and to put in their place
AT_ONCE = 5  # messages of which the text is in memory
NOT_FOUND = "The text to find is not in it. It was left as it is."
OPEN_AT_FIRST = 5  # differences


@dataclass(frozen=True, slots=True)
class Preview:
    """What replacing would make of one message: whether the text was found, what differs, and whether the result is understood."""

    pk: int
    message_id: str
    href: str
    check: Check
    difference: Difference | None
    is_open: bool

    @property
    def is_good(self) -> bool:
        """Whether the message would be corrected."""
        return self.check.is_good


class ReplaceForm(forms.Form):
    """What to find, literally, what to put in its place, why, and which step comes next."""

    find = forms.CharField(strip=False, max_length=LONGEST_TEXT, error_messages={"required": "Say which text to find."})
    replace = forms.CharField(required=False, strip=False, max_length=LONGEST_TEXT)
    reason = forms.CharField(required=False, max_length=1000)
    step = forms.ChoiceField(required=False, choices=[("preview", "preview"), ("apply", "apply")])

    def clean(self) -> dict[str, object]:
        """To apply it, a reason is needed."""
        if self.cleaned_data.get("step") == "apply" and not self.cleaned_data.get("reason", "").strip() and "reason" not in self.errors:
            self.add_error("reason", NO_REASON)
        return self.cleaned_data


@needs(SEE)
@needs(SETTLE)
@require_http_methods(["GET", "HEAD", "POST"])
def correct_many(request: HttpRequest) -> HttpResponse:
    """Ask what to replace, show what would become of each message, then correct those that are understood."""
    if was_signed_out(request):
        return ask_again(request)
    is_post = request.method == "POST"
    form = ReplaceForm(request.POST) if is_post else ReplaceForm()
    chosen = ticked(request.POST if is_post else request.GET, Message.Outcome.QUARANTINED)
    is_valid = is_post and form.is_valid()
    if is_valid and form.cleaned_data["step"] == "apply" and not chosen.complaint:
        return _apply(request, chosen, form)
    context = confirming(chosen, "Correct", timezone.now()) | {"form": form if is_post else None, "previews": []}
    if is_post and "find" in form.cleaned_data and not chosen.complaint:
        previews = _previews(chosen.fitting, form)
        context |= {"previews": previews, "good": sum(preview.is_good for preview in previews)}
    wrong = bool(chosen.complaint) or (is_post and not is_valid)
    return render(request, "trades/correct_many.html", context, status=422 if wrong else 200)


def _replaced(message: Message, form: ReplaceForm) -> str:
    """The text of the message after replacing; its own line ends are looked for. Raises ValueError where it is or would be too large."""
    if why_not := texts.why_not_corrected(message):
        raise ValueError(why_not)
    find, put = (corrections.as_stored(message, form.cleaned_data.get(name, "")) for name in ("find", "replace"))
    count = message.body.count(find)
    size = message.size + count * (len(put.encode()) - len(find.encode()))
    if count and size > sqs.MAX_MESSAGE_BYTES:
        most = filesizeformat(sqs.MAX_MESSAGE_BYTES)
        raise ValueError(
            f"Replaced {words.plural(count, 'time')}, the text would have {filesizeformat(size)}; a corrected text may have {most}. "
            "Find a longer text, or replace it by a shorter one."
        )
    return message.body.replace(find, put)


def _with_text(messages: Sequence[Message]) -> Iterator[Message]:
    """The messages with their texts, a few at a time. One query."""
    rows = Message.objects.filter(pk__in=[message.pk for message in messages]).defer("attributes")
    return rows.order_by("pk").iterator(chunk_size=AT_ONCE)


def _previews(messages: Sequence[Message], form: ReplaceForm) -> list[Preview]:
    previews = []
    for number, message in enumerate(_with_text(messages)):
        checked, differs = _outlook(message, form)
        previews.append(Preview(message.pk, message.message_id, message_address(message), checked, differs, number < OPEN_AT_FIRST))
    return previews


def _outlook(message: Message, form: ReplaceForm) -> tuple[Check, Difference | None]:
    try:
        text = _replaced(message, form)
    except ValueError as error:
        return Check(reason=str(error)), None
    return correcting.check(text, message.body), difference(message.body, text, shown=SHOWN_LINES)


def _apply(request: HttpRequest, chosen: Ticked, form: ReplaceForm) -> HttpResponse:
    """Correct the messages that are understood after replacing; the others are left as they are."""
    actor, reason = settling.actor_of(request), form.cleaned_data["reason"]

    def act(message: Message) -> quarantine.Result:
        whole = Message.objects.get(pk=message.pk)
        text = _replaced(whole, form)
        if text == whole.body:
            raise ValueError(NOT_FOUND)
        result = quarantine.correct(whole, text, actor=actor, reason=reason, seen=chosen.seen[message.pk], now=timezone.now())
        if result.correction:
            del result.correction.body  # is read again if asked for: the results of all are kept until they are told
        return result

    return results(request, "Corrected and replayed", list(quarantine.settle_many(chosen.fitting, act)))
