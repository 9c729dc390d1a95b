"""The page of exceptions: what is on it, in which order, what people do there, and what it costs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.web import factories
from tests.web.asking import page, post
from trades import exceptions
from trades.models import AuditEntry, Trade, TradeException

pytestmark = pytest.mark.django_db
ROWS = r"<tr[^>]* data-row>.*?</tr>"
FRAGMENT = {"HX-Request": "true"}


def ago(**length: float) -> datetime:
    return timezone.now() - timedelta(**length)


def flagged(kind: str = "GAP", trade_id: str = "T-1", **age: float) -> Trade:
    """A trade with an event that gave cause for an exception of this kind."""
    trade, since = factories.trade(trade_id, status="CONFIRMED"), ago(**(age or {"minutes": 5}))
    flags = {"GAP": "GAP", "LATE": "LATE", "CONFLICT": "VERSION_CONFLICT", "AFTER_END": "AFTER_END"}
    factories.event(trade, flags=[flags[kind]], recorded_at=since)
    TradeException.objects.create(trade=trade, kind=kind, since=since)
    return trade


def names(html: str) -> list[str]:
    """The trades listed, from the top."""
    return re.findall(r'data-row>.*?<th scope="row">.*?<a class="id"[^>]*>([^<]+)</a>', html)


def tick(trade: Trade, group: str = "gap") -> str:
    """What a row's box says."""
    trade.refresh_from_db()
    return f"{group}.{trade.pk}.{trade.owner_id or 0}.{trade.event_count}"


# What is listed


def test_each_kind_of_trouble_has_its_section_with_reason_and_advice(vera: Client) -> None:
    rejected = factories.trade("R-1", status="REJECTED", status_since=ago(minutes=5))
    factories.event(rejected, event_class="STATUS", status="REJECTED", reason="wrong book")
    factories.trade("D-1", status="DISPUTED", status_since=ago(minutes=5))
    factories.trade("O-1", status="CHECKED", status_since=ago(hours=3))
    factories.trade("fine", status="CHECKED", status_since=ago(minutes=3))
    factories.trade("over", status="REJECTED", state="CANCELLED", status_since=ago(hours=9))
    for kind in ("GAP", "LATE", "CONFLICT", "AFTER_END"):
        flagged(kind, f"{kind}-1")
    factories.quarantined(waiting=2, group="W-1")
    factories.quarantined(waiting=0, group="nothing waits")

    html = page(vera, "/exceptions/")

    assert names(html) == ["R-1", "D-1", "W-1", "GAP-1", "CONFLICT-1", "AFTER_END-1", "LATE-1", "O-1"]
    assert re.search(r'Rejected by <a href="/trades/R-1/events/1/">event 1</a>: wrong book', html)
    assert "Checked for too long; the limit is 2 h." in html
    assert "2 messages wait behind one that could not be understood: Not well-formed, line 3, column 1: expected '>'." in html
    assert re.search(r'<a href="/trades/GAP-1/events/1/">Event 1</a>: At least one version', html)
    assert "Look for what is missing in quarantine, or ask the sender for it." in html


def test_the_oldest_are_first_and_all_of_a_group_can_be_paged_through(vera: Client) -> None:
    for number in range(60):
        flagged("GAP", f"T-{number:02}", minutes=600 - number)

    html = page(vera, "/exceptions/")
    assert names(html) == [f"T-{number:02}" for number in range(20)]
    assert "Show all 60" in html
    shown = names(first := page(vera, "/exceptions/?group=gap"))
    following = re.search(r'href="([^"]*after=[^"]+)"', first)
    assert following
    shown += names(page(vera, following[1]))

    assert shown == [f"T-{number:02}" for number in range(60)]


def test_trades_with_the_same_moment_are_each_shown_once(vera: Client) -> None:
    since = ago(hours=2)
    for number in range(55):
        factories.trade(f"T-{number}", status="REJECTED", status_since=since)

    first = page(vera, "/exceptions/?group=rejected")
    following = re.search(r'href="([^"]*after=[^"]+)"', first)
    assert following

    assert sorted(names(first) + names(page(vera, following[1]))) == sorted(f"T-{number}" for number in range(55))


def test_the_ageing_bar_counts_and_filters(vera: Client) -> None:
    for trade_id, age in {"a": 10, "b": 45, "c": 200, "d": 1000, "e": 2000, "f": 3000}.items():
        flagged("LATE", trade_id, minutes=age)

    html = page(vera, "/exceptions/")

    assert re.findall(r'<li class="a(\d)"><a href="([^"]+)"><b class="num">(\d+)</b>', html) == [
        ("0", "/exceptions/?age=0", "1"),
        ("1", "/exceptions/?age=1", "1"),
        ("2", "/exceptions/?age=2", "1"),
        ("3", "/exceptions/?age=3", "1"),
        ("4", "/exceptions/?age=4", "2"),
    ]
    assert [names(page(vera, f"/exceptions/?age={part}")) for part in range(5)] == [["a"], ["b"], ["c"], ["d"], ["f", "e"]]


