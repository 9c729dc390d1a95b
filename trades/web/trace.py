"""Where a message is: one sentence, the hops of its way with the time that each took, and the whole of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trades import quarantine
from trades.models import AuditEntry, Event, Message, Publication, Upload
from trades.web import reasons, trace_hops, words
from trades.web.names import are_many_queues, is_partners
from trades.web.trace_hops import Hop, Text, events_told, hops_of, numbered
from trades.web.trace_story import Outcome, Story
from trades.web.words import Badge

IN_REVIEW = Badge("In review", "warn", "clock")
WITHDRAWN = Badge("Withdrawn", "void", "ban")
WITH_PARTNER = Badge("In the partner's queue", "info", "send")
SWALLOWED = Badge("Not delivered again", "warn", "copy")
MOST_NAMED = 3  # events in the sentence
SENTENCE = 300  # characters of a reason in it
# SQS tells its moments to the millisecond, so that one may seem to lie before a moment of ours that was earlier.
TRUNCATED = timedelta(milliseconds=1)
DIFFER = "clocks differ"


@dataclass(frozen=True, slots=True)
class Way:
    """What the page of one message shows. `seen` changes with what is shown, and with nothing else."""

    title: str
    badge: Badge
    answer: Text
    hops: list[Hop]
    whole: str
    links: list[tuple[str, str]]
    seen: str


def way_of(story: Story) -> Way:
    """Everything that the page shows of a story."""
    hops = hops_of(story)
    measure(hops)
    badge, answer = answer_of(story)
    whole = _whole(hops)
    shown = repr([(hop.name, hop.state, str(hop.said), hop.at, hop.facts) for hop in hops]) + str(answer)
    return Way(_title(story), badge, answer, hops, whole, _links(story), hashlib.sha256(shown.encode()).hexdigest()[:16])


def measure(hops: Sequence[Hop]) -> None:
    """Give each hop the time since the last one before it that has a moment, and mark the longest where there are several."""
    timed = [hop for hop in hops if hop.at is not None]
    longest: tuple[timedelta, Hop | None] = (timedelta(0), None)
    for before, hop in pairwise(timed):
        took = _between(before.at, hop.at)
        hop.gap = DIFFER if took is None else f"after {length(took)}"
        if took is not None and took > longest[0] and not hop.is_aside:
            longest = (took, hop)
    if len(timed) > 2 and longest[1] is not None:
        longest[1].is_longest = True


def length(took: timedelta) -> str:
    """A length of time as it is read: "48 ms", "2.1 s", "3 m 12 s", "1 h 12 m"."""
    if took < timedelta(seconds=1):
        return f"{took // timedelta(milliseconds=1)} ms"
    if took < timedelta(hours=1):
        minutes, seconds = divmod(took.total_seconds(), 60)
        return f"{minutes:.0f} m {int(seconds)} s" if minutes else f"{seconds:.1f} s"
    return words.duration(took)


def _between(first: datetime | None, last: datetime | None) -> timedelta | None:
    """The time between two moments, None where it can't be told: the later one lies before the other by another clock."""
    if first is None or last is None or last - first < -TRUNCATED:
        return None
    return max(timedelta(0), last - first)


def _whole(hops: Sequence[Hop]) -> str:
    timed = [hop for hop in hops if hop.at is not None and not hop.is_aside]
    took = _between(timed[0].at, timed[-1].at) if len(timed) > 1 else None
    return f"{length(took)} from “{timed[0].name}” to “{timed[-1].name}”" if took is not None else ""


def _title(story: Story) -> str:
    publication, message = story.publication, story.message
    if publication:
        return publication.summary or publication.document.name
    if message:
        return f"{message.message_type or 'Message'} {message.message_id}"
    return story.document.name if story.document else ""


def _links(story: Story) -> list[tuple[str, str]]:
    """Where else to look: what, and its address."""
    links = []
    if story.message:
        links.append((f"Message {story.message.pk}", reverse("message", args=[story.message.pk])))
    if story.upload:
        links.append((f"Upload {story.upload.pk}", reverse("upload", args=[story.upload.pk])))
    return links


# The sentence


def answer_of(story: Story) -> tuple[Badge, Text]:
    """Where it is, in one sentence."""
    if story.message:
        return _badge(story.message), _of_message(story, story.message)
    if story.publication:
        return _of_publication(story, story.publication)
    return _of_document(story)


def _badge(message: Message) -> Badge:
    standing = reasons.standing(message)
    return standing if standing is words.REPLAYED else words.OUTCOMES[message.outcome]


