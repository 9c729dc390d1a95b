"""What the page of one message shows, put into words: why it is here, what it blocks, what people did with it, what it stands beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.http import Http404
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from trades import corrections, fetching, quarantine
from trades.messages.facts import MessageRefused, TradeEvent
from trades.models import AuditEntry, Event, Hold, Message, Publication
from trades.web import reasons, texts, words
from trades.web.addresses import trade_url
from trades.web.difference_view import Difference, difference
from trades.web.quarantine_list import trade_link
from trades.web.trade_view import event_address, message_address, transport_of
from trades.web.xml_view import excerpt

MOST_WAITING = 20
MOST_PARSED = 64 * 1024  # bytes of a message that is read only to say what it is about
MOST_EVENTS = 50
MOST_SAID = 3  # events of one message
MOST_AUDITED = 1_000
MOST_BESIDE = 10
MOST_DIFFERENCES = 3
Outcome = Message.Outcome
Action = AuditEntry.Action


@dataclass(frozen=True, slots=True)
class Act:
    """Something that a person did to a message: a participle, who, when, what was noted (a person's words quoted); `is_here` unless it was
    done to the message that this one corrects or is corrected by."""

    done: str
    who: str
    when: SafeString
    note: str
    is_here: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits: what it says, and when it came."""

    pk: int
    href: str
    says: SafeString | str
    when: SafeString


@dataclass(frozen=True, slots=True)
class Beside:
    """Another message that this one belongs with: the heading, a sentence, where it is, and what differs (None of those after the
    first few, and of texts that are too large, where a note says so)."""

    heading: str
    sentence: str
    href: str
    link: str
    difference: Difference | None
    note: str = ""


def existing(pk: int) -> Message:
    """The message. Raises Http404 with a sentence that leads to the list."""
    try:
        return Message.objects.select_related("payload").get(pk=pk)
    except Message.DoesNotExist:
        sentence = format_html('There is no message {}. Look for it in <a href="{}">the list of quarantine</a>.', pk, reverse("quarantine"))
        raise Http404(sentence) from None


def context_of(shown: Message, now: datetime) -> dict[str, object]:
    """The context of the page of a message. The number of queries is always the same."""
    hold = _hold_of(shown)
    is_in_front = hold is not None and hold.message_id == shown.pk
    waiting, count = (_held_behind(shown)[:MOST_WAITING], getattr(hold, "waiting", 0) or 0) if is_in_front else ((), 0)
    entries = _audit(shown)
    is_open, text = shown.outcome == Outcome.QUARANTINED, texts.shown_text(shown)
    xml = texts.xml_of(shown, text, reverse("message_raw", args=[shown.pk]), marked=shown.line)
    return {
        "message": shown,
        "badge": words.REPLAYED if reasons.standing(shown) is words.REPLAYED else words.OUTCOMES[shown.outcome],
        "code": reasons.code_word(shown.code),
        "reason": reasons.plain(shown.reason),
        "first_act": reasons.first_act(shown),
        "place": words.place(shown.line, shown.column),
        "line_is_shown": xml.has(shown.line),
        "excerpt": excerpt(text.encode(), shown.line, shown.column) if shown.line and xml.has(shown.line) else None,
        "is_large": texts.is_large(shown),
        "missing": texts.missing_facts(shown),
        "advice": reasons.advice(shown) if is_open else "",
        "trade": trade_link(shown) if shown.stated_trade_id else "",
        "received": words.full_tag(shown.received_at),
        "age": words.age_tag(shown.received_at, now),
        "attempts": _attempts(shown, entries),
        "xml": xml,
        "transport": transport_of(shown),
        "held_by": hold.message if hold and shown.outcome == Outcome.HELD else None,
        "held_place": _place_among_held(shown) if shown.outcome == Outcome.HELD else 0,
        "held": [Waiting(row.pk, message_address(row), says_of(row), words.full_tag(row.received_at)) for row in waiting],
        "waiting_count": count,
        "waiting_more": max(0, count - MOST_WAITING),
        "then_read": reasons.then_read(count),
        "overtaken_by": _recorded_later(shown) if shown.outcome == Outcome.DISCARDED else 0,
        "audit": [_act(entry, shown) for entry in entries],
        "settled": next((_act(entry, shown) for entry in entries if entry.message_id == shown.pk), None) if shown.settled_at else None,
        "seen": max((entry.pk for entry in entries if entry.message_id == shown.pk), default=0),
        "beside": _beside(shown, entries),
        "events": [
            (event, event_address(event))
            for event in Event.objects.filter(message=shown).select_related("trade").defer("details").order_by("part")[:MOST_EVENTS]
        ],
        "upload_pk": _upload_of(shown),
        "is_open": is_open,
        "is_discarded": shown.outcome == Outcome.DISCARDED,
        "is_reference": shown.outcome == Outcome.REFERENCE,
    }


def says_of(message: Message) -> SafeString | str:
    """What a message that is not recorded says, read as it would be now: "Update version 2 of T-1"."""
    if message.size > MOST_PARSED:
        return f"{message.message_type or 'Message'}, {words.plural(message.size, 'byte')}"
    if fetching.is_unread(message):
        return "Its text is in S3 and could not be had when it came"
    judgement = corrections.judge(message.body)
    if isinstance(judgement, MessageRefused):
        return f"Not understood: {reasons.plain(judgement.message)}"
    if not judgement.events:
        return "No trade event"
    said = format_html_join(", ", '{} of <a href="{}">{}</a>', (_saying(event) for event in judgement.events[:MOST_SAID]))
    more = len(judgement.events) - MOST_SAID
    return format_html("{} and {} more", said, f"{more:,}") if more > 0 else said


def _saying(event: TradeEvent) -> tuple[str, str, str]:
    version = f" version {event.version}" if event.version is not None else ""
    return f"{words.class_word(event.event_class)}{version}", trade_url(event.trade_id.value), event.trade_id.value


def _place_among_held(shown: Message) -> int:
    return Message.objects.filter(queue=shown.queue, group_id=shown.group_id, outcome=Outcome.HELD, pk__lte=shown.pk).count()


def acts_since(pk: int, seen: int) -> list[AuditEntry]:
    """What people did to a message after the audit entry that somebody has seen, the oldest first."""
    return list(AuditEntry.objects.filter(message=pk, pk__gt=seen).select_related("user").order_by("pk")[:MOST_AUDITED])


def told_of(entry: AuditEntry) -> str:
    """What somebody did, as a sentence: "otto: discarded at 14:32:07 UTC"."""
    return f"This message {reasons.became(entry)} at {words.clock(entry.at)}."


def noted_since(conflict: quarantine.Conflict, shown: Message) -> list[tuple[AuditEntry, str]]:
    """What others did to the message meanwhile, and what was noted."""
    return [(entry, reasons.noted(entry, shown)) for entry in conflict.entries]


def revisions(messages: Sequence[Message]) -> dict[int, int]:
    """What `quarantine.revision` gives for each of the messages, in one query."""
    last = AuditEntry.objects.filter(message__in=[message.pk for message in messages]).order_by().values("message").annotate(n=Max("pk"))
    return {message.pk: 0 for message in messages} | dict(last.values_list("message", "n"))


def _audit(shown: Message) -> list[AuditEntry]:
    """What people did to the message, the one that it corrects, and the one that corrects it, newest first."""
    family = Q(message=shown) | Q(message__corrects=shown)
    if shown.corrects_id is not None:
        family |= Q(message=shown.corrects_id)
    return list(AuditEntry.objects.filter(family).select_related("user").order_by("-id")[:MOST_AUDITED])


def _act(entry: AuditEntry, shown: Message) -> Act:
    is_here = entry.message_id == shown.pk
    note = reasons.noted(entry, shown if is_here else None)
    return Act(reasons.done(entry), quarantine.who(entry), words.full_tag(entry.at), note, is_here)


def _attempts(shown: Message, entries: Sequence[AuditEntry]) -> str:
    refused = sum(entry.action == Action.REPLAY_REFUSED and entry.message_id == shown.pk for entry in entries)
    delivered = shown.receive_count + shown.repeats
    said = [f"Delivered {words.plural(delivered, 'time')} by the queue."] if delivered > 1 else []
    if refused:
        said.append(f"Replayed {words.plural(refused, 'time')} and refused again.")
    return " ".join(said)


def _beside(shown: Message, entries: Sequence[AuditEntry]) -> list[Beside]:
    """The message that this one corrects, that corrects it, and those that brought the same publication id. One query."""
    keys = [key for key in (shown.corrects_id, shown.conflicts_with_id) if key is not None]
    others = Message.objects.filter(Q(pk__in=keys) | Q(corrects=shown) | Q(conflicts_with=shown)).defer("attributes").order_by("pk")
    by = next((entry for entry in entries if entry.action == Action.CORRECT), None)
    who = f"by {quarantine.who(by)} on {words.full(by.at)}, giving the reason “{by.note}”" if by else ""
    found = []
    for number, other in enumerate(others[:MOST_BESIDE]):
        note = texts.not_compared(other, shown)
        compared = difference if number < MOST_DIFFERENCES and not note else _not_compared
        href, note = message_address(other), f"{note} Download both, and compare them with a program of your own." if note else ""
        if other.pk == shown.corrects_id:
            sentence = f"Written {who} in the place of a message that was refused. That one is kept as it came."
            found.append(Beside("Correction", sentence, href, "The original message", compared(other.body, shown.body), note))
        elif other.corrects_id == shown.pk:
            sentence = f"Corrected {who}. This text is kept as it came."
            found.append(Beside("Correction", sentence, href, "The correction", compared(shown.body, other.body), note))
        elif other.conflicts_with_id == shown.pk:
            sentence = "A later message carries the same publication id. Removed is what this one says, added what the later one says."
            found.append(Beside("Publication conflict", sentence, href, "The later message", compared(shown.body, other.body), note))
        else:
            sentence = "Both carry the same publication id. Removed is what the earlier message says, added what this one says."
            found.append(Beside("Publication conflict", sentence, href, "The earlier message", compared(other.body, shown.body), note))
    return found


def _not_compared(_original: str, _changed: str) -> None:
    return None


def _hold_of(shown: Message) -> Hold | None:
    """The hold of the message's group, with how many messages wait behind it."""
    held = Message.objects.filter(outcome=Outcome.HELD, queue=OuterRef("queue"), group_id=OuterRef("group_id"))
    waiting = Subquery(held.order_by().values("group_id").annotate(n=Count("pk")).values("n"))
    rows = Hold.objects.filter(queue=shown.queue, group_id=shown.group_id).annotate(waiting=waiting)
    return rows.select_related("message").defer("message__body").first()


def _held_behind(shown: Message) -> QuerySet[Message]:
    held = Message.objects.filter(queue=shown.queue, group_id=shown.group_id, outcome=Outcome.HELD)
    return held.defer("attributes").order_by("pk")


def _recorded_later(shown: Message) -> int:
    """How many later messages of its group are in the history of the trade that it names."""
    later = Event.objects.filter(message__gt=shown.pk, message__queue=shown.queue, message__group_id=shown.group_id)
    return later.filter(trade__trade_id=shown.stated_trade_id).values("message").distinct().count()


def _upload_of(shown: Message) -> int | None:
    if shown.publication_id is None:
        return None
    return Publication.objects.filter(publication_id=shown.publication_id).values_list("document__upload", flat=True).first()
