"""The admin's pages of what people did and keep, of what is wrong with trades, and of how messages travelled."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trades.admin_base import ReadOnly, text_of
from trades.models import AuditEntry, Draft, Repeat, SavedView, SendAttempt, TradeException, Worker
from trades.web import words
from trades.web.addresses import trade_url

SILENT = timedelta(seconds=30)  # several heartbeats (heartbeat.EVERY_SECONDS)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly):
    """Who did what to a message, a trade or an upload, and why."""

    list_display = ("at", "action", "user", "origin", "about", "note")
    list_filter = ("action", "at")
    list_select_related = ("user", "message", "trade", "upload", "publication")
    search_fields = ("message__message_id__startswith", "trade__trade_id__startswith", "user__username__startswith")
    ordering = ("-id",)
    deferred = ("message__body", "publication__body")

    @admin.display(description="about")
    def about(self, entry: AuditEntry) -> SafeString:
        """A link to the portal's page of what it was done to."""
        if entry.trade is not None:
            return format_html('<a href="{}">trade {}</a>', trade_url(entry.trade.trade_id), entry.trade.trade_id)
        if entry.publication is not None:
            key = entry.publication.publication_id
            return format_html('<a href="{}">publication {}</a>', reverse("trace_publication", args=[key]), key)
        if entry.upload_id is not None:
            return format_html('<a href="{}">upload {}</a>', reverse("upload", args=[entry.upload_id]), entry.upload_id)
        return format_html('<a href="{}">message {}</a>', reverse("message", args=[entry.message_id]), entry.message)


@admin.register(TradeException)
class TradeExceptionAdmin(ReadOnly):
    """What is wrong with trades, as their events tell."""

    list_display = ("trade", "kind", "since", "acknowledged_at")
    list_filter = ("kind", "since")
    list_select_related = ("trade",)
    search_fields = ("trade__trade_id__startswith",)
    ordering = ("-id",)


@admin.register(SavedView)
class SavedViewAdmin(ReadOnly):
    """Filters that people keep."""

    list_display = ("user", "name", "query")
    list_select_related = ("user",)
    search_fields = ("name__startswith", "user__username__startswith")
    ordering = ("-id",)


@admin.register(Draft)
class DraftAdmin(ReadOnly):
    """Messages of uploads in review, with what each would do."""

    list_display = ("document", "part", "group_id", "trade_id", "message_type", "summary")
    list_select_related = ("document",)
    search_fields = ("trade_id__startswith", "document__name__startswith")
    ordering = ("-id",)
    exclude = ("body",)
    readonly_fields = ("text",)
    deferred = ("body", "document__content")

    @admin.display(description="text")
    def text(self, draft: Draft) -> SafeString:
        """The text that would be published, escaped, cut when it is long."""
        return text_of(draft)


@admin.register(SendAttempt)
class SendAttemptAdmin(ReadOnly):
    """Attempts to send a publication that failed."""

    list_display = ("publication", "at", "error")
    list_filter = ("at",)
    list_select_related = ("publication",)
    search_fields = ("=publication__publication_id",)
    ordering = ("-id",)
    deferred = ("publication__body",)


@admin.register(Repeat)
class RepeatAdmin(ReadOnly):
    """Further deliveries of messages that were stored already."""

    list_display = ("message", "received_at", "receive_count", "sqs_message_id", "worker")
    list_filter = ("received_at",)
    list_select_related = ("message",)
    search_fields = ("message__message_id__startswith", "sqs_message_id__startswith")
    ordering = ("-id",)
    deferred = ("message__body",)


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    """Worker processes, as they last reported."""

    list_display = (
        "host",
        "pid",
        "queue",
        "handler",
        "standing",
        "seen",
        "last_poll",
        "received",
        "recorded",
        "repeats",
        "failures",
        "version",
    )
    list_filter = ("state", "queue")
    search_fields = ("host__startswith", "=pid")
    ordering = ("-seen_at",)
    deferred = ("last_error",)

    @admin.display(description="state", ordering="state")
    def standing(self, worker: Worker) -> str:
        """What the worker does, or for how long it was not heard of."""
        silence = timezone.now() - worker.seen_at
        if worker.state == Worker.State.STOPPED or silence <= SILENT:
            return worker.get_state_display()
        return f"{worker.get_state_display()}, not seen for {words.duration(silence)}: killed, or without the database"

    @admin.display(description="seen at", ordering="seen_at")
    def seen(self, worker: Worker) -> str:
        """When it last reported, to the second."""
        return words.full(worker.seen_at)

    @admin.display(description="last poll at", ordering="last_poll_at", empty_value="-")
    def last_poll(self, worker: Worker) -> str | None:
        """When the queue last answered it, to the second."""
        return words.full(worker.last_poll_at) if worker.last_poll_at else None
