"""Bytes of a file -> its text, by the rules of XML itself; the queue carries that text, as UTF-8."""

from __future__ import annotations

import codecs
import re

from trades.messages.facts import MessageRefused
from trades.messages.values import shorten

MAX_ENCODING_NAME = 40  # characters

# Extensible Markup Language (XML) 1.0, appendix F: a byte order mark, else how "<" is written, else the declaration, else UTF-8.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SHAPES = ((b"<\0\0\0", "utf-32-le"), (b"\0\0\0<", "utf-32-be"), (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_EBCDIC_DECLARATION = b"\x4c\x6f\xa7\x94"

# Codecs of Python's that are character encodings of documents; others ("idna", "unicode_escape") are not, and some are slow.
_ENCODINGS = frozenset(
    {
        *("utf-8", "ascii", "koi8-r", "koi8-u", "mac-roman", "shift_jis", "cp932", "euc_jp", "iso2022_jp"),
        *("gb2312", "gbk", "gb18030", "big5", "euc_kr", "cp949", "tis-620", "cp437", "cp850", "cp852"),
        *(f"iso8859-{part}" for part in range(1, 17)),
        *(f"cp125{page}" for page in range(9)),
    }
)

_DECLARED = re.compile(rb"""<\?xml\s[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._:-]*)["']""")
_DECLARATION = re.compile(r"""(<\?xml\s[^>]*?\bencoding\s*=\s*["'])([A-Za-z0-9._:-]*)""")

# Characters that Amazon SQS does not allow in a message body (SendMessage in the Amazon SQS API Reference).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_text(document: bytes) -> str:
    """A file as the text that a queue message carries: decoded, without byte order mark, and its declaration stating UTF-8.

    A file in plain UTF-8 comes back unchanged to the byte. Raises MessageRefused when it cannot be decoded.
    """
    return stating_utf_8(decode(document))


def stating_utf_8(text: str) -> str:
    """The text, its declaration stating UTF-8 where it states an encoding; all of the declaration must be in it."""
    match = _DECLARATION.match(text)
    if match and match[2].lower() not in ("utf-8", "utf8"):
        return f"{match[1]}UTF-8{text[match.end() :]}"
    return text


def decode(document: bytes | str, *, max_bytes: int | None = None) -> str:
    """The characters of a document, its declaration untouched and its byte order mark removed.

    Raises MessageRefused: "too-large" over `max_bytes`, "not-well-formed" when the bytes are not of the encoding they state.
    """
    if isinstance(document, str):
        return document.removeprefix("\ufeff")
    if max_bytes is not None and len(document) > max_bytes:
        raise too_large(len(document), max_bytes)
    encoding, skip = encoding_of(document)
    return decode_as(document, encoding, skip)


def decode_as(document: bytes, encoding: str, skip: int = 0) -> str:
    """The characters of a document in this encoding, but for its first `skip` bytes. Raises MessageRefused "not-well-formed"."""
    try:
        return document[skip:].decode(encoding)
    except UnicodeDecodeError as error:
        start = document[skip : skip + 200].decode(encoding, "replace")
        place = place_after(document[skip : skip + error.start].decode(encoding, "replace"))
        raise wrong_byte(document[skip + error.start], encoding, start, place) from None


def wrong_byte(byte: int, encoding: str, start: str, place: tuple[int, int]) -> MessageRefused:
    """The refusal of a document whose bytes are not of the encoding it states; `start` are its first characters."""
    sentence = looks_like(start) or (
        f"The byte 0x{byte:02X} is not {_display(encoding)}, the encoding this document states or UTF-8 by default. "
        "State the true encoding in its XML declaration, or save it as UTF-8."
    )
    return MessageRefused("not-well-formed", sentence, line=place[0], column=place[1])


def first_forbidden_character(text: str) -> tuple[int, int, int] | None:
    """Line, column (both from 1) and code point of the first character that Amazon SQS refuses in a body, None if there is none.

    Allowed are U+0009, U+000A, U+000D, U+0020-U+D7FF, U+E000-U+FFFD and U+10000-U+10FFFF (SendMessage, Amazon SQS API Reference).
    """
    match = _FORBIDDEN.search(text)
    return (*place_after(text[: match.start()]), ord(match[0])) if match else None


def encoding_of(document: bytes) -> tuple[str, int]:
    """The encoding that the start of a file states, by the name that Python has for it, and how many bytes its mark has.

    Raises MessageRefused "not-well-formed" for one that is not known.
    """
    for mark, encoding in _MARKS:
        if document.startswith(mark):
            return encoding, len(mark)
    for shape, encoding in _SHAPES:
        if document.startswith(shape):
            return encoding, 0
    if document.startswith(_EBCDIC_DECLARATION):
        sentence = "The document is written in EBCDIC, which is not taken. Save it as UTF-8."
        raise MessageRefused("not-well-formed", sentence, line=1, column=1)
    match = _DECLARED.match(document)
    return (_known_encoding(match[1].decode(), match.start(1) + 1) if match else "utf-8"), 0


def _known_encoding(stated: str, column: int) -> str:
    try:
        encoding = codecs.lookup(stated).name if len(stated) <= MAX_ENCODING_NAME else ""
    except (LookupError, ValueError):
        encoding = ""
    if encoding in _ENCODINGS:
        return encoding
    if encoding.startswith(("utf-16", "utf-32")):
        sentence = f"The XML declaration states {shorten(stated)}, but the document is not written in it."
    else:
        sentence = f"The XML declaration states the encoding {shorten(stated) or 'of no name'}, which is not known."
    raise MessageRefused("not-well-formed", f"{sentence} Save it as UTF-8.", line=1, column=column)


def looks_like(start: str) -> str:
    """What a document that starts so seems to be, where that is not XML, as a sentence; else ""."""
    start = start.lstrip(" \t\r\n").lower()
    if not start:
        return "The document is empty. Expected an XML document."
    if start.startswith(("{", "[")):
        return "This looks like JSON, not XML. Expected an XML document."
    if start.startswith(("<!doctype html", "<html")):
        return "This is an HTML page, not a trade message. Save the XML document itself."
    if start.startswith(("pk\x03\x04", "\x1f")):
        return "This is a compressed file. Unpack it and publish the XML documents in it."
    if not start.startswith("<"):
        return "This does not start as XML does, with '<'. Expected an XML document."
    return ""


def too_large(size: int, max_bytes: int) -> MessageRefused:
    """The refusal of a document of so many bytes."""
    return MessageRefused("too-large", f"The document has {size:,} bytes; at most {max_bytes:,} are taken. Split it into several files.")


def _display(encoding: str) -> str:
    return encoding.upper().replace("ISO8859", "ISO-8859").replace("ASCII", "US-ASCII").replace("CP125", "windows-125")


def place_after(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows this text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")
