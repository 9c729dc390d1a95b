"""What stands in a trade's history beside its events: messages that wait in quarantine, were discarded or made no event, and what
people did to those that did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import BooleanField, Case, Count, Exists, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.safestring import SafeString

from trades import quarantine
from trades.models import AuditEntry, Event, Hold, Message, Trade
from trades.web import reasons, words
from trades.web.words import Badge

MOST = 50
MOST_EXPORTED = 1_000
MOST_BLOCKED = 10  # messages in quarantine of the trade's group that the head names
MOST_WAITING = 10  # of the messages that wait in the trade's group, the first few
LONGEST_NOTE = 160  # characters
LISTED = (
    "id", "outcome", "code", "reason", "line", "column", "recorded_at", "received_at", "repeats", "via_dead_letter", "conflicts_with",
    "message_id", "settled_at", "stated_trade_id", "queue", "group_id",
)  # fmt: skip
Outcome, Action = Message.Outcome, AuditEntry.Action
ENDED = (Action.DISCARD, Action.CORRECT, Action.REPLAY)
READ_AGAIN = "In quarantine. It was read again since, so that the reason given then is not known."
CONFLICT = Badge("Publication conflict", "warn", "copy")


@dataclass(frozen=True, slots=True)
class Aside:
    """A message of the trade that is no event; `key` says where it came in the queue's order, `is_open` that it waits for a person."""

    key: int
    badges: list[Badge]
    when: SafeString
    sentence: str
    told: list[str]
    links: list[tuple[str, str]]
    is_open: bool
    is_dead_letter: bool


@dataclass(frozen=True, slots=True)
class Blocked:
    """A message in quarantine of the trade's message group: whether it may be about this trade, whether the group waits behind it, and
    how many messages do."""

    message: Message
    is_own: bool
    holds: bool
    waiting: int


@dataclass(frozen=True, slots=True)
class Asides:
    """The newest of a trade's asides in the order of arrival, whether there are more, and what people did, by message. Of repeated
    deliveries nobody knows when they were, so that they are told of the present alone (`is_now`)."""

    rows: Sequence[Aside] = ()
    has_more: bool = False
    audit: Mapping[int, Sequence[AuditEntry]] = field(default_factory=dict)
    is_now: bool = True
    blocked: Sequence[Blocked] = ()

    def told(self, message: Message) -> list[str]:
        """What people did to the message of an event or to the one it corrects, and how often it was delivered."""
        entries = [*self.audit.get(message.corrects_id or 0, ()), *self.audit.get(message.pk, ())]
        said = [_said(entry) for entry in entries if entry.action in ENDED]
        delivered = message.corrects or message
        if delivered.via_dead_letter:
            said.append("Came through the dead-letter queue.")
        if delivered.repeats and self.is_now:
            said.append(f"Delivered {delivered.repeats + 1:,} times, recorded once.")
        return said


def asides_of(
    trade: Trade, ids: Sequence[str], shown: Sequence[Message], moment: datetime | None, now: datetime, *, are_audited: bool = True
) -> Asides:
    """The asides of a trade that goes by these ids, as far as known at the moment (None for now), and what blocks its message group.
    Of the messages `shown` as events it gives what people did to them, unless nobody did anything. Two queries at most."""
    rows = _rows(trade, ids, moment)
    own = [row for row in rows if not _is_foreign(row, trade, ids)]
    found = [row for row in own[-MOST:] if not getattr(row, "is_event", False) and (moment is None or row.recorded_at <= moment)]
    told = [key for message in shown for key in (message.pk, message.corrects_id) if key is not None] if are_audited else []
    told += [message.pk for message in found if getattr(message, "is_audited", True)]
    known, later = _audit(told, moment) if told else ({}, {})
    made = [
        _aside(message, known.get(message.pk, ()), now)
        if moment is None
        else _aside_then(message, known.get(message.pk, ()), later.get(message.pk, ()), now)
        for message in found
    ]
    blocked = [] if moment is not None else _blocked(rows, trade, ids)
    return Asides(made, len(own) > MOST, known, moment is None, blocked)


