"""The list of trades as a file: CSV of any size, sent while it is read, and an Excel workbook of a bounded one."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import xlsxwriter
from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from trades.models import Trade
from trades.web import columns, words
from trades.web.access import SEE, needs
from trades.web.blotter import columns_of
from trades.web.saved_views import query_of
from trades.web.trade_query import TradeQuery

MOST_IN_EXCEL = 20_000
MOST_TICKED = 1_000
CHUNK = 2_000
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# A spreadsheet takes a text that begins so for a formula.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")

Value = Callable[[Trade], Any]
VALUES: dict[str, Value] = {
    "trade": lambda trade: trade.trade_id,
    "state": lambda trade: trade.state,
    "status": lambda trade: trade.status,
    "since": lambda trade: trade.status_since,
    "updated": lambda trade: trade.updated_at,
    "last": lambda trade: trade.last_class,
    "events": lambda trade: trade.event_count,
    "product": lambda trade: trade.product,
    "parties": lambda trade: trade.parties,
    "notional": lambda trade: trade.notional,
    "traded": lambda trade: trade.trade_date,
    "first": lambda trade: trade.first_seen_at,
    "version": lambda trade: trade.version,
    "group": lambda trade: trade.group_id,
    "queue": lambda trade: trade.queue,
    "owner": lambda trade: trade.owner.get_username() if trade.owner else "",
}
HEADS = {"since": "In status since (UTC)", "updated": "Updated (UTC)", "first": "First seen (UTC)"}
FURTHER: tuple[tuple[str, Value], ...] = (
    ("Scheme", lambda trade: trade.scheme),
    ("Flagged events", lambda trade: trade.flagged_count),
)


class Export:
    """What a request asks to take home: which trades, and which columns of them."""

    def __init__(self, request: HttpRequest) -> None:
        self.query: TradeQuery = query_of(request)
        self.ticked = [int(pk) for pk in request.GET.getlist("t")[:MOST_TICKED] if pk.isascii() and pk.isdigit() and len(pk) < 19]
        is_whole = request.GET.get("columns") == "all"
        shown = columns.COLUMNS if is_whole else columns_of(request, self.query)
        self.heads = [HEADS.get(column.key, column.name) for column in shown] + [name for name, _ in FURTHER if is_whole]
        self.values = [VALUES[column.key] for column in shown] + [value for _, value in FURTHER if is_whole]
        self.at = timezone.now()

    @property
    def trades(self) -> Any:
        """The trades in the order of the list."""
        trades = Trade.objects.select_related("owner").only(*columns.FIXED, "scheme", "owner__username")
        return trades.filter(pk__in=self.ticked).order_by(*self.query.ordering.fields("-")) if self.ticked else self.query.in_order(trades)

    def about(self) -> list[str]:
        """When it was taken, in which zone its times are, and what was left out."""
        chips = [f"{chip.name}: {chip.value}" for chip in self.query.chips()]
        filters = f"{len(self.ticked)} ticked trades" if self.ticked else "; ".join(chips) or "none"
        return [f"Trades, exported {words.full(self.at)}", "All times are UTC", f"Filters: {filters}"]

    def rows(self) -> Iterator[list[Any]]:
        """A line per trade. They are read as they are asked for, never all at once."""
        for trade in self.trades.iterator(CHUNK):
            yield [value(trade) for value in self.values]

    def name(self, ending: str) -> str:
        """The name of the file."""
        return f"trades-{self.at.astimezone(UTC):%Y%m%d-%H%M%S}.{ending}"


@needs(SEE)
@require_safe
def trades_csv(request: HttpRequest) -> HttpResponseBase:
    """The list as CSV, however long it is."""
    export = Export(request)
    response = StreamingHttpResponse(_lines(export), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{export.name("csv")}"'
    response["Cache-Control"] = "no-store"
    return response


@needs(SEE)
@require_safe
def trades_xlsx(request: HttpRequest) -> HttpResponseBase:
    """The list as an Excel workbook, or, where it is too long for one, back to it with a sentence."""
    export = Export(request)
    number = export.trades.order_by()[: MOST_IN_EXCEL + 1].count()
    if number > MOST_IN_EXCEL:
        messages.error(
            request, f"These are more than {MOST_IN_EXCEL:,} trades, too many for Excel. Narrow the list by a filter, or export it as CSV."
        )
        return redirect(reverse("trades") + export.query.address())
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the response closes it
    _write_workbook(export, file)
    file.seek(0)
    response = FileResponse(file, as_attachment=True, filename=export.name("xlsx"), content_type=EXCEL)
    response["Cache-Control"] = "no-store"
    return response


class _Echo:
    """Gives back what a CSV writer writes."""

    def write(self, text: str) -> str:
        return text


def _lines(export: Export) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield "\ufeff"  # so that Excel takes it for UTF-8
    for line in export.about():
        yield writer.writerow([f"# {line}"])
    yield writer.writerow(export.heads)
    for row in export.rows():
        yield writer.writerow([safe(_text(value)) for value in row])


def safe(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(FORMULAS) else text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return value.isoformat() if isinstance(value, date) else str(value)


def _write_workbook(export: Export, file: Any) -> None:
    # Rows go to disk as they are written. Texts stay texts: nothing is made a formula, a link or a number.
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(file, options) as book:
        sheet = book.add_worksheet("Trades")
        bold = book.add_format({"bold": True})
        formats = {datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}), date: book.add_format({"num_format": "yyyy-mm-dd"})}
        about = export.about()
        sheet.set_column(0, len(export.heads) - 1, 20)
        sheet.freeze_panes(len(about) + 1, 1)
        for number, line in enumerate(about):
            sheet.write_string(number, 0, line)
        for number, head in enumerate(export.heads):
            sheet.write_string(len(about), number, head, bold)
        for number, row in enumerate(export.rows(), start=len(about) + 1):
            _write_row(sheet, number, row, formats)


def _write_row(sheet: Any, number: int, row: Sequence[Any], formats: dict[Any, Any]) -> None:
    for column, value in enumerate(row):
        if isinstance(value, datetime):
            sheet.write_datetime(number, column, value.astimezone(UTC).replace(tzinfo=None), formats[datetime])
        elif isinstance(value, date):
            sheet.write_datetime(number, column, value, formats[date])
        elif isinstance(value, int):
            sheet.write_number(number, column, value)
        elif value:
            sheet.write_string(number, column, str(value))
