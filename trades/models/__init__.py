"""The rows: what was uploaded, what was published, what arrived, and the ordered history of each trade.

No HTTP, no queue, no parsing here. Messages and events are never changed in substance once stored; columns that may change say so.
"""

from trades.models.choices import choices_of
from trades.models.message import Handler, Hold, Message, Repeat, Unhandled
from trades.models.outbox import (
    Document,
    Draft,
    OutboxLease,
    Payload,
    PayloadPart,
    Publication,
    PublicationQuerySet,
    Refusal,
    SendAttempt,
    Upload,
)
from trades.models.people import AppendOnlyQuerySet, AuditEntry, SavedView, Worker
from trades.models.trade import Event, Trade, TradeException, TradeIdentifier, TradeLink

__all__ = [
    "AppendOnlyQuerySet",
    "AuditEntry",
    "Document",
    "Draft",
    "Event",
    "Handler",
    "Hold",
    "Message",
    "OutboxLease",
    "Payload",
    "PayloadPart",
    "Publication",
    "PublicationQuerySet",
    "Refusal",
    "Repeat",
    "SavedView",
    "SendAttempt",
    "Trade",
    "TradeException",
    "TradeIdentifier",
    "TradeLink",
    "Unhandled",
    "Upload",
    "Worker",
    "choices_of",
]
