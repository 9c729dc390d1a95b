"""Reading a trade: in queue order or business order, as known now or then, with its canonical facts and all its ids."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from io import StringIO

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.web import factories, scenes
from trades.asof import as_known_at
from trades.lifecycle import FLAG_WORDS, Flag
from trades.models import Event, Message, Trade
from trades.web.facts_view import event_time_as_stated
from trades.web.reading import Reading, as_text, reading_of
from trades.web.telling import tell

pytestmark = pytest.mark.django_db
NOW = scenes.START + timedelta(days=2)
MOST_QUERIES = 12


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, response.content.decode()
    return unescape(response.content.decode())


def history(html: str) -> list[str]:
    """What the history lists from top to bottom: the positions of events, and gaps."""
    listed = html.partition('<ol class="tl">')[2].partition("</ol>")[0]
    return [event or gap for event, gap in re.findall(r'<span class="vh">Event </span>(\d+)</span>|<b>(Versions? [^<]+)</b>', listed)]


def entry(html: str, position: int) -> str:
    """The history's words about one event."""
    return next(
        part
        for part in html.partition('<ol class="tl">')[2].partition("</ol>")[0].split("<li class=")
        if f'<span class="vh">Event </span>{position}</span>' in part
    )


def steps(html: str) -> list[tuple[str, str]]:
    life = html.partition('<ol class="life"')[2].partition("</ol>")[0]
    return [(kind, name) for kind, name in re.findall(r'<li(?: class="(\w*)")?.*?<b>(\w+)</b>', life, re.DOTALL)]


def fact(html: str, name: str) -> str:
    found = re.search(rf"<dt>{name}</dt><dd[^>]*>(.*?)</dd>", html)
    return re.sub(r"<[^>]+>", "", found[1]).strip() if found else ""


# The two orders


def test_queue_order_is_shown_first_and_business_order_puts_every_event_in_its_place(vera: Client) -> None:
    scenes.late_trade()

    queue = page(vera, "/trades/T-1/")
    business = page(vera, "/trades/T-1/?order=business")

    assert history(queue) == ["5", "4", "3", "2", "Version 2 not received.", "1"]
    assert "Queue order: as the queue handed the messages over." in queue
    assert history(business) == ["5", "3", "4", "2", "Version 2 not received.", "1"]
    assert "Business order: as the documents themselves say" in business
    assert history(page(vera, "/trades/T-1/?order=business&first=oldest")) == ["1", "Version 2 not received.", "2", "4", "3", "5"]
    assert '<a href="/quarantine/?q=T-1">in quarantine</a>' in business


