"""The page of a trade in headless Chromium: comparing by keyboard, both layouts, without a script, on paper, and for axe."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import factories, scenes
from tests.web.looking import RULES, make_people, sign_in

pytestmark = pytest.mark.django_db(transaction=True)
ADDRESSES = (
    "/trades/T-1/",
    "/trades/T-1/events/1/",
    "/trades/T-1/events/5/?compare=2&layout=split&from=",
    "/trades/T-1/events/5/?compare=2&layout=unified",
    "/trades/R-1/?tab=xml&wrap=no",
    "/trades/R-1/?tab=fields",
    "/trades/R-1/?tab=transport",
    "/trades/L-1/",
    "/trades/Q-1/",
    "/trades/N-1/",
)


@pytest.fixture
def vera(live_server: LiveServer) -> None:
    """A viewer."""
    make_people("vera", role="viewer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_every_tab_and_comparison_fits_its_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, vera: None, scheme: str, width: int
) -> None:
    scenes.late_trade()
    scenes.repaired_trade()
    trade, shared = factories.trade("L-1"), factories.message()
    for _ in range(210):
        factories.event(trade, message=shared)
    factories.message("QUARANTINED", stated_trade_id="Q-1", code="schema", reason="Version is 'two'.")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, live_server, "vera")

    for address in ADDRESSES:
        page.goto(live_server.url + address)
        page.evaluate("document.querySelectorAll('main details:not(.drop-down)').forEach(folded => { folded.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{address} is wider than the window"
        violations = Axe().run(page, options={"runOnly": RULES}).response["violations"]
        assert [(address, v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations] == []


def test_two_events_are_compared_by_keyboard_alone(live_server: LiveServer, page: Page, vera: None) -> None:
    scenes.late_trade()
    page.set_viewport_size({"width": 1440, "height": 900})
    sign_in(page, live_server, "vera")
    page.goto(f"{live_server.url}/trades/T-1/?tab=fields")

    page.get_by_label("Compare event 5").focus()
    page.keyboard.press("Space")
    page.get_by_label("Compare event 2").focus()
    page.keyboard.press("Space")
    expect(page.locator("[data-ticked]")).to_have_text("Event 5 and 2")
    page.get_by_role("button", name="Compare ticked").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/trades/T-1/events/5/?compare=2")
    expect(page.get_by_role("table", name="Fields changed")).to_contain_text("12500000.00")

    page.locator("h1").click()
    page.keyboard.press("n")
    expect(page.locator("#c1")).to_be_focused()
    page.keyboard.press("n")
    expect(page.locator("#c2")).to_be_focused()
    page.keyboard.press("N")
    expect(page.locator("#c1")).to_be_focused()
    page.keyboard.press("d")
    page.wait_for_url("**/trades/T-1/events/5/")
    expect(page.get_by_text("Compare with event 4")).to_be_visible()


def test_tabs_events_and_trades_are_reached_by_keys(live_server: LiveServer, page: Page, vera: None) -> None:
    scenes.late_trade()
    factories.event(factories.trade("Z-9", age=-86_400))
    page.set_viewport_size({"width": 1440, "height": 900})
    sign_in(page, live_server, "vera")
    page.goto(f"{live_server.url}/trades/T-1/?from=")

    for key, tab in (("2", "xml"), ("3", "fields"), ("4", "transport")):
        page.keyboard.press(key)
        page.wait_for_url(f"**tab={tab}&from=")
    page.keyboard.press("1")
    page.wait_for_url("**/events/5/?from=")
    page.locator(".tl a.ev").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".tl a.ev").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/events/4/?from=")
    page.keyboard.press("k")
    page.wait_for_url("**/trades/Z-9/?from=")
    page.keyboard.press("j")
    page.wait_for_url("**/trades/T-1/?from=")


def test_lines_stand_beside_each_other_where_there_is_room_and_below_where_not(live_server: LiveServer, page: Page, vera: None) -> None:
    scenes.record(scenes.told("BOOK", 1, 0), scenes.told("UPDATE", 2, 30, amount="12000000.00"))
    sign_in(page, live_server, "vera")

    def places(width: int) -> tuple[dict[str, float], dict[str, float]]:
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{live_server.url}/trades/T-1/")
        cells = page.locator("tr[data-change]").first.locator("td.tx")
        old, new = cells.nth(0).bounding_box(), cells.nth(1).bounding_box()
        assert old
        assert new
        return {"x": old["x"], "y": old["y"]}, {"x": new["x"], "y": new["y"]}

    old, new = places(1440)
    assert old["y"] == new["y"]
    assert old["x"] < new["x"]
    old, new = places(800)
    assert old["y"] < new["y"]
    assert old["x"] == new["x"]


def test_folded_lines_open_in_place(live_server: LiveServer, page: Page, vera: None) -> None:
    trade = factories.trade()
    for value in "12":
        factories.event(trade, body="<a>" + "".join(f"<b{number}>0</b{number}>" for number in range(20)) + f"<c>{value}</c></a>")
    sign_in(page, live_server, "vera")
    page.goto(f"{live_server.url}/trades/T-1/")
    expect(page.get_by_text("<b3>0</b3>").first).to_be_hidden()

    page.get_by_role("link", name="19 unchanged lines").click()

    expect(page.get_by_text("<b3>0</b3>").last).to_be_visible()
    assert "folds" not in page.url


def test_fields_are_found_while_typing(live_server: LiveServer, page: Page, vera: None) -> None:
    scenes.late_trade()
    sign_in(page, live_server, "vera")
    page.goto(f"{live_server.url}/trades/T-1/?tab=fields")

    page.get_by_label("Find a field").fill("notional")

    expect(page.locator("#fields-found")).to_have_text(re.compile(r"^\d of \d\d fields$"))
    expect(page.get_by_text("/TradeStatus/TradeDetails/Notional", exact=True)).to_be_visible()
    expect(page.get_by_text("/TradeStatus/TradeDetails/Price", exact=True)).to_be_hidden()


def test_everything_works_without_a_script(live_server: LiveServer, browser: Browser, vera: None) -> None:
    scenes.late_trade()
    page = browser.new_page(java_script_enabled=False)
    sign_in(page, live_server, "vera")

    page.goto(f"{live_server.url}/trades/T-1/")
    page.get_by_label("Compare event 2").check()
    page.get_by_label("Compare event 5").check()
    page.get_by_role("button", name="Compare ticked").click()
    expect(page).to_have_url(f"{live_server.url}/trades/T-1/events/5/?compare=2")
    page.get_by_role("link", name="Unified").click()
    expect(page.get_by_role("table", name=re.compile("^Lines of event 2 and event 5"))).to_be_visible()
    page.get_by_role("navigation", name="Event 5").get_by_role("link", name="Fields").click()
    page.get_by_label("Find a field").fill("notional")
    page.get_by_role("button", name="Find", exact=True).click()
    expect(page.locator("#fields-found")).to_contain_text("of")
    expect(page.get_by_text("/TradeStatus/TradeDetails/Price", exact=True)).to_have_count(0)
    page.get_by_text("Download history").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Zip of the original messages").click()
    assert download.value.suggested_filename == "T-1-history.zip"
    page.close()


def test_a_new_event_is_announced_and_never_replaces_what_is_read(live_server: LiveServer, page: Page, vera: None) -> None:
    trade = scenes.late_trade()
    sign_in(page, live_server, "vera")
    page.goto(f"{live_server.url}/trades/T-1/events/2/?tab=fields")
    scenes.record(scenes.told("UPDATE", 9, 90), minute=91)

    page.evaluate("document.dispatchEvent(new CustomEvent('portal:changed', {detail: {at: 1}}))")

    expect(page.get_by_text("New event 6.")).to_be_visible()
    expect(page.get_by_role("heading", name="Event 2")).to_be_visible()
    page.get_by_role("link", name="Show", exact=True).click()
    expect(page.get_by_role("heading", name="Event 6")).to_be_visible()
    assert page.url.endswith("/trades/T-1/?tab=fields")
    assert trade.event_count == 5


def test_paper_has_facts_lifecycle_history_and_the_open_tab(live_server: LiveServer, page: Page, vera: None) -> None:
    scenes.late_trade()
    sign_in(page, live_server, "vera")
    page.goto(f"{live_server.url}/trades/T-1/?tab=xml")
    page.emulate_media(media="print")

    for shown in ("dl.facts", "ol.life", "ol.tl", "table.stays", "#xml"):
        expect(page.locator(shown)).to_be_visible()
    for hidden in (".rail", ".top", ".tabs", ".asof", "#ticking", ".pick >> nth=0", ".event .seg >> nth=0"):
        expect(page.locator(hidden)).to_be_hidden()
