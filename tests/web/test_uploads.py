"""Handing in documents through the page, and the page that says what became of each."""

from __future__ import annotations

import re
import secrets
import tracemalloc
from html import unescape
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils.datastructures import MultiValueDict
from pytest_django import DjangoAssertNumQueries, Settings

from tests.support.native import native
from tests.web import factories
from tests.web.test_upload_archives import MIB, zipped
from trades import messages
from trades.models import Document, Publication, Refusal, Upload
from trades.web.upload_form import UploadForm, encode_pasted

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def xml(name: str, content: str | bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content.encode() if isinstance(content, str) else content, "text/xml")


def hand_in(client: Client, *files: SimpleUploadedFile, pasted: str = "") -> str:
    """What the page says after handing in: the review."""
    response = client.post("/uploads/new/", {"xml_files": list(files), "pasted": pasted})
    assert response.status_code == 302, response.content.decode()
    return unescape(client.get(response["Location"]).content.decode())


def publish(client: Client, *files: SimpleUploadedFile) -> str:
    """What the page says after publishing everything."""
    hand_in(client, *files)
    upload = Upload.objects.latest("pk")
    client.post(f"/uploads/{upload.pk}/decide/", {"choice": "all"})
    return unescape(client.get(f"/uploads/{upload.pk}/").content.decode())


def test_each_file_says_what_was_understood_or_why_it_was_refused(otto: Client) -> None:
    page = hand_in(otto, xml("good.xml", native("T-5")), xml("bad.xml", "<a>\n  <b>text</c>\n</a>"), xml("empty.xml", ""))

    upload = Upload.objects.get()
    assert (upload.source, upload.stage) == ("WEB", "REVIEW")
    assert upload.created_by is not None
    assert upload.created_by.get_username() == "otto"
    assert list(upload.documents.order_by("id").values_list("name", "position")) == [("good.xml", 1), ("bad.xml", 2), ("empty.xml", 3)]
    assert "BOOK version 1 of T-5" in page
    assert "Nothing is published yet." in page
    assert not Publication.objects.exists()
    assert re.search(r"line 2, column \d+:", page)
    assert re.search(r'<pre class="excerpt"[^>]*>  <b>text</c>\n<b aria-hidden="true"> +\^</b></pre>', page)


def test_what_the_queue_did_not_take_stays_in_the_outbox_and_the_page_says_so(otto: Client) -> None:
    page = publish(otto, xml("good.xml", native("T-5")))

    assert Publication.objects.get().state == Publication.State.PENDING
    assert "Waiting to be sent" in page
    assert "It stays in the outbox; the relay tries again until it is sent." in page


def test_several_archives_expand_together_to_no_more_than_one_may(settings: Settings, tmp_path: Path) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = MIB  # so 10 MiB together
    archive = zipped({f"{n}.xml": b"<a>" + secrets.token_bytes(300).hex().encode() * 1500 for n in range(10)})
    form = UploadForm({}, MultiValueDict({"xml_files": [xml(f"{n}.zip", archive) for n in range(8)]}), folder=tmp_path)
    tracemalloc.start()

    form.is_valid()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert [document.refusal.code for document in form.documents if document.refusal] == ["archive-too-large"] * 7
    assert peak < 8 * MIB


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
    assert "More than 2 files were sent." in response.content.decode()


