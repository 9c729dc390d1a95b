"""The columns of the blotter: their heads, their order and widths, and each trade put into cells."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from trades.exceptions import limit_of
from trades.lifecycle import State, Status
from trades.models import Event, Hold, Trade
from trades.web import words
from trades.web.addresses import trade_url
from trades.web.trade_query import TradeQuery
from trades.web.words import Badge

ID_FITS = 20  # characters; longer ids are cut and have their whole text as title
FIXED = (
    "id", "trade_id", "state", "status", "status_since", "last_class", "event_count", "flagged_count", "exception_marks", "product",
    "parties", "notional", "trade_date", "updated_at", "first_seen_at", "version", "group_id", "queue", "owner_id",
)  # fmt: skip
# The position of a trade's last event in business order: one look into an index for each row shown.
LAST_BY_BUSINESS = Event.objects.filter(trade=OuterRef("pk"), place=OuterRef("event_count")).values("position")[:1]
HELD = Exists(Hold.objects.filter(queue=OuterRef("queue"), group_id=OuterRef("group_id")))
ENDED = frozenset({State.TERMINATED.value, State.CANCELLED.value})
FINAL = mark_safe("<td><span class=vh>final</span>")
# Rows are most of the page, so their markup is short: end tags and quotes that HTML does not need are left out, and the script makes the
# titles of times and of texts that are cut. The dash of an absent value is drawn by the style sheet.
ABSENT = mark_safe("<span class=vh>not provided</span>")
# Bit of Trade.exception_marks, icon, words.
MARKS = (
    (1, "split", "A version is missing"),
    (2, "history", "An event arrived late"),
    (4, "git-merge", "Events contradict each other"),
    (8, "octagon-x", "An event came after the end"),
)
MOST_ICONS = 3


@dataclass(frozen=True, slots=True)
class Context:
    """What cells are made with."""

    now: datetime


Cell = Callable[[Trade, Context], SafeString]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its head, the order that a click on it asks for first, and its cell."""

    key: str
    name: str
    cell: Cell
    rem: float
    sorts: tuple[str, str] = ("", "")
    is_right: bool = False
    is_default: bool = True
    title: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head as the table shows it."""

    column: Column
    href: str
    aria: str


def _icon(name: str) -> SafeString:
    return format_html("<svg><use href=#i-{} /></svg>", name)


def _badge(badge: Badge) -> SafeString:
    return format_html('<td><b class="st {}">{}{}</b>', badge.tone, _icon(badge.icon), badge.word)


STATES = {word: format_html('<td><b class="st {}">{}</b>', badge.tone, badge.word) for word, badge in words.STATES.items()}
STATUSES = {word: _badge(badge) for word, badge in words.STATUSES.items()}


def _cell(text: SafeString | str) -> SafeString:
    return format_html("<td>{}", text or ABSENT)


def _right(text: SafeString | str) -> SafeString:
    return format_html("<td class=r>{}", text or ABSENT)


def _time(moment: datetime, shown: str) -> SafeString:
    return format_html("<time datetime={}>{}</time>", f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", shown)


def _age(moment: datetime, now: datetime) -> SafeString:
    return format_html("<time datetime={} data-age>{}</time>", f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", words.duration(now - moment))


def _trade(trade: Trade, _: Context) -> SafeString:
    title = format_html(' title="{}"', trade.trade_id) if len(trade.trade_id) > ID_FITS else ""
    return format_html('<th scope=row{}><a class=id id=t{} href="{}">{}</a>', title, trade.pk, trade_url(trade.trade_id), trade.trade_id)


def _state(trade: Trade, _: Context) -> SafeString:
    return STATES[trade.state]


def _status(trade: Trade, _: Context) -> SafeString:
    return STATUSES[trade.status] if trade.status else _cell("")


def level(trade: Trade, now: datetime) -> tuple[str, str]:
    """How a trade's time in its status stands to the limit of it: tone and words, empty while within."""
    limit = limit_of(trade.status) if trade.state not in ENDED else None
    since = now - trade.status_since
    if limit is None or since < limit.warn:
        return "", ""
    tone, bound = ("bad", limit.limit) if since >= limit.limit else ("warn", limit.warn)
    return tone, f"{'Past its limit of' if tone == 'bad' else 'Longer than'} {words.duration(bound).removesuffix(' 0 m')}"


