"""What the page of a published upload shows: how far each of its messages got."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.urls import reverse
from django.utils.safestring import SafeString

from trades import routes
from trades.handing_in import REFERENCE
from trades.models import AuditEntry, Document, Event, Message, Publication, Refusal, Upload
from trades.web import upload_rows, words
from trades.web.trade_view import event_address
from trades.web.upload_rows import Pages, RefusedMessage
from trades.web.words import Badge

Outcome = Message.Outcome
# The filters of a result: name, word, the outcome they ask for, tone.
FILTERS = (
    ("waiting", "Waiting to be sent", None, "warn"),
    ("cancelled", "Cancelled", None, ""),
    ("queued", "In the queue", None, ""),
    ("away", "Not for us", None, ""),
    ("swallowed", "Swallowed", None, "warn"),
    ("recorded", "Recorded", Outcome.RECORDED, ""),
    ("quarantined", "Quarantined", Outcome.QUARANTINED, "bad"),
    ("held", "Held", Outcome.HELD, "warn"),
    ("duplicate", "Duplicate", Outcome.DUPLICATE, ""),
    ("corrected", "Corrected", Outcome.CORRECTED, ""),
    ("discarded", "Discarded", Outcome.DISCARDED, ""),
    ("not_trades", "Not a trade event", Outcome.REFERENCE, ""),
)
# What of the outbox has not come out of a queue of ours, and why not: by the names of filters.
OUT = ("waiting", "cancelled", "swallowed", "away")
SWALLOWED = Badge("Swallowed by SQS", "warn", "copy")
AWAY = Badge("Sent", "ok", "send")
LETTERS = {
    Outcome.RECORDED: "r",
    Outcome.DUPLICATE: "d",
    Outcome.HELD: "h",
    Outcome.QUARANTINED: "q",
    Outcome.DISCARDED: "x",
    Outcome.CORRECTED: "c",
    Outcome.REFERENCE: "n",
}
ALWAYS = ("all", "recorded", "refused")


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over the whole upload, not only the page of it that is shown."""

    documents: int
    messages: int
    waiting: int
    cancelled: int
    swallowed: int
    away: int
    refused: int
    reference: int
    by_outcome: Mapping[str, int]

    @property
    def arrived(self) -> int:
        """How many messages have come out of the queue."""
        return sum(self.by_outcome.values())

    @property
    def published(self) -> int:
        """How many messages are published: those that were cancelled in the outbox are not."""
        return self.messages - self.cancelled

    @property
    def gone(self) -> int:
        """How many published messages no worker of ours will ever get: swallowed by SQS, or for the queue of a partner."""
        return self.swallowed + self.away

    @property
    def settled(self) -> int:
        """How many published messages wait for nothing more."""
        return self.arrived + self.gone - self.by_outcome["quarantined"] - self.by_outcome["held"]

    @property
    def is_settled(self) -> bool:
        """Whether no published message waits for anything."""
        return self.settled >= self.published

    @property
    def counts(self) -> dict[str, int]:
        """Counts by filter."""
        queued = max(0, self.published - self.waiting - self.gone - self.arrived)
        out = {name: getattr(self, name) for name in OUT}
        rest = {"all": self.messages + self.refused + self.reference, "refused": self.refused, "reference": self.reference}
        return {**self.by_outcome, **out, "queued": queued, **rest}

    @property
    def sentence(self) -> str:
        """The counts in words."""
        counts = self.counts
        parts = [words.plural(self.documents, "file"), f"{words.plural(self.published, 'message')} published"]
        parts += [f"{self.settled:,} settled"] if self.published else []
        said = {"waiting": "waiting to be sent", "cancelled": "cancelled", "swallowed": "swallowed by SQS"}
        said |= {"quarantined": "in quarantine", "held": "held", "refused": "refused"}
        parts += [f"{counts[name]:,} {word}" for name, word in said.items() if counts[name]]
        return ", ".join([*parts, f"{self.reference:,} kept as reference"] if self.reference else parts)


@dataclass(frozen=True, slots=True)
class PublishedMessage:
    """One message of a document: what it says, its receipt, and how far it got."""

    key: str
    document: Document
    part: int
    publication: Publication
    kind: str
    queue: str
    badge: Badge
    progress: str
    links: list[tuple[str, str]]
    same: SafeString | str
    mark: str


