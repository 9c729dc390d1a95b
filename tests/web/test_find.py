"""Quick find: exact ids at once, prefixes over indexes, pages by name; bounded on both databases."""

from __future__ import annotations

import re
import uuid

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.web import factories
from tests.web.asking import page
from trades.models import Document, Publication, TradeIdentifier
from trades.web.prefix import prefixed, starting

pytestmark = pytest.mark.django_db


def options(client: Client, text: str) -> list[str]:
    """Labels of what the dialog would offer."""
    html = client.get("/find/", {"q": text}, headers={"HX-Request": "true"}).content.decode()
    return re.findall(r'role="option"[^>]*><b>(.*?)</b>', html)


def leads_to(client: Client, text: str) -> str:
    response = client.get("/find/", {"q": text})
    assert response.status_code == 302, response.content.decode()
    return response["Location"]


def test_the_exact_id_of_a_trade_opens_it_in_whatever_case_it_is_typed(vera: Client) -> None:
    factories.trade("T-1")
    factories.trade("T-10")

    assert leads_to(vera, "T-1") == "/trades/T-1/"
    assert leads_to(vera, " t-1 ") == "/trades/T-1/"


def test_any_id_of_a_trade_opens_it(vera: Client) -> None:
    factories.other_id(factories.trade("T-1"), "UTI0001", is_uti=True)

    assert leads_to(vera, "UTI0001") == "/trades/T-1/"
    assert options(vera, "UTI") == ["T-1", "Trades with “UTI”"]


def test_the_start_of_an_id_offers_trades_in_order_and_no_more_than_a_few(vera: Client) -> None:
    for number in range(30):
        factories.trade(f"T-1{number:02}")

    assert options(vera, "t-1")[:8] == [f"T-1{number:02}" for number in range(8)]
    assert "Trades with “t-1”" in options(vera, "t-1")
    assert vera.get("/find/?q=t-1").status_code == 200


def test_an_id_that_several_trades_have_opens_none_of_them_by_guess(vera: Client) -> None:
    for scheme in ("urn:a", "urn:b"):
        factories.trade("T-1", scheme=scheme)

    html = page(vera, "/find/?q=T-1")

    assert "/trades/T-1/?scheme=urn%3Aa" in html
    assert "/trades/T-1/?scheme=urn%3Ab" in html


def test_a_message_is_found_by_each_of_its_ids(vera: Client) -> None:
    message = factories.message(publication_id=uuid.uuid4())
    trace = reverse("trace_message", args=[message.pk])

    assert leads_to(vera, message.message_id) == trace
    assert leads_to(vera, str(message.publication_id)) == trace
    assert leads_to(vera, message.body_md5.upper()) == trace


def test_a_quarantined_message_opens_where_it_can_be_settled(vera: Client) -> None:
    blocked = factories.quarantined()

    assert leads_to(vera, blocked.message_id) == reverse("message", args=[blocked.pk])


def test_what_was_published_but_has_not_arrived_is_found_by_its_publication(vera: Client) -> None:
    factories.upload()
    sent = Publication.objects.get()
    trace = reverse("trace_publication", args=[sent.publication_id])

    assert leads_to(vera, str(sent.publication_id)) == trace
    assert leads_to(vera, sent.message_id) == trace
    assert leads_to(vera, sent.md5) == trace


def test_an_event_is_found_by_what_its_document_calls_itself(vera: Client) -> None:
    event = factories.event(factories.trade("T-1"), document_message_id="FO-77")

    assert leads_to(vera, "FO-77") == f"/trades/T-1/events/{event.position}/"


def test_an_upload_is_found_by_its_number_and_a_file_by_its_name(vera: Client) -> None:
    upload = factories.upload()
    Document.objects.update(name="20261120-Trades.xml")

    assert leads_to(vera, str(upload.pk)) == leads_to(vera, f"upload {upload.pk}") == reverse("upload", args=[upload.pk])
    assert options(vera, "20261120-T")[0] == "20261120-Trades.xml"


def test_pages_are_found_by_the_words_of_their_names_as_far_as_one_may_see_them(vera: Client, ada: Client) -> None:
    assert options(vera, "quar")[0] == "Quarantine"
    assert "Inspect a document" not in options(vera, "insp")
    assert options(ada, "insp")[0] == "Inspect a document"


@pytest.mark.parametrize("text", ["", " ", "%", "_", "'\"<b>", "\0", "9" * 30, "x" * 5_000, "\U0010ffff", "T-1/../", "ÄÖ ß"])
def test_whatever_is_typed_is_answered(vera: Client, text: str) -> None:
    factories.trade()

    response = vera.get("/find/", {"q": text})

    assert response.status_code == 200
    assert "<b><b>" not in response.content.decode()
    assert vera.get("/find/", {"q": text}, headers={"HX-Request": "true"}).status_code == 200


def test_a_percent_sign_is_no_pattern(vera: Client) -> None:
    factories.trade("T-1")

    assert "T-1" not in options(vera, "%")
    assert "T-1" not in options(vera, "T_")


@pytest.mark.parametrize("text", ["T-1", "t-nothing", "12", "d" * 32, "0b9ae0a2-2ad1-44cd-8c2a-8ff7d2a8a001"])
def test_finding_costs_at_most_twelve_queries_however_much_there_is(vera: Client, text: str) -> None:
    for number in range(20):
        factories.event(factories.trade(f"T-1{number}"), document_message_id="12")
        factories.upload()

    with CaptureQueriesContext(connection) as captured:
        vera.get("/find/", {"q": text}, headers={"HX-Request": "true"})
    assert len(captured) <= 12
    with CaptureQueriesContext(connection) as captured:
        vera.get("/find/", {"q": text})
    assert len(captured) <= 12


def test_a_prefix_is_answered_by_an_index(db: None) -> None:
    for field, model in (("value", TradeIdentifier), ("name", Document)):
        plan = model.objects.filter(starting(field, "T-1")).explain()
        if connection.vendor == "sqlite":
            assert "USING" in plan
            assert "INDEX" in plan


@pytest.mark.parametrize("text", ["T-1", "t-1", "ä", "\ud7ff", "\U0010ffff", "a\U0010ffff"])
def test_a_prefix_takes_exactly_what_starts_with_it(text: str) -> None:
    for value in ("T-1", "T-10", "T-2", "t-1", "t-2", "ä", "äb", "b", "\ud7ff", "\ue000", "\U0010ffff", "\U0010ffffx", "a\U0010ffffz", "b"):
        if not TradeIdentifier.objects.filter(value=value).exists():
            factories.trade(value)

    def found(asked: Q) -> set[str]:
        return set(TradeIdentifier.objects.filter(asked).values_list("value", flat=True))

    every = set(TradeIdentifier.objects.values_list("value", flat=True))
    assert found(starting("value", text)) == {value for value in every if value.startswith(text)}
    assert found(prefixed("value", text)) == {value for value in every if value.startswith((text, text.upper()))}


def test_people_without_a_role_find_nothing(nemo: Client) -> None:
    page(nemo, "/find/?q=T-1", status=403)
