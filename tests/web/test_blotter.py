"""The blotter: filters in the address, paging, tabs and figures, live refresh, empty states, and what it costs."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.web import factories, scenes
from trades.models import Trade, TradeException, Worker

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
MOST_QUERIES = 12


def page(client: Client, query: str = "") -> str:
    response = client.get(f"/trades/{query}")
    assert response.status_code == 200
    return response.content.decode()


def ids(html: str) -> list[str]:
    return re.findall(r'<a class=id id=t\d+ href="[^"]*">([^<]+)</a>', html)


def shown(html: str) -> dict[str, str]:
    """What the browser sends along with a refresh: a mark of the figures, and each row with its mark."""
    version = re.search(r'<tbody id="rows"[^>]* data-version="(\w+)"', html)
    assert version
    rows = [f"{row}.{mark}" for row, mark in re.findall(r"<tr id=(r\d+) data-v=(\w+)>", html)]
    return {**HTMX, "X-Shown": " ".join([version[1], *rows])}


def later(**fields: Any) -> None:
    """A change that is seen at once."""
    Trade.objects.filter(trade_id="T-1").update(updated_at=factories.NOON + timedelta(seconds=5), **fields)
    cache.clear()


def test_both_addresses_show_the_same_list(vera: Client) -> None:
    factories.trade()

    assert ids(vera.get("/", follow=True).content.decode()) == ids(page(vera)) == ["T-1"]
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
        ("?state=PENDING&state=LIVE&status=CHECKED", {"T-1"}),
        ("?status=REJECTED", {"X-3"}),
        ("?status=REJECTED&status=CHECKED&state=LIVE", {"T-1"}),
        ("?flagged=yes", {"T-1"}),
        ("?q=T-", {"T-1", "T-2"}),
        ("?q=t-1", {"T-1"}),
        ("?q=copper", {"X-3"}),
        ("?q=Alder", {"T-2"}),
        ("?q=-1", set()),
        ("?q=T&state=CANCELLED", {"T-2"}),
        ("?product=Copper swap", {"X-3"}),
        ("?product=Copper swap&product=IRS 5Y EUR", {"T-1", "T-2", "X-3"}),
        ("?party=Kestrel Capital", {"T-1", "X-3"}),
        ("?party=Kestrel", set()),
        ("?party=Alder and Finch&party=Northgate Bank", {"T-1", "T-2", "X-3"}),
        ("?traded=2026-11-20", {"T-1", "X-3"}),
        ("?traded=2026-11-18..2026-11-19", {"T-2"}),
        ("?traded=..2026-11-19", {"T-2"}),
        ("?updated=2026-11-20T11:59:50..2026-11-20T12:00:30", {"T-1", "X-3"}),
        ("?first=today", set()),
        ("?owner=none", {"T-1", "T-2"}),
        ("?owner=me", {"X-3"}),
        ("?owner=nobody&owner=none", {"T-1", "T-2"}),
        ("?last=CANCEL", {"T-2"}),
        ("?exception=gap", {"T-1"}),
        ("?exception=gap&exception=late", {"T-1"}),
        ("?queue=Other.fifo", {"T-2"}),
        ("?unknown=1&after=", {"T-1", "T-2", "X-3"}),
    ],
)
@pytest.mark.parametrize("sort", ["", "&sort=trade", "&sort=since"])
def test_filters_are_in_the_address(vera: Client, query: str, expected: set[str], sort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = factories.trade("T-1", flagged_count=2)
    two = factories.trade("T-2", state="CANCELLED", status="", parties="Alder and Finch", last_class="CANCEL", age=3600, queue="Other.fifo",
        trade_date=factories.NOON.date() - timedelta(days=1))  # fmt: skip
    factories.event(two, message=factories.message(queue="Other.fifo"))
    factories.trade("X-3", state="PENDING", status="REJECTED", product="Copper swap", owner_id=vera.session["_auth_user_id"])
    TradeException.objects.create(trade=one, kind="GAP", since=factories.NOON)
    TradeException.objects.create(trade=one, kind="LATE", since=factories.NOON, acknowledged_at=factories.NOON)

    assert set(ids(page(vera, query + sort))) == expected

    # Asked as when they are many: the answer is the same.
    monkeypatch.setattr("trades.web.trade_query.FEW", -1)
    assert set(ids(page(vera, query + sort))) == expected


@pytest.mark.parametrize("limit", ["trades.web.names.MOST", "trades.web.trade_filter.MOST_LISTED"])
@pytest.mark.parametrize("query", ["?party=Kestrel Capital", "?q=kestrel", "?q=IRS"])
def test_more_names_than_are_listed_are_looked_for_in_the_trades(
    vera: Client, query: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit, 1)
    for number, parties in enumerate(["Kestrel Capital", "A / Kestrel Capital", "Kestrel Capital / B", "A / Kestrel Capital / B"]):
        factories.trade(f"T-{number}", parties=parties, product=f"IRS {number}Y", age=number)

    assert ids(page(vera, query)) == ["T-0", "T-1", "T-2", "T-3"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("", ["B", "A", "C"]),
        ("updated", ["C", "A", "B"]),
        ("trade", ["A", "B", "C"]),
        ("-trade", ["C", "B", "A"]),
        ("-first", ["C", "B", "A"]),
        ("since", ["B", "C", "A"]),
        ("-since", ["A", "C", "B"]),
    ],
)
def test_the_address_says_the_order_and_every_page_keeps_it(vera: Client, sort: str, expected: list[str]) -> None:
    for trade_id, updated, seen, since in (("A", 1, 9, 1), ("B", 0, 8, 3), ("C", 2, 7, 2)):
        at = [factories.NOON - timedelta(seconds=seconds) for seconds in (updated, seen, since)]
        for copy in range(20):
            factories.trade(f"{trade_id}{copy:02}", updated_at=at[0], first_seen_at=at[1], status_since=at[2])

    first = page(vera, f"?sort={sort}&n=25")
    found, following = ids(first), first
    while next_page := re.search(r'<a class="btn sm" href="(\?[^"]*after=[^"]*)"', following):
        following = page(vera, unescape(next_page[1]))
        found += ids(following)

    assert list(dict.fromkeys(trade_id[0] for trade_id in found)) == expected
    assert len(found) == len(set(found)) == 60
    assert first.count("aria-sort=") == (0 if sort == "-first" else 1)  # a column that is not shown


def test_active_filters_are_chips_that_can_be_removed_one_by_one(vera: Client) -> None:
    html = unescape(page(vera, "?state=LIVE&status=CHECKED&q=T-1&n=25"))

    assert "State <b>Live</b>" in html
    assert 'href="?status=CHECKED&q=T-1&n=25" data-drop="state" aria-label="Remove filter State"' in html
    assert 'href="?state=LIVE&q=T-1&n=25" data-drop="status" aria-label="Remove filter Status"' in html
    assert 'name="q" value="T-1"' in html


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?state=NONSENSE", "“NONSENSE” is not one of PENDING, LIVE, TERMINATED, CANCELLED."),
        ("?status=%3Cb%3E", "“&lt;b&gt;” is not one of"),
        ("?n=7", "“7” is not one of 25, 50, 100, 200."),
        ("?sort=price", "“price” is not one of -updated, updated,"),
        ("?q=a%00b", "Null characters are not allowed."),
        (f"?q={'x' * 300}", "at most 255 characters"),
        ("?flagged=maybe", "“maybe” is not one of yes."),
        ("?traded=yesterday", "“yesterday” is no such time. Write today, 2026-11-20"),
        ("?traded=-2h", "is no such time"),
        ("?updated=2026-11-20..2026-11-01", "is no such time"),
        ("?updated=-99999d..", "is no such time"),
        ("?first=9999-12-31", "is no such time"),
        ("?party=" + "x" * 501, "A value has at most 500 characters"),
        ("?" + "&".join(f"product={number}" for number in range(51)), "At most 50 values can be asked for; these are 51."),
    ],
)
def test_a_bad_value_is_an_error_of_its_field_and_filters_nothing(vera: Client, query: str, sentence: str) -> None:
    factories.trade()

    html = page(vera, query)

    assert sentence in html
    assert "This filter is not applied." in html
    assert ids(html) == ["T-1"]


@pytest.mark.parametrize("query", ["traded=20261116..20261120", "updated=20261116..20261120", "first=2026-W47-1..2026-W47-5"])
def test_the_last_day_of_a_span_belongs_to_it_however_it_is_written(vera: Client, query: str) -> None:
    factories.trade()

    assert ids(page(vera, f"?{query}")) == ["T-1"]


@pytest.mark.parametrize("key", ["state", "status", "product", "party", "owner", "last", "exception", "queue"])
def test_the_menu_of_a_filter_that_cannot_be_used_opens_all_the_same(vera: Client, key: str) -> None:
    factories.trade()

    assert "This filter is not applied." in page(vera, f"?{key}=a%00b&choose={key}")


# Figures and tabs


def test_tabs_and_figures_count_all_trades_in_one_query(vera: Client, settings: Any) -> None:
    settings.TRADES_STATUS_LIMITS = {}
    standings = [("LIVE", "CHECKED"), ("LIVE", "CONFIRMED"), ("PENDING", "REJECTED"), ("CANCELLED", "SETTLED")]
    for number, (state, status) in enumerate(standings):
        factories.trade(f"T-{number}", state=state, status=status)

    with CaptureQueriesContext(connection) as queries:
        html = page(vera)

    ones = dict.fromkeys(("exceptions", "progress", "pending", "confirmed", "settled", "cancelled"), "1")
    assert dict(re.findall(r'id="n-(\w+)">([^<]+)<', html)) == {"all": "4", **ones, "mine": "0"}
    assert sum(query["sql"].startswith("SELECT (SELECT COUNT(*)") for query in queries) == 1
    figures = dict(re.findall(r'id="v-(\w+)">([^<]+)<', html))
    ones = dict.fromkeys(("progress", "confirmed", "settled", "exceptions"), "1")
    assert figures == {"today": "0", **ones, "quarantine": "0", "latency": "–"}


def test_each_figure_leads_to_what_it_counts(vera: Client) -> None:
    factories.trade("T-1", first_seen_at=timezone.now())
    factories.trade("T-2", status="CONFIRMED")
    html = page(vera)
    hrefs = re.findall(r'<a class="kpi" href="([^"]+)"', html)

    assert [ids(vera.get(unescape(href)).content.decode()) for href in hrefs[:4]] == [["T-1"], ["T-1"], ["T-2"], []]
    assert hrefs[4:] == ["/exceptions/", "/quarantine/", "/monitor/"]


def test_only_groups_in_which_messages_wait_are_said_to_wait(vera: Client) -> None:
    for group, waiting in (("T-1", 2), ("T-2", 0), ("T-3", 1), ("T-4", 0)):
        factories.quarantined(waiting, group=group)

    assert "2 groups wait" in page(vera)


def test_the_latency_is_that_of_the_newest_messages(vera: Client) -> None:
    for seconds in (1, 2, 7):
        factories.message(recorded_at=factories.NOON + timedelta(seconds=seconds))

    assert 'class="v warn" id="v-latency">7.0 s<' in page(vera)


def test_counts_stop_at_their_bound_and_say_so(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        factories.trade(f"T-{number}")
    from trades.web.counting import Leg, count

    counts = count({"all": Leg(Trade.objects.values_list("pk"), 3), "enough": Leg(Trade.objects.values_list("pk"), 4)})

    assert {name: str(number) for name, number in counts.items()} == {"all": "3+", "enough": "4"}
    monkeypatch.setattr("trades.web.trade_query.FEW", 2)
    assert "4 of <b>2+</b> trades" in page(vera, "?q=T")


def test_pages_lead_to_older_and_newer_trades_and_keep_the_filter(vera: Client) -> None:
    for number in range(60):
        factories.trade(f"T-{number:02}", age=number)

    first = page(vera, "?state=LIVE&n=25")
    older = re.search(r'<a class="btn sm" href="(\?[^"]*after=[^"]*)"', first)
    assert older
    second = page(vera, unescape(older[1]))
    newer = re.search(r'<a class="btn sm" href="(\?[^"]*before=[^"]*)"', second)
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

    response = vera.get("/trades/", headers=shown(page(vera)))

    assert response.status_code == 204
    assert response["Cache-Control"] == "no-store"
    assert "HX-Request" in response["Vary"]


def test_a_refresh_brings_the_rows_that_changed_and_the_order_of_all(vera: Client) -> None:
    factories.trade("T-1", age=60)
    factories.trade("T-2", age=30)
    had = shown(page(vera))
    later(status="CONFIRMED")

    response = vera.get("/trades/", headers=had)
    html = response.content.decode()

    assert response.status_code == 200
    assert ids(html) == ["T-1"]
    order = [Trade.objects.get(trade_id=trade_id).pk for trade_id in ("T-1", "T-2")]
    assert f'data-order="r{order[0]} r{order[1]} "' in html
    assert "<html" not in html
    assert 'id="n-confirmed">1<' in html


@pytest.mark.parametrize("fields", [{"owner_id": 1}, {"exception_marks": 1}, {"flagged_count": 1}])
def test_a_refresh_brings_what_changed_without_an_event(vera: Client, fields: dict[str, int]) -> None:
    factories.trade("T-1")
    had = shown(page(vera))
    fields = {name: int(vera.session["_auth_user_id"]) if name == "owner_id" else value for name, value in fields.items()}
    Trade.objects.update(**fields)

    assert ids(vera.get("/trades/", headers=had).content.decode()) == ["T-1"]


def test_a_refresh_with_news_of_the_figures_alone_brings_no_row(vera: Client) -> None:
    factories.trade()
    had = shown(page(vera))
    factories.quarantined(group="another")
    cache.clear()

    html = vera.get("/trades/", headers=had).content.decode()

    assert ids(html) == []
    assert 'id="v-quarantine">1<' in html


def test_an_empty_blotter_shows_the_first_trade_when_it_comes(vera: Client) -> None:
    had = shown(page(vera))
    factories.trade()
    cache.clear()

    assert ids(vera.get("/trades/", headers=had).content.decode()) == ["T-1"]


def test_a_list_that_runs_empty_says_so(vera: Client) -> None:
    factories.trade()
    had = shown(page(vera, "?status=CHECKED"))
    later(status="CONFIRMED")

    assert "No trades match" in vera.get("/trades/?status=CHECKED", headers=had).content.decode()


def test_rows_move_only_on_the_first_page_of_the_newest_and_only_while_not_paused(vera: Client) -> None:
    for number in range(30):
        factories.trade(f"T-{number}", age=number)
    first = page(vera, "?n=25")
    older = re.search(r'<a class="btn sm" href="(\?[^"]*after=[^"]*)"', first)
    assert older

    assert '<tbody id="rows" data-live' in first
    assert "data-still" not in first
    assert "data-still" in page(vera, unescape(older[1]))
    assert "data-still" in page(vera, "?sort=trade")
    assert '<tbody id="rows" data-live' not in page(vera, "?live=off")
    assert "Resume" in page(vera, "?live=off")


@pytest.mark.parametrize("has", ["", "x", "r1.2 r3.4", "١٢"])
def test_a_strange_account_of_what_is_shown_is_simply_not_current(vera: Client, has: str) -> None:
    factories.trade()

    assert vera.get("/trades/", headers={**HTMX, "X-Shown": has.encode().decode("latin-1")}).status_code == 200


# Empty states


def test_without_trades_the_page_says_how_to_get_some(otto: Client, vera: Client) -> None:
    assert "No trades yet" in page(vera)
    assert "python manage.py consume_trades" in page(vera)
    assert reverse("upload_new") in page(otto)
    assert "No worker has reported yet." in page(vera)
    Worker.objects.create(host="blue", pid=7, version="1", queue="q", state="IDLE", started_at=factories.NOON, seen_at=factories.NOON)
    assert "Worker blue 7: Idle, last heard of 12:00:00 UTC." in page(vera)


def test_without_matches_the_page_offers_to_clear_the_filters_and_looks_in_quarantine(vera: Client) -> None:
    factories.trade()
    factories.quarantined(body="<a>T-LOST</a")

    html = page(vera, "?q=T-LOST")

    assert "No trades match" in html
    assert "Clear all" in html
    assert "1 in quarantine matches this text" in html


# Cost


@pytest.mark.parametrize("query", ["", "?n=200", "?state=LIVE&status=CHECKED&q=T", "?party=Kestrel Capital&sort=trade", "?cols=owner"])
def test_the_number_of_queries_does_not_depend_on_the_number_of_rows(vera: Client, query: str) -> None:
    taken = []
    for numbers in (range(3), range(3, 60)):
        for number in numbers:
            factories.trade(f"T-{number}", age=number, flagged_count=number % 3)
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            page(vera, query)
        taken.append(len(queries))

    assert taken[0] == taken[1] <= MOST_QUERIES


def test_fifty_rows_are_less_than_60_kilobytes(otto: Client) -> None:
    for number in range(60):
        since = {} if number % 4 == 0 else {"status_since": timezone.now()}
        factories.trade(f"TRD-261120-{number:06}", age=number, flagged_count=number % 8 == 0, event_count=12, **since)

    html = page(otto)

    assert len(ids(html)) == 50
    assert len(html.encode()) < 60_000


@pytest.mark.skipif("connection.vendor != 'sqlite'")
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("", "trade_newest"),
        ("?sort=trade", "trades_trade_trade_id"),
        ("?sort=first", "trade_first_seen"),
        ("?sort=-since", "trade_status_since"),
        ("?state=LIVE", "trade_state_newest"),
        ("?status=CHECKED", "trade_status_newest"),
        ("?product=IRS 5Y EUR", "trade_product_newest"),
        ("?state=LIVE&state=PENDING", "trade_newest"),
        ("?party=Kestrel Capital", "trade_newest"),
        ("?q=T&sort=trade", "trades_trade_trade_id"),
        ("?updated=-7d", "trade_newest"),
        ("?state=LIVE&product=IRS 5Y EUR&flagged=yes&sort=since", "trade_status_since"),
    ],
)
def test_a_page_of_many_is_read_along_an_index_and_never_sorted(
    vera: Client, query: str, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    factories.trade(updated_at=timezone.now())
    monkeypatch.setattr("trades.web.trade_query.FEW", -1)

    with CaptureQueriesContext(connection) as queries:
        page(vera, query)

    rows = next(query["sql"] for query in queries if "last_by_business" in query["sql"])
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {rows}")
        plan = " | ".join(str(line[-1]) for line in cursor.fetchall())
    assert f"INDEX {index}" in plan.partition("|")[0], plan
    assert "TEMP B-TREE" not in plan, plan


def test_ids_and_values_are_text_never_markup(vera: Client) -> None:
    factories.trade("<script>alert(1)</script>", product="<i>", parties="a & b")

    html = page(vera)

    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&lt;i&gt;" in html


# Long and ambiguous values


def test_an_id_that_does_not_fit_has_its_whole_text_as_title(vera: Client) -> None:
    uti = "549300DTUYXVMJXZNY75" + "A1B2C3D4E5F6G7H"
    factories.trade(uti, notional="-123456789012345.25 EUR")
    factories.trade("TRD-261120-004417-XY", age=1)

    html = page(vera)

    assert f'title="{uti}"' in html
    assert 'title="TRD-261120-004417-XY"' not in html
    assert "−123,456,789,012,345.25 EUR" in html


def test_the_column_that_shows_a_quantity_where_no_notional_is_stated_says_so(vera: Client) -> None:
    assert ">Notional or quantity</th>" in page(vera)


def test_the_last_event_says_where_business_order_has_another_last(vera: Client) -> None:
    scenes.record(scenes.told("BOOK", 1, 0, trade_id="A-1"), scenes.told("UPDATE", 2, 9, trade_id="A-1"), group="A-1")
    scenes.record(scenes.told("BOOK", 1, 0), scenes.told("UPDATE", 3, 30), minute=31)
    scenes.record(scenes.told("STATUS", 2, 20, status="CHECKED"), minute=40)

    html = page(vera)

    assert '<td title="The event that arrived last. In business order, event 2 is the last.">Status<' in html
    assert "<td>Update<" in html


def test_one_trade_is_not_called_several(vera: Client) -> None:
    factories.trade()

    assert "1 of <b>1</b> trade</span>" in page(vera)
    assert "1 of <b>1</b> trade</span>" in page(vera, "?q=T-1")


@pytest.mark.parametrize(
    ("minutes", "status", "state", "words"),
    [
        (5, "RECEIVED", "LIVE", ""),
        (20, "RECEIVED", "LIVE", '<span class="age warn"><svg><use href=#i-clock /></svg><span class=vh>Longer than 15 m: '),
        (40, "RECEIVED", "PENDING", '<span class="age bad"><svg><use href=#i-clock /></svg><span class=vh>Past its limit of 30 m: '),
        (40, "RECEIVED", "CANCELLED", "<span class=vh>final</span>"),
        (4000, "CONFIRMED", "LIVE", ""),
        (4000, "SETTLED", "LIVE", "<span class=vh>final</span>"),
    ],
)
def test_time_in_a_status_is_held_against_its_limit(vera: Client, settings: Any, minutes: int, status: str, state: str, words: str) -> None:
    settings.TRADES_STATUS_LIMITS = {"RECEIVED": timedelta(minutes=30)}
    factories.trade(status=status, state=state, status_since=timezone.now() - timedelta(minutes=minutes))

    html = page(vera)

    assert words in html
    assert words or "class=vh>Past" not in html


def test_what_is_out_of_place_stands_beside_the_number_of_events(vera: Client) -> None:
    factories.trade("T-1", exception_marks=1 | 8, flagged_count=2, event_count=7)
    factories.trade("T-2", age=1, event_count=3)
    factories.quarantined(group="T-2")

    html = page(vera)

    assert "<span class=vh>A version is missing, An event came after the end, 2 flagged, </span> 7" in html
    assert "<span class=vh>A message of its group is in quarantine, </span> 3" in html


# Columns


def test_columns_are_chosen_by_the_address_and_remembered(vera: Client) -> None:
    factories.trade()

    html = page(vera, "?cols=owner&cols=status,nonsense")
    assert re.findall(r'<th scope="col" class="k-(\w+)', html) == ["trade", "status", "owner"]
    assert re.findall(r'<th scope="col" class="k-(\w+)', page(vera)) == ["trade", "status", "owner"]
    assert len(re.findall(r'<th scope="col" class="k-', page(vera, "?cols=nonsense"))) == 11


def test_the_menu_of_columns_works_without_a_script(vera: Client) -> None:
    html = page(vera, "?choose=columns&state=LIVE")

    assert '<input type="checkbox" name="cols" value="owner">' in html
    assert '<input type="hidden" name="state" value="LIVE">' in html


# Menus of filters


@pytest.mark.parametrize("key", ["state", "status", "product", "party", "owner", "last", "flagged", "exception", "queue"])
def test_a_menu_offers_the_values_with_their_counts(vera: Client, key: str) -> None:
    factories.event(factories.trade("T-1", owner_id=vera.session["_auth_user_id"], flagged_count=1))
    factories.event(factories.trade("T-2", product="Copper swap", parties="Kestrel Capital / Alder"))
    with_count = {
        "state": ("Live", 2), "status": ("Checked", 2), "product": ("Copper swap", 1), "party": ("Kestrel Capital", 2), "owner": ("Me", 1),
        "last": ("Book", 2), "flagged": ("Flagged only", 1), "exception": ("Gap", 0), "queue": (factories.QUEUE, 2),
    }[key]  # fmt: skip

    fragment = vera.get(f"/trades/?choose={key}", headers=HTMX).content.decode()

    assert f'>{with_count[0]}</span><span class="c">{with_count[1]}</span>' in fragment
    assert "<html" not in fragment
    assert f'>{with_count[0]}</span><span class="c">{with_count[1]}</span>' in page(vera, f"?choose={key}")


def test_a_menu_keeps_what_is_chosen_and_finds_values_by_text(vera: Client) -> None:
    for number in range(60):
        factories.trade(f"T-{number}", product=f"IRS {number}Y")

    html = vera.get("/trades/?choose=product&product=IRS 7Y&find=59", headers=HTMX).content.decode()

    assert re.findall(r'name="product" value="([^"]+)"', html) == ["IRS 7Y", "IRS 59Y"]
    assert html.count("checked") == 1
    assert "There are more" in vera.get("/trades/?choose=product", headers=HTMX).content.decode()


def test_names_are_read_once_each_whatever_number_of_trades_has_them() -> None:
    from trades.web.names import all_names

    for number in range(12):
        factories.trade(f"T-{number}", product=["", "B", "A"][number % 3], parties=["Y / X", "X", "Z / Y / W"][number % 3])

    with CaptureQueriesContext(connection) as queries:
        names = all_names()

    assert len(queries) == 1
    assert names.products.values == ("A", "B")
    assert names.parties.values == ("X", "Y / X", "Z / Y / W")
    assert names.each_party() == ["W", "X", "Y", "Z"]
    assert names.texts_with(["Y"]) == ["Y / X", "Z / Y / W"]
    assert names.texts_by_party()["X"] == ["X", "Y / X"]


def test_a_refresh_has_the_columns_of_the_open_page_whatever_another_tab_chose(vera: Client) -> None:
    factories.trade()
    chosen = re.search(r'data-columns="([^"]+)"', page(vera))
    assert chosen
    page(vera, "?cols=trade,queue")

    response = vera.get("/trades/", headers={"HX-Request": "true", "X-Shown": "none", "X-Columns": chosen[1]})

    row = response.content.decode().partition("<tr id=")[2]
    assert row.partition("</tbody>")[0].count("<td") == chosen[1].count(",") + 1  # the trade is a head; the tick is a cell
