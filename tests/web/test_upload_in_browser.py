"""Uploading in headless Chromium: many files with progress, the review, and how each message gets to "recorded"."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.utils import timezone
from playwright.sync_api import Browser, ConsoleMessage, Dialog, FilePayload, Page, Route, expect
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from tests.support.broker import FifoQueue
from tests.support.native import NOON, native, received
from tests.web import factories
from tests.web.looking import PASSWORD, SIZES, look, make_people
from tests.web.test_upload_archives import zipped
from trades import history
from trades.models import Document, Message, Publication, Upload

pytestmark = pytest.mark.django_db(transaction=True)
REVIEW = re.compile(r"/uploads/\d+/$")


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser complains about."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture
def otto(live_server: LiveServer) -> User:
    """An operator."""
    make_people("otto")
    return User.objects.get(username="otto")


def sign_in(page: Page, live_server: LiveServer) -> None:
    page.goto(f"{live_server.url}/uploads/new/")
    page.get_by_label("Name").fill("otto")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Upload")).to_be_visible()
    page.wait_for_load_state()  # the heading can be seen before the scripts have run


def xml(name: str, content: str | bytes) -> FilePayload:
    return {"name": name, "mimeType": "text/xml", "buffer": content.encode() if isinstance(content, str) else content}


def choose(page: Page, *files: FilePayload) -> None:
    page.locator("#id_xml_files").set_input_files(files=list(files))


def record_what_was_published() -> None:
    """What a worker does with what is in the queue."""
    rows = Publication.objects.order_by("id")
    history.record([received(row.body, row.group_id, publication_id=row.publication_id) for row in rows], now=timezone.now())


def test_fifty_files_with_two_bad_ones_are_sent_reviewed_published_and_followed_to_recorded(
    queue: FifoQueue, live_server: LiveServer, page: Page, otto: User, complaints: list[str]
) -> None:
    sign_in(page, live_server)
    files = [xml(f"{n:02}.xml", native(f"T-{n}")) for n in range(50)]
    files[7], files[30] = xml("07.xml", "<TradeStatus>\n  <TradeId>T-2</Trade>"), xml("30.xml", "<unknown/>")

    choose(page, *files)
    expect(page.locator(".files li")).to_have_count(50)
    page.get_by_role("button", name="Check 50 files").click()
    page.wait_for_url(REVIEW, timeout=60_000)

    expect(page.locator("#h-decide")).to_contain_text("50 files, 48 messages, 48 good, 2 refused")
    expect(page.get_by_text("line 2, column")).to_be_visible()
    assert not Publication.objects.exists()
    assert list(Document.objects.order_by("position").values_list("name", flat=True)) == [f"{n:02}.xml" for n in range(50)]
    page.get_by_role("button", name="Publish 48 messages").click()
    expect(page.get_by_text("Published 48 messages. 2 files were refused.")).to_be_visible()
    assert queue.counts() == (48, 0)
    expect(page.locator("tr", has_text="In the queue")).to_have_count(48)

    record_what_was_published()

    expect(page.locator("tr", has_text="Recorded")).to_have_count(48)
    expect(page.locator("#progress")).to_contain_text("48 messages published, 48 settled, 2 refused")
    expect(page.get_by_role("link", name="event 1 of T-12")).to_be_visible()
    assert complaints == []


def test_files_that_are_dropped_are_checked_before_anything_is_sent(live_server: LiveServer, page: Page, otto: User) -> None:
    sign_in(page, live_server)

    page.evaluate(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, text] of files) transfer.items.add(new File([text], name));
            const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
            document.querySelector("[data-drop]").dispatchEvent(event);
        }""",
        [["a.xml", "<a/>"], ["a.xml", "<a/>"], ["b.xml", "<a/>"], ["empty.xml", ""], ["notes.txt", "x"], [".hidden.xml", "x"]],
    )

    states = page.locator(".files li .state")
    expect(states).to_have_text(
        ["", "Left out: it is in the list already", re.compile("^Same content as a.xml$"), "Left out: the file is empty",
         "Left out: neither .xml nor .zip; name a message group first to publish it as it is"]
    )  # fmt: skip
    page.get_by_role("button", name="Remove notes.txt").click()
    expect(page.locator(".files li")).to_have_count(4)
    expect(page.get_by_role("button", name="Check 2 files")).to_be_enabled()
    assert not Upload.objects.exists()


