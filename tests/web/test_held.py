"""What waits behind a quarantined message can be found."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.support.native import NOON, native, received
from trades import history
from trades.models import Message

pytestmark = pytest.mark.django_db


def test_a_held_message_of_an_unknown_trade_is_linked(vera: Client) -> None:
    history.record([received("<bad", "g"), received(native("T-404"), "g")], now=NOON)
    held = Message.objects.get(outcome="HELD")

    page = vera.get("/trades/T-404/")

    assert page.status_code == 404
    assert f"/quarantine/{held.pk}/" in page.content.decode()


def test_the_quarantine_count_stays_on_the_page_of_a_message(vera: Client) -> None:
    history.record([received("<bad", "g")], now=NOON)
    bad = Message.objects.get()

    page = vera.get(f"/quarantine/{bad.pk}/").content.decode()

    assert '<span class="cnt warn" data-quarantined>1<' in page
