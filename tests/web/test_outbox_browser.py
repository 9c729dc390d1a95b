"""The outbox in headless Chromium."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import factories
from tests.web.looking import SIZES, look, make_people, sign_in
from trades import leases
from trades.models import AuditEntry, Publication, SendAttempt

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def outbox() -> list[Publication]:
    """One that waits, one that fails, one that may be in the queue, one that was sent and one that was cancelled."""
    make_people("ana")
    factories.upload(1)
    factories.upload(4, sent=False)
    _, failing, uncertain, cancelled = rows = list(Publication.objects.filter(state="PENDING").order_by("pk"))
    error = "Sending to TradeStatus.fifo: nothing answers at http://127.0.0.1:4566. Check that the broker runs and is reachable."
    now = timezone.now()
    Publication.objects.filter(pk=failing.pk).update(attempts=3, last_error=error)
    Publication.objects.filter(pk=uncertain.pk).update(attempts=1, uncertain_since=now - timedelta(minutes=6), last_error="Read timeout")
    Publication.objects.filter(pk=cancelled.pk).update(state=Publication.State.CANCELLED)
    SendAttempt.objects.create(publication=failing, at=now, error=error)
    AuditEntry(at=now, publication=failing, action="resend", note="the broker is back", origin="command line, root").save()
    return rows


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_every_page_of_the_outbox_fits_its_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, outbox: list[Publication], scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, live_server)
    cancelled = factories.upload(1, sent=False)
    Publication.objects.filter(document__upload=cancelled).update(state=Publication.State.CANCELLED)
    keys = "&".join(f"p={row.pk}" for row in outbox)

    for name, address in {
        "outbox": "/outbox/",
        "outbox-sent": "/outbox/?view=sent",
        "outbox-none": "/outbox/?q=nobody",
        "outbox-cancel": f"/outbox/act/?act=cancel&{keys}",
        "outbox-nothing": "/outbox/act/?act=send",
        "publication": f"/outbox/{outbox[1].publication_id}/",
        "upload-cancelled": f"/uploads/{cancelled.pk}/",
        "uploads-cancelled": "/uploads/",
    }.items():
        page.goto(live_server.url + address)
        look(page, name, scheme, width)


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_an_outbox_from_which_all_was_cancelled_and_a_busy_sender_fit_their_width(
    live_server: LiveServer, page: Page, outbox: list[Publication], monkeypatch: pytest.MonkeyPatch, scheme: str, width: int
) -> None:
    monkeypatch.setattr("trades.outbox.PATIENCE_SECONDS", 0)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, live_server)
    page.goto(f"{live_server.url}/outbox/act/?act=send&p={outbox[0].pk}")

    with leases.holding(outbox[0].queue, timezone.now):
        page.get_by_role("button", name="Send 1 publication").click()
        expect(page.get_by_text("A sender is at work")).to_be_visible()
    look(page, "outbox-busy", scheme, width)
    expect(page.get_by_role("button", name="Send 1 publication")).to_be_visible()

    Publication.objects.filter(state="PENDING").update(state="CANCELLED")
    page.goto(f"{live_server.url}/outbox/")
    expect(page.get_by_role("link", name="4 were cancelled")).to_be_visible()
    look(page, "outbox-cancelled", scheme, width)


def test_the_outbox_has_a_key_that_is_listed_with_the_others(live_server: LiveServer, page: Page, outbox: list[Publication]) -> None:
    sign_in(page, live_server)

    page.keyboard.press("?")
    expect(page.locator("#shortcuts dl div", has_text="Go to Outbox").locator("kbd")).to_have_text(["g", "o"])
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("o")

    expect(page.get_by_role("heading", level=1)).to_have_text("Outbox")


def test_the_list_of_publications_in_the_admin_shows_state_and_the_way_to_the_page_without_scrolling(
    live_server: LiveServer, page: Page, outbox: list[Publication]
) -> None:
    User.objects.filter(username="ana").update(is_staff=True, is_superuser=True)
    page.set_viewport_size({"width": 1440, "height": 900})
    sign_in(page, live_server)
    page.goto(f"{live_server.url}/admin/trades/publication/")

    assert "PICTURES" not in os.environ or page.screenshot(path=f"{os.environ['PICTURES']}/admin.png")
    shown = page.locator("#changelist-form .results").bounding_box()
    assert shown is not None
    for cell in (".field-page", ".field-state", ".field-attempts", ".field-error"):
        box = page.locator(f"tbody {cell}").nth(1).bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= shown["x"] + shown["width"], cell


def test_ticked_publications_are_cancelled_for_a_reason(live_server: LiveServer, page: Page, outbox: list[Publication]) -> None:
    sign_in(page, live_server)
    page.goto(f"{live_server.url}/outbox/")
    page.wait_for_load_state()

    page.get_by_label("Tick all on this page").check()
    expect(page.get_by_text("3 ticked")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_label("Reason").fill("sent by fax")
    page.get_by_role("button", name="Cancel 3 publications").click()

    expect(page.get_by_text("3 publications cancelled.")).to_be_visible()
    expect(
        page.get_by_text("One of them may be in the queue already", exact=False).or_(page.get_by_text("1 of them may be"))
    ).to_be_visible()
    assert not Publication.objects.filter(state=Publication.State.PENDING).exists()
