"""Documents that are read from a file: they say, and are refused for, what they would be in memory."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.conftest import BY_CHANCE
from tests.messages.documents import BOOK, alone, collection, fpml, native, trade
from tests.messages.test_reader import ENCODED, declared
from trades.messages import LargeText, MessageRefused, ParsedMessage, builtin, large, parse, prepare, streaming, to_text, values, write_text
from trades.messages.inspection import inspect
from trades.messages.reader import Locator
from trades.messages.tracing import trace

LIMIT = 64 * 1024 * 1024
MEGABYTE = 1024 * 1024

pytestmark = pytest.mark.timeout(60)


def in_pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def on_disk(document: str | bytes, folder: Path, size: int = 64 * 1024) -> LargeText:
    data = document.encode() if isinstance(document, str) else document
    return write_text(in_pieces(data, size), folder / "document.xml", max_bytes=LIMIT)


def outcome(document: bytes, folder: Path | None = None) -> ParsedMessage | tuple[str, int | None, str]:
    """What a document says, or why it is refused; with a folder it is read from a file. Where the parser stops it may say it otherwise."""
    try:
        return parse(on_disk(document, folder) if folder else document, max_bytes=LIMIT)
    except MessageRefused as refusal:
        return refusal.code, refusal.line, "" if refusal.code == "not-well-formed" else refusal.message


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every document is read as large ones are."""
    monkeypatch.setattr(large, "IN_MEMORY", -1)


# The text of a file


