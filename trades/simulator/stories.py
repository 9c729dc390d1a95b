"""Stories of made-up trades: what is said about each, when, and in which order it arrives. Pure, and the same for the same seed.

A story's values lie in one flat list, so that rows can be made of them quickly: first those of the whole trade (`Of`), then for each
step of its shape those of the step (`At`). Moments are text in UTC, as databases take them.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import IntEnum, auto
from typing import Any

from trades.simulator.calendar import EPOCH, Calendar
from trades.simulator.market import COUNTERPARTIES, OWN, PRODUCTS, Layout, Product
from trades.simulator.shapes import WEIGHTS, Choice, Shape, Step, long_text, shape

NAMESPACE = "urn:tradeportal:tradestatus:1"
SCHEME, OTHER_SCHEME = "urn:example:northgate:trade", "urn:example:northgate:uti"
DAYS, MARGIN = 30, 20
GAP = 15.0  # seconds between two steps at least; what happens around a step fits in between
PUBLISHED = 0.2  # of the trades of a common shape: handed in at the portal
COMMON = 20
FIRST_NUMBER = 1_000_000  # that trade ids count from

SENDERS = {"CONFIRMED": ("CONFIRMATIONS", "CF"), "CLEARED": ("SETTLEMENTS", "ST"), "SETTLED": ("SETTLEMENTS", "ST")}
FRONT, MIDDLE = ("FRONTOFFICE", "FO"), ("MIDDLEOFFICE", "MO")
WORKERS = ("sim-worker-a 411", "sim-worker-a 412", "sim-worker-b 87")
# Hours of full activity before a step, on average.
PAUSES = {
    "BOOK": 1.0, "UPDATE": 4.0, "CORRECT": 2.0, "CANCEL": 3.0, "TERMINATE": 30.0, "REINSTATE": 5.0, "CHECKED": 0.4, "CONFIRMED": 2.0,
    "CLEARED": 3.0, "SETTLED": 15.0, "DISPUTED": 1.0, "REJECTED": 0.5, "discard": 1.5,
}  # fmt: skip
REASONS = {
    "CORRECT": ("price mistyped", "notional mistyped", "wrong settlement date", "wrong counterparty account"),
    "CANCEL": ("booked twice", "withdrawn by the client", "agreed with the counterparty"),
    "TERMINATE": ("unwound by agreement", "early termination right used"),
    "REJECTED": ("credit limit exceeded", "account unknown", "settlement date is a holiday"),
    "DISPUTED": ("price differs from the counterparty's", "notional differs from the counterparty's"),
}


class Of(IntEnum):
    """Places of what belongs to the whole trade."""

    QUEUE = 0
    TRADE_ID = auto()
    KEY = auto()
    OTHER_ID = auto()
    OTHER_KEY = auto()
    BUYER = auto()
    BUYER_LEI = auto()
    SELLER = auto()
    SELLER_LEI = auto()
    PRODUCT = auto()
    ASSET_CLASS = auto()
    ISIN = auto()
    UNIT = auto()
    CURRENCY = auto()
    OTHER_CURRENCY = auto()
    PRICE_TYPE = auto()
    TRADE_DATE = auto()
    EFFECTIVE = auto()
    MATURITY = auto()


class At(IntEnum):
    """Places of what belongs to one step, from its beginning. Those from SEQUENCE on are given when the message is made."""

    HAPPENED = 0
    HAPPENED_TEXT = auto()
    CREATED = auto()
    SENT = auto()
    ACKNOWLEDGED = auto()
    RECEIVED = auto()
    RECORDED = auto()
    AGAIN = auto()
    DELETED = auto()
    MESSAGE_ID = auto()
    DOCUMENT_ID = auto()
    WORKER = auto()
    AMOUNT = auto()
    OTHER_AMOUNT = auto()
    QUANTITY = auto()
    PRICE = auto()
    REASON = auto()
    PUBLICATION = auto()
    PUBLICATION_HEX = auto()
    FILE = auto()
    SEQUENCE = auto()
    DEDUPLICATION = auto()
    BODY = auto()
    BYTES = auto()
    SIZE = auto()
    SIZE_SENT = auto()
    MD5 = auto()
    SHA256 = auto()


HEAD, WIDTH = len(Of), len(At)


@dataclass(slots=True)
class Story:
    """One trade: its shape, and the values that make it this one."""

    shape: Shape
    layout: Layout
    is_published: bool
    values: list[Any]

    def at(self, step: int) -> int:
        """Where the values of a step begin."""
        return HEAD + WIDTH * step

    def value(self, step: int, name: At) -> Any:
        """One value of a step."""
        return self.values[HEAD + WIDTH * step + name]

    def body(self, step: int) -> str:
        """The text of the step's message; a copy has that of its original."""
        original = self.shape.steps[step].copy_of
        return _body(self, step if original is None else original)


