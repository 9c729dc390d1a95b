"""What Amazon SQS is asked, and what its answers mean."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.support.broker import FifoQueue
from tests.support.native import received
from tests.support.waiting import wait_until
from trades import sqs
from trades.sqs import Failed, Received


def send(queue: FifoQueue, group: str, *bodies: str) -> None:
    for body in bodies:
        queue.client.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId=group)


def bodies(messages: list[Received]) -> list[str]:
    return [message.body for message in messages]


def answered(code: str, status: int) -> sqs.QueueError:
    with pytest.raises(sqs.QueueError) as raised, sqs.sentences("Receiving from Trades.fifo"):
        raise ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "ReceiveMessage")  # type: ignore[typeddict-item]
    return raised.value


# What an answer means


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("RequestThrottled", 403),
        ("ThrottlingException", 400),
        ("KmsThrottled", 400),
        ("KMS.ThrottlingException", 400),
        ("OverLimit", 403),
        ("AWS.SimpleQueueService.OverLimit", 403),
        ("TooManyRequestsException", 429),
        ("Whatever", 429),
    ],
)
def test_being_asked_too_often_is_told_from_other_trouble(code: str, status: int) -> None:
    assert isinstance(answered(code, status), sqs.Throttled)


@pytest.mark.parametrize(("code", "status"), [("AccessDenied", 403), ("InvalidAddress", 400), ("TooManyEntriesInBatchRequest", 400)])
def test_a_refusal_is_an_answer_and_no_throttling(code: str, status: int) -> None:
    error = answered(code, status)

    assert isinstance(error, sqs.Refused)
    assert not isinstance(error, sqs.Throttled)
    assert str(error).endswith(f" answered {code}: no.")


@pytest.mark.parametrize(
    ("code", "status", "bad"),
    [
        ("InvalidParameterValue", 400, True),
        ("MissingParameter", 400, True),
        ("ExpiredToken", 400, False),
        ("InvalidClientTokenId", 403, False),
        ("AccessDenied", 403, False),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, False),
    ],
)
def test_a_bad_request_is_told_from_one_that_may_be_made_again(code: str, status: int, bad: bool) -> None:
    assert isinstance(answered(code, status), sqs.BadRequest) is bad


def test_after_a_fault_of_the_server_or_a_lost_connection_it_is_unknown_what_was_done() -> None:
    with pytest.raises(sqs.QueueError) as lost, sqs.sentences("Receiving"):
        raise ConnectionClosedError(endpoint_url="http://127.0.0.1:9")

    assert not isinstance(lost.value, sqs.Refused)
    assert not isinstance(answered("InternalError", 500), sqs.Refused)


@pytest.mark.parametrize(
    ("code", "expired"),
    [
        ("InvalidParameterValue", True),
        ("ReceiptHandleIsInvalid", True),
        ("AWS.SimpleQueueService.MessageNotInflight", True),
        ("InternalError", False),
        ("RequestThrottled", False),
        ("", False),
    ],
)
def test_a_stale_receipt_is_told_from_trouble_that_passes(code: str, expired: bool) -> None:
    assert Failed(code, "").expired is expired


# Giving back


def parts(*groups: tuple[str, int]) -> list[list[tuple[str, int]]]:
    numbered = [(group, number) for group, count in groups for number in range(count)]
    messages = [received(str(number), group) for group, number in numbered]
    return [[(message.group_id, int(message.body)) for message in run] for run in sqs.runs_of_groups(messages)]


def test_a_group_that_fits_into_a_call_is_never_split() -> None:
    calls = parts(("A", 6), ("B", 6), ("C", 4), ("D", 10))

    assert [len(call) for call in calls] == [6, 10, 10]
    for group in "ABCD":
        assert sum(any(name == group for name, _ in call) for call in calls) == 1


def test_of_a_longer_group_the_last_messages_go_back_first() -> None:
    calls = parts(("A", 25))

    assert [[number for _, number in call] for call in calls] == [list(range(20, 25)), list(range(10, 20)), list(range(10))]


def test_many_small_groups_share_calls() -> None:
    assert len(parts(*((f"G-{n}", 1) for n in range(95)))) == 10


@pytest.mark.parametrize("count", [3, 10])
def test_what_is_given_back_comes_again_at_once_and_in_order(queue: FifoQueue, count: int) -> None:
    send(queue, "A", *(f"a{n}" for n in range(count)))
    consumer = sqs.open_queue(queue.name)
    first = consumer.receive()

    assert consumer.release(first) == []

    assert queue.counts() == (count, 0)
    assert bodies(consumer.receive()) == bodies(first) == [f"a{n}" for n in range(count)]


# Keeping


def test_extended_messages_stay_invisible_beyond_the_timeout_of_the_queue(queue: FifoQueue) -> None:
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "4"})
    send(queue, "A", "kept")
    send(queue, "B", "left")
    consumer = sqs.open_queue(queue.name)
    mine = consumer.receive()

    assert consumer.extend([message for message in mine if message.body == "kept"], 60) == []

    assert wait_until(lambda: bodies(consumer.receive()), "the other message to come again") == ["left"]
    assert queue.counts()[1] == 2


def test_extending_what_is_deleted_is_a_stale_receipt(queue: FifoQueue) -> None:
    send(queue, "A", "a")
    consumer = sqs.open_queue(queue.name)
    mine = consumer.receive()
    consumer.delete(mine)

    ((message, failure),) = consumer.extend(mine, 60)

    assert message == mine[0]
    assert failure.expired


# Where a message was given up


def test_a_dead_letter_names_the_queue_that_it_came_from(queue: FifoQueue) -> None:
    arn = queue.client.get_queue_attributes(QueueUrl=queue.dead_letter_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 1}}'
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"RedrivePolicy": redrive})
    send(queue, "A", "given up")
    consumer, dead = sqs.open_queue(queue.name), sqs.open_queue(queue.dead_letter_name)

    (message,) = consumer.receive()
    assert message.dead_letter_source == ""
    consumer.release([message])
    assert consumer.receive() == []

    (given_up,) = wait_until(dead.receive, "the message in the dead-letter queue")
    assert (given_up.queue, given_up.dead_letter_source) == (queue.dead_letter_name, queue.name)
