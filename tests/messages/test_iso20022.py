"""ISO 20022: what each message about a trade says, on messages written for this from the ISO 20022 catalogue."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from trades.messages import MessageRefused, ParsedMessage, TradeEvent, TradeId, parse

ISO = "urn:iso:std:iso:20022:tech:xsd:"
LEI_1, LEI_2 = "5493001KJTIIGC8Y1R12", "529900T8BM49AURSDO55"
UTI = "5493001KJTIIGC8Y1R12UTI0000001"


def document(message: str, body: str, namespace: str = ISO) -> str:
    return f'<Document xmlns="{namespace}{message}">{body}</Document>'


def only(message: str, body: str) -> TradeEvent:
    (event,) = parse(document(message, body)).events
    return event


def values(ids: tuple[TradeId, ...]) -> list[str]:
    return [trade_id.value for trade_id in ids]


# auth.030


def report(action: str = "New", *, uti: str = f"<TxId><UnqTxIdr>{UTI}</UnqTxIdr></TxId>", more: str = "", contract: str = "") -> str:
    return f"""<Rpt><{action}>
        <CtrPtySpcfcData><CtrPty>
            <RptgCtrPty><Id><Lgl><Id><LEI>{LEI_1}</LEI></Id></Lgl></Id><DrctnOrSd><CtrPtySd>BYER</CtrPtySd></DrctnOrSd></RptgCtrPty>
            <OthrCtrPty><IdTp><Lgl><Id><LEI>{LEI_2}</LEI></Id></Lgl></IdTp></OthrCtrPty>
            <SubmitgAgt><LEI>{LEI_1}</LEI></SubmitgAgt>
        </CtrPty><RptgTmStmp>2026-03-03T06:00:00Z</RptgTmStmp></CtrPtySpcfcData>
        <CmonTradData>{contract}<TxData>{uti}{more}</TxData></CmonTradData><Lvl>TCTN</Lvl>
    </{action}></Rpt>"""


def derivatives(*reports: str, version: str = "auth.030.001.03") -> ParsedMessage:
    header = f"<RptHdr><NbRcrds>{len(reports)}</NbRcrds></RptHdr>"
    return parse(document(version, f"<DerivsTradRpt>{header}<TradData>{''.join(reports)}</TradData></DerivsTradRpt>"))


@pytest.mark.parametrize(
    ("action", "event_class", "kind"),
    [
        ("New", "BOOK", "NEW"),
        ("Mod", "UPDATE", "MODIFY"),
        ("Crrctn", "CORRECT", "CORRECTION"),
        ("Termntn", "TERMINATE", "TERMINATION"),
        ("Err", "CANCEL", "ERROR"),
        ("Rvv", "REINSTATE", "REVIVE"),
        ("ValtnUpd", "STATUS", "VALUATION"),
        ("PosCmpnt", "BOOK", "POSITION_COMPONENT"),
        ("Cmprssn", "TERMINATE", "COMPRESSION"),
        ("PortOut", "TERMINATE", "PORT_OUT"),
        ("Othr", "STATUS", "OTHER"),
    ],
)
def test_the_action_of_a_derivatives_report_is_its_event(action: str, event_class: str, kind: str) -> None:
    (event,) = derivatives(report(action)).events

    assert (event.event_class, event.event_kind) == (event_class, kind)
    assert (values(event.trade_ids), event.uti) == ([UTI], event.trade_id)
    assert event.event_time == datetime(2026, 3, 3, 6, tzinfo=UTC)


@pytest.mark.parametrize("version", ["auth.030.001.01", "auth.030.001.02", "auth.030.001.03", "auth.030.001.04", "auth.030.002.11"])
def test_the_digits_of_the_version_do_not_matter(version: str) -> None:
    read = derivatives(report(), version=version)

    assert (read.dialect, read.message_type) == ("iso20022", version)
    assert len(read.events) == 1


def test_a_report_of_several_trades_gives_one_event_each_in_its_order() -> None:
    reports = [report(action, uti=f"<TxId><UnqTxIdr>U-{number}</UnqTxIdr></TxId>") for number, action in enumerate(("New", "Mod", "Err"))]

    events = derivatives(*reports).events

    assert [(event.trade_id.value, event.event_class) for event in events] == [("U-0", "BOOK"), ("U-1", "UPDATE"), ("U-2", "CANCEL")]


def test_the_facts_of_a_derivative_are_taken_as_stated() -> None:
    product = "<PdctId><ISIN>EZ0000000001</ISIN><UnqPdctIdr><Id>QZ17F5PN51JM</Id></UnqPdctIdr></PdctId>"
    contract = f"<CtrctData><CtrctTp>SWAP</CtrctTp><AsstClss>INTR</AsstClss>{product}</CtrctData>"
    more = """<PrrTxId><UnqTxIdr>PRIOR</UnqTxIdr></PrrTxId><SbsqntTxId><UnqTxIdr>NEXT</UnqTxIdr></SbsqntTxId><PltfmIdr>XOFF</PltfmIdr>
        <NtnlAmt><FrstLeg><Amt><Amt Ccy="EUR">1000000.00</Amt></Amt></FrstLeg>
            <ScndLeg><Amt><Amt Ccy="USD">1100000</Amt></Amt></ScndLeg></NtnlAmt>
        <ExctnTmStmp>2026-03-02T23:30:00Z</ExctnTmStmp><FctvDt>2026-03-04</FctvDt><XprtnDt>2031-03-04</XprtnDt>
        <DerivEvt><Tp>ALOC</Tp><Id><EvtIdr>EVENT-1</EvtIdr></Id></DerivEvt><TradConf><Confd><Tp>ECNF</Tp></Confd></TradConf>
        <IntrstRate><FrstLeg><Fxd><Rate><Rate>2.50</Rate></Rate></Fxd></FrstLeg></IntrstRate>"""
    (event,) = derivatives(report(more=more, contract=contract)).events

    assert (event.trade_date, event.reason, event.status, event.correlation_id) == (date(2026, 3, 2), "Allocation", "CONFIRMED", "EVENT-1")
    assert (event.sender, values(event.related_ids)) == (LEI_1, ["PRIOR", "NEXT"])
    assert event.details == {
        "product": "Swap",
        "asset_class": "InterestRate",
        "isin": "EZ0000000001",
        "upi": "QZ17F5PN51JM",
        "price": "2.50",
        "price_type": "fixedRate",
        "effective_date": "2026-03-04",
        "maturity_date": "2031-03-04",
        "venue": "XOFF",
        "confirmation": "confirmed",
        "notionals": [{"amount": "1000000.00", "currency": "EUR"}, {"amount": "1100000", "currency": "USD"}],
        "parties": [
            {"role": "reporting counterparty, buyer", "lei": LEI_1},
            {"role": "other counterparty", "lei": LEI_2},
            {"role": "submitting agent", "lei": LEI_1},
        ],
    }


def test_a_cleared_derivative_is_cleared_and_names_the_trade_it_came_from() -> None:
    cleared = f"<Clrd><Dtls><CCP><LEI>{LEI_2}</LEI></CCP><OrgnlIdr><UnqTxIdr>ALPHA</UnqTxIdr></OrgnlIdr></Dtls></Clrd>"
    more = f"<TradConf><Confd/></TradConf><TradClr><ClrSts>{cleared}</ClrSts></TradClr>"
    (event,) = derivatives(report(more=more)).events

    assert (event.status, values(event.related_ids)) == ("CLEARED", ["ALPHA"])


def test_a_proprietary_transaction_id_keeps_its_issuer() -> None:
    (event,) = derivatives(report(uti="<TxId><Prtry><Id>USI-7</Id><Issr>1010000023</Issr></Prtry></TxId>")).events

    assert event.trade_ids == (TradeId("1010000023", "USI-7"),)


def test_a_report_without_a_transaction_id_is_refused_and_what_it_says_is_kept() -> None:
    with pytest.raises(MessageRefused) as refusal:
        derivatives(report("Mod", uti="<ExctnTmStmp>2026-03-02T10:00:00Z</ExctnTmStmp>"))

    assert refusal.value.code == "no-trade-id"
    assert refusal.value.message_type == "auth.030.001.03"
    assert refusal.value.stated["event_class"] == "UPDATE"
    assert refusal.value.stated["trade_date"] == date(2026, 3, 2)
    assert refusal.value.stated["event_time_text"] == "2026-03-03T06:00:00Z"


def test_a_report_without_records_is_known_to_be_about_no_trade() -> None:
    read = derivatives()

    assert read.events == ()
    assert read.reference.startswith("A report to or from authorities (auth)")


# auth.016


def test_a_transaction_report_is_new_or_cancelled_under_the_same_id_of_the_executing_firm() -> None:
    new = f"""<Tx><New><TxId>TRN1</TxId><ExctgPty>{LEI_1}</ExctgPty><SubmitgPty>{LEI_1}</SubmitgPty>
        <Buyr><AcctOwnr><Id><LEI>{LEI_1}</LEI></Id></AcctOwnr></Buyr>
        <Sellr><AcctOwnr><Id><Prsn><FrstNm>JO</FrstNm><Nm>DOE</Nm></Prsn></Id></AcctOwnr></Sellr>
        <Tx><TradDt>2026-03-02T09:15:00.123Z</TradDt><Qty><Unit>1500</Unit></Qty>
            <Pric><Pric><MntryVal><Amt Ccy="EUR">41.5</Amt></MntryVal></Pric></Pric><TradVn>XETR</TradVn></Tx>
        <FinInstrm><Id>DE0007164600</Id></FinInstrm></New></Tx>"""
    cancel = f"<Tx><Cxl><TxId>TRN1</TxId><ExctgPty>{LEI_1}</ExctgPty><SubmitgPty>{LEI_1}</SubmitgPty></Cxl></Tx>"

    booked, cancelled = parse(document("auth.016.001.01", f"<FinInstrmRptgTxRpt>{new}{cancel}</FinInstrmRptgTxRpt>")).events

    assert (booked.event_class, booked.event_kind, booked.trade_date) == ("BOOK", "NEW", date(2026, 3, 2))
    assert (cancelled.event_class, cancelled.event_kind) == ("CANCEL", "CANCEL")
    assert booked.trade_ids == cancelled.trade_ids == (TradeId(LEI_1, "TRN1"),)
    assert (booked.details["isin"], booked.details["quantity"], booked.details["price"]) == ("DE0007164600", "1500", "41.5")
    assert booked.details["parties"] == [
        {"role": "executing firm", "lei": LEI_1},
        {"role": "submitting firm", "lei": LEI_1},
        {"role": "buyer", "lei": LEI_1},
        {"role": "seller", "name": "JO DOE"},
    ]


# sese

INSTRUCTION = """<SctiesSttlmTxInstr><TxId>OWNER-1</TxId>
    <SttlmTpAndAddtlParams><SctiesMvmntTp>DELI</SctiesMvmntTp><Pmt>APMT</Pmt><CmonId>COMMON-1</CmonId></SttlmTpAndAddtlParams>
    <Lnkgs><Ref><SctiesSttlmTxId>EARLIER</SctiesSttlmTxId></Ref></Lnkgs>
    <TradDtls><TradId>TRADE-1</TradId><TradDt><Dt><Dt>2026-03-02</Dt></Dt></TradDt><SttlmDt><Dt><Dt>2026-03-04</Dt></Dt></SttlmDt>
        <DealPric><Tp><Yldd>false</Yldd></Tp><Val><Amt Ccy="EUR">99.5</Amt></Val></DealPric></TradDtls>
    <FinInstrmId><ISIN>DE0001102580</ISIN><Desc>Bund 2032</Desc></FinInstrmId>
    <QtyAndAcctDtls><SttlmQty><Qty><FaceAmt>1000000</FaceAmt></Qty></SttlmQty></QtyAndAcctDtls>
    <DlvrgSttlmPties><Pty1><Id><AnyBIC>AAAADEFFXXX</AnyBIC></Id></Pty1></DlvrgSttlmPties>
    <RcvgSttlmPties><Pty1><Id><AnyBIC>BBBBDEFFXXX</AnyBIC></Id></Pty1></RcvgSttlmPties>
    <SttlmAmt><Amt Ccy="EUR">995000.00</Amt></SttlmAmt></SctiesSttlmTxInstr>"""


@pytest.mark.parametrize("message", ["sese.023.001.03", "sese.023.001.11", "sese.023.002.09"])
def test_a_settlement_instruction_books_with_all_of_its_references(message: str) -> None:
    event = only(message, INSTRUCTION)

    assert (event.event_class, event.event_kind, event.trade_date) == ("BOOK", "SETTLEMENT_INSTRUCTION", date(2026, 3, 2))
    assert event.trade_ids == (TradeId("AcctOwnrTxId", "OWNER-1"), TradeId("CmonId", "COMMON-1"), TradeId("TradId", "TRADE-1"))
    assert values(event.related_ids) == ["EARLIER"]
    assert (event.details["isin"], event.details["product"], event.details["quantity"]) == ("DE0001102580", "Bund 2032", "1000000")
    assert (event.details["price"], event.details["settlement_date"]) == ("99.5", "2026-03-04")
    assert event.details["notionals"] == [{"amount": "995000.00", "currency": "EUR"}]
    assert event.details["parties"] == [
        {"role": "delivering party", "name": "AAAADEFFXXX"},
        {"role": "receiving party", "name": "BBBBDEFFXXX"},
    ]


def status_advice(statuses: str, more: str = "") -> TradeEvent:
    ids = "<TxId><AcctOwnrTxId>OWNER-1</AcctOwnrTxId><AcctSvcrTxId>NONREF</AcctSvcrTxId></TxId>"
    return only("sese.024.001.10", f"<SctiesSttlmTxStsAdvc>{ids}{statuses}{more}</SctiesSttlmTxStsAdvc>")


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ("<PrcgSts><AckdAccptd><NoSpcfdRsn>NORE</NoSpcfdRsn></AckdAccptd></PrcgSts>", "ACK"),
        ("<PrcgSts><Canc/></PrcgSts><MtchgSts><Mtchd/></MtchgSts>", "CANCELLED"),
        ("<MtchgSts><Umtchd/></MtchgSts>", "UNMATCHED"),
        ("<IfrrdMtchgSts><Mtchd/></IfrrdMtchgSts>", "MATCHED"),
        ("<PrcgSts><AckdAccptd/></PrcgSts><MtchgSts><Mtchd/></MtchgSts><SttlmSts><Pdg/></SttlmSts>", "MATCHED"),
        ("<MtchgSts><Mtchd/></MtchgSts><SttlmSts><Flng/></SttlmSts>", "FAILING"),
        ("<SttlmSts><Pdg/></SttlmSts>", "PENDING_SETTLEMENT"),
        ("<SttlmSts><SomethingNew/></SttlmSts>", "OTHER"),
        ("", ""),
    ],
)
def test_the_status_of_a_settlement_is_the_name_of_an_element(statuses: str, status: str) -> None:
    event = status_advice(statuses)

    assert (event.event_class, event.status) == ("STATUS", status)
    assert values(event.trade_ids) == ["OWNER-1"]


def test_a_status_advice_says_why() -> None:
    reason = "<Rsn><Cd><Cd>LACK</Cd></Cd><AddtlRsnInf>no securities</AddtlRsnInf></Rsn>"

    assert status_advice(f"<SttlmSts><Flng>{reason}</Flng></SttlmSts>").reason == "no securities"


def test_a_status_reaches_the_instruction_it_is_about() -> None:
    assert only("sese.023.001.11", INSTRUCTION).trade_ids[0] == status_advice("").trade_id


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ("", "SETTLED"),
        ("<AddtlParams><PrtlSttlm>PARC</PrtlSttlm></AddtlParams>", "SETTLED"),
        ("<AddtlParams><PrtlSttlm>PAIN</PrtlSttlm></AddtlParams>", "PARTIALLY_SETTLED"),
        ("<AddtlParams><PreConf>PREC</PreConf></AddtlParams>", "PRE_CONFIRMED"),
    ],
)
def test_a_settlement_confirmation_says_that_it_settled(parameters: str, status: str) -> None:
    ids = "<TxIdDtls><AcctOwnrTxId>OWNER-1</AcctOwnrTxId><MktInfrstrctrTxId>T2S-1</MktInfrstrctrTxId></TxIdDtls>"
    dates = "<TradDt><Dt><DtTm>2026-03-02T23:00:00</DtTm></Dt></TradDt><FctvSttlmDt><Dt><Dt>2026-03-04</Dt></Dt></FctvSttlmDt>"
    event = only("sese.025.001.09", f"<SctiesSttlmTxConf>{ids}{parameters}<TradDtls>{dates}</TradDtls></SctiesSttlmTxConf>")

    assert (event.event_class, event.status, event.trade_date) == ("STATUS", status, date(2026, 3, 2))
    assert values(event.trade_ids) == ["OWNER-1", "T2S-1"]
    assert event.details["settlement_date"] == "2026-03-04"


def test_a_request_to_cancel_changes_nothing_until_it_was_done() -> None:
    ids = "<AcctOwnrTxId><SctiesSttlmTxId><TxId>OWNER-1</TxId><SctiesMvmntTp>DELI</SctiesMvmntTp></SctiesSttlmTxId></AcctOwnrTxId>"
    request = only("sese.020.001.07", f"<SctiesTxCxlReq>{ids}<CxlRsn><Cd><Cd>CANI</Cd></Cd></CxlRsn></SctiesTxCxlReq>")

    def answer(status: str) -> TradeEvent:
        body = f"<CxlReqRef><Id>REQ-1</Id></CxlReqRef><TxId>{ids}</TxId><PrcgSts><{status}/></PrcgSts>"
        return only("sese.027.001.07", f"<SctiesTxCxlReqStsAdvc>{body}</SctiesTxCxlReqStsAdvc>")

    assert (request.event_class, request.reason) == ("REQUEST", "CANI")
    assert [(answer(name).event_class, answer(name).status) for name in ("AckdAccptd", "Dnd", "Canc")] == [
        ("STATUS", "CANCELLATION_ACKNOWLEDGED"),
        ("STATUS", "CANCELLATION_DENIED"),
        ("CANCEL", "CANCELLED"),
    ]
    assert answer("Canc").in_reply_to == "REQ-1"
    assert request.trade_id == answer("Canc").trade_id == TradeId("AcctOwnrTxId", "OWNER-1")


# fxtr

INFORMATION = "<TradInf><TradDt>2026-03-02</TradDt><OrgtrRef>FX-1</OrgtrRef><CmonRef>AAAADE0850BBBBGB</CmonRef></TradInf>"
SIDES = """<TradgSdId><SubmitgPty><AnyBIC><AnyBIC>AAAADEFFXXX</AnyBIC></AnyBIC></SubmitgPty></TradgSdId>
    <CtrPtySdId><SubmitgPty><AnyBIC><AnyBIC>BBBBGB2LXXX</AnyBIC></AnyBIC></SubmitgPty></CtrPtySdId>"""
AMOUNTS = """<TradAmts><TradgSdBuyAmt><Amt Ccy="EUR">1000000</Amt></TradgSdBuyAmt>
    <TradgSdSellAmt><Amt Ccy="USD">1085000</Amt></TradgSdSellAmt><SttlmDt>2026-03-04</SttlmDt></TradAmts>
    <AgrdRate><XchgRate>1.085</XchgRate><UnitCcy>EUR</UnitCcy><QtdCcy>USD</QtdCcy></AgrdRate>"""
REPORTING = """<RgltryRptg><TradgSdTxRptg><TradgSdUnqTxIdr><UnqTxIdr>UTI-FX-1</UnqTxIdr>
    <PrrUnqTxIdr>UTI-FX-0</PrrUnqTxIdr></TradgSdUnqTxIdr></TradgSdTxRptg></RgltryRptg>"""


@pytest.mark.parametrize(
    ("operation", "event_class", "kind"), [("NEWT", "BOOK", "NEW"), ("AMND", "UPDATE", "AMENDMENT"), ("CANC", "CANCEL", "CANCEL")]
)
def test_an_instruction_of_the_early_versions_states_its_operation(operation: str, event_class: str, kind: str) -> None:
    information = INFORMATION.replace("</TradInf>", f"<OprTp>{operation}</OprTp></TradInf>")
    event = only("fxtr.014.001.02", f"<FXTradInstr>{information}</FXTradInstr>")
    status = only("fxtr.017.001.02", f"<FXTradStsAndDtlsNtfctn>{information}</FXTradStsAndDtlsNtfctn>")

    assert (event.event_class, event.event_kind) == (event_class, kind)
    assert status.event_class == "STATUS"


@pytest.mark.parametrize(
    ("message", "name", "event_class", "kind"),
    [
        ("fxtr.014.001.05", "FXTradInstr", "BOOK", "NEW"),
        ("fxtr.014.001.02", "FXTradInstr", "BOOK", "NEW"),
        ("fxtr.015.001.05", "FXTradInstrAmdmnt", "UPDATE", "AMENDMENT"),
        ("fxtr.016.001.05", "FXTradInstrCxl", "CANCEL", "CANCEL"),
    ],
)
def test_a_foreign_exchange_trade_is_made_amended_and_cancelled(message: str, name: str, event_class: str, kind: str) -> None:
    event = only(message, f"<{name}>{INFORMATION}{SIDES}{AMOUNTS}{REPORTING}</{name}>")

    assert (event.event_class, event.event_kind, event.trade_date) == (event_class, kind, date(2026, 3, 2))
    assert values(event.trade_ids) == ["UTI-FX-1", "FX-1", "AAAADE0850BBBBGB"]
    assert event.uti == event.trade_id == TradeId("urn:iso:std:iso:23897", "UTI-FX-1")
    assert TradeId("OrgtrRef AAAADEFFXXX", "FX-1") in event.trade_ids
    assert values(event.related_ids) == ["UTI-FX-0"]
    assert (event.details["price"], event.details["price_currency"], event.details["asset_class"]) == ("1.085", "USD", "ForeignExchange")
    assert event.details["notionals"] == [{"amount": "1000000", "currency": "EUR"}, {"amount": "1085000", "currency": "USD"}]
    assert [party["name"] for party in event.details["parties"]] == ["AAAADEFFXXX", "BBBBGB2LXXX"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("code", "status"), [("UMTC", "UNMATCHED"), ("FMTC", "MATCHED"), ("STLD", "SETTLED"), ("RSCD", "RESCINDED"), ("XXXX", "OTHER")]
)
def test_the_matching_system_tells_the_status_of_a_foreign_exchange_trade(code: str, status: str) -> None:
    current = f"<CurSts><StsCd><Cd>{code}</Cd></StsCd></CurSts><CurStsDtTm>2026-03-02T11:00:00Z</CurStsDtTm>"
    details = f"<StsDtls><MtchgSysUnqRef>MS-1</MtchgSysUnqRef>{current}</StsDtls>"
    event = only("fxtr.017.001.05", f"<FXTradStsAndDtlsNtfctn>{details}{INFORMATION}{SIDES}</FXTradStsAndDtlsNtfctn>")

    assert (event.event_class, event.status) == ("STATUS", status)
    assert event.event_time == datetime(2026, 3, 2, 11, tzinfo=UTC)
    assert sorted(values(event.trade_ids)) == ["AAAADE0850BBBBGB", "FX-1", "MS-1"]
    assert TradeId("OrgtrRef AAAADEFFXXX", "FX-1") in event.trade_ids


# setr


@pytest.mark.parametrize(("message", "suffix"), [("setr.010.001.04", ""), ("setr.010.001.03", "V03")])
def test_each_order_of_a_subscription_is_booked(message: str, suffix: str) -> None:
    orders = "".join(
        f"<IndvOrdrDtls><OrdrRef>ORD-{number}</OrdrRef><FinInstrmDtls><Id><ISIN>LU0000000001</ISIN></Id></FinInstrmDtls>"
        f'<AmtOrUnits><GrssAmt Ccy="EUR">{number}00.00</GrssAmt></AmtOrUnits></IndvOrdrDtls>'
        for number in (1, 2)
    )
    details = f"<MstrRef>MASTER</MstrRef><OrdrDtTm>2026-03-02T07:59:00Z</OrdrDtTm>{orders}"
    body = f"<MsgId><Id>M-1</Id><CreDtTm>2026-03-02T08:00:00Z</CreDtTm></MsgId><MltplOrdrDtls>{details}</MltplOrdrDtls>"
    events = parse(document(message, f"<SbcptOrdr{suffix}>{body}</SbcptOrdr{suffix}>")).events

    assert [(event.event_class, event.trade_id) for event in events] == [
        ("BOOK", TradeId("OrdrRef", "ORD-1")),
        ("BOOK", TradeId("OrdrRef", "ORD-2")),
    ]
    assert {(event.message_id, event.event_time_text, event.trade_date) for event in events} == {
        ("M-1", "2026-03-02T08:00:00Z", date(2026, 3, 2))
    }
    assert [values(event.related_ids) for event in events] == [["MASTER"], ["MASTER"]]
    assert events[1].details["notionals"] == [{"amount": "200.00", "currency": "EUR"}]


def test_the_confirmation_of_a_subscription_names_the_order_and_the_deal() -> None:
    execution = """<IndvExctnDtls><OrdrRef>ORD-1</OrdrRef><DealRef>DEAL-1</DealRef><UnitsNb>12.5</UnitsNb>
        <TradDtTm><Dt>2026-03-03</Dt></TradDtTm><DealgPricDtls><Val><Amt Ccy="EUR">8.00</Amt></Val></DealgPricDtls></IndvExctnDtls>"""
    body = f"<MsgId><Id>M-2</Id></MsgId><RltdRef><Ref>M-1</Ref></RltdRef><MltplExctnDtls>{execution}</MltplExctnDtls>"
    event = only("setr.012.001.05", f"<SbcptOrdrConf>{body}</SbcptOrdrConf>")

    assert (event.event_class, event.event_kind, event.status) == ("STATUS", "CONFIRMATION", "CONFIRMED")
    assert (values(event.trade_ids), event.in_reply_to, event.trade_date) == (["ORD-1", "DEAL-1"], "M-1", date(2026, 3, 3))
    assert (event.details["quantity"], event.details["price"]) == ("12.5", "8.00")


# Everything else


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("auth.108.001.02", "A report to or from authorities (auth)"),
        ("pacs.008.001.07", "A payment between banks (pacs)"),
        ("pain.001.001.09", "A payment order"),
        ("camt.053.001.08", "Cash management (camt)"),
        ("seev.031.002.09", "Securities events (seev)"),
        ("semt.002.001.10", "Securities management (semt)"),
        ("sese.033.001.11", "Securities settlement (sese)"),
        ("setr.004.001.04", "Securities trade (setr)"),
        ("fxtr.008.001.07", "Foreign exchange trade (fxtr)"),
        ("admi.004.001.02", "Administration (admi)"),
        ("caaa.001.001.11", "An ISO 20022 message of a business area"),
    ],
)
def test_every_other_message_is_known_by_its_business_area(message: str, says: str) -> None:
    read = parse(document(message, "<Body><GrpHdr><MsgId>M-1</MsgId><CreDtTm>2026-03-02T08:00:00Z</CreDtTm></GrpHdr></Body>"))

    assert (read.dialect, read.message_type, read.events) == ("iso20022", message, ())
    assert read.reference.startswith(says)
    assert (read.stated["message_id"], read.stated["event_time_text"]) == ("M-1", "2026-03-02T08:00:00Z")


def test_a_document_with_nothing_in_it_is_known_all_the_same() -> None:
    read = parse(document("auth.108.001.02", ""))

    assert (read.message_type, read.events) == ("auth.108.001.02", ())


def test_messages_of_the_namespace_before_the_standard_are_known() -> None:
    assert parse(document("camt.003.001.04", "<GetAcct/>", namespace="urn:swift:xsd:")).message_type == "camt.003.001.04"
