"""FpML 4: rules of the standard, on messages written for this. What real messages say: test_samples.py."""

from __future__ import annotations

import pytest

from tests.messages.documents import FPML_4, XSI, fpml_4, identified, outstanding, trade
from trades.messages import MessageRefused, TradeEvent, TradeId, parse, prepare


def contract(contract_id: str = "C-1", version: str = "2", *, name: str = "contractReference") -> str:
    """What names a contract, by one versioned id."""
    identifier = f'<contractId contractIdScheme="urn:own">{contract_id}</contractId><version>{version}</version>'
    return f"<{name}><identifier><versionedContractId>{identifier}</versionedContractId></identifier></{name}>"


def whole_contract(contract_id: str = "C-1", version: str = "1") -> str:
    """A contract with its date."""
    header = contract(contract_id, version, name="header").replace("</header>", "<contractDate>2007-03-21-08:00</contractDate></header>")
    return f"<contract>{header}<swap/></contract>"


def only(kind: str, body: str, *, header: str = "") -> TradeEvent:
    (event,) = parse(fpml_4(kind, body, header=header)).events
    return event


NOVATION = f"<novation>{contract('C-1', name='oldContractReference')}{contract('C-2', name='newContractReference')}</novation>"
CONTRACTS = [
    ("ContractCreated", whole_contract(), "BOOK", "NEW", ""),
    ("ContractAmended", f"<amendment>{whole_contract()}</amendment>", "UPDATE", "AMENDMENT", ""),
    ("ContractChanged", f"<change>{whole_contract()}</change>", "UPDATE", "CHANGE", ""),
    ("ContractIncreased", f"<increase>{contract()}{outstanding('5')}</increase>", "UPDATE", "INCREASE", ""),
    ("ContractPartialTermination", f"<termination>{contract()}{outstanding('5')}</termination>", "UPDATE", "PARTIAL_TERMINATION", ""),
    ("ContractPartialTermination", f"<termination>{contract()}</termination>", "UPDATE", "PARTIAL_TERMINATION", ""),
    ("ContractPartialTermination", f"<termination>{contract()}{outstanding('0.00')}</termination>", "TERMINATE", "TERMINATION", ""),
    ("ContractFullTermination", f"<termination>{contract()}</termination>", "TERMINATE", "TERMINATION", ""),
    ("ContractNovated", NOVATION, "TERMINATE", "NOVATION", ""),
    ("ContractNovated", NOVATION.replace("</novation>", f"{outstanding('1')}</novation>"), "UPDATE", "NOVATION", ""),
    ("ContractCancelled", contract(), "CANCEL", "CANCEL", ""),
    ("ContractAmendedCancelled", f"{contract()}<amendment>{whole_contract()}</amendment>", "RETRACT", "AMENDMENT_RETRACTED", ""),
    ("ContractChangedCancelled", contract(), "RETRACT", "CHANGE_RETRACTED", ""),
    ("ContractIncreasedCancelled", contract(), "RETRACT", "INCREASE_RETRACTED", ""),
    ("ContractPartialTerminationCancelled", contract(), "RETRACT", "PARTIAL_TERMINATION_RETRACTED", ""),
    ("ContractFullTerminationCancelled", contract(), "RETRACT", "TERMINATION_RETRACTED", ""),
    ("ContractNovatedCancelled", f"{contract()}{NOVATION}", "RETRACT", "NOVATION_RETRACTED", ""),
]


@pytest.mark.parametrize(("kind", "body", "event_class", "event_kind", "status"), CONTRACTS)
def test_a_contract_notification_says_what_happened_to_the_contract(
    kind: str, body: str, event_class: str, event_kind: str, status: str
) -> None:
    event = only(kind, body)

    assert (event.event_class, event.event_kind, event.status) == (event_class, event_kind, status)
    assert event.trade_ids == (TradeId("urn:own", "C-1"),)


