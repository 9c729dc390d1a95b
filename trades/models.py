"""The rows: what was uploaded, what was published, what arrived, and the ordered history of each trade.

No HTTP, no queue, no parsing here. Messages and events are never changed in substance once stored; columns that may change say so.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from trades.lifecycle import State, Status
from trades.messages.facts import EventClass

# order.Marks.UNKNOWN: of trades recorded before business order was kept. They are told anew with their next event.
ORDER_UNKNOWN = 4


def choices_of(enum: type[State | Status | EventClass]) -> list[tuple[str, str]]:
    """Django choices of an enum, each shown as a word: ("PENDING", "Pending")."""
    return [(member.value, member.value.replace("_", " ").capitalize()) for member in enum]


class Upload(models.Model):
    """One act of handing in documents, by a person or a command."""

    class Source(models.TextChoices):
        WEB = "WEB", "Web page"
        ADMIN = "ADMIN", "Admin"
        COMMAND = "COMMAND", "Command line"

    created_at = models.DateTimeField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT)
    source = models.CharField(max_length=10, choices=Source.choices)

    class Meta:
        permissions = [("publish", "Can upload and publish documents")]

    def __str__(self) -> str:
        return f"upload {self.pk}"


class Document(models.Model):
    """One file (or pasted text) of an upload: its exact bytes, and what the portal made of it or why it was refused."""

    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, related_name="documents")
    name = models.CharField(max_length=255)
    content = models.BinaryField()
    size = models.PositiveIntegerField(help_text="bytes")
    sha256 = models.CharField(max_length=64)
    dialect = models.CharField(max_length=60, blank=True)
    message_type = models.CharField(max_length=100, blank=True)

    def __str__(self) -> str:
        return self.name


class Refusal(models.Model):
    """Why a document, or one message of it, was not published: one sentence with its place."""

    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="refusals")
    part = models.PositiveIntegerField(default=1, help_text="which message of the document, counted from 1")
    code = models.CharField(max_length=40)
    reason = models.TextField()
    line = models.PositiveIntegerField(null=True)
    column = models.PositiveIntegerField(null=True)

    def __str__(self) -> str:
        return self.reason


class PublicationQuerySet(models.QuerySet["Publication"]):
    """Named subsets of the outbox."""

    def unsent(self) -> PublicationQuerySet:
        """What SQS has not acknowledged yet, in the order it must be sent."""
        return self.filter(state=Publication.State.PENDING).order_by("id")


class Publication(models.Model):
    """One row of the outbox: a message to send, then the facts of its having been sent."""

    class State(models.TextChoices):
        PENDING = "PENDING", "Waiting to be sent"
        SENT = "SENT", "Sent"

    publication_id = models.UUIDField(unique=True, default=uuid.uuid4, help_text="travels with the message as an attribute")
    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="publications")
    part = models.PositiveIntegerField(default=1)
    queue = models.CharField(max_length=80)
    group_id = models.CharField(max_length=128)
    deduplication_id = models.CharField(max_length=128)
    trade_id = models.CharField(max_length=255, blank=True)
    message_type = models.CharField(max_length=100, blank=True)
    summary = models.CharField(max_length=255, blank=True, help_text="what was understood, in words")
    body = models.TextField()
    created_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    sent_at = models.DateTimeField(null=True)
    message_id = models.CharField(max_length=100, blank=True, db_index=True)
    md5 = models.CharField(max_length=32, blank=True)
    sequence_number = models.CharField(max_length=39, blank=True)

    objects = PublicationQuerySet.as_manager()

    class Meta:
        # What the relay looks for: only unsent rows are in this index.
        indexes = [models.Index(fields=["queue", "id"], name="publication_unsent", condition=Q(state="PENDING"))]

    def __str__(self) -> str:
        return str(self.publication_id)


class OutboxLease(models.Model):
    """Who may send to a queue just now. One sender at a time keeps the order of every message group."""

    queue = models.CharField(max_length=80, unique=True)
    holder = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.queue}: {self.holder}"


class Trade(models.Model):
    """One trade: the present standing that its history leads to, and the id it was first known by."""

    key = models.CharField(max_length=64, unique=True, help_text="SHA-256 of scheme and id")
    scheme = models.CharField(max_length=255, blank=True)
    trade_id = models.CharField(max_length=255, db_index=True)
    state = models.CharField(max_length=10, choices=choices_of(State), default=State.PENDING.value)
    status = models.CharField(max_length=10, choices=choices_of(Status), blank=True)
    version = models.BigIntegerField(null=True)
    event_count = models.PositiveIntegerField(default=0)
    flagged_count = models.PositiveIntegerField(default=0, help_text="events with a flag")
    last_class = models.CharField(max_length=10, choices=choices_of(EventClass), blank=True, help_text="of the newest event")
    # With event_count these tell whether a further event comes after all others (order.Extent).
    highest_version = models.BigIntegerField(null=True, help_text="of all events that state one")
    last_event_time = models.DateTimeField(null=True, help_text="the latest that an event states")
    order_marks = models.PositiveSmallIntegerField(default=ORDER_UNKNOWN, help_text="order.Marks")
    queue = models.CharField(max_length=80, blank=True)
    group_id = models.CharField(max_length=128, blank=True, help_text="message group of the newest event")
    trade_date = models.DateField(null=True)
    product = models.CharField(max_length=255, blank=True)
    parties = models.CharField(max_length=500, blank=True)
    notional = models.CharField(max_length=100, blank=True, help_text="decimal text with currency, as stated")
    first_seen_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(F("updated_at").desc(), F("id").desc(), name="trade_newest"),
            models.Index(F("state"), F("updated_at").desc(), F("id").desc(), name="trade_state_newest"),
            models.Index(F("status"), F("updated_at").desc(), F("id").desc(), name="trade_status_newest"),
        ]

    def __str__(self) -> str:
        return self.trade_id


class TradeIdentifier(models.Model):
    """One of the ids a trade goes by. A message is about the trade that any of its ids leads to."""

    key = models.CharField(max_length=64, unique=True, help_text="SHA-256 of scheme and id")
    scheme = models.CharField(max_length=255, blank=True)
    value = models.CharField(max_length=255, db_index=True)
    trade = models.ForeignKey(Trade, on_delete=models.PROTECT, related_name="identifiers")
    is_uti = models.BooleanField(default=False, help_text="a unique transaction identifier (ISO 23897)")

    def __str__(self) -> str:
        return self.value


class TradeLink(models.Model):
    """Two histories that one message says are of the same trade. A person decides; they are never merged."""

    first = models.ForeignKey(Trade, on_delete=models.PROTECT, related_name="links_to_later", db_index=False)  # the unique pair serves
    second = models.ForeignKey(Trade, on_delete=models.PROTECT, related_name="links_to_earlier")
    message = models.ForeignKey("Message", on_delete=models.PROTECT, related_name="links", help_text="the first that says so")
    since = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["first", "second"], name="link_once_per_pair")]

    def __str__(self) -> str:
        return f"{self.first_id} and {self.second_id}"


class Message(models.Model):
    """One message as it came from the queue, whatever it contains; its text is never altered."""

    class Outcome(models.TextChoices):
        RECORDED = "RECORDED", "Recorded"
        DUPLICATE = "DUPLICATE", "Duplicate"
        HELD = "HELD", "Held"
        QUARANTINED = "QUARANTINED", "Quarantined"
        DISCARDED = "DISCARDED", "Discarded"
        REFERENCE = "REFERENCE", "Not a trade event"
        CORRECTED = "CORRECTED", "Corrected"

    queue = models.CharField(max_length=80)
    message_id = models.CharField(max_length=100)
    publication_id = models.UUIDField(null=True, unique=True)
    group_id = models.CharField(max_length=128)
    deduplication_id = models.CharField(max_length=128, blank=True)
    sequence_number = models.CharField(max_length=39, blank=True, help_text="zero-padded to 39 digits; evidence, not the key")
    attributes = models.JSONField(default=dict, blank=True)
    body = models.TextField()
    size = models.PositiveIntegerField(help_text="bytes")
    body_sha256 = models.CharField(max_length=64)
    body_md5 = models.CharField(max_length=32)
    sent_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    receive_count = models.PositiveIntegerField(default=1)
    # These may change: a message can be delivered again, and a quarantined or held one is settled later.
    repeats = models.PositiveIntegerField(default=0, help_text="deliveries after the first, acknowledged without effect")
    outcome = models.CharField(max_length=12, choices=Outcome.choices)
    repeats_message = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="copies", db_index=False)
    dialect = models.CharField(max_length=60, blank=True)
    message_type = models.CharField(max_length=100, blank=True)
    mapping_version = models.CharField(max_length=64, blank=True, help_text="of the dialect it was read with")
    code = models.CharField(max_length=40, blank=True, help_text="why it was quarantined, as a stable code")
    reason = models.TextField(blank=True, help_text="why it was quarantined, or why it is no trade event")
    line = models.PositiveIntegerField(null=True)
    column = models.PositiveIntegerField(null=True)
    element = models.CharField(max_length=255, blank=True)
    stated_trade_id = models.CharField(max_length=255, blank=True, help_text="the trade a refused message names, if that could be read")
    # The message that brought the same publication id with other content.
    conflicts_with = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="conflicts", db_index=False)
    via_dead_letter = models.BooleanField(default=False, help_text="SQS had given up delivering it; taken from the dead-letter queue")
    # The message that this one, written by a person, stands in for.
    corrects = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="corrections", db_index=False)
    settled_at = models.DateTimeField(null=True, help_text="when a person replayed, corrected or discarded it")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["queue", "message_id"], name="message_once_per_queue"),
            models.UniqueConstraint(fields=["corrects"], name="message_corrected_once", condition=Q(corrects__isnull=False)),
        ]
        indexes = [
            models.Index(fields=["-id"], name="message_quarantined", condition=Q(outcome="QUARANTINED")),
            models.Index(fields=["-id"], name="message_reference", condition=Q(outcome="REFERENCE")),
            models.Index(fields=["queue", "group_id", "id"], name="message_held_in_order", condition=Q(outcome="HELD")),
            models.Index(fields=["repeats_message"], name="message_copies", condition=Q(repeats_message__isnull=False)),
            models.Index(fields=["conflicts_with"], name="message_conflicts", condition=Q(conflicts_with__isnull=False)),
            models.Index(fields=["stated_trade_id"], name="message_stated_trade", condition=Q(stated_trade_id__gt="")),
            models.Index(F("settled_at").desc(), F("id").desc(), name="message_settled", condition=Q(settled_at__isnull=False)),
            models.Index(fields=["queue", "group_id", "id"], name="message_settled_group", condition=Q(settled_at__isnull=False)),
        ]
        permissions = [("settle", "Can replay, correct and discard quarantined messages")]

    def __str__(self) -> str:
        return self.message_id


class Event(models.Model):
    """One event of one trade. Append-only, but its place in business order and what is out of place about it may change when
    another event arrives. The state and status after it are those of its recording, in queue order."""

    trade = models.ForeignKey(Trade, on_delete=models.PROTECT, related_name="events", db_index=False)  # (trade, position) serves
    position = models.PositiveIntegerField(help_text="1..n within the trade, in queue order, without gap")
    place = models.PositiveIntegerField(default=0, help_text="1..n within the trade, in business order")
    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="events")
    part = models.PositiveIntegerField(default=1, help_text="which event of the message, counted from 1")
    event_class = models.CharField(max_length=10, choices=choices_of(EventClass))
    event_kind = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=500, blank=True, help_text="the document's own word")
    version = models.BigIntegerField(null=True)
    sequence = models.BigIntegerField(null=True)
    sender = models.CharField(max_length=255, blank=True)
    document_message_id = models.CharField(max_length=255, blank=True)
    correlation_id = models.CharField(max_length=255, blank=True)
    in_reply_to = models.CharField(max_length=255, blank=True)
    event_time = models.DateTimeField(null=True)
    event_time_text = models.CharField(max_length=500, blank=True)
    trade_date = models.DateField(null=True)
    reason = models.TextField(blank=True)
    details = models.JSONField(default=dict, blank=True)
    flags = models.JSONField(default=list, blank=True)
    state_after = models.CharField(max_length=10, choices=choices_of(State))
    status_after = models.CharField(max_length=10, choices=choices_of(Status), blank=True)
    content_sha256 = models.CharField(max_length=64)
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["trade", "position"], name="event_position_once"),
            models.UniqueConstraint(fields=["content_sha256", "trade"], name="event_content_once"),
        ]
        indexes = [
            models.Index(fields=["trade", "place"], name="event_business_order"),
            models.Index(fields=["correlation_id"], name="event_thread", condition=Q(correlation_id__gt="")),
        ]

    def __str__(self) -> str:
        return f"{self.trade_id} event {self.position}"


class Hold(models.Model):
    """A message group that waits behind a quarantined message. The row is also the lock for whoever adds to the wait or ends it."""

    queue = models.CharField(max_length=80)
    group_id = models.CharField(max_length=128)
    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="holds")
    since = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["queue", "group_id"], name="hold_once_per_group")]

    def __str__(self) -> str:
        return f"{self.queue} {self.group_id}"


class AppendOnlyQuerySet(models.QuerySet[Any]):
    """Rows that are added and read; neither changed nor deleted."""

    def update(self, **kwargs: Any) -> int:
        """Raises TypeError."""
        raise TypeError(f"Rows of {self.model.__name__} are never changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raises TypeError."""
        raise TypeError(f"Rows of {self.model.__name__} are never deleted.")


