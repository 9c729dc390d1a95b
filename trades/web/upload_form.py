"""The form that takes documents: many files, or pasted XML."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from trades.publishing import IncomingDocument

# So many documents of the largest size may come at once; their bytes are in memory while they are read.
LARGEST_TOGETHER = 10
PASTED_NAME = "pasted.xml"
_DECLARED_ENCODING = re.compile(r"""^\s*<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""", re.ASCII)


class FilesInput(forms.ClearableFileInput):
    """A file input that takes many files."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Any number of files, empty ones included: what is wrong with a document is said document by document."""

    widget = FilesInput(attrs={"accept": ".xml,application/xml,text/xml"})

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile[Any]]:
        """The files, each checked by itself."""
        files = data if isinstance(data, list | tuple) else [data] if data else []
        return [super(FilesField, self).clean(file, initial) for file in files]


class UploadForm(forms.Form):
    """After `is_valid`, `documents` is what to publish, and `left_out` has a sentence for each file that is too large."""

    xml_files = FilesField(required=False, allow_empty_file=True, label="XML files")
    pasted = forms.CharField(required=False, strip=False, label="XML", widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false"}))

    documents: list[IncomingDocument]
    left_out: list[str]

    @property
    def limits(self) -> str:
        """What can be handed in at once, in words."""
        each, together = filesizeformat(settings.TRADES_MAX_DOCUMENT_BYTES), filesizeformat(_most_together())
        return f"Up to {settings.TRADES_MAX_UPLOAD_FILES} files of {each} each, {together} together."

    @property
    def most_bytes(self) -> int:
        """Bytes that one document may have."""
        return int(settings.TRADES_MAX_DOCUMENT_BYTES)

    @property
    def most_files(self) -> int:
        """Files that may come at once."""
        return int(settings.TRADES_MAX_UPLOAD_FILES)

    def clean(self) -> dict[str, Any]:
        """Read the documents, and say what can't be published."""
        files: list[UploadedFile[Any]] = self.cleaned_data.get("xml_files") or []
        pasted: str = self.cleaned_data.get("pasted") or ""
        self.left_out = [_too_large(file) for file in files if not _fits(file)]
        self._check(files, pasted)
        if not self.errors:
            self.documents = [IncomingDocument(file.name or "file", file.read()) for file in files if _fits(file)]
            if pasted.strip():
                self.documents.append(IncomingDocument(PASTED_NAME, encode_pasted(pasted)))
        return self.cleaned_data

    def _check(self, files: list[UploadedFile[Any]], pasted: str) -> None:
        if not files and not pasted.strip():
            self.add_error("xml_files", "Choose at least one XML file, or paste a document.")
        elif len(files) > settings.TRADES_MAX_UPLOAD_FILES:
            self.add_error("xml_files", f"{len(files)} files were chosen. {self.limits} Publish them in several uploads.")
        elif sum(file.size or 0 for file in files if _fits(file)) > _most_together():
            self.add_error("xml_files", f"The files are too large together. {self.limits} Publish them in several uploads.")
        elif files and not pasted.strip() and not any(_fits(file) for file in files):
            self.add_error("xml_files", ValidationError(list(self.left_out)))


def encode_pasted(text: str) -> bytes:
    """Pasted text as the bytes that its XML declaration promises; UTF-8 when it promises none that is known."""
    declared = _DECLARED_ENCODING.match(text)
    try:
        return text.encode(declared[1] if declared else "utf-8", errors="xmlcharrefreplace")
    except (LookupError, UnicodeError):
        return text.encode("utf-8", errors="replace")


def _fits(file: UploadedFile[Any]) -> bool:
    return (file.size or 0) <= int(settings.TRADES_MAX_DOCUMENT_BYTES)


def _most_together() -> int:
    return LARGEST_TOGETHER * int(settings.TRADES_MAX_DOCUMENT_BYTES)


def _too_large(file: UploadedFile[Any]) -> str:
    size, most = filesizeformat(file.size or 0), filesizeformat(settings.TRADES_MAX_DOCUMENT_BYTES)
    return f"{file.name} was not published: it has {size}, and a document may have {most}. Split it into smaller documents."