def test_a_file_that_is_too_large_is_refused_and_the_others_go_on(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 2000

    page = hand_in(otto, xml("large.xml", "x" * 2001), xml("good.xml", native("T-5")))

    assert list(Document.objects.order_by("position").values_list("name", "size")) == [
        ("large.xml", 2001),
        ("good.xml", len(native("T-5"))),
    ]
    assert bytes(Document.objects.get(name="large.xml").content) == b""
    assert "The document has 2,001 bytes, and at most 2,000 are taken. Split it." in page


def test_only_files_that_are_too_large_are_an_error_of_the_form(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 100

    response = otto.post("/uploads/new/", {"xml_files": [xml("large.xml", "x" * 101)]})

    assert response.status_code == 422
    assert "large.xml was not taken: it has 101 bytes, and a document may have 100." in response.content.decode()
    assert not Upload.objects.exists()


def test_the_limits_are_stated_before_anything_is_chosen(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_UPLOAD_FILES = 7

    assert re.search(r"Up to 7 files of 64.0\sMB each, 640.0\sMB together.", otto.get("/uploads/new/").content.decode())


def refresh_of(html: str, address: str) -> str:
    """Where a page asks for what is new, "" where it does not ask any more."""
    found = re.search(r'hx-get="([^"]+)" hx-trigger="portal:changed from:document"', html)
    return address + unescape(found[1]) if found else ""


def test_the_page_asks_on_every_change_and_gets_only_the_rows_that_changed(vera: Client) -> None:
    upload = factories.upload(files=3)
    publications = list(Publication.objects.order_by("pk"))
    address = f"/uploads/{upload.pk}/"

    first = vera.get(address).content.decode()
    assert first.count("In the queue</span>") == 3
    assert vera.get(refresh_of(first, address), headers=HTMX).status_code == 204

    factories.event(factories.trade("T-1"), message=factories.message(publication_id=publications[0].publication_id))
    second = vera.get(refresh_of(first, address), headers=HTMX).content.decode()
    assert '<a href="/trades/T-1/events/1/">event 1 of T-1</a>' in second
    assert re.findall(r'<tr id="(p\d+)"', second) == [f"p{publications[0].pk}"]
    assert "<html" not in second
    assert vera.get(refresh_of(second, address), headers=HTMX).status_code == 204

    factories.message("HELD", publication_id=publications[1].publication_id)
    factories.message("DUPLICATE", publication_id=publications[2].publication_id)
    third = vera.get(refresh_of(second, address), headers=HTMX).content.decode()
    assert "Waits behind a quarantined message of its group." in third
    assert re.findall(r'<tr id="(p\d+)"', third) == [f"p{row.pk}" for row in publications[1:]]

    factories.Message.objects.filter(outcome="HELD").update(outcome="RECORDED")
    assert refresh_of(vera.get(refresh_of(third, address), headers=HTMX).content.decode(), address) == ""


def test_the_receipts_are_shown(vera: Client) -> None:
    upload = factories.upload()
    publication = Publication.objects.get()

    page = vera.get(f"/uploads/{upload.pk}/").content.decode()

    assert f'<span class="mono">{publication.message_id}</span>' in page
    assert f'<span class="mono dim">{publication.md5}</span>' in page
    assert f'href="/trace/publications/{publication.publication_id}/"' in page


def test_a_published_message_that_was_quarantined_says_why(vera: Client) -> None:
    upload = factories.upload()
    blocked = factories.message("QUARANTINED", publication_id=Publication.objects.get().publication_id, reason="No trade id.", line=4)

    page = vera.get(f"/uploads/{upload.pk}/").content.decode()

    assert "line 4: No trade id." in page
    assert f'href="/quarantine/{blocked.pk}/"' in page
    assert "1 in quarantine" in page


def test_a_filtered_page_gets_its_table_anew_when_rows_leave_it(vera: Client) -> None:
    upload = factories.upload(files=2)
    address = f"/uploads/{upload.pk}/"
    first = vera.get(f"{address}?show=queued").content.decode()

    factories.message("RECORDED", publication_id=Publication.objects.earliest("pk").publication_id)
    second = vera.get(refresh_of(first, address), headers=HTMX).content.decode()

    assert '<div id="messages" hx-swap-oob="true">' in second
    assert re.findall(r'<tr id="(p\d+)"', second) == [f"p{Publication.objects.latest('pk').pk}"]
    assert vera.get(refresh_of(second, address), headers=HTMX).status_code == 204


@pytest.mark.parametrize("files", [1, 200])
def test_the_number_of_queries_does_not_depend_on_the_number_of_files(
    vera: Client, files: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    upload = factories.upload(files=files)
    for number, publication in enumerate(Publication.objects.order_by("pk")[:30]):
        factories.event(factories.trade(f"T-{number}"), message=factories.message(publication_id=publication.publication_id))
    Refusal.objects.create(document=upload.documents.latest("pk"), part=2, code="not-well-formed", reason="a reason", line=1)
    vera.get(f"/uploads/{upload.pk}/")  # the first time, Django asks the database once whether it knows JSON

    with django_assert_max_num_queries(12):
        first = vera.get(f"/uploads/{upload.pk}/").content.decode()
    with django_assert_max_num_queries(12):
        vera.get("/uploads/")

    assert first.count("<tr id=") == min(files + 1, 100)
    assert vera.get(f"/uploads/{upload.pk}/?page=3").content.decode().count("<tr id=") == (1 if files == 200 else 2)
    for nonsense in ("?page=nonsense", "?page=99999999999", "?show=nonsense", "?seen=x"):
        assert vera.get(f"/uploads/{upload.pk}/{nonsense}").status_code == 200


@pytest.mark.parametrize(
    ("show", "shown"),
    [
        ("all", ["1.xml", "2.xml", "3.xml", "4.xml", "4.xml"]), ("recorded", ["1.xml"]), ("quarantined", ["2.xml"]), ("queued", ["3.xml"]),
        ("waiting", ["4.xml"]), ("refused", ["4.xml"]), ("held", []), ("reference", []),
    ],
)  # fmt: skip
def test_the_rows_can_be_filtered_by_how_far_they_got(vera: Client, show: str, shown: list[str]) -> None:
    upload = factories.upload(files=4)
    publications = list(Publication.objects.order_by("pk"))
    Publication.objects.filter(pk=publications[3].pk).update(state="PENDING")
    for outcome, publication in zip(("RECORDED", "QUARANTINED"), publications, strict=False):
        factories.message(outcome, publication_id=publication.publication_id)
    Refusal.objects.create(document=publications[3].document, part=2, code="not-well-formed", reason="a reason")

    page = vera.get(f"/uploads/{upload.pk}/?show={show}").content.decode()

    assert re.findall(r'<th scope="row"><span class="wrap">([^<]+)</span>', page) == shown


def test_the_original_downloads_byte_for_byte(vera: Client) -> None:
    upload = factories.upload()
    document = upload.documents.get()
    Document.objects.filter(pk=document.pk).update(content=b"\xff\xfe<\x00a\x00/\x00>\x00", name='my "file".xml')

    response = vera.get(f"/uploads/{upload.pk}/documents/{document.pk}/original")

    assert response.content == b"\xff\xfe<\x00a\x00/\x00>\x00"
    assert response["Content-Type"] == "application/xml"
    assert response["Content-Disposition"] == 'attachment; filename="my _file_.xml"'
    assert vera.get(f"/uploads/{upload.pk + 1}/documents/{document.pk}/original").status_code == 404


def test_the_list_counts_files_messages_and_refusals_and_names_the_stage(vera: Client, otto: Client) -> None:
    publish(otto, xml("good.xml", native("T-5")), xml("bad.xml", "<a"))
    hand_in(otto, xml("other.xml", native("T-6")))

    page, in_review = (vera.get(address).content.decode() for address in ("/uploads/", "/uploads/?stage=review"))

    counts = r'>{}</td><td class="r num">{}</td><td class="r num{}">{}</td><td class="r num{}">{}</td><td class="r num{}">{}</td>'
    assert re.search(counts.format(2, 1, "", 0, " flag", 1, " flag bad", 1), page)
    assert re.search(counts.format(1, 1, " flag", 1, "", 0, "", 0), page)
    assert page.count("In review</span>") == in_review.count("In review</span>") == 1
    assert "Published</span>" in page
    assert "Published</span>" not in in_review


def test_an_empty_list_says_what_can_be_uploaded_and_has_a_sample(vera: Client) -> None:
    page = vera.get("/uploads/").content.decode()

    assert "No uploads yet" in page
    assert 'href="/uploads/sample.xml"' in page
    assert messages.prepare(vera.get("/uploads/sample.xml").content)[0].message is not None


def test_messages_that_wait_after_the_queue_are_not_called_settled(vera: Client) -> None:
    upload = factories.upload(files=3)
    for outcome, publication in zip(("RECORDED", "QUARANTINED", "HELD"), Publication.objects.order_by("pk"), strict=True):
        factories.message(outcome, publication_id=publication.publication_id)

    html = vera.get(f"/uploads/{upload.pk}/").content.decode()

    assert "3 messages published, 1 settled, 1 in quarantine, 1 held" in html
    assert '<progress class="" max="3" value="1" aria-label="Messages settled">1 of 3</progress>' in html
