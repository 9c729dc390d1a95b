"""FpML 1 to 3: documents with a DTD and no namespace, written for this. What real documents say: test_samples.py."""

from __future__ import annotations

import pytest

from tests.messages.documents import trade
from trades.messages import EventClass, MessageRefused, TradeId, parse, prepare


def document(body: str, *, version: str = "2-0") -> str:
    """A document whose DTD is nowhere to be had."""
    doctype = '<!DOCTYPE FpML PUBLIC "-//FpML//DTD Financial product Markup Language 2-0//EN" "http://127.0.0.1:9/fpml-dtd-2-0.dtd">'
    return f'<?xml version="1.0"?>\n{doctype}\n<FpML version="{version}">{body}</FpML>'


@pytest.mark.parametrize("version", ["1-0", "2-0", "3-0"])
def test_a_trade_of_any_version_is_a_snapshot(version: str) -> None:
    message = parse(document(trade(), version=version))
    (event,) = message.events

    assert (message.dialect, message.message_type) == ("fpml-dtd", f"FpML {version}")
    assert (event.event_class, event.event_kind) == (EventClass.SNAPSHOT, "SNAPSHOT")
    assert (event.trade_ids, str(event.trade_date)) == ((TradeId("urn:own", "T-1"),), "2024-03-04")


def test_the_external_dtd_is_kept_in_the_text_and_never_loaded() -> None:
    text = document(trade())

    (prepared,) = prepare(text.encode())

    assert prepared.text == text
    assert prepared.message


def test_each_trade_of_a_document_is_a_snapshot_and_is_published_by_itself() -> None:
    parts = prepare(document(trade("T-1") + trade("T-2") + "<party id='a'/>").encode())

    assert [part.message.events[0].trade_id.value for part in parts if part.message] == ["T-1", "T-2"]
    assert [parse(part.text) for part in parts] == [part.message for part in parts]


def test_the_parties_and_amounts_of_a_product_within_product_are_read() -> None:
    product = (
        "<product><fra><buyerPartyReference href='#A'/><sellerPartyReference href='#B'/><fixedRate>0.04</fixedRate>"
        "<adjustedEffectiveDate>1991-07-17</adjustedEffectiveDate><adjustedTerminationDate>1992-01-17</adjustedTerminationDate>"
        "<notional><currency>CHF</currency><amount>25000000.00</amount></notional></fra></product>"
    )
    parties = (
        "<party id='A'><partyId>MIDLGB22</partyId><partyName>Midland</partyName></party><party id='B'><partyId>ABNANL2A</partyId></party>"
    )

    (event,) = parse(document(trade(product=product) + parties, version="1-0")).events

    assert event.details == {
        "product": "fra",
        "price": "0.04",
        "price_type": "fixedRate",
        "effective_date": "1991-07-17",
        "maturity_date": "1992-01-17",
        "notionals": [{"amount": "25000000.00", "currency": "CHF"}],
        "parties": [{"name": "Midland", "role": "buyer"}, {"name": "ABNANL2A", "role": "seller"}],
    }


def test_a_document_without_a_trade_is_a_reference() -> None:
    message = parse(document("<party id='a'/>"))

    assert (message.events, message.message_type) == ((), "FpML 2-0")
    assert "no trade" in message.reference


def test_a_trade_without_an_id_is_refused_for_that() -> None:
    with pytest.raises(MessageRefused) as refused:
        parse(document("<trade><tradeHeader/></trade>"))

    assert (refused.value.code, refused.value.stated["event_class"]) == ("no-trade-id", "SNAPSHOT")


def test_an_fpml_root_without_namespace_or_version_is_not_known() -> None:
    with pytest.raises(MessageRefused) as refused:
        parse("<FpML><trade/></FpML>")

    assert refused.value.code == "unknown-dialect"