TRADES = [
    ("RequestTradeConfirmation", trade(), "BOOK", "NEW", "CONFIRMATION_REQUESTED"),
    ("TradeCreated", trade(), "BOOK", "NEW", ""),
    ("TradeExecution", trade(), "BOOK", "NEW", ""),
    ("TradeAmended", trade(), "UPDATE", "AMENDMENT", ""),
    ("TradeExecutionModified", f"{identified('originalTradeIdentifier')}<revisedTrade/>", "UPDATE", "AMENDMENT", ""),
    ("ModifyTradeConfirmation", trade(), "UPDATE", "AMENDMENT", "CONFIRMATION_REQUESTED"),
    ("TradeCancelled", identified(), "CANCEL", "CANCEL", ""),
    ("TradeExecutionCancelled", identified(), "CANCEL", "CANCEL", ""),
    ("CancelTradeConfirmation", identified("partyTradeIdentifier"), "RETRACT", "CONFIRMATION_RETRACTED", ""),
    ("RequestAmendmentConfirmation", f"<amendment>{trade()}</amendment>", "REQUEST", "REQUEST_AMENDMENT", "CONFIRMATION_REQUESTED"),
    ("RequestAllocation", identified("blockTradeIdentifier"), "REQUEST", "REQUEST_ALLOCATION", ""),
    ("RequestTradeMatch", trade(), "REQUEST", "REQUEST_MATCHING", ""),
    ("RequestTradeStatus", identified(), "REQUEST", "REQUEST_STATUS", ""),
    ("TradeConfirmed", trade(), "STATUS", "CONFIRMATION", "CONFIRMED"),
    ("TradeAffirmed", identified(), "STATUS", "AFFIRMATION", "AFFIRMED"),
    ("TradeMismatched", identified(), "STATUS", "CONFIRMATION", "MISMATCHED"),
    ("TradeAlleged", identified(), "STATUS", "CONFIRMATION", "ALLEGED"),
    ("TradeNotFound", identified(), "STATUS", "EXCEPTION", "REJECTED"),
    ("TradeAlreadyConfirmed", identified(), "STATUS", "EXCEPTION", "REJECTED"),
    (
        "TradeStatus",
        f"<tradeStatusItem>{identified()}<tradeStatusValue>Matched</tradeStatusValue></tradeStatusItem>",
        "STATUS",
        "TRADE_STATUS",
        "Matched",
    ),
    ("ValuationReport", f"<tradeValuationItem>{identified('partyTradeIdentifier')}</tradeValuationItem>", "STATUS", "VALUATION", ""),
    ("DataDocument", trade(), "SNAPSHOT", "SNAPSHOT", ""),
]


@pytest.mark.parametrize(("kind", "body", "event_class", "event_kind", "status"), TRADES)
def test_messages_about_trades_are_told_apart_by_their_type(kind: str, body: str, event_class: str, event_kind: str, status: str) -> None:
    event = only(kind, body)

    assert (event.event_class, event.event_kind, event.status) == (event_class, event_kind, status)
    assert event.trade_id.value == "T-1"


def novation(inner: str) -> str:
    return f"<novation>{inner}</novation>"


OLD = f"<oldTransactionReference>{identified('partyTradeIdentifier')}</oldTransactionReference>"
NEW = f"<newTransactionReference>{identified('partyTradeIdentifier', 'T-2')}</newTransactionReference>"


@pytest.mark.parametrize(
    ("kind", "event_class", "status"),
    [
        ("NovationConsentRequest", "REQUEST", ""),
        ("NovationConsentGranted", "STATUS", "CONSENT_GRANTED"),
        ("NovationConsentRefused", "STATUS", "CONSENT_REFUSED"),
        ("NovationAlleged", "STATUS", "ALLEGED"),
        ("NovationConfirmed", "STATUS", "CONFIRMED"),
        ("TradeNovated", "TERMINATE", ""),
    ],
)
def test_a_novation_is_about_the_old_transaction(kind: str, event_class: str, status: str) -> None:
    event = only(kind, novation(NEW + OLD))

    assert (event.event_class, event.status) == (event_class, status)
    assert ([one.value for one in event.trade_ids], [one.value for one in event.related_ids]) == (["T-1"], ["T-2"])


def test_a_novation_told_to_the_party_that_comes_in_is_about_the_new_transaction() -> None:
    event = only("NovationAlleged", novation(NEW))

    assert ([one.value for one in event.trade_ids], event.related_ids) == (["T-2"], ())


def test_a_contract_keeps_the_ids_of_its_trade_and_its_date() -> None:
    reference = f"<tradeReference>{identified('partyTradeIdentifier')}</tradeReference>"

    event = only("ContractCreated", reference + whole_contract())

    assert [trade_id.value for trade_id in event.trade_ids] == ["T-1", "C-1"]
    assert (event.version, str(event.trade_date)) == (1, "2007-03-21")


def test_the_highest_version_stated_counts() -> None:
    event = only("ContractAmendedCancelled", f"{contract(version='2')}<amendment>{whole_contract(version='1')}</amendment>")

    assert event.version == 2


def test_the_header_and_the_conversation_are_read() -> None:
    header = (
        "<conversationId>CNV-1</conversationId><inReplyTo>M-0</inReplyTo><sentBy>BANKA</sentBy>"
        "<creationTimestamp>2007-06-14T11:03:09.000-08:00</creationTimestamp>"
    )

    event = only("ContractCancelled", contract(), header=header)

    assert (event.message_id, event.in_reply_to, event.sender, event.correlation_id) == ("M-1", "M-0", "BANKA", "CNV-1")
    assert (str(event.event_time), event.sequence) == ("2007-06-14 19:03:09+00:00", None)