def _of_message(story: Story, message: Message) -> Text:
    own = [event for event in story.events if event.message_id == message.pk]
    if own:
        return format_html("Recorded as {}{}.", _named(own), _how_soon(story, own[0].recorded_at))
    answers: dict[str, Callable[[Story, Message], Text]] = {
        Outcome.QUARANTINED: _quarantined,
        Outcome.HELD: _held,
        Outcome.DUPLICATE: _duplicate,
        Outcome.DISCARDED: _discarded,
        Outcome.CORRECTED: _corrected,
        Outcome.REFERENCE: _reference,
    }
    told = answers.get(message.outcome)
    return told(story, message) if told else format_html("Recorded; it added no event{}.", _how_soon(story, message.recorded_at))


def _named(events: Sequence[Event]) -> SafeString:
    more = len(events) - MOST_NAMED
    named = events_told(events[:MOST_NAMED])
    return format_html("{} and {} more", named, more) if more > 0 else named


def _how_soon(story: Story, at: datetime) -> str:
    took = _between(story.began, at)
    if took is None:
        return ""
    return f" {length(took)} after it was {'handed in' if story.upload else 'sent'}"


def _quarantined(_: Story, message: Message) -> Text:
    return f"In quarantine since {words.full(message.recorded_at)}: {words.cut(message.reason, SENTENCE)}"


def _reference(_: Story, message: Message) -> Text:
    return f"Kept for reference, no trade event: {words.cut(message.reason, SENTENCE)}"


def _held(story: Story, message: Message) -> Text:
    if story.blocker is None:
        return f"Waits in its message group since {words.full(message.recorded_at)}."
    return format_html("Waits behind {} in quarantine since {}.", numbered(story.blocker), words.full(message.recorded_at))


def _duplicate(story: Story, message: Message) -> Text:
    if message.repeats_message_id is None:
        return "Duplicate of an earlier message; it had no effect."
    events = format_html(", {}", _named(story.events)) if story.events else ""
    return format_html("Duplicate of {}{}; it had no effect.", numbered(message.repeats_message_id), events)


def _discarded(story: Story, message: Message) -> Text:
    act = _last_act(story, message, AuditEntry.Action.DISCARD)
    return f"Discarded by {quarantine.who(act)} on {words.full(act.at)}: {reasons.noted(act)}" if act else "Discarded."


def _corrected(story: Story, message: Message) -> Text:
    act = _last_act(story, message, AuditEntry.Action.CORRECT)
    by = f" by {quarantine.who(act)} on {words.full(act.at)}" if act else ""
    if story.stand_in is None:
        return f"Corrected{by}."
    events = format_html(", recorded as {}", _named(story.events)) if story.events else ""
    return format_html("Corrected{}: {} stands in for it{}.", by, numbered(story.stand_in), events)


def _last_act(story: Story, message: Message, action: str) -> AuditEntry | None:
    return next((entry for entry in reversed(story.audit) if entry.action == action and entry.message_id == message.pk), None)


def _of_publication(story: Story, publication: Publication) -> tuple[Badge, Text]:
    if publication.state == Publication.State.CANCELLED:
        act = next((entry for entry in reversed(story.audit) if entry.publication_id is not None), None)
        by = f" by {quarantine.who(act)} on {words.full(act.at)}: {reasons.noted(act)}" if act else "."
        return words.CANCELLED, f"Cancelled in the outbox{by}"
    if publication.state != Publication.State.SENT:
        return words.WAITING, _unsent(story, publication)
    when = f" since {words.full(publication.sent_at)}" if publication.sent_at else ""
    if publication.swallowed:
        return SWALLOWED, f"Sent to the queue {publication.queue}. {trace_hops.SWALLOWED}"
    if is_partners(publication.queue):
        return WITH_PARTNER, f"In the partner's queue {publication.queue}{when}; what becomes of it there is not seen here."
    since = f"In the queue{f' {publication.queue}' if are_many_queues() else ''}{when}"
    return words.ON_ITS_WAY, f"{since}; no worker has received it{'' if story.has_worker else ', and none runs on this queue'}."


def _unsent(story: Story, publication: Publication) -> Text:
    error = words.cut(publication.last_error, SENTENCE)
    if publication.attempts:
        return f"Waits in the outbox: attempt {publication.attempts:,} failed: {error}"
    if story.sent_first:
        return f"Waits in the outbox, behind an earlier message of its group that is not sent yet{f': {error}' if error else '.'}"
    return f"Waits in the outbox: {error}" if error else f"Waits in the outbox since {words.full(publication.created_at)}; not sent yet."


def _of_document(story: Story) -> tuple[Badge, Text]:
    upload = story.upload
    if story.refusals:
        refusal = story.refusals[0]
        place = words.place(refusal.line, refusal.column)
        return words.REFUSED, f"Refused at upload{f', {place}' if place else ''}: {words.cut(refusal.reason, SENTENCE)}"
    if upload and upload.stage == Upload.Stage.WITHDRAWN:
        return WITHDRAWN, "Withdrawn in review, not published."
    if upload and upload.stage == Upload.Stage.REVIEW:
        return IN_REVIEW, "In review, not published."
    return words.REFUSED, "Handed in; nothing of it was published."
