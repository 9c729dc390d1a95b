"""The engine by itself, on dialects made up here: what a mapping file can say, and what is wrong with one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from trades import messages
from trades.messages import EventClass, MappingError, MessageRefused, Registry, TradeId, load, parse

FIX = """
dialect = "fix"
title = "FIX as attributes"
version = "7"
type = "local-name()"
[match]
namespace = ""
roots = ["FIXML"]
attributes = { v = "5.0*" }
[namespaces]
f = "*"
[fields]
message_id = "@RptID"
event_time = { xpath = "@TxnTm", type = "datetime", zone = "Europe/London" }
trade_date = { xpath = "@TrdDt", type = "date", null_values = ["00000000"], format = "%Y%m%d" }
status = { xpath = "@Stat", map = { 0 = "Accepted" }, else = "" }
[ids]
own = [["@TrdID2", "@TrdID"], "f:Ref"]
[[messages]]
roots = ["FIXML"]
each = "f:TrdCaptRpt | f:Batch/f:TrdCaptRpt"
fields.event_class = { xpath = "@TransTyp", map = { 0 = "BOOK", 1 = "CANCEL", 2 = "UPDATE" } }
[messages.details.parties]
each = "f:RptSide/f:Pty"
needs = ["role"]
fields = { name = "@ID", role = { xpath = "@R", map = { 1 = "broker", 17 = "contra" }, else = "" } }
[[messages]]
roots = ["FIXML"]
each = "f:Alloc | f:Batch/f:Alloc"
fields.event_class = { xpath = "@TransTyp", map = { 0 = "BOOK", 1 = "UPDATE", 2 = "CANCEL" } }
[[messages]]
roots = ["FIXML"]
when = "f:Batch[not(*[not(self::f:Hdr)])]"
reference = "A batch with nothing but a header is a heartbeat."
"""

OWN_NAMESPACE = """
dialect = "many"
version = "1"
[match]
namespace = "urn:many:*"
[namespaces]
f = "*"
[fields]
event_class = "'BOOK'"
version = { xpath = "f:V", type = "int", pick = "max" }
reason = { xpath = "f:Why", prefix = "because ", value = "no reason" }
sequence = { xpath = "count(f:V)", type = "int" }
[ids]
own = ["f:Id"]
[[messages]]
"""


def registry(tmp_path: Path, *mappings: str) -> Registry:
    for number, mapping in enumerate(mappings):
        (tmp_path / f"{number}.toml").write_text(mapping, "utf-8")
    return load(tmp_path)


def refused(document: str, dialects: Registry) -> MessageRefused:
    with pytest.raises(MessageRefused) as refusal:
        parse(document, registry=dialects)
    return refusal.value


def test_documents_without_a_namespace_and_several_kinds_of_message_are_mapped_in_document_order(tmp_path: Path) -> None:
    document = (
        '<FIXML v="5.0 SP2"><Batch><Hdr/><TrdCaptRpt TransTyp="2" TrdID="1"/><Alloc TransTyp="2" TrdID="2"/>'
        '<TrdCaptRpt TransTyp="0" TrdID="3" TrdID2="A3"/></Batch></FIXML>'
    )

    message = parse(document, registry=registry(tmp_path, FIX))

    assert message.message_type == "TrdCaptRpt"
    assert message.mapping_version.startswith("7.")
    assert [(event.event_class, event.trade_id.value) for event in message.events] == [("UPDATE", "1"), ("CANCEL", "2"), ("BOOK", "A3")]
    assert message.events[2].trade_ids == (TradeId("", "A3"), TradeId("", "3"))


def test_the_next_rule_of_ids_is_asked_when_one_leads_to_nothing(tmp_path: Path) -> None:
    document = '<FIXML v="5.0"><TrdCaptRpt TransTyp="0" TrdID=" "><Ref>R-1</Ref></TrdCaptRpt></FIXML>'

    assert parse(document, registry=registry(tmp_path, FIX)).events[0].trade_id.value == "R-1"


def test_formats_zones_maps_and_nulls_make_a_fields_value(tmp_path: Path) -> None:
    attributes = 'TransTyp="0" TrdID="1" RptID="9" TrdDt="20240304" TxnTm="2024-07-01T12:00:00" Stat="7"'
    parties = '<RptSide><Pty ID="A" R="1"/><Pty ID="B" R="99"/><Pty ID="C" R="17"/></RptSide>'

    (event,) = parse(f'<FIXML v="5.0"><TrdCaptRpt {attributes}>{parties}</TrdCaptRpt></FIXML>', registry=registry(tmp_path, FIX)).events

    assert (event.message_id, str(event.trade_date), event.status) == ("9", "2024-03-04", "")
    assert (str(event.event_time), event.zoned) == ("2024-07-01 11:00:00+00:00", True)
    assert event.details == {"parties": [{"name": "A", "role": "broker"}, {"name": "C", "role": "contra"}]}


def test_a_null_value_is_no_value(tmp_path: Path) -> None:
    document = '<FIXML v="5.0"><TrdCaptRpt TransTyp="0" TrdID="1" TrdDt="00000000"/></FIXML>'

    assert parse(document, registry=registry(tmp_path, FIX)).events[0].trade_date is None


def test_a_value_that_is_not_in_its_map_is_refused_with_what_is(tmp_path: Path) -> None:
    refusal = refused('<FIXML v="5.0">\n <TrdCaptRpt TransTyp="9" TrdID="1"/></FIXML>', registry(tmp_path, FIX))

    assert refusal.code == "invalid-field"
    assert refusal.message == "Attribute TransTyp of TrdCaptRpt is '9'; expected one of 0, 1, 2."
    assert (refusal.line, refusal.column) == (2, 2)


def test_a_message_that_is_no_trade_event_is_a_reference_in_the_mappings_words(tmp_path: Path) -> None:
    message = parse('<FIXML v="5.0"><Batch><Hdr/></Batch></FIXML>', registry=registry(tmp_path, FIX))

    assert (message.reference, message.events) == ("A batch with nothing but a header is a heartbeat.", ())


def test_a_catch_all_takes_what_no_other_table_claims_and_what_is_passed_over_is_said(tmp_path: Path) -> None:
    orders = '[[messages]]\neach = "f:Order"\nreference = "An order."\ntype = "local-name()"\nfields.message_id = "@ID"\n'
    rest = '[[messages]]\notherwise = true\nreference = "Nothing of a trade."\n'
    dialects = registry(tmp_path, FIX + orders + rest)
    trade = '<TrdCaptRpt TransTyp="0" TrdID="1"/>'

    order, other, mixed = (
        parse(f'<FIXML v="5.0">{content}</FIXML>', registry=dialects) for content in ('<Order ID="7"/>', "<Quote/>", f"<Order/>{trade}")
    )

    assert (order.reference, order.message_type, order.stated) == ("An order.", "Order", {"message_id": "7"})
    assert (other.reference, other.events) == ("Nothing of a trade.", ())
    assert [event.trade_id.value for event in mixed.events] == ["1"]
    assert mixed.warnings == ("1 of the messages in the document are no trade events: Order.",)


def test_an_entry_of_a_list_can_take_facts_from_the_node_that_it_names(tmp_path: Path) -> None:
    parties = """
