"""Pages of large texts and of several queues in headless Chromium: they fit, in both themes and on a phone, and axe finds nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from tests.support.native import native
from tests.web import factories, looking
from tests.web.test_large_texts import LONG, POINTER
from tests.web.test_queues_pages import PARTNER, queues_file
from trades.models import Handler, Hold, Publication, Worker

pytestmark = pytest.mark.django_db(transaction=True)
OTHER = "FpmlTrades.fifo"


@pytest.fixture
def addresses(live_server: LiveServer, settings: Settings, tmp_path: Path) -> dict[str, str]:
    """Where each page to look at is, by its name."""
    settings.VAR_DIR = tmp_path / "var"
    settings.TRADES_QUEUES_FILE = queues_file(tmp_path, OTHER)
    now = timezone.now()
    trade = factories.trade("T-LARGE")
    through_s3: dict[str, Any] = {"pointer": POINTER, "attributes": {"traceparent": "00-0af7651916cd43dd-b7ad-01"}}
    factories.event(trade, body=native("T-LARGE"))
    came = factories.large(LONG, group_id="T-LARGE", **through_s3)
    factories.event(trade, message=came, event_class="UPDATE")
    factories.event(factories.trade("F-1", queue=OTHER), message=factories.message(queue=OTHER, group_id="F-1"))
    why: dict[str, Any] = {"code": "not-well-formed", "reason": "It ends too soon.", "line": 90_000, "column": 2}
    refused = factories.large(LONG + b"<", "QUARANTINED", group_id="T-BAD", queue=OTHER, **why)
    Hold.objects.create(queue=OTHER, group_id="T-BAD", message=refused, since=now)
    missing = factories.message("QUARANTINED", POINTER, pointer=POINTER, code="payload-missing", reason="S3 has no such object.")
    Worker.objects.create(host="app-1", pid=7, version="1", queue=factories.QUEUE, state="IDLE", started_at=now, seen_at=now)
    Handler.objects.create(queue=OTHER, name="firm.booking.take", since=now)
    factories.upload(files=2, sent=False)
    Publication.objects.update(queue=PARTNER, created_at=now - timedelta(minutes=3))
    publication = Publication.objects.all()[0]
    return {
        "blotter": "/trades/?choose=queue", "large-xml": "/trades/T-LARGE/?tab=xml", "large-changes": "/trades/T-LARGE/",
        "quarantine-queues": "/quarantine/",
        "large-refused": f"/quarantine/{refused.pk}/", "missing": f"/quarantine/{missing.pk}/", "monitor-queues": "/monitor/",
        "trace-s3": f"/trace/messages/{came.pk}/", "trace-waits": f"/trace/publications/{publication.publication_id}/",
    }  # fmt: skip


@pytest.mark.parametrize(("scheme", "width"), looking.SIZES)
def test_pages_fit_and_axe_finds_nothing(page: Page, live_server: LiveServer, addresses: dict[str, str], scheme: Any, width: int) -> None:
    looking.make_people("ana")
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 900})
    looking.sign_in(page, live_server)

    for name, address in addresses.items():
        page.goto(live_server.url + address)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        looking.look(page, name, scheme, width)
