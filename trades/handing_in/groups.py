"""Which message group a message goes to, and which a person may name."""

from __future__ import annotations

from collections.abc import Iterable

from trades import identifiers, sqs
from trades.messages.facts import ParsedMessage, TradeEvent, TradeId
from trades.models import TradeIdentifier

MOST = 128  # characters (AWS SendMessage, MessageGroupId)
ALLOWED = (
    "SQS takes 1 to 128 letters (a to z, A to Z), digits and punctuation marks (!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~), no spaces and no "
    "letters with accents."
)


def group_fault(group: str) -> str:
    """What is wrong with a message group that a person names, and what is allowed; "" if SQS takes it."""
    if sqs.ID_PATTERN.fullmatch(group):
        return ""
    if not group:
        return f"The message group is empty. {ALLOWED}"
    if len(group) > MOST:
        return f"The message group has {len(group)} characters. {ALLOWED}"
    at = next(place for place, character in enumerate(group, start=1) if not sqs.ID_PATTERN.fullmatch(character))
    what = "a space" if group[at - 1] == " " else f"the character {group[at - 1]!r}"
    return f"The message group has {what} at place {at}. {ALLOWED}"


class Groups:
    """The message group of each message: that of the trade that it will be found to be about, so that it is sent after what it
    follows. Asked for one message after the other, in order; what one makes known counts for the next."""

    def __init__(self) -> None:
        self._known: dict[TradeId, str] = {}

    def look_up(self, understood: Iterable[ParsedMessage]) -> None:
        """Find the trades that exist of the messages asked for next. One query."""
        self._known = _known_trades(message.events[0] for message in understood if message.events) | self._known

    def of(self, message: ParsedMessage) -> str:
        """The group of the next message. Its ids become known by that."""
        ids = message.events[0].trade_ids
        name = next((self._known[trade_id] for trade_id in ids if trade_id in self._known), ids[0].value)
        for trade_id in ids:
            self._known.setdefault(trade_id, name)
        return sqs.group_id_for(name)


def _known_trades(facts: Iterable[TradeEvent]) -> dict[TradeId, str]:
    """The trades that exist, each as the id it is kept under, by those ids of these events that lead to them. One query."""
    keys = identifiers.keys_of(facts)
    rows = TradeIdentifier.objects.filter(key__among=list(keys.values())).values_list("key", "trade__trade_id") if keys else ()
    found = dict(rows)
    return {trade_id: found[key] for trade_id, key in keys.items() if key in found}
