"""What the messages in review would do is what recording them then does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from django.conf import settings as configured
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from tests.support.native import NOON, native, received, several
from trades import foretelling, handing_in, history
from trades.handing_in import IncomingDocument, drafts_of
from trades.models import Draft, Event, Hold, Message, Repeat, Trade, TradeException, TradeIdentifier, TradeLink, Upload

pytestmark = pytest.mark.django_db
DAY = sorted((Path(configured.BASE_DIR) / "trades" / "demo").rglob("*.xml"))
LATER = NOON + timedelta(minutes=5)


def in_review(*contents: str | bytes, positions: Sequence[int] = ()) -> Upload:
    """An upload whose documents have come in this order, each with its place."""
    upload = handing_in.begin(source=Upload.Source.WEB, user=None, now=NOON, stage=Upload.Stage.REVIEW)
    for number, content in enumerate(contents):
        body = content if isinstance(content, bytes) else content.encode()
        document = IncomingDocument(f"{number}.xml", body, position=positions[number] if positions else number + 1)
        handing_in.keep_for_review(upload, handing_in.read([document], now=NOON))
    return upload


def effects(upload: Upload) -> list[dict]:
    foretelling.check(upload, now=LATER)
    return [draft.effect or {} for draft in drafts_of(upload)]


def record(drafts: Sequence[Draft], rng: Random | None = None) -> list[Message]:
    """Record the drafts as a worker would, a few at a time; gives their messages."""
    waiting = [received(draft.body, draft.group_id, queue=draft.queue) for draft in drafts]
    ids = [each.message_id for each in waiting]
    while waiting:
        count = rng.randint(1, 10) if rng else 10
        history.record(waiting[:count], now=LATER)
        del waiting[:count]
    messages = {message.message_id: message for message in Message.objects.filter(message_id__in=ids)}
    return [messages[message_id] for message_id in ids]


def done_by(message: Message) -> list[tuple]:
    rows = Event.objects.filter(message=message).select_related("trade").order_by("part")
    return [(row.trade.trade_id, row.position, row.place, row.event_class, row.flags, row.state_after, row.status_after) for row in rows]


def foretold(effect: dict) -> list[tuple]:
    names = ("trade_id", "position", "place", "event_class", "flags", "state_after", "status_after")
    return [tuple(event[name] for name in names) for event in effect["events"]]


def everything() -> list[object]:
    models = (Message, Repeat, Event, Trade, TradeIdentifier, TradeLink, TradeException, Hold)
    return [list(model.objects.order_by("pk").values()) for model in models]


@pytest.mark.parametrize("seed", range(12))
def test_what_is_foretold_is_what_recording_then_does(seed: int) -> None:
    rng = Random(seed)
    documents = [path.read_bytes() for path in DAY]
    rng.shuffle(documents)
    already = [rng.choice(documents) for _ in range(rng.randint(0, 12))]
    record(list(drafts_of(in_review(*already))), rng)
    if rng.random() < 0.5:
        history.record([received("<broken", "T-10041"), received(native("T-10042", "UPDATE", 9), "T-10042")], now=NOON)
    handed_in = [rng.choice(documents) for _ in range(8)] + [document for document in documents if rng.random() < 0.8]
    rng.shuffle(handed_in)
    upload = in_review(*handed_in)
    before = everything()

    told = effects(upload)

    assert everything() == before
    drafts = list(drafts_of(upload))
    states = {(trade.trade_id, trade.scheme): (trade.state, trade.status) for trade in Trade.objects.all()}
    for draft, effect, message in zip(drafts, told, record(drafts, rng), strict=True):
        assert (effect["outcome"], foretold(effect)) == (message.outcome, done_by(message)), draft.summary
        if effect["outcome"] == "HELD":
            assert effect["behind"] == Hold.objects.get(group_id=draft.group_id).message_id
        for event in effect["events"]:
            assert event["is_new"] == ((event["trade_id"], event["scheme"]) not in states)
    for event in sorted((event for effect in told for event in effect["events"]), key=lambda event: event["position"]):
        trade = (event["trade_id"], event["scheme"])
        assert (event["state_before"], event["status_before"]) == states.get(trade, ("", ""))
        states[trade] = (event["state_after"], event["status_after"])


def test_the_second_message_of_a_trade_counts_on_the_first() -> None:
    first, second = effects(in_review(native("T-1"), native("T-1", "CANCEL", 2)))

    assert (first["grade"], second["grade"]) == ("good", "good")
    assert [(event["position"], event["state_before"], event["state_after"]) for event in first["events"] + second["events"]] == [
        (1, "", "LIVE"),
        (2, "LIVE", "CANCELLED"),
    ]


def test_files_that_came_out_of_order_are_told_in_the_order_of_their_places() -> None:
    upload = in_review(native("T-1", "CANCEL", 2), native("T-1"), positions=[2, 1])

    told = effects(upload)

    assert [effect["events"][0]["event_class"] for effect in told] == ["BOOK", "CANCEL"]
    assert {effect["grade"] for effect in told} == {"good"}


def test_a_copy_a_late_one_and_one_that_waits_are_each_worth_a_look() -> None:
    book = native("T-1")
    history.record([received(book), received("<broken", "T-2")], now=NOON)
    blocked = Message.objects.get(outcome="QUARANTINED")

    copy, update, waiting = effects(in_review(book, native("T-3", "UPDATE", 2), native("T-2")))

    assert (copy["outcome"], copy["grade"], copy["events"]) == ("DUPLICATE", "warning", [])
    assert (update["outcome"], update["grade"], update["events"][0]["flags"]) == ("RECORDED", "warning", ["PENDING"])
    assert (waiting["outcome"], waiting["grade"], waiting["behind"]) == ("HELD", "warning", blocked.pk)


def test_what_follows_a_doubtful_message_of_its_trade_is_not_good_without_it() -> None:
    history.record([received(native("T-1"), "T-1")], now=NOON)
    book = native("T-2")

    told = effects(in_review(native("T-1", "UPDATE", 3), native("T-1", "UPDATE", 4), book, book, native("T-2", "UPDATE", 2)))

    assert [(effect["grade"], effect["follows"]) for effect in told] == [
        ("warning", False), ("warning", True), ("good", False), ("warning", False), ("good", False),
    ]  # fmt: skip


def test_a_message_gets_the_group_of_the_trade_that_an_earlier_file_makes_known() -> None:
    book = native("T-1").replace("</TradeId>", '</TradeId><OtherTradeId scheme="urn:uti">U-1</OtherTradeId>')
    upload = in_review(native("U-1", "CANCEL", 2, scheme="urn:uti"), book, positions=[2, 1])

    foretelling.check(upload, now=LATER)

    assert [draft.group_id for draft in drafts_of(upload)] == ["T-1", "T-1"]


def test_no_more_messages_are_rehearsed_than_the_limit_and_the_rest_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foretelling, "MOST", 2)

    told = effects(in_review(several(*(native(f"T-{n}") for n in range(3)))))

    assert [effect["outcome"] for effect in told] == ["RECORDED", "RECORDED", "NOT_REHEARSED"]
    assert told[2]["grade"] == "NOT_REHEARSED"


def test_a_rehearsal_that_takes_too_long_ends_and_the_rest_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foretelling, "LONGEST", -1.0)

    told = effects(in_review(native("T-1"), native("T-2")))

    assert {effect["outcome"] for effect in told} == {"NOT_REHEARSED"}


def test_an_upload_without_a_message_is_checked_too() -> None:
    upload = in_review("<broken")

    assert foretelling.check(upload, now=LATER) == 0
    upload.refresh_from_db()
    assert upload.checked_at == LATER


def test_nothing_is_stored_of_an_upload_that_was_decided_meanwhile() -> None:
    upload = in_review(native("T-1"))
    Upload.objects.update(stage=Upload.Stage.WITHDRAWN)

    foretelling.check(upload, now=LATER)

    assert Draft.objects.get().effect is None


def test_without_holding_nothing_is_said_to_wait(settings: Settings) -> None:
    settings.TRADES_HOLD = False
    history.record([received("<broken", "T-2")], now=NOON, hold=False)

    (told,) = effects(in_review(native("T-2")))

    assert (told["outcome"], told["events"][0]["flags"]) == ("RECORDED", ["GROUP_GAP"])


def test_the_number_of_queries_grows_with_chunks_and_not_with_messages(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    upload = in_review(several(*(native(f"T-{n % 20}", "UPDATE", n) for n in range(100))))

    with django_assert_max_num_queries(40):
        foretelling.check(upload, now=LATER)
