"""The ordered history of each trade, and the ids and standing that it leads to."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from trades.lifecycle import State, Status
from trades.messages.facts import EventClass
from trades.models.choices import choices_of
from trades.models.message import Message

# order.Marks.UNKNOWN: of trades recorded before business order was kept. They are told anew with their next event.
ORDER_UNKNOWN = 4


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
    status_since = models.DateTimeField(
        default=timezone.now, help_text="when it came into its status: as the document states it, but no later than recorded"
    )
    exception_marks = models.PositiveSmallIntegerField(default=0, help_text="bits of TradeException.Kind that its events give cause for")
    # Written by people, never by a worker.
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="trades")
    owned_since = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(F("updated_at").desc(), F("id").desc(), name="trade_newest"),
            models.Index(F("state"), F("updated_at").desc(), F("id").desc(), name="trade_state_newest"),
            models.Index(F("status"), F("updated_at").desc(), F("id").desc(), name="trade_status_newest"),
            models.Index(F("product"), F("updated_at").desc(), F("id").desc(), name="trade_product_newest"),
            models.Index(F("parties"), F("updated_at").desc(), F("id").desc(), name="trade_parties_newest"),
            models.Index(F("updated_at").desc(), F("id").desc(), name="trade_flagged_newest", condition=Q(flagged_count__gt=0)),
            models.Index(F("first_seen_at").desc(), F("id").desc(), name="trade_first_seen"),
            models.Index(F("status_since").desc(), F("id").desc(), name="trade_status_since"),
            models.Index(fields=["trade_date"], name="trade_trade_date"),
            models.Index(fields=["status", "status_since", "id"], name="trade_unfinished", condition=Q(state__in=["PENDING", "LIVE"])),
        ]

    def __str__(self) -> str:
        return self.trade_id


class TradeException(models.Model):
    """What is wrong with a trade as its events tell, until it is put right or a person acknowledges it."""

    class Kind(models.TextChoices):
        GAP = "GAP", "Gap"
        LATE = "LATE", "Late"
        CONFLICT = "CONFLICT", "Conflict"
        AFTER_END = "AFTER_END", "After the end"

    trade = models.ForeignKey(Trade, on_delete=models.PROTECT, related_name="exceptions", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    since = models.DateTimeField(help_text="when an event gave cause for it; the first since it was last acknowledged")
    acknowledged_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["trade", "kind"], name="exception_once_per_kind")]
        indexes = [models.Index(fields=["kind", "since", "id"], name="exception_open", condition=Q(acknowledged_at__isnull=True))]

    def __str__(self) -> str:
        return f"{self.trade_id} {self.kind}"


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
            models.Index(fields=["document_message_id"], name="event_document_message", condition=Q(document_message_id__gt="")),
        ]

    def __str__(self) -> str:
        return f"{self.trade_id} event {self.position}"
