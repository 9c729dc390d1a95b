"""Correct and replay: the check, the review, the saving, two people at once; and the same for many messages by find and replace."""

from __future__ import annotations

import re
import tracemalloc
from html import unescape
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from tests.support.native import native
from tests.web import factories, scenes
from tests.web.asking import page, post
from trades import quarantine
from trades.models import AuditEntry, Event, Message, Trade

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def edited(html: str) -> str:
    """The text in the editor, as a browser reads it: a line end right after the tag is dropped."""
    found = re.search(r"<textarea[^>]*\bname=\"text\"[^>]*>(.*?)</textarea>", html, re.DOTALL)
    assert found
    return found[1].removeprefix("\n")


def differing(html: str) -> list[tuple[str, str]]:
    """The lines of a difference that were removed or added: the word for the sign, and the text."""
    return re.findall(r'<tr class="(?:add|del)">.*?<span class="vh">(\w+)</span></td><td><code>(.*?)</code>', html)


@pytest.fixture
def bad(db: None) -> Message:
    """A message about T-1 with a version in words, and three behind it."""
    return scenes.blocked_trade()[1]


def test_the_editor_holds_the_original_beside_what_is_wrong_with_it(otto: Client, bad: Message) -> None:
    html = page(otto, f"/quarantine/{bad.pk}/correct/")

    assert edited(html) == bad.body
    assert '<a href="#id_text" data-line="4" data-column="3">line 4, column 3</a>' in html
    assert "The text is still that of the original." in html


@pytest.mark.parametrize("body", ["\n\n<a>", "<a>\r\n<b>\r\n", "<a>&amp;</textarea>", " <?xml?>", "<a>é取引</a>\n"])
def test_the_editor_gives_back_the_text_that_it_was_given(otto: Client, body: str) -> None:
    message = factories.quarantined(body=body)
    html = otto.get(f"/quarantine/{message.pk}/correct/").content.decode()
    sent = re.sub(r"\r?\n", "\r\n", unescape(edited(html)))

    again = post(otto, f"/quarantine/{message.pk}/correct/", {"text": sent, "seen": "0", "step": "review"}, status=422)

    assert "The text is still that of the original." in again


def test_checking_keeps_the_text_and_stores_nothing(otto: Client, bad: Message) -> None:
    address = f"/quarantine/{bad.pk}/correct/"

    wrong = post(otto, address, {"text": bad.body.replace("two", "three"), "seen": "0", "step": "check"})
    assert "Version is 'three'" in wrong
    assert edited(wrong) == bad.body.replace("two", "three")
    right = post(otto, address, {"text": scenes.UPDATE, "seen": "0", "step": "check"})

    assert "Update version 2 of T-1." in right
    assert Event.objects.count() == 1
    assert not AuditEntry.objects.exists()


def test_htmx_gets_the_check_alone(otto: Client, bad: Message) -> None:
    response = otto.post(f"/quarantine/{bad.pk}/correct/", {"text": scenes.UPDATE, "seen": "0"}, headers=HTMX)

    assert "Update version 2 of T-1." in response.content.decode()
    assert "<html" not in response.content.decode()
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("text", ["", "<a", "<a>\ufffe</a>", "<a>\x00</a>", "\ufeff<a/>"])
def test_a_text_that_is_not_understood_stays_in_the_editor(otto: Client, bad: Message, text: str) -> None:
    for step in ("review", "apply"):
        html = post(otto, f"/quarantine/{bad.pk}/correct/", {"text": text, "seen": "0", "step": step, "reason": "x"}, status=422)
        assert '<p class="notice bad">' in html
        assert edited(html) == text
    assert Message.objects.get(pk=bad.pk).outcome == "QUARANTINED"
    assert not AuditEntry.objects.exists()


def test_the_review_shows_the_difference_and_the_effect_and_changes_nothing(otto: Client, bad: Message) -> None:
    html = post(otto, f"/quarantine/{bad.pk}/correct/", {"text": scenes.UPDATE, "seen": "0", "step": "review"})

    assert differing(html) == [
        ("removed", "  <Version>two</Version><Event>UPDATE</Event>"),
        ("added", "  <Version>2</Version><Event>UPDATE</Event>"),
    ]
    assert 'Would be recorded as event 2 of <a href="/trades/T-1/">T-1</a>: Update. State Live stays.' in html
    assert "Then the 3 that wait behind it are read in turn, up to the next that can't be understood." in html
    assert edited(html) == scenes.UPDATE
    assert (Event.objects.count(), Message.objects.count(), AuditEntry.objects.count()) == (1, 5, 0)


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        (native("NEW-1"), "Would be recorded as event 1 of the new trade NEW-1: Book. State becomes Live. Status becomes Received."),
        (scenes.told("CANCEL", 2, 45), "State turns from Live to Cancelled."),
        (scenes.told("BOOK", 1, 0, others=(f"{scenes.UTI}-T-1",)), "The history has this content already: no event would be added."),
    ],
)
def test_the_effect_is_told_for_whatever_the_text_says(otto: Client, bad: Message, text: str, effect: str) -> None:
    html = post(otto, f"/quarantine/{bad.pk}/correct/", {"text": text, "seen": "0", "step": "review"})

    assert effect in html


