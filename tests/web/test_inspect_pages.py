"""The page where administrators try documents and mappings out."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django.fixtures import Settings

from tests.support.firms import ACME, blotter, deal
from tests.support.native import native, several
from tests.web import factories
from trades import dialects
from trades.models import AuditEntry, Document, Message

pytestmark = pytest.mark.django_db


def shown(client: Client, status: int = 200, **fields: Any) -> str:
    response = client.post("/inspect/", fields)
    assert response.status_code == status
    return unescape(response.content.decode())


def rows(html: str) -> dict[str, list[str]]:
    """Fact -> value, rule, line, of the first table."""
    table = html.split("<tbody>")[1].split("</tbody>", maxsplit=1)[0]
    found = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    cells = [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in found]
    return {name: rest for name, *rest in cells}


def test_only_administrators_get_in_and_see_the_way(ada: Client, otto: Client, vera: Client) -> None:
    for client in (otto, vera):
        for response in (client.get("/inspect/"), client.post("/inspect/", {"sample": "<a/>"})):
            assert response.status_code == 403
            assert "you need the role administrator" in response.content.decode()
        assert "/inspect/" not in client.get("/").content.decode()
    assert ada.get("/inspect/").status_code == 200
    assert 'href="/inspect/"' in ada.get("/").content.decode()


def test_a_known_document_shows_facts_rules_and_lines(ada: Client) -> None:
    html = shown(ada, sample=native("T-7"))

    assert "pasted.xml is a trade event: TradeStatus, native." in html
    found = rows(html)
    assert found["trade_ids"] == ["T-7", "t:TradeId | t:OtherTradeId", "3"]
    assert found["event_class"] == ["BOOK", "t:Event", "4"]
    assert found["sender"] == ["FRONTOFFICE", "t:Header/t:Sender", "2"]
    assert "Not stated in the document:" in html
    assert "correlation_id" in html.split("Not stated in the document:")[1]


def test_the_json_is_what_the_command_prints(ada: Client) -> None:
    html = shown(ada, sample=native("T-7"))

    told = json.loads(html.split('id="json"')[1].split(">", 1)[1].split("</textarea>")[0])
    assert (told["file"], told["expect"], told["trade_ids"]) == ("pasted.xml", "event", ["T-7"])


def test_an_unknown_document_is_read_with_a_mapping_for_this_look_alone(ada: Client) -> None:
    document = blotter(deal(), deal("D-2", "X"))
    assert "of an unknown format that seems to carry trades" in shown(ada, sample=document)

    html = shown(ada, sample=document, mapping=ACME)

    assert "pasted.xml is a trade event: Deals, acme-blotter." in html
    assert "Message 2 of 2" in html
    found = rows(html)
    assert found["event_class"][:2] == ["BOOK", "a:Action"]
    assert found["notionals"][0] == "amount 1500000.00, currency EUR"
    assert "of an unknown format" in shown(ada, sample=document)
    assert not Document.objects.exists()
    assert not Message.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_refused_document_marks_the_line(ada: Client) -> None:
    html = shown(ada, sample="<TradeStatus>\n  <TradeId>T-2</Trade>")

    assert '<a href="#L2">line 2, column' in html
    assert '<span class="l marked" id="L2">' in html


def test_one_bad_message_of_several_says_why_beside_the_good_one(ada: Client) -> None:
    html = shown(ada, sample=several(native("T-1"), native("T-2", "STATUS")))

    assert "1 of the 2 messages are refused" in html
    assert "Status is missing; a STATUS event states which status the trade has reached." in html


def test_a_fault_in_a_field_is_shown_where_its_value_would_be(ada: Client) -> None:
    html = shown(ada, sample=blotter(deal(action="Z")), mapping=ACME)

    assert rows(html)["event_class"][:2] == ["Action is 'Z'; expected one of N, A, X.", "a:Action"]


def test_a_broken_mapping_is_explained_by_its_keys(ada: Client) -> None:
    html = shown(ada, 422, sample=blotter(deal()), mapping=ACME.replace('"int"', '"number"').replace("a:Stamp", "b:Stamp"))

    assert "pasted mapping: fields.version.type is 'number'; expected one of text, int" in html
    assert "pasted mapping: fields.event_time.xpath: the prefix b is not in [namespaces]; expected one of a." in html
    assert 'aria-invalid="true"' in html


def test_a_mapping_that_fails_on_the_document_is_no_failure_of_the_page(ada: Client) -> None:
    html = shown(ada, sample=blotter(deal()), mapping=ACME.replace('"$root/@desk"', "\"count('desk')\""))

    assert "The mapping of this kind of document failed" in html
    assert rows(html)["sender"][0].startswith("The rule fails on this document: ")


def test_a_mapping_reads_no_file_of_the_server(ada: Client) -> None:
    html = shown(ada, 422, sample="<a/>", mapping=ACME.replace('version = "1"', 'version = "1"\nschema = "../../../../etc/passwd"'))

    assert "schema is '../../../../etc/passwd'; expected the name of a file beside this one, without a folder." in html


def test_a_file_is_looked_at_as_it_is_and_put_into_the_form(ada: Client) -> None:
    content = native("T-Ä").replace("<TradeStatus", '<?xml version="1.0" encoding="ISO-8859-1"?>\n<TradeStatus', 1).encode("iso-8859-1")

    html = shown(ada, sample="<ignored/>", sample_file=SimpleUploadedFile("old.xml", content))

    assert "old.xml is a trade event" in html
    assert rows(html)["trade_ids"][0] == "T-Ä"
    assert "T-Ä" in html.split('id="id_sample"')[1].split("</textarea>")[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Paste a document, or choose a file."),
        ({"sample": "  "}, "Paste a document, or choose a file."),
        ({"sample": "<a/>", "mapping": "x" * 300_000}, "A mapping may have 262144 characters."),
    ],
)
def test_what_is_missing_or_too_much_is_said(ada: Client, fields: dict[str, str], words: str) -> None:
    assert words in shown(ada, 422, **fields)


def test_a_file_that_is_too_large_is_refused_by_its_size(ada: Client, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 1000

    html = shown(ada, 422, sample_file=SimpleUploadedFile("large.xml", b"x" * 2000))

    assert "large.xml has 2.0\N{NO-BREAK SPACE}KB. Up to 1000\N{NO-BREAK SPACE}bytes." in html


@pytest.mark.parametrize("document", ["", "{}", "<a", "\ufffd", "<a>&b;</a>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<a>" * 300])
def test_no_document_makes_the_page_fail(ada: Client, document: str) -> None:
    assert ada.post("/inspect/", {"sample": document}).status_code in (200, 422)


def test_markup_in_a_document_stays_text(ada: Client) -> None:
    response = ada.post("/inspect/", {"sample": native("&lt;script&gt;alert(1)&lt;/script&gt;")})

    html = response.content.decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_quarantined_message_can_be_inspected_with_a_mapping(ada: Client, otto: Client) -> None:
    message = factories.quarantined(body=blotter(deal()))
    address = f"/inspect/?message={message.pk}"

    assert f'href="{address}"' in ada.get(f"/quarantine/{message.pk}/").content.decode()
    assert "/inspect/" not in otto.get(f"/quarantine/{message.pk}/").content.decode()
    assert "urn:acme:blotter" in ada.get(address).content.decode()
    assert ada.get("/inspect/?message=999999").status_code == 404
    assert ada.get("/inspect/?message=nonsense").status_code == 200


def test_a_broken_folder_is_told_here_and_takes_no_page_down(ada: Client, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(ACME.replace("[match]", "[mtach]"))
    settings.TRADES_DIALECTS_DIR = str(tmp_path)

    html = unescape(ada.get("/inspect/").content.decode())

    assert "acme.toml: match is missing." in html
    assert "pasted.xml is a trade event" in shown(ada, sample=native())
    assert ada.get("/").status_code == 200
    dialects._in_use.cache_clear()


def test_each_of_several_messages_shows_its_own_warnings(ada: Client) -> None:
    unzoned = ACME.replace(', zone = "Europe/London"', "")
    deals = deal(stamp="20261120;093000"), deal("D-2", stamp="20261120;094500")

    html = shown(ada, sample=blotter(*deals), mapping=unzoned)
    parts = html.split('id="h-json"')[0].split('id="h-part-')[1:]
    alone = shown(ada, sample=blotter(deals[0]), mapping=unzoned).split('id="h-json"')[0]

    assert [re.findall(r"The time (\S+) states no zone", part) for part in parts] == [["20261120;093000"], ["20261120;094500"]]
    assert alone.count("states no zone") == 1


def test_a_document_that_no_mapping_reads_is_not_called_private(ada: Client) -> None:
    html = shown(ada, sample=blotter(deal()))

    assert "Unknown format, seems to carry trades</span>" in html
    assert ">What was found</h2>" in html
    assert "Private" not in html
    assert ">What the mapping found</h2>" in shown(ada, sample=native())
