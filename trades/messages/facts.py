"""What a document says, as plain values: the one vocabulary that every dialect is mapped to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum


class EventClass(StrEnum):
    """What a message does to a trade (trade-status vocabulary common to FpML, FIX and ISO 20022)."""

    BOOK = "BOOK"
    UPDATE = "UPDATE"
    CORRECT = "CORRECT"
    RETRACT = "RETRACT"
    CANCEL = "CANCEL"
    TERMINATE = "TERMINATE"
    REINSTATE = "REINSTATE"
    STATUS = "STATUS"
    REQUEST = "REQUEST"
    SNAPSHOT = "SNAPSHOT"


@dataclass(frozen=True, slots=True)
class TradeId:
    """One identifier of a trade: its value within the scheme (or issuer) that gave it; scheme "" when none is stated."""

    scheme: str
    value: str


@dataclass(frozen=True, slots=True)
class TradeEvent:
    """One event of one trade, as its document states it.

    Numbers stay decimal text inside `details`. `event_time` is UTC; `zoned` is False when neither the document nor its mapping gave
    a zone and UTC was assumed. `trade_ids` is never empty and its first entry is the one a new history is kept under (as a rule the UTI);
    `uti` is the one of them that is a unique transaction identifier (ISO 23897), if there is one.
    """

    event_class: EventClass
    trade_ids: tuple[TradeId, ...]
    event_kind: str = ""
    status: str = ""
    version: int | None = None
    sequence: int | None = None
    is_correction: bool = False
    message_id: str = ""
    sender: str = ""
    correlation_id: str = ""
    in_reply_to: str = ""
    event_time: datetime | None = None
    event_time_text: str = ""
    zoned: bool = True
    trade_date: date | None = None
    reason: str = ""
    related_ids: tuple[TradeId, ...] = ()
    uti: TradeId | None = None
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def trade_id(self) -> TradeId:
        """The identifier the history is kept under."""
        return self.trade_ids[0]


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """What one document was understood to be: its dialect, its message type there, and the events it carries.

    A document that is known but carries no trade event (a heartbeat, a payment) has no events; then `reference` says in a sentence
    what it is, and `stated` holds the facts it states all the same, by the names of TradeEvent. `warnings` are sentences.
    """

    dialect: str
    message_type: str
    mapping_version: str
    events: tuple[TradeEvent, ...]
    reference: str = ""
    stated: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class MessageRefused(Exception):
    """A document the portal cannot take: what was wrong, where, and what was expected, as one sentence.

    `code` is stable and short ("not-well-formed", "forbidden-construct", "unknown-dialect", "schema", "no-trade-id",
    "not-an-event", "invalid-field", "too-large", "mapping-error"); `line` and `column` count from 1, None where not known;
    `element` names the element or field. What was understood before the fault is kept for
    people who inspect the document: `dialect`, `message_type` ("" where not known) and the facts `stated`, by the names of TradeEvent.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        element: str = "",
        dialect: str = "",
        message_type: str = "",
        stated: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.line = line
        self.column = column
        self.element = element
        self.dialect = dialect
        self.message_type = message_type
        self.stated: Mapping[str, object] = stated or {}

    def __str__(self) -> str:
        """The sentence, led by the place when it is known: "line 3, column 7: ..."."""
        place = ", ".join(f"{name} {at}" for name, at in (("line", self.line), ("column", self.column)) if at is not None)
        return f"{place}: {self.message}" if place else self.message
