"""Publish XML files from the terminal."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.models import Prefetch
from django.utils import timezone
from rich.console import Console
from rich.progress import Progress

from trades import publishing, sqs
from trades.handing_in import REFERENCE, Groups, IncomingDocument
from trades.management.database import require_database
from trades.models import Document, Publication, Refusal, Upload

PATIENCE_SECONDS = 30
MANY = 20


class Command(BaseCommand):
    """`manage.py publish_trades`: see help."""

    help = (
        "Publish XML files to the SQS FIFO queue, through the outbox. Prints MessageId and MD5OfMessageBody of each message. "
        "Exit status 0 means that every message about a trade was published."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The files and the options."""
        parser.add_argument(
            "paths",
            nargs="*",
            metavar="FILE|DIR|-",
            help="files, folders (their *.xml in order of name, subfolders too), or -",
        )
        parser.add_argument("--queue", default=settings.TRADES_QUEUE, help="queue name, ending in .fifo (default %(default)s)")
        parser.add_argument("--group", help="message group; documents that are not understood are then published as they are")
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object per message and refusal, a line each")

    def handle(self, *args: Any, **options: Any) -> None:
        """Store and send in chunks, so that a long list can be interrupted: what is stored is sent by the relay."""
        try:
            self._run(options)
        except KeyboardInterrupt:
            raise CommandError("Interrupted. What was stored is in the outbox; relay_publications sends it.", returncode=130) from None
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {str(error).strip()}. What was printed above is published.") from None

    def _run(self, options: dict[str, Any]) -> None:
        paths = list(self._files(options["paths"] or [self._asked()]))
        self._check_queue(options["queue"])
        require_database()
        upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=timezone.now())
        self.complete, self.as_json, self.groups = True, options["as_json"], Groups()
        with Progress(console=Console(stderr=True), disable=len(paths) < MANY or not sys.stderr.isatty()) as progress:
            task = progress.add_task("Publishing", total=len(paths))
            for chunk in publishing.chunks(paths, publishing.STORE_CHUNK):
                self._publish(upload, chunk, options["queue"], options["group"])
                progress.advance(task, len(chunk))
        if not self.complete:
            raise CommandError("Not everything was published, see above.", returncode=1)

    def _asked(self) -> str:
        if not sys.stdin.isatty():
            raise CommandError("Name files or folders to publish, or - to read one document from standard input.")
        try:
            name = input("Please enter file name: ").strip()
        except EOFError:
            name = ""
        if not name:
            raise CommandError("No file name was given; nothing is published.")
        return name

    def _check_queue(self, name: str) -> None:
        # A queue that is away is no obstacle, the outbox waits for it; one that does not exist would be waited for in vain.
        try:
            sqs.open_queue(name)
        except (sqs.QueueNotFound, sqs.BadQueueName) as error:
            raise CommandError(str(error)) from None
        except sqs.QueueError:
            pass

    def _files(self, names: list[str]) -> Iterator[tuple[str, Path | None]]:
        """(name for people, where it is; None is standard input): a file by its own name, those of a folder by their place in it."""
        for name in names:
            path = Path(name)
            if name == "-":
                yield "standard input", None
            elif name and path.is_dir():
                found = sorted(file for file in path.rglob("*.xml") if file.is_file() and not _is_hidden(file.relative_to(path)))
                if not found:
                    raise CommandError(f"{name}: the folder has no .xml file.")
                yield from ((_printable(file.relative_to(path)), file) for file in found)
            elif path.is_file():
                yield _printable(Path(path.name)), path
            else:
                raise CommandError(f"{name}: there is no such file or folder.")

    def _publish(self, upload: Upload, files: list[tuple[str, Path | None]], queue: str, group: str | None) -> None:
        read = [self._read(*file) for file in files]
        documents = publishing.store(upload, read, queue=queue, group=group, groups=self.groups, now=timezone.now())
        problem = publishing.deliver(queue, clock=timezone.now, patience=PATIENCE_SECONDS).problem
        ids = [document.pk for document in documents]
        parts = (
            Prefetch("publications", Publication.objects.order_by("part")),
            Prefetch("refusals", Refusal.objects.order_by("part")),
        )
        stored = Document.objects.filter(pk__in=ids).defer("content").prefetch_related(*parts).order_by("pk")
        for document in stored:
            self._show(document, problem)

    def _read(self, name: str, path: Path | None) -> IncomingDocument:
        if path is None:
            return IncomingDocument(name, sys.stdin.buffer.read())
        try:
            size = path.stat().st_size
            if size > settings.TRADES_MAX_DOCUMENT_BYTES:
                return IncomingDocument(name, b"", size)
            return IncomingDocument(name, path.read_bytes())
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}.") from None

    def _show(self, document: Document, problem: str) -> None:
        for publication in document.publications.all():
            sent = publication.state == Publication.State.SENT
            self.complete &= sent
            if self.as_json:
                self._line(document, publication, problem)
            elif sent:
                self.stdout.write(f"{document.name}: {publication.summary}")
                self.stdout.write(f"  MessageId: {publication.message_id}")
                self.stdout.write(f"  MD5OfMessageBody: {publication.md5}")
            else:
                reason = publication.last_error or problem
                self.stdout.write(f"{document.name}: {publication.summary}")
                self.stdout.write(f"  waits in the outbox, relay_publications will send it: {reason}")
        for refusal in document.refusals.all():
            is_reference = refusal.code == REFERENCE
            self.complete &= is_reference
            place = f"line {refusal.line}, column {refusal.column}: " if refusal.line else ""
            if self.as_json:
                self.stdout.write(
                    json.dumps(
                        {
                            "file": document.name,
                            "refused": refusal.code,
                            "reason": refusal.reason,
                            "line": refusal.line,
                            "column": refusal.column,
                        }
                    )
                )
            else:
                word = "reference" if is_reference else "refused"
                self.stdout.write(f"{document.name}: {word}: {place}{refusal.reason}")

    def _line(self, document: Document, publication: Publication, problem: str) -> None:
        line = {
            "file": document.name,
            "summary": publication.summary,
            "state": publication.state,
            "MessageId": publication.message_id,
            "MD5OfMessageBody": publication.md5,
            "SequenceNumber": publication.sequence_number,
            "group": publication.group_id,
            "publication_id": str(publication.publication_id),
        }
        if publication.state != Publication.State.SENT:
            line["error"] = publication.last_error or problem
        self.stdout.write(json.dumps(line))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _printable(path: Path) -> str:
    """The path as text; a name that is not UTF-8, which Linux allows, with replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")
