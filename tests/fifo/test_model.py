"""The model of SQS FIFO where it goes further than the contract: rare rules and open questions."""

from __future__ import annotations

import json
import random
from itertools import pairwise

import pytest

from tests.fifo.client import arn_of
from tests.fifo.model import START, FifoBroker, ModelQueue, VirtualClock
from tests.fifo.model_bench import ModelBench, bodies, outgoing
from trades import sqs

HOUR = 3600


@pytest.fixture
def bench() -> ModelBench:
    return ModelBench()


# The clock


def test_time_passes_only_when_it_is_told_to(bench: ModelBench) -> None:
    assert bench.clock.utc() == START
    bench.clock.advance(1.5)
    assert (bench.clock.utc() - START).total_seconds() == 1.5
    with pytest.raises(ValueError, match="backwards"):
        bench.clock.advance(-1)


def test_times_of_messages_are_those_of_the_clock(bench: ModelBench) -> None:
    bench.send("a")
    bench.clock.advance(60)
    (message,) = bench.queue.receive(wait=20)
    assert (message.sent_at, message.received_at) == (START, bench.clock.utc())
    assert (message.received_at - START).total_seconds() == 60


def test_a_long_poll_without_messages_answers_at_once(bench: ModelBench) -> None:
    assert bench.queue.receive(wait=20) == []
    assert bench.clock.utc() == START


# Deduplication


def test_a_resend_does_not_start_the_five_minutes_anew(bench: ModelBench) -> None:
    bench.send("a")
    bench.clock.advance(200)
    bench.send("a")
    bench.clock.advance(100)
    bench.send("a")
    assert bodies(bench.queue.receive()) == ["a", "a"]


def test_a_resend_with_other_content_is_swallowed_and_told_its_own_md5(bench: ModelBench) -> None:
    first, second = (bench.queue.send([outgoing(body, "g", "id-1")])[0] for body in "ab")
    assert isinstance(first, sqs.Sent)
    assert isinstance(second, sqs.Sent)
    assert (second.message_id, second.sequence_number) == (first.message_id, first.sequence_number)
    assert second.md5 == sqs.md5_of("b")
    assert bodies(bench.queue.receive()) == ["a"]


def test_ids_of_a_group_count_from_before_the_scope_was_changed(bench: ModelBench) -> None:
    bench.queue.send([outgoing("a", "g", "id-1")])
    bench.broker.client.set_queue_attributes(QueueUrl=bench.queue.url, Attributes={"DeduplicationScope": "messageGroup"})
    bench.queue.send([outgoing("b", "g", "id-1")])
    bench.queue.send([outgoing("c", "h", "id-1")])
    assert bodies(bench.queue.receive()) == ["a", "c"]


def test_a_message_that_was_refused_leaves_its_id_free(bench: ModelBench) -> None:
    refused, accepted = (bench.queue.send([outgoing(body, "g", "id-1")])[0] for body in ("\x00", "a"))
    assert isinstance(refused, sqs.Failed)
    assert refused.code == "InvalidMessageContents"
    assert isinstance(accepted, sqs.Sent)
    assert bodies(bench.queue.receive()) == ["a"]


def test_a_message_of_somebody_else_needs_content_based_deduplication(bench: ModelBench) -> None:
    queue = bench.broker.create("Open.fifo", {"ContentBasedDeduplication": "true"})
    for body in ("a", "a", "b"):
        bench.broker.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId="g")
    messages = queue.receive()
    assert bodies(messages) == ["a", "b"]
    assert messages[0].attributes == {}


# Sequence numbers


def test_the_text_of_sequence_numbers_is_not_in_their_order(bench: ModelBench) -> None:
    bench.send(*(str(number) for number in range(12)))
    told = [accepted.sequence_number for accepted in bench.broker.accepted["Trades.fifo"]]
    assert sorted(told, key=int) == told
    assert sorted(told) != told
    received = [message.sequence_number for message in [*bench.queue.receive(10)]]
    assert received == [number.zfill(39) for number in told[:10]]