def test_owner_and_group_filter_and_bad_values_are_told(otto: Client) -> None:
    mine, other = flagged("GAP", "mine"), flagged("LATE", "other")
    Trade.objects.filter(pk=mine.pk).update(owner=User.objects.get(username="otto"))

    assert names(page(otto, "/exceptions/?owner=me")) == ["mine"]
    assert names(page(otto, "/exceptions/?owner=none")) == [other.trade_id]
    assert names(page(otto, "/exceptions/?group=late")) == ["other"]
    assert "There is no group “x”." in page(otto, "/exceptions/?group=x&owner=y&age=9&after=z&other=1")
    assert names(page(otto, "/exceptions/?group=gap&after=nonsense")) == ["mine"]


def test_an_empty_page_says_so_and_who_acknowledged_last(otto: Client) -> None:
    assert "No exceptions" in page(otto, "/exceptions/")
    trade = flagged()
    post(otto, "/exceptions/act/", {"acknowledge": tick(trade)}, 302)

    assert re.search(r"Last one acknowledged at \d\d:\d\d:\d\d UTC by otto\.", page(otto, "/exceptions/"))
    assert "None of yours with these filters." in page(otto, "/exceptions/?owner=me")


def test_what_somebody_writes_is_shown_as_text(otto: Client) -> None:
    trade = factories.trade("<b>T</b>", status="REJECTED", product="<i>x</i>", parties="<u>", status_since=ago(hours=1))
    factories.event(trade, event_class="STATUS", status="REJECTED", reason="<script>alert(1)</script>")
    otto.post("/exceptions/act/", {"act": "note", "t": tick(trade, "rejected"), "note": "<img src=x>"})

    html = otto.get("/exceptions/").content.decode()

    for text in ("<b>T", "<i>x", "<script>alert", "<img src=x"):
        assert text not in html


# What it costs


def test_the_page_takes_as_many_queries_whatever_there_is_and_at_most_twelve(otto: Client) -> None:
    def cost() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            page(otto, "/exceptions/")
        return len(captured)

    def more(name: str) -> None:
        for kind in ("GAP", "LATE", "CONFLICT", "AFTER_END"):
            flagged(kind, f"{name}-{kind}")
        factories.trade(f"{name}-r", status="REJECTED", status_since=ago(hours=5))
        factories.quarantined(waiting=2, group=f"{name}-r")

    more("first")
    few = cost()
    for number in range(25):
        more(str(number))

    assert cost() == few <= 12


def test_counting_for_the_rail_is_one_query_and_is_kept_for_a_moment() -> None:
    cache.clear()
    flagged()
    with CaptureQueriesContext(connection) as captured:
        assert [exceptions.open_counts().of(exceptions.Group) for _ in range(2)] == [1, 1]

    assert len(captured) == 1


def test_a_refresh_without_news_has_no_content(otto: Client) -> None:
    trade = flagged()
    seen = re.search(r'"seen": "([^"]+)"', page(otto, "/exceptions/"))
    assert seen
    address = f"/exceptions/?seen={seen[1]}"
    assert otto.get(address, headers=FRAGMENT).status_code == 204

    otto.post("/exceptions/act/", {"assign": tick(trade)})
    answer = otto.get(address, headers=FRAGMENT)

    assert answer.status_code == 200
    assert answer.content.decode().startswith('<div id="exceptions"')
    assert answer["Cache-Control"] == "no-store"


# What people do


def test_a_trade_is_taken_and_released_and_both_are_kept(otto: Client) -> None:
    trade = flagged()

    html = otto.post("/exceptions/act/", {"assign": tick(trade), "next": "/exceptions/?group=gap"}, follow=True).content.decode()
    assert "T-1 is yours." in html
    assert '<span class="mine">otto</span>' in html
    post(otto, "/exceptions/act/", {"release": tick(trade)}, 302)

    trade.refresh_from_db()
    assert (trade.owner, trade.owned_since) == (None, None)
    assert list(AuditEntry.objects.order_by("id").values_list("action", "trade_id", "user__username")) == [
        ("assign", trade.pk, "otto"),
        ("release", trade.pk, "otto"),
    ]


