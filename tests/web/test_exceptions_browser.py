"""The page of exceptions in headless Chromium."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, Route, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import factories
from tests.web.looking import SIZES, look, make_people, sign_in
from trades.models import AuditEntry, Trade, TradeException

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def people(live_server: LiveServer) -> None:
    """Two operators."""
    make_people("ana", "ben")


def trouble() -> None:
    """Some of everything, of different age."""
    now = timezone.now()
    for number in range(24):
        trade = factories.trade(f"IRS-2026-{number:04}", status="CONFIRMED")
        factories.event(trade, flags=["GAP"], recorded_at=now - timedelta(minutes=7 * number + 3))
        TradeException.objects.create(trade=trade, kind="GAP", since=now - timedelta(minutes=7 * number + 3))
    rejected = factories.trade("FXF-1", status="REJECTED", status_since=now - timedelta(hours=5))
    factories.event(rejected, event_class="STATUS", status="REJECTED", reason="Settlement instructions are missing for this counterparty.")
    factories.trade("FXF-2", status="DISPUTED", status_since=now - timedelta(minutes=40), owner=User.objects.get(username="ben"))
    factories.trade("FXF-3-" + "LONG" * 12, status="CHECKED", status_since=now - timedelta(days=2))
    factories.quarantined(waiting=3, group="FXF-1")
    factories.quarantined(waiting=1, group="G-unknown")
    AuditEntry.objects.create(
        trade=rejected, action="note", note="Asked settlements; answer by noon.", at=now, user=User.objects.get(username="ben")
    )


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_the_page_fits_its_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, people: None, scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, live_server)

    page.goto(f"{live_server.url}/exceptions/")
    look(page, "no-exceptions", scheme, width)
    trouble()
    page.goto(f"{live_server.url}/exceptions/")
    look(page, "exceptions", scheme, width)
    page.goto(f"{live_server.url}/exceptions/?group=gap&owner=none")
    look(page, "exceptions-gap", scheme, width)


def test_a_trade_is_taken_and_noted_by_keyboard_alone(live_server: LiveServer, page: Page, people: None) -> None:
    trouble()
    sign_in(page, live_server)
    page.goto(f"{live_server.url}/exceptions/")

    page.keyboard.press("j")
    expect(page.get_by_role("link", name="FXF-1", exact=True).first).to_be_focused()
    page.keyboard.press("a")
    row = page.locator(f"#rejected-{Trade.objects.get(trade_id='FXF-1').pk}")
    expect(row.get_by_role("button", name="Release FXF-1")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_text("1 ticked")).to_be_visible()
    page.keyboard.press("n")
    page.keyboard.type("called them")
    page.keyboard.press("Enter")
    expect(page.locator(".note", has_text="called them").first).to_be_visible()

    assert list(AuditEntry.objects.exclude(at__isnull=True).order_by("-id").values_list("action", "note", "user__username")[:2]) == [
        ("note", "called them", "ana"),
        ("assign", "", "ana"),
    ]


def test_the_second_of_two_people_is_told_who_has_it_now(live_server: LiveServer, page: Page, browser: Browser, people: None) -> None:
    trouble()
    other = browser.new_context().new_page()
    for each, name in ((page, "ana"), (other, "ben")):
        sign_in(each, live_server, name)
        each.goto(f"{live_server.url}/exceptions/?group=rejected")
    other.evaluate("portal.live.pause()")

    page.get_by_role("button", name="Assign to me: FXF-1").click()
    expect(page.get_by_role("button", name="Release FXF-1")).to_be_visible()
    other.get_by_role("button", name="Assign to me: FXF-1").click()

    expect(other.get_by_text("FXF-1 belongs to ana now")).to_be_visible()
    expect(other.get_by_role("button", name="Take over FXF-1")).to_be_visible()
    assert Trade.objects.get(trade_id="FXF-1").owner.username == "ana"  # type: ignore[union-attr]
    other.context.close()


def test_what_is_ticked_while_an_answer_is_on_its_way_stays_ticked(live_server: LiveServer, page: Page, people: None) -> None:
    trouble()
    sign_in(page, live_server)
    page.route("**/live/**", lambda route: route.abort())
    page.goto(f"{live_server.url}/exceptions/?group=rejected")
    held: list[Route] = []
    page.route("**/exceptions/?*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks its handlers
    factories.trade("FXF-9", status="REJECTED", status_since=timezone.now())
    page.evaluate("addEventListener('htmx:afterRequest', () => { document.body.dataset.answered = ''; })")

    with page.expect_request("**/exceptions/?*"):
        page.evaluate("document.dispatchEvent(new CustomEvent('portal:changed'))")
    box = page.get_by_role("checkbox", name="Tick FXF-1, Rejected")
    box.check()
    held[0].continue_()
    expect(page.locator("body[data-answered]")).to_have_count(1)

    expect(box).to_be_checked()
    expect(page.get_by_text("FXF-9")).to_have_count(0)
    box.uncheck()
    page.unroute("**/exceptions/?*")
    page.evaluate("document.dispatchEvent(new CustomEvent('portal:changed'))")
    expect(page.get_by_text("FXF-9").first).to_be_visible()