def test_sequence_numbers_have_gaps_and_128_bits(bench: ModelBench) -> None:
    for number in range(300):
        bench.send(str(number), group=f"g{number}")
    numbers = [int(accepted.sequence_number) for accepted in bench.broker.accepted["Trades.fifo"]]
    steps = [later - earlier for earlier, later in pairwise(numbers)]
    assert min(steps) >= 1
    assert max(steps[-100:]) > 1
    assert 2**64 < numbers[-1] < 2**128


# Who gets what


def test_a_head_that_expires_comes_while_its_tail_is_kept(bench: ModelBench) -> None:
    bench.send("a", "b", "c")
    _, b, c = bench.queue.receive()
    bench.clock.advance(60)
    assert bench.queue.extend([b, c], 120) == []
    bench.clock.advance(60)
    assert bodies(bench.queue.receive()) == ["a"]
    assert bench.queue.receive() == []


def test_what_arrives_behind_a_batch_in_flight_waits_for_it(bench: ModelBench) -> None:
    bench.send("a", "b")
    batch = bench.queue.receive()
    bench.send("c")
    assert bench.queue.delete(batch[:1]) == []
    assert bench.queue.receive() == []
    assert bench.queue.delete(batch[1:]) == []
    assert bodies(bench.queue.receive()) == ["c"]


def test_more_than_ten_of_a_group_given_back_come_again_in_order(bench: ModelBench) -> None:
    bench.send(*(f"{number:02}" for number in range(12)))
    bench.queue.delete([])
    first = bench.queue.receive(10)
    bench.queue.delete(first[:1])
    assert bench.queue.receive() == []
    assert bench.queue.release(first[1:]) == []
    again = bench.queue.receive(10)
    assert bodies(again) == [f"{number:02}" for number in range(1, 11)]


def test_a_full_flight_gives_nothing_and_no_error(bench: ModelBench) -> None:
    bench.broker.stores["Trades.fifo"].in_flight_limit = 3
    for group in "abcde":
        bench.send(group, group=group)
    held = bench.queue.receive()
    assert bodies(held) == ["a", "b", "c"]
    assert bench.queue.receive() == []
    bench.queue.delete(held[:1])
    assert bodies(bench.queue.receive()) == ["d"]


def test_the_group_that_waits_longest_comes_first(bench: ModelBench) -> None:
    bench.send("a1", "a2", group="a")
    bench.send("b1", group="b")
    bench.queue.release(bench.queue.receive(2))
    assert bodies(bench.queue.receive(1)) == ["b1"]


def test_groups_in_random_order_keep_the_order_inside_them() -> None:
    def order(seed: int) -> list[str]:
        broker = FifoBroker(VirtualClock(), random.Random(seed))
        queue = broker.create("Trades.fifo")
        for number in range(40):
            queue.send([outgoing(f"{number:02}", f"g{number % 7}")])
        seen: list[str] = []
        while messages := queue.receive():
            seen += bodies(messages)
            queue.delete(messages)
        return seen

    for seed in range(20):
        seen = order(seed)
        assert all(sorted(part) == part for part in ([body for body in seen if int(body) % 7 == group] for group in range(7)))
        assert len(seen) == 40
    assert order(1) == order(1)
    assert order(1) != order(2)


def test_a_queue_with_a_delay_never_lets_a_later_message_by(bench: ModelBench) -> None:
    client = bench.broker.client
    client.set_queue_attributes(QueueUrl=bench.queue.url, Attributes={"DelaySeconds": "900"})
    bench.send("a")
    client.set_queue_attributes(QueueUrl=bench.queue.url, Attributes={"DelaySeconds": "0"})
    bench.send("b")
    assert bench.queue.receive() == []
    assert bench.queue.attributes()["ApproximateNumberOfMessagesDelayed"] == "1"
    bench.clock.advance(900)
    assert bodies(bench.queue.receive()) == ["a", "b"]


def test_the_end_of_its_retention_takes_a_message_out_of_flight(bench: ModelBench) -> None:
    bench.broker.client.set_queue_attributes(QueueUrl=bench.queue.url, Attributes={"MessageRetentionPeriod": "60"})
    bench.send("a")
    held = bench.queue.receive()
    bench.clock.advance(30)
    bench.send("b")
    bench.clock.advance(30)
    assert bodies(bench.queue.receive()) == ["b"]
    assert bench.queue.delete(held) == []
    assert bench.broker.deletions == []


