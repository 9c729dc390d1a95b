"""What is known of the way of one message: its rows, from the file that was handed in to its events. Read in a few queries, however
much there is of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from trades.models import AuditEntry, Document, Event, Hold, Message, Publication, Refusal, Repeat, SendAttempt, Upload, Worker

MOST_REPEATS = 50
MOST_EVENTS = 50
MOST_ACTS = 200
MOST_REFUSALS = 20
SILENT = timedelta(seconds=60)
Outcome = Message.Outcome
DECISIONS = (AuditEntry.Action.PUBLISH, AuditEntry.Action.WITHDRAW)


@dataclass(slots=True)
class Story:
    """The rows of one way. What there is none of, or what has not happened yet, is None or empty."""

    now: datetime
    document: Document | None = None
    parts: int = 1
    refusals: list[Refusal] = field(default_factory=list)
    publication: Publication | None = None
    failures: list[SendAttempt] = field(default_factory=list)
    sent_first: Publication | None = None  # the unsent publication of its group that goes before it
    message: Message | None = None
    worker: Worker | None = None  # of its queue, the last that was heard of; only while it is not received
    repeats: list[Repeat] = field(default_factory=list)
    stand_in: int | None = None  # the key of the correction that a person wrote in its place
    blocker: int | None = None  # the key of what it waits behind
    events: list[Event] = field(default_factory=list)  # its own, of its correction, or of the message that it repeats
    audit: list[AuditEntry] = field(default_factory=list)

    @property
    def upload(self) -> Upload | None:
        """The act of handing it in."""
        return self.document.upload if self.document else None

    @property
    def began(self) -> datetime | None:
        """When it was handed in, or sent by another program."""
        return self.upload.created_at if self.upload else self.message.sent_at if self.message else None

    @property
    def has_worker(self) -> bool:
        """Whether a worker of its queue was heard of just now."""
        worker = self.worker
        return worker is not None and worker.state != Worker.State.STOPPED and self.now - worker.seen_at < SILENT


def of_publication(publication: Publication, now: datetime) -> Story:
    """The story of a publication, from `published`. At most six queries."""
    return _told(Story(now), publication, Message.objects.filter(publication_id=publication.publication_id))


def of_message(message: Message, now: datetime) -> Story:
    """The story of a message, from `arrived`. At most six queries."""
    publication = None
    if message.publication_id:
        publication = published().filter(publication_id=message.publication_id).first()
    return _told(Story(now), publication, message)


def of_document(document: Document, now: datetime) -> Story:
    """The story of a document of which nothing was published, its upload loaded. Two queries."""
    story = Story(now, document)
    story.refusals = list(Refusal.objects.filter(document=document).order_by("part")[:MOST_REFUSALS])
    story.parts = max((refusal.part for refusal in story.refusals), default=1)
    story.audit = _acts([], document.upload)
    return story


def published() -> QuerySet[Publication]:
    """Publications with what their story needs."""

    def last_part(rows: QuerySet[Publication] | QuerySet[Refusal]) -> Coalesce:
        return Coalesce(Subquery(rows.filter(document=OuterRef("document")).order_by("-part").values("part")[:1]), 0)

    rows = Publication.objects.select_related("document__upload__created_by", "payload").defer("document__content")
    return rows.annotate(last_published=last_part(Publication.objects.all()), last_refused=last_part(Refusal.objects.all()))


def arrived() -> QuerySet[Message]:
    """Messages with what their story needs."""
    hold = Hold.objects.filter(queue=OuterRef("queue"), group_id=OuterRef("group_id")).values("message")
    correction = Message.objects.filter(corrects=OuterRef("pk"), corrects__isnull=False).values("pk")
    return Message.objects.select_related("payload").annotate(held_by=Subquery(hold[:1]), corrected_by=Subquery(correction[:1]))


def _told(story: Story, publication: Publication | None, message: Message | QuerySet[Message]) -> Story:
    story.publication = publication
    story.message = message if isinstance(message, Message) else arrived().filter(pk__in=message).first()
    if publication:
        story.document = publication.document
        story.parts = max(publication.last_published, publication.last_refused)  # type: ignore[attr-defined]
        _read_sending(story, publication)
    if story.message:
        _read_settling(story, story.message)
    elif publication:
        story.worker = Worker.objects.filter(queue=publication.queue).order_by("-seen_at").first()
    pks = [story.message.pk, story.stand_in, story.message.corrects_id] if story.message else []
    story.audit = _acts([pk for pk in pks if pk], story.upload, publication)
    return story


def _read_sending(story: Story, publication: Publication) -> None:
    is_sent = publication.state == Publication.State.SENT
    if publication.attempts > is_sent:
        story.failures = list(SendAttempt.objects.filter(publication=publication).order_by("pk"))
    if not is_sent:
        earlier = Publication.objects.unsent().filter(queue=publication.queue, group_id=publication.group_id, id__lt=publication.pk)
        story.sent_first = earlier.defer("body").first()


def _read_settling(story: Story, message: Message) -> None:
    if message.repeats:
        story.repeats = list(Repeat.objects.filter(message=message).order_by("pk")[:MOST_REPEATS])
    if message.outcome == Outcome.CORRECTED:
        story.stand_in = message.corrected_by  # type: ignore[attr-defined]
    if message.outcome == Outcome.HELD:
        story.blocker = message.held_by  # type: ignore[attr-defined]
    pks = [pk for pk in (message.pk, message.repeats_message_id, story.stand_in) if pk]
    events = Event.objects.filter(message__in=pks).select_related("trade").defer("details").order_by("message", "part")
    story.events = list(events[:MOST_EVENTS])


def _acts(messages: list[int], upload: Upload | None, publication: Publication | None = None) -> list[AuditEntry]:
    about = Q(message__in=messages)
    if publication is not None:
        about |= Q(publication=publication)
    if upload is not None:
        about |= Q(upload=upload, action__in=DECISIONS)
    return list(AuditEntry.objects.filter(about).select_related("user").order_by("id")[:MOST_ACTS])
