"""The text of a message as a page may hold it: whole up to a mebibyte, of a larger one the start. And how a text came: in the message
itself, or through S3."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString

from trades import fetching, payloads
from trades.models import Message, Publication
from trades.sqs import buckets
from trades.web import words
from trades.web.xml_view import XmlView, start_view, xml_view

START = 64 * 1024  # bytes of a large text that are shown
TRACE_CONTEXT = "traceparent"  # the message attribute of W3C Trace Context
HAND_IN = "Download it, correct it with a program of your own and hand the file in; then discard this message and say that in the reason."

Fact = tuple[str, str | SafeString, bool]  # name, value, whether it is worth copying


def is_large(row: Message) -> bool:
    """Whether the text is too large to be held by a page: it is compared and corrected by no page."""
    return row.payload_id is not None


def shown_text(row: Message) -> str:
    """The text, of a large one the start. One query for a large one, and one for its payload where that is not loaded."""
    return payloads.start_of(row, START) if is_large(row) else row.body


def xml_of(message: Message, text: str, whole: str, *, marked: int | None = None) -> XmlView:
    """The text that `shown_text` gave as lines; `whole` is the address of all of it."""
    if fetching.is_unread(message):
        return start_view(text, "This is what the queue delivered in place of the text, which is in S3 and could not be had.")
    if not is_large(message):
        return xml_view(text, marked=marked)
    size = words.plural(message.size, "byte")
    note = format_html(
        'The text has {}; these are the first {}. The whole text: <a href="{}" download>Download</a>', size, f"{START:,}", whole
    )
    return start_view(text, note, marked=marked)


def not_compared(*rows: Message) -> str:
    """Why texts are not compared, as the beginning of a sentence of what to do; "" for those that may be."""
    large = [row for row in rows if is_large(row)]
    if not large:
        return ""
    sizes = " and ".join(words.plural(row.size, "byte") for row in large)
    return f"Texts of more than a mebibyte are not compared here, and {'one' if len(large) == 1 else 'each'} of these is larger: {sizes}."


def why_not_corrected(message: Message) -> str:
    """Why a text can't be corrected in a page, and what to do; "" where it can."""
    if is_large(message):
        return f"A text of {words.plural(message.size, 'byte')} is too large to be corrected here. {HAND_IN}"
    if fetching.is_unread(message):
        return "There is no text to correct: it could not be had from S3. Replay the message once it is there, or discard it."
    return ""


# How it came


@dataclass(frozen=True, slots=True)
class Place:
    """Where in S3 a text is according to the message that stands for it, "" for what it does not say; the bytes that its sender states."""

    bucket: str
    key: str
    stated: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def place_of(row: Message | Publication) -> Place | None:
    """Where the text went to or came from in S3; None where it was in the message, or the message does not say where it is."""
    found = buckets.place_in(row.pointer)
    if found is None:
        return None
    attributes = row.attributes if isinstance(row, Message) else {}
    stated = next((str(attributes[marker]) for marker in buckets.MARKERS if marker in attributes), "")
    return Place(found[1], found[2], stated)


def travelled(row: Message | Publication) -> list[Fact]:
    """How the text came where that was through S3: where it is there, and the body that stood for it."""
    if not row.pointer:
        return []
    place = place_of(row)
    said = f"through S3: {place}" if place else "through S3, but the message does not say where it is"
    size = row.payload.size if row.payload else len(row.body.encode())
    is_unread = isinstance(row, Message) and fetching.is_unread(row)
    return [
        ("Travelled", f"{said}, {'not had' if is_unread else words.plural(size, 'byte')}", False),
        ("Body in the queue", words.cut(row.pointer, 2_000), True),
    ]


def missing_facts(message: Message) -> list[Fact]:
    """What is known of a text in S3 that could not be had; nothing for any other message."""
    if not fetching.is_unread(message):
        return []
    place = place_of(message)
    known = (
        [("Bucket", place.bucket, True), ("Key", place.key, True)]
        if place
        else [("Body in the queue", words.cut(message.pointer, 500), True)]
    )
    stated = place.stated if place else ""
    size = words.plural(int(stated), "byte") if stated.isascii() and stated.isdigit() and len(stated) < 19 else stated
    return [*known, ("Size that its sender states", size or words.ABSENT, False)]


def trace_context(row: Message | Publication) -> str:
    """The W3C Trace Context that the message carries, "" for none."""
    if isinstance(row, Publication):
        return row.traceparent
    return words.cut(str(row.attributes.get(TRACE_CONTEXT, "")), 255)
