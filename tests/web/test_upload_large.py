"""Documents that are too large for a row, or for the queue, on their way in: kept whole, never held, checked and published."""

from __future__ import annotations

import hashlib
import os
import re
import tracemalloc
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from pytest_django.fixtures import Settings

from tests.support.broker import Bucket, FifoQueue
from tests.support.native import NOON, native
from tests.web.test_upload_archives import MIB, zipped
from trades import handing_in, payloads, publishing
from trades.handing_in import IncomingDocument
from trades.models import Document, Draft, Payload, Publication, Refusal, Upload
from trades.web.sent_files import CappedFiles

pytestmark = pytest.mark.django_db
SIZE = 1_200_000
SCRIPT = {"X-Requested-With": "XMLHttpRequest"}


def large(trade_id: str = "T-1", event: str = "BOOK", version: int = 1, size: int = SIZE) -> str:
    return native(trade_id, event, version).replace("<Header>", f"<!--{'x' * (size - len(native()))}--><Header>")


def hand_in(client: Client, *contents: str | bytes, name: str = "large.xml") -> str:
    """What the page says after handing in: the review."""
    files = [SimpleUploadedFile(name, content if isinstance(content, bytes) else content.encode()) for content in contents]
    response = client.post("/uploads/new/", {"xml_files": files})
    assert response.status_code == 302, response.content.decode()
    return unescape(client.get(response["Location"]).content.decode())


def content_of(payload: Payload | None) -> bytes:
    assert payload is not None
    return b"".join(payloads.pieces(payload))


@pytest.fixture
def with_bucket(settings: Settings) -> None:
    settings.TRADES_PAYLOAD_BUCKET = "payloads"


def test_without_a_bucket_a_message_above_the_limit_of_its_queue_is_refused_with_what_to_set(otto: Client) -> None:
    body = large()

    page = hand_in(otto, body, native("T-2"))

    size = len(body.encode()) + len("PublicationId") + len("String") + 36
    assert (
        f"The message takes {size:,} bytes with its attributes, and TradeStatus.fifo carries at most 1,048,576. Set TRADES_PAYLOAD_BUCKET "
        "to an S3 bucket to send larger ones, or split the document."
    ) in page
    assert [draft.trade_id for draft in Draft.objects.all()] == ["T-2"]


def test_a_large_document_is_kept_in_a_payload_and_downloads_byte_for_byte(otto: Client) -> None:
    body = large()
    hand_in(otto, body)
    document = Document.objects.get()

    assert (bytes(document.content), document.size, document.sha256) == (b"", len(body), hashlib.sha256(body.encode()).hexdigest())
    assert content_of(document.payload) == body.encode()
    response = otto.get(f"/uploads/{document.upload_id}/documents/{document.pk}/original")
    assert response.getvalue() == body.encode()


def test_with_a_bucket_it_is_rehearsed_with_the_others_and_its_draft_holds_no_text(otto: Client, with_bucket: None) -> None:
    page = hand_in(otto, large(), large(event="UPDATE", version=2), native("T-1", "CANCEL", 3))

    assert "3 files, 3 messages, 3 good" in page
    assert "1.1\xa0MB" in page
    assert [(draft.body == "", draft.payload is not None) for draft in handing_in.drafts_of(Upload.objects.get())] == [
        (True, True),
        (True, True),
        (False, False),
    ]


def test_the_same_large_text_twice_is_one_payload_and_told_as_a_copy(otto: Client, with_bucket: None) -> None:
    body = large()

    page = hand_in(otto, body, body)

    assert Payload.objects.count() == 1
    assert "The history has this content already, or an earlier message of this upload brings it" in page


def test_a_large_file_in_another_encoding_keeps_its_bytes_and_gives_a_text_in_utf_8(otto: Client, with_bucket: None) -> None:
    text = f'<?xml version="1.0" encoding="UTF-16"?>{large()}'
    hand_in(otto, text.encode("utf-16"))

    draft = Draft.objects.get()
    assert content_of(draft.document.payload) == text.encode("utf-16")
    assert content_of(draft.payload) == text.replace("UTF-16", "UTF-8").encode()
    assert draft.body_sha256 == hashlib.sha256(content_of(draft.payload)).hexdigest()


def test_what_is_wrong_with_a_large_document_is_said_with_its_line(otto: Client) -> None:
    page = hand_in(otto, "<a>\n" * 3 + f"<!--{'x' * SIZE}-->\n<b></c>")

    assert re.search(r"line 5(, column \d+)?:", page)
    assert Refusal.objects.get().code == "not-well-formed"


def test_a_large_entry_of_a_zip_goes_to_a_payload_too(otto: Client, with_bucket: None) -> None:
    padding = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(20_000))
    body = native("T-1").replace("<Header>", f"<!--{padding}--><Header>")

    hand_in(otto, zipped({"a.xml": body, "b.xml": native("T-2")}), name="day.zip")

    assert [bool(row.payload_id) for row in Document.objects.order_by("position")] == [True, False]
    assert [draft.trade_id for draft in Draft.objects.order_by("pk")] == ["T-1", "T-2"]


