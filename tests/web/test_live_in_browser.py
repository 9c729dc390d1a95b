"""Live pages in headless Chromium: changes arrive by themselves, can be paused, and nothing moves under the reader's hands."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from tests.support.waiting import wait_until
from tests.web import factories, scenes
from trades.web import pulse

pytestmark = pytest.mark.django_db(transaction=True)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Counts what the page is told; `seen` is set on the first, so that the changes of a test come after it.
COUNT = "window.told = []; document.addEventListener('portal:changed', event => window.told.push(event.detail))"


@pytest.fixture(autouse=True)
def ada(live_server: LiveServer) -> None:
    User.objects.create_superuser("ada", password="correct horse battery")


def sign_in(page: Page, live_server: LiveServer) -> None:
    page.add_init_script(COUNT)
    page.goto(live_server.url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
    page.wait_for_load_state()  # the heading can be seen before the scripts have run


def told(page: Page) -> int:
    return int(page.evaluate("window.told.length"))


def wait_to_be_told(page: Page, more_than: int = 0) -> None:
    page.wait_for_function("count => window.told.length > count", arg=more_than)


def chip(page: Page) -> Any:
    return page.locator("#chip-live")


def test_a_change_reaches_the_page_by_itself(live_server: LiveServer, page: Page) -> None:
    factories.trade("T-1", age=-60)
    sign_in(page, live_server)
    expect(chip(page)).to_have_attribute("data-state", "live")
    expect(chip(page)).to_contain_text("Live")
    wait_to_be_told(page)
    before = told(page)

    factories.quarantined()

    wait_to_be_told(page, before)
    expect(page.locator(".rail [data-quarantined]")).to_have_text("1 in quarantine")
    expect(page.locator("#chip-workers")).to_have_text("Workers none")


def test_the_script_writes_the_count_of_exceptions_as_the_page_does(
    live_server: LiveServer, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trades.exceptions.COUNTED", 2)
    for number in range(3):
        factories.trade(f"T-{number}", status="REJECTED")
    sign_in(page, live_server)

    expect(page.locator(".rail [data-exceptions]")).to_have_text("2+ exceptions")
    wait_to_be_told(page)
    expect(page.locator(".rail [data-exceptions]")).to_have_text("2+ exceptions")
    assert page.evaluate("portal.live.figures.exceptions") == "2+"


def test_the_chip_says_what_its_time_is_where_there_is_room_for_it(live_server: LiveServer, page: Page) -> None:
    factories.trade("T-1", updated_at=timezone.now() - timedelta(seconds=70))
    sign_in(page, live_server)

    for width, words in ((1440, "Live, newest 1 m ago"), (1160, "Live, newest 1 m ago"), (1024, "Live, 1 m"), (390, "Live, 1 m")):
        page.set_viewport_size({"width": width, "height": 844})
        expect(chip(page)).to_have_text(words)
        assert chip(page).locator("b").evaluate("words => words.scrollWidth <= words.clientWidth"), f"it is cut at {width}"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_pause_stops_all_and_counts_what_waits(live_server: LiveServer, page: Page) -> None:
    factories.message()
    sign_in(page, live_server)
    wait_to_be_told(page)

    page.keyboard.press("p")
    expect(chip(page)).to_have_text("Paused")
    before = told(page)
    factories.message()
    factories.message()
    expect(chip(page)).to_have_text("Paused, 2 new")
    assert told(page) == before
    page.reload()
    expect(chip(page)).to_have_attribute("data-state", "paused")
    assert told(page) == 0

    page.get_by_role("link", name="Resume").click()

    expect(chip(page)).to_have_attribute("data-state", "live")
    wait_to_be_told(page)


def test_a_page_without_a_stream_asks_every_five_seconds(live_server: LiveServer, page: Page, settings: Settings) -> None:
    settings.TRADES_LIVE_STREAMS = 0
    sign_in(page, live_server)

    expect(chip(page)).to_have_text("Every 5 s")
    expect(chip(page)).to_have_attribute("data-state", "polling")
    wait_to_be_told(page)
    before = told(page)
    factories.message()
    wait_to_be_told(page, before)


def test_a_hidden_tab_closes_its_stream_and_is_told_on_return(live_server: LiveServer, page: Page) -> None:
    sign_in(page, live_server)
    wait_to_be_told(page)
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    hide += "document.dispatchEvent(new Event('visibilitychange')) }"

    page.evaluate(hide, arg=True)

    wait_until(lambda: pulse.pulse.streams == 0, "the end of the stream")
    before = told(page)
    page.evaluate(hide, arg=False)
    wait_to_be_told(page, before)
    assert pulse.pulse.streams == 1


def test_a_lost_server_is_told_and_found_again(live_server: LiveServer, page: Page) -> None:
    sign_in(page, live_server)
    wait_to_be_told(page)

    page.route("**/live/**", lambda route: route.abort())
    pulse.pulse.stop()
    expect(chip(page)).to_contain_text("Reconnecting")

    pulse.pulse.stopping = False
    page.unroute("**/live/**")
    expect(chip(page)).to_have_attribute("data-state", "live")


def test_a_reader_who_is_signed_out_is_told(live_server: LiveServer, page: Page) -> None:
    sign_in(page, live_server)
    wait_to_be_told(page)

    page.context.clear_cookies()
    pulse.pulse.stop()
    wait_until(lambda: pulse.pulse.streams == 0, "the end of the stream")
    pulse.pulse.stopping = False

    expect(chip(page)).to_have_text("Signed out")


# Rows


def test_an_event_arrives_while_somebody_reads(live_server: LiveServer, page: Page) -> None:
    for trade_id in ("T-1", "T-2"):
        scenes.record(scenes.told("BOOK", 1, 0, trade_id=trade_id), group=trade_id)
    sign_in(page, live_server)
    wait_to_be_told(page)
    page.evaluate("window.isSamePage = true")
    link, status = page.get_by_role("link", name="T-1", exact=True), page.locator("#rows tr", has_text="T-1")
    link.focus()

    scenes.record(scenes.told("STATUS", 1, 10, status="CONFIRMED"), minute=10)

    expect(status).to_contain_text("Confirmed")
    expect(page.locator("#rows tr").first).to_contain_text("T-1")
    expect(link).to_be_focused()

    # What is selected stays where it is; what came waits to be asked for.
    page.evaluate("getSelection().selectAllChildren(document.querySelector('#rows tr'))")
    selected = page.evaluate("getSelection().toString()")
    scenes.record(scenes.told("STATUS", 1, 20, trade_id="T-2", status="CHECKED"), minute=20, group="T-2")
    scenes.record(scenes.told("BOOK", 1, 0, trade_id="T-3"), minute=20, group="T-3")

    pill = page.get_by_role("button", name="2 updates, show")
    expect(pill).to_be_visible()
    expect(page.locator("#rows tr")).to_have_count(2)
    assert page.evaluate("getSelection().toString()") == selected
    pill.click()
    expect(page.locator("#rows tr")).to_have_count(3)
    assert page.evaluate("window.isSamePage")


TABLE = """
const table = document.createElement("div");
table.className = "tblwrap";
table.tabIndex = 0;
table.id = "box";
table.style.cssText = "max-height: 12rem; overflow: auto";
const row = number => `<tr id="r${number}"><td><input type="checkbox" value="${number}"></td><th scope="row"><a id="t${number}" href="#">`
  + `T-${number}</a></th><td>Live</td><td>old ${number}</td></tr>`;
