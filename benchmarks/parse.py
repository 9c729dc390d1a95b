"""What understanding a message costs, beside what lxml alone takes for the same bytes.

`python -m benchmarks.parse` compares `messages.parse` with `etree.fromstring` and the XPaths of the message's mapping evaluated once,
both in turn in one process, and prints microseconds a message for typical documents. `--hostile` prints instead what each of the
hostile documents of the tests takes. Exit status 1 means that a figure was not reached.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

from lxml import etree

from benchmarks import documents
from trades import messages

AT_MOST = 3.0  # times the cost of lxml alone
ROUNDS, BATCH = 100, 20
CPU_AT_MOST, PEAK_AT_MOST = 2.0, 100 * 1024 * 1024  # seconds and bytes, of any hostile document
LARGE_CPU_AT_MOST, LARGE_PEAK_AT_MOST = 6.0, 150 * 1024 * 1024  # of any of 64 MB, read from its file

DIALECTS = Path(messages.__file__).parent / "dialects"
MESSAGE_KEYS = ("fields", "ids", "details", "each", "when")
PATH_KEYS = frozenset({"xpath", "when", "each", "own", "scheme", "uti", "related", "by", "to", "key", "type"})


# The paths of a mapping, as its file states them


def paths_of(spec: Mapping[str, Any], root: str) -> list[str]:
    """The XPaths that a mapping has for documents of this root element, each once, definitions filled in, constants left out."""
    tables = [table for table in spec["messages"] if any(fnmatchcase(root, name) for name in table.get("roots", ["*"]))]
    stated = (text for table in [spec, *tables] for key in MESSAGE_KEYS if key in table for text in _paths_in(key, table[key]))
    filled = (_filled(text, spec.get("define", {})) for text in stated)
    return list(dict.fromkeys(text for text in filled if not text.startswith("'")))


def _paths_in(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if key in PATH_KEYS:
            yield value
    elif isinstance(value, list):
        for entry in value:
            yield from _paths_in(key, entry)
    elif isinstance(value, dict):
        named = key in {"fields", "details"}
        for name, entry in value.items():
            if named or name not in ("type", "map"):
                yield from _paths_in("xpath" if named and not isinstance(entry, dict) else name, entry)


def _filled(text: str, define: Mapping[str, str]) -> str:
    while "{" in text:
        text = text.format_map(define)
    return text


def lxml_alone(document: bytes) -> Callable[[], None]:
    """Parsing this document with lxml and evaluating each path of its mapping once on its root."""
    root = etree.fromstring(document)
    spec = tomllib.loads(next(DIALECTS.glob("fpml-5*.toml")).read_text("utf-8"))
    name = etree.QName(root)
    namespaces = {prefix: (name.namespace or "") if uri == "*" else uri for prefix, uri in spec["namespaces"].items()}
    texts = paths_of(spec, name.localname)
    compiled = [(etree.XPath(text, namespaces=namespaces), [v for v in ("root", "event", "header") if f"${v}" in text]) for text in texts]

    def run() -> None:
        tree = etree.fromstring(document)
        for path, variables in compiled:
            path(tree, **dict.fromkeys(variables, tree))

    run.__doc__ = f"{len(texts)} XPaths"
    return run


# The comparison


def microseconds(*runs: Callable[[], object]) -> list[list[float]]:
    """CPU microseconds of one call of each run, round by round, the runs in turn."""
    rounds = []
    for _ in range(ROUNDS):
        costs = []
        for run in runs:
            started = time.process_time_ns()
            for _ in range(BATCH):
                run()
            costs.append((time.process_time_ns() - started) / BATCH / 1_000)
        rounds.append(costs)
    return rounds


def compare() -> bool:
    """Print the table; gives whether the figure was reached."""
    document = documents.FPML.encode()
    alone = lxml_alone(document)
    root = etree.fromstring(document)
    rounds = microseconds(lambda: messages.parse(document), alone, lambda: etree.fromstring(document))
    ours, theirs, parsing = (median(costs[number] for costs in rounds) for number in range(3))
    ratio = median(costs[0] / costs[1] for costs in rounds)
    print(
        f"\nFpML {etree.QName(root).localname}, {len(document):,} bytes, {sum(1 for _ in root.iter())} elements; medians of {ROUNDS} rounds"
    )
    print(f"{'':<46}{'CPU us':>9}")
    print(f"{'messages.parse':<46}{ours:>9.0f}")
    print(f"{f'etree.fromstring and {alone.__doc__}, once each':<46}{theirs:>9.0f}")
    print(f"{'  of which etree.fromstring':<46}{parsing:>9.0f}")
    print(f"{'messages.parse / lxml alone':<46}{ratio:>9.2f}   at most {AT_MOST}: {'reached' if ratio <= AT_MOST else 'MISSED'}")
    return ratio <= AT_MOST


def each_format() -> None:
    """Print what typical documents of several formats cost."""
    print(f"\n{'':<30}{'bytes':>9}{'parse us':>10}{'prepare us':>12}")
    for name, text in documents.TYPICAL.items():
        document = text.encode()
        try:
            messages.parse(document)
        except messages.MessageRefused as refusal:
            print(f"{name:<30}{len(document):>9,}   {refusal.code}: {refusal.message[:60]}")
            continue
        rounds = microseconds(lambda document=document: messages.parse(document), lambda document=document: messages.prepare(document))  # type: ignore[misc]
        parsed, prepared = (median(costs[number] for costs in rounds) for number in range(2))
        print(f"{name:<30}{len(document):>9,}{parsed:>10.0f}{prepared:>12.0f}")


def hostile(words: str) -> bool:
    """Print what each hostile document takes, whose name has these words; gives whether all stay within the figures."""
    from tests.messages import hostile_large
    from tests.messages.hostile import CASES
    from tests.messages.measured import costs, laboratory

    cases = {name: case for name, case in CASES.items() if words in name}
    large = {name: case for name, case in hostile_large.CASES.items() if words in name}
    missed = 0
    print(
        f"{'':<52}{'':<9}{'CPU s':>7}{'MB':>7}  at most {CPU_AT_MOST:.0f} s and {PEAK_AT_MOST // 1024**2} MB each, "
        f"if large {LARGE_CPU_AT_MOST:.0f} s and {LARGE_PEAK_AT_MOST // 1024**2} MB"
    )
    with tempfile.TemporaryDirectory() as folder, laboratory(Path(folder)) as (lab, asked):
        lab_of_large = replace(lab, room=hostile_large.ROOM)
        for cost in chain(costs(lab, cases), costs(lab_of_large, large, ["large"])):
            cpu_at_most, peak_at_most = (LARGE_CPU_AT_MOST, LARGE_PEAK_AT_MOST) if cost.way == "large" else (CPU_AT_MOST, PEAK_AT_MOST)
            bad = bool(cost.failure) or cost.leaked or cost.cpu > cpu_at_most or cost.peak > peak_at_most
            missed += bad
            said = f"{'MISSED ' if bad else ''}{cost.failure or cost.outcome}"
            print(f"{cost.name[:50]:<52}{cost.way:<9}{cost.cpu:>7.2f}{cost.peak / 1024**2:>7.1f}  {said}", flush=True)
        connected = asked()
    print(f"\n{missed} missed; {'the server that documents name was ASKED' if connected else 'no document reached the server it names'}")
    return not missed and not connected


def main() -> None:
    """The comparison and the formats; with --hostile [WORDS] the table of the hostile documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hostile", nargs="?", const="", metavar="WORDS", help="measure the hostile documents whose name has these words")
    options = parser.parse_args()
    if options.hostile is not None:
        sys.exit(0 if hostile(options.hostile) else 1)
    reached = compare()
    each_format()
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
