"""Zip files: what is taken, what is left out and why, and that no archive costs more than its bounds."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from tests.support.native import native
from trades.handing_in import IncomingDocument
from trades.web import archives

MIB = 1024 * 1024
Taken = Callable[..., list[IncomingDocument]]


def zipped(entries: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


@pytest.fixture
def taken(tmp_path: Path) -> Taken:
    def expand(content: bytes, *, most_files: int = 500, most_bytes: int = 100 * MIB) -> list[IncomingDocument]:
        file = io.BytesIO(content)
        return archives.expanded("day.zip", file, len(content), most_files=most_files, most_bytes=most_bytes, folder=tmp_path)

    return expand


def content_of(document: IncomingDocument) -> bytes:
    return document.path.read_bytes() if document.path else document.content


def codes(documents: list[IncomingDocument]) -> list[tuple[str, str]]:
    return [(document.name, document.refusal.code if document.refusal else "") for document in documents]


def test_the_files_of_a_zip_come_in_the_order_of_their_names_with_their_paths(taken: Taken) -> None:
    book = native("T-1")

    documents = taken(zipped({"b/2.xml": "<b/>", "a/1.xml": book, "__MACOSX/a/._1.xml": "x", "a/.DS_Store": "x", "b/": ""}))

    assert [(document.name, content_of(document)) for document in documents] == [("a/1.xml", book.encode()), ("b/2.xml", b"<b/>")]


def test_what_is_not_xml_is_named_and_left_out(taken: Taken) -> None:
    inner = zipped({"x.xml": "<a/>"})

    documents = taken(zipped({"a.xml": "<a/>", "notes.txt": "x", "inner.zip": inner, "hidden.xml": inner, "old.tar.gz": "x"}))

    assert codes(documents) == [
        ("a.xml", ""), ("hidden.xml", "nested-archive"), ("inner.zip", "nested-archive"), ("notes.txt", "not-xml"),
        ("old.tar.gz", "nested-archive"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../../etc/passwd.xml", "/etc/passwd.xml", "C:\\temp\\a.xml", "a\nb.xml", "a\u202eb.xml"])
def test_a_path_of_an_archive_is_a_name_and_nothing_more(taken: Taken, name: str) -> None:
    (document,) = taken(zipped({name: "<a/>"}))

    assert content_of(document) == b"<a/>"
    assert document.name.isprintable()


def test_a_bomb_is_refused_before_it_is_unpacked(taken: Taken, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 10 * MIB
    bomb = zipped({"bomb.xml": b" " * (64 * MIB)})
    tracemalloc.start()

    documents = taken(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert codes(documents) == [("bomb.xml", "too-large")]
    assert peak < 8 * MIB


def test_an_archive_that_expands_as_no_documents_do_is_refused_whole(taken: Taken) -> None:
    documents = taken(zipped({f"{n}.xml": b" " * (5 * MIB) for n in range(12)}))

    assert codes(documents) == [("day.zip", "archive-too-large")]
    assert documents[0].refusal is not None
    assert "more than 200 times its size" in documents[0].refusal.message


def test_many_bombs_that_are_small_each_count_together(taken: Taken) -> None:
    documents = taken(zipped({f"{n}.xml": b"<a>" + b"x" * 900_000 for n in range(30)}), most_bytes=10 * MIB)

    assert codes(documents) == [("day.zip", "archive-too-large")]


def test_a_size_that_the_header_understates_is_not_believed(taken: Taken, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 1000
    content = zipped({"a.xml": b"x" * 5000}, zipfile.ZIP_STORED)
    lying = content.replace(struct.pack("<LL", 5000, 5000), struct.pack("<LL", 5000, 10))

    (document,) = taken(lying)

    assert document.refusal is not None
    assert content_of(document) == b""


def test_one_file_that_is_too_large_is_refused_and_the_others_are_taken(taken: Taken, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 1000

    assert codes(taken(zipped({"a.xml": "<a/>", "large.xml": "x" * 1001}))) == [("a.xml", ""), ("large.xml", "too-large")]


def test_more_files_than_there_is_room_for_are_refused_together(taken: Taken) -> None:
    assert codes(taken(zipped({f"{n}.xml": "<a/>" for n in range(3)}), most_files=2)) == [("day.zip", "archive-too-large")]


def test_more_entries_than_are_looked_at_are_refused(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 2)

    assert codes(taken(zipped({f"folder{n}/": "" for n in range(3)}))) == [("day.zip", "archive-too-large")]


def test_a_directory_of_very_many_entries_costs_no_memory(taken: Taken) -> None:
    whole = zipped({"x.xml": "<a/>"})
    directory, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    entries = whole[directory:end] * 200_000
    bomb = whole[:directory] + entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(entries), directory, 0)
    tracemalloc.start()

    documents = taken(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert codes(documents) == [("day.zip", "archive-too-large")]
    assert peak < 8 * MIB


def test_an_encrypted_entry_gets_a_sentence(taken: Taken) -> None:
    content = bytearray(zipped({"a.xml": "<a/>"}, zipfile.ZIP_STORED))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1

    assert codes(taken(bytes(content))) == [("a.xml", "encrypted")]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_is_not_read_gets_a_sentence(taken: Taken, method: int) -> None:
    assert codes(taken(zipped({"a.xml": "<a/>"}, method))) == [("a.xml", "damaged-archive")]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing more", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_zip_or_an_empty_one_gets_a_sentence(taken: Taken, content: bytes) -> None:
    (document,) = taken(content)

    assert document.name == "day.zip"
    assert document.refusal is not None
    assert document.refusal.code in ("damaged-archive", "empty-archive")


def test_a_damaged_entry_gets_a_sentence_and_the_others_are_taken(taken: Taken) -> None:
    content = bytearray(zipped({"a.xml": "<a/>", "b.xml": "<damaged/>"}, zipfile.ZIP_STORED))
    at = content.index(b"<damaged/>")
    content[at : at + 10] = b"<Damaged/>"

    assert codes(taken(bytes(content))) == [("a.xml", ""), ("b.xml", "damaged-archive")]


def test_every_truncation_of_a_zip_gets_a_sentence_or_whole_documents(taken: Taken) -> None:
    content = zipped({"a.xml": native("T-1"), "b.xml": native("T-2")})

    for length in range(0, len(content), 7):
        for document in taken(content[:length]):
            assert document.refusal is not None or content_of(document).endswith(b"</TradeStatus>")
