"""Native messages and deliveries of them, made to order."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from trades import sqs
from trades.sqs import Received

NAMESPACE = "urn:tradeportal:tradestatus:1"
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DETAILS = """
  <TradeDetails><TradeDate>2026-11-20</TradeDate>
    <Party role="buyer">Northgate Bank</Party><Party role="seller">Kestrel Capital</Party>
    <Product assetClass="InterestRate">IRS 5Y EUR</Product>
    <Notional currency="EUR">10000000.00</Notional><Price type="fixedRate">0.0275</Price></TradeDetails>"""
_numbers = itertools.count(1)


def native(
    trade_id: str = "T-1",
    event: str = "BOOK",
    version: int = 1,
    status: str = "",
    *,
    reason: str = "",
    message_id: str = "",
    thread: str = "",
    scheme: str = "",
) -> str:
    """A valid native message; every call gives another message id."""
    detailed = event in ("BOOK", "UPDATE", "CORRECT")
    if not reason and (event in ("CORRECT", "CANCEL", "TERMINATE") or status == "REJECTED"):
        reason = "agreed with the counterparty"
    return f"""<TradeStatus xmlns="{NAMESPACE}">
  <Header><MessageId>{message_id or f"FO-{next(_numbers):06}"}</MessageId><Sender>FRONTOFFICE</Sender><SentAt>2026-11-20T09:30:02Z</SentAt>{
        f"<CorrelationId>{thread}</CorrelationId>" if thread else ""
    }</Header>
  <TradeId{f' scheme="{scheme}"' if scheme else ""}>{trade_id}</TradeId>
  <Version>{version}</Version><Event>{event}</Event>{f"<Reason>{reason}</Reason>" if reason else ""}{
        f"<Status>{status}</Status>" if status else ""
    }
  <EventTime>2026-11-20T09:30:00Z</EventTime>{DETAILS if detailed else ""}
</TradeStatus>"""


def several(*messages: str) -> str:
    """One `TradeStatuses` document of several messages."""
    return f'<TradeStatuses xmlns="{NAMESPACE}">{"".join(messages)}</TradeStatuses>'


def received(
    body: str,
    group: str = "T-1",
    *,
    message_id: str = "",
    publication_id: uuid.UUID | None = None,
    queue: str = "TradeStatus.fifo",
    attributes: Mapping[str, str] | None = None,
) -> Received:
    """One delivery of a message, as the worker gets it from SQS."""
    number = next(_numbers)
    own = {"PublicationId": str(publication_id)} if publication_id else {}
    return Received(
        queue=queue,
        message_id=message_id or str(uuid.uuid4()),
        receipt_handle=f"handle-{number}",
        body=body,
        md5=sqs.md5_of(body),
        group_id=group,
        deduplication_id=f"deduplication-{number}",
        sequence_number=str(number).zfill(39),
        sent_at=NOON,
        receive_count=1,
        attributes={**own, **(attributes or {})},
        received_at=NOON,
    )
