"""The text of a story's messages in FpML 5 and FIXML, beside the native format that `stories` writes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from trades.simulator.market import PRODUCTS, Layout, Product
from trades.simulator.stories import SCHEME, At, Of, Story, sender_of

FPML = "http://www.fpml.org/FpML-5/confirmation"
FIXML = "http://www.fixprotocol.org/FIXML-5-0-SP2"
MESSAGES, LEI = "urn:example:northgate:message", "http://www.fpml.org/coding-scheme/external/iso17442"
SENT_AS = {"CONFIRMED": "confirmationAgreed", "DISPUTED": "confirmationDisputed", "CLEARED": "clearingConfirmed"}
TRANSACTIONS = {"BOOK": "0", "UPDATE": "2", "CORRECT": "0", "CANCEL": "1"}  # FIX field 487, TradeReportTransType
REPORTED = {"CHECKED": "9", "REJECTED": "1", "DISPUTED": "11"}  # FIX field 939, TrdRptStatus


@dataclass(frozen=True, slots=True)
class Writer:
    """How the messages of one dialect are written: its products, the shapes that it has messages for with how often each comes, and
    the text of one step."""

    products: tuple[Product, ...]
    shapes: Mapping[str, int]
    text: Callable[[Story, int], str]


def fpml(story: Story, index: int) -> str:
    """One message in the confirmation view of FpML 5."""
    step, values = story.shape.steps[index], story.values
    root = SENT_AS.get(step.status, "executionAdvice") if step.event == "STATUS" else "executionAdvice"
    if step.event == "CANCEL":
        root = "executionAdviceRetracted"
    correction = f"\n  <isCorrection>{str(step.event == 'CORRECT').lower()}</isCorrection>" if root == "executionAdvice" else ""
    # A correction and a retraction go on in the thread of the message that they are about.
    thread = "E" if step.event in ("BOOK", "CORRECT", "CANCEL") else f"{index + 1}"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<{root} xmlns="{FPML}" fpmlVersion="5-13">
  <header>
    <messageId messageIdScheme="{MESSAGES}">{story.value(index, At.DOCUMENT_ID)}</messageId>
    <sentBy>{sender_of(step)[0]}</sentBy>
    <creationTimestamp>{story.value(index, At.HAPPENED_TEXT)}</creationTimestamp>
  </header>{correction}
  <correlationId correlationIdScheme="urn:example:northgate:correlation">{values[Of.TRADE_ID]}-{thread}</correlationId>
  <sequenceNumber>{index + 1}</sequenceNumber>
{_fpml_event(story, index)}
  <party id="buyer">
    <partyId partyIdScheme="{LEI}">{values[Of.BUYER_LEI]}</partyId>
    <partyName>{escape(values[Of.BUYER])}</partyName>
  </party>
  <party id="seller">
    <partyId partyIdScheme="{LEI}">{values[Of.SELLER_LEI]}</partyId>
    <partyName>{escape(values[Of.SELLER])}</partyName>
  </party>
</{root}>
"""


def _fpml_event(story: Story, index: int) -> str:
    step = story.shape.steps[index]
    if step.event == "TERMINATE" or step.status == "CLEARED":
        name = "termination" if step.event == "TERMINATE" else "clearing"
        day = story.value(index, At.HAPPENED_TEXT)[:10]
        dates = f"\n    <agreementDate>{day}</agreementDate>\n    <effectiveDate>{day}</effectiveDate>" if name == "termination" else ""
        return f"  <{name}>\n    <tradeIdentifier>{_fpml_id(story, index)}\n    </tradeIdentifier>{dates}\n  </{name}>"
    trade = f"""  <trade>
    <tradeHeader>
      <partyTradeIdentifier>{_fpml_id(story, index)}
      </partyTradeIdentifier>
      <tradeDate>{story.values[Of.TRADE_DATE]}</tradeDate>
    </tradeHeader>
{_fpml_product(story, index)}
  </trade>"""
    return f"  <amendment>\n{trade}\n  </amendment>" if step.event == "UPDATE" else trade


def _fpml_id(story: Story, index: int) -> str:
    return f"""
        <partyReference href="buyer"/>
        <versionedTradeId>
          <tradeId tradeIdScheme="{SCHEME}">{story.values[Of.TRADE_ID]}</tradeId>
          <version>{story.shape.steps[index].version}</version>
        </versionedTradeId>"""


