"""The rules of a trade's life, pure: old standing + event -> new standing + flags.

Two axes, never mixed: the *state* says what the trade is, the *status* how far its processing got. The table below is the
whole of the state axis; a test walks through every cell of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from trades.messages.facts import EventClass


class State(StrEnum):
    """What the trade is."""

    PENDING = "PENDING"
    LIVE = "LIVE"
    TERMINATED = "TERMINATED"
    CANCELLED = "CANCELLED"


class Status(StrEnum):
    """How far the trade's processing got: the steps in order, then what stands aside of them."""

    RECEIVED = "RECEIVED"
    CHECKED = "CHECKED"
    CONFIRMED = "CONFIRMED"
    CLEARED = "CLEARED"
    SETTLED = "SETTLED"
    ALLEGED = "ALLEGED"
    DISPUTED = "DISPUTED"
    REJECTED = "REJECTED"


class Flag(StrEnum):
    """What is out of place about an event; the event is recorded all the same."""

    PENDING = "PENDING"
    AFTER_END = "AFTER_END"
    REBOOK = "REBOOK"
    NOT_ENDED = "NOT_ENDED"
    ORPHAN = "ORPHAN"
    OLD_VERSION = "OLD_VERSION"
    SKIPPED_STEP = "SKIPPED_STEP"
    GAP = "GAP"


FLAG_WORDS: dict[Flag, str] = {
    Flag.PENDING: "Arrived before the trade was booked; it takes effect when the book arrives.",
    Flag.AFTER_END: "Arrived after the trade had ended; kept in the history without effect.",
    Flag.REBOOK: "The trade was booked already and this book does not carry a higher version.",
    Flag.NOT_ENDED: "Reinstates a trade that had not ended.",
    Flag.ORPHAN: "Corrects or retracts an event that is not in this history.",
    Flag.OLD_VERSION: "States a lower version than the trade has reached; newer values stay.",
    Flag.GAP: "A message of the same message group before this one is in quarantine.",
    Flag.SKIPPED_STEP: "A step between the previous status and this one was not seen.",
}

STEPS = (Status.RECEIVED, Status.CHECKED, Status.CONFIRMED, Status.CLEARED, Status.SETTLED)
REQUIRED_STEPS = frozenset({Status.CHECKED, Status.CONFIRMED})

# Words of the documents, upper-cased, that mean one of the steps.
STATUS_WORDS: dict[str, Status] = {
    "ACK": Status.RECEIVED,
    "ACCEPTED": Status.CHECKED,
    "MATCHED": Status.CHECKED,
    "VERIFIED": Status.CHECKED,
    "APPROVED": Status.CHECKED,
    "REGISTERED": Status.CHECKED,
    "REFUSED": Status.REJECTED,
    "CONSENT_REFUSED": Status.REJECTED,
    "MISMATCHED": Status.DISPUTED,
    "UNMATCHED": Status.DISPUTED,
    **{status.value: status for status in Status},
}

_E, _S = EventClass, State
TELLING = frozenset({_E.STATUS, _E.REQUEST, _E.SNAPSHOT})  # tell about a version, never make one
NO_EFFECT = (_E.STATUS, _E.REQUEST, _E.SNAPSHOT, _E.CORRECT, _E.RETRACT)

