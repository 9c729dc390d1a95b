"""The trace of a message in headless Chromium."""

from __future__ import annotations

import importlib
import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import scenes
from tests.web.test_trace import NOON, SHA256, delivered, of, published, recorded
from trades import history
from trades.models import Message, Refusal, SendAttempt

pytestmark = pytest.mark.django_db(transaction=True)
AWAY = "Sending to TradeStatus.fifo: nothing answers."
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture
def vera(live_server: LiveServer, page: Page) -> Page:
    """A viewer who is signed in. Beside a browser the roles that a migration made have to be made again."""
    make_groups = importlib.import_module("trades.migrations.0002_roles").make_groups
    make_groups(apps, SimpleNamespace(connection=connection))
    User.objects.create_user("vera", password="correct horse battery").groups.add(Group.objects.get(name="viewer"))
    page.goto(live_server.url)
    page.get_by_label("Name").fill("vera")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
    return page


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)])
def test_every_state_fits_its_width_and_axe_finds_no_violation(live_server: LiveServer, vera: Page, scheme: str, width: int) -> None:
    whole = published()
    Message.objects.filter(pk=recorded(whole).pk).update(deleted_at=NOON + timedelta(seconds=2.2))
    history.record([delivered(whole, 64, receive_count=2)], now=NOON + timedelta(seconds=64))
    unsent = published(state="PENDING", attempts=2, last_error=AWAY, sent_at=None, group="T-7")
    for number in (1, 2):
        SendAttempt.objects.create(publication=unsent, at=NOON + timedelta(seconds=number), error=AWAY)
    waiting = published(group="T-8")
    _, bad = scenes.blocked_trade("T-9")
    refused = published(group="T-10").document
    refused.publications.all().delete()
    Refusal.objects.create(document=refused, code="not-well-formed", reason="A tag is not closed.", line=3, column=7)
    refused.sha256 = "cd" * 32
    refused.save()
    vera.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    vera.set_viewport_size({"width": width, "height": 900})

    def visit(name: str, address: str) -> None:
        vera.goto(live_server.url + address)
        assert vera.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is wider than the window"
        violations = Axe().run(vera, options={"runOnly": RULES}).response["violations"]
        assert [(name, v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations] == []
        if "TRACE_PICTURES" in os.environ:
            vera.screenshot(path=Path(os.environ["TRACE_PICTURES"]) / f"{name}-{scheme}-{width}.png", full_page=True)

    visit("whole", of(whole))
    visit("unsent", of(unsent))
    visit("waiting", of(waiting))
    visit("quarantined", of(bad))
    visit("refused", "/trace/?q=" + "cd" * 32)
    visit("several", "/trace/?q=" + SHA256)
    visit("nothing", "/trace/?q=unheard-of")


def test_the_page_goes_on_by_itself_when_something_changed_and_focus_stays(live_server: LiveServer, vera: Page) -> None:
    vera.context.grant_permissions(["clipboard-read", "clipboard-write"])
    publication = published()
    vera.goto(live_server.url + of(publication))
    expect(vera.locator(".answer")).to_contain_text("no worker has received it")
    copy = vera.get_by_role("button", name="Copy Publication id")
    copy.click()
    expect(vera.locator("#toasts")).to_contain_text(f"Copied {publication.publication_id}.")
    assert vera.evaluate("navigator.clipboard.readText()") == str(publication.publication_id)

    recorded(publication)
    vera.evaluate("document.dispatchEvent(new CustomEvent('portal:changed', {detail: {at: 1}}))")

    expect(vera.locator(".answer")).to_contain_text("Recorded as event 1 of T-1")
    expect(copy).to_be_focused()
    expect(copy).to_be_visible()
