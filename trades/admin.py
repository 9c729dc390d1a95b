"""The admin: everything can be looked up, nothing changed; documents can be published from it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from trades import admin_people  # noqa: F401 - registers the rest
from trades.admin_base import ReadOnly, text_of
from trades.models import (
    Document,
    Event,
    Handler,
    Hold,
    Message,
    OutboxLease,
    Payload,
    Publication,
    Refusal,
    Trade,
    TradeIdentifier,
    TradeLink,
    Unhandled,
    Upload,
)
from trades.web import words
from trades.web.access import NEEDED, PUBLISH
from trades.web.addresses import TradeAddress, trade_url
from trades.web.outbox_pages import MOST
from trades.web.upload_form import form_of
from trades.web.uploads import publish_form

admin.site.site_header = f"Trade Portal ({settings.ENVIRONMENT_NAME})"
admin.site.site_title = f"Trade Portal admin ({settings.ENVIRONMENT_NAME})"
admin.site.index_title = "Records"
SHOWN_ROWS = 100
LONGEST_ERROR = 120


def _ask(act: str, publications: QuerySet[Publication]) -> HttpResponse:
    keys = publications.order_by("pk").values_list("pk", flat=True)[: MOST + 1]
    return redirect(f"{reverse('outbox_act')}?{urlencode([('act', act), *(('p', key) for key in keys)])}")


@admin.register(Trade)
class TradeAdmin(ReadOnly):
    """Trades, with a link to the portal's page of each."""

    list_display = ("trade_id", "scheme", "state", "status", "event_count", "flagged_count", "updated_at", "page")
    list_filter = ("state", "status", "updated_at")
    search_fields = ("trade_id__startswith", "identifiers__value__startswith", "group_id__startswith")
    ordering = ("-updated_at", "-id")
    readonly_fields = ("ids", "links")

    @admin.display(description="all ids")
    def ids(self, trade: Trade) -> SafeString:
        """Every id that the trade goes by."""
        rows = TradeIdentifier.objects.filter(trade=trade).order_by("pk")[:SHOWN_ROWS]
        marks = ((row.value, row.scheme or "no scheme stated", ", UTI" if row.is_uti else "") for row in rows)
        return format_html_join(mark_safe("<br>"), "{} ({}{})", marks)

    @admin.display(description="perhaps the same trade as")
    def links(self, trade: Trade) -> SafeString:
        """The trades that a message said are one with this trade."""
        rows = TradeLink.objects.filter(Q(first=trade) | Q(second=trade)).select_related("first", "second").order_by("pk")[:SHOWN_ROWS]
        others = [(row.second if row.first_id == trade.pk else row.first, row.since) for row in rows]
        marks = ((reverse("admin:trades_trade_change", args=[other.pk]), other.trade_id, words.full(since)) for other, since in others)
        return format_html_join(mark_safe("<br>"), '<a href="{}">{}</a> since {}', marks)

    @admin.display(description="page")
    def page(self, trade: Trade) -> SafeString:
        """A link to the trade's page."""
        return format_html('<a href="{}">Open</a>', trade_url(trade.trade_id))

    def view_on_site(self, obj: Trade) -> str:
        """The portal's page of the trade."""
        return TradeAddress(obj.trade_id, obj.scheme).page()


@admin.register(TradeIdentifier)
class TradeIdentifierAdmin(ReadOnly):
    """The ids that trades go by."""

    list_display = ("value", "scheme", "is_uti", "trade")
    list_filter = ("is_uti",)
    list_select_related = ("trade",)
    search_fields = ("value__startswith",)
    ordering = ("-id",)


@admin.register(TradeLink)
class TradeLinkAdmin(ReadOnly):
    """Trades that a message says are one."""

    list_display = ("first", "second", "since", "message")
    list_filter = ("since",)
    list_select_related = ("first", "second", "message")
    search_fields = ("first__trade_id__startswith", "second__trade_id__startswith")
    ordering = ("-id",)
    deferred = ("message__body",)


