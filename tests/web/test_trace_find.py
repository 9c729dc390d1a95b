"""Find a message by whatever id somebody has of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse

from tests.web import factories, scenes
from tests.web.asking import page
from tests.web.test_trace import of, published, recorded
from trades.models import Message, OutboxLease

pytestmark = pytest.mark.django_db


def asked(client: Client, text: str) -> str:
    """Where a search leads to: an address, or the page's own text."""
    response = client.get(reverse("trace"), {"q": text})
    return str(response["Location"]) if response.status_code == 302 else response.content.decode()


def test_every_id_of_a_publication_leads_to_its_way(vera: Client) -> None:
    publication = published()
    message = recorded(publication)
    published(group="T-2", md5="0" * 32)

    ids = [
        str(publication.publication_id), publication.deduplication_id, publication.message_id,
        str(publication.publication_id).upper(), f"  {publication.message_id} ", publication.md5, publication.md5.upper(),
        "FO-T-1-BOOK-1-0", str(message.pk),
    ]  # fmt: skip

    publication.document.upload.documents.update(name="only.xml")
    found = {text: asked(vera, text) for text in [*ids, "only"]}

    # A number is the message's, and the upload's too.
    assert of(publication) in found.pop(str(message.pk))
    assert set(found.values()) == {of(publication)}
    assert "Nothing here has the id" in asked(vera, "ONLY.xml")


def test_a_message_of_another_program_is_found_by_its_ids(vera: Client) -> None:
    row = factories.message(group_id="T-9")
    OutboxLease.objects.create(queue="Other.fifo", expires_at=factories.NOON)
    elsewhere = factories.message(queue="Other.fifo")

    for text in (row.message_id, row.body_md5):
        assert asked(vera, text) == of(row)
    assert asked(vera, elsewhere.message_id) == of(elsewhere)


def test_a_file_of_several_messages_lists_them(vera: Client) -> None:
    first, second = published(), published(group="T-2")
    second.document = first.document
    second.part = 2
    second.save()
    recorded(first)

    html = page(vera, reverse("trace") + "?q=" + "ab" * 32)

    assert of(first) in html
    assert of(second) in html
    assert "Recorded" in html
    assert "In the queue" in html
    assert "2 with this id" in html


def test_the_number_of_an_upload_lists_what_came_of_it(vera: Client) -> None:
    upload = factories.upload(3)

    html = page(vera, reverse("trace") + f"?q={upload.pk}")

    assert all(name in html for name in ("1.xml", "2.xml", "3.xml"))


def test_very_many_are_cut_with_a_word_about_it(vera: Client) -> None:
    for _ in range(3):
        factories.upload(20)

    html = page(vera, reverse("trace") + "?q=1.xml")
    many = page(vera, reverse("trace") + "?q=" + "0" * 64)

    assert "there are more" not in html
    assert "there are more, narrow it down by another id" in many


@pytest.mark.parametrize(
    "text", ["no such id", str(uuid.UUID(int=7)), "0" * 32, "f" * 64, "999999999999999999", "x" * 300, "%", "1.XML\u0000"]
)
def test_what_is_not_found_says_which_ids_are_looked_for_and_where_else_to_look(vera: Client, text: str) -> None:
    html = page(vera, f"{reverse('trace')}?{urlencode({'q': text})}")

    assert "Nothing here has the id" in html
    for name in ("trades", "monitor", "quarantine", "uploads"):
        assert reverse(name) in html


def test_without_an_id_the_page_says_what_it_takes(vera: Client) -> None:
    html = page(vera, reverse("trace"))

    assert "A publication id, SQS message id or deduplication id" in html
    assert "Nothing here" not in html


def test_a_search_costs_at_most_twelve_queries(vera: Client, django_assert_max_num_queries: Callable[[int], Any]) -> None:
    scenes.late_trade()
    row = Message.objects.first()
    assert row
    factories.upload(30)

    for text in (row.message_id, row.body_md5, str(row.pk), "0" * 64, "FO-T-1-BOOK-1-0", "1.x", str(uuid.uuid4())):
        with django_assert_max_num_queries(12):
            vera.get(reverse("trace"), {"q": text})


def test_the_id_of_a_trade_leads_to_its_history(vera: Client) -> None:
    factories.event(factories.trade("T-7"))

    html = asked(vera, "T-7")

    assert "is the id of a trade" in html
    assert 'href="/trades/T-7/"' in html
