"""What stands around a business message: SOAP, SWIFT, ISO 20022 envelopes, and what their headers say about the message."""

from __future__ import annotations

import pytest

from trades.messages import MessageRefused, ParsedMessage, parse, prepare

ISO = "urn:iso:std:iso:20022:tech:xsd:"
FX = (
    f'<Document xmlns="{ISO}fxtr.014.001.05"><FXTradInstr><TradInf><TradDt>2026-03-02</TradDt><OrgtrRef>FX-1</OrgtrRef></TradInf>'
    "</FXTradInstr></Document>"
)
FROM = "<Fr><FIId><FinInstnId><BICFI>AAAADEFFXXX</BICFI></FinInstnId></FIId></Fr>"
TO = "<To><FIId><FinInstnId><BICFI>BBBBGB2LXXX</BICFI></FinInstnId></FIId></To>"
CREATED = "<BizMsgIdr>BAH-1</BizMsgIdr><MsgDefIdr>fxtr.014.001.05</MsgDefIdr><CreDt>2026-03-02T12:00:00Z</CreDt>"
RELATED = "<Rltd><BizMsgIdr>BAH-0</BizMsgIdr><CreDt>2026-03-01T12:00:00Z</CreDt></Rltd>"
HEADER = f'<AppHdr xmlns="{ISO}head.001.001.02">{FROM}{TO}{CREATED}{RELATED}</AppHdr>'
SAA = "urn:swift:saa:xsd:saa.2.0"
SNL = "urn:swift:snl:ns.SwInt"


def soap(version: str, body: str) -> str:
    return f'<s:Envelope xmlns:s="{version}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>'


WITH_HEADER = {
    "DataPDU": f'<Saa:DataPDU xmlns:Saa="{SAA}"><Saa:Header/><Saa:Body>{HEADER}{FX}</Saa:Body></Saa:DataPDU>',
    "DataPDU without prefix": f'<DataPDU xmlns="{SAA}"><Body>{HEADER}{FX}</Body></DataPDU>',
    "BizData": f'<BizData xmlns="{ISO}head.003.001.01"><Hdr>{HEADER}</Hdr><Pyld>{FX}</Pyld></BizData>',
    "BizMsgEnvlp": f'<BizMsgEnvlp xmlns="{ISO}nvlp.001.001.01"><Hdr>{HEADER}</Hdr><Doc>{FX}</Doc></BizMsgEnvlp>',
    "BizMsgEnvlp of no namespace": f"<BizMsgEnvlp>{HEADER}{FX}</BizMsgEnvlp>",
    "RequestPayload of head.003": f'<RequestPayload xmlns="{ISO}head.003.001.01">{HEADER}{FX}</RequestPayload>',
    "RequestPayload of SWIFTNet": f'<RequestPayload xmlns="SWIFTNetBusinessEnvelope">{HEADER}{FX}</RequestPayload>',
    "RequestPayload of no namespace": f"<RequestPayload>{HEADER}{FX}</RequestPayload>",
    "SwInt:Request": f'<S:Request xmlns:S="{SNL}"><S:RequestHeader/><S:RequestPayload>{HEADER}{FX}</S:RequestPayload></S:Request>',
    "SOAP 1.1": soap("http://schemas.xmlsoap.org/soap/envelope/", f"{HEADER}{FX}"),
    "SOAP 1.2": soap("http://www.w3.org/2003/05/soap-envelope", f"<RequestPayload>{HEADER}{FX}</RequestPayload>"),
    "message": f"<message>{HEADER}{FX}</message>",
}


def facts(read: ParsedMessage) -> tuple[str, str, str, str]:
    (event,) = read.events
    return event.trade_id.value, event.message_id, event.sender, event.event_time_text


@pytest.mark.parametrize("name", WITH_HEADER)
def test_a_message_is_found_in_its_envelope_and_takes_what_the_header_says(name: str) -> None:
    read = parse(WITH_HEADER[name])

    assert (read.dialect, read.message_type) == ("iso20022", "fxtr.014.001.05")
    assert facts(read) == ("FX-1", "BAH-1", "AAAADEFFXXX", "2026-03-02T12:00:00Z")


@pytest.mark.parametrize("name", WITH_HEADER)
def test_a_message_in_an_envelope_is_passed_on_whole(name: str) -> None:
    (part,) = prepare(WITH_HEADER[name].encode())

    assert part.text == WITH_HEADER[name]
    assert part.message == parse(WITH_HEADER[name])


def test_a_message_without_an_envelope_states_no_more_than_itself() -> None:
    assert facts(parse(FX)) == ("FX-1", "", "", "")