def test_each_trade_of_an_allocation_is_an_event_of_its_own() -> None:
    block = f"<blockTradeId>{'<tradeId>B-1</tradeId>'}</blockTradeId>"
    trades = "".join(trade(name).replace("</partyTradeIdentifier>", f"{block}</partyTradeIdentifier>", 1) for name in ("T-1", "T-2"))

    created = parse(fpml_4("AllocationCreated", trades)).events
    amended = parse(
        fpml_4(
            "AllocationAmended", f"<amendment>{identified('originalTradeIdentifier')}<amendedTrade>{'<x/>'}</amendedTrade></amendment>" * 2
        )
    ).events
    cancelled = parse(fpml_4("AllocationCancelled", identified("partyTradeIdentifier") + identified("partyTradeIdentifier", "T-2"))).events

    assert [(event.event_class, event.trade_id.value) for event in created] == [("BOOK", "T-1"), ("BOOK", "T-2")]
    assert [[one.value for one in event.related_ids] for event in created] == [["B-1"], ["B-1"]]
    assert [event.event_class for event in amended] == ["UPDATE", "UPDATE"]
    assert [(event.event_class, event.trade_id.value) for event in cancelled] == [("CANCEL", "T-1"), ("CANCEL", "T-2")]


def test_an_allocation_is_published_as_one_document_for_each_trade() -> None:
    parts = prepare(fpml_4("AllocationCreated", trade("T-1") + trade("T-2")).encode())

    assert [parse(part.text).events for part in parts] == [part.message.events for part in parts if part.message]
    assert ["T-2" in part.text for part in parts] == [False, True]


@pytest.mark.parametrize(
    ("kind", "event_class", "event_kind"),
    [("CreditEventNotification", "STATUS", "CREDIT_EVENT"), ("DataDocument", "SNAPSHOT", "SNAPSHOT")],
)
def test_a_credit_event_notice_is_about_the_trades_that_it_names(kind: str, event_class: str, event_kind: str) -> None:
    named = "".join(f"<tradeReference>{identified('partyTradeIdentifier', trade_id)}</tradeReference>" for trade_id in ("T-1", "T-2"))
    notice = f"<creditEventNotice><affectedTransactions>{named}</affectedTransactions><bankruptcy/></creditEventNotice>"

    events = parse(fpml_4(kind, notice)).events

    assert [[trade_id.value for trade_id in event.trade_ids] for event in events] == [["T-1"], ["T-2"]]
    assert {(event.event_class, event.event_kind) for event in events} == {(event_class, event_kind)}


@pytest.mark.parametrize("kind", ["RequestQuote", "PositionsAsserted", "TradeCashflowsAsserted", "CreditEventNotification", "DataDocument"])
def test_a_message_that_is_no_event_of_one_trade_is_a_reference(kind: str) -> None:
    body = f"<portfolio/>{trade()}" if kind == "PositionsAsserted" else "<party/>"

    message = parse(fpml_4(kind, body, header="<sentBy>BANKA</sentBy>"))

    assert (message.dialect, message.message_type, message.events) == ("fpml-4", kind, ())
    assert message.reference
    assert message.stated["sender"] == "BANKA"


def test_a_rejected_message_without_a_trade_id_is_refused_with_what_it_states() -> None:
    with pytest.raises(MessageRefused) as refused:
        parse(fpml_4("MessageRejected", "<reason><reasonCode>1</reasonCode><description>no such trade</description></reason>"))

    refusal = refused.value
    assert (refusal.code, refusal.message_type) == ("no-trade-id", "MessageRejected")
    assert (refusal.stated["event_class"], refusal.stated["status"], refusal.stated["reason"]) == ("STATUS", "REJECTED", "no such trade")


def test_the_type_is_read_whatever_prefix_it_has_and_in_every_version() -> None:
    document = (
        f'<x:FpML xmlns:x="http://www.fpml.org/2005/FpML-4-2" xmlns:i="{XSI}" version="4-2" i:type="x:TradeCancelled">'
        "<x:tradeIdentifier><x:tradeId>T-1</x:tradeId></x:tradeIdentifier></x:FpML>"
    )

    message = parse(document)

    assert (message.dialect, message.message_type, message.events[0].event_class) == ("fpml-4", "TradeCancelled", "CANCEL")
    assert FPML_4 not in document


def test_details_of_a_contract_are_read() -> None:
    product = (
        "<fxSingleLeg><exchangedCurrency1><payerPartyReference href='a'/><paymentAmount><currency>GBP</currency><amount>10.50</amount>"
        "</paymentAmount></exchangedCurrency1><valueDate>2024-03-06Z</valueDate><exchangeRate><rate>1.48</rate></exchangeRate></fxSingleLeg>"
    )
    parties = "<party id='a'><partyId>BANKA</partyId></party>"

    event = only("ContractCreated", whole_contract().replace("<swap/>", product) + parties)

    assert event.details == {
        "product": "fxSingleLeg",
        "price": "1.48",
        "price_type": "exchangeRate",
        "maturity_date": "2024-03-06",
        "notionals": [{"amount": "10.50", "currency": "GBP"}],
        "parties": [{"role": "payer", "name": "BANKA"}],
    }
