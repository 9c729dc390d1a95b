"""The pages of quarantine: what is there, why, what waits, and settling it."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.support.native import native
from tests.web import factories
from trades.models import AuditEntry, Hold, Message, Trade

pytestmark = pytest.mark.django_db


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return unescape(response.content.decode())


def test_the_list_says_why_where_and_how_many_wait(vera: Client) -> None:
    blocked = factories.quarantined(waiting=3, group="G-7")
    factories.message("QUARANTINED", reason="No trade id.", group_id="G-7")
    factories.message()

    html = page(vera, "/quarantine/")
    rows = re.findall(r"<tr[^>]* data-row>.*?</tr>", html)

    assert len(rows) == 2
    assert f'href="/quarantine/{blocked.pk}/"' in rows[1]
    assert blocked.message_id not in html
    assert "Not well-formed, line 3, column 1:" in rows[1]
    assert "G-7" in rows[1]
    assert '<td class="c-waiting num flag">3<' in rows[1]
    assert '<td class="c-waiting num">0<' in rows[0]


def test_the_rail_counts_what_is_in_quarantine(vera: Client) -> None:
    factories.quarantined(waiting=2)

    assert '<span class="cnt warn" data-quarantined>1<' in page(vera, "/")


@pytest.mark.parametrize("text", ["T-77", "G-1", "id-1"])
def test_text_group_and_id_can_be_searched(vera: Client, text: str) -> None:
    wanted = factories.quarantined(group="G-1", body="<a>T-77</a")
    Message.objects.filter(pk=wanted.pk).update(message_id="id-1")
    factories.quarantined(group="G-2")

    rows = re.findall(r'href="/quarantine/(\d+)/"', page(vera, f"/quarantine/?q={text}"))

    assert rows == [str(wanted.pk)]


def test_an_empty_quarantine_says_what_was_settled_last(vera: Client, otto: Client) -> None:
    assert "Nothing in quarantine" in page(vera, "/quarantine/")
    blocked = factories.quarantined()
    otto.post(f"/quarantine/{blocked.pk}/discard/", {"reason": "sent by mistake"})

    html = page(vera, "/quarantine/")

    assert "Nothing in quarantine" in html
    assert f'Last: <a href="/quarantine/{blocked.pk}/">message {blocked.pk}</a> was discarded by otto, ' in html


def test_the_list_costs_the_same_however_long_it_is(vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(60):
        factories.quarantined(waiting=1, group=f"G-{number}")

    with django_assert_max_num_queries(12):
        html = page(vera, "/quarantine/")

    assert len(re.findall(r"<tr[^>]* data-row>", html)) == 50
    older = re.search(r'href="(\?after=[^"]+)"', html)
    assert older
    assert len(re.findall(r"<tr[^>]* data-row>", page(vera, f"/quarantine/{older[1]}"))) == 10


def test_a_message_shows_the_reason_the_marked_line_and_what_waits(
    vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    blocked = factories.quarantined(waiting=60)

    with django_assert_max_num_queries(12):
        html = page(vera, f"/quarantine/{blocked.pk}/")

    assert "expected '>'" in html
    assert '<span class="l marked" id="L3">' in html
    assert "60 messages of group" in html
    assert len(re.findall(r">Message \d+</a></li>", html)) == 20
    assert "And 40 more." in html
    assert blocked.body_sha256 in html
    assert "Nobody has acted on this message." in html
    assert "Replay unchanged" not in html
    assert "you need the role operator or administrator" in html


def test_a_held_message_says_behind_what_it_waits(vera: Client) -> None:
    blocked = factories.quarantined(waiting=1)
    held = Message.objects.get(outcome="HELD")

    html = page(vera, f"/quarantine/{held.pk}/")

    assert f'It is number 1 of those that wait behind <a href="/quarantine/{blocked.pk}/">' in html


def test_what_waits_is_told_by_what_it_says(vera: Client) -> None:
    blocked = factories.quarantined(group="G-1")
    factories.message("HELD", native("T-5", "UPDATE", 2), group_id="G-1")
    factories.message("HELD", "<a", group_id="G-1")

    html = vera.get(f"/quarantine/{blocked.pk}/").content.decode()

    assert re.search(r'Update version 2 of <a href="/trades/T-5/">T-5</a>.*Not understood: ', html, re.DOTALL)


@pytest.mark.parametrize(
    ("code", "first"), [("schema", "Correct and replay"), ("dead-letter", "Replay unchanged"), ("too-large", "Discard")]
)
def test_the_primary_button_is_what_the_advice_says_first(otto: Client, code: str, first: str) -> None:
    bad = factories.message("QUARANTINED", code=code, reason="Something is wrong.")

    html = page(otto, f"/quarantine/{bad.pk}/")

    assert re.findall(r'<(?:a|summary) class="btn[^"]* pri"[^>]*><svg.*?</svg>([^<]+)', html, re.DOTALL) == [first]


def test_a_list_tells_of_messages_that_came_since(vera: Client) -> None:
    first = factories.quarantined(group="G-1")
    news = re.search(r'data-live-news="([^"]+)"', page(vera, "/quarantine/"))
    assert news
    assert news[1] == f"/quarantine/?seen={first.pk}"
    assert vera.get(news[1], headers={"HX-Request": "true"}).status_code == 204

    for number in (2, 3):
        factories.quarantined(group=f"G-{number}")

    assert vera.get(news[1], headers={"HX-Request": "true"}).content.decode() == "2 new messages"
    for bad in ("", "x", "9" * 30):
        assert vera.get(f"/quarantine/?seen={bad}", headers={"HX-Request": "true"}).status_code == 204


def test_an_open_page_learns_that_somebody_else_settled_the_message(vera: Client, otto: Client) -> None:
    blocked = factories.quarantined()
    news = re.search(r'hx-get="([^"]+)"', page(vera, f"/quarantine/{blocked.pk}/"))
    assert news
    assert vera.get(news[1], headers={"HX-Request": "true"}).status_code == 204

    otto.post(f"/quarantine/{blocked.pk}/discard/", {"reason": "sent by mistake", "seen": 0})

    told = vera.get(news[1], headers={"HX-Request": "true"}).content.decode()
    assert re.search(r"This message was discarded by otto at \d\d:\d\d:\d\d UTC\.", told)
    assert "Reload" in told


def test_discarding_lets_what_waited_into_the_history_and_is_kept_with_the_reason(otto: Client) -> None:
    blocked = factories.quarantined(group="T-5")
    factories.message("HELD", native("T-5"), group_id="T-5")

    response = otto.post(f"/quarantine/{blocked.pk}/discard/", {"reason": "sent by mistake"}, follow=True)
    html = unescape(response.content.decode())

    assert "Discarded. 1 message that waited behind it was recorded." in html
    assert "sent by mistake" in html
    assert "Replay unchanged" not in html
    assert Trade.objects.get().trade_id == "T-5"
    assert not Hold.objects.exists()
    assert AuditEntry.objects.get().user is not None


def test_discarding_needs_a_reason(otto: Client) -> None:
    blocked = factories.quarantined()

    response = otto.post(f"/quarantine/{blocked.pk}/discard/", {"reason": "  "})

    assert response.status_code == 422
    assert "Say why. The reason is kept with the message." in response.content.decode()
    assert '<details class="confirm" open>' in response.content.decode()
    assert Message.objects.get(pk=blocked.pk).outcome == "QUARANTINED"


def test_replaying_a_message_that_can_be_read_now_records_it(otto: Client) -> None:
    blocked = factories.quarantined(group="T-5", body=native("T-5"))

    html = otto.post(f"/quarantine/{blocked.pk}/replay/", {"note": "mapping corrected"}, follow=True).content.decode()

    assert 'Replayed. Recorded as <a href="/trades/T-5/events/1/">event 1 of T-5</a>.' in html
    assert "mapping corrected" in html
    assert '<a href="/trades/T-5/events/1/">event 1 of T-5</a>' in html


def test_replaying_a_message_that_is_refused_again_says_why(otto: Client) -> None:
    blocked = factories.quarantined()

    html = otto.post(f"/quarantine/{blocked.pk}/replay/", follow=True).content.decode()

    assert "Replayed and refused again:" in html
    assert "<b>Replayed and refused again</b> by otto" in html
    assert Message.objects.get(pk=blocked.pk).outcome == "QUARANTINED"


@pytest.mark.parametrize(
    ("action", "data"), [("replay", {"seen": "0"}), *((act, {"reason": "x", "seen": "0"}) for act in ("discard", "undo"))]
)
def test_somebody_who_comes_second_is_told_so(otto: Client, action: str, data: dict[str, str]) -> None:
    settled = factories.message("CORRECTED", settled_at=factories.NOON)

    response = otto.post(f"/quarantine/{settled.pk}/{action}/", data)

    assert response.status_code == 409
    assert "It is corrected now" in response.content.decode()
    assert not AuditEntry.objects.exists()


def test_the_text_downloads_byte_for_byte(vera: Client) -> None:
    blocked = factories.quarantined(body="<a>é\r\n")

    response = vera.get(f"/quarantine/{blocked.pk}/raw")

    assert response.content == "<a>é\r\n".encode()
    assert response["Content-Type"] == "application/xml"
    assert response["Content-Disposition"].startswith("attachment")
