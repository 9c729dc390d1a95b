"""What must be true at the end of a run, whatever broke: each a sentence when it is not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.fifo.database import rows
from tests.fifo.invariants import WAITING, Identity, Row, Watch
from trades.asof import Known, as_known_at
from trades.lifecycle import kinds_in, marks_of, reached_at
from trades.models import Trade

MOST_DELIVERIES_IN_CALM = 3


def check_all(watch: Watch) -> Iterator[str]:
    """A sentence for everything that is not as it must be at the end of a run."""
    watch.committed()
    yield from every_message_is_accounted_for(watch)
    yield from outgoing_is_told(watch)
    yield from handlers_took_everything(watch)
    yield from waiting_is_visible(watch)
    yield from events_are_in_queue_order(watch)
    yield from trades_are_as_told_anew()
    yield from the_queue_is_not_asked_again_and_again(watch)


def every_message_is_accounted_for(watch: Watch) -> Iterator[str]:
    """Each accepted publication, and each foreign message, has one row; one that is recorded has events, a copy its original."""
    events = Counter(pk for (pk,) in rows(watch.connection, "SELECT message_id FROM trades_event"))
    by_identity: defaultdict[Identity, list[Row]] = defaultdict(list)
    for row in watch.rows:
        if row.message_id in watch.of_message:
            by_identity[watch.of_message[row.message_id]].append(row)
        if row.outcome == "RECORDED" and not events[row.pk]:
            yield f"message {row.message_id} is recorded and has no event"
        if row.outcome != "RECORDED" and events[row.pk]:
            yield f"message {row.message_id} is {row.outcome.lower()} and has events"
    for identity in watch.first:
        if len(by_identity[identity]) != 1:
            yield f"{watch.name_of(identity)} is stored {len(by_identity[identity])} times"


def outgoing_is_told(watch: Watch) -> Iterator[str]:
    """Every publication that was stored is sent, as the message that SQS says it is, or cancelled; and what may have been sent, or
    swallowed, says so."""
    outbox = watch.outbox.read()
    sent = {(row.publication_id, row.message_id): row for row in outbox if row.state == "SENT"}
    swallowed = {(each.publication_id, each.message_id) for each in watch.broker.swallowed}
    acts = watch.outbox.acts()
    for row in outbox:
        text, identity = row.publication_id, (row.publication_id, row.sha256)
        of_message = watch.of_message.get(row.message_id)
        if row.state == "CANCELLED":
            if "cancel" not in acts[row.pk]:
                yield f"publication {text} is cancelled, and nobody did it"
            if identity in watch.first and not row.is_uncertain and "resend" not in acts[row.pk]:
                yield f"publication {text} is cancelled and was accepted, and nothing says that it may have been"
        elif row.state != "SENT":
            yield f"publication {text} is still {row.state.lower()}"
        elif of_message is None or watch.texts[row.message_id] != row.sha256:
            yield f"publication {text} is noted as sent as message {row.message_id}, which is another"
        elif of_message == identity:
            if row.swallowed:
                yield f"publication {text} is noted as swallowed, and message {row.message_id} is its own"
        elif (text, row.message_id) not in swallowed:
            yield f"publication {text} is noted as sent as message {row.message_id}, which is that of {of_message[0] or 'another sender'}"
        elif not row.swallowed and (first := sent.get((of_message[0], row.message_id))) and not acts[first.pk]:
            yield f"publication {text} was swallowed for message {row.message_id} of publication {of_message[0]}, and nothing says so"


def handlers_took_everything(watch: Watch) -> Iterator[str]:
    """What was recorded was given to the handler of its queue."""
    yield from watch.handling.end() if watch.handling else ()


def waiting_is_visible(watch: Watch) -> Iterator[str]:
    """What waits, waits behind a message in quarantine that its group is held for."""
    found = rows(watch.connection, "SELECT queue, group_id, message_id FROM trades_hold")
    holds = {(queue, group): pk for queue, group, pk in found}
    by_pk = {row.pk: row for row in watch.rows}
    for (_, group), pk in holds.items():
        if by_pk[pk].outcome != "QUARANTINED":
            yield f"group {group} is held for message {by_pk[pk].message_id}, which is {by_pk[pk].outcome.lower()}"
    for row in watch.rows:
        if row.outcome in WAITING and watch.hold and (row.queue, row.group) not in holds:
            yield f"message {row.message_id} is {row.outcome.lower()} and nothing holds its group {row.group}"
        if row.outcome == "HELD" and row.pk < holds.get((row.queue, row.group), 0):
            yield f"message {row.message_id} is held behind a later one of its group"


def events_are_in_queue_order(watch: Watch) -> Iterator[str]:
    """The events of a trade from one group stand in the order of acceptance; what a person let in later is marked as overtaken."""
    by_pk = {row.pk: row for row in watch.rows}
    found = rows(
        watch.connection,
        "SELECT e.trade_id, m.queue, m.group_id, e.position, e.message_id, e.flags FROM trades_event e "
        "JOIN trades_message m ON m.id = e.message_id ORDER BY e.trade_id, m.queue, m.group_id, e.position",
    )
    # The latest so far of each trade, queue and group: of all its events, and of those that SQS did not give up.
    newest: dict[tuple[int, str, str], int] = {}
    sound: dict[tuple[int, str, str], int] = {}
    for trade, queue, group, position, pk, flags in found:
        origin, key = by_pk[by_pk[pk].corrects or pk], (trade, queue, group)
        identity = watch.of_message[origin.message_id]
        index, is_dead_letter = watch.first[identity], identity in watch.given_up
        is_overtaken = index < sound.get(key, -1)
        may_be = is_dead_letter or origin.pk in watch.undone or (not watch.hold and origin.is_settled)
        where = f"event {position} of trade {trade}, of message {origin.message_id} (number {index + 1} accepted)"
        if is_overtaken and not may_be:
            yield f"{where}, stands after an event of a message that group {group} accepted later"
        # A worker that is slower than SQS's patience records a dead letter without a mark.
        if is_overtaken and "OVERTAKEN" not in _json(flags) and not is_dead_letter:
            yield f"{where}, is overtaken and its flags are {_json(flags)}"
        # Of a dead letter nobody knows what came before it: whatever is in the history counts as later.
        if index > newest.get(key, -1) and "OVERTAKEN" in _json(flags) and not is_dead_letter:
            yield f"{where}, is not overtaken and its flags are {_json(flags)}"
        newest[key] = max(index, newest.get(key, -1))
        if not is_dead_letter:
            sound[key] = max(index, sound.get(key, -1))


def trades_are_as_told_anew() -> Iterator[str]:
    """Positions 1..n, places, flags and state of each trade are what telling all its events from nothing gives."""
    for trade in Trade.objects.order_by("id"):
        known = as_known_at(trade)
        told = known.in_queue_order()
        if [item.event.position for item in told] != list(range(1, trade.event_count + 1)):
            yield f"trade {trade} counts {trade.event_count} events at positions {[item.event.position for item in told]}"
        if [(item.event.place, item.event.flags) for item in told] != [(item.chapter.place, item.flags) for item in told]:
            yield f"places or flags of trade {trade} are not those of the story told anew"
        standing = known.story.standing
        stored = (trade.state, trade.status, trade.version)
        if stored != (standing.state, standing.status or "", standing.version):
            yield f"trade {trade} is {stored}, and told anew it is {standing}"
        if trade.flagged_count != sum(bool(item.flags) for item in told):
            yield f"trade {trade} counts {trade.flagged_count} events with flags"
        yield from _exceptions_are_as_told(trade, known)


def _exceptions_are_as_told(trade: Trade, known: Known) -> Iterator[str]:
    marks = marks_of(flag for item in known.in_queue_order() for flag in item.flags)
    kinds = set(trade.exceptions.values_list("kind", flat=True))
    if trade.exception_marks != marks or kinds != set(kinds_in(marks)):
        yield f"trade {trade} has the marks {trade.exception_marks} and the exceptions {sorted(kinds)}; its events give cause for {marks}"
    since: datetime | None = None
    for item in known.in_business_order():
        if item.chapter.status is not known.story.standing.status:
            since = None
        elif since is None:
            since = reached_at(item.event.event_time, item.event.recorded_at)
    if since is not None and trade.status_since != since:
        yield f"trade {trade} is in its status since {trade.status_since}; told anew it is since {since}"


def the_queue_is_not_asked_again_and_again(watch: Watch) -> Iterator[str]:
    """Once nothing breaks any more, no message is delivered more than a few times."""
    deliveries = Counter(delivery.message_id for delivery in watch.broker.deliveries[watch.calm_since or 0 :])
    for message_id, count in deliveries.items():
        if count > MOST_DELIVERIES_IN_CALM:
            yield f"message {message_id} was delivered {count} times after the faults had stopped"


def _json(value: Any) -> list[str]:
    return list(json.loads(value) if isinstance(value, str) else value)