def with_totals(uploads: QuerySet[Upload]) -> QuerySet[Upload]:
    """Uploads with what is counted of each for its result, and with who decided and how."""
    of_upload = OuterRef("pk")
    publications = Publication.objects.filter(document__upload=of_upload)
    within = Publication.objects.filter(document__upload=OuterRef(of_upload))
    arrived = Message.objects.filter(publication_id__in=within.values("publication_id"))
    outcomes = {name: Count("pk", filter=Q(outcome=outcome)) for name, _, outcome, _ in FILTERS if outcome}
    entries = AuditEntry.objects.filter(upload=of_upload).order_by("-id")
    return uploads.annotate(
        counted_documents=upload_rows.counted(Document.objects.filter(upload=of_upload), documents=Count("pk")),
        counted_publications=upload_rows.counted(
            publications,
            messages=Count("pk"),
            **{name: Count("pk", filter=Q(~Exists(upload_rows.arrived())) & condition) for name, condition in _out().items()},
        ),
        counted_outcomes=upload_rows.counted(arrived, **outcomes),
        counted_refusals=upload_rows.counted(
            Refusal.objects.filter(document__upload=of_upload),
            refused=Count("pk", filter=~Q(code=REFERENCE)),
            reference=Count("pk", filter=Q(code=REFERENCE)),
        ),
        decided_by=Subquery(entries.values("user__username")[:1]),
        decided_note=Subquery(entries.values("note")[:1]),
    )


def totals_of(upload: Upload) -> Totals:
    """The totals of an upload that was read `with_totals`."""
    found: Any = upload
    return Totals(
        **upload_rows.numbers(found.counted_documents, "documents"),
        **upload_rows.numbers(found.counted_publications, "messages", *OUT),
        **upload_rows.numbers(found.counted_refusals, "refused", "reference"),
        by_outcome=upload_rows.numbers(found.counted_outcomes, *(name for name, _, outcome, _ in FILTERS if outcome)),
    )