def test_a_correction_needs_a_reason_and_keeps_the_text(otto: Client, bad: Message) -> None:
    html = post(otto, f"/quarantine/{bad.pk}/correct/", {"text": scenes.UPDATE, "seen": "0", "step": "apply", "reason": " "}, status=422)

    assert "Say why. The reason is kept with the message." in html
    assert edited(html) == scenes.UPDATE
    assert Event.objects.count() == 1
    assert edited(post(otto, f"/quarantine/{bad.pk}/correct/", {"text": scenes.UPDATE, "seen": "0", "step": "edit"})) == scenes.UPDATE


def test_a_correction_is_recorded_in_place_and_linked_both_ways(otto: Client, bad: Message) -> None:
    data = {"text": scenes.UPDATE.replace("\n", "\r\n"), "seen": "0", "step": "apply", "reason": "version mistyped"}

    response = otto.post(f"/quarantine/{bad.pk}/correct/", data, follow=True)
    html = unescape(response.content.decode())
    correction = Message.objects.get(corrects=bad)

    assert response.redirect_chain == [(f"/quarantine/{bad.pk}/?corrected", 302)]
    assert 'Corrected and replayed. Recorded as <a href="/trades/T-1/events/2/">event 2 of T-1</a>. 3 messages that waited' in html
    assert correction.body == scenes.UPDATE
    assert f'<a href="/quarantine/{correction.pk}/">The correction</a>' in html
    assert re.search(r"Corrected by otto on .* giving the reason “version mistyped”", html)
    assert f'data-draft-done="{bad.pk}"' in html
    theirs = page(otto, f"/quarantine/{correction.pk}/")
    assert f'<a href="/quarantine/{bad.pk}/">The original message</a>' in theirs
    assert differing(theirs)[1] == ("added", "  <Version>2</Version><Event>UPDATE</Event>")
    assert "(the original message)" in theirs
    assert list(Event.objects.filter(trade__trade_id="T-1").order_by("position").values_list("event_class", flat=True)) == [
        "BOOK", "UPDATE", "STATUS", "STATUS", "CANCEL",
    ]  # fmt: skip


@pytest.mark.parametrize("step", ["review", "apply"])
def test_who_comes_second_is_told_what_changed_and_keeps_the_text(otto: Client, bad: Message, step: str) -> None:
    quarantine.correct(bad, scenes.UPDATE, actor=scenes.BEN, reason="version mistyped", now=factories.NOON)
    mine = scenes.UPDATE.replace("12000000.00", "12500000.00")

    html = post(otto, f"/quarantine/{bad.pk}/correct/", {"text": mine, "seen": "0", "step": step, "reason": "x"}, status=409)

    assert "Correct and replay by ben, 20 Nov 2026 12:00:00 UTC: “version mistyped”" in html
    assert edited(html) == mine
    assert "From the correction that was saved to your text" in html
    assert ["12000000.00" in text or "12500000.00" in text for _, text in differing(html)] == [True, True]
    assert "Continue with your text" not in html
    assert AuditEntry.objects.count() == 1


def test_after_another_try_the_text_can_be_taken_further(otto: Client, bad: Message) -> None:
    quarantine.replay(bad, actor=scenes.BEN, note="perhaps now", now=factories.NOON)
    data = {"text": scenes.UPDATE, "seen": "0", "step": "apply", "reason": "version mistyped"}

    html = post(otto, f"/quarantine/{bad.pk}/correct/", data, status=409)
    assert "Replay refused by ben" in html
    assert "Continue with your text" in html
    seen = re.search(r'name="seen" value="(\d+)"', html)
    assert seen
    otto.post(f"/quarantine/{bad.pk}/correct/", data | {"seen": seen[1]})

    assert Message.objects.get(pk=bad.pk).outcome == "CORRECTED"


def test_the_editor_of_a_settled_message_leads_to_its_page(otto: Client) -> None:
    gone = factories.message("DISCARDED", settled_at=factories.NOON)

    response = otto.get(f"/quarantine/{gone.pk}/correct/", follow=True)

    assert response.redirect_chain == [(f"/quarantine/{gone.pk}/", 302)]
    assert "This message is not in quarantine any more." in response.content.decode()


def test_the_text_stays_in_carriage_returns_where_the_original_has_them(otto: Client) -> None:
    bad = factories.quarantined(group="W", body=native("W").replace("\n", "\r\n").replace("<Version>1<", "<Version>one<"))
    text = native("W").replace("\n", "\r\n")

    otto.post(f"/quarantine/{bad.pk}/correct/", {"text": text, "seen": "0", "step": "apply", "reason": "version in words"})

    assert Message.objects.get(corrects=bad).body == text


# Many


