"""The hops of a message's way, put into words: what happened, when, with the ids that prove it; and what each hop that has not happened
yet waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from trades import quarantine, sqs
from trades.models import AuditEntry, Event, Message, Publication, Refusal, Upload
from trades.web import reasons, texts, words
from trades.web.names import is_partners
from trades.web.trace_story import DECISIONS, MOST_REPEATS, Outcome, Story
from trades.web.trade_view import event_address, message_address

Text = str | SafeString
# So long a worker may take to report a delete.
REPORTED_WITHIN = timedelta(seconds=60)
HOW: dict[str, str] = {
    Upload.Source.WEB: "on the web page",
    Upload.Source.ADMIN: "in the admin",
    Upload.Source.COMMAND: "on the command line",
}
SWALLOWED = "SQS took it for a message that it had within five minutes, and delivers that one alone."
START_WORKER = "Start one with python manage.py consume_trades."
SETTLED_WITHOUT_EVENT = {Outcome.REFERENCE, Outcome.DISCARDED, Outcome.CORRECTED}


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact of a hop; `copied` is the text worth copying, "" where it is none."""

    name: str
    value: Text
    copied: str = ""


@dataclass(slots=True)
class Hop:
    """One hop. The state is "done", "bad" or "warn" for what happened, "next" for what has not, "unknown" for what nobody reported.

    `gap` is the time since the hop before that has a moment, in words. One aside is not part of the way and of its length.
    """

    name: str
    icon: str
    state: str
    said: Text
    at: datetime | None = None
    facts: list[Fact] = field(default_factory=list)
    is_aside: bool = False
    gap: str = ""
    is_longest: bool = False

    @property
    def when(self) -> SafeString:
        """The moment to the millisecond."""
        return words.exact_tag(self.at)


def hops_of(story: Story) -> list[Hop]:
    """All hops in order: what happened, then what is still to come."""
    hops = [*_handing_in(story), *_sending(story), *_receiving(story)]
    return [hop for hop in hops if hop.state != "next"] + [hop for hop in hops if hop.state == "next"]


def trace_address(pk: int) -> str:
    """The address of a message's trace."""
    return reverse("trace_message", args=[pk])


def numbered(pk: int) -> SafeString:
    """A link to the trace of another message: "message 12"."""
    return format_html('<a href="{}">message {}</a>', trace_address(pk), pk)


def events_told(events: Sequence[Event], first: str = "event") -> SafeString:
    """Links to events: "event 4 of T-10041, event 1 of T-10042"."""
    links = ((event_address(event), "event" if n else first, event.position, event.trade.trade_id) for n, event in enumerate(events))
    return format_html_join(", ", '<a href="{}">{} {} of {}</a>', links)


# From the file to the outbox


def _handing_in(story: Story) -> Iterator[Hop]:
    document, upload = story.document, story.upload
    if document is None or upload is None:
        return
    how = HOW[upload.source]
    said = f"By {upload.created_by.get_username()} {how}." if upload.created_by else f"{how.capitalize()}."
    facts = [
        Fact("Upload", format_html('<a href="{}">{}</a>', reverse("upload", args=[upload.pk]), upload.pk)),
        Fact("File", document.name, document.name),
        Fact("Size", words.plural(document.size, "byte")),
        Fact("SHA-256", document.sha256, document.sha256),
    ]
    if story.publication and story.parts > 1:
        facts.append(Fact("Part", f"message {story.publication.part:,} of {story.parts:,} in the file"))
    yield Hop("Handed in", "upload", "done", said, upload.created_at, facts)
    yield _checked(story, upload)
    if story.publication or not story.refusals:
        yield from (_act(entry, None) for entry in story.audit if entry.action in DECISIONS)
    if upload.stage == Upload.Stage.REVIEW and not story.publication and not story.refusals:
        yield Hop("Published", "send", "next", "Waits in review for a person to publish or withdraw it.")


def _checked(story: Story, upload: Upload) -> Hop:
    document, publication = story.document, story.publication
    facts = [Fact("Format", document.dialect)] if document and document.dialect else []
    if document and (kind := publication.message_type if publication else document.message_type):
        facts.append(Fact("Type", kind))
    at = upload.checked_at
    if publication:
        return Hop("Checked", "file-search", "done", f"{publication.summary or 'Published as it is'}.", at, facts)
    if story.refusals:
        said = format_html_join(" ", "{}", ((_refused(refusal, story.parts),) for refusal in story.refusals))
        return Hop("Refused", "circle-x", "bad", said, at, facts)
    return Hop("Checked", "file-search", "done", "Understood; nothing of it is published.", at, facts)


