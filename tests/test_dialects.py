"""The dialects in use: those of the portal, a firm's own folder, and what is said about a mapping file that cannot be used."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django.fixtures import Settings

from docs import dialects_table
from tests.support.firms import ACME, IB_FLEX, ORE, blotter, deal
from tests.support.native import NOON
from tests.support.processes import ROOT, Process
from trades import dialects, messages, publishing
from trades.apps import check_dialects
from trades.handing_in import IncomingDocument
from trades.messages import MappingError, inspection, specification
from trades.messages.mapping import Dialect
from trades.models import Publication, Upload

Folder = Callable[..., Path]
PAGE = ROOT / "docs" / "dialects.md"


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Folder:
    """A folder of mapping files that is in use."""

    def make(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.toml").write_text(text)
        settings.TRADES_DIALECTS_DIR = str(tmp_path)
        return tmp_path

    return make


def errors() -> list[str]:
    return [str(message.msg) for message in check_dialects(None)]


def names() -> set[str]:
    return {dialect.name for dialect in dialects.in_use().dialects}


def test_without_a_folder_the_portals_own_dialects_are_in_use() -> None:
    assert dialects.in_use() is messages.builtin()
    assert dialects.faults() == ()


def test_a_firms_dialects_are_read_beside_the_portals_own(folder: Folder) -> None:
    folder(acme=ACME, ore=ORE, flex=IB_FLEX)

    assert errors() == []
    assert names() > {"native", "acme-blotter", "ore-portfolio", "ib-flex"}
    assert messages.parse(blotter(deal()), registry=dialects.in_use()).dialect == "acme-blotter"


def test_they_are_read_once_in_a_process(folder: Folder) -> None:
    folder(acme=ACME)

    assert dialects.in_use() is dialects.in_use()


def test_a_dialect_of_the_same_name_replaces_the_portals_own(folder: Folder) -> None:
    folder(own=ACME.replace("acme-blotter", "native"))

    assert [dialect.title for dialect in dialects.in_use().dialects if dialect.name == "native"] == ["Acme blotter"]


def test_a_schema_is_looked_up_beside_its_mapping_first(folder: Folder) -> None:
    with_schema = ACME.replace('version = "1"', 'version = "1"\nschema = "acme.xsd"', 1)
    path = folder(acme=with_schema)
    assert errors() == ["TRADES_DIALECTS_DIR: acme.toml: schema is 'acme.xsd'; expected the name of an XML Schema beside the mapping file."]

    (path / "acme.xsd").write_text("<nothing/>")
    assert errors()[0].startswith("TRADES_DIALECTS_DIR: acme.toml: schema is 'acme.xsd'; expected an XML Schema (")

    (path / "acme.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:acme:blotter">'
        '<xs:element name="Deals"><xs:complexType><xs:attribute name="desk" type="xs:int"/></xs:complexType></xs:element></xs:schema>'
    )
    assert errors() == []
    with pytest.raises(messages.MessageRefused, match="Attribute desk of Deals is 'GAS'"):
        messages.parse(blotter(), registry=dialects.in_use())


# What is wrong with a mapping file: the file, the key, what was expected. Old text -> new text, and the sentence.
FAULTS = [
    ("[match]", "[match", "Expected ']' at the end of a table declaration (at line 6, column 7); expected TOML."),
    ('version = "1"', "version = 1", "version is 1; expected text of 1 to 40 characters."),
    ('version = "1"', "", "version is missing."),
    ('dialect = "acme-blotter"', "", "dialect is missing."),
    ('dialect = "acme-blotter"', 'dialect = "acme-*"', "dialect has a *, but match.namespace has none; expected one there"),
    ('title = "Acme blotter"', "title = 7", "title is 7; expected text."),
    ('title = "Acme blotter"', 'titel = "Acme blotter"', "'titel' is not known; expected one of define, details, dialect"),
    ('namespace = "urn:acme:blotter"\n', "", "match.namespace is missing."),
    (
        'namespace = "urn:acme:blotter"\n',
        "namespace = 5\n",
        'match.namespace is 5; expected a text ("" for no namespace) or a list of texts.',
    ),
    ('roots = ["Deals"]', 'roots = "Deals"', "match.roots is 'Deals'; expected a list of texts."),
    ("[[messages]]", "[[mesages]]", "messages is missing."),
    ("[[messages]]", "messages = []", None),
    ("[[messages]]", "[[messages]]\nsplit = 'yes'", "messages[1].split is 'yes'; expected \"alone\"."),
    ("[[messages]]", "[[messages]]\notherwise = 'yes'", "messages[1].otherwise is 'yes'; expected true or false."),
    ("[[messages]]", "[[messages]]\nfields.trade_date = 5", "messages[1].fields.trade_date is 5; expected an XPath, as text."),
    ('each = "a:Deal"', "each = 5", "each is 5; expected an XPath, as text."),
    ('each = "a:Deal"', 'each = ""', "each is ''; expected an XPath, as text."),
    ('each = "a:Deal"', 'each = "a:Deal["', "each is 'a:Deal['; expected an XPath 1.0 expression ("),
    ('each = "a:Deal"', 'each = "b:Deal"', "each: the prefix b is not in [namespaces]; expected one of a."),
    ('each = "a:Deal"', 'each = "a:Deal[b:Q]"', "each: the prefix b is not in [namespaces]; expected one of a."),
    ('each = "a:Deal"', "each = \"document('x')\"", "each: the function document is not taken; expected one of boolean, ceiling"),
    ('each = "a:Deal"', "each = \"a:Deal[matches(., 'x')]\"", "each: the function matches is not taken"),
    ('each = "a:Deal"', "each = \"a:Deal[a:test(., 'x')]\"", "each: the function a:test is not taken; expected the core functions"),
    ('each = "a:Deal"', 'each = "$top/a:Deal"', "each: the variable $top is not known; expected one of $root, $header, $event."),
    ('each = "a:Deal"', 'each = "{deal}"', "each uses {deal}, which [define] does not have; expected one of none, for it is empty."),
    ('each = "a:Deal"', 'each = "{deal}"\n[define]\ndeal = "{deal}"', "each uses a snippet of [define] that contains itself"),
    ('each = "a:Deal"', 'each = "a:Deal}"', "each is 'a:Deal}'; expected braces around names of [define] alone."),
    (
        'type = "int"',
        'type = "number"',
        "fields.version.type is 'number'; expected one of text, int, decimal, bool, date, date-text, datetime.",
    ),
    ('type = "int"', 'type = "decimal"', "fields.version.type is 'decimal'; expected \"int\"."),
    ('{ xpath = "a:Ver", type = "int" }', '"a:Ver"', 'fields.version.type is missing; expected "int".'),
    ('xpath = "a:Ver", type', "xpath = 5, type", "fields.version.xpath is 5; expected an XPath, as text."),
    ('xpath = "a:Ver", type', "xpath = [], type", "fields.version.xpath is empty; expected an XPath or a list of them."),
    ('xpath = "a:Ver", type', 'xpath = ["a:Ver", 5], type', "fields.version.xpath[2] is 5; expected an XPath, as text."),
    ('xpath = "a:Ver", type', "type", "fields.version does not say where the value is; expected xpath, cases or value."),
    ('xpath = "a:Ver", type', 'xpth = "a:Ver", type', "fields.version: 'xpth' is not known; expected one of cases, else"),
    ('xpath = "a:Ver", type', 'pick = "min", xpath = "a:Ver", type', "fields.version.pick is 'min'; expected \"max\"."),
    ('xpath = "a:Ver", type', 'once = 1, xpath = "a:Ver", type', "fields.version.once is 1; expected true or false."),
    ('sender = "$root/@desk"', 'colour = "a:C"', "fields: 'colour' is not known; expected one of correlation_id, event_class"),
    ('N = "BOOK"', 'N = "NEW"', "fields.event_class.map.N is 'NEW'; expected one of BOOK, UPDATE"),
    ('map = { N = "BOOK", A', 'else = "NEW", map = { A', "fields.event_class.else is 'NEW'; expected one of BOOK"),
    (
        'map = { N = "BOOK", A',
        'cases = [{ when = "a:N", then = "NEW" }], map = { A',
        "fields.event_class.cases[1].then is 'NEW'; expected one of",
    ),
    ('map = { N = "BOOK", A', 'cases = [{ when = "a:N" }], map = { A', "fields.event_class.cases[1].then is missing."),
    ('map = { N = "BOOK", A = "UPDATE", X = "CANCEL" }', 'value = "NEW"', "fields.event_class.value is 'NEW'; expected one of BOOK"),
    (
        '{ xpath = "a:Action", map = { N = "BOOK", A = "UPDATE", X = "CANCEL" } }',
        "\"'NEW'\"",
        "fields.event_class.xpath is 'NEW'; expected one",
    ),
    (
        'event_class = { xpath = "a:Action", map = { N = "BOOK", A = "UPDATE", X = "CANCEL" } }',
        "",
        "messages[1].fields.event_class is missing",
    ),
    ('own = [["a:Uti", "a:Ref/@id"]]', "", "messages[1].ids.own is missing; expected where the ids of the trade stand, or reference."),
    ('own = [["a:Uti", "a:Ref/@id"]]', 'own = "a:Uti"', "ids.own is 'a:Uti'; expected a list of rules, such as [\"a:Id\"]"),
    ('own = [["a:Uti", "a:Ref/@id"]]', "own = [[5]]", "ids.own[1][1] is 5; expected an XPath, as text."),
    ('zone = "Europe/London"', 'zone = "London"', "fields.event_time.zone is 'London'; expected the IANA name of a time zone"),
    ('format = "%Y%m%d;%H%M%S"', 'format = "%Q"', "fields.event_time.format is '%Q'; expected the codes of strptime"),
    ('format = "%Y%m%d;%H%M%S"', 'format = "YYYY"', "fields.event_time.format is 'YYYY'; expected how it is written, such as %Y%m%d."),
    ('format = "%Y%m%d;%H%M%S"', 'format = "%Y%Y"', "fields.event_time.format is '%Y%Y'; expected"),
    ('"a:Product"', '{ xpath = "a:Product", format = "%Y" }', "details.product.format needs a type; expected type = one of date"),
    ('type = "date-text"', 'type = "date"', "details.maturity_date.type is 'date'; expected one of text, int, decimal, bool, date-text."),
    ('each = "a:Leg"', 'each = "a:Leg"\nneeds = "amount"', "details.notionals.needs is 'amount'; expected a list of texts."),
    ('each = "a:Leg"', 'each = "a:Leg"\nrefer = { by = "@href" }', "details.notionals.refer.to is missing."),
    ('currency = "a:Ccy"', "currency = 5", "details.notionals.fields.currency is 5; expected an XPath, as text."),
    ("[[messages]]", '[[require]]\ntest = "a:X"\n[[messages]]', "require[1].element is missing."),
    (
        "[[messages]]",
        '[[require]]\ntest = "a:X"\nelement = "X"\nmessage = "m"\nwhen = 5\n[[messages]]',
        "require[1].when is 5; expected a table.",
    ),
    ('version = "1"', 'version = "1"\nschema = "../x.xsd"', "schema is '../x.xsd'; expected the name of a file beside this one"),
    ('a = "urn:acme:blotter"', "a = 5", "namespaces.a is 5; expected text."),
]


@pytest.mark.parametrize(("old", "new", "sentence"), [fault for fault in FAULTS if fault[2]])
def test_manage_check_explains_a_broken_mapping_by_file_key_and_expectation(folder: Folder, old: str, new: str, sentence: str) -> None:
    assert old in ACME
    folder(acme=ACME.replace(old, new, 1))

    found = errors()

    assert any(error.startswith(f"TRADES_DIALECTS_DIR: acme.toml: {sentence}") for error in found), found


def test_all_faults_of_all_files_are_told_at_once(folder: Folder) -> None:
    folder(a=ACME.replace('"int"', '"x"').replace('"date-text"', '"y"'), b=ORE.replace('version = "1"', "version = 1"))

    assert [error.split(" is ")[0] for error in errors()] == [
        "TRADES_DIALECTS_DIR: a.toml: fields.version.type",
        "TRADES_DIALECTS_DIR: a.toml: details.maturity_date.type",
        "TRADES_DIALECTS_DIR: b.toml: version",
    ]


def test_two_files_that_match_the_same_documents_are_an_error_that_names_both(folder: Folder) -> None:
    folder(a=ACME, b=ACME.replace("acme-blotter", "other"))

    (error,) = errors()
    assert "acme-blotter (a.toml) and other (b.toml) match the same documents" in error


def test_two_files_of_one_name_are_an_error_that_names_both(folder: Folder) -> None:
    folder(a=ACME, b=ACME.replace("urn:acme:blotter", "urn:acme:other"))

    assert errors() == ["TRADES_DIALECTS_DIR: b.toml: dialect is 'acme-blotter', as in a.toml; expected another name."]


def test_a_file_that_is_no_text_and_a_folder_that_is_none_are_told(folder: Folder, settings: Settings) -> None:
    (folder() / "a.toml").write_bytes(b"\xff\xfe")
    assert errors() == ["TRADES_DIALECTS_DIR: a.toml: byte 1 is not UTF-8; expected a TOML file, which is in UTF-8."]

    settings.TRADES_DIALECTS_DIR = "/no/such/folder"
    assert errors() == [
        "TRADES_DIALECTS_DIR: /no/such/folder is no folder that can be read; expected one with a TOML file for each dialect."
    ]


def test_an_empty_folder_is_a_warning(folder: Folder) -> None:
    path = folder()

    assert errors() == [f"TRADES_DIALECTS_DIR: {path} holds no .toml file."]
    assert dialects.in_use().dialects


def test_a_broken_folder_is_passed_over_whole_and_logged(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    folder(acme=ACME, ore=ORE.replace("[match]", "[mtach]"))

    assert dialects.in_use() is messages.builtin()
    assert "ore.toml: match is missing." in caplog.text


def test_commands_do_not_start_with_a_broken_folder(folder: Folder) -> None:
    folder(acme=ACME.replace('"int"', '"number"'))

    with pytest.raises(SystemCheckError, match=r"acme.toml: fields.version.type is 'number'; expected one of text, int"):
        call_command("check", stdout=io.StringIO())


def test_the_worker_says_at_its_start_what_is_wrong(command: Callable[..., Process], folder: Folder) -> None:
    path = folder(acme=ACME.replace('"int"', '"number"'))

    worker = command("consume_trades", environment={"TRADES_DIALECTS_DIR": str(path)})

    assert worker.wait() == 1
    assert "acme.toml: fields.version.type is 'number'; expected one of text, int" in worker.output
    assert "Traceback" not in worker.output


@pytest.mark.django_db
def test_what_is_published_is_read_with_the_firms_dialects(folder: Folder) -> None:
    folder(acme=ACME)

    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=NOON)
    document = IncomingDocument("deals.xml", blotter(deal(), deal("D-2")).encode())
    publishing.store(upload, [document], queue="Q.fifo", group=None, now=NOON)

    assert list(Publication.objects.order_by("part").values_list("trade_id", flat=True)) == ["D-1", "D-2"]


def test_a_dialect_beside_others_must_not_match_what_they_match(folder: Folder) -> None:
    folder(acme=ACME)

    with pytest.raises(MappingError, match="match the same documents"):
        dialects.in_use().with_dialect(Dialect(ACME.replace("acme-blotter", "other"), "pasted mapping"))


# docs/dialects.md


def test_the_table_of_formats_is_up_to_date() -> None:
    page = dialects_table.PAGE.read_text("utf-8")

    assert page == dialects_table.up_to_date(page), "run `python -m docs.dialects_table`"


def test_the_page_names_every_key_of_a_mapping() -> None:
    page = PAGE.read_text("utf-8")

    assert [name for name in (*specification.EVENT_TYPES, *specification.TYPES) if name not in page] == []
    assert [word for word in messages.EventClass if word not in page] == []


def test_the_example_of_the_page_is_read_as_it_says(tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    document, mapping = (page.split(f"```{kind}\n")[1].split("```", maxsplit=1)[0] for kind in ("xml", "toml"))
    registry = messages.builtin().with_dialect(Dialect(mapping, "acme.toml"))

    facts = inspection.inspect(document.encode(), "deals.xml", registry=registry)

    first, second = facts["events"]
    assert (first["trade_ids"], first["event_class"], first["version"]) == (["9695001KJTIIGC8Y1R12ACME0007", "D-7"], "BOOK", 1)
    assert (first["trade_date"], first["sender"], second["trade_date"]) == ("2026-11-20", "GAS", "")
    assert (second["trade_ids"], second["event_class"]) == (["D-6"], "CANCEL")
    assert [party["role"] for party in first["details"]["parties"]] == ["buyer", "seller"]
    assert facts["warnings"] == []
