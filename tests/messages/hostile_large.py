"""Documents made to hurt whoever reads them, of the size that is read from a file (`trades.messages.large`).

`python -m benchmarks.parse --hostile` prints what each of them costs.
"""

from __future__ import annotations

from tests.messages.documents import alone, collection, fpml, native, trade
from tests.messages.hostile import CHECKED, CLEARED, EITHER, ONE_TRADE, TAKEN, Case, Lab, execution, laughs

ROOM = 64 * 1024 * 1024  # bytes, of each document
ROOM_OF_TESTS = 13 * 1024 * 1024  # enough to be read from a file, and to have too much in one place
NODES = 499_000  # fewer than are taken
BIG = native(inner="<Status>CHECKED</Status>")


def _after(lab: Lab, document: str) -> str:
    """A third of the room in comments, then a document."""
    return f"<!--{_part(lab)}-->" * 3 + document


def _part(lab: Lab) -> str:
    """A ninth of the room, less than the parser takes in one place."""
    return "x" * (lab.room // 9 - 1_000)


def _cut(lab: Lab) -> bytes:
    return alone(BIG).replace("<Header>", f"<!--{lab.fill('x')}--><Header>").encode()[: lab.room * 9 // 10]


def _padded(lab: Lab, element: str, count: int) -> str:
    """A document of so many of these elements, with white space between them that fills the room."""
    space = " " * ((lab.room - 10_000) // count - len(element))
    return f"<a>{(element + space) * count}</a>"


CASES = {
    "one comment of 64 MB": Case(TAKEN, lambda lab: alone(BIG).replace("<Header>", f"<!--{lab.fill('x')}--><Header>")),
    "one comment of 64 MB, of tags": Case("too-large", lambda lab: alone(BIG).replace("<Header>", f"<!--{lab.fill('<b>')}--><Header>")),
    "one comment of 64 MB, of lines": Case("unknown-dialect", lambda lab: f"<a><!--{lab.fill(chr(10))}--></a>"),
    "comments of 7 MB each": Case(TAKEN, lambda lab: alone(BIG).replace("<Header>", f"<!--{_part(lab)}-->" * 9 + "<Header>")),
    "one text of 64 MB": Case("unknown-dialect", lambda lab: f"<a>{lab.fill('x')}</a>"),
    "one text of 64 MB, in lines": Case("unknown-dialect", lambda lab: f"<a>{lab.fill('QUJD' * 19 + chr(10))}</a>"),
    "one text of 64 MB, wide": Case("too-large", lambda lab: f"<a>{lab.fill('😀')}</a>"),
    "one text of 64 MB, of references": Case(EITHER, lambda lab: f"<a>{lab.fill('&#65;&#233;')}</a>"),
    "one CDATA of 64 MB": Case("unknown-dialect", lambda lab: f"<a><![CDATA[{lab.fill('x')}]]></a>"),
    "one CDATA of 64 MB, of tags": Case("too-large", lambda lab: f"<a><![CDATA[{lab.fill('<b')}]]></a>"),
    "one instruction of 64 MB": Case("unknown-dialect", lambda lab: f"<a><?p {lab.fill('x')}?></a>"),
    "64 MB of white space before the root": Case("unknown-dialect", lambda lab: lab.fill(" ") + "<a/>"),
    "64 MB of white space behind the root": Case("unknown-dialect", lambda lab: "<a/>" + lab.fill(" ")),
    "64 MB of white space, then text, behind the root": Case("not-well-formed", lambda lab: "<a/>" + lab.fill(" ") + "x"),
    "64 MB of lines": Case("unknown-dialect", lambda lab: lab.fill("\n") + "<a/>"),
    "texts of 7 MB each": Case("unknown-dialect", lambda lab: f"<a>{f'<b>{_part(lab)}</b>' * 9}</a>"),
    "64 MB in an id": Case("invalid-field", lambda lab: execution(trade(lab.fill("T ")))),
    "64 MB in an id, native": Case("schema", lambda lab: alone(native(trade_id=lab.fill("T ")))),
    "64 MB of words in an id": Case("invalid-field", lambda lab: execution(trade(lab.fill("Tr ")))),
    "64 MB of digits, native": Case(EITHER, lambda lab: alone(native(version=lab.fill("9")))),
    "64 MB of white space around an id": Case(
        TAKEN, lambda lab: execution(trade(f"{' ' * (lab.room // 2 - 10_000)}T-1{' ' * (lab.room // 2 - 10_000)}"))
    ),
    "64 MB deep": Case("too-large", lambda lab: lab.fill("<a>")),
    "255 deep, again and again": Case("too-large", lambda lab: "<x>" + lab.fill("<a>" * 240 + "</a>" * 240) + "</x>"),
    "attribute of 64 MB": Case("too-large", lambda lab: f'<a x="{lab.fill("y")}"/>'),
    "attribute of 64 MB, of >": Case("too-large", lambda lab: f'<a x="{lab.fill(">")}"/>'),
    "attribute of 9 MB, and 50 MB": Case(
        "unknown-dialect", lambda lab: f"<a x='{'y' * 9_000_000}'><!--{lab.fill('x', but=9_100_000)}--></a>"
    ),
    "attributes of 9 MB": Case("unknown-dialect", lambda lab: f"<a>{lab.fill('<b x=' + repr('y' * 9_000_000) + '/>')}</a>"),
    "attribute without end": Case("too-large", lambda lab: '<a x="' + lab.fill("y")),
    "64 MB of attributes": Case("too-large", lambda lab: "<a " + lab.each("a%='1' ", 999_999) + "/>"),
    "64 MB of namespaces": Case("too-large", lambda lab: "<a>" + lab.each('<b xmlns:a%="u%"/>', 999_999) + "</a>"),
    "100,000 namespaces": Case(
        "too-large", lambda lab: "<a " + lab.each('xmlns:a%="u%" ', 100_000) + f"/><!--{lab.fill('x', but=3_000_000)}-->"
    ),
    "namespace of 64 MB": Case("too-large", lambda lab: execution(trade(), namespace="http://www.fpml.org/FpML-5/" + lab.fill("x"))),
    "name of 64 MB": Case("too-large", lambda lab: f"<{lab.fill('a')}/>"),
    "names, each another": Case("unknown-dialect", lambda lab: f"<a>{lab.each('<a%' + 'x' * 110 + '/>', NODES)}</a>"),
    "64 MB of elements": Case("too-large", lambda lab: f"<a>{lab.fill('<b/>')}</a>"),
    "as many elements as are taken": Case("unknown-dialect", lambda lab: _padded(lab, "<b/>", NODES // 2)),
    "as many texts as are taken": Case("unknown-dialect", lambda lab: _padded(lab, "<b>x</b>", NODES // 3)),
    "as many attributes as are taken": Case("unknown-dialect", lambda lab: _padded(lab, '<b c="x"/>', NODES // 4)),
    "as many comments as are taken": Case("unknown-dialect", lambda lab: _padded(lab, "<!-- x -->", NODES // 2)),
    "64 MB of comments": Case("too-large", lambda lab: f"<a>{lab.fill('<!---->')}</a>"),
    "64 MB of <": Case("too-large", lambda lab: lab.fill("<")),
    "64 MB of >": Case("too-large", lambda lab: "<a>" + lab.fill(">")),
    "64 MB of quotes": Case(EITHER, lambda lab: "<a x=" + lab.fill("\"'") + "/>"),
    "64 MB of &": Case("not-well-formed", lambda lab: "<a>" + lab.fill("&") + "</a>"),
    "64 MB of NUL": Case("not-well-formed", lambda lab: lab.fill("\0")),
    "64 MB of JSON": Case("not-well-formed", lambda lab: lab.fill("[")),
    "billion laughs behind 20 MB": Case("forbidden-construct", lambda lab: _after(lab, laughs(10, 10))),
    "billion laughs in an attribute, behind 20 MB": Case(
        "forbidden-construct", lambda lab: _after(lab, laughs(10, 10).replace("<a>", '<a x="&e9;">'))
    ),
    "quadratic blow-up": Case(
        "forbidden-construct", lambda lab: '<!DOCTYPE a [<!ENTITY x "' + "x" * 100_000 + f'">]><a>{lab.fill("&x;", but=200_000)}</a>'
    ),
    "an entity behind what looks like a comment": Case(
        "forbidden-construct", lambda lab: f'<!DOCTYPE a SYSTEM "<!--" [<!ENTITY x "y">{lab.fill(" ")}]><a>&x;<!-- --></a>'
    ),
    "an entity of a DTD, behind 64 MB": Case(
        "forbidden-construct",
        lambda lab: f'<!DOCTYPE a SYSTEM "a.dtd"><a>{f"<!--{_part(lab)}-->" * 9}1&x;2</a>',
    ),
    "a reference in what looks like a comment": Case(
        "forbidden-construct", lambda lab: f'<!DOCTYPE a SYSTEM "<!--"><a>1&x;2{f"<!--{_part(lab)}-->" * 9}</a>'
    ),
    "entity of a server behind 20 MB": Case(
        "forbidden-construct", lambda lab: _after(lab, f'<!DOCTYPE a [<!ENTITY x SYSTEM "{lab.url}/x">]><a>&x;</a>')
    ),
    "wide content model": Case("too-large", lambda lab: f"<!DOCTYPE a [<!ELEMENT a (b{lab.fill('|b')})>]><a/>"),
    "64 MB of a DOCTYPE": Case("too-large", lambda lab: f"<!DOCTYPE a [<!--{lab.fill('x')}-->]><a/>"),
    "cut at 60 MB": Case("not-well-formed", _cut),
    "cut within a tag": Case("not-well-formed", lambda lab: f"<a>{f'<b>{_part(lab)}</b>' * 9}<b x='"),
    "a wrong byte at the end": Case("not-well-formed", lambda lab: b"<a>" + lab.fill("x\n").encode() + b"\xff</a>"),
    "a wrong byte at the end of one line": Case("not-well-formed", lambda lab: b"<a>" + lab.fill("x").encode() + b"\xff</a>"),
    "64 MB of UTF-16": Case(
        TAKEN, lambda lab: alone(BIG).replace("<Header>", f"<!--{'x' * (lab.room // 2 - 10_000)}--><Header>").encode("utf-16")
    ),
    "64 MB of Latin-1 that grows": Case(
        "too-large",
        lambda lab: ('<?xml version="1.0" encoding="ISO-8859-1"?><a>' + "é" * (lab.room - 10_000) + "</a>").encode("iso-8859-1"),
    ),
    "5,000 trades and a text": Case(
        EITHER,
        lambda lab: fpml(
            "dataDocument", lab.each(ONE_TRADE, 5_000) + f"<party><partyName>{lab.fill('x', but=4_000_000)}</partyName></party>"
        ),
    ),
    "5,000 clearing statuses and a comment": Case(
        EITHER, lambda lab: fpml("clearingStatus", lab.each(CLEARED, 5_000) + f"<!--{lab.fill('x', but=2_000_000)}-->")
    ),
    "5,000 native messages and a comment": Case(
        EITHER, lambda lab: collection(lab.each(CHECKED, 5_000), f"<!--{lab.fill('x', but=3_000_000)}-->")
    ),
}
