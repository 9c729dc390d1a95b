"""FIXML 4.4 to 5.0 SP2: what the attributes of each kind of message mean, on messages written for this from the FIX standard."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from trades.messages import MessageRefused, ParsedMessage, TradeEvent, TradeId, parse

NAMESPACES = [
    "",
    *(f"http://www.fixprotocol.org/FIXML-{version}" for version in ("4-4", "5-0", "5-0-SP1", "5-0-SP2")),
]
HEADER = '<Hdr SID="ACME" TID="BIGBANK" Snt="2026-03-02T09:30:05Z" SeqNum="7"/>'


def fixml(body: str, namespace: str = "", version: str = "5.0 SP2") -> str:
    xmlns = f' xmlns="{namespace}"' if namespace else ""
    return f'<FIXML{xmlns} v="{version}">{body}</FIXML>'


def message(body: str) -> ParsedMessage:
    return parse(fixml(body))


def only(body: str) -> TradeEvent:
    (event,) = message(body).events
    return event


def refused(body: str) -> MessageRefused:
    with pytest.raises(MessageRefused) as refusal:
        message(body)
    return refusal.value


def values(ids: tuple[TradeId, ...]) -> list[str]:
    return [trade_id.value for trade_id in ids]


def report(attributes: str = 'TransTyp="0"', inner: str = "") -> str:
    return (
        f'<TrdCaptRpt RptID="R-1" TrdID="100007" TrdDt="2026-03-02" BizDt="2026-03-02" LastQty="5" LastPx="81.25" Ccy="USD" {attributes}>'
        f'{HEADER}<Instrmt Sym="CLM6" ID="CL" Src="H" Exch="NYMEX" MatDt="2026-06-22" UOM="Bbl"/>{inner}</TrdCaptRpt>'
    )


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_a_trade_capture_report_of_every_version_is_read(namespace: str) -> None:
    read = parse(fixml(report('TransTyp="0" LastUpdateTm="2026-03-02T09:30:00.250-06:00" TrdRptStat="0"'), namespace))
    (event,) = read.events

    assert (read.dialect, read.message_type) == ("fixml", "TrdCaptRpt")
    assert (event.event_class, event.event_kind, event.status) == ("BOOK", "NEW", "ACCEPTED")
    assert (event.message_id, event.sender) == ("R-1", "ACME")
    assert event.trade_date == date(2026, 3, 2)
    assert event.event_time == datetime(2026, 3, 2, 15, 30, 0, 250000, tzinfo=UTC)
    assert event.event_time_text == "2026-03-02T09:30:00.250-06:00"


@pytest.mark.parametrize(
    ("attributes", "event_class", "kind"),
    [
        ("", "BOOK", "NEW"),
        ('TransTyp="0"', "BOOK", "NEW"),
        ('TransTyp="1"', "CANCEL", "CANCEL"),
        ('TransTyp="2"', "UPDATE", "REPLACE"),
        ('TransTyp="3"', "STATUS", "RELEASE"),
        ('TransTyp="4"', "CANCEL", "REVERSE"),
        ('TransTyp="5"', "CANCEL", "BACK_OUT"),
        ('TransTyp="2" RptTyp="101"', "UPDATE", "REPLACE"),
        ('TransTyp="0" RptTyp="2"', "BOOK", "NEW"),
        ('TransTyp="0" RptTyp="3"', "STATUS", "DECLINE"),
        ('TransTyp="0" RptTyp="6"', "CANCEL", "CANCEL"),
        ('RptTyp="5"', "UPDATE", "REPLACE"),
        ('RptTyp="7"', "CANCEL", "BREAK"),
        ('ExecTyp="F"', "BOOK", "NEW"),
        ('ExecTyp="G"', "CORRECT", "CORRECTION"),
        ('ExecTyp="H"', "CANCEL", "CANCEL"),
        ('TransTyp="1" ExecTyp="F" RptTyp="0"', "CANCEL", "CANCEL"),
    ],
)
def test_a_trade_report_says_what_happened_to_the_trade(attributes: str, event_class: str, kind: str) -> None:
    event = only(report(attributes))

    assert (event.event_class, event.event_kind) == (event_class, kind)


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ("", ""),
        ('TrdRptStat="0"', "ACCEPTED"),
        ('TrdRptStat="1"', "REJECTED"),
        ('TrdRptStat="1" MtchStat="0"', "REJECTED"),
        ('TrdRptStat="101"', ""),
        ('TrdRptStat="101" MtchStat="0"', "MATCHED"),
        ('MtchStat="0"', "MATCHED"),
        ('MtchStat="1"', "UNMATCHED"),
        ('MtchStat="2"', ""),
        ('RptTyp="1"', "ALLEGED"),
        ('RptTyp="3"', "REJECTED"),
    ],
)
def test_a_trade_report_says_how_far_the_trade_got(attributes: str, status: str) -> None:
    assert only(report(attributes)).status == status


def test_one_and_two_mean_the_opposite_in_an_allocation_and_in_a_confirmation() -> None:
    trade = [only(report(f'TransTyp="{code}"')).event_class for code in "12"]
    allocation = [only(f'<AllocInstrctn ID="A-1" TransTyp="{code}" TrdDt="2026-03-02"/>').event_class for code in "12"]
    confirmation = [only(f'<Cnfm CnfmID="C-1" CnfmTransTyp="{code}"/>').event_class for code in "12"]

    assert trade == ["CANCEL", "UPDATE"]
    assert allocation == confirmation == ["UPDATE", "CANCEL"]


def test_an_unknown_code_is_refused_with_the_ones_there_are() -> None:
    refusal = refused(report('TransTyp="9"'))

    assert refusal.code == "invalid-field"
    assert refusal.message.startswith("Attribute TransTyp of TrdCaptRpt is '9'; expected one of 0, 1, 2")
    assert refusal.line == 1


def test_all_ids_of_a_trade_are_its_own_and_the_regulatory_one_leads() -> None:
    inner = '<RegTrdID ID="UTI-1" Src="1010000023" Typ="0"/><RegTrdID ID="OLD-UTI" Typ="1"/><RegTrdID ID="BLOCK" Typ="2"/>'
    event = only(report('TransTyp="0" TrdID2="14F0A2C" OrigTrdID="99"', inner))

    assert values(event.trade_ids) == ["UTI-1", "100007", "14F0A2C"]
    assert event.uti == event.trade_ids[0]
    assert sorted(values(event.related_ids)) == ["99", "BLOCK", "OLD-UTI"]


def test_a_block_reported_before_its_allocation_is_known_by_the_id_of_the_block() -> None:
    allocation = '<Alloc Qty="5"><RegTrdID ID="USI-1" Typ="0"/></Alloc>'
    sides = f'<RegTrdID ID="BLOCK" Typ="2" Src="N-1"/><RptSide Side="1">{allocation}</RptSide>'
    event = only(f'<TrdCaptRpt RptID="R-1" TransTyp="0">{sides}</TrdCaptRpt>')

    assert event.trade_ids == (TradeId("N-1", "BLOCK"),)
    assert values(event.related_ids) == ["USI-1"]


def test_a_report_that_names_only_a_previous_trade_has_no_id() -> None:
    assert refused('<TrdCaptRpt RptID="R-1" TransTyp="0"><RegTrdID ID="OLD" Typ="1"/></TrdCaptRpt>').code == "no-trade-id"


def test_the_regulatory_id_of_a_side_is_related_for_it_is_not_of_the_whole_trade() -> None:
    event = only(report('TransTyp="0"', '<RptSide Side="1"><RegTrdID ID="USI-1" Typ="0" Src="1010000023"/></RptSide>'))

    assert values(event.trade_ids) == ["100007"]
    assert event.uti is None
    assert values(event.related_ids) == ["USI-1"]


def test_the_regulatory_and_the_long_id_are_the_same_on_the_next_business_day() -> None:
    inner = '<RegTrdID ID="UTI-1" Src="1010000023" Typ="0"/>'
    booked = report('TransTyp="0" TrdID2="14F0A2C"', inner)
    cancelled = booked.replace('TransTyp="0"', 'TransTyp="1"').replace('BizDt="2026-03-02"', 'BizDt="2026-03-03"')

    (uti, short, long), (uti_later, short_later, long_later) = only(booked).trade_ids, only(cancelled).trade_ids

    assert (uti, long) == (uti_later, long_later)
    assert uti.scheme == "1010000023"
    assert short.scheme != short_later.scheme


def test_a_short_id_is_kept_within_its_venue_and_day() -> None:
    same_day, next_day = report(), report().replace('BizDt="2026-03-02"', 'BizDt="2026-03-03"')
    elsewhere = report().replace('Exch="NYMEX"', 'Exch="CBT"')

    schemes = [only(body).trade_id for body in (same_day, next_day, elsewhere)]

    assert [trade_id.scheme for trade_id in schemes] == ["NYMEX 2026-03-02", "NYMEX 2026-03-03", "CBT 2026-03-02"]


def test_the_sender_scopes_an_id_when_no_venue_is_stated() -> None:
    by_party = '<TrdCaptRpt TrdID="7" BizDt="2026-03-02" SettlDt="2026-03-04"><Pty ID="IFEU" R="22"/></TrdCaptRpt>'
    by_sender = f'<TrdCaptRpt TrdID="7" TrdDt="2026-03-02T00:00:00">{HEADER}</TrdCaptRpt>'

    assert only(by_party).trade_id == TradeId("IFEU 2026-03-02", "7")
    assert only(by_sender).trade_id == TradeId("ACME 2026-03-02", "7")


def test_a_report_of_4_4_has_no_trade_id_and_is_known_by_its_execution() -> None:
    body = '<TrdCaptRpt RptID="R-9" TransTyp="0" ExecID="E-9" TrdMtchID="M-9" TrdDt="2006-01-02"><Hdr><Sndr ID="OLDCO"/></Hdr></TrdCaptRpt>'
    event = only(body)

    assert (values(event.trade_ids), event.sender) == (["E-9"], "OLDCO")


def test_a_report_without_an_id_is_refused_and_what_it_says_is_kept() -> None:
    refusal = refused('<TrdCaptRpt RptID="R-1" TransTyp="2" TrdDt="2026-03-02" TxnTm="2026-03-02T09:30:00Z"/>')

    assert refusal.code == "no-trade-id"
    assert refusal.message == "TrdCaptRpt states no trade id. Expected TrdID, TrdID2 or RegTrdID."
    assert (refusal.stated["event_class"], refusal.stated["event_kind"]) == ("UPDATE", "REPLACE")
    assert refusal.stated["trade_date"] == date(2026, 3, 2)
    assert refusal.message_type == "TrdCaptRpt"


def test_times_and_dates_may_be_written_as_fix_writes_them() -> None:
    body = '<TrdCaptRpt TrdID="1" TrdDt="20260302" TxnTm="20260302-15:02:27.125"/>'
    event = only(body)

    assert event.trade_date == date(2026, 3, 2)
    assert event.event_time == datetime(2026, 3, 2, 15, 2, 27, 125000, tzinfo=UTC)
    assert not event.zoned


def test_the_facts_of_a_trade_are_taken_with_parties_by_their_roles() -> None:
    sides = (
        '<RptSide Side="2"><Pty ID="EXEC" R="1"/><Pty ID="5493001KJTIIGC8Y1R12" Src="N" R="4"/><Pty ID="NYMEX" R="22"/>'
        '<Pty ID="X" R="999"/></RptSide>'
    )
    details = only(report('TransTyp="0" SettlDt="2026-03-04" GrossTrdAmt="406250.00"', sides)).details

    assert (details["product"], details["quantity"], details["price"], details["price_currency"]) == ("CLM6", "5", "81.25", "USD")
    assert (details["maturity_date"], details["settlement_date"], details["venue"]) == ("2026-06-22", "2026-03-04", "NYMEX")
    assert details["notionals"] == [{"amount": "406250.00", "currency": "USD"}]
    assert details["parties"] == [
        {"role": "seller", "name": "EXEC"},
        {"role": "executing firm", "name": "EXEC"},
        {"role": "clearing firm", "name": "5493001KJTIIGC8Y1R12", "lei": "5493001KJTIIGC8Y1R12"},
        {"role": "exchange", "name": "NYMEX"},
    ]


def test_an_isin_is_told_by_the_source_of_the_id() -> None:
    by_source = only('<TrdCaptRpt TrdID="1"><Instrmt ID="DE0001102580" Src="4"/></TrdCaptRpt>')
    by_alternative = only('<TrdCaptRpt TrdID="1"><Instrmt ID="B1"><AID AltID="DE0001102580" AltIDSrc="4"/></Instrmt></TrdCaptRpt>')

    assert by_source.details["isin"] == by_alternative.details["isin"] == "DE0001102580"


@pytest.mark.parametrize(("code", "status"), [("0", "ACCEPTED"), ("1", "REJECTED"), ("", "ACK"), ("77", "ACK")])
def test_an_acknowledgement_is_a_status_and_books_nothing(code: str, status: str) -> None:
    event = only(f'<TrdCaptRptAck RptID="R-1" TrdID="7" TransTyp="0" TrdRptStat="{code}" RejTxt="unknown account"/>')

    assert (event.event_class, event.event_kind, event.status) == ("STATUS", "ACK", status)
    assert (event.in_reply_to, event.reason) == ("R-1", "unknown account")


def test_a_status_that_two_sides_agreed_on_says_nothing_beside_the_acknowledgement_itself() -> None:
    assert only('<TrdCaptRptAck RptID="R-1" TrdID="7" TrdRptStat="101" TrdAckStat="1"/>').status == "REJECTED"
    assert only('<TrdCaptRptAck RptID="R-1" TrdID="7" TrdRptStat="101"/>').status == "ACK"


def test_an_acknowledgement_of_a_report_that_has_no_trade_id_yet_names_its_execution() -> None:
    event = only('<TrdCaptRptAck RptID="R-1" RptRefID="R-0" ExecID="845" TrdRptStat="4" TrdAckStat="0" TrdDt="2026-03-02"/>')

    assert (values(event.trade_ids), event.status, event.in_reply_to) == (["845"], "PENDING_NEW", "R-0")


@pytest.mark.parametrize(
    ("attributes", "event_class", "kind", "status", "ids"),
    [
        ('ExecTyp="F" ExecID="E-1" Stat="2"', "BOOK", "TRADE", "FILLED", ["E-1"]),
        ('ExecTyp="F" ExecID="E-1" TrdID="T-1"', "BOOK", "TRADE", "", ["T-1"]),
        ('ExecID="E-1" LastQty="100" OrdStat="1"', "BOOK", "TRADE", "PARTIALLY_FILLED", ["E-1"]),
        ('ExecTyp="G" ExecID="E-2" ExecRefID="E-1"', "CORRECT", "CORRECTION", "", ["E-1", "E-2"]),
        ('ExecTyp="H" ExecID="E-3" ExecRefID="E-1"', "CANCEL", "CANCEL", "", ["E-1", "E-3"]),
        ('ExecTyp="8" ExecID="E-4" ExecRefID="E-1" Stat="8"', "STATUS", "ORDER_REJECTED", "REJECTED", ["E-4"]),
        ('ExecTyp="0" ExecID="E-5" Stat="0"', "STATUS", "ORDER_NEW", "NEW", ["E-5"]),
    ],
)
def test_an_execution_report_is_a_trade_where_something_was_executed(
    attributes: str, event_class: str, kind: str, status: str, ids: list[str]
) -> None:
    event = only(f'<ExecRpt OrdID="O-1" TrdDt="2026-03-02" {attributes}>{HEADER}<OrdQty Qty="100"/></ExecRpt>')

    assert (event.event_class, event.event_kind, event.status) == (event_class, kind, status)
    assert values(event.trade_ids) == ids
    assert values(event.related_ids) == ["O-1"]
    assert event.details["quantity"] == "100"


@pytest.mark.parametrize("attributes", ['Stat="0"', 'ExecTyp="I" ExecID="0" Stat="1"'])
def test_an_execution_report_without_an_execution_is_about_an_order(attributes: str) -> None:
    read = message(f'<ExecRpt OrdID="O-1" {attributes}/>')

    assert (read.events, read.message_type) == ((), "ExecRpt")
    assert read.reference.startswith("An execution report about the state of an order.")


@pytest.mark.parametrize("name", ["AllocInstrctn", "AllocRpt"])
def test_an_allocation_names_the_one_it_replaces(name: str) -> None:
    event = only(f'<{name} ID="A-2" RefID="A-1" TransTyp="1" Stat="3" Qty="10" AvgPx="5.5" TrdDt="2026-03-02">{HEADER}</{name}>')

    assert (event.event_class, event.event_kind, event.status) == ("UPDATE", "REPLACE", "RECEIVED")
    assert (values(event.trade_ids), values(event.related_ids)) == (["A-2"], ["A-1"])
    assert event.in_reply_to == "A-1"
    assert (event.details["quantity"], event.details["price"]) == ("10", "5.5")


def test_the_older_name_of_the_reference_is_known_too() -> None:
    assert values(only('<AllocInstrctn ID="A-2" RefAllocID="A-1" TransTyp="2"/>').related_ids) == ["A-1"]


@pytest.mark.parametrize(
    ("name", "other", "inner"),
    [("AllocInstrctn", "AllocInstrctnAck", 'ID="A-1"'), ("Cnfm", "CnfmAck", 'CnfmID="C-1"')],
)
def test_an_answer_is_about_the_id_that_the_other_side_gave(name: str, other: str, inner: str) -> None:
    sent = only(f'<{name} {inner} TransTyp="0"><Hdr SID="FIRM" TID="BROKER"/></{name}>')
    answer = only(f'<{other} {inner} Stat="0" AffirmStat="3"><Hdr SID="BROKER" TID="FIRM"/></{other}>')

    assert answer.trade_id == sent.trade_id
    assert answer.event_class == "STATUS"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ('<Cnfm CnfmID="C-1" CnfmTransTyp="0" CnfmTyp="2" CnfmStat="4"/>', "NEW", "CONFIRMED"),
        ('<Cnfm CnfmID="C-1" CnfmTransTyp="0" CnfmStat="1"/>', "NEW", "RECEIVED"),
        ('<CnfmAck CnfmID="C-1" AffirmStat="3"/>', "CONFIRMATION", "CONFIRMED"),
        ('<CnfmAck CnfmID="C-1" AffirmStat="2"/>', "CONFIRMATION", "REJECTED"),
    ],
)
def test_a_confirmation_and_its_answer_state_how_far_it_got(body: str, kind: str, status: str) -> None:
    event = only(body)

    assert (event.event_kind, event.status) == (kind, status)


@pytest.mark.parametrize(
    ("body", "message_type", "says"),
    [
        ("<Batch><Hdr SID='CME'/></Batch>", "heartbeat", "A heartbeat"),
        ("", "heartbeat", "A heartbeat"),
        ('<Order ID="1"/>', "Order", "An order"),
        ('<NewOrdMleg ID="1"/>', "NewOrdMleg", "An order"),
        ('<OrdCxlReq ID="1"/>', "OrdCxlReq", "An order"),
        ('<Quot QID="1"/>', "Quot", "An order or a quote"),
        ('<PosRpt RptID="1"/>', "PosRpt", "About positions"),
        ('<MktDataFull ReqID="1"/>', "MktDataFull", "Market or reference data"),
        ('<SecDef ReqID="1"/>', "SecDef", "Market or reference data"),
        ('<TrdCaptRptReq ReqID="1"/>', "TrdCaptRptReq", "A request"),
        ('<TrdCaptRptReqAck ReqID="1"/>', "TrdCaptRptReqAck", "A request"),
        ('<UserRsp UserReqID="1"/>', "UserRsp", "A FIXML message"),
        ("<Batch><Hdr/><News/></Batch>", "News", "A FIXML message"),
        ("<FIXMLMessage><ApplicationMessage/></FIXMLMessage>", "FIXMLMessage", "FIXML before version 4.4"),
    ],
)
def test_what_is_no_trade_is_known_for_what_it_is(body: str, message_type: str, says: str) -> None:
    read = message(body)

    assert (read.events, read.message_type) == ((), message_type)
    assert read.reference.startswith(says)


def test_the_header_of_a_batch_holds_for_all_of_its_messages() -> None:
    header, messages = (
        "<Hdr SID='CME' Snt='2026-03-02T10:00:00Z'/>",
        "<TrdCaptRpt TrdID='1'/><TrdCaptRpt TrdID='2'><Hdr SID='ICE'/></TrdCaptRpt>",
    )
    events = message(f"<Batch>{header}{messages}</Batch>").events

    assert [(event.sender, event.event_time_text) for event in events] == [
        ("CME", "2026-03-02T10:00:00Z"),
        ("ICE", "2026-03-02T10:00:00Z"),
    ]


def test_messages_of_several_batches_are_read_in_their_order_and_the_others_are_counted() -> None:
    body = (
        "<TrdCaptRpt TrdID='1'/><Batch><Hdr/><TrdCaptRpt TrdID='2'/><PosRpt/></Batch><Batch><Hdr/><ExecRpt ExecTyp='F' ExecID='3'/></Batch>"
    )
    read = message(body)

    assert [event.trade_id.value for event in read.events] == ["1", "2", "3"]
    assert read.warnings == ("1 of the messages in the document are no trade events: PosRpt.",)
