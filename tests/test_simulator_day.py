"""A made-up day, published: what the documents say, and what becomes of them on their way through a real queue."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.support.broker import FifoQueue
from tests.support.processes import Process
from tests.support.waiting import wait_until
from trades import messages, sqs
from trades.messages import MessageRefused
from trades.models import Document, Hold, Message, Publication, Trade, Upload
from trades.simulator.day import DIALECTS, Day, Handed, close_of, count, documents, next_close
from trades.sqs import Queue

FRIDAY = datetime(2026, 11, 20, 17, tzinfo=UTC)


def read(handed: Handed) -> messages.TradeEvent:
    """The one event of a document."""
    (event,) = messages.parse(handed.text.encode()).events
    return event


# What the documents say


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_document_is_understood_as_an_event_of_its_trade(dialect: str) -> None:
    handed = list(documents(Day(120, FRIDAY, dialect=dialect)))

    assert [read(each).trade_id.value for each in handed] == [each.trade_id for each in handed]
    assert len({each.trade_id for each in handed}) == 120
    assert len(handed) == count(Day(120, FRIDAY, dialect=dialect))


def test_a_mixed_day_has_every_dialect_and_a_whole_life_of_events() -> None:
    handed = list(documents(Day(400, FRIDAY)))

    dialects = Counter(messages.parse(each.text.encode()).dialect for each in handed)
    events = Counter(read(each).event_class.value for each in handed)

    assert dialects.keys() == {"native", "fpml-5-confirmation", "fixml"}
    assert min(dialects.values()) > 200
    assert {"BOOK", "UPDATE", "CORRECT", "CANCEL", "TERMINATE", "STATUS"} <= events.keys()


def test_the_same_seed_gives_the_same_bytes_and_other_seeds_other_trades() -> None:
    first, again, other = (list(documents(Day(50, FRIDAY, seed, 0.1))) for seed in (4, 4, 5))

    assert first == again
    assert {each.trade_id for each in first}.isdisjoint(each.trade_id for each in other)


def test_the_day_is_over_when_it_is_published_and_takes_no_longer_than_a_day() -> None:
    times = [read(each).event_time for each in documents(Day(300, FRIDAY, dialect="native"))]

    assert max(time for time in times if time) <= FRIDAY
    assert min(time for time in times if time) > datetime(2026, 11, 19, 16, tzinfo=UTC)


def test_as_many_documents_as_asked_for_are_bad_and_none_of_them_is_understood() -> None:
    bad = [each for each in documents(Day(1_000, FRIDAY, bad_share=0.1)) if each.is_bad]

    for each in bad:
        with pytest.raises(MessageRefused):
            messages.parse(each.text.encode())
    assert 0.08 < len(bad) / count(Day(1_000, FRIDAY)) < 0.12


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        (datetime(2026, 11, 20, 17, 0, tzinfo=UTC), FRIDAY),
        (datetime(2026, 11, 20, 16, 59, tzinfo=UTC), datetime(2026, 11, 19, 17, tzinfo=UTC)),
        (datetime(2026, 11, 22, 12, 0, tzinfo=UTC), FRIDAY),
        (datetime(2026, 11, 23, 6, 0, tzinfo=UTC), FRIDAY),
    ],
)
def test_a_day_ends_at_the_close_of_the_last_working_day(moment: datetime, end: datetime) -> None:
    assert close_of(moment) == end
    assert close_of(next_close(end)) == next_close(end) > moment
    assert close_of(next_close(end) - timedelta(seconds=1)) == end


# On its way


def simulate(**options: object) -> str:
    output = StringIO()
    call_command("simulate_trades", stdout=output, **options)
    return output.getvalue()


def consume() -> None:
    call_command("consume_trades", until_empty=True, wait=0, stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_a_day_goes_through_outbox_queue_and_worker_into_the_histories(queue: FifoQueue) -> None:
    said = simulate(trades=12, seed=3, rate=0, bad_share=0.0)
    consume()

    published = Publication.objects.filter(state=Publication.State.SENT).count()
    assert f"{published} messages of 12 trades published" in said
    assert "seed 3" in said
    assert Upload.objects.get().documents.count() == published
    assert Trade.objects.count() == 12
    assert not Message.objects.filter(outcome=Message.Outcome.QUARANTINED).exists()


@pytest.mark.django_db(transaction=True)
def test_bad_messages_are_quarantined_and_hold_only_their_own_trade(queue: FifoQueue) -> None:
    simulate(trades=12, seed=3, rate=0, bad_share=0.1)
    consume()

    bad = Message.objects.filter(outcome=Message.Outcome.QUARANTINED)
    assert bad.exists()
    assert set(Hold.objects.values_list("group_id", flat=True)) == set(bad.values_list("group_id", flat=True))
    assert set(Message.objects.filter(outcome=Message.Outcome.HELD).values_list("group_id", flat=True)) <= set(
        bad.values_list("group_id", flat=True)
    )
    assert Message.objects.count() == Publication.objects.count()


@pytest.mark.django_db(transaction=True)
def test_the_same_seed_again_changes_no_history_and_says_so_beforehand(queue: FifoQueue) -> None:
    simulate(trades=5, seed=8, rate=0, bad_share=0.0)
    consume()
    before = list(Trade.objects.order_by("trade_id").values_list("trade_id", "event_count", "state"))

    said = simulate(trades=5, seed=8, rate=0, bad_share=0.0)
    consume()

    assert "This seed was published before: its messages will be taken for what they repeat." in said
    assert list(Trade.objects.order_by("trade_id").values_list("trade_id", "event_count", "state")) == before


@pytest.mark.django_db(transaction=True)
def test_the_command_that_is_told_publishes_the_same_again(queue: FifoQueue) -> None:
    said = simulate(trades=6, seed=3, rate=0, bad_share=0.2, dialect="fpml")
    first = list(Document.objects.order_by("pk").values_list("sha256", flat=True))
    output = StringIO()
    until, _, again = said.partition("Again the same, until ")[2].splitlines()[0].rstrip(".").partition(": ")
    call_command("simulate_trades", *again.split(), rate=0, stdout=output)

    assert until == f"{next_close(close_of(timezone.now())):17:00:00 UTC on %d %b %Y}"
    assert list(Document.objects.order_by("pk").values_list("sha256", flat=True)[len(first) :]) == first


@pytest.mark.django_db(transaction=True)
def test_the_same_seed_after_the_next_close_is_said_to_be_other_messages_of_the_same_trades(queue: FifoQueue) -> None:
    with time_machine.travel(FRIDAY - timedelta(hours=1), tick=True):
        first = simulate(trades=5, seed=8, rate=0, bad_share=0.0)
        consume()
        texts = set(Document.objects.values_list("sha256", flat=True))
    with time_machine.travel(FRIDAY + timedelta(hours=1), tick=True):
        said = simulate(trades=5, seed=8, rate=0, bad_share=0.0)

    assert "Again the same, until 17:00:00 UTC on 20 Nov 2026: " in first
    assert Document.objects.filter(sha256__in=texts).count() == len(texts)
    assert "will be taken for what they repeat" not in said
    assert "for another day or with other options: these are other messages of the same trades. Choose another --seed." in said
    assert "Again the same, until 17:00:00 UTC on 23 Nov 2026: " in said


@pytest.mark.django_db(transaction=True)
def test_the_command_that_is_told_names_the_queue(queue: FifoQueue) -> None:
    said = simulate(trades=2, seed=3, rate=0, queue=queue.name)

    assert said.splitlines()[-1].endswith(f": --seed 3 --trades 2 --queue {queue.name}.")


@pytest.mark.django_db(transaction=True)
def test_a_day_that_is_interrupted_says_after_how_many_trades_and_fails_as_an_interrupted_command(
    queue: FifoQueue, command: Callable[..., Process], shared_database: str
) -> None:
    process = command("simulate_trades", "--trades", "50", "--seed", "8", "--rate", "20", "--bad-share", "0")
    wait_until(lambda: Publication.objects.filter(state="SENT").exists(), "a message that is sent")
    process.signal(signal.SIGINT)

    assert process.wait(60) == 130, process.output
    stored = Document.objects.count()
    trades = Publication.objects.values("trade_id").distinct().count()
    total = count(Day(50, close_of(timezone.now()), 8))
    said = f"Interrupted after {trades} of 50 trades and {stored} of {total} messages, which are upload {Upload.objects.get().pk}."
    assert said in process.output
    assert "Again the same" not in process.output
    (line,) = re.findall(r"^python manage\.py simulate_trades (.*)$", process.output, re.MULTILINE)
    assert line == "--seed 8 --trades 50 --bad-share 0.0"
    until = f"{next_close(close_of(timezone.now())):17:00:00 UTC on %d %b %Y}"
    assert f"To publish all of them; what is published already changes nothing until {until}:" in process.output


@pytest.mark.django_db(transaction=True)
def test_what_sqs_refused_of_it_is_told(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queue, "send", lambda self, messages: [sqs.Failed("AccessDenied", "no") for _ in messages])

    said = simulate(trades=2, seed=3, rate=0, bad_share=0.0)

    assert f"{Publication.objects.count()} wait in the outbox" in said
    assert "AccessDenied" in said


@pytest.mark.django_db
def test_options_of_one_way_are_refused_with_the_other() -> None:
    with pytest.raises(CommandError, match="--rate goes without --direct"):
        simulate(direct=True, rate=5.0)
    with pytest.raises(CommandError, match="--events goes with --direct"):
        simulate(events=20)


@pytest.mark.django_db
def test_a_queue_that_is_away_is_said_before_anything_is_made_up() -> None:
    with pytest.raises(CommandError, match="nothing answers"):
        simulate(trades=5)

    assert not Upload.objects.exists()


@pytest.mark.django_db
def test_nothing_is_published_in_production(settings: Settings) -> None:
    settings.PRODUCTION = True

    with pytest.raises(CommandError, match="PRODUCTION is on"):
        simulate(trades=5)
