"""Files on their way in: written to disk as they come, and never more of them than may be taken."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.template.defaultfilters import filesizeformat

from trades.web.archives import SUFFIX
from trades.web.errors import UploadTooLarge

# So many documents of the largest size may come at once.
LARGEST_TOGETHER = 10
AROUND = 2 * 1024 * 1024  # bytes of a request beside its files: names, fields, boundaries


def most_together() -> int:
    """Bytes that the documents of one upload may have."""
    return LARGEST_TOGETHER * int(settings.TRADES_MAX_DOCUMENT_BYTES)


def most_of(name: str) -> int:
    """Bytes that a file of this name may have: one document, or all together where it is a zip."""
    return most_together() if name.lower().endswith(SUFFIX) else int(settings.TRADES_MAX_DOCUMENT_BYTES)


class CappedFiles(TemporaryFileUploadHandler):
    """Django's handler for files that go to disk. Of one that is too large the rest is not kept, but counted: its size says so.

    Nothing is kept of what a stranger sends: the form's token is looked for in the request before anybody asks who sent it.
    """

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, str],  # noqa: N803 - Django's
        content_length: int,
        boundary: str | bytes,
        encoding: str | None = None,
    ) -> None:
        """Raises UploadTooLarge for a request whose length alone says that it is too large, before any of it is read."""
        most = most_together() + AROUND + settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if content_length > most:
            together = filesizeformat(most_together())
            raise UploadTooLarge(f"The request has {filesizeformat(content_length)}, and all files together may have {together}. Split it.")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Write a piece of the file, up to the first that goes beyond the limit."""
        is_kept = start <= most_of(self.file_name or "") and self.request is not None and self.request.user.is_authenticated
        return super().receive_data_chunk(raw_data, start) if is_kept else None
