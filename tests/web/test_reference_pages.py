"""Messages that are known and no trade events: where they are, what they say, and what uploading one gives."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from tests.web import factories
from trades.models import Document, Message, Publication, Refusal

pytestmark = pytest.mark.django_db
SENTENCE = "A heartbeat (FIXML Heartbeat): it tells of no trade."


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return unescape(response.content.decode())


def heartbeat(**fields: object) -> Message:
    return factories.message(
        "REFERENCE", "<FIXML><Heartbeat/></FIXML>", reason=SENTENCE, message_type="Heartbeat", dialect="fixml", **fields
    )


def test_they_have_a_list_of_their_own_beside_quarantine(vera: Client) -> None:
    known = heartbeat(message_id="M-1")
    factories.quarantined()

    quarantine, reference = page(vera, "/quarantine/"), page(vera, "/reference/")

    assert '<a href="/reference/">Reference <span class="n">1</span></a>' in quarantine
    assert '<a href="/reference/" aria-current="page">Reference <span class="n">1</span></a>' in reference
    address = f'<a class="id" href="/quarantine/{known.pk}/">'
    assert address not in quarantine
    assert reference.count(address) == 1
    assert SENTENCE in reference
    assert "Heartbeat, fixml" in reference


def test_an_empty_list_says_what_will_be_there(vera: Client) -> None:
    html = page(vera, "/reference/")

    assert "No reference messages" in html
    assert "No reference message holds this text" in page(vera, "/reference/?q=x")


def test_the_list_can_be_searched_and_costs_the_same_however_long_it_is(
    vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(60):
        heartbeat(group_id=f"G-{number}")

    with django_assert_max_num_queries(12):
        html = page(vera, "/reference/")
    older = re.search(r'href="(\?after=[^"]+)"', html)
    assert older

    assert html.count('<th scope="row">') == 50
    assert page(vera, f"/reference/{older[1]}").count('<th scope="row">') == 10
    assert page(vera, "/reference/?q=G-7").count('<th scope="row">') == 1


def test_a_message_says_what_it_is_and_why_nothing_happened(otto: Client) -> None:
    html = page(otto, f"/quarantine/{heartbeat().pk}/")

    assert SENTENCE in html
    assert "it is about no trade event: no trade was made or changed, and nothing waits for it." in html
    assert '<a href="/reference/">Reference messages</a>' in html
    assert "Replay unchanged" not in html


def test_one_that_was_published_all_the_same_is_said_to_have_changed_nothing(vera: Client) -> None:
    upload = factories.upload()
    heartbeat(publication_id=Publication.objects.get().publication_id)

    assert f"{SENTENCE} No trade was changed." in page(vera, f"/uploads/{upload.pk}/")


def test_an_uploaded_one_is_kept_with_the_upload_and_is_no_failure(vera: Client) -> None:
    upload = factories.upload()
    Publication.objects.all().delete()
    Refusal.objects.create(document=Document.objects.get(), code="reference", reason=f"{SENTENCE} It is kept with the upload.")

    html, listed = page(vera, f"/uploads/{upload.pk}/"), page(vera, "/uploads/")

    assert "1 file, 0 messages published, 1 kept as reference" in html
    assert ">Reference</span>" in html
    assert ">Refused</span>" not in html
    assert "It is kept with the upload." in html
    assert '<td class="r num">0</td></tr>' in listed


def test_a_document_of_several_lists_its_messages_in_order_with_their_numbers(vera: Client) -> None:
    upload = factories.upload()
    document, first = Document.objects.get(), Publication.objects.get()
    Publication.objects.create(
        document=document, part=3, queue=first.queue, group_id="T-3", deduplication_id="d-3", trade_id="T-3", summary="CANCEL of T-3",
        body="<a/>", created_at=factories.NOON,
    )  # fmt: skip
    Refusal.objects.create(document=document, part=2, code="no-trade-id", reason="No trade id.")

    html = page(vera, f"/uploads/{upload.pk}/")

    assert re.findall(r">message (\d)<", html) == ["2", "3"]
    assert html.index("BOOK version 1 of T-1") < html.index("No trade id.") < html.index("CANCEL of T-3")


def test_a_document_of_very_many_is_shown_in_pages(vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    upload = factories.upload(files=2)
    document = Document.objects.order_by("pk")[0]
    Publication.objects.bulk_create(
        Publication(
            document=document, part=part, queue=factories.QUEUE, group_id="T-1", deduplication_id=f"d-{part}", summary=f"EVENT {part}.",
            body="<a/>", created_at=factories.NOON,
        )
        for part in range(2, 451)
    )  # fmt: skip

    page(vera, f"/uploads/{upload.pk}/")  # Django asks once in a process what the database can do
    with django_assert_max_num_queries(12):
        html = page(vera, f"/uploads/{upload.pk}/")
    further = page(vera, f"/uploads/{upload.pk}/?page=2")

    assert html.count("EVENT ") // 2 == 99
    assert "Rows 1 to 100 of 451" in html
    assert "Rows 101 to 200 of 451" in further
    assert "EVENT 101." in further
    assert "EVENT 100." not in further
    assert "Rows 401 to 451 of 451" in page(vera, f"/uploads/{upload.pk}/?page=99999")
    assert "Rows 1 to 100 of 451" in page(vera, f"/uploads/{upload.pk}/?page=x")
