"""Settle many messages at once: what is ticked, for which reason, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods

from trades import quarantine
from trades.models import Message
from trades.web import reasons, settling, words
from trades.web.access import SEE, SETTLE, needs
from trades.web.deeds import DeedForm
from trades.web.message_pages import NO_REASON, SIGNED_OUT
from trades.web.message_view import MOST_PARSED, revisions, says_of
from trades.web.quarantine_list import Row, listed, waiting_behind

MOST = 200
MOST_FORETOLD = 50
LONGEST_KEY = 18  # digits
Outcome = Message.Outcome


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that can be done to many messages: the button's verb, what was done, which messages it is for, what it will do, and
    whether a reason must be given."""

    verb: str
    done: str
    outcome: Message.Outcome
    effect: str
    needs_reason: bool
    act: Callable[..., quarantine.Result]


DEEDS = {
    "replay": Deed(
        "Replay",
        "Replayed",
        Outcome.QUARANTINED,
        "Each is read again as it is. What is not understood stays in quarantine; what waits behind the others is then read in turn.",
        False,
        lambda message, reason, **options: quarantine.replay(message, note=reason, **options),
    ),
    "discard": Deed(
        "Discard",
        "Discarded",
        Outcome.QUARANTINED,
        "The messages are set aside; their text is kept, and this can be undone. What waits behind them is then read in turn.",
        True,
        quarantine.discard,
    ),
    "undo": Deed(
        "Undo the discard of",
        "Discard undone",
        Outcome.DISCARDED,
        "The messages go back into quarantine. What arrives in their groups from now on waits behind them; what was recorded stays.",
        True,
        quarantine.undo_discard,
    ),
}


@dataclass(frozen=True, slots=True)
class Ticked:
    """The messages that an address or a form names, oldest first, those that do not fit, and what was seen of each.

    `complaint` is a sentence where they can't be settled together.
    """

    fitting: Sequence[Message]
    others: Sequence[Message]
    seen: dict[int, int]
    complaint: str = ""

    @property
    def keys(self) -> list[str]:
        """The messages and what was seen of each, as a form carries them."""
        return [f"{message.pk}:{self.seen[message.pk]}" for message in self.fitting]

    @property
    def waiting(self) -> int:
        """How many messages wait behind them."""
        return sum(getattr(message, "waiting", 0) for message in self.fitting)


def ticked(params: QueryDict, outcome: Message.Outcome) -> Ticked:
    """What the parameters `m` name: "12", or "12:7" for a message of which the audit entry 7 was the last that was seen. Two queries."""
    named = dict(pair for text in params.getlist("m") if (pair := _named(text)))
    if len(named) > MOST:
        return Ticked([], [], {}, f"{len(named):,} messages are ticked. Settle at most {MOST} at once.")
    rows = Message.objects.filter(pk__in=named).annotate(waiting=waiting_behind()).order_by("pk")
    found = list(rows.defer("body", "attributes"))
    now_seen = revisions(found)
    seen = {pk: stated if (stated := named[pk]) is not None else now_seen[pk] for pk in now_seen}
    # A message that somebody settled since it was seen is not left out in silence: acting on it says what changed.
    fitting = [message for message in found if message.outcome == outcome or named[message.pk] is not None]
    others = [message for message in found if message not in fitting]
    complaint = "" if fitting else _nothing(others)
    return Ticked(fitting, others, seen, complaint)


def _named(text: str) -> tuple[int, int | None] | None:
    key, colon, seen = text.partition(":")
    if not key.isdecimal() or len(key) > LONGEST_KEY or (colon and not (seen.isdecimal() and len(seen) <= LONGEST_KEY)):
        return None
    return int(key), int(seen) if colon else None


def _nothing(others: Sequence[Message]) -> str:
    if others:
        return "None of the ticked messages can be settled this way any more. Go back to the list, which shows what became of them."
    return "No message is ticked. Go back to the list and tick at least one."


