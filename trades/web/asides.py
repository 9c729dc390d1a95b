"""What stands in a trade's history beside its events: messages that wait in quarantine, were discarded or made no event, and what
people did to those that did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils.safestring import SafeString

from trades import quarantine
from trades.models import AuditEntry, Event, Message, Trade
from trades.web import reasons, words
from trades.web.words import Badge

MOST = 50
LONGEST_NOTE = 160  # characters
LISTED = (
    "id", "outcome", "code", "reason", "line", "column", "recorded_at", "received_at", "repeats", "via_dead_letter", "conflicts_with",
    "message_id", "settled_at",
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
class Asides:
    """The newest of a trade's asides in the order of arrival, whether there are more, and what people did, by message. Of repeated
    deliveries nobody knows when they were, so that they are told of the present alone (`is_now`)."""

    rows: Sequence[Aside] = ()
    has_more: bool = False
    audit: Mapping[int, Sequence[AuditEntry]] = field(default_factory=dict)
    is_now: bool = True

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


def asides_of(trade: Trade, ids: Iterable[str], shown: Sequence[Message], moment: datetime | None, now: datetime) -> Asides:
    """The asides of a trade that goes by these ids, as far as known at the moment (None for now). Of the messages `shown` as events
    it gives what people did to them. Three queries."""
    keys = list(_candidates(trade, ids)[: MOST + 1])
    events = Event.objects.filter(Q(message=OuterRef("pk")) | Q(message__corrects=OuterRef("pk")))
    rows = Message.objects.filter(~Exists(events if moment is None else events.filter(recorded_at__lte=moment)), pk__in=keys[:MOST])
    rows = rows if moment is None else rows.filter(recorded_at__lte=moment)
    found = list(rows.only(*LISTED).order_by("pk"))
    told = [key for message in shown for key in (message.pk, message.corrects_id) if key is not None]
    known, later = _audit([*told, *(message.pk for message in found)], moment)
    made = [
        _aside(message, known.get(message.pk, ()), now)
        if moment is None
        else _aside_then(message, known.get(message.pk, ()), later.get(message.pk, ()), now)
        for message in found
    ]
    return Asides(made, len(keys) > MOST, known, moment is None)


def _candidates(trade: Trade, ids: Iterable[str]):  # type: ignore[no-untyped-def]  # a union of keys, newest first
    in_group = Message.objects.filter(queue=trade.queue, group_id=trade.group_id, stated_trade_id="").order_by()
    recorded = Event.objects.filter(trade=trade).order_by().values("message")
    branches = (
        Message.objects.filter(stated_trade_id__gt="", stated_trade_id__in=list(ids)).order_by(),
        in_group.filter(settled_at__isnull=False),
        in_group.filter(outcome=Outcome.QUARANTINED),
        in_group.filter(outcome=Outcome.HELD, code__gt=""),  # was in quarantine before
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
        return "Waits behind an earlier message of its group."
    place = words.place(message.line, message.column)
    why = words.cut(message.reason, LONGEST_NOTE)
    return f"{reasons.code_word(message.code)}{f', {place}' if place else ''}: {why}" if message.code else why
