"""Before a message is corrected: what the correction would do to its trades, and how the two texts differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from difflib import Match, SequenceMatcher
from itertools import accumulate

from django.db import transaction

from trades import corrections, quarantine
from trades.messages.facts import MessageRefused, ParsedMessage
from trades.models import Event, Hold, Message, Trade

MOST_COMPARED = 1_000_000  # pairs of lines; what is not compared by then is shown as replaced
OUTCOMES = {Message.Outcome.RECORDED: "recorded", Message.Outcome.DUPLICATE: "duplicate", Message.Outcome.REFERENCE: "reference"}


@dataclass(frozen=True, slots=True)
class EffectOnTrade:
    """One event that a trade would get, and the trade's own state and status now ("" of a new one) and then."""

    trade_id: str
    is_new: bool
    position: int
    event_class: str
    flags: tuple[str, ...]
    state_before: str
    state_after: str
    status_before: str
    status_after: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What a correction would come to: "recorded", "duplicate", "reference" or "refused"; why, if refused; the events in the order
    of the text; and how many messages wait behind it, whose own effect is not foretold."""

    outcome: str
    refusal: MessageRefused | None
    events: tuple[EffectOnTrade, ...]
    waiting: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference: " " in both, "-" in the original, "+" in the corrected text, "@" where others are left out before;
    `old` and `new` are its numbers there, from 1."""

    kind: str
    old: int | None
    new: int | None
    text: str


def effect(message: Message, body: str, *, now: datetime) -> Effect:
    """What `quarantine.correct` would do with this text, found out by doing it and rolling back. A text that is unchanged is tried
    as any other."""
    waiting = quarantine.waiting_behind(message)
    text = corrections.as_stored(message, body)
    judgement = corrections.judge(text)
    if isinstance(judgement, MessageRefused):
        return Effect("refused", judgement, (), waiting)
    outcome, refusal, events = quarantine.in_one_transaction(lambda: _try(message, text, judgement, now))
    return Effect(outcome, refusal, tuple(_effects(events)), waiting)


def _try(message: Message, text: str, parsed: ParsedMessage, now: datetime) -> tuple[str, MessageRefused | None, list[Event]]:
    """The outcome, why it is refused, and the events with their trades as they would be. Nothing of it stays."""
    row = corrections.stand_in(message, text, now)
    try:
        hold = Hold.objects.filter(queue=message.queue, group_id=message.group_id).first()
        refusal = quarantine.enter_stand_in(row, parsed, now, message, hold)
        if refusal is not None:
            return "refused", refusal, []
        events = Event.objects.filter(message=row).select_related("trade").defer("details").order_by("part")
        return OUTCOMES[Message.Outcome(row.outcome)], None, list(events)
    finally:
        transaction.set_rollback(True)


def _effects(events: list[Event]) -> Iterator[EffectOnTrade]:
    before = Trade.objects.in_bulk({event.trade_id for event in events})
    for event in events:
        trade, then = before.get(event.trade_id), event.trade
        yield EffectOnTrade(
            trade_id=then.trade_id,
            is_new=trade is None,
            position=event.position,
            event_class=event.event_class,
            flags=tuple(event.flags),
            state_before=trade.state if trade else "",
            state_after=then.state,
            status_before=trade.status if trade else "",
            status_after=then.status,
        )


def difference(original: str, corrected: str, context: int = 3) -> list[Line]:
    """The lines that differ, each with up to `context` lines around it; nothing when the texts are the same but for their line ends."""
    old, new = _lines(original), _lines(corrected)
    if old == new:
        return []
    shown: list[Line] = []
    for group in _groups(_blocks(old, new), context):
        first_old, first_new = group[0][1], group[0][3]
        count_old, count_new = group[-1][2] - first_old, group[-1][4] - first_new
        heading = f"@@ -{first_old + 1},{count_old} +{first_new + 1},{count_new} @@"
        shown.append(Line("@", first_old + 1, first_new + 1, heading))
        shown += _shown(group, old, new)
    return shown


Block = tuple[str, int, int, int, int]


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")


def _blocks(old: list[str], new: list[str]) -> list[Block]:
    """What becomes of which lines, as difflib tells it; what both begin and end with is not compared."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    tail = next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    changed = _Matcher(middle_old, middle_new).get_opcodes()
    moved: list[Block] = [(tag, a + head, b + head, c + head, d + head) for tag, a, b, c, d in changed]
    before: list[Block] = [("equal", 0, head, 0, head)] if head else []
    after: list[Block] = [("equal", len(old) - tail, len(old), len(new) - tail, len(new))] if tail else []
    return [*before, *moved, *after]


class _Matcher(SequenceMatcher[str]):
    """difflib's, of bounded work: a search costs as much as there are equal lines to try, and there may be one for every line."""

    def __init__(self, old: list[str], new: list[str]) -> None:
        super().__init__(None, old, new, autojunk=False)
        alike = Counter(new)
        self.costs = list(accumulate((1 + alike[line] for line in old), initial=0))
        self.left = MOST_COMPARED

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> Match:
        """The longest run of equal lines, none once the work is used up."""
        self.left -= self.costs[-1 if ahi is None else ahi] - self.costs[alo]
        return super().find_longest_match(alo, ahi, blo, bhi) if self.left >= 0 else Match(alo, blo, 0)


def _groups(blocks: list[Block], context: int) -> Iterator[list[Block]]:
    """The blocks in runs, each with `context` lines that are the same around it, cut where more than twice as many lie between."""
    group: list[Block] = []
    for number, (tag, a, b, c, d) in enumerate(blocks):
        is_last = number == len(blocks) - 1
        if tag != "equal":
            group.append((tag, a, b, c, d))
            continue
        if number == 0:
            group.append((tag, max(a, b - context), b, max(c, d - context), d))
        elif is_last:
            group.append((tag, a, min(b, a + context), c, min(d, c + context)))
        elif b - a > 2 * context:
            yield [*group, (tag, a, a + context, c, c + context)]
            group = [(tag, b - context, b, d - context, d)]
        else:
            group.append((tag, a, b, c, d))
    if group:
        yield group


def _shown(group: list[Block], old: list[str], new: list[str]) -> Iterator[Line]:
    for tag, a, b, c, d in group:
        if tag == "equal":
            yield from (Line(" ", a + at + 1, c + at + 1, old[a + at]) for at in range(b - a))
        else:
            yield from (Line("-", at + 1, None, old[at]) for at in range(a, b))
            yield from (Line("+", None, at + 1, new[at]) for at in range(c, d))
