"""What the reader takes as text, and what it refuses, quickly and with a sentence."""

from __future__ import annotations

import pytest

from trades.messages import MessageRefused, first_forbidden_character, parse, to_text
from trades.messages.reader import MAX_BYTES, MAX_NODES, Locator, read

# `test_hostile` measures what documents cost; this only ends what runs away.
pytestmark = pytest.mark.timeout(30)


def refusal(document: bytes | str, **options: int) -> MessageRefused:
    with pytest.raises(MessageRefused) as refused:
        read(document, **options)
    assert str(refused.value).rstrip().endswith(".")
    return refused.value


def declared(encoding: str, text: str = "é") -> str:
    return f'<?xml version="1.0" encoding="{encoding}"?>\n<a>{text}</a>'


ENCODED = {
    "utf-8": declared("UTF-8", "é日").encode(),
    "utf-8 undeclared": "<a>é日</a>".encode(),
    "utf-8 with mark": b"\xef\xbb\xbf" + declared("UTF-8", "é日").encode(),
    "utf-8 with mark, other declaration": b"\xef\xbb\xbf" + declared("ISO-8859-1", "é日").encode(),
    "utf-16 little endian": b"\xff\xfe" + declared("UTF-16", "é日").encode("utf-16-le"),
    "utf-16 big endian": b"\xfe\xff" + declared("UTF-16", "é日").encode("utf-16-be"),
    "utf-16 undeclared": "<a>é日</a>".encode("utf-16"),
    "utf-16 without mark": declared("UTF-16", "é日").encode("utf-16-le"),
    "utf-16 declared as utf-8": declared("UTF-8", "é日").encode("utf-16"),
    "utf-32": "<a>é日</a>".encode("utf-32"),
    "iso-8859-1": declared("ISO-8859-1").encode("iso-8859-1"),
    "windows-1252": declared("windows-1252", "é€").encode("cp1252"),
    "shift_jis": declared("Shift_JIS", "日").encode("shift_jis"),
    "single quotes": declared("ISO-8859-1").replace('"', "'").encode("iso-8859-1"),
}


@pytest.mark.parametrize("name", ENCODED)
def test_the_mark_or_the_declaration_of_a_file_states_its_encoding(name: str) -> None:
    text = read(ENCODED[name]).text

    assert text in ("é", "日", "é日", "é€")


@pytest.mark.parametrize("name", ENCODED)
def test_the_text_of_a_file_is_utf_8_without_mark_and_means_the_same(name: str) -> None:
    text = to_text(ENCODED[name])

    assert text.startswith("<")
    assert read(text.encode()).text == read(ENCODED[name]).text
    assert "encoding" not in text or "UTF-8" in text


@pytest.mark.parametrize("document", [b"<a>\r\n \xc3\xa9</a>\n", b'<?xml version="1.0"  encoding="utf-8" ?>\r<a/>', b"<a>\r</a>"])
def test_a_file_in_plain_utf_8_becomes_text_unchanged_to_the_byte(document: bytes) -> None:
    assert to_text(document).encode() == document


def test_only_the_declared_encoding_is_rewritten() -> None:
    document = '<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?>\r\n<a encoding="ISO-8859-1">é</a>'

    assert to_text(document.encode("iso-8859-1")) == document.replace("ISO-8859-1", "UTF-8", 1)


@pytest.mark.parametrize("encoding", ["UTF-16", "ISO-8859-1", "Shift_JIS", "no-such-encoding"])
def test_the_encoding_that_a_text_declares_is_ignored(encoding: str) -> None:
    assert read(declared(encoding, "é日€")).text == "é日€"


def test_a_byte_order_mark_left_in_a_text_is_skipped() -> None:
    assert read("\ufeff" + declared("UTF-8")).text == "é"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (declared("no-such-encoding").encode(), "states the encoding no-such-encoding, which is not known"),
        (declared("idna").encode(), "which is not known"),
        (declared("unicode_escape").encode(), "which is not known"),
        (declared("").encode(), "which is not known"),
        (declared("UTF-16").encode(), "states UTF-16, but the document is not written in it"),
        (declared("IBM037").encode("cp037"), "EBCDIC"),
        (declared("US-ASCII").encode(), "The byte 0xC3 is not US-ASCII"),
        (b"<a>\xff</a>", "The byte 0xFF is not UTF-8"),
        (b"\xff\xfe<\x00a\x00", "not well-formed"),
        (b"\xff\xfe<\x00\x00\xd8", "is not UTF-16-LE"),
    ],
)
def test_bytes_that_are_not_what_they_state_are_refused(document: bytes, words: str) -> None:
    refused = refusal(document)

    assert refused.code == "not-well-formed"
    assert words in refused.message
    assert refused.line is not None
    assert refused.column is not None


