"""The form that takes documents: many files, zip files of them, or pasted XML; and the message group for what is not understood."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from trades import handing_in
from trades.handing_in import IncomingDocument
from trades.web import archives
from trades.web.sent_files import most_of, most_together

PASTED_NAME = "pasted.xml"
NOTHING = "Choose at least one XML file, or paste a document."
ACCEPTED = ".xml,.zip,application/xml,text/xml,application/zip"
_DECLARED_ENCODING = re.compile(r"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""", re.ASCII)


class FilesInput(forms.ClearableFileInput):
    """A file input that takes many files."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Any number of files, empty ones included: what is wrong with a document is said document by document."""

    widget = FilesInput(attrs={"accept": ACCEPTED})

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile[Any]]:
        """The files, each checked by itself."""
        files = data if isinstance(data, list | tuple) else [data] if data else []
        return [super(FilesField, self).clean(file, initial) for file in files]


class UploadForm(forms.Form):
    """After `is_valid`, `documents` is what was handed in, with what can't be taken refused document by document. The files are those
    of the request, and in `folder`: they must stay until the documents are read."""

    xml_files = FilesField(required=False, allow_empty_file=True, label="XML files")
    pasted = forms.CharField(required=False, strip=False, label="XML", widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false"}))
    group = forms.CharField(required=False)

    nothing = NOTHING
    group_allowed = handing_in.ALLOWED
    documents: list[IncomingDocument]

    def __init__(self, *args: Any, folder: Path | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._folder = folder

    @property
    def limits(self) -> str:
        """What can be handed in at once, in words."""
        each, together = filesizeformat(settings.TRADES_MAX_DOCUMENT_BYTES), filesizeformat(most_together())
        return f"Up to {settings.TRADES_MAX_UPLOAD_FILES} files of {each} each, {together} together. The files in a zip count one by one."

    @property
    def most_bytes(self) -> int:
        """Bytes that one document may have."""
        return int(settings.TRADES_MAX_DOCUMENT_BYTES)

    @property
    def most_together(self) -> int:
        """Bytes that all files may have."""
        return most_together()

    @property
    def most_files(self) -> int:
        """Files that may come at once."""
        return int(settings.TRADES_MAX_UPLOAD_FILES)

    @property
    def most_pasted(self) -> int:
        """Bytes that a pasted document may have: it is in memory with the rest of the form."""
        return min(self.most_bytes, 10 * 1024 * 1024)

    def clean_group(self) -> str:
        """The message group, "" for none."""
        group: str = self.cleaned_data["group"]
        if group and (fault := handing_in.group_fault(group)):
            raise ValidationError(fault)
        return group

    def clean(self) -> dict[str, Any]:
        """Read the documents, and say what can't be taken."""
        files: list[UploadedFile[Any]] = self.cleaned_data.get("xml_files") or []
        pasted: str = self.cleaned_data.get("pasted") or ""
        if not files and not pasted.strip():
            self.add_error("pasted" if pasted else "xml_files", NOTHING)
        elif sum(file.size or 0 for file in files if fits(file)) > most_together():
            self._refuse_all()
        elif files and not pasted.strip() and not any(fits(file) for file in files):
            self.add_error("xml_files", ValidationError([too_large(file) for file in files]))
        else:
            self._read(files, pasted)
        return self.cleaned_data

    def _read(self, files: list[UploadedFile[Any]], pasted: str) -> None:
        if self._folder is None:
            raise TypeError("a form that is bound needs a folder")
        self.documents, room = [], most_together()
        for file in files:
            found = documents_of(file, self._folder, most_bytes=room)
            self.documents += found
            # Archives share what may be expanded: each by itself could fill what all together may take.
            room = max(0, room - taken(found))
        if pasted.strip():
            self.documents.append(IncomingDocument(PASTED_NAME, encode_pasted(pasted)))
        if len(self.documents) > settings.TRADES_MAX_UPLOAD_FILES:
            self.add_error("xml_files", f"{len(self.documents)} files were chosen. {self.limits} Hand them in in several uploads.")
        elif taken(self.documents) > most_together():
            self._refuse_all()

    def _refuse_all(self) -> None:
        self.add_error("xml_files", f"The files are too large together. {self.limits} Hand them in in several uploads.")


@contextmanager
def form_of(request: HttpRequest) -> Iterator[UploadForm]:
    """The form of a request, bound if it was sent. What it handed in is there for the time of the block."""
    with TemporaryDirectory(prefix="upload-") as folder:
        yield UploadForm(request.POST, request.FILES, folder=Path(folder)) if request.method == "POST" else UploadForm()


def documents_of(
    file: UploadedFile[Any], folder: Path, *, name: str = "", most_files: int | None = None, most_bytes: int | None = None
) -> list[IncomingDocument]:
    """What a file holds: itself, or the entries of a zip, which go to the folder. What can't be taken is a document with the reason."""
    name, size = name or archives.shown_name(file.name or "file"), file.size or 0
    if not fits(file):
        return [IncomingDocument(name, size=size)]
    if archives.is_zip(name, file):
        files = settings.TRADES_MAX_UPLOAD_FILES if most_files is None else most_files
        room = most_together() if most_bytes is None else most_bytes
        return archives.expanded(name, file, size, most_files=files, most_bytes=room, folder=folder)
    # A request may name the file otherwise than the form that it came in.
    if size > settings.TRADES_MAX_DOCUMENT_BYTES:
        return [IncomingDocument(name, size=size)]
    if isinstance(file, TemporaryUploadedFile):
        return [IncomingDocument(name, path=Path(file.temporary_file_path()))]
    return [IncomingDocument(name, file.read())]


def taken(documents: Iterable[IncomingDocument]) -> int:
    """Bytes of those documents that are not refused for what they are or for their size."""
    return sum(document.length for document in documents if document.refusal is None and document.size is None)


def placed(documents: list[IncomingDocument], first: int = 1) -> list[IncomingDocument]:
    """The documents with their places in the upload, from `first` on."""
    return [replace(document, position=number) for number, document in enumerate(documents, start=first)]


def encode_pasted(text: str) -> bytes:
    """Pasted text as the bytes that its XML declaration promises; UTF-8 when it promises none that is known."""
    declared = _DECLARED_ENCODING.match(text)
    try:
        return text.encode(declared[1] if declared else "utf-8", errors="xmlcharrefreplace")
    except (LookupError, UnicodeError):
        return text.encode("utf-8", errors="replace")


def fits(file: UploadedFile[Any]) -> bool:
    """Whether a file is within the limit of one document, or of all together where it is a zip."""
    return (file.size or 0) <= most_of(file.name or "")


def too_large(file: UploadedFile[Any]) -> str:
    """What is wrong with a file that does not fit."""
    size, most = file.size or 0, settings.TRADES_MAX_DOCUMENT_BYTES
    return f"{file.name} was not taken: it has {size:,} bytes, and a document may have {most:,}. Split it into smaller documents."
