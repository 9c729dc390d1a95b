"""Which trade an address means: any of a trade's ids leads to it. And what says that two trades may be one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import BadRequest
from django.db.models import Case, Exists, IntegerField, OuterRef, Q, QuerySet, Value, When

from trades.identifiers import trade_key
from trades.lifecycle import Flag
from trades.messages.facts import TradeId
from trades.models import Event, Trade, TradeIdentifier, TradeLink
from trades.web import words
from trades.web.addresses import TradeAddress

MOST_SCHEMES = 50
MOST_IDS = 1_000  # of all trades that one id can mean
MOST_LINKS = 20
NOUNS = {"CORRECT": "correction", "RETRACT": "retraction", "CANCEL": "cancellation"}
KEPT = 255  # characters of an id that are kept to be found by


@dataclass(frozen=True, slots=True)
class Candidate:
    """A trade that goes by the id asked for, and under which scheme."""

    trade: Trade
    scheme: str


@dataclass(frozen=True, slots=True)
class Meant:
    """The trades that an address can mean, in the order of their schemes, and the scheme where the id alone does not tell."""

    trade_id: str
    candidates: list[Candidate]
    scheme: str | None = None
    rows: Sequence[TradeIdentifier] = ()

    @property
    def is_linked(self) -> bool:
        """Whether a message said that the trade may be the same as another."""
        return any(getattr(row, "is_linked", False) for row in self._own)

    @property
    def identifiers(self) -> list[TradeIdentifier]:
        """All ids of the trade, a unique transaction identifier first, then the one it is kept under."""
        trade = self.trade
        own = sorted(self._own, key=lambda row: (not row.is_uti, row.pk))[:MOST_SCHEMES]
        return sorted(own, key=lambda row: (not row.is_uti, trade is not None and row.key != trade.key))

    @property
    def _own(self) -> list[TradeIdentifier]:
        return [row for row in self.rows if self.trade is not None and row.trade_id == self.trade.pk]

    @property
    def trade(self) -> Trade | None:
        """The trade, where only one can be meant."""
        return self.candidates[0].trade if len(self.candidates) == 1 else None

    @property
    def address(self) -> TradeAddress:
        """The address as it was asked for."""
        return TradeAddress(self.trade_id, self.scheme)


def meant_by(trade_id: str, scheme: str | None) -> Meant:
    """What an id, with its scheme if stated, can mean. One query. Raises BadRequest for what can't be an id."""
    if "\x00" in trade_id or "\x00" in (scheme or ""):
        raise BadRequest("A trade id has no NUL character.")
    asked = trade_id[:KEPT]
    rows = list(_identifiers(asked)[:MOST_IDS])
    meant = [row for row in rows if row.value == asked][:MOST_SCHEMES]
    found = list({row.trade_id: Candidate(row.trade, row.scheme) for row in reversed(meant)}.values())[::-1]
    if len(found) < 2 or scheme is None:
        return Meant(trade_id, found, None, rows)
    narrowed = {row.trade_id: Candidate(row.trade, row.scheme) for row in meant if row.scheme == scheme}
    return Meant(trade_id, list(narrowed.values()) or found, scheme, rows)


def _identifiers(value: str) -> QuerySet[TradeIdentifier]:
    """All ids of the trades that go by this one, the id itself first."""
    links = TradeLink.objects.filter(Q(first=OuterRef("trade")) | Q(second=OuterRef("trade")))
    is_other = Case(When(value=value, then=Value(0)), default=Value(1), output_field=IntegerField())
    rows = TradeIdentifier.objects.filter(trade__in=TradeIdentifier.objects.filter(value=value).values("trade"))
    rows = rows.select_related("trade__owner").annotate(is_linked=Exists(links), is_other=is_other)
    return rows.order_by("is_other", "scheme", "pk")


def own_address(trade: Trade) -> TradeAddress:
    """Where a trade's pages are: at the id it is kept under, with the scheme where other trades go by that id too. One query."""
    shared = TradeIdentifier.objects.filter(value=trade.trade_id).exclude(trade=trade).exists()
    return TradeAddress(trade.trade_id, trade.scheme if shared else None)


# Two trades that may be one


@dataclass(frozen=True, slots=True)
class OtherTrade:
    """A trade that may be the same as the one shown: where it is, why, and what revealed it."""

    trade_id: str
    href: str
    why: str
    revealed_by: str
    revealed_href: str
    since: str


def other_trades(trade: Trade, moment: datetime | None) -> list[OtherTrade]:
    """The trades that a message said, until the moment, are one with this trade. One query, three more where there are any."""
    links = TradeLink.objects.filter(Q(first=trade) | Q(second=trade)).select_related("first", "second").order_by("since", "pk")
    rows = list((links if moment is None else links.filter(since__lte=moment))[:MOST_LINKS])
    if not rows:
        return []
    pair = {pk for link in rows for pk in (link.first_id, link.second_id)}
    told = Event.objects.filter(message__in=[link.message_id for link in rows], trade__in=pair).select_related("trade")
    events = list(told.order_by("part").defer("reason"))
    stated = {_key(stated_id) for event in events for stated_id in event.details.get("other_ids", [])}
    owners = dict(TradeIdentifier.objects.filter(key__in=stated).values_list("key", "trade_id"))
    return [_other(link, trade, _revealing(link, events, owners), owners) for link in rows]


def _revealing(link: TradeLink, events: Sequence[Event], owners: Mapping[str, int]) -> Event | None:
    """Which event of the message says it, the same for both trades: the first that is flagged so and, if there is one, states an id of
    the other trade; else the first of either trade."""
    pair = (link.first_id, link.second_id)
    about = [event for event in events if event.message_id == link.message_id and event.trade_id in pair]

    def doubt(event: Event) -> tuple[bool, bool]:
        return Flag.TWO_TRADES not in event.flags, _stated_of(pair[event.trade_id == pair[0]], event, owners) is None

    return min(about, key=doubt, default=None)


def _stated_of(trade: int, event: Event, owners: Mapping[str, int]) -> dict[str, str] | None:
    """The further id that the event states and the trade (its row's number) goes by."""
    return next((stated for stated in event.details.get("other_ids", []) if owners.get(_key(stated)) == trade), None)


def _other(link: TradeLink, trade: Trade, event: Event | None, owners: Mapping[str, int]) -> OtherTrade:
    other = link.second if link.first_id == trade.pk else link.first
    href = TradeAddress(other.trade_id, other.scheme or None).page()
    since = words.full(link.since)
    if event is None:
        return OtherTrade(other.trade_id, href, "A message says so.", "", "", since)
    name = f"event {event.position} of {event.trade.trade_id}"
    address = TradeAddress(event.trade.trade_id, event.trade.scheme or None).event(event.position)
    counterpart = other if event.trade_id == trade.pk else trade
    stated = _stated_of(counterpart.pk, event, owners)
    if stated is not None or not event.correlation_id:
        of_the_other = f" ({stated['id']})" if stated and stated["id"] != counterpart.trade_id else ""
        why = f"It states ids of both {event.trade.trade_id} and {counterpart.trade_id}{of_the_other}."
    else:
        why = (
            f"It is a {NOUNS.get(event.event_class, 'message')} under a new id, but its correlation id "
            f"{event.correlation_id} of {event.sender or 'the sender'} is that of {counterpart.trade_id}."
        )
    return OtherTrade(other.trade_id, href, why, name, address, since)


def _key(stated: dict[str, str]) -> str:
    return trade_key(TradeId(stated.get("scheme", ""), stated.get("id", "")))
