"""The rules of a trade's life, pure: old standing + event -> new standing + flags.

Two axes, never mixed: the *state* says what the trade is, the *status* how far its processing got. The table below is the
whole of the state axis; a test walks through every cell of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
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
    SKIPPED_STEP = "SKIPPED_STEP"
    GAP = "GAP"
    VERSION_CONFLICT = "VERSION_CONFLICT"
    ORDER_ASSUMED = "ORDER_ASSUMED"
    ORDER_CONFLICT = "ORDER_CONFLICT"
    LATE = "LATE"
    GROUP_GAP = "GROUP_GAP"
    OVERTAKEN = "OVERTAKEN"
    TWO_TRADES = "TWO_TRADES"


class Kind(StrEnum):
    """What is wrong with a trade, by the flags of its events (models.TradeException)."""

    GAP = "GAP"
    LATE = "LATE"
    CONFLICT = "CONFLICT"
    AFTER_END = "AFTER_END"


KINDS: dict[str, Kind] = {
    Flag.GAP: Kind.GAP,
    Flag.GROUP_GAP: Kind.GAP,
    Flag.LATE: Kind.LATE,
    Flag.OVERTAKEN: Kind.LATE,
    Flag.VERSION_CONFLICT: Kind.CONFLICT,
    Flag.ORDER_CONFLICT: Kind.CONFLICT,
    Flag.TWO_TRADES: Kind.CONFLICT,
    Flag.AFTER_END: Kind.AFTER_END,
}
BITS: dict[Kind, int] = {Kind.GAP: 1, Kind.LATE: 2, Kind.CONFLICT: 4, Kind.AFTER_END: 8}  # Trade.exception_marks

# Facts of the arrival, kept for ever; all other flags are facts of the business order and are told anew with it.
ARRIVAL_FLAGS = frozenset({Flag.LATE, Flag.GROUP_GAP, Flag.OVERTAKEN, Flag.TWO_TRADES})

FLAG_WORDS: dict[Flag, str] = {
    Flag.PENDING: "No book of this trade stands before this event; it takes effect once the trade is booked.",
    Flag.AFTER_END: "Comes after the trade had ended; without effect unless that end is retracted.",
    Flag.REBOOK: "The trade was booked already and this book does not carry a higher version.",
    Flag.NOT_ENDED: "Reinstates a trade that had not ended.",
    Flag.ORPHAN: "Corrects or retracts an event that is not in this history; it takes effect when that event arrives.",
    Flag.SKIPPED_STEP: "A step between the previous status and this one was not seen.",
    Flag.GAP: "At least one version between this event and those before it is missing.",
    Flag.VERSION_CONFLICT: "Another event of the same class states the same version with other content; both are kept.",
    Flag.ORDER_ASSUMED: "The documents do not say whether this event or the one before it came first; this order is assumed.",
    Flag.ORDER_CONFLICT: "What this event and others state about their order is contradictory; the stronger evidence was taken.",
    Flag.LATE: "Arrived after events that it belongs before.",
    Flag.GROUP_GAP: "A message of the same message group before this one is in quarantine.",
    Flag.OVERTAKEN: "Later messages of its message group were, or may have been, recorded before it.",
    Flag.TWO_TRADES: "By its ids or its thread this message is about more than one trade here; the histories are linked, not merged.",
}
# A copy of a message makes no event: it is an outcome of the message, not a flag.
DUPLICATE_WORDS = "The same bytes had arrived before; counted, and no event added."

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

# (state, class) -> (state, flag). CORRECT and RETRACT change a state only by what they are about (`trades.course`).
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
    """Where a trade stands: state, status, and the highest version applied, be it of an event retracted since."""

    state: State = State.PENDING
    status: Status | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Happening:
    """The part of an event that the rules look at.

    `thread` is (sender, correlation id), None when the document gives none; `sequence` orders events of one thread; `time` is
    aware, in UTC; `in_reply_to` is the message id that the document answers.
    """

    event_class: EventClass
    status: str = ""
    version: int | None = None
    thread: tuple[str, str] | None = None
    sequence: int | None = None
    time: datetime | None = None
    message_id: str = ""
    in_reply_to: str = ""


def step(standing: Standing, happening: Happening) -> tuple[Standing, tuple[Flag, ...]]:
    """The standing after one event that follows all others in business order, and what is out of place about it."""
    event_class = happening.event_class
    state, flag = TABLE[standing.state, event_class]
    if flag is Flag.AFTER_END:
        return standing, (flag,)
    newer = _is_newer(happening.version, standing.version)
    status = _status_after(standing.status, happening)
    if flag is Flag.REBOOK and newer:
        flag, status = None, processing_status(happening.status) or Status.RECEIVED
    flags = () if flag is None else (flag,)
    if event_class is EventClass.STATUS and _skips_a_step(standing.status, status):
        flags = (*flags, Flag.SKIPPED_STEP)
    version = happening.version if newer and event_class not in TELLING else standing.version
    if state is standing.state and status is standing.status and version == standing.version:
        return standing, flags
    return Standing(state, status, version), flags


def marks_of(flags: Iterable[str]) -> int:
    """The bits of the kinds that these flags give cause for."""
    marks = 0
    for flag in flags:
        if (kind := KINDS.get(flag)) is not None:
            marks |= BITS[kind]
    return marks


def kinds_in(marks: int) -> list[Kind]:
    """The kinds whose bits are set."""
    return [kind for kind, bit in BITS.items() if marks & bit]


def reached_at(stated: datetime | None, recorded: datetime) -> datetime:
    """When an event brought its trade into a status: as the document states it, but no later than it was recorded."""
    return recorded if stated is None or stated > recorded else stated


def processing_status(word: str) -> Status | None:
    """The step that a document's own status word stands for, None when it stands for none."""
    return STATUS_WORDS.get(word.upper()) if word else None


def _is_newer(version: int | None, reached: int | None) -> bool:
    return version is not None and (reached is None or version > reached)


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
