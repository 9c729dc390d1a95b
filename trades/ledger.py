"""Enter understood messages into the histories of their trades, inside the caller's transaction.

An event that comes after all others of its trade, as nearly all do, costs the same however long the history is; for any other the
trade is opened and told anew. The number of queries does not depend on the number of messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Max
from django.db.models.functions import Coalesce

from trades import bulk, description, identifiers, retelling
from trades.course import ADDRESSING, Course, Story, append, must_retell
from trades.lifecycle import Flag, Happening, Standing, State, Status, marks_of, reached_at
from trades.marking import Marking
from trades.messages.facts import EventClass, ParsedMessage, TradeEvent
from trades.models import Event, Message, Trade, TradeLink
from trades.order import Extent, Marks
from trades.retelling import Opened

CHANGING = [
    "state", "status", "version", "event_count", "flagged_count", "last_class", "highest_version", "last_event_time", "order_marks",
    "queue", "group_id", "trade_date", "product", "parties", "notional", "updated_at", "status_since", "exception_marks",
]  # fmt: skip

# Events told again and again, in one batch for one trade, to find out what was known after each of its events. An event beyond this
# that comes before others keeps the state and status known before it: they stand in its row as a record only.
MOST_TOLD = 200_000


@dataclass(slots=True)
class Entry:
    """One message to enter, with what it was understood to be, and whether one before it in its group is in quarantine.

    `place` is given where later messages of its group may be in the history already: theirs are greater, and each message's own is
    its key, or that of the message it stands in for; 0 means that any of the group may be later. The message need not be saved yet.
    """

    message: Message
    parsed: ParsedMessage
    after_gap: bool = False
    place: int | None = None


@dataclass(slots=True)
class Entered:
    """Events, each with its message and trade, to save once the messages are saved, and the messages that turned out to be copies."""

    events: list[tuple[Event, Message, Trade]] = field(default_factory=list)
    copies: list[Message] = field(default_factory=list)
    links: list[TradeLink] = field(default_factory=list)
    changes: retelling.Changes = field(default_factory=retelling.Changes)
    marking: Marking = field(default_factory=Marking)

    def save(self) -> None:
        """Store the events, what they change of others, and the new standing of their trades."""
        for event, message, _ in self.events:
            event.message_id = message.pk
        self.changes.save()
        bulk.insert([event for event, _, _ in self.events])
        bulk.rewrite(list({trade.pk: trade for _, _, trade in self.events}.values()), CHANGING)
        self.marking.save()
        for link in self.links:
            link.message_id = link.message.pk
        if self.links:
            TradeLink.objects.bulk_create(self.links, ignore_conflicts=True)


@dataclass(slots=True)
class Arrival:
    """One event of a message that its trade's history does not have yet, and what becomes of it."""

    entry: Entry
    part: int
    fact: TradeEvent
    content: str
    happening: Happening
    flags: list[Flag]
    position: int = 0
    place: int = 0
    standing: Standing = field(default_factory=Standing)
    told: tuple[Flag, ...] = ()


@dataclass(slots=True)
class Account:
    """One trade with the events that arrive for it in this batch; `appended` of them came after all others."""

    trade: Trade
    standing: Standing
    extent: Extent
    arrivals: list[Arrival] = field(default_factory=list)
    appended: int = 0
    told_marks: int = 0
    new_marks: int = 0


def enter(entries: Sequence[Entry], *, now: datetime) -> Entered:
    """Work out the events that the messages add, in the order given. A message whose every event is in the history already, byte
    for byte, becomes a DUPLICATE of the message that brought it."""
    entered = Entered()
    facts = [(entry, part, fact) for entry in entries for part, fact in enumerate(entry.parsed.events, start=1)]
    if not facts:
        return entered
    matched = identifiers.match([fact for _, _, fact in facts], now)
    accounts, arrivals = _arrivals(facts, matched, entered, now)
    sequences = Sequences(accounts.values())
    for account in accounts.values():
        _append(account, sequences)
    _retell([account for account in accounts.values() if account.appended < len(account.arrivals)], sequences, entered.changes, now)
    for account in accounts.values():
        _update(account, entered.marking, now)
    for trade, arrival in arrivals:
        entered.events.append((_event(trade, arrival), arrival.entry.message, trade))
    _unmark_partial_copies(entered)
    return entered