def test_a_decision_publishes_it_without_copying_it_and_s3_gets_the_text(
    otto: Client, queue: FifoQueue, bucket: Bucket, settings: Settings
) -> None:
    settings.TRADES_QUEUE = queue.name
    body = large()
    hand_in(otto, body, native("T-2"))

    otto.post(f"/uploads/{Upload.objects.get().pk}/decide/", {"choice": "all", "messages": "2"})

    row = Publication.objects.get(trade_id="T-1")
    assert (row.state, row.body, row.payload) == ("SENT", "", Document.objects.get(pk=row.document_id).payload)
    (key,) = bucket.keys()
    assert bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read() == body.encode()
    assert queue.counts() == (2, 0)
    assert Payload.objects.count() == 1


def test_reading_a_large_file_holds_little_of_it(tmp_path: Path, with_bucket: None) -> None:
    path = tmp_path / "large.xml"
    head, _, tail = native("T-1").partition("<Header>")
    path.write_text(head + f"<!--{'x' * MIB}-->" * 30 + "<Header>" + tail)
    tracemalloc.start()

    (read,) = handing_in.read([IncomingDocument("large.xml", path=path)], now=NOON)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert read.parts[0].message is not None
    assert peak < 12 * MIB


def test_of_a_file_that_is_too_large_the_rest_is_not_kept_and_its_size_is_told(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 100_000
    files = [SimpleUploadedFile("large.xml", b"x" * 3_000_000), SimpleUploadedFile("good.xml", native("T-5").encode())]

    response = otto.post("/uploads/new/", {"xml_files": files}, follow=True)

    assert "The document has 3,000,000 bytes, and at most 100,000 are taken. Split it." in response.content.decode()
    assert list(Document.objects.order_by("position").values_list("size", flat=True)) == [3_000_000, len(native("T-5"))]


def test_a_file_of_more_bytes_than_a_column_counts_is_refused_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "huge.xml"
    path.touch()
    os.truncate(path, 3 * 1024**3)
    upload = handing_in.begin(source=Upload.Source.COMMAND, user=None, now=NOON)

    publishing.store(upload, [IncomingDocument("huge.xml", path=path), IncomingDocument("good.xml", native().encode())], now=NOON)

    assert Refusal.objects.get().reason.startswith("The document has 3,221,225,472 bytes, and at most")
    assert list(Document.objects.order_by("pk").values_list("size", flat=True)) == [2**31 - 1, len(native())]


def test_a_request_that_is_too_large_is_refused_before_it_is_read(otto: Client, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 100_000
    most = 10 * 100_000 + 2 * MIB + settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    file = SimpleUploadedFile("large.xml", b"x" * most)

    response = otto.post("/uploads/new/", {"xml_files": file})

    assert response.status_code == 413
    assert re.search(r"The request has [\d.]+.MB, and all files together may have [\d.]+.KB. Split it.", response.content.decode())
    assert not Upload.objects.exists()


@pytest.mark.parametrize("path", ["/uploads/new/", "/sign-in/"])
def test_files_that_a_stranger_sends_never_reach_the_disk(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    complete = CappedFiles.file_complete

    def look(handler: CappedFiles, file_size: int) -> Any:
        written.append(Path(handler.file.temporary_file_path()).stat().st_size)
        return complete(handler, file_size)

    monkeypatch.setattr(CappedFiles, "file_complete", look)
    strict = Client(enforce_csrf_checks=True)
    strict.get("/sign-in/")

    response = strict.post(path, {"xml_files": SimpleUploadedFile("large.xml", b"x" * 3_000_000)})

    assert response.status_code in (302, 403)
    assert written == [0]


def test_a_zip_whose_request_broke_off_is_completed_by_sending_it_again(otto: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trades.handing_in.documents.CHUNK", 2)
    steps = otto.post("/uploads/begin/", headers=SCRIPT).json()
    archive = zipped({f"{n}.xml": native(f"T-{n}") for n in range(5)})
    real, calls = handing_in.rows.keep_for_review, []

    def break_off(*args: object) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OperationalError("the database is away")
        real(*args)  # type: ignore[arg-type]

    def send() -> int:
        fields = {"file": SimpleUploadedFile("day.zip", archive), "position": 1, "name": "day.zip"}
        otto.raise_request_exception = False
        return int(otto.post(steps["files"], fields, headers=SCRIPT).status_code)

    monkeypatch.setattr(handing_in.rows, "keep_for_review", break_off)
    assert (send(), Document.objects.count()) == (503, 2)
    assert (send(), Document.objects.count(), Draft.objects.count()) == (201, 5, 5)
    assert (send(), Document.objects.count()) == (200, 5)


def test_the_files_of_an_upload_leave_nothing_on_disk(
    otto: Client, with_bucket: None, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.VAR_DIR = tmp_path / "var"
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    hand_in(otto, zipped({"a.xml": native("T-1"), "b.xml": native("T-2")}), name="day.zip")
    hand_in(otto, large())

    assert [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(configured.STATIC_ROOT)] == []
