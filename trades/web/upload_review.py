"""What the review of an upload shows: per message what it is and what it would do, before anything is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Sum, Value
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from trades.deciding import GOOD
from trades.foretelling import LONGEST, MOST, NOT_REHEARSED, WARNING
from trades.handing_in import NOT_UNDERSTOOD, REFERENCE, drafts_of, size_of, warning
from trades.lifecycle import FLAG_WORDS, Flag
from trades.models import Document, Draft, Refusal, Trade, Upload
from trades.web import upload_rows, words
from trades.web.addresses import TradeAddress
from trades.web.upload_rows import Pages, RefusedMessage
from trades.web.words import Badge

STALE = timedelta(minutes=10)
MOST_EVENTS = 5  # of one message that are told
NO_QUEUE = -1  # in place of a count: the row is of a group
MOST_NAMED = 5  # trades whose messages go to several queues
UNCHECKED = Badge("Not checked", "", "clock")
UNREHEARSED = Badge("Not rehearsed", "", "clock")
OUTCOMES = {
    **words.OUTCOMES, NOT_REHEARSED: UNREHEARSED, "RECORDED": Badge("To record", "ok", "circle-check"),
    "HELD": Badge("To hold", "warn", "clock"), "QUARANTINED": Badge("To quarantine", "bad", "circle-x"),
}  # fmt: skip
FOLLOWS = "It follows a message of its group here that is not good; without that one it would come to something else."
SWALLOWED = "SQS would swallow it: {} takes the same text within five minutes for a repeat, even with others in between."
SHOWN = ("all", "good", "warnings", "other", "refused", "reference")


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in review, counted over the whole upload."""

    documents: int
    size: int
    messages: int
    good: int
    warnings: int
    refused: int
    reference: int

    @property
    def other(self) -> int:
        """Messages of which it is not known what they would do."""
        return self.messages - self.good - self.warnings

    @property
    def is_all_good(self) -> bool:
        """Whether every message is good, so that there is nothing to choose."""
        return self.good == self.messages

    @property
    def sentence(self) -> str:
        """The counts in words."""
        parts = [words.plural(self.documents, "file"), words.plural(self.messages, "message"), f"{self.good:,} good"]
        parts += [f"{self.warnings:,} with a warning"] if self.warnings else []
        parts += [f"{self.other:,} not rehearsed"] if self.other else []
        parts += [f"{self.refused:,} refused"] if self.refused else []
        parts += [f"{self.reference:,} kept as reference"] if self.reference else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class DraftRow:
    """One message in review."""

    key: str
    document: Document
    part: int
    summary: str
    kind: str
    trade: SafeString | str
    event: Badge | str
    place: str
    badge: Badge
    told: list[SafeString | str]
    flags: list[str]
    size: str
    group: str
    queue: str
    route: str
    same: SafeString | str
    has_moved: bool


