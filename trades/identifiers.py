"""Which trade a message is about: any of its ids leads there, the first known one in the message's own order decides.

Ids that lead to two trades, or a correction under a new id in the thread of another trade, are shown to a person as a link between
the two; trades are never merged. New trades and ids are made in the order of their keys, trades that exist are locked after that
in the order of their rows, so that two workers never wait for each other in a circle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import OperationalError

from trades import bulk
from trades.messages.facts import EventClass, TradeEvent, TradeId
from trades.models import Event, Trade, TradeIdentifier

# These are about an earlier event, so under an id never seen they may belong to a trade known by another.
REFERRING = frozenset({EventClass.CORRECT, EventClass.RETRACT, EventClass.CANCEL})
MOST_ROUNDS = 20  # each means that another worker has just made one of the ids
MOST = 255  # characters of an id that are kept to be shown; the key is made of all of them

Thread = tuple[str, str]
# A trade that exists, by its row's number, or one to be made, by its key.
Target = int | str


def trade_key(trade_id: TradeId) -> str:
    """The key of a trade's id: SHA-256 of scheme and id, both exactly as stated."""
    return hashlib.sha256(f"{trade_id.scheme}\x1f{trade_id.value}".encode()).hexdigest()


def thread_of(fact: TradeEvent) -> Thread | None:
    """What ties the messages of one business process together: sender and correlation id. None where the latter isn't stated."""
    return (fact.sender, fact.correlation_id) if fact.correlation_id else None


@dataclass(frozen=True, slots=True)
class NewId:
    """An id that no trade was known by, and the trade that it is one of now."""

    trade_id: TradeId
    target: Target
    is_uti: bool


@dataclass(slots=True)
class Plan:
    """Which trade each fact is about, which further trades its ids lead to, which facts open a trade, and the new ids by key."""

    targets: list[Target] = field(default_factory=list)
    others: dict[int, list[Target]] = field(default_factory=dict)
    opening: dict[int, Target] = field(default_factory=dict)
    new_ids: dict[str, NewId] = field(default_factory=dict)


@dataclass(slots=True)
class Matched:
    """The trade of each fact, locked, and by the fact's index the further trades that it seems to be about."""

    trades: list[Trade]
    others: dict[int, list[int]]


def plan(facts: Sequence[TradeEvent], keys: Mapping[TradeId, str], known: Mapping[str, int]) -> Plan:
    """Where each fact belongs, given the trades that ids (by key) are known to lead to. Facts find each other by shared ids."""
    made = Plan()
    leads_to: dict[str, Target] = dict(known)
    for index, fact in enumerate(facts):
        found = list(dict.fromkeys(leads_to[key] for trade_id in fact.trade_ids if (key := keys[trade_id]) in leads_to))
        if not found:
            found = [keys[fact.trade_id]]
            made.opening[index] = found[0]
        if len(found) > 1:
            made.others[index] = found[1:]
        target = found[0]
        made.targets.append(target)
        for trade_id in fact.trade_ids:
            if (key := keys[trade_id]) not in leads_to:
                leads_to[key] = target
                made.new_ids[key] = NewId(trade_id, target, trade_id == fact.uti)
    return made


def keys_of(facts: Iterable[TradeEvent]) -> dict[TradeId, str]:
    """The key of every id that the facts state as the trade's own."""
    return {trade_id: trade_key(trade_id) for trade_id in {trade_id for fact in facts for trade_id in fact.trade_ids}}


def known_trades(keys: Iterable[str]) -> dict[str, int]:
    """The trades (their rows' numbers) that ids lead to, by key. One query."""
    return dict(TradeIdentifier.objects.filter(key__among=list(keys)).values_list("key", "trade_id"))


