"""Texts too large for a row: kept once, whole or not at all, and given back piece by piece."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from tests.support.native import NOON
from tests.web.factories import message
from trades import payloads
from trades.messages.large import LargeText
from trades.models import Payload, PayloadPart

pytestmark = pytest.mark.django_db
MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def var_dir_of_the_test(settings: Settings, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path / "var"


def a_file(folder: Path, content: bytes, name: str = "document.xml") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def left_over() -> list[Path]:
    from django.conf import settings

    folder = Path(settings.VAR_DIR) / "spool"
    return list(folder.iterdir()) if folder.is_dir() else []


def test_a_file_comes_back_as_it_was_in_parts_of_a_mebibyte(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000

    payload = payloads.keep(a_file(tmp_path, content), now=NOON)

    assert (payload.size, payload.sha256, payload.created_at) == (len(content), hashlib.sha256(content).hexdigest(), NOON)
    assert [len(piece) for piece in payloads.pieces(payload)] == [MIB, MIB, len(content) - 2 * MIB]
    assert b"".join(payloads.pieces(payload)) == content


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    first = payloads.keep(a_file(tmp_path, b"<a/>" * MIB, "one.xml"), now=NOON)
    again = payloads.keep(a_file(tmp_path, b"<a/>" * MIB, "two.xml"), now=NOON)

    assert first == again
    assert (Payload.objects.count(), PayloadPart.objects.count()) == (1, 4)


def test_a_large_text_is_kept_by_what_it_says_of_itself(tmp_path: Path) -> None:
    path = a_file(tmp_path, b"<a/>")

    assert payloads.keep(LargeText(path, 4, hashlib.sha256(b"<a/>").hexdigest()), now=NOON).size == 4
    with pytest.raises(OSError, match=r"document\.xml changed while it was being kept"):
        payloads.keep(LargeText(path, 4, hashlib.sha256(b"<b/>").hexdigest()), now=NOON)
    assert Payload.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_keep_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, create = a_file(tmp_path, b"x" * 3 * MIB), PayloadPart.objects.create

    def interrupted(**values: object) -> PayloadPart:
        if values["number"] == 3:
            raise KeyboardInterrupt
        return create(**values)

    monkeypatch.setattr(PayloadPart.objects, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        payloads.keep(path, now=NOON)
    assert (Payload.objects.count(), PayloadPart.objects.count()) == (0, 0)

    monkeypatch.undo()
    assert b"".join(payloads.pieces(payloads.keep(path, now=NOON))) == b"x" * 3 * MIB


@pytest.mark.django_db(transaction=True)
def test_several_may_keep_the_same_at_the_same_time(tmp_path: Path) -> None:
    path, together = a_file(tmp_path, b"y" * 2 * MIB), threading.Barrier(4)

    def keep() -> int:
        try:
            together.wait(10)
            return payloads.keep(path, now=NOON).pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        kept = {future.result() for future in [pool.submit(keep) for _ in range(4)]}

    assert len(kept) == 1
    assert (Payload.objects.count(), PayloadPart.objects.count()) == (1, 2)


def test_what_is_spooled_is_a_file_for_the_time_of_the_block(tmp_path: Path) -> None:
    payload = payloads.keep(a_file(tmp_path, b"<a>\xc3\xa9</a>"), now=NOON)

    with payloads.spooled(payload) as text:
        assert (text.path.read_bytes(), text.size, text.sha256) == (b"<a>\xc3\xa9</a>", 9, payload.sha256)

    assert left_over() == []


def test_a_spooled_file_is_removed_after_an_error_too() -> None:
    def fail() -> None:
        with payloads.spool() as path:
            path.touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert left_over() == []


def test_files_left_by_a_process_that_was_killed_are_removed_after_a_day(tmp_path: Path) -> None:
    with payloads.spool() as path:
        recent, old = path.with_name("recent.xml"), path.with_name("old.xml")
        for each in (recent, old):
            each.touch()
        before = time.time() - payloads.FORGOTTEN_SECONDS - 60
        os.utime(old, (before, before))

    with payloads.spool():
        assert left_over() == [recent]


def test_a_text_in_its_row_is_what_is_parsed() -> None:
    row = message(body="<a>é</a>")

    with payloads.document_of(row) as document:
        assert document == "<a>é</a>"
    assert payloads.text_of(row, 9) == "<a>é</a>"
    assert payloads.text_of(row, 8) is None
    assert payloads.start_of(row, 4) == "<a>"
    assert payloads.start_of(row, 5) == "<a>é"


def test_a_text_in_a_payload_is_parsed_from_a_file(tmp_path: Path) -> None:
    content = ("<a>" + "é" * MIB + "</a>").encode()
    row = message(body="", payload=payloads.keep(a_file(tmp_path, content), now=NOON))

    with payloads.document_of(row) as document:
        assert isinstance(document, LargeText)
        assert document.path.read_bytes() == content
    assert left_over() == []
    assert payloads.text_of(row, len(content)) == content.decode()
    assert payloads.text_of(row, len(content) - 1) is None
    assert payloads.start_of(row, 6) == "<a>é"
    assert payloads.start_of(row, MIB + 100) == "<a>" + "é" * ((MIB + 97) // 2)