# What arrives, by trade


def _arrivals(
    facts: Sequence[tuple[Entry, int, TradeEvent]], matched: identifiers.Matched, entered: Entered, now: datetime
) -> tuple[dict[int, Account], list[tuple[Trade, Arrival]]]:
    """The new events, by trade and in the order given. Copies are marked, links between trades noted."""
    seen = _seen_contents(facts)
    overtaken = _overtaken(facts, matched)
    accounts: dict[int, Account] = {}
    arrivals: list[tuple[Trade, Arrival]] = []
    for index, ((entry, part, fact), trade) in enumerate(zip(facts, matched.trades, strict=True)):
        content = _content_sha256(entry.message, part)
        if (original := seen.get((trade.pk, content))) is not None:
            _mark_copy(entry, original, entered)
            continue
        seen[trade.pk, content] = entry.message
        flags = [*([Flag.GROUP_GAP] if entry.after_gap else []), *([Flag.OVERTAKEN] if index in overtaken else [])]
        if others := matched.others.get(index):
            flags.append(Flag.TWO_TRADES)
            entered.links += [_link(trade.pk, other, entry.message, now) for other in others]
        if (account := accounts.get(trade.pk)) is None:
            account = accounts[trade.pk] = Account(trade, _standing_of(trade), _extent_of(trade))
        arrival = Arrival(entry, part, fact, content, retelling.happening_of(fact), flags)
        account.arrivals.append(arrival)
        arrivals.append((trade, arrival))
    return accounts, arrivals


def _seen_contents(facts: Iterable[tuple[Entry, int, TradeEvent]]) -> dict[tuple[int, str], int | Message]:
    contents = [_content_sha256(entry.message, part) for entry, part, _ in facts]
    rows = Event.objects.filter(content_sha256__among=contents).values_list("trade_id", "content_sha256", "message_id")
    return {(trade, content): message for trade, content, message in rows}


def _overtaken(facts: Sequence[tuple[Entry, int, TradeEvent]], matched: identifiers.Matched) -> set[int]:
    """The events (by index) whose trade has one of a later message of the same group already. One query if any entry asks for it."""
    pairs = enumerate(zip(facts, matched.trades, strict=True))
    places = [(index, entry.message, entry.place, trade.pk) for index, ((entry, _, _), trade) in pairs if entry.place is not None]
    if not places:
        return set()
    # A message has no smaller key than the one it stands in for.
    later = Event.objects.filter(trade__in={pk for _, _, _, pk in places}, message__gt=min(place for _, _, place, _ in places))
    newest = later.values_list("trade", "message__queue", "message__group_id").annotate(n=Max(Coalesce("message__corrects", "message")))
    found = {(trade, queue, group_id): highest for trade, queue, group_id, highest in newest}
    return {index for index, message, place, pk in places if found.get((pk, message.queue, message.group_id), place) > place}


def _link(one: int, other: int, message: Message, now: datetime) -> TradeLink:
    return TradeLink(first_id=min(one, other), second_id=max(one, other), message=message, since=now)


