"""Before anything is published: what each message in review would do to its trades.

It is found out by recording the messages, in the order in which they would be published, inside a transaction that is rolled back,
so that it is what recording does. What is in the queue and not recorded yet is not counted in.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction

from trades import bulk, history, identifiers, publishing, quarantine, sqs
from trades.deciding import GOOD
from trades.handing_in import PUBLICATION_ID, Groups, drafts_of
from trades.history import Judgement
from trades.messages.facts import MessageRefused
from trades.models import Draft, Event, Hold, Message, Trade, Upload

# A rehearsal holds locks that the workers need, on SQLite the only one there is: so many messages, and so long.
MOST, LONGEST = 2_000, 8.0  # messages, s
CHUNK = 100
NOT_REHEARSED, WARNING = "NOT_REHEARSED", "warning"
Outcome = Message.Outcome


@dataclass(frozen=True, slots=True)
class ForetoldEvent:
    """One event that a trade would get: its number in queue order, its place in business order, and the trade's own state and status
    before it ("" of a new trade) and after."""

    trade_id: str
    scheme: str
    is_new: bool
    position: int
    place: int
    event_class: str
    flags: list[str]
    state_before: str
    state_after: str
    status_before: str
    status_after: str


@dataclass(slots=True)
class Effect:
    """What a message would come to: a Message.Outcome or NOT_REHEARSED, why where it is not understood any more, the message in
    quarantine that it would wait behind, its events in the order of the text, and whether it follows a message of its group in the
    upload that is not good: without that one it would come to something else than is foretold."""

    outcome: str
    reason: str = ""
    behind: int | None = None
    events: list[ForetoldEvent] = field(default_factory=list)
    follows: bool = False

    @property
    def grade(self) -> str:
        """GOOD where there is nothing to look at, else WARNING; a message that was not rehearsed is neither."""
        if self.outcome == NOT_REHEARSED:
            return NOT_REHEARSED
        is_good = self.outcome in (Outcome.RECORDED, Outcome.REFERENCE) and not any(event.flags for event in self.events)
        return GOOD if is_good and not self.follows else WARNING


def check(upload: Upload, *, now: datetime) -> int:
    """Foretell what the drafts of an upload would do and store it with them; gives how many were rehearsed, from the first on.

    Nothing is stored of an upload that somebody decides about meanwhile.
    """
    drafts = list(drafts_of(upload).defer("effect"))
    judgements = [history.judge(draft.body) for draft in drafts]
    _put_into_groups(drafts, judgements)
    count = min(len(drafts), MOST)
    effects = rehearse(drafts[:count], judgements[:count], now=now) if count else []
    _mark_what_follows(drafts, effects)
    effects += [Effect(NOT_REHEARSED) for _ in drafts[len(effects) :]]
    with transaction.atomic():
        locked = Upload.objects.select_for_update().get(pk=upload.pk)
        if locked.stage == Upload.Stage.REVIEW:
            _store(drafts, effects)
            locked.checked_at = now
            locked.save(update_fields=["checked_at"])
    return sum(effect.outcome != NOT_REHEARSED for effect in effects)


def _put_into_groups(drafts: Sequence[Draft], judgements: Sequence[Judgement]) -> None:
    """The group of each message, asked in the upload's order: the files need not have come in it, and trades may have been made since."""
    understood = [judgement for judgement in judgements if not isinstance(judgement, MessageRefused) and judgement.events]
    groups = Groups()
    groups.look_up(understood)
    for draft, judgement in zip(drafts, judgements, strict=True):
        if not isinstance(judgement, MessageRefused) and judgement.events:
            draft.group_id = groups.of(judgement)


def _mark_what_follows(drafts: Sequence[Draft], effects: Sequence[Effect]) -> None:
    doubtful: set[str] = set()
    for draft, effect in zip(drafts, effects, strict=False):
        effect.follows = draft.group_id in doubtful
        if effect.grade != GOOD and effect.outcome != Outcome.DUPLICATE:
            doubtful.add(draft.group_id)


def rehearse(drafts: Sequence[Draft], judgements: Sequence[Judgement], *, now: datetime) -> list[Effect]:
    """What these messages of one queue would do, recorded in this order, up to what takes too long. Nothing of it stays."""
    return quarantine.in_one_transaction(lambda: _record_and_look(drafts, judgements, now))


