"""No document, whatever it is made for, takes more than a sentence: no failure, no long time, much memory, other file or server.

The limits here are there to end what runs away. What each document costs is shown by `python -m benchmarks.parse --hostile`.
"""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest

from tests.messages.hostile import CASES, EITHER, QUEUE_ROOM, TAKEN, Lab, document
from tests.messages.measured import Cost, as_text, costs, laboratory
from tests.support.native import NOON, native, received
from trades import history
from trades.messages import MessageRefused
from trades.models import Event, Message, Trade
from trades.sqs import Received

PEAK = 200 * 1024 * 1024  # bytes; twice what is aimed at, for allocators differ
Outcome = Message.Outcome


# On one worker, for what is measured once is asked by all of them.
pytestmark = pytest.mark.xdist_group("hostile")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Cost]]:
    """What `parse` and `prepare` make of every document, and `judge` of those that a queue can carry, each in a process of its own."""
    with laboratory(tmp_path_factory.mktemp("hostile")) as (lab, asked):
        found: dict[str, list[Cost]] = {name: [] for name in CASES}
        for cost in costs(lab, CASES):
            found[cost.name].append(cost)
        assert not asked(), "a document made the reader connect to the server that it names"
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CASES)
def test_a_hostile_document_is_taken_or_refused_with_a_sentence(measured: dict[str, list[Cost]], name: str) -> None:
    assert [cost.way for cost in measured[name]][:2] == ["parse", "prepare"]
    for cost in measured[name]:
        assert cost.failure == "", f"{cost.way}: {cost.failure}"
        assert (cost.outcome == TAKEN) == (cost.sentence == "")
        assert cost.outcome == TAKEN or cost.sentence.rstrip().endswith(".")
        assert len(cost.sentence) < 1_500
        assert not cost.leaked, "the text of a file on this machine came out"
        assert cost.peak < PEAK

    expected, parsed = CASES[name].expected, measured[name][0].outcome
    assert expected in (parsed, EITHER)


@pytest.mark.django_db
@pytest.mark.timeout(300)
def test_hostile_messages_in_one_batch_all_have_an_outcome_and_those_after_them_are_recorded(tmp_path: Path) -> None:
    batch = _deliveries(Lab("http://127.0.0.1:9", tmp_path / "secret.txt", QUEUE_ROOM))

    report = history.record([*batch, received(native("T-after"), "after")], now=NOON)

    outcomes = dict(Message.objects.values_list("message_id", "outcome"))
    assert outcomes.keys() >= {delivery.message_id for delivery in batch}
    assert len(outcomes) == len(batch) + 1
    assert set(outcomes.values()) <= {Outcome.RECORDED, Outcome.DUPLICATE, Outcome.QUARANTINED}
    assert report.outcomes == Counter(outcomes.values())
    assert not Message.objects.filter(outcome=Outcome.QUARANTINED, reason="").exists()
    # Two questions: over tables that PostgreSQL still takes for empty, it would join tens of thousands of rows with each other.
    assert Event.objects.get(trade=Trade.objects.get(trade_id="T-after")).event_class == "BOOK"


def _deliveries(lab: Lab) -> list[Received]:
    texts = {name: as_text(document(case, lab)) for name, case in CASES.items()}
    # The queue takes no message beyond its limit, and none that is empty.
    return [received(text, f"G{number}") for number, text in enumerate(texts.values()) if 0 < len(text.encode()) <= QUEUE_ROOM]


def test_a_refusal_of_a_hostile_document_says_where() -> None:
    refused = history.judge("<TradeStatus xmlns='urn:tradeportal:tradestatus:1'>\n\x01</TradeStatus>")

    assert isinstance(refused, MessageRefused)
    assert (refused.line, refused.column) == (2, 1)


def test_the_server_of_the_laboratory_notices_who_asks(tmp_path: Path) -> None:
    with laboratory(tmp_path) as (lab, asked):
        assert not asked()
        with socket.create_connection(("127.0.0.1", int(lab.url.rpartition(":")[2]))):
            assert asked()
