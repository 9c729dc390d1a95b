"""Trades with a past, recorded as the worker records them, for the pages that show it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.support.native import NAMESPACE, received
from trades import dead_letters, history, quarantine
from trades.models import Message, Trade

START = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
LEI = "5493001KJTIIGC8Y1R12"
PUBLICATION = uuid.UUID("6a0f1c9e-0000-4000-8000-000000000001")
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


# The workbench

ANA, BEN = quarantine.Actor(None, "ana"), quarantine.Actor(None, "ben")
UPDATE = told("UPDATE", 2, 30, amount="12000000.00")
BAD_VERSION = UPDATE.replace("<Version>2<", "<Version>two<")


def blocked_trade(trade_id: str = "T-1") -> tuple[Trade, Message]:
    """Booked, then an update that can't be read, and three messages that wait behind it."""
    later = [told("STATUS", 2, 40, trade_id=trade_id, status="CHECKED"), told("STATUS", 2, 50, trade_id=trade_id, status="CONFIRMED")]
    record(told("BOOK", 1, 0, trade_id=trade_id, others=(f"{UTI}-{trade_id}",)), minute=1, group=trade_id)
    record(BAD_VERSION.replace("T-1", trade_id), *later, told("CANCEL", 3, 60, trade_id=trade_id), minute=31, group=trade_id)
    return Trade.objects.get(trade_id=trade_id), Message.objects.get(outcome="QUARANTINED", group_id=trade_id)


def repaired_trade() -> Trade:
    """A trade that people worked on: a message corrected, one discarded, one that brought its publication id again with other
    content, one from the dead-letter queue that waits, and one that was delivered three times."""
    _, bad = blocked_trade("R-1")
    good = UPDATE.replace("T-1", "R-1")
    quarantine.correct(bad, good, actor=ANA, reason="version mistyped", now=START + timedelta(minutes=70))
    record("<TradeStatus>\n  <broken\n</TradeStatus>", minute=80, group="R-1")
    broken = Message.objects.get(outcome="QUARANTINED", group_id="R-1")
    quarantine.discard(broken, actor=BEN, reason="a fragment, sent again since", now=START + timedelta(minutes=90))
    twice = received(told("REINSTATE", 4, 95, trade_id="R-1"), "R-1", publication_id=PUBLICATION)
    for _ in range(3):
        history.record([twice], now=START + timedelta(minutes=95))
    other = received(told("UPDATE", 5, 96, trade_id="R-1", amount="1.00"), "R-1", publication_id=PUBLICATION)
    history.record([other], now=START + timedelta(minutes=96))
    quarantine.discard(
        Message.objects.get(outcome="QUARANTINED", group_id="R-1"),
        actor=BEN,
        reason="published twice by mistake",
        now=START + timedelta(minutes=97),
    )
    gone = replace(received(told("UPDATE", 6, 100, trade_id="R-1", amount="13000000.00"), "R-1"), receive_count=5)
    dead_letters.record([gone], now=START + timedelta(minutes=110), queue=gone.queue)
    return Trade.objects.get(trade_id="R-1")
