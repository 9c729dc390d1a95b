"""The inspect page in headless Chromium: an administrator tries a mapping out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import ConsoleMessage, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.support.firms import ACME, blotter, deal

pytestmark = pytest.mark.django_db(transaction=True)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture
def ada(live_server: LiveServer, page: Page) -> User:
    """Somebody who may do everything, signed in."""
    ada = User.objects.create_superuser("ada", password="correct horse battery")
    page.goto(live_server.url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
    return ada


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)])
def test_an_administrator_tries_a_mapping_out(live_server: LiveServer, page: Page, ada: User, scheme: str, width: int) -> None:
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "422" not in message.text:
            complaints.append(message.text)

    page.on("console", note)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{live_server.url}/inspect/")
    look(page, "empty", scheme, width)

    page.get_by_label("Document", exact=True).fill(blotter("\n" + deal() + "\n", deal("D-2", "Z")))
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_role("main")).to_contain_text("seems to carry trades")
    look(page, "unknown", scheme, width)
    page.get_by_label("Mapping to try").fill(ACME.replace('"int"', '"number"'))
    page.get_by_role("button", name="Inspect").click()
    expect(page.get_by_role("alert")).to_contain_text("fields.version.type is 'number'")
    look(page, "broken", scheme, width)
    page.get_by_label("Mapping to try").fill(ACME)
    page.get_by_role("button", name="Inspect").click()

    expect(page.get_by_role("main")).to_contain_text("1 of the 2 messages are refused")
    expect(page.get_by_role("table").first).to_contain_text("amount 1500000.00, currency EUR")
    look(page, "read", scheme, width)
    assert complaints == []


def look(page: Page, name: str, scheme: str, width: int) -> None:
    """The page fits and axe finds nothing; a picture of it is kept where INSPECT_PICTURES names a folder."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is wider than the window"
    violations = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    assert [(name, v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations] == []
    if "INSPECT_PICTURES" in os.environ:
        page.screenshot(path=Path(os.environ["INSPECT_PICTURES"]) / f"inspect-{name}-{scheme}-{width}.png", full_page=True)