def _fpml_product(story: Story, index: int) -> str:
    # What was said last of the terms stands in messages about its status too.
    while not story.shape.steps[index].states_details and index:
        index -= 1
    values, amount, price = story.values, story.value(index, At.AMOUNT), story.value(index, At.PRICE)
    name = f"<productType>{escape(values[Of.PRODUCT])}</productType>"
    if story.layout is Layout.PAIR:
        other = story.value(index, At.OTHER_AMOUNT)
        return f"""    <fxSingleLeg>
      {name}
      {_exchanged(1, "buyer", values[Of.CURRENCY], amount)}
      {_exchanged(2, "seller", values[Of.OTHER_CURRENCY], other)}
      <valueDate>{values[Of.MATURITY]}</valueDate>
      <exchangeRate><rate>{price}</rate></exchangeRate>
    </fxSingleLeg>"""
    return f"""    <swap>
      {name}
      <swapStream>
        <payerPartyReference href="buyer"/>
        <receiverPartyReference href="seller"/>
        <calculationPeriodDates>
          <effectiveDate><unadjustedDate>{values[Of.EFFECTIVE]}</unadjustedDate></effectiveDate>
          <terminationDate><unadjustedDate>{values[Of.MATURITY]}</unadjustedDate></terminationDate>
        </calculationPeriodDates>
        <calculationPeriodAmount>
          <calculation>
            <notionalSchedule>
              <notionalStepSchedule><initialValue>{amount}</initialValue><currency>{values[Of.CURRENCY]}</currency></notionalStepSchedule>
            </notionalSchedule>
            <fixedRateSchedule><initialValue>{price}</initialValue></fixedRateSchedule>
          </calculation>
        </calculationPeriodAmount>
      </swapStream>
    </swap>"""


def _exchanged(number: int, payer: str, currency: str, amount: str) -> str:
    receiver = "seller" if payer == "buyer" else "buyer"
    return (
        f'<exchangedCurrency{number}><payerPartyReference href="{payer}"/><receiverPartyReference href="{receiver}"/>'
        f"<paymentAmount><currency>{currency}</currency><amount>{amount}</amount></paymentAmount></exchangedCurrency{number}>"
    )


def fixml(story: Story, index: int) -> str:
    """One trade capture report of FIXML 5.0 SP2, or the acknowledgement that carries a status."""
    step, values = story.shape.steps[index], story.values
    number, happened = values[Of.TRADE_ID].rpartition("-")[2], story.value(index, At.HAPPENED_TEXT)
    report, day = story.value(index, At.DOCUMENT_ID), values[Of.TRADE_DATE]
    # The sender is part of what a number means, so that all of a trade's messages name the same one.
    header = f'<Hdr SID="NORTHGATE" TID="PORTAL" Snt="{happened}"/>'
    common = f'RptID="{report}" TrdID="{number}" TrdDt="{day}" BizDt="{day}"'
    if step.event == "STATUS":
        inner = f"""  <TrdCaptRptAck {common} TrdRptStat="{REPORTED[step.status]}" TxnTm="{happened}">
    {header}
  </TrdCaptRptAck>"""
    else:
        corrected = ' ExecTyp="G"' if step.event == "CORRECT" else ""
        kind = f'TransTyp="{TRANSACTIONS[step.event]}"{corrected} RptTyp="0"'
        inner = f"""  <TrdCaptRpt {common} {kind}{_traded(story, index)} TxnTm="{happened}">
    {header}
    <Instrmt Desc={quoteattr(values[Of.PRODUCT])} ID="{values[Of.ISIN]}" Src="4" MatDt="{values[Of.MATURITY]}"/>
    <RptSide Side="1"><Pty ID={quoteattr(values[Of.BUYER])} R="1"/></RptSide>
    <RptSide Side="2"><Pty ID={quoteattr(values[Of.SELLER])} R="1"/></RptSide>
  </TrdCaptRpt>"""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<FIXML xmlns="{FIXML}" v="5.0 SP2">\n{inner}\n</FIXML>\n'


def _traded(story: Story, index: int) -> str:
    if not story.shape.steps[index].states_details:
        return ""
    quantity, price, amount = (story.value(index, name) for name in (At.QUANTITY, At.PRICE, At.AMOUNT))
    return f' LastQty="{quantity}" LastPx="{price}" GrossTrdAmt="{amount}" Ccy="{story.values[Of.CURRENCY]}"'


_FPML_SHAPES = {
    "BOOK CONFIRMED": 12,
    "BOOK CONFIRMED CLEARED": 6,
    "BOOK UPDATE CONFIRMED": 4,
    "BOOK CONFIRMED UPDATE CONFIRMED": 3,
    "BOOK CORRECT CONFIRMED": 3,
    "BOOK DISPUTED CORRECT CONFIRMED": 2,
    "BOOK CONFIRMED TERMINATE": 2,
    "BOOK CANCEL": 1,
    "BOOK DISPUTED": 1,
    "BOOK": 2,
}
_FIXML_SHAPES = {
    "BOOK CHECKED": 12,
    "BOOK CHECKED UPDATE CHECKED": 4,
    "BOOK CORRECT CHECKED": 3,
    "BOOK DISPUTED CORRECT CHECKED": 2,
    "BOOK CHECKED CANCEL": 2,
    "BOOK REJECTED CANCEL": 1,
    "BOOK REJECTED": 1,
    "BOOK": 2,
}
WRITERS = {
    "fpml": Writer(tuple(product for product in PRODUCTS if product.layout in (Layout.RATE, Layout.PAIR)), _FPML_SHAPES, fpml),
    "fixml": Writer(tuple(product for product in PRODUCTS if product.layout in (Layout.SHARES, Layout.DATED)), _FIXML_SHAPES, fixml),
}