@needs(SEE)
@needs(SETTLE)
@require_http_methods(["GET", "HEAD", "POST"])
def settle(request: HttpRequest) -> HttpResponse:
    """Ask before settling the ticked messages; after that, say what became of each."""
    if was_signed_out(request):
        return ask_again(request)
    params = request.POST if request.method == "POST" else request.GET
    form = DeedForm(params, DEEDS, NO_REASON)
    is_valid = form.is_valid()
    name = form.cleaned_data.get("act") or next(iter(DEEDS))
    deed, now = DEEDS[name], timezone.now()
    chosen = ticked(params, deed.outcome)
    if request.method == "POST" and is_valid and not chosen.complaint:
        return _settled(request, deed, chosen, form.cleaned_data["reason"])
    wrong = bool(chosen.complaint) or (request.method == "POST" and not is_valid)
    context = confirming(chosen, deed.verb, now)
    context |= {
        "foretold": list(zip(context["rows"], _foretold(name, chosen), strict=True)),
        "act": name,
        "deed": deed,
        "form": form if request.method == "POST" else None,
    }
    return render(request, "trades/settle.html", context, status=422 if wrong else 200)


def _foretold(act: str, chosen: Ticked) -> Iterator[SafeString | str]:
    """What would happen to each of the ticked messages, as far as it can be said cheaply."""
    texts = Message.objects.filter(pk__in=[message.pk for message in chosen.fitting], size__lte=MOST_PARSED).defer("attributes")
    found = texts.in_bulk([message.pk for message in chosen.fitting[:MOST_FORETOLD]]) if act == "replay" else {}
    for message in chosen.fitting:
        then = reasons.then_read(getattr(message, "waiting", 0))
        if act == "replay":
            said = says_of(found[message.pk]) if message.pk in found else "Read again as it is"
            yield format_html("{}. {}", said, then)
        else:
            yield then or ("Goes back into quarantine." if act == "undo" else "Set aside; nothing waits behind it.")


def was_signed_out(request: HttpRequest) -> bool:
    """Whether somebody comes from signing in: the list always says what to do, and the form that was sent is lost."""
    return request.method != "POST" and not request.GET


def ask_again(request: HttpRequest) -> HttpResponse:
    """The list, with the sentence that nothing was done."""
    messages.warning(request, f"{SIGNED_OUT} Tick the messages and give the reason again.")
    return redirect("quarantine")


def _waiting_text(chosen: Ticked) -> str:
    count, verb = words.plural(chosen.waiting, "message"), "waits" if chosen.waiting == 1 else "wait"
    return f"{count} {verb} behind {'it' if len(chosen.fitting) == 1 else 'them'}."


def confirming(chosen: Ticked, verb: str, now: datetime) -> dict[str, Any]:
    """What a page shows of the ticked messages before anything is done."""
    rows: list[Row] = listed(chosen.fitting, now)
    count = words.plural(len(rows), "message")
    return {
        "chosen": chosen,
        "rows": rows,
        "count": count,
        "others": listed(chosen.others, now),
        "waiting_text": _waiting_text(chosen),
        "button": f"{verb} {count}",
    }


def _settled(request: HttpRequest, deed: Deed, chosen: Ticked, reason: str) -> HttpResponse:
    actor = settling.actor_of(request)

    def act(message: Message) -> quarantine.Result:
        return deed.act(message, reason=reason, actor=actor, seen=chosen.seen[message.pk], now=timezone.now())

    return results(request, deed.done, list(quarantine.settle_many(chosen.fitting, act)))


def results(request: HttpRequest, done: str, settled: Sequence[tuple[Message, quarantine.Result | Exception]]) -> HttpResponse:
    """The page that says what became of each message."""
    told = settling.tell(done, settled)
    went_well = sum(one.tone == "ok" for one in told)
    title = f"{done}: {went_well:,} of {words.plural(len(told), 'message')}"
    return render(request, "trades/settled.html", {"told": told, "title": title, "all_well": went_well == len(told)})
