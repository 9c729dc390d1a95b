"""What is wrong with trades just now, by kind of trouble: what to look at first, how much of it there is, and how old it is.

Counts are bounded, and every list is read along an index from its oldest end, so that a page costs the same however many trades
there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import BigIntegerField, BooleanField, CharField, Count, Exists, F, Func, OuterRef, Q, QuerySet, Subquery, Value
from django.utils import timezone

from trades.lifecycle import Kind, Status
from trades.models import AuditEntry, Event, Hold, Message, Trade, TradeException, TradeIdentifier

COUNTED = 2_000  # rows of one source, the oldest; beyond that a count is "2,000+"
COUNTS_LAST = 2  # seconds
NOBODY = 0  # as the owner that is asked for


class Group(StrEnum):
    """What is wrong, in the order in which it is shown."""

    REJECTED = "rejected"
    DISPUTED = "disputed"
    WAITING = "waiting"
    GAP = "gap"
    CONFLICT = "conflict"
    AFTER_END = "after-end"
    LATE = "late"
    OVERDUE = "overdue"


KINDS: dict[Group, Kind] = {
    Group.GAP: Kind.GAP,
    Group.LATE: Kind.LATE,
    Group.CONFLICT: Kind.CONFLICT,
    Group.AFTER_END: Kind.AFTER_END,
}
STATUSES: dict[Group, Status] = {Group.REJECTED: Status.REJECTED, Group.DISPUTED: Status.DISPUTED}
# The ends of the parts of the ageing bar; what is older than the last is the fifth.
AGES = (timedelta(minutes=30), timedelta(hours=1), timedelta(hours=4), timedelta(days=1))


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a trade may stay in a status: past `warn` somebody should look at it, past `limit` it is an exception."""

    warn: timedelta
    limit: timedelta


def limit_of(status: str | None) -> Limit | None:
    """The limit of a status (its word, as stored), None where it has none. Meant for trades that are pending or live."""
    limit = settings.TRADES_STATUS_LIMITS.get(status or "")
    return Limit(limit / 2, limit) if limit else None


class Entry(NamedTuple):
    """One exception: its group, its trade's key (None for a message group that no trade is known for), since when, its row's key."""

    group: str
    trade: int | None
    since: datetime
    key: int


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for; `age` is the number of a part of the ageing bar, `owner` a user's key or NOBODY."""

    groups: Sequence[Group] = tuple(Group)
    age: int | None = None
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many exceptions there are, by group and part of the ageing bar, and the groups of which more were not counted."""

    by_part: Mapping[tuple[str, int], int] = field(default_factory=dict)
    cut: frozenset[str] = frozenset()

    def of(self, groups: Iterable[str], age: int | None = None) -> int:
        """How many of these groups, of one age or of all."""
        parts = range(len(AGES) + 1) if age is None else (age,)
        return sum(self.by_part.get((group, part), 0) for group in groups for part in parts)


# Where exceptions are


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows of one table, with the columns of Entry under those names."""

    group: Group
    rows: QuerySet[Any]


def _sources(groups: Iterable[Group], now: datetime, owner: int | None) -> Iterator[_Source]:
    for group in groups:
        if group is Group.WAITING:
            yield _Source(group, _waiting(owner))
        elif group in KINDS:
            rows = TradeException.objects.filter(kind=KINDS[group].value, acknowledged_at__isnull=True)
            if owner is not None:
                rows = rows.filter(_owned(owner, "trade__"))
            yield _Source(group, rows.annotate(trade_pk=F("trade_id"), at=F("since"), row_pk=F("pk")))
        elif group in STATUSES:
            yield _Source(group, _standing(STATUSES[group], owner))
        else:
            for status, limit in settings.TRADES_STATUS_LIMITS.items():
                if status not in STATUSES.values():
                    yield _Source(group, _standing(Status(status), owner).filter(status_since__lt=now - limit))


class _Unfinished(Func):
    """Whether a state is not an end. SQLite takes the partial index only where its condition stands in the text itself."""

    template = "%(expressions)s IN ('PENDING', 'LIVE')"
    output_field = BooleanField()


