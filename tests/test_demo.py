"""The trading day that a new portal shows: valid, understood, and with something of everything to look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from trades import messages
from trades.messages.facts import EventClass, MessageRefused, TradeEvent
from trades.portal import demo

SCHEMA = Path(messages.__file__).parent / "schemas" / "tradestatus-1.xsd"
NATIVE = "urn:tradeportal:tradestatus:1"
DAY = sorted((demo.FOLDER / "day").glob("*.xml"))
BEHIND = sorted((demo.FOLDER / "behind").glob("*.xml"))
BAD = sorted((demo.FOLDER / "bad").glob("*.xml"))


def events() -> Iterator[TradeEvent]:
    for path in DAY:
        for prepared in messages.prepare(path.read_bytes()):
            assert prepared.message is not None, f"{path.name}: {prepared.refusal}"
            yield from prepared.message.events


@pytest.mark.parametrize("path", DAY + BEHIND, ids=lambda path: path.stem)
def test_a_good_file_is_valid_and_understood(path: Path) -> None:
    root = etree.parse(path).getroot()

    if etree.QName(root).namespace == NATIVE:
        etree.XMLSchema(etree.parse(SCHEMA)).assertValid(root)
    assert messages.parse(path.read_bytes()).events


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_the_bad_file_is_refused_with_its_place(path: Path) -> None:
    with pytest.raises(MessageRefused) as refused:
        messages.parse(path.read_bytes())

    assert refused.value.code == "not-well-formed"
    assert refused.value.line == 18
    assert demo.BROKEN_GROUP in path.name


def test_the_files_are_numbered_in_publishing_order() -> None:
    assert [int(path.name[:2]) for path in DAY] == list(range(1, len(DAY) + 1))


def test_the_day_has_something_of_everything() -> None:
    day = list(events())

    assert len({event.trade_id for event in day}) == 15
    wanted = {"BOOK", "UPDATE", "CORRECT", "CANCEL", "TERMINATE", "REINSTATE", "STATUS"}
    assert {event.event_class for event in day} == {EventClass(name) for name in wanted}
    assert {"RECEIVED", "CHECKED", "CONFIRMED", "REJECTED", "DISPUTED"} <= {event.status for event in day}


def test_every_trade_keeps_one_identifier_all_day() -> None:
    identifiers = {event.trade_id for event in events()}

    assert len({identifier.value for identifier in identifiers}) == len(identifiers)


def test_message_ids_are_unique() -> None:
    ids = [(event.sender, event.message_id) for event in events()]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("path", DAY, ids=lambda path: path.stem)
def test_legal_entity_identifiers_have_right_check_digits(path: Path) -> None:
    # ISO 17442: letters count as 10 to 35, and the whole number leaves 1 when divided by 97.
    for lei in re.findall(r'(?:lei="|iso17442">)([0-9A-Z]{20})', path.read_text(encoding="utf-8")):
        assert int("".join(str(int(character, 36)) for character in lei)) % 97 == 1
