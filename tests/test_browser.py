"""The main job in headless Chromium, with a real worker process on a broker that keeps FIFO rules."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection
from playwright.sync_api import ConsoleMessage, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.support.broker import FifoQueue
from tests.support.native import NOON, native, received
from tests.support.processes import Process
from trades import history
from trades.models import Message

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def complaints(page: Page) -> list[str]:
    """What the browser complains about: script errors, blocked styles, missing files."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


@pytest.fixture
def roles(live_server: LiveServer) -> None:
    """The groups that a migration made. Beside a browser Django keeps its connections apart, and with them what it would restore."""
    make_groups = importlib.import_module("trades.migrations.0002_roles").make_groups
    make_groups(apps, SimpleNamespace(connection=connection))


@pytest.fixture
def olivia(live_server: LiveServer, page: Page, roles: None) -> User:
    """An operator, signed in."""
    olivia = User.objects.create_user("olivia", password="correct horse battery")
    olivia.groups.add(Group.objects.get(name="operator"))
    page.goto(live_server.url)
    page.get_by_label("Name").fill("olivia")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
    page.wait_for_load_state()  # the heading can be seen before the scripts have run
    return olivia


def upload(page: Page, live_server: LiveServer, *files: Path) -> None:
    """Hand files in, look at the review, and publish what is good of them."""
    page.goto(f"{live_server.url}/uploads/new/")
    page.locator("#id_xml_files").set_input_files([str(file) for file in files])
    page.get_by_role("button", name="Check").click()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"))
    page.get_by_role("button", name="Publish 1").click()
    expect(page.get_by_text("Published 1 message.")).to_be_visible()


def write(folder: Path, name: str, content: str) -> Path:
    file = folder / name
    file.write_text(content)
    return file


def test_an_operator_signs_in_uploads_a_file_and_watches_the_event_appear(
    queue: FifoQueue,
    worker_process: Callable[..., Process],
    live_server: LiveServer,
    page: Page,
    olivia: User,
    tmp_path: Path,
    complaints: list[str],
) -> None:
    worker_process("--wait", "1")
    body = native("T-10045")

    upload(page, live_server, write(tmp_path, "book.xml", body))
    expect(page.get_by_text("BOOK version 1 of T-10045")).to_be_visible()
    expect(page.get_by_text("MD5OfMessageBody")).to_be_visible()
    page.get_by_role("link", name="event 1 of T-10045").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("T-10045")
    expect(page.get_by_role("main")).to_contain_text("IRS 5Y EUR")
    expect(page.get_by_role("main")).to_contain_text("FRONTOFFICE")
    page.get_by_role("navigation", name="Event 1").get_by_role("link", name="XML").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert Path(download.value.path()).read_text() == body
    assert complaints == []


def test_a_new_event_appears_on_the_blotter_that_is_being_read(
    queue: FifoQueue, worker_process: Callable[..., Process], live_server: LiveServer, page: Page, olivia: User, complaints: list[str]
) -> None:
    worker_process("--wait", "1")
    page.goto(live_server.url)

    queue.client.send_message(QueueUrl=queue.url, MessageBody=native("T-77"), MessageGroupId="messageGroup1")

    expect(page.get_by_role("link", name="T-77")).to_be_visible()
    assert complaints == []


def test_a_bad_file_says_where_and_the_good_one_beside_it_is_published(
    queue: FifoQueue, live_server: LiveServer, page: Page, olivia: User, tmp_path: Path
) -> None:
    good, bad = write(tmp_path, "good.xml", native("T-1")), write(tmp_path, "bad.xml", "<TradeStatus>\n  <TradeId>T-2</Trade>")

    upload(page, live_server, good, bad)

    expect(page.get_by_text("line 2, column")).to_be_visible()
    expect(page.get_by_text("BOOK version 1 of T-1")).to_be_visible()
    assert queue.counts() == (1, 0)


def test_an_operator_discards_a_bad_message_and_what_waited_is_recorded(
    queue: FifoQueue, worker_process: Callable[..., Process], live_server: LiveServer, page: Page, olivia: User
) -> None:
    for body in ("<broken", native("T-5")):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId="T-5")
    assert worker_process("--until-empty", "--wait", "1").wait() == 0

    page.goto(f"{live_server.url}/quarantine/{Message.objects.get(outcome='QUARANTINED').pk}/")
    page.locator("summary", has_text="Discard").click()
    page.get_by_label("Reason").fill("sent by mistake")
    page.get_by_role("button", name="Discard 1 message").click()
    expect(page.get_by_role("main")).to_contain_text("Discarded")
    page.goto(f"{live_server.url}/trades/T-5/")

    expect(page.get_by_role("heading", level=1)).to_contain_text("T-5")
    assert set(Message.objects.values_list("outcome", flat=True)) == {"DISCARDED", "RECORDED"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_pages_fit_their_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, olivia: User, scheme: str, width: int
) -> None:
    history.record([received(native("T-1")), received("<bad"), received(native("T-1", "CANCEL", 2))], now=NOON)
    bad = Message.objects.get(outcome="QUARANTINED")
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})

    for path in ("/", "/trades/T-1/", "/uploads/", "/uploads/new/", "/quarantine/", f"/quarantine/{bad.pk}/", "/nowhere/"):
        page.goto(live_server.url + path)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{path} is wider than the window"
        violations = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}).response["violations"]
        assert [(path, v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations] == []