class AuditEntry(models.Model):
    """Who did what to a message, and why. Append-only."""

    class Action(models.TextChoices):
        REPLAY = "replay", "Replay"
        REPLAY_REFUSED = "replay refused", "Replay refused"
        CORRECT = "correct", "Correct and replay"
        DISCARD = "discard", "Discard"
        UNDO_DISCARD = "undo discard", "Undo discard"
        HELD = "held", "Wait behind an earlier message"

    at = models.DateTimeField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT)
    origin = models.CharField(max_length=150, blank=True, help_text="where it was done if nobody was signed in: the command and its user")
    action = models.CharField(max_length=40, choices=Action.choices)
    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="audit")
    note = models.TextField(blank=True)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.action} {self.message_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new entry. Raises TypeError for one that is stored already."""
        if not self._state.adding:
            raise TypeError("Audit entries are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Raises TypeError."""
        raise TypeError("Audit entries are never deleted.")


class Worker(models.Model):
    """One worker process, as it last reported. Its row is written every few seconds at most, and says nothing of order."""

    class State(models.TextChoices):
        STARTING = "STARTING", "Starting"
        IDLE = "IDLE", "Idle"
        WORKING = "WORKING", "Working"
        WAITING = "WAITING", "Waiting for queue or database"
        STOPPING = "STOPPING", "Stopping"
        STOPPED = "STOPPED", "Stopped"

    key = models.UUIDField(unique=True, default=uuid.uuid4)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    version = models.CharField(max_length=40)
    queue = models.CharField(max_length=80)
    state = models.CharField(max_length=10, choices=State.choices, default=State.STARTING)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(help_text="last heartbeat")
    last_poll_at = models.DateTimeField(null=True, help_text="when the queue last answered a receive, empty or not")
    received = models.PositiveBigIntegerField(default=0, help_text="messages, since it started")
    recorded = models.PositiveBigIntegerField(default=0, help_text="of these, stored for the first time")
    repeats = models.PositiveBigIntegerField(default=0, help_text="of these, acknowledged without effect")
    failures = models.PositiveBigIntegerField(default=0, help_text="times that the queue or the database was away")
    last_error = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["-seen_at"], name="worker_seen")]

    def __str__(self) -> str:
        return f"{self.host} {self.pid}"
