"""FpML 5: what each kind of message does to a trade, on messages written for this."""

from __future__ import annotations

from datetime import date

import pytest

from tests.messages.documents import fpml, identified, outstanding, trade
from trades.messages import EventClass, TradeEvent, parse


def only(root: str, body: str) -> TradeEvent:
    (event,) = parse(fpml(root, body)).events
    return event


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
    (f"<tradeMaturity>{identified()}<date>2024-03-04</date></tradeMaturity>", "TERMINATE", "MATURITY"),
    (f"<optionEvent>{identified()}<knockOut/></optionEvent>", "UPDATE", "OPTION_EVENT"),
    (f"<deClear>{identified()}</deClear>", "TERMINATE", "DECLEAR"),
    (f"<novation>{identified('newTradeIdentifier')}</novation>", "BOOK", "NOVATION"),
    (f"<novation>{identified('feeTradeIdentifier')}<remainingAmount><amount>1</amount></remainingAmount></novation>", "UPDATE", "NOVATION"),
    (f"<termination>{identified()}<sizeChange>{outstanding('0')}</sizeChange></termination>", "TERMINATE", "TERMINATION"),
    (f"<termination>{identified()}<sizeChange>{outstanding('1')}</sizeChange></termination>", "UPDATE", "PARTIAL_TERMINATION"),
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


RETRACTIONS = [
    ("executionAdviceRetracted", trade(), "CANCEL", "NEW_RETRACTED"),
    ("executionRetracted", trade(), "CANCEL", "NEW_RETRACTED"),
    ("requestConfirmationRetracted", trade(), "CANCEL", "NEW_RETRACTED"),
    ("executionAdviceRetracted", f"<increase>{identified()}</increase>", "RETRACT", "INCREASE_RETRACTED"),
    ("nonpublicExecutionReportRetracted", identified(), "CANCEL", "RETRACTION"),
    (
        "nonpublicExecutionReportRetracted",
        f'<correlationId correlationIdScheme="urn:x:event_id">C-1</correlationId>{identified()}',
        "RETRACT",
        "RETRACTION",
    ),
    (
        "publicExecutionReportRetracted",
        f"{identified()}<eventIdentifier><eventId>E-1</eventId></eventIdentifier>",
        "RETRACT",
        "RETRACTION",
    ),
    ("tradeChangeAdviceRetracted", identified(), "RETRACT", "RETRACTION"),
    ("tradeChangeAdviceRetracted", f"{identified()}<change>{trade()}</change>", "RETRACT", "CHANGE_RETRACTED"),
    ("requestAllocationRetracted", identified("blockTradeIdentifier"), "RETRACT", "ALLOCATION_RETRACTED"),
    ("requestClearingRetracted", trade(), "RETRACT", "CLEARING_RETRACTED"),
    ("requestConsentRetracted", trade(), "RETRACT", "CONSENT_RETRACTED"),
    ("requestExecutionRetracted", trade(), "RETRACT", "EXECUTION_RETRACTED"),
    ("valuationReportRetracted", identified("partyTradeIdentifier"), "RETRACT", "VALUATION_RETRACTED"),
]


