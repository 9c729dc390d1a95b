"""Before anything is published: what each message in review would do to its trades.

It is found out by recording the messages, in the order in which they would be published, inside a transaction that is rolled back,
so that it is what recording does. What is in the queue and not recorded yet is not counted in. Texts are read a few at a time,
large ones from a file.
"""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from trades import bulk, history, identifiers, payloads, quarantine, routes, sqs
from trades.deciding import GOOD
from trades.fetching import Fetched
from trades.handing_in import PUBLICATION_ID, Groups, by_bytes, drafts_of
from trades.history import Judgement
from trades.messages.facts import MessageRefused
from trades.models import Draft, Event, Hold, Message, Publication, Trade, Upload
from trades.sqs import buckets

# A rehearsal holds locks that the workers need, on SQLite the only one there is: so many messages, and so long.
MOST, LONGEST = 2_000, 8.0  # messages, s
SWALLOWING = timedelta(minutes=5)  # SQS takes the same content for a repetition, where a queue has content-based deduplication
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
    upload that is not good: without that one it would come to something else than is foretold. One that is `swallowed` would not get
    that far: its queue tells repetitions by the text, and has been given the same one."""

    outcome: str
    reason: str = ""
    behind: int | None = None
    events: list[ForetoldEvent] = field(default_factory=list)
    follows: bool = False
    swallowed: bool = False

    @property
    def grade(self) -> str:
        """GOOD where there is nothing to look at, else WARNING; a message that was not rehearsed is neither."""
        if self.outcome == NOT_REHEARSED:
            return NOT_REHEARSED
        is_good = self.outcome in (Outcome.RECORDED, Outcome.REFERENCE) and not any(event.flags for event in self.events)
        return GOOD if is_good and not self.follows and not self.swallowed else WARNING


class _Decided(Exception):
    """The drafts are gone: somebody has decided about the upload."""


def check(upload: Upload, *, now: datetime) -> int:
    """Foretell what the drafts of an upload would do and store it with them; gives how many were rehearsed, from the first on.

    Nothing is stored of an upload that somebody decides about meanwhile.
    """
    drafts = list(drafts_of(upload).defer("effect", "body"))
    try:
        judgements, hashes = _read(drafts)
        _put_into_groups(drafts, judgements)
        count = min(len(drafts), MOST)
        effects = rehearse(drafts[:count], judgements[:count], now=now) if count else []
    except _Decided:
        return 0
    effects += [Effect(NOT_REHEARSED) for _ in drafts[len(effects) :]]
    _mark_swallowed(drafts, hashes, effects, now)
    _mark_what_follows(drafts, effects)
    with transaction.atomic():
        locked = Upload.objects.select_for_update().get(pk=upload.pk)
        if locked.stage == Upload.Stage.REVIEW:
            _store(drafts, effects)
            locked.checked_at = now
            locked.save(update_fields=["checked_at"])
    return sum(effect.outcome != NOT_REHEARSED for effect in effects)


def _read(drafts: Sequence[Draft]) -> tuple[list[Judgement], list[str]]:
    """What each message is understood to be, and the MD5 of its body where its queue tells repetitions by that, else "".

    Raises _Decided.
    """
    judgements, hashes = [], []
    for row in (row for chunk in _in_chunks(drafts) for row in _with_texts(chunk)):
        with payloads.document_of(row) as text:
            judgements.append(history.judge(text))
        hashes.append(_md5_of(row) if routes.content_deduplication(row.queue) else "")
    return judgements, hashes


def _in_chunks(drafts: Iterable[Draft]) -> Iterator[list[Draft]]:
    return by_bytes(drafts, lambda draft: 0 if draft.payload_id else draft.size)


def _with_texts(drafts: Sequence[Draft]) -> list[Draft]:
    """The drafts with their texts, those of large ones to be read from their payloads. One query."""
    rows = Draft.objects.select_related("payload").defer("effect").in_bulk([draft.pk for draft in drafts])
    if len(rows) < len(drafts):
        raise _Decided
    return [rows[draft.pk] for draft in drafts]


def _md5_of(row: Draft) -> str:
    """The MD5 of the body that SQS would get: of the text, or of the pointer that stands for one in S3."""
    if row.payload is None and row.size <= routes.limit_of(row.queue):
        return sqs.md5_of(row.body)
    return sqs.md5_of(buckets.Pointer(settings.TRADES_PAYLOAD_BUCKET, buckets.key_of(row.body_sha256), 0).body)


def _mark_swallowed(drafts: Sequence[Draft], hashes: Sequence[str], effects: Sequence[Effect], now: datetime) -> None:
    by_queue: defaultdict[str, set[str]] = defaultdict(set)
    for draft, md5 in zip(drafts, hashes, strict=True):
        if md5:
            by_queue[draft.queue].add(md5)
    given = {queue: _sent_lately(queue, wanted, now) for queue, wanted in by_queue.items()}
    for draft, md5, effect in zip(drafts, hashes, effects, strict=True):
        if md5:
            effect.swallowed = md5 in given[draft.queue]
            given[draft.queue].add(md5)


def _sent_lately(queue: str, wanted: Iterable[str], now: datetime) -> set[str]:
    rows = Publication.objects.filter(queue=queue, md5__gt="", md5__among=list(wanted), sent_at__gt=now - SWALLOWING)
    return set(rows.values_list("md5", flat=True))


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
    """What these messages would do, recorded in this order, up to what takes too long. Nothing of it stays."""
    return quarantine.in_one_transaction(lambda: _record_and_look(drafts, judgements, now))


def _record_and_look(drafts: Sequence[Draft], judgements: Sequence[Judgement], now: datetime) -> list[Effect]:
    try:
        before = _known(judgements)
        recorded: list[sqs.Received] = []
        ends = time.monotonic() + LONGEST
        for chunk in _in_chunks(drafts):
            if time.monotonic() > ends:
                break
            recorded += _record(chunk, judgements[len(recorded) :], now)
        return _look(recorded, before)
    finally:
        transaction.set_rollback(True)


def _record(drafts: Sequence[Draft], judgements: Sequence[Judgement], now: datetime) -> list[sqs.Received]:
    """Record a chunk; gives its messages without their texts."""
    received = [_received(row, draft.group_id, now) for row, draft in zip(_with_texts(drafts), drafts, strict=True)]
    for run in _runs(list(zip(received, judgements, strict=False))):
        history.record_judged([each for each, _ in run], [judged for _, judged in run], now=now, hold=settings.TRADES_HOLD)
    return [replace(each, body="") for each in received]


def _runs(messages: Sequence[tuple[sqs.Received, Judgement]]) -> Iterator[list[tuple[sqs.Received, Judgement]]]:
    """The messages in batches of one queue each, as few as keep those of a message group in their order."""
    batches: dict[str, list[tuple[sqs.Received, Judgement]]] = {}
    for message in messages:
        queue, group = message[0].queue, message[0].group_id
        for other in [name for name, batch in batches.items() if name != queue and any(each.group_id == group for each, _ in batch)]:
            yield batches.pop(other)
        batches.setdefault(queue, []).append(message)
    yield from batches.values()


def _known(judgements: Iterable[Judgement]) -> dict[int, tuple[str, str]]:
    """State and status of the trades that these messages are about and that exist, by their keys. Two queries."""
    keys = identifiers.keys_of(fact for judged in judgements if not isinstance(judged, MessageRefused) for fact in judged.events)
    if not keys:
        return {}
    pks = set(identifiers.known_trades(keys.values()).values())
    rows = Trade.objects.filter(pk__among=list(pks)).values_list("pk", "state", "status") if pks else ()
    return {pk: (state, status) for pk, state, status in rows}


def _received(row: Draft, group: str, now: datetime) -> sqs.Received:
    """The message as it would come out of the queue, under ids that no other has."""
    invented = uuid.uuid4()
    return Fetched(
        queue=row.queue,
        message_id=f"rehearsal-{invented}",
        receipt_handle="",
        body=row.body,
        md5="",
        group_id=group,
        deduplication_id=invented.hex,
        sequence_number="",
        sent_at=now,
        receive_count=1,
        attributes={PUBLICATION_ID: str(invented)},
        received_at=now,
        payload=row.payload,
    )


def _look(recorded: Sequence[sqs.Received], before: Mapping[int, tuple[str, str]]) -> list[Effect]:
    """What recording made of the messages, in their order; `before` is what was known of their trades."""
    rows: dict[str, Mapping[str, Any]] = {}
    for queue, ids in _by_queue((each.queue, each.message_id) for each in recorded).items():
        found = Message.objects.filter(queue=queue, message_id__among=ids)
        rows |= {row["message_id"]: row for row in found.values("pk", "message_id", "outcome", "reason", "queue", "group_id")}
    events = _events([row["pk"] for row in rows.values()], before)
    holds = _holds(rows.values())
    return [
        Effect(
            row["outcome"],
            row["reason"],
            holds.get((row["queue"], row["group_id"])) if row["outcome"] == Outcome.HELD else None,
            events[row["pk"]],
        )
        for row in (rows[each.message_id] for each in recorded)
    ]


def _holds(rows: Collection[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """The message that each group waits behind, by queue and group; not one of these rows, which have no address to name."""
    ours = {row["pk"] for row in rows}
    held = _by_queue({(row["queue"], row["group_id"]) for row in rows if row["outcome"] == Outcome.HELD})
    return {
        (queue, group): pk
        for queue, groups in held.items()
        for group, pk in Hold.objects.filter(queue=queue, group_id__among=groups).values_list("group_id", "message_id")
        if pk not in ours
    }


def _by_queue(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for queue, value in pairs:
        found[queue].append(value)
    return found


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
