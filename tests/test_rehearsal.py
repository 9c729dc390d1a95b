"""What a correction would do, found out without doing it, and how two texts differ."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from django.db import DataError
from pytest_django.fixtures import Settings

from tests.support.native import NOON, native, received, several
from trades import history, ledger, quarantine, rehearsal
from trades.models import AuditEntry, Event, Hold, Message, Trade, TradeIdentifier, TradeLink
from trades.quarantine import Actor
from trades.rehearsal import Effect, EffectOnTrade, Line

LATER = NOON + timedelta(minutes=5)
Outcome = Message.Outcome


def quarantined(*after: str, before: tuple[str, ...] = ()) -> Message:
    """A message in quarantine in the group of T-1, after and before others."""
    history.record([received(body) for body in (*before, "<broken", *after)], now=NOON)
    return Message.objects.get(outcome=Outcome.QUARANTINED)


def effect(message: Message, body: str) -> Effect:
    return rehearsal.effect(message, body, now=LATER)


def everything() -> list[object]:
    models = (Message, Event, Trade, TradeIdentifier, TradeLink, Hold, AuditEntry)
    return [list(model.objects.order_by("pk").values()) for model in models]


# The effect


@pytest.mark.django_db
def test_the_effect_names_the_event_and_what_becomes_of_the_trade_and_nothing_is_changed() -> None:
    message = quarantined(native("T-1", "UPDATE", 3), before=(native("T-1"),))
    before = everything()

    told = effect(message, native("T-1", "CANCEL", 2))

    assert told == Effect(
        "recorded", None, (EffectOnTrade("T-1", False, 2, "CANCEL", (), "LIVE", "CANCELLED", "RECEIVED", "RECEIVED"),), waiting=1
    )
    assert everything() == before


@pytest.mark.django_db
def test_the_effect_of_several_events_tells_new_trades_from_known_ones() -> None:
    message = quarantined(before=(native("T-1"),))

    told = effect(message, several(native("T-1", "STATUS", 1, "CONFIRMED"), native("T-2"), native("T-2", "UPDATE", 3)))

    known, *new = told.events
    assert (known.trade_id, known.is_new, known.position, known.flags) == ("T-1", False, 2, ("SKIPPED_STEP",))
    assert (known.status_before, known.status_after) == ("RECEIVED", "CONFIRMED")
    assert [(event.trade_id, event.is_new, event.position, event.state_before, event.state_after) for event in new] == [
        ("T-2", True, 1, "", "LIVE"),
        ("T-2", True, 2, "", "LIVE"),
    ]


@pytest.mark.django_db
def test_the_effect_is_what_the_correction_does_then() -> None:
    history.record([received("<broken"), received(native("T-1", "UPDATE", 2))], now=NOON, hold=False)
    message, text = Message.objects.get(outcome=Outcome.QUARANTINED), native("T-1")

    (told,) = effect(message, text).events
    quarantine.correct(message, text, actor=Actor(None), reason="x", now=LATER)

    done = Event.objects.get(event_class="BOOK")
    trade = Trade.objects.get()
    assert (told.position, list(told.flags)) == (done.position, done.flags) == (2, ["LATE", "OVERTAKEN"])
    assert (told.state_before, told.state_after, told.status_after) == ("PENDING", trade.state, trade.status)


@pytest.mark.django_db
@pytest.mark.parametrize("hold", [True, False])
def test_the_effect_warns_of_an_earlier_one_in_quarantine_as_the_correction_does(hold: bool, settings: Settings) -> None:
    settings.TRADES_HOLD = hold
    history.record([received("<broken"), received("<broken too")], now=NOON, hold=hold)
    if hold:
        quarantine.discard(Message.objects.get(body="<broken"), actor=Actor(None), reason="x", now=NOON)
    message, text = Message.objects.get(body="<broken too"), native("T-1")

    (told,) = effect(message, text).events
    quarantine.correct(message, text, actor=Actor(None), reason="x", now=LATER)

    assert list(told.flags) == Event.objects.get().flags == ([] if hold else ["GROUP_GAP"])


@pytest.mark.django_db
def test_a_copy_a_reference_and_a_text_that_is_not_understood_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    known = native("T-1")
    message = quarantined(before=(known,))
    real = history.judge
    notice = history.ParsedMessage("test", "notice", "1", (), reference="A notice.")
    monkeypatch.setattr(history, "judge", lambda body: notice if body == "notice" else real(body))

    assert effect(message, known) == Effect("duplicate", None, (), 0)
    assert effect(message, "notice") == Effect("reference", None, (), 0)
    refused = effect(message, "<still")
    assert (refused.outcome, refused.refusal and refused.refusal.code) == ("refused", "not-well-formed")


@pytest.mark.django_db
def test_what_the_database_refuses_is_told_as_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    message = quarantined()

    def refusing(*args: object, **kwargs: object) -> ledger.Entered:
        raise DataError("value out of range")

    monkeypatch.setattr(ledger, "enter", refusing)
    before = everything()

    told = effect(message, native("T-1"))

    assert (told.outcome, told.refusal and told.refusal.code) == ("refused", "not-storable")
    assert everything() == before


@pytest.mark.django_db(transaction=True)
def test_nothing_stays_of_it_outside_of_a_transaction_either() -> None:
    message = quarantined(before=(native("T-1"),))
    before = everything()

    assert effect(message, native("T-2")).events[0].is_new

    assert everything() == before


# The difference


def shown(old: str, new: str, context: int = 3) -> list[tuple[str, int | None, int | None, str]]:
    return [(line.kind, line.old, line.new, line.text) for line in rehearsal.difference(old, new, context)]


def test_lines_that_differ_are_shown_with_those_around_them() -> None:
    old = "\n".join("abcdefghij")
    new = old.replace("e", "E")

    assert shown(old, new, 1) == [
        ("@", 4, 4, "@@ -4,3 +4,3 @@"),
        (" ", 4, 4, "d"),
        ("-", 5, None, "e"),
        ("+", None, 5, "E"),
        (" ", 6, 6, "f"),
    ]


@pytest.mark.parametrize(("old", "new"), [("a\nb", "a\nb"), ("a\r\nb", "a\nb"), ("", "")])
def test_texts_that_are_the_same_but_for_line_ends_do_not_differ(old: str, new: str) -> None:
    assert rehearsal.difference(old, new) == []


@pytest.mark.parametrize("seed", range(40))
def test_from_the_original_and_the_difference_the_corrected_text_can_be_made(seed: int) -> None:
    dice = Random(seed)
    old = [dice.choice("abcd") for _ in range(dice.randint(1, 60))]
    new = [line for line in old if dice.random() < 0.9]
    for _ in range(dice.randint(0, 6)):
        new.insert(dice.randint(0, len(new)), dice.choice("abxy"))
    new = new or ["z"]

    _apply_and_compare(old, new, rehearsal.difference("\n".join(old), "\n".join(new), dice.randint(0, 4)))


def test_a_text_that_is_another_one_altogether_is_not_compared_line_by_line() -> None:
    old, new = [f"old {n}" for n in range(30_000)], [f"new {n}" for n in range(20_000)]

    lines = rehearsal.difference("\n".join(["same", *old]), "\n".join(["same", *new]))

    assert [line.kind for line in lines] == ["@", " ", *["-"] * 30_000, *["+"] * 20_000]


def _apply_and_compare(old: list[str], new: list[str], lines: list[Line]) -> None:
    made, at = [], 0
    for line in lines:
        if line.kind == "@":
            made += old[at : (line.old or 1) - 1]
            at = (line.old or 1) - 1
            assert line.new == len(made) + 1
        elif line.kind == "+":
            made.append(line.text)
            assert line.new == len(made)
        else:
            assert (old[at], at + 1) == (line.text, line.old)
            at += 1
            if line.kind == " ":
                made.append(line.text)
    assert [*made, *old[at:]] == new
