"""The trade page: any id, the facts, the lifecycle, the history, one event, and what holds the trade up."""

from __future__ import annotations

import re
from datetime import date, timedelta
from html import unescape

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.web import factories
from trades.lifecycle import FLAG_WORDS, Flag
from trades.web.addresses import TradeAddress

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
MOST_QUERIES = 12
AWKWARD_IDS = [
    "LN 2962", "a/b", "a//b", "/a", "a/", "50%", "%2F", "a#b", "a?b=c&d", "UTI Ünïcode 取引", "IRS4>", '"quoted"', "..", ".", "a/../b", "-",
    "x/events/3", "events/3", "x/events/3/raw", "back\\slash", "tab\tin", "semi;colon", "plus+plus", " lead", "new", "x" * 255,
]  # fmt: skip


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, response.content.decode()
    return response.content.decode()


# Addresses


@pytest.mark.parametrize("trade_id", AWKWARD_IDS)
def test_any_id_has_a_page_that_the_blotter_links_to(vera: Client, trade_id: str) -> None:
    factories.event(factories.trade(trade_id))
    link = re.search(r'class="?id"?[^>]* href="([^"]*)"', page(vera, "/"))
    assert link

    html = unescape(page(vera, unescape(link[1])))

    assert f'<h1 id="trade-id">{trade_id}</h1>' in html
    assert "Event 1</h2>" in html
    assert "Event 1</h2>" in page(vera, TradeAddress(trade_id).event(1))
    assert vera.get(TradeAddress(trade_id).raw(1)).status_code == 200


@pytest.mark.parametrize("trade_id", AWKWARD_IDS)
def test_addresses_survive_what_browsers_and_servers_do_to_paths(trade_id: str) -> None:
    from posixpath import normpath
    from urllib.parse import unquote

    path = TradeAddress(trade_id).page().partition("?")[0]

    assert normpath(unquote(path)) + "/" == unquote(path)


def test_several_trades_with_one_id_are_a_choice(vera: Client) -> None:
    for scheme in ("", "urn:a", "urn:b"):
        factories.event(factories.trade("T-1", scheme=scheme, product=f"product of {scheme or 'none'}"))

    choice = page(vera, "/trades/T-1/")
    chosen = page(vera, "/trades/T-1/?scheme=urn%3Ab")

    assert "Several trades have this id" in choice
    assert "/trades/T-1/?scheme=urn%3Aa" in unescape(choice)
    assert "no scheme stated" in choice
    assert "product of urn:b" in chosen
    assert "/trades/T-1/events/1/raw?scheme=urn%3Ab" in chosen
    assert "product of none" in page(vera, "/trades/T-1/?scheme=")


def test_a_trade_that_is_not_here_may_still_be_elsewhere(vera: Client) -> None:
    factories.quarantined(body="<a>T-99</a")
    factories.upload(files=1, sent=False).documents.get().publications.update(trade_id="T-99")

    response = vera.get("/trades/T-99/")
    html = response.content.decode()

    assert response.status_code == 404
    assert "No trade T-99" in html
    assert "1 message of this trade waits in the outbox" in html
    assert "1 message in quarantine holds this text" in html
    assert 'href="/quarantine/?q=T-99"' in html


@pytest.mark.parametrize("address", ["/trades/T-1/events/2/", "/trades/T-1/events/99999999999999999999/", "/trades/T-1/events/0/raw"])
def test_an_event_that_is_not_there_is_not_found(vera: Client, address: str) -> None:
    factories.event(factories.trade())

    assert vera.get(address).status_code == 404


def test_an_id_with_a_null_character_is_a_bad_request(vera: Client) -> None:
    response = vera.get("/trades/a%00b/")

    assert response.status_code == 400
    assert "A trade id has no NUL character." in response.content.decode()


# Facts and lifecycle


