"""Messages whose texts are too large for a page: every page shows their start, says so, and leads to all of it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from tests.support.native import native
from tests.web import factories
from tests.web.asking import page, post
from trades import sqs
from trades.models import Event, Hold, Message, PayloadPart, Publication, Trade
from trades.web import correcting, texts

pytestmark = pytest.mark.django_db
MIB = 1024 * 1024
POINTER = '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"firm-payloads","s3Key":"trades/abc.xml"}]'
LONG = native("T-1").replace("</TradeStatus>", f"<!--{'long ' * 300_000}--></TradeStatus>").encode()
MOST_QUERIES = 12


@pytest.fixture(autouse=True)
def var_dir_of_the_test(settings: Settings, tmp_path: Any) -> None:
    settings.VAR_DIR = tmp_path / "var"


@pytest.fixture
def of_large() -> Trade:
    """A trade of one event that fits, and one that came through S3 and does not."""
    trade = factories.trade()
    factories.event(trade, body=native("T-1"))
    attributes = {"ExtendedPayloadSize": str(len(LONG)), "traceparent": "00-0af7-b7ad-01"}
    through_s3: dict[str, Any] = {"pointer": POINTER, "attributes": attributes}
    factories.event(trade, message=factories.large(LONG, group_id="T-1", **through_s3), event_class="UPDATE")
    return trade


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html.partition("<main")[2])).split())


# A trade's pages


def test_the_xml_tab_shows_the_start_and_leads_to_the_whole(vera: Client, of_large: Trade) -> None:
    html = page(vera, "/trades/T-1/events/2/?tab=xml&text=formatted")

    said = text_of(html)
    assert f"The text has {len(LONG):,} bytes; these are the first 65,536. The whole text: Download" in said
    assert hashlib.sha256(LONG).hexdigest() in said
    assert "long long long" in html
    assert len(html) < 120_000
    assert "Formatted" not in said
    whole = vera.get("/trades/T-1/events/2/raw")
    assert whole.streaming
    pieces = list(whole)
    assert b"".join(pieces) == LONG
    assert max(map(len, pieces)) <= MIB
    assert whole["Content-Length"] == str(len(LONG))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("events/2/", "Texts of more than a mebibyte are not compared here, and one of these is larger"),
        ("events/2/", "Download the texts of event 1 and event 2 and compare them with a program of your own."),
        ("events/1/?compare=2", "Texts of more than a mebibyte are not compared here"),
        ("events/2/?tab=fields", "too many for its values to be listed here. Download it"),
        ("events/2/?tab=transport", f"Travelled through S3: s3://firm-payloads/trades/abc.xml, {len(LONG):,} bytes"),
        ("events/2/?tab=transport", "Trace context 00-0af7-b7ad-01"),
        ("events/2/?tab=transport", f"Body in the queue {POINTER}"),
    ],
)
def test_the_other_tabs_say_what_is_not_shown_and_why(vera: Client, of_large: Trade, address: str, said: str) -> None:
    assert said in text_of(page(vera, f"/trades/T-1/{address}"))


def test_the_first_event_of_a_trade_may_be_large(vera: Client) -> None:
    factories.event(factories.trade(), message=factories.large(LONG, group_id="T-1"))

    said = text_of(page(vera, "/trades/T-1/"))

    assert f"First event: nothing to compare. The document has {len(LONG):,} bytes, too many for its values" in said


@pytest.mark.parametrize("tab", ["changes", "xml", "fields", "transport"])
def test_no_tab_reads_more_than_the_start_or_asks_much(vera: Client, of_large: Trade, tab: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        page(vera, f"/trades/T-1/events/2/?tab={tab}")

    assert len(queries) <= MOST_QUERIES
    assert sum(PayloadPart._meta.db_table in query["sql"] for query in queries) <= (tab == "xml")


def test_the_history_as_a_zip_has_the_whole_text(vera: Client, of_large: Trade) -> None:
    made = zipfile.ZipFile(io.BytesIO(b"".join(vera.get("/trades/T-1/history.zip"))))

    assert made.testzip() is None
    assert made.read("0002-UPDATE.xml") == LONG
    assert made.read("0001-BOOK.xml") == of_large.events.get(position=1).message.body.encode()
    assert json.loads(made.read("history.json"))["records"][1]["size"] == len(LONG)


def test_the_trace_tells_how_it_travelled(vera: Client, of_large: Trade) -> None:
    message = Message.objects.get(pointer=POINTER)
    Message.objects.update(body_md5=sqs.md5_of(POINTER))

    said = text_of(page(vera, f"/trace/messages/{message.pk}/"))

    assert f"Travelled through S3: s3://firm-payloads/trades/abc.xml, {len(LONG):,} bytes" in said
    assert "(equals that of its text)" in said
    assert "Trace context 00-0af7-b7ad-01" in said


def test_the_trace_of_a_publication_tells_where_its_text_went(vera: Client) -> None:
    factories.upload()
    payload, md5 = factories.large(LONG).payload, sqs.md5_of(POINTER)
    Publication.objects.update(body="", payload=payload, pointer=POINTER, md5=md5)

    with CaptureQueriesContext(connection) as queries:
        said = text_of(page(vera, f"/trace/publications/{Publication.objects.get().publication_id}/"))

    assert f"Travelled through S3: s3://firm-payloads/trades/abc.xml, {len(LONG):,} bytes" in said
    assert f"{md5} (equals ours)" in said
    assert len(queries) <= MOST_QUERIES


# In quarantine


@pytest.fixture
def refused() -> Message:
    """A large text in quarantine with another behind it, wrong at its end."""
    bad = factories.large(
        LONG + b"<", "QUARANTINED", group_id="T-1", code="not-well-formed", reason="It ends too soon.", line=90_000, column=2
    )
    Hold.objects.create(queue=bad.queue, group_id="T-1", message=bad, since=factories.NOON)
    factories.large(LONG, "HELD", group_id="T-1")
    return bad


def test_the_page_of_a_large_message_shows_its_start_and_says_what_to_do(otto: Client, refused: Message) -> None:
    html = page(otto, f"/quarantine/{refused.pk}/")

    said = text_of(html)
    assert f"The text has {len(LONG) + 1:,} bytes; these are the first 65,536." in said
    assert "It is too large to be corrected here. Download it, correct it with a program of your own, hand the file in" in said
    assert "Correct and replay" not in said
    assert "Line 90000, column 2:" in said
    assert 'href="#L90000"' not in html
    assert b"".join(otto.get(f"/quarantine/{refused.pk}/raw")) == LONG + b"<"


def test_the_editor_does_not_open_for_it(otto: Client, refused: Message) -> None:
    for send in (otto.get, otto.post):
        assert send(f"/quarantine/{refused.pk}/correct/")["Location"] == f"/quarantine/{refused.pk}/"
    assert "is too large to be corrected here. Download it" in page(otto, f"/quarantine/{refused.pk}/")


def test_correcting_many_leaves_it_as_it_is_and_says_why(otto: Client, refused: Message) -> None:
    said = text_of(post(otto, "/quarantine/correct/", {"m": str(refused.pk), "find": "T-1", "replace": "T-2", "step": "preview"}))

    assert "Too large" in said
    assert "is too large to be corrected here" in said
    assert "None of the messages would be understood." in said


def test_a_correction_may_have_what_a_message_of_the_queue_may_have() -> None:
    check = correcting.check("<a>" + "x" * MIB + "</a>", "<a/>")

    assert not check.is_good
    assert check.reason.startswith("The corrected text would have 1.0\N{NO-BREAK SPACE}MB, and one may have 1.0\N{NO-BREAK SPACE}MB.")


def test_a_conflict_with_a_large_text_is_shown_without_a_comparison(otto: Client, refused: Message) -> None:
    later = factories.large(LONG + b"2", "QUARANTINED", code="publication-conflict", reason="Came before.", conflicts_with=refused)

    said = text_of(page(otto, f"/quarantine/{later.pk}/"))

    assert "each of these is larger" in said
    assert "Download both, and compare them with a program of your own." in said


def test_a_search_for_text_says_that_large_texts_are_not_looked_through(otto: Client, refused: Message) -> None:
    assert "Texts of more than 1 MiB are not looked through." in page(otto, "/quarantine/?q=long+long")
    assert "are not looked through" not in page(otto, "/quarantine/")


def test_replaying_it_reads_all_of_it_and_records_it(otto: Client) -> None:
    message = factories.large(LONG, "QUARANTINED", group_id="T-1", code="unknown-dialect", reason="Unknown.")

    otto.post(f"/quarantine/{message.pk}/replay/", {"seen": "0"})

    assert Event.objects.get(message=message).trade.trade_id == "T-1"


def unread(**fields: Any) -> Message:
    """A message whose text in S3 could not be had."""
    known = {
        "code": "payload-missing",
        "reason": "S3 has no such object.",
        "pointer": POINTER,
        "attributes": {"ExtendedPayloadSize": "2097152"},
    }
    return factories.message("QUARANTINED", POINTER, **{**known, **fields})


def test_a_text_that_could_not_be_had_is_shown_with_where_it_should_be_and_what_to_do(otto: Client) -> None:
    message = unread()

    said = text_of(page(otto, f"/quarantine/{message.pk}/"))

    assert "Text missing in S3" in said
    assert "Bucket firm-payloads Key trades/abc.xml Size that its sender states 2,097,152 bytes" in said
    assert "What to do: Replay it once the text is in S3 as its sender put it: it is fetched again." in said
    assert "This is what the queue delivered in place of the text" in said
    assert "s3://firm-payloads/trades/abc.xml, not had" in said
    assert "Correct and replay" not in said


@pytest.mark.parametrize("where", ['"a\\ud800","s3Key":"k"', '"a","s3Key":"\\ud800"', '"a","s3Key":"\\u0000"', '"a","s3Key":[]'])
def test_a_pointer_to_what_can_be_no_object_is_shown_as_it_came(otto: Client, where: str) -> None:
    body = f'["x",{{"s3BucketName":{where}}}]'
    message = factories.message("QUARANTINED", body, code="payload-pointer", pointer=body, attributes={"ExtendedPayloadSize": "5"})

    said = text_of(page(otto, f"/quarantine/{message.pk}/"))

    assert "through S3, but the message does not say where it is, not had" in said
    assert where in said


def test_a_replay_while_s3_is_away_changes_nothing_and_says_so(otto: Client, settings: Settings) -> None:
    settings.TRADES_PAYLOAD_BUCKETS = ["firm-payloads"]
    message = unread()

    response = otto.post(f"/quarantine/{message.pk}/replay/", {"seen": "0"}, follow=True)

    assert "can't be fetched just now" in text_of(response.content.decode())
    assert Message.objects.get(pk=message.pk).outcome == "QUARANTINED"


# Inspecting


def test_inspect_reads_a_large_file_and_shows_its_start(ada: Client) -> None:
    said = text_of(post(ada, "/inspect/", {"sample_file": SimpleUploadedFile("long.xml", LONG)}))

    assert "long.xml is" in said
    assert "T-1" in said
    assert f"The document has {len(LONG):,} bytes; these are the first 65,536." in said


def test_inspect_does_not_put_a_large_message_into_its_form(ada: Client) -> None:
    message = factories.large(LONG)

    html = page(ada, f"/inspect/?message={message.pk}")

    assert f"Message {message.pk} has {len(LONG):,} bytes, too many for this form." in text_of(html)
    assert f"/quarantine/{message.pk}/raw" in html
    assert "long long" not in html


def test_inspect_says_where_a_large_file_is_no_text(ada: Client) -> None:
    html = post(ada, "/inspect/", {"sample_file": SimpleUploadedFile("bytes.xml", b"<a>" + b"x" * MIB + b"\xff</a>")}, status=422)

    assert "can't be" in text_of(html) or "UTF-8" in text_of(html)


# On the command line


def test_the_quarantine_command_shows_the_start_and_corrects_no_large_text(
    refused: Message, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    call_command("quarantine", "show", str(refused.pk), "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["size"], len(told["body_start"])) == (len(LONG) + 1, texts.START)

    with pytest.raises(CommandError, match=r"a text of more than 1,048,576 is not corrected in its place\. Download it from its page"):
        call_command("quarantine", "correct", str(refused.pk), str(tmp_path / "any.xml"), "--reason", "r")


def test_reprocess_messages_reads_large_texts(capsys: pytest.CaptureFixture[str]) -> None:
    message = factories.large(LONG, "QUARANTINED", group_id="T-1", code="unknown-dialect", reason="Unknown.")

    call_command("reprocess_messages")

    assert "1 read again: 1 recorded." in capsys.readouterr().out
    assert Message.objects.get(pk=message.pk).outcome == "RECORDED"


def test_inspect_message_reads_a_large_file(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "long.xml"
    file.write_bytes(LONG)

    call_command("inspect_message", str(file))

    assert "T-1" in capsys.readouterr().out