def test_the_older_header_of_swift_is_read_too() -> None:
    header = """<Ah:AppHdr xmlns:Ah="urn:swift:xsd:$ahV10"><Ah:From><Ah:Type>BIC</Ah:Type><Ah:Id>AAAADEFF</Ah:Id></Ah:From>
        <Ah:MsgRef>REF-1</Ah:MsgRef><Ah:CrDate>2013-12-23T15:50:00</Ah:CrDate></Ah:AppHdr>"""

    assert facts(parse(f"<Envelope>{header}{FX}</Envelope>")) == ("FX-1", "REF-1", "AAAADEFF", "2013-12-23T15:50:00")


def test_what_the_message_states_itself_counts_more_than_its_header() -> None:
    own = "<MsgId><Id>M-1</Id><CreDtTm>2026-03-02T08:00:00Z</CreDtTm></MsgId>"
    order = f"<SbcptOrdr>{own}<MltplOrdrDtls><IndvOrdrDtls><OrdrRef>O-1</OrdrRef></IndvOrdrDtls></MltplOrdrDtls></SbcptOrdr>"
    read = parse(f'<BizMsgEnvlp>{HEADER}<Document xmlns="{ISO}setr.010.001.04">{order}</Document></BizMsgEnvlp>')

    assert facts(read) == ("O-1", "M-1", "AAAADEFFXXX", "2026-03-02T08:00:00Z")


def test_an_empty_time_in_the_header_is_no_time() -> None:
    header = HEADER.replace("<CreDt>2026-03-02T12:00:00Z</CreDt>", "<CreDt><!-- when it is sent --></CreDt>")

    assert facts(parse(f"<BizMsgEnvlp>{header}{FX}</BizMsgEnvlp>")) == ("FX-1", "BAH-1", "AAAADEFFXXX", "")


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ('<FIXML v="5.0 SP2"><TrdCaptRpt TrdID="1" TransTyp="0"/></FIXML>', "fixml"),
        ('<TradeStatus xmlns="urn:tradeportal:tradestatus:1"/>', "native"),
    ],
)
def test_messages_of_any_dialect_are_found_in_an_envelope(body: str, dialect: str) -> None:
    (part,) = prepare(soap("http://schemas.xmlsoap.org/soap/envelope/", body).encode())

    found = part.message or part.refusal
    assert found is not None
    assert found.dialect == dialect


def test_no_trade_is_found_where_a_rejection_quotes_it() -> None:
    with pytest.raises(MessageRefused) as refusal:
        parse(f"<Rejection><Original>{FX}</Original></Rejection>")

    assert refusal.value.code == "unknown-dialect"
    assert refusal.value.message.startswith("The root element Rejection in no namespace is not known here.")


def test_a_message_within_a_message_is_no_second_one() -> None:
    supplement = f"<SplmtryData><Envlp>{FX}</Envlp></SplmtryData>"
    read = parse(f"<BizMsgEnvlp>{HEADER}{FX.replace('</FXTradInstr>', supplement + '</FXTradInstr>')}</BizMsgEnvlp>")

    assert facts(read)[0] == "FX-1"


def test_two_messages_in_one_envelope_are_refused_with_a_sentence() -> None:
    with pytest.raises(MessageRefused) as refusal:
        parse(f"<BizMsgEnvlp>{HEADER}\n{FX}\n{FX}</BizMsgEnvlp>")

    assert (refusal.value.code, refusal.value.line) == ("several-documents", 3)
    assert refusal.value.message == "The envelope BizMsgEnvlp holds 2 messages; one is taken. Send each by itself."


def test_an_envelope_without_a_message_is_not_known() -> None:
    with pytest.raises(MessageRefused) as refusal:
        parse(f'<Saa:DataPDU xmlns:Saa="{SAA}"><Saa:Header><Saa:MessageStatus/></Saa:Header></Saa:DataPDU>')

    assert refusal.value.code == "unknown-dialect"


def test_an_envelope_is_looked_through_to_a_limited_depth() -> None:
    deep = f"<Message>{'<Part>' * 6}{FX}{'</Part>' * 6}</Message>"

    with pytest.raises(MessageRefused) as refusal:
        parse(deep)
    assert refusal.value.code == "unknown-dialect"
    assert facts(parse(f"<Message>{'<Part>' * 5}{FX}{'</Part>' * 5}</Message>"))[0] == "FX-1"


@pytest.mark.parametrize("prefix", ["", "<?xml version='1.0' encoding='UTF-8'?>\n<!-- from the gateway -->\n"])
def test_a_fault_in_an_envelope_is_told_with_its_place_in_the_whole_document(prefix: str) -> None:
    broken = FX.replace("2026-03-02", "2026-13-02")
    with pytest.raises(MessageRefused) as refusal:
        parse(f"{prefix}<BizMsgEnvlp>\n{HEADER}\n  {broken}</BizMsgEnvlp>".encode())

    assert refusal.value.message == "TradDt is '2026-13-02'; expected a date such as 2024-03-04."
    assert refusal.value.line == 3 + prefix.count("\n")
    assert (refusal.value.dialect, refusal.value.message_type) == ("iso20022", "fxtr.014.001.05")
