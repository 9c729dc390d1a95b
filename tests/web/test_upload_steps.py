"""The steps of an upload as a script takes them: begin, add files one by one, check, decide."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django.fixtures import Settings

from tests.support.native import native, several
from tests.web.test_upload_archives import zipped
from trades.models import Document, Draft, Publication, Upload

pytestmark = pytest.mark.django_db
SCRIPT = {"X-Requested-With": "XMLHttpRequest"}


def begin(client: Client) -> dict[str, Any]:
    response = client.post("/uploads/begin/", headers=SCRIPT)
    assert response.status_code == 201
    return dict(json.loads(response.content))


def add(client: Client, upload: dict[str, Any], position: int | str, content: str | bytes, name: str = "a.xml") -> tuple[int, Any]:
    file = SimpleUploadedFile("a.xml", content.encode() if isinstance(content, str) else content)
    response = client.post(upload["files"], {"file": file, "position": position, "name": name}, headers=SCRIPT)
    text = response.content.decode()
    return response.status_code, json.loads(text) if "json" in response["Content-Type"] else text


def test_files_come_one_by_one_and_the_review_has_them_in_the_order_of_the_list(otto: Client) -> None:
    upload = begin(otto)

    assert add(otto, upload, 2, native("T-1", "UPDATE", 2), "folder/b.xml") == (
        201,
        {"files": 1, "messages": 1, "refused": 0, "reasons": []},
    )
    assert add(otto, upload, 1, several(native("T-1"), native("T-2")), "folder/a.xml")[1]["messages"] == 2
    assert otto.post(upload["check"], headers=SCRIPT).json() == {"page": upload["page"]}

    assert list(Draft.objects.values_list("effect__grade", flat=True)) == ["good"] * 3
    assert list(Document.objects.order_by("position").values_list("name", flat=True)) == ["folder/a.xml", "folder/b.xml"]
    assert not Publication.objects.exists()


def test_a_request_that_is_sent_again_is_stored_once(otto: Client) -> None:
    upload = begin(otto)

    first = add(otto, upload, 1, native("T-1"))
    second = add(otto, upload, 1, native("T-1"))

    assert (first[0], second[0]) == (201, 200)
    assert first[1] == second[1]
    assert Document.objects.count() == Draft.objects.count() == 1


def test_a_refused_file_says_where_and_why(otto: Client) -> None:
    status, told = add(otto, begin(otto), 1, "<a>\n  <b>text</c>\n</a>")

    assert (status, told["messages"], told["refused"]) == (201, 0, 1)
    assert told["reasons"][0].startswith("line 2, column ")


def test_pasted_text_takes_a_place_too(otto: Client) -> None:
    upload = begin(otto)

    response = otto.post(upload["files"], {"pasted": native("T-1"), "position": 1}, headers=SCRIPT)

    assert response.status_code == 201
    assert Document.objects.get().name == "pasted.xml"


def test_a_zip_takes_the_places_of_its_files_before_the_next_file(otto: Client) -> None:
    upload = begin(otto)
    add(otto, upload, 2, native("T-3"), "last.xml")

    told = add(otto, upload, 1, zipped({"b.xml": native("T-2"), "a/x.xml": native("T-1"), "notes.txt": "x"}), "day.zip")[1]

    assert (told["files"], told["messages"], told["refused"]) == (3, 2, 1)
    assert list(Document.objects.order_by("position").values_list("name", flat=True)) == ["a/x.xml", "b.xml", "notes.txt", "last.xml"]


@pytest.mark.parametrize("position", ["", "0", "-1", "x", "501", "9" * 30, f"000000019{'9' * 25}", "0000000010000", "²"])
def test_a_place_that_is_none_gets_a_sentence(otto: Client, position: str) -> None:
    assert add(otto, begin(otto), position, native()) == (400, "A position from 1 to 500 is needed.")


def test_a_request_without_a_file_gets_a_sentence(otto: Client) -> None:
    response = otto.post(begin(otto)["files"], {"position": 1}, headers=SCRIPT)

    assert (response.status_code, response.content.decode()) == (400, "No file came with the request.")


def test_an_upload_that_is_full_says_so_and_keeps_what_it_has(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_UPLOAD_FILES = 2
    upload = begin(otto)
    add(otto, upload, 1, native("T-1"))

    status, told = add(otto, upload, 2, zipped({"a.xml": native("T-2"), "b.xml": native("T-3")}), "day.zip")

    assert (status, told["refused"]) == (201, 1)
    assert "The archive has 2 files, and 1 more can be taken." in told["reasons"][0]
    settings.TRADES_MAX_DOCUMENT_BYTES = 10
    assert add(otto, begin(otto), 1, native("T-1"))[1]["reasons"] == [
        f"The document has {len(native('T-1')):,} bytes, and at most 10 are taken. Split it."
    ]


def test_a_large_file_is_not_kept_though_its_two_names_differ(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 1000
    file = SimpleUploadedFile("a.zip", b"<a>" + b"x" * 5000)

    response = otto.post(begin(otto)["files"], {"file": file, "position": 1, "name": "a.xml"}, headers=SCRIPT)

    assert response.json()["reasons"] == ["The document has 5,003 bytes, and at most 1,000 are taken. Split it."]
    assert bytes(Document.objects.get().content) == b""


def test_only_the_person_who_began_it_adds_files(otto: Client, ada: Client) -> None:
    upload = begin(otto)

    status, sentence = add(ada, upload, 1, native("T-1"))

    assert (status, sentence) == (403, "Only the person who began an upload adds files to it.")
    assert not Document.objects.exists()


def test_a_file_that_comes_after_the_decision_is_told_so(otto: Client) -> None:
    upload = begin(otto)
    add(otto, upload, 1, native("T-1"))
    otto.post(upload["check"])
    otto.post(upload["decide"], {"choice": "all"})

    status, sentence = add(otto, upload, 2, native("T-2"))

    assert status == 409
    assert "otto published this upload" in sentence
    assert Document.objects.count() == 1


@pytest.mark.parametrize("is_checked_before", [False, True])
def test_what_was_not_checked_with_the_others_is_not_published(otto: Client, is_checked_before: bool) -> None:
    """The second file is known to be about the first one's trade only once they are looked at together."""
    upload = begin(otto)
    book = native("T-1").replace("</TradeId>", '</TradeId><OtherTradeId scheme="urn:uti">U-1</OtherTradeId>')
    add(otto, upload, 1, book)
    if is_checked_before:
        otto.post(upload["check"])
    add(otto, upload, 2, native("U-1", "UPDATE", 2, scheme="urn:uti"))

    html = otto.post(upload["decide"], {"choice": "all", "messages": "2"}, follow=True).content.decode()

    assert "Not all of these messages have been checked together. Check again, then decide. Nothing was published." in html
    assert not Publication.objects.exists()
    otto.post(upload["check"])
    otto.post(upload["decide"], {"choice": "all", "messages": "2"})
    assert list(Publication.objects.values_list("group_id", flat=True)) == ["T-1", "T-1"]


def test_without_a_session_a_script_is_told_so_and_not_sent_elsewhere(client: Client, otto: Client) -> None:
    upload = begin(otto)

    assert add(client, upload, 1, native("T-1"))[0] == 401
    assert client.post("/uploads/begin/", headers=SCRIPT).status_code == 401
    assert Upload.objects.count() == 1
