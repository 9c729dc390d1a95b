"""The contract of SQS FIFO, what may be sent: one function a rule, whose docstring is the rule.

From sqs-fifo.md, sections 2 and 3, and the service text of AWS. Every check makes queues of its own, so that they can run side by side.
"""

from __future__ import annotations

import hashlib
import json

from tests.fifo.bench import MIB, Bench, Check, filled, onto, refusal, same

CHECKS: dict[str, Check] = {}
check = onto(CHECKS)

# What may be sent


@check
def a_fifo_queue_is_named_fifo(bench: Bench) -> None:
    """The name of a FIFO queue ends in .fifo."""
    create = bench.client.create_queue
    same(refusal(lambda: create(QueueName="contract-standard", Attributes={"FifoQueue": "true"})), "InvalidParameterValue", "no suffix")


@check
def a_message_needs_a_group(bench: Bench) -> None:
    """Without MessageGroupId the send fails."""
    queue = bench.queue()
    same(refusal(lambda: queue.send_plain("a", MessageDeduplicationId="1")), "MissingParameter", "no group")


@check
def a_message_needs_a_deduplication_id(bench: Bench) -> None:
    """Without MessageDeduplicationId and content-based deduplication the send fails."""
    queue = bench.queue()
    same(refusal(lambda: queue.send_plain("a", MessageGroupId="g")), "InvalidParameterValue", "no id")