def words_for_versions(count: int) -> list[Message]:
    """So many messages of different trades with a version in words, and a last one that has another fault."""
    bodies = [native(f"T-{number}").replace("<Version>1<", "<Version>one<") for number in range(count)]
    made = [factories.quarantined(group=f"T-{number}", body=body) for number, body in enumerate(bodies)]
    return [*made, factories.quarantined(group="other")]


def test_replacing_over_many_shows_each_first_and_then_corrects_those_that_are_understood(otto: Client) -> None:
    made = words_for_versions(2)
    asked = page(otto, "/quarantine/correct/?" + "&".join(f"m={message.pk}" for message in made))
    keys = re.findall(r'name="m" value="([^"]+)"', asked)
    data: dict[str, Any] = {"m": keys, "find": "<Version>one<", "replace": "<Version>1<"}

    shown = post(otto, "/quarantine/correct/", data | {"step": "preview"})
    assert len(differing(shown)) == 4
    assert re.findall(r"</svg>(Understood|Not understood|Text not found)</span>", shown) == ["Understood", "Understood", "Text not found"]
    assert "Correct and replay 2 messages" in shown
    assert not AuditEntry.objects.exists()
    refused = post(otto, "/quarantine/correct/", data | {"step": "apply", "reason": ""}, status=422)
    assert "Say why." in refused
    html = post(otto, "/quarantine/correct/", data | {"step": "apply", "reason": "version in words"})

    assert "Corrected and replayed: 2 of 3 messages" in html
    assert "The text to find is not in it. It was left as it is." in html
    assert set(Trade.objects.values_list("trade_id", flat=True)) == {"T-0", "T-1"}
    assert list(AuditEntry.objects.values_list("action", "note").distinct()) == [("correct", "version in words")]


def test_what_is_still_not_understood_after_replacing_is_shown_and_left(otto: Client) -> None:
    made = words_for_versions(1)
    data: dict[str, Any] = {"m": [f"{m.pk}:0" for m in made], "find": "<Version>one<", "replace": "<Version>eins<", "step": "preview"}

    html = post(otto, "/quarantine/correct/", data)

    assert "Version is 'eins'" in html
    assert "None of the messages would be understood." in html
    assert "Say which text to find." in post(otto, "/quarantine/correct/", data | {"find": ""}, status=422)


def test_lines_are_found_whatever_their_ends(otto: Client) -> None:
    body = native("T-1").replace("\n", "\r\n").replace("<Version>1<", "<Version>one<")
    bad = factories.quarantined(body=body)
    version = re.search(r"</TradeId>\r\n  <Version>one<", body)
    assert version
    data: dict[str, Any] = {
        "m": [f"{bad.pk}:0"],
        "find": version[0],
        "replace": version[0].replace("one", "1"),
        "step": "apply",
        "reason": "x",
    }

    post(otto, "/quarantine/correct/", data)

    assert Message.objects.get(corrects=bad).body == body.replace("one", "1")


@pytest.mark.parametrize("count", [1, 50])
def test_showing_what_replacing_does_costs_the_same_for_one_and_for_fifty(
    otto: Client, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    made = words_for_versions(count)
    data: dict[str, Any] = {"m": [f"{m.pk}:0" for m in made], "find": "one", "replace": "1", "step": "preview"}

    with django_assert_num_queries(9):
        post(otto, "/quarantine/correct/", data)


def test_what_would_grow_too_large_is_told_and_never_made(otto: Client) -> None:
    huge = factories.quarantined(group="huge", body="<a>" + "e" * 300_000)
    small = factories.quarantined(group="small", body=native("T-1").replace("<Version>1<", "<Version>one<"))
    data: dict[str, Any] = {"m": [f"{huge.pk}:0", f"{small.pk}:0"], "find": "e", "replace": "x" * 10_000, "reason": "x"}
    tracemalloc.start()
    try:
        shown = post(otto, "/quarantine/correct/", data | {"step": "preview"})
        told = post(otto, "/quarantine/correct/", data | {"step": "apply"})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    sentence = "Replaced 300,000 times, the text would have 2.8\xa0GB; a corrected text may have 1.0\xa0MB."
    assert sentence in shown
    assert re.findall(r"</svg>(Too large|Not understood)</span>", shown) == ["Too large", "Not understood"]
    assert sentence in told
    assert most < 100_000_000
    assert set(Message.objects.values_list("outcome", flat=True)) == {"QUARANTINED"}


def test_a_text_may_be_replaced_in_a_message_that_is_too_large_by_a_shorter_one(otto: Client, settings: Settings) -> None:
    body = native("T-1", reason="long " * 100)
    big = factories.quarantined(body=body)
    settings.TRADES_MAX_DOCUMENT_BYTES = len(body) - 10
    data: dict[str, Any] = {"m": [f"{big.pk}:0"], "find": "long ", "replace": "", "step": "apply", "reason": "too long"}

    post(otto, "/quarantine/correct/", data)

    assert Message.objects.get(corrects=big).body == body.replace("long ", "")
