"""The blotter in headless Chromium: columns stay in sight, keys, ticks, preview, filters, live rows, and all of it without a script."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import factories
from trades.models import Trade

pytestmark = pytest.mark.django_db(transaction=True)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
LONG_UTI = "549300DTUYXVMJXZNY75A1B2C3D4E5F6G7H"
PARTIES = "Northgate Bank and Trust Company of the Northern Isles / Kestrel Capital Management Limited Partnership"


@pytest.fixture
def trades(live_server: LiveServer, page: Page) -> None:
    """Trades with long and with short values, and somebody signed in who sees them."""
    User.objects.create_superuser("ada", password="correct horse battery")
    amount = "123456789012345678.123456 EUR / 123456789012345678.123456 USD"
    at = factories.NOON - timedelta(days=400)  # the longest form of an update time is that of another day
    factories.trade(
        LONG_UTI, status_since=at, parties=PARTIES, notional=amount, product="InterestRate:IRSwap:FixedFloat:OverTheCounter", updated_at=at
    )
    for number in range(8):
        factories.trade(f"TRD-261120-{number:06}", event_count=112, flagged_count=12, status="CONFIRMED", state="TERMINATED", age=number)
    page.goto(live_server.url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")


@pytest.mark.parametrize("width", [1920, 1440, 1366, 390])
def test_no_value_pushes_the_last_columns_out_of_sight(live_server: LiveServer, page: Page, trades: None, width: int) -> None:
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(live_server.url)

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if width > 1000:
        assert page.evaluate("(wrap => wrap.scrollWidth <= wrap.clientWidth)(document.querySelector('.tblwrap'))")
        for name in ("Trade date", "Updated"):
            expect(page.get_by_role("columnheader", name=name)).to_be_in_viewport(ratio=1)
    # Only what may be long is cut: marks, counts and dates are whole, and so are the words over the columns.
    assert (
        page.evaluate(
            """Array.from(document.querySelectorAll('.bl.fixed :is(th, td)')).filter(cell =>
             cell.scrollWidth > cell.clientWidth && ![8, 9, 10].includes(cell.cellIndex) && !cell.title
             ).map(cell => cell.textContent.trim())"""
        )
        == []
    )
    expect(page.get_by_title(LONG_UTI)).to_have_text(LONG_UTI)
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
    if "BLOTTER_PICTURES" in os.environ:
        page.screenshot(path=Path(os.environ["BLOTTER_PICTURES"]) / f"blotter-light-{width}.png")


IDS = [LONG_UTI, *(f"TRD-261120-{number:06}" for number in range(8))]


def violations(page: Page) -> list[tuple[str, list[str]]]:
    found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_keys_walk_through_the_table_preview_and_open(live_server: LiveServer, page: Page, trades: None) -> None:
    page.goto(f"{live_server.url}/trades/?sort=trade")
    page.locator("body").press("j")
    assert focused(page) == LONG_UTI
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert focused(page) == IDS[1]

    page.keyboard.press("Space")
    preview = page.get_by_role("complementary", name="Preview of")
    expect(preview.get_by_role("heading", level=2)).to_have_text(IDS[1])
    page.keyboard.press("j")
    expect(preview.get_by_role("heading", level=2)).to_have_text(IDS[2])
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(preview).to_be_hidden()

    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{live_server.url}/trades/{IDS[2]}/")


def test_on_a_narrow_screen_the_preview_is_the_trade(live_server: LiveServer, page: Page, trades: None) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{live_server.url}/trades/?sort=trade")

    page.locator("body").press("j")
    page.keyboard.press("Space")

    expect(page).to_have_url(f"{live_server.url}/trades/{LONG_UTI}/")


def test_on_a_narrow_screen_the_filters_are_behind_one_button(live_server: LiveServer, page: Page, trades: None) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{live_server.url}/trades/?state=LIVE")
    product = page.locator("[data-filter=product] summary")
    expect(page.locator("[data-filter=state] summary")).to_be_visible()
    expect(product).to_be_hidden()

    page.get_by_role("button", name="Filters 1").click()
    product.click()

    expect(page.get_by_label("InterestRate:IRSwap")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_ticked_rows_are_exported_and_cleared(live_server: LiveServer, page: Page, trades: None) -> None:
    page.goto(f"{live_server.url}/trades/?sort=trade")
    export = page.get_by_role("button", name="Export CSV")
    expect(export).to_be_hidden()

    page.locator("body").press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    expect(page.locator("[data-ticked-count]")).to_have_text("3 ticked")
    assert violations(page) == []
    with page.expect_download() as download:
        export.click()
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert [line.partition(",")[0] for line in lines[4:]] == IDS[1:4]

    page.locator("body").press("Escape")
    expect(export).to_be_hidden()


def test_filters_survive_reload_and_back(live_server: LiveServer, page: Page, trades: None) -> None:
    rows = page.locator("#rows tr[id]")
    page.goto(f"{live_server.url}/trades/")
    page.locator("[data-filter=product] summary").click()
    page.get_by_label("InterestRate:IRSwap").check()
    assert violations(page) == []
    page.get_by_role("button", name="Apply").click()
    expect(rows).to_have_count(1)
    address = page.url
    assert address.endswith("/trades/?product=InterestRate%3AIRSwap%3AFixedFloat%3AOverTheCounter")

    page.reload()
    expect(rows).to_have_count(1)
    page.get_by_label("Remove filter Product").click()
    expect(rows).to_have_count(9)
    page.go_back()
    expect(page).to_have_url(address)
    expect(rows).to_have_count(1)


def test_a_view_is_kept_changed_and_kept_as_another(live_server: LiveServer, page: Page, trades: None) -> None:
    page.goto(f"{live_server.url}/trades/?state=LIVE")
    page.get_by_label("Keep this view, or delete one").click()
    page.get_by_label("Keep filters, order and columns as").fill("Alive")
    assert violations(page) == []
    page.get_by_role("button", name="Keep view").click()
    expect(page.get_by_role("link", name="Alive")).to_have_attribute("aria-current", "page")

    page.get_by_role("columnheader", name="Trade", exact=True).get_by_role("link").click()
    expect(page.get_by_text("Unsaved changes in Alive")).to_be_visible()
    page.wait_for_load_state()  # the words can be seen before the scripts have run
    page.get_by_role("button", name="Save as").click()
    expect(page.get_by_label("Keep filters, order and columns as")).to_be_focused()
    page.keyboard.type("Alive by id")
    page.keyboard.press("Enter")

    expect(page.get_by_role("link", name="Alive by id")).to_have_attribute("aria-current", "page")
    expect(page.get_by_text("Unsaved changes")).to_be_hidden()


def test_text_filters_while_it_is_typed_without_filling_the_history(live_server: LiveServer, page: Page, trades: None) -> None:
    page.goto(f"{live_server.url}/uploads/")
    page.goto(f"{live_server.url}/trades/?state=TERMINATED")
    page.locator("body").press("f")
    page.keyboard.type("TRD-261120-000003", delay=5)
    expect(page.locator("#rows tr[id]")).to_have_count(1)
    expect(page).to_have_url(f"{live_server.url}/trades/?state=TERMINATED&q=TRD-261120-000003")
    assert page.evaluate("document.activeElement.id") == "filter-text"

    page.reload()
    expect(page.get_by_label("Filter by any id")).to_have_value("TRD-261120-000003")
    page.go_back()
    expect(page).to_have_url(f"{live_server.url}/uploads/")


def test_what_is_typed_while_an_answer_is_on_its_way_is_looked_for_too(live_server: LiveServer, page: Page, trades: None) -> None:
    page.goto(f"{live_server.url}/trades/")
    held: list[Route] = []
    page.route("**/trades/?q=TRD", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks its handlers
    page.locator("body").press("f")
    with page.expect_request("**/trades/?q=TRD"):
        page.keyboard.type("TRD")
    page.keyboard.type("-261120-000003")
    page.evaluate("new Promise(done => setTimeout(done, 300))")  # runs out after the timer that waits for the end of typing
    held[0].continue_()

    expect(page.locator("#rows tr[id]")).to_have_count(1)
    expect(page).to_have_url(f"{live_server.url}/trades/?q=TRD-261120-000003")


def test_what_was_typed_belongs_to_the_view_that_is_kept_and_stays_with_other_columns(
    live_server: LiveServer, page: Page, trades: None
) -> None:
    page.goto(f"{live_server.url}/trades/?state=TERMINATED")
    page.locator("body").press("f")
    page.keyboard.type("TRD-261120-000003")
    expect(page.locator("#rows tr[id]")).to_have_count(1)
    expect(page).to_have_url(re.compile("q=TRD-261120-000003$"))

    page.get_by_label("Filter by any id").blur()
    page.locator("body").press("c")
    page.get_by_label("Owner", exact=True).check()
    page.locator("#columns form button").click()
    expect(page.get_by_role("columnheader", name="Owner")).to_be_visible()
    expect(page.locator("#rows tr[id]")).to_have_count(1)
    page.wait_for_load_state()  # the rows can be seen before the scripts have run

    page.get_by_label("Filter by any id").fill("TRD-261120-000004")
    expect(page.locator("#rows")).to_contain_text("TRD-261120-000004")
    page.get_by_label("Keep this view, or delete one").click()
    page.get_by_label("Keep filters, order and columns as").fill("The fourth")
    page.get_by_role("button", name="Keep view").click()
    expect(page.get_by_role("link", name="The fourth")).to_have_attribute("aria-current", "page")
    expect(page.locator("#rows tr[id]")).to_have_count(1)
    expect(page.locator("#rows")).to_contain_text("TRD-261120-000004")


def test_columns_are_chosen_with_the_keyboard(live_server: LiveServer, page: Page, trades: None) -> None:
    page.goto(f"{live_server.url}/trades/")
    page.locator("body").press("c")
    page.get_by_label("Owner", exact=True).check()
    page.get_by_label("Parties", exact=True).uncheck()
    page.locator("#menu-columns").get_by_role("button", name="Apply").click()

    expect(page.get_by_role("columnheader", name="Owner")).to_be_visible()
    page.goto(f"{live_server.url}/trades/")
    expect(page.get_by_role("columnheader", name="Owner")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Parties")).to_have_count(0)


def test_rows_come_in_place_and_wait_while_something_is_ticked(live_server: LiveServer, page: Page, trades: None) -> None:
    page.goto(f"{live_server.url}/trades/")
    first = page.locator("#rows tr[id] a.id").first
    expect(first).to_have_text(IDS[1])

    later = timezone.now()
    Trade.objects.filter(trade_id=IDS[8]).update(updated_at=later, status="SETTLED")
    page.evaluate("document.dispatchEvent(new CustomEvent('portal:changed', { detail: {} }))")
    expect(first).to_have_text(IDS[8])
    expect(page.locator("#rows tr").first).to_contain_text("Settled")

    page.locator("#rows input[name=t]").nth(2).check()
    Trade.objects.filter(trade_id=IDS[7]).update(updated_at=later + timedelta(seconds=1))
    page.evaluate("document.dispatchEvent(new CustomEvent('portal:changed', { detail: {} }))")
    pill = page.get_by_role("button", name="1 update, show")
    expect(pill).to_be_visible()
    expect(first).to_have_text(IDS[8])
    pill.click()
    expect(first).to_have_text(IDS[7])
    expect(page.locator("[data-ticked-count]")).to_have_text("1 ticked")


def test_a_refresh_that_fails_keeps_the_rows_and_is_tried_again(live_server: LiveServer, page: Page, trades: None) -> None:
    page.goto(f"{live_server.url}/trades/")
    page.route("**/trades/?*", lambda route: route.fulfill(status=500, body="failed"))

    page.evaluate("document.dispatchEvent(new CustomEvent('portal:changed', { detail: {} }))")
    expect(page.get_by_text("Could not refresh at")).to_be_visible()
    expect(page.locator("#rows tr[id]")).to_have_count(9)
    assert violations(page) == []
    with page.expect_request("**/trades/?*"):
        page.get_by_role("button", name="Retry now").click()
    page.unroute("**/trades/?*")
    expect(page.get_by_text("Could not refresh at")).to_be_hidden()  # it tries again by itself


def test_everything_works_without_a_script(live_server: LiveServer, browser: Browser, page: Page, trades: None) -> None:
    context = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state(), accept_downloads=True)
    try:
        plain = context.new_page()
        plain.goto(f"{live_server.url}/trades/")
        plain.get_by_label("Filter by any id").fill("TRD")
        plain.get_by_role("button", name="Filter", exact=True).click()
        rows = plain.locator("#rows tr[id]")
        expect(rows).to_have_count(8)
        plain.get_by_text("Status", exact=True).first.click()
        plain.get_by_role("button", name="Show the values").click()
        plain.get_by_label("Checked").check()
        plain.get_by_role("button", name="Apply").click()
        expect(plain.get_by_role("heading", name="No trades match")).to_be_visible()
        plain.get_by_role("link", name="Clear all").first.click()
        expect(rows).to_have_count(9)
        plain.get_by_role("columnheader", name="Trade", exact=True).get_by_role("link").click()
        expect(rows.first).to_contain_text(LONG_UTI)
        rows.first.get_by_role("checkbox").check()
        with plain.expect_download() as download:
            plain.get_by_role("button", name="Export CSV").click()
        assert len(Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()) == 5
    finally:
        context.close()
