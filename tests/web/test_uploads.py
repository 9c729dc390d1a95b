"""Handing in documents through the page, and the page that says what became of each."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from tests.support.native import native
from tests.web import factories
from trades.models import Document, Publication, Upload
from trades.web import upload_view
from trades.web.upload_form import encode_pasted

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def xml(name: str, content: str | bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content.encode() if isinstance(content, str) else content, "text/xml")


def hand_in(client: Client, *files: SimpleUploadedFile, pasted: str = "") -> str:
    """What the page says after publishing."""
    response = client.post("/uploads/new/", {"xml_files": list(files), "pasted": pasted})
    assert response.status_code == 302, response.content.decode()
    return unescape(client.get(response["Location"]).content.decode())


def test_each_file_says_what_was_understood_or_why_it_was_refused(otto: Client) -> None:
    page = hand_in(otto, xml("good.xml", native("T-5")), xml("bad.xml", "<a>\n  <b>text</c>\n</a>"), xml("empty.xml", ""))

    upload = Upload.objects.get()
    assert upload.source == "WEB"
    assert upload.created_by is not None
    assert upload.created_by.get_username() == "otto"
    assert list(upload.documents.order_by("id").values_list("name", flat=True)) == ["good.xml", "bad.xml", "empty.xml"]
    assert "BOOK version 1 of T-5" in page
    assert re.search(r"line 2, column \d+:", page)
    assert re.search(r'<pre class="excerpt"[^>]*>  <b>text</c>\n<b aria-hidden="true"> +\^</b></pre>', page)


def test_what_the_queue_did_not_take_stays_in_the_outbox_and_the_page_says_so(otto: Client) -> None:
    page = hand_in(otto, xml("good.xml", native("T-5")))

    assert Publication.objects.get().state == Publication.State.PENDING
    assert "Waiting to be sent" in page
    assert "It stays in the outbox; the relay sends it when the queue answers." in page
    assert "Outbox: 1 waiting to be sent" in otto.get("/").content.decode()


def test_pasted_xml_is_a_document_too(otto: Client) -> None:
    page = hand_in(otto, pasted=native("T-6"))

    assert "pasted.xml" in page
    assert "BOOK version 1 of T-6" in page


@pytest.mark.parametrize(
    ("encoding", "expected"), [("ISO-8859-1", "latin-1"), ("UTF-8", "utf-8"), ("UTF-16", "utf-16"), ("nonsense", "utf-8")]
)
def test_pasted_text_gets_the_bytes_that_its_declaration_promises(encoding: str, expected: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><a>é</a>'

    assert encode_pasted(text) == text.encode(expected)


def test_pasted_characters_that_the_declared_encoding_lacks_become_references() -> None:
    assert encode_pasted('<?xml version="1.0" encoding="ascii"?><a>é</a>').endswith(b"<a>&#233;</a>")


def test_nothing_chosen_is_said_beside_the_field(otto: Client) -> None:
    response = otto.post("/uploads/new/", {"pasted": "  "})

    assert response.status_code == 422
    assert "Choose at least one XML file, or paste a document." in response.content.decode()
    assert 'aria-invalid="true"' in response.content.decode()
    assert not Upload.objects.exists()


def test_too_many_files_are_refused_with_the_number_that_is_allowed(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_UPLOAD_FILES = 2

    response = otto.post("/uploads/new/", {"xml_files": [xml(f"{n}.xml", native()) for n in range(3)]})

    assert response.status_code == 422
    assert "3 files were chosen. Up to 2 files of" in response.content.decode()
    assert not Upload.objects.exists()


def test_far_too_many_files_get_a_page_that_says_so_and_not_a_traceback(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_UPLOAD_FILES = settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2

    response = otto.post("/uploads/new/", {"xml_files": [xml(f"{n}.xml", native()) for n in range(3)]})

    assert response.status_code == 400
    assert "More than 2 files were sent. Publish them in several uploads." in response.content.decode()


def test_a_file_that_is_too_large_is_left_out_and_the_others_go_on(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 2000

    page = hand_in(otto, xml("large.xml", "x" * 2001), xml("good.xml", native("T-5")))

    assert list(Document.objects.values_list("name", flat=True)) == ["good.xml"]
    assert re.search(r"large.xml was not published: it has 2.0\sKB, and a document may have", page)


def test_only_files_that_are_too_large_are_an_error_of_the_form(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 100

    response = otto.post("/uploads/new/", {"xml_files": [xml("large.xml", "x" * 101)]})

    assert response.status_code == 422
    assert "large.xml was not published" in response.content.decode()


def test_the_limits_are_stated_before_anything_is_chosen(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_UPLOAD_FILES = 7

    assert re.search(r"Up to 7 files of 10.0\sMB each, 100.0\sMB together.", otto.get("/uploads/new/").content.decode())


def test_the_page_keeps_asking_until_every_message_is_recorded(vera: Client) -> None:
    upload = factories.upload(files=2)
    publications = list(Publication.objects.order_by("pk"))
    address = f"/uploads/{upload.pk}/"

    def refresh(html: str) -> str:
        found = re.search(r'hx-get="([^"]+)" hx-trigger="every 2s"', html)
        return address + unescape(found[1]) if found else ""

    first = vera.get(address).content.decode()
    assert first.count("In the queue") == 2
    assert vera.get(refresh(first), headers=HTMX).status_code == 204

    factories.event(factories.trade("T-1"), message=factories.message(publication_id=publications[0].publication_id))
    second = vera.get(refresh(first), headers=HTMX).content.decode()
    assert '<a href="/trades/T-1/events/1/">event 1 of T-1</a>' in second
    assert "<html" not in second

    factories.message("HELD", publication_id=publications[1].publication_id)
    third = vera.get(refresh(second), headers=HTMX).content.decode()
    assert "Waits behind a quarantined message of its group." in third
    assert refresh(third) == ""


def test_the_receipts_are_shown(vera: Client) -> None:
    upload = factories.upload()
    publication = Publication.objects.get()

    page = vera.get(f"/uploads/{upload.pk}/").content.decode()

    assert f'MessageId <span class="mono wrap">{publication.message_id}</span>' in page
    assert f'MD5OfMessageBody <span class="mono wrap">{publication.md5}</span>' in page


def test_a_published_message_that_was_quarantined_says_why(vera: Client) -> None:
    upload = factories.upload()
    blocked = factories.message("QUARANTINED", publication_id=Publication.objects.get().publication_id, reason="No trade id.", line=4)

    page = vera.get(f"/uploads/{upload.pk}/").content.decode()

    assert "line 4: No trade id." in page
    assert f'href="/quarantine/{blocked.pk}/"' in page
    assert "1 in quarantine" in page


def test_the_number_of_queries_does_not_depend_on_the_number_of_files(
    vera: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    upload = factories.upload(files=250)
    for number, publication in enumerate(Publication.objects.order_by("pk")[:30]):
        factories.event(factories.trade(f"T-{number}"), message=factories.message(publication_id=publication.publication_id))

    with django_assert_max_num_queries(17):
        first = vera.get(f"/uploads/{upload.pk}/").content.decode()
    with django_assert_max_num_queries(9):
        vera.get("/uploads/")

    assert first.count("<article") == 200
    assert vera.get(f"/uploads/{upload.pk}/?page=2").content.decode().count("<article") == 50
    assert vera.get(f"/uploads/{upload.pk}/?page=nonsense").status_code == 200


def test_the_original_downloads_byte_for_byte(vera: Client) -> None:
    upload = factories.upload()
    document = upload.documents.get()
    Document.objects.filter(pk=document.pk).update(content=b"\xff\xfe<\x00a\x00/\x00>\x00", name='my "file".xml')

    response = vera.get(f"/uploads/{upload.pk}/documents/{document.pk}/original")

    assert response.content == b"\xff\xfe<\x00a\x00/\x00>\x00"
    assert response["Content-Type"] == "application/xml"
    assert response["Content-Disposition"] == 'attachment; filename="my _file_.xml"'
    assert vera.get(f"/uploads/{upload.pk + 1}/documents/{document.pk}/original").status_code == 404


def test_the_list_counts_files_messages_and_refusals(vera: Client, otto: Client) -> None:
    hand_in(otto, xml("good.xml", native("T-5")), xml("bad.xml", "<a"))

    page = vera.get("/uploads/").content.decode()

    assert "Upload 1" in page or "Upload " in page
    assert re.search(r'>2</td><td class="r num">1</td><td class="r num flag">1</td><td class="r num flag bad">1</td>', page)


def test_an_empty_list_says_what_can_be_uploaded(vera: Client) -> None:
    assert "No uploads yet" in vera.get("/uploads/").content.decode()


def test_a_message_that_arrives_while_the_page_is_made_is_counted_with_its_row(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = factories.upload()
    publication = Publication.objects.get()
    add_refusals = upload_view._add_refusals

    def arrive_after_the_rows_were_read(files: dict[int, upload_view.File]) -> None:
        factories.event(factories.trade("T-1"), message=factories.message(publication_id=publication.publication_id))
        add_refusals(files)

    with monkeypatch.context() as patched:
        patched.setattr(upload_view, "_add_refusals", arrive_after_the_rows_were_read)
        early = vera.get(f"/uploads/{upload.pk}/").content.decode()
    later = vera.get(f"/uploads/{upload.pk}/").content.decode()

    assert "Waiting for a worker to record it." in early
    assert "1 file, 1 message published, 0 settled" in early
    assert "every 2s" in early
    assert "1 file, 1 message published, 1 settled" in later
    assert "every 2s" not in later


def test_messages_that_wait_after_the_queue_are_not_called_settled(vera: Client) -> None:
    upload = factories.upload(files=3)
    for outcome, publication in zip(("RECORDED", "QUARANTINED", "HELD"), Publication.objects.order_by("pk"), strict=True):
        factories.message(outcome, publication_id=publication.publication_id)

    html = vera.get(f"/uploads/{upload.pk}/").content.decode()

    assert "3 messages published, 1 settled, 1 in quarantine, 1 held" in html
    assert '<progress class="" max="3" value="1" aria-label="Messages settled">1 of 3</progress>' in html