@dataclass(frozen=True, slots=True, order=True)
class Planned:
    """A trade to tell of: when it begins (seconds since 1970), its number, when its last step is (hours of activity), its shape, and
    its product, None for any."""

    begins: float
    number: int
    ends: float
    text: str
    product: Product | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made up: how much, from which seed, up to when; trades are numbered from `first`."""

    trades: int
    events: int
    now: datetime
    queue: str
    seed: int = 1
    first: int = 1


def told(plan: Plan) -> Iterator[tuple[Story, int]]:
    """Every step of every story (story, number of the step), in order of time. No more stories are kept than go on at a time."""
    calendar = Calendar(plan.now, DAYS + MARGIN)
    return _in_order(plan, calendar, _planned(plan, calendar))


def told_of(plan: Plan, texts: Sequence[str]) -> Iterator[tuple[Story, int]]:
    """As `told`, one story for each of these shapes."""
    calendar = Calendar(plan.now, DAYS + MARGIN)
    return _in_order(
        plan, calendar, [_begun(plan, calendar, number, text, calendar.total) for number, text in enumerate(texts, plan.first)]
    )


def told_in_a_day(plan: Plan, chosen: Sequence[tuple[str, Product]]) -> Iterator[tuple[Story, int]]:
    """As `told`, one story for each of these shapes and products, all within a day."""
    calendar = Calendar(plan.now, 1)
    chance = random.Random(f"day {plan.seed}")  # noqa: S311 - made up, not secret
    ends = (calendar.total * chance.uniform(0.3, 1.0) for _ in chosen)
    planned = [
        _begun(plan, calendar, number, text, end, product)
        for number, ((text, product), end) in enumerate(zip(chosen, ends, strict=True), plan.first)
    ]
    return _in_order(plan, calendar, planned)


def _in_order(plan: Plan, calendar: Calendar, all_planned: Iterable[Planned]) -> Iterator[tuple[Story, int]]:
    waiting: list[tuple[str, int, Story, int]] = []
    for planned in sorted(all_planned):
        story = _story(plan, calendar, planned)
        begins = story.value(0, At.RECORDED)
        while waiting and waiting[0][0] < begins:
            yield _next(waiting)
        heapq.heappush(waiting, (begins, planned.number, story, 0))
    while waiting:
        yield _next(waiting)


def long_story(plan: Plan, number: int, events: int) -> Story:
    """One trade with a very long history, which ends now."""
    calendar = Calendar(plan.now, DAYS + MARGIN)
    return _story(plan, calendar, Planned(0, number, calendar.total, long_text(events)))


def _next(waiting: list[tuple[str, int, Story, int]]) -> tuple[Story, int]:
    _, number, story, step = waiting[0]
    if step + 1 < len(story.shape.steps):
        heapq.heapreplace(waiting, (story.value(step + 1, At.RECORDED), number, story, step + 1))
    else:
        heapq.heappop(waiting)
    return story, step


def _planned(plan: Plan, calendar: Calendar) -> Iterator[Planned]:
    chance = random.Random(f"{plan.seed} {plan.first}")  # noqa: S311 - made up, not secret
    choice = Choice(plan.trades, plan.events, chance)
    begins = calendar.activity(calendar.now - timedelta(days=DAYS))
    for number in range(plan.first, plan.first + plan.trades):
        chosen = choice.next()
        # What is not finished is so because it is recent, as a rule.
        recent = not chosen.is_finished and chance.random() < 0.9
        ends = calendar.total - chance.expovariate(1 / 4.0) if recent else chance.uniform(begins, calendar.total)
        yield _begun(plan, calendar, number, chosen.text, max(ends, begins))


def _begun(plan: Plan, calendar: Calendar, number: int, text: str, ends: float, product: Product | None = None) -> Planned:
    return Planned(_times(shape(text), ends, calendar, _chance(plan, number))[0], number, ends, text, product)


def _chance(plan: Plan, number: int) -> random.Random:
    return random.Random((plan.seed << 40) + number)  # noqa: S311 - made up, not secret


def _times(chosen: Shape, ends: float, calendar: Calendar, chance: random.Random) -> list[float]:
    """When each step arrives, in seconds since 1970."""
    steps = chosen.steps
    most = calendar.total / 2 / len(steps)  # hours of activity: a long history has no long pauses
    times = [calendar.seconds(ends)]
    for step in reversed(steps[1:]):
        pause = 0.3 if step.copy_of is not None else PAUSES[step.status if step.event == "STATUS" else step.event]
        ends -= min(most, pause * (0.3 + chance.expovariate(1.0)))
        times.append(min(calendar.seconds(ends), times[-1] - GAP - chance.random()))
    times.reverse()
    return times


def _story(plan: Plan, calendar: Calendar, planned: Planned) -> Story:
    chosen, chance = shape(planned.text), _chance(plan, planned.number)
    times = _times(chosen, planned.ends, calendar, chance)
    product = planned.product or chance.choice(PRODUCTS)
    is_published = WEIGHTS.get(chosen.text, 0) >= COMMON and chance.random() < PUBLISHED
    values = _of_trade(plan, planned.number, product, EPOCH + timedelta(seconds=times[0]), chance)
    story = Story(chosen, product.layout, is_published, values)
    terms = _terms(product, chance)
    for index, (step, time) in enumerate(zip(chosen.steps, times, strict=True)):
        if step.states_details and step.copy_of is None:
            terms = _changed(terms, step, product, chance)
        values += _of_step(story, planned.number, index, time, terms, chance)
    return story


# Values


def _of_trade(plan: Plan, number: int, product: Product, begins: datetime, chance: random.Random) -> list[Any]:
    sides = [OWN, chance.choice(COUNTERPARTIES)]
    chance.shuffle(sides)
    buyer, seller = sides
    day = begins.date()
    effective = _working_day(day + timedelta(days=2))
    return [
        plan.queue, f"S-{FIRST_NUMBER + number}", "", f"NRTHGT{2026}{number:010}", "", buyer.name, buyer.lei, seller.name, seller.lei,
        product.name, product.asset_class, product.isin, product.unit, product.currency, product.other_currency, product.price_type,
        day.isoformat(), effective.isoformat(), _working_day(effective + timedelta(days=product.days)).isoformat(),
    ]  # fmt: skip


def _working_day(day: date) -> date:
    return day + timedelta(days=max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)


Terms = tuple[float, float]  # size and price


def _terms(product: Product, chance: random.Random) -> Terms:
    return product.size * chance.choice((0.1, 0.25, 0.5, 1, 1, 1.5, 2, 2.5, 3, 5, 10)), product.price * chance.uniform(0.97, 1.03)


def _changed(terms: Terms, step: Step, product: Product, chance: random.Random) -> Terms:
    size, price = terms
    if step.event == "BOOK":
        return terms
    if chance.random() < 0.6:
        return size * chance.choice((0.5, 0.8, 1.2, 1.25, 1.5)), price
    return size, product.price * chance.uniform(0.97, 1.03)


def _amounts(product: Product, terms: Terms) -> tuple[str, str, str, str]:
    """Amount, other amount, quantity and price, as text."""
    size, price = max(1, round(terms[0])), f"{terms[1]:.{product.decimals}f}"
    if product.layout is Layout.RATE:
        return f"{size}.00", "", "", price
    if product.layout is Layout.PAIR:
        return f"{size}.00", f"{size * float(price):.2f}", "", price
    per_unit = float(price) / 100 if product.unit == "nominal" else float(price)
    return f"{size * per_unit:.2f}", "", str(size), price


def _of_step(story: Story, number: int, index: int, time: float, terms: Terms, chance: random.Random) -> list[Any]:
    step = story.shape.steps[index]
    product = _PRODUCTS_BY_NAME[story.values[Of.PRODUCT]]
    sent = EPOCH + timedelta(milliseconds=int(time * 1000))
    received = sent + timedelta(milliseconds=20 + int(chance.expovariate(1 / 150)) % 700)
    recorded = received + timedelta(microseconds=4_000 + int(chance.random() * 40_000))
    again = recorded + timedelta(milliseconds=1_500)
    deleted = recorded + timedelta(microseconds=8_000 + int(chance.random() * 60_000))
    happened = sent.replace(microsecond=0) - timedelta(seconds=1 + int(chance.random() * 2))
    if step.copy_of is not None:
        return _copied(story, step.copy_of, sent, received, recorded, again, deleted, chance)
    if step.is_late:
        happened = datetime.fromisoformat(story.value(index - 1, At.HAPPENED)) - timedelta(seconds=4)
    reasons = REASONS.get(step.event if step.event != "STATUS" else step.status)
    publication = _uuid(chance) if story.is_published else ""
    return [
        str(happened), f"{happened.isoformat()}Z", str(sent - timedelta(milliseconds=400 + int(chance.random() * 900))), str(sent),
        str(sent + timedelta(milliseconds=9)), str(received), str(recorded), str(again), str(deleted), _uuid(chance),
        f"{sender_of(step)[1]}-{number:07}-{index + 1}", chance.choice(WORKERS),
        *_amounts(product, terms), chance.choice(reasons) if reasons else "", publication, publication.replace("-", ""),
        f"{story.values[Of.TRADE_ID]}-{index + 1}-{(step.status if step.event == 'STATUS' else step.event).lower()}.xml",
        "", "", None, None, 0, 0, "", "",
    ]  # fmt: skip


def _copied(story: Story, original: int, *moments: Any) -> list[Any]:
    """The values of a copy: those of the original, at other times and under other ids."""
    *times, chance = moments
    start = story.at(original)
    values = story.values[start : start + WIDTH]
    sent, *later = times
    values[At.CREATED : At.DELETED + 1] = [
        str(sent - timedelta(seconds=1)), str(sent), str(sent + timedelta(milliseconds=9)), *(str(time) for time in later)
    ]  # fmt: skip
    values[At.MESSAGE_ID] = _uuid(chance)
    if story.is_published:
        values[At.PUBLICATION] = publication = _uuid(chance)
        values[At.PUBLICATION_HEX] = publication.replace("-", "")
    return values


def _uuid(chance: random.Random) -> str:
    digits = f"{chance.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def sender_of(step: Step) -> tuple[str, str]:
    """Who sends such a message, and how its message ids begin."""
    return FRONT if step.event != "STATUS" else SENDERS.get(step.status, MIDDLE)


_PRODUCTS_BY_NAME = {product.name: product for product in PRODUCTS}

# Text


def _body(story: Story, index: int) -> str:
    step, start = story.shape.steps[index], story.at(index)
    values = story.values
    at = values[start : start + WIDTH]
    other = f'\n  <OtherTradeId scheme="{OTHER_SCHEME}">{values[Of.OTHER_ID]}</OtherTradeId>' if step.event == "BOOK" else ""
    reason = f"\n  <Reason>{at[At.REASON]}</Reason>" if at[At.REASON] else ""
    status = f"\n  <Status>{step.status}</Status>" if step.status else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<TradeStatus xmlns="{NAMESPACE}">
  <Header>
    <MessageId>{at[At.DOCUMENT_ID]}</MessageId>
    <Sender>{sender_of(step)[0]}</Sender>
    <SentAt>{at[At.SENT].replace(" ", "T")}Z</SentAt>
  </Header>
  <TradeId scheme="{SCHEME}">{values[Of.TRADE_ID]}</TradeId>{other}
  <Version>{"two" if step.is_bad else step.version}</Version>
  <Event>{step.event}</Event>{reason}{status}
  <EventTime>{at[At.HAPPENED_TEXT]}</EventTime>{_details(values, at, story.layout) if step.states_details else ""}
</TradeStatus>
"""