def _rows(trade: Trade, ids: Iterable[str], moment: datetime | None) -> list[Message]:
    """The messages that may be asides, and those in quarantine that block the trade's message group, in the order of arrival."""
    events = Event.objects.all() if moment is None else Event.objects.filter(recorded_at__lte=moment)
    group = {"queue": trade.queue, "group_id": trade.group_id}
    refused = Message.objects.filter(**group, outcome=Outcome.QUARANTINED).order_by("-id").values("id")[:MOST_BLOCKED]
    holding = Hold.objects.filter(**group).values("message")
    waiting = Message.objects.filter(**group, outcome=Outcome.HELD).order_by().values("group_id").annotate(n=Count("pk")).values("n")
    rows = Message.objects.filter(Q(pk__in=_candidates(trade, ids)[: MOST + 1]) | Q(pk__in=refused) | Q(pk__in=holding))
    rows = rows.annotate(
        is_event=_is_told(events),
        is_audited=Exists(AuditEntry.objects.filter(message=OuterRef("pk"))),
        names_it=_names(trade),
        behind=Subquery(holding[:1]),
        waiting=Coalesce(Subquery(waiting), 0),
    )
    return list(rows.only(*LISTED).order_by("pk"))


def _is_foreign(row: Message, trade: Trade, ids: Sequence[str]) -> bool:
    """Whether the message shares the trade's message group alone, and names another trade."""
    in_group = row.group_id == trade.group_id and row.queue == trade.queue
    return in_group and bool(row.stated_trade_id) and row.stated_trade_id not in ids and row.conflicts_with_id is None


def _blocked(rows: Sequence[Message], trade: Trade, ids: Sequence[str]) -> list[Blocked]:
    """The messages of the trade's group that are in quarantine, the one that the group waits behind first."""
    refused = [row for row in rows if row.outcome == Outcome.QUARANTINED and (row.queue, row.group_id) == (trade.queue, trade.group_id)]
    blocked = [
        Blocked(row, not _is_foreign(row, trade, ids), getattr(row, "behind", None) == row.pk, getattr(row, "waiting", 0))
        for row in reversed(refused)
    ]
    return sorted(blocked, key=lambda row: not row.holds)[:MOST_BLOCKED]


def listed(message: Message, now: datetime) -> Aside:
    """A message by itself, as it is now, where nothing is said of what people did with it."""
    return _made(message, (), Outcome(message.outcome), _why(message, Outcome(message.outcome)), now)


def not_events(trade: Trade, ids: Iterable[str]) -> list[Message]:
    """The messages of a trade that are no events: in quarantine, waiting, discarded; the newest, in the order of arrival. One query."""
    rows = Message.objects.filter(~_is_told(Event.objects.all()), pk__in=_candidates(trade, ids)[:MOST_EXPORTED])
    return list(rows.defer("body", "attributes").order_by("pk"))


def _is_told(events: QuerySet[Event]) -> Q:
    """Whether a message, or a correction of it, brought one of the events. Asked apart: no index serves both at once."""
    return Q(Exists(events.filter(message=OuterRef("pk")))) | Q(Exists(events.filter(message__corrects=OuterRef("pk"))))


def _names(trade: Trade) -> Case:
    """Whether a message that was not read yet holds the trade's id, or is too large to be looked through; asked only of the few rows
    that are listed."""
    is_waiting, may_hold = Q(outcome=Outcome.HELD, stated_trade_id=""), Q(body__contains=trade.trade_id) | Q(payload__isnull=False)
    return Case(When(is_waiting & may_hold, then=Value(True)), default=Value(False), output_field=BooleanField())


def _candidates(trade: Trade, ids: Iterable[str]):  # type: ignore[no-untyped-def]  # a union of keys, newest first
    in_group = Message.objects.filter(queue=trade.queue, group_id=trade.group_id, stated_trade_id="").order_by()
    recorded = Event.objects.filter(trade=trade).order_by().values("message")
    waiting = in_group.filter(outcome=Outcome.HELD).order_by("id").values("id")[:MOST_WAITING]
    branches = (
        Message.objects.filter(stated_trade_id__gt="", stated_trade_id__in=list(ids)).order_by(),
        in_group.filter(settled_at__isnull=False),
        in_group.filter(outcome=Outcome.QUARANTINED),
        in_group.filter(outcome=Outcome.HELD, code__gt=""),  # was in quarantine before
        Message.objects.filter(pk__in=waiting).order_by(),
        Message.objects.filter(conflicts_with__isnull=False, conflicts_with__in=recorded).order_by(),
        Message.objects.filter(conflicts_with__isnull=False, conflicts_with__corrections__in=recorded).order_by(),
    )
    first, *others = (branch.values_list("id", flat=True) for branch in branches)
    return first.union(*others).order_by("-id")


