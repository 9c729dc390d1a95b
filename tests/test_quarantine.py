"""Settling what was quarantined: replay, discard, and what waited behind it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import DataError, connection, transaction

from tests.support.native import NOON, native, received
from tests.support.waiting import some_lock_is_waited_for, wait_until
from trades import history, identifiers, ledger, messages, quarantine
from trades.models import AuditEntry, Event, Hold, Message
from trades.quarantine import Actor
from trades.sqs import Received

pytestmark = pytest.mark.django_db
BAD = "<broken"
Outcome = Message.Outcome


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


def record(*batch: Received) -> None:
    history.record(batch, now=NOON)


def the_quarantined() -> Message:
    return Message.objects.get(outcome=Outcome.QUARANTINED)


def story() -> list[tuple[int, str]]:
    return list(Event.objects.order_by("position").values_list("position", "event_class"))


def understand_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a mapping was put right: what was refused reads as an update now."""
    real = messages.parse
    monkeypatch.setattr(messages, "parse", lambda body, **kwargs: real(native("T-1", "UPDATE", 2) if body.startswith(BAD) else body))


def test_a_discarded_message_lets_what_waited_into_the_history_in_order(alice: User) -> None:
    record(received(native("T-1")), received(BAD), received(native("T-1", "STATUS", 1, "CHECKED")))
    record(received(native("T-1", "CANCEL", 2)))

    result = quarantine.discard(the_quarantined(), actor=Actor(alice), reason="sent by mistake", now=NOON)

    assert result.recorded == 2
    assert story() == [(1, "BOOK"), (2, "STATUS"), (3, "CANCEL")]
    assert not Hold.objects.exists()
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.user, entry.note) == ("discard", alice, "sent by mistake")
    assert Message.objects.get(outcome=Outcome.DISCARDED).body == BAD


def test_discarding_needs_a_reason(alice: User) -> None:
    record(received(BAD))

    with pytest.raises(ValueError, match="reason"):
        quarantine.discard(the_quarantined(), actor=Actor(alice), reason="  ", now=NOON)

    assert the_quarantined()


def test_a_replay_of_a_message_that_is_still_not_understood_says_why_and_keeps_the_hold(alice: User) -> None:
    record(received(BAD), received(native("T-1")))

    result = quarantine.replay(the_quarantined(), actor=Actor(alice), now=NOON)

    assert result.recorded == 0
    assert result.still
    assert Hold.objects.get().message == the_quarantined()
    assert AuditEntry.objects.get().action == "replay refused"


