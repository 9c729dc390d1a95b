"""Imports go strictly downwards: the table below is the architecture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "trades"
MOST_LINES = 400

# What each part of trades/ may import of the others; every part may import itself.
TELLING = {"messages", "lifecycle", "order", "course"}
RECORDING = TELLING | {
    "models", "dialects", "identifiers", "description", "retelling", "ledger", "sqs", "history", "corrections", "quarantine",
    "rehearsal", "dead_letters",
    "routes", "payloads", "fetching", "rereading", "handing_in", "leases", "outbox_rows", "sending", "outbox", "publishing", "deciding",
    "foretelling",
    "asof", "exceptions", "owning",
}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "messages": set(),
    "lifecycle": {"messages"},
    "order": {"messages", "lifecycle"},
    "course": {"messages", "lifecycle", "order"},
    "models": {"lifecycle", "messages"},
    "dialects": {"messages"},
    "sqs": set(),
    "queues": {"sqs"},
    "storage": {"sqs", "queues"},
    "routes": {"messages", "sqs", "dialects", "queues"},
    "payloads": {"messages", "models"},
    "fetching": {"messages", "models", "sqs", "payloads"},
    "deliveries": {"models", "bulk", "sqs", "receipts", "fetching"},
    "visibility": {"sqs"},
    "receiving": {"sqs"},
    "receipts": {"models", "bulk", "sqs"},
    "heartbeat": {"models", "history", "receipts"},
    "logs": set(),
    "stopping": set(),
    "bulk": set(),
    "identifiers": {"messages", "models", "bulk"},
    "description": TELLING | {"models"},
    "retelling": TELLING | {"models", "bulk"},
    "marking": {"lifecycle", "models", "bulk"},
    "ledger": TELLING | {"models", "bulk", "identifiers", "description", "retelling", "marking"},
    "asof": TELLING | {"models", "description", "retelling"},
    "exceptions": {"lifecycle", "models"},
    "owning": {"lifecycle", "models", "exceptions"},
    "unhandled": {"models"},
    "history": {"messages", "lifecycle", "models", "ledger", "bulk", "sqs", "dialects", "payloads", "fetching", "deliveries", "unhandled"},
    "handlers": {"models", "history", "unhandled", "sqs"},
    "corrections": {"messages", "models", "sqs", "payloads", "history"},
    "rereading": {"messages", "models", "sqs", "payloads", "fetching", "history", "dead_letters"},
    "quarantine": {"messages", "models", "ledger", "history", "corrections", "rereading", "unhandled"},
    "rehearsal": {"messages", "models", "corrections", "quarantine"},
    "dead_letters": {"messages", "sqs", "history"},
    "handing_in": {"messages", "models", "bulk", "sqs", "dialects", "identifiers", "routes", "payloads"},
    "leases": {"models"},
    "backlog": {"models", "sqs"},
    "outbox_rows": {"models", "bulk", "sqs"},
    "sending": {"models", "sqs", "routes", "payloads", "handing_in", "leases", "backlog", "outbox_rows"},
    "outbox": {"models", "leases", "quarantine", "sending"},
    "publishing": {"models", "bulk", "sqs", "handing_in", "sending", "routes", "payloads"},
    "deciding": {"models", "publishing", "sending", "handing_in"},
    "foretelling": {"messages", "models", "bulk", "sqs", "identifiers", "history", "quarantine", "handing_in", "deciding"}
    | {"routes", "payloads", "fetching"},
    "consumer": {"sqs", "history", "handlers", "routes", "fetching", "stopping", "visibility", "receiving", "heartbeat", "receipts"},
    "queue_checks": {"queues", "routes", "sqs"},
    "apps": {"sqs", "dialects", "routes", "queue_checks", "lifecycle"},
    "web": RECORDING,
    "templatetags": {"web"},
    "admin_base": {"models", "payloads"},
    "admin_people": {"models", "web", "admin_base"},
    "admin": RECORDING | {"web", "admin_base", "admin_people"},
    "portal": RECORDING,
    "simulator": RECORDING,
    "management": RECORDING | {"queues", "queue_checks", "storage", "handlers", "unhandled", "consumer", "stopping", "portal", "simulator"},
    "migrations": set(),
}
# These know the vocabulary of messages, not how they are read.
FACTS_ONLY = {"lifecycle", "order", "course", "models", "identifiers", "description", "retelling", "ledger", "asof", "marking"}
# Libraries that belong to one place, or to none of these.
ONLY_IN = {"boto3": {"sqs"}, "botocore": {"sqs"}}
NEVER_IN = {part: {"django", "boto3", "botocore", "environ"} for part in TELLING}


def parts() -> list[tuple[str, Path]]:
    """(part, file) of every module: ("web", trades/web/blotter.py), ("sqs", trades/sqs.py)."""
    files = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in files]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a file imports, wherever in it: `from trades import sqs` gives "trades.sqs"."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], node.module or ""]).strip(".") if node.level else node.module or ""
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def of_ours(name: str) -> str | None:
    """The part of trades/ that a dotted name leads to, None for anything else."""
    first, _, rest = name.partition(".")
    return rest.split(".")[0] if first == "trades" and rest else None


@pytest.mark.parametrize(("part", "path"), parts(), ids=lambda value: str(value.relative_to(ROOT)) if isinstance(value, Path) else "")
def test_a_module_imports_only_what_lies_below_it(part: str, path: Path) -> None:
    assert part in MAY_IMPORT, f"{part} has no place in the table above; give it one"

    for line, name in imports(path):
        place, target, library = f"{path.relative_to(ROOT)}:{line}", of_ours(name), name.split(".")[0]
        if target is not None:
            assert target == part or target in MAY_IMPORT[part], f"{place} imports {name}; {part} may import {sorted(MAY_IMPORT[part])}"
        if target == "messages" and part in FACTS_ONLY:
            assert name.startswith("trades.messages.facts"), f"{place} imports {name}; {part} may import trades.messages.facts alone"
        assert part in ONLY_IN.get(library, {part}), f"{place} imports {name}; only {sorted(ONLY_IN[library])} may"
        assert library not in NEVER_IN.get(part, set()), f"{place} imports {name}; {part} is pure"
        assert library != "tests", f"{place} imports {name}; the product does not know its tests"


def test_the_table_itself_has_no_circle() -> None:
    done: set[str] = set()

    while ready := [part for part, below in MAY_IMPORT.items() if part not in done and below <= done]:
        done.update(ready)

    assert done == set(MAY_IMPORT)


def test_no_module_is_longer_than_400_lines() -> None:
    files = [path for folder in ("trades", "tradeportal") for path in (ROOT / folder).rglob("*.py") if "migrations" not in path.parts]

    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}

    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
