"""Write the table of formats in docs/dialects.md from the mapping files themselves: `python -m docs.dialects_table`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trades.messages.facts import EventClass
from trades.messages.fields import as_list
from trades.messages.registry import ENVELOPES, FOLDER
from trades.messages.specification import merged, shared_of

PAGE = Path(__file__).resolve().parent / "dialects.md"
START, END = "<!-- table -->\n", "<!-- end of table -->\n"
NAMES_TOLD = 8
Spec = Mapping[str, Any]


def main() -> None:
    """Put the table into the page."""
    PAGE.write_text(up_to_date(PAGE.read_text("utf-8")), "utf-8")


def up_to_date(page: str) -> str:
    """The page with the table that the files give now."""
    before, _, rest = page.partition(START)
    return f"{before}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


def table() -> str:
    """A section for each mapping file."""
    files = sorted(file for file in (FOLDER / "dialects").glob("*.toml") if file.name != ENVELOPES)
    return "\n".join(line for file in files for line in _section(file.name, tomllib.loads(file.read_text("utf-8"))))


def _section(file: str, spec: Spec) -> Iterator[str]:
    match = spec["match"]
    namespaces = " or ".join(f"`{namespace}`" if namespace else "none" for namespace in as_list(match["namespace"]))
    roots = ", ".join(f"`{root}`" for root in match.get("roots", []))
    attributes = ", ".join(f'`{name}="{value}"`' for name, value in match.get("attributes", {}).items())
    looks = "; ".join(filter(None, (f"namespace {namespaces}", f"root {roots}" if roots else "", attributes)))
    yield f"### {spec.get('title', spec['dialect'])}\n"
    yield f"`{spec['dialect']}` ([{file}](../trades/messages/dialects/{file})): {looks}.\n"
    yield "| messages | what they are |\n| --- | --- |"
    shared = shared_of(spec)
    for message in spec["messages"]:
        yield f"| {_names(message, match.get('roots', []))} | {_kind(merged(shared, message))} |"
    yield ""


def _names(message: Spec, roots_of_all: list[str]) -> str:
    """What tells this kind of message: names of its root, else the names its condition asks for, else the nodes that are its events."""
    roots: list[str] = message.get("roots", [])
    asked = [name for text in re.findall(r"'([^']*)'", message.get("when", "")) for name in text.split() if not name.isdecimal()]
    nodes = _nodes(message.get("each", "."))
    told = roots if roots and sorted(roots) != sorted(roots_of_all) else asked or nodes
    anything = message.get("otherwise") or "*" in message.get("each", "")
    names = list(dict.fromkeys(told or ([] if anything else roots)))
    more = f" and {len(names) - NAMES_TOLD} more" if len(names) > NAMES_TOLD else ""
    return (", ".join(f"`{name}`" for name in names[:NAMES_TOLD]) or "all others") + more


def _nodes(path: str) -> list[str]:
    """The elements that a path leads to, without prefixes and conditions; those of its conditions where it names none itself."""
    path = re.sub(r"not\([^()]*\)", "", path)
    plain, removed = path, 1
    while removed:
        plain, removed = re.subn(r"\[[^\[\]]*\]", "", plain)
    found = [re.sub(r"\$root/|\b\w+:(?!:)", "", part).strip(" ()\n.") for part in plain.split("|")]
    named = [name for name in found if name and name.removeprefix("Batch/") != "*"]
    conditions = re.findall(r"starts-with\(local-name\(\), '(\w+)'|contains\(local-name\(\), '(\w+)'|self::\w+:(\w+)", path)
    return named or [f"{start}*" if start else f"*{part}*" if part else name for start, part, name in conditions]


def _kind(message: Spec) -> str:
    if message.get("reference"):
        return str(message["reference"]).replace("|", "\\|")
    field = message["fields"]["event_class"]
    stated = field if isinstance(field, dict) else {"xpath": field}
    words = {word for path in as_list(stated.get("xpath", [])) for word in re.findall(r"'([A-Z]+)'", path)}
    words |= {*stated.get("map", {}).values(), stated.get("value", ""), stated.get("else", "")}
    words |= {case["then"] for case in stated.get("cases", [])}
    classes = [event_class for event_class in EventClass if event_class in words]
    return ", ".join(classes) or "the class that the document states"


if __name__ == "__main__":
    main()
