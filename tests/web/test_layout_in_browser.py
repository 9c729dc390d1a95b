"""Where things stand on a page in headless Chromium: nothing is clipped, nothing touches, and what belongs together looks so."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from tests.support.routing import use
from tests.web import factories
from tests.web.looking import make_people, sign_in

pytestmark = pytest.mark.django_db(transaction=True)
WIDTHS = pytest.mark.parametrize("width", [1440, 390])
LINES = """(item) => {
    const range = document.createRange();
    range.selectNodeContents(item);
    range.setStartAfter(item.querySelector("b"));
    return [...range.getClientRects()].filter((line) => line.width > 4).map((line) => line.left);
}"""
COLOURS = "(row) => [...row.querySelectorAll('th, td')].map((cell) => getComputedStyle(cell).backgroundColor)"


def opened(page: Page, live_server: LiveServer, width: int, address: str) -> None:
    """The page at an address, as an operator sees it in a window of that width."""
    make_people("ana")
    page.set_viewport_size({"width": width, "height": 844})
    sign_in(page, live_server)
    page.goto(live_server.url + address)
    page.wait_for_load_state()


def fits(element: Locator) -> bool:
    """Whether all of its text is in sight."""
    return bool(element.evaluate("(element) => element.scrollWidth <= element.clientWidth"))


def test_on_a_phone_what_is_said_of_an_unknown_trade_stays_right_of_its_label(live_server: LiveServer, page: Page) -> None:
    opened(page, live_server, 390, "/trades/X-1/")

    lines = page.locator(".found li").first.evaluate(LINES)

    assert len(lines) > 1
    assert max(lines) - min(lines) < 5  # the first begins with a space


def test_on_a_phone_a_ticked_row_has_one_colour(live_server: LiveServer, page: Page) -> None:
    factories.quarantined(2)
    opened(page, live_server, 390, "/quarantine/")
    page.locator("tbody input[name=m]").check()

    row = page.locator("[data-row]")

    assert row.evaluate("(row) => getComputedStyle(row).backgroundColor") not in ("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)")
    assert set(row.evaluate(COLOURS)) == {"rgba(0, 0, 0, 0)"}


@WIDTHS
def test_below_the_way_back_from_a_conflict_there_is_room_before_the_table(live_server: LiveServer, page: Page, width: int) -> None:
    factories.upload(2, sent=False)
    opened(page, live_server, width, "/outbox/")
    page.locator("tbody input[name=p]").first.check()
    page.get_by_role("button", name="Send now").click()
    expect(page.get_by_role("button", name="Send 1 publication")).to_be_visible()
    page.locator("main form input[name=p]").evaluate("(input) => { input.value = input.value.replace(/:.*/, ':99.PENDING'); }")
    page.get_by_role("button", name="Send 1 publication").click()
    expect(page.get_by_role("alert").filter(has_text="no longer as it was shown")).to_be_visible()

    back, table = page.get_by_role("link", name="Back to the outbox").bounding_box(), page.locator(".panel").last.bounding_box()

    assert back
    assert table
    assert table["y"] - back["y"] - back["height"] >= 8


@WIDTHS
def test_the_search_of_the_outbox_says_all_that_it_finds_by(live_server: LiveServer, page: Page, width: int) -> None:
    opened(page, live_server, width, "/outbox/")
    search = page.locator("#filter-text")

    search.evaluate("(input) => { input.value = input.placeholder; }")

    assert fits(search)


def test_queues_that_differ_in_their_tails_are_told_apart_and_long_ages_are_whole(
    live_server: LiveServer, page: Page, settings: Settings, tmp_path: Path
) -> None:
    use(settings, tmp_path, '[[routes]]\nname = "rates"\nqueue = "TradeStatusRates.fifo"\n')
    long_ago = timezone.now() - timedelta(days=6291, hours=15)
    for number, queue in enumerate(("TradeStatus.fifo", "TradeStatusRates.fifo")):
        factories.trade(f"T-{number}", queue=queue, status="RECEIVED", status_since=long_ago)
    opened(page, live_server, 1440, "/trades/")
    cells = page.locator("#rows td:has(> bdi)")

    expect(cells).to_have_text(["TradeStatusRates.fifo", "TradeStatus.fifo"])  # also where a part is not in sight
    rates, ours = cells.all()
    assert (fits(rates), fits(ours)) == (False, True)
    box, name = rates.bounding_box(), rates.locator("bdi").bounding_box()
    assert box
    assert name
    assert name["x"] < box["x"] < name["x"] + name["width"] <= box["x"] + box["width"]
    rates.hover()
    expect(rates).to_have_attribute("title", "TradeStatusRates.fifo")
    ages = page.locator("#rows td:has(time[data-age])")
    expect(ages.first).to_contain_text("6291 d")
    assert all(fits(age) for age in ages.all())