@pytest.mark.parametrize(("root", "body", "event_class", "kind"), RETRACTIONS)
def test_a_retraction_takes_back_an_event_and_that_of_a_booking_the_trade(root: str, body: str, event_class: str, kind: str) -> None:
    event = only(root, body)

    assert (event.event_class, event.event_kind) == (event_class, kind)
    assert event.trade_id.value == "T-1"


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
    ("clearingStatus", trade(), "STATUS", "CLEARING_STATUS", ""),
    ("requestConsent", trade(), "REQUEST", "REQUEST_CONSENT", ""),
    ("requestConsent", f"<termination>{identified()}{outstanding('1')}</termination>", "REQUEST", "REQUEST_PARTIAL_TERMINATION", ""),
    ("requestAllocation", identified("blockTradeIdentifier"), "REQUEST", "REQUEST_ALLOCATION", ""),
    ("allocationApproved", identified("blockTradeIdentifier"), "STATUS", "ALLOCATION", "ALLOCATION_APPROVED"),
    ("allocationRefused", identified("blockTradeIdentifier"), "STATUS", "ALLOCATION", "ALLOCATION_REFUSED"),
    ("requestClearingEligibility", trade(), "REQUEST", "REQUEST_CLEARING_ELIGIBILITY", ""),
    ("clearingEligibility", identified("partyTradeIdentifier"), "STATUS", "CLEARING_ELIGIBILITY", ""),
    (
        "requestTradeReferenceInformationUpdate",
        f"<tradeReferenceInformation>{identified('partyTradeIdentifier')}</tradeReferenceInformation>",
        "REQUEST",
        "REQUEST_INFORMATION_UPDATE",
        "",
    ),
    (
        "approvalStatusNotification",
        f"{identified()}<approvals><approval><status>Approved</status></approval></approvals>",
        "STATUS",
        "APPROVAL",
        "Approved",
    ),
    (
        "verificationStatusNotification",
        f"<status>Disputed</status>{identified('partyTradeIdentifier')}",
        "STATUS",
        "VERIFICATION",
        "Disputed",
    ),
    ("confirmationStatus", f"<status>Alleged</status><allegedEvent>{trade()}</allegedEvent>", "STATUS", "CONFIRMATION", "Alleged"),
    ("optionExpirationNotification", f"<optionExpiry>{identified()}</optionExpiry>", "STATUS", "EXPIRY_NOTICE", ""),
    ("maturityNotification", f"<tradeMaturity>{identified()}</tradeMaturity>", "TERMINATE", "MATURITY", ""),
    ("clearingConfirmed", f"<deClear>{identified()}</deClear>", "TERMINATE", "DECLEAR", ""),
    ("requestLimitCheck", trade(), "REQUEST", "REQUEST", ""),
    ("regulatoryDisclosure", f"<eventType>Termination:Partial</eventType>{trade()}", "UPDATE", "PARTIAL_TERMINATION", ""),
    ("regulatoryDisclosure", f"<eventType>Inception:NewTrade</eventType>{trade()}", "BOOK", "NEW", ""),
    ("regulatoryDisclosure", f"<eventType>Cancel:Rebooking</eventType>{trade()}", "CANCEL", "CANCEL", ""),
    ("regulatoryWithdrawal", f"{identified('partyTradeIdentifier')}<reason>RaisedInError</reason>", "CANCEL", "WITHDRAWAL", ""),
    (
        "valuationReport",
        f"<tradeValuationItem>{identified('partyTradeIdentifier')}<valuationSet/></tradeValuationItem>",
        "STATUS",
        "VALUATION",
        "",
    ),
    (
        "creditEventNotification",
        f"<creditEventNotice><affectedTransactions><x>{identified('partyTradeIdentifier')}</x></affectedTransactions></creditEventNotice>",
        "STATUS",
        "CREDIT_EVENT",
        "",
    ),
]


@pytest.mark.parametrize(("root", "body", "event_class", "kind", "status"), STATUSES)
def test_requests_statuses_and_answers_are_told_from_events(root: str, body: str, event_class: str, kind: str, status: str) -> None:
    event = only(root, body)

    assert (event.event_class, event.event_kind, event.status) == (event_class, kind, status)


REFERENCES = [
    ("positionReport", f"<position><constituent>{trade()}</constituent></position>"),
    ("serviceNotification", "<status>Available</status>"),
    ("requestRetransmission", "<portfolioReference/>"),
    ("valuationReport", "<portfolioValuationItem/>"),
    ("creditEventNotification", "<creditEventNotice/>"),
    ("loanBulkServicingNotification", "<party/>"),
    ("dataDocument", "<party/>"),
]


@pytest.mark.parametrize(("root", "body"), REFERENCES)
def test_a_message_that_is_no_event_of_one_trade_is_a_reference(root: str, body: str) -> None:
    message = parse(fpml(root, body, header="<sentBy>BANKA</sentBy>", view="reporting"))

    assert (message.dialect, message.message_type, message.events) == ("fpml-5-reporting", root, ())
    assert "no event of one trade" in message.reference
    assert (message.stated["message_id"], message.stated["sender"]) == ("M-1", "BANKA")
    assert message.stated.get("trade_date") == (date(2024, 3, 4) if root == "positionReport" else None)


@pytest.mark.parametrize("view", ["confirmation", "recordkeeping", "transparency", "reporting", "pretrade", "legal"])
def test_every_view_is_read_by_the_same_rules(view: str) -> None:
    message = parse(fpml("publicExecutionReport", trade(), view=view))

    assert (message.dialect, message.events[0].event_class) == (f"fpml-5-{view}", EventClass.BOOK)