def _since(trade: Trade, at: Context) -> SafeString:
    if trade.state in ENDED or trade.status == Status.SETTLED:
        return FINAL
    age = _age(trade.status_since, at.now)
    tone, told = level(trade, at.now)
    if not tone:
        return _cell(age)
    return format_html('<td><span class="age {}">{}<span class=vh>{}: </span>{}</span>', tone, _icon("clock"), told, age)


def _updated(trade: Trade, at: Context) -> SafeString:
    return _cell(_time(trade.updated_at, words.short(trade.updated_at, at.now)))


def _last(trade: Trade, _: Context) -> SafeString:
    last = getattr(trade, "last_by_business", None)
    if last in (None, trade.event_count):
        return _cell(words.class_word(trade.last_class))
    told = f"The event that arrived last. In business order, event {last} is the last."
    return format_html('<td title="{}">{}', told, words.class_word(trade.last_class))


def _events(trade: Trade, _: Context) -> SafeString:
    marks = [(icon, told, "flag") for bit, icon, told in MARKS if trade.exception_marks & bit]
    if getattr(trade, "held", False):
        marks.insert(0, ("inbox", "A message of its group is in quarantine", "bad"))
    if trade.flagged_count:
        marks.append(("flag", f"{trade.flagged_count} flagged", "flag"))
    if not marks:
        return _right(str(trade.event_count))
    shown = ((tone, icon) for icon, _, tone in marks[:MOST_ICONS])
    icons = format_html_join("", "<svg class={}><use href=#i-{} /></svg>", shown)
    told = ", ".join(told for _, told, _ in marks)
    return format_html("<td class=r>{}<span class=vh>{}, </span> {}", icons, told, trade.event_count)


def _product(trade: Trade, _: Context) -> SafeString:
    return _cell(trade.product)


def _parties(trade: Trade, _: Context) -> SafeString:
    return _cell(trade.parties)


def _notional(trade: Trade, _: Context) -> SafeString:
    return _right(words.grouped(trade.notional))


def _traded(trade: Trade, _: Context) -> SafeString:
    return _cell(words.day(trade.trade_date))


def _first(trade: Trade, at: Context) -> SafeString:
    return _cell(_time(trade.first_seen_at, words.short(trade.first_seen_at, at.now)))


def _version(trade: Trade, _: Context) -> SafeString:
    return _right("" if trade.version is None else str(trade.version))


def _group(trade: Trade, _: Context) -> SafeString:
    return _cell(trade.group_id)


def _queue(trade: Trade, _: Context) -> SafeString:
    name, suffix = trade.queue.removesuffix(FIFO), FIFO if trade.queue.endswith(FIFO) else ""
    return format_html("<td><bdi>{}<i>{}</i></bdi>", name, suffix) if trade.queue else _cell("")


def _owner(trade: Trade, _: Context) -> SafeString:
    return _cell(trade.owner.get_username() if trade.owner else "")


