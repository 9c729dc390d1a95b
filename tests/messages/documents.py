"""Documents for the tests of `trades.messages`, written for them."""

from __future__ import annotations

NATIVE = "urn:tradeportal:tradestatus:1"
FPML = "http://www.fpml.org/FpML-5/confirmation"
FPML_4 = "http://www.fpml.org/2010/FpML-4-9"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

BOOK = """\
<?xml version="1.0" encoding="UTF-8"?>
<TradeStatus xmlns="urn:tradeportal:tradestatus:1">
  <Header>
    <MessageId>FO-000181</MessageId>
    <Sender>FRONTOFFICE</Sender>
    <SentAt>2024-03-04T09:30:02Z</SentAt>
    <CorrelationId>C-1</CorrelationId>
    <InReplyTo>FO-000180</InReplyTo>
  </Header>
  <TradeId scheme="urn:example:frontoffice">T-10045</TradeId>
  <OtherTradeId scheme="urn:example:uti">5493001KJTIIGC8Y1R12T10045</OtherTradeId>
  <Version>1</Version>
  <Event>BOOK</Event>
  <Reason>as agreed</Reason>
  <Status>RECEIVED</Status>
  <EventTime>2024-03-04T10:30:00+01:00</EventTime>
  <TradeDetails>
    <TradeDate>2024-03-04</TradeDate>
    <Party role="buyer" lei="5493001KJTIIGC8Y1R12">Bank A</Party>
    <Party role="seller">Fund B</Party>
    <Product assetClass="InterestRate" isin="EZ0000000001" upi="QZ17F5PN51JM">IRS 5Y EUR</Product>
    <Quantity unit="lots">10</Quantity>
    <Notional currency="EUR">10000000.00</Notional>
    <Price currency="EUR" type="fixedRate">0.0275</Price>
    <EffectiveDate>2024-03-06</EffectiveDate>
    <MaturityDate>2029-03-06</MaturityDate>
  </TradeDetails>
</TradeStatus>
"""


def native(event: str = "STATUS", *, version: str = "1", inner: str = "", trade_id: str = "T-1") -> str:
    """One TradeStatus without namespace declaration or details; `inner` stands between Event and EventTime."""
    return (
        "<TradeStatus><Header><MessageId>M-1</MessageId><Sender>OPS</Sender><SentAt>2024-03-04T09:30:02Z</SentAt></Header>"
        f"<TradeId>{trade_id}</TradeId><Version>{version}</Version><Event>{event}</Event>{inner}"
        "<EventTime>2024-03-04T09:30:00Z</EventTime></TradeStatus>"
    )


def alone(document: str) -> str:
    """A native document made of one `native()`."""
    return document.replace("<TradeStatus>", f'<TradeStatus xmlns="{NATIVE}">', 1)


def collection(*documents: str) -> str:
    """A TradeStatuses with each document on a line of its own, from line 2 on."""
    return "\n".join([f'<TradeStatuses xmlns="{NATIVE}">', *documents, "</TradeStatuses>"])


def fpml(root: str, body: str, *, header: str = "", view: str = "confirmation") -> str:
    """An FpML 5 message of a view."""
    namespace = FPML.replace("confirmation", view)
    return f'<{root} xmlns="{namespace}" fpmlVersion="5-10"><header><messageId>M-1</messageId>{header}</header>{body}</{root}>'


def fpml_4(kind: str, body: str, *, header: str = "") -> str:
    """An FpML 4 message; `kind` is its xsi:type."""
    attributes = f'xmlns="{FPML_4}" xmlns:xsi="{XSI}" version="4-9" xsi:type="{kind}"'
    return f"<FpML {attributes}><header><messageId>M-1</messageId>{header}</header>{body}</FpML>"


def trade(trade_id: str = "T-1", *, more: str = "", product: str = "<swap/>") -> str:
    """An FpML trade with one id."""
    identifier = f'<partyTradeIdentifier><tradeId tradeIdScheme="urn:own">{trade_id}</tradeId></partyTradeIdentifier>'
    return f"<trade><tradeHeader>{identifier}{more}<tradeDate>2024-03-04</tradeDate></tradeHeader>{product}</trade>"


def identified(name: str = "tradeIdentifier", trade_id: str = "T-1", version: str = "") -> str:
    """An FpML element of this name that holds one trade id."""
    stated = f"<tradeId>{trade_id}</tradeId>"
    if version:
        stated = f"<versionedTradeId>{stated}<version>{version}</version></versionedTradeId>"
    return f"<{name}>{stated}</{name}>"


def outstanding(amount: str) -> str:
    """What an FpML event leaves of a trade."""
    return f"<outstandingNotionalAmount><currency>EUR</currency><amount>{amount}</amount></outstandingNotionalAmount>"
