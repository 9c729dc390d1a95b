"""FpML 5: rules of the standard, on messages written for this. What real messages say: test_samples.py."""

from __future__ import annotations

import pytest

from tests.messages.documents import fpml, identified, trade
from trades.messages import EventClass, MessageRefused, TradeEvent, TradeId, parse, prepare

USI = "http://www.fpml.org/coding-scheme/external/unique-transaction-identifier"


def only(root: str, body: str, *, header: str = "") -> TradeEvent:
    (event,) = parse(fpml(root, body, header=header)).events
    return event


def refused(document: str) -> MessageRefused:
    with pytest.raises(MessageRefused) as refusal:
        parse(document)
    return refusal.value


def test_what_an_answer_repeats_of_the_original_message_is_not_booked_again() -> None:
    original = (
        f"<originalMessage><publicExecutionReport><sequenceNumber>7</sequenceNumber>{trade()}</publicExecutionReport></originalMessage>"
    )
    event = only("publicExecutionReportAcknowledgement", original)

    assert (event.event_class, event.trade_id.value, event.sequence) == (EventClass.STATUS, "T-1", None)
    assert str(event.trade_date) == "2024-03-04"


def test_an_event_without_a_trade_id_is_refused_with_what_it_states() -> None:
    refusal = refused(fpml("clearingConfirmed", "<correlationId>C-1</correlationId>", header="<sentBy>CCP</sentBy>"))

    stated = refusal.stated
    assert (refusal.code, refusal.message_type, refusal.dialect) == ("no-trade-id", "clearingConfirmed", "fpml-5-confirmation")
    assert (stated["event_class"], stated["event_kind"], stated["status"]) == ("STATUS", "CLEARING_STATUS", "CLEARED")
    assert (stated["correlation_id"], stated["sender"]) == ("C-1", "CCP")


def test_the_reason_of_a_rejection_is_read() -> None:
    event = only(
        "executionAdviceException",
        f"<reason><reasonCode>401</reasonCode><description>unrecognised\n trade</description></reason>{identified()}",
    )

    assert event.reason == "unrecognised trade"


def test_each_status_of_a_clearing_status_message_is_an_event() -> None:
    items = [
        f"<clearingStatusItem>{identified('tradeIdentifier', trade_id)}"
        f"<clearingStatusValue>{status}</clearingStatusValue></clearingStatusItem>"
        for trade_id, status in (("T-1", "Pending"), ("T-2", "Rejected"))
    ]

    events = parse(fpml("clearingStatus", "".join(items))).events

    assert [(event.trade_id.value, event.status) for event in events] == [("T-1", "Pending"), ("T-2", "Rejected")]


def test_each_trade_of_a_package_is_an_event_of_its_own() -> None:
    package = (
        f"<tradePackage><packageHeader>{identified('packageIdentifier', 'P-1')}</packageHeader>{trade('T-1')}{trade('T-2')}</tradePackage>"
    )

    events = parse(fpml("executionNotification", package)).events

    assert [event.trade_ids for event in events] == [(TradeId("urn:own", "T-1"),), (TradeId("urn:own", "T-2"),)]
    assert [event.related_ids for event in events] == [(TradeId("", "P-1"),)] * 2
    assert {event.event_class for event in events} == {EventClass.BOOK}


def test_each_option_that_expires_is_an_event_of_its_own() -> None:
    expiries = "".join(f"<optionExpiry>{identified('tradeIdentifier', trade_id)}</optionExpiry>" for trade_id in ("T-1", "T-2"))

    events = parse(fpml("executionNotification", expiries)).events

    assert [(event.trade_id.value, event.event_kind) for event in events] == [("T-1", "EXPIRY"), ("T-2", "EXPIRY")]


def test_each_trade_that_a_valuation_report_values_is_told_of() -> None:
    items = "".join(
        f"<tradeValuationItem>{identified('partyTradeIdentifier', trade_id)}</tradeValuationItem>" for trade_id in ("T-1", "T-2")
    )

    assert [event.trade_id.value for event in parse(fpml("valuationReport", items, view="recordkeeping")).events] == ["T-1", "T-2"]


def test_each_trade_of_a_package_has_its_clearing_status() -> None:
    package = f"<tradePackage><packageHeader/>{identified('tradeIdentifier', 'T-1')}{identified('tradeIdentifier', 'T-2')}</tradePackage>"
    item = f"<clearingStatusItem>{package}<clearingStatusValue>Pending</clearingStatusValue></clearingStatusItem>"

    events = parse(fpml("clearingStatus", item)).events

    assert [(event.trade_id.value, event.status) for event in events] == [("T-1", "Pending"), ("T-2", "Pending")]