FIFO = ".fifo"  # the end of the name of every queue
QUEUE = "queue"  # is offered, and usual, only where there are several
COLUMNS = (
    Column("trade", "Trade", _trade, 10.25, ("trade", "-trade")),
    Column("state", "State", _state, 5.6),
    Column("status", "Status", _status, 6.6),
    Column("since", "In status", _since, 6, ("since", "-since"), title="How long the trade has been in its status"),
    Column("updated", "Updated", _updated, 5.9, ("-updated", "updated")),
    Column("last", "Last event", _last, 4.8, title="The event that arrived last"),
    Column("events", "Events", _events, 5, is_right=True),
    Column("product", "Product", _product, 4.35),
    Column("parties", "Parties", _parties, 4.35),
    Column("notional", "Notional or quantity", _notional, 8.6, is_right=True),
    Column("traded", "Trade date", _traded, 5.75),
    Column("first", "First seen", _first, 6.25, ("-first", "first"), is_default=False),
    Column("version", "Version", _version, 4.25, is_right=True, is_default=False),
    Column("group", "Message group", _group, 8, is_default=False),
    Column(QUEUE, "Queue", _queue, 5.8),
    Column("owner", "Owner", _owner, 6, is_default=False),
)
BY_KEY = {column.key: column for column in COLUMNS}
# The least widths that the style sheet has rules for, in rem.
WIDTHS = (40, 48, 56, 64, 70, 75, 78, 86, 94, 102)


def offered(query: TradeQuery) -> tuple[Column, ...]:
    """The columns that there are to choose from."""
    return COLUMNS if query.are_many_queues else tuple(column for column in COLUMNS if column.key != QUEUE)


def usual(query: TradeQuery) -> list[str]:
    """The keys of the columns that are shown unless others are chosen."""
    return [column.key for column in offered(query) if column.is_default]


def chosen(query: TradeQuery, stated: Iterable[str]) -> tuple[Column, ...]:
    """The columns of a list of keys, in their own order, the trade always among them; the usual ones where none is known."""
    keys = {key for text in stated for key in text.split(",")} & set(BY_KEY)
    shown = keys | {"trade"} if keys else set(usual(query))
    return tuple(column for column in offered(query) if column.key in shown)


def least_width(columns: Sequence[Column]) -> int:
    """How many rem the table needs at least, up to the next width that there is a rule for."""
    needed = 2 + sum(column.rem for column in columns)
    return next((width for width in WIDTHS if width >= needed), WIDTHS[-1])


def heads(columns: Sequence[Column], query: TradeQuery) -> list[Head]:
    """The heads of the columns, with what a click on them asks for."""
    return [_head(column, query) for column in columns]


def _head(column: Column, query: TradeQuery) -> Head:
    first, second = column.sorts
    if not first:
        return Head(column, "", "")
    href = query.address(sort=second if query.sort == first else first)
    if query.sort not in column.sorts:
        return Head(column, href, "")
    # The longest time in a status began first.
    falls = query.sort.startswith("-") is not (column.key == "since")
    return Head(column, href, "descending" if falls else "ascending")


def for_rows(trades: QuerySet[Trade], columns: Sequence[Column]) -> QuerySet[Trade]:
    """The trades with what their cells are made from, and no more."""
    trades = trades.annotate(last_by_business=Subquery(LAST_BY_BUSINESS), held=HELD)
    if BY_KEY["owner"] in columns:
        return trades.select_related("owner").only(*FIXED, "owner__username")
    return trades.only(*FIXED)


@dataclass(frozen=True, slots=True)
class Row:
    """One trade as the table shows it, and a mark that changes with what is shown."""

    pk: int
    mark: str
    html: SafeString


def row_of(trade: Trade, columns: Sequence[Column], now: datetime) -> Row:
    """A trade put into cells."""
    at = Context(now)
    cells = mark_safe("".join(column.cell(trade, at) for column in columns))  # noqa: S308 - each cell is safe
    mark = mark_of(trade, now)
    html = format_html("<tr id=r{0} data-v={1}><td><input type=checkbox name=t value={0} aria-labelledby=t{0}>{2}", trade.pk, mark, cells)
    return Row(trade.pk, mark, html)


def mark_of(trade: Trade, now: datetime) -> str:
    """A short mark of all that a row may show."""
    shown = (
        trade.updated_at.isoformat(), trade.status_since.isoformat(), trade.owner_id, trade.exception_marks, trade.flagged_count,
        trade.state, trade.status, getattr(trade, "held", False), level(trade, now)[0], now.date().isoformat(),
    )  # fmt: skip
    return f"{zlib.crc32(repr(shown).encode()):x}"
