"""What a page may weigh, where it may ask for more, and that a refresh with nothing new brings nothing."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web.asking import page as asked
from trades.models import Message, Trade, Upload
from trades.simulator import stories
from trades.simulator.direct import Writer
from trades.simulator.stories import Plan

HTML_AT_MOST, REST_AT_MOST = 60_000, 150_000
SHAPES = ["BOOK CHECKED CONFIRMED SETTLED", "BOOK UPDATE? CHECKED", "BOOK CONFIRMED CHECKED< SETTLED", "BOOK CHECKED DISPUTED"]


@pytest.fixture
def history(db: None) -> None:
    """Sixty trades with all that rows can show."""
    Writer().write(stories.told_of(Plan(60, 300, timezone.now(), "TradeStatus.fifo"), SHAPES * 15))


def loaded_by(html: str) -> dict[str, Path]:
    """The files that a page names: styles, scripts, icons."""
    addresses = re.findall(r'<(?:link|script|img|use)[^>]*?(?:href|src)="(/static/[^"#]+)', html)
    found = {address: finders.find(address.removeprefix("/static/")) for address in addresses}
    assert all(found.values()), found
    return {address: Path(str(path)) for address, path in found.items()}


@pytest.mark.django_db
def test_a_blotter_of_fifty_rows_is_less_than_60_kb_of_html(otto: Client, history: None) -> None:
    html = asked(otto, "/trades/?n=50")

    assert html.count("S-1000") >= 50
    assert len(html.encode()) < HTML_AT_MOST


@pytest.mark.django_db
def test_all_else_that_the_blotter_loads_is_less_than_150_kb_as_it_travels(otto: Client, history: None) -> None:
    files = loaded_by(asked(otto, "/trades/"))

    assert {Path(address).name for address in files} >= {"portal.css", "portal.js"}
    assert sum(len(gzip.compress(path.read_bytes())) for path in files.values()) < REST_AT_MOST / 2


def sign_in(live_server: LiveServer, page: Page) -> None:
    User.objects.create_superuser("ada", password="correct horse battery")
    page.goto(live_server.url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")


@pytest.mark.django_db(transaction=True)
def test_a_refresh_with_nothing_new_answers_204_and_with_something_new_200(live_server: LiveServer, page: Page) -> None:
    plan = Plan(8, 40, timezone.now(), "TradeStatus.fifo")
    Writer().write(stories.told_of(plan, SHAPES))
    sign_in(live_server, page)
    page.route("**/live/**", lambda route: route.abort())  # the page's own refreshes would take what this one is to find
    page.goto(f"{live_server.url}/trades/")

    def refreshed() -> int:
        with page.expect_response(lambda response: "hx-request" in response.request.headers and "/trades/" in response.url) as answer:
            page.evaluate("document.dispatchEvent(new CustomEvent('portal:changed', {detail: {at: Date.now()}}))")
        return answer.value.status

    assert refreshed() == 204
    Writer().write(stories.told_of(replace(plan, first=100), SHAPES))
    cache.clear()
    assert refreshed() == 200
    expect(page.get_by_role("link", name="S-1000100", exact=True).first).to_be_visible()


@pytest.mark.django_db(transaction=True)
def test_no_page_asks_anything_of_another_site(live_server: LiveServer, page: Page) -> None:
    Writer().write(stories.told_of(Plan(8, 40, timezone.now(), "TradeStatus.fifo"), SHAPES * 2))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    sign_in(live_server, page)
    upload = Upload.objects.order_by("-pk").first() or Upload.objects.create(created_at=timezone.now(), source=Upload.Source.WEB)
    trade, message = Trade.objects.order_by("pk")[0], Message.objects.filter(outcome="QUARANTINED")[0]

    places = [f"trades/{trade.trade_id}/", f"uploads/{upload.pk}/", "uploads/new/", f"quarantine/{message.pk}/", "exceptions/", "monitor/"]
    for place in ["trades/", "quarantine/", f"trace/messages/{message.pk}/", *places]:
        page.goto(f"{live_server.url}/{place}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()

    sites = {urlsplit(url).netloc for url in requests if not url.startswith("data:")}
    assert sites == {urlsplit(live_server.url).netloc}
    assert len(requests) > 20
