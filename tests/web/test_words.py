"""Times, ages, numbers and documents in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from trades.lifecycle import State, Status
from trades.messages.facts import EventClass
from trades.web import words
from trades.web.xml_view import excerpt, xml_view

NOON = datetime(2026, 11, 20, 12, 0, 7, tzinfo=UTC)


def test_every_state_status_and_class_has_a_word_and_an_icon() -> None:
    assert set(words.STATES) == set(State)
    assert set(words.STATUSES) == set(Status)
    assert set(words.CLASSES) == set(EventClass)
    for badge in (*words.STATES.values(), *words.STATUSES.values(), *words.CLASSES.values(), *words.OUTCOMES.values()):
        assert badge.word
        assert f'id="i-{badge.icon}"' in words.sprite()


def test_times_are_in_utc_and_say_so() -> None:
    berlin = NOON.astimezone(timezone(timedelta(hours=1)))

    assert words.clock(berlin) == "12:00:07 UTC"
    assert words.full(berlin) == "20 Nov 2026 12:00:07 UTC"


@pytest.mark.parametrize(
    ("moment", "expected"),
    [(NOON, "12:00:07"), (NOON - timedelta(days=1), "19 Nov 12:00"), (NOON - timedelta(days=400), "16 Oct 2025")],
)
def test_a_moment_is_as_short_as_it_can_be(moment: datetime, expected: str) -> None:
    assert words.short(moment, NOON) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(-5, "0 s"), (12, "12 s"), (119, "1 m"), (4320, "1 h 12 m"), (273_600, "3 d 4 h"), (543_510_000, "6290 d")]
)
def test_a_length_of_time_has_its_two_largest_units(seconds: int, expected: str) -> None:
    assert words.duration(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10000000.00 EUR", "10,000,000.00 EUR"),
        ("999 USD", "999 USD"),
        ("0.123456789", "0.123456789"),
        ("-1234.5", "\N{MINUS SIGN}1,234.5"),
        ("8000000 EUR / 8674000 USD", "8,000,000 EUR / 8,674,000 USD"),
        ("1,234", "1,234"),
        ("", ""),
    ],
)
def test_numbers_are_grouped_and_keep_every_digit(text: str, expected: str) -> None:
    assert words.grouped(text) == expected


def test_a_status_word_keeps_the_documents_own_wording() -> None:
    assert words.status_badge("MATCHED").word == "Matched"
    assert words.status_badge("MATCHED").tone == words.STATUSES[Status.CHECKED].tone
    assert words.status_badge("Something else").word == "Something else"


def test_lines_are_numbered_as_in_the_document_and_the_marked_one_is_marked() -> None:
    view = xml_view("\n<a>\n<!-- two\nlines --></a>\n", marked=3)

    assert [line.number for line in view.lines] == [1, 2, 3, 4]
    assert [line.number for line in view.lines if line.is_marked] == [3]
    assert all(line.html.count("<span") == line.html.count("</span>") for line in view.lines)


def test_the_part_of_a_large_document_that_is_shown_has_the_marked_line_in_it() -> None:
    view = xml_view("<b>x</b>\n" * 50_000, marked=40_000)

    assert any(line.is_marked for line in view.lines)
    assert view.lines[0].number == 39_000
    assert "50,001 lines" in view.note


@pytest.mark.parametrize(
    ("content", "line", "column", "text", "caret"),
    [
        (b"<a>\n  <b>x</c>\n</a>", 2, 11, "  <b>x</c>", "          ^"),
        (b"<a>\r\n</b>", 1, 4, "<a>", "   ^"),
        ("<é>".encode("utf-16"), 1, 2, "<é>", " ^"),
        (b"\t<a", 1, 2, " <a", " ^"),
        (b"<a", 1, None, "<a", ""),
        (b"\xe9\xff", 1, 1, "\ufffd\ufffd", "^"),
    ],
)
def test_an_excerpt_puts_the_caret_under_the_place(content: bytes, line: int, column: int | None, text: str, caret: str) -> None:
    shown = excerpt(content, line, column)

    assert shown is not None
    assert (shown.text, shown.caret) == (text, caret)


def test_an_excerpt_of_a_long_line_is_cut_around_the_place() -> None:
    shown = excerpt(b"x" * 5000 + b"!" + b"y" * 5000, 1, 5001)

    assert shown is not None
    assert len(shown.text) == 100
    assert shown.text[len(shown.caret) - 1] == "!"


def test_a_line_that_the_document_does_not_have_has_no_excerpt() -> None:
    assert excerpt(b"<a/>", 7, 1) is None
