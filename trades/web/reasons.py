"""Why messages are in quarantine and what became of them, in words."""

from __future__ import annotations

import re

from trades import quarantine
from trades.models import AuditEntry, Message
from trades.web import words
from trades.web.words import Badge

CODES = {
    "not-well-formed": "Not well-formed",
    "forbidden-construct": "Forbidden construct",
    "unknown-dialect": "Unknown format",
    "schema": "Against the schema",
    "no-trade-id": "No trade id",
    "not-an-event": "Not a trade event",
    "invalid-field": "Invalid field",
    "too-large": "Too large",
    "mapping-error": "Fault in a mapping",
    "not-storable": "Not storable",
    "publication-conflict": "Publication conflict",
    "dead-letter": "Dead letter",
    "handler-refused": "Refused by the handler",
    "payload-unread": "Text in S3 not had yet",
    "payload-pointer": "Not a pointer to a text in S3",
    "payload-missing": "Text missing in S3",
    "payload-bucket": "Bucket not read by this portal",
    "payload-too-large": "Text in S3 too large",
    "payload-differs": "Text in S3 not as stated",
    "payload-not-text": "Object in S3 is no text",
}
CORRECTABLE = "Correct the text and replay it, or discard the message and have the sender send it again."
PAYLOAD = "payload-"  # how the codes of texts in S3 that could not be had begin
SENT_ANEW = "Replaying it fetches the same again. Have the sender send it again as it should be, then discard this message."
PAYLOAD_ADVICE = (
    "Replay it once the text is in S3 as its sender put it: it is fetched again. Or discard it and have the sender send it again."
)
LARGE = (
    "It is too large to be corrected here. Download it, correct it with a program of your own, hand the file in, and discard this message."
)
READ_ANEW = "Replay it once the portal can read it: after a mapping was added or put right. Or correct the text, or discard the message."
ADVICE = {
    "unknown-dialect": READ_ANEW,
    "mapping-error": READ_ANEW,
    "not-storable": "Replay it: the cause may be gone. If it is refused again, correct the text or discard the message.",
    "too-large": "Discard it and have the sender send less in one message, or raise TRADES_MAX_DOCUMENT_BYTES and replay it.",
    "publication-conflict": "Compare the two. Replay this one to record it as an event of its own, or discard it.",
    "handler-refused": "Repair what the sentence names and replay it: the handler is called once more. Or correct the text, or discard it.",
    "payload-unread": "Replay it: its text is fetched from S3 then.",
    "payload-bucket": "If the bucket may be read, add it to TRADES_PAYLOAD_BUCKETS, restart, and replay this message. If not, discard it.",
    "payload-too-large": "Have the sender split it and discard this message, or raise TRADES_MAX_DOCUMENT_BYTES and replay it.",
    **dict.fromkeys(("payload-pointer", "payload-not-text"), SENT_ANEW),
    "dead-letter": "Look at what the trade shows now. Replay it to record it after what came later, or correct or discard it.",
}
# What the advice begins with, where that is not to correct the text.
FIRST_ACTS = {
    **dict.fromkeys(("unknown-dialect", "mapping-error", "not-storable", "publication-conflict", "dead-letter"), "replay"),
    "handler-refused": "replay",
    **dict.fromkeys(("too-large", "payload-pointer", "payload-not-text"), "discard"),
}
# What each action is called once it is done, and of whom.
DONE: dict[str, str] = {
    AuditEntry.Action.REPLAY: "Replayed",
    AuditEntry.Action.REPLAY_REFUSED: "Replayed and refused again",
    AuditEntry.Action.CORRECT: "Corrected and replayed",
    AuditEntry.Action.DISCARD: "Discarded",
    AuditEntry.Action.UNDO_DISCARD: "Discard undone",
    AuditEntry.Action.HELD: "Held behind an earlier message",
    AuditEntry.Action.PUBLISH: "Published",
    AuditEntry.Action.WITHDRAW: "Withdrawn",
    AuditEntry.Action.RESEND: "Sent again",
    AuditEntry.Action.CANCEL: "Cancelled",
}

BECAME: dict[str, str] = {
    AuditEntry.Action.CORRECT: "was corrected",
    AuditEntry.Action.UNDO_DISCARD: "was put back into quarantine",
}
PLACE_FIRST = re.compile(r"line \d+(, column \d+)?: ")  # how the sentence of a refusal begins where its place is known
# What a sentence says once more that the word for its code says already.
SAID_TWICE = re.compile(r"^The document is not well-formed XML: ")
IN_TURN = "In its turn, after message "


def code_word(code: str) -> str:
    """A reason code in words: "Not well-formed"."""
    return CODES.get(code) or code.replace("-", " ").capitalize()


def plain(reason: str) -> str:
    """The sentence of a refusal without what is shown beside it: its place and the word for its code."""
    return SAID_TWICE.sub("", PLACE_FIRST.sub("", reason, count=1), count=1)


def told(message: Message) -> str:
    """Why a message is in quarantine, as one sentence: "Not well-formed, line 3, column 7: expected '>'."."""
    place = words.place(message.line, message.column)
    return f"{code_word(message.code)}{f', {place}' if place else ''}: {plain(message.reason)}" if message.code else message.reason


def advice(message: Message) -> str:
    """What to do with a message in quarantine."""
    if message.code in ADVICE:
        return ADVICE[message.code]
    if message.code.startswith(PAYLOAD):
        return PAYLOAD_ADVICE
    return CORRECTABLE if message.payload_id is None else LARGE


def first_act(message: Message) -> str:
    """What the advice says to do first: "correct", "replay" or "discard"."""
    if message.code in FIRST_ACTS:
        return FIRST_ACTS[message.code]
    if message.code.startswith(PAYLOAD):
        return "replay"
    return "correct" if message.payload_id is None else "discard"


def standing(message: Message) -> Badge:
    """What became of a message that is or was in quarantine: open, or how it was settled."""
    if message.outcome == Message.Outcome.QUARANTINED:
        return Badge("Open", "bad", "circle-x")
    if message.settled_at is not None and message.outcome not in (Message.Outcome.DISCARDED, Message.Outcome.CORRECTED):
        return words.REPLAYED
    return words.OUTCOMES[message.outcome]


def done(entry: AuditEntry) -> str:
    """What a person did, as a participle: "Discarded"."""
    return DONE.get(entry.action) or entry.action.capitalize()


def became(entry: AuditEntry) -> str:
    """What a person did, as the end of a sentence about the message: "was discarded by otto"."""
    return f"{BECAME.get(entry.action) or f'was {done(entry).lower()}'} by {quarantine.who(entry)}"


def noted(entry: AuditEntry, message: Message | None = None) -> str:
    """What was noted: the words of a person in quotation marks, the portal's own as they are. `message` is the entry's, if at hand."""
    return entry.note if not entry.note or _is_own(entry, message) else f"“{entry.note}”"


def _is_own(entry: AuditEntry, message: Message | None) -> bool:
    if entry.action == AuditEntry.Action.REPLAY_REFUSED:
        return bool(PLACE_FIRST.match(entry.note)) or (message is not None and entry.note == message.reason.strip())
    return entry.action == AuditEntry.Action.HELD or (entry.action == AuditEntry.Action.REPLAY and entry.note.startswith(IN_TURN))


def then_read(waiting: int) -> str:
    """What happens to the messages that wait behind one once it is settled, as a sentence; empty where none waits."""
    if waiting < 2:
        return "Then the 1 that waits behind it is read in turn." if waiting else ""
    return f"Then the {waiting:,} that wait behind it are read in turn, up to the next that can't be understood."