def _refused(refusal: Refusal, parts: int) -> str:
    where = ", ".join(
        part for part in (f"message {refusal.part:,}" if parts > 1 else "", words.place(refusal.line, refusal.column)) if part
    )
    return f"{where[0].upper()}{where[1:]}: {refusal.reason}" if where else refusal.reason


def _sending(story: Story) -> Iterator[Hop]:
    publication, message = story.publication, story.message
    if publication is None:
        if message is not None and message.corrects_id is None:
            facts = [*_queue_facts(message, message), *_trace_context(message)]
            yield Hop("Sent", "send", "done", "By another program, straight to the queue.", message.sent_at, facts)
        return
    stored = "Stored, to be sent in the order of its message group."
    facts = [Fact("Publication id", str(publication.publication_id), str(publication.publication_id)), *_trace_context(publication)]
    yield Hop("Outbox", "inbox", "done", stored, publication.created_at, facts)
    for number, failure in enumerate(story.failures, start=1):
        yield Hop(f"Attempt {number} to send failed", "circle-x", "warn", failure.error, failure.at)
    failed = publication.attempts - (publication.state == Publication.State.SENT)
    if (unkept := failed - len(story.failures)) > 0:
        said = f"{words.plural(unkept, 'attempt')} of which only the number was kept."
        yield Hop("Attempts to send failed", "circle-x", "warn", said)
    yield from (_act(entry, None) for entry in story.audit if entry.publication_id is not None)
    if publication.state == Publication.State.CANCELLED:
        yield Hop("Not sent", "ban", "warn", "It was cancelled in the outbox.")
        return
    if publication.state != Publication.State.SENT:
        yield Hop("Accepted by SQS", "send", "next", _waits_to_be_sent(story, publication))
        return
    facts = _queue_facts(publication, message)
    at = publication.sent_at
    if message is not None and message.sent_at is not None:
        at = message.sent_at
        facts.append(Fact("Answer stored", words.exact_tag(publication.sent_at)))
    said = f"On attempt {max(1, publication.attempts):,}."
    if publication.swallowed:
        yield Hop("Accepted by SQS", "send", "warn", f"{said} {SWALLOWED}", at, facts)
        return
    yield Hop("Accepted by SQS", "send", "done", said, at, facts)


def _trace_context(row: Publication | Message) -> list[Fact]:
    return [Fact("Trace context", context, context)] if (context := texts.trace_context(row)) else []


def _waits_to_be_sent(story: Story, publication: Publication) -> Text:
    if story.sent_first:
        first = story.sent_first
        address = reverse("trace_publication", args=[first.publication_id])
        return format_html('Waits for <a href="{}">{}</a>, which goes first in its message group.', address, first.summary)
    if publication.last_error:
        return f"Waits for the relay to try again. Last error: {publication.last_error}"
    return "Waits for the relay to send it."


def _queue_facts(sent: Publication | Message, arrived: Message | None) -> list[Fact]:
    """What SQS answered. Its MD5 is compared with that of the text that we sent, or that came."""
    md5 = sent.md5 if isinstance(sent, Publication) else sent.body_md5
    ours = "ours" if isinstance(sent, Publication) else "that of its text"
    facts = [
        Fact("Queue", sent.queue),
        Fact("SQS message id", sent.message_id, sent.message_id),
        Fact("Sequence number", number, number)
        if (number := (sent.sequence_number or (arrived.sequence_number if arrived else "")).lstrip("0"))
        else Fact("Sequence number", "the queue gave none"),
        Fact("Message group", sent.group_id, sent.group_id),
        Fact("Deduplication id", sent.deduplication_id or words.ABSENT, sent.deduplication_id),
        *(Fact(name, value, str(value) if is_copied else "") for name, value, is_copied in texts.travelled(sent)),
    ]
    if md5:
        same = md5 == sqs.md5_of(sent.pointer or sent.body)
        facts.append(Fact("MD5", format_html("{} {}", md5, f"(equals {ours})" if same else f"(differs from {ours})"), md5))
    if isinstance(sent, Publication) and arrived is not None and arrived.message_id != sent.message_id:
        facts.append(Fact("Arrived as", f"SQS message id {arrived.message_id}: it was sent more than once", arrived.message_id))
    return facts


