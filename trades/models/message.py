"""What arrived, whatever it contains, and what waits behind it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from trades.models.outbox import Payload


class Handler(models.Model):
    """The firm's own processing of what is recorded from a queue, as the worker that runs it made it known."""

    queue = models.CharField(max_length=80, unique=True)
    name = models.CharField(max_length=255, help_text="the Python callable, dotted")
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.queue}: {self.name}"


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
    body = models.TextField(help_text="empty where the text is in the payload")
    pointer = models.TextField(blank=True, help_text="the body that SQS delivered, where it stood for a text in S3")
    payload = models.ForeignKey(Payload, null=True, blank=True, on_delete=models.PROTECT, related_name="messages", db_index=False)
    size = models.PositiveIntegerField(help_text="bytes")
    body_sha256 = models.CharField(max_length=64)
    body_md5 = models.CharField(max_length=32)
    sent_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    receive_count = models.PositiveIntegerField(default=1)
    worker = models.CharField(max_length=150, blank=True, help_text="host and process that received it first")
    # These may change: a message can be delivered again, and a quarantined or held one is settled later.
    deleted_at = models.DateTimeField(null=True, help_text="when the queue confirmed that it was deleted; reported some seconds later")
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
            models.Index(fields=["body_md5"], name="message_md5"),
            models.Index(fields=["-id"], name="message_quarantined", condition=Q(outcome="QUARANTINED")),
            models.Index(fields=["-id"], name="message_reference", condition=Q(outcome="REFERENCE")),
            models.Index(fields=["queue", "group_id", "id"], name="message_held_in_order", condition=Q(outcome="HELD")),
            models.Index(fields=["queue", "group_id", "id"], name="message_quarantined_group", condition=Q(outcome="QUARANTINED")),
            models.Index(fields=["repeats_message"], name="message_copies", condition=Q(repeats_message__isnull=False)),
            models.Index(fields=["conflicts_with"], name="message_conflicts", condition=Q(conflicts_with__isnull=False)),
            models.Index(fields=["stated_trade_id"], name="message_stated_trade", condition=Q(stated_trade_id__gt="")),
            models.Index(F("settled_at").desc(), F("id").desc(), name="message_settled", condition=Q(settled_at__isnull=False)),
            models.Index(fields=["queue", "group_id", "id"], name="message_settled_group", condition=Q(settled_at__isnull=False)),
        ]
        permissions = [("settle", "Can replay, correct and discard quarantined messages")]

    def __str__(self) -> str:
        return self.message_id


class Unhandled(models.Model):
    """A message that a person let into the history and that the handler of its queue has not been given yet."""

    message = models.OneToOneField(Message, on_delete=models.PROTECT, related_name="unhandled")
    queue = models.CharField(max_length=80, db_index=True)

    class Meta:
        verbose_name_plural = "unhandled messages"

    def __str__(self) -> str:
        return f"{self.queue} {self.message_id}"


class Repeat(models.Model):
    """One more delivery of a message that is stored already. Acknowledged without effect; kept to tell its way."""

    message = models.ForeignKey(Message, on_delete=models.PROTECT, related_name="deliveries")
    received_at = models.DateTimeField()
    receive_count = models.PositiveIntegerField(default=1)
    sqs_message_id = models.CharField(max_length=100, blank=True, help_text="of this delivery; another one where it was sent twice")
    worker = models.CharField(max_length=150, blank=True)

    def __str__(self) -> str:
        return f"delivery {self.receive_count} of {self.message}"


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
