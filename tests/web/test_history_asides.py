"""A trade's history beside its events: what waits, what was discarded, conflicts, repeats, and who did what."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.web import factories, scenes
from trades import quarantine
from trades.lifecycle import Flag
from trades.models import Message, Trade

pytestmark = pytest.mark.django_db


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, response.content.decode()
    return unescape(response.content.decode())


def entries(html: str) -> list[str]:
    """The history from first to last: the number of each event, or what is said of a message that is none."""
    found = re.findall(r'<span class="vh">Event </span>(\d+)</span>|<span class="m wrap">([^“<]+)', html.partition('<ol class="tl">')[2])
    return [number or said.rstrip(": ") for number, said in found]


def test_messages_that_are_no_events_stand_where_the_queue_brought_them(vera: Client) -> None:
    scenes.repaired_trade()

    html = page(vera, "/trades/R-1/?first=oldest")

    assert entries(html)[:5] == ["1", "2", "3", "4", "5"]
    assert entries(html)[5:8] == ["Discarded by ben", "6", "Discarded by ben"]
    assert entries(html)[8].startswith("Dead letter: SQS gave up delivering this message")
    assert "Publication conflict" in html
    assert "The earlier message of this publication" in html


def test_events_tell_what_people_did_and_how_often_they_were_delivered(vera: Client) -> None:
    scenes.repaired_trade()
    original = Message.objects.get(outcome="CORRECTED")

    html = page(vera, "/trades/R-1/")

    assert "Corrected and replayed by ana: “version mistyped”" in html
    assert f'<a href="/quarantine/{original.pk}/">Original message</a>' in html
    assert "Delivered 3 times, recorded once." in html


def test_a_replayed_message_is_an_event_that_says_by_whom(vera: Client) -> None:
    body = scenes.told("BOOK", 1, 0)
    bad = factories.quarantined(body=body)
    quarantine.replay(bad, actor=scenes.BEN, note="mapping put right", now=scenes.START)

    html = page(vera, "/trades/T-1/")

    assert entries(html) == ["1"]
    assert "Replayed by ben: “mapping put right”" in html


def test_a_conflict_that_was_replayed_is_an_event_that_leads_to_the_earlier_message(vera: Client) -> None:
    scenes.repaired_trade()
    conflict = Message.objects.get(conflicts_with__isnull=False)
    quarantine.undo_discard(conflict, actor=scenes.BEN, reason="both are meant", now=scenes.START + timedelta(minutes=120))
    quarantine.replay(conflict, actor=scenes.BEN, note="an event of its own", now=scenes.START + timedelta(minutes=121))

    html = page(vera, "/trades/R-1/?first=oldest")

    assert f'<a href="/quarantine/{conflict.conflicts_with_id}/">Same publication, other content</a>' in html
    assert "Replayed by ben: “an event of its own”" in html
    assert "Publication conflict" not in html


def test_a_dead_letter_and_an_overtaken_event_warn_of_the_order(vera: Client) -> None:
    scenes.repaired_trade()
    assert "Order warning.</b> 1 message of this trade" in page(vera, "/trades/R-1/")
    factories.event(factories.trade("O-1"), flags=[Flag.OVERTAKEN.value])
    factories.event(factories.trade("P-1"))

    warned = page(vera, "/trades/O-1/")

    assert re.search(r'Order warning\.</b> Later messages were, or may have been, recorded before <a href="/trades/O-1/events/1/">', warned)
    assert "Order warning" not in page(vera, "/trades/P-1/")


def test_a_message_that_names_another_trade_is_not_of_this_one(vera: Client) -> None:
    trade = factories.trade("T-1", group_id="shared")
    factories.event(trade)
    factories.message("QUARANTINED", group_id="shared", stated_trade_id="T-2", code="schema", reason="Of another trade.")
    factories.message("QUARANTINED", group_id="shared", code="schema", reason="Of nobody knows which.")
    factories.message("QUARANTINED", group_id="elsewhere", stated_trade_id="T-1", code="schema", reason="Of this trade.")

    listed = entries(page(vera, "/trades/T-1/?first=oldest"))

    assert listed == ["1", "Against the schema: Of nobody knows which.", "Against the schema: Of this trade."]


def test_what_was_not_known_yet_is_not_shown(vera: Client) -> None:
    scenes.repaired_trade()

    def then(minute: int) -> list[str]:
        return entries(page(vera, f"/trades/R-1/?first=oldest&as_of={(scenes.START + timedelta(minutes=minute)).isoformat()[:-6]}Z"))

    assert then(5) == ["1"]
    assert then(40) == ["1", "Against the schema, line 4, column 3: Version is 'two'; expected a whole number, 1 or more."]
    assert then(75) == ["1", "2", "3", "4", "5"]
    assert then(85)[5:] == ["Not well-formed, line 3, column 1: The document is not well-formed XML: error parsing attribute name."]
    assert then(92)[5:] == ["Discarded by ben"]
    assert "Delivered 3 times" not in page(vera, "/trades/R-1/?as_of=2026-11-20T12:00:00Z")


def test_business_order_says_that_there_are_messages_without_a_place_in_it(vera: Client) -> None:
    scenes.repaired_trade()

    html = page(vera, "/trades/R-1/?order=business")

    assert "3 messages of this trade are no events; queue order shows where they came." in html
    assert not [entry for entry in entries(html) if not entry.isdigit()]


def test_in_a_long_history_an_aside_stands_in_the_window_where_it_belongs(vera: Client) -> None:
    trade = factories.trade("T-1")
    for number in range(1, 451):
        if number in (51, 52, 251):
            factories.message("DISCARDED", stated_trade_id="T-1", reason=f"Before {number}.")
        factories.event(trade, version=number)
    factories.message("DISCARDED", stated_trade_id="T-1", reason="At the end.")

    def asides(around: int) -> list[tuple[str, str]]:
        listed = entries(page(vera, f"/trades/T-1/?first=oldest&around={around}"))
        return [(entry, (listed[at + 1 :] or [""])[0]) for at, entry in enumerate(listed) if not entry.isdigit()]

    assert asides(450) == [("Before 251.", "251"), ("At the end.", "")]
    assert asides(250) == [("Before 51.", "51"), ("Before 52.", "52")]
    assert asides(50) == []


def test_only_the_newest_asides_are_listed_and_the_rest_are_a_link_away(vera: Client) -> None:
    factories.event(factories.trade("T-1"))
    for _ in range(60):
        factories.message("DISCARDED", stated_trade_id="T-1", settled_at=factories.NOON, reason="Set aside.")

    html = page(vera, "/trades/T-1/")

    assert entries(html).count("Set aside.") == 50
    assert '<a href="/quarantine/?view=settled&q=T-1">those settled</a>' in html


def test_a_trade_costs_the_same_with_one_aside_and_with_fifty(vera: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for count in (1, 50):
        trade = factories.trade(f"T-{count}")
        factories.event(trade)
        for _ in range(count):
            factories.message("DISCARDED", stated_trade_id=trade.trade_id, group_id=trade.group_id, settled_at=factories.NOON)

    for trade_id in ("T-1", "T-50"):
        cache.clear()
        with django_assert_num_queries(11):
            page(vera, f"/trades/{trade_id}/")
    assert Trade.objects.count() == 2
