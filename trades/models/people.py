"""What people did, and how the processes are."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

from trades.models.message import Message
from trades.models.outbox import Publication, Upload
from trades.models.trade import Trade


class AppendOnlyQuerySet(models.QuerySet[Any]):
    """Rows that are added and read; neither changed nor deleted."""

    def update(self, **kwargs: Any) -> int:
        """Raises TypeError."""
        raise TypeError(f"Rows of {self.model.__name__} are never changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raises TypeError."""
        raise TypeError(f"Rows of {self.model.__name__} are never deleted.")


class AuditEntry(models.Model):
    """Who did what to a message, a trade or an upload, and why. Append-only."""

    class Action(models.TextChoices):
        REPLAY = "replay", "Replay"
        REPLAY_REFUSED = "replay refused", "Replay refused"
        CORRECT = "correct", "Correct and replay"
        DISCARD = "discard", "Discard"
        UNDO_DISCARD = "undo discard", "Undo discard"
        HELD = "held", "Wait behind an earlier message"
        ASSIGN = "assign", "Assign"
        RELEASE = "release", "Release"
        NOTE = "note", "Note"
        ACKNOWLEDGE = "acknowledge", "Acknowledge"
        PUBLISH = "publish", "Publish"
        WITHDRAW = "withdraw", "Withdraw"
        RESEND = "resend", "Send again"
        CANCEL = "cancel", "Cancel"

    at = models.DateTimeField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT)
    origin = models.CharField(max_length=150, blank=True, help_text="where it was done if nobody was signed in: the command and its user")
    action = models.CharField(max_length=40, choices=Action.choices)
    message = models.ForeignKey(Message, null=True, blank=True, on_delete=models.PROTECT, related_name="audit")
    trade = models.ForeignKey(Trade, null=True, blank=True, on_delete=models.PROTECT, related_name="audit")
    upload = models.ForeignKey(Upload, null=True, blank=True, on_delete=models.PROTECT, related_name="audit")
    publication = models.ForeignKey(Publication, null=True, blank=True, on_delete=models.PROTECT, related_name="audit", db_index=False)
    note = models.TextField(blank=True)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "audit entries"
        constraints = [
            models.CheckConstraint(
                condition=Q(message__isnull=False) | Q(trade__isnull=False) | Q(upload__isnull=False) | Q(publication__isnull=False),
                name="audit_is_about_something",
            )
        ]
        indexes = [models.Index(fields=["publication"], name="audit_of_publication", condition=Q(publication__isnull=False))]

    def __str__(self) -> str:
        return f"{self.action} {self.message_id or self.trade_id or self.upload_id or self.publication_id}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new entry. Raises TypeError for one that is stored already."""
        if not self._state.adding:
            raise TypeError("Audit entries are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Raises TypeError."""
        raise TypeError("Audit entries are never deleted.")


class SavedView(models.Model):
    """Filters over the blotter that a person keeps under a name."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="views", db_index=False)
    name = models.CharField(max_length=60)
    query = models.TextField(blank=True, help_text="the query part of the blotter's address")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="view_name_once_per_user")]

    def __str__(self) -> str:
        return self.name


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
    handler = models.CharField(max_length=255, blank=True, help_text="the firm's own processing that it calls, a dotted name")
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
