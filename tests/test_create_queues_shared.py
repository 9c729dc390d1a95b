"""A dead-letter queue that is open to all stays open to those that use it, and is not called sound."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.support.broker import FifoQueue
from tests.test_create_queues import create_queues
from trades import queues, sqs

ALL = {"RedriveAllowPolicy": '{"redrivePermission": "allowAll"}'}
NONE = {"RedriveAllowPolicy": '{"redrivePermission": "denyAll"}'}


@pytest.fixture
def used(queue: FifoQueue) -> tuple[str, list[str]]:
    """A dead-letter queue that was never told who may use it and is used by a queue, and the options for another queue before it."""
    unique = uuid.uuid4().hex[:8]
    dead = f"Dead-{unique}.fifo"
    queue.resource.create_queue(QueueName=dead, Attributes=queues.wanted_attributes())  # type: ignore[arg-type]
    arn = sqs.open_queue(dead).attributes()["QueueArn"]
    queue.resource.create_queue(QueueName=f"A-{unique}.fifo", Attributes=queues.wanted_attributes(arn))  # type: ignore[arg-type]
    return dead, ["--queue", f"B-{unique}.fifo", "--dead-letter-queue", dead]


def set_attributes(name: str, attributes: dict[str, str]) -> None:
    target = sqs.open_queue(name)
    target.sqs.set_queue_attributes(QueueUrl=target.url, Attributes=attributes)  # type: ignore[arg-type]


def allowed(name: str) -> str | None:
    return sqs.open_queue(name).attributes().get("RedriveAllowPolicy")


@pytest.mark.parametrize("policy", [{}, ALL])
@pytest.mark.parametrize("apply", [[], ["--apply"]])
def test_a_queue_that_uses_a_dead_letter_queue_open_to_all_is_not_shut_out(
    used: tuple[str, list[str]], policy: dict[str, str], apply: list[str]
) -> None:
    dead, options = used
    if policy:
        set_attributes(dead, policy)

    status, said = create_queues(*options, *apply)

    assert (status, f"{options[1]}: created at" in said) == (3, True)
    assert allowed(dead) == policy.get("RedriveAllowPolicy")
    assert "any queue of the account may put its messages among the dead letters. --apply leaves that to you" in said
    assert "has been set to" not in said
    assert "RedriveAllowPolicy: not reported" not in said


def test_what_else_is_wrong_with_it_is_changed_and_told_apart(used: tuple[str, list[str]]) -> None:
    dead, options = used
    set_attributes(dead, {"VisibilityTimeout": "30"})

    dry = create_queues(*options, "--apply", "--dry-run")
    status, said = create_queues(*options, "--apply")

    assert (dry[0], f"{dead}: would be changed" in dry[1]) == (3, True)
    assert (status, f"{dead}: changed at" in said) == (3, True)
    assert "VisibilityTimeout was 30, has been set to 120" in said
    assert "RedriveAllowPolicy was" not in said
    assert "RedriveAllowPolicy is not set, should be" in said
    assert allowed(dead) is None


def test_one_that_lets_nobody_in_is_opened_to_the_queues_that_are_named(used: tuple[str, list[str]]) -> None:
    dead, options = used
    set_attributes(dead, NONE)

    assert create_queues(*options)[0] == 1
    assert create_queues(*options, "--apply")[0] == 0
    assert [arn.rpartition(":")[2] for arn in json.loads(allowed(dead) or "{}")["sourceQueueArns"]] == [options[1]]


def test_one_that_was_never_told_who_may_use_it_is_known_to_be_open() -> None:
    (difference,) = queues.explain({}, queues.allowed_sources(["arn"]))

    assert (difference.found, difference.is_wrong) == ("not set", True)
