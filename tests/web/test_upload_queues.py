"""The review where routes send messages to several queues: which goes where, and what is lost by that."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from tests.support.native import native
from tests.support.routing import PRICE, use
from tests.web import factories
from tests.web.asking import page
from trades import foretelling, handing_in, sqs
from trades.handing_in import IncomingDocument
from trades.models import Draft, Publication, Upload

pytestmark = pytest.mark.django_db
ROUTES = """
[[routes]]
name = "cancels"
queue = "Cancels.fifo"
event_class = "CANCEL"
[[routes]]
name = "prices"
queue = "Prices.fifo"
group = "prices"
[queues."Prices.fifo"]
deduplication = "content"
"""


@pytest.fixture(autouse=True)
def _routes(settings: Settings, tmp_path: Path) -> None:
    use(settings, tmp_path, ROUTES)


def review(client: Client, *contents: str) -> str:
    """The address of the review of these files."""
    files = [SimpleUploadedFile(f"{number}.xml", content.encode()) for number, content in enumerate(contents, start=1)]
    response = client.post("/uploads/new/", {"xml_files": files})
    assert response.status_code == 302, response.content.decode()
    return str(response["Location"])


def files_of(html: str) -> list[str]:
    return re.findall(r'<th scope="row"><span class="wrap">([^<]+)</span>', html)


def test_each_message_names_its_queue_and_route_and_can_be_filtered_by_it(otto: Client) -> None:
    address = review(otto, native("T-1"), native("T-2"), native("T-3", "CANCEL", 1), PRICE, "<broken")

    html = page(otto, address)
    cancels = page(otto, f"{address}?queue=Cancels.fifo")

    assert list(Draft.objects.order_by("document__position").values_list("queue", "route", "group_id")) == [
        ("TradeStatus.fifo", "", "T-1"),
        ("TradeStatus.fifo", "", "T-2"),
        ("Cancels.fifo", "cancels", "T-3"),
        ("Prices.fifo", "prices", "prices"),
    ]
    assert '<td class="cut" title="Cancels.fifo by route cancels">Cancels.fifo <span class="dim">by route cancels</span></td>' in html
    assert re.findall(r'<a href="\?show=all&queue=[^"]+"[^>]*>([\w.]+) <span class="n">(\d)</span>', html) == [
        ("Cancels.fifo", "1"),
        ("Prices.fifo", "1"),
        ("TradeStatus.fifo", "2"),
    ]
    assert files_of(cancels) == ["3.xml"]
    assert 'href="?show=warnings&queue=Cancels.fifo"' in cancels
    assert "5 files, 4 messages, 3 good, 1 with a warning, 1 refused" in cancels


def test_with_one_queue_nothing_is_said_of_queues(otto: Client) -> None:
    html = page(otto, review(otto, native("T-1"), native("T-2")))

    assert 'aria-label="Queue"' not in html
    assert '<th scope="col">Queue</th>' not in html


def test_a_trade_whose_messages_go_to_several_queues_is_named(otto: Client) -> None:
    html = page(otto, review(otto, native("T-1"), native("T-2"), native("T-1", "CANCEL", 2)))

    assert "Messages of T-1 go to several queues. A queue keeps the order of its own messages only" in html


def test_the_rehearsal_follows_the_order_of_the_upload_across_queues(otto: Client) -> None:
    review(otto, native("T-1"), native("T-1", "CANCEL", 2), native("T-1", "UPDATE", 3))

    effects: Any = Draft.objects.order_by("document__position").values_list("effect", flat=True)
    assert [(effect["outcome"], effect["events"][0]["state_after"]) for effect in effects] == [
        ("RECORDED", "LIVE"),
        ("RECORDED", "CANCELLED"),
        ("RECORDED", "CANCELLED"),
    ]


def test_the_same_text_again_would_be_swallowed_where_the_content_tells_repetitions(otto: Client) -> None:
    other = PRICE.replace("1.0871", "1.0872")

    html = page(otto, review(otto, PRICE, other, PRICE))

    assert list(Draft.objects.order_by("document__position").values_list("effect__grade", flat=True)) == ["good", "good", "warning"]
    assert "SQS would swallow it: Prices.fifo takes the same text within five minutes for a repeat, even with others in between." in html
    assert html.count("SQS would swallow it") == 1


@pytest.mark.parametrize(("minutes", "grade"), [(4, "warning"), (6, "good")])
def test_so_would_what_was_sent_to_that_queue_within_five_minutes(otto: Client, minutes: int, grade: str) -> None:
    now = timezone.now()
    factories.upload()
    Publication.objects.update(queue="Prices.fifo", md5=sqs.md5_of(PRICE), sent_at=now - timedelta(minutes=minutes))
    upload = handing_in.begin(source=Upload.Source.WEB, user=None, now=now, stage=Upload.Stage.REVIEW)
    handing_in.take_for_review(upload, [IncomingDocument("price.xml", PRICE.encode(), position=1)], now=now)

    foretelling.check(upload, now=now)

    draft = Draft.objects.get()
    assert draft.effect is not None
    assert draft.effect["grade"] == grade


def test_the_review_of_several_queues_asks_no_more_than_twelve_queries(
    otto: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    contents = [text for n in range(10) for text in (native(f"T-{n}"), native(f"T-{n}", "CANCEL", 2))]
    address = review(otto, *contents, PRICE, "<a>\n<b></a>")
    page(otto, address)

    with django_assert_max_num_queries(12):
        page(otto, address)
    with django_assert_max_num_queries(12):
        page(otto, f"{address}?queue=Cancels.fifo&show=warnings")


def test_what_is_sent_to_a_partner_or_swallowed_or_cancelled_waits_for_nothing(otto: Client, settings: Settings, tmp_path: Path) -> None:
    use(settings, tmp_path, ROUTES + '[queues."Partner.fifo"]\nowner = "444455556666"\n')
    upload = factories.upload(files=4)
    first, second, third, _ = Publication.objects.order_by("pk")
    Publication.objects.filter(pk=first.pk).update(queue="Partner.fifo")
    Publication.objects.filter(pk=second.pk).update(swallowed=True)
    Publication.objects.filter(pk=third.pk).update(state="CANCELLED")

    html = page(otto, f"/uploads/{upload.pk}/")

    assert "3 messages published, 2 settled, 1 cancelled, 1 swallowed by SQS" in html
    assert "To Partner.fifo, which a partner reads." in html
    assert "TradeStatus.fifo was given the same text within five minutes, and delivers it once." in html
    for name, file in (("away", "1.xml"), ("swallowed", "2.xml"), ("cancelled", "3.xml"), ("queued", "4.xml")):
        assert files_of(page(otto, f"/uploads/{upload.pk}/?show={name}")) == [file]
