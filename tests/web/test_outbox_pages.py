"""The outbox in the browser: what waits, fails, was sent and was cancelled, and what people do with it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tests.support.broker import FifoQueue
from tests.web import factories
from tests.web.asking import page, post
from trades import leases, sending
from trades.models import AuditEntry, Publication, SendAttempt

pytestmark = pytest.mark.django_db
ROWS = r"<tr id=\"publication-(\d+)\""


def publications(count: int = 1, **fields: Any) -> list[Publication]:
    """So many publications that wait, each of a group of its own, with these fields changed."""
    upload = factories.upload(count, sent=False)
    rows = Publication.objects.filter(document__upload=upload).order_by("pk")
    rows.update(**fields)
    return list(rows)


def shown(html: str) -> list[int]:
    return [int(pk) for pk in re.findall(ROWS, html)]


# What is listed


def test_each_view_shows_its_own_publications_and_what_waits_comes_in_the_order_it_goes_out(vera: Client) -> None:
    waiting = publications(2)
    (failing,) = publications(1, attempts=3, last_error="nothing answers at the broker")
    (cancelled,) = publications(1, state=Publication.State.CANCELLED)
    factories.upload(2)
    sent = Publication.objects.filter(state=Publication.State.SENT).order_by("-pk").values_list("pk", flat=True)

    assert shown(page(vera, "/outbox/")) == [*(row.pk for row in waiting), failing.pk]
    assert shown(page(vera, "/outbox/?view=failing")) == [failing.pk]
    assert shown(page(vera, "/outbox/?view=sent")) == list(sent)
    assert shown(page(vera, "/outbox/?view=cancelled")) == [cancelled.pk]
    assert "nothing answers at the broker" in page(vera, "/outbox/?view=failing")


def test_an_empty_outbox_says_that_everything_is_sent(vera: Client) -> None:
    assert "Everything that was published is in its queue." in page(vera, "/outbox/")


def test_an_id_narrows_the_list_whichever_id_it_is(vera: Client) -> None:
    first, second = publications(2)
    factories.upload(1)
    sent = Publication.objects.get(state=Publication.State.SENT)

    assert shown(page(vera, f"/outbox/?q={second.publication_id}")) == [second.pk]
    assert shown(page(vera, f"/outbox/?q={first.group_id}")) == [first.pk]
    assert shown(page(vera, f"/outbox/?view=sent&q={sent.message_id}")) == [sent.pk]
    assert "No publication here has this id" in page(vera, "/outbox/?q=nobody")


def test_a_publication_that_may_soon_be_in_the_queue_twice_is_warned_of(vera: Client) -> None:
    publications(1, attempts=1, uncertain_since=timezone.now() - timedelta(minutes=4, seconds=5), last_error="the answer was lost")

    html = page(vera, "/outbox/")

    assert "1 publication may be in the queue already" in html
    assert "Perhaps in the queue" in html


def test_the_page_costs_the_same_however_many_there_are(vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    publications(60, attempts=1, last_error="x")

    for address in ("/outbox/", "/outbox/?view=failing", "/outbox/?view=sent", "/outbox/?q=T-1"):
        with django_assert_max_num_queries(12):
            page(vera, address)


def test_the_rest_of_a_long_outbox_is_on_the_next_page(vera: Client) -> None:
    rows = publications(60)
    html = page(vera, "/outbox/")

    (older,) = re.findall(r'href="(\?after=[^"]+)"', html)

    assert shown(html) + shown(page(vera, f"/outbox/{older}")) == [row.pk for row in rows]


def test_news_is_told_only_when_something_changed(vera: Client) -> None:
    publications(1)
    (address,) = re.findall(r'data-live-news="([^"]+)"', page(vera, "/outbox/"))

    assert vera.get(address, headers={"HX-Request": "true"}).status_code == 204
    publications(1)
    assert vera.get(address, headers={"HX-Request": "true"}).content == b"The outbox has changed"


def test_one_publication_shows_every_attempt_that_failed_and_what_people_did(otto: Client) -> None:
    (row,) = publications(1, attempts=2, last_error="second")
    for error in ("the first error", "the second error"):
        SendAttempt.objects.create(publication=row, at=timezone.now(), error=error)

    html = page(otto, f"/outbox/{row.publication_id}/")

    assert html.index("the second error") < html.index("the first error")
    assert row.deduplication_id in html
    assert page(otto, "/outbox/00000000-0000-4000-8000-000000000000/", 404)


def test_one_publication_shows_its_text_and_leads_to_the_document_that_it_came_in(vera: Client) -> None:
    (row,) = publications(1, body="<TradeStatus>\n  <TradeId>T-1</TradeId>\n</TradeStatus>", part=2, size=110)

    html = vera.get(f"/outbox/{row.publication_id}/").content.decode()
    (address,) = re.findall(r'<dt>Document</dt><dd class="wrap"><a href="([^"]+)" download>1\.xml</a>, message 2 of it</dd>', html)

    assert re.sub(r"<[^>]+>", "", html.partition('<pre class="xml hl"')[2]).count("&lt;TradeId&gt;T-1&lt;/TradeId&gt;") == 1
    # SQS counts the attributes too.
    assert '<dd class="wrap">110 bytes with its attributes</dd>' in html
    assert '<h2 id="h-text">Text</h2><span class="dim">53\xa0bytes</span>' in html
    answer = vera.get(address)
    assert b"".join(answer.streaming_content if answer.streaming else [answer.content]) == b"<a/>"  # type: ignore[attr-defined]


def test_a_publication_of_a_large_text_shows_the_start_of_it(vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    payload = factories.large(b"<TradeStatus>" + b"y" * 1_100_000).payload
    assert payload is not None
    (row,) = publications(1, body="", payload=payload, size=payload.size)

    with django_assert_max_num_queries(12):
        html = page(vera, f"/outbox/{row.publication_id}/")

    assert "The text has 1,100,013 bytes; these are the first 65,536. The document has all of it." in html
    assert "<TradeStatus>yyy" in html
    assert len(html) < 200_000


# What people do


def test_cancelling_asks_for_a_reason_and_keeps_it(otto: Client) -> None:
    (row,) = publications(1)
    html = page(otto, f"/outbox/act/?act=cancel&p={row.pk}")
    (key,) = re.findall(r'name="p" value="([^"]+)"', html)

    assert "Say why." in post(otto, "/outbox/act/", {"act": "cancel", "p": key, "reason": " "}, 422)
    post(otto, "/outbox/act/", {"act": "cancel", "p": key, "reason": "sent by fax"}, 302)

    row.refresh_from_db()
    assert row.state == Publication.State.CANCELLED
    entry = AuditEntry.objects.get(publication=row)
    assert (entry.action, entry.note, entry.user and entry.user.get_username()) == ("cancel", "sent by fax", "otto")
    assert "sent by fax" in page(otto, f"/outbox/{row.publication_id}/")


def test_who_comes_second_is_told_what_the_first_did(otto: Client, ada: Client) -> None:
    (row,) = publications(1)
    keys = [re.findall(r'name="p" value="([^"]+)"', page(client, f"/outbox/act/?act=cancel&p={row.pk}"))[0] for client in (otto, ada)]

    post(otto, "/outbox/act/", {"act": "cancel", "p": keys[0], "reason": "sent by fax"}, 302)
    html = post(ada, "/outbox/act/", {"act": "cancel", "p": keys[1], "reason": "me too"}, 409)

    assert "otto cancelled it" in html
    assert AuditEntry.objects.filter(publication=row).count() == 1


@pytest.mark.parametrize(("act", "reason", "verb"), [("send", "", "Send"), ("cancel", "booked by hand", "Cancel")])
def test_while_a_sender_is_at_work_the_same_can_be_asked_for_once_more(
    otto: Client, monkeypatch: pytest.MonkeyPatch, act: str, reason: str, verb: str
) -> None:
    monkeypatch.setattr("trades.outbox.PATIENCE_SECONDS", 0)
    (row,) = publications(1)
    asked = {"act": act, "p": f"{row.pk}:0.PENDING", "reason": reason}

    with leases.holding(row.queue, timezone.now):
        html = post(otto, "/outbox/act/", asked, 409)

    assert "A sender is at work on TradeStatus.fifo just now. Try again in a moment. Nothing was changed." in html
    assert f'{verb} 1 publication</button><a class="btn ghost" href="/outbox/{row.publication_id}/">Back to the publication</a>' in html
    form = html.partition('action="/outbox/act/"')[2].partition("</form>")[0]
    again = {name: re.findall(rf'name="{name}"[^>]* value="([^"]*)"', form)[0] for name in asked}
    assert again == asked
    post(otto, "/outbox/act/", again, 200 if act == "send" else 302)
    assert AuditEntry.objects.get(publication=row).note.startswith(reason)


def test_what_another_person_changed_is_not_offered_once_more_but_the_way_back(otto: Client, ada: Client) -> None:
    (row,) = publications(1)
    post(ada, "/outbox/act/", {"act": "cancel", "p": f"{row.pk}:0.PENDING", "reason": "sent by fax"}, 302)

    html = post(otto, "/outbox/act/", {"act": "send", "p": f"{row.pk}:0.PENDING"}, 409)

    assert "ada cancelled it" in html
    assert "Send 1 publication</button>" not in html
    assert f'<a class="btn" href="/outbox/{row.publication_id}/">Back to the publication</a>' in html


def test_sending_again_puts_the_same_publication_into_the_queue_once_more(otto: Client, queue: FifoQueue) -> None:
    (row,) = publications(1, queue=queue.name, attempts=4, last_error="was away")
    html = page(otto, f"/outbox/act/?act=send&p={row.pk}")

    said = post(otto, "/outbox/act/", {"act": "send", "p": re.findall(r'name="p" value="([^"]+)"', html)[0]})
    row.refresh_from_db()
    first = row.message_id
    key = re.findall(r'name="p" value="([^"]+)"', page(otto, f"/outbox/act/?act=send&p={row.pk}"))[0]
    post(otto, "/outbox/act/", {"act": "send", "p": key})
    row.refresh_from_db()

    assert "Sent: 1 of 1 publication" in said
    assert first
    assert row.message_id not in ("", first)
    assert queue.counts()[0] == 2
    assert first in AuditEntry.objects.filter(publication=row).latest("pk").note


def test_what_was_sent_while_a_person_decided_is_not_sent_twice(otto: Client, queue: FifoQueue) -> None:
    (row,) = publications(1, queue=queue.name)
    (key,) = re.findall(r'name="p" value="([^"]+)"', page(otto, f"/outbox/act/?act=send&p={row.pk}"))
    sending.deliver(queue.name, clock=timezone.now)

    html = post(otto, "/outbox/act/", {"act": "send", "p": key}, 409)

    assert "is no longer as it was shown. It was sent at" in html
    assert queue.counts()[0] == 1


def test_nothing_ticked_and_too_much_ticked_are_said(otto: Client) -> None:
    assert "No publication is ticked" in page(otto, "/outbox/act/?act=cancel", 422)
    many = "&".join(f"p={number}" for number in range(1, 202))
    assert "Take at most 200 at once." in page(otto, f"/outbox/act/?act=cancel&{many}", 422)


def test_what_was_sent_can_not_be_cancelled(otto: Client) -> None:
    factories.upload(1)
    sent = Publication.objects.get()

    assert "nothing to do" in page(otto, f"/outbox/act/?act=cancel&p={sent.pk}", 422)


def test_only_people_who_publish_may_act_and_only_those_who_see_may_look(vera: Client, nemo: Client, client: Client) -> None:
    (row,) = publications(1)

    assert "data-tick-all" not in page(vera, "/outbox/")
    page(vera, f"/outbox/act/?act=cancel&p={row.pk}", 403)
    post(vera, "/outbox/act/", {"act": "cancel", "p": f"{row.pk}:0.PENDING", "reason": "x"}, 403)
    for address in ("/outbox/", f"/outbox/{row.publication_id}/"):
        page(nemo, address, 403)
        assert client.get(address).status_code == 302
    row.refresh_from_db()
    assert row.state == Publication.State.PENDING