def test_twelve_hours_count_from_the_receive(bench: ModelBench) -> None:
    bench.send("a")
    held = bench.queue.receive()
    for _ in range(11):
        assert bench.queue.extend(held, HOUR + 60) == []
        bench.clock.advance(HOUR)
    assert bench.queue.extend(held, HOUR - 1) == []
    ((_, failed),) = bench.queue.extend(held, HOUR)
    assert "beyond the limit" in failed.message


def test_no_order_of_calls_gives_a_message_out_past_an_earlier_one_that_is_invisible() -> None:
    for seed in range(60):
        _compare_with_a_walk_over_all_messages(random.Random(seed))


def _compare_with_a_walk_over_all_messages(rng: random.Random) -> None:
    bench, there, hidden_until = ModelBench(), dict[str, str](), dict[str, float]()
    handles: dict[str, sqs.Received] = {}
    for step in range(120):
        now = bench.clock.now
        held = [body for body in there if hidden_until.get(body, 0) > now]
        act = rng.choice(["send", "send", "receive", "receive", "delete", "change", "wait"])
        if act == "send":
            body = f"{step:03}"
            there[body] = rng.choice("abc")
            bench.send(body, group=there[body])
        elif act == "receive":
            due = [body for body in there if not any(hidden_until.get(x, 0) > now for x in there if there[x] == there[body] and x <= body)]
            limit = rng.randint(1, 6)
            got = bench.queue.receive(limit)
            assert len(got) == min(limit, len(due))
            for group in "abc":
                of_group = [message.body for message in got if message.group_id == group]
                assert of_group == [body for body in due if there[body] == group][: len(of_group)]
            handles |= {message.body: message for message in got}
            hidden_until |= {message.body: now + 120 for message in got}
        elif act == "wait":
            bench.clock.advance(rng.choice([1, 20, 60, 120]))
        elif held:
            chosen = rng.sample(held, rng.randint(1, min(3, len(held))))
            if act == "delete":
                assert bench.queue.delete([handles[body] for body in chosen]) == []
                for body in chosen:
                    del there[body]
            else:
                seconds = rng.choice([0, 0, 30, 200])
                assert bench.queue.extend([handles[body] for body in chosen], seconds) == []
                hidden_until |= dict.fromkeys(chosen, now + seconds)
        found = bench.queue.attributes()
        in_flight = sum(hidden_until.get(body, 0) > bench.clock.now for body in there)
        assert found["ApproximateNumberOfMessagesNotVisible"] == str(in_flight)
        assert found["ApproximateNumberOfMessages"] == str(len(there) - in_flight)


# Attempt ids


def test_an_attempt_made_again_counts_as_another_receive(bench: ModelBench) -> None:
    bench.send("a", "b")
    first, second = (bench.queue.receive(attempt_id="try-1") for _ in range(2))
    assert [message.receipt_handle for message in second] == [message.receipt_handle for message in first]
    assert {message.receive_count for message in second} == {2}
    assert bench.queue.delete(first) == []


@pytest.mark.parametrize("modify", ["delete", "extend", "release"])
def test_an_attempt_whose_messages_were_changed_is_an_ordinary_receive(bench: ModelBench, modify: str) -> None:
    bench.send("a", "b")
    bench.send("c", group="h")
    held = bench.queue.receive(2, attempt_id="try-1")
    {
        "delete": lambda: bench.queue.delete(held[:1]),
        "extend": lambda: bench.queue.extend(held[:1], 60),
        "release": lambda: bench.queue.release(held[1:]),
    }[modify]()
    assert bodies(bench.queue.receive(attempt_id="try-1")) == ["c"]


def test_an_attempt_whose_messages_somebody_else_received_is_an_ordinary_receive(bench: ModelBench) -> None:
    bench.send("a")
    bench.queue.receive(attempt_id="try-1")
    bench.clock.advance(120)
    (theirs,) = bench.queue.receive(attempt_id="try-2")
    assert bench.queue.receive(attempt_id="try-1") == []
    assert bench.queue.delete([theirs]) == []