def _record_and_look(drafts: Sequence[Draft], judgements: Sequence[Judgement], now: datetime) -> list[Effect]:
    try:
        before = _known(judgements)
        received = [_received(draft, now) for draft in drafts]
        recorded: list[str] = []
        ends = time.monotonic() + LONGEST
        for batch in publishing.chunks(zip(received, judgements, strict=True), CHUNK):
            if time.monotonic() > ends:
                break
            history.record_judged([each for each, _ in batch], [judged for _, judged in batch], now=now, hold=settings.TRADES_HOLD)
            recorded += [each.message_id for each, _ in batch]
        return _look(recorded, drafts[0].queue, before) if recorded else []
    finally:
        transaction.set_rollback(True)


def _known(judgements: Iterable[Judgement]) -> dict[int, tuple[str, str]]:
    """State and status of the trades that these messages are about and that exist, by their keys. Two queries."""
    keys = identifiers.keys_of(fact for judged in judgements if not isinstance(judged, MessageRefused) for fact in judged.events)
    if not keys:
        return {}
    pks = set(identifiers.known_trades(keys.values()).values())
    rows = Trade.objects.filter(pk__among=list(pks)).values_list("pk", "state", "status") if pks else ()
    return {pk: (state, status) for pk, state, status in rows}


def _received(draft: Draft, now: datetime) -> sqs.Received:
    """The message as it would come out of the queue, under ids that no other has."""
    invented = uuid.uuid4()
    return sqs.Received(
        queue=draft.queue,
        message_id=f"rehearsal-{invented}",
        receipt_handle="",
        body=draft.body,
        md5=sqs.md5_of(draft.body),
        group_id=draft.group_id,
        deduplication_id=invented.hex,
        sequence_number="",
        sent_at=now,
        receive_count=1,
        attributes={PUBLICATION_ID: str(invented)},
        received_at=now,
    )


def _look(message_ids: Sequence[str], queue: str, before: Mapping[int, tuple[str, str]]) -> list[Effect]:
    """What recording made of the messages, in their order; `before` is what was known of their trades."""
    rows = Message.objects.filter(queue=queue, message_id__among=list(message_ids))
    messages = {row["message_id"]: row for row in rows.values("pk", "message_id", "outcome", "reason", "group_id")}
    ours = [row["pk"] for row in messages.values()]
    events = _events(ours, before)
    held = {row["group_id"] for row in messages.values() if row["outcome"] == Outcome.HELD}
    found = Hold.objects.filter(queue=queue, group_id__among=list(held)).values_list("group_id", "message_id") if held else ()
    # One that waits behind another message of the rehearsal has no address to name.
    holds = {group: pk for group, pk in found if pk not in set(ours)}
    return [
        Effect(row["outcome"], row["reason"], holds.get(row["group_id"]) if row["outcome"] == Outcome.HELD else None, events[row["pk"]])
        for row in (messages[message_id] for message_id in message_ids)
    ]


def _events(pks: Sequence[int], before: Mapping[int, tuple[str, str]]) -> dict[int, list[ForetoldEvent]]:
    """The events that messages brought, by message and in the order of the text."""
    rows = list(Event.objects.filter(message__in=list(pks)).select_related("trade").defer("details", "reason").order_by("position"))
    known, foretold = dict(before), []
    for row in rows:
        state, status = known.get(row.trade_id, ("", ""))
        foretold.append((row, _foretold(row, state, status, is_new=row.trade_id not in before)))
        known[row.trade_id] = row.state_after, row.status_after
    events: dict[int, list[ForetoldEvent]] = {pk: [] for pk in pks}
    for row, event in sorted(foretold, key=lambda pair: pair[0].part):
        events[row.message_id].append(event)
    return events


def _foretold(row: Event, state_before: str, status_before: str, *, is_new: bool) -> ForetoldEvent:
    return ForetoldEvent(
        trade_id=row.trade.trade_id,
        scheme=row.trade.scheme,
        is_new=is_new,
        position=row.position,
        place=row.place,
        event_class=row.event_class,
        flags=list(row.flags),
        state_before=state_before,
        state_after=row.state_after,
        status_before=status_before,
        status_after=row.status_after,
    )


def _store(drafts: Sequence[Draft], effects: Sequence[Effect]) -> None:
    rows = [(draft.pk, draft.group_id, asdict(effect) | {"grade": effect.grade}) for draft, effect in zip(drafts, effects, strict=True)]
    table, document = bulk.given(rows, {"draft": "bigint", "of_group": "text", "effect": "jsonb"})
    statement = (
        f"UPDATE trades_draft SET group_id = given.of_group, effect = given.effect FROM {table} "  # noqa: S608 - our own names
        "WHERE trades_draft.id = given.draft"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [document])