def test_what_a_match_proposes_is_another_trade() -> None:
    match = f"<assertedEvent>{trade('T-1')}</assertedEvent><proposedMatch>{trade('T-9')}</proposedMatch>"

    event = only("confirmationStatus", f"<status>Unmatched</status>{match}")

    assert [trade_id.value for trade_id in event.trade_ids] == ["T-1"]
    assert [trade_id.value for trade_id in event.related_ids] == ["T-9"]


def test_trades_netted_into_one_are_related_to_it() -> None:
    netted = "<replacementTradeId>T-1</replacementTradeId><originatingTradeId>T-0</originatingTradeId>"

    event = only("clearingConfirmed", f"<compressionActivity>{netted}</compressionActivity>{trade('T-1')}")

    assert ([one.value for one in event.trade_ids], [one.value for one in event.related_ids]) == (["T-1"], ["T-0"])


def test_the_type_of_a_message_is_cut_where_it_is_absurdly_long() -> None:
    message = parse(fpml("x" * 1_000 + "Acknowledgement", identified()))

    assert len(message.message_type) == 100


def test_each_trade_of_a_document_is_a_snapshot() -> None:
    events = parse(fpml("dataDocument", trade("T-1") + trade("T-2"))).events

    assert [(event.trade_id.value, event.event_class) for event in events] == [("T-1", "SNAPSHOT"), ("T-2", "SNAPSHOT")]


def test_the_uti_leads_the_ids_of_a_trade() -> None:
    more = (
        f'<partyTradeIdentifier><issuer>1031234567</issuer><tradeId tradeIdScheme="{USI}">U-1</tradeId></partyTradeIdentifier>'
        "<partyTradeIdentifier><issuer>DESK</issuer><tradeId>D-1</tradeId></partyTradeIdentifier>"
        '<partyTradeIdentifier><versionedTradeId><tradeId tradeIdScheme="urn:v">V-1</tradeId><version>3</version></versionedTradeId>'
        "</partyTradeIdentifier>"
    )

    event = only("executionAdvice", trade("T-1", more=more))

    assert event.trade_ids == (TradeId("1031234567", "U-1"), TradeId("urn:own", "T-1"), TradeId("DESK", "D-1"), TradeId("urn:v", "V-1"))
    assert event.version == 3


def test_ids_of_resulting_and_originating_trades_are_related_only() -> None:
    more = (
        f"<partyTradeIdentifier><tradeId>T-2</tradeId>{identified('resultingTradeId', 'R-1')}{identified('originatingTradeId', 'T-1')}"
        f"{identified('allocationTradeId', 'A-1')}{identified('blockTradeId', 'B-1')}</partyTradeIdentifier>"
    )

    event = only("executionAdvice", trade("T-1", more=more))

    assert [trade_id.value for trade_id in event.trade_ids] == ["T-1", "T-2"]
    assert [trade_id.value for trade_id in event.related_ids] == ["R-1", "A-1", "B-1"]


def test_an_old_trade_is_what_a_novation_is_about_and_its_highest_version_counts() -> None:
    novation = identified("oldTradeIdentifier", "T-1", "9") + identified("newTradeIdentifier", "T-2", "10")

    event = only("executionAdvice", f"<novation>{novation}</novation>")

    assert [trade_id.value for trade_id in event.trade_ids] == ["T-1"]
    assert [trade_id.value for trade_id in event.related_ids] == ["T-2"]
    assert event.version == 10


def test_header_thread_and_zones_are_read_as_stated() -> None:
    header = "<inReplyTo>M-0</inReplyTo><sentBy> BANK  A </sentBy><creationTimestamp>2009-06-08T10:03:09.5-08:00</creationTimestamp>"
    body = f"<correlationId>C-1</correlationId><sequenceNumber>7</sequenceNumber>{trade().replace('2024-03-04', '2007-03-21-08:00')}"

    event = only("executionAdvice", body, header=header)

    assert (event.message_id, event.in_reply_to, event.sender) == ("M-1", "M-0", "BANK A")
    assert (event.correlation_id, event.sequence) == ("C-1", 7)
    assert str(event.event_time) == "2009-06-08 18:03:09.500000+00:00"
    assert event.event_time_text == "2009-06-08T10:03:09.5-08:00"
    assert str(event.trade_date) == "2007-03-21"


def test_a_time_without_a_zone_is_taken_as_utc_and_marked() -> None:
    event = only("executionAdvice", trade(), header="<creationTimestamp>2009-06-08T10:03:09</creationTimestamp>")

    assert (str(event.event_time), event.zoned) == ("2009-06-08 10:03:09+00:00", False)


