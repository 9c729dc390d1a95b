"""The list as a file: what is in it, at any size, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.test import Client
from lxml import etree

from tests.web import factories
from trades.models import Trade

pytestmark = pytest.mark.django_db


def download(client: Client, address: str) -> bytes:
    response = client.get(address)
    assert response.status_code == 200
    assert response["Content-Disposition"].startswith('attachment; filename="trades-')
    return b"".join(response)


def table(client: Client, query: str = "") -> tuple[list[str], list[list[str]]]:
    """What stands over the table, and the table with its heads."""
    lines = list(csv.reader(io.StringIO(download(client, f"/trades/export.csv{query}").decode("utf-8-sig"))))
    return [line[0] for line in lines[:3]], lines[3:]


def test_the_file_says_when_it_was_taken_in_which_zone_and_what_was_left_out(vera: Client) -> None:
    factories.trade("T-1")
    factories.trade("T-2", state="CANCELLED")

    about, rows = table(vera, "?state=LIVE&q=T")

    assert about[0].startswith("# Trades, exported ")
    assert about[0].endswith(" UTC")
    assert about[1:] == ["# All times are UTC", "# Filters: State: Live; Text: T"]
    assert [row[0] for row in rows] == ["Trade", "T-1"]


def test_columns_are_those_that_are_shown_or_all(vera: Client) -> None:
    factories.trade("T-1", owner_id=vera.session["_auth_user_id"], flagged_count=3)

    assert table(vera, "?cols=status,first")[1] == [["Trade", "Status", "First seen (UTC)"], ["T-1", "CHECKED", "2026-11-20T12:00:00Z"]]
    heads, row = table(vera, "?columns=all")[1]
    assert dict(zip(heads, row, strict=True)).items() >= {
        "Owner": "vera", "Version": "1", "Flagged events": "3", "Trade date": "2026-11-20", "Notional or quantity": "10000000.00 EUR"
    }.items()  # fmt: skip


def test_all_trades_come_in_the_order_of_the_list_without_paging(vera: Client) -> None:
    for number in range(230):
        factories.trade(f"T-{number:03}", age=number)

    assert [row[0] for row in table(vera, "?n=25&sort=-trade")[1][1:]] == [f"T-{number:03}" for number in reversed(range(230))]


def test_rows_are_read_while_the_file_is_sent(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trades.web.export.CHUNK", 2)
    for number in range(9):
        factories.trade(f"T-{number}", age=number)
    response = vera.get("/trades/export.csv?cols=status")
    lines = iter(response)

    first = [next(lines) for _ in range(6)]

    assert response.streaming
    assert b"T-0" in first[-1]
    assert len(list(lines)) == 8


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_nothing_is_taken_for_a_formula(vera: Client, start: str) -> None:
    factories.trade(f"{start}cmd|' /C calc'!A0", product=f"{start}1+1")

    heads, row = table(vera)[1]

    assert row[0].startswith(f"'{start}cmd")
    assert row[heads.index("Product")] == f"'{start}1+1"


def sheet(client: Client, query: str = "") -> list[list[str]]:
    """The cells of the workbook's rows, as text."""
    with zipfile.ZipFile(io.BytesIO(download(client, f"/trades/export.xlsx{query}"))) as book:
        assert not any(b"<f>" in book.read(name) for name in book.namelist())
        root = etree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    names = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    return [["".join(cell.itertext()) for cell in row.iterfind("m:c", names)] for row in root.iterfind(".//m:row", names)]


def test_a_workbook_has_the_same_with_dates_as_dates_and_texts_as_texts(vera: Client) -> None:
    factories.trade("=1+1", parties="http://example.com")

    rows = sheet(vera, "?cols=parties,traded,events")

    assert rows[1:] == [
        ["All times are UTC"],
        ["Filters: none"],
        ["Trade", "Events", "Parties", "Trade date"],
        ["=1+1", "0", "http://example.com", "46346"],
    ]


def test_more_trades_than_excel_is_meant_for_get_a_sentence(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trades.web.export.MOST_IN_EXCEL", 2)
    for number in range(3):
        factories.trade(f"T-{number}", age=number)

    response = vera.get("/trades/export.xlsx?state=LIVE", follow=True)

    assert response.redirect_chain == [("/trades/?state=LIVE", 302)]
    assert (
        "These are more than 2 trades, too many for Excel. Narrow the list by a filter, or export it as CSV." in response.content.decode()
    )
    assert len(sheet(vera, "?q=T-1")) == 5


def test_only_ticked_trades_are_taken_where_some_are(vera: Client) -> None:
    for number in range(4):
        factories.trade(f"T-{number}", updated_at=factories.NOON - timedelta(seconds=number))
    ticked = Trade.objects.filter(trade_id__in=["T-1", "T-3"]).values_list("pk", flat=True)
    query = "&".join(f"t={pk}" for pk in ticked)

    about, rows = table(vera, f"?{query}&t=x&state=CANCELLED")

    assert about[2] == "# Filters: 2 ticked trades"
    assert [row[0] for row in rows[1:]] == ["T-1", "T-3"]
    assert len(sheet(vera, f"?{query}")) == 6


def test_the_buttons_for_ticked_trades_export_the_list_where_none_is_ticked(vera: Client) -> None:
    factories.trade("T-1")
    factories.trade("T-2", state="CANCELLED")
    form = vera.get("/trades/?state=CANCELLED").content.decode().partition('<form id="results"')[2].partition("</table>")[0]

    stated = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form)

    assert [row[0] for row in table(vera, f"?{urlencode(stated)}")[1]] == ["Trade", "T-2"]
