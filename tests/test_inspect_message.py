"""What the portal would make of documents, at the terminal: no database, no queue."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from tests.support.firms import ACME, SAMPLES, blotter, deal
from tests.support.native import native, several
from tests.support.processes import Process


def inspect(*arguments: str, status: int = 0) -> list[str]:
    out = io.StringIO()
    if not status:
        call_command("inspect_message", *arguments, stdout=out)
        return out.getvalue().splitlines()
    with pytest.raises(CommandError) as error:
        call_command("inspect_message", *arguments, stdout=out)
    assert error.value.returncode == status
    return [*out.getvalue().splitlines(), *str(error.value).splitlines()]


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_a_document_is_shown_as_an_aligned_table(tmp_path: Path) -> None:
    lines = inspect(write(tmp_path, "book.xml", native("T-1", message_id="FO-1")))

    assert lines[0] == f"{tmp_path}/book.xml: a trade event (native, TradeStatus)"
    assert lines[1:7] == [
        "  trade ids    T-1",
        "  event class  BOOK",
        "  trade date   2026-11-20",
        "  version      1",
        "  message id   FO-1",
        "  sender       FRONTOFFICE",
    ]
    assert "  parties      role buyer, name Northgate Bank" in lines
    assert "               role seller, name Kestrel Capital" in lines
    assert "  notionals    amount 10000000.00, currency EUR" in lines


def test_a_refused_document_says_where_and_the_others_are_shown_all_the_same(tmp_path: Path) -> None:
    bad, good = write(tmp_path, "a.xml", "<TradeStatus>\n  <TradeId>T-2</Trade>"), write(tmp_path, "b.xml", native())

    lines = inspect(bad, good, status=1)

    assert lines[0].endswith("a.xml: not a document that can be read")
    assert lines[1].startswith("  refused  line 2, column ")
    assert lines[1].endswith("[not-well-formed]")
    assert any(line.endswith("b.xml: a trade event (native, TradeStatus)") for line in lines)
    assert lines[-2:] == ["2 files: 1 not a document that can be read, 1 a trade event.", "Not every document is understood, see above."]


def test_each_message_of_a_file_is_shown(tmp_path: Path) -> None:
    lines = inspect(write(tmp_path, "a.xml", several(native("T-1"), native("T-2"))))

    assert "  message 2 of 2: a trade event (native, TradeStatus)" in lines
    assert "    trade ids    T-2" in lines


def test_json_is_one_object_a_file_named_by_its_place_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "b/2.xml", native("T-2"))
    write(tmp_path, "1.xml", native("T-1"))
    write(tmp_path, ".hidden/3.xml", native("T-3"))
    write(tmp_path, "notes.txt", "no XML")

    objects = [json.loads(line) for line in inspect(str(tmp_path), "--json")]

    assert [(one["file"], one["trade_ids"]) for one in objects] == [("1.xml", ["T-1"]), ("b/2.xml", ["T-2"])]


def test_a_reference_document_is_understood(tmp_path: Path) -> None:
    mapping = write(tmp_path, "acme.toml", ACME + 'reference = "The list of desks."\n')

    lines = inspect(write(tmp_path, "a.xml", blotter(deal())), "--dialect", mapping)

    assert lines[0].endswith("a.xml: known, but no trade event (acme-blotter, Deals)")
    assert ["warning", "The list of desks."] in [line.split(maxsplit=1) for line in lines]


def test_a_candidate_mapping_reads_what_was_unknown(tmp_path: Path) -> None:
    document = write(tmp_path, "deals.xml", blotter(deal(uti="UTI-1")))
    unknown = json.loads(inspect(document, "--json", status=1)[0])
    assert (unknown["expect"], unknown["dialect"]) == ("private", "")

    read = json.loads(inspect(document, "--json", "--dialect", write(tmp_path, "acme.toml", ACME))[0])

    assert (read["expect"], read["dialect"], read["message_type"]) == ("event", "acme-blotter", "Deals")
    assert (read["trade_ids"], read["event_class"], read["version"]) == (["UTI-1", "D-1"], "BOOK", 1)
    assert (read["trade_date"], read["event_time"], read["sender"]) == ("2026-11-20", "20261120;093000", "GAS")
    assert read["details"] == {
        "product": "Gas forward",
        "maturity_date": "2027-12-31",
        "notionals": [{"amount": "1500000.00", "currency": "EUR"}],
    }


def test_a_broken_candidate_is_explained_by_file_key_and_expectation(tmp_path: Path) -> None:
    broken = write(tmp_path, "acme.toml", ACME.replace('"int"', '"number"').replace('N = "BOOK"', 'N = "NEW"'))

    lines = inspect(write(tmp_path, "a.xml", "<a/>"), "--dialect", broken, status=2)

    assert lines == [
        "The mapping can't be used.",
        "acme.toml: fields.version.type is 'number'; expected one of text, int, decimal, bool, date, date-text, datetime.",
    ]
    assert inspect("-", "--dialect", str(tmp_path / "none.toml"), status=2)[1] == (
        "none.toml: No such file or directory; expected a file that can be read."
    )


def test_a_broken_folder_of_mappings_is_explained(tmp_path: Path, settings: Settings) -> None:
    write(tmp_path, "mappings/acme.toml", ACME.replace("[match]", "[mtach]"))
    settings.TRADES_DIALECTS_DIR = str(tmp_path / "mappings")

    lines = inspect(write(tmp_path, "a.xml", native()), status=2)

    assert lines[0] == "TRADES_DIALECTS_DIR can't be used."
    assert "acme.toml: match is missing." in lines


def test_what_cannot_be_read_gets_a_sentence(tmp_path: Path, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 2000
    large = write(tmp_path, "large.xml", b" " * 2001)
    fifo = tmp_path / "folder.xml"
    fifo.mkdir()

    lines = inspect(str(tmp_path / "none.xml"), large, status=1)

    assert lines[1] == "  refused  The file can't be read: No such file or directory. [unreadable]"
    assert lines[3] == "  refused  The document has more than 2,000 bytes, the most that is taken. Split it. [too-large]"
    assert inspect(str(fifo), status=2) == [f"{fifo}: the folder has no .xml file."]


def test_a_name_that_is_no_utf_8_is_shown_with_replacement_characters(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.xml"
    try:
        Path(os.fsdecode(path)).write_text(native())
    except OSError:
        pytest.skip("this file system takes no such name")

    assert json.loads(inspect(str(tmp_path), "--json")[0])["file"] == "\ufffd.xml"


def test_it_needs_no_database_and_no_queue(command: Callable[..., Process], tmp_path: Path) -> None:
    environment = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

    shown = command("inspect_message", "-", "--json", environment=environment, stdin=native("T-1"))

    assert shown.wait() == 0, shown.output
    assert json.loads(shown.lines[0])["file"] == "standard input"
    assert json.loads(shown.lines[0])["trade_ids"] == ["T-1"]
    refused = command("inspect_message", "-", environment=environment, stdin="{}")
    assert refused.wait() == 1
    assert "This looks like JSON, not XML." in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample messages are not beside this checkout")
def test_every_sample_is_an_object_with_its_name_in_the_manifest() -> None:
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("inspect_message", str(SAMPLES), "--json", stdout=out)

    files = {json.loads(line)["file"] for line in out.getvalue().splitlines()}

    manifest = (SAMPLES / "manifest.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert files == {line.split("\t")[0] for line in manifest}