def test_switching_the_order_keeps_the_event_that_is_open(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/events/4/?tab=fields")
    switch = re.search(r'<a href="([^"]*order=business[^"]*)">Business</a>', html)
    assert switch
    business = page(vera, switch[1])

    assert '<h2 id="h-event">Event 4</h2>' in business
    assert '<h3 class="pad">Effect</h3>' in business
    assert '<a href="/trades/T-1/events/4/?tab=fields">Queue</a>' in business


@pytest.mark.parametrize("order", ["", "?order=business"])
def test_what_is_out_of_place_is_said_in_words_where_it_appears(vera: Client, order: str) -> None:
    scenes.late_trade()

    html = page(vera, f"/trades/T-1/{order}")

    assert FLAG_WORDS[Flag.LATE] in entry(html, 4)
    assert FLAG_WORDS[Flag.GAP] in entry(html, 2)
    query = order and f"{order}"
    assert f'<a href="/trades/T-1/events/2/{query}">Corrects event 2</a>' in entry(html, 5)
    assert f'<a href="/trades/T-1/events/5/{query}">Corrected by event 5</a>' in entry(html, 2)
    assert "notional mistyped" in entry(html, 5)


def test_a_pending_trade_says_what_it_waits_for_until_the_book_comes(vera: Client) -> None:
    scenes.record(scenes.told("UPDATE", 2, 30))
    assert FLAG_WORDS[Flag.PENDING] in entry(page(vera, "/trades/T-1/"), 1)

    scenes.record(scenes.told("BOOK", 1, 0), minute=40)
    html = page(vera, "/trades/T-1/?order=business")

    assert history(html) == ["1", "2"]
    assert FLAG_WORDS[Flag.PENDING] not in html
    assert FLAG_WORDS[Flag.LATE] in entry(html, 2)


def test_a_retracted_event_and_its_retraction_lead_to_each_other(vera: Client) -> None:
    trade = factories.trade()
    factories.event(trade, correlation_id="C-1")
    factories.event(trade, event_class="UPDATE", version=2, correlation_id="C-2", event_time=factories.NOON + timedelta(hours=1))
    factories.event(trade, event_class="RETRACT", version=2, correlation_id="C-2", event_time=factories.NOON + timedelta(hours=2))

    html = page(vera, "/trades/T-1/")

    assert '<a href="/trades/T-1/events/3/">Retracted by event 3</a>' in entry(html, 2)
    assert '<a href="/trades/T-1/events/2/">Retracts event 2</a>' in entry(html, 3)


def test_events_in_conflict_lead_to_each_other(vera: Client) -> None:
    scenes.record(scenes.told("BOOK", 1, 0))
    scenes.record(scenes.told("UPDATE", 2, 10), scenes.told("UPDATE", 2, 20, amount="5"), minute=21)

    html = page(vera, "/trades/T-1/?order=business")

    for one, other in ((2, 3), (3, 2)):
        assert FLAG_WORDS[Flag.VERSION_CONFLICT] in entry(html, one)
        assert f"Conflicts with event {other}" in entry(html, one)


def test_duplicates_are_counted_where_the_event_stands_and_linked_on_it(vera: Client) -> None:
    scenes.late_trade()
    copy = Message.objects.get(outcome="DUPLICATE")

    html = page(vera, "/trades/T-1/events/1/?order=business")

    assert '<a href="/trades/T-1/events/1/?order=business#copies">1 duplicate dropped</a>' in entry(html, 1)
    assert f'1 identical message arrived and had no effect: <a href="/quarantine/{copy.pk}/">' in html


def test_a_long_history_is_shown_in_windows_in_business_order_too(
    vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    trade = factories.trade()
    shared = factories.message()
    for number in range(450):  # what happened last arrived first
        at = factories.NOON - timedelta(minutes=number)
        factories.event(trade, message=shared, event_class="STATUS", status="CHECKED", version=None, event_time=at, details={})

    with django_assert_max_num_queries(MOST_QUERIES):
        html = page(vera, "/trades/T-1/?order=business")
    between = re.search(r'<li class="between"><p><a href="([^"]*)">.*?Show 350 between</a>', html, re.DOTALL)
    assert between
    middle = page(vera, between[1])

    # The newest message tells of what happened first, so that it stands at the earlier end.
    assert history(html) == [str(position) for position in (*range(1, 51), *range(401, 451))]
    assert history(middle) == [str(position) for position in range(1, 201)]
    assert "Older events" in middle
    assert "251 to 450 of 450" in middle
    assert history(page(vera, "/trades/T-1/events/1/?order=business&first=oldest"))[-1] == "1"


def test_a_page_tells_what_the_history_says(vera: Client) -> None:
    trade = scenes.late_trade()

    for minute in (None, 1, 31, 60, 71):
        moment = None if minute is None else scenes.START + timedelta(minutes=minute)
        known, telling = as_known_at(trade, moment), tell(trade, moment)
        assert telling.story == known.story
        assert [telling.flags(position) for position in range(1, telling.count + 1)] == [row.flags for row in known.in_queue_order()]
        assert telling.business_order == [row.event.position for row in known.in_business_order()]


# As known then


def test_a_trade_is_shown_as_it_was_known_then_in_either_order(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/?as_of=2026-11-20T10:21:00Z")
    business = page(vera, "/trades/T-1/?order=business&as_of=2026-11-20T10:30:00Z")
    now = page(vera, "/trades/T-1/")

    assert (
        '<b>As known at <time datetime="2026-11-20T10:21:00Z">20 Nov 2026 10:21:00 UTC</time></b>: 3 of 5 events had been recorded.' in html
    )
    assert '<a href="/trades/T-1/events/3/">Back to what is known now</a>' in html
    assert history(html) == ["3", "2", "Version 2 not received.", "1"]
    assert fact(html, "Notional") == "12,000,000.00 EUR"
    assert fact(now, "Notional") == "12,500,000.00 EUR"
    assert fact(html, "Version") == "3"
    assert fact(html, "Events") == "3 events, 2 flagged"
    assert steps(html) == [("done", "Received"), ("", "Checked"), ("now", "Confirmed")]
    assert FLAG_WORDS[Flag.SKIPPED_STEP] in entry(html, 3)
    assert history(business) == ["3", "4", "2", "Version 2 not received.", "1"]
    assert FLAG_WORDS[Flag.SKIPPED_STEP] not in business
    assert steps(business) == [("done", "Received"), ("done", "Checked"), ("now", "Confirmed")]


def test_what_came_after_the_moment_is_not_told_of_it(vera: Client) -> None:
    trade = factories.trade()
    brought = factories.message(group_id="T-1", repeats=3, deleted_at=factories.NOON + timedelta(hours=2))
    factories.event(trade, message=brought, flags=[Flag.VERSION_CONFLICT])
    factories.event(trade, recorded_at=factories.NOON + timedelta(hours=2), flags=[Flag.VERSION_CONFLICT])

    html = page(vera, "/trades/T-1/?as_of=2026-11-20T13:00:00Z&tab=transport")

    assert fact(html, "Events") == "1 event"
    assert "Deleted from the queue" not in html
    assert "Repeated deliveries" not in html
    assert "Deleted from the queue" in page(vera, "/trades/T-1/events/1/?as_of=2026-11-20T15:00:00Z&tab=transport")


def test_every_event_offers_what_was_known_right_after_it(vera: Client) -> None:
    trade = scenes.late_trade()
    Event.objects.filter(trade=trade, position=2).update(recorded_at=scenes.START + timedelta(minutes=31, microseconds=250))

    html = page(vera, "/trades/T-1/events/2/?order=business")
    link = re.search(r'href="([^"]+)" title="As known right after this"', html)
    assert link
    then = page(vera, link[1])

    assert "as_of=2026-11-20T10%3A01%3A00.000250Z" in link[1]
    assert history(then) == ["2", "Version 2 not received.", "1"]
    assert '<h2 id="h-event">Event 2</h2>' in then


def test_links_of_a_page_that_shows_the_past_stay_in_the_past(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/events/2/?order=business&as_of=2026-11-20T10:30:00Z&tab=fields")
    listed = re.findall(r'class="ev" href="([^"]+)"', html)
    form = html.partition('<form class="asof"')[2].partition("</form>")[0]

    assert listed
    assert all("as_of=2026-11-20T10%3A30%3A00Z" in href and "order=business" in href for href in listed)
    assert 'value="2026-11-20T10:30:00"' in form
    assert '<input type="hidden" name="order" value="business">' in form
    assert 'action="/trades/T-1/events/2/"' in form
    assert "portal:changed" not in html


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("yesterday", "“yesterday” is not a time that can be read. Write it as 2026-11-21T14:32:07Z."),
        ("2026-13-45T00:00", "is not a time that can be read"),
        ("0001-01-01T00:00:00%2B14:00", "is not a time that can be read"),
        ("9999-01-01T00:00:00Z", "9999-01-01T00:00:00Z has not come yet."),
        ("%3Cb%3E", "“<b>” is not a time"),
        ("a%00b", "is not a time that can be read"),
    ],
)
def test_a_time_that_cannot_be_used_gets_a_sentence_and_the_present(vera: Client, text: str, sentence: str) -> None:
    scenes.late_trade()

    html = page(vera, f"/trades/T-1/?as_of={text}")

    assert sentence in html
    assert "This page shows what is known now." in html
    assert history(html) == ["5", "4", "3", "2", "Version 2 not received.", "1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:30:00Z", "2026-11-20T10:30:00Z"),
        ("2026-11-20T10:30", "2026-11-20T10:30:00Z"),
        ("2026-11-20 10:30:07.5", "2026-11-20T10:30:07.500000Z"),
        ("2026-11-20T12:30:00 02:00", "2026-11-20T10:30:00Z"),
        ("2026-11-20", "2026-11-20T00:00:00Z"),
    ],
)
def test_a_time_is_read_as_utc_unless_it_has_a_zone(text: str, expected: str) -> None:
    reading = reading_of({"as_of": text}, NOW)

    assert reading.as_of
    assert as_text(reading.as_of) == expected
    assert reading.complaint == ""


