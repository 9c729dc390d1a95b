"""The quarantine workbench in headless Chromium."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.web import factories, scenes
from tests.web.looking import SIZES, look, make_people, sign_in
from trades.models import AuditEntry, Event, Message

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def people(live_server: LiveServer) -> None:
    """Two operators."""
    make_people("ana", "ben")


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_every_page_of_the_workbench_fits_its_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, people: None, scheme: str, width: int
) -> None:
    _, bad = scenes.blocked_trade()
    scenes.blocked_trade("T-2")
    scenes.repaired_trade()
    factories.quarantined(group="G-1")
    long_line = factories.quarantined(group="G-2", body=f"<a>\n<b>\n<c{'x' * 4_000}\n</a>")
    conflict = Message.objects.get(conflicts_with__isnull=False)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, live_server)

    def visit(name: str, address: str) -> None:
        page.goto(live_server.url + address)
        look(page, name, scheme, width)

    visit("list", "/quarantine/")
    visit("settled", "/quarantine/?view=settled")
    visit("filtered", "/quarantine/?code=not-well-formed&q=broken")
    visit("message", f"/quarantine/{bad.pk}/")
    visit("long-line", f"/quarantine/{long_line.pk}/")
    visit("corrected", f"/quarantine/{Message.objects.get(outcome='CORRECTED').pk}/")
    visit("correction", f"/quarantine/{Message.objects.get(corrects__isnull=False).pk}/")
    visit("conflict", f"/quarantine/{conflict.pk}/")
    visit("trade", "/trades/R-1/")
    visit("blocked-trade", "/trades/T-1/")
    visit("confirm", "/quarantine/settle/?act=discard&" + "&".join(f"m={key}" for key in range(bad.pk, conflict.pk)))
    visit("none-ticked", "/quarantine/settle/?act=replay")
    visit("many", "/quarantine/correct/?" + "&".join(f"m={m.pk}" for m in Message.objects.filter(outcome="QUARANTINED")))
    page.get_by_label("Find", exact=True).fill("<Version>two<")
    page.get_by_label("Replace with").fill("<Version>2<")
    page.get_by_role("button", name="Show what it does").click()
    expect(page.get_by_role("button", name="Correct and replay 2 messages")).to_be_visible()
    look(page, "many-shown", scheme, width)
    page.get_by_label("Reason").fill("version in words")
    page.get_by_role("button", name="Correct and replay 2 messages").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Corrected and replayed: 2 of")
    look(page, "settled-many", scheme, width)


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_the_steps_of_a_correction_fit_their_width_and_axe_finds_no_violation(
    live_server: LiveServer, page: Page, people: None, scheme: str, width: int
) -> None:
    _, bad = scenes.blocked_trade()
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    sign_in(page, live_server)

    page.goto(f"{live_server.url}/quarantine/{bad.pk}/correct/")
    look(page, "editor", scheme, width)
    page.get_by_label("Text of the message").fill(scenes.UPDATE)
    expect(page.get_by_text("Understood")).to_be_visible()
    look(page, "understood", scheme, width)
    page.get_by_role("button", name="Review the correction").click()
    expect(page.get_by_role("heading", name="What it would do")).to_be_visible()
    look(page, "review", scheme, width)
    page.get_by_role("button", name="Correct and replay").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why.")
    look(page, "no-reason", scheme, width)
    scenes.quarantine.discard(bad, actor=scenes.BEN, reason="sent twice", now=scenes.START)
    page.get_by_label("Reason").fill("version mistyped")
    page.get_by_role("button", name="Correct and replay").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This message was changed meanwhile")
    look(page, "changed", scheme, width)


def press_to(page: Page, name: str, key: str = "Tab") -> None:
    """Move the focus by keyboard until it is on the thing of that name."""
    page.wait_for_load_state()
    for _ in range(60):
        page.keyboard.press(key)
        text = page.evaluate(
            "(e => e.getAttribute('aria-label') || (e.labels && e.labels[0] || e).textContent.trim())(document.activeElement)"
        )
        if text == name:
            return
    raise AssertionError(f"{name} can't be reached by keyboard")


def complaints_of(page: Page) -> list[str]:
    """What the browser complains about from now on: script errors, blocked styles, missing files."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def test_a_message_is_corrected_and_replayed_by_keyboard_alone(live_server: LiveServer, page: Page, people: None) -> None:
    _, bad = scenes.blocked_trade()
    sign_in(page, live_server)
    complaints = complaints_of(page)
    page.goto(f"{live_server.url}/quarantine/{bad.pk}/")

    press_to(page, "Correct and replay")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Correct and replay")
    expect(page.locator(".gutter")).to_have_text("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11", use_inner_text=True)
    press_to(page, "line 4, column 3")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Text of the message")).to_be_focused()
    for _ in range(len("<Version>")):
        page.keyboard.press("ArrowRight")
    for _ in range(len("two")):
        page.keyboard.press("Delete")
    page.keyboard.type("2")
    expect(page.get_by_role("status").filter(has_text="Understood")).to_contain_text("Update version 2 of T-1.")
    press_to(page, "Review the correction")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_contain_text("Would be recorded as event 2 of T-1")
    press_to(page, "Reason")
    page.keyboard.type("version mistyped")
    page.keyboard.press("Enter")

    expect(page.get_by_role("main")).to_contain_text("Corrected and replayed. Recorded as event 2 of T-1. 3 messages that waited")
    assert Message.objects.get(corrects=bad).body == scenes.UPDATE
    assert Event.objects.count() == 5
    page.wait_for_load_state()  # a script forgets the text
    assert page.evaluate("localStorage.length") == 0
    assert complaints == []