@pytest.mark.parametrize("size", [1, 3, 100_000])
@pytest.mark.parametrize("name", ENCODED)
def test_the_text_written_is_the_text_that_a_queue_would_carry(name: str, size: int, tmp_path: Path) -> None:
    written = on_disk(ENCODED[name], tmp_path, size)

    data = written.path.read_bytes()
    assert data == to_text(ENCODED[name]).encode()
    assert (written.size, written.sha256) == (len(data), hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("document", [b"", b" \r\n", b"<a>\r\n \xc3\xa9</a>\n", b"\xef\xbf\xbd" * 50_000, b"not XML at all"])
def test_plain_utf_8_comes_out_unchanged_to_the_byte(document: bytes, tmp_path: Path) -> None:
    assert on_disk(document, tmp_path, 7).path.read_bytes() == document


LONG_BEFORE = "x\n" * 50_000 + "é"


@pytest.mark.parametrize("size", [1, 1_000, 1_000_000])
@pytest.mark.parametrize(
    "document",
    [
        declared("no-such-encoding").encode(),
        declared("UTF-16").encode(),
        declared("IBM037").encode("cp037"),
        declared("US-ASCII").encode(),
        declared("US-ASCII", LONG_BEFORE).encode(),
        f"<a>{LONG_BEFORE}".encode() + b"\xff</a>",
        f"<a>{LONG_BEFORE}".encode()[:-1],
        b"\xff\xfe" + f"<a>{LONG_BEFORE}".encode("utf-16-le") + b"\0\xd8",
        b"PK\x03\x04\xff\xff",
        b"\x1f\x8b\x08\x00\xff",
    ],
    ids=["unknown", "not UTF-16", "EBCDIC", "not ASCII", "not ASCII, later", "wrong byte", "cut", "half a pair", "zip", "gzip"],
)
def test_bytes_that_are_not_what_they_state_are_refused_as_in_memory(document: bytes, size: int, tmp_path: Path) -> None:
    with pytest.raises(MessageRefused) as in_memory:
        to_text(document)
    with pytest.raises(MessageRefused) as refused:
        on_disk(document, tmp_path, size)

    one, other = in_memory.value, refused.value
    assert (other.code, other.message, other.line, other.column) == (one.code, one.message, one.line, one.column)
    assert list(tmp_path.iterdir()) == []


def test_reading_stops_where_the_document_is_too_large(tmp_path: Path) -> None:
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 100_000

    with pytest.raises(MessageRefused, match="has more than 1,000,000 bytes, the most that is taken") as refused:
        write_text(endless(), tmp_path / "text", max_bytes=1_000_000)

    assert refused.value.code == "too-large"
    assert asked == 11
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_is_larger_than_its_file_is_held_to_the_limit_too(tmp_path: Path) -> None:
    document = declared("ISO-8859-1", "é" * 600_000).encode("iso-8859-1")

    with pytest.raises(MessageRefused, match="more than 1,000,000 bytes"):
        write_text([document], tmp_path / "text", max_bytes=1_000_000)


def test_nothing_is_left_of_a_file_whose_source_fails(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        write_text(failing(), tmp_path / "text", max_bytes=1_000_000)

    assert list(tmp_path.iterdir()) == []


# What a large document says


def test_a_text_in_a_file_is_read_whatever_encoding_it_declares(streamed: None, tmp_path: Path) -> None:
    (tmp_path / "text").write_text(BOOK.replace("UTF-8", "UTF-16"), "utf-8")

    assert parse(LargeText(tmp_path / "text", len(BOOK), "")) == parse(BOOK)


def test_a_text_in_a_file_that_is_not_utf_8_is_refused_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_bytes(b"<a>\n\xc3\xa9\xff</a>")
    document = LargeText(tmp_path / "text", 11, "")

    for limit in (100, 0):
        monkeypatch.setattr(large, "IN_MEMORY", limit)
        with pytest.raises(MessageRefused, match="The byte 0xFF is not UTF-8") as refused:
            parse(document)
        assert (refused.value.line, refused.value.column) == (2, 2)


FRAGMENTS = [
    *(
        "<!-- c -->",
        "<!--",
        "-->",
        "<?p q?>",
        "<?",
        "<![CDATA[x]]>",
        "<![CDATA[",
        "]]>",
        "<!---->",
        f"<!--{'x' * 90}-->",
        f"<?p {'x ' * 90}?>",
    ),
    *("&amp;", "&#65;", "&x;", "&", "<b/>", "<b x='>'>", "</b>", '<b x="<!--"/>', "<", ">", "'", '"', f"<b x='{'y' * 120}'/>"),
    *(" " * 150, "\n" * 70, "é", "😀" * 20, "x" * 60, "]" * 40, "-" * 40, "\x01", "\0", "\ufeff", "\uffff", "\r"),
    *("<!DOCTYPE a>", '<!DOCTYPE a SYSTEM "<!--">', "<!DOCTYPE a [<!ELEMENT a ANY>]>", '<!DOCTYPE a [<!ENTITY x "y">]>', '<!ENTITY x "y">'),
    *(
        "<x:include xmlns:x='http://www.w3.org/2001/XInclude'/>",
        f"<b xmlns='{'n' * 50}'/>",
        "<b>" * 40,
        "</b>" * 40,
        "T-2",
        "<Version>2</Version>",
    ),
]
DOCUMENTS = [
    BOOK,
    alone(native(inner="<Status>CHECKED</Status>")),
    collection(native("WRONG"), native(inner="<Status>CHECKED</Status>")),
    f"<!-- FpML -->\n{fpml('executionNotification', trade())}",
    f'<!DOCTYPE a SYSTEM "a.dtd">{fpml("executionNotification", trade())}',
    "<a>",
    "",
]


@st.composite
def documents(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(DOCUMENTS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        text = f"{text[:at]}{draw(st.sampled_from(FRAGMENTS))}{text[at:]}"
    return text


@given(document=documents(), chunk=st.integers(1, 300), long=st.integers(20, 200), kept=st.sampled_from([10**7, 20]))
@settings(max_examples=400, suppress_health_check=[*BY_CHANCE, HealthCheck.function_scoped_fixture], deadline=None)
def test_a_document_read_from_its_file_says_what_it_says_in_memory(document: str, chunk: int, long: int, kept: int, tmp_path: Path) -> None:
    expected = outcome(document.encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "IN_MEMORY", -1)
        for name, value in {"CHUNK": chunk, "LONG": long, "KEPT": kept, "SURELY_NONE": 1_000}.items():
            patch.setattr(streaming, name, value)
        found = outcome(document.encode(), tmp_path)

    if kept < len(document) and not isinstance(expected, ParsedMessage):
        assert not isinstance(found, ParsedMessage)
        assert found[0] == expected[0]
    else:
        assert found == expected


@given(document=documents(), chunk=st.integers(1, 300), long=st.integers(20, 200))
def test_the_parts_of_a_document_are_the_document(document: str, chunk: int, long: int) -> None:
    data = document.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "LONG", long)
        splitter = streaming.Splitter()
        pieces = [piece for part in in_pieces(data, chunk) for piece in splitter.split(part)]
        pieces += splitter.split(b"", final=True)

    assert b"".join(piece.data for piece in pieces) == data
    assert [piece.offset for piece in pieces] == [len(b"".join(piece.data for piece in pieces[:count])) for count in range(len(pieces))]


@pytest.mark.parametrize("chunk", [1, 5, 1_000])
def test_an_element_is_found_by_line_and_column_in_a_file(
    chunk: int, streamed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHUNK", chunk)
    text = '<!-- <b> -->\n<a>é<b/><![CDATA[<b>]]> <b\n  x="1"\n/><p:b xmlns:p="urn:p"/><bb/><b/></a>'
    document = on_disk(text, tmp_path)
    root = streaming.read(document)

    found = [streaming.locator(document).locate(element) for element in root]

    assert found == [Locator(text).locate(element) for element in root] == [(2, 5), (2, 25), (4, 3), (4, 25), (4, 30)]


def test_a_large_document_can_be_inspected_and_its_rules_traced(streamed: None, tmp_path: Path) -> None:
    document = on_disk(BOOK, tmp_path)

    assert inspect(document, "a.xml") == inspect(BOOK.encode(), "a.xml")
    assert trace(document, registry=builtin()) == trace(BOOK.encode(), registry=builtin())


# What is kept short


def test_an_attachment_of_any_length_is_read_past_and_stays_in_the_document(tmp_path: Path) -> None:
    attached = ("QmFzZTY0" * 9 + "\n") * 180_000
    text = fpml("executionNotification", trade(), header=f"<attachment>{attached}</attachment>")
    document = on_disk(text, tmp_path)

    (prepared,) = prepare(document, max_bytes=LIMIT)

    assert prepared.message == parse(fpml("executionNotification", trade()))
    assert (prepared.text, prepared.large) == ("", document)
    assert document.path.read_bytes() == text.encode()
    (attachment,) = streaming.read(document, max_bytes=LIMIT).iter("{*}attachment")
    digits = "".join((attachment.text or "").split())
    assert len(digits) < 10_000_000
    assert len(digits) % 4 == 0
    assert set(digits) == set("QmFzZTY0")


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("<a>{spaces}</a>", "unknown-dialect"),
        ("<a/>{spaces}x", "not-well-formed"),
        ("<a/>{words}", "not-well-formed"),
        ("{spaces}<!-- {words} --><a/>", "unknown-dialect"),
        ("<a><!-- {words} -- --></a>", "not-well-formed"),
        ("<a>{words}]]>{words}</a>", "not-well-formed"),
        ("<a>{words}&lt;</a>", "unknown-dialect"),
        ("<a>{words}&x;{words}</a>", "not-well-formed"),
        ("<a><![CDATA[{words}]]></a>", "unknown-dialect"),
        ("<a><?p {words}?></a>", "unknown-dialect"),
        ("<a>{words}\x01</a>", "not-well-formed"),
        ("<a>{words}", "not-well-formed"),
        ("<a>{wide}</a>", "too-large"),
        ("<a b='{words}'/>", "too-large"),
    ],
)
def test_what_is_kept_short_must_be_well_formed_all_the_same(document: str, expected: str, tmp_path: Path) -> None:
    filled = document.format(spaces=" " * 11_000_000, words="word " * 2_200_000, wide="é" * 5_500_000)

    found = outcome(filled.encode(), tmp_path)

    assert not isinstance(found, ParsedMessage)
    assert found[0] == expected


@given(text=st.text(" \t\r\nab\xa0é", max_size=40))
def test_white_space_of_a_long_text_is_collapsed_as_that_of_a_short_one(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "MAX_SPLIT", -1)
        long = values.collapse(text)

    assert long == values.collapse(text)


def test_a_value_between_long_white_space_is_the_value(tmp_path: Path) -> None:
    spaces = " " * 6_000_000
    text = fpml("executionNotification", trade(f"{spaces}{spaces}T-{spaces}1{spaces}"))

    assert parse(on_disk(text, tmp_path), max_bytes=LIMIT).events[0].trade_id.value == "T- 1"


# What is published of a file


def test_a_document_of_one_message_is_passed_on_as_it_is(streamed: None, tmp_path: Path) -> None:
    document = on_disk(BOOK, tmp_path)

    (prepared,) = prepare(document)

    assert prepared.message == parse(BOOK)


def test_a_large_document_of_several_messages_is_refused(streamed: None, tmp_path: Path) -> None:
    checked = native(inner="<Status>CHECKED</Status>")
    document = on_disk(collection(checked, checked, f"<!--{'x' * MEGABYTE}-->"), tmp_path)

    (prepared,) = prepare(document)

    assert prepared.refusal
    assert prepared.refusal.code == "too-large"
    assert prepared.refusal.dialect == "native"
    assert "A document of several messages may have at most" in prepared.refusal.message
    assert prepared.refusal.message.endswith("Split it into several files.")
    assert prepared.large == document


def test_a_document_that_fits_into_memory_is_split_as_ever(tmp_path: Path) -> None:
    checked = native(inner="<Status>CHECKED</Status>")
    text = collection(*[checked] * 3, f"<!--{'x' * 1_500_000}-->")

    assert prepare(on_disk(text, tmp_path)) == prepare(text.encode())


@pytest.mark.parametrize(("size", "is_held"), [(900_000, True), (1_500_000, False)])
def test_a_text_of_more_than_a_megabyte_is_not_held(size: int, is_held: bool, tmp_path: Path) -> None:
    for inner in (f"<Status>CHECKED</Status><!--{'x' * size}-->", f"<!--{'x' * size}-->"):
        text = alone(native(inner=inner))
        document = on_disk(text, tmp_path)

        (prepared,), (as_ever,) = prepare(document), prepare(text.encode())

        assert (prepared.text, prepared.large) == ((text, None) if is_held else ("", document))
        assert prepared.message == as_ever.message
        assert str(prepared.refusal) == str(as_ever.refusal)


def test_a_refusal_that_is_kept_keeps_no_tree() -> None:
    kept: list[BaseException | None] = []
    for document in (alone(native("WRONG")), collection(native("WRONG"), native(trade_id="T-2")), "<a>", "<unknown/>"):
        try:
            kept += [part.refusal for part in prepare(document.encode())]
            parse(document)
        except MessageRefused as refused:
            kept.append(refused)
    gc.collect()

    trees = [one for one in gc.get_objects() if etree.iselement(one)]

    assert len([refusal for refusal in kept if refusal]) >= 6
    assert [tree for tree in trees if tree.tag in ("a", "unknown") or str(tree.tag).startswith("{urn:tradeportal")] == []


def test_the_size_limit_is_that_of_the_caller(tmp_path: Path) -> None:
    document = on_disk(BOOK, tmp_path)

    with pytest.raises(MessageRefused, match=f"has {len(BOOK):,} bytes; at most 1,000 are taken"):
        parse(document, max_bytes=1_000)


def test_a_document_of_64_mb_is_read(tmp_path: Path) -> None:
    remark = f"<!--{'x' * (MEGABYTE - 7)}-->"
    document = write_text(
        [BOOK.replace("</TradeStatus>", "").encode(), *[remark.encode()] * 63, b"</TradeStatus>"], tmp_path / "text", max_bytes=LIMIT
    )

    assert parse(document, max_bytes=LIMIT) == parse(BOOK)