def test_the_field_holds_a_time_that_loses_nothing_when_it_is_sent_again() -> None:
    reading = Reading(as_of=scenes.START + timedelta(microseconds=250))

    assert reading.as_of_input == "2026-11-20T09:30:00.001"


def test_a_moment_to_the_second_includes_what_was_recorded_within_it(vera: Client) -> None:
    trade = scenes.late_trade()
    Event.objects.filter(trade=trade, position=2).update(recorded_at=scenes.START + timedelta(minutes=31, microseconds=640_250))

    for text in ("2026-11-20T10:01:00", "2026-11-20T10:01", "2026-11-20T12:01:00%2B02:00", "2026-11-20T10:01:00.640250Z"):
        assert "<b>As known at" in page(vera, f"/trades/T-1/?as_of={text}")
        assert history(page(vera, f"/trades/T-1/?as_of={text}")) == ["2", "Version 2 not received.", "1"]
        moment = text.replace("%2B", "+") if "Z" in text or "%" in text else f"{text}Z"
        out = StringIO()
        call_command("trade_history", "T-1", "--as-of", moment, "--json", stdout=out)
        assert len(json.loads(out.getvalue())["events"]) == 2
    assert history(page(vera, "/trades/T-1/?as_of=2026-11-20T10:01:00.640249Z")) == ["1"]


