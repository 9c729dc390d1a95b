"""What the list of uploads shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, Q
from django.urls import reverse
from django.utils.safestring import SafeString

from trades.handing_in import REFERENCE
from trades.models import Document, Draft, Publication, Refusal, Upload
from trades.web import upload_rows, words
from trades.web.words import Badge

STAGES = {
    Upload.Stage.REVIEW: Badge("In review", "warn", "clock"),
    Upload.Stage.PUBLISHED: Badge("Published", "ok", "circle-check"),
    Upload.Stage.WITHDRAWN: Badge("Withdrawn", "void", "ban"),
}


@dataclass(frozen=True, slots=True)
class ListedUpload:
    """One upload as the list shows it."""

    pk: int
    href: str
    stage: Badge
    when: SafeString
    age: SafeString
    who: str
    source: str
    documents: int
    messages: int
    in_review: int
    unsent: int
    refused: int


def listed(uploads: Sequence[Upload], now: datetime) -> list[ListedUpload]:
    """Uploads with their counts. Four queries however many there are."""
    pks = [upload.pk for upload in uploads]
    documents = _counts(Document.objects.filter(upload__in=pks), "upload")
    out = {"unsent": Q(state="PENDING"), "cancelled": Q(Q(state="CANCELLED"), ~Exists(upload_rows.arrived()))}
    messages = _counts(Publication.objects.filter(document__upload__in=pks), "document__upload", **out)
    drafts = _counts(Draft.objects.filter(document__upload__in=pks), "document__upload")
    refused = _counts(Refusal.objects.filter(document__upload__in=pks).exclude(code=REFERENCE), "document__upload")
    return [
        ListedUpload(
            pk=upload.pk,
            href=reverse("upload", args=[upload.pk]),
            stage=_stage(upload, messages[upload.pk]["n"], messages[upload.pk]["cancelled"]),
            when=words.full_tag(upload.created_at),
            age=words.age_tag(upload.created_at, now),
            who=who(upload),
            source=upload.get_source_display(),
            documents=documents[upload.pk]["n"],
            messages=messages[upload.pk]["n"] + drafts[upload.pk]["n"],
            in_review=drafts[upload.pk]["n"],
            unsent=messages[upload.pk]["unsent"],
            refused=refused[upload.pk]["n"],
        )
        for upload in uploads
    ]


def _stage(upload: Upload, messages: int, cancelled: int) -> Badge:
    """The stage, and what of it was taken back in the outbox."""
    if not cancelled:
        return STAGES[Upload.Stage(upload.stage)]
    return words.CANCELLED if cancelled == messages else Badge(f"Published, {cancelled:,} cancelled", "warn", "ban")


def _counts(rows: Any, by: str, **further: Q) -> dict[int, dict[str, int]]:
    counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    extra = {name: Count("pk", filter=asked) for name, asked in further.items()}
    for row in rows.order_by().values(by).annotate(n=Count("pk"), **extra):
        counts[row[by]] = row
    return counts


def who(upload: Upload) -> str:
    """Who handed the documents in."""
    return upload.created_by.get_username() if upload.created_by else "command line"