@check
def group_ids_are_printable_ascii(bench: Bench) -> None:
    """MessageGroupId: up to 128 letters, digits and punctuation of ASCII; no space."""
    queue = bench.queue()
    queue.send("a", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~aZ9")
    queue.send("b", "x" * 128)
    for bad in ("a b", "x" * 129, "é", "a\n"):
        same(refusal(lambda bad=bad: queue.send("c", bad)), "InvalidParameterValue", f"group {bad[:10]!r}")  # type: ignore[misc]


@check
def deduplication_ids_are_printable_ascii(bench: Bench) -> None:
    """MessageDeduplicationId: the same characters."""
    queue = bench.queue()
    for bad in ("a b", "x" * 129, "é"):
        same(refusal(lambda bad=bad: queue.send("c", "g", bad)), "InvalidParameterValue", f"id {bad[:10]!r}")  # type: ignore[misc]


@check
def a_message_has_no_delay_of_its_own(bench: Bench) -> None:
    """DelaySeconds of a message is refused on FIFO."""
    queue = bench.queue()
    same(refusal(lambda: queue.send("a", DelaySeconds=1)), "InvalidParameterValue", "a delay")


@check
def characters_outside_xml_are_refused(bench: Bench) -> None:
    """Bodies hold the characters of XML 1.0, nothing else."""
    queue = bench.queue()
    for bad in ("a\x00", "a\x0b", "a\ufffe"):
        same(refusal(lambda bad=bad: queue.send(bad)), "InvalidMessageContents", f"body {bad!r}")  # type: ignore[misc]


@check
def an_empty_body_is_refused(bench: Bench) -> None:
    """A body has at least one character."""
    queue = bench.queue()
    assert refusal(lambda: queue.send("")) in {"MissingParameter", "InvalidParameterValue"}, "an empty body was accepted"


@check
def every_character_of_xml_travels_unchanged(bench: Bench) -> None:
    """Emoji, line ends, tabs and a byte order mark arrive as sent, and the MD5 is that of the UTF-8 text."""
    queue, body = bench.queue(), "\ufeff<a>\r\n\t\u20ac\ud7ff\ue000\ufffd\U0001f4c8\U0010ffff</a>"
    answer, md5 = queue.send(body), hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    (message,) = queue.receive()
    same((message["Body"], answer["MD5OfMessageBody"], message["MD5OfBody"]), (body, md5, md5), "the text and its MD5")


@check
def a_message_has_up_to_a_mebibyte(bench: Bench) -> None:
    """1,048,576 bytes are accepted, one more is refused."""
    queue = bench.queue()
    queue.send("x" * MIB)
    same(refusal(lambda: queue.send("x" * (MIB + 1))), "InvalidParameterValue", "a byte too many")


@check
def sizes_are_counted_in_bytes(bench: Bench) -> None:
    """700,000 characters of two bytes each are too long."""
    queue = bench.queue()
    same(refusal(lambda: queue.send("é" * 700_000)), "InvalidParameterValue", "1.4 MB in UTF-8")


@check
def attributes_count_towards_the_size(bench: Bench) -> None:
    """Name, type and value of attributes are part of the message's size."""
    queue = bench.queue()
    extra = {"name": {"DataType": "String", "StringValue": "x" * 100}}
    room = MIB - len("name") - len("String") - 100
    queue.send("x" * room, MessageAttributes=extra)
    same(refusal(lambda: queue.send("x" * (room + 1), MessageAttributes=extra)), "InvalidParameterValue", "a byte too many")


@check
def a_queue_can_ask_for_smaller_messages(bench: Bench) -> None:
    """MaximumMessageSize holds."""
    queue = bench.queue(MaximumMessageSize="1024")
    queue.send("x" * 1024)
    same(refusal(lambda: queue.send("x" * 1025)), "InvalidParameterValue", "1,025 bytes")


@check
def message_attributes_travel(bench: Bench) -> None:
    """String attributes arrive as sent."""
    queue = bench.queue()
    queue.send("a", MessageAttributes={"PublicationId": {"DataType": "String", "StringValue": "p-1"}})
    (message,) = queue.receive()
    same(message["MessageAttributes"]["PublicationId"]["StringValue"], "p-1", "the attribute")


@check
def a_message_has_up_to_ten_attributes(bench: Bench) -> None:
    """Eleven are refused."""
    queue = bench.queue()
    many = {f"n{index}": {"DataType": "String", "StringValue": "x"} for index in range(11)}
    same(refusal(lambda: queue.send("a", MessageAttributes=many)), "InvalidParameterValue", "eleven attributes")


@check
def names_of_attributes_do_not_begin_with_aws(bench: Bench) -> None:
    """AWS. and Amazon. are reserved."""
    queue = bench.queue()
    for name in ("AWS.a", "amazon.b"):
        extra = {name: {"DataType": "String", "StringValue": "x"}}
        same(refusal(lambda extra=extra: queue.send("a", MessageAttributes=extra)), "InvalidParameterValue", name)  # type: ignore[misc]


# Batches


@check
def a_batch_has_one_to_ten_entries(bench: Bench) -> None:
    """None and eleven entries are refused as a whole."""
    queue = bench.queue()
    same(refusal(lambda: queue.send_batch([])), "EmptyBatchRequest", "no entry")
    same(refusal(lambda: queue.send_batch([{"MessageBody": "a"}] * 11)), "TooManyEntriesInBatchRequest", "eleven entries")


@check
def the_entries_of_a_batch_have_ids_of_their_own(bench: Bench) -> None:
    """The same Id twice refuses the whole batch."""
    queue = bench.queue()
    same(refusal(lambda: queue.send_batch([{"MessageBody": "a", "Id": "1"}] * 2)), "BatchEntryIdsNotDistinct", "one id twice")


@check
def the_ids_of_entries_are_letters_and_digits(bench: Bench) -> None:
    """An Id with a space, or of 81 characters, refuses the whole batch."""
    queue = bench.queue()
    for bad in ("a b", "x" * 81):
        same(refusal(lambda bad=bad: queue.send_batch([{"MessageBody": "a", "Id": bad}])), "InvalidBatchEntryId", f"id {bad[:10]!r}")  # type: ignore[misc]


@check
def a_batch_has_up_to_a_mebibyte(bench: Bench) -> None:
    """The messages of a call together have up to 1 MiB."""
    queue = bench.queue()
    same(refusal(lambda: queue.send_batch([{"MessageBody": "x" * 600_000}] * 2)), "BatchRequestTooLong", "1.2 MB in one call")


@check
def entries_of_a_batch_fail_alone(bench: Bench) -> None:
    """A bad entry is told under Failed; the others are accepted."""
    queue = bench.queue()
    answer = queue.send_batch([{"MessageBody": "a"}, {"MessageBody": "b\x00"}, {"MessageBody": "c"}])
    same([entry["Id"] for entry in answer.get("Failed", [])], ["1"], "the failed entries")
    same(queue.bodies(), ["a", "c"], "what arrived")


@check
def a_batch_keeps_its_order(bench: Bench) -> None:
    """Entries are enqueued in the order given."""
    queue = bench.queue()
    queue.send_batch([{"MessageBody": body} for body in "jihgfedcba"])
    same(queue.bodies(), list("jihgfedcba"), "the order")


# Deduplication


@check
def a_resend_is_swallowed(bench: Bench) -> None:
    """The same deduplication id again is accepted and not delivered, also with another body."""
    queue = bench.queue()
    for body in ("a", "a", "b"):
        queue.send(body, "g", "id-1")
    same(queue.bodies(), ["a"], "delivered")


@check
def a_resend_gets_the_first_answer(bench: Bench) -> None:
    """The same MessageId and SequenceNumber are told again."""
    queue = bench.queue()
    first, second = (queue.send("a", "g", "id-1") for _ in range(2))
    same((second["MessageId"], second.get("SequenceNumber")), (first["MessageId"], first["SequenceNumber"]), "the answer to the resend")


@check
def deduplication_outlives_the_message(bench: Bench) -> None:
    """A resend is swallowed after the first was received and deleted."""
    queue = bench.queue()
    queue.send("a", "g", "id-1")
    (message,) = queue.receive()
    queue.delete(message)
    queue.send("a", "g", "id-1")
    same(queue.bodies(), [], "delivered after the delete")


@check
def deduplication_ends_after_five_minutes(bench: Bench) -> None:
    """A resend later than that is a new message."""
    queue = bench.queue()
    first = queue.send("a", "g", "id-1")
    bench.wait(299)
    queue.send("a", "g", "id-1")
    bench.wait(2)
    second = queue.send("a", "g", "id-1")
    same(queue.bodies(), ["a", "a"], "delivered")
    assert first["MessageId"] != second["MessageId"], "the new message has the old id"


@check
def content_stands_in_for_the_id(bench: Bench) -> None:
    """With ContentBasedDeduplication equal bodies are one message, whatever their attributes."""
    queue = bench.queue(ContentBasedDeduplication="true")
    queue.send_plain("a", MessageGroupId="g")
    queue.send_plain("a", MessageGroupId="g", MessageAttributes={"n": {"DataType": "String", "StringValue": "1"}})
    queue.send_plain("b", MessageGroupId="g")
    same(queue.bodies(), ["a", "b"], "delivered")


@check
def an_explicit_id_comes_before_the_content(bench: Bench) -> None:
    """With ContentBasedDeduplication an explicit id still decides; the SHA-256 of a body, given as id, is that body's."""
    queue = bench.queue(ContentBasedDeduplication="true")
    queue.send("a", "g", "id-1")
    queue.send("a", "g", "id-2")
    queue.send_plain("b", MessageGroupId="g")
    queue.send("c", "g", hashlib.sha256(b"b").hexdigest())
    same(queue.bodies(), ["a", "a", "b"], "delivered")


@check
def deduplication_covers_the_whole_queue(bench: Bench) -> None:
    """By default the id of one group also swallows that of another."""
    queue = bench.queue()
    queue.send("a", "g", "id-1")
    queue.send("b", "h", "id-1")
    same(queue.bodies(), ["a"], "delivered")


@check
def deduplication_can_cover_one_group(bench: Bench) -> None:
    """With DeduplicationScope=messageGroup ids count within their group, and go on counting there."""
    queue = bench.queue(DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for body, group in (("a", "g"), ("b", "h"), ("c", "g")):
        queue.send(body, group, "id-1")
    same(sorted(queue.bodies()), ["a", "b"], "delivered")


# Queues


@check
def a_queue_counts_what_it_holds(bench: Bench) -> None:
    """Waiting and in flight."""
    queue = bench.queue()
    for body in "abc":
        queue.send(body)
    queue.receive(2)
    queue.holds(waiting=1, in_flight=2)


@check
def attributes_have_their_defaults(bench: Bench) -> None:
    """30 seconds, 4 days, 1 MiB, ids unique in the queue."""
    found = bench.queue().attributes()
    wanted = {
        "VisibilityTimeout": "30", "MessageRetentionPeriod": "345600", "MaximumMessageSize": "1048576", "DelaySeconds": "0",
        "FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
    }  # fmt: skip
    same({name: found.get(name) for name in wanted}, wanted, "the attributes")


@check
def attributes_have_limits(bench: Bench) -> None:
    """A visibility timeout past 12 hours, and a retention under a minute, are refused."""
    for name, value in (("VisibilityTimeout", "43201"), ("MessageRetentionPeriod", "59")):
        same(refusal(lambda name=name, value=value: bench.queue(**{name: value})), "InvalidAttributeValue", f"{name} {value}")  # type: ignore[misc]


@check
def throughput_per_group_needs_ids_per_group(bench: Bench) -> None:
    """FifoThroughputLimit=perMessageGroupId is allowed only with DeduplicationScope=messageGroup."""
    found = refusal(lambda: bench.queue(FifoThroughputLimit="perMessageGroupId", DeduplicationScope="queue"))
    assert found in {"InvalidAttributeValue", "InvalidParameterValue"}, f"the limit alone: {found}"


@check
def a_queue_is_made_once(bench: Bench) -> None:
    """The same name with the same attributes gives the queue there is, with others an error."""
    queue = bench.queue(VisibilityTimeout="40")
    fifo = {"FifoQueue": "true"}
    again = queue.client.create_queue(QueueName=queue.name, Attributes={**fifo, "VisibilityTimeout": "40"})
    same(again["QueueUrl"], queue.url, "the same again")
    found = refusal(lambda: queue.client.create_queue(QueueName=queue.name, Attributes={**fifo, "VisibilityTimeout": "41"}))
    assert found in {"QueueAlreadyExists", "QueueNameExists"}, f"other attributes: {found}"


@check
def dead_letters_need_a_queue(bench: Bench) -> None:
    """A RedrivePolicy to a queue that does not exist is refused."""
    arn = bench.queue().attributes()["QueueArn"].replace("contract-", "missing-")
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    assert refusal(lambda: bench.queue(RedrivePolicy=redrive)) != "accepted", "a target that does not exist was accepted"


@check
def a_queue_that_does_not_exist_says_so(bench: Bench) -> None:
    """QueueDoesNotExist, under its old name."""
    missing = bench.queue().name.replace("contract-", "missing-")
    found = refusal(lambda: bench.client.get_queue_url(QueueName=missing))
    assert found in {"NonExistentQueue", "QueueDoesNotExist"}, f"opening it: {found}"


@check
def a_purge_empties_the_queue(bench: Bench) -> None:
    """Also of what is in flight; a second purge within a minute is refused."""
    queue = bench.queue()
    filled(queue, "a", "b")
    queue.send("c", "h")
    queue.client.purge_queue(QueueUrl=queue.url)
    queue.holds()
    same(refusal(lambda: queue.client.purge_queue(QueueUrl=queue.url)), "PurgeQueueInProgress", "a second purge")


@check
def messages_end_with_their_retention(bench: Bench) -> None:
    """MessageRetentionPeriod after the send a message is gone, delivered or not."""
    queue = bench.queue(MessageRetentionPeriod="60")
    queue.send("a")
    bench.wait(30)
    queue.send("b")
    bench.wait(31)
    same(queue.bodies(), ["b"], "after a minute")