def match(facts: Sequence[TradeEvent], now: datetime) -> Matched:
    """The trade of every fact, made where none of the fact's ids is known, and locked until the transaction ends.

    Two queries when all ids are known, two more when some are new; one more when something that opens a trade refers to an
    earlier event.
    """
    keys = keys_of(facts)
    maker = _Maker(now)
    known = known_trades(keys.values())
    rounds = 0
    while not maker.make(planned := plan(facts, keys, known)):
        rounds += 1
        if rounds == MOST_ROUNDS:
            raise OperationalError("other workers were faster with these ids again and again")
        # Another worker was faster with one of the ids. It has committed, so its ids are to be seen now.
        known = {key: pk for key, pk in known_trades(keys.values()).items() if key not in maker.ids}
    maker.tidy(planned)
    trades = {trade.pk: trade for trade in maker.trades.values()}
    wanted = {
        target for target in (*planned.targets, *(t for others in planned.others.values() for t in others)) if isinstance(target, int)
    }
    if wanted:
        # Without "no key", saving a link to one of these trades would wait for its lock, after locks of ours that come later.
        locked = Trade.objects.select_for_update(no_key=True).filter(pk__among=list(wanted)).order_by("pk")
        trades |= {trade.pk: trade for trade in locked}
    matched = Matched(
        trades=[trades[maker.pk_of(target)] for target in planned.targets],
        others={index: [maker.pk_of(target) for target in others] for index, others in planned.others.items()},
    )
    _add_others_by_thread(facts, planned, matched)
    return matched


class _Maker:
    """Makes the trades and ids of a plan, and those of the next plan when another worker was faster with some of them."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.trades: dict[str, Trade] = {}
        self.ids: dict[str, TradeIdentifier] = {}
        self.was_raced = False

    def pk_of(self, target: Target) -> int:
        return self.trades[target].pk if isinstance(target, str) else target

    def make(self, planned: Plan) -> bool:
        """Make what is missing; False if another worker has made some of it."""
        keys = sorted({str(key) for key in planned.opening.values()}.difference(self.trades))
        trades = bulk.insert_missing([self._trade(key, planned.new_ids[key].trade_id) for key in keys], by="key")
        self.trades |= {trade.key: trade for trade in trades}
        if len(trades) == len(keys):
            keys = sorted(planned.new_ids.keys() - self.ids.keys())
            ids = bulk.insert_missing([self._identifier(key, planned.new_ids[key]) for key in keys], by="key")
            self.ids |= {identifier.key: identifier for identifier in ids}
            if len(ids) == len(keys):
                return True
        self.was_raced = True
        return False

    def _trade(self, key: str, trade_id: TradeId) -> Trade:
        moments = {"first_seen_at": self.now, "updated_at": self.now, "status_since": self.now}
        return bulk.new(Trade, key=key, scheme=trade_id.scheme, trade_id=trade_id.value, order_marks=0, **moments)

    def _identifier(self, key: str, new: NewId) -> TradeIdentifier:
        scheme, value = new.trade_id.scheme[:MOST], new.trade_id.value[:MOST]
        return bulk.new(TradeIdentifier, key=key, scheme=scheme, value=value, trade_id=self.pk_of(new.target), is_uti=new.is_uti)

    def tidy(self, planned: Plan) -> None:
        """After a race: lead the ids made before it to the trades of the last plan, and drop the trades that it made needless."""
        if not self.was_raced:
            return
        for key, identifier in self.ids.items():
            if (pk := self.pk_of(planned.new_ids[key].target)) != identifier.trade_id:
                TradeIdentifier.objects.filter(pk=identifier.pk).update(trade=pk)
        needless = self.trades.keys() - planned.opening.values()
        Trade.objects.filter(pk__in=[self.trades.pop(key).pk for key in needless]).delete()


def _add_others_by_thread(facts: Sequence[TradeEvent], planned: Plan, matched: Matched) -> None:
    """A correction, retraction or cancellation under ids never seen, in a thread of exactly one other trade: perhaps the same trade.

    Only perhaps: a correlation id is reused for unrelated trades too (FpML's own examples), so that nothing is merged by it.
    """
    puzzling = [index for index in planned.opening if facts[index].event_class in REFERRING and thread_of(facts[index])]
    if not puzzling:
        return
    ours = {thread_of(facts[index]) for index in puzzling}
    trades: dict[Thread | None, set[int]] = {thread: set() for thread in ours}
    # The second condition lets the index serve, which leaves out events without a thread.
    rows = Event.objects.filter(correlation_id__among=[thread[1] for thread in ours if thread], correlation_id__gt="")
    for sender, correlation_id, pk in rows.values_list("sender", "correlation_id", "trade_id").distinct():
        trades.get((sender, correlation_id), set()).add(pk)
    asking = frozenset(puzzling)
    for index, fact in enumerate(facts):
        if (thread := thread_of(fact)) not in trades:
            continue
        own = matched.trades[index].pk
        others = trades[thread] - {own}
        if index in asking and len(others) == 1:
            matched.others[index] = [*others]
        trades[thread].add(own)