def test_details_of_a_swap_are_read() -> None:
    product = (
        "<swap><primaryAssetClass>InterestRate</primaryAssetClass><productType>InterestRate:IRSwap:FixedFloat</productType><swapStream>"
        '<payerPartyReference href="a"/><receiverPartyReference href="b"/>'
        "<effectiveDate><unadjustedDate>2024-03-06</unadjustedDate></effectiveDate>"
        "<terminationDate><unadjustedDate>2029-03-06Z</unadjustedDate></terminationDate>"
        "<notionalStepSchedule><initialValue>10000000.00</initialValue><currency>EUR</currency></notionalStepSchedule>"
        "<fixedRateSchedule><initialValue>0.0275</initialValue></fixedRateSchedule></swapStream></swap>"
    )
    parties = (
        '<party id="a"><partyId partyIdScheme="http://www.fpml.org/coding-scheme/external/iso17442">5493001KJTIIGC8Y1R12</partyId>'
        "<partyName>Bank A</partyName></party>"
        '<party id="b"><partyId>FUNDB</partyId></party><party id="c"><partyName>Custodian</partyName></party>'
    )

    event = only("executionAdvice", trade(product=product) + parties)

    assert event.details == {
        "product": "InterestRate:IRSwap:FixedFloat",
        "asset_class": "InterestRate",
        "price": "0.0275",
        "price_type": "fixedRate",
        "effective_date": "2024-03-06",
        "maturity_date": "2029-03-06",
        "notionals": [{"amount": "10000000.00", "currency": "EUR"}],
        "parties": [{"name": "Bank A", "lei": "5493001KJTIIGC8Y1R12", "role": "payer"}, {"name": "FUNDB", "role": "receiver"}],
    }


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        (fpml("executionAdvice", "<termination/>"), "no-trade-id", "executionAdvice states no trade id. Expected tradeId in"),
        (fpml("clearingConfirmed", "<correlationId>C-1</correlationId>"), "no-trade-id", "states no trade id"),
        (fpml("executionAdvice", identified()), "not-an-event", "executionAdvice carries no trade event"),
        ("<executionAdvice xmlns='http://www.fpml.org/FpML-6/reporting'/>", "unknown-dialect", "FpML-6/reporting"),
        (fpml("executionAdvice", trade("x" * 256)), "invalid-field", "has 256 characters; expected at most 255"),
        (
            fpml("executionAdvice", f"<sequenceNumber>one</sequenceNumber>{trade()}"),
            "invalid-field",
            "sequenceNumber is 'one'; expected a whole",
        ),
        (
            fpml("executionAdvice", f"<isCorrection>yes</isCorrection>{trade()}"),
            "invalid-field",
            "isCorrection is 'yes'; expected true or false",
        ),
        (
            fpml("executionAdvice", trade().replace("2024-03-04", "04/03/2024")),
            "invalid-field",
            "tradeDate is '04/03/2024'; expected a date",
        ),
        (fpml("executionAdvice", trade(), header="<sentBy>" + "x" * 256 + "</sentBy>"), "invalid-field", "expected at most 255 characters"),
        (
            fpml("executionAdvice", trade(), header="<creationTimestamp>noon</creationTimestamp>"),
            "invalid-field",
            "expected a date and time",
        ),
        (fpml("executionAdvice", trade(product="<swap><strikeRate>1,5</strikeRate></swap>")), "invalid-field", "expected a decimal number"),
        (fpml("confirmationStatus", f"<status>{'x' * 101}</status>{identified()}"), "invalid-field", "expected at most 100 characters"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_place(document: str, code: str, words: str) -> None:
    refusal = refused(document)

    assert refusal.code == code
    assert words in refusal.message
    assert (refusal.line, refusal.column is not None) == (1, True)


def test_the_element_that_holds_a_wrong_value_is_located() -> None:
    document = fpml("executionAdvice", f"\n<termination>{identified(version='1')}{identified(version='x')}</termination>")

    refusal = refused(document)

    assert (refusal.element, refusal.line) == ("version", 2)
    assert refusal.column == document.split("\n")[1].index("<version>x") + 1


def test_a_doctype_is_no_obstacle_and_a_file_is_published_as_it_is() -> None:
    document = '<?xml version="1.0"?>\r\n<!DOCTYPE executionAdvice SYSTEM "http://127.0.0.1:9/fpml.dtd">\n' + fpml(
        "executionAdvice", trade()
    )

    (prepared,) = prepare(document.encode())

    assert prepared.text == document
    assert prepared.message is not None