def _details(values: list[Any], at: list[Any], layout: Layout) -> str:
    currency = values[Of.CURRENCY]
    isin = f' isin="{values[Of.ISIN]}"' if values[Of.ISIN] else ""
    quantity = f'\n    <Quantity unit="{values[Of.UNIT]}">{at[At.QUANTITY]}</Quantity>' if at[At.QUANTITY] else ""
    other = f'\n    <Notional currency="{values[Of.OTHER_CURRENCY]}">{at[At.OTHER_AMOUNT]}</Notional>' if at[At.OTHER_AMOUNT] else ""
    priced_in = "" if layout is Layout.RATE else f' currency="{values[Of.OTHER_CURRENCY] or currency}"'
    maturity = "" if layout is Layout.SHARES else f"\n    <MaturityDate>{values[Of.MATURITY]}</MaturityDate>"
    return f"""
  <TradeDetails>
    <TradeDate>{values[Of.TRADE_DATE]}</TradeDate>
    <Party role="buyer" lei="{values[Of.BUYER_LEI]}">{values[Of.BUYER]}</Party>
    <Party role="seller" lei="{values[Of.SELLER_LEI]}">{values[Of.SELLER]}</Party>
    <Product assetClass="{values[Of.ASSET_CLASS]}"{isin}>{values[Of.PRODUCT]}</Product>{quantity}
    <Notional currency="{currency}">{at[At.AMOUNT]}</Notional>{other}
    <Price{priced_in} type="{values[Of.PRICE_TYPE]}">{at[At.PRICE]}</Price>
    <EffectiveDate>{values[Of.EFFECTIVE]}</EffectiveDate>{maturity}
  </TradeDetails>"""