def test_the_facts_are_those_of_the_newest_values(vera: Client) -> None:
    trade = factories.trade(scheme="urn:a")
    factories.event(
        trade,
        trade_date=date(2026, 11, 20),
        details={"price": "99.5", "price_currency": "EUR", "quantity": "1200", "quantity_unit": "shares"},
    )
    factories.event(trade, event_class="STATUS", details={})

    html = page(vera, "/trades/T-1/")

    for words in (
        "20 Nov 2026",
        "IRS 5Y EUR",
        "10,000,000.00 EUR",
        "99.5 EUR",
        "1,200</data> shares",
        "urn:a",
        "2 events",
        "20 Nov 2026 12:00:00 UTC",
    ):
        assert words in html


def steps(html: str) -> list[tuple[str, str]]:
    life = html.partition('<ol class="life"')[2].partition("</ol>")[0]
    return [(kind, name) for kind, name in re.findall(r'<li(?: class="(\w*)")?.*?<b>(\w+)</b>', life, re.DOTALL)]


def test_the_lifecycle_shows_steps_done_the_present_one_and_those_to_come(vera: Client) -> None:
    trade = factories.trade()
    factories.event(trade)
    factories.event(trade, event_class="STATUS", status="CHECKED")

    html = page(vera, "/trades/T-1/")

    assert steps(html) == [("done", "Received"), ("now", "Checked"), ("", "Confirmed")]
    assert html.count('aria-current="step"') == 1


def test_an_end_is_the_present_step_and_the_only_one(vera: Client) -> None:
    trade = factories.trade(state="CANCELLED")
    factories.event(trade)
    factories.event(trade, event_class="CANCEL")

    html = page(vera, "/trades/T-1/")

    assert steps(html) == [("done", "Received"), ("", "Checked"), ("", "Confirmed"), ("bad", "Cancelled")]
    assert re.findall(r'aria-current="step">.*?<b>(\w+)</b>', html, re.DOTALL) == ["Cancelled"]


def test_new_values_start_the_steps_again(vera: Client) -> None:
    trade = factories.trade()
    for version, (event_class, status) in enumerate((("BOOK", "RECEIVED"), ("STATUS", "CHECKED"), ("UPDATE", "")), start=1):
        factories.event(trade, event_class=event_class, status=status, version=version)

    assert steps(page(vera, "/trades/T-1/")) == [("now", "Received"), ("", "Checked"), ("", "Confirmed")]


def test_a_step_that_was_skipped_is_said_not_to_have_been_seen(vera: Client) -> None:
    trade = factories.trade()
    factories.event(trade)
    factories.event(trade, event_class="STATUS", status="CONFIRMED")

    html = page(vera, "/trades/T-1/")

    assert steps(html) == [("done", "Received"), ("", "Checked"), ("now", "Confirmed")]
    assert "not seen" in html


@pytest.mark.parametrize(
    ("event_class", "status", "last"),
    [
        ("CANCEL", "", ("bad", "Cancelled")),
        ("TERMINATE", "", ("done", "Terminated")),
        ("STATUS", "REJECTED", ("bad", "Rejected")),
    ],
)
def test_how_the_trade_ended_comes_last(vera: Client, event_class: str, status: str, last: tuple[str, str]) -> None:
    trade = factories.trade()
    factories.event(trade)
    factories.event(trade, event_class=event_class, status=status)

    assert steps(page(vera, "/trades/T-1/"))[-1] == last


# What holds it up


def test_a_trade_whose_group_waits_says_behind_what_and_how_many(vera: Client) -> None:
    factories.event(factories.trade())
    blocked = factories.quarantined(waiting=2)

    html = page(vera, "/trades/T-1/")

    assert f'href="/quarantine/{blocked.pk}/">a quarantined message</a>; 2 messages wait behind it' in html


def test_quarantined_messages_of_a_group_that_does_not_wait_are_named_too(vera: Client) -> None:
    factories.event(factories.trade())
    blocked = factories.message("QUARANTINED", group_id="T-1", reason="No trade id.")

    html = page(vera, "/trades/T-1/")

    assert f'href="/quarantine/{blocked.pk}/">A message of this trade' in html
    assert "No trade id." in html


