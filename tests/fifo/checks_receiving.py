"""The contract of SQS FIFO, who gets what and when: one function a rule, whose docstring is the rule.

From sqs-fifo.md, sections 4 to 6, and the service text of AWS. EXPIRY is the visibility timeout where one has to pass.
"""

from __future__ import annotations

import json

from tests.fifo.bench import Bench, Check, Message, Queue, bodies, filled, onto, refusal, same

CHECKS: dict[str, Check] = {}
check = onto(CHECKS)

EXPIRY = 6  # so long, as a busy machine may take a second or two between two calls
PAST_EXPIRY = EXPIRY + 0.3


def expiring(bench: Bench) -> Queue:
    """A queue whose messages come back soon."""
    return bench.queue(VisibilityTimeout=str(EXPIRY))


# Order and locks


@check
def sequence_numbers_rise(bench: Bench) -> None:
    """SequenceNumber grows within a group, as a number, and the receiver reads what the sender was told."""
    queue = bench.queue()
    told = [queue.send(body)["SequenceNumber"] for body in "abcdefghij"]
    same(sorted(told, key=int), told, "the sender's numbers")
    same([message["Attributes"]["SequenceNumber"] for message in queue.receive()], told, "the receiver's numbers")


@check
def a_group_is_delivered_in_order(bench: Bench) -> None:
    """Over several receives and deletes."""
    queue, seen = bench.queue(), []
    queue.send_batch([{"MessageBody": str(n)} for n in range(9)])
    for limit in (2, 3, 1, 10):
        for message in queue.receive(limit):
            seen.append(message["Body"])
            queue.delete(message)
    same(seen, [str(n) for n in range(9)], "the order")


@check
def a_group_is_locked_while_in_flight(bench: Bench) -> None:
    """No further message of a group is given out until those in flight are deleted; other groups go on."""
    queue = bench.queue()
    queue.send("a1", "a")
    queue.send("a2", "a")
    (first,) = queue.receive(1)
    queue.send("b1", "b")
    same(queue.bodies(), ["b1"], "while a1 is in flight")
    queue.delete(first)
    same(queue.bodies(), ["a2"], "once a1 is deleted")


@check
def a_receive_fills_up_from_one_group_first(bench: Bench) -> None:
    """Messages of a group come together in one answer."""
    queue = bench.queue()
    for body, group in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b"), ("a3", "a")):
        queue.send(body, group)
    assert queue.bodies() in (["a1", "a2", "a3", "b1", "b2"], ["b1", "b2", "a1", "a2", "a3"]), "the groups come mixed"


@check
def a_receive_asks_for_one_to_ten(bench: Bench) -> None:
    """MaxNumberOfMessages 0 and 11 are refused."""
    queue = bench.queue()
    for limit in (0, 11):
        same(refusal(lambda limit=limit: queue.receive(limit)), "InvalidParameterValue", f"asking for {limit}")  # type: ignore[misc]


@check
def an_expired_batch_comes_again_in_order(bench: Bench) -> None:
    """When the visibility timeout ends, the group opens again from its oldest message, with new handles and a higher count."""
    queue = expiring(bench)
    first = filled(queue, "a", "b", "c")
    same(queue.bodies(), [], "before the timeout")
    bench.wait(PAST_EXPIRY)
    second = queue.receive()
    same(bodies(second), ["a", "b", "c"], "after the timeout")
    same({message["Attributes"]["ApproximateReceiveCount"] for message in second}, {"2"}, "the receive counts")
    assert not {m["ReceiptHandle"] for m in first} & {m["ReceiptHandle"] for m in second}, "a receipt handle was given twice"


@check
def what_was_deleted_does_not_come_again(bench: Bench) -> None:
    """After a timeout only the rest of the batch is delivered, in order."""
    queue = expiring(bench)
    a, b, *_ = filled(queue, "a", "b", "c", "d")
    queue.delete(b)
    queue.delete(a)
    bench.wait(PAST_EXPIRY)
    same(queue.bodies(), ["c", "d"], "after the timeout")


@check
def a_batch_given_back_comes_again_at_once(bench: Bench) -> None:
    """Visibility 0 for all messages of a group in one call: delivered again in order."""
    queue = bench.queue()
    queue.change_all(filled(queue, "a", "b", "c"), 0)
    same(queue.bodies(), ["a", "b", "c"], "after giving back")


@check
def a_head_given_back_comes_at_once_and_alone(bench: Bench) -> None:
    """Messages in flight behind it do not block it, and stay in flight."""
    queue = bench.queue()
    head, *_ = filled(queue, "a", "b", "c")
    queue.change(head, 0)
    same(queue.bodies(), ["a"], "after giving the head back")


