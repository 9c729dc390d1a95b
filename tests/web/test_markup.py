"""What holds for every page: the policy without inline script and style, landmarks, and errors as pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from tests.web import factories

pytestmark = pytest.mark.django_db
INLINE = re.compile(r"""<[^>]+\s(style|on[a-z]+)\s*=|<style\b|<script(?![^>]*\bsrc=)|javascript:|hx-on|hx-vals="js:""", re.IGNORECASE)
TEMPLATES = sorted(Path(settings.BASE_DIR / "templates").rglob("*.html"))


@pytest.fixture
def addresses() -> list[str]:
    trade = factories.trade("T-1", flagged_count=1)
    factories.event(trade, flags=["AFTER_END"])
    blocked = factories.quarantined(waiting=1)
    upload, in_review = factories.upload(), factories.upload_in_review()
    return [
        "/", "/trades/?state=X&q=nothing", "/trades/T-1/", "/trades/T-1/?tab=fields", "/trades/T-1/?tab=transport", "/trades/none/",
        "/uploads/", "/uploads/new/", f"/uploads/{upload.pk}/", f"/uploads/{in_review.pk}/", "/quarantine/", f"/quarantine/{blocked.pk}/",
        f"/quarantine/{blocked.pk}/correct/", "/quarantine/?view=settled",
        f"/quarantine/settle/?act=discard&m={blocked.pk}", f"/quarantine/correct/?m={blocked.pk}", "/monitor/", "/account/", "/find/?q=T",
        "/no/such/page/",
        "/admin/", reverse("admin:trades_upload_publish"), reverse("admin:trades_message_change", args=[blocked.pk]),
    ]  # fmt: skip


def test_no_page_has_inline_script_or_style_or_asks_another_site(ada: Client, addresses: list[str]) -> None:
    for address in addresses:
        response = ada.get(address)
        html = response.content.decode()
        assert response.status_code in (200, 404), address
        assert not INLINE.search(html), (address, INLINE.search(html))
        assert not re.search(r"""(src|href|action)=["'](https?:)?//""", html), address
        assert "'unsafe" not in response["Content-Security-Policy"]
        assert "default-src 'none'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_inline_script_or_style(template: Path) -> None:
    assert not INLINE.search(template.read_text())


def test_every_page_of_the_portal_has_landmarks_one_heading_and_a_skip_link(ada: Client, addresses: list[str]) -> None:
    for address in addresses[:19]:
        html = ada.get(address).content.decode()
        assert html.count("<h1") == 1, address
        for mark in (
            '<a class="skip" href="#main">',
            '<main id="main"',
            '<nav class="rail" aria-label="Main"',
            '<header class="top">',
            'lang="en"',
        ):
            assert mark in html, (address, mark)
        ids = re.findall(r'\sid="([^"]+)"', html)
        assert len(ids) == len(set(ids)), address


def test_an_unknown_address_offers_to_find_a_trade(vera: Client) -> None:
    response = vera.get("/no/such/page/")

    assert response.status_code == 404
    assert "There is nothing at this address" in response.content.decode()
    assert 'name="q"' in response.content.decode()


def test_a_failure_is_a_page_that_needs_no_database(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("trades.web.uploads.upload_list.listed", fail)
    vera.raise_request_exception = False

    response = vera.get("/uploads/")

    assert response.status_code == 500
    assert "The portal failed to answer" in response.content.decode()
    assert "a fault" not in response.content.decode()
