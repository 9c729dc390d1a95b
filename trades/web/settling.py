"""What settling messages did, in words, for one message or for many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from trades import quarantine
from trades.messages.facts import MessageRefused
from trades.models import Event, Hold, Message
from trades.web import words
from trades.web.trade_view import event_address, message_address

Outcome = Message.Outcome
UNEXPECTED = "Failed unexpectedly, and nothing of it was stored. Try again; if it fails again, tell an administrator."
MOST_EVENTS = 3  # of one message that are named
NO_EVENT = {
    Outcome.DUPLICATE: "The history had this content already; no event was added.",
    Outcome.REFERENCE: "It is no trade event; it is kept for reference.",
    Outcome.QUARANTINED: "It is in quarantine again.",
}


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one message: a tone ("ok", "warn" or "bad") and a sentence."""

    message: Message
    href: str
    tone: str
    sentence: SafeString


def actor_of(request: HttpRequest) -> quarantine.Actor:
    """The person who is signed in, as the one who acts."""
    return quarantine.Actor(request.user if request.user.is_authenticated else None)


def tell(done: str, results: Sequence[tuple[Message, quarantine.Result | Exception]]) -> list[Told]:
    """What became of each message, `done` being the participle of what was asked for: "Replayed". Three queries, however many."""
    keys = [_recorded_as(message, result) for message, result in results]
    outcomes = dict(Message.objects.filter(pk__in=keys).values_list("pk", "outcome"))
    events: dict[int, list[Event]] = defaultdict(list)
    for event in Event.objects.filter(message__in=keys).select_related("trade").defer("details").order_by("part"):
        events[event.message_id].append(event)
    holds = _holds([message for message, _ in results])
    return [
        _told(done, message, result, outcomes.get(key, ""), events[key], holds.get((message.queue, message.group_id)))
        for (message, result), key in zip(results, keys, strict=True)
    ]


def _holds(messages: Sequence[Message]) -> dict[tuple[str, str], int]:
    """The message that each group waits behind."""
    rows = Hold.objects.filter(queue__in={message.queue for message in messages}, group_id__in={message.group_id for message in messages})
    return {(hold.queue, hold.group_id): hold.message_id for hold in rows}


def _recorded_as(message: Message, result: quarantine.Result | Exception) -> int:
    return result.correction.pk if isinstance(result, quarantine.Result) and result.correction else message.pk


def _told(
    done: str, message: Message, result: quarantine.Result | Exception, outcome: str, events: Sequence[Event], held_by: int | None
) -> Told:
    href = message_address(message)
    if isinstance(result, quarantine.Result) and not result.still:
        own = int(outcome == Outcome.RECORDED and bool(events))
        said = (f"{done}.", _became(outcome, events), _others(result.recorded - own), _waits(message, outcome, held_by))
        return Told(message, href, "ok", format_html_join(" ", "{}", ((part,) for part in said if part)))
    if isinstance(result, quarantine.Result):
        return Told(message, href, "warn", format_html("Replayed and refused again: {}", result.still))
    if isinstance(result, quarantine.Conflict | MessageRefused | ValueError):
        return Told(message, href, "bad", format_html("{}", str(result)))
    return Told(message, href, "bad", format_html("{}", UNEXPECTED))


def _became(outcome: str, events: Sequence[Event]) -> SafeString | str:
    if not events or outcome != Outcome.RECORDED:
        return NO_EVENT.get(Outcome(outcome), "") if outcome in Outcome.values else ""
    links = format_html_join(
        ", ", '<a href="{}">event {} of {}</a>', ((event_address(e), e.position, e.trade.trade_id) for e in events[:MOST_EVENTS])
    )
    more = len(events) - MOST_EVENTS
    return format_html("Recorded as {}{}.", links, f" and {words.plural(more, 'further event')}" if more > 0 else "")


def _others(recorded: int) -> str:
    if recorded <= 0:
        return ""
    return f"{words.plural(recorded, 'message')} that waited behind it {'was' if recorded == 1 else 'were'} recorded."


def _waits(message: Message, outcome: str, held_by: int | None) -> SafeString | str:
    if held_by is None or held_by == message.pk:
        return ""
    waits = "It waits" if outcome == Outcome.HELD else "Its group waits"
    address = reverse("message", args=[held_by])
    return format_html('{} behind <a href="{}">message {}</a>, which is in quarantine.', waits, address, held_by)