@check
def a_tail_given_back_waits_for_its_head(bench: Bench) -> None:
    """A message is not delivered while an earlier one of its group is in flight."""
    queue = bench.queue()
    a, b, c = filled(queue, "a", "b", "c")
    queue.change_all([b, c], 0)
    same(queue.bodies(), [], "while the head is in flight")
    queue.delete(a)
    same(queue.bodies(), ["b", "c"], "once the head is deleted")


@check
def an_extended_head_keeps_its_group_locked(bench: Bench) -> None:
    """The tail's timeout ends, and still it waits for the head."""
    queue = expiring(bench)
    head, *_ = filled(queue, "a", "b")
    queue.change(head, 60)
    bench.wait(PAST_EXPIRY)
    same(queue.bodies(), [], "after the tail's timeout")
    queue.delete(head)
    same(queue.bodies(), ["b"], "once the head is deleted")


@check
def an_extension_holds_for_one_receive(bench: Bench) -> None:
    """The next receive has the queue's own timeout again."""
    queue = expiring(bench)
    (first,) = filled(queue, "a")
    queue.change(first, 60)
    queue.change(first, 0)
    same(queue.bodies(), ["a"], "after giving back")
    bench.wait(PAST_EXPIRY)
    same(queue.bodies(), ["a"], "after the queue's own timeout")


@check
def a_receive_may_bring_its_own_timeout(bench: Bench) -> None:
    """VisibilityTimeout of a receive holds for its messages."""
    queue = bench.queue()
    queue.send("a")
    queue.receive(VisibilityTimeout=EXPIRY)
    same(queue.bodies(), [], "before the timeout")
    bench.wait(PAST_EXPIRY)
    same(queue.bodies(), ["a"], "after the timeout")


@check
def a_delay_of_the_queue_holds_messages_back(bench: Bench) -> None:
    """DelaySeconds of the queue passes before the first delivery."""
    queue = bench.queue(DelaySeconds=str(EXPIRY))
    queue.send("a")
    same(queue.bodies(), [], "before the delay")
    queue.holds(delayed=1)
    bench.wait(PAST_EXPIRY)
    same(queue.bodies(), ["a"], "after the delay")


# Attempt ids


@check
def an_attempt_made_again_brings_the_same(bench: Bench) -> None:
    """The same ReceiveRequestAttemptId: the same messages with the same handles, while they are in flight."""
    queue = bench.queue()
    for body in "ab":
        queue.send(body)
    first, second = (queue.receive(ReceiveRequestAttemptId="try-1") for _ in range(2))
    same([(m["Body"], m["ReceiptHandle"]) for m in second], [(m["Body"], m["ReceiptHandle"]) for m in first], "the second answer")


@check
def another_attempt_brings_nothing(bench: Bench) -> None:
    """Without the id of the lost receive its groups stay locked."""
    queue = bench.queue()
    queue.send("a")
    queue.receive(ReceiveRequestAttemptId="try-1")
    same(bodies(queue.receive(ReceiveRequestAttemptId="try-2")), [], "another attempt")


@check
def an_attempt_made_again_starts_the_timeout_anew(bench: Bench) -> None:
    """The visibility timeout counts from the repeated receive."""
    queue = expiring(bench)
    queue.send("a")
    queue.receive(ReceiveRequestAttemptId="try-1")
    bench.wait(EXPIRY * 0.6)
    same(len(queue.receive(ReceiveRequestAttemptId="try-1")), 1, "messages of the repeated receive")
    bench.wait(EXPIRY * 0.6)
    same(bodies(queue.receive(WaitTimeSeconds=0)), [], "after the first timeout")


# Receipt handles


@check
def a_stale_handle_deletes_nothing(bench: Bench) -> None:
    """After a redelivery the handle of the first delivery does not delete the message."""
    queue = expiring(bench)
    (first,) = filled(queue, "a")
    bench.wait(PAST_EXPIRY)
    same(queue.bodies(), ["a"], "redelivered")
    refusal(lambda: queue.delete(first))
    bench.wait(PAST_EXPIRY)
    same(queue.bodies(), ["a"], "after the delete with the old handle")


@check
def an_expired_handle_is_refused(bench: Bench) -> None:
    """Deleting from a FIFO queue after the timeout fails."""
    queue = expiring(bench)
    (message,) = filled(queue, "a")
    bench.wait(PAST_EXPIRY)
    same(refusal(lambda: queue.delete(message)), "InvalidParameterValue", "the delete")


@check
def deleting_again_succeeds(bench: Bench) -> None:
    """A message deleted already may be deleted again."""
    queue = bench.queue()
    (message,) = filled(queue, "a")
    queue.delete(message)
    same(refusal(lambda: queue.delete(message)), "accepted", "the second delete")


