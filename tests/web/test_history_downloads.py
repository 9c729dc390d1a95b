"""The whole history of a trade as files: the bytes as they came, in queue order, and a list of everything."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.web import factories, scenes
from trades.models import Event, Message
from trades.web.addresses import TradeAddress
from trades.web.downloads import CHUNK

pytestmark = pytest.mark.django_db


def got(client: Client, address: str) -> bytes:
    response = client.get(address)
    assert response.status_code == 200
    assert response.streaming
    return b"".join(response)


def archive(client: Client, trade_id: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(got(client, TradeAddress(trade_id).history("zip"))))


def records(client: Client, trade_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(got(client, TradeAddress(trade_id).history("json")))["records"]
    return found


def test_the_zip_holds_every_message_to_the_byte_in_queue_order(vera: Client) -> None:
    scenes.late_trade()

    made = archive(vera, "T-1")

    assert made.testzip() is None
    assert made.namelist() == [
        "0001-BOOK.xml", "0002-UPDATE.xml", "0003-STATUS.xml", "0004-STATUS.xml", "0005-CORRECT.xml", "history.json", "history.csv",
    ]  # fmt: skip
    for event in Event.objects.select_related("message"):
        content = made.read(f"{event.position:04}-{event.event_class}.xml")
        assert content == event.message.body.encode()
        assert hashlib.sha256(content).hexdigest() == event.message.body_sha256


def test_bytes_with_other_line_ends_and_letters_come_back_as_they_were(vera: Client) -> None:
    body = '<?xml version="1.0"?>\r\n<a>é 取引\n</a>\n\n'
    factories.event(factories.trade(), body=body)

    assert archive(vera, "T-1").read("0001-BOOK.xml") == body.encode()


def test_the_lists_say_the_same_and_match_the_files(vera: Client) -> None:
    scenes.late_trade()

    made = archive(vera, "T-1")
    listed = json.loads(made.read("history.json"))
    rows = list(csv.DictReader(io.StringIO(made.read("history.csv").decode())))

    assert (listed["trade_id"], listed["order"], listed["event_count"]) == ("T-1", "queue", 5)
    assert [record["position"] for record in listed["records"]] == [1, 2, 3, 4, 5]
    assert [record["place"] for record in listed["records"]] == [1, 2, 4, 3, 5]
    for record, row in zip(listed["records"], rows, strict=True):
        assert hashlib.sha256(made.read(record["file"])).hexdigest() == record["body_sha256"] == row["body_sha256"]
        assert (row["file"], row["event_class"], row["message_id"]) == (record["file"], record["event_class"], record["message_id"])
    assert rows[0]["duplicates"] == "1"
    assert "LATE" in rows[3]["flags"]
    assert records(vera, "T-1") == listed["records"]
    assert got(vera, "/trades/T-1/history.csv") == made.read("history.csv")


def test_what_made_no_event_and_what_people_did_is_listed_too(vera: Client) -> None:
    scenes.repaired_trade()

    found = records(vera, "R-1")
    beside = [record for record in found if record["record"] == "no event"]

    assert [record["outcome"] for record in beside] == ["DISCARDED", "DISCARDED", "QUARANTINED"]
    assert beside[0]["handling"][0] | {"at": ""} == {"action": "discard", "at": "", "by": "ben", "note": "a fragment, sent again since"}
    corrected = next(record for record in found if record["corrects"])
    assert corrected["handling"][0]["note"] == "version mistyped"
    assert corrected["corrects"] == Message.objects.get(outcome="CORRECTED").pk


def test_messages_that_wait_are_listed(vera: Client) -> None:
    scenes.blocked_trade("B-9")

    beside = [record["outcome"] for record in records(vera, "B-9") if record["record"] == "no event"]

    assert beside == ["QUARANTINED", "HELD", "HELD", "HELD"]


@pytest.mark.parametrize("trade_id", ["a/b", "x/history.zip", "history.csv", "..", "UTI Ünïcode 取引", "-", "a#b?c", "50%"])
def test_any_id_has_its_files(vera: Client, trade_id: str) -> None:
    factories.event(factories.trade(trade_id))

    for form in ("zip", "json", "csv"):
        assert got(vera, TradeAddress(trade_id).history(form))
    assert vera.get(TradeAddress(trade_id).page()).status_code == 200


def test_a_cell_is_never_a_formula(vera: Client) -> None:
    factories.event(factories.trade(), reason="=HYPERLINK(1)", sender="@sum", status="-1")

    row = next(csv.DictReader(io.StringIO(got(vera, "/trades/T-1/history.csv").decode())))

    assert (row["reason"], row["sender"], row["status"]) == ("'=HYPERLINK(1)", "'@sum", "'-1")


def test_a_long_history_is_read_in_parts(vera: Client) -> None:
    trade, shared = factories.trade(), factories.message()
    for _ in range(CHUNK * 2 + 1):
        factories.event(trade, message=shared, details={})

    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = records(vera, "T-1")

    assert [record["position"] for record in found] == list(range(1, CHUNK * 2 + 2))
    assert len([query for query in queries if 'FROM "trades_event" INNER JOIN "trades_message"' in query["sql"]]) == 4


def test_files_are_for_those_who_may_see_trades_and_of_one_trade(vera: Client, nemo: Client) -> None:
    for scheme in ("urn:a", "urn:b"):
        factories.event(factories.trade("T-1", scheme=scheme))

    assert nemo.get("/trades/T-1/history.zip?scheme=urn:a").status_code == 403
    assert vera.get("/trades/T-1/history.zip").status_code == 404
    assert vera.get("/trades/none/history.json").status_code == 404
    assert vera.get("/trades/T-1/history.csv?scheme=urn%3Aa")["Content-Disposition"] == 'attachment; filename="T-1-history.csv"'
    assert Client().get("/trades/T-1/history.zip").status_code == 302


def test_the_command_says_what_people_did_and_what_made_no_event() -> None:
    scenes.repaired_trade()
    factories.message("DISCARDED", stated_trade_id="R-1", reason="Set aside.", message_id="m-77")

    printed, told = io.StringIO(), io.StringIO()
    call_command("trade_history", "R-1", stdout=printed)
    call_command("trade_history", "R-1", "--json", stdout=told)

    assert "corrected by ana (version mistyped)" in printed.getvalue()
    assert "no event: message m-77 discarded  Set aside." in printed.getvalue()
    assert json.loads(told.getvalue())["events"][1]["handling"] == ["corrected by ana (version mistyped)"]
    assert [row["message_id"] for row in json.loads(told.getvalue())["no_events"]][-1] == "m-77"