const rows = Array.from({ length: 30 }, (_, index) => row(index + 1)).join("");
table.innerHTML = `<table class="bl"><caption class="vh">Rows</caption><tbody id="body">${rows}</tbody></table>`;
document.querySelector("main").prepend(table);
"""
ORDER = [f"r{number}" for number in (31, 5, *(number for number in range(1, 30) if number != 5))]
ROW = (
    '<tr id="r{0}"><td><input type="checkbox" value="{0}"></td><th scope="row"><a id="t{0}" href="#">T-{0}</a></th><td>Live</td>'
    "<td>{1}</td></tr>"
)
NEWS = f'<tbody data-order="{" ".join(ORDER)}">{ROW.format(31, "first")}{ROW.format(5, "new 5")}{ROW.format(2, "old 2")}</tbody>'
PLACE = "html => portal.rows(document.getElementById('body'), html)"
# With what is marked from then on for a moment: looked at later, it may be gone.
PLACE_AND_LOOK = """html => {
  portal.rows(document.getElementById('body'), html);
  return {
    marked: [...document.querySelectorAll('#body .hit')].map(cell => cell.closest('tr').id),
    bar: getComputedStyle(document.querySelector('#r5 > :first-child')).boxShadow,
  };
}"""


@pytest.fixture
def table(live_server: LiveServer, page: Page) -> Page:
    """A page with thirty rows, of which number 5 is ticked and the link of number 5 has the focus."""
    sign_in(page, live_server)
    page.evaluate(TABLE)
    page.locator("#r5 input").check()
    page.locator("#t5").focus()
    page.locator("#box").evaluate("box => { box.scrollTop = 0 }")
    return page


def ids(page: Page) -> list[str]:
    return list(page.locator("#body tr").evaluate_all("rows => rows.map(row => row.id)"))


def test_rows_that_changed_take_their_places_and_focus_and_ticks_stay(table: Page) -> None:
    seen = table.evaluate(PLACE_AND_LOOK, NEWS)

    assert ids(table) == ORDER
    expect(table.locator("#r5 td").last).to_have_text("new 5")
    expect(table.locator("#t5")).to_be_focused()
    expect(table.locator("#r5 input")).to_be_checked()
    # The cells that say something else are marked for a moment; those of a row that came say nothing else than before.
    assert seen["marked"] == ["r31"] * 4 + ["r5"]
    expect(table.locator("#body .hit")).to_have_count(0)


def test_nothing_moves_under_a_reader_until_asked(table: Page) -> None:
    before = ids(table)
    for busy, over in (
        ("portal.live.hold('ticked')", "portal.live.release('ticked')"),
        ("document.getElementById('box').scrollTop = 40", "document.getElementById('box').scrollTop = 0"),
        ("getSelection().selectAllChildren(document.getElementById('r7'))", "getSelection().removeAllRanges()"),
    ):
        table.evaluate(busy)
        top = table.locator("#r7").bounding_box()
        table.evaluate(PLACE, NEWS)
        pill = table.get_by_role("button", name="3 updates, show")
        expect(pill).to_be_visible()
        assert ids(table) == before
        assert table.locator("#r7").bounding_box() == top
        if "hold" not in busy:
            table.evaluate(over)
    # Asked for, everything takes its place; the list is then at its top.
    table.get_by_role("button", name="3 updates, show").click()
    assert ids(table) == ORDER
    expect(table.locator(".pill")).to_have_count(0)
    expect(table.locator("#r5 input")).to_be_checked()


def test_what_waited_takes_its_place_when_the_hold_ends(table: Page) -> None:
    table.evaluate("portal.live.hold('menu')")
    table.evaluate(PLACE, NEWS)
    assert ids(table) != ORDER

    table.evaluate("portal.live.release('menu')")

    assert ids(table) == ORDER


def test_with_reduced_motion_a_bar_marks_the_row(table: Page) -> None:
    table.emulate_media(reduced_motion="reduce")

    assert "3px" in table.evaluate(PLACE_AND_LOOK, NEWS)["bar"]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)])
def test_axe_finds_nothing_wrong_with_the_chips_and_the_pill(table: Page, scheme: str, width: int) -> None:
    table.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    table.set_viewport_size({"width": width, "height": 900})
    table.evaluate("portal.live.hold('menu')")
    table.evaluate(PLACE, NEWS)
    for state in ("live", "lost", "polling", "paused", "stale", "over"):
        chip(table).evaluate("(chip, state) => { chip.dataset.state = state }", arg=state)
        violations = Axe().run(table, context=[".top", ".live-news"], options={"runOnly": RULES}).response["violations"]
        assert [(state, found["id"], [node["target"] for node in found["nodes"]]) for found in violations] == []
    if "LIVE_PICTURES" in os.environ:
        table.screenshot(path=Path(os.environ["LIVE_PICTURES"]) / f"live-{scheme}-{width}.png")
