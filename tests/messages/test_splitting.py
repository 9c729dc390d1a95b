"""A document of several messages becomes one document for each: of the same dialect, well-formed, and saying the same."""

from __future__ import annotations

import pytest
from lxml import etree

from trades.messages import MessageRefused, Prepared, parse, prepare, splitting

ISO = "urn:iso:std:iso:20022:tech:xsd:"
NATIVE = "urn:tradeportal:tradestatus:1"


def fixml(*messages: str) -> str:
    header = '<Hdr SID="CME" Snt="2026-03-02T10:00:00Z"/>'
    batch = f"  <Batch>\n    {header}\n    {''.join(messages)}\n  </Batch>\n"
    return f'<FIXML xmlns="http://www.fixprotocol.org/FIXML-5-0-SP2" v="5.0 SP2">\n{batch}</FIXML>'


def trade(number: int, transaction: str = "0") -> str:
    attributes = f'TrdID="{number}" TransTyp="{transaction}" BizDt="2026-03-02" TrdDt="2026-03-02"'
    return f'<TrdCaptRpt {attributes}><Instrmt Exch="NYMEX" Sym="S{number}"/></TrdCaptRpt>\n    '


def report(number: int, action: str = "New") -> str:
    about = "<CtrPtySpcfcData><RptgTmStmp>2026-03-02T11:00:00Z</RptgTmStmp></CtrPtySpcfcData>"
    stated = f"<TxId><UnqTxIdr>UTI-{number}</UnqTxIdr></TxId><ExctnTmStmp>2026-03-02T10:00:00Z</ExctnTmStmp>"
    return f"<Rpt><{action}>{about}<CmonTradData><TxData>{stated}</TxData></CmonTradData></{action}></Rpt>\n"


def derivatives(*reports: str) -> str:
    header = f"<RptHdr><NbRcrds>{len(reports)}</NbRcrds></RptHdr>"
    body = f"<DerivsTradRpt>{header}<TradData>\n{''.join(reports)}</TradData></DerivsTradRpt>"
    return f'<Document xmlns="{ISO}auth.030.001.03">{body}</Document>'


def enveloped(document: str) -> str:
    header = f'<AppHdr xmlns="{ISO}head.001.001.01"><BizMsgIdr>BAH-1</BizMsgIdr><CreDt>2026-03-02T12:00:00Z</CreDt></AppHdr>'
    return f'<BizData xmlns="{ISO}head.003.001.01"><Hdr>{header}</Hdr><Pyld>{document}</Pyld></BizData>'


def order(number: int) -> str:
    return f"<IndvOrdrDtls><OrdrRef>ORD-{number}</OrdrRef></IndvOrdrDtls>"


def orders(*inner: str) -> str:
    details = f"<MltplOrdrDtls><MstrRef>MASTER</MstrRef><OrdrDtTm>2026-03-02T10:00:00Z</OrdrDtTm>{''.join(inner)}</MltplOrdrDtls>"
    return f'<Document xmlns="{ISO}setr.010.001.04"><SbcptOrdr><MsgId><Id>M-1</Id></MsgId>{details}</SbcptOrdr></Document>'


def native(number: int) -> str:
    return (
        f"<TradeStatus><Header><MessageId>M-{number}</MessageId><Sender>OPS</Sender><SentAt>2026-03-02T09:30:02Z</SentAt></Header>"
        f"<TradeId>T-{number}</TradeId><Version>1</Version><Event>STATUS</Event><Status>CHECKED</Status>"
        "<EventTime>2026-03-02T09:30:00Z</EventTime></TradeStatus>"
    )


DOCUMENTS = {
    "FIXML batch": fixml(trade(1), trade(2, "2"), trade(3, "1")),
    "FIXML without a batch": "<FIXML><TrdCaptRpt TrdID='1'/><TrdCaptRpt TrdID='2'/><!-- the last --><TrdCaptRpt TrdID='3'/></FIXML>",
    "FIXML of two batches": (
        "<FIXML><Batch><Hdr SID='A'/><TrdCaptRpt TrdID='1'/></Batch>"
        "<Batch><Hdr SID='B'/><TrdCaptRpt TrdID='2'/><TrdCaptRpt TrdID='3'/></Batch></FIXML>"
    ),
    "derivatives report": derivatives(report(1), report(2, "Mod"), report(3, "Err")),
    "derivatives report in an envelope": enveloped(derivatives(report(1), report(2), report(3, "Termntn"))),
    "several reports in one element": derivatives("<Rpt>" + "".join(report(n)[5:-7] for n in (1, 2, 3)) + "</Rpt>"),
    "orders of a fund": orders(order(1), order(2), order(3)),
    "orders of a fund in an envelope": enveloped(orders(order(1), order(2), order(3))),
    "trade statuses": f'<TradeStatuses xmlns="{NATIVE}">{native(1)}{native(2)}{native(3)}</TradeStatuses>',
}