def test_an_attempt_id_is_good_for_five_minutes(bench: ModelBench) -> None:
    bench.broker.client.set_queue_attributes(QueueUrl=bench.queue.url, Attributes={"VisibilityTimeout": "1000"})
    bench.send("a")
    bench.queue.receive(attempt_id="try-1")
    bench.clock.advance(299)
    assert bodies(bench.queue.receive(attempt_id="try-1")) == ["a"]
    bench.clock.advance(1)
    assert bench.queue.receive(attempt_id="try-1") == []


# Receipt handles


def test_a_stale_handle_is_told_as_expired(bench: ModelBench) -> None:
    bench.send("a")
    held = bench.queue.receive()
    bench.clock.advance(120)
    ((_, at_expiry),) = bench.queue.delete(held)
    (newer,) = bench.queue.receive()
    ((_, after_redelivery),) = bench.queue.delete(held)
    ((_, extended),) = bench.queue.extend(held, 60)
    assert all(failed.expired for failed in (at_expiry, after_redelivery, extended))
    assert "has expired" in after_redelivery.message
    assert bench.queue.delete([newer]) == []
    assert len(bench.broker.deletions) == 1


def test_a_message_given_back_can_not_be_deleted(bench: ModelBench) -> None:
    bench.send("a")
    held = bench.queue.receive()
    bench.queue.release(held)
    ((_, failed),) = bench.queue.delete(held)
    assert failed.expired
    assert bodies(bench.queue.receive()) == ["a"]


def test_a_handle_of_another_queue_is_refused(bench: ModelBench) -> None:
    other = bench.broker.create("Other.fifo")
    bench.send("a")
    ((_, failed),) = other.delete(bench.queue.receive())
    assert failed.code == "ReceiptHandleIsInvalid"


# Dead letters


def with_dead_letters(bench: ModelBench, receives: int) -> tuple[ModelQueue, ModelQueue]:
    dead = bench.broker.create("Dead.fifo")
    redrive = json.dumps({"deadLetterTargetArn": arn_of("Dead.fifo"), "maxReceiveCount": receives})
    return bench.broker.create("Main.fifo", {"RedrivePolicy": redrive}), dead


def test_a_dead_letter_arrives_anew_and_counts_every_receive(bench: ModelBench) -> None:
    queue, dead = with_dead_letters(bench, 2)
    queue.send([outgoing("a"), outgoing("b")])
    for _ in range(2):
        queue.release(queue.receive(1))
    bench.clock.advance(100)
    assert bodies(queue.receive()) == ["b"]
    (letter,) = dead.receive()
    assert letter.dead_letter_source == "Main.fifo"
    assert letter.deduplication_id == letter.message_id
    assert letter.sent_at == bench.clock.utc()
    assert letter.receive_count == 3
    (move,) = bench.broker.moves
    assert (move.source, move.target, move.message_id) == ("Main.fifo", "Dead.fifo", letter.message_id)


def test_followers_never_tried_are_given_up_with_their_head(bench: ModelBench) -> None:
    queue, dead = with_dead_letters(bench, 3)
    queue.send([outgoing(body) for body in "abc"])
    for _ in range(3):
        queue.release(queue.receive())
    assert queue.receive() == []
    assert bodies(dead.receive()) == ["a", "b", "c"]
    assert [accepted.moved_from for accepted in bench.broker.accepted["Dead.fifo"]] == ["Main.fifo"] * 3


def test_what_is_sent_back_from_the_dead_letters_comes_last_under_a_new_id(bench: ModelBench) -> None:
    queue, _ = with_dead_letters(bench, 1)
    (first,) = queue.send([outgoing("a")])
    assert isinstance(first, sqs.Sent)
    queue.release(queue.receive())
    assert queue.receive() == []
    queue.send([outgoing("b")])
    assert bench.broker.redrive("Dead.fifo") == 1
    messages = queue.receive()
    assert bodies(messages) == ["b", "a"]
    assert messages[1].message_id != first.message_id
