"""What a queues file may say and seldom means: a sentence for each, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from django.conf import settings

from trades import dialects
from trades.routes.file import faults, in_use, stated_dialects
from trades.routes.table import Route, Table

_PATTERN = re.compile(r"[*?\[]")


class Warned(NamedTuple):
    """One warning: its stable id, the sentence, and what to do."""

    code: str
    sentence: str
    hint: str


def warnings() -> list[Warned]:
    """What is to be warned of in the queues file. Where it can't be used, only what holds however its faults are mended."""
    unknown = list(_unknown_dialects())
    if faults():
        return unknown
    table = in_use()
    return [*_divided(table), *unknown, *_swallowing(table)]


def _divided(table: Table) -> Iterator[Warned]:
    """Routes that may send the messages of one trade to different queues."""
    for number, route, others in _dividing(table):
        yield Warned(
            "trades.W006",
            f'routes[{number}] ("{route.name}") sends to {route.queue} by {_and(_divides_by(route))}, and other messages of the same trade '
            f"may go to {_and(others)}: SQS keeps no order between queues, so a later message may be recorded first.",
            "docs/queues.md#one-trade-several-queues says what its history makes of that. Route by dialect alone to keep a trade together.",
        )


def _dividing(table: Table) -> Iterator[tuple[int, Route, list[str]]]:
    """(number, route, the other queues) of the routes that messages of one trade may or may not take."""
    numbered = [(number, route) for number, route in enumerate(table.routes, 1) if not route.for_reference]
    for at, (number, route) in enumerate(numbered):
        others: list[str] = []
        if not _divides_by(route):
            continue
        for _, later in numbered[at + 1 :]:
            if _may_share(route, later):
                others.append(later.queue)
            if not _divides_by(later) and (not later.dialect or later.dialect == route.dialect):
                break
        else:
            others.append(settings.TRADES_QUEUE)
        others = [name for name in dict.fromkeys(others) if name != route.queue]
        if others:
            yield number, route, others


def _divides_by(route: Route) -> list[str]:
    """The conditions of a route that hold for some messages of a trade and not for others. A dialect is a trade's own, as a rule."""
    conditions = {
        "message_type": route.message_type,
        "product": route.product,
        "event_class": route.event_class,
        "xpath": route.xpath,
    }
    return [name for name, stated in conditions.items() if stated]


def _may_share(route: Route, other: Route) -> bool:
    """Whether messages of one dialect may take either."""
    if not route.dialect or not other.dialect:
        return True
    return any(_overlap(one, two) for one in route.dialect for two in other.dialect)


def _overlap(one: str, two: str) -> bool:
    are_patterns = _PATTERN.search(one) and _PATTERN.search(two)
    return bool(are_patterns) or fnmatchcase(one, two) or fnmatchcase(two, one)


def _unknown_dialects() -> Iterator[Warned]:
    if dialects.faults():  # one of the firm's own may be meant, which is passed over for now
        return
    known = [dialect.name for dialect in dialects.in_use().dialects]
    for number, word in stated_dialects():
        if not _PATTERN.search(word) and not any(fnmatchcase(word, name) for name in known):
            yield Warned(
                "trades.W007",
                f"routes[{number}].dialect is '{word}'; no dialect in use has that name, so the route takes nothing by it.",
                f"The dialects in use are {', '.join(sorted(known))}; * stands for what differs.",
            )


def _swallowing(table: Table) -> Iterator[Warned]:
    """Queues of trade events that go by the content alone."""
    of_trades = {
        route.queue: f'routes[{number}] ("{route.name}")' for number, route in enumerate(table.routes, 1) if not route.for_reference
    }
    if not any(route.takes_all and not route.for_reference for route in table.routes):
        of_trades.setdefault(settings.TRADES_QUEUE, "The default")
    for name, definition in table.queues.items():
        if definition.by_content and name in of_trades:
            yield Warned(
                "trades.W008",
                f"{of_trades[name]} sends trade events to {name}, which tells repetitions by the content: of two messages of the same text "
                "within five minutes SQS delivers the first alone, also when another status came between them.",
                'docs/queues.md#content-based-deduplication explains it. Use deduplication = "explicit" where trade events go.',
            )


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