def test_a_replay_records_the_message_before_what_waited(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    record(received(native("T-1")), received(BAD), received(native("T-1", "CANCEL", 3)))
    understand_everything(monkeypatch)

    result = quarantine.replay(the_quarantined(), actor=Actor(alice), now=NOON)

    assert result.recorded == 2
    assert story() == [(1, "BOOK"), (2, "UPDATE"), (3, "CANCEL")]
    assert set(Message.objects.values_list("outcome", flat=True)) == {Outcome.RECORDED}


def test_the_next_bad_message_that_waited_is_quarantined_and_holds_the_rest(alice: User) -> None:
    record(received(BAD + "1"), received(native("T-1")), received(BAD + "2"), received(native("T-1", "CANCEL", 2)))

    quarantine.discard(the_quarantined(), actor=Actor(alice), reason="wrong file", now=NOON)

    assert story() == [(1, "BOOK")]
    assert the_quarantined().body == BAD + "2"
    assert Hold.objects.get().message == the_quarantined()
    assert quarantine.waiting_behind(the_quarantined()) == 1


@pytest.mark.parametrize(("name", "most"), [("CHUNK", 3), ("CHUNK", 8), ("CHUNK_BYTES", 1), ("CHUNK_BYTES", 2_000)])
def test_what_waited_is_recorded_in_order_in_however_many_pieces(
    alice: User, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    monkeypatch.setattr(quarantine, name, most)
    record(received(BAD), *(received(native("T-1", "UPDATE", n)) for n in range(1, 9)), received(BAD), received(native("T-1", "UPDATE", 9)))

    result = quarantine.discard(the_quarantined(), actor=Actor(alice), reason="wrong file", now=NOON)

    assert result.recorded == 8
    assert list(Event.objects.order_by("position").values_list("position", "version")) == [(n, n) for n in range(1, 9)]
    assert list(Message.objects.order_by("id").values_list("outcome", flat=True)[9:]) == [Outcome.QUARANTINED, Outcome.HELD]


def test_the_second_person_is_told_that_it_is_settled(alice: User) -> None:
    record(received(BAD))
    seen_by_both = the_quarantined()
    quarantine.discard(seen_by_both, actor=Actor(alice), reason="wrong file", now=NOON)

    with pytest.raises(quarantine.NotQuarantined, match=r"is not in quarantine; it is discarded\. alice discarded this message at"):
        quarantine.replay(seen_by_both, actor=Actor(alice), now=NOON)

    assert AuditEntry.objects.count() == 1


def test_a_conflict_can_be_replayed_as_an_event_of_its_own(alice: User) -> None:
    import uuid

    publication_id = uuid.uuid4()
    record(received(native("T-1"), publication_id=publication_id))
    record(received(native("T-1", "CANCEL", 2), publication_id=publication_id))

    quarantine.replay(the_quarantined(), actor=Actor(alice), now=NOON)

    assert story() == [(1, "BOOK"), (2, "CANCEL")]


def test_a_waiting_message_that_the_database_refuses_is_quarantined_and_holds_the_rest(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(received(BAD), received(native("T-1")), received(native("T-1", "UPDATE", 2)), received(native("T-1", "CANCEL", 3)))
    real = ledger.enter

    def refusing(entries: list[ledger.Entry], **kwargs: object) -> ledger.Entered:
        if any("UPDATE" in entry.message.body for entry in entries):
            raise DataError("value out of range")
        return real(entries, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "enter", refusing)

    result = quarantine.discard(the_quarantined(), actor=Actor(alice), reason="wrong file", now=NOON)

    assert result.recorded == 1
    assert (the_quarantined().code, story()) == ("not-storable", [(1, "BOOK")])
    assert quarantine.waiting_behind(the_quarantined()) == 1


def test_a_copy_that_waited_is_not_counted_as_recorded(alice: User) -> None:
    body = native("T-1")
    record(received(body, "other"), received(BAD), received(body))

    result = quarantine.discard(the_quarantined(), actor=Actor(alice), reason="wrong file", now=NOON)

    assert result.recorded == 0
    assert story() == [(1, "BOOK")]


def test_a_replayed_or_waiting_message_that_is_no_trade_event_is_kept_for_reference(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    record(received(BAD), received(BAD + " too"), received(native("T-1")))
    parsed = messages.ParsedMessage("test", "heartbeat", "1", (), reference="A heartbeat.")
    real = messages.parse
    monkeypatch.setattr(messages, "parse", lambda body, **kwargs: parsed if body.startswith(BAD) else real(body))

    result = quarantine.replay(the_quarantined(), actor=Actor(alice), now=NOON)

    assert result.recorded == 1
    assert list(Message.objects.order_by("id").values_list("outcome", "reason")) == [
        (Outcome.REFERENCE, "A heartbeat."),
        (Outcome.REFERENCE, "A heartbeat."),
        (Outcome.RECORDED, ""),
    ]
    assert story() == [(1, "BOOK")]


def test_what_is_no_trade_event_waits_too_and_is_overtaken_by_nothing_when_it_is_read_as_one(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanings = {"notice": messages.ParsedMessage("test", "notice", "1", (), reference="A notice.")}
    real = messages.parse
    monkeypatch.setattr(messages, "parse", lambda body, **kwargs: meanings.get(body) or real(body, **kwargs))
    record(received(BAD), received("notice"), received(native("T-1", "UPDATE", 2)))
    assert list(Message.objects.order_by("id").values_list("outcome", "reason"))[1:] == [(Outcome.HELD, ""), (Outcome.HELD, "")]

    meanings |= {BAD: real(native("T-1")), "notice": real(native("T-1", "STATUS", 1, "CHECKED"))}
    quarantine.replay(the_quarantined(), actor=Actor(alice), now=NOON)

    assert story() == [(1, "BOOK"), (2, "STATUS"), (3, "UPDATE")]


def test_what_was_taken_for_no_trade_event_loses_that_sentence_when_it_is_read_as_one(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    meanings = {"notice": messages.ParsedMessage("test", "notice", "1", (), reference="A notice.")}
    real = messages.parse
    monkeypatch.setattr(messages, "parse", lambda body, **kwargs: meanings.get(body) or real(body, **kwargs))
    record(received("notice"))

    meanings["notice"] = real(native("T-1"))
    quarantine.replay(Message.objects.get(), actor=Actor(alice), now=NOON)

    assert list(Message.objects.values_list("outcome", "reason")) == [(Outcome.RECORDED, "")]


def test_what_was_taken_for_no_trade_event_stays_so_when_it_can_not_be_read_any_more(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    real = messages.parse
    with monkeypatch.context() as patch:
        parsed = messages.ParsedMessage("test", "notice", "1", (), reference="A notice.")
        patch.setattr(messages, "parse", lambda body, **kwargs: parsed if body == "notice" else real(body, **kwargs))
        record(received("notice"))

    result = quarantine.replay(Message.objects.get(), actor=Actor(alice), now=NOON)

    assert result.still
    assert list(Message.objects.values_list("outcome", "reason")) == [(Outcome.REFERENCE, "A notice.")]
    assert AuditEntry.objects.get().action == "replay refused"


def test_a_repeat_that_is_counted_while_a_waiting_message_is_put_into_quarantine_stays_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = received(BAD + "2")
    record(received(BAD), waiting)
    real = history.judge

    def judge(body: str) -> history.Judgement:
        if body == waiting.body:
            Message.objects.filter(message_id=waiting.message_id).update(repeats=1)  # by a worker, just then
        return real(body)

    monkeypatch.setattr(history, "judge", judge)

    quarantine.discard(the_quarantined(), actor=Actor(None), reason="wrong file", now=NOON)

    assert (the_quarantined().body, the_quarantined().repeats) == (waiting.body, 1)
    assert the_quarantined().code == "not-well-formed"


@pytest.mark.django_db(transaction=True)
def test_a_replay_that_waits_in_a_circle_with_a_worker_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has the first trade and wants the second; the replay has recorded an event of the second, the next is of the first."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite lets one transaction write at a time, so that none waits for another in the middle")
    record(received(native("T-1"), "A"), received(native("T-2"), "B"))
    record(received(BAD, "C"), received(native("T-1", "UPDATE", 2), "C"))
    real = messages.parse
    monkeypatch.setattr(messages, "parse", lambda body, **kwargs: real(native("T-2", "UPDATE", 2) if body == BAD else body, **kwargs))
    one, two = (real(native(name)).events for name in ("T-1", "T-2"))
    has_first = threading.Event()

    def worker() -> None:
        try:
            with transaction.atomic():
                identifiers.match(one, NOON)
                has_first.set()
                wait_until(some_lock_is_waited_for, "the replay waits for the first trade")
                identifiers.match(two, NOON)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(worker)
        assert has_first.wait(20)
        result = quarantine.replay(the_quarantined(), actor=Actor(None, "command line"), now=NOON)
        working.result()

    assert result.recorded == 2
    assert set(Message.objects.values_list("outcome", flat=True)) == {Outcome.RECORDED}
    assert AuditEntry.objects.count() == 1
