"""Trades with a past, recorded as the worker records them, for the pages that show it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.native import NAMESPACE, received
from trades import history
from trades.models import Trade

START = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
LEI = "5493001KJTIIGC8Y1R12"
UTI, OTHER_UTI = "1030399999UTI0001", "1030399999UTI0002"


def told(
    event: str,
    version: int,
    minute: int,
    *,
    trade_id: str = "T-1",
    status: str = "",
    others: tuple[str, ...] = (),
    amount: str = "10000000.00",
    reason: str = "",
    thread: str = "",
) -> str:
    """A native message about something that happened so many minutes after half past nine."""
    reason = reason or ("agreed with the counterparty" if event in ("CORRECT", "CANCEL", "TERMINATE") else "")
    at = f"{START + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}"
    ids = "".join(f'<OtherTradeId scheme="urn:uti">{other}</OtherTradeId>' for other in others)
    details = f"""<TradeDetails><TradeDate>2026-11-20</TradeDate>
    <Party role="buyer" lei="{LEI}">Northgate Bank</Party><Party role="seller">Kestrel Capital</Party>
    <Product assetClass="InterestRate" isin="EZ1234567890" upi="QZ9876543210">IRS 5Y EUR</Product>
    <Quantity unit="shares">1200</Quantity><Notional currency="EUR">{amount}</Notional>
    <Price currency="EUR" type="fixedRate">0.0275</Price>
    <EffectiveDate>2026-11-24</EffectiveDate><MaturityDate>2031-11-24</MaturityDate></TradeDetails>"""
    return f"""<TradeStatus xmlns="{NAMESPACE}">
  <Header><MessageId>FO-{trade_id}-{event}-{version}-{minute}</MessageId><Sender>FRONTOFFICE</Sender><SentAt>{at}</SentAt>{
        f"<CorrelationId>{thread}</CorrelationId>" if thread else ""
    }</Header>
  <TradeId>{trade_id}</TradeId>{ids}
  <Version>{version}</Version><Event>{event}</Event>{f"<Reason>{reason}</Reason>" if reason else ""}{
        f"<Status>{status}</Status>" if status else ""
    }
  <EventTime>{at}</EventTime>{details if event in ("BOOK", "UPDATE", "CORRECT") else ""}
</TradeStatus>"""


def record(*bodies: str, minute: int = 0, group: str = "T-1") -> None:
    """Record messages in one go, so many minutes after half past nine."""
    history.record([received(body, group) for body in bodies], now=START + timedelta(minutes=minute))


def late_trade() -> Trade:
    """Booked (event 1), confirmed (3) before the check (4) came, a version missing before an update (2), corrected in the end (5), and
    the book once more."""
    book = told("BOOK", 1, 0, others=(UTI,))
    record(book, minute=1)
    record(told("UPDATE", 3, 30, amount="12000000.00"), minute=31)
    record(told("STATUS", 3, 50, status="CONFIRMED"), minute=51)
    record(told("STATUS", 3, 40, status="CHECKED"), minute=60)
    record(told("CORRECT", 4, 70, amount="12500000.00", reason="notional mistyped"), minute=71)
    record(book, minute=80)
    return Trade.objects.get(trade_id="T-1")


def two_trades() -> tuple[Trade, Trade]:
    """Two trades that a later message says are one."""
    record(told("BOOK", 1, 0, trade_id="A-1"), group="A-1")
    record(told("BOOK", 1, 0, trade_id="B-2", others=(OTHER_UTI,)), minute=1, group="B-2")
    record(told("STATUS", 1, 5, trade_id="A-1", status="CHECKED", others=(OTHER_UTI,)), minute=10, group="A-1")
    return Trade.objects.get(trade_id="A-1"), Trade.objects.get(trade_id="B-2")
