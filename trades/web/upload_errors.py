"""The error report of an upload: what was refused, or is in quarantine, as CSV that a spreadsheet can open without running anything."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from django.http import HttpResponse

from trades.handing_in import REFERENCE
from trades.models import Message, Publication, Refusal, Upload

HEADINGS = ("file", "part", "line", "column", "code", "reason", "expected")
# What to hand in instead, by code; the reason itself says more where it can.
EXPECTED = {
    "not-well-formed": "well-formed XML",
    "unknown-dialect": "TradeStatus, FpML, FIXML or ISO 20022",
    "too-large": "a smaller document",
    "empty": "an XML document",
    "not-text": "UTF-8 text",
    "not-xml": "a file whose name ends in .xml",
    "nested-archive": "the inner archive by itself",
    "encrypted": "an archive without a password",
    "damaged-archive": "an intact zip file",
    "archive-too-large": "smaller archives",
    "empty-archive": "an archive with .xml files",
    "forbidden-character": "text without control characters",
}
RUNNING = ("=", "+", "-", "@", "\t", "\r", "\n")


def response(upload: Upload) -> HttpResponse:
    """The report to save."""
    answer = HttpResponse(content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="upload-{upload.pk}-errors.csv"'
    answer["Cache-Control"] = "no-store"
    answer.write("\ufeff")
    writer = csv.writer(answer)
    writer.writerow(HEADINGS)
    for row in _rows(upload):
        writer.writerow([safe(cell) for cell in row])
    return answer


def safe(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(RUNNING) else cell


def _rows(upload: Upload) -> Iterator[tuple[object, ...]]:
    order = ("document__position", "document_id", "part")
    refusals = Refusal.objects.filter(document__upload=upload).exclude(code=REFERENCE).order_by(*order)
    for name, part, line, column, code, reason in refusals.values_list("document__name", "part", "line", "column", "code", "reason"):
        yield name, part, line, column, code, reason, EXPECTED.get(code, "")
    publications = Publication.objects.filter(document__upload=upload).order_by(*order)
    names = {key: (name, part) for key, name, part in publications.values_list("publication_id", "document__name", "part")}
    in_quarantine = Message.objects.filter(outcome=Message.Outcome.QUARANTINED, publication_id__in=publications.values("publication_id"))
    found = {row.publication_id: row for row in in_quarantine.defer("body", "attributes")}
    for key, (name, part) in names.items():
        if key in found:
            row = found[key]
            yield name, part, row.line, row.column, row.code, f"In quarantine: {row.reason}", EXPECTED.get(row.code, "")