def context_of(upload: Upload, params: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The context of the result. The number of queries does not depend on the number of files or messages."""
    # Counted before the rows are read: what arrives meanwhile shows in a row, and the count follows when the page asks again.
    totals = totals_of(upload)
    counts = totals.counts
    shown = params.get("show", "") if params.get("show", "") in counts else "all"
    pages = Pages.at(params.get("page", ""), counts[shown])
    published, refused = upload_rows.keys_on(pages, _publications(upload, shown), _refusals(upload, shown))
    rows: list[PublishedMessage | RefusedMessage] = [*_rows(upload, published, now), *upload_rows.refused(upload, refused, now)]
    rows = upload_rows.in_order(rows)
    marks = {row.key: row.mark for row in rows if isinstance(row, PublishedMessage)}
    return {
        "upload": upload,
        "totals": totals,
        "tabs": [tab for tab in _tabs(counts) if tab[2] or tab[0] in ALWAYS],
        "shown": shown,
        "pages": pages,
        "rows": rows,
        "version": _version(totals, marks),
        "has_moved": _rows_digest(marks) != params.get("seen", "").split(".")[-2:-1],
        "here": urlencode({"show": shown, "page": pages.number}),
        "decided": words.full_tag(upload.decided_at) if upload.decided_at else "",
        "changed": changed_rows(rows, params.get("seen", ""), marks),
    }


def _tabs(counts: Mapping[str, int]) -> list[tuple[str, str, int, str]]:
    """The filters: name, word, count, tone."""
    middle = [(name, word, tone) for name, word, _, tone in FILTERS]
    named = [("all", "All", ""), *middle, ("refused", "Refused", "bad"), ("reference", "Reference", "")]
    return [(name, word, counts[name], tone if counts[name] else "") for name, word, tone in named]


def _version(totals: Totals, marks: Mapping[str, str]) -> str:
    """What a page shows, in short: a digest of the counts, one of which rows there are, and a letter for the state of each row."""
    return ".".join([_digest(repr(totals)), *_rows_digest(marks), "".join(marks.values())])


def _rows_digest(marks: Mapping[str, str]) -> list[str]:
    return [_digest(" ".join(marks))]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def changed_rows(rows: Sequence[Any], seen: str, marks: Mapping[str, str]) -> list[Any]:
    """The rows that are not as the browser shows them, by the letters that it tells."""
    letters = seen.rpartition(".")[2]
    if len(letters) != len(marks):
        return []
    changed = {key for (key, mark), letter in zip(marks.items(), letters, strict=True) if mark != letter}
    return [row for row in rows if row.key in changed]


def _out() -> dict[str, Q]:
    """The conditions of OUT, each of which excludes the others."""
    sent, partners = Q(state=Publication.State.SENT), _partners()
    return {
        "waiting": Q(state=Publication.State.PENDING),
        "cancelled": Q(state=Publication.State.CANCELLED),
        "swallowed": sent & Q(swallowed=True),
        "away": sent & Q(swallowed=False, queue__in=partners),
    }


def _partners() -> list[str]:
    return [name for name in routes.known_queues() if routes.is_partners(name)]


def _publications(upload: Upload, shown: str) -> QuerySet[Publication] | None:
    rows = Publication.objects.filter(document__upload=upload)
    arrived = upload_rows.arrived()
    if shown == "all":
        return rows
    if shown in OUT:
        return rows.filter(~Exists(arrived), _out()[shown])
    if shown == "queued":
        return rows.filter(~Exists(arrived), state=Publication.State.SENT).exclude(_out()["swallowed"] | _out()["away"])
    outcome = next((outcome for name, _, outcome, _ in FILTERS if name == shown), None)
    return rows.filter(Exists(arrived.filter(outcome=outcome))) if outcome else None


def _refusals(upload: Upload, shown: str) -> QuerySet[Refusal] | None:
    refusals = Refusal.objects.filter(document__upload=upload)
    if shown == "all":
        return refusals
    if shown == "refused":
        return refusals.exclude(code=REFERENCE)
    return refusals.filter(code=REFERENCE) if shown == "reference" else None


def _rows(upload: Upload, keys: list[int], now: datetime) -> list[PublishedMessage]:
    """The published messages of a page. Two queries."""
    if not keys:
        return []
    facts = JSONObject(pk="pk", outcome="outcome", reason="reason", line="line", column="column")
    message = upload_rows.arrived().annotate(facts=facts)
    publications = upload_rows.with_documents(Publication.objects.filter(pk__in=keys).defer("body"), upload)
    rows = list(publications.annotate(arrived=Subquery(message.values("facts")[:1])))
    events = _events_by_message([row.arrived["pk"] for row in rows if row.arrived])
    return [_published(row, events[row.arrived["pk"]] if row.arrived else [], now) for row in rows]


def _events_by_message(pks: Sequence[int]) -> dict[int, list[Event]]:
    events: dict[int, list[Event]] = defaultdict(list)
    rows = Event.objects.filter(message__in=pks).select_related("trade").only("position", "message_id", "trade__trade_id")
    for event in rows.order_by("message_id", "part") if pks else ():
        events[event.message_id].append(event)
    return events


def _published(publication: Any, events: Sequence[Event], now: datetime) -> PublishedMessage:
    arrived: Mapping[str, Any] | None = publication.arrived
    badge, progress, mark = _standing(publication, arrived)
    links = [(f"event {event.position} of {event.trade.trade_id}", event_address(event)) for event in events]
    if arrived and not links:
        links = [("open the message", reverse("message", args=[arrived["pk"]]))]
    document = publication.document
    return PublishedMessage(
        key=f"p{publication.pk}",
        document=document,
        part=publication.part,
        publication=publication,
        kind=", ".join(name for name in (publication.message_type, document.dialect) if name),
        queue=publication.queue if publication.queue != settings.TRADES_QUEUE else "",
        badge=badge,
        progress=progress,
        links=links,
        same=upload_rows.same_content(publication, now),
        mark=mark,
    )


def _standing(publication: Publication, arrived: Mapping[str, Any] | None) -> tuple[Badge, str, str]:
    """How far a message got: a badge, a sentence, and a letter for both."""
    if arrived is not None:
        return words.OUTCOMES[arrived["outcome"]], _progress(arrived), LETTERS[Outcome(arrived["outcome"])]
    if publication.state == Publication.State.PENDING:
        why = f"{publication.last_error.rstrip('. ')}." if publication.last_error else "Not sent yet."
        then = "tries again until it is sent" if publication.last_error else "sends it"  # be it the queue or S3 that does not answer
        said = f"{why} It stays in the outbox; the relay {then}."
        return words.WAITING, said, "e" if publication.last_error else "w"
    if publication.state == Publication.State.CANCELLED:
        return words.CANCELLED, "A person cancelled it; it was not sent.", "a"
    if publication.swallowed:
        return SWALLOWED, f"{publication.queue} was given the same text within five minutes, and delivers it once.", "b"
    if publication.queue in _partners():
        return AWAY, f"To {publication.queue}, which a partner reads.", "p"
    return words.ON_ITS_WAY, "Waiting for a worker to record it.", "s"


def _progress(arrived: Mapping[str, Any]) -> str:
    outcome = Outcome(arrived["outcome"])
    if outcome is Outcome.QUARANTINED:
        at = words.place(arrived["line"], arrived["column"])
        return f"{at}: {arrived['reason']}" if at else arrived["reason"]
    return {
        Outcome.RECORDED: "",
        Outcome.DUPLICATE: "The same content is in the history already; this copy had no effect.",
        Outcome.HELD: "Waits behind a quarantined message of its group.",
        Outcome.DISCARDED: "Discarded.",
        Outcome.CORRECTED: "A person corrected it; the correction was recorded.",
        Outcome.REFERENCE: f"{arrived['reason']} No trade was changed.",
    }[outcome]