def test_a_moment_within_a_second_is_shown_with_its_milliseconds(vera: Client) -> None:
    scenes.late_trade()

    exact = page(vera, "/trades/T-1/?as_of=2026-11-20T10:01:00.640250Z")
    right_after = page(vera, "/trades/T-1/?as_of=2026-11-20T10:01:00.000000Z")
    out = StringIO()
    call_command("trade_history", "T-1", "--as-of", "2026-11-20T10:01:00.640250Z", stdout=out)

    assert '<time datetime="2026-11-20T10:01:00.640250Z">20 Nov 2026 10:01:00.641 UTC</time></b>' in exact
    assert 'step="0.001" value="2026-11-20T10:01:00.641"' in exact
    assert "20 Nov 2026 10:01:00.000 UTC</time></b>" in right_after
    assert "as known at 2026-11-20 10:01:00.640250 UTC" in out.getvalue()


@pytest.mark.parametrize("microsecond", [0, 1, 1_000, 640_250, 999_000, 999_500, 999_999])
def test_a_moment_survives_its_address_and_loses_nothing_in_its_field(microsecond: int) -> None:
    moment = scenes.START + timedelta(microseconds=microsecond)
    reading = Reading(as_of=moment)

    from_field = reading_of({"as_of": reading.as_of_input}, NOW).as_of

    assert reading_of({"as_of": as_text(moment)}, NOW).as_of == moment
    assert from_field
    assert timedelta() <= from_field - moment <= timedelta(milliseconds=1)


def test_the_present_second_has_come() -> None:
    assert reading_of({"as_of": "2026-11-20T09:30:00Z"}, scenes.START + timedelta(microseconds=1)).complaint == ""
    assert reading_of({"as_of": "2026-11-20T09:30:01Z"}, scenes.START + timedelta(microseconds=1)).complaint


