"""The shell in headless Chromium: quick find, keys, preferences, the end of a session, toasts, and the same without a script."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import factories, scenes
from tests.web.looking import SIZES, look, make_people
from trades.models import Message, Worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def people() -> None:
    """Two operators."""
    make_people("ana", "ben")


@pytest.fixture
def desk(page: Page, live_server: LiveServer, people: None) -> Page:
    """A page whose ana is signed in, at the preferences, which nothing moves."""
    sign_in(page, live_server)
    page.goto(f"{live_server.url}/account/")
    return page


def sign_in(page: Page, live_server: LiveServer, name: str = "ana") -> None:
    page.goto(f"{live_server.url}/sign-in/?next=/uploads/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Uploads")
    page.wait_for_load_state()  # the heading can be seen before the scripts have run


def sign_in_again(page: Page, name: str = "ana", password: str = "correct horse battery") -> None:
    dialog = page.get_by_role("dialog", name="Sign in again to continue")
    expect(dialog.get_by_label("Name")).to_have_value("ana")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Password", exact=True).fill(password)
    dialog.get_by_role("button", name="Sign in", exact=True).click()


def path(page: Page) -> str:
    parts = urlsplit(page.url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


@pytest.mark.parametrize(("scheme", "width"), [*SIZES, ("light", 320)])
def test_every_page_of_the_shell_fits_its_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, people: None, monkeypatch: pytest.MonkeyPatch, scheme: str, width: int
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{live_server.url}/sign-in/")
    look(page, "sign-in", scheme, width)
    sign_in(page, live_server)
    factories.trade("T-1")
    factories.quarantined()

    def visit(name: str, address: str) -> None:
        page.goto(live_server.url + address)
        look(page, name, scheme, width)

    visit("monitor-empty", "/monitor/")
    seen = timezone.now()
    for number in range(3):
        heard = seen - timedelta(minutes=5 * number)
        facts = {"version": "1", "queue": factories.QUEUE, "started_at": seen - timedelta(days=1), "last_error": "the queue was away"}
        Worker.objects.create(host=f"host-{number}.example.com", pid=number, state="IDLE", seen_at=heard, **facts)
    visit("monitor", "/monitor/")
    visit("account", "/account/")
    visit("find", "/find/?q=T-")
    visit("find-nothing", "/find/?q=nothing-like-it")
    page.goto(f"{live_server.url}/account/")
    page.keyboard.press("?")
    look(page, "keys", scheme, width)
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("t")
    expect(page.get_by_role("option", name=re.compile("T-1"))).to_be_visible()
    page.keyboard.press("ArrowDown")
    look(page, "quick-find", scheme, width)
    page.keyboard.press("Escape")
    page.evaluate("portal.toast('Not sent.', { error: true, requestId: 'abc' }); portal.toast('Saved.')")
    look(page, "toasts", scheme, width)
    page.evaluate("portal.session.signInAgain()")
    look(page, "sign-in-again", scheme, width)
    visit("not-found", "/no/such/page/")
    visit("not-allowed", "/inspect/")
    monkeypatch.setattr("trades.web.uploads.upload_list.listed", None)
    visit("failed", "/uploads/")
    expect(page.get_by_role("button", name="Copy the request id")).to_be_visible()


def test_quick_find_takes_a_trade_id_from_the_keyboard_and_opens_it_at_once(live_server: LiveServer, desk: Page) -> None:
    factories.trade("T-4711")

    desk.keyboard.press("/")
    expect(desk.get_by_role("combobox")).to_be_focused()
    desk.keyboard.type("t-4711")
    desk.keyboard.press("Enter")

    expect(desk.get_by_role("heading", level=1)).to_contain_text("T-4711")
    assert path(desk) == "/trades/T-4711/"


def test_quick_find_offers_what_could_be_meant_and_remembers_what_was_opened(live_server: LiveServer, desk: Page) -> None:
    for number in range(3):
        factories.trade(f"T-10{number}")
    factories.trade("T-11")  # so that four are offered for the whole of what is typed alone
    box, listed = desk.get_by_role("combobox"), desk.get_by_role("option")

    desk.get_by_role("button", name="Account of ana").focus()
    desk.keyboard.press("Control+k")
    expect(listed.first).to_be_visible()
    desk.keyboard.type("T-10")
    expect(listed).to_have_count(4)
    desk.keyboard.press("ArrowDown")
    desk.keyboard.press("ArrowDown")
    expect(desk.locator("[role=option][aria-selected=true]")).to_contain_text("T-101")
    assert box.get_attribute("aria-activedescendant") == desk.locator("[role=option][aria-selected=true]").get_attribute("id")
    desk.keyboard.press("Escape")
    expect(desk.get_by_role("button", name="Account of ana")).to_be_focused()
    desk.keyboard.press("Control+k")
    desk.keyboard.type("T-10")
    expect(listed).to_have_count(4)
    desk.keyboard.press("ArrowUp")
    desk.keyboard.press("ArrowUp")
    desk.keyboard.press("Enter")
    expect(desk).to_have_url(re.compile("/trades/T-102/"))

    desk.goto(f"{live_server.url}/account/")
    desk.keyboard.press("/")
    expect(desk.get_by_role("group", name="Recent").get_by_role("option")).to_have_text(re.compile("^T-102"))


def test_keys_lead_to_pages_and_their_list_shows_them(desk: Page) -> None:
    desk.keyboard.press("?")
    shown = desk.get_by_role("dialog", name="Keyboard shortcuts")
    expect(shown).to_contain_text("Go to Quarantine")
    desk.keyboard.press("g")
    desk.keyboard.press("m")
    expect(shown).to_be_visible()
    desk.keyboard.press("Escape")
    expect(shown).to_be_hidden()

    for keys, heading in (("gm", "Queue & workers"), ("gq", "Quarantine"), ("gu", "Uploads")):
        for key in keys:
            desk.keyboard.press(key)
        expect(desk.get_by_role("heading", level=1)).to_contain_text(heading)
        desk.wait_for_load_state()  # the heading can be seen before the scripts have run


def test_keys_do_nothing_where_somebody_types_and_can_be_turned_off(live_server: LiveServer, desk: Page) -> None:
    desk.goto(f"{live_server.url}/find/")
    desk.get_by_label("Id, file name or page", exact=True).press_sequentially("?g/q[")
    expect(desk.get_by_label("Id, file name or page", exact=True)).to_have_value("?g/q[")
    expect(desk.locator("dialog[open]")).to_have_count(0)

    desk.goto(f"{live_server.url}/account/")
    desk.get_by_role("group", name="Single-key shortcuts").get_by_label("Off").check()
    desk.get_by_role("button", name="Save preferences").click()
    expect(desk.get_by_text("Preferences saved in this browser.")).to_be_visible()
    desk.wait_for_load_state()  # before the scripts have run, no key does anything
    for key in ("?", "/", "[", "g", "q"):
        desk.keyboard.press(key)
    expect(desk.locator("dialog[open]")).to_have_count(0)
    assert (path(desk), desk.evaluate("document.body.dataset.rail")) == ("/account/", "wide")
    desk.keyboard.press("Control+k")

    expect(desk.get_by_role("combobox")).to_be_focused()


def test_theme_and_fold_are_remembered_by_the_server_so_that_nothing_flashes(live_server: LiveServer, desk: Page) -> None:
    with desk.expect_response("**/account/choose/"):
        desk.keyboard.press("[")
    expect(desk.locator("body")).to_have_attribute("data-rail", "icons")
    assert desk.locator(".rail").bounding_box()["width"] == 52  # type: ignore[index]
    desk.get_by_role("button", name="Theme", exact=True).press("Enter")
    with desk.expect_response("**/account/choose/"):
        desk.get_by_role("button", name="Dark").press("Enter")
    expect(desk.locator("html")).to_have_attribute("data-theme", "dark")

    sent = desk.goto(f"{live_server.url}/uploads/")

    assert sent
    html = sent.text()
    assert 'data-theme="dark"' in html
    assert 'data-rail="icons"' in html
    expect(desk.get_by_role("navigation", name="Main").get_by_role("link", name="Quarantine")).to_be_visible()
    desk.keyboard.press("[")
    expect(desk.locator("body")).to_have_attribute("data-rail", "wide")


def test_density_changes_the_height_of_rows(live_server: LiveServer, desk: Page) -> None:
    seen = timezone.now()
    Worker.objects.create(host="h", pid=1, version="1", queue="q", state="IDLE", started_at=seen, seen_at=seen)

    def height() -> int:
        desk.goto(f"{live_server.url}/monitor/")
        return int(desk.evaluate("Math.round(document.querySelector('#monitor tbody tr').getBoundingClientRect().height)"))

    compact = height()
    desk.goto(f"{live_server.url}/account/")
    desk.get_by_label("Regular, 40 pixels a row").check()
    desk.get_by_role("button", name="Save preferences").click()
    expect(desk.get_by_text("Preferences saved in this browser.")).to_be_visible()

    assert (compact, height()) == (32, 40)


def test_the_shell_is_used_by_tab_and_enter_alone(desk: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(60):
            desk.keyboard.press("Tab")
            found = desk.evaluate("(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent).trim()")
            if found.startswith(name):
                assert desk.evaluate("document.activeElement.matches(':focus-visible')")
                return
        raise AssertionError(f"Tab never came to {name}")

    tab_to("Skip to content")
    tab_to("Blotter")
    tab_to("Collapse")
    tab_to("Keyboard shortcuts")
    desk.keyboard.press("Enter")
    expect(desk.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    desk.keyboard.press("Escape")
    tab_to("Account of ana")
    desk.keyboard.press("Enter")
    tab_to("Sign out")
    desk.keyboard.press("Enter")

    expect(desk.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_what_is_sent_between_signing_in_again_and_the_new_token_of_the_form_is_taken(live_server: LiveServer, desk: Page) -> None:
    """The cookie is new already, the form still has the old one."""
    _, bad = scenes.blocked_trade()
    desk.goto(f"{live_server.url}/quarantine/{bad.pk}/correct/")
    desk.wait_for_load_state()
    field = desk.locator("form.correcting input[name=csrfmiddlewaretoken]")
    field.evaluate("(field) => { field.value = 'a'.repeat(64); }")

    desk.get_by_label("Text of the message").fill(scenes.UPDATE)

    expect(desk.locator("#result")).to_contain_text("Understood")
    expect(field).to_have_value("a" * 64)


def test_text_survives_the_end_of_a_session_in_mid_edit_and_is_then_saved(live_server: LiveServer, desk: Page) -> None:
    _, bad = scenes.blocked_trade()
    desk.goto(f"{live_server.url}/quarantine/{bad.pk}/correct/")
    text = desk.get_by_label("Text of the message")
    desk.context.clear_cookies(name="sessionid")

    # As typing does, but whether or not the dialog is open already.
    text.evaluate("(field, text) => { field.value = text; field.dispatchEvent(new Event('input', { bubbles: true })); }", scenes.UPDATE)
    sign_in_again(desk, password="wrong")
    expect(desk.get_by_role("alert").filter(has_text="do not match an account")).to_be_visible()
    sign_in_again(desk)

    expect(text).to_have_value(scenes.UPDATE)
    expect(desk.locator("#result")).to_contain_text("Understood")
    desk.context.clear_cookies(name="sessionid")
    desk.locator("form.correcting").evaluate("(form) => form.requestSubmit(form.querySelector('[value=review]'))")
    sign_in_again(desk)
    desk.get_by_label("Reason").fill("version mistyped")
    desk.get_by_role("button", name="Correct and replay").click()
    expect(desk.get_by_role("main")).to_contain_text("Recorded as event 2 of T-1.")
    assert Message.objects.get(corrects=bad).body == scenes.UPDATE


def test_another_person_who_signs_in_gets_the_page_anew(live_server: LiveServer, desk: Page) -> None:
    desk.context.clear_cookies(name="sessionid")
    desk.evaluate("portal.session.signInAgain()")

    sign_in_again(desk, name="ben")

    expect(desk.get_by_role("button", name="Account of ben")).to_be_visible()


def test_toasts_go_by_themselves_but_errors_stay_and_reading_holds_them(live_server: LiveServer, desk: Page) -> None:
    desk.clock.install()
    desk.goto(f"{live_server.url}/account/")
    desk.evaluate("portal.toast('Saved.'); portal.toast('Held.'); portal.toast('Not sent.', { error: true, requestId: 'abc-1' })")
    told = desk.locator("#toasts")

    desk.get_by_text("Held.").hover()
    desk.clock.run_for(7_000)

    expect(told).not_to_contain_text("Saved.")
    expect(told).to_contain_text("Held.")
    expect(told).to_contain_text("Request abc-1")
    desk.get_by_role("heading", level=1).hover()
    desk.clock.run_for(7_000)
    expect(told).not_to_contain_text("Held.")
    told.get_by_role("button", name="Close this message").click()
    expect(told).to_be_empty()


def test_a_part_of_a_page_that_fails_is_told_with_the_id_of_the_request(
    live_server: LiveServer, desk: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trades.web.uploads.upload_list.listed", None)

    with desk.expect_response("**/uploads/") as answer:
        desk.evaluate("htmx.ajax('GET', '/uploads/', { target: 'h1' })")

    expect(desk.locator("#toasts")).to_contain_text(f"The portal failed to answer. Request {answer.value.headers['x-request-id']}")
    expect(desk.get_by_role("heading", level=1)).to_have_text("Preferences")


def test_the_shell_works_without_a_script(live_server: LiveServer, browser: Browser, people: None) -> None:
    factories.trade("T-4711")
    page = browser.new_page(java_script_enabled=False)
    sign_in(page, live_server)

    page.get_by_role("button", name=re.compile("Collapse")).click()
    expect(page.locator("body")).to_have_attribute("data-rail", "icons")
    page.get_by_role("button", name="Theme", exact=True).click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert path(page) == "/uploads/"
    page.get_by_role("link", name="Keyboard shortcuts").first.click()
    expect(page.get_by_role("heading", name="Keys of every page")).to_be_visible()
    page.get_by_label("Exceptions").check()
    page.get_by_role("button", name="Save preferences").click()
    expect(page.get_by_text("Preferences saved in this browser.")).to_be_visible()
    page.locator("#quick-find").fill("T-47")
    page.keyboard.press("Enter")
    page.get_by_role("main").get_by_role("link", name=re.compile("^T-4711")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("T-4711")
    page.goto(live_server.url)
    assert path(page) == "/exceptions/"
    page.get_by_role("button", name="Account of ana").click()
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.close()
