"""The quarantine workbench: what the list shows and filters, settling one or many, two people at once, and who may."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from tests.support.native import native
from tests.web import factories, scenes
from tests.web.asking import page, post
from trades import quarantine
from trades.models import AuditEntry, Event, Message

pytestmark = pytest.mark.django_db
ROWS = r"<tr[^>]* data-row>.*?</tr>"


def keys(html: str) -> list[str]:
    """What a form carries of the ticked messages."""
    return re.findall(r'name="m" value="([^"]+)"', html)


def waiting(count: int) -> list[Message]:
    """So many messages in quarantine, each readable now, each with one readable message behind it."""
    made = []
    for number in range(count):
        group = f"G-{number}"
        made.append(factories.quarantined(group=group, body=native(group)))
        factories.message("HELD", native(group, "CANCEL", 2), group_id=group)
    return made


# The list


def test_a_row_tells_reason_place_trade_group_age_and_what_waits(otto: Client) -> None:
    scenes.blocked_trade()

    (row,) = re.findall(ROWS, page(otto, "/quarantine/"))

    for part in (
        "Against the schema, line 4, column 3:",
        "expected a whole number",
        'href="/trades/T-1/">T-1</a>',
        "data-age",
        ">Open</span>",
    ):
        assert part in row
    assert '<td class="c-waiting num flag">3<' in row


def test_settled_messages_are_listed_by_when_they_were_settled_with_what_became_of_them(vera: Client) -> None:
    scenes.repaired_trade()

    rows = re.findall(ROWS, page(vera, "/quarantine/?view=settled"))

    assert [re.findall(r"</svg>([^<]*)</span> <time", row) for row in rows] == [["Discarded"], ["Discarded"], ["Corrected"]]
    assert "Same publication, other content" in rows[0]
    (still_open,) = re.findall(ROWS, page(vera, "/quarantine/"))
    assert "From the dead-letter queue" in still_open


def test_reasons_are_counted_and_filter_the_list(vera: Client) -> None:
    for number in range(3):
        factories.quarantined(group=f"G-{number}")
    factories.message("QUARANTINED", code="no-trade-id", reason="No trade id.", group_id="X")

    html = page(vera, "/quarantine/")
    assert re.findall(r'href="(\?code=[^"]+)">([^<]+)<b class="num">(\d+)</b>', html) == [
        ("?code=not-well-formed", "Not well-formed ", "3"),
        ("?code=no-trade-id", "No trade id ", "1"),
    ]
    assert len(re.findall(ROWS, page(vera, "/quarantine/?code=no-trade-id"))) == 1
    nothing = page(vera, "/quarantine/?code=no-trade-id&q=unseen")
    assert "No message in quarantine holds this text and has this reason" in nothing


def test_a_filter_is_kept_from_page_to_page(vera: Client) -> None:
    for number in range(55):
        factories.quarantined(group=f"G-{number}")
    factories.message("QUARANTINED", code="no-trade-id", group_id="X")

    html = page(vera, "/quarantine/?code=not-well-formed&q=broken")
    older = re.search(r'href="(\?after=[^"]+)"', html)

    assert older
    assert older[1].endswith("&q=broken&code=not-well-formed")
    assert len(re.findall(ROWS, page(vera, f"/quarantine/{older[1]}"))) == 5


def test_a_message_is_found_by_the_trade_that_it_names(vera: Client) -> None:
    factories.quarantined(group="G-1")
    scenes.blocked_trade("T-9")

    assert len(re.findall(ROWS, page(vera, "/quarantine/?q=T-9"))) == 1


@pytest.mark.parametrize("view", ["", "settled"])
def test_a_list_costs_the_same_with_one_row_and_with_fifty(otto: Client, view: str) -> None:
    fields: dict[str, Any] = {"settled_at": factories.NOON} if view else {}
    outcome = "DISCARDED" if view else "QUARANTINED"

    def cost() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            page(otto, f"/quarantine/?view={view}")
        return len(captured)

    factories.message(outcome, code="no-trade-id", **fields)
    one = cost()
    for _ in range(60):
        factories.message(outcome, code="no-trade-id", stated_trade_id="T-1", **fields)

    assert cost() == one <= 12


def test_viewers_have_nothing_to_tick_or_to_press(vera: Client, otto: Client) -> None:
    _, bad = scenes.blocked_trade()
    gone = factories.message("DISCARDED", settled_at=factories.NOON)

    for address in ("/quarantine/", "/quarantine/?view=settled", f"/quarantine/{bad.pk}/", f"/quarantine/{gone.pk}/"):
        assert not re.search(r'type="checkbox"|<form method="post" action="/quarantine|/correct/"', page(vera, address)), address
        assert re.search(r'type="checkbox"|<form method="post" action="/quarantine', page(otto, address)), address


# Many at once


def test_replaying_many_asks_first_and_says_what_became_of_each(otto: Client) -> None:
    good = waiting(2)
    bad = factories.quarantined(group="B")
    address = "/quarantine/settle/?act=replay&" + "&".join(f"m={message.pk}" for message in [*good, bad])

    asked = page(otto, address)
    assert "Replay 3 messages" in asked
    assert "2 messages wait behind them." in asked
    assert all(f'href="/quarantine/{message.pk}/"' in asked for message in [*good, bad])
    assert 'Book version 1 of <a href="/trades/G-0/">G-0</a>. Then the 1 that waits behind it is read in turn.' in asked
    assert "Not understood: " in asked
    assert not AuditEntry.objects.exists()
    html = post(otto, "/quarantine/settle/", {"act": "replay", "m": keys(asked), "reason": "mapping put right"})

    assert "Replayed: 2 of 3 messages" in html
    for number in range(2):
        assert f'Replayed. Recorded as <a href="/trades/G-{number}/events/1/">event 1 of G-{number}</a>. 1 message that waited' in html
    assert "Replayed and refused again: line" in html
    assert set(AuditEntry.objects.values_list("action", "note")) == {
        ("replay", "mapping put right"),
        ("replay refused", "mapping put right"),
    }
    assert Event.objects.count() == 4


def test_discarding_many_needs_a_reason_and_undoing_brings_them_back(otto: Client) -> None:
    blocked = waiting(2)
    asked = page(otto, f"/quarantine/settle/?act=discard&m={blocked[0].pk}&m={blocked[1].pk}")

    refused = post(otto, "/quarantine/settle/", {"act": "discard", "m": keys(asked), "reason": " "}, status=422)
    assert "Say why. The reason is kept with the message." in refused
    assert not AuditEntry.objects.exists()
    done = post(otto, "/quarantine/settle/", {"act": "discard", "m": keys(refused), "reason": "sent again"})
    assert "Discarded: 2 of 2 messages" in done
    asked = page(otto, f"/quarantine/settle/?act=undo&m={blocked[0].pk}&m={blocked[1].pk}")
    undone = post(otto, "/quarantine/settle/", {"act": "undo", "m": keys(asked), "reason": "they were not"})

    assert undone.count("Discard undone. It is in quarantine again.") == 2
    assert set(Message.objects.filter(pk__in=[m.pk for m in blocked]).values_list("outcome", "settled_at")) == {("QUARANTINED", None)}


def test_messages_that_do_not_fit_are_left_out_and_said_so(otto: Client) -> None:
    (bad,) = waiting(1)
    gone = factories.message("DISCARDED", settled_at=factories.NOON)

    html = page(otto, f"/quarantine/settle/?act=discard&m={bad.pk}&m={gone.pk}&m=999999&m=none&m=1:x")

    assert "Discard 1 message" in html
    assert f'Left out, since it is settled otherwise: <a href="/quarantine/{gone.pk}/">' in html


@pytest.mark.parametrize(
    "address", ["/quarantine/settle/?act=replay", "/quarantine/correct/?act=correct", "/quarantine/settle/?act=nonsense"]
)
def test_nothing_ticked_and_too_much_ticked_get_a_sentence(otto: Client, address: str) -> None:
    assert "No message is ticked." in page(otto, address, status=422)
    too_many = "&".join(f"m={number}" for number in range(201))
    assert "201 messages are ticked. Settle at most 200 at once." in page(otto, f"{address}&{too_many}", status=422)


def test_of_many_those_that_somebody_else_settled_meanwhile_are_left_alone(otto: Client) -> None:
    first, second = waiting(2)
    asked = page(otto, f"/quarantine/settle/?act=discard&m={first.pk}&m={second.pk}")
    quarantine.discard(first, actor=scenes.BEN, reason="sent twice", now=factories.NOON)

    html = post(otto, "/quarantine/settle/", {"act": "discard", "m": keys(asked), "reason": "cleaning up"})

    assert "Discarded: 1 of 2 messages" in html
    assert re.search(r"ben discarded this message at 12:00:00 UTC.*giving the reason “sent twice”.*Nothing was changed by you\.", html)
    assert list(AuditEntry.objects.filter(message=first).values_list("note", flat=True)) == ["sent twice"]


def test_the_settled_list_leads_to_what_became_of_each_and_ticks_what_can_be_undone(otto: Client) -> None:
    scenes.repaired_trade()

    rows = re.findall(ROWS, page(otto, "/quarantine/?view=settled"))
    (corrected,) = (row for row in rows if "Corrected" in row)

    assert re.search(r'href="/trades/R-1/events/\d+/">Event \d+</a>', corrected)
    assert 'href="/trades/R-1/">R-1</a>' in corrected
    assert [bool(re.search('type="checkbox"', row)) for row in rows] == ["Discarded" in row for row in rows]


@pytest.mark.parametrize("count", [1, 50])
def test_asking_and_telling_cost_the_same_for_one_and_for_fifty(
    otto: Client, django_assert_num_queries: DjangoAssertNumQueries, count: int
) -> None:
    made = [factories.message("QUARANTINED", native(f"T-{number}"), group_id=f"T-{number}") for number in range(count)]

    with django_assert_num_queries(9):
        page(otto, "/quarantine/settle/?act=replay&" + "&".join(f"m={message.pk}" for message in made))


@pytest.mark.parametrize("address", ["/quarantine/settle/", "/quarantine/correct/"])
def test_whoever_was_signed_out_before_settling_many_ticks_them_again(client: Client, address: str) -> None:
    factories.person("operator", name="olga")
    (bad,) = waiting(1)
    sign_in = client.post(address, {"act": "discard", "m": f"{bad.pk}:0", "reason": "sent again", "find": "a", "step": "apply"})
    assert sign_in["Location"] == f"/sign-in/?next={address}"

    response = client.post(sign_in["Location"], {"username": "olga", "password": "secret", "next": address}, follow=True)

    assert response.redirect_chain[-1] == ("/quarantine/", 302)
    assert "You were signed out, and nothing was done. Tick the messages and give the reason again." in response.content.decode()
    assert not AuditEntry.objects.exists()


# One message


@pytest.mark.parametrize("act", ["replay", "discard", "undo"])
def test_whoever_was_signed_out_before_an_act_comes_back_to_the_message(client: Client, act: str) -> None:
    factories.person("operator", name="olga")
    bad = factories.quarantined()
    address = f"/quarantine/{bad.pk}/{act}/"
    sign_in = client.post(address, {"reason": "sent again", "seen": "0"})

    response = client.post(sign_in["Location"], {"username": "olga", "password": "secret", "next": address}, follow=True)

    assert response.redirect_chain[-1] == (f"/quarantine/{bad.pk}/", 302)
    assert "You were signed out, and nothing was done. Give the reason again." in response.content.decode()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("address", ["/quarantine/99999/", "/quarantine/99999/correct/", "/quarantine/99999/discard/"])
def test_an_unknown_message_is_a_sentence_that_leads_to_the_list(otto: Client, address: str) -> None:
    html = page(otto, address, status=404)

    assert 'There is no message 99999. Look for it in <a href="/quarantine/">the list of quarantine</a>.' in html


def test_what_waits_behind_the_next_refused_message_is_said_after_settling(otto: Client) -> None:
    first = factories.quarantined(group="G-1", body=native("G-1"))
    second = factories.message("HELD", "<broken", group_id="G-1")
    factories.message("HELD", native("G-1", "CANCEL", 2), group_id="G-1")
    panels = page(otto, f"/quarantine/{first.pk}/")
    assert panels.count("Then the 2 that wait behind it are read in turn, up to the next that can't be understood.") == 2

    html = unescape(otto.post(f"/quarantine/{first.pk}/replay/", {"seen": "0"}, follow=True).content.decode())

    assert f'Its group waits behind <a href="/quarantine/{second.pk}/">message {second.pk}</a>, which is in quarantine.' in html
    assert "behind it was recorded" not in html


def test_repeated_deliveries_are_counted_and_a_single_one_is_not(vera: Client) -> None:
    bad = factories.quarantined()
    assert "by the queue" not in page(vera, f"/quarantine/{bad.pk}/")
    Message.objects.filter(pk=bad.pk).update(repeats=2)

    assert '<p class="sub">Delivered 3 times by the queue.</p>' in page(vera, f"/quarantine/{bad.pk}/")


def test_undoing_a_discard_warns_of_later_messages_and_stands_in_the_history(otto: Client) -> None:
    _, bad = scenes.blocked_trade()
    otto.post(f"/quarantine/{bad.pk}/discard/", {"reason": "sent by mistake", "seen": "0"})
    warning = "3 later messages of its group are recorded for this trade already; its event will be flagged as overtaken."
    assert warning in page(otto, f"/quarantine/{bad.pk}/")

    otto.post(f"/quarantine/{bad.pk}/undo/", {"reason": "it was not"})

    assert '<span class="m told wrap">Discard undone by otto: “it was not”</span>' in page(otto, "/trades/T-1/")
    otto.post(
        f"/quarantine/{bad.pk}/correct/",
        {"text": scenes.UPDATE, "seen": AuditEntry.objects.latest("pk").pk, "step": "apply", "reason": "x"},
    )
    assert "OVERTAKEN" in Event.objects.latest("pk").flags


def test_a_refused_replay_is_an_attempt_that_the_page_counts(otto: Client) -> None:
    bad = factories.quarantined()
    seen = re.search(r'name="seen" value="(\d+)"', page(otto, f"/quarantine/{bad.pk}/"))
    assert seen
    otto.post(f"/quarantine/{bad.pk}/replay/", {"seen": seen[1]})

    html = page(otto, f"/quarantine/{bad.pk}/")

    assert '<p class="sub">Replayed 1 time and refused again.</p>' in html
    assert "<b>Replayed and refused again</b> by otto" in html
    assert '<span class="wrap">line 3, column 1: ' in html


def test_acting_on_what_somebody_changed_meanwhile_is_refused_with_what_changed(otto: Client) -> None:
    bad = factories.quarantined()
    quarantine.replay(bad, actor=quarantine.Actor(User.objects.get(username="otto"), ""), note="first try", now=factories.NOON)

    html = post(otto, f"/quarantine/{bad.pk}/discard/", {"reason": "cleaning up", "seen": "0"}, status=409)

    assert "otto replayed this message, which was refused again," in html
    assert "Replay refused by otto, 20 Nov 2026 12:00:00 UTC: “first try”" in html
    assert Message.objects.get(pk=bad.pk).outcome == "QUARANTINED"


def test_a_discard_is_undone_for_a_reason_and_both_are_kept(otto: Client) -> None:
    _, bad = scenes.blocked_trade()
    otto.post(f"/quarantine/{bad.pk}/discard/", {"reason": "sent by mistake", "seen": "0"})
    settled = page(otto, f"/quarantine/{bad.pk}/")
    assert "<b>Discarded</b> by otto" in settled
    seen = re.search(r'name="seen" value="(\d+)"', settled)
    assert seen

    assert "Say why." in post(otto, f"/quarantine/{bad.pk}/undo/", {"reason": "", "seen": seen[1]}, status=422)
    otto.post(f"/quarantine/{bad.pk}/undo/", {"reason": "it was not", "seen": seen[1]})
    html = page(otto, f"/quarantine/{bad.pk}/")

    assert "Discard undone. It is in quarantine again." in html
    assert html.index("“it was not”") < html.index("“sent by mistake”")
    assert "Correct and replay" in html


def test_the_page_marks_the_place_says_what_to_do_and_which_trade_is_named(vera: Client) -> None:
    _, bad = scenes.blocked_trade()

    html = page(vera, f"/quarantine/{bad.pk}/")

    assert '  <Version>two</Version><Event>UPDATE</Event>\n<b aria-hidden="true">  ^</b>' in html
    assert "What to do:</b> Correct the text and replay it" in html
    assert 'It names the trade <a class="id" href="/trades/T-1/">T-1</a>' in html
    assert len(re.findall(r">Message \d+</a></li>", html)) == 3


def test_a_publication_conflict_shows_both_texts_side_by_side(vera: Client) -> None:
    scenes.repaired_trade()
    conflict = Message.objects.get(conflicts_with__isnull=False)

    html = page(vera, f"/quarantine/{conflict.pk}/")

    assert f'<a href="/quarantine/{conflict.conflicts_with_id}/">The earlier message</a>' in html
    assert "Both carry the same publication id." in html
    first = conflict.conflicts_with_id
    assert f'{scenes.PUBLICATION}, which <a href="/quarantine/{first}/">message {first}</a> brought first' in html
    assert "sent by another program" not in html
    earlier = page(vera, f"/quarantine/{conflict.conflicts_with_id}/")
    assert f'<a href="/quarantine/{conflict.pk}/">The later message</a>' in earlier
    assert "<code>  <Version>5</Version><Event>UPDATE</Event></code>" in html


def test_a_message_costs_the_same_whatever_people_did_with_it(otto: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    quiet = factories.quarantined(group="Q")
    busy = factories.quarantined(group="G", waiting=60)
    for _ in range(50):
        quarantine.replay(busy, actor=scenes.ANA, note="again", now=factories.NOON)
    page(otto, f"/quarantine/{quiet.pk}/")

    for message in (quiet, busy):
        with django_assert_num_queries(11):
            page(otto, f"/quarantine/{message.pk}/")
