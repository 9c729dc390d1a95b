"""No document that is read from a file takes more than a sentence: no failure, no long time, much memory, other file or server.

They have 13 MB here; `python -m benchmarks.parse --hostile` shows what 64 MB of each cost.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.messages.hostile import EITHER, TAKEN
from tests.messages.hostile_large import CASES, ROOM_OF_TESTS
from tests.messages.measured import Cost, costs, laboratory

PEAK = 200 * 1024 * 1024  # bytes

# On one worker, for what is measured once is asked by all of them.
pytestmark = pytest.mark.xdist_group("hostile-large")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cost]:
    """What comes of every document, each in a process of its own."""
    with laboratory(tmp_path_factory.mktemp("hostile")) as (lab, asked):
        found = {cost.name: cost for cost in costs(replace(lab, room=ROOM_OF_TESTS), CASES, ["large"])}
        assert not asked(), "a document made the reader connect to the server that it names"
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CASES)
def test_a_large_hostile_document_is_taken_or_refused_with_a_sentence(measured: dict[str, Cost], name: str) -> None:
    cost = measured[name]

    assert cost.failure == ""
    assert (cost.outcome == TAKEN) == (cost.sentence == "")
    assert cost.outcome == TAKEN or cost.sentence.rstrip().endswith(".")
    assert len(cost.sentence) < 1_500
    assert not cost.leaked, "the text of a file on this machine came out"
    assert cost.peak < PEAK
    assert CASES[name].expected in (cost.outcome, EITHER)
