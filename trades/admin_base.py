"""What the admin's pages have in common: rows are looked up and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from trades import payloads
from trades.models import Draft, Message, Publication

SHOWN_CHARACTERS = 20_000

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
else:
    Base = admin.ModelAdmin


def preformatted(text: str) -> SafeString:
    """Text as it is, cut when it is long."""
    return format_html("<pre>{}</pre>", Truncator(text).chars(SHOWN_CHARACTERS))


def text_of(row: Message | Draft | Publication) -> SafeString:
    """The text of a row as it is, cut when it is long; of one that is kept as a payload the start."""
    if row.payload is None:
        return preformatted(row.body)
    start = payloads.start_of(row, SHOWN_CHARACTERS)
    return format_html("<p>The first {} of {} bytes:</p><pre>{}</pre>", f"{SHOWN_CHARACTERS:,}", f"{row.payload.size:,}", start)


class ReadOnly(Base):
    """Rows that people look up and nobody changes, superusers included."""

    show_full_result_count = False
    list_per_page = 50
    actions: Sequence[str] | None = None
    deferred: ClassVar[tuple[str, ...]] = ()

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody adds rows here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody changes rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody deletes rows."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Lists leave long columns in the database."""
        rows = super().get_queryset(request)
        is_list = request.resolver_match is not None and (request.resolver_match.url_name or "").endswith("_changelist")
        return rows.defer(*self.deferred) if is_list and self.deferred else rows
