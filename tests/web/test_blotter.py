"""The blotter: filters in the address, paging, live refresh, empty states, and what it costs."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from tests.web import factories, scenes
from trades.models import Trade

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
MOST_QUERIES = 7


def page(client: Client, query: str = "") -> str:
    response = client.get(f"/trades/{query}")
    assert response.status_code == 200
    return response.content.decode()


def ids(html: str) -> list[str]:
    return re.findall(r'<a class="id" id="t\d+" href="[^"]*">([^<]+)</a>', html)


def refresh_address(html: str) -> str:
    found = re.search(r'<tbody[^>]* hx-get="([^"]+)"', html)
    assert found
    return "/trades/" + unescape(found[1])


def test_both_addresses_show_the_same_list(vera: Client) -> None:
    factories.trade()

    assert ids(vera.get("/").content.decode()) == ids(page(vera)) == ["T-1"]
    assert reverse("blotter") == "/"


def test_a_row_says_what_the_trade_is_and_how_far_it_got(vera: Client) -> None:
    factories.trade("T-7", event_count=3, flagged_count=1)

    html = page(vera)

    for words in (
        "Live",
        "Checked",
        "Book",
        "1 flagged",
        "IRS 5Y EUR",
        "Northgate Bank / Kestrel Capital",
        "10,000,000.00 EUR",
        "20 Nov 2026",
    ):
        assert words in html


def test_newest_updates_come_first(vera: Client) -> None:
    for number in (2, 0, 1):
        factories.trade(f"T-{number}", age=number)

    assert ids(page(vera)) == ["T-0", "T-1", "T-2"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?state=CANCELLED", {"T-2"}),
        ("?state=CANCELLED&state=PENDING", {"T-2", "X-3"}),
        ("?status=REJECTED", {"X-3"}),
        ("?status=REJECTED&status=CHECKED&state=LIVE", {"T-1"}),
        ("?flagged=yes", {"T-1"}),
        ("?q=T-", {"T-1", "T-2"}),
        ("?q=copper", {"X-3"}),
        ("?q=Alder", {"T-2"}),
        ("?q=-1", set()),
        ("?unknown=1&after=", {"T-1", "T-2", "X-3"}),
    ],
)
def test_filters_are_in_the_address(vera: Client, query: str, expected: set[str]) -> None:
    factories.trade("T-1", flagged_count=2)
    factories.trade("T-2", state="CANCELLED", status="", parties="Alder and Finch")
    factories.trade("X-3", state="PENDING", status="REJECTED", product="Copper swap")

    assert set(ids(page(vera, query))) == expected


def test_active_filters_are_chips_that_can_be_removed_one_by_one(vera: Client) -> None:
    html = unescape(page(vera, "?state=LIVE&status=CHECKED&q=T-1&n=25"))

    assert 'State <b>Live</b> <a href="?status=CHECKED&q=T-1&n=25"' in html
    assert 'Status <b>Checked</b> <a href="?state=LIVE&q=T-1&n=25"' in html
    assert 'Text <b>T-1</b> <a href="?state=LIVE&status=CHECKED&n=25"' in html


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?state=NONSENSE", "“NONSENSE” is not one of PENDING, LIVE, TERMINATED, CANCELLED."),
        ("?status=%3Cb%3E", "“&lt;b&gt;” is not one of"),
        ("?n=7", "Select a valid choice. 7 is not one of the available choices."),
        ("?q=a%00b", "Null characters are not allowed."),
        (f"?q={'x' * 300}", "at most 255 characters"),
        ("?flagged=maybe", "Select a valid choice"),
    ],
)
def test_a_bad_value_is_an_error_of_its_field_and_filters_nothing(vera: Client, query: str, sentence: str) -> None:
    factories.trade()

    html = page(vera, query)

    assert sentence in html
    assert "This filter is not applied." in html
    assert ids(html) == ["T-1"]


def test_tabs_count_all_trades_in_one_query(vera: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    from trades.web.trade_query import count_views

    for number, state in enumerate(["LIVE", "LIVE", "PENDING", "TERMINATED", "CANCELLED"]):
        factories.trade(f"T-{number}", state=state, flagged_count=number % 2)

    with django_assert_num_queries(1):
        counts = count_views()

    assert counts == {"all": 5, "live": 2, "pending": 1, "terminated": 1, "cancelled": 1, "flagged": 2}


def test_pages_lead_to_older_and_newer_trades_and_keep_the_filter(vera: Client) -> None:
    for number in range(60):
        factories.trade(f"T-{number:02}", age=number)

    first = page(vera, "?state=LIVE&n=25")
    older = re.search(r'href="(\?[^"]*after=[^"]*)"', first)
    assert older
    second = page(vera, unescape(older[1]))
    newer = re.search(r'href="(\?[^"]*before=[^"]*)"', second)
    assert newer

    assert ids(first) + ids(second) == [f"T-{number:02}" for number in range(50)]
    assert "25 of <b>60</b> trades" in first
    assert "state=LIVE" in older[1]
    assert ids(page(vera, unescape(newer[1]))) == ids(first)


def test_an_old_cursor_shows_the_first_page_with_a_note(vera: Client) -> None:
    factories.trade()

    html = page(vera, "?after=forged")

    assert "That page of the list is not known any more." in html
    assert ids(html) == ["T-1"]


# Live refresh


def test_a_refresh_without_news_answers_204(vera: Client) -> None:
    factories.trade()

    response = vera.get(refresh_address(page(vera)), headers=HTMX)

    assert response.status_code == 204
    assert response["Cache-Control"] == "no-store"
    assert "HX-Request" in response["Vary"]


def test_a_refresh_brings_what_changed_and_marks_it(vera: Client) -> None:
    factories.trade("T-1", age=60)
    factories.trade("T-2", age=30)
    address = refresh_address(page(vera))
    Trade.objects.filter(trade_id="T-1").update(status="CONFIRMED", updated_at=factories.NOON + timedelta(seconds=5))

    response = vera.get(address, headers=HTMX)
    html = response.content.decode()

    assert response.status_code == 200
    assert ids(html) == ["T-1", "T-2"]
    assert html.count('<tr class="chg">') == 1
    assert "<html" not in html
    assert html.count('hx-swap-oob="true"') == 2
    assert vera.get(refresh_address(html), headers=HTMX).status_code == 204


def test_a_refresh_brings_the_number_in_quarantine(vera: Client) -> None:
    factories.trade()
    address = refresh_address(page(vera))
    factories.quarantined()

    response = vera.get(address, headers=HTMX)

    assert response["HX-Trigger"] == '{"quarantined": {"count": 1}}'


def test_an_empty_blotter_shows_the_first_trade_when_it_comes(vera: Client) -> None:
    address = refresh_address(page(vera))
    factories.trade()
    cache.clear()

    assert ids(vera.get(address, headers=HTMX).content.decode()) == ["T-1"]


def test_only_the_first_page_refreshes_and_only_while_not_paused(vera: Client) -> None:
    for number in range(30):
        factories.trade(f"T-{number}", age=number)
    first = page(vera, "?n=25")
    older = re.search(r'href="(\?[^"]*after=[^"]*)"', first)
    assert older

    assert "hx-get" in first
    assert "hx-get" not in page(vera, unescape(older[1]))
    assert "hx-get" not in page(vera, "?live=off")
    assert "Resume" in page(vera, "?live=off")


@pytest.mark.parametrize("seen", ["", "x", "999999999999999999999999-a", "-", "١٢-x"])
def test_a_strange_version_is_simply_not_current(vera: Client, seen: str) -> None:
    factories.trade()

    assert vera.get("/trades/", {"seen": seen}, headers=HTMX).status_code == 200


# Empty states


def test_without_trades_the_page_says_how_to_get_some(otto: Client, vera: Client) -> None:
    assert "No trades yet" in page(vera)
    assert "python manage.py consume_trades" in page(vera)
    assert reverse("upload_new") in page(otto)


def test_without_matches_the_page_offers_to_clear_the_filters_and_looks_in_quarantine(vera: Client) -> None:
    factories.trade()
    factories.quarantined(body="<a>T-LOST</a")

    html = page(vera, "?q=T-LOST")

    assert "No trades match" in html
    assert "Clear all" in html
    assert "1 in quarantine holds this text" in html


# Cost


def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(
    vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(60):
        factories.trade(f"T-{number}", age=number, flagged_count=number % 3)

    for query in ("", "?n=200", "?state=LIVE&status=CHECKED&q=T"):
        cache.clear()
        with django_assert_max_num_queries(MOST_QUERIES):
            page(vera, query)


def test_fifty_rows_are_less_than_60_kilobytes(otto: Client) -> None:
    for number in range(60):
        factories.trade(f"TRD-261120-{number:06}", age=number, flagged_count=1, event_count=12)

    html = page(otto)

    assert len(ids(html)) == 50
    assert len(html.encode()) < 60_000


def test_ids_and_values_are_text_never_markup(vera: Client) -> None:
    factories.trade("<script>alert(1)</script>", product="<i>", parties="a & b")

    html = page(vera)

    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;i&gt;" in html


# Long and ambiguous values


def test_what_may_not_fit_its_cell_has_its_whole_text_as_title(vera: Client) -> None:
    uti = "549300DTUYXVMJXZNY75" + "A1B2C3D4E5F6G7H"
    factories.trade(uti, parties="Northgate Bank and Trust Company / Kestrel Capital", notional="123456789012345.25 EUR")

    html = page(vera)

    for text in (uti, "Northgate Bank and Trust Company / Kestrel Capital", "123,456,789,012,345.25 EUR"):
        assert f'title="{text}"' in html


def test_the_column_that_shows_a_quantity_where_no_notional_is_stated_says_so(vera: Client) -> None:
    assert ">Notional or quantity</th>" in page(vera)


def test_the_last_event_says_where_business_order_has_another_last(vera: Client) -> None:
    scenes.record(scenes.told("BOOK", 1, 0, trade_id="A-1"), scenes.told("UPDATE", 2, 9, trade_id="A-1"), group="A-1")
    scenes.record(scenes.told("BOOK", 1, 0), scenes.told("UPDATE", 3, 30), minute=31)
    scenes.record(scenes.told("STATUS", 2, 20, status="CHECKED"), minute=40)

    html = page(vera)

    assert '<td title="The event that arrived last. In business order, event 2 is the last.">Status</td>' in html
    assert "<td>Update</td>" in html


def test_one_trade_is_not_called_several(vera: Client) -> None:
    factories.trade()

    assert "1 of <b>1</b> trade</span>" in page(vera)
    assert "1 trade on this page" in page(vera, "?q=T-1")