Entries = Mapping[int, Sequence[AuditEntry]]


def _audit(keys: Sequence[int], moment: datetime | None) -> tuple[Entries, Entries]:
    """What people had done to the messages at the moment, and what they did later; the first first. One query."""
    known: dict[int, list[AuditEntry]] = defaultdict(list)
    later: dict[int, list[AuditEntry]] = defaultdict(list)
    for entry in AuditEntry.objects.filter(message__in=keys).select_related("user").order_by("pk"):
        (known if moment is None or entry.at <= moment else later)[entry.message_id].append(entry)
    return known, later


def _aside(message: Message, entries: Sequence[AuditEntry], now: datetime) -> Aside:
    """A message as it is now."""
    outcome = Outcome(message.outcome)
    aside = _made(message, entries, outcome, _why(message, outcome), now)
    if message.repeats:
        aside.told.append(f"Delivered {message.repeats + 1:,} times.")
    return aside


def _aside_then(message: Message, entries: Sequence[AuditEntry], later: Sequence[AuditEntry], now: datetime) -> Aside:
    """A message as it was when these entries were known. What became of it later was not known then, so that only they count."""
    last = _last(entries)
    was_held = last is not None and last.action == Action.HELD and (bool(later) or message.outcome == Outcome.HELD)
    outcome = Outcome.HELD if was_held else Outcome.QUARANTINED
    return _made(message, entries, outcome, READ_AGAIN if not was_held and _reads_again(message, later) else _why(message, outcome), now)


def _reads_again(message: Message, later: Sequence[AuditEntry]) -> bool:
    """Whether the reason that is stored may be another than before these acts."""
    is_reference = message.outcome == Outcome.REFERENCE  # which has a sentence of its own in the place of the reason
    giving_another = (Action.REPLAY_REFUSED, Action.HELD, *([Action.REPLAY] if is_reference else []))
    return any(entry.action in giving_another for entry in later)


def _last(entries: Sequence[AuditEntry]) -> AuditEntry | None:
    return next((entry for entry in reversed(entries) if entry.action != Action.REPLAY_REFUSED), None)


def _made(message: Message, entries: Sequence[AuditEntry], outcome: Message.Outcome, why: str, now: datetime) -> Aside:
    last = _last(entries)
    ended = last if last is not None and last.action in ENDED else None
    badges = [_badge(ended) if ended else words.OUTCOMES[outcome]]
    links = [("Message", reverse("message", args=[message.pk]))]
    behind = getattr(message, "behind", None)
    if outcome == Outcome.HELD and ended is None and behind not in (None, message.pk):
        links.append((f"Waits behind message {behind}", reverse("message", args=[behind])))
    if message.conflicts_with_id is not None:
        badges.append(CONFLICT)
        links.append(("The earlier message of this publication", reverse("message", args=[message.conflicts_with_id])))
    return Aside(
        key=message.pk,
        badges=badges,
        when=words.time_tag(message.received_at, now),
        sentence=_said(ended) if ended else why,
        told=[_said(last)] if last is not None and last.action == Action.UNDO_DISCARD else [],
        links=links,
        is_open=ended is None and outcome in (Outcome.QUARANTINED, Outcome.HELD),
        is_dead_letter=message.via_dead_letter,
    )


def _badge(last: AuditEntry) -> Badge:
    return {Action.DISCARD: words.OUTCOMES["DISCARDED"], Action.CORRECT: words.OUTCOMES["CORRECTED"]}.get(
        Action(last.action), words.REPLAYED
    )


def _said(entry: AuditEntry) -> str:
    note = f": {words.cut(reasons.noted(entry), LONGEST_NOTE)}" if entry.note else "."
    return f"{reasons.done(entry)} by {quarantine.who(entry)}{note}"


def _why(message: Message, outcome: Message.Outcome) -> str:
    if outcome == Outcome.HELD:
        if message.code or message.stated_trade_id or getattr(message, "names_it", True):
            return "Waits behind an earlier message of its group."
        return "In the same message group: waits behind an earlier message, and is not read yet. It may be about another trade."
    place = words.place(message.line, message.column)
    why = words.cut(message.reason, LONGEST_NOTE)
    return f"{reasons.code_word(message.code)}{f', {place}' if place else ''}: {why}" if message.code else why