def test_a_lost_connection_loses_nothing_and_only_what_failed_is_sent_again(live_server: LiveServer, page: Page, otto: User) -> None:
    sign_in(page, live_server)
    lost: list[str] = []

    def lose_one(route: Route) -> None:
        if b'filename="b.xml"' in (route.request.post_data_buffer or b"") and not lost:
            lost.append("b.xml")
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/files/", lose_one)
    choose(page, *(xml(f"{name}.xml", native(f"T-{name}")) for name in "abc"))
    page.get_by_role("button", name="Check 3 files").click()

    expect(page.get_by_text("1 of 3 files could not be sent.")).to_be_visible()
    expect(page.get_by_text("Failed (The connection was lost; nothing that was sent is gone. Retry.)")).to_be_visible()
    assert sorted(Document.objects.values_list("name", flat=True)) == ["a.xml", "c.xml"]
    page.get_by_role("button", name="Retry failed").click()
    page.wait_for_url(REVIEW)

    assert list(Document.objects.order_by("position").values_list("name", flat=True)) == ["a.xml", "b.xml", "c.xml"]
    assert Upload.objects.count() == 1


def test_sending_can_be_cancelled_and_leaving_asks_first(live_server: LiveServer, page: Page, otto: User) -> None:
    sign_in(page, live_server)
    page.route("**/files/", lambda route: None)
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", answer)
    choose(page, *(xml(f"{n}.xml", native(f"T-{n}")) for n in range(5)))
    page.get_by_role("button", name="Check 5 files").click()
    expect(page.get_by_text("Waiting")).to_have_count(2)
    with page.expect_event("dialog"):
        page.evaluate("setTimeout(() => location.assign('/'))")
    expect(page.locator("[data-overall]")).to_have_text(re.compile(r"0 of 5 files, \d\.\d of \d\.\d KB"))

    page.get_by_role("button", name="Cancel all").click()

    expect(page.get_by_text("Cancelled")).to_have_count(5)
    expect(page.get_by_role("button", name="Check and review")).to_be_enabled()
    assert asked == ["beforeunload"]
    assert not Document.objects.exists()


def test_a_session_that_ends_in_between_opens_the_sign_in_dialog_and_the_rest_is_sent_after_it(
    live_server: LiveServer, page: Page, otto: User
) -> None:
    sign_in(page, live_server)
    ended: list[str] = []

    def end_the_session(route: Route) -> None:
        if not ended:
            ended.append(route.request.url)
            Session.objects.all().delete()
        route.continue_()

    page.route("**/files/", end_the_session)
    choose(page, xml("a.xml", native("T-1")), xml("b.xml", native("T-2")))
    page.get_by_role("button", name="Check 2 files").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Password", exact=True).fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()
    page.wait_for_url(REVIEW)

    assert list(Document.objects.order_by("position").values_list("name", flat=True)) == ["a.xml", "b.xml"]
    assert Upload.objects.count() == 1


def test_pasted_text_and_a_zip_go_the_same_way(live_server: LiveServer, page: Page, otto: User) -> None:
    sign_in(page, live_server)
    choose(page, xml("day.zip", zipped({"b.xml": native("T-2"), "a.xml": native("T-1")})))
    page.get_by_role("tab", name="Paste XML").click()
    page.get_by_role("textbox", name="Paste XML").fill(native("T-3"))

    page.get_by_role("button", name="Check 1 file").click()
    page.wait_for_url(REVIEW)

    assert list(Document.objects.order_by("position").values_list("name", flat=True)) == ["a.xml", "b.xml", "pasted.xml"]
    expect(page.get_by_role("button", name="Publish 3 messages")).to_be_visible()


def test_a_file_over_the_limit_is_left_out_before_it_is_sent(live_server: LiveServer, page: Page, otto: User, settings: Settings) -> None:
    settings.TRADES_MAX_DOCUMENT_BYTES = 1000
    sign_in(page, live_server)

    choose(page, xml("large.xml", "x" * 1001), xml("good.xml", native("T-1")))

    expect(page.locator(".files li .state")).to_have_text(["Left out: a document may have 1000 bytes; split it", ""])
    expect(page.get_by_role("button", name="Check 1 file")).to_be_enabled()


def test_any_text_is_taken_once_a_message_group_is_named(live_server: LiveServer, page: Page, otto: User) -> None:
    sign_in(page, live_server)
    group = page.get_by_label("Message group for documents that are not understood")
    group.fill("T 1")
    choose(page, xml("deal.txt", "T-10041;BOOK"))
    page.get_by_role("button", name="Check 1 file").click()
    expect(page.get_by_role("alert").filter(has_text="The message group can't be used. SQS takes 1 to 128 letters")).to_be_visible()
    expect(group).to_be_focused()
    assert not Upload.objects.exists()

    group.fill("T-10041")
    page.get_by_role("button", name="Check 1 file").click()

    page.wait_for_url(REVIEW)
    expect(page.get_by_text("1 message is not understood and goes out as it is, in message group T-10041.")).to_be_visible()
    assert Upload.objects.get().group_id == "T-10041"