# From the queue to the history


def _receiving(story: Story) -> Iterator[Hop]:
    message = story.message
    if message is None:
        if story.publication:
            yield from _to_come(story, story.publication)
        return
    if message.corrects_id is None:
        yield _received(message)
    yield _stored(story, message)
    if message.corrects_id is None and message.deleted_at is None:
        yield _undeleted(message, story.now)
    yield from sorted(_afterwards(story, message), key=lambda hop: hop.at or story.now)
    yield from _shown(story, message)


def _to_come(story: Story, publication: Publication) -> Iterator[Hop]:
    if publication.state == Publication.State.CANCELLED or publication.swallowed:
        return
    if is_partners(publication.queue):
        yield Hop("Received", "download", "unknown", "The queue is a partner's: what becomes of it there is not seen here.")
        return
    waits = "Waits until it is sent."
    if publication.state == Publication.State.SENT:
        waits = _waits_for_worker(story)
    yield Hop("Received", "download", "next", waits)
    yield Hop("Recorded", "database", "next", "Once a worker has it, in one transaction with its events.")
    yield Hop("Deleted from the queue", "trash-2", "next", "Once it is committed.")
    yield Hop("Shown", "eye", "next", f"In the history of {publication.trade_id or 'its trade'}.")


def _waits_for_worker(story: Story) -> str:
    if story.worker is None:
        return f"Waits for a worker, and none has ever reported on this queue. {START_WORKER}"
    if not story.has_worker:
        return (
            f"Waits for a worker, and none runs on this queue: the last heartbeat was on {words.full(story.worker.seen_at)}. {START_WORKER}"
        )
    return f"Waits for a worker. {story.worker} runs on this queue; earlier messages, or those of its group in flight, come first."


def _received(message: Message) -> Hop:
    by = f"By worker {message.worker}." if message.worker else "By a worker whose name was not kept."
    said = [by]
    if message.receive_count > 1:
        said.append(f"It was received {message.receive_count:,} times until it could be stored.")
    if message.via_dead_letter:
        said.append("It came from the dead-letter queue: SQS had given up delivering it.")
    facts = [Fact("Receive count", f"{message.receive_count:,}")]
    if message.worker:
        facts.insert(0, Fact("Worker", message.worker, message.worker))
    return Hop("Received", "download", "done", " ".join(said), message.received_at, facts)


def _stored(story: Story, message: Message) -> Hop:
    facts = [
        Fact("Message", format_html('<a href="{}">{}</a>', message_address(message), message.pk), str(message.pk)),
        Fact("Body SHA-256", message.body_sha256, message.body_sha256),
        Fact("Size", words.plural(message.size, "byte")),
    ]
    if message.dialect:
        facts.insert(1, Fact("Read as", " ".join(part for part in (message.dialect, message.message_type) if part)))
    name, icon, state, said = _first_outcome(story, message)
    return Hop(name, icon, state, said, message.recorded_at, facts)


def _first_outcome(story: Story, message: Message) -> tuple[str, str, str, Text]:
    """What was done with it when it was stored: name, icon, state and sentence."""
    if message.corrects_id is not None:
        return "Recorded", "database", "done", format_html("Written by a person to stand in for {}.", numbered(message.corrects_id))
    if message.outcome == Outcome.DUPLICATE:
        first = numbered(message.repeats_message_id) if message.repeats_message_id else "an earlier message"
        return "Duplicate", "copy", "done", format_html("It has the content of {}, and had no effect.", first)
    if message.code:
        place = words.place(message.line, message.column)
        said = f"{reasons.code_word(message.code)}{f', {place}' if place else ''}: {message.reason}"
        return "Quarantined", "circle-x", "bad" if message.settled_at is None else "warn", said
    if message.outcome == Outcome.HELD or was_held(story, message):
        return "Held", "clock", "warn", _behind(story, message)
    if message.outcome == Outcome.REFERENCE:
        return "Kept for reference", "book-open", "done", message.reason
    return "Recorded", "database", "done", "Committed in one transaction with its events."


