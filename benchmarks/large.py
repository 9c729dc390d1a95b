"""What reading large documents costs in memory.

`python -m benchmarks.large` reads documents of 64 MiB, each in a process of its own, from the bytes of an upload to what it says,
then 1,000 documents of 1.5 MB in one process; `--count N` for another number. It prints what each adds to the memory of the process.
Exit status 1 means that one adds more than the figure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.memory import private_megabytes
from tests.messages.documents import BOOK, alone, fpml, native, trade
from tests.messages.hostile import TAKEN, Case, Lab
from tests.messages.hostile_large import ROOM
from tests.messages.measured import costs, laboratory
from trades import messages

MEGABYTE = 1_000_000
PEAK_AT_MOST, GROWTH_AT_MOST = 150, 5  # MB
COUNT, FIRST, SIZE = 1_000, 100, 1_500_000
PIECE = 64 * 1024

LINE = "QmFzZTY0" * 9 + "UGlu\n"
STEP = "<step><stepDate>2026-11-23</stepDate><stepValue>1000000.00</stepValue></step>\n"


def _native(padding: str) -> str:
    return alone(native(inner="<Status>CHECKED</Status>")).replace("<Header>", f"{padding}<Header>")


def _attached(lab: Lab) -> str:
    return fpml("executionNotification", trade(), header=f"<attachment>{lab.fill(LINE)}</attachment>")


def _scheduled(lab: Lab) -> str:
    """As many elements as a trade may hold, and an attachment in the rest of the room."""
    steps = STEP * 16_000
    attached = "".join(f"<attachment>{'QmFzZTY0' * 250_000}</attachment>" for _ in range((lab.room - len(steps)) // 2_000_100))
    return fpml("executionNotification", trade(product=f"<swap>{steps}</swap>"), header=attached)


CASES = {
    "native, one comment": Case(TAKEN, lambda lab: _native(f"<!--{lab.fill('x')}-->")),
    "native, comments of 1 MB": Case(TAKEN, lambda lab: _native(lab.fill(f"<!--{'x' * MEGABYTE}-->"))),
    "native, white space": Case(TAKEN, lambda lab: _native(lab.fill(" \n"))),
    "FpML, one attachment in base64": Case(TAKEN, _attached),
    "FpML, 48,000 elements and attachments of 2 MB": Case(TAKEN, _scheduled),
    "as many comments as are taken": Case(TAKEN, lambda lab: _native(("<!-- x -->" + " " * (lab.room // 249_000 - 11)) * 249_000)),
}


def large() -> bool:
    """Print what documents of 64 MiB cost; gives whether all stay within the figure."""
    missed = 0
    print(f"{'documents of 64 MiB':<52}{'CPU s':>7}{'MB':>7}  at most {PEAK_AT_MOST} MB each")
    with tempfile.TemporaryDirectory() as folder, laboratory(Path(folder)) as (lab, _):
        for cost in costs(replace(lab, room=ROOM), CASES, ["large"]):
            bad = cost.outcome != TAKEN or cost.peak > PEAK_AT_MOST * MEGABYTE
            missed += bad
            said = cost.failure or f"{cost.outcome} {cost.sentence[:200]}"
            print(f"{cost.name:<52}{cost.cpu:>7.2f}{cost.peak / MEGABYTE:>7.1f}  {'MISSED ' if bad else ''}{said}", flush=True)
    return not missed


def many(count: int) -> bool:
    """Print what so many documents of 1.5 MB leave in memory; gives whether that is within the figure."""
    memory: list[float] = []
    print(f"\n{count:,} documents of {SIZE / MEGABYTE} MB, one after the other")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, count + 1):
            text = messages.write_text(_pieces(number), Path(folder) / "document.xml", max_bytes=ROOM)
            assert messages.parse(text, max_bytes=ROOM).events
            (prepared,) = messages.prepare(text, max_bytes=ROOM)
            assert prepared.large == text
            if number % FIRST == 0:
                memory.append(private_megabytes())
                print(f"{number:>10,} documents {memory[-1]:>8.1f} MB", flush=True)
    grown = max(memory) - memory[0]
    verdict = "reached" if grown <= GROWTH_AT_MOST else "MISSED"
    print(f"grown by {grown:.1f} MB after the first {FIRST}   at most {GROWTH_AT_MOST}: {verdict}")
    return grown <= GROWTH_AT_MOST


def _pieces(number: int) -> Iterator[bytes]:
    """A document of about SIZE bytes, each with other ids and lengths."""
    remark = f"<!-- remark {number} -->\n"
    padding = f"<!--{'x' * (700_000 + number % 7)}-->" + remark * (800_000 // len(remark))
    data = BOOK.replace("T-10045", f"T-{number}").replace("<Header>", f"{padding}<Header>").encode()
    yield from (data[at : at + PIECE] for at in range(0, len(data), PIECE))


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    reached = large()
    sys.exit(0 if many(options.count) and reached else 1)


if __name__ == "__main__":
    main()
