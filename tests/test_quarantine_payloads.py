"""Settling messages whose text is large, or in S3 and was not had."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from threading import Event as Signal

import pytest
from django.conf import settings as in_use
from django.core.management import call_command
from pytest_django.fixtures import Settings

from tests.support.broker import Bucket
from tests.support.extended import MARKER, by_java, large, our_key, padded
from tests.support.native import NOON, native, received
from trades import corrections, dead_letters, fetching, history, messages, payloads, quarantine, rehearsal, sqs
from trades.messages.facts import MessageRefused
from trades.models import AuditEntry, Event, Message, Payload
from trades.quarantine import Actor, Result
from trades.sqs import Received

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome
SHELL = Actor(None, "command line, root")


def pointing(bucket: Bucket, text: str, *, key: str = "", group: str = "T-1", **changes: object) -> Received:
    """A delivery of a message that points to a text, which is not stored by this."""
    content = text.encode()
    message = received(by_java(bucket.name, key or our_key(content)), group)
    return replace(message, attributes={MARKER: str(len(content))}, **changes)  # type: ignore[arg-type]


def store(bucket: Bucket, *texts: str) -> None:
    for text in texts:
        bucket.put(our_key(text.encode()), text.encode())


def fetched(*batch: Received) -> list[Received]:
    return fetching.follow(batch, stop=Signal(), now=NOON).ready


def record(*batch: Received) -> None:
    history.record(fetched(*batch), now=NOON)


def replay(message: Message) -> Result:
    return quarantine.replay(message, actor=SHELL, now=NOON)


def correct(message: Message, text: str) -> Result:
    return quarantine.correct(message, text, actor=SHELL, reason="version", now=NOON)


def the(outcome: str) -> Message:
    return Message.objects.get(outcome=outcome)


def versions() -> list[int | None]:
    return list(Event.objects.order_by("position").values_list("version", flat=True))


def outcomes() -> list[tuple[str, str]]:
    return list(Message.objects.order_by("id").values_list("outcome", "code"))


def bad(version: int = 1, size: int = 1_500_000) -> str:
    """A large message whose version is no number."""
    return padded(native("T-1", "UPDATE", version).replace(f"<Version>{version}<", f"<Version>v{version}<"), size)


# Replaying


@pytest.mark.parametrize("size", [1_000, 1_500_000])
def test_a_payload_that_is_there_again_is_fetched_and_recorded(bucket: Bucket, size: int) -> None:
    text = large("T-1", "UPDATE", 1, size)
    record(pointing(bucket, text), received(native("T-1", "UPDATE", 2)))
    store(bucket, text)

    assert replay(the("QUARANTINED")).recorded == 2

    row = Message.objects.order_by("id")[0]
    assert (row.outcome, row.size, row.body_sha256) == (Outcome.RECORDED, size, our_key(text.encode())[7:71])
    assert (row.body, bool(row.payload)) == (("", True) if size > sqs.MAX_MESSAGE_BYTES else (text, False))
    assert row.pointer == by_java(bucket.name, our_key(text.encode()))
    assert payloads.text_of(row, size) == text
    assert versions() == [1, 2]


def test_a_payload_that_is_still_missing_is_refused_again_and_said_so(bucket: Bucket) -> None:
    record(pointing(bucket, large("T-1")))

    result = replay(the("QUARANTINED"))

    assert "S3 has no such object" in result.still
    assert outcomes() == [(Outcome.QUARANTINED, "payload-missing")]
    assert AuditEntry.objects.get().action == "replay refused"


def test_while_s3_is_away_a_replay_changes_nothing_and_says_why(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    record(pointing(bucket, large("T-1")))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    sqs.forget_clients()
    before = list(Message.objects.values())

    with pytest.raises(
        ValueError, match=r"can't be fetched just now\. .* nothing answers at http://127\.0\.0\.1:9\. .* Nothing was changed\."
    ):
        replay(the("QUARANTINED"))

    assert list(Message.objects.values()) == before
    assert not AuditEntry.objects.exists()


def test_a_payload_that_can_be_had_and_not_be_read_is_kept_with_its_message(bucket: Bucket) -> None:
    text = bad()
    record(pointing(bucket, text))
    store(bucket, text)

    result = replay(the("QUARANTINED"))

    assert "v1" in result.still
    row = Message.objects.get()
    assert (row.outcome, row.code, row.stated_trade_id) == (Outcome.QUARANTINED, "schema", "T-1")
    assert payloads.text_of(row, 1_500_000) == text


def test_a_bucket_that_is_allowed_by_now_is_read(bucket: Bucket, settings: Settings) -> None:
    text = large("T-1", "UPDATE", 1)
    store(bucket, text)
    settings.TRADES_PAYLOAD_BUCKETS = []
    record(pointing(bucket, text))
    assert the("QUARANTINED").code == "payload-bucket"

    settings.TRADES_PAYLOAD_BUCKETS = [bucket.name]
    replay(the("QUARANTINED"))

    assert versions() == [1]


def test_a_large_message_is_read_again_from_what_is_kept(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    text = large("T-1", "UPDATE", 1)
    store(bucket, text)
    with monkeypatch.context() as patch:
        patch.setattr(messages, "parse", refused)
        record(pointing(bucket, text))
    bucket.client.delete_object(Bucket=bucket.name, Key=our_key(text.encode()))

    assert replay(the("QUARANTINED")).recorded == 1

    assert versions() == [1]
    assert list((Path(in_use.VAR_DIR) / "spool").iterdir()) == []


def refused(*_: object, **__: object) -> None:
    raise MessageRefused("unknown-dialect", "No mapping knows it.")


def test_while_the_folder_is_full_a_replay_changes_nothing_and_says_why(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, waiting = large("T-1") + "<", large("T-1", version=2)
    store(bucket, broken, waiting)
    record(pointing(bucket, broken), pointing(bucket, waiting))
    first = the(Outcome.QUARANTINED)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(payloads, "_write", full)
    sentence = r"folder TRADES_VAR_DIR: .*No space left on device\. Nothing was changed\."
    with pytest.raises(ValueError, match=sentence):
        replay(first)
    with pytest.raises(ValueError, match=sentence):
        quarantine.discard(first, actor=SHELL, reason="broken", now=NOON)

    assert the(Outcome.QUARANTINED) == first
    assert Message.objects.filter(outcome=Outcome.HELD).count() == 1


def test_reading_many_again_goes_on_past_one_whose_followers_can_not_be_read_now(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, waiting, other = native("T-1"), large("T-1", "UPDATE", version=2), native("T-2")
    store(bucket, waiting)
    record(pointing(bucket, first), pointing(bucket, waiting), pointing(bucket, other, group="T-2"))
    store(bucket, first, other)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(payloads, "_write", full)
    call_command("reprocess_messages", "--code", "payload-missing", "--json")

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"outcome"' in line]
    assert [(line["group"], line["outcome"]) for line in told] == [("T-1", "could not be read now"), ("T-2", "recorded")]
    assert "No space left on device" in told[0]["reason"]
    assert list(Event.objects.values_list("trade__trade_id", flat=True)) == ["T-2"]


def test_what_waited_without_its_text_is_quarantined_in_its_turn_and_fetched_by_a_replay(bucket: Bucket) -> None:
    text = large("T-1", "UPDATE", 2)
    record(received("<broken"), pointing(bucket, text), received(native("T-1", "UPDATE", 3)))
    store(bucket, text)

    quarantine.discard(the("QUARANTINED"), actor=SHELL, reason="no use", now=NOON)
    assert outcomes()[1:] == [(Outcome.QUARANTINED, "payload-unread"), (Outcome.HELD, "")]
    replay(the("QUARANTINED"))

    assert versions() == [2, 3]


def test_large_messages_that_waited_are_recorded_in_their_turn(bucket: Bucket) -> None:
    texts = [large("T-1", "UPDATE", version) for version in (2, 3)]
    store(bucket, *texts)
    record(received("<broken"), *(pointing(bucket, text) for text in texts))

    assert quarantine.discard(the("QUARANTINED"), actor=SHELL, reason="no use", now=NOON).recorded == 2

    assert versions() == [2, 3]


def test_a_dead_letter_without_its_text_is_fetched_by_a_replay(bucket: Bucket) -> None:
    text = large("T-1", "UPDATE", 1)
    message = pointing(bucket, text, queue="Dead.fifo", dead_letter_source="TradeStatus.fifo")
    dead_letters.record(fetched(message), now=NOON, queue="TradeStatus.fifo")
    assert outcomes() == [(Outcome.QUARANTINED, "dead-letter")]
    assert "It could not be read: The text of this message is s3://" in Message.objects.get().reason
    store(bucket, text)

    replay(the("QUARANTINED"))

    assert versions() == [1]


def test_a_dead_letter_with_a_large_text_names_its_trade(bucket: Bucket) -> None:
    text = large("T-1", "UPDATE", 1)
    store(bucket, text)
    message = pointing(bucket, text, queue="Dead.fifo", dead_letter_source="TradeStatus.fifo")

    dead_letters.record(fetched(message), now=NOON, queue="TradeStatus.fifo")

    row = Message.objects.get()
    assert (row.queue, row.stated_trade_id, row.size, row.body) == ("TradeStatus.fifo", "T-1", 1_500_000, "")


# Correcting


def test_a_large_message_is_corrected_by_a_small_text(bucket: Bucket) -> None:
    stored = bad_and_stored(bucket)
    record(pointing(bucket, stored))

    result = correct(the("QUARANTINED"), native("T-1", "UPDATE", 1))

    assert versions() == [1]
    assert result.correction
    assert (result.correction.payload, bool(result.correction.body)) == (None, True)
    assert payloads.text_of(the("CORRECTED"), 2_000_000) == stored


def bad_and_stored(bucket: Bucket) -> str:
    text = bad()
    store(bucket, text)
    return text


def test_a_correction_that_is_large_is_kept_as_a_payload(bucket: Bucket) -> None:
    text = bad_and_stored(bucket)
    record(pointing(bucket, text))
    mended = text.replace("<Version>v1<", "<Version>1<")

    foretold = rehearsal.effect(the("QUARANTINED"), mended, now=NOON)
    assert (foretold.outcome, Payload.objects.count()) == ("recorded", 1)
    result = correct(the("QUARANTINED"), mended)

    assert versions() == [1]
    assert result.correction
    assert (result.correction.body, result.correction.size) == ("", len(mended.encode()))
    assert payloads.text_of(result.correction, 2_000_000) == mended


def test_a_correction_that_changes_nothing_of_a_large_text_is_refused(bucket: Bucket) -> None:
    text = bad_and_stored(bucket)
    record(pointing(bucket, text))

    with pytest.raises(ValueError, match="The text is unchanged"):
        correct(the("QUARANTINED"), text.replace("\n", "\r\n"))


def test_line_ends_of_a_large_text_are_kept_as_they_are(bucket: Bucket) -> None:
    text = bad().replace("\n", "\r\n")
    store(bucket, text)
    record(pointing(bucket, text))

    correct(the("QUARANTINED"), text.replace("<Version>v1<", "<Version>1<"))

    stand_in = Message.objects.get(corrects__isnull=False)
    assert payloads.text_of(stand_in, 3_000_000) == text.replace("<Version>v1<", "<Version>1<")


def test_a_correction_that_is_too_large_to_be_held_is_refused() -> None:
    history.record([received("<broken")], now=NOON)

    with pytest.raises(MessageRefused, match=r"A corrected text may have 10,485,760 bytes, and this one has 11,000,000\."):
        correct(the("QUARANTINED"), large(size=11_000_000))


def test_a_message_whose_text_was_not_had_can_be_corrected_by_the_text_itself(bucket: Bucket) -> None:
    text = native("T-1", "UPDATE", 1)
    record(pointing(bucket, text))
    assert not corrections.is_unchanged(the("QUARANTINED"), text)

    correct(the("QUARANTINED"), text)

    assert versions() == [1]
    assert the("CORRECTED").pointer == the("CORRECTED").body == by_java(bucket.name, our_key(text.encode()))