def test_a_wrong_byte_is_told_by_its_line_and_column() -> None:
    refused = refusal("<a>\n  é".encode() + b"\xff</a>")

    assert (refused.line, refused.column) == (2, 4)


@pytest.mark.parametrize(
    ("document", "words", "place"),
    [
        ("", "The document is empty.", (1, 1)),
        (" \n", "The document is empty.", None),
        ('{"trade": 1}', "looks like JSON", (1, 1)),
        ("[1]", "looks like JSON", (1, 1)),
        ("<!DOCTYPE html>\n<html><br></html>", "This is an HTML page", (2, 18)),
        ("T-1,BOOK,2024", "does not start as XML does", (1, 1)),
        (b"PK\x03\x04\xff\xff", "compressed file", None),
        (b"\x1f\x8b\x08\x00\xff", "compressed file", None),
        ("<a>\n  <b>", "Premature end of data in tag b", (2, 6)),
        ("<a>\n é<b></c></a>", "tag mismatch: b line 2 and c", (2, 10)),
        ("<a x='1' x='2'/>", "Attribute x redefined", (1, 15)),
        ("<a>&nosuch;</a>", "Entity 'nosuch' not defined", (1, 12)),
        ("<a>\0</a>", "Char 0x0", (1, 4)),
        (b"<a>\0</a>", "Char 0x0", (1, 4)),
        ("<a>&#1;</a>", "xmlChar value 1", None),
        ("<a>\ud800</a>", "U+D800 is half of a pair", (1, 4)),
        ("<a/><b/>", "Extra content", (1, 5)),
    ],
)
def test_what_is_not_xml_is_refused_with_its_place(document: bytes | str, words: str, place: tuple[int, int] | None) -> None:
    refused = refusal(document)

    assert refused.code == "not-well-formed"
    assert words in refused.message
    assert "line" not in refused.message or "line 2" in refused.message
    assert refused.line is not None
    assert refused.column is not None
    assert place in (None, (refused.line, refused.column))


_LAUGH = "".join(f'<!ENTITY {name} "{("&" + of + ";") * 10}">' for of, name in zip("abcdefgh", "bcdefghi", strict=True))
LAUGHS = f'<!DOCTYPE a [<!ENTITY a "ha">{_LAUGH}]><a>&i;</a>'
DEFAULTS = '<!DOCTYPE a [<!ATTLIST b x CDATA "' + "z" * 100_000 + '">]><a>' + "<b/>" * 100_000 + "</a>"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (LAUGHS, "declares entities"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "declares entities"),
        ('<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/x"> %x;]><a/>', "declares entities"),
        ('<!DOCTYPE a [<!-- ]> --><!ENTITY x "y">]><a>1&x;2</a>', "declares entities"),
        ('<!-- a --><?p i?>\n<!DOCTYPE a [<!ENTITY x "y">]><a/>', "declares entities"),
        (DEFAULTS, "declares attributes"),
        ('<!DOCTYPE a [<!NOTATION n SYSTEM "http://127.0.0.1:9/n">]><a/>', "declares notations"),
        ('<!DOCTYPE a SYSTEM "a.dtd"><a>1&x;2</a>', "An entity of the DTD is used"),
        ('<!DOCTYPE a SYSTEM "a.dtd"><a b="1&x;2"/>', "An entity of the DTD is used"),
        ('<a xmlns:xi="http://www.w3.org/2001/XInclude">\n<b><xi:include href="/etc/passwd"/></b></a>', "XInclude"),
        ('<include xmlns="http://www.w3.org/2001/&#88;Include" href="/etc/passwd"/>', "XInclude"),
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_entities_and_inclusions_are_refused_by_line_and_column(document: str, words: str, as_bytes: bool) -> None:
    refused = refusal(document.encode("utf-16") if as_bytes else document)

    assert refused.code == "forbidden-construct"
    assert words in refused.message
    assert refused.line is not None
    assert refused.column is not None


@pytest.mark.parametrize("name", ["<!--", "><!--", "[<!--", "<?", "<![CDATA["])
def test_no_reference_is_hidden_by_the_name_of_a_dtd(name: str) -> None:
    refused = refusal(f"<!DOCTYPE a SYSTEM '{name}'><a>1&x;2<!-- --><?p ?><![CDATA[]]></a>")

    assert refused.code == "forbidden-construct"