def test_the_second_of_two_people_sees_who_owns_the_trade_and_overwrites_nothing(otto: Client, ada: Client) -> None:
    trade = flagged()
    seen = tick(trade)
    post(ada, "/exceptions/act/", {"assign": seen}, 302)

    html = post(otto, "/exceptions/act/", {"assign": seen}, 409)

    assert re.search(r"T-1 belongs to ada now, since \d\d:\d\d:\d\d UTC\. Nothing was changed\.", html)
    assert Trade.objects.get().owner.username == "ada"  # type: ignore[union-attr]
    assert AuditEntry.objects.count() == 1
    post(otto, "/exceptions/act/", {"assign": tick(trade)}, 302)
    assert Trade.objects.get().owner.username == "otto"  # type: ignore[union-attr]
    assert "T-1 belongs to otto now" in post(ada, "/exceptions/act/", {"release": f"gap.{trade.pk}.{0}.1"}, 409)


def test_a_note_is_kept_and_the_newest_is_shown(otto: Client) -> None:
    trade = flagged()
    for text in ("asked the desk", "they resend it at noon"):
        post(otto, "/exceptions/act/", {"act": "note", "t": tick(trade), "note": text}, 302)

    html = page(otto, "/exceptions/")

    assert "they resend it at noon" in html
    assert "asked the desk" not in html
    notes = exceptions.notes_of(trade)
    assert [(note.text, note.who) for note in notes] == [("they resend it at noon", "otto"), ("asked the desk", "otto")]


def test_acknowledging_takes_a_flag_off_the_list_and_nothing_else(otto: Client) -> None:
    gap, rejected = flagged("GAP", "T-1"), factories.trade("T-2", status="REJECTED", status_since=ago(hours=1))
    TradeException.objects.create(trade=gap, kind="LATE", since=ago(minutes=1))

    html = post(otto, "/exceptions/act/", {"acknowledge": tick(rejected, "rejected")}, 422)
    assert "These can't be acknowledged" in html
    post(otto, "/exceptions/act/", {"act": "acknowledge", "t": [tick(gap)]}, 302)

    assert names(page(otto, "/exceptions/")) == ["T-2", "T-1"]
    assert list(TradeException.objects.filter(acknowledged_at__isnull=True).values_list("kind", flat=True)) == ["LATE"]
    assert AuditEntry.objects.get().note == "GAP"


def test_what_came_meanwhile_is_not_acknowledged_unseen(otto: Client) -> None:
    trade = flagged()
    seen = tick(trade)
    factories.event(trade, flags=["GAP"])

    html = post(otto, "/exceptions/act/", {"acknowledge": seen}, 409)

    assert "T-1 got a further event meanwhile. Look at it, then acknowledge." in html
    assert not TradeException.objects.filter(acknowledged_at__isnull=False).exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, "The form did not say what to do."),
        ({"act": "assign"}, "No trade is ticked."),
        ({"act": "assign", "t": ["x", "gap.1.2", "gap.a.b.c", f"gap.{'9' * 40}.0.0"]}, "No trade is ticked."),
        ({"act": "note", "t": "gap.1.0.0", "note": "  "}, "Write the note first."),
        ({"act": "note", "t": "gap.1.0.0", "note": "\0"}, "Write the note first."),
        ({"act": "assign", "t": [f"gap.{number}.0.0" for number in range(1, 300)]}, "299 rows are ticked. Take at most 200 at once."),
    ],
)
def test_a_form_that_can_not_be_followed_gets_a_sentence(otto: Client, data: dict[str, object], sentence: str) -> None:
    assert sentence in post(otto, "/exceptions/act/", data, 422)


def test_a_trade_that_does_not_exist_is_nothing_to_do(otto: Client) -> None:
    otto.post("/exceptions/act/", {"assign": "gap.999.0.0"})

    assert not AuditEntry.objects.exists()


def test_an_act_leads_back_to_this_site_only(otto: Client) -> None:
    response = otto.post("/exceptions/act/", {"assign": tick(flagged()), "next": "https://evil.example/"})

    assert response["Location"] == "/exceptions/"


def test_viewers_see_and_do_not_act(vera: Client, nemo: Client) -> None:
    trade = flagged()

    assert not re.search(r'type="checkbox"|Assign to me', page(vera, "/exceptions/"))
    assert vera.post("/exceptions/act/", {"assign": tick(trade)}).status_code == 403
    assert nemo.get("/exceptions/").status_code == 403
    assert vera.get("/exceptions/act/").status_code in (403, 405)


def test_with_a_script_an_act_answers_with_the_list_and_a_sentence(otto: Client, ada: Client) -> None:
    trade = flagged()
    seen = tick(trade)

    done = otto.post("/exceptions/act/", {"assign": seen, "next": "/exceptions/"}, headers=FRAGMENT)
    late = ada.post("/exceptions/act/", {"assign": seen, "next": "/exceptions/"}, headers=FRAGMENT)

    assert [answer.status_code for answer in (done, late)] == [200, 200]
    assert '"sentence": "T-1 is yours.", "error": false' in done["HX-Trigger"]
    assert '"error": true' in late["HX-Trigger"]
    assert late.content.decode().startswith('<div id="exceptions"')
