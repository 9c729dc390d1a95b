"""What the portal does not recognise, published by somebody who names its message group; and the trace a request belongs to."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django.fixtures import Settings

from tests.support.native import NOON, native, received, several
from tests.web.asking import page, post
from trades import history
from trades.handing_in import NOT_UNDERSTOOD
from trades.models import Draft, Hold, Message, Publication, Refusal, Upload

pytestmark = pytest.mark.django_db
SCRIPT = {"X-Requested-With": "XMLHttpRequest"}
WARNING = (
    "1 message is not understood and goes out as it is, in message group T-10041. A worker of this portal puts such a message into "
    "quarantine and holds what follows in that group until a person decides. Any other consumer gets it as it is."
)
HEARTBEAT = '<FIXML v="5.0"><Batch><Hdr/></Batch></FIXML>'
SAID = "A heartbeat: a batch without messages, sent to say that the sender is there."
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def review(client: Client, *contents: str | bytes, group: str = "T-10041") -> str:
    """The review of these files, handed in with a message group."""
    bodies = [content if isinstance(content, bytes) else content.encode() for content in contents]
    files = [SimpleUploadedFile(f"{number}.xml", body) for number, body in enumerate(bodies, start=1)]
    response = client.post("/uploads/new/", {"xml_files": files, "group": group})
    assert response.status_code == 302, response.content.decode()
    return page(client, response["Location"])


def drafts() -> list[tuple[str, str, str]]:
    return list(Draft.objects.order_by("document__position", "part").values_list("group_id", "summary", "body"))


def test_only_what_is_not_understood_goes_to_the_named_group_and_the_review_warns_of_it(otto: Client) -> None:
    html = review(otto, "<unknown>1</unknown>", native("T-1"))

    assert Upload.objects.get().group_id == "T-10041"
    assert [(group, summary) for group, summary, _ in drafts()] == [
        ("T-10041", "Not understood; published as it is"),
        ("T-1", "BOOK version 1 of T-1"),
    ]
    assert WARNING in html
    assert "2 files, 2 messages, 1 good, 1 with a warning" in html
    assert "To quarantine" in html


def test_what_follows_it_in_that_group_is_told_to_wait(otto: Client) -> None:
    html = review(otto, "<unknown/>", native("T-10041"))

    assert "Would wait behind an earlier message of this upload." in html


def test_without_holding_the_warning_says_that_what_follows_is_flagged(otto: Client, settings: Settings) -> None:
    settings.TRADES_HOLD = False

    assert "puts such a message into quarantine and flags what follows in that group." in review(otto, "<unknown/>")


def test_without_a_group_it_is_refused_as_ever(otto: Client) -> None:
    html = review(otto, "<unknown/>", group="")

    assert Refusal.objects.get().code == "unknown-dialect"
    assert not drafts()
    assert "not understood and goes out" not in html


def test_any_text_in_utf_8_will_do_and_nothing_else(otto: Client) -> None:
    review(otto, "T-10041;BOOK;Zürich", b"\xff\xfe\xfd", "a\x01b")

    assert drafts() == [("T-10041", "Not understood; published as it is", "T-10041;BOOK;Zürich")]
    assert list(Refusal.objects.order_by("pk").values_list("code", flat=True)) == ["not-text", "forbidden-character"]


def test_well_formed_xml_in_another_encoding_goes_out_in_utf_8(otto: Client) -> None:
    review(otto, '<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'.encode("latin-1"))

    assert drafts()[0][2] == '<?xml version="1.0" encoding="UTF-8"?><a>é</a>'


def test_of_a_document_that_is_understood_in_part_the_rest_stays_refused(otto: Client) -> None:
    broken = native("T-2").replace("<Event>BOOK</Event>", "<Event>NONSENSE</Event>")

    review(otto, several(native("T-1"), broken))

    assert [group for group, _, _ in drafts()] == ["T-1"]
    assert Refusal.objects.count() == 1


def test_it_is_published_as_it_is_after_the_decision(otto: Client) -> None:
    review(otto, "any text")

    otto.post(f"/uploads/{Upload.objects.get().pk}/decide/", {"choice": "all", "messages": "1"})

    assert list(Publication.objects.values_list("group_id", "body", "trade_id")) == [("T-10041", "any text", "")]


@pytest.mark.parametrize(
    ("group", "sentence"),
    [
        ("T 1", "The message group has a space at place 2."),
        ("Zürich", "The message group has the character 'ü' at place 2."),
        ("x" * 129, "The message group has 129 characters. SQS takes 1 to 128 letters"),
    ],
)
def test_a_group_that_sqs_does_not_allow_gets_a_sentence(otto: Client, group: str, sentence: str) -> None:
    html = post(otto, "/uploads/new/", {"pasted": native(), "group": group}, status=422)
    answer = otto.post("/uploads/begin/", {"group": group}, headers=SCRIPT)

    assert sentence in html
    assert 'id="id_group"' in html
    assert f'value="{group}"' in html
    assert (answer.status_code, answer.content.decode().startswith(sentence)) == (400, True)
    assert not Upload.objects.exists()


def test_what_was_pasted_stays_when_the_group_is_not_allowed_and_the_sentence_says_what_is(otto: Client) -> None:
    html = post(otto, "/uploads/new/", {"pasted": "<a>typed</a>", "group": "bad group é"}, status=422)

    assert re.search(r'<textarea[^>]* id="id_pasted"[^>]*><a>typed</a></textarea>', html)
    assert (
        "The message group has a space at place 4. SQS takes 1 to 128 letters (a to z, A to Z), digits and punctuation marks "
        "(!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~), no spaces and no letters with accents."
    ) in html


@pytest.mark.parametrize(("pasted", "place"), [("", "files-error"), (" \n ", "pasted-error")])
def test_the_error_of_a_form_without_a_document_is_where_the_person_looked_for_one(otto: Client, pasted: str, place: str) -> None:
    html = post(otto, "/uploads/new/", {"pasted": pasted}, status=422)

    assert re.findall(r'<div id="(\w+-error)" role="alert">', html) == [place]
    assert html.count("Choose at least one XML file, or paste a document.</span>") == 1


def test_a_message_about_no_trade_is_understood_and_goes_to_the_named_group_without_a_warning(otto: Client) -> None:
    html = review(otto, HEARTBEAT, "<unknown/>", group="HEART")

    assert [(group, summary) for group, summary, _ in drafts()] == [("HEART", SAID), ("HEART", NOT_UNDERSTOOD)]
    assert "2 files, 2 messages, 1 good, 1 with a warning" in html
    assert "1 message is not understood and goes out as it is, in message group HEART." in html

    html = review(otto, HEARTBEAT, group="HEART")

    assert "1 file, 1 message, 1 good" in html
    assert "not understood and goes out" not in html


def test_after_publishing_it_a_worker_keeps_it_as_a_reference_and_holds_nothing(otto: Client) -> None:
    review(otto, HEARTBEAT, native("HEART"), group="HEART")
    upload = Upload.objects.get()
    otto.post(f"/uploads/{upload.pk}/decide/", {"choice": "all", "messages": "2"})
    rows = Publication.objects.order_by("id")
    history.record([received(row.body, row.group_id, publication_id=row.publication_id) for row in rows], now=NOON)

    assert list(rows.values_list("group_id", "summary")) == [("HEART", SAID), ("HEART", "BOOK version 1 of HEART")]
    assert list(Message.objects.order_by("id").values_list("outcome", flat=True)) == ["REFERENCE", "RECORDED"]
    assert not Hold.objects.exists()
    assert NOT_UNDERSTOOD not in page(otto, f"/uploads/{upload.pk}/")


def test_each_message_about_no_trade_of_a_document_goes_out_beside_those_about_trades(otto: Client) -> None:
    review(otto, '<FIXML v="5.0"><Order ID="1"/><TrdCaptRpt TrdID="T-1" TransTyp="0"/><Order ID="2"/></FIXML>', group="HEART")

    assert [group for group, _, _ in drafts()] == ["HEART", "T-1", "HEART"]
    assert NOT_UNDERSTOOD not in [summary for _, summary, _ in drafts()]


def test_a_message_that_is_understood_but_can_not_be_sent_is_refused_whatever_the_group(otto: Client, settings: Settings) -> None:
    settings.TRADES_PAYLOAD_BUCKET = ""

    review(otto, native("T-1") + f"<!--{'x' * 1_048_576}-->")

    assert Refusal.objects.get().code == "too-large"
    assert not drafts()


def test_the_review_shows_the_size_of_the_text_and_the_publication_says_what_else_it_counts(otto: Client) -> None:
    html = review(otto, "<a>28 bytes of text here</a>")
    size = len("<a>28 bytes of text here</a>")
    assert re.search(rf'<td class="r num">{size}\sbytes</td>', html)

    otto.post(f"/uploads/{Upload.objects.get().pk}/decide/", {"choice": "all", "messages": "1"})
    publication = Publication.objects.get()

    assert publication.size > size
    assert f">{publication.size} bytes with its attributes<" in page(otto, f"/outbox/{publication.publication_id}/")


def test_a_script_names_the_group_when_it_begins(otto: Client) -> None:
    steps = otto.post("/uploads/begin/", {"group": " T-10041 "}, headers=SCRIPT).json()

    told = otto.post(steps["files"], {"file": SimpleUploadedFile("a.txt", b"any text"), "position": 1}, headers=SCRIPT).json()

    assert told == {"files": 1, "messages": 1, "refused": 0, "reasons": []}
    assert [group for group, _, _ in drafts()] == ["T-10041"]


def test_the_form_says_how_the_page_and_the_command_differ(otto: Client) -> None:
    html = unescape(otto.get("/uploads/new/").content.decode())

    assert "all others go to the groups of their trades" in html
    assert "<code>publish_trades --group</code> puts all documents of the run into the group." in html


def test_the_trace_of_the_request_goes_along_with_its_messages(otto: Client) -> None:
    response = otto.post("/uploads/new/", {"pasted": native()}, headers={"traceparent": TRACE})
    draft = Draft.objects.get()
    otto.post(f"{response['Location']}decide/", {"choice": "all"})

    row = Publication.objects.get()
    assert (Upload.objects.get().traceparent, row.traceparent) == (TRACE, TRACE)
    assert row.size == draft.size == len(row.body.encode()) + len("PublicationIdString") + 36 + len("traceparentString") + len(TRACE)


@pytest.mark.parametrize(
    "given", ["", "x", TRACE.upper(), TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32), f"{TRACE}-x", f"ff{TRACE[2:]}"]
)
def test_a_trace_that_is_none_is_dropped(otto: Client, given: str) -> None:
    otto.post("/uploads/new/", {"pasted": native()}, headers={"traceparent": given})

    assert Upload.objects.get().traceparent == ""