def test_no_declaration_is_hidden_by_a_second_byte_order_mark() -> None:
    assert "declares entities" in refusal(b"\xef\xbb\xbf" * 2 + LAUGHS.encode()).message


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a>x</a>',
        '<!DOCTYPE a PUBLIC "-//A//B" "a.dtd"><a>x<!-- &e; --></a>',
        "<!DOCTYPE a [<!ELEMENT a ANY>]><a>x</a>",
        '<a>x<b><![CDATA[<!DOCTYPE a [<!ENTITY b "c">]> &b;]]></b></a>',
        '<?xml-stylesheet href="file:///etc/passwd"?><a>x</a>',
        '<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:a http://127.0.0.1:9/a.xsd">x</a>',
    ],
)
def test_a_doctype_is_accepted_and_nothing_it_names_is_loaded(document: str) -> None:
    assert read(document).text == "x"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("<a>" * 300 + "</a>" * 300, "Excessive depth"),
        ("<a>" * 400_000, "Excessive depth"),
        (f"<{'a' * 1_000_000}/>", "Name too long"),
        (b"<a>" + b"<b/>" * MAX_NODES + b"</a>", "has about 500,002 elements, texts and attributes"),
        (b"<a>" + b"<b>x</b>" * (MAX_NODES // 2) + b"</a>", "has about 500,002 elements, texts and attributes"),
        (b"<a>" + b"<b c='>'/>>" * (MAX_NODES // 4) + b"</a>", "at most 500,000 are taken. Split it into several files."),
        (b"<a>" + b'<b c="1"/>' * (MAX_NODES // 3 + 1) + b"</a>", "these count twice"),
        (f'<a xmlns="urn:{"x" * 1_000}"/>', "namespace of the root element has 1,004 characters; at most 1,000"),
        (
            "<a " + " ".join(f'xmlns:a{number}="u"' for number in range(101)) + "/>" + " " * 32_768,
            "declares 101 namespaces; at most 100 are taken",
        ),
        ("<!DOCTYPE a [<!ELEMENT a (b" + "|b" * 100_000 + ")>]><a/>", "declares elements in 200,016 bytes; at most 100,000"),
        (f"<a><!--{'x' * 10_400_000}--></a>", "Comment too big"),
        (f"<a><?p {'x' * 10_400_000}?></a>", "PI p too big"),
        (b" " * (MAX_BYTES + 1), "has 10,485,761 bytes; at most 10,485,760"),
    ],
)
def test_what_is_too_large_is_refused(document: bytes | str, words: str) -> None:
    refused = refusal(document)

    assert refused.code == "too-large"
    assert words in refused.message


@pytest.mark.parametrize(
    "document",
    [
        '<a x="' + "y" * 9_000_000 + '"/>',
        "<a " + " ".join(f'a{number}="1"' for number in range(100_000)) + "/>",
        "<!--x-->" * 200_000 + "<!DOCTYPE a><a/>",
        "<a>" + "<b/>" * 400_000 + "</a>",
    ],
    ids=["huge attribute", "many attributes", "many comments", "many elements"],
)
def test_a_bulky_document_is_judged(document: str) -> None:
    with pytest.raises(MessageRefused) as refused:
        parse(document)

    assert refused.value.code == "unknown-dialect"


@pytest.mark.parametrize("document", ["<!DOCTYPE a><a>" + "<!--" * 100_000, "<!--x-->" * 100_000 + "<!DOCTYP", "<?xml " + "a" * 1_000_000])
def test_no_pattern_of_the_reader_runs_away(document: str) -> None:
    assert refusal(document).code == "not-well-formed"
    assert refusal(document.encode()).code == "not-well-formed"


def test_the_size_limit_counts_bytes_and_can_be_given() -> None:
    assert read("<a>é</a>", max_bytes=9).text == "é"
    assert refusal("<a>é</a>", max_bytes=8).code == "too-large"
    assert refusal("<a>é</a>".encode(), max_bytes=8).code == "too-large"


def test_an_element_is_found_by_line_and_column_of_its_start_tag() -> None:
    document = '<!-- <b> -->\n<a>é<b/><![CDATA[<b>]]> <b\n  x="1"\n/><p:b xmlns:p="urn:p"/><bb/><b/></a>'
    root = read(document)

    assert [Locator(document).locate(element) for element in root] == [(2, 5), (2, 25), (4, 3), (4, 25), (4, 30)]


def test_elements_are_found_in_any_order_and_more_than_once() -> None:
    document = "<a><b/><b/>\n<b/></a>"
    first, second, third = read(document)
    locator = Locator(document)

    assert [locator.locate(element) for element in (third, first, second, third)] == [(2, 1), (1, 4), (1, 8), (2, 1)]


def test_an_element_is_found_beyond_line_65535() -> None:
    document = "<a>" + "\n" * 70_000 + " <b/></a>"

    assert Locator(document).locate(read(document)[0]) == (70_001, 2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<a>\t\r\n é日😀\ue000\ufffd</a>", None),
        ("ab\x00", (1, 3, 0)),
        ("a\nb\x1fc", (2, 2, 0x1F)),
        ("\ud800", (1, 1, 0xD800)),
        ("é\ufffe", (1, 2, 0xFFFE)),
        ("\r\n\uffff", (2, 1, 0xFFFF)),
    ],
)
def test_the_first_character_that_sqs_refuses_is_told(text: str, found: tuple[int, int, int] | None) -> None:
    assert first_forbidden_character(text) == found