def refusal_of(part: Prepared) -> MessageRefused:
    assert part.refusal is not None
    return part.refusal


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_part_is_a_document_that_says_what_the_whole_said_at_its_place(name: str) -> None:
    document = DOCUMENTS[name]
    whole = parse(document)

    parts = prepare(document.encode())

    assert len(parts) == len(whole.events) == 3
    for part, event in zip(parts, whole.events, strict=True):
        alone = parse(part.text)
        assert part.refusal is None
        assert part.message == alone
        assert alone.events == (event,)
        assert (alone.dialect, alone.message_type) == (whole.dialect, whole.message_type)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_part_is_one_message_and_is_not_split_again(name: str) -> None:
    for part in prepare(DOCUMENTS[name].encode()):
        (again,) = prepare(part.text.encode())

        assert again.message == part.message


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_part_holds_anything_of_another_trade(name: str) -> None:
    parts = prepare(DOCUMENTS[name].encode())
    ids = [event.trade_id.value for part in parts if part.message for event in part.message.events]

    for place, part in enumerate(parts):
        stated = set(etree.fromstring(part.text.encode()).xpath("//@TrdID | //text()"))
        assert [trade_id for trade_id in ids if trade_id in stated] == [ids[place]]


def test_header_and_envelope_stay_around_each_part() -> None:
    for part in prepare(enveloped(derivatives(report(1), report(2))).encode()):
        root = etree.fromstring(part.text.encode())

        assert etree.QName(root).localname == "BizData"
        assert root.xpath("string(//*[local-name() = 'BizMsgIdr'])") == "BAH-1"
        assert part.message is not None
        assert part.message.events[0].message_id == "BAH-1"


def test_a_file_of_one_message_is_passed_on_as_it_is() -> None:
    document = enveloped(derivatives(report(1)))

    assert [part.text for part in prepare(document.encode())] == [document]


@pytest.mark.parametrize(
    ("document", "code", "line"),
    [
        (fixml(trade(1), trade(2, "8"), trade(3)), "invalid-field", 5),
        (fixml(trade(1), trade(2).replace('TrdID="2"', ""), trade(3)), "no-trade-id", 5),
        (derivatives(report(1), report(2).replace("2026-03-02T10", "2026-03-32T10"), report(3)), "invalid-field", 3),
        (derivatives(report(1), report(2).replace("UTI-2", " "), report(3)), "no-trade-id", 3),
        (enveloped(derivatives(report(1), report(2).replace("UTI-2", ""), report(3))), "no-trade-id", 3),
    ],
)
def test_a_bad_one_is_refused_at_its_place_and_the_rest_go_on(document: str, code: str, line: int) -> None:
    first, bad, last = prepare(document.encode())

    assert first.message is not None
    assert last.message is not None
    assert (refusal_of(bad).code, refusal_of(bad).line) == (code, line)
    with pytest.raises(MessageRefused) as again:
        parse(bad.text)
    assert (again.value.code, again.value.message) == (code, refusal_of(bad).message)


def test_a_message_that_is_no_trade_becomes_a_part_of_its_own_too() -> None:
    parts = prepare(fixml(trade(1), '<PosRpt RptID="P-1"/>', trade(2)).encode())

    assert [bool(part.message and part.message.reference) for part in parts] == [False, True, False]
    assert parts[1].message is not None
    assert parts[1].message.message_type == "PosRpt"
    assert 'RptID="P-1"' in parts[1].text


def test_what_is_repeated_around_too_many_messages_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MAX_CHARACTERS", 5_000)
    document = fixml(*(trade(number) for number in range(3))).replace("<Batch>", f"<!-- {'x' * 2_000} --><Batch>")

    (part,) = prepare(document.encode())

    assert refusal_of(part).code == "too-large"
    assert refusal_of(part).message.startswith("The document holds 3 messages, and what stands around them has 2,")
    assert refusal_of(part).message.endswith("which each of them would repeat. Split it into smaller files.")


def test_a_character_reference_and_a_comment_survive_the_split() -> None:
    document = "<FIXML><!-- kept --><TrdCaptRpt TrdID='A&amp;B&#x20AC;'/><TrdCaptRpt TrdID='&lt;2&gt;'/></FIXML>"

    parts = prepare(document.encode())

    assert [part.message.events[0].trade_id.value for part in parts if part.message] == ["A&B€", "<2>"]
    assert all("<!-- kept -->" in part.text for part in parts)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_a_file_of_any_encoding_is_split(encoding: str) -> None:
    document = f"<?xml version='1.0' encoding='{encoding}'?><FIXML><TrdCaptRpt TrdID='Zürich-1'/><TrdCaptRpt TrdID='Zürich-2'/></FIXML>"

    parts = prepare(document.encode(encoding))

    assert [parse(part.text).events[0].trade_id.value for part in parts] == ["Zürich-1", "Zürich-2"]
