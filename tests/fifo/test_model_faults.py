"""Where faults enter the model of SQS FIFO, what its logs tell, and that it speaks as the portal's own queue does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.fifo.client import arn_of
from tests.fifo.model import Faults
from tests.fifo.model_bench import ModelBench, bodies, outgoing
from trades import sqs


@pytest.fixture
def bench() -> ModelBench:
    return ModelBench()


# Faults and logs


class Recorder(Faults):
    """Writes down what it is told, and breaks what it is asked to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.lose_request = self.lose_answer = ""
        self.fail: tuple[str, str] = ("", "")

    def before(self, operation: str, queue: str, details: Mapping[str, Any]) -> None:
        self.seen.append(f"before {operation} {queue}")
        if operation == self.lose_request:
            raise sqs.QueueError("the request was lost")

    def after(self, operation: str, queue: str, details: Mapping[str, Any]) -> None:
        self.seen.append(f"after {operation} {queue} {len(details['answer'].get('Failed', []))}")
        if operation == self.lose_answer:
            raise sqs.QueueError("the answer was lost")

    def per_entry(self, operation: str, entry: Mapping[str, Any]) -> sqs.Failed | None:
        return sqs.Failed("InternalError", "try again") if (operation, entry["Id"]) == self.fail else None


@pytest.fixture
def faults(bench: ModelBench) -> Recorder:
    bench.broker.faults = faults = Recorder()
    return faults


def test_a_fault_sees_every_operation_before_and_after_it(bench: ModelBench, faults: Recorder) -> None:
    bench.send("a")
    held = bench.queue.receive()
    bench.queue.extend(held, 60)
    bench.queue.release(held)
    bench.queue.delete(bench.queue.receive())
    bench.queue.attributes()
    operations = ["send", "receive", "extend", "release", "receive", "delete", "attributes"]
    expected = [(f"before {name} Trades.fifo", f"after {name} Trades.fifo 0") for name in operations]
    assert faults.seen == [line for pair in expected for line in pair]


def test_a_lost_request_does_nothing(bench: ModelBench, faults: Recorder) -> None:
    faults.lose_request = "send"
    with pytest.raises(sqs.QueueError, match="request was lost"):
        bench.queue.send([outgoing("a")])
    assert bench.broker.accepted["Trades.fifo"] == []
    faults.lose_request = ""
    bench.send("a")
    assert bodies(bench.queue.receive()) == ["a"]


def test_a_lost_answer_to_a_send_leaves_the_message_in_the_queue(bench: ModelBench, faults: Recorder) -> None:
    faults.lose_answer = "send"
    with pytest.raises(sqs.QueueError, match="answer was lost"):
        bench.queue.send([outgoing("a")])
    faults.lose_answer = ""
    bench.send("a")
    assert bodies(bench.queue.receive()) == ["a"]
    assert len(bench.broker.accepted["Trades.fifo"]) == 1


def test_a_lost_answer_to_a_receive_locks_the_group_until_it_is_asked_again(bench: ModelBench, faults: Recorder) -> None:
    bench.send("a")
    faults.lose_answer = "receive"
    with pytest.raises(sqs.QueueError):
        bench.queue.receive(attempt_id="try-1")
    faults.lose_answer = ""
    assert bench.queue.receive() == []
    assert bodies(bench.queue.receive(attempt_id="try-1")) == ["a"]


def test_a_lost_answer_to_a_delete_leaves_nothing_behind(bench: ModelBench, faults: Recorder) -> None:
    bench.send("a")
    held = bench.queue.receive()
    faults.lose_answer = "delete"
    with pytest.raises(sqs.QueueError):
        bench.queue.delete(held)
    faults.lose_answer = ""
    assert bench.queue.delete(held) == []
    assert len(bench.broker.deletions) == 1


