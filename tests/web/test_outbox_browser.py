"""The outbox in headless Chromium."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import factories
from tests.web.looking import SIZES, look, make_people, sign_in
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
    keys = "&".join(f"p={row.pk}" for row in outbox)

    for name, address in {
        "outbox": "/outbox/",
        "outbox-sent": "/outbox/?view=sent",
        "outbox-none": "/outbox/?q=nobody",
        "outbox-cancel": f"/outbox/act/?act=cancel&{keys}",
        "outbox-nothing": "/outbox/act/?act=send",
        "publication": f"/outbox/{outbox[1].publication_id}/",
    }.items():
        page.goto(live_server.url + address)
        look(page, name, scheme, width)


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
