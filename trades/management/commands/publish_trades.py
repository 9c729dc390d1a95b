"""Publish XML files from the terminal."""

from __future__ import annotations

import json
import os
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from threading import Event as Signal
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from trades import handing_in, publishing, routes, sending, sqs
from trades.handing_in import REFERENCE, Ahead, Groups, IncomingDocument
from trades.management import resuming
from trades.management.database import require_database
from trades.management.progress import Progress
from trades.models import Document, Publication, Refusal, Upload
from trades.stopping import stop_on_signals

PATIENCE_SECONDS = 30
MANY = 20  # files; of fewer no progress is shown
RESUMED = "What was stored is in the outbox; relay_publications sends it."


class Shown(NamedTuple):
    """What is printed of a publication."""

    document_id: int
    summary: str
    state: str
    message_id: str
    md5: str
    sequence_number: str
    group_id: str
    publication_id: object
    queue: str
    last_error: str


class Command(BaseCommand):
    """`manage.py publish_trades`: see help."""

    help = (
        "Publish XML files to the SQS FIFO queue, through the outbox. Prints MessageId and MD5OfMessageBody of each message. "
        "Exit status 0 means that every message about a trade was published. "
        "Interrupted, it says how to go on with the rest; nothing is published twice then."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The files and the options."""
        parser.add_argument(
            "paths",
            nargs="*",
            metavar="FILE|DIR|-",
            help="files, folders (their *.xml in order of name, subfolders too), or -",
        )
        default = f"that of its route, else {settings.TRADES_QUEUE}"
        parser.add_argument("--queue", help=f"queue for everything, by its name, ending in .fifo (default: {default})")
        parser.add_argument("--group", help="message group; documents that are not understood are then published as they are")
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object per message and refusal, a line each")
        parser.add_argument("--traceparent", help="W3C Trace Context to send along (default: the environment's TRACEPARENT)")
        parser.add_argument(
            "--resume",
            nargs="?",
            type=int,
            const=resuming.NEWEST,
            metavar="UPLOAD",
            help="go on with an upload that was interrupted (default: the newest that has a part of these files); name the same files "
            "and folders before it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Store and send in chunks, so that a long list can be interrupted: what is stored is sent by the relay."""
        self.rest = ""
        try:
            self._run(options)
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted. {self.rest or RESUMED}", returncode=130) from None
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {str(error).strip()}. {self.rest}".strip()) from None
        except OSError as error:
            what = "The output" if isinstance(error, BrokenPipeError) else error.filename or "A file"
            raise CommandError(f"{what}: {error.strerror or error}. {self.rest}".strip()) from None

    def _run(self, options: dict[str, Any]) -> None:
        self.paths = options["paths"] or [self._asked()]
        documents = list(self._documents(self.paths))
        self.queue, self.group = options["queue"], options["group"]
        if self.group is not None and (fault := handing_in.group_fault(self.group)):
            raise CommandError(f"--group: {fault}")
        self._check_queues([self.queue] if self.queue else routes.own_queues())
        require_database()
        self.options, self.complete, self.as_json, self.groups, self.unread = options, True, options["as_json"], Groups(), 0
        with stop_on_signals() as stop:
            self.upload, done = self._upload(documents, options["resume"])
            self.rest = self._how_to_go_on()
            self._publish_all(documents, done, stop)
        if options["resume"] is not None:
            self._finish_earlier()
        if self.group is not None and self.unread:
            self._warn()
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

    def _check_queues(self, names: Iterable[str]) -> None:
        # A queue that is away is no obstacle, the outbox waits for it, as it does for a partner's; one of ours that does not exist
        # would be waited for in vain.
        for name in names:
            try:
                routes.open_queue(name)
            except (sqs.QueueNotFound, sqs.BadQueueName) as error:
                raise CommandError(str(error)) from None
            except sqs.QueueError:
                pass

    # Which documents

    def _documents(self, names: Iterable[str]) -> Iterator[IncomingDocument]:
        for position, (name, path) in enumerate(self._files(names), start=1):
            content = sys.stdin.buffer.read() if path is None else b""
            yield IncomingDocument(name, content, position=position, path=path)

    def _files(self, names: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
        """(name for people, where it is; None is standard input): a file by its own name, those of a folder by their place in it."""
        for name in names:
            path = Path(name)
            if name == "-":
                yield "standard input", None
            elif name and path.is_dir():
                files = ((file.relative_to(path), file) for file in path.rglob("*.xml") if file.is_file())
                found = sorted((inside.parts, inside, file) for inside, file in files if not _is_hidden(inside))
                if not found:
                    raise CommandError(f"{name}: the folder has no .xml file.")
                yield from ((_printable(inside), file) for _, inside, file in found)
            elif path.is_file():
                yield _printable(Path(path.name)), path
            else:
                raise CommandError(f"{name}: there is no such file or folder.")

    def _upload(self, documents: Sequence[IncomingDocument], number: int | None) -> tuple[Upload, int]:
        """The upload, and how many of the documents it has already."""
        if number is None:
            given = self.options["traceparent"]
            traceparent = os.environ.get("TRACEPARENT", "") if given is None else given
            upload = publishing.begin(
                source=Upload.Source.COMMAND, user=None, now=timezone.now(), group=self.group or "", traceparent=traceparent
            )
            if given and not upload.traceparent:
                self._say(f"{given!r} is no traceparent of W3C Trace Context, version 00; it is not sent along.")
            return upload, 0
        upload, done = resuming.continued(documents, number)
        if (self.group or "") != upload.group_id:
            begun = f"with --group {shlex.quote(upload.group_id)}" if upload.group_id else "without --group"
            raise CommandError(f"Upload {upload.pk} was begun {begun}; go on with it in the same way.")
        self._say(f"Going on with upload {upload.pk}, which has {done:,} of {len(documents):,} files.")
        if self.group is None:
            resuming.learn(self.groups, documents[:done], queue=self.queue, now=timezone.now())
        return upload, done

    # Publishing

    def _publish_all(self, documents: Sequence[IncomingDocument], done: int, stop: Signal) -> None:
        left = documents[done:]
        with Progress(len(left), "files", sys.stderr, shown=len(left) >= MANY) as progress:
            for chunk, following in pairwise(chain(map(self._reading, handing_in.chunks(left)), [self._reading([])])):
                if stop.is_set():
                    progress.pause()
                    raise CommandError(self._interrupted(done + progress.done, len(documents)), returncode=130)
                rows = publishing.store_read(self.upload, chunk.all(), group=self.group, groups=self.groups, now=timezone.now())
                problems = self._deliver(publishing.queues_of(rows), stop, following.step)
                progress.pause()
                self._show(rows, problems)
                progress.advance(len(rows))
            if stop.is_set() and not self.complete:
                progress.pause()
                raise CommandError(self._interrupted(len(documents), len(documents)), returncode=130)

    def _reading(self, chunk: Iterable[IncomingDocument]) -> Ahead:
        return Ahead(chunk, now=timezone.now(), group=self.group, queue=self.queue, traceparent=self.upload.traceparent)

    def _deliver(self, queues: Iterable[str], stop: Signal | None = None, meanwhile: Callable[[], bool] | None = None) -> dict[str, str]:
        return {
            queue: sending.deliver(queue, clock=timezone.now, patience=PATIENCE_SECONDS, stop=stop, meanwhile=meanwhile).problem
            for queue in queues
        }

    def _interrupted(self, done: int, total: int) -> str:
        return f"Interrupted after {done:,} of {total:,} files, which are upload {self.upload.pk}. {self.rest}"

    def _how_to_go_on(self) -> str:
        again = ["python", "manage.py", "publish_trades", *self.paths]
        again += [word for name in ("queue", "group") if self.options[name] is not None for word in (f"--{name}", self.options[name])]
        again += [*(["--json"] if self.as_json else []), "--resume", str(self.upload.pk)]
        return f"{RESUMED} To publish the rest:\n{shlex.join(again)}"

    def _finish_earlier(self) -> None:
        """Send what the upload had before, and say whether all of it is published."""
        waiting = Publication.objects.unsent().filter(document__upload=self.upload)
        self._deliver(list(waiting.order_by("queue").values_list("queue", flat=True).distinct()))
        unsent = waiting.count()
        refused = Refusal.objects.filter(document__upload=self.upload).exclude(code=REFERENCE).count()
        self.complete = self.complete and not unsent and not refused
        self._say(f"Upload {self.upload.pk} is complete: {unsent:,} messages wait in the outbox, {refused:,} are refused.")

    # What is printed

    def _show(self, documents: Sequence[Document], problems: Mapping[str, str]) -> None:
        pks = [document.pk for document in documents]
        found = Publication.objects.filter(document__in=pks).order_by("pk").values_list(*Shown._fields)
        publications: dict[int, list[Shown]] = {}
        for each in found:
            publications.setdefault(each[0], []).append(Shown(*each))
        refusals: dict[int, list[Refusal]] = {}
        for refusal in Refusal.objects.filter(document__in=pks).order_by("part", "pk"):
            refusals.setdefault(refusal.document_id, []).append(refusal)
        for document in documents:
            self.unread += not document.dialect and document.pk in publications
            for publication in publications.get(document.pk, ()):
                self._show_publication(document, publication, publication.last_error or problems.get(publication.queue, ""))
            for refusal in refusals.get(document.pk, ()):
                self._show_refusal(document, refusal)

    def _show_publication(self, document: Document, publication: Shown, problem: str) -> None:
        sent = publication.state == Publication.State.SENT
        self.complete &= sent
        if self.as_json:
            self._line(document, publication, problem)
            return
        if sent:
            facts = f"  MessageId: {publication.message_id}\n  MD5OfMessageBody: {publication.md5}"
        else:
            facts = "  waits in the outbox, relay_publications will send it" + (f": {problem}" if problem else "")
        self.stdout.write(f"{document.name}: {publication.summary}\n{facts}")

    def _show_refusal(self, document: Document, refusal: Refusal) -> None:
        is_reference = refusal.code == REFERENCE
        self.complete &= is_reference
        place = {"line": refusal.line, "column": refusal.column}
        if self.as_json:
            self.stdout.write(json.dumps({"file": document.name, "refused": refusal.code, "reason": refusal.reason, **place}))
        else:
            word = "reference" if is_reference else "refused"
            at = f"line {refusal.line}, column {refusal.column}: " if refusal.line else ""
            self.stdout.write(f"{document.name}: {word}: {at}{refusal.reason}")

    def _line(self, document: Document, publication: Shown, problem: str) -> None:
        line = {
            "file": document.name,
            "summary": publication.summary,
            "state": publication.state,
            "MessageId": publication.message_id,
            "MD5OfMessageBody": publication.md5,
            "SequenceNumber": publication.sequence_number,
            "group": publication.group_id,
            "queue": publication.queue,
            "publication_id": str(publication.publication_id),
        }
        if publication.state != Publication.State.SENT:
            line["error"] = problem
        self.stdout.write(json.dumps(line))

    def _warn(self) -> None:
        """What becomes of documents that nobody understands."""
        which = "1 document is" if self.unread == 1 else f"{self.unread:,} documents are"
        self._say(
            f"Warning: {which} not understood and went out as is in message group {self.group}. A portal that receives such a message "
            "puts it into quarantine, and what follows it in that group waits until somebody settles it there."
        )

    def _say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _printable(path: Path) -> str:
    """The path as text; a name that is not UTF-8, which Linux allows, with replacement characters."""
    return os.fsencode(path).decode("utf-8", "replace")
