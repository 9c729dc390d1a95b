"""Taking a discard back, and the order that is kept, or said to be broken, whatever people do."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from tests.support.native import native, received
from tests.test_business_order import check_against_telling_anew
from tests.test_corrections import LATER, SHELL, bad, correct, discard, outcomes, record, story, the, undo
from trades import history, quarantine
from trades.models import AuditEntry, Event, Hold, Message, Trade
from trades.quarantine import Actor, Result

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome


# Taking a discard back


def test_a_discard_taken_back_puts_the_message_and_its_reason_back_into_quarantine_and_the_group_waits_again() -> None:
    record(received(bad("T-1")), received(native("T-1", "UPDATE", 2)))
    message = the(Outcome.QUARANTINED)
    reason = message.reason
    discard(message)
    assert Message.objects.get(pk=message.pk).settled_at == LATER

    undo(message)
    record(received(native("T-1", "CANCEL", 3)))

    message.refresh_from_db()
    assert (message.outcome, message.reason, message.settled_at) == (Outcome.QUARANTINED, reason, None)
    assert outcomes() == [Outcome.QUARANTINED, Outcome.RECORDED, Outcome.HELD]
    assert Hold.objects.get().message == message
    assert list(AuditEntry.objects.order_by("id").values_list("action", "note")) == [
        ("discard", "wrong file"),
        ("undo discard", "was right after all"),
    ]


def test_what_is_recorded_after_a_discard_was_taken_back_says_that_it_was_overtaken() -> None:
    record(received(bad("T-1")), received(native("T-1", "UPDATE", 2)))
    message = the(Outcome.QUARANTINED)
    discard(message)
    undo(message)
    record(received(native("T-1", "CANCEL", 3)))

    correct(message)

    assert list(Event.objects.order_by("position").values_list("event_class", "flags")) == [
        ("UPDATE", []),
        ("BOOK", ["LATE", "OVERTAKEN"]),
        ("CANCEL", []),
    ]
    check_against_telling_anew()


def test_a_discard_taken_back_before_a_later_one_in_quarantine_makes_that_one_wait_and_be_read_anew() -> None:
    record(
        received(bad("T-1")), received(native("T-1", "UPDATE", 2)), received(bad("T-1", "UPDATE", 3)), received(native("T-1", "CANCEL", 4))
    )
    first = the(Outcome.QUARANTINED)
    discard(first)

    undo(first)

    assert outcomes() == [Outcome.QUARANTINED, Outcome.RECORDED, Outcome.HELD, Outcome.HELD]
    correct(first)
    assert outcomes()[:4] == [Outcome.CORRECTED, Outcome.RECORDED, Outcome.QUARANTINED, Outcome.HELD]
    later = the(Outcome.QUARANTINED)
    assert Hold.objects.get().message == later
    correct(later)
    assert story() == [(1, "UPDATE"), (2, "BOOK"), (3, "UPDATE"), (4, "CANCEL")]
    assert [flags for flags in Event.objects.order_by("position").values_list("flags", flat=True) if "OVERTAKEN" in flags] == [
        ["LATE", "OVERTAKEN"]
    ]


def test_a_discard_taken_back_behind_an_earlier_one_in_quarantine_waits_for_it() -> None:
    record(received(bad("T-1")), received(bad("T-1", "UPDATE", 2)), received(native("T-1", "CANCEL", 3)))
    first = the(Outcome.QUARANTINED)
    discard(first)
    second = the(Outcome.QUARANTINED)
    discard(second)
    undo(first)

    undo(second)

    assert outcomes() == [Outcome.QUARANTINED, Outcome.HELD, Outcome.RECORDED]
    correct(first)
    assert the(Outcome.QUARANTINED).pk == second.pk
    correct(second)
    assert story() == [(1, "CANCEL"), (2, "BOOK"), (3, "UPDATE")]
    assert [("OVERTAKEN" in flags) for flags in Event.objects.order_by("position").values_list("flags", flat=True)] == [False, True, True]


def test_one_in_quarantine_that_had_to_wait_and_is_recorded_in_its_turn_says_who_made_it_wait_and_who_let_it_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(received(bad("T-1")), received(bad("T-1", "UPDATE", 2)), received(native("T-1", "CANCEL", 3)))
    first = the(Outcome.QUARANTINED)
    discard(first)
    second = the(Outcome.QUARANTINED)
    alice = Actor(User.objects.create_user("alice"), "web")
    quarantine.undo_discard(first, actor=alice, reason="was right after all", now=LATER)
    real = history.judge
    monkeypatch.setattr(history, "judge", lambda body: real(body.replace("<Version>v", "<Version>")))

    result = correct(first)

    second.refresh_from_db()
    assert (result.recorded, second.outcome, second.settled_at) == (3, Outcome.RECORDED, LATER)
    entries = AuditEntry.objects.filter(message=second).order_by("id")
    assert [(entry.action, quarantine.who(entry), entry.note) for entry in entries] == [
        ("held", "alice", f"Behind message {first.pk}, whose discard was taken back."),
        ("replay", "command line, root", f"In its turn, after message {first.pk} was corrected."),
    ]
    assert not AuditEntry.objects.exclude(message__in=[first, second]).exists()
    assert list(Message.objects.order_by("id").values_list("settled_at", flat=True)) == [LATER, LATER, None, None]


def test_a_person_who_saw_it_in_quarantine_is_told_who_made_it_wait() -> None:
    record(received(bad("T-1")), received(bad("T-1", "UPDATE", 2)))
    first = the(Outcome.QUARANTINED)
    discard(first)
    second = the(Outcome.QUARANTINED)
    undo(first)

    with pytest.raises(quarantine.Conflict, match=r"let this message wait behind an earlier one at .* It is held now\."):
        discard(second, seen=0)


def test_without_holding_nothing_waits_for_a_discard_taken_back(settings: Settings) -> None:
    settings.TRADES_HOLD = False
    record(received(bad("T-1")), hold=False)
    message = the(Outcome.QUARANTINED)
    discard(message)

    undo(message)

    assert the(Outcome.QUARANTINED) == message
    assert not Hold.objects.exists()


def test_only_a_discard_can_be_taken_back_and_with_a_reason() -> None:
    record(received(bad()))
    message = the(Outcome.QUARANTINED)

    with pytest.raises(quarantine.Conflict, match=rf"^Message {message.pk} is not discarded; it is quarantined\.$"):
        undo(message)
    discard(message)
    with pytest.raises(ValueError, match="reason"):
        quarantine.undo_discard(message, actor=SHELL, reason="", now=LATER)


# Order, where nothing is held


def test_what_is_settled_after_later_ones_of_its_group_says_so_and_only_then() -> None:
    record(received(bad("T-1")), received(bad("T-1", "UPDATE", 2)), hold=False)
    record(received(native("T-1", "CANCEL", 3)), received(native("T-9"), "other"), hold=False)
    first, second = Message.objects.filter(outcome=Outcome.QUARANTINED).order_by("id")

    correct(second)
    correct(first)

    assert list(Event.objects.filter(trade__trade_id="T-1").order_by("position").values_list("event_class", "flags")) == [
        ("CANCEL", ["GROUP_GAP"]),
        ("UPDATE", ["LATE", "GROUP_GAP", "OVERTAKEN"]),
        ("BOOK", ["LATE", "OVERTAKEN"]),
    ]


def test_a_correction_counts_at_the_place_of_its_original() -> None:
    record(received(bad("T-1")), received(bad("T-1", "UPDATE", 2)), hold=False)
    first, second = Message.objects.order_by("id")

    correct(first)
    correct(second)

    assert list(Event.objects.order_by("position").values_list("event_class", "flags")) == [("BOOK", []), ("UPDATE", [])]


# Whatever people do


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_done_positions_have_no_gap_and_the_trade_is_what_its_events_tell(seed: int, settings: Settings) -> None:
    dice = Random(seed)
    hold = settings.TRADES_HOLD = dice.random() < 0.7
    kinds = [("BOOK", "")] + [("UPDATE", ""), ("UPDATE", ""), ("STATUS", "CHECKED"), ("CANCEL", ""), ("TERMINATE", "")] * 2
    bodies = [_any_body(dice, version, *dice.choice(kinds[version > 1 :])) for version in range(1, 13)]

    while bodies or dice.random() < 0.8:
        if bodies and dice.random() < 0.5:
            size = dice.randint(1, 3)
            record(*(received(body, "G") for body in bodies[:size]), hold=hold)
            del bodies[:size]
        if messages := list(Message.objects.filter(corrects=None).order_by("id")):
            _do_anything(dice, dice.choice(messages))
        _check_groups()
    check_against_telling_anew()
    for trade in Trade.objects.all():
        assert list(trade.events.order_by("position").values_list("position", flat=True)) == list(range(1, trade.event_count + 1))
    _check_order()


def _any_body(dice: Random, version: int, event: str, status: str) -> str:
    body = native(f"T-{dice.randint(1, 2)}", event, version, status)
    return body.replace(f"<Version>{version}<", f"<Version>v{version}<") if dice.random() < 0.4 else body


def _do_anything(dice: Random, message: Message) -> None:
    acts: list[Callable[[Message], Result]] = [correct, discard, undo, partial(quarantine.replay, actor=SHELL, now=LATER)]
    act = dice.choice(acts)
    before = Message.objects.get(pk=message.pk).outcome
    try:
        act(message)
    except (quarantine.Conflict, ValueError):
        assert Message.objects.get(pk=message.pk).outcome == before


def _check_groups() -> None:
    """What is held waits behind an earlier message in quarantine, which has the hold."""
    for hold in Hold.objects.all():
        assert hold.message.outcome == Outcome.QUARANTINED
    for message in Message.objects.filter(outcome=Outcome.HELD):
        assert Hold.objects.get(group_id=message.group_id).message_id < message.pk


def _check_order() -> None:
    """Events of a trade are in the order of arrival of their messages, but for those that say that they were overtaken."""
    for trade in Trade.objects.all():
        newest = 0
        for event in trade.events.select_related("message").order_by("position"):
            place = event.message.corrects_id or event.message_id
            assert ("OVERTAKEN" in event.flags) == (place < newest)
            newest = max(newest, place)
