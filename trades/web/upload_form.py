"""The form that takes documents: many files, zip files of them, or pasted XML."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from trades.handing_in import IncomingDocument
from trades.web import archives

# So many documents of the largest size may come at once; their bytes are in memory while they are read.
LARGEST_TOGETHER = 10
PASTED_NAME = "pasted.xml"
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
    """After `is_valid`, `documents` is what was handed in, with what can't be taken refused document by document."""

    xml_files = FilesField(required=False, allow_empty_file=True, label="XML files")
    pasted = forms.CharField(required=False, strip=False, label="XML", widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false"}))

    documents: list[IncomingDocument]

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

    def clean(self) -> dict[str, Any]:
        """Read the documents, and say what can't be taken."""
        files: list[UploadedFile[Any]] = self.cleaned_data.get("xml_files") or []
        pasted: str = self.cleaned_data.get("pasted") or ""
        if not files and not pasted.strip():
            self.add_error("xml_files", "Choose at least one XML file, or paste a document.")
        elif sum(file.size or 0 for file in files if fits(file)) > most_together():
            self.add_error("xml_files", f"The files are too large together. {self.limits} Hand them in in several uploads.")
        elif files and not pasted.strip() and not any(fits(file) for file in files):
            self.add_error("xml_files", ValidationError([too_large(file) for file in files]))
        else:
            self._read(files, pasted)
        return self.cleaned_data

    def _read(self, files: list[UploadedFile[Any]], pasted: str) -> None:
        self.documents, room = [], most_together()
        for file in files:
            found = documents_of(file, most_bytes=room)
            self.documents += found
            # Archives share what may be expanded: each by itself could fill the memory that all together may take.
            room = max(0, room - sum(len(document.content) for document in found))
        if pasted.strip():
            self.documents.append(IncomingDocument(PASTED_NAME, encode_pasted(pasted)))
        if len(self.documents) > settings.TRADES_MAX_UPLOAD_FILES:
            self.add_error("xml_files", f"{len(self.documents)} files were chosen. {self.limits} Hand them in in several uploads.")
        elif sum(len(document.content) for document in self.documents) > most_together():
            self.add_error("xml_files", f"The files are too large together. {self.limits} Hand them in in several uploads.")


def documents_of(
    file: UploadedFile[Any], *, name: str = "", most_files: int | None = None, most_bytes: int | None = None
) -> list[IncomingDocument]:
    """What a file holds: itself, or the entries of a zip. What can't be taken is a document with the reason."""
    name, size = name or archives.shown_name(file.name or "file"), file.size or 0
    if not fits(file):
        return [IncomingDocument(name, b"", size)]
    if not archives.is_zip(name, file):
        # A request may name the file otherwise than the form that it came in.
        is_small = size <= settings.TRADES_MAX_DOCUMENT_BYTES
        return [IncomingDocument(name, file.read() if is_small else b"", size)]
    files = settings.TRADES_MAX_UPLOAD_FILES if most_files is None else most_files
    return archives.expanded(name, file, size, most_files=files, most_bytes=most_together() if most_bytes is None else most_bytes)


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
    is_archive = (file.name or "").lower().endswith(archives.SUFFIX)
    return (file.size or 0) <= (most_together() if is_archive else int(settings.TRADES_MAX_DOCUMENT_BYTES))


def most_together() -> int:
    """Bytes that the documents of one upload may have."""
    return LARGEST_TOGETHER * int(settings.TRADES_MAX_DOCUMENT_BYTES)


def too_large(file: UploadedFile[Any]) -> str:
    """What is wrong with a file that does not fit."""
    size, most = filesizeformat(file.size or 0), filesizeformat(settings.TRADES_MAX_DOCUMENT_BYTES)
    return f"{file.name} was not taken: it has {size}, and a document may have {most}. Split it into smaller documents."
