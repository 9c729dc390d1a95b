"""Publications that were cancelled in the outbox are not called published: by their upload, by its row in the list, by the outbox."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.native import native
from tests.web import factories
from tests.web.asking import page, post
from trades.models import Publication, Upload

pytestmark = pytest.mark.django_db


def publish_and_cancel(client: Client, *texts: str, cancelled: int = 1) -> Upload:
    """An upload of which all is published, and the first messages are cancelled by a person in the outbox."""
    upload = factories.upload_in_review(*texts)
    post(client, f"/uploads/{upload.pk}/decide/", {"choice": "all"}, 302)
    for publication in Publication.objects.filter(document__upload=upload).order_by("pk")[:cancelled]:
        key = f"{publication.pk}:0.PENDING"
        post(client, "/outbox/act/", {"act": "cancel", "p": key, "reason": "booked by hand"}, 302)
    return upload


def stage_of(client: Client, upload: Upload) -> tuple[str, str]:
    """The tone and the words of the stage in the list of uploads."""
    row = re.search(rf"Upload {upload.pk}</a></th>.*?</tr>", page(client, "/uploads/"), re.DOTALL)
    stage = re.search(r'<span class="st (\w*)">.*?</svg>([^<]+)</span>', row[0] if row else "", re.DOTALL)
    return (stage[1], stage[2]) if stage else ("", "")


def test_an_upload_of_which_all_was_cancelled_is_neither_published_nor_green(otto: Client) -> None:
    upload = publish_and_cancel(otto, native("T-1"), "<broken")

    html = unescape(page(otto, f"/uploads/{upload.pk}/"))

    assert "2 files, 0 messages published, 1 cancelled, 1 refused" in html
    assert "<progress" not in html
    assert '<p class="notice gap-below"><span class="wrap">Published by otto' in html
    assert 'The message was cancelled in the <a href="/outbox/?view=cancelled">outbox</a> since.' in html
    assert stage_of(otto, upload) == ("void", "Cancelled")


def test_an_upload_of_which_a_part_was_cancelled_says_how_many(otto: Client) -> None:
    upload = publish_and_cancel(otto, native("T-1"), native("T-2"), native("T-3"), cancelled=2)

    html = unescape(page(otto, f"/uploads/{upload.pk}/"))

    assert "3 files, 1 message published, 0 settled, 1 waiting to be sent, 2 cancelled</h2>" in html
    assert 'max="1" value="0"' in html
    assert "2 of the messages were cancelled in the" in html
    assert stage_of(otto, upload) == ("warn", "Published, 2 cancelled")


def test_an_upload_of_which_nothing_was_cancelled_stays_green(otto: Client) -> None:
    upload = publish_and_cancel(otto, native("T-1"), cancelled=0)

    html = page(otto, f"/uploads/{upload.pk}/")

    assert '<p class="notice gap-below ok">' in html
    assert "cancelled in the" not in html
    assert stage_of(otto, upload) == ("ok", "Published")


def test_a_cancelled_publication_that_came_out_of_the_queue_all_the_same_counts_as_what_became_of_it(otto: Client) -> None:
    upload = factories.upload()
    publication = Publication.objects.get()
    factories.message(publication_id=publication.publication_id)
    Publication.objects.update(state="CANCELLED")

    assert "1 message published, 1 settled</h2>" in page(otto, f"/uploads/{upload.pk}/")
    assert stage_of(otto, upload) == ("ok", "Published")


def test_an_empty_outbox_does_not_say_that_what_was_cancelled_is_in_its_queue(otto: Client) -> None:
    publish_and_cancel(otto, native("T-1"))
    Publication.objects.filter(state="PENDING").delete()

    html = page(otto, "/outbox/")

    assert "Everything that was published" not in html
    assert 'Everything else that was published is in its queue; <a href="?view=cancelled">1 was cancelled</a>.' in html


def test_the_list_of_uploads_asks_as_often_with_cancelled_publications_as_without(otto: Client) -> None:
    asked = []
    page(otto, "/uploads/")
    for _ in range(2):
        factories.upload(3, sent=False)
        with CaptureQueriesContext(connection) as queries:
            page(otto, "/uploads/")
        asked.append(len(queries))
        Publication.objects.update(state="CANCELLED")

    assert asked[0] == asked[1]