[details.parties]
each = "f:Buyer | f:Seller"
fields.role = "local-name()"
[details.parties.refer]
by = "@who"
to = "$root/f:Party"
key = "@id"
fields.name = "f:Name"
[[messages]]
"""
    dialects = registry(tmp_path, OWN_NAMESPACE.replace("[[messages]]\n", parties))
    document = '<a xmlns="urn:many:1"><Id>1</Id><Buyer who="p1"/><Seller who="p9"/><Party id="p1"><Name>A</Name></Party></a>'

    (event,) = parse(document, registry=dialects).events

    assert event.details == {"parties": [{"role": "Buyer", "name": "A"}, {"role": "Seller"}]}


def test_a_path_that_is_only_partly_from_the_root_is_asked_for_every_event(tmp_path: Path) -> None:
    mapping = OWN_NAMESPACE.replace('"f:Why"', '"$root/f:Common | f:Why"').replace("[[messages]]", '[[messages]]\neach = "f:Deal"')
    deals = "".join(f"<Deal><Id>{number}</Id><Why>{number}</Why></Deal>" for number in (1, 2))

    events = parse(f'<a xmlns="urn:many:1">{deals}</a>', registry=registry(tmp_path, mapping)).events

    assert [event.reason for event in events] == ["because 1", "because 2"]


def test_the_uti_leads_the_ids_and_a_null_id_is_none(tmp_path: Path) -> None:
    ids = 'own = ["f:Id"]\nuti = "@uti"\nnull_values = ["NONE"]'
    document = '<a xmlns="urn:many:1"><Id>NONE</Id><Id>own</Id><Id uti="y">U</Id></a>'

    (event,) = parse(document, registry=registry(tmp_path, OWN_NAMESPACE.replace('own = ["f:Id"]', ids))).events

    assert event.trade_ids == (TradeId("", "U"), TradeId("", "own"))
    assert event.uti == TradeId("", "U")


def test_a_refused_document_still_says_what_was_understood(tmp_path: Path) -> None:
    refusal = refused('<a xmlns="urn:many:1"><V>3</V></a>', registry(tmp_path, OWN_NAMESPACE))

    assert (refusal.code, refusal.dialect, refusal.message_type) == ("no-trade-id", "many", "a")
    assert (refusal.stated["event_class"], refusal.stated["version"]) == ("BOOK", 3)


def test_a_dialect_can_be_named_by_the_varying_part_of_its_namespace(tmp_path: Path) -> None:
    dialects = registry(tmp_path, OWN_NAMESPACE.replace('dialect = "many"', 'dialect = "many-*"'))

    assert parse('<a xmlns="urn:many:7"><Id>1</Id></a>', registry=dialects).dialect == "many-7"


def test_an_attribute_can_decide_whose_document_it_is(tmp_path: Path) -> None:
    assert refused('<FIXML v="4.4"/>', registry(tmp_path, FIX)).code == "unknown-dialect"


def test_one_mapping_reads_a_family_of_namespaces(tmp_path: Path) -> None:
    dialects = registry(tmp_path, OWN_NAMESPACE)

    for version in range(200):  # more than stay compiled
        document = f'<a xmlns="urn:many:{version}"><Id>T-{version}</Id><V>2</V><V>10</V><V>9</V><Why>late</Why></a>'
        (event,) = parse(document, registry=dialects).events
        assert (event.trade_id.value, event.version, event.sequence, event.reason) == (f"T-{version}", 10, 3, "because late")


def test_a_default_stands_where_nothing_is_stated(tmp_path: Path) -> None:
    (event,) = parse('<a xmlns="urn:many:1"><Id>T</Id></a>', registry=registry(tmp_path, OWN_NAMESPACE)).events

    assert (event.reason, event.version, event.sequence) == ("no reason", None, 0)


def test_the_most_specific_mapping_wins(tmp_path: Path) -> None:
    exact = OWN_NAMESPACE.replace("urn:many:*", "urn:many:1").replace('"many"', '"exact"')
    root = exact.replace('namespace = "urn:many:1"', 'namespace = "urn:many:1"\nroots = ["b"]').replace('"exact"', '"root"')
    attribute = root.replace('roots = ["b"]', 'roots = ["b"]\nattributes = { c = "d" }').replace('"root"', '"attribute"')
    dialects = registry(tmp_path, OWN_NAMESPACE, exact, root, attribute)

    documents = ['<a xmlns="urn:many:2">', '<a xmlns="urn:many:1">', '<b xmlns="urn:many:1">', '<b xmlns="urn:many:1" c="d">']
    found = [parse(f"{document}<Id>1</Id></{document[1]}>", registry=dialects).dialect for document in documents]

    assert found == ["many", "exact", "root", "attribute"]


def test_two_mappings_of_the_same_documents_are_an_error_when_they_are_loaded(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"many \(0.toml\) and other \(1.toml\) match the same documents"):
        registry(tmp_path, OWN_NAMESPACE, OWN_NAMESPACE.replace('"many"', '"other"'))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('version = "1"', "", "0.toml: version is missing"),
        ('dialect = "many"', 'dialect = "many"\nnonsense = 1', "0.toml: 'nonsense' is not known"),
        ('own = ["f:Id"]', 'own = ["f:Id"]\nfrist = "f:Id"', "ids: 'frist' is not known"),
        ("[fields]", "[fields]\ncolour = 'f:C'", "fields: 'colour' is not known"),
        ('type = "int", pick', 'type = "number", pick', "fields.version.type is 'number'; expected one of text, int"),
        ('own = ["f:Id"]', 'own = ["f:Id["]', r"ids.own\[1\] is 'f:Id\['; expected an XPath 1.0 expression"),
        ('own = ["f:Id"]', 'own = ["g:Id"]', r"ids.own\[1\]: the prefix g is not in \[namespaces\]; expected one of f"),
        ('own = ["f:Id"]', 'own = ["{nothing}/f:Id"]', r"ids.own\[1\] uses \{nothing\}, which \[define\] does not have"),
        ('own = ["f:Id"]', 'own = ["f:Id"', r"0.toml: .*\(at line \d+, column \d+\); expected TOML"),
        ('version = "1"', 'version = "1"\nschema = "none.xsd"', "0.toml: schema is 'none.xsd'; expected"),
    ],
)
def test_what_is_wrong_with_a_mapping_file_is_said_when_it_is_loaded(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in OWN_NAMESPACE

    with pytest.raises(MappingError, match=words):
        registry(tmp_path, OWN_NAMESPACE.replace(old, new, 1))


def test_a_mapping_that_breaks_on_a_document_refuses_it_with_the_cause(tmp_path: Path) -> None:
    dialects = registry(tmp_path, OWN_NAMESPACE.replace("count(f:V)", "count('V')"))

    refusal = refused('<a xmlns="urn:many:1"><Id>T</Id></a>', dialects)

    assert refusal.code == "mapping-error"
    assert "XPathEvalError" in refusal.message
    assert refusal.__cause__ is not None


@pytest.mark.parametrize("function", ["document('http://127.0.0.1:9/')", "re:test('a', 'a')", "str:tokenize('a')"])
def test_a_mapping_has_no_functions_beyond_xpath_1(tmp_path: Path, function: str) -> None:
    mapping = OWN_NAMESPACE.replace("count(f:V)", function).replace(
        'f = "*"', 'f = "*"\nre = "http://exslt.org/regular-expressions"\nstr = "http://exslt.org/strings"'
    )

    with pytest.raises(MappingError, match=r"the function .* is not taken; expected"):
        registry(tmp_path, mapping)


def test_a_class_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    dialects = registry(tmp_path, OWN_NAMESPACE.replace("\"'BOOK'\"", '"f:Class"'))

    refusal = refused('<a xmlns="urn:many:1"><Id>T</Id><Class>NEW</Class></a>', dialects)

    assert refusal.message == f"Class is 'NEW'; expected one of {', '.join(EventClass)}."


def test_nothing_here_imports_django_or_anything_of_ours_but_itself() -> None:
    imported = set()
    for file in Path(messages.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")

    assert not [name for name in imported if name.startswith(("django", "boto"))]
    assert {name for name in imported if name.startswith("trades")} <= {name for name in imported if name.startswith("trades.messages")}
