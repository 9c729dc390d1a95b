"""What the review of an upload and its result have in common: pages over rows of several tables, refusals, and the same content seen
before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, IntegerField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import JSONObject
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trades.handing_in import REFERENCE
from trades.models import Document, Message, Refusal, Upload
from trades.web import words
from trades.web.words import Badge
from trades.web.xml_view import Excerpt, excerpt

PER_PAGE = 100
# Showing the line of an error reads the document again, so only of so many, and none that is large.
MOST_EXCERPTS = 20
EXCERPT_FROM_UP_TO = 512 * 1024  # bytes
NO_CONTENT = hashlib.sha256(b"").hexdigest()
REFUSALS, OTHERS = 0, 1  # which of two tables a row is of


@dataclass(frozen=True, slots=True)
class Pages:
    """One page of rows that are counted already."""

    number: int
    count: int

    @classmethod
    def at(cls, asked: str, count: int) -> Pages:
        """The page that is asked for, or the nearest there is."""
        last = max(1, -(-count // PER_PAGE))
        number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1
        return cls(min(max(number, 1), last), count)

    @property
    def start(self) -> int:
        """How many rows come before this page."""
        return (self.number - 1) * PER_PAGE

    @property
    def first(self) -> int:
        """The number of the first row, from 1."""
        return min(self.start + 1, self.count)

    @property
    def last(self) -> int:
        """The number of the last row."""
        return min(self.start + PER_PAGE, self.count)

    @property
    def earlier(self) -> int:
        """The page before, 0 if there is none."""
        return self.number - 1

    @property
    def later(self) -> int:
        """The page after, 0 if there is none."""
        return self.number + 1 if self.last < self.count else 0


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """Why a document, or one message of it, is not published."""

    key: str
    document: Document
    part: int
    badge: Badge
    place: str
    reason: str
    same: SafeString | str
    excerpt: Excerpt | None


def keys_on(pages: Pages, others: QuerySet[Any] | None, refusals: QuerySet[Refusal] | None) -> tuple[list[int], list[int]]:
    """The keys of the rows on a page, of the other table and of the refusals, in the order of the upload. One query."""
    tables = [_placed(rows, kind) for rows, kind in ((others, OTHERS), (refusals, REFUSALS)) if rows is not None]
    if not tables or not pages.count:
        return [], []
    together = tables[0].union(*tables[1:], all=True) if len(tables) > 1 else tables[0]
    found = list(together.order_by("place", "of", "part", "kind")[pages.start : pages.start + PER_PAGE])
    return [row[4] for row in found if row[3] == OTHERS], [row[4] for row in found if row[3] == REFUSALS]


def _placed(rows: QuerySet[Any], kind: int) -> Any:
    named = rows.order_by().annotate(place=F("document__position"), of=F("document_id"), kind=Value(kind, IntegerField()))
    return named.values_list("place", "of", "part", "kind", "pk")


def with_documents(rows: QuerySet[Any], upload: Upload) -> QuerySet[Any]:
    """The rows with their documents, and with the newest earlier upload of the same content."""
    earlier = Document.objects.filter(sha256=OuterRef("document__sha256"), upload__lt=upload.pk).exclude(sha256=NO_CONTENT)
    newest = earlier.order_by("-upload_id")
    same = {"same_upload": Subquery(newest.values("upload_id")[:1]), "same_at": Subquery(newest.values("upload__created_at")[:1])}
    found: QuerySet[Any] = rows.select_related("document").defer("document__content").annotate(**same)
    return found


def arrived() -> QuerySet[Message]:
    """The message that came of a publication, which the outer query is about. It may have come although the answer was lost."""
    return Message.objects.filter(publication_id=OuterRef("publication_id"))


def same_content(row: Any, now: datetime) -> SafeString | str:
    """A link to the upload that brought the same content before, "" if none did."""
    if row.same_upload is None:
        return ""
    href, ago = reverse("upload", args=[row.same_upload]), words.age_tag(row.same_at, now)
    return format_html('Same content as <a href="{}">upload {}</a>, {} ago', href, row.same_upload, ago)


def refused(upload: Upload, keys: Sequence[int], now: datetime) -> list[RefusedMessage]:
    """The refusals of a page. Two queries."""
    if not keys:
        return []
    refusals = list(with_documents(Refusal.objects.filter(pk__in=keys), upload))
    contents = _contents(refusals)
    return [_refused(refusal, contents.get(refusal.document_id), now) for refusal in refusals]


def _refused(refusal: Refusal, content: bytes | None, now: datetime) -> RefusedMessage:
    return RefusedMessage(
        key=f"r{refusal.pk}",
        document=refusal.document,
        part=refusal.part,
        badge=words.REFERENCE if refusal.code == REFERENCE else words.REFUSED,
        place=words.place(refusal.line, refusal.column),
        reason=refusal.reason,
        same=same_content(refusal, now),
        excerpt=excerpt(content, refusal.line, refusal.column) if content is not None and refusal.line else None,
    )


def _contents(refusals: Iterable[Refusal]) -> dict[int, bytes]:
    wanted = list(dict.fromkeys(refusal.document_id for refusal in refusals if refusal.line))[:MOST_EXCERPTS]
    rows = Document.objects.filter(pk__in=wanted, size__lte=EXCERPT_FROM_UP_TO).values_list("pk", "content") if wanted else ()
    return {pk: bytes(content) for pk, content in rows}


def in_order(rows: Iterable[Any]) -> list[Any]:
    """Rows of both tables in the order of the upload."""
    return sorted(rows, key=lambda row: (row.document.position, row.document.pk, row.part))


def counted(rows: QuerySet[Any], **counts: Any) -> Subquery:
    """Several counts over rows as one column of another query: {name: count}."""
    grouped = rows.order_by().annotate(one=Value(1, IntegerField())).values("one").annotate(counts=JSONObject(**counts))
    return Subquery(grouped.values("counts"))


def numbers(found: Mapping[str, int | None] | None, *names: str) -> dict[str, int]:
    """What `counted` found; zeroes where there was no row."""
    return {name: (found or {}).get(name) or 0 for name in names}