@admin.register(Event)
class EventAdmin(ReadOnly):
    """Events, with a link to the portal's page of each."""

    list_display = ("trade", "position", "place", "event_class", "status", "version", "flags", "recorded_at", "page")
    list_filter = ("event_class", "recorded_at")
    list_select_related = ("trade",)
    search_fields = ("trade__trade_id__startswith", "document_message_id__startswith")
    ordering = ("-id",)
    deferred = ("details", "reason")

    @admin.display(description="page")
    def page(self, event: Event) -> SafeString:
        """A link to the event's page."""
        return format_html('<a href="{}">Open</a>', TradeAddress(event.trade.trade_id).event(event.position))

    def view_on_site(self, obj: Event) -> str:
        """The portal's page of the event."""
        return TradeAddress(obj.trade.trade_id, obj.trade.scheme).event(obj.position)


@admin.register(Message)
class MessageAdmin(ReadOnly):
    """Messages as they came from the queue, with their text."""

    list_display = ("message_id", "queue", "group_id", "outcome", "message_type", "received_at", "page")
    list_filter = ("outcome", "via_dead_letter", "queue", "received_at")
    search_fields = ("message_id__startswith", "group_id__startswith")
    ordering = ("-id",)
    exclude = ("body",)
    readonly_fields = ("text",)
    deferred = ("body", "attributes", "reason")

    @admin.display(description="page")
    def page(self, message: Message) -> SafeString:
        """A link to the message's page."""
        return format_html('<a href="{}">Open</a>', reverse("message", args=[message.pk]))

    @admin.display(description="text")
    def text(self, message: Message) -> SafeString:
        """The message's text, escaped, cut when it is long."""
        return text_of(message)

    def view_on_site(self, obj: Message) -> str:
        """The portal's page of the message."""
        return reverse("message", args=[obj.pk])


