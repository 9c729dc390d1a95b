"""Trade Portal's own format: what is read, what is refused and how it is said, and how collections are split."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
from lxml import etree

from tests.messages.documents import BOOK, NATIVE, alone, collection, native
from trades.messages import EventClass, MessageRefused, TradeId, parse, prepare


def refusal(document: str | bytes) -> MessageRefused:
    with pytest.raises(MessageRefused) as refused:
        parse(document)
    return refused.value


def changed(old: str, new: str) -> str:
    assert old in BOOK
    return BOOK.replace(old, new, 1)


@pytest.mark.parametrize("document", [BOOK, BOOK.encode(), BOOK.encode("utf-16")])
def test_every_fact_of_a_booking_is_read(document: str | bytes) -> None:
    message = parse(document)

    assert (message.dialect, message.message_type) == ("native", "TradeStatus")
    assert message.mapping_version
    (event,) = message.events
    assert event.event_class is EventClass.BOOK
    assert event.trade_ids == (TradeId("urn:example:frontoffice", "T-10045"), TradeId("urn:example:uti", "5493001KJTIIGC8Y1R12T10045"))
    assert (event.version, event.status, event.is_correction, event.reason) == (1, "RECEIVED", False, "as agreed")
    assert (event.message_id, event.sender, event.correlation_id, event.in_reply_to) == ("FO-000181", "FRONTOFFICE", "C-1", "FO-000180")
    assert event.event_time == datetime(2024, 3, 4, 9, 30, tzinfo=UTC)
    assert (event.event_time_text, event.zoned) == ("2024-03-04T10:30:00+01:00", True)
    assert event.trade_date == date(2024, 3, 4)
    assert event.details == {
        "parties": [{"role": "buyer", "name": "Bank A", "lei": "5493001KJTIIGC8Y1R12"}, {"role": "seller", "name": "Fund B"}],
        "product": "IRS 5Y EUR",
        "asset_class": "InterestRate",
        "isin": "EZ0000000001",
        "upi": "QZ17F5PN51JM",
        "quantity": "10",
        "quantity_unit": "lots",
        "notionals": [{"amount": "10000000.00", "currency": "EUR"}],
        "price": "0.0275",
        "price_currency": "EUR",
        "price_type": "fixedRate",
        "effective_date": "2024-03-06",
        "maturity_date": "2029-03-06",
    }


def test_what_a_message_does_not_state_is_left_out() -> None:
    (event,) = parse(alone(native(inner="<Status>CHECKED</Status>"))).events

    assert event.event_class is EventClass.STATUS
    assert event.trade_ids == (TradeId("", "T-1"),)
    assert event.details == {}
    assert event.trade_date is None
    assert event.correlation_id == ""


@pytest.mark.parametrize("event", ["UPDATE", "CORRECT", "CANCEL", "TERMINATE", "REINSTATE"])
def test_each_class_of_event_is_read(event: str) -> None:
    (read,) = parse(alone(native(event, version="2", inner="<Reason>why</Reason>"))).events

    assert (read.event_class, read.version, read.reason) == (event, 2, "why")
    assert read.is_correction is (event == "CORRECT")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (" LN\n  2962\t", "LN 2962"),
        ("irs&#x34;&gt;", "irs4>"),
        ("T-<!-- a -->10<![CDATA[0]]><?p i?>45", "T-10045"),
        ("Ünï\u00a0\u3000日", "Ünï\u00a0\u3000日"),
        ("a" * 100, "a" * 100),
    ],
)
def test_an_id_is_read_as_a_token_with_its_case(written: str, value: str) -> None:
    assert parse(changed("T-10045", written)).events[0].trade_id.value == value


SCHEMA_FAULTS = [
    ("<Version>1<", "<Version>0<", "Version", (12, 3), "Version is '0'; expected a whole number, 1 or more."),
    ("<Version>1<", "<Version>one<", "Version", (12, 3), "Version is 'one'; expected a whole number, 1 or more."),
    (">BOOK<", ">NEW<", "Event", (13, 3), "Event is 'NEW'; expected one of BOOK, UPDATE, CORRECT, CANCEL, TERMINATE, REINSTATE, STATUS."),
    ("00+01:00<", "00<", "EventTime", (16, 3), "a date and time with its zone, such as 2024-03-04T09:30:00Z."),
    ("2024-03-04T10:30", "2024-02-30T10:30", "EventTime", (16, 3), "a date and time with its zone, such as 2024-03-04T09:30:00Z."),
    ("    <Sender>FRONTOFFICE</Sender>\n", "", "SentAt", (5, 5), "SentAt is not expected here; expected Sender."),
    ("  <Event>BOOK</Event>\n", "", "Reason", (13, 3), "Reason is not expected here; expected Event."),
    ("  <Status>", "  <Foo/><Status>", "Foo", (15, 3), "Foo is not expected here; expected Status or EventTime."),
    ('role="buyer" ', "", "Party", (19, 5), "Party has no attribute role; it is required."),
    ('role="buyer"', 'role="buyer" x="1"', "Party", (19, 5), "Attribute x of Party is not known here."),
    ('lei="5493', 'lei="', "Party", (19, 5), "expected a legal entity identifier of 20 characters, the last two being digits."),
    (
        '<Notional currency="EUR"',
        '<Notional currency="Euro"',
        "Notional",
        (23, 5),
        "is 'Euro'; expected a currency of three capital letters",
    ),
    ("0.0275", "2,75", "Price", (24, 5), "Price is '2,75'; expected a decimal number such as 1250.50."),
    ("0.0275", "1e5", "Price", (24, 5), "Price is '1e5'; expected a decimal number such as 1250.50."),
    ("<TradeDate>2024-03-04", "<TradeDate>20240304", "TradeDate", (18, 5), "TradeDate is '20240304'; expected a date such as 2024-03-04."),
    ("T-10045", "", "TradeId", (10, 3), "TradeId is empty."),
    ("T-10045", " \n ", "TradeId", (10, 3), "TradeId is empty."),
    ("T-10045", "x" * 101, "TradeId", (10, 3), "TradeId has 101 characters; expected at most 100."),
    ("T-10045", "T<b/>1", "TradeId", (10, 3), "TradeId holds elements; expected text only."),
    ("  <TradeDetails>", "  <TradeDetails>text", "TradeDetails", (17, 3), "TradeDetails holds text; expected elements only."),
    ("urn:example:frontoffice", "a b%zz", "TradeId", (10, 3), "Attribute scheme of TradeId is 'a b%zz'; expected a URI"),
    ("Bank A", "B" * 501, "Party", (19, 5), "Party has 501 characters; expected at most 500."),
    ("</TradeDetails>\n", "</TradeDetails><x/>\n", "x", (27, 18), "x is not expected here."),
]


@pytest.mark.parametrize(("old", "new", "element", "place", "words"), SCHEMA_FAULTS)
def test_what_breaks_the_schema_is_said_with_element_found_and_expected(
    old: str, new: str, element: str, place: tuple[int, int], words: str
) -> None:
    refused = refusal(changed(old, new))

    assert refused.code == "schema"
    assert words in refused.message
    assert "{" not in refused.message
    assert (refused.element, refused.line, refused.column) == (element, *place)


@pytest.mark.parametrize(
    ("document", "element", "words"),
    [
        (alone(native("STATUS")), "Status", "a STATUS event states which status"),
        (alone(native("CORRECT", version="2")), "Reason", "states why"),
        (alone(native("CANCEL", version="2")), "Reason", "states why"),
        (alone(native("TERMINATE", version="2", inner="<Reason> </Reason>")), "Reason", "states why"),
        (alone(native("STATUS", inner="<Status>REJECTED</Status>")), "Reason", "REJECTED states why"),
        (changed("<Version>1<", "<Version>2<"), "Version", "a trade is booked with version 1"),
        (changed("    <TradeDate>2024-03-04</TradeDate>\n", ""), "TradeDate", "TradeDate is missing"),
        (changed('    <Party role="seller">Fund B</Party>\n', ""), "Party", "names two parties"),
        (changed("IRS 5Y EUR", ""), "Product", "Product is missing"),
        (alone(native("BOOK")), "TradeDate", "TradeDate is missing"),
    ],
)
def test_what_the_schema_cannot_say_is_required_all_the_same(document: str, element: str, words: str) -> None:
    refused = refusal(document)

    assert refused.code == "schema"
    assert words in refused.message
    assert refused.element == element
    assert refused.line is not None
    assert refused.column is not None


def test_a_version_of_1_written_otherwise_books_a_trade() -> None:
    assert parse(changed("<Version>1<", "<Version> +01 <")).events[0].version == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<Version>1<", f"<Version>{'9' * 19}<", "a whole number of at most 18 digits"),
        ("2024-03-04T10:30:00+01:00", "2024-03-04T24:00:00Z", "a date and time such as"),
        ("2024-03-04T10:30:00+01:00", "0001-01-01T00:00:00+14:00", "a date and time such as"),
        ("<TradeDate>2024", "<TradeDate>-2024", "a date such as"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_with_its_place(old: str, new: str, expected: str) -> None:
    document = changed(old, new).replace("BOOK", "UPDATE")

    refused = refusal(document)

    assert refused.code == "invalid-field"
    assert f"expected {expected}" in refused.message
    assert (refused.line, refused.column) != (None, None)


def test_a_doctype_is_refused_in_the_native_format() -> None:
    refused = refusal(changed("<TradeStatus", '<!DOCTYPE TradeStatus SYSTEM "a.dtd"><TradeStatus'))

    assert (refused.code, refused.element) == ("forbidden-construct", "DOCTYPE")


@pytest.mark.parametrize("root", ["Trade", "Tradestatus"])
def test_another_root_is_an_unknown_dialect_and_what_is_accepted_is_said(root: str) -> None:
    refused = refusal(BOOK.replace("TradeStatus", root))

    assert refused.code == "unknown-dialect"
    assert f"{root} in the namespace {NATIVE}" in refused.message
    assert "Accepted: " in refused.message
    assert "FpML 5" in refused.message
    assert "TradeStatus or TradeStatuses" in refused.message


def test_the_same_root_without_its_namespace_is_an_unknown_dialect() -> None:
    refused = refusal(BOOK.replace(f' xmlns="{NATIVE}"', ""))

    assert refused.code == "unknown-dialect"
    assert "in no namespace" in refused.message


def test_prefixes_make_no_difference() -> None:
    root = etree.fromstring(BOOK.encode())
    prefixed = etree.tostring(root, encoding="unicode").replace("<", "<t:").replace("<t:/", "</t:").replace("xmlns=", "xmlns:t=")

    assert parse(prefixed).events == parse(BOOK).events


def test_a_collection_on_the_queue_is_read_as_events_in_order() -> None:
    status = "<Status>CHECKED</Status>"
    message = parse(collection(native(inner=status, trade_id="T-1"), native(inner=status, trade_id="T-2")))

    assert message.message_type == "TradeStatus"
    assert [event.trade_id.value for event in message.events] == ["T-1", "T-2"]


def test_a_file_of_one_message_is_published_as_it_is() -> None:
    (prepared,) = prepare(BOOK.encode())

    assert prepared.text == BOOK
    assert prepared.message == parse(BOOK)
    assert prepared.refusal is None


def test_a_file_in_another_encoding_is_published_as_utf_8() -> None:
    (prepared,) = prepare(BOOK.replace("Bank A", "Bänk").replace("UTF-8", "ISO-8859-1").encode("iso-8859-1"))

    assert prepared.text == BOOK.replace("Bank A", "Bänk")
    assert prepared.message == parse(prepared.text)


def test_a_collection_is_split_into_documents_of_one_message_each() -> None:
    reasons = ["plain", "B\u00e4nk &lt;&amp;&gt; &#13; <![CDATA[<x>]]>", "quote \" ' ]]&gt; 日😀"]
    documents = [native("CANCEL", version="2", inner=f"<Reason>{reason}</Reason>", trade_id=f"T-{reason[:1]}") for reason in reasons]

    parts = prepare(collection(*documents).encode())

    assert [part.refusal for part in parts] == [None] * 3
    assert [part.message for part in parts] == [parse(part.text) for part in parts]
    assert [part.message for part in parts] == [parse(alone(document)) for document in documents]
    for part, document in zip(parts, documents, strict=True):
        split, whole = etree.fromstring(part.text.encode()), etree.fromstring(alone(document).encode())
        assert etree.tostring(split, method="c14n") == etree.tostring(whole, method="c14n")


def test_a_bad_message_of_a_collection_does_not_sink_the_rest() -> None:
    good = native(inner="<Status>CHECKED</Status>")

    parts = prepare(collection(good, native(version="x"), "  <Foo/>", native("CANCEL"), good).encode())

    assert [part.message is not None for part in parts] == [True, False, False, False, True]
    refusals = [part.refusal for part in parts if part.refusal]
    assert [(refused.code, refused.element) for refused in refusals] == [("schema", "Version"), ("schema", "Foo"), ("schema", "Reason")]
    assert [refused.line for refused in refusals] == [3, 4, 5]
    assert [refused.column for refused in refusals] == [native().index("<Version>") + 1, 3, 1]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (collection(), "schema"),
        (collection("text", native(inner="<Status>CHECKED</Status>")), "schema"),
        (alone(native("STATUS")), "schema"),
        ("<a/>", "unknown-dialect"),
        ("<!DOCTYPE TradeStatus>" + alone(native(inner="<Status>CHECKED</Status>")), "forbidden-construct"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_comes_back_as_one_refusal(document: str, code: str) -> None:
    (prepared,) = prepare(document.encode())

    assert prepared.message is None
    assert prepared.refusal is not None
    assert prepared.refusal.code == code
    assert prepared.refusal.line is not None
    assert prepared.text == document


@pytest.mark.parametrize(
    ("document", "code"), [(b"<a>", "not-well-formed"), (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "forbidden-construct")]
)
def test_a_file_that_cannot_be_read_at_all_is_refused_at_once(document: bytes, code: str) -> None:
    with pytest.raises(MessageRefused) as refused:
        prepare(document)

    assert refused.value.code == code


def test_a_file_over_the_given_size_is_refused_at_once() -> None:
    with pytest.raises(MessageRefused) as refused:
        prepare(BOOK.encode(), max_bytes=100)

    assert refused.value.code == "too-large"


def test_each_bad_message_of_a_large_collection_is_refused_at_its_own_line() -> None:
    parts = prepare(collection(*[native(version="x")] * 3_000).encode())

    assert [part.refusal.line for part in parts if part.refusal] == list(range(2, 3_002))


def test_too_many_events_in_one_document_are_refused() -> None:
    refused = refusal(collection(*[native(inner="<Status>CHECKED</Status>")] * 5_001))

    assert refused.code == "too-large"
    assert "5,001 events; at most 5,000" in refused.message


def test_threads_do_not_mix_up_what_they_say() -> None:
    def said(number: int) -> str:
        return refusal(alone(native(version=f"v{number}"))).message

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(said, range(400))) == [f"Version is 'v{number}'; expected a whole number, 1 or more." for number in range(400)]
