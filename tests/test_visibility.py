"""What a worker holds stays invisible to others while it is being recorded, however long that takes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from tests.support.broker import FifoQueue
from tests.support.native import NOON, received
from tests.support.waiting import wait_until
from trades import sqs, visibility
from trades.sqs import Failed, Received
from trades.visibility import Keeper


@dataclass
class Held:
    """Messages in flight on a clock that the test moves: until when each stays invisible."""

    now: datetime = NOON
    until: dict[str, datetime] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    failing: dict[str, str] = field(default_factory=dict)
    away: bool = False
    name: str = "Trades.fifo"

    def clock(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def extend(self, messages: Sequence[Received], seconds: int) -> list[tuple[Received, Failed]]:
        if self.away:
            raise sqs.QueueError("nothing answers")
        self.order += [message.body for message in messages]
        good = [message for message in messages if message.body not in self.failing]
        self.until |= {message.body: self.now + timedelta(seconds=seconds) for message in good}
        return [(message, Failed(self.failing[message.body], "no")) for message in messages if message.body in self.failing]

    def seconds_left(self) -> dict[str, float]:
        return {body: (until - self.now).total_seconds() for body, until in self.until.items()}


def keeper_of(held: Held, seconds: int = 120, stop: threading.Event | None = None) -> Keeper:
    return Keeper(held, seconds, held.clock, stop or threading.Event())  # type: ignore[arg-type]


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def keeper(held: Held) -> Keeper:
    return keeper_of(held)


def lease_of(keeper: Keeper, *bodies: str) -> visibility.Lease:
    lease = keeper.lease()
    lease.messages = [received(body) for body in bodies]
    return lease


def test_nothing_is_asked_before_a_third_of_the_time_is_over(keeper: Keeper, held: Held) -> None:
    lease = lease_of(keeper, "a")

    held.pass_seconds(39)
    keeper.extend_if_due(lease)

    assert held.until == {}


def test_every_message_is_extended_by_the_whole_timeout_again_and_again(keeper: Keeper, held: Held) -> None:
    lease = lease_of(keeper, *(str(n) for n in range(35)))

    for _ in range(20):
        held.pass_seconds(40)
        keeper.extend_if_due(lease)

        assert set(held.seconds_left().values()) == {120.0}
        assert len(held.until) == 35
        assert lease.until == held.now + timedelta(seconds=120)


def test_the_first_of_each_group_comes_first() -> None:
    batch = [received("a1", "A"), received("a2", "A"), received("b1", "B"), received("a3", "A"), received("b2", "B")]

    assert [message.body for message in visibility.heads_first(batch)] == ["a1", "b1", "a2", "a3", "b2"]


def test_a_lost_lease_is_told_once_and_the_others_are_kept(keeper: Keeper, held: Held, caplog: pytest.LogCaptureFixture) -> None:
    lease = lease_of(keeper, "lost", "kept")
    held.failing = {"lost": "ReceiptHandleIsInvalid"}

    for _ in range(5):
        held.pass_seconds(40)
        keeper.extend_if_due(lease)

    assert held.seconds_left() == {"kept": 120.0}
    assert held.order.count("lost") == 1
    assert len(caplog.records) == 1
    assert "1 of the messages in hand may be delivered again" in caplog.text


@pytest.mark.parametrize("trouble", ["away", "failing"])
def test_what_could_not_be_extended_is_tried_again_at_the_next_look(keeper: Keeper, held: Held, trouble: str) -> None:
    lease = lease_of(keeper, "a", "b")
    held.away, held.failing = trouble == "away", {"b": "InternalError"} if trouble == "failing" else {}
    held.pass_seconds(40)
    keeper.extend_if_due(lease)
    assert lease.until == NOON + timedelta(seconds=120)

    held.away, held.failing = False, {}
    held.pass_seconds(10)
    keeper.extend_if_due(lease)

    assert held.seconds_left() == {"a": 120.0, "b": 120.0}


@pytest.mark.parametrize(
    ("seconds", "most"), [(30, timedelta(minutes=15)), (120, timedelta(minutes=20)), (7200, timedelta(hours=12) - timedelta(seconds=5))]
)
def test_nothing_is_kept_longer_than_ten_timeouts_or_a_quarter_of_an_hour(
    held: Held, caplog: pytest.LogCaptureFixture, seconds: int, most: timedelta
) -> None:
    keeper = keeper_of(held, seconds)
    lease = lease_of(keeper, "a")
    end = NOON + most

    while held.now < end:
        assert not caplog.records
        held.pass_seconds(seconds / visibility.LOOKS_PER_TIMEOUT)
        keeper.extend_if_due(lease)
        assert held.until.get("a", NOON) <= end

    assert end - held.until["a"] < timedelta(seconds=1)
    assert caplog.text.count("recording has taken") == 1


def test_after_a_stop_nothing_is_kept_longer_than_one_more_timeout(held: Held) -> None:
    stop = threading.Event()
    keeper = keeper_of(held, 120, stop)
    lease = lease_of(keeper, "a")
    for _ in range(3):
        held.pass_seconds(40)
        keeper.extend_if_due(lease)

    stop.set()
    end = held.now + timedelta(seconds=130)
    while held.now < end:
        held.pass_seconds(10)
        keeper.extend_if_due(lease)

    assert held.now - timedelta(seconds=20) <= held.until["a"] <= held.now


def test_a_recording_that_hangs_lets_others_have_its_group_after_a_stop(queue: FifoQueue) -> None:
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "2"})
    queue.client.send_message(QueueUrl=queue.url, MessageBody="held", MessageGroupId="A")
    ours, theirs, stop = sqs.open_queue(queue.name), sqs.open_queue(queue.name), threading.Event()
    keeper = Keeper(ours, visibility.timeout_of(ours), lambda: datetime.now(NOON.tzinfo), stop)
    batch, lease = ours.receive(), keeper.lease()
    first_end = lease.until

    with keeper.keeping(batch, lease):
        wait_until(lambda: lease.until > first_end, "an extension")
        stop.set()
        (again,) = wait_until(theirs.receive, "the group to be handed to somebody else")

    assert again.body == "held"


def test_nothing_is_extended_once_the_recording_is_over(keeper: Keeper, held: Held) -> None:
    lease = keeper.lease()
    with keeper.keeping([received("a")], lease):
        pass

    held.pass_seconds(60)
    keeper.extend_if_due(lease)

    assert held.until == {}


def test_the_end_waits_for_an_extension_under_way(keeper: Keeper, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, go_on, over = threading.Event(), threading.Event(), threading.Event()
    extend = Held.extend

    def slow(self: Held, messages: Sequence[Received], seconds: int) -> list[tuple[Received, Failed]]:
        under_way.set()
        assert go_on.wait(30)
        return extend(self, messages, seconds)

    def record() -> None:
        with keeper.keeping([received("a")], lease):
            held.pass_seconds(60)
            extending.start()
            assert under_way.wait(30)
        over.set()

    monkeypatch.setattr(Held, "extend", slow)
    lease = keeper.lease()
    extending = threading.Thread(target=lambda: keeper.extend_if_due(lease))
    recording = threading.Thread(target=record)
    recording.start()
    assert under_way.wait(30)
    assert not over.wait(0.3)

    go_on.set()
    recording.join(30)

    assert over.is_set()
    assert held.until
    assert lease.messages == []


def test_the_timeout_is_read_from_the_queue(queue: FifoQueue) -> None:
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "77"})

    assert visibility.timeout_of(sqs.open_queue(queue.name)) == 77


def test_a_queue_that_does_not_tell_its_timeout_is_supposed_to_have_the_default(
    queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(self: sqs.Queue) -> dict[str, str]:
        raise sqs.Refused("AccessDenied")

    monkeypatch.setattr(sqs.Queue, "attributes", refused)

    assert visibility.timeout_of(sqs.open_queue(queue.name)) == 30
    assert "30 s are supposed" in caplog.text


def test_a_real_queue_hands_nothing_to_others_while_the_block_lasts(queue: FifoQueue) -> None:
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "3"})
    for number in range(3):
        queue.client.send_message(QueueUrl=queue.url, MessageBody=str(number), MessageGroupId="A")
    ours, theirs = sqs.open_queue(queue.name), sqs.open_queue(queue.name)
    keeper = Keeper(ours, visibility.timeout_of(ours), lambda: datetime.now(NOON.tzinfo), threading.Event())
    batch, lease = ours.receive(), keeper.lease()
    first_end = lease.until

    with keeper.keeping(batch, lease):
        wait_until(lambda: lease.until > first_end + timedelta(seconds=6), "the lease to be three times as long as the timeout")
        assert theirs.receive() == []

    assert ours.delete(batch) == []
    assert queue.counts() == (0, 0)
    wait_until(lambda: not keeper._running, "the thread to end")