def test_one_entry_of_a_batch_can_fail(bench: ModelBench, faults: Recorder) -> None:
    faults.fail = "send", "1"
    sent = bench.queue.send([outgoing(body) for body in "abc"])
    assert [type(answer) for answer in sent] == [sqs.Sent, sqs.Failed, sqs.Sent]
    held = bench.queue.receive()
    assert bodies(held) == ["a", "c"]
    faults.fail = "delete", "0"
    ((left, failed),) = bench.queue.delete(held)
    assert (left.body, failed.code, failed.expired) == ("a", "InternalError", False)
    faults.fail = "release", "0"
    assert len(bench.queue.release([left])) == 1
    assert bench.queue.receive() == []


def test_the_log_tells_what_was_accepted_once_and_in_order(bench: ModelBench) -> None:
    bench.send("a", "b", "a")
    (held,) = bench.queue.receive(1)
    bench.queue.delete([held])
    bench.queue.delete([held])
    accepted = bench.broker.accepted["Trades.fifo"]
    assert [(entry.group, entry.publication_id, entry.body) for entry in accepted] == [("g", "p-a", "a"), ("g", "p-b", "b")]
    (delivery,), (deletion,) = bench.broker.deliveries, bench.broker.deletions
    assert delivery.message_id == deletion.message_id == accepted[0].message_id == held.message_id
    assert deletion.receipt_handle == held.receipt_handle
    found = bench.broker.of_handle(bench.broker.deliveries[0].receipt_handle)
    assert found is None


def test_a_fault_can_find_the_message_of_a_handle(bench: ModelBench) -> None:
    bench.broker.create("Other.fifo")
    bench.send("a")
    (held,) = bench.queue.receive()
    found = bench.broker.of_handle(held.receipt_handle)
    assert found is not None
    assert found.body == "a"


# The portal's own words


def test_the_model_speaks_as_the_portals_queue_does(bench: ModelBench) -> None:
    with pytest.raises(sqs.QueueNotFound, match="does not exist"):
        bench.broker.open("Missing.fifo")
    with pytest.raises(sqs.Refused, match="TooManyEntriesInBatchRequest"):
        bench.queue.send([outgoing(str(number)) for number in range(11)])
    with pytest.raises(sqs.Refused, match="BatchRequestTooLong"):
        bench.queue.send([outgoing("x" * 600_000, "g", "1"), outgoing("x" * 600_000, "g", "2")])
    with pytest.raises(sqs.Refused, match="MaxNumberOfMessages"):
        bench.queue.receive(11)


def test_a_deleted_queue_is_not_found_any_more(bench: ModelBench) -> None:
    bench.broker.client.delete_queue(QueueUrl=bench.queue.url)
    with pytest.raises(sqs.QueueNotFound):
        bench.queue.receive()


def test_a_queue_of_the_same_name_with_other_attributes_is_refused(bench: ModelBench) -> None:
    assert bench.broker.create("Trades.fifo", {"VisibilityTimeout": "120"}).url == bench.queue.url
    with pytest.raises(sqs.Refused, match="different value"):
        bench.broker.create("Trades.fifo", {"VisibilityTimeout": "60"})


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"FifoQueue": "false"}, "InvalidAttributeValue"),
        ({"Colour": "blue"}, "InvalidAttributeName"),
        ({"DelaySeconds": "901"}, "InvalidAttributeValue"),
        ({"MaximumMessageSize": "1023"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "soon"}, "InvalidAttributeValue"),
        ({"DeduplicationScope": "MessageGroup"}, "InvalidAttributeValue"),
        ({"RedrivePolicy": "{}"}, "InvalidParameterValue"),
        ({"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn_of("Trades.fifo"), "maxReceiveCount": 1001})}, "InvalidParameterValue"),
    ],
)
def test_attributes_that_aws_would_not_take_are_refused(bench: ModelBench, attributes: dict[str, str], code: str) -> None:
    with pytest.raises(sqs.Refused, match=code):
        bench.broker.create("New.fifo", attributes)
