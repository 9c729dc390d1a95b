"""What was handed in, and what of it is to be sent: uploads, documents, publications."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class Payload(models.Model):
    """One text or file that is too large for a row: its exact bytes, kept once whatever refers to it, in parts of up to a mebibyte."""

    sha256 = models.CharField(max_length=64, unique=True)
    size = models.PositiveBigIntegerField(help_text="bytes")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.sha256


class PayloadPart(models.Model):
    """One piece of a payload, in the order of their numbers from 1."""

    payload = models.ForeignKey(Payload, on_delete=models.PROTECT, related_name="parts", db_index=False)
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["payload", "number"], name="payload_part_once")]

    def __str__(self) -> str:
        return f"part {self.number} of {self.payload_id}"


class Upload(models.Model):
    """One act of handing in documents, by a person or a command."""

    class Source(models.TextChoices):
        WEB = "WEB", "Web page"
        ADMIN = "ADMIN", "Admin"
        COMMAND = "COMMAND", "Command line"

    class Stage(models.TextChoices):
        REVIEW = "REVIEW", "In review"
        PUBLISHED = "PUBLISHED", "Published"
        WITHDRAWN = "WITHDRAWN", "Withdrawn"

    created_at = models.DateTimeField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT)
    source = models.CharField(max_length=10, choices=Source.choices)
    stage = models.CharField(max_length=10, choices=Stage.choices, default=Stage.PUBLISHED)
    checked_at = models.DateTimeField(null=True, help_text="when the effect of its drafts was last foretold")
    decided_at = models.DateTimeField(null=True, help_text="when a person published or withdrew what was in review")
    group_id = models.CharField(max_length=128, blank=True, help_text="message group named for documents that are not understood")
    traceparent = models.CharField(max_length=255, blank=True, help_text="W3C Trace Context of the request or command it came by")

    class Meta:
        permissions = [("publish", "Can upload and publish documents")]

    def __str__(self) -> str:
        return f"upload {self.pk}"


class Document(models.Model):
    """One file (or pasted text) of an upload: its exact bytes, and what the portal made of it or why it was refused."""

    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, related_name="documents")
    name = models.CharField(max_length=255, db_index=True)
    content = models.BinaryField(help_text="empty where they are in the payload")
    payload = models.ForeignKey(Payload, null=True, blank=True, on_delete=models.PROTECT, related_name="documents", db_index=False)
    size = models.PositiveIntegerField(help_text="bytes")
    sha256 = models.CharField(max_length=64)
    position = models.PositiveIntegerField(default=0, help_text="its place in the upload, from 1; 0: by its key")
    dialect = models.CharField(max_length=60, blank=True)
    message_type = models.CharField(max_length=100, blank=True)

    class Meta:
        indexes = [models.Index(fields=["sha256"], name="document_content")]

    def __str__(self) -> str:
        return self.name


class Draft(models.Model):
    """One message of a document in review: what would be published, and what it would do. Gone once a person has decided."""

    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="drafts", db_index=False)
    part = models.PositiveIntegerField(default=1)
    queue = models.CharField(max_length=80)
    group_id = models.CharField(max_length=128)
    trade_id = models.CharField(max_length=255, blank=True)
    message_type = models.CharField(max_length=100, blank=True)
    summary = models.CharField(max_length=255, blank=True, help_text="what was understood, in words")
    route = models.CharField(max_length=60, blank=True, help_text="the route that chose the queue, empty for the default")
    body = models.TextField(help_text="empty where the text is in the payload")
    payload = models.ForeignKey(Payload, null=True, blank=True, on_delete=models.PROTECT, related_name="drafts", db_index=False)
    size = models.PositiveIntegerField(help_text="bytes, as SQS counts them")
    body_sha256 = models.CharField(max_length=64)
    effect = models.JSONField(null=True, help_text="what it would do (foretelling.Effect), None before that is known")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["document", "part"], name="draft_once_per_part")]

    def __str__(self) -> str:
        return self.summary


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
        CANCELLED = "CANCELLED", "Cancelled"

    publication_id = models.UUIDField(unique=True, default=uuid.uuid4, help_text="travels with the message as an attribute")
    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="publications")
    part = models.PositiveIntegerField(default=1)
    queue = models.CharField(max_length=80)
    group_id = models.CharField(max_length=128)
    deduplication_id = models.CharField(max_length=128, blank=True, help_text="empty: SQS takes the SHA-256 of the body")
    route = models.CharField(max_length=60, blank=True, help_text="the route that chose the queue, empty for the default")
    trade_id = models.CharField(max_length=255, blank=True)
    message_type = models.CharField(max_length=100, blank=True)
    summary = models.CharField(max_length=255, blank=True, help_text="what was understood, in words")
    body = models.TextField(help_text="empty where the text is in the payload")
    payload = models.ForeignKey(Payload, null=True, blank=True, on_delete=models.PROTECT, related_name="publications", db_index=False)
    size = models.PositiveIntegerField(default=0, help_text="bytes, as SQS counts them; 0 of those from before it was kept")
    traceparent = models.CharField(max_length=255, blank=True, help_text="W3C Trace Context, sent along")
    created_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    uncertain_since = models.DateTimeField(null=True, help_text="first attempt whose answer was lost: it may be in the queue")
    sent_at = models.DateTimeField(null=True)
    pointer = models.TextField(blank=True, help_text="the body that was sent, where the text went to S3")
    swallowed = models.BooleanField(default=False, help_text="SQS took it for a message it had, and will not deliver it")
    message_id = models.CharField(max_length=100, blank=True, db_index=True)
    md5 = models.CharField(max_length=32, blank=True)
    sequence_number = models.CharField(max_length=39, blank=True)

    objects = PublicationQuerySet.as_manager()

    class Meta:
        # What the relay looks for: only unsent rows are in the first of these.
        indexes = [
            models.Index(fields=["queue", "id"], name="publication_unsent", condition=Q(state="PENDING")),
            models.Index(
                fields=["uncertain_since"], name="publication_uncertain", condition=Q(state="PENDING", uncertain_since__isnull=False)
            ),
            models.Index(fields=["-id"], name="publication_failing", condition=Q(state="PENDING", attempts__gt=0)),
            models.Index(fields=["-id"], name="publication_cancelled", condition=Q(state="CANCELLED")),
            models.Index(fields=["queue", "-id"], name="publication_queue_newest"),
            models.Index(fields=["md5"], name="publication_md5", condition=Q(md5__gt="")),
        ]

    def __str__(self) -> str:
        return str(self.publication_id)


class SendAttempt(models.Model):
    """One attempt to send a publication that failed. The one that succeeded is in the publication itself."""

    publication = models.ForeignKey(Publication, on_delete=models.PROTECT, related_name="failures")
    at = models.DateTimeField()
    error = models.TextField()

    def __str__(self) -> str:
        return self.error


class OutboxLease(models.Model):
    """Who may send to a queue just now. One sender at a time keeps the order of every message group."""

    queue = models.CharField(max_length=80, unique=True)
    holder = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField()
    in_hand = models.JSONField(default=list, blank=True, help_text="publications that may be in the queue while nothing says so yet")
    in_hand_since = models.DateTimeField(null=True, blank=True, help_text="when the holder took them in hand")

    def __str__(self) -> str:
        return f"{self.queue}: {self.holder}"
