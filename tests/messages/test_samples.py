"""All real sample messages against their manifest: what a correct reader finds in each of them.

The samples are third-party documents that stand beside the repository, where they are not copied from; without them these tests skip.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from trades.messages import MessageRefused, parse, prepare
from trades.messages.inspection import inspect

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
SINGLE = (
    *("expect", "dialect", "message_type", "event_class", "event_kind", "status", "trade_date", "version", "sequence"),
    *("correlation_id", "message_id", "in_reply_to", "sender", "event_time"),
)
LISTS = ("trade_ids", "related_ids")
FIGURES = {"event_class": 98, "trade_date": 98, "version": 98, "sequence": 98, "status": 98}  # percent right of what is stated
# What its document does not say: only the message that it takes back, which it names by its correlation id, tells of a novation.
NOT_STATED = {("fpml-5-recordkeeping/record-ex114-novation-retracted.xml", "event_kind")}
OWN_FORMATS = ("private-ib-flex/", "private-ore/")  # read once somebody writes a mapping for them

Row = dict[str, str]


@cache
def rows() -> tuple[Row, ...]:
    manifest = SAMPLES / "manifest.tsv"
    if not manifest.exists():
        return ()
    with manifest.open(encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines, delimiter="\t"))


needs_samples = pytest.mark.skipif(not rows(), reason=f"the sample messages are not at {SAMPLES}")


@cache
def inspected(file: str) -> dict[str, Any]:
    return inspect((SAMPLES / file).read_bytes(), file)


def is_as_stated(row: Row, column: str) -> bool:
    """Whether what is read is what the manifest states; "|" there is "or", and a list is taken as a set."""
    read = inspected(row["file"])[column]
    if column in LISTS:
        return set(read) == {value for value in row[column].split(" | ") if value}
    return ("" if read is None else str(read)) in row[column].split("|")


def columns_of(row: Row) -> Iterable[str]:
    """The columns that the row speaks of: of a firm's own format, that it is one, and of what is no message, that it is none.

    Of FpML events the manifest gives every fact, so that an empty cell says that there is none; of all else it gives some.
    """
    if row["file"].startswith(OWN_FORMATS) or row["dialect"] in ("malformed", "swift-wrapper"):
        return ("expect",)
    if "unknown" in row["expect"]:
        return ("expect",) if inspected(row["file"])["expect"] == "unknown" else ("expect", "dialect", "message_type")
    if row["dialect"].startswith("fpml-") and row["expect"] != "reference":
        return (*SINGLE, *LISTS)
    return [column for column in (*SINGLE, *LISTS) if row[column] or column in ("expect", "trade_ids")]


def misses(row: Row) -> dict[str, str]:
    """What is read otherwise than the manifest states, by column."""
    wrong = [column for column in columns_of(row) if (row["file"], column) not in NOT_STATED and not is_as_stated(row, column)]
    return {column: f"read {inspected(row['file'])[column]!r}, stated {row[column]!r}" for column in wrong}


def after_declaration(text: str) -> str:
    """The text without the XML declaration, which names the encoding of the file."""
    return text.partition("?>")[2] if text.startswith("<?xml") else text


@needs_samples
@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_a_sample_is_read_as_its_manifest_says(row: Row) -> None:
    wrong = misses(row)

    assert not wrong, "\n".join(f"{column}: {what}" for column, what in wrong.items())


@needs_samples
def test_the_figures_for_the_samples_are_reached(capsys: pytest.CaptureFixture[str]) -> None:
    table = {column: [row for row in rows() if column in columns_of(row)] for column in (*SINGLE, *LISTS)}
    wrong = {column: [row for row in of if not is_as_stated(row, column)] for column, of in table.items()}
    with capsys.disabled():
        print(f"\n{'column':<16}{'rows':>6}{'right':>7}{'':>8}  misses")
        for column, of in table.items():
            count = len(of) - len(wrong[column])
            print(f"{column:<16}{len(of):>6}{count:>7}{count / len(of):>8.1%}  {', '.join(row['file'] for row in wrong[column])}")

    assert len(rows()) == 106
    assert wrong["expect"] == []
    assert [row["file"] for row in wrong["trade_ids"] if row["expect"] == "event"] == []
    for column, percent in FIGURES.items():
        said = [row for row in table[column] if row[column]]
        right = [row for row in said if row not in wrong[column]]
        assert len(right) * 100 >= percent * len(said), column


@needs_samples
@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_a_sample_is_published_as_it_is_or_as_one_document_for_each_event(row: Row) -> None:
    document = (SAMPLES / row["file"]).read_bytes()
    try:
        parts = prepare(document)
    except MessageRefused:
        assert row["expect"] == "malformed"
        return

    if len(parts) == 1:
        assert after_declaration(parts[0].text) == after_declaration(document.decode("utf-8-sig"))
    for part in parts:
        assert part.message is None or parse(part.text) == part.message