def test_unsaved_text_is_offered_again_after_a_reload(live_server: LiveServer, page: Page, people: None) -> None:
    _, bad = scenes.blocked_trade()
    sign_in(page, live_server)
    address = f"{live_server.url}/quarantine/{bad.pk}/correct/"
    page.goto(address)
    text = page.get_by_label("Text of the message")
    expect(page.get_by_text("Text that you had not saved")).to_be_hidden()

    text.press_sequentially("lost ")
    page.goto(address)
    expect(text).to_have_value(bad.body)
    page.get_by_role("button", name="Restore your unsaved text").click()
    expect(text).to_have_value("lost " + bad.body)
    expect(page.locator("#result")).to_contain_text("Not well-formed")
    page.reload()
    page.get_by_role("button", name="Forget it").click()
    page.reload()

    expect(page.get_by_text("Text that you had not saved")).to_be_hidden()


def test_text_survives_the_end_of_a_session(live_server: LiveServer, page: Page, people: None) -> None:
    _, bad = scenes.blocked_trade()
    sign_in(page, live_server)
    address = f"{live_server.url}/quarantine/{bad.pk}/correct/"
    page.goto(address)

    page.get_by_label("Text of the message").fill(scenes.UPDATE)
    expect(page.locator("#result")).to_contain_text("Understood")
    page.context.clear_cookies(name="sessionid")
    page.goto(address)
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Password", exact=True).fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Restore your unsaved text").click()

    expect(page.get_by_label("Text of the message")).to_have_value(scenes.UPDATE)
    expect(page.locator("#result")).to_contain_text("Understood")


def test_of_two_people_the_second_is_told_what_the_first_did(live_server: LiveServer, page: Page, browser: Browser, people: None) -> None:
    _, bad = scenes.blocked_trade()
    other = browser.new_page()
    for each, name in ((page, "ana"), (other, "ben")):
        sign_in(each, live_server, name)
        each.goto(f"{live_server.url}/quarantine/{bad.pk}/correct/")
        each.get_by_label("Text of the message").fill(
            scenes.UPDATE.replace("12000000.00", "12000000.00" if name == "ana" else "12500000.00")
        )
        each.get_by_role("button", name="Review the correction").click()
        each.get_by_label("Reason").fill(f"{name} says so")

    page.get_by_role("button", name="Correct and replay").click()
    expect(page.get_by_role("main")).to_contain_text("Recorded as event 2 of T-1.")
    other.get_by_role("button", name="Correct and replay").click()

    expect(other.get_by_role("alert")).to_contain_text("Correct and replay by ana")
    expect(other.get_by_role("alert")).to_contain_text("“ana says so”")
    expect(other.locator("tr.add")).to_contain_text("12500000.00")
    expect(other.get_by_label("Your text, which was not saved")).to_have_value(scenes.UPDATE.replace("12000000.00", "12500000.00"))
    assert Message.objects.get(corrects=bad).body == scenes.UPDATE
    other.close()


def test_everything_works_without_a_script(live_server: LiveServer, browser: Browser, people: None) -> None:
    _, bad = scenes.blocked_trade()
    others = [factories.quarantined(group=f"G-{number}") for number in range(2)]
    page = browser.new_page(java_script_enabled=False)
    sign_in(page, live_server)

    page.goto(f"{live_server.url}/quarantine/{bad.pk}/correct/")
    page.get_by_label("Text of the message").fill(scenes.UPDATE)
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#result")).to_contain_text("Understood")
    page.get_by_role("button", name="Review the correction").click()
    page.get_by_label("Reason").fill("version mistyped")
    page.get_by_role("button", name="Correct and replay").click()
    expect(page.get_by_role("main")).to_contain_text("Recorded as event 2 of T-1.")
    page.goto(f"{live_server.url}/quarantine/")
    for message in others:
        page.locator(f"input[name=m][value='{message.pk}']").check()
    page.get_by_role("button", name="Discard").click()
    page.get_by_label("Reason").fill("fragments")
    page.get_by_role("button", name="Discard 2 messages").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Discarded: 2 of 2 messages")
    assert AuditEntry.objects.filter(action="discard", user__username="ana", note="fragments").count() == 2
    page.close()


def test_ticking_counts_on_the_buttons_and_all_are_ticked_at_once(live_server: LiveServer, page: Page, people: None) -> None:
    for number in range(3):
        factories.quarantined(group=f"G-{number}")
    sign_in(page, live_server)
    page.goto(f"{live_server.url}/quarantine/")

    page.get_by_label("Tick all on this page").check()
    expect(page.get_by_text("3 ticked")).to_be_visible()
    page.locator("input[name=m]").first.uncheck()
    page.get_by_role("button", name="Replay unchanged 2").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Replay 2 messages")