def _standing(status: Status, owner: int | None) -> QuerySet[Any]:
    rows = Trade.objects.filter(_Unfinished(F("state")), status=status.value)
    if owner is not None:
        rows = rows.filter(_owned(owner, ""))
    return rows.annotate(trade_pk=F("pk"), at=F("status_since"), row_pk=F("pk"))


def _waiting(owner: int | None) -> QuerySet[Any]:
    held = Message.objects.filter(outcome=Message.Outcome.HELD, queue=OuterRef("queue"), group_id=OuterRef("group_id"))
    known = TradeIdentifier.objects.filter(value=OuterRef("group_id")).order_by("pk").values("trade_id")[:1]
    rows = Hold.objects.filter(Exists(held)).annotate(
        trade_pk=Subquery(known, output_field=BigIntegerField()), at=F("since"), row_pk=F("pk")
    )
    if owner is not None:
        rows = rows.filter(trade_pk__in=Trade.objects.filter(_owned(owner, "")).values("pk"))
    return rows


def _owned(owner: int, path: str) -> Q:
    return Q(**{f"{path}owner__isnull": True}) if owner == NOBODY else Q(**{f"{path}owner": owner})


# How many, and how old


def count(now: datetime, owner: int | None = None) -> Counts:
    """All exceptions, or those whose trades belong to somebody, by group and age. One query."""
    bounds = [connection.ops.adapt_datetimefield_value(now - age) for age in AGES]
    cases = " ".join(f"WHEN s.at >= %s THEN {part}" for part in range(len(AGES)))
    parts, params = [], []
    for source in _sources(Group, now, owner):
        sql, values = source.rows.order_by("at", "row_pk").values_list("at")[:COUNTED].query.sql_with_params()
        # Words of ours and SQL that Django wrote; every value travels as a parameter.
        parts.append(
            f"SELECT '{source.group.value}' AS what, c.part, COUNT(*) FROM "  # noqa: S608
            f"(SELECT CASE {cases} ELSE {len(AGES)} END AS part FROM ({sql}) AS s) AS c GROUP BY c.part"
        )
        params += [*bounds, *values]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), params)
        found = cursor.fetchall()
    by_part: Counter[tuple[str, int]] = Counter()
    for group, part, number in found:
        by_part[group, part] += number
    counts = Counts(by_part)
    return Counts(by_part, frozenset(group for group in Group if counts.of([group]) >= COUNTED))


def open_counts() -> Counts:
    """All exceptions, as far as they are counted. At most one query every two seconds."""
    found: Counts | None = cache.get_or_set("exceptions-open", lambda: count(timezone.now()), COUNTS_LAST)
    return found or Counts()


def waiting_groups() -> QuerySet[Hold]:
    """The message groups in which messages wait behind one in quarantine."""
    return _waiting(None)


# Which


def oldest(search: Search, now: datetime, most: int, after: tuple[datetime, int] | None = None) -> list[Entry]:
    """The oldest exceptions, at most so many of each group, after one of them (its `since` and `key`). One query."""
    queries: list[QuerySet[Any]] = []
    for source in _sources(search.groups, now, search.owner):
        rows = source.rows.filter(_of_age(search.age, now))
        if after is not None:
            since, key = after
            rows = rows.filter(Q(at__gte=since) & (Q(at__gt=since) | Q(row_pk__gt=key)))
        # SQLite takes no LIMIT within a union.
        first = source.rows.model.objects.filter(pk__in=rows.order_by("at", "row_pk").values("pk")[:most])
        queries.append(_entries(source, first))
    found = [Entry(*row) for row in queries[0].union(*queries[1:], all=True)]
    by_group: dict[str, list[Entry]] = {}
    for entry in sorted(found, key=lambda entry: (entry.since, entry.key)):
        by_group.setdefault(entry.group, []).append(entry)
    return [entry for group in search.groups for entry in by_group.get(group, [])[:most]]


