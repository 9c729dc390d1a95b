"""Show what the portal would make of documents, without a database or a queue."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from trades import dialects
from trades.messages import LargeText, MappingError, MessageRefused, Registry, inspection, write_text
from trades.messages.inspection import Facts
from trades.messages.large import HELD
from trades.messages.registry import read_dialect


class Command(BaseCommand):
    """`manage.py inspect_message`: see help."""

    help = (
        "Show what the portal would make of XML documents: format, trade ids, event, what is refused and where. Nothing is stored or "
        "sent. Exit status 0 means that every document is understood, or known to be no trade event."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The files and the options."""
        parser.add_argument("paths", nargs="+", metavar="FILE|DIR|-", help="files, folders (their *.xml, subfolders too), or -")
        parser.add_argument(
            "--dialect",
            action="append",
            default=[],
            metavar="MAPPING.toml",
            help="read documents with this mapping file too; it replaces a dialect of the same name",
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object per file, a line each")

    def handle(self, *args: Any, **options: Any) -> None:
        """Inspect every file; a bad one does not keep the others from being looked at."""
        registry = self._registry(options["dialect"])
        seen: Counter[str] = Counter()
        understood = True
        for name, path in _files(options["paths"]):
            facts = _inspected(name, path, registry)
            understood &= inspection.is_understood(facts)
            seen[facts["expect"]] += 1
            self.stdout.write(json.dumps(facts, ensure_ascii=False) if options["as_json"] else "\n".join(_lines(facts)))
        if not options["as_json"] and seen.total() > 1:
            counts = ", ".join(f"{count} {inspection.WORDS[expect]}" for expect, count in seen.most_common())
            self.stdout.write(f"{seen.total()} files: {counts}.")
        if not understood:
            raise CommandError("Not every document is understood, see above.", returncode=1)

    def _registry(self, files: list[str]) -> Registry:
        faults = list(dialects.faults())
        if faults:
            raise CommandError("TRADES_DIALECTS_DIR can't be used.\n" + "\n".join(faults), returncode=2)
        registry = dialects.in_use()
        try:
            for file in files:
                registry = registry.with_dialect(read_dialect(Path(file)))
        except MappingError as error:
            raise CommandError("The mapping can't be used.\n" + "\n".join(map(str, error.args)), returncode=2) from None
        return registry


def _files(names: list[str]) -> Iterator[tuple[str, Path | None]]:
    """(name for people, where it is; None is standard input): a file as it was named, those of a folder by their place in it."""
    for name in names:
        path = Path(name)
        if name == "-":
            yield "standard input", None
        elif path.is_dir():
            found = sorted(file for file in path.rglob("*.xml") if file.is_file() and not _is_hidden(file.relative_to(path)))
            if not found:
                raise CommandError(f"{name}: the folder has no .xml file.", returncode=2)
            yield from ((_printable(file.relative_to(path)), file) for file in found)
        else:
            yield _printable(path), path


def _inspected(name: str, path: Path | None, registry: Registry) -> Facts:
    most = settings.TRADES_MAX_DOCUMENT_BYTES
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb")) if path else sys.stdin.buffer
            document = _document(file, most, stack)
            return inspection.inspect(document, name, registry=registry, max_bytes=most)
    except MessageRefused as refusal:
        return inspection.unreadable(name, refusal.message, refusal.code)
    except OSError as error:
        return inspection.unreadable(name, f"The file can't be read: {error.strerror}.")


def _document(file: BinaryIO, most: int, stack: ExitStack) -> bytes | LargeText:
    """What the file holds; what is too large for memory is a temporary file as long as the stack is open."""
    head = file.read(min(HELD, most) + 1)
    if len(head) <= min(HELD, most):
        return head
    folder = stack.enter_context(TemporaryDirectory())
    pieces = chain([head], iter(lambda: file.read(HELD), b""))
    return write_text(pieces, Path(folder) / "document.xml", max_bytes=most)


def _lines(facts: Facts) -> Iterator[str]:
    yield f"{facts['file']}: {_kind(facts)}"
    if "events" not in facts:
        yield from _told(facts, "  ")
        return
    yield from (f"  warning: {warning}" for warning in facts["warnings"])
    for number, part in enumerate(facts["events"], 1):
        yield f"  message {number} of {len(facts['events'])}: {_kind(part)}"
        yield from _told(part, "    ")


def _kind(facts: Facts) -> str:
    read_as = ", ".join(text for text in (facts["dialect"], facts["message_type"]) if text)
    return inspection.WORDS[facts["expect"]] + (f" ({read_as})" if read_as else "")


def _told(facts: Facts, margin: str) -> Iterator[str]:
    rows = list(inspection.rows(facts))
    rows += [("warning", warning) for warning in facts["warnings"]]
    error = facts.get("error")
    if error:
        place = ", ".join(f"{name} {error[name]}" for name in ("line", "column") if error[name])
        rows.append(("refused", f"{place + ': ' if place else ''}{error['message']} [{error['code']}]"))
    width = max((len(label) for label, _ in rows), default=0)
    yield from (f"{margin}{label:<{width}}  {text}" for label, text in rows)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _printable(path: Path) -> str:
    """The path as text; a name that is not UTF-8, which Linux allows, with replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")
