"""The checker sees every way in which a history can be wrong: a sound one is tampered with, and the right thing is reported."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.evidence import Event, Evidence, Message, Publication
from tests.chaos.invariants import violations
from tests.chaos.plan import VIOLENCE, plan
from tests.chaos.traffic import File

Tamper = Callable[[Evidence], object]


def sound() -> Evidence:
    """T-1 with four recorded messages; T-2 with one recorded, then poison, then one that waits behind it."""
    files = [
        File(Path(f"{trade}-{n}.xml"), trade, n, (trade, n) == ("T-2", 2), f"sha-{trade}-{n}") for n in range(1, 5) for trade in TRADES
    ]
    files = [file for file in files if (file.trade, file.number) != ("T-2", 4)]
    found = Evidence(files, [], [], [], [("T-2", 4)], depths={"Trades.fifo": (0, 0), "Dead.fifo": (0, 0)})
    for key, file in enumerate(files, start=1):
        publication_id = uuid.UUID(int=key)
        sequence = str(key + 100)
        outcome = {("T-2", 2): "QUARANTINED", ("T-2", 3): "HELD"}.get((file.trade, file.number), "RECORDED")
        found.publications.append(Publication(key, publication_id, file.name, file.trade, "SENT", f"message-{key}", sequence, 1))
        found.messages.append(
            Message(key, publication_id, f"message-{key}", file.trade, sequence.zfill(39), outcome, file.body_sha256, 0, 1)
        )
        if outcome == "RECORDED":
            found.events.append(Event(file.trade, file.number, file.number, key, file.number))
        found.confirmed.add(file.name)
        found.announced[str(publication_id)] = f"message-{key}"
    return found


TRADES = ("T-1", "T-2")


def event(evidence: Evidence, trade: str, position: int) -> Event:
    return next(event for event in evidence.events if (event.trade, event.position) == (trade, position))


def settle(evidence: Evidence) -> None:
    """Discard the poison and let what waited into the history."""
    poison, waiting = evidence.messages[3], evidence.messages[5]
    poison.outcome, waiting.outcome = "DISCARDED", "RECORDED"
    evidence.events.append(Event("T-2", 2, 2, waiting.pk, 3))
    evidence.holds.clear()


def swap_two_events(evidence: Evidence) -> None:
    second, third = event(evidence, "T-1", 2), event(evidence, "T-1", 3)
    second.message, third.message = third.message, second.message
    second.version, third.version = third.version, second.version


def swap_two_messages(evidence: Evidence) -> None:
    one, other = evidence.messages[2], evidence.messages[4]
    one.pk, other.pk = other.pk, one.pk
    event(evidence, "T-1", 2).message, event(evidence, "T-1", 3).message = one.pk, other.pk


def swap_sequences(evidence: Evidence) -> None:
    one, other = evidence.publications[0], evidence.publications[2]
    one.sequence, other.sequence = other.sequence, one.sequence


def repeat_an_event(evidence: Evidence) -> None:
    evidence.events.append(replace(event(evidence, "T-1", 4), position=5, place=5))


def repeat_a_message(evidence: Evidence) -> None:
    evidence.messages.append(replace(evidence.messages[6], pk=99, sequence="900".zfill(39)))
    evidence.events.append(Event("T-1", 5, 5, 99, 4))


def lose_a_message(evidence: Evidence) -> None:
    lost = evidence.messages.pop()
    evidence.events = [event for event in evidence.events if event.message != lost.pk]


def record_what_should_wait(evidence: Evidence) -> None:
    evidence.messages[5].outcome = "RECORDED"
    evidence.events.append(Event("T-2", 2, 2, 6, 3))


def store_a_file_twice(evidence: Evidence) -> None:
    again = replace(evidence.publications[6], pk=99, publication_id=uuid.UUID(int=99), sequence="900")
    evidence.publications.append(again)
    evidence.messages.append(replace(evidence.messages[6], pk=99, publication_id=again.publication_id, sequence="900".zfill(39)))
    evidence.events.append(Event("T-1", 5, 5, 99, 4))


TAMPERING: list[tuple[str, Tamper]] = [
    ("out of order", swap_two_events),
    ("stored out of order", swap_two_messages),
    ("accepted out of order", swap_sequences),
    ("not recorded once", repeat_an_event),
    ("not received once", repeat_a_message),
    ("not received once", lose_a_message),
    ("overtaken", record_what_should_wait),
    ("not stored once", store_a_file_twice),
    ("gap", lambda evidence: evidence.events.remove(event(evidence, "T-1", 2))),
    ("not recorded once", lambda evidence: evidence.events.remove(event(evidence, "T-1", 4))),
    ("gap", lambda evidence: setattr(event(evidence, "T-1", 4), "place", 5)),
    ("wrong content", lambda evidence: setattr(event(evidence, "T-1", 4), "version", 9)),
    ("wrong trade", lambda evidence: setattr(event(evidence, "T-1", 4), "trade", "T-2")),
    ("not stored once", lambda evidence: evidence.publications.pop()),
    ("outbox out of order", lambda evidence: setattr(evidence.publications[0], "pk", 50)),
    ("not sent", lambda evidence: setattr(evidence.publications[0], "state", "PENDING")),
    ("reported otherwise", lambda evidence: setattr(evidence.publications[0], "message_id", "another")),
    ("altered", lambda evidence: setattr(evidence.messages[0], "body_sha256", "another")),
    ("from nowhere", lambda evidence: setattr(evidence.messages[0], "publication_id", uuid.UUID(int=77))),
    ("unexpected outcome", lambda evidence: setattr(evidence.messages[0], "outcome", "DUPLICATE")),
    ("held up", lambda evidence: setattr(evidence.messages[0], "outcome", "HELD")),
    ("wrong hold", lambda evidence: evidence.holds.clear()),
    ("wrong hold", lambda evidence: evidence.holds.append(("T-9", 1))),
    ("not drained", lambda evidence: evidence.depths.update({"Trades.fifo": (0, 1)})),
    ("not drained", lambda evidence: evidence.depths.update({"Dead.fifo": (1, 0)})),
]


def test_a_sound_history_has_no_violation() -> None:
    assert violations(sound(), settled=False) == []


@pytest.mark.parametrize(("kind", "tamper"), TAMPERING)
def test_tampering_is_reported(kind: str, tamper: Tamper) -> None:
    evidence = sound()

    tamper(evidence)

    assert kind in {violation.kind for violation in violations(evidence, settled=False)}


def test_a_history_that_was_settled_has_no_violation() -> None:
    evidence = sound()

    settle(evidence)

    assert violations(evidence, settled=True) == []


def test_what_still_waits_after_settling_is_reported() -> None:
    reported = [str(violation) for violation in violations(sound(), settled=True)]

    assert reported == [
        "not let go: T-2: message 4 is still QUARANTINED",
        "not let go: T-2: message 6 is still HELD",
        "not let go: T-2: the hold of the group is still there",
    ]


def test_what_was_discarded_and_is_no_poison_is_reported_as_lost() -> None:
    evidence = sound()
    settle(evidence)

    evidence.messages[0].outcome = "DISCARDED"

    assert "lost" in {violation.kind for violation in violations(evidence, settled=True)}


def test_the_same_seed_plans_the_same_and_every_plan_has_every_act() -> None:
    assert plan(7, 60) == plan(7, 60) != plan(8, 60)
    assert {(act.what, act.whom) for act in plan(7, 5)} == {(what, whom) for what, whom, *_ in VIOLENCE}
