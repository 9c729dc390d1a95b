"""Views that a person keeps, and a trade at a glance."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.web import factories
from tests.web.asking import page, post
from trades.models import SavedView, Trade

pytestmark = pytest.mark.django_db


def keep(client: Client, name: str, query: str) -> None:
    post(client, "/views/", {"do": "save", "name": name, "query": query}, 302)


def test_filters_are_kept_under_a_name_and_shown_by_it(vera: Client) -> None:
    factories.trade("T-1")
    factories.trade("T-2", state="CANCELLED")

    keep(vera, "Gone & forgotten", "state=CANCELLED&sort=trade&unknown=1&after=x")
    html = page(vera, "/trades/?view=Gone+%26+forgotten")

    assert SavedView.objects.get().query == "state=CANCELLED&sort=trade"
    assert ">T-2</a>" in html
    assert ">T-1</a>" not in html
    assert '<a href="?view=Gone+%26+forgotten" aria-current="page">Gone & forgotten</a>' in html
    assert "Unsaved changes" not in html


def test_a_view_can_be_refined_and_says_so(vera: Client) -> None:
    keep(vera, "Mine", "state=LIVE&status=CHECKED")

    html = page(vera, "/trades/?view=Mine&status=CONFIRMED")
    assert "Unsaved changes in <b>Mine</b>" in html
    assert 'href="?state=&status=CONFIRMED&view=Mine"' in html  # without the state
    assert 'href="?status=&view=Mine"' in html  # without the status

    assert "Status <b>" not in page(vera, "/trades/?view=Mine&status=")
    keep(vera, "Mine", "state=LIVE&status=CONFIRMED")
    assert "Unsaved changes" not in page(vera, "/trades/?view=Mine&status=CONFIRMED")


def test_the_form_of_a_view_states_all_filters(vera: Client) -> None:
    keep(vera, "Mine", "state=LIVE&status=CHECKED")

    html = page(vera, "/trades/?view=Mine&form=whole&state=LIVE&q=")

    assert "State <b>Live</b>" in html
    assert "Status <b>" not in html


def test_a_view_of_everything_is_a_view_too_and_can_be_deleted(vera: Client) -> None:
    keep(vera, "Everything", "")

    html = page(vera, "/trades/?view=Everything")

    assert "Delete the view Everything" in html
    assert "Unsaved changes" not in html
    assert "Unsaved changes" in page(vera, "/trades/?view=Everything&state=LIVE")


def test_views_are_their_owners_alone(vera: Client, otto: Client) -> None:
    keep(vera, "Mine", "state=LIVE")

    assert "view=Mine" not in page(otto, "/trades/")
    assert "State <b>" not in page(otto, "/trades/?view=Mine")
    post(otto, "/views/", {"do": "delete", "name": "Mine"}, 302)
    assert SavedView.objects.count() == 1
    post(vera, "/views/", {"do": "delete", "name": "Mine"}, 302)
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("data", [{"do": "save", "name": ""}, {"do": "save", "name": "x" * 61}, {"do": "burn", "name": "x"}])
def test_a_view_that_cannot_be_kept_is_refused_with_a_sentence(vera: Client, data: dict[str, str]) -> None:
    post(vera, "/views/", data, 302)

    assert not SavedView.objects.exists()
    assert "The view was not kept." in page(vera, "/trades/")


def test_a_person_keeps_so_many_views(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trades.web.saved_views.MOST", 1)
    keep(vera, "One", "")
    keep(vera, "Two", "")
    keep(vera, "One", "state=LIVE")

    assert list(SavedView.objects.values_list("name", "query")) == [("One", "state=LIVE")]
    assert "there are 1 already" in page(vera, "/trades/")


# Preview


def test_a_preview_tells_facts_last_events_and_what_the_newest_changed(vera: Client) -> None:
    trade = factories.trade("T-1", notional="-5000.00 EUR")
    for number in range(6):
        factories.event(trade, version=number, event_class="UPDATE" if number else "BOOK", details={"price": str(number), "venue": "X"})

    html = vera.get(f"/trades/preview/{trade.pk}/", headers={"HX-Request": "true"}).content.decode()

    assert "<html" not in html
    assert "\N{MINUS SIGN}5,000.00 EUR" in html
    assert "Changed by event 6" in html
    assert '<dt>Price</dt><dd><del>4</del> <ins class="n">5</ins></dd>' in html
    assert "Venue" not in html
    assert html.count(">Event ") == 5


def test_a_preview_of_its_own_leads_to_the_trades_beside_it_in_the_list(vera: Client) -> None:
    for number in range(4):
        factories.trade(f"T-{number}", age=number, state="CANCELLED" if number == 1 else "LIVE")
    pks = dict(Trade.objects.values_list("trade_id", "pk"))

    html = page(vera, f"/trades/preview/{pks['T-2']}/?state=LIVE")

    assert f'href="/trades/preview/{pks["T-0"]}/?state=LIVE">Newer<' in html
    assert f'href="/trades/preview/{pks["T-3"]}/?state=LIVE">Older<' in html
    page(vera, "/trades/preview/999999/", 404)