def test_before_the_first_event_nothing_was_known(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/?as_of=2026-11-19T00:00")

    assert "Nothing was known of T-1 then" in html
    assert "Its first event was recorded at" in html
    assert '<a class="btn" href="/trades/T-1/">Show what is known now</a>' in html
    assert 'href="/trades/T-1/events/1/?as_of=2026-11-20T09%3A31%3A00.000000Z"' in html


def test_an_event_that_came_later_is_said_not_to_have_been_known(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/events/5/?as_of=2026-11-20T10:21:00Z")

    assert "Event 5 was not known yet. Event 3, the newest that was, is open." in html
    assert vera.get("/trades/T-1/events/6/?as_of=2026-11-20T10:21:00Z").status_code == 404


# Canonical facts


def test_the_facts_of_a_trade_are_those_of_the_values_in_force(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/")

    expected = {
        "Trade date": "20 Nov 2026", "Product": "IRS 5Y EUR", "Asset class": "InterestRate", "ISIN": "EZ1234567890", "UPI": "QZ9876543210",
        "Price": "0.0275 EUR fixed rate", "Quantity": "1,200 shares", "Effective": "24 Nov 2026", "Matures": "24 Nov 2031",
        "Last reason": "notional mistyped", "Parties": f"Northgate Bank buyer LEI {scenes.LEI}Kestrel Capital seller",
    }  # fmt: skip
    assert {name: fact(html, name) for name in expected} == expected
    assert '<data value="12500000.00" title="stated as 12500000.00">12,500,000.00</data> EUR' in html


def test_the_fields_of_an_event_are_grouped_and_exact(vera: Client) -> None:
    scenes.late_trade()

    html = page(vera, "/trades/T-1/events/2/?tab=fields")

    assert fact(html, "Event class") == "UPDATE"
    assert fact(html, "Event time as stated") == "2026-11-20T10:00:00Z"
    assert '<data value="12000000.00" title="stated as 12000000.00">12,000,000.00</data> EUR' in html
    assert fact(html, "Place in business order") == "2 of 5"
    assert fact(html, "Counts toward the present values") == "no"


@pytest.mark.parametrize("number", ["123456789012345678901234567890.123456789012345678901234567890", "1e5", "-0.10", "00012"])
def test_a_number_keeps_every_digit_of_the_document(vera: Client, number: str) -> None:
    factories.event(factories.trade(), details={"price": number, "notionals": [{"amount": number, "currency": "EUR"}]})

    html = page(vera, "/trades/T-1/?tab=fields")
    shown = fact(html, "Price")

    assert shown.replace(",", "").replace("\N{MINUS SIGN}", "-") == number


@pytest.mark.parametrize(
    ("text", "has_zone"),
    [
        ("2026-11-20T10:00:00Z", True),
        ("2026-11-20T10:00:00+01:00", True),
        ("2026-11-20T10:00:00.123-05", True),
        ("2026-11-20T10:00:00", False),
        ("2026-11-20", False),
        ("20261120;101500", False),
    ],
)
def test_a_time_without_a_zone_is_said_to_be_read_as_utc(text: str, has_zone: bool) -> None:
    assert ("no zone stated, read as UTC" not in event_time_as_stated(text, None)) == has_zone


def test_a_time_that_the_mapping_gave_a_zone_is_not_said_to_be_read_as_utc() -> None:
    shown = event_time_as_stated("20260701;100000", datetime(2026, 7, 1, 14, tzinfo=UTC))

    assert "no zone stated, read in the zone of its mapping" in shown


def test_details_of_any_shape_make_a_page(vera: Client) -> None:
    odd = {"parties": "none", "notionals": [1, {"currency": "EUR"}], "price": ["x"], "other_ids": {"a": 1}, "related_ids": [[], {"id": ""}]}
    factories.event(factories.trade(), details=odd)

    assert fact(page(vera, "/trades/T-1/?tab=fields"), "Price") == "['x']"


def test_related_ids_lead_to_the_trades_that_go_by_them(vera: Client) -> None:
    factories.event(factories.trade("R-7", scheme="urn:a"))
    related = [{"scheme": "urn:a", "id": "R-7"}, {"scheme": "urn:b", "id": "R-7"}, {"scheme": "", "id": "R-8"}]
    factories.event(factories.trade(), details={"related_ids": related})

    for address in ("/trades/T-1/", "/trades/T-1/?tab=fields"):
        html = page(vera, address)
        assert html.count('<a class="mono" href="/trades/R-7/?scheme=urn%3Aa">R-7</a> <span class="dim">urn:a</span>') >= 1
        assert '<span class="mono">R-7</span> <span class="dim">urn:b</span>' in html
        assert '<span class="mono">R-8</span>' in html


def test_a_quantity_is_not_called_a_notional(vera: Client) -> None:
    book = scenes.told("BOOK", 1, 0).replace('<Notional currency="EUR">10000000.00</Notional>', "")
    scenes.record(book)
    assert Trade.objects.get().notional == "1200 shares"

    html = page(vera, "/trades/T-1/")
    out = StringIO()
    call_command("trade_history", "T-1", "--json", stdout=out)
    told = json.loads(out.getvalue())

    assert fact(html, "Notional") == "–not provided"
    assert fact(html, "Quantity") == "1,200 shares"
    assert (told["notional"], told["quantity"]) == ("", "1200 shares")
    scenes.record(scenes.told("UPDATE", 2, 10), minute=11)
    out = StringIO()
    call_command("trade_history", "T-1", "--json", stdout=out)
    assert json.loads(out.getvalue())["notional"] == "10000000.00 EUR"
    assert fact(page(vera, "/trades/T-1/"), "Notional") == "10,000,000.00 EUR"


def test_what_a_trades_own_row_alone_says_may_be_either(vera: Client) -> None:
    factories.event(factories.trade(notional="5 lots"), details={})

    assert fact(page(vera, "/trades/T-1/"), "Notional or quantity") == "5 lots"


def test_the_last_reason_is_of_an_event_with_an_effect(vera: Client) -> None:
    scenes.record(scenes.told("BOOK", 1, 0), scenes.told("CANCEL", 2, 10, reason="agreed"), scenes.told("CANCEL", 3, 20, reason="late"))

    html = page(vera, "/trades/T-1/")

    assert FLAG_WORDS[Flag.AFTER_END] in entry(html, 3)
    assert fact(html, "Last reason") == "agreed"


def test_the_reason_of_a_retracted_event_is_not_the_last(vera: Client) -> None:
    trade = factories.trade()
    factories.event(trade, correlation_id="C-1", reason="new client")
    later = {"version": 2, "correlation_id": "C-2"}
    factories.event(trade, event_class="UPDATE", reason="mistaken", event_time=factories.NOON + timedelta(hours=1), **later)
    factories.event(trade, event_class="RETRACT", event_time=factories.NOON + timedelta(hours=2), **later)

    assert fact(page(vera, "/trades/T-1/"), "Last reason") == "new client"


def test_the_facts_name_the_event_that_is_last_in_business_order_where_another_came_last(vera: Client) -> None:
    scenes.record(scenes.told("BOOK", 1, 0), scenes.told("UPDATE", 3, 30))
    assert fact(page(vera, "/trades/T-1/"), "Events").startswith("2 events")
    assert "last in business order" not in page(vera, "/trades/T-1/")
    scenes.record(scenes.told("STATUS", 2, 20, status="CHECKED"), minute=40)

    assert fact(page(vera, "/trades/T-1/"), "Events").endswith(", event 2 last in business order")


# Ids


def test_all_ids_of_a_trade_are_named_and_the_uti_is_marked(vera: Client) -> None:
    trade = factories.trade(scheme="urn:front")
    factories.event(trade)
    factories.other_id(trade, scenes.UTI, "urn:uti", is_uti=True)

    html = page(vera, "/trades/T-1/")
    ids = html.partition("Ids of this trade")[2].partition("</dd>")[0]

    assert re.findall(r'<span class="mono">([^<]+)</span>', ids) == [scenes.UTI, "T-1"]
    assert ids.count(">UTI<") == 1
    assert "urn:front" in ids


def test_any_id_of_a_trade_opens_it_at_its_own_address(vera: Client) -> None:
    scenes.late_trade()

    response = vera.get(f"/trades/{scenes.UTI}/?order=business")
    event = vera.get(f"/trades/{scenes.UTI}/events/2/?tab=fields")

    assert (response.status_code, response["Location"]) == (302, "/trades/T-1/?order=business")
    assert event["Location"] == "/trades/T-1/events/2/?tab=fields"
    assert b"<Version>3" in vera.get(f"/trades/{scenes.UTI}/events/2/raw").content


def test_an_id_that_two_trades_share_under_two_schemes_is_a_choice(vera: Client) -> None:
    for name in ("T-1", "T-2"):
        trade = factories.trade(name)
        factories.event(trade)
        factories.other_id(trade, "X-9", f"urn:{name}")
    factories.event(factories.trade("T-2", scheme="urn:else"))

    choice = page(vera, "/trades/X-9/")

    assert "Several trades have this id" in choice
    assert "of trade T-2" in choice
    assert vera.get("/trades/X-9/?scheme=urn%3AT-1")["Location"] == "/trades/T-1/"
    assert vera.get("/trades/X-9/?scheme=urn%3AT-2")["Location"] == "/trades/T-2/?scheme="


@pytest.mark.parametrize("text", [scenes.UTI, scenes.UTI[:8], "T-1"])
def test_the_blotter_finds_a_trade_by_any_of_its_ids(
    vera: Client, text: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    scenes.late_trade()
    factories.trade("Z-1")

    with django_assert_max_num_queries(MOST_QUERIES):
        html = page(vera, f"/?q={text}")

    assert re.findall(r'<a class="?id"?[^>]* href="[^"]*">([^<]+)</a>', html) == ["T-1"]


# Two trades that may be one


def test_trades_that_may_be_one_lead_to_each_other_with_the_reason(vera: Client) -> None:
    scenes.two_trades()

    for shown, other in (("A-1", "B-2"), ("B-2", "A-1")):
        html = page(vera, f"/trades/{shown}/")
        assert f'This may be the same trade as <a href="/trades/{other}/">{other}</a>.' in html
        assert 'Revealed by <a href="/trades/A-1/events/2/">event 2 of A-1</a> on 20 Nov 2026 09:40:00 UTC.' in html
        assert f"It states ids of both A-1 and B-2 ({scenes.OTHER_UTI})." in html
        assert "The two histories stay apart until a person decides." in html
    assert FLAG_WORDS[Flag.TWO_TRADES] in page(vera, "/trades/A-1/")
    assert "This may be the same trade" not in page(vera, "/trades/A-1/?as_of=2026-11-20T09:35")


def test_a_correction_under_a_new_id_says_whose_thread_it_is_in(vera: Client) -> None:
    scenes.record(scenes.told("BOOK", 1, 0, thread="C-1"))
    scenes.record(scenes.told("CORRECT", 2, 5, trade_id="N-2", thread="C-1"), minute=6, group="N-2")

    html = page(vera, "/trades/T-1/")

    assert 'Revealed by <a href="/trades/N-2/events/1/">event 1 of N-2</a>' in html
    assert "It is a correction under a new id, but its correlation id C-1 of FRONTOFFICE is that of T-1." in html


def test_both_trades_name_the_event_of_a_message_that_is_flagged_so(vera: Client) -> None:
    one, other = factories.trade("A-1"), factories.trade("B-2")
    message = factories.message()
    factories.event(one, message=message, part=1, correlation_id="C-1")
    stated = {"other_ids": [{"scheme": "", "id": "A-1"}]}
    factories.event(other, message=message, part=2, details=stated, flags=["TWO_TRADES"], correlation_id="C-1")
    factories.event(other, message=message, part=3, event_class="UPDATE")
    factories.link(one, other, message)

    for shown in ("A-1", "B-2"):
        html = page(vera, f"/trades/{shown}/")
        assert 'Revealed by <a href="/trades/B-2/events/1/">event 1 of B-2</a>' in html
        assert "It states ids of both B-2 and A-1." in html


def test_of_two_flagged_events_of_a_message_the_one_that_names_the_pair_is_shown(vera: Client) -> None:
    trades = {name: factories.trade(name) for name in ("A-1", "B-2", "C-3")}
    message = factories.message()
    for part, (name, stated) in enumerate((("A-1", "C-3"), ("B-2", "A-1")), start=1):
        details = {"other_ids": [{"scheme": "", "id": stated}]}
        factories.event(trades[name], message=message, part=part, details=details, flags=["TWO_TRADES"])
        factories.link(trades[name], trades[stated], message)

    html = page(vera, "/trades/A-1/")

    assert "It states ids of both A-1 and C-3." in html
    assert "It states ids of both B-2 and A-1." in html


def test_the_words_of_two_trades_hold_for_ids_and_threads() -> None:
    assert "by its ids or its thread" in FLAG_WORDS[Flag.TWO_TRADES].lower()


def test_a_trade_page_costs_the_same_whatever_the_trade_has_been_through(
    vera: Client, django_assert_num_queries: DjangoAssertNumQueries, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    scenes.late_trade()
    cache.clear()
    with django_assert_max_num_queries(MOST_QUERIES) as short:
        page(vera, "/trades/T-1/?order=business&tab=fields")
    for number in range(5, 40):
        scenes.record(scenes.told("UPDATE", number, 80 + number, others=(f"ID-{number}",)), minute=90 + number)

    cache.clear()
    with django_assert_num_queries(len(short)):
        page(vera, "/trades/T-1/?order=business&tab=fields")
    assert Trade.objects.get(trade_id="T-1").identifiers.count() == 37