def context_of(upload: Upload, params: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """The context of the review; the number of queries does not depend on the number of messages."""
    counts, ways = counts_of(upload), _ways(upload)
    queues = ways.queues
    queue = params.get("queue", "") if params.get("queue", "") in queues else ""
    listed = replace(counts, refused=0, reference=0, **queues[queue]) if queue else counts
    shown = params.get("show", "") if params.get("show", "") in SHOWN else "all"
    pages = Pages.at(params.get("page", ""), _count(listed, shown))
    drafts, refusals = upload_rows.keys_on(pages, _drafts(upload, shown, queue), None if queue else _refusals(upload, shown))
    rows: list[DraftRow | RefusedMessage] = [*_rows(upload, drafts, now), *upload_rows.refused(upload, refusals, now)]
    return {
        "upload": upload,
        "counts": counts,
        "rows": upload_rows.in_order(rows),
        "tabs": [tab for tab in _tabs(listed) if tab[2] or tab[0] in ("all", "good", "refused")],
        "shown": shown,
        "kept": f"&{urlencode({'queue': queue})}" if queue else "",
        "pages": pages,
        "queues": {name: found["messages"] for name, found in queues.items()} if len(queues) > 1 else {},
        "queue": queue,
        "divided": _told_divided(ways.divided),
        "passed_on": warning(ways.passed_on, upload.group_id) if ways.passed_on else "",
        "moved": [row for row in rows if isinstance(row, DraftRow) and row.has_moved],
        "is_stale": upload.checked_at is not None and now - upload.checked_at > STALE,
        "checked": words.age_tag(upload.checked_at, now) if upload.checked_at else "",
    }


@dataclass(frozen=True, slots=True)
class _Ways:
    """Where the messages in review go: what is counted of each queue, as Counts names it; how many messages are passed on as they are;
    the groups whose messages go to several queues."""

    queues: dict[str, dict[str, int]]
    passed_on: int
    divided: list[str]


def _ways(upload: Upload) -> _Ways:
    """One query."""
    conditions = {"good": Q(effect__grade=GOOD), "warnings": Q(effect__grade=WARNING), "passed_on": Q(summary=NOT_UNDERSTOOD)}
    drafts = Draft.objects.filter(document__upload=upload).order_by()
    by_queue = drafts.values_list("queue").annotate(n=Count("pk"), **{name: Count("pk", filter=each) for name, each in conditions.items()})
    none = Value(NO_QUEUE, output_field=IntegerField())
    divided = (
        drafts.values_list("group_id")
        .annotate(n=Count("queue", distinct=True))
        .filter(n__gt=1)
        .annotate(good=none, warnings=none, passed_on=none)
    )
    rows = sorted(by_queue.union(divided, all=True))
    queues = [row for row in rows if row[-1] != NO_QUEUE]
    found = {queue: {"messages": count, "good": good, "warnings": warnings} for queue, count, good, warnings, _ in queues}
    return _Ways(found, sum(row[-1] for row in queues), [row[0] for row in rows if row[-1] == NO_QUEUE])


def _told_divided(groups: Sequence[str]) -> str:
    """That messages of these groups go to several queues, in a sentence; "" if none do."""
    if not groups:
        return ""
    more = f" and {len(groups) - MOST_NAMED:,} more" if len(groups) > MOST_NAMED else ""
    return (
        f"Messages of {', '.join(groups[:MOST_NAMED])}{more} go to several queues. A queue keeps the order of its own messages only: what "
        "goes to another one may be recorded before or after them."
    )


def with_counts(uploads: QuerySet[Upload]) -> QuerySet[Upload]:
    """Uploads with what is counted of each for its review."""
    of_upload = OuterRef("pk")
    grades = {"good": Q(effect__grade=GOOD), "warnings": Q(effect__grade=WARNING)}
    return uploads.annotate(
        counted_documents=upload_rows.counted(Document.objects.filter(upload=of_upload), documents=Count("pk"), size=Sum("size")),
        counted_drafts=upload_rows.counted(
            Draft.objects.filter(document__upload=of_upload),
            messages=Count("pk"),
            **{name: Count("pk", filter=asked) for name, asked in grades.items()},
        ),
        counted_refusals=upload_rows.counted(
            Refusal.objects.filter(document__upload=of_upload),
            refused=Count("pk", filter=~Q(code=REFERENCE)),
            reference=Count("pk", filter=Q(code=REFERENCE)),
        ),
    )


def counts_of(upload: Upload) -> Counts:
    """The counts of an upload that was read `with_counts`."""
    found: Any = upload
    return Counts(
        **upload_rows.numbers(found.counted_documents, "documents", "size"),
        **upload_rows.numbers(found.counted_drafts, "messages", "good", "warnings"),
        **upload_rows.numbers(found.counted_refusals, "refused", "reference"),
    )


def _tabs(counts: Counts) -> list[tuple[str, str, int, str]]:
    """The filters: name, word, count, tone."""
    return [
        ("all", "All", counts.messages + counts.refused + counts.reference, ""),
        ("good", "Good", counts.good, ""),
        ("warnings", "Warnings", counts.warnings, "warn" if counts.warnings else ""),
        ("other", "Not rehearsed", counts.other, ""),
        ("refused", "Refused", counts.refused, "bad" if counts.refused else ""),
        ("reference", "Reference", counts.reference, ""),
    ]


def _count(counts: Counts, shown: str) -> int:
    return next(count for name, _, count, _ in _tabs(counts) if name == shown)


def _drafts(upload: Upload, shown: str, queue: str) -> QuerySet[Draft] | None:
    drafts = drafts_of(upload).filter(queue=queue) if queue else drafts_of(upload)
    return {
        "all": drafts,
        "good": drafts.filter(effect__grade=GOOD),
        "warnings": drafts.filter(effect__grade=WARNING),
        "other": drafts.filter(Q(effect__isnull=True) | Q(effect__grade=NOT_REHEARSED)),
    }.get(shown)


def _refusals(upload: Upload, shown: str) -> QuerySet[Refusal] | None:
    refusals = Refusal.objects.filter(document__upload=upload)
    return {
        "all": refusals,
        "refused": refusals.exclude(code=REFERENCE),
        "reference": refusals.filter(code=REFERENCE),
    }.get(shown)


def _rows(upload: Upload, keys: list[int], now: datetime) -> list[DraftRow]:
    """The messages of a page. One query."""
    if not keys:
        return []
    changed = Trade.objects.filter(trade_id=OuterRef("trade_id"), updated_at__gt=upload.checked_at or now)
    drafts = upload_rows.with_documents(Draft.objects.filter(pk__in=keys).defer("body"), upload).annotate(has_moved=Exists(changed))
    attributes = size_of(0, upload.traceparent)
    return [_row(draft, attributes, now) for draft in drafts]


def _row(draft: Any, attributes: int, now: datetime) -> DraftRow:
    """A message with the size of its text: without the bytes of its attributes, which SQS counts."""
    effect = draft.effect or {}
    events = effect.get("events", [])
    badge = OUTCOMES.get(effect.get("outcome", ""), UNCHECKED)
    return DraftRow(
        key=f"d{draft.pk}",
        document=draft.document,
        part=draft.part,
        summary=draft.summary,
        kind=", ".join(name for name in (draft.message_type, draft.document.dialect) if name),
        trade=_trade(events[0]) if events else draft.trade_id,
        event=words.CLASSES[events[0]["event_class"]] if events and events[0]["event_class"] in words.CLASSES else "",
        place=_place(events[0]) if events else "",
        badge=badge,
        told=list(_told(effect, events)),
        flags=[
            *([SWALLOWED.format(draft.queue)] if effect.get("swallowed") else []),
            *(FLAG_WORDS[Flag(flag)] for event in events[:MOST_EVENTS] for flag in event["flags"] if flag in Flag.__members__),
        ],
        size=filesizeformat(draft.size - attributes),
        group=draft.group_id,
        queue=draft.queue,
        route=draft.route,
        same=upload_rows.same_content(draft, now),
        has_moved=draft.has_moved,
    )


def _trade(event: Mapping[str, Any]) -> SafeString | str:
    if event["is_new"]:
        return format_html('{} <span class="dim">new</span>', event["trade_id"])
    return format_html('<a class="id" href="{}">{}</a>', TradeAddress(event["trade_id"]).page(), event["trade_id"])


def _place(event: Mapping[str, Any]) -> str:
    """The event's place in the trade's order, and its number where it comes out of its place."""
    place, position = event["place"], event["position"]
    return f"{place:,}" if place == position else f"{place:,}, as event {position:,}"


def _told(effect: Mapping[str, Any], events: list[dict[str, Any]]) -> list[SafeString | str]:
    """What a message would do, in words."""
    outcome = effect.get("outcome")
    if outcome == "RECORDED":
        more = [f"And {words.plural(len(events) - MOST_EVENTS, 'further event')}."] if len(events) > MOST_EVENTS else []
        more += [FOLLOWS] if effect.get("follows") else []
        return [*(_turn(event, name=len(events) > 1) for event in events[:MOST_EVENTS]), *more]
    if outcome == "DUPLICATE":
        return ["The history has this content already, or an earlier message of this upload brings it; it would have no effect."]
    if outcome == "HELD":
        behind = effect.get("behind")
        if behind is None:
            return ["Would wait behind an earlier message of this upload."]
        message = format_html('<a href="{}">message {}</a>', reverse("message", args=[behind]), behind)
        return [format_html("Would wait behind the quarantined {}. What it then does is not foretold.", message)]
    if outcome == NOT_REHEARSED:
        return [f"A rehearsal takes up to {MOST:,} messages and {LONGEST:.0f} s, and this one was not reached."]
    return [effect["reason"]] if effect.get("reason") else []


def _turn(event: Mapping[str, Any], *, name: bool) -> SafeString:
    """What becomes of the trade: "Live to Cancelled, Received"."""
    state = _change(event["state_before"], event["state_after"], words.STATES)
    status = _change(event["status_before"], event["status_after"], words.STATUSES)
    said = format_html_join(mark_safe(", "), "{}", ((part,) for part in (state, status) if part))
    return format_html("{}: {}", event["trade_id"], said) if name else said


def _change(before: str, after: str, known: Mapping[str, Badge]) -> str:
    old, new = (known[value].word if value in known else value for value in (before, after))
    return new if old in ("", new) else f"{old} to {new}"
