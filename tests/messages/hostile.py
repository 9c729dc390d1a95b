"""Documents made to hurt whoever reads them, written for these tests as code that builds them.

`python -m benchmarks.parse --hostile` prints what each of them costs.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.messages.documents import BOOK, FPML, NATIVE, alone, collection, fpml, native, trade
from trades.messages.reader import MAX_BYTES

TAKEN = "taken"
EITHER = "taken or refused"  # how much one event may hold is for the mapping engine to say
QUEUE_ROOM = 1024 * 1024  # bytes of a message (SendMessage, Amazon SQS API Reference)


@dataclass(frozen=True, slots=True)
class Lab:
    """What the documents are built with: a URL and a file that must never be asked for, and the bytes that one may fill."""

    url: str
    secret: Path
    room: int = MAX_BYTES

    def fill(self, piece: str, *, but: int = 10_000) -> str:
        """As many pieces as fit beside `but` further bytes."""
        return piece * self.count(piece, but=but)

    def value(self, piece: str) -> str:
        """As many pieces as one place of a document may hold: the parser takes at most 10,000,000 bytes there."""
        return self.fill(piece, but=self.room // 10)

    def count(self, piece: str, *, but: int = 10_000) -> int:
        """How many pieces fit beside `but` further bytes."""
        return (self.room - but) // len(piece.encode())

    def each(self, piece: str, most: int = MAX_BYTES, *, but: int = 10_000) -> str:
        """At most so many pieces, as far as they fit, each with a number of six digits for "%"."""
        count = self.count(piece.replace("%", "000000"), but=but)
        return "".join(piece.replace("%", f"{number:06}") for number in range(min(most, count)))


class Case(NamedTuple):
    """What `messages.parse` says of a document of full size ("taken", or the code of its refusal), and how it is built."""

    expected: str
    build: Callable[[Lab], str | bytes]


def document(case: Case, lab: Lab) -> bytes:
    """The bytes of a hostile document."""
    built = case.build(lab)
    return built if isinstance(built, bytes) else built.encode()


def execution(body: str, *, before: str = "", attributes: str = "", namespace: str = FPML) -> str:
    """An FpML executionNotification that any of these may spoil."""
    return f'{before}<executionNotification xmlns="{namespace}" {attributes}>{body}</executionNotification>'


def laughs(entities: int, references: int) -> str:
    """Entities that each refer `references` times to the one before."""
    declared = "".join(f'<!ENTITY e{n} "' + f"&e{n - 1};" * references + '">' for n in range(1, entities))
    return f'<!DOCTYPE a [<!ENTITY e0 "ha">{declared}]><a>&e{entities - 1};</a>'


ENTITIES = {
    "billion laughs": Case("forbidden-construct", lambda lab: laughs(10, 10)),
    "billion laughs in an attribute": Case("forbidden-construct", lambda lab: laughs(10, 10).replace("<a>", '<a x="&e9;">')),
    "quadratic blow-up": Case(
        "forbidden-construct", lambda lab: '<!DOCTYPE a [<!ENTITY x "' + "x" * 100_000 + f'">]><a>{lab.fill("&x;", but=200_000)}</a>'
    ),
    "entity of itself": Case("forbidden-construct", lambda lab: '<!DOCTYPE a [<!ENTITY x "&x;">]><a>&x;</a>'),
    "entity of a file": Case("forbidden-construct", lambda lab: f'<!DOCTYPE a [<!ENTITY x SYSTEM "{lab.secret.as_uri()}">]><a>&x;</a>'),
    "entity of a server": Case("forbidden-construct", lambda lab: f'<!DOCTYPE a [<!ENTITY x SYSTEM "{lab.url}/x">]><a>&x;</a>'),
    "parameter entity of a file": Case(
        "forbidden-construct", lambda lab: f'<!DOCTYPE a [<!ENTITY % x SYSTEM "{lab.secret.as_uri()}"> %x;]><a/>'
    ),
    "parameter entity of a server": Case("forbidden-construct", lambda lab: f'<!DOCTYPE a [<!ENTITY % x SYSTEM "{lab.url}/x"> %x;]><a/>'),
    "unparsed entity of a server": Case(
        "forbidden-construct", lambda lab: f'<!DOCTYPE a [<!NOTATION n SYSTEM "{lab.url}/n"><!ENTITY x SYSTEM "{lab.url}/x" NDATA n>]><a/>'
    ),
    "DTD of a server": Case(TAKEN, lambda lab: execution(trade(), before=f'<!DOCTYPE a SYSTEM "{lab.url}/a.dtd">')),
    "DTD of a server, public": Case(TAKEN, lambda lab: execution(trade(), before=f'<!DOCTYPE a PUBLIC "-//A//B" "{lab.url}/a.dtd">')),
    "DTD of a file": Case(TAKEN, lambda lab: execution(trade(), before=f'<!DOCTYPE a SYSTEM "{lab.secret.as_uri()}">')),
    "DTD of a server, its entity in the id": Case(
        "forbidden-construct", lambda lab: execution(trade("T-&x;1"), before=f'<!DOCTYPE a SYSTEM "{lab.url}/a.dtd">')
    ),
    "DTD of a server, native": Case("forbidden-construct", lambda lab: f'<!DOCTYPE a SYSTEM "{lab.url}/a.dtd">{alone(native())}'),
    "default attributes": Case(
        "too-large",
        lambda lab: '<!DOCTYPE a [<!ATTLIST b x CDATA "' + "z" * 100_000 + f'">]><a>{lab.fill("<b/>", but=350_000)}</a>',
    ),
    "500,000 element declarations": Case(
        "too-large",
        lambda lab: f"<!DOCTYPE a [{lab.each('<!ELEMENT e% ANY>')}]><a/>",
    ),
    "deep content model": Case("too-large", lambda lab: f"<!DOCTYPE a [<!ELEMENT a {'(' * 100_000}b{')' * 100_000}>]><a/>"),
    "wide content model": Case("too-large", lambda lab: f"<!DOCTYPE a [<!ELEMENT a (b{lab.fill('|b')})>]><a/>"),
    "notations of a server": Case(
        "forbidden-construct",
        lambda lab: "<!DOCTYPE a [" + lab.fill(f'<!NOTATION n SYSTEM "{lab.url}/n">') + "]><a/>",
    ),
    "10 MB between DOCTYPE and root": Case("too-large", lambda lab: f"<!DOCTYPE a><!--{lab.fill('x')}--><a/>"),
}

FETCHES = {
    "XInclude of a file": Case(
        "forbidden-construct",
        lambda lab: execution(
            trade() + f'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{lab.secret.as_uri()}" parse="text"/>'
        ),
    ),
    "XInclude of a server": Case(
        "forbidden-construct", lambda lab: f'<include xmlns="http://www.w3.org/2001/XInclude" href="{lab.url}/x" parse="text"/>'
    ),
    "stylesheet of a server": Case(
        TAKEN, lambda lab: f'<?xml-stylesheet type="text/xsl" href="{lab.url}/x.xsl"?>{alone(native(inner="<Status>CHECKED</Status>"))}'
    ),
    "schemaLocation of a server": Case(
        TAKEN,
        lambda lab: _with_schema(alone(native(inner="<Status>CHECKED</Status>")), f'schemaLocation="{NATIVE} {lab.url}/x.xsd"', lab),
    ),
    "schemaLocation of a server, FpML": Case(
        TAKEN, lambda lab: _with_schema(execution(trade()), f'schemaLocation="{FPML} {lab.url}/x.xsd"', lab)
    ),
    "noNamespaceSchemaLocation of a server": Case(
        TAKEN, lambda lab: _with_schema(execution(trade()), f'noNamespaceSchemaLocation="{lab.url}/x.xsd"', lab)
    ),
    "xml:base and xlink": Case(
        TAKEN,
        lambda lab: execution(trade(), attributes=f'xml:base="{lab.url}/" xmlns:l="http://www.w3.org/1999/xlink" l:href="{lab.url}/x"'),
    ),
}


def _with_schema(text: str, attribute: str, lab: Lab) -> str:
    return text.replace(" xmlns=", f' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:{attribute} xmlns=', 1)


def _deep(lab: Lab, depth: int, inside: str = "") -> str:
    return "<a>" * depth + inside + "</a>" * min(depth, lab.room // 8)


SHAPES = {
    "300 deep": Case("too-large", lambda lab: _deep(lab, 300)),
    "10,000 deep": Case("too-large", lambda lab: _deep(lab, 10_000)),
    "1,000,000 deep": Case("too-large", lambda lab: _deep(lab, 1_000_000)),
    "FpML 240 deep": Case(TAKEN, lambda lab: execution(trade(product="<swap>" * 235 + "</swap>" * 235))),
    "FpML 240 deep, again and again": Case(
        "too-large", lambda lab: execution(trade(product="<swap>" * 120 + lab.fill("<a>" * 115 + "</a>" * 115) + "</swap>" * 120))
    ),
    "attribute of 9 MB": Case("unknown-dialect", lambda lab: f'<a x="{lab.value("y")}"/>'),
    "attribute of 9 MB, FpML": Case(TAKEN, lambda lab: execution(trade(), attributes=f'x="{lab.value("y")}"')),
    "100,000 attributes": Case("unknown-dialect", lambda lab: "<a " + lab.each('a%="1" ', 100_000) + "/>"),
    "100,000 namespaces": Case("too-large", lambda lab: "<a " + lab.each('xmlns:a%="u%" ', 100_000) + "/>"),
    "namespaces all over": Case("too-large", lambda lab: "<a>" + lab.each('<b xmlns:a%="u%"/>') + "</a>"),
    "namespace of 9 MB": Case("too-large", lambda lab: execution(trade(), namespace="http://www.fpml.org/FpML-5/" + lab.value("x"))),
    "name of 45,000 characters": Case("unknown-dialect", lambda lab: f"<{'a' * 45_000}/>"),
    "names, each another": Case("unknown-dialect", lambda lab: f"<a>{lab.each('<a%/>', 400_000)}</a>"),
    "attribute names, each another": Case("too-large", lambda lab: "<a>" + lab.each('<b a%="1"/>') + "</a>"),
    "10 MB of text": Case("too-large", lambda lab: f"<a>{lab.fill('x')}</a>"),
    "10 MB of white space": Case("too-large", lambda lab: f"<a>{lab.fill(' ')}</a>"),
    "10 MB of lines": Case("too-large", lambda lab: lab.fill("\n") + "<a/>"),
    "10 MB of wide text": Case("too-large", lambda lab: f"<a>{lab.fill('😀')}</a>"),
    "10 MB of character references": Case("unknown-dialect", lambda lab: f"<a>{lab.fill('&#65;')}</a>"),
    "one comment of 10 MB": Case("too-large", lambda lab: f"<a><!--{lab.fill('x')}--></a>"),
    "10 MB of comments": Case("too-large", lambda lab: f"<a>{lab.fill('<!---->')}</a>"),
    "one instruction of 10 MB": Case("too-large", lambda lab: f"<a><?p {lab.fill('x')}?></a>"),
    "10 MB of instructions": Case("too-large", lambda lab: f"<a>{lab.fill('<?p?>')}</a>"),
    "one CDATA of 10 MB": Case("too-large", lambda lab: f"<a><![CDATA[{lab.fill('x')}]]></a>"),
    "10 MB of CDATA": Case("too-large", lambda lab: f"<a>{lab.fill('<![CDATA[x]]>')}</a>"),
    "10 MB of entities that XML has": Case("unknown-dialect", lambda lab: f"<a>{lab.fill('&lt;')}</a>"),
    "400,000 empty elements": Case("unknown-dialect", lambda lab: f"<a>{lab.each('<b/>', 400_000)}</a>"),
    "500,000 elements with text": Case("too-large", lambda lab: f"<a>{lab.fill('<b>x</b>')}</a>"),
    "text between all elements": Case("too-large", lambda lab: f"<a>{lab.fill('<b/>x' + ' ' * 20)}</a>"),
    "10 MB of <": Case("too-large", lambda lab: lab.fill("<")),
    "10 MB of <a": Case("too-large", lambda lab: lab.fill("<a ")),
    "10 MB of <!--": Case("too-large", lambda lab: "<!DOCTYPE a><a>" + lab.fill("<!--")),
    "10 MB of &": Case("not-well-formed", lambda lab: "<a>" + lab.fill("&") + "</a>"),
    "10 MB of quotes": Case("not-well-formed", lambda lab: "<a x=" + lab.fill("\"'") + "/>"),
    "a declaration of 10 MB": Case("not-well-formed", lambda lab: "<?xml " + lab.fill("encoding ")),
    "instructions, then half a DOCTYPE": Case("too-large", lambda lab: lab.fill("<?p q?>\n") + "<!DOCTYP"),
}

DECLARED = '<?xml version="1.0" encoding="{}"?>'
ENCODINGS = {
    "UTF-16 that is UTF-8": Case("not-well-formed", lambda lab: DECLARED.format("UTF-16") + "<a>é</a>"),
    "UTF-8 that is UTF-16": Case("unknown-dialect", lambda lab: (DECLARED.format("UTF-8") + "<a>é</a>").encode("utf-16")),
    "EBCDIC": Case("not-well-formed", lambda lab: (DECLARED.format("IBM037") + "<a/>").encode("cp037")),
    "EBCDIC, only stated": Case("not-well-formed", lambda lab: DECLARED.format("IBM037") + "<a/>"),
    "UTF-7": Case("not-well-formed", lambda lab: DECLARED.format("UTF-7") + "<a>+ADw-x+AD4-</a>"),
    "UTF-7 without a declaration": Case("not-well-formed", lambda lab: "+ADw-a/+AD4-"),
    "an encoding nobody knows": Case("not-well-formed", lambda lab: DECLARED.format("x-none") + "<a/>"),
    "a codec that is no encoding": Case("not-well-formed", lambda lab: DECLARED.format("bz2_codec") + "<a/>"),
    "punycode of 10 MB": Case("not-well-formed", lambda lab: DECLARED.format("punycode") + lab.fill("a-")),
    "an encoding of 10 MB": Case("not-well-formed", lambda lab: DECLARED.format(lab.fill("x")) + "<a/>"),
    "cut within a character": Case("not-well-formed", lambda lab: "<a>é".encode()[:-1]),
    "cut within a character, UTF-16": Case("not-well-formed", lambda lab: "<a>é".encode("utf-16")[:-1]),
    "overlong": Case("not-well-formed", lambda lab: b"<a>\xc0\xbc\xe0\x80\xbc</a>"),
    "surrogates in UTF-8": Case("not-well-formed", lambda lab: b"<a>\xed\xa0\x80</a>"),
    "half a pair in UTF-16": Case("not-well-formed", lambda lab: b"\xff\xfe<\0a\0>\0\0\xd8<\0/\0a\0>\0"),
    "half a pair by reference": Case("not-well-formed", lambda lab: "<a>&#xD800;</a>"),
    "two byte order marks": Case("unknown-dialect", lambda lab: "\ufeff\ufeff<a/>"),
    "the mark of the other order": Case("not-well-formed", lambda lab: b"\xfe\xff" + "<a/>".encode("utf-16-le")),
    "a mark of UTF-8 over UTF-16": Case("not-well-formed", lambda lab: b"\xef\xbb\xbf" + "<a/>".encode("utf-16-le")),
    "a mark of UTF-32": Case("unknown-dialect", lambda lab: "<a/>".encode("utf-32")),
    "a wrong byte at the end of 10 MB": Case("not-well-formed", lambda lab: b"<a>" + lab.fill("x\n").encode() + b"\xff</a>"),
    "NUL": Case("not-well-formed", lambda lab: b"<a>\0</a>"),
    "10 MB of NUL": Case("not-well-formed", lambda lab: lab.fill("\0")),
    "NUL at the end": Case("not-well-formed", lambda lab: alone(native()) + "\0"),
    "control characters": Case("not-well-formed", lambda lab: "<a>\x01\x08\x1b[2J</a>"),
    "control characters by reference": Case("not-well-formed", lambda lab: "<a>&#27;</a>"),
    "C1 controls": Case(TAKEN, lambda lab: execution(trade("T\x80\x9b1"))),
    "U+FFFE": Case("not-well-formed", lambda lab: "<a>\ufffe</a>"),
    "U+FFFF in an id": Case("not-well-formed", lambda lab: execution(trade("T\uffff1"))),
    "XML 1.1": Case("not-well-formed", lambda lab: '<?xml version="1.1"?><a>&#1;</a>'),
}


def _zipped(text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trade.xml", text)
    return file.getvalue()


OTHERS = {
    "nothing": Case("not-well-formed", lambda lab: b""),
    "white space": Case("not-well-formed", lambda lab: " \r\n\t"),
    "HTML": Case("not-well-formed", lambda lab: "<!DOCTYPE html>\n<html><head><meta charset=utf-8><body><p>Sign in<br>"),
    "JSON": Case("not-well-formed", lambda lab: '{"trade": "T-1"}'),
    "10 MB of JSON": Case("not-well-formed", lambda lab: lab.fill("[")),
    "gzip": Case("not-well-formed", lambda lab: gzip.compress(BOOK.encode())),
    "gzip bomb": Case("not-well-formed", lambda lab: gzip.compress(b"<a>" + b"x" * 50_000_000)),
    "zip": Case("not-well-formed", lambda lab: _zipped(BOOK)),
    "zip bomb": Case("not-well-formed", lambda lab: _zipped("x" * 50_000_000)),
    "PDF": Case("not-well-formed", lambda lab: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3"),
    "an image": Case("not-well-formed", lambda lab: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    "duplicate attributes": Case("not-well-formed", lambda lab: execution(trade(), attributes='x="1" x="2"')),
    "duplicate attributes by namespace": Case("not-well-formed", lambda lab: '<a xmlns:p="u" xmlns:q="u" p:x="1" q:x="2"/>'),
    "two roots": Case("not-well-formed", lambda lab: alone(native()) * 2),
    "no end": Case("not-well-formed", lambda lab: alone(native())[:-5]),
    "a prefix of no namespace": Case("not-well-formed", lambda lab: "<p:TradeStatus/>"),
}

SQL = "'; DROP TABLE trades_trade; --"
IDS = {
    "bidi in an id": Case(TAKEN, lambda lab: execution(trade("T-\u202e1\u2066\u200b"))),
    "markup in an id": Case(TAKEN, lambda lab: execution(trade("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"))),
    "SQL in an id": Case(TAKEN, lambda lab: execution(trade(SQL))),
    "braces and percents in an id": Case(TAKEN, lambda lab: execution(trade("{0.__class__} %s %(x)s {{ x }}"))),
    "a word that would be misread, as an enumeration": Case("schema", lambda lab: alone(native("{0.__class__} %s {9}"))),
    "10,000 characters in an id": Case("invalid-field", lambda lab: execution(trade("T" * 10_000))),
    "10,000 characters in an id, native": Case("schema", lambda lab: alone(native(trade_id="T" * 10_000))),
    "9 MB in an id": Case("invalid-field", lambda lab: execution(trade(lab.value("T ")))),
    "9 MB in an id, native": Case("schema", lambda lab: alone(native(trade_id=lab.value("T ")))),
    "9 MB in a scheme": Case("invalid-field", lambda lab: execution(trade().replace("urn:own", lab.value("s")))),
    "9 MB of digits": Case(
        "invalid-field",
        lambda lab: execution(trade(more=f"<x><versionedTradeId><version>{lab.value('9')}</version></versionedTradeId></x>")),
    ),
    "9 MB of digits, native": Case(EITHER, lambda lab: alone(native(version=lab.value("9")))),
    "9 MB of a date": Case("invalid-field", lambda lab: execution(trade().replace("2024-03-04", lab.value("2024-03-04")))),
    "9 MB of a number": Case(
        "invalid-field",
        lambda lab: execution(trade(product=f"<s><notional><amount>{lab.value('1.')}</amount><currency>EUR</currency></notional></s>")),
    ),
    "9 MB of a reason": Case(
        "invalid-field", lambda lab: execution(trade() + f"<reason><description>{lab.value('x ')}</description></reason>")
    ),
    "an id in pieces": Case(TAKEN, lambda lab: execution(trade("T<!-- a -->-<![CDATA[<1>]]><?p q?>&amp;"))),
    "an id in 100,000 pieces": Case("too-large", lambda lab: execution(trade(lab.fill("T<!---->", but=lab.room // 3)))),
    "an id in 100,000 pieces of nothing": Case("too-large", lambda lab: execution(trade("T-1" + lab.fill("<!---->", but=lab.room // 3)))),
    "an id of elements": Case(TAKEN, lambda lab: execution(trade("<b>T-<c>1</c></b>"))),
    "an id of white space": Case(EITHER, lambda lab: execution(trade(lab.value(" ")))),
    "the year 9999": Case(
        "invalid-field", lambda lab: alone(native().replace("<EventTime>2024-03-04T09:30:00Z", "<EventTime>9999-12-31T23:59:59-14:00"))
    ),
    "the year 0": Case("invalid-field", lambda lab: execution(trade().replace("2024-03-04", "0000-00-00"))),
}

ONE_TRADE = (
    '<trade><tradeHeader><partyTradeIdentifier><partyReference href="p%"/><tradeId tradeIdScheme="urn:own">T-%</tradeId>'
    "</partyTradeIdentifier><tradeDate>2024-03-04</tradeDate></tradeHeader><swap><swapStream><payerPartyReference href='p%'/>"
    "<receiverPartyReference href='p1%'/><notionalStepSchedule><initialValue>1</initialValue><currency>EUR</currency>"
    "</notionalStepSchedule></swapStream></swap></trade>"
)
CLEARED = (
    "<clearingStatusItem><tradeIdentifier><tradeId tradeIdScheme='urn:own'>T-%</tradeId></tradeIdentifier>"
    "<clearingStatusValue>Accepted</clearingStatusValue></clearingStatusItem>"
)
CHECKED = native(inner="<Status>CHECKED</Status>", trade_id="T-%")
REPORT = (
    '<TrdCaptRpt RptID="R%" TransTyp="0" TrdID="%" TrdDt="2024-03-04" LastQty="1" LastPx="1.5"><Instrmt Sym="S" Exch="XCME"/>'
    '<RptSide Side="1"><Pty ID="P%" R="1"/></RptSide></TrdCaptRpt>'
)
NEW = (
    "<Rpt><New><CtrPtySpcfcData><RptgTmStmp>2024-03-05T08:00:00Z</RptgTmStmp></CtrPtySpcfcData><CmonTradData><TxData><TxId><UnqTxIdr>U%"
    "</UnqTxIdr></TxId><ExctnTmStmp>2024-03-04T09:30:00Z</ExctnTmStmp><DerivEvt><Tp>TRAD</Tp></DerivEvt></TxData></CmonTradData></New></Rpt>"
)
PARTY, PREFIX = '<party id="p%"/>', 'xmlns:a%="u" '
PARTIES = "".join(f'<party id="p{n}"><partyId>LEI{n}</partyId><partyName>P</partyName></party>' for n in range(100))


def package(lab: Lab) -> str:
    """An FpML package of trades, and the parties that all of them refer to."""
    trades = lab.each(ONE_TRADE, 5_000, but=lab.room // 2)
    return execution(f"<tradePackage>{trades}</tradePackage>{lab.each(PARTY, 60_000, but=len(trades) + 10_000)}")


def _detailed(details: str) -> str:
    return alone(CHECKED).replace("</EventTime>", f"</EventTime><TradeDetails><TradeDate>2024-03-04</TradeDate>{details}</TradeDetails>")


IDENTIFIER = "<partyTradeIdentifier>%</partyTradeIdentifier>"
VERSIONED = "<versionedTradeId><tradeId>T-%</tradeId><version>1</version></versionedTradeId>"
ROLES = "<buyerPartyReference href='p%'/><sellerPartyReference href='p%'/>"
MANY = {
    "a package of 5,000 trades, 60,000 parties": Case(EITHER, package),
    "40,000 parties and as many references": Case(
        EITHER,
        lambda lab: execution(trade(product=f"<s>{lab.each(ROLES, 40_000)}</s>") + lab.each(PARTY, 40_000, but=lab.room // 2)),
    ),
    "200,000 ids of one trade": Case(
        EITHER, lambda lab: execution(trade(more=IDENTIFIER.replace("%", lab.each("<tradeId>T-%</tradeId>", 200_000))))
    ),
    "200,000 versions": Case(EITHER, lambda lab: execution(trade(more=IDENTIFIER.replace("%", lab.each(VERSIONED, 80_000))))),
    "100,000 old ids and as many original ones": Case(
        EITHER,
        lambda lab: execution(
            f"<amendment><oldTradeIdentifier>{lab.each('<tradeId>T-%</tradeId>', 100_000)}</oldTradeIdentifier><originalTradeIdentifier>"
            f"{lab.each('<tradeId>T-%</tradeId>', 100_000, but=lab.room // 2)}</originalTradeIdentifier></amendment>"
        ),
    ),
    "200,000 related ids": Case(
        EITHER,
        lambda lab: execution(trade() + f"<newTradeIdentifier>{lab.each('<tradeId>T-%</tradeId>', 200_000)}</newTradeIdentifier>"),
    ),
    "100,000 notionals": Case(
        EITHER,
        lambda lab: execution(trade(product=f"<s>{lab.each('<notional><currency>E</currency><amount>1</amount></notional>', 90_000)}</s>")),
    ),
    "400,000 headers": Case(EITHER, lambda lab: execution(trade() + lab.each("<header/>", 400_000))),
    "400,000 trades in one message": Case(EITHER, lambda lab: execution(lab.each("<trade/>", 400_000))),
    "5,000 clearing statuses": Case(EITHER, lambda lab: fpml("clearingStatus", lab.each(CLEARED, 5_000))),
    "50,000 clearing statuses": Case("too-large", lambda lab: fpml("clearingStatus", lab.each(CLEARED))),
    "5,000 trades in a dataDocument": Case(EITHER, lambda lab: fpml("dataDocument", lab.each(ONE_TRADE, 5_000) + PARTIES)),
    "1,000 trades that each repeat 60,000 characters": Case(
        EITHER, lambda lab: fpml("dataDocument", lab.each(ONE_TRADE, 1_000) + f"<party><partyName>{'😀' * 60_000}</partyName></party>")
    ),
    "5,000 FIXML reports": Case(EITHER, lambda lab: f'<FIXML v="5.0 SP2"><Batch><Hdr SID="V"/>{lab.each(REPORT, 5_000)}</Batch></FIXML>'),
    "5,000 ISO 20022 reports": Case(
        EITHER,
        lambda lab: (
            '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:auth.030.001.03"><DerivsTradRpt><TradData>'
            f"{lab.each(NEW, 5_000)}</TradData></DerivsTradRpt></Document>"
        ),
    ),
    "5,000 native messages": Case(TAKEN, lambda lab: collection(lab.each(CHECKED, 5_000))),
    "5,000 native messages, all wrong": Case("schema", lambda lab: collection(lab.each(CHECKED.replace("STATUS", "WRONG"), 5_000))),
    "20,000 native messages": Case(EITHER, lambda lab: collection(lab.each(CHECKED, 20_000))),
    "1,000 native messages, 50,000 namespaces": Case(
        "too-large",
        lambda lab: collection(lab.each(CHECKED, 1_000)).replace(" xmlns", f" {lab.each(PREFIX, 50_000, but=400_000)} xmlns", 1),
    ),
    "1,000 clearing statuses, 50,000 namespaces": Case(
        "too-large",
        lambda lab: fpml("clearingStatus", lab.each(CLEARED, 1_000)).replace(
            " xmlns", f" {lab.each(PREFIX, 50_000, but=400_000)} xmlns", 1
        ),
    ),
    "150,000 native parties, the last one wrong": Case(
        EITHER, lambda lab: _detailed(lab.each('<Party role="buyer">B</Party>', 120_000) + "<Wrong/>")
    ),
    "200,000 other ids, native": Case(
        EITHER,
        lambda lab: alone(CHECKED).replace("<Version>", lab.each("<OtherTradeId>%</OtherTradeId>", 200_000) + "<Version>"),
    ),
}


CASES: dict[str, Case] = {**ENTITIES, **FETCHES, **SHAPES, **ENCODINGS, **OTHERS, **IDS, **MANY}
