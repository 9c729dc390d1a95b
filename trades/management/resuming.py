"""Go on with an upload of the command line that was interrupted: which of the files it has already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from django.conf import settings
from django.core.management.base import CommandError

from trades import handing_in
from trades.handing_in import Groups, IncomingDocument
from trades.models import Document, Upload

NEWEST = -1  # the newest upload that has a part of the files
LOOK_BACK = 20  # uploads


def continued(documents: Sequence[IncomingDocument], number: int) -> tuple[Upload, int]:
    """The upload to go on with and how many of the documents it has, which are the first. Each is known by its place, name and content.

    Raises CommandError when there is none, or when the files are others than those that it was begun with.
    """
    uploads = Upload.objects.filter(source=Upload.Source.COMMAND)
    digest = _digests(documents)
    if number != NEWEST:
        upload = uploads.filter(pk=number).first()
        if upload is None:
            raise CommandError(f"There is no upload {number} that was begun by publish_trades.")
        known = _known(upload)
        if difference := _difference(known, documents, digest):
            raise CommandError(f"Upload {number} was begun with other files: {difference} Name the same files and folders as then.")
        return upload, len(known)
    for upload in uploads.filter(documents__isnull=False).distinct().order_by("-pk")[:LOOK_BACK]:
        known = _known(upload)
        if not _difference(known, documents, digest):
            return upload, len(known)
    raise CommandError("No interrupted upload was begun with these files. Leave out --resume to publish them.")


def learn(groups: Groups, documents: Sequence[IncomingDocument], *, queue: str | None, now: datetime) -> None:
    """Make known to the groups of an upload what its first documents make known: later ones may name the same trades by other ids."""
    for chunk in handing_in.chunks(documents):
        parts = [part for document in handing_in.read(chunk, now=now, queue=queue) for part in document.parts if not part.refusal]
        understood = [part.message for part in parts if part.message and part.message.events]
        groups.look_up(understood)
        for message in understood:
            groups.of(message)


def _known(upload: Upload) -> dict[int, tuple[str, str]]:
    """Name and SHA-256 by place in the upload."""
    found = Document.objects.filter(upload=upload).values_list("position", "name", "sha256")
    return {position: (name, sha256) for position, name, sha256 in found}


def _difference(known: Mapping[int, tuple[str, str]], documents: Sequence[IncomingDocument], digest: Callable[[int], str]) -> str:
    """The first that is not the same, as a sentence; "" when the upload has the first of these documents."""
    for position in range(1, len(known) + 1):
        if position not in known:
            return f"file {position} is not in it by its place."
        name, sha256 = known[position]
        if position > len(documents):
            return f"it has {len(known):,} files, and {len(documents):,} are named."
        if documents[position - 1].name[-255:] != name:
            return f"file {position} was {name}, and now is {documents[position - 1].name}."
        if digest(position) != sha256:
            return f"{name} has changed."
    return ""


def _digests(documents: Sequence[IncomingDocument]) -> Callable[[int], str]:
    found: dict[int, str] = {}

    def digest(position: int) -> str:
        if position not in found:
            document = documents[position - 1]
            if document.length > settings.TRADES_MAX_DOCUMENT_BYTES:  # then it was not read
                found[position] = hashlib.sha256(b"").hexdigest()
            elif document.path is None:
                found[position] = hashlib.sha256(document.content).hexdigest()
            else:
                with document.path.open("rb") as file:
                    found[position] = hashlib.file_digest(file, "sha256").hexdigest()
        return found[position]

    return digest
