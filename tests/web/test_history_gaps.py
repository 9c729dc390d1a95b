"""What a trade's history must not leave out beside its events, and what it must not say of a moment in the past."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from html import unescape

import pytest
from django.test import Client

from tests.support.native import NOON, native, received
from tests.web import scenes
from tests.web.test_history_asides import entries
from trades import history, messages, quarantine
from trades.messages.facts import MessageRefused, ParsedMessage
from trades.models import Message

pytestmark = pytest.mark.django_db
BAD, OTHER_BAD = "<broken", "<broken too"
NOT_WELL_FORMED = "Not well-formed, line 1, column 8:"


def page(client: Client, moment: datetime | None = None) -> str:
    """The page of the trade T-1, the first event first, as of a moment."""
    as_of = f"&as_of={moment:%Y-%m-%dT%H:%M:%S}Z" if moment else ""
    response = client.get(f"/trades/T-1/?first=oldest{as_of}")
    assert response.status_code == 200, response.content.decode()
    return unescape(response.content.decode())


def record(body: str, publication_id: uuid.UUID | None = None) -> Message:
    """The message of this text, delivered and stored."""
    history.record([received(body, publication_id=publication_id)], now=NOON)
    return Message.objects.get(body=body)


def after(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_conflict_with_a_message_that_was_corrected_stands_in_the_history(vera: Client) -> None:
    publication = uuid.uuid4()
    bad = record(BAD, publication_id=publication)
    quarantine.correct(bad, native("T-1"), actor=scenes.ANA, reason="cut off", now=NOON)
    history.record([received(native("T-2"), "T-2", publication_id=publication)], now=NOON)

    html = page(vera)

    assert entries(html)[0] == "1"
    assert entries(html)[1].startswith("Publication conflict: Publication")
    assert f'<a href="/quarantine/{bad.pk}/">The earlier message of this publication</a>' in html


def test_how_often_a_corrected_message_was_delivered_is_told_of_its_event(vera: Client) -> None:
    delivered = received(BAD)
    history.record([delivered], now=NOON)
    quarantine.correct(Message.objects.get(), native("T-1"), actor=scenes.ANA, reason="cut off", now=NOON)
    for _ in range(2):
        history.record([delivered], now=NOON)

    assert "Delivered 3 times, recorded once." in page(vera)
    assert "Delivered" not in page(vera, after(1))


def test_how_often_a_discarded_message_was_delivered_is_told(vera: Client) -> None:
    record(native("T-1"))
    delivered = received(BAD)
    history.record([delivered], now=NOON)
    quarantine.discard(Message.objects.get(body=BAD), actor=scenes.ANA, reason="a fragment", now=NOON)
    for _ in range(2):
        history.record([delivered], now=NOON)

    html = page(vera)

    assert entries(html) == ["1", "Discarded by ana"]
    assert "Delivered 3 times.</span>" in html
    assert "Delivered" not in page(vera, after(1))


def test_the_reason_that_a_later_replay_gave_is_not_shown_as_of_an_earlier_moment(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    record(native("T-1"))
    bad = record(BAD)
    assert entries(page(vera, after(1)))[1].startswith(NOT_WELL_FORMED)
    monkeypatch.setattr(history, "judge", lambda _body: MessageRefused("mapping-error", "Something else entirely."))
    quarantine.replay(bad, actor=scenes.ANA, now=after(60))

    assert entries(page(vera, after(1)))[1] == "In quarantine. It was read again since, so that the reason given then is not known."
    assert entries(page(vera, after(61)))[1] == "Fault in a mapping: Something else entirely."


def waiting_again() -> Message:
    """A message in quarantine (at noon) that is made to wait behind an earlier one, whose discard is taken back an hour later."""
    record(native("T-1"))
    first = record(BAD)
    quarantine.discard(first, actor=scenes.ANA, reason="a fragment", now=NOON)
    second = record(OTHER_BAD)
    quarantine.undo_discard(first, actor=scenes.BEN, reason="needed after all", now=after(60))
    return second


def test_a_message_that_waits_again_is_shown_now_and_in_quarantine_as_of_before(vera: Client) -> None:
    second = waiting_again()

    assert entries(page(vera))[1:] == [entries(page(vera))[1], "Waits behind an earlier message of its group."]
    assert f"/quarantine/{second.pk}/" in page(vera, after(1))
    assert entries(page(vera, after(1)))[1] == "Discarded by ana"
    assert entries(page(vera, after(1)))[2].startswith("In quarantine. It was read again since")
    assert entries(page(vera, after(61)))[2] == "Waits behind an earlier message of its group."


def test_a_message_recorded_in_its_turn_was_in_quarantine_and_then_waited(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    second, first = waiting_again(), Message.objects.get(body=BAD)
    read = messages.parse

    def repaired(body: str, **options: object) -> ParsedMessage:
        return read(native("T-1", "UPDATE", 2) if body == OTHER_BAD else body, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(messages, "parse", repaired)
    quarantine.discard(first, actor=scenes.BEN, reason="in the end", now=after(120))

    assert entries(page(vera)) == ["1", "Discarded by ben", "2"]
    assert "Replayed by ben: In its turn" in page(vera)
    then = page(vera, after(1))
    assert entries(then)[2].startswith("In quarantine.")
    assert f"/quarantine/{second.pk}/" in then
    assert entries(page(vera, after(61)))[2] == "Waits behind an earlier message of its group."