class Sequences:
    """The highest sequence so far in each thread of the trades that get an event with one. At most one query."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        asked = {
            (account.trade.pk, arrival.happening.thread)
            for account in accounts
            if account.trade.event_count
            for arrival in account.arrivals
            if arrival.happening.sequence is not None and arrival.happening.thread
        }
        self.highest: dict[tuple[int, tuple[str, str] | None], int] = {}
        if asked:
            rows = Event.objects.filter(
                trade__in={pk for pk, _ in asked}, correlation_id__among=[thread[1] for _, thread in asked], correlation_id__gt=""
            ).filter(sequence__isnull=False)
            for pk, sender, correlation_id, highest in rows.values_list("trade_id", "sender", "correlation_id").annotate(Max("sequence")):
                self.highest[pk, (sender, correlation_id)] = highest

    def of(self, pk: int, happening: Happening) -> int | None:
        """The highest sequence before this event in its thread within its trade."""
        return self.highest.get((pk, happening.thread))

    def note(self, pk: int, happening: Happening) -> None:
        """Take an event into account for those after it."""
        if happening.sequence is not None and happening.thread:
            key = (pk, happening.thread)
            self.highest[key] = max(happening.sequence, self.highest.get(key, happening.sequence))


# The two paths


def _append(account: Account, sequences: Sequences) -> None:
    """Take the events that come after all others, up to the first that may not."""
    pk, count = account.trade.pk, account.trade.event_count
    for arrival in account.arrivals:
        if must_retell(account.standing, account.extent, arrival.happening, sequences.of(pk, arrival.happening)):
            return
        count += 1
        arrival.position = arrival.place = count
        account.standing, arrival.told = append(account.standing, account.extent, arrival.happening)
        account.extent = account.extent.extended(arrival.happening)
        arrival.standing = account.standing
        account.appended += 1
        sequences.note(pk, arrival.happening)


def _retell(accounts: Sequence[Account], sequences: Sequences, changes: retelling.Changes, now: datetime) -> None:
    """Put the remaining events of these trades in their places, and tell what all events of the trades lead to."""
    opened = retelling.open_trades([account.trade.pk for account in accounts])
    searches = []
    for account in accounts:
        history = opened[account.trade.pk]
        story = _insert(account, history, sequences)
        changes.add(history, story)
        for arrival, chapter in zip(account.arrivals, story.chapters[len(history.stored) :], strict=True):
            arrival.place, arrival.told = chapter.place, chapter.flags
        account.trade.flagged_count = history.flagged(story)
        account.told_marks, account.new_marks = history.marks(story)
        account.trade.status_since = history.status_since(story, max(now, account.trade.updated_at))
        sources: list[description.Source] = [row.pk for row in history.stored]
        sources += [arrival.fact for arrival in account.arrivals]
        searches.append(description.search_for(history.course.happenings, story.chapters, sources))
    description.find(searches)
    for account, search in zip(accounts, searches, strict=True):
        search.describe(account.trade)


def _insert(account: Account, history: Opened, sequences: Sequences) -> Story:
    """Add the events to an opened history, each with what was known after it; gives the story of all."""
    course, pk, told = history.course, account.trade.pk, 0
    if Marks.UNKNOWN in account.extent.marks:
        account.standing = course.tell().standing
    for arrival in account.arrivals[: account.appended]:
        course.add(arrival.happening)
    for arrival in account.arrivals[account.appended :]:
        happening, extent, order = arrival.happening, course.extent, course.order
        is_in_doubt = must_retell(account.standing, extent, happening, sequences.of(pk, happening))
        before = list(order) if is_in_doubt else order
        if course.add(happening) < len(course.happenings):
            arrival.flags.append(Flag.LATE)
        if not is_in_doubt or _is_last(course, before, account.standing, happening):
            account.standing, _ = append(account.standing, extent, happening)
        elif told <= MOST_TOLD:
            # What is known now is told now: state and status after an event must not depend on what came in the same batch.
            account.standing = course.tell().standing
            told += len(course.happenings)
        arrival.standing = account.standing
        sequences.note(pk, happening)
    for position, arrival in enumerate(account.arrivals, start=len(history.stored) + 1):
        arrival.position = position
    story = course.tell()
    account.standing, account.extent = story.standing, course.extent
    return story


def _is_last(course: Course, order: Sequence[int], standing: Standing, happening: Happening) -> bool:
    """Whether an event just added came after all others without moving them, and changes nothing of what they mean."""
    if happening.event_class in ADDRESSING or (happening.event_class is EventClass.BOOK and standing.state is State.PENDING):
        return False
    return course.order[-1] == len(order) and course.order[:-1] == order


def _standing_of(trade: Trade) -> Standing:
    return Standing(State(trade.state), Status(trade.status) if trade.status else None, trade.version)


def _extent_of(trade: Trade) -> Extent:
    return Extent(trade.highest_version, trade.last_event_time, Marks(trade.order_marks), trade.event_count)


def _update(account: Account, marking: Marking, now: datetime) -> None:
    """The trade as its events leave it."""
    trade, standing, extent, newest = account.trade, account.standing, account.extent, account.arrivals[-1]
    is_told_anew = account.appended < len(account.arrivals)
    # A worker that waited for the trade, or whose clock is behind, records no earlier than the one before it.
    trade.updated_at = max(now, trade.updated_at)
    if not is_told_anew:
        _follow(trade, account.arrivals)
    caused = account.new_marks
    for arrival in account.arrivals:
        if arrival.told or arrival.flags:
            trade.flagged_count += 1
            caused |= marks_of(arrival.told) | marks_of(arrival.flags)
    if caused or is_told_anew:
        marks = caused | (account.told_marks if is_told_anew else trade.exception_marks)
        marking.note(trade, caused=caused, marks=marks, at=trade.updated_at)
    trade.state, trade.status = standing.state.value, standing.status.value if standing.status else ""
    trade.version, trade.event_count = standing.version, newest.position
    trade.highest_version, trade.last_event_time, trade.order_marks = extent.highest_version, extent.latest_time, extent.marks.value
    trade.last_class = newest.fact.event_class.value
    trade.queue, trade.group_id = newest.entry.message.queue, newest.entry.message.group_id


def _follow(trade: Trade, arrivals: Sequence[Arrival]) -> None:
    """Describe the trade by events that come after all its others, and note when they brought it into its status."""
    status, is_first = trade.status, not trade.event_count
    for arrival in arrivals:
        reached = arrival.standing.status
        if is_first or (reached or "") != status:
            status, is_first = reached or "", False
            trade.status_since = reached_at(arrival.fact.event_time, trade.updated_at)
        if Flag.AFTER_END not in arrival.told:
            description.take_over(trade, arrival.fact)


# Rows


def _event(trade: Trade, arrival: Arrival) -> Event:
    fact, standing = arrival.fact, arrival.standing
    return bulk.new(
        Event,
        trade_id=trade.pk,
        position=arrival.position,
        place=arrival.place,
        part=arrival.part,
        event_class=fact.event_class.value,
        event_kind=fact.event_kind,
        status=fact.status,
        version=fact.version,
        sequence=fact.sequence,
        sender=fact.sender,
        document_message_id=fact.message_id,
        correlation_id=fact.correlation_id,
        in_reply_to=fact.in_reply_to,
        event_time=fact.event_time,
        event_time_text=fact.event_time_text,
        trade_date=fact.trade_date,
        reason=fact.reason,
        details=_details(fact),
        flags=retelling.sorted_flags(arrival.told, arrival.flags) if arrival.told or arrival.flags else [],
        state_after=standing.state.value,
        status_after=standing.status.value if standing.status else "",
        content_sha256=arrival.content,
        recorded_at=trade.updated_at,
    )


def _details(fact: TradeEvent) -> dict[str, Any]:
    related = [{"scheme": trade_id.scheme, "id": trade_id.value} for trade_id in fact.related_ids]
    other = [{"scheme": trade_id.scheme, "id": trade_id.value} for trade_id in fact.trade_ids[1:]]
    return dict(fact.details) | ({"other_ids": other} if other else {}) | ({"related_ids": related} if related else {})


def _content_sha256(message: Message, part: int) -> str:
    return message.body_sha256 if part == 1 else hashlib.sha256(f"{message.body_sha256}:{part}".encode()).hexdigest()


def _mark_copy(entry: Entry, original: int | Message, entered: Entered) -> None:
    entry.message.outcome = Message.Outcome.DUPLICATE
    if isinstance(original, Message):
        entry.message.repeats_message = original
    else:
        entry.message.repeats_message_id = original
    if not entered.copies or entered.copies[-1] is not entry.message:  # its parts come one after the other
        entered.copies.append(entry.message)


def _unmark_partial_copies(entered: Entered) -> None:
    """A message that brought at least one new event is recorded, not a duplicate."""
    bringing = {id(message) for _, message, _ in entered.events}
    for message in [message for message in entered.copies if id(message) in bringing]:
        message.outcome, message.repeats_message = Message.Outcome.RECORDED, None
        entered.copies.remove(message)
