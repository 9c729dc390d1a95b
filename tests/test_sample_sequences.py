"""Sequences of real messages about one trade, in every order of arrival."""

from __future__ import annotations

import csv
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.test_course import business
from trades import messages
from trades.course import Course
from trades.lifecycle import Flag, Happening, State
from trades.messages import MessageRefused, TradeEvent

SAMPLES = Path(__file__).resolve().parent.parent.parent / "shared" / "samples"
MANIFEST = SAMPLES / "manifest.tsv"
ALL_ORDERS_UP_TO, CHANCE_ORDERS = 6, 200

# (group, earlier in the manifest, later in the manifest) that the documents put the other way round, and why.
KNOWN_DISAGREEMENTS = {
    ("DEV-CDI290204", 3, 5): "both are version 2, and the cancel states 09:01 UTC, the partial termination 14:01 UTC",
    ("DEV-CDI290204", 4, 5): "the cancel is version 2, the full termination version 3; the files are alternatives",
    ("DEV-PACKAGE-123", 1, 3): "two books of one time in threads of two senders: nothing says which came first",
    ("DEV-PACKAGE-123", 2, 3): "the same time for all three, so a book of the clearing house comes before a request",
}


class Told(NamedTuple):
    """One event of a sequence: its number in the manifest, and what its document says."""

    number: int
    event: TradeEvent

    @property
    def happening(self) -> Happening:
        event = self.event
        thread = (event.sender, event.correlation_id) if event.correlation_id else None
        return Happening(
            event.event_class, event.status, event.version, thread, event.sequence, event.event_time, event.message_id, event.in_reply_to
        )


def sequences() -> dict[str, list[tuple[int, Path]]]:
    groups: defaultdict[str, list[tuple[int, Path]]] = defaultdict(list)
    if MANIFEST.exists():
        with MANIFEST.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                if row["seq_group"]:
                    groups[row["seq_group"]].append((int(row["seq_no"]), SAMPLES / row["file"]))
    return {name: sorted(files) for name, files in sorted(groups.items())}


def trades_of(files: Sequence[tuple[int, Path]]) -> Iterator[list[Told]]:
    """The events of these files, by trade: events that share an id, be it through others."""
    groups: list[tuple[set[object], list[Told]]] = []
    for number, file in files:
        for event in read(file):
            ids, told = set[object](event.trade_ids), [Told(number, event)]
            for group in [group for group in groups if ids & group[0]]:
                groups.remove(group)
                ids, told = ids | group[0], group[1] + told
            groups.append((ids, told))
    yield from (sorted(told, key=lambda one: one.number) for _, told in groups)


def read(file: Path) -> tuple[TradeEvent, ...]:
    try:
        return messages.parse(file.read_bytes()).events
    except MessageRefused as refusal:
        if refusal.code == "unknown-dialect":
            pytest.skip(f"{file.name} is of a dialect that is not read yet")
        raise


def orders_of_arrival(told: Sequence[Told]) -> Iterator[Sequence[Told]]:
    if len(told) <= ALL_ORDERS_UP_TO:
        yield from itertools.permutations(told)
        return
    chance = random.Random(11)
    for _ in range(CHANCE_ORDERS):
        yield chance.sample(told, len(told))


needs_samples = pytest.mark.skipif(not MANIFEST.exists(), reason="the sample messages are not on this machine")


@needs_samples
@pytest.mark.parametrize("name", sequences())
def test_a_sequence_of_real_messages_gives_one_story_in_every_order_of_arrival(name: str) -> None:
    for told in trades_of(sequences()[name]):
        expected = business([one.happening for one in told], Flag.ORDER_ASSUMED)
        for arrived in orders_of_arrival(told):
            assert business([one.happening for one in arrived], Flag.ORDER_ASSUMED) == expected


@needs_samples
@pytest.mark.parametrize("name", sequences())
def test_the_business_order_of_real_messages_is_their_numbering_unless_the_documents_say_otherwise(name: str) -> None:
    for told in trades_of(sequences()[name]):
        order = Course([one.happening for one in told]).order
        in_business_order = itertools.combinations([told[index].number for index in order], 2)
        disagreements = {(name, later, earlier) for earlier, later in in_business_order if later < earlier}

        assert disagreements <= set(KNOWN_DISAGREEMENTS)


@needs_samples
def test_what_a_sequence_of_real_messages_comes_to() -> None:
    (told,) = trades_of(sequences()["DEV-CONTR2345"])
    story = Course([one.happening for one in told]).tell()

    assert [chapter.place for chapter in story.chapters] == [1, 2, 3, 4, 5, 6, 7]
    assert [chapter.addresses for chapter in story.chapters] == [None, None, 1, None, 3, None, 5]
    assert [chapter.in_force for chapter in story.chapters] == [True, False, True, False, True, False, True]
    assert [Flag.GAP in chapter.flags for chapter in story.chapters] == [False, False, False, True, False, True, True]
    assert story.standing.state is State.TERMINATED