# (state, class) -> (state, flag). CORRECT and RETRACT change a state only through `fold`, which knows what they address.
TABLE: dict[tuple[State, EventClass], tuple[State, Flag | None]] = {
    **{(_S.PENDING, event_class): (_S.PENDING, Flag.PENDING) for event_class in _E},
    (_S.PENDING, _E.SNAPSHOT): (_S.PENDING, None),
    (_S.PENDING, _E.BOOK): (_S.LIVE, None),
    (_S.LIVE, _E.BOOK): (_S.LIVE, Flag.REBOOK),
    (_S.LIVE, _E.UPDATE): (_S.LIVE, None),
    (_S.LIVE, _E.TERMINATE): (_S.TERMINATED, None),
    (_S.LIVE, _E.CANCEL): (_S.CANCELLED, None),
    (_S.LIVE, _E.REINSTATE): (_S.LIVE, Flag.NOT_ENDED),
    (_S.TERMINATED, _E.BOOK): (_S.TERMINATED, Flag.AFTER_END),
    (_S.TERMINATED, _E.UPDATE): (_S.TERMINATED, Flag.AFTER_END),
    (_S.TERMINATED, _E.TERMINATE): (_S.TERMINATED, Flag.AFTER_END),
    (_S.TERMINATED, _E.CANCEL): (_S.CANCELLED, None),
    (_S.TERMINATED, _E.REINSTATE): (_S.LIVE, None),
    (_S.CANCELLED, _E.BOOK): (_S.CANCELLED, Flag.AFTER_END),
    (_S.CANCELLED, _E.UPDATE): (_S.CANCELLED, Flag.AFTER_END),
    (_S.CANCELLED, _E.TERMINATE): (_S.CANCELLED, Flag.AFTER_END),
    (_S.CANCELLED, _E.CANCEL): (_S.CANCELLED, Flag.AFTER_END),
    (_S.CANCELLED, _E.REINSTATE): (_S.LIVE, None),
    **{(state, event_class): (state, None) for state in (_S.LIVE, _S.TERMINATED, _S.CANCELLED) for event_class in NO_EFFECT},
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a trade stands: state, status, highest version applied, and the state its early events lead to once booked."""

    state: State = State.PENDING
    status: Status | None = None
    version: int | None = None
    once_booked: State = State.LIVE


@dataclass(frozen=True, slots=True)
class Happening:
    """The part of an event that the rules look at; `thread` is (sender, correlation id), None when the document gives none."""

    event_class: EventClass
    status: str = ""
    version: int | None = None
    thread: tuple[str, str] | None = None


def step(standing: Standing, happening: Happening) -> tuple[Standing, tuple[Flag, ...]]:
    """The standing after one event that follows all others, and what is out of place about it."""
    state, flag = TABLE[standing.state, happening.event_class]
    flags = [] if flag is None else [flag]
    once_booked = standing.once_booked
    if standing.state is State.PENDING:
        once_booked, _ = TABLE[once_booked, happening.event_class]
        if happening.event_class is EventClass.BOOK:
            state = standing.once_booked
    old = _is_older(happening.version, standing.version)
    if flag is Flag.REBOOK and happening.version is not None and not old and happening.version != standing.version:
        flags.remove(Flag.REBOOK)
    if old and happening.event_class is not EventClass.STATUS and Flag.AFTER_END not in flags and Flag.REBOOK not in flags:
        flags.append(Flag.OLD_VERSION)
    status = standing.status if old or Flag.AFTER_END in flags else _status_after(standing.status, happening)
    if happening.event_class is EventClass.STATUS and _skips_a_step(standing.status, status):
        flags.append(Flag.SKIPPED_STEP)
    version = standing.version
    if happening.version is not None and not old and Flag.AFTER_END not in flags and happening.event_class not in TELLING:
        version = happening.version
    return Standing(state, status, version, once_booked), tuple(flags)


def fold(happenings: Iterable[Happening]) -> Standing:
    """The standing that all events of a trade lead to, each correction put in the place of what it corrects and each retraction
    taking out what it retracts. A retracted booking cancels the trade (FpML 5 business processes, execution advice)."""
    standing = Standing()
    for happening in _settled(happenings):
        standing, _ = step(standing, happening)
    return standing


def addressed(earlier: Sequence[Happening], happening: Happening) -> int | None:
    """The index of the earlier event that a correction or retraction is about, None if it is not there.

    With a thread it is that thread's latest event; a correction without one (the native format has none) is about the trade's
    latest values.
    """
    for index in range(len(earlier) - 1, -1, -1):
        candidate = earlier[index]
        if happening.thread is not None:
            if candidate.thread == happening.thread and candidate.event_class not in (EventClass.STATUS, EventClass.REQUEST):
                return index
        elif happening.event_class is EventClass.CORRECT and candidate.event_class in (EventClass.BOOK, EventClass.UPDATE):
            return index
    return None


def is_orphan(earlier: Iterable[Happening], happening: Happening) -> bool:
    """Whether a correction or retraction is about an event that is not there, or was retracted before."""
    return addressed(_settled(earlier), happening) is None


def processing_status(word: str) -> Status | None:
    """The step that a document's own status word stands for, None when it stands for none."""
    return STATUS_WORDS.get(word.upper())


def _settled(happenings: Iterable[Happening]) -> list[Happening]:
    settled: list[Happening] = []
    for happening in happenings:
        if happening.event_class not in (EventClass.CORRECT, EventClass.RETRACT):
            settled.append(happening)
            continue
        index = addressed(settled, happening)
        if index is None:
            settled.append(replace(happening, thread=None))
        elif happening.event_class is EventClass.CORRECT:
            _correct(settled, index, happening)
        else:
            _retract(settled, index, happening)
    return settled


def _correct(settled: list[Happening], index: int, correction: Happening) -> None:
    corrected = settled[index]
    if _is_older(correction.version, corrected.version):
        return
    settled[index] = replace(correction, event_class=corrected.event_class)
    # It stands in the place of what it corrects, and the statuses that came before it no longer count: the trade is received anew.
    settled.append(replace(correction, thread=None))


def _retract(settled: list[Happening], index: int, retraction: Happening) -> None:
    retracted = settled.pop(index)
    if retracted.event_class is EventClass.BOOK:
        settled.insert(index, replace(retracted, thread=None))
        settled.append(replace(retraction, event_class=EventClass.CANCEL, thread=None))


def _is_older(version: int | None, reached: int | None) -> bool:
    return version is not None and reached is not None and version < reached


def _status_after(status: Status | None, happening: Happening) -> Status | None:
    stated = processing_status(happening.status)
    if happening.event_class in (EventClass.UPDATE, EventClass.CORRECT):
        return stated or Status.RECEIVED
    if happening.event_class is EventClass.BOOK:
        return status or stated or Status.RECEIVED
    if happening.event_class is EventClass.STATUS:
        return stated or status
    return status


def _skips_a_step(before: Status | None, after: Status | None) -> bool:
    if before not in STEPS or after not in STEPS:
        return False
    between = STEPS[STEPS.index(before) + 1 : STEPS.index(after)]
    return not REQUIRED_STEPS.isdisjoint(between)
