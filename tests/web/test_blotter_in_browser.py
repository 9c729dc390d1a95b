"""The blotter in headless Chromium: however long ids, parties and amounts are, the last columns stay in sight."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import factories

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
    factories.trade(LONG_UTI, parties=PARTIES, notional=amount, product="InterestRate:IRSwap:FixedFloat:OverTheCounter", updated_at=at)
    for number in range(8):
        factories.trade(f"TRD-261120-{number:06}", event_count=112, flagged_count=12, status="CONFIRMED", state="TERMINATED", age=number)
    page.goto(live_server.url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


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
             cell.scrollWidth > cell.clientWidth && ![0, 5, 6, 7].includes(cell.cellIndex) || cell.tagName == 'TH' && !cell.title
             && cell.scrollWidth > cell.clientWidth).map(cell => cell.textContent.trim())"""
        )
        == []
    )
    expect(page.get_by_title(LONG_UTI)).to_have_text(LONG_UTI)
    assert Axe().run(page, options={"runOnly": RULES}).response["violations"] == []
    if "BLOTTER_PICTURES" in os.environ:
        page.screenshot(path=Path(os.environ["BLOTTER_PICTURES"]) / f"blotter-light-{width}.png")