def _entries(source: _Source, rows: QuerySet[Any]) -> QuerySet[Any]:
    if source.group is Group.WAITING:
        known = TradeIdentifier.objects.filter(value=OuterRef("group_id")).order_by("pk").values("trade_id")[:1]
        trade: Any = Subquery(known, output_field=BigIntegerField())
    else:
        trade = F("trade_id") if source.group in KINDS else F("pk")
    since = F("status_since") if source.rows.model is Trade else F("since")
    columns = {"what": Value(source.group.value, CharField()), "trade_pk": trade, "at": since, "row_pk": F("pk")}
    entries: QuerySet[Any] = rows.order_by().annotate(**columns).values_list("what", "trade_pk", "at", "row_pk")
    return entries


def _of_age(age: int | None, now: datetime) -> Q:
    if age is None:
        return Q()
    younger = Q(at__lt=now - AGES[age - 1]) if age else Q()
    return younger & Q(at__gte=now - AGES[age]) if age < len(AGES) else younger


# What is known of them


@dataclass(frozen=True, slots=True)
class Held:
    """A message group that waits: behind which message, and how many messages."""

    hold: Hold
    waiting: int


@dataclass(frozen=True, slots=True)
class Known:
    """What a list of exceptions needs, by key: trades (with owner and newest note), events by trade, message groups."""

    trades: Mapping[int, Trade]
    events: Mapping[int, Sequence[Event]]
    holds: Mapping[int, Held]


def known_of(entries: Sequence[Entry]) -> Known:
    """The trades of these exceptions, the events that gave cause for them and the last event of each. Three queries."""
    pks = {entry.trade for entry in entries if entry.trade is not None}
    newest = AuditEntry.objects.filter(trade=OuterRef("pk"), action=AuditEntry.Action.NOTE).order_by("-id")
    trades = Trade.objects.filter(pk__in=pks).select_related("owner").annotate(
        note=Subquery(newest.values("note")[:1]),
        noted_at=Subquery(newest.values("at")[:1]),
        noted_by=Subquery(newest.values("user__username")[:1]),
    )  # fmt: skip
    causes = {entry.since for entry in entries if entry.group in KINDS}
    wanted = Q(recorded_at__in=causes) | Q(place=F("trade__event_count"))
    events: dict[int, list[Event]] = {}
    for event in Event.objects.filter(wanted, trade__in=pks).defer("details").order_by("position"):
        events.setdefault(event.trade_id, []).append(event)
    return Known(trades.in_bulk(), events, _holds_of([entry.key for entry in entries if entry.group == Group.WAITING]))


def _holds_of(keys: Sequence[int]) -> dict[int, Held]:
    held = Message.objects.filter(outcome=Message.Outcome.HELD, queue=OuterRef("queue"), group_id=OuterRef("group_id"))
    waiting = Subquery(held.order_by().values("group_id").annotate(n=Count("pk")).values("n"))
    rows = Hold.objects.filter(pk__in=keys).select_related("message").defer("message__body", "message__attributes")
    return {row.pk: Held(row, row.waiting or 0) for row in rows.annotate(waiting=waiting)}


# What people noted


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody noted about a trade: plain text."""

    text: str
    who: str
    at: datetime


def notes_of(trade: Trade, most: int = 100) -> list[Note]:
    """What people noted about a trade, the newest first. One query."""
    rows = AuditEntry.objects.filter(trade=trade, action=AuditEntry.Action.NOTE).select_related("user").order_by("-id")[:most]
    return [Note(row.note, row.user.get_username() if row.user else row.origin, row.at.astimezone(UTC)) for row in rows]


def last_acknowledged() -> AuditEntry | None:
    """The newest act by which somebody took a trade off the list, if it is among the newest acts at all."""
    newest = AuditEntry.objects.order_by("-id").values("pk")[:COUNTED]
    rows = AuditEntry.objects.filter(pk__in=newest, action=AuditEntry.Action.ACKNOWLEDGE)
    return rows.select_related("user").order_by("-id").first()
