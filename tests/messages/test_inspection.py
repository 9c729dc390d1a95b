"""What the portal would make of a document, as plain values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.messages.documents import BOOK, alone, collection, fpml, native, trade
from tests.support.firms import ACME, blotter, deal
from trades.messages import Registry, builtin, inspection
from trades.messages.inspection import inspect, is_understood, rows
from trades.messages.registry import read_dialect
from trades.messages.tracing import trace

KEYS = [
    *("file", "expect", "dialect", "message_type", "trade_ids", "event_class", "event_kind", "status", "trade_date", "version"),
    *("sequence", "correlation_id", "message_id", "in_reply_to", "sender", "event_time", "related_ids"),
]


@pytest.fixture
def with_acme(tmp_path: Path) -> Registry:
    file = tmp_path / "acme.toml"
    file.write_text(ACME)
    return builtin().with_dialect(read_dialect(file))


def test_an_event_has_every_key_and_its_time_as_written() -> None:
    facts = inspect(BOOK.encode(), "book.xml")

    assert list(facts)[: len(KEYS)] == KEYS
    assert {key: facts[key] for key in KEYS} == {
        "file": "book.xml",
        "expect": "event",
        "dialect": "native",
        "message_type": "TradeStatus",
        "trade_ids": ["T-10045", "5493001KJTIIGC8Y1R12T10045"],
        "event_class": "BOOK",
        "event_kind": "",
        "status": "RECEIVED",
        "trade_date": "2024-03-04",
        "version": 1,
        "sequence": None,
        "correlation_id": "C-1",
        "message_id": "FO-000181",
        "in_reply_to": "FO-000180",
        "sender": "FRONTOFFICE",
        "event_time": "2024-03-04T10:30:00+01:00",
        "related_ids": [],
    }
    assert facts["warnings"] == []
    assert "error" not in facts
    assert "events" not in facts
    assert is_understood(facts)
    assert json.loads(json.dumps(facts)) == facts


def test_every_object_has_the_same_keys_whatever_became_of_its_document() -> None:
    for document in (BOOK, "<a", "<a/>", fpml("dataDocument", trade()), collection(native("STATUS"), native("CANCEL"))):
        facts = inspect(document.encode(), "a.xml")
        for part in (facts, *facts.get("events", [])):
            assert set(KEYS) | {"warnings", "reason", "details"} <= set(part)


@pytest.mark.parametrize(
    ("document", "expect", "code"),
    [
        ("", "malformed", "not-well-formed"),
        ("<a>", "malformed", "not-well-formed"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a/>', "malformed", "forbidden-construct"),
        ("<a/>", "unknown", "unknown-dialect"),
        ("<Portfolio><TRADE/></Portfolio>", "private", "unknown-dialect"),
        ("<Book><Item dealId='7'/></Book>", "private", "unknown-dialect"),
        (fpml("executionNotification", "<trade><tradeHeader/></trade>"), "no_trade_id", "no-trade-id"),
        (alone(native("STATUS")), "event", "schema"),
    ],
)
def test_what_is_refused_says_what_to_expect_of_it(document: str, expect: str, code: str) -> None:
    facts = inspect(document.encode(), "a.xml")

    assert (facts["expect"], facts["error"]["code"]) == (expect, code)
    assert set(facts["error"]) == {"code", "message", "line", "column"}
    assert facts["trade_ids"] == []
    assert facts["event_class"] == {"no_trade_id": "BOOK", "event": ""}.get(expect, "NONE")
    assert not is_understood(facts)


def test_a_private_document_says_how_many_trades_it_seems_to_carry() -> None:
    facts = inspect(b"<P><Trade dealer='x'/><Trade/><Trade/></P>", "a.xml")

    (warning,) = facts["warnings"]
    assert warning.startswith("The document seems to carry trades (3 × Trade, 1 × dealer), but no mapping reads this format.")


def test_a_document_over_the_limit_is_refused_by_its_size() -> None:
    facts = inspect(BOOK.encode(), "a.xml", max_bytes=100)

    assert (facts["expect"], facts["error"]["code"]) == ("malformed", "too-large")


def test_without_a_trade_id_the_other_facts_are_told_all_the_same() -> None:
    header = "<sentBy>A</sentBy><creationTimestamp>2024-03-04T09:30:00</creationTimestamp>"
    facts = inspect(fpml("executionNotification", "<trade><tradeHeader/></trade>", header=header).encode(), "a.xml")

    assert (facts["expect"], facts["dialect"], facts["message_type"]) == ("no_trade_id", "fpml-5-confirmation", "executionNotification")
    assert (facts["message_id"], facts["sender"], facts["event_class"]) == ("M-1", "A", "BOOK")
    assert facts["event_time"] == "2024-03-04T09:30:00"


def test_a_snapshot_is_no_event() -> None:
    facts = inspect(fpml("dataDocument", trade()).encode(), "a.xml")

    assert (facts["expect"], facts["event_class"]) == ("snapshot", "SNAPSHOT")
    assert is_understood(facts)


def test_a_file_of_several_messages_has_one_object_each_and_all_ids_above() -> None:
    document = collection(
        native("STATUS", inner="<Status>CHECKED</Status>"), native("BOOK", trade_id="T-2"), native("UPDATE", version="2", trade_id="T-3")
    )

    facts = inspect(document.encode(), "a.xml")

    assert [part["expect"] for part in facts["events"]] == ["event", "event", "event"]
    assert [part["event_class"] for part in facts["events"]] == ["STATUS", "", "UPDATE"]
    assert (facts["expect"], facts["event_class"], facts["status"]) == ("event", "STATUS", "CHECKED")
    assert facts["trade_ids"] == ["T-1", "T-3"]
    assert facts["version"] == 2
    assert facts["events"][1]["error"]["line"] == 3
    assert facts["warnings"] == ["1 of the 3 messages are refused; see each."]
    assert not is_understood(facts)


def test_a_time_without_a_zone_is_told_to_be_read_as_utc() -> None:
    header = "<creationTimestamp>2024-03-04T09:30:00</creationTimestamp>"
    facts = inspect(fpml("executionNotification", trade(), header=header).encode(), "a.xml")

    assert facts["warnings"] == ["The time 2024-03-04T09:30:00 states no zone; it is read as UTC."]


def test_a_reference_document_says_what_it_is(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    file.write_text(ACME + 'reference = "The list of desks."\n')

    facts = inspect(blotter(deal()).encode(), "a.xml", registry=builtin().with_dialect(read_dialect(file)))

    assert (facts["expect"], facts["event_class"], facts["trade_ids"]) == ("reference", "NONE", [])
    assert facts["warnings"] == ["The list of desks."]
    assert facts["trade_date"] == "2026-11-20"
    assert is_understood(facts)


def test_rows_tell_what_is_stated_and_nothing_else() -> None:
    told = dict(rows(inspect(BOOK.encode(), "a.xml")))

    assert told["trade ids"] == "T-10045 | 5493001KJTIIGC8Y1R12T10045"
    assert told["notionals"] == "amount 10000000.00, currency EUR"
    assert told["price"] == "0.0275"
    assert "sequence" not in told
    assert "related ids" not in told


def test_every_expectation_has_words() -> None:
    assert set(inspection.WORDS) == {"event", "snapshot", "no_trade_id", "reference", "private", "unknown", "malformed"}


def test_an_unreadable_file_is_an_object_too() -> None:
    facts = inspection.unreadable("a.xml", "The file can't be read: Permission denied.")

    assert (facts["file"], facts["expect"], facts["error"]["code"]) == ("a.xml", "malformed", "unreadable")
    assert set(KEYS) <= set(facts)


# Which rule led to what


def test_every_fact_is_traced_to_its_rule_and_line(with_acme: Registry) -> None:
    document = blotter("\n" + deal(uti="UTI-1").replace("<Ver>", "\n<Ver>"), "\n" + deal("D-2", "X"))

    first, second = trace(document.encode(), registry=with_acme)

    told = {match.name: (match.value, match.rule, match.line) for match in first.matches}
    assert (first.element, first.line, second.line) == ("Deal", 2, 4)
    assert told["event_class"] == ("BOOK", "a:Action", 2)
    assert told["version"] == ("1", "a:Ver", 3)
    assert told["sender"] == ("GAS", "$root/@desk", 1)
    assert told["event_time"][0] == "20261120;093000"
    assert told["trade_ids"] == ("UTI-1; D-1", "a:Uti | a:Ref/@id", 2)
    assert told["notionals"] == ("amount 1500000.00, currency EUR", "a:Leg", 3)
    assert first.missed == []


def test_what_is_not_stated_is_named_with_the_rules_that_were_tried(with_acme: Registry) -> None:
    document = blotter("<Deal><Action>N</Action><Ref id='D-1'/></Deal>")

    (item,) = trace(document.encode(), registry=with_acme)

    assert item.missed == ["version", "event_time", "trade_date", "product", "maturity_date", "notionals"]
    assert next(match.rule for match in item.matches if match.name == "version") == "a:Ver"


def test_a_value_that_does_not_fit_is_a_fault_of_its_field_alone(with_acme: Registry) -> None:
    (item,) = trace(blotter(deal(amount="many")).encode(), registry=with_acme)

    faults = {match.name: match.fault for match in item.matches if match.fault}
    assert faults == {"notionals": "Amt is 'many'; expected a decimal number such as 1250.50."}


@pytest.mark.parametrize("document", ["", "<a/>", "<a>&b;</a>"])
def test_what_cannot_be_opened_has_no_trace(document: str) -> None:
    assert trace(document.encode(), registry=builtin()) == []


def test_a_long_document_is_traced_in_its_first_items(with_acme: Registry) -> None:
    document = blotter(*(deal(f"D-{number}") for number in range(50)))

    assert len(trace(document.encode(), registry=with_acme)) == 20
