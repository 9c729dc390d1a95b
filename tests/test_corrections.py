"""Correcting a message: the original stays, the correction takes its place, and of several people none undoes what another did."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import DataError
from pytest_django.fixtures import Settings

from tests.support.native import NOON, native, received, several
from trades import history, ledger, quarantine
from trades.messages.facts import MessageRefused
from trades.models import AuditEntry, Event, Hold, Message, Trade
from trades.quarantine import Actor, Result
from trades.sqs import Received

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome
SHELL = Actor(None, "command line, root")
LATER = NOON + timedelta(minutes=5)


@pytest.fixture
def alice() -> Actor:
    return Actor(User.objects.create_user("alice"))


def bad(trade_id: str = "T-1", event: str = "BOOK", version: int = 1) -> str:
    """A message whose version is no number."""
    return native(trade_id, event, version).replace(f"<Version>{version}<", f"<Version>v{version}<")


def mended(message: Message) -> str:
    return message.body.replace("<Version>v", "<Version>")


def record(*batch: Received, hold: bool = True) -> None:
    history.record(batch, now=NOON, hold=hold)


def the(outcome: str) -> Message:
    return Message.objects.get(outcome=outcome)


def outcomes() -> list[str]:
    return list(Message.objects.order_by("id").values_list("outcome", flat=True))


def story(trade_id: str = "T-1") -> list[tuple[int, str]]:
    return list(Event.objects.filter(trade__trade_id=trade_id).order_by("position").values_list("position", "event_class"))


def correct(message: Message, body: str | None = None, actor: Actor = SHELL, seen: int | None = None) -> Result:
    return quarantine.correct(message, mended(message) if body is None else body, actor=actor, reason="version", seen=seen, now=LATER)


def discard(message: Message, actor: Actor = SHELL, seen: int | None = None) -> Result:
    return quarantine.discard(message, actor=actor, reason="wrong file", seen=seen, now=LATER)


def undo(message: Message) -> Result:
    return quarantine.undo_discard(message, actor=SHELL, reason="was right after all", now=LATER)


# Correcting


def test_a_correction_takes_the_place_of_the_original_before_what_waited(alice: Actor) -> None:
    record(received(native("T-1")), received(bad("T-1", "UPDATE", 2)), received(native("T-1", "CANCEL", 3)))
    original = the(Outcome.QUARANTINED)

    result = correct(original, actor=alice)

    assert story() == [(1, "BOOK"), (2, "UPDATE"), (3, "CANCEL")]
    assert result.recorded == 2
    assert not Hold.objects.exists()
    assert list(Event.objects.values_list("flags", flat=True)) == [[], [], []]
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.user, entry.note, entry.message) == ("correct", alice.user, "version", original)


def test_the_original_keeps_its_text_and_is_linked_both_ways() -> None:
    body = bad()
    record(received(body, publication_id=uuid.uuid4()))
    before = Message.objects.values().get()

    correction = correct(the(Outcome.QUARANTINED)).correction

    assert correction is not None
    original = the(Outcome.CORRECTED)
    assert Message.objects.values().get(pk=original.pk) == {**before, "outcome": "CORRECTED", "settled_at": LATER}
    assert original.corrections.get() == correction
    stored = Message.objects.get(pk=correction.pk)
    assert (stored.corrects, stored.outcome, stored.body) == (original, Outcome.RECORDED, mended(original))
    assert (stored.queue, stored.group_id, stored.sequence_number) == (original.queue, original.group_id, original.sequence_number)
    assert (stored.sent_at, stored.received_at, stored.recorded_at) == (NOON, LATER, LATER)
    assert stored.publication_id is None
    assert stored.message_id.startswith("corrected-")
    assert (stored.size, len(stored.body_sha256), len(stored.body_md5)) == (len(stored.body.encode()), 64, 32)


def test_a_correction_that_is_not_understood_is_refused_and_nothing_is_stored() -> None:
    record(received(bad()), received(native("T-1")))

    with pytest.raises(MessageRefused, match="line 4"):
        correct(the(Outcome.QUARANTINED), native("T-1").replace("<Version>1<", "<Version>one<"))

    assert outcomes() == [Outcome.QUARANTINED, Outcome.HELD]
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("<broken", "not well-formed"),
        ("", "empty"),
        ("<a>\ufffe</a>", "U\\+FFFE"),
        ("<a>\0</a>", "U\\+0000"),
        ("<a>" + 5_000 * "long " + "</a>", "at most 20,000"),
    ],
)
def test_a_correction_is_bound_as_any_message_is(settings: Settings, body: str, says: str) -> None:
    record(received(bad()))
    settings.TRADES_MAX_DOCUMENT_BYTES = 20_000

    with pytest.raises(MessageRefused, match=says):
        correct(the(Outcome.QUARANTINED), body)

    assert outcomes() == [Outcome.QUARANTINED]


def test_a_correction_that_the_database_refuses_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    record(received(bad()))

    def refusing(*args: object, **kwargs: object) -> ledger.Entered:
        raise DataError("value out of range")

    monkeypatch.setattr(ledger, "enter", refusing)

    with pytest.raises(MessageRefused, match="could not be stored"):
        correct(the(Outcome.QUARANTINED))

    assert outcomes() == [Outcome.QUARANTINED]
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("change", [str, lambda body: body.replace("\n", "\r\n")])
def test_unchanged_text_is_no_correction_however_a_form_sends_its_lines(change: Callable[[str], str]) -> None:
    record(received(bad()))
    message = the(Outcome.QUARANTINED)

    with pytest.raises(ValueError, match="unchanged"):
        correct(message, change(message.body))


def test_a_form_does_not_change_the_line_ends_of_the_original() -> None:
    record(received(bad()))
    message = the(Outcome.QUARANTINED)

    correction = correct(message, mended(message).replace("\n", "\r\n")).correction

    assert correction is not None
    assert correction.body == mended(message)


def test_a_correction_needs_a_reason() -> None:
    record(received(bad()))

    with pytest.raises(ValueError, match="reason"):
        quarantine.correct(the(Outcome.QUARANTINED), native("T-1"), actor=SHELL, reason=" ", now=LATER)


def test_a_correction_to_what_the_history_has_already_is_a_copy() -> None:
    record(received(bad()))
    message = the(Outcome.QUARANTINED)
    record(received(mended(message), "other group"))

    result = correct(message)

    assert (result.recorded, story()) == (0, [(1, "BOOK")])
    assert outcomes() == [Outcome.CORRECTED, Outcome.RECORDED, Outcome.DUPLICATE]


def test_a_correction_may_carry_several_events_or_be_no_trade_event(monkeypatch: pytest.MonkeyPatch) -> None:
    record(received("<x", "A"), received("<y", "B"))
    first, second = Message.objects.order_by("id")
    real = history.judge
    notice = history.ParsedMessage("test", "notice", "1", (), reference="A notice.")
    monkeypatch.setattr(history, "judge", lambda body: notice if body == "notice" else real(body))

    correct(first, several(native("T-1"), native("T-2")))
    correct(second, "notice")

    assert (story("T-1"), story("T-2")) == ([(1, "BOOK")], [(1, "BOOK")])
    assert outcomes() == [Outcome.CORRECTED, Outcome.CORRECTED, Outcome.RECORDED, Outcome.REFERENCE]


def test_a_second_delivery_of_a_corrected_or_discarded_message_has_no_effect() -> None:
    publication_id = uuid.uuid4()
    one, two = received(bad("T-1"), "A", publication_id=publication_id), received(bad("T-2"), "B")
    record(one, two)
    correct(Message.objects.get(group_id="A"))
    discard(Message.objects.get(group_id="B"))

    report = history.record([one, two, received(one.body, "A", publication_id=publication_id)], now=LATER)

    assert report.repeats == 3
    assert (story("T-1"), story("T-2")) == ([(1, "BOOK")], [])
    assert dict(Message.objects.filter(repeats__gt=0).values_list("outcome", "repeats")) == {"CORRECTED": 2, "DISCARDED": 1}


# Conflicts of publications


def test_a_conflict_that_waited_is_for_a_person_in_its_turn() -> None:
    publication_id = uuid.uuid4()
    record(received(native("T-1"), publication_id=publication_id), received(bad("T-1", "UPDATE", 2)))
    record(received(native("T-1", "CANCEL", 2), publication_id=publication_id), received(native("T-1", "UPDATE", 3)))

    correct(the(Outcome.QUARANTINED))

    conflict = the(Outcome.QUARANTINED)
    assert (conflict.code, conflict.conflicts_with, conflict.stated_trade_id) == (
        "publication-conflict",
        Message.objects.get(publication_id=publication_id),
        "T-1",
    )
    assert str(publication_id) in conflict.reason
    assert quarantine.waiting_behind(conflict) == 1
    quarantine.replay(conflict, actor=SHELL, now=LATER)
    assert story() == [(1, "BOOK"), (2, "UPDATE"), (3, "CANCEL"), (4, "UPDATE")]


# Several people


def test_who_acts_on_what_they_saw_before_is_told_what_changed(alice: Actor) -> None:
    record(received(bad()))
    message = the(Outcome.QUARANTINED)
    seen = quarantine.revision(message)
    discard(message, actor=alice, seen=seen)
    undo(message)

    with pytest.raises(quarantine.Conflict) as error:
        correct(message, seen=seen)

    assert not isinstance(error.value, quarantine.NotQuarantined)
    assert [entry.action for entry in error.value.entries] == ["discard", "undo discard"]
    assert str(error.value) == (
        "command line, root took back the discard of this message at 12:05:00 UTC, giving the reason “was right after all”, "
        "while you were looking at it. It is quarantined now. Nothing was changed by you."
    )
    assert outcomes() == [Outcome.QUARANTINED]
    correct(message, seen=quarantine.revision(message))
    assert outcomes() == [Outcome.CORRECTED, Outcome.RECORDED]


def test_a_replay_that_is_refused_changes_what_others_see(alice: Actor) -> None:
    record(received(bad()))
    message = the(Outcome.QUARANTINED)

    assert quarantine.replay(message, actor=alice, seen=0, now=LATER).still

    with pytest.raises(quarantine.Conflict, match="alice replayed this message, which was refused again, at 12:05:00 UTC while you"):
        discard(message, seen=0)
    assert Message.objects.get().settled_at is None


def test_many_are_settled_in_the_order_of_arrival_and_one_that_fails_stops_no_other() -> None:
    record(*(received(bad(f"T-{number}"), f"T-{number}") for number in range(4)))
    first, second, third, fourth = Message.objects.order_by("id")
    discard(second)

    def act(message: Message) -> Result:
        return correct(message, None if message != third else "<still")

    results = dict(quarantine.settle_many([fourth, third, second, first], act))

    assert list(results) == [first, second, third, fourth]
    assert [type(result) for result in results.values()] == [Result, quarantine.NotQuarantined, MessageRefused, Result]
    assert set(Trade.objects.values_list("trade_id", flat=True)) == {"T-0", "T-3"}
