"""What the page of a trade says beside its events: the list it came from, limits, values as they were, time in each status, waits."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from tests.web import factories, scenes
from tests.web.asking import page, post
from trades.models import Event, Message, Trade
from trades.web import telling
from trades.web.telling import tell
from trades.web.time_in_status import stays_of, took

pytestmark = pytest.mark.django_db


# The list that it was opened from


def crumb(html: str) -> dict[str, str]:
    return {rel: href for href, rel in re.findall(r'<a class="btn ghost sm" href="([^"]*)" rel="(prev|next)"', html)}


def test_a_trade_opened_from_a_list_leads_to_its_neighbours_there(vera: Client) -> None:
    for number, name in enumerate("ABCDE"):
        factories.event(factories.trade(name, age=number * 60, state="CANCELLED" if name == "C" else "LIVE"))

    html = page(vera, "/trades/D/?from=state%3DLIVE")

    assert crumb(html) == {"prev": "/trades/B/?from=state%3DLIVE", "next": "/trades/E/?from=state%3DLIVE"}
    assert "3 in this list" in html
    assert '<a href="/trades/?state=LIVE">Blotter</a>' in html
    assert 'href="/trades/D/?tab=xml&from=state%3DLIVE"' in html or 'href="/trades/D/events/1/?tab=xml&from=state%3DLIVE"' in html
    assert crumb(page(vera, "/trades/A/?from=")) == {"next": "/trades/B/?from="}
    assert crumb(page(vera, "/trades/E/?from=nonsense%3D1%26state%3DX")) == {"prev": "/trades/D/?from=nonsense%3D1%26state%3DX"}


def test_the_list_is_known_by_the_page_one_came_from_and_by_no_other(vera: Client) -> None:
    for name in "AB":
        factories.event(factories.trade(name, age=ord(name)))

    from_list = vera.get("/trades/A/", headers={"Referer": "http://testserver/?state=LIVE"}).content.decode()
    from_elsewhere = vera.get("/trades/A/", headers={"Referer": "http://evil.example/?state=LIVE"}).content.decode()

    assert "/trades/B/?from=state%3DLIVE" in from_list
    assert crumb(from_elsewhere) == {}
    assert crumb(page(vera, "/trades/A/")) == {}


def test_the_neighbours_in_a_saved_view_are_those_of_the_view(vera: Client) -> None:
    for number, name in enumerate("ABC"):
        factories.event(factories.trade(name, age=number, product="IRS" if name == "B" else "FX"))
    post(vera, "/views/", {"do": "save", "name": "Mine", "query": "product=FX"}, 302)

    html = page(vera, "/trades/C/?from=view%3DMine")

    assert crumb(html) == {"prev": "/trades/A/?from=view%3DMine"}
    assert "2 in this list" in html


def test_neighbours_cost_the_same_in_any_list(
    vera: Client, django_assert_num_queries: DjangoAssertNumQueries, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        factories.event(factories.trade(f"T-{number}", age=number))
    cache.clear()
    with django_assert_max_num_queries(12) as first:
        page(vera, "/trades/T-0/?from=")
    cache.clear()
    with django_assert_num_queries(len(first)):
        page(vera, "/trades/T-29/?from=")


# The head


def test_the_time_in_a_status_is_shown_against_its_limit(vera: Client, settings: Settings) -> None:
    settings.TRADES_STATUS_LIMITS = {"CHECKED": timedelta(minutes=30)}
    trade = factories.trade(status_since=timezone.now() - timedelta(minutes=20, seconds=5))
    factories.event(trade)
    factories.event(trade, event_class="STATUS", status="CHECKED")

    soon = page(vera, "/trades/T-1/")
    Trade.objects.update(status_since=timezone.now() - timedelta(hours=1, minutes=12, seconds=5))
    late = page(vera, "/trades/T-1/")

    assert re.search(r'class="age flag warn tnum">.*20 m \d\d s in status, limit 30 m<', soon, re.DOTALL)
    assert re.search(r'class="age flag bad tnum">.*1 h 12 m in status, limit 30 m<span class="vh">, past its limit', late, re.DOTALL)


def test_a_status_without_a_limit_and_a_trade_that_ended_are_not_late(vera: Client, settings: Settings) -> None:
    settings.TRADES_STATUS_LIMITS = {}
    scenes.late_trade()
    assert "in status<" in page(vera, "/trades/T-1/")
    factories.event(ended := factories.trade("E-1"))
    factories.event(ended, event_class="CANCEL", version=2)

    assert "in status" not in page(vera, "/trades/E-1/")


def test_the_owner_of_a_trade_is_named(vera: Client) -> None:
    factories.event(factories.trade(owner=factories.person("operator", name="ana")))

    assert "Owned by <b>ana</b>" in page(vera, "/trades/T-1/")


def test_a_value_that_the_newest_event_changed_says_what_it_was(vera: Client) -> None:
    scenes.record(scenes.told("BOOK", 1, 0), scenes.told("UPDATE", 2, 30, amount="12000000.00"))

    html = page(vera, "/trades/T-1/")

    assert re.findall(r'<dd class="was">.*?was ([^<]+)</dd>', html) == ["10,000,000.00 EUR", "1"]
    scenes.record(scenes.told("STATUS", 2, 40, status="CHECKED"), minute=41)
    assert "was 10,000,000.00" not in page(vera, "/trades/T-1/")


def test_steps_say_how_long_they_took(vera: Client) -> None:
    scenes.record(
        scenes.told("BOOK", 1, 0), scenes.told("STATUS", 1, 4, status="CHECKED"), scenes.told("STATUS", 1, 5, status="DISPUTED"), minute=90
    )

    life = page(vera, "/trades/T-1/").partition('<ol class="life"')[2].partition("</ol>")[0]

    assert "+4 m<" in life
    assert re.search(r'<li class="bad" aria-current="step">.*<b>Disputed</b><span class="tnum">[^<]+ here</span>', life, re.DOTALL)


# Time in each status


def test_stays_fill_the_bar_to_scale_and_say_how_long_they_were(vera: Client) -> None:
    trade = scenes.late_trade()
    now = scenes.START + timedelta(minutes=100)

    stays = stays_of(tell(trade, None), now)

    assert stays
    assert [(stay.name, stay.took) for stay in stays.rows] == [
        ("Received", "40 m"),
        ("Checked", "10 m"),
        ("Confirmed", "20 m"),
        ("Received", "30 m"),
    ]
    assert stays.rows[0].x == 0
    assert [one.x + one.width for one in stays.rows[:-1]] == [two.x for two in stays.rows[1:]]
    assert stays.rows[-1].x + stays.rows[-1].width == 1_000
    assert stays.rows[0].width > 3 * stays.rows[1].width
    html = page(vera, "/trades/T-1/")
    assert html.count('<rect class="tone-') == 8
    assert "style=" not in html


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 m"), (251, "4 m 11 s"), (3600, "1 h"), (4320, "1 h 12 m"), (90_000, "1 d 1 h"), (-5, "0 s")],
)
def test_lengths_of_time_are_told_to_the_second_under_an_hour(seconds: int, words: str) -> None:
    assert took(timedelta(seconds=seconds)) == words


# History


def test_an_event_says_in_one_line_what_it_changed(vera: Client) -> None:
    scenes.record(
        scenes.told("BOOK", 1, 0), scenes.told("STATUS", 1, 5, status="CHECKED"), scenes.told("UPDATE", 2, 30, amount="12000000.00")
    )

    html = page(vera, "/trades/T-1/")

    assert re.findall(r'<span class="m what">([^<]*)</span>', html) == [
        "Notional 10,000,000.00 → 12,000,000.00 EUR",
        "IRS 5Y EUR, 10,000,000.00 EUR, Northgate Bank / Kestrel Capital",
    ]


def test_a_late_event_names_the_one_it_arrived_after(vera: Client) -> None:
    scenes.late_trade()

    assert "Arrived after events that it belongs before. It arrived after event 3." in page(vera, "/trades/T-1/")


def test_messages_that_wait_stand_in_the_history_and_lead_to_what_they_wait_for(vera: Client) -> None:
    _, bad = scenes.blocked_trade("B-9")

    html = page(vera, "/trades/B-9/?first=oldest")

    assert html.count("Waits behind an earlier message of its group.") == 3
    assert html.count(f'<a href="/quarantine/{bad.pk}/">Waits behind message {bad.pk}</a>') == 3


def test_what_waits_in_a_shared_group_is_not_said_to_be_of_this_trade(vera: Client) -> None:
    factories.event(factories.trade("S-1", group_id="shared"))
    foreign = factories.quarantined(1, group="shared")
    Message.objects.filter(pk=foreign.pk).update(stated_trade_id="T-2")

    html = page(vera, "/trades/S-1/")

    assert "In the same message group: waits behind an earlier message, and is not read yet. It may be about another trade." in html
    assert 'a quarantined message</a> in the same message group, about <span class="wrap">T-2</span>; 1 message waits behind it' in html
    factories.message("QUARANTINED", group_id="shared", stated_trade_id="T-3", reason="Of another.")
    html = page(vera, "/trades/S-1/")
    assert "A message in the same message group</a>, about another trade" in html
    assert "A message of this trade's group" not in html


def test_the_times_of_an_event_say_what_they_are_times_of(vera: Client) -> None:
    scenes.late_trade()
    Event.objects.filter(position=5).update(recorded_at=scenes.START + timedelta(minutes=75))

    html = page(vera, "/trades/T-1/?tab=transport")

    assert "Stored as a message</dt>" in html
    assert re.search(r"<dt>Recorded as event 5</dt>\s*<dd><span class=\"mono\"><time[^>]*>20 Nov 2026 10:45:00.000 UTC", html)
    assert "<dt>Recorded</dt>" not in html
    assert f'href="/trace/messages/{Event.objects.get(position=5).message_id}/">' in html


# Not here


def test_a_trade_of_which_there_are_only_refused_messages_has_a_page_that_lists_them(vera: Client) -> None:
    refused = factories.message("QUARANTINED", stated_trade_id="Q-1", code="schema", reason="Version is 'two'.", line=4, column=3)

    html = page(vera, "/trades/Q-1/")

    assert "Nothing of trade Q-1 is recorded yet" in html
    assert "Against the schema, line 4, column 3: Version is 'two'." in html
    assert f'<a href="/quarantine/{refused.pk}/">Message</a>' in html


def test_a_trade_that_is_nowhere_says_where_was_looked(vera: Client) -> None:
    html = page(vera, "/trades/N-1/", 404)

    for sentence in (
        "No trade N-1", "Nothing of this trade waits in the outbox.", "The portal sent nothing of this trade to the queue.",
        "No message in quarantine holds this text.", "No held message holds this text.",
    ):  # fmt: skip
        assert sentence in html
    assert 'href="/trace/?q=N-1"' in html


# Long trades


def long_trade(count: int) -> Trade:
    trade, shared = factories.trade(), factories.message()
    for number in range(count):
        factories.event(trade, message=shared, event_class="STATUS" if number else "BOOK", details={})
    return trade


def test_a_long_trade_is_told_once_until_something_new_is_recorded(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "LONG", 5)
    telling.forget()
    trade = long_trade(6)

    first, second = tell(trade, None), tell(trade, None)
    factories.event(trade)
    third = tell(trade, None)

    assert first is second
    assert (first.count, third.count) == (6, 7)
    assert tell(trade, factories.NOON).count == 7
    telling.forget()


def test_what_is_kept_of_long_trades_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "LONG", 2)
    monkeypatch.setattr(telling, "MOST_KEPT", 10)
    telling.forget()
    trade = long_trade(6)

    for minute in range(5):
        tell(trade, factories.NOON + timedelta(minutes=minute))

    assert sum(kept.count for kept in telling._kept.values()) <= 10
    telling.forget()