# History


def positions(html: str) -> list[int]:
    return [int(position) for position in re.findall(r'<span class="vh">Event </span>(\d+)</span>', html)]


def test_the_history_is_in_queue_order_newest_first_and_can_be_turned(vera: Client) -> None:
    trade = factories.trade()
    for number in range(4):
        factories.event(trade, event_time=factories.NOON - timedelta(hours=number))

    assert positions(page(vera, "/trades/T-1/")) == [4, 3, 2, 1]
    assert positions(page(vera, "/trades/T-1/?first=oldest")) == [1, 2, 3, 4]


def test_an_event_says_its_class_status_version_time_reason_and_flags_in_words(vera: Client) -> None:
    factories.event(factories.trade(), event_class="STATUS", status="DISPUTED", version=3, reason="price differs", flags=["GROUP_GAP"])

    html = unescape(page(vera, "/trades/T-1/"))

    for words in ("Status", "Disputed", "version 3", "20 Nov 2026 12:00:00 UTC", "price differs"):
        assert words in html
    for flag in (Flag.PENDING, Flag.GROUP_GAP):
        assert FLAG_WORDS[flag] in html


def test_the_newest_event_is_open_unless_another_is_asked_for(vera: Client) -> None:
    trade = factories.trade()
    for _ in range(3):
        factories.event(trade)

    assert '<h2 id="h-event">Event 3</h2>' in page(vera, "/trades/T-1/")
    assert '<h2 id="h-event">Event 2</h2>' in page(vera, "/trades/T-1/events/2/")


