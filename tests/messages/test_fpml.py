"""FpML 5, confirmation view: rules of the standard, on messages written for this, and the sample messages where they are."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.messages.documents import fpml, trade
from trades.messages import EventClass, MessageRefused, TradeEvent, TradeId, parse, prepare

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
FOLDER = "fpml-5-confirmation/"
USI = "http://www.fpml.org/coding-scheme/external/unique-transaction-identifier"


def only(root: str, body: str, *, header: str = "") -> TradeEvent:
    (event,) = parse(fpml(root, body, header=header)).events
    return event


def refused(document: str) -> MessageRefused:
    with pytest.raises(MessageRefused) as refusal:
        parse(document)
    return refusal.value


def identified(name: str = "tradeIdentifier", trade_id: str = "T-1", version: str = "") -> str:
    stated = f"<tradeId>{trade_id}</tradeId>"
    if version:
        stated = f"<versionedTradeId>{stated}<version>{version}</version></versionedTradeId>"
    return f"<{name}>{stated}</{name}>"


def outstanding(amount: str) -> str:
    return f"<outstandingNotionalAmount><currency>EUR</currency><amount>{amount}</amount></outstandingNotionalAmount>"


EVENTS = [
    (trade(), "BOOK", "NEW"),
    (f"<amendment>{trade()}</amendment>", "UPDATE", "AMENDMENT"),
    (f"<increase>{identified()}{outstanding('5')}</increase>", "UPDATE", "INCREASE"),
    (f"<change>{trade()}</change>", "UPDATE", "CHANGE"),
    (f"<termination>{identified()}{outstanding('0.00')}</termination>", "TERMINATE", "TERMINATION"),
    (f"<termination>{identified()}</termination>", "TERMINATE", "TERMINATION"),
    (f"<termination>{identified()}{outstanding('4000000')}</termination>", "UPDATE", "PARTIAL_TERMINATION"),
    (f"<termination>{identified()}<outstandingNumberOfUnits>7</outstandingNumberOfUnits></termination>", "UPDATE", "PARTIAL_TERMINATION"),
    (f"<amendedEvent><termination>{identified()}</termination></amendedEvent>", "TERMINATE", "TERMINATION"),
    (f"<novation>{identified('oldTradeIdentifier')}{identified('newTradeIdentifier', 'T-2')}</novation>", "TERMINATE", "NOVATION"),
    (f"<novation>{identified('oldTradeIdentifier')}{identified('newTradeIdentifier')}</novation>", "UPDATE", "NOVATION"),
    (f"<novation>{identified('oldTradeIdentifier')}<remainingAmount><amount>1</amount></remainingAmount></novation>", "UPDATE", "NOVATION"),
    (f"<withdrawal>{identified('partyTradeIdentifier')}<reason>RaisedInError</reason></withdrawal>", "CANCEL", "WITHDRAWAL"),
    (f"<withdrawal>{identified('partyTradeIdentifier')}<reason>Novation</reason></withdrawal>", "TERMINATE", "WITHDRAWAL"),
    (f"<optionExercise>{identified()}{outstanding('3')}</optionExercise>", "UPDATE", "PARTIAL_EXERCISE"),
    (f"<optionExercise>{identified()}</optionExercise>", "TERMINATE", "EXERCISE"),
    (f"<optionExpiry>{identified()}</optionExpiry>", "TERMINATE", "EXPIRY"),
    (f"<deClear>{identified()}</deClear>", "TERMINATE", "DECLEAR"),
]


@pytest.mark.parametrize(("body", "event_class", "kind"), EVENTS)
def test_the_event_of_an_execution_advice_says_what_happened(body: str, event_class: str, kind: str) -> None:
    event = only("executionAdvice", f"<isCorrection>false</isCorrection>{body}")

    assert (event.event_class, event.event_kind, event.is_correction) == (event_class, kind, False)
    assert [trade_id.value for trade_id in event.trade_ids] == ["T-1"]


@pytest.mark.parametrize(("body", "event_class", "kind"), EVENTS)
def test_a_correction_of_any_event_is_a_correction(body: str, event_class: str, kind: str) -> None:
    event = only("executionNotification", f"<isCorrection>true</isCorrection>{body}")

    assert (event.event_class, event.event_kind, event.is_correction) == (EventClass.CORRECT, kind, True)


def test_a_confirmation_request_is_an_event_with_a_status() -> None:
    event = only("requestConfirmation", trade())

    assert (event.event_class, event.status) == (EventClass.BOOK, "CONFIRMATION_REQUESTED")


@pytest.mark.parametrize(
    ("root", "body", "event_class", "kind"),
    [
        ("executionAdviceRetracted", trade(), "CANCEL", "NEW_RETRACTED"),
        ("executionAdviceRetracted", f"<increase>{identified()}</increase>", "RETRACT", "INCREASE_RETRACTED"),
        ("tradeChangeAdviceRetracted", identified(), "RETRACT", "RETRACTION"),
        ("requestAllocationRetracted", identified("blockTradeIdentifier"), "RETRACT", "ALLOCATION_RETRACTED"),
    ],
)
def test_a_retraction_takes_back_an_event(root: str, body: str, event_class: str, kind: str) -> None:
    event = only(root, body)

    assert (event.event_class, event.event_kind) == (event_class, kind)


STATUSES = [
    ("confirmationAgreed", trade(), "STATUS", "CONFIRMATION", "CONFIRMED"),
    ("confirmationDisputed", trade(), "STATUS", "CONFIRMATION", "DISPUTED"),
    ("confirmationStatus", f"<status>Matched</status>{identified()}", "STATUS", "CONFIRMATION", "Matched"),
    ("clearingRefused", identified(), "STATUS", "CLEARING_STATUS", "Rejected"),
    ("clearingConfirmed", trade(), "BOOK", "NEW", ""),
    ("clearingConfirmed", f"<clearing>{identified()}</clearing>", "STATUS", "CLEARING", "CLEARED"),
    ("clearingConfirmed", f"<termination>{identified()}</termination>", "TERMINATE", "TERMINATION", ""),
    ("clearingConfirmed", identified(), "STATUS", "CLEARING_STATUS", "CLEARED"),
    ("requestClearing", trade(), "REQUEST", "REQUEST_CLEARING", ""),
    ("requestConsent", f"<increase>{identified()}</increase>", "REQUEST", "REQUEST_INCREASE", ""),
    ("consentGranted", f"<increase>{identified()}</increase>", "STATUS", "CONSENT", "CONSENT_GRANTED"),
    ("consentRefused", f"<increase>{identified()}</increase>", "STATUS", "CONSENT", "CONSENT_REFUSED"),
    ("requestExecution", trade(), "REQUEST", "REQUEST_EXECUTION", ""),
    ("maturityNotification", f"<optionExpiry>{identified()}</optionExpiry>", "TERMINATE", "MATURITY", ""),
    ("executionAdviceAcknowledgement", f"<originalMessage>{trade()}</originalMessage>", "STATUS", "ACK", "ACK"),
    (
        "executionAdviceException",
        f"<additionalData><originalMessage>{trade()}</originalMessage></additionalData>",
        "STATUS",
        "EXCEPTION",
        "REJECTED",
    ),
    ("dataDocument", trade(), "SNAPSHOT", "SNAPSHOT", ""),
]


@pytest.mark.parametrize(("root", "body", "event_class", "kind", "status"), STATUSES)
def test_requests_statuses_and_answers_are_told_from_events(root: str, body: str, event_class: str, kind: str, status: str) -> None:
    event = only(root, body)

    assert (event.event_class, event.event_kind, event.status) == (event_class, kind, status)


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
        (fpml("creditEventNotification", identified()), "not-an-event", "creditEventNotification is not a trade event"),
        (fpml("dataDocument", "<party/>"), "not-an-event", "dataDocument is not a trade event"),
        ("<executionAdvice xmlns='http://www.fpml.org/FpML-5/reporting'/>", "unknown-dialect", "FpML-5/reporting"),
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


# The samples, where they are


def sample_rows() -> list[dict[str, str]]:
    manifest = SAMPLES / "manifest.tsv"
    if not manifest.exists():
        return []
    with manifest.open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines, delimiter="\t") if row["file"].startswith(FOLDER)]


ROWS = sample_rows()
needs_samples = pytest.mark.skipif(not ROWS, reason=f"the sample messages are not at {SAMPLES}")


def misses(row: dict[str, str]) -> dict[str, tuple[object, str]]:
    """What was read otherwise than the manifest says: column -> (read, stated)."""
    message = parse((SAMPLES / row["file"]).read_bytes())
    event = message.events[0]
    read: dict[str, object] = {
        "dialect": message.dialect,
        "message_type": message.message_type,
        "event_kind": event.event_kind,
        "status": event.status,
        "trade_date": str(event.trade_date or ""),
        "version": "" if event.version is None else str(event.version),
        "sequence": "" if event.sequence is None else str(event.sequence),
        "correlation_id": event.correlation_id,
        "message_id": event.message_id,
        "in_reply_to": event.in_reply_to,
        "sender": event.sender,
        "event_time": event.event_time_text,
    }
    wrong = {column: (value, row[column]) for column, value in read.items() if value != row[column]}
    if event.event_class not in row["event_class"].split("|"):
        wrong["event_class"] = (event.event_class, row["event_class"])
    for column, ids in (("trade_ids", [e.trade_ids for e in message.events]), ("related_ids", [e.related_ids for e in message.events])):
        values = {trade_id.value for of_event in ids for trade_id in of_event}
        if values != {value for value in row[column].split(" | ") if value}:
            wrong[column] = (sorted(values), row[column])
    return wrong


@needs_samples
@pytest.mark.parametrize("row", [row for row in ROWS if row["expect"] != "no_trade_id"], ids=lambda row: row["file"].removeprefix(FOLDER))
def test_a_sample_is_read_as_its_manifest_says(row: dict[str, str]) -> None:
    wrong = misses(row)

    assert not wrong, "; ".join(f"{column}: read {read!r}, stated {stated!r}" for column, (read, stated) in wrong.items())
    assert all(
        (event.event_class is EventClass.SNAPSHOT) == (row["expect"] == "snapshot")
        for event in parse((SAMPLES / row["file"]).read_bytes()).events
    )


@needs_samples
@pytest.mark.parametrize("row", [row for row in ROWS if row["expect"] == "no_trade_id"], ids=lambda row: row["file"].removeprefix(FOLDER))
def test_a_sample_without_a_trade_id_is_refused_for_that(row: dict[str, str]) -> None:
    with pytest.raises(MessageRefused) as refusal:
        parse((SAMPLES / row["file"]).read_bytes())

    assert refusal.value.code == "no-trade-id"
    assert refusal.value.line is not None


@needs_samples
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"].removeprefix(FOLDER))
def test_a_sample_is_published_with_its_text_unchanged(row: dict[str, str]) -> None:
    document = (SAMPLES / row["file"]).read_bytes()

    (prepared,) = prepare(document)

    assert prepared.text.encode() == document.removeprefix(b"\xef\xbb\xbf")
    if prepared.message:
        assert prepared.message == parse(prepared.text)