def was_held(story: Story, message: Message) -> bool:
    """Whether its events were entered later than it was stored."""
    return any(event.message_id == message.pk and event.recorded_at > message.recorded_at for event in story.events)


def _behind(story: Story, message: Message) -> Text:
    if message.outcome != Outcome.HELD:
        return "It waited behind an earlier message of its group."
    return format_html("It waits behind {} in quarantine.", numbered(story.blocker)) if story.blocker else "It waits in its group."


def _undeleted(message: Message, now: datetime) -> Hop:
    if now - message.recorded_at < REPORTED_WITHIN:
        said = "Delete not reported yet: a worker reports it some seconds later."
    else:
        said = (
            "Delete not reported. A worker that was killed loses this note, and older messages have none. If the queue still has the "
            "message, it comes again, is acknowledged without effect, and is listed here."
        )
    return Hop("Deleted from the queue", "trash-2", "unknown", said)


def _afterwards(story: Story, message: Message) -> Iterator[Hop]:
    if message.deleted_at is not None and message.corrects_id is None:
        yield Hop("Deleted from the queue", "trash-2", "done", "The queue confirmed it.", message.deleted_at)
    for repeat in story.repeats:
        facts = [Fact("Receive count", f"{repeat.receive_count:,}")]
        if repeat.worker:
            facts.append(Fact("Worker", repeat.worker, repeat.worker))
        if repeat.sqs_message_id and repeat.sqs_message_id != message.message_id:
            facts.append(Fact("SQS message id", repeat.sqs_message_id, repeat.sqs_message_id))
        said = "It was stored already: acknowledged without effect."
        yield Hop("Delivered again", "repeat", "warn", said, repeat.received_at, facts, is_aside=True)
    if message.repeats > len(story.repeats):
        more = message.repeats - len(story.repeats)
        what = "were left out here" if len(story.repeats) == MOST_REPEATS else "were only counted"
        yield Hop(
            "Further deliveries", "repeat", "warn", f"{words.plural(more, 'more delivery', 'more deliveries')} {what}; none had an effect."
        )
    yield from (_act(entry, message) for entry in story.audit if entry.message_id is not None)
    if was_held(story, message):
        entered = next(event.recorded_at for event in story.events if event.message_id == message.pk)
        yield Hop("Recorded", "database", "done", "Entered into the history in the order of its group.", entered)


def _act(entry: AuditEntry, message: Message | None) -> Hop:
    """What a person did to it, or to the message that it corrects."""
    note = reasons.noted(entry, message if message and entry.message_id == message.pk else None)
    said = f"By {quarantine.who(entry)}{f': {note}' if note else '.'}"
    if message is not None and entry.message_id == message.corrects_id:
        said = f"The original message: {said[0].lower()}{said[1:]}"
    return Hop(reasons.done(entry), "user", "done", said, entry.at)


def _shown(story: Story, message: Message) -> Iterator[Hop]:
    own = [event for event in story.events if event.message_id == message.pk]
    if message.outcome == Outcome.QUARANTINED:
        yield Hop("Recorded", "database", "next", "Waits for a person to replay, correct or discard it.")
    elif message.outcome == Outcome.HELD:
        waits = format_html("Once {} is replayed, corrected or discarded.", numbered(story.blocker)) if story.blocker else "In its turn."
        yield Hop("Recorded", "database", "next", waits)
    elif own:
        yield Hop("Shown", "eye", "done", format_html("{}{}.", events_told(own, "Event"), _places(own)))
    elif message.outcome == Outcome.DUPLICATE and story.events:
        yield Hop("Shown", "eye", "done", format_html("As {}, which the earlier message brought.", events_told(story.events)))
    elif story.stand_in is not None:
        events = format_html(": {}", events_told(story.events)) if story.events else ""
        yield Hop("Shown", "eye", "done", format_html("In its place stands {}{}.", numbered(story.stand_in), events))
    elif message.outcome not in SETTLED_WITHOUT_EVENT:
        yield Hop("Shown", "eye", "done", "It added no event.")


def _places(events: Sequence[Event]) -> str:
    """Where an only event stands in business order, if that is not where it stands in queue order."""
    moved = len(events) == 1 and events[0].place != events[0].position
    return f", place {events[0].place} in business order" if moved else ""