def test_a_long_history_is_shown_in_windows_and_costs_no_more(vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    trade = factories.trade()
    shared = factories.message()
    for _ in range(450):
        factories.event(trade, message=shared)

    with django_assert_max_num_queries(MOST_QUERIES):
        newest = page(vera, "/trades/T-1/")
    between = re.search(r'href="([^"]*)">(?:(?!</a>).)*Show 350 between</a>', newest, re.DOTALL)
    assert between
    later = page(vera, unescape(between[1]))
    older = re.search(r'href="([^"]*)">Older events', later)
    assert older
    middle = page(vera, unescape(older[1]))

    assert positions(newest) == [*range(450, 400, -1), *range(50, 0, -1)]
    assert "450 events" in newest
    assert positions(later) == list(range(450, 250, -1))
    assert "251 to 450 of 450" in later
    assert positions(middle) == list(range(250, 50, -1))
    assert '<h2 id="h-event">Event 450</h2>' in middle
    assert positions(page(vera, "/trades/T-1/events/60/")) == list(range(250, 50, -1))
    assert positions(page(vera, "/trades/T-1/?around=nonsense")) == positions(newest)


# What comes while the page is open


def watched(html: str) -> str:
    found = re.search(r'data-live hx-get="([^"]+)" hx-trigger="portal:changed from:document"', html)
    assert found
    return unescape(found[1])


def test_an_open_page_is_told_of_a_new_event_and_never_changed_under_the_reader(vera: Client) -> None:
    trade = factories.trade("a/b 1")
    factories.event(trade)
    watch = watched(page(vera, TradeAddress("a/b 1").event(1, tab="fields")))
    assert vera.get(watch, headers=HTMX).status_code == 204

    factories.event(trade)
    response = vera.get(watch, headers=HTMX)

    assert "New event 2." in response.content.decode()
    assert 'href="/trades/a%2Fb%201/?tab=fields"' in response.content.decode()
    assert "<h1" not in response.content.decode()
    assert response["Cache-Control"] == "no-store"
    assert vera.get(watched(response.content.decode()), headers=HTMX).status_code == 204


def test_a_page_that_found_no_trade_opens_it_once_it_is_recorded(vera: Client) -> None:
    watch = watched(vera.get("/trades/T-9/").content.decode())
    assert vera.get(watch, headers=HTMX).status_code == 204

    factories.event(factories.trade("T-9"))

    assert vera.get(watch, headers=HTMX)["HX-Refresh"] == "true"


# One event


def test_the_message_is_highlighted_with_an_anchor_per_line_and_no_inline_style(vera: Client) -> None:
    factories.event(factories.trade(), body='<?xml version="1.0"?>\n<a b="c">text &amp; more</a>')

    html = page(vera, "/trades/T-1/?tab=message")

    assert '<span class="nt">&lt;a</span>' in html
    assert 'id="L2"><a href="#L2" data-n="2"' in html
    assert "style=" not in html


def test_a_large_message_is_shown_in_part_as_plain_text(vera: Client) -> None:
    body = "<a>\n" + "<b>1234567890</b>\n" * 15_000 + "</a>"
    factories.event(factories.trade(), body=body)

    html = page(vera, "/trades/T-1/?tab=xml")

    assert "The message has 15,002 lines. These are lines 1 to 2,000; download it to see all." in html
    assert 'id="L2000"' in html
    assert 'id="L2001"' not in html
    assert len(html) < 600_000


def test_the_fields_are_everything_the_event_states(vera: Client) -> None:
    details = {"price": "0.0275", "parties": [{"name": "Northgate Bank", "role": "buyer"}], "desk": [{"name": "Rates"}]}
    factories.event(factories.trade(), correlation_id="C-7", event_time_text="2026-11-20T12:00:00Z", details=details)

    html = unescape(page(vera, "/trades/T-1/events/1/?tab=fields"))

    for name, value in (("Correlation id", "C-7"), ("Sender", "FRONTOFFICE"), ("Price", "0.0275"), ("desk 1 › name", "Rates")):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in html
    assert "Northgate Bank" in html


def test_the_transport_tab_has_every_fact_of_the_queue_and_who_published(vera: Client) -> None:
    upload = factories.upload(by=factories.person("operator", name="otto"))
    publication = upload.documents.get().publications.get()
    message = factories.message(publication_id=publication.publication_id, receive_count=2)
    factories.event(factories.trade(), message=message)

    html = page(vera, "/trades/T-1/events/1/?tab=transport")

    facts = (
        message.message_id,
        message.deduplication_id,
        message.body_sha256,
        message.body_md5,
        str(publication.publication_id),
        "TradeStatus.fifo",
    )
    for fact in facts:
        assert fact in html
    assert f'<a href="/uploads/{upload.pk}/">upload {upload.pk}</a>, otto, file 1.xml' in html
    assert f"/uploads/{upload.pk}/documents/{publication.document_id}/original" in page(vera, "/trades/T-1/?tab=xml")


def test_copies_that_had_no_effect_are_counted(vera: Client) -> None:
    event = factories.event(factories.trade())
    for _ in range(2):
        factories.message("DUPLICATE", repeats_message=event.message)

    assert "2 identical messages arrived and had no effect" in page(vera, "/trades/T-1/")


def test_the_text_downloads_byte_for_byte(vera: Client) -> None:
    body = '<?xml version="1.0" encoding="ISO-8859-1"?>\r\n<a>é\n</a>\n'
    factories.event(factories.trade("a/b é"), body=body)

    response = vera.get(TradeAddress("a/b é").raw(1))

    assert response.content == body.encode()
    assert response["Content-Type"] == "application/xml"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"].startswith("attachment; filename")


def test_text_of_others_is_never_markup(vera: Client) -> None:
    bad = "<script>alert(1)</script>"
    factories.event(factories.trade(product=bad, parties=bad), status=bad, reason=bad, event_kind=bad, body=bad, details={bad: bad})

    for tab in ("changes", "message", "fields", "transport"):
        assert "<script>alert" not in page(vera, f"/trades/T-1/?tab={tab}")
