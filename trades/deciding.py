"""Decide about what is in review: publish all of its messages, only the good ones, or none. It happens once, whoever is first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import QuerySet

from trades import publishing, sending
from trades.handing_in import by_bytes, drafts_of
from trades.models import AuditEntry, Draft, Publication, Upload

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

NAMED = 20  # messages left out that the audit entry names
DECIDED = {Upload.Stage.PUBLISHED: "published", Upload.Stage.WITHDRAWN: "withdrew"}
GOOD = "good"  # Draft.effect["grade"] of a message with nothing to look at (trades.foretelling)


class Choice(StrEnum):
    """What is published: all messages that could be read, those with nothing to look at, or none."""

    ALL = "all"
    GOOD = "good"
    NONE = "none"


class Conflict(Exception):
    """The upload is not as the person saw it: a sentence of what happened meanwhile."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many messages were published, and how many were left out."""

    published: int
    left_out: int


def chosen(drafts: QuerySet[Draft], choice: Choice) -> QuerySet[Draft]:
    """Those of the drafts that a choice publishes."""
    if choice is Choice.ALL:
        return drafts
    return drafts.filter(effect__grade=GOOD) if choice is Choice.GOOD else drafts.none()


def decide(
    upload: Upload, choice: Choice, *, user: AbstractBaseUser, clock: Callable[[], datetime], expected: int | None = None
) -> Decision:
    """Turn what is chosen of the drafts into publications and send them; the other drafts are dropped, their documents stay.

    `expected` is how many messages the person was told would be published. Raises Conflict when that is not so any more, or when
    somebody has decided already; then nothing is changed.
    """
    now = clock()
    with transaction.atomic():
        locked = Upload.objects.select_for_update().get(pk=upload.pk)
        if locked.stage != Upload.Stage.REVIEW:
            raise Conflict(decided(locked, now))
        drafts = drafts_of(locked)
        wanted = chosen(drafts, choice)
        count, total = wanted.count(), drafts.count()
        # Their groups are those of each file by itself until they are checked together: order would be lost.
        if wanted.filter(effect__isnull=True).exists():
            raise Conflict("Not all of these messages have been checked together. Check again, then decide. Nothing was published.")
        if expected is not None and count != expected:
            raise Conflict(f"The review has changed: {count:,} instead of {expected:,} messages would be published. Nothing was published.")
        queues = _publish(wanted, now, locked.traceparent)
        decision = Decision(count, total - count)
        _close(locked, choice, decision, user, now)
    sending.deliver_for_person(queues, clock=clock)
    return decision


def _publish(drafts: QuerySet[Draft], now: datetime, traceparent: str) -> list[str]:
    """Make a row of the outbox of every draft, in order, and drop these drafts; gives the queues that they are for."""
    queues: dict[str, None] = {}
    whole = drafts.select_related("document", "payload").defer("document__content", "effect")
    for chunk in by_bytes(list(drafts.values_list("pk", "size", "payload")), lambda row: 0 if row[2] else row[1]):
        keys = [pk for pk, _, _ in chunk]
        rows = list(whole.filter(pk__in=keys))
        Publication.objects.bulk_create([publishing.publication(row, now=now, traceparent=traceparent) for row in rows])
        queues |= dict.fromkeys(row.queue for row in rows)
        Draft.objects.filter(pk__in=keys).delete()
    return list(queues)


def _close(upload: Upload, choice: Choice, decision: Decision, user: AbstractBaseUser, now: datetime) -> None:
    left_out = drafts_of(upload)
    names = list(left_out.values_list("document__name", "part", "summary")[:NAMED])
    Draft.objects.filter(document__upload=upload).delete()
    upload.stage = Upload.Stage.WITHDRAWN if choice is Choice.NONE else Upload.Stage.PUBLISHED
    upload.decided_at = now
    upload.save(update_fields=["stage", "decided_at"])
    action = AuditEntry.Action.WITHDRAW if choice is Choice.NONE else AuditEntry.Action.PUBLISH
    AuditEntry(at=now, user=user, action=action, upload=upload, note=_note(decision, names)).save()  # type: ignore[misc]


def _note(decision: Decision, left_out: list[tuple[str, int, str]]) -> str:
    """What was decided, in words."""
    said = f"{decision.published:,} of {decision.published + decision.left_out:,} messages published."
    if not left_out:
        return said
    more = f" and {decision.left_out - len(left_out):,} more" if decision.left_out > len(left_out) else ""
    return f"{said} Left out: {'; '.join(f'{summary} ({name}, message {part})' for name, part, summary in left_out)}{more}."


def decided(upload: Upload, now: datetime) -> str:
    """Who decided about an upload, and when, as a sentence."""
    entry = AuditEntry.objects.filter(upload=upload).select_related("user").order_by("-id").first()
    who = entry.user.get_username() if entry and entry.user else "Somebody"
    at = (upload.decided_at or upload.created_at).astimezone(UTC)
    day = "" if at.date() == now.astimezone(UTC).date() else f" on {at.day} {at:%b %Y}"
    return f"{who} {DECIDED[Upload.Stage(upload.stage)]} this upload at {at:%H:%M:%S} UTC{day}. Nothing was changed by you."