@check
def a_handle_of_nothing_is_refused(bench: Bench) -> None:
    """Text that is no receipt handle is ReceiptHandleIsInvalid."""
    queue = bench.queue()
    same(refusal(lambda: queue.delete({"ReceiptHandle": "garbage"})), "ReceiptHandleIsInvalid", "the delete")


@check
def entries_of_a_delete_fail_alone(bench: Bench) -> None:
    """A bad handle is told under Failed; the others are deleted."""
    queue = bench.queue()
    a, b = filled(queue, "a", "b")
    answer = queue.delete_all([a["ReceiptHandle"], "garbage", b["ReceiptHandle"]])
    same([entry["Id"] for entry in answer.get("Failed", [])], ["1"], "the failed entries")
    queue.holds()


@check
def visibility_has_limits(bench: Bench) -> None:
    """More than 43,200 seconds are refused, and so is what goes past 12 hours since the receive."""
    queue = bench.queue()
    (message,) = filled(queue, "a")
    bench.wait(1)
    for seconds in (43_201, 43_200):
        same(refusal(lambda seconds=seconds: queue.change(message, seconds)), "InvalidParameterValue", f"{seconds} seconds")  # type: ignore[misc]
    queue.change(message, 43_100)


@check
def what_is_not_in_flight_has_no_visibility_to_change(bench: Bench) -> None:
    """Neither a message deleted nor one visible again can be extended."""
    queue = expiring(bench)
    a, b = filled(queue, "a", "b")
    queue.delete(a)
    bench.wait(PAST_EXPIRY)
    known = {"InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"}
    for message, state in ((a, "deleted"), (b, "visible again")):
        found = refusal(lambda message=message: queue.change(message, 60))  # type: ignore[misc]
        assert found in known, f"extending a message {state}: {found}"


# Dead letters


def with_dead_letters(bench: Bench, receives: int, **attributes: str) -> tuple[Queue, Queue]:
    """A queue that gives up after so many receives, and where the messages go."""
    dead = bench.queue()
    redrive = json.dumps({"deadLetterTargetArn": dead.attributes()["QueueArn"], "maxReceiveCount": receives})
    return bench.queue(RedrivePolicy=redrive, **attributes), dead


def give_back(queue: Queue, messages: list[Message]) -> None:
    """Release messages in one call."""
    queue.change_all(messages, 0)


@check
def a_message_is_given_up_after_its_receives(bench: Bench) -> None:
    """It moves when its count would exceed maxReceiveCount, and the group goes on without it."""
    queue, dead = with_dead_letters(bench, 2)
    queue.send("a")
    queue.send("b")
    for _ in range(2):
        give_back(queue, queue.receive(1))
    same(bodies([*queue.receive(), *queue.receive()]), ["b"], "what the group goes on with")
    same(dead.bodies(), ["a"], "the dead letters")


@check
def dead_letters_keep_their_order(bench: Bench) -> None:
    """A whole batch given up arrives head first."""
    queue, dead = with_dead_letters(bench, 1)
    give_back(queue, filled(queue, "a", "b", "c"))
    same(bodies([*queue.receive(), *queue.receive()]), [], "what is still delivered")
    same(dead.bodies(), ["a", "b", "c"], "the dead letters")


@check
def an_expired_batch_is_given_up_in_order(bench: Bench) -> None:
    """The same when the visibility timeout ends instead."""
    queue, dead = with_dead_letters(bench, 1, VisibilityTimeout=str(EXPIRY))
    filled(queue, "a", "b")
    bench.wait(PAST_EXPIRY)
    same(bodies([*queue.receive(), *queue.receive()]), [], "what is still delivered")
    same(dead.bodies(), ["a", "b"], "the dead letters")


@check
def a_dead_letter_tells_where_it_comes_from(bench: Bench) -> None:
    """DeadLetterQueueSourceArn is the queue that gave it up, and group and MessageId stay."""
    queue, dead = with_dead_letters(bench, 1)
    sent = queue.send("a", "g", "id-1")
    give_back(queue, queue.receive())
    queue.receive()
    (letter,) = dead.receive()
    found = letter["Attributes"].get("DeadLetterQueueSourceArn"), letter["Attributes"]["MessageGroupId"], letter["MessageId"]
    same(found, (queue.attributes()["QueueArn"], "g", sent["MessageId"]), "source, group and message id")


@check
def the_id_of_a_dead_letter_is_its_message_id(bench: Bench) -> None:
    """The deduplication id is replaced on the move, so that no two merge."""
    queue, dead = with_dead_letters(bench, 1)
    sent = queue.send("a", "g", "id-1")
    give_back(queue, queue.receive())
    queue.receive()
    (letter,) = dead.receive()
    same(letter["Attributes"]["MessageDeduplicationId"], sent["MessageId"], "the deduplication id")
