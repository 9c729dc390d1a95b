"""What people do with the outbox: cancel what need not be sent any more, send again, and see what waits, fails or may arrive twice.

Each act holds the lease of its queue, so that no sender is at work on the row; each is an audit entry.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Count, Max, Min, Q

from trades import leases, sending
from trades.leases import Clock
from trades.models import AuditEntry, Publication, PublicationQuerySet
from trades.quarantine import Actor, who

State, Action = Publication.State, AuditEntry.Action
# SQS forgets a deduplication id after five minutes (AWS, exactly-once processing in Amazon SQS).
HORIZON, NEAR = timedelta(minutes=5), timedelta(minutes=4)
PATIENCE_SECONDS = 3  # for a sender that is in the middle of a call
DID = {Action.CANCEL: "cancelled it", Action.RESEND: "had it sent again"}
UNSENT = ["body", "pointer"]  # not needed to act, and large


class Conflict(Exception):
    """A publication is not as the person saw it, or a sender is at work: a sentence of who did what when. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What was cancelled; `uncertain` are those of them that may be in the queue all the same."""

    publications: list[Publication]
    uncertain: list[Publication]

    @property
    def warning(self) -> str:
        """A sentence about those that may be in the queue, "" without any."""
        if not self.uncertain:
            return ""
        which = "It" if len(self.publications) == 1 else f"{len(self.uncertain):,} of them"
        return f"{which} may be in the queue already: the answer to an attempt to send was lost. A worker that receives it records it."


@dataclass(frozen=True, slots=True)
class Resent:
    """What was tried again at once: how each publication stands now, how many messages of its group went before one that had been
    sent already, and what stopped the sending, if anything did."""

    publications: list[Publication]
    behind: dict[int, int]
    problems: list[str]

    @property
    def sentences(self) -> list[str]:
        """What happened to each, and what to know about it."""
        return [self._sentence(publication) for publication in self.publications] + self.problems

    def _sentence(self, publication: Publication) -> str:
        if publication.state == State.SENT:
            said = f"{_name(publication)}: sent as message {publication.message_id}."
        else:
            said = f"{_name(publication)}: waits in the outbox. {publication.last_error}".rstrip(". ") + "."
        if publication.pk not in self.behind:
            return said
        after = self.behind[publication.pk]
        order = f" It goes behind {after:,} later {'message' if after == 1 else 'messages'} of its group." if after else ""
        return f"{said}{order} A portal that has it already acknowledges it without effect; another receiver may take it twice."


@dataclass(frozen=True, slots=True)
class Counts:
    """What waits in the outbox: publications, those of them that failed, those that may be in the queue, those of these that may soon
    be put into it twice, and since when the oldest waits."""

    pending: int
    failing: int
    uncertain: int
    near_horizon: int
    oldest: datetime | None


def cancel(publications: Iterable[int], *, actor: Actor, reason: str, clock: Clock, seen: Mapping[int, str] | None = None) -> Cancelled:
    """Never send these unsent publications (keys); all of them, or none.

    `seen` are the revisions that the person saw, by key. Raises Conflict, or ValueError without a reason.
    """
    if not reason.strip():
        raise ValueError("A reason is needed to cancel a publication.")
    with _undisturbed(publications, clock) as pks, transaction.atomic():
        rows = _locked(pks, seen, clock(), State.PENDING)
        Publication.objects.filter(pk__in=pks).update(state=State.CANCELLED)
        for row in rows:
            _audit(Action.CANCEL, row, actor, reason, clock())
    return Cancelled(rows, [row for row in rows if row.uncertain_since is not None])


def resend(publications: Iterable[int], *, actor: Actor, clock: Clock, reason: str = "", seen: Mapping[int, str] | None = None) -> Resent:
    """Send these publications (keys) now: unsent ones are tried at once, with the others of their queues; one that was sent goes
    again, as the same publication under a new deduplication id, so that SQS takes it. What SQS answered before stays in the audit.

    `seen` are the revisions that the person saw, by key. Raises Conflict.
    """
    with _undisturbed(publications, clock) as pks, transaction.atomic():
        rows = _locked(pks, seen, clock(), State.PENDING, State.SENT)
        behind = _later([row for row in rows if row.state == State.SENT])
        for row in rows:
            _audit(Action.RESEND, row, actor, " ".join(filter(None, [reason.strip(), _facts(row)])), clock())
            if row.state == State.SENT:
                _make_unsent(row)
    deliveries = sending.deliver_for_person(sorted({row.queue for row in rows}), clock=clock)
    after = Publication.objects.filter(pk__in=pks).defer(*UNSENT).order_by("pk")
    return Resent(list(after), behind, [delivery.problem for delivery in deliveries if delivery.problem])


def revision(publication: Publication) -> str:
    """What a person saw of the publication when they decided, such as "17.SENT": its newest audit entry (0 without one) and its state,
    which a sender changes without an entry."""
    return revisions([publication])[publication.pk]


def revisions(publications: Collection[Publication]) -> dict[int, str]:
    """The same for several, by their keys. One query."""
    entries = AuditEntry.objects.filter(publication__in=[row.pk for row in publications])
    newest = dict(entries.values_list("publication").annotate(Max("pk")))
    return {row.pk: f"{newest.get(row.pk, 0)}.{row.state}" for row in publications}


def near_horizon(now: datetime) -> PublicationQuerySet:
    """Unsent publications that may be in the queue, and that SQS will soon not know any more: sent again, they may be in it twice."""
    return Publication.objects.unsent().filter(uncertain_since__lte=now - NEAR)


def horizon_warning(count: int) -> str:
    """What to know about so many of these."""
    if count == 1:
        start = "1 publication may be in the queue already, and the answer of SQS has been missing"
    else:
        start = f"{count:,} publications may be in the queue already, and the answers of SQS have been missing"
    return (
        f"{start} for more than four minutes. After five SQS forgets their deduplication ids, and sending again may put them into the "
        "queue twice. Workers of the portal acknowledge the second one without effect; other receivers may not."
    )


def counts(now: datetime) -> Counts:
    """What waits in the outbox. One query."""
    found = Publication.objects.filter(state=State.PENDING).aggregate(
        pending=Count("pk"),
        failing=Count("pk", filter=Q(attempts__gt=0)),
        uncertain=Count("pk", filter=Q(uncertain_since__isnull=False)),
        near_horizon=Count("pk", filter=Q(uncertain_since__lte=now - NEAR)),
        oldest=Min("created_at"),
    )
    return Counts(**found)


def count_unsent(queue: str) -> int:
    """How many publications of a queue wait."""
    return Publication.objects.filter(state=State.PENDING, queue=queue).count()


def has_unsent_but(groups: Mapping[str, Collection[str]], queues: Collection[str] = ()) -> bool:
    """Whether anything waits that is of none of these message groups, by queue, and for none of these queues."""
    unsent = Publication.objects.filter(state=State.PENDING).exclude(queue__in=queues)
    for queue, names in groups.items():
        if names:
            unsent = unsent.exclude(queue=queue, group_id__among=names)
    return unsent.exists()


# Rows


@contextmanager
def _undisturbed(publications: Iterable[int], clock: Clock) -> Iterator[list[int]]:
    """Hold the leases of the queues that these publications are for. Raises Conflict while another sender is at work."""
    pks = sorted(set(publications))
    with ExitStack() as stack:
        for queue in Publication.objects.filter(pk__in=pks).values_list("queue", flat=True).distinct().order_by("queue"):
            if stack.enter_context(leases.holding(queue, clock, PATIENCE_SECONDS)) is None:
                raise Conflict(f"A sender is at work on {queue} just now. Try again in a moment. Nothing was changed.")
        yield pks


def _locked(pks: Sequence[int], seen: Mapping[int, str] | None, now: datetime, *states: Publication.State) -> list[Publication]:
    # On PostgreSQL a nullable join can't be locked, so no select_related here.
    rows = list(Publication.objects.select_for_update().filter(pk__in=pks).defer(*UNSENT).order_by("pk"))
    known = revisions(rows)
    for row in rows:
        if row.state not in states or (seen is not None and known[row.pk] != seen.get(row.pk)):
            raise Conflict(_told(row, (seen or {}).get(row.pk, ""), now))
    if len(rows) < len(pks):
        raise Conflict("Some of these publications do not exist. Nothing was changed.")
    return rows


def _told(row: Publication, seen: str, now: datetime) -> str:
    """What became of a publication since the person looked."""
    entry = (
        AuditEntry.objects.filter(publication=row, pk__gt=int(seen.partition(".")[0] or 0)).select_related("user").order_by("-pk").first()
    )
    if entry is not None:
        what = f"{who(entry)} {DID.get(Action(entry.action), entry.action)} at {_moment(entry.at, now)}."
    elif row.state == State.SENT and row.sent_at is not None:
        what = f"It was sent at {_moment(row.sent_at, now)}, as message {row.message_id}."
    else:
        what = f"It is {row.get_state_display().lower()}."
    return f"{_name(row)} is no longer as it was shown. {what} Nothing was changed by you."


def _make_unsent(row: Publication) -> None:
    row.state, row.deduplication_id = State.PENDING, uuid.uuid4().hex
    row.attempts, row.last_error, row.uncertain_since, row.sent_at = 0, "", None, None
    row.message_id = row.md5 = row.sequence_number = row.pointer = ""
    row.swallowed = False
    row.save(
        update_fields=[
            "state", "deduplication_id", "attempts", "last_error", "uncertain_since", "sent_at", "message_id", "md5", "sequence_number",
            "pointer", "swallowed",
        ]
    )  # fmt: skip


def _later(rows: Sequence[Publication]) -> dict[int, int]:
    """How many messages of its group were sent after each, by key. One query, for the table has no index by group."""
    behind = {row.pk: 0 for row in rows}
    if not rows:
        return behind
    groups: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        groups[row.queue, row.group_id].append(row.pk)
    sent = Publication.objects.filter(state=State.SENT, pk__gt=min(behind), queue__in={queue for queue, _ in groups})
    sent = sent.filter(group_id__among={group for _, group in groups})
    for queue, group, later in sent.values_list("queue", "group_id", "pk").iterator():
        for pk in groups.get((queue, group), ()):
            behind[pk] += pk < later
    return behind


def _facts(row: Publication) -> str:
    """How it stood before it was sent again, in words."""
    if row.state != State.SENT or row.sent_at is None:
        return f"After {row.attempts:,} attempts that failed."
    at = row.sent_at.astimezone(UTC)
    sequence = f", sequence number {row.sequence_number}" if row.sequence_number else ""
    under = f", deduplication id {row.deduplication_id}" if row.deduplication_id else ""
    return f"Sent before at {at:%H:%M:%S} UTC on {at.day} {at:%b %Y} as message {row.message_id}{sequence}{under}, MD5 {row.md5}."


def _name(row: Publication) -> str:
    return row.summary or f"Publication {row.publication_id}"


def _moment(at: datetime, now: datetime) -> str:
    at = at.astimezone(UTC)
    day = "" if at.date() == now.astimezone(UTC).date() else f" on {at.day} {at:%b %Y}"
    return f"{at:%H:%M:%S} UTC{day}"


def _audit(action: str, row: Publication, actor: Actor, note: str, now: datetime) -> None:
    AuditEntry(at=now, user=actor.user, origin=actor.origin[:150], action=action, publication=row, note=note.strip()).save()  # type: ignore[misc]
