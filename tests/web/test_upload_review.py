"""The review of an upload: what each message would do, before anything is published, and the decision."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tests.support.native import NOON, native, received, several
from tests.web import factories
from tests.web.asking import page, post
from trades import history
from trades.lifecycle import FLAG_WORDS, Flag
from trades.models import AuditEntry, Document, Draft, Message, Publication, Refusal, Upload
from trades.web.upload_errors import safe

pytestmark = pytest.mark.django_db


def review(client: Client, *contents: str, names: tuple[str, ...] = ()) -> str:
    """Hand files in; gives the address of their review."""
    shown = names or tuple(f"{number}.xml" for number in range(1, len(contents) + 1))
    files = [SimpleUploadedFile(name, content.encode()) for name, content in zip(shown, contents, strict=True)]
    response = client.post("/uploads/new/", {"xml_files": files})
    assert response.status_code == 302, response.content.decode()
    return str(response["Location"])


def files_of(html: str) -> list[str]:
    return re.findall(r'<th scope="row"><span class="wrap">([^<]+)</span>', html)


def test_each_message_says_what_it_is_and_what_it_would_do(otto: Client) -> None:
    history.record([received(native("T-1"))], now=NOON)

    html = page(otto, review(otto, native("T-1", "CANCEL", 2), native("T-2", "UPDATE", 3)))

    assert "2 files, 2 messages, 1 good, 1 with a warning" in html
    assert '<a class="id" href="/trades/T-1/">T-1</a>' in html
    assert "Live to Cancelled, Received" in html
    assert 'T-2 <span class="dim">new</span>' in html
    assert "TradeStatus, native" in html
    assert '<td class="mono cut">T-1</td>' in html
    assert FLAG_WORDS[Flag.PENDING] in unescape(html)
    assert not Publication.objects.exists()


def test_the_buttons_name_what_they_publish(otto: Client) -> None:
    good, mixed = (
        page(otto, review(otto, native("T-1"), native("T-2"))),
        page(otto, review(otto, native("T-3", "UPDATE", 2), native("T-4"))),
    )
    nothing = page(otto, review(otto, "<broken"))

    assert "Publish 2 messages" in good
    assert "good message" not in good
    assert "Publish 1 good message<" in mixed
    assert "Publish all 2" in mixed
    assert "No message of this upload can be published." in nothing
    assert re.findall(r"Publish \w+(?: \d+)?", nothing) == ["Publish none"]


def test_publishing_only_the_good_ones_says_what_became_of_the_rest(otto: Client) -> None:
    address = review(otto, native("T-1"), native("T-2", "UPDATE", 2), "<broken")

    response = otto.post(f"{address}decide/", {"choice": "good", "messages": "1"}, follow=True)

    html = response.content.decode()
    assert "Published 1 message. 1 message was left out. 1 file was refused." in html
    assert "The queue has not taken 1 of them yet; the outbox keeps it and tries again." in html
    assert "1 of 2 messages published. Left out: UPDATE version 2 of T-2 (2.xml, message 1)." in html
    assert [row.trade_id for row in Publication.objects.all()] == ["T-1"]


def test_a_second_press_is_told_what_happened_and_changes_nothing(otto: Client, ada: Client) -> None:
    address = review(otto, native("T-1"))
    otto.post(f"{address}decide/", {"choice": "all", "messages": "1"})

    html = ada.post(f"{address}decide/", {"choice": "none"}, follow=True).content.decode()

    assert re.search(r"otto published this upload at [\d:]{8} UTC. Nothing was changed by you.", html)
    assert (Publication.objects.count(), AuditEntry.objects.count()) == (1, 1)


def test_publishing_none_keeps_the_files(otto: Client) -> None:
    address = review(otto, native("T-1"))

    html = otto.post(f"{address}decide/", {"choice": "none"}, follow=True).content.decode()

    assert "Nothing was published. The files are kept with the upload." in html
    assert "Withdrawn by otto" in html
    assert Document.objects.count() == 1


def test_an_unknown_choice_gets_a_sentence(otto: Client) -> None:
    address = review(otto, native("T-1"))

    assert "Choose what to publish" in post(otto, f"{address}decide/", {"choice": "some"}, status=400)
    assert Upload.objects.get().stage == "REVIEW"


def test_viewers_see_the_review_and_decide_nothing(otto: Client, vera: Client) -> None:
    address = review(otto, native("T-1"))

    html = page(vera, address)

    assert "An operator decides what is published." in html
    assert "<button" not in html.split('<section class="panel gap-below"')[1].split("</section>")[0]
    for step in ("check", "decide", "files"):
        assert vera.post(f"{address}{step}/").status_code == 403


def test_rows_can_be_filtered_and_are_paged(otto: Client) -> None:
    history.record([received(native("T-1"))], now=NOON)
    address = review(otto, native("T-2"), native("T-3", "UPDATE", 9), "<broken", several(*(native(f"T-{n}") for n in range(10, 120))))

    shown = {show: files_of(page(otto, f"{address}?show={show}")) for show in ("good", "warnings", "refused", "all")}

    assert shown["warnings"] == ["2.xml"]
    assert shown["refused"] == ["3.xml"]
    assert shown["good"][:2] == ["1.xml", "4.xml"]
    assert shown["all"][:4] == ["1.xml", "2.xml", "3.xml", "4.xml"]
    assert (len(shown["all"]), len(files_of(page(otto, f"{address}?page=2")))) == (100, 13)
    for nonsense in ("?page=x", "?show=x", "?page=99999999999999"):
        assert page(otto, address + nonsense)


@pytest.mark.parametrize("files", [1, 200])
def test_the_number_of_queries_does_not_depend_on_the_number_of_files(
    otto: Client, files: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    address = review(otto, *(native(f"T-{n}", "UPDATE", n + 1) for n in range(files)), "<broken", "<broken")
    otto.get(address)  # the first time, Django asks the database once whether it knows JSON

    with django_assert_max_num_queries(12):
        otto.get(address)


def test_the_same_content_as_before_is_named_and_may_be_published_all_the_same(otto: Client) -> None:
    body = native("T-1")
    first = review(otto, body)
    again = review(otto, body, native("T-2"))

    html = page(otto, again)

    assert html.count("Same content as") == 1
    assert re.search(rf'Same content as <a href="{first}">upload \d+</a>, <time[^>]+>\d+ s</time> ago', html)
    otto.post(f"{again}decide/", {"choice": "all"})
    assert Publication.objects.count() == 2
    assert page(otto, again).count("Same content as") == 1
    assert "Same content as" not in page(otto, first)


def test_what_was_checked_long_ago_or_has_changed_since_asks_for_another_check(otto: Client) -> None:
    history.record([received(native("T-1"))], now=NOON)
    address = review(otto, native("T-1", "UPDATE", 2))
    assert "check again." not in page(otto, address)

    Upload.objects.update(checked_at=timezone.now() - timedelta(minutes=11))
    assert "This was checked" in page(otto, address)

    otto.post(f"{address}check/")
    history.record([received(native("T-1", "CANCEL", 2))], now=timezone.now())
    assert re.search(r"T-1</a> has changed since this was checked", page(otto, address))

    otto.post(f"{address}check/")
    html = page(otto, address)
    assert "has changed since" not in html
    assert Draft.objects.filter(effect__grade="warning").count() == 1


def test_what_was_never_checked_says_so(otto: Client) -> None:
    address = review(otto, native("T-1"))
    Draft.objects.update(effect=None)
    Upload.objects.update(checked_at=None)

    html = page(otto, address)

    assert "Check again to rehearse them." in html
    assert "Not checked</span>" in html


def test_a_message_that_would_wait_names_what_it_waits_for(otto: Client) -> None:
    history.record([received("<broken", "T-1")], now=NOON)
    blocked = Message.objects.get()

    html = page(otto, review(otto, native("T-1")))

    assert f'Would wait behind the quarantined <a href="/quarantine/{blocked.pk}/">message {blocked.pk}</a>' in html


def test_uploads_in_review_are_in_the_list_so_that_they_are_not_forgotten(otto: Client, vera: Client) -> None:
    address = review(otto, native("T-1"))

    html = page(vera, "/uploads/?stage=review")

    assert f'href="{address}"' in html
    assert 'In review <span class="n warn">1</span>' in html


def test_the_error_report_is_a_table_that_no_spreadsheet_runs(otto: Client) -> None:
    address = review(otto, "<a>\n  <b>text</c>\n</a>", native("T-1"), names=("=cmd.xml", "good.xml"))
    otto.post(f"{address}decide/", {"choice": "all"})
    publication = Publication.objects.get()
    factories.message("QUARANTINED", publication_id=publication.publication_id, code="mapping-error", reason="No trade id.", line=4)

    response = otto.get(f"{address}errors.csv")

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response["Content-Disposition"]
    heading, refused, quarantined = list(csv.reader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert heading == ["file", "part", "line", "column", "code", "reason", "expected"]
    assert (refused[0], refused[1], refused[2], refused[4], refused[6]) == ("'=cmd.xml", "1", "2", "not-well-formed", "well-formed XML")
    assert (quarantined[0], quarantined[2], quarantined[5]) == ("good.xml", "4", "In quarantine: No trade id.")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_begins_like_a_formula_becomes_text(cell: str) -> None:
    assert safe(cell) == f"'{cell}"


def test_a_reason_with_markup_is_shown_as_text(otto: Client) -> None:
    address = review(otto, "<a>", names=("<script>x.xml",))
    Refusal.objects.update(reason="<script>alert(1)</script>")

    assert "<script>alert" not in otto.get(address).content.decode()