@admin.register(Upload)
class UploadAdmin(ReadOnly):
    """Uploads, and the page that publishes documents."""

    list_display = ("id", "created_at", "created_by", "source", "page")
    list_filter = ("source", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("=id", "created_by__username__startswith")
    ordering = ("-id",)

    @admin.display(description="page")
    def page(self, upload: Upload) -> SafeString:
        """A link to the upload's page."""
        return format_html('<a href="{}">Open</a>', reverse("upload", args=[upload.pk]))

    def view_on_site(self, obj: Upload) -> str:
        """The portal's page of the upload."""
        return reverse("upload", args=[obj.pk])

    def get_urls(self) -> list[URLPattern]:
        """The admin's own addresses and that of the publishing page."""
        publish = path("publish/", self.admin_site.admin_view(self.publish), name="trades_upload_publish")
        return [publish, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list, with a button to the publishing page for those who may publish."""
        may = {"may_publish": request.user.has_perm(PUBLISH)}
        return super().changelist_view(request, {**(extra_context or {}), **may})

    def publish(self, request: HttpRequest) -> HttpResponse:
        """Publish documents as the portal's upload page does, then show what became of them. Raises PermissionDenied."""
        if not request.user.has_perm(PUBLISH):
            raise PermissionDenied(NEEDED[PUBLISH])
        with form_of(request) as form:
            if form.is_bound and form.is_valid():
                return redirect("upload", publish_form(request, form, Upload.Source.ADMIN).pk)
            context = {**self.admin_site.each_context(request), "form": form, "opts": self.opts, "title": "Upload to publish"}
            return TemplateResponse(request, "admin/trades/upload/publish.html", context, status=422 if form.errors else 200)


@admin.register(Document)
class DocumentAdmin(ReadOnly):
    """Documents that were handed in."""

    list_display = ("name", "upload", "size", "dialect", "message_type", "download")
    list_filter = ("dialect",)
    list_select_related = ("upload",)
    search_fields = ("name__startswith", "sha256")
    ordering = ("-id",)
    exclude = ("content",)
    deferred = ("content",)

    @admin.display(description="original")
    def download(self, document: Document) -> SafeString:
        """A link to the exact bytes."""
        address = reverse("document_original", args=[document.upload_id, document.pk])
        return format_html('<a href="{}">Download</a>', address)


@admin.register(Publication)
class PublicationAdmin(ReadOnly):
    """The outbox. What is to be done is asked for on the portal's own pages, which say what it leads to."""

    list_display = ("publication_id", "page", "state", "attempts", "error", "trade_id", "group_id", "queue", "created_at", "sent_at")
    actions = ("send", "cancel")
    list_filter = ("state", "queue", "created_at")
    search_fields = ("=publication_id", "message_id__startswith")
    ordering = ("-id",)
    exclude = ("body",)
    readonly_fields = ("text", "failures")
    deferred = ("body",)

    @admin.action(description="Send now, or again", permissions=["publish"])
    def send(self, request: HttpRequest, publications: QuerySet[Publication]) -> HttpResponse:
        """Ask whether to send the chosen publications."""
        return _ask("send", publications)

    @admin.action(description="Cancel for a reason", permissions=["publish"])
    def cancel(self, request: HttpRequest, publications: QuerySet[Publication]) -> HttpResponse:
        """Ask whether to cancel the chosen publications."""
        return _ask("cancel", publications)

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Whether the actions are offered."""
        return request.user.has_perm(PUBLISH)

    @admin.display(description="last error")
    def error(self, publication: Publication) -> str:
        """Why it was not sent, cut."""
        return words.cut(publication.last_error, LONGEST_ERROR)

    @admin.display(description="failed attempts")
    def failures(self, publication: Publication) -> SafeString:
        """Each attempt that failed, the newest first."""
        rows = publication.failures.order_by("-pk")[:SHOWN_ROWS]
        return format_html_join(mark_safe("<br>"), "{}: {}", ((words.full(row.at), row.error) for row in rows))

    @admin.display(description="page")
    def page(self, publication: Publication) -> SafeString:
        """A link to the publication's page."""
        return format_html('<a href="{}">Open</a>', self.view_on_site(publication))

    def view_on_site(self, obj: Publication) -> str:
        """The portal's page of the publication."""
        return reverse("publication", args=[obj.publication_id])

    @admin.display(description="text")
    def text(self, publication: Publication) -> SafeString:
        """The text to send, escaped, cut when it is long."""
        return text_of(publication)


@admin.register(Refusal)
class RefusalAdmin(ReadOnly):
    """Why documents were not published."""

    list_display = ("document", "part", "code", "line", "column", "reason")
    list_filter = ("code",)
    list_select_related = ("document",)
    search_fields = ("document__name__startswith",)
    ordering = ("-id",)
    deferred = ("document__content",)


@admin.register(Hold)
class HoldAdmin(ReadOnly):
    """Message groups that wait behind a quarantined message."""

    list_display = ("group_id", "queue", "message", "since")
    list_filter = ("queue",)
    list_select_related = ("message",)
    search_fields = ("group_id__startswith",)
    ordering = ("-id",)
    deferred = ("message__body",)


@admin.register(Payload)
class PayloadAdmin(ReadOnly):
    """Texts and files that are too large for a row; their content is downloaded where they belong to something."""

    list_display = ("sha256", "size", "created_at")
    list_filter = ("created_at",)
    search_fields = ("sha256__startswith",)
    ordering = ("-id",)


@admin.register(Handler)
class HandlerAdmin(ReadOnly):
    """The firm's own processing of what is recorded, by queue."""

    list_display = ("queue", "name", "since")
    search_fields = ("queue__startswith",)
    ordering = ("queue",)


@admin.register(Unhandled)
class UnhandledAdmin(ReadOnly):
    """Messages that the handler of their queue has not been given yet."""

    list_display = ("message", "queue")
    list_filter = ("queue",)
    list_select_related = ("message",)
    search_fields = ("message__message_id__startswith",)
    ordering = ("-id",)
    deferred = ("message__body",)


@admin.register(OutboxLease)
class OutboxLeaseAdmin(ReadOnly):
    """Who may send to a queue just now."""

    list_display = ("queue", "holder", "expires_at")
    search_fields = ("queue__startswith",)
    ordering = ("queue",)
