"""A made-up day as documents, in the order in which a firm's systems would hand them in. Pure, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trades.simulator import writers
from trades.simulator.market import PRODUCTS, Product
from trades.simulator.shapes import DISCARD, WEIGHTS, shape
from trades.simulator.stories import FIRST_NUMBER, At, Of, Plan, Story, told_in_a_day
from trades.simulator.writers import Writer

DIALECTS = ("native", "fpml", "fixml", "mixed")
# Two days with different seeds have no trade in common.
TRADES_A_SEED = 1_000_000
MOST_SEED = 99_999
ENDS_AT = 17  # o'clock, UTC

NATIVE = Writer(
    PRODUCTS,
    # What is bad here is drawn anew, and a person who discards is nobody that documents could stand for.
    {text: weight for text, weight in WEIGHTS.items() if "?" not in text and DISCARD not in text},
    Story.body,
)
WRITERS: Mapping[str, Writer] = {"native": NATIVE, **writers.WRITERS}


@dataclass(frozen=True, slots=True)
class Day:
    """What is asked for: how many trades, in which dialect (one of DIALECTS), the share of messages that can't be read (0 to 1), up to
    when, and the seed that decides the rest (0 to MOST_SEED)."""

    trades: int
    now: datetime
    seed: int = 1
    bad_share: float = 0.0
    dialect: str = "mixed"


@dataclass(frozen=True, slots=True)
class Handed:
    """One document: its file name, its text, and the trade that it is about. `is_bad`: no reader will understand it."""

    name: str
    text: str
    trade_id: str
    is_bad: bool


def close_of(moment: datetime) -> datetime:
    """The end of the last working day that is over at a moment."""
    end = moment.astimezone(UTC).replace(hour=ENDS_AT, minute=0, second=0, microsecond=0)
    while end > moment or end.weekday() > 4:
        end -= timedelta(days=1)
    return end


def next_close(close: datetime) -> datetime:
    """The end of the working day after one: from then on close_of() gives another day."""
    end = close + timedelta(days=1)
    while end.weekday() > 4:
        end += timedelta(days=1)
    return end


def count(day: Day) -> int:
    """How many documents the day has."""
    return sum(len(shape(text).steps) for _, text, _ in _chosen(day))


def documents(day: Day) -> Iterator[Handed]:
    """All documents of the day, in order of time. No more stories are kept than go on at a time."""
    chosen, chance = _chosen(day), _chance(day, "messages")
    plan = Plan(day.trades, 0, day.now, "", day.seed, day.seed * TRADES_A_SEED + 1)
    first = FIRST_NUMBER + plan.first
    for story, step in told_in_a_day(plan, [(text, product) for _, text, product in chosen]):
        dialect = chosen[int(story.values[Of.TRADE_ID].rpartition("-")[2]) - first][0]
        text = WRITERS[dialect].text(story, _original(story, step))
        trade_id, is_bad = _trade_id(story, dialect), chance.random() < day.bad_share
        yield Handed(story.value(step, At.FILE), _spoilt(text, trade_id, chance) if is_bad else text, trade_id, is_bad)


def _chosen(day: Day) -> list[tuple[str, str, Product]]:
    """Dialect, shape and product of each trade."""
    chance = _chance(day, "trades")
    dialects = [_dialect(day, chance) for _ in range(day.trades)]
    return [(dialect, _shape(WRITERS[dialect], chance), chance.choice(WRITERS[dialect].products)) for dialect in dialects]


def _chance(day: Day, purpose: str) -> random.Random:
    return random.Random(f"{day.seed} {day.dialect} {purpose}")  # noqa: S311 - made up, not secret


def _dialect(day: Day, chance: random.Random) -> str:
    return chance.choices(("native", "fpml", "fixml"), (2, 1, 1))[0] if day.dialect == "mixed" else day.dialect


def _shape(writer: Writer, chance: random.Random) -> str:
    return chance.choices(list(writer.shapes), list(writer.shapes.values()))[0]


def _original(story: Story, step: int) -> int:
    original = story.shape.steps[step].copy_of
    return step if original is None else original


def _trade_id(story: Story, dialect: str) -> str:
    """The trade id as a reader finds it: FIXML has the number alone."""
    trade_id: str = story.values[Of.TRADE_ID]
    return trade_id.rpartition("-")[2] if dialect == "fixml" else trade_id


def _spoilt(text: str, trade_id: str, chance: random.Random) -> str:
    """The text as a broken system might send it: cut off, without the trade's id, or no XML at all."""
    kind = chance.choice(("cut", "id", "no XML"))
    if kind == "cut":
        return text[: chance.randrange(len(text) // 3, len(text) - 20)]
    if kind == "id":
        return text.replace(f">{trade_id}<", "><").replace(f' TrdID="{trade_id}"', "")
    return f"ERROR 0x{chance.getrandbits(32):08X} while rendering the message for {trade_id}"
