"""Reading a trade in headless Chromium: every page in both themes and at both widths, and the date-time field without a script."""

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
    "/trades/T-1/events/2/?order=business&tab=fields",
    "/trades/T-1/events/1/?order=business&as_of=2026-11-20T10:30:00Z",
    "/trades/T-1/?as_of=2026-11-19T00:00",
    "/trades/T-1/?as_of=yesterday",
    "/trades/B-2/",
    "/reference/",
)


@pytest.fixture
def vera(live_server: LiveServer) -> None:
    """A viewer."""
    make_people("vera", role="viewer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_pages_that_read_a_trade_fit_their_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, vera: None, scheme: str, width: int
) -> None:
    scenes.late_trade()
    scenes.two_trades()
    factories.message("REFERENCE", reason="A heartbeat: it tells of no trade.")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, live_server, "vera")

    for address in ADDRESSES:
        page.goto(live_server.url + address)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{address} is wider than the window"
        violations = Axe().run(page, options={"runOnly": RULES}).response["violations"]
        assert [(address, v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations] == []


def test_a_moment_is_chosen_and_left_again_without_a_script(live_server: LiveServer, browser: Browser, vera: None) -> None:
    scenes.late_trade()
    page = browser.new_page(java_script_enabled=False)
    sign_in(page, live_server, "vera")

    page.goto(f"{live_server.url}/trades/T-1/events/2/?order=business")
    page.get_by_label("As known at (UTC)").fill("2026-11-20T10:21:00")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("main")).to_contain_text("As known at 20 Nov 2026 10:21:00 UTC: 3 of 5 events had been recorded.")
    expect(page.get_by_role("heading", name="Event 2")).to_be_visible()
    expect(page.get_by_label("As known at (UTC)")).to_have_value(re.compile(r"2026-11-20T10:21(:00)?"))
    page.get_by_role("link", name="Back to what is known now").click()

    expect(page.get_by_role("main")).not_to_contain_text("As known at 20 Nov")
    expect(page.get_by_role("main")).to_contain_text("Business order:")
    page.close()