def test_what_was_typed_stays_until_it_can_be_sent(live_server: LiveServer, page: Page, otto: User) -> None:
    sign_in(page, live_server)
    page.get_by_role("tab", name="Paste XML").click()
    typed, check = page.get_by_role("textbox", name="Paste XML"), page.get_by_role("button", name="Check and review")
    nothing = page.get_by_role("alert").filter(has_text="Choose at least one XML file, or paste a document.")
    for blank in ("", " \n "):
        typed.fill(blank)
        check.click()
        expect(nothing).to_be_visible()
        expect(typed).to_be_focused()
    assert page.url.endswith("/uploads/new/")

    typed.fill("<a>typed</a>")
    group = page.get_by_label("Message group for documents that are not understood")
    group.fill("bad group é")
    check.click()

    expect(page.get_by_role("alert").filter(has_text="SQS takes 1 to 128 letters (a to z, A to Z), digits and punctuation")).to_be_visible()
    expect(typed).to_have_value("<a>typed</a>")
    group.fill("T-10041")
    check.click()
    page.wait_for_url(REVIEW)
    assert bytes(Document.objects.get().content) == b"<a>typed</a>"


def test_what_was_left_out_for_want_of_a_message_group_is_taken_when_one_is_named(live_server: LiveServer, page: Page, otto: User) -> None:
    sign_in(page, live_server)
    choose(page, xml("deal.txt", "T-10041;BOOK"), xml("empty.txt", ""))
    state = page.locator(".files li .state")
    expect(state).to_contain_text(["name a message group first", "name a message group first"])

    page.get_by_label("Message group for documents that are not understood").fill("T-10041")

    expect(state).to_have_text(["", "Left out: the file is empty"])
    page.get_by_role("button", name="Check 1 file").click()
    page.wait_for_url(REVIEW)
    assert Upload.objects.get().documents.get().name == "deal.txt"


def test_without_javascript_the_form_sends_all_files_and_the_review_is_a_plain_form(
    queue: FifoQueue, live_server: LiveServer, browser: Browser, otto: User
) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    sign_in(page, live_server)

    choose(page, xml("a.xml", native("T-1")), xml("day.zip", zipped({"b.xml": native("T-2")})))
    page.get_by_role("button", name="Check and review").click()
    expect(page.locator("#h-decide")).to_contain_text("2 files, 2 messages, 2 good")
    page.get_by_role("button", name="Publish 2 messages").click()

    expect(page.get_by_text("Published 2 messages.")).to_be_visible()
    assert queue.counts() == (2, 0)
    page.context.close()


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_the_pages_fit_their_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, otto: User, scheme: str, width: int
) -> None:
    book = native("T-1")
    history.record([received(book), received("<broken", "T-9")], now=NOON)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, live_server)
    look(page, "new", scheme, width)
    page.goto(f"{live_server.url}/uploads/")
    look(page, "empty", scheme, width)

    page.goto(f"{live_server.url}/uploads/new/")
    page.route("**/check/", lambda route: route.abort("connectionreset"))
    files = [
        xml("bookings/morning/T-1-cancel.xml", native("T-1", "CANCEL", 2)), xml("copy.xml", book),
        xml("late.xml", native("T-3", "UPDATE", 4)),
        xml("waits.xml", native("T-9")), xml("bad.xml", "<TradeStatus>\n  <TradeId>T-2</Trade>"), xml("good.xml", native("T-4")),
        xml("notes.txt", "x"), xml("good.xml", native("T-4")),
    ]  # fmt: skip
    choose(page, *files)
    look(page, "chosen", scheme, width)
    page.get_by_role("button", name=re.compile(r"Check \d files")).click()
    expect(page.get_by_text("The messages could not be rehearsed")).to_be_visible()
    look(page, "sent", scheme, width)
    page.unroute("**/check/")
    page.get_by_role("link", name="Review what was sent").click()
    page.get_by_role("button", name="Check again").click()
    expect(page.get_by_text("Would wait behind")).to_be_visible()
    look(page, "review", scheme, width)

    page.get_by_role("button", name=re.compile(r"Publish all \d")).click()
    expect(page.get_by_text(re.compile(r"Published \d messages"))).to_be_visible()
    record_what_was_published()
    factories.upload(files=1, by=otto, sent=False)
    expect(page.locator("tr", has_text="Held")).to_have_count(1)
    assert Message.objects.filter(outcome="DUPLICATE").count() == 1
    look(page, "result", scheme, width)
    page.goto(f"{live_server.url}/uploads/")
    look(page, "list", scheme, width)
