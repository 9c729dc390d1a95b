"""The queues as the portal needs them: create, or compare with what exists and explain each difference.

Attributes are those of https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from trades.sqs import CALL_SECONDS, HERE, MAX_MESSAGE_BYTES, Queue, QueueError, QueueNotFound, check_name, client, open_queue, sentences

VISIBILITY_SECONDS = 120
RETENTION_SECONDS = 14 * 24 * 60 * 60
# The highest that SQS allows: every receive of a batch counts for all its messages, also for those never tried.
MAX_RECEIVE_COUNT = 1_000
# So many queues a dead-letter queue may name that may use it (AWS, RedriveAllowPolicy, sourceQueueArns).
MAX_SOURCES = 10
NOT_SET, NOT_REPORTED = "not set", "not reported"

# SQS reports these only once they have been set, every other attribute always: what else is missing the broker does not know.
_REPORTED_ONCE_SET = {"RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId"}
_MORE_IS_GOOD = {"VisibilityTimeout", "MessageRetentionPeriod", "MaximumMessageSize", "maxReceiveCount"}
# Where the dead-letter queue names the queues that it lets in, or lets none in.
_WHY_LEFT_OUT = "a queue that it does not let in can't be created behind it, nor put its messages there"
_TOGETHER = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
_WHY = {
    "ContentBasedDeduplication": "SQS refuses what a sender publishes without a deduplication id of its own",
    "VisibilityTimeout": "a message that is recorded more slowly, or whose answer is slow, is handed to a second worker meanwhile",
    "MessageRetentionPeriod": "SQS deletes what no worker has fetched for so long, and it is lost",
    "MaximumMessageSize": "SQS refuses larger messages; a queue made before August 2025 may still have its limit of 262,144 bytes",
    "RedrivePolicy": "a message that no worker can store blocks its group for ever without a dead-letter queue, while with a low "
    "maxReceiveCount sound messages go there too, since every receive counts for the whole batch, and later ones overtake them",
    "RedriveAllowPolicy": "any queue of the account may put its messages among the dead letters. --apply leaves that to you, for a queue "
    "that uses it today and is not named would be shut out: add those that `aws sqs list-dead-letter-source-queues` lists to the command",
    "DeduplicationScope": "it is one half of high-throughput mode; without it the whole queue is limited to 300 calls a second",
    "FifoThroughputLimit": "it is one half of high-throughput mode; without it the whole queue is limited to 300 calls a second",
    "SqsManagedSseEnabled": "trade documents are kept unencrypted on the disks of SQS",
    "KmsMasterKeyId": "trade documents are not encrypted with the key that was asked for",
}


class NotFifo(QueueError):
    """A standard queue, or the name of one."""


class Difference(NamedTuple):
    """One thing about a queue or bucket that is not as wanted: what it is, why that matters, and the AWS CLI command that changes it.

    `found` is NOT_SET where there is nothing, NOT_REPORTED where the broker does not say, which need not be wrong.
    """

    attribute: str
    found: str
    wanted: str
    why: str
    fix: str

    @property
    def is_wrong(self) -> bool:
        """Whether it differs for certain."""
        return self.found != NOT_REPORTED

    def told(self, joint: str = "is {}, should be {}") -> str:
        """The attribute, what it is and what is wanted, in words; of a policy only what differs."""
        found, wanted = _policy(self.found), _policy(self.wanted)
        keys = [key for key in wanted if str(found.get(key)) != str(wanted[key])]
        if not found or not keys:
            return f"{self.attribute} {joint.format(self.found, self.wanted)}"
        return f"{self.attribute} {joint.format(*(_plain(policy, keys) for policy in (found, wanted)))}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """How queues are to be made, and what may be done: `kms_key` is the id, alias or ARN of a KMS key, "" for keys of SQS itself."""

    high_throughput: bool = True
    kms_key: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    apply: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one queue or bucket: `done` is what was, or would be, done, "exists" for nothing. `wanted` is what it should be,
    `left` is what was not changed together with the other differences."""

    name: str
    done: str
    place: str
    wanted: Mapping[str, str]
    differences: Sequence[Difference] = ()
    left: Sequence[Difference] = ()

    @property
    def differs(self) -> bool:
        """Whether something that exists is still wrong."""
        return bool(self.left) or (self.done == "exists" and any(each.is_wrong for each in self.differences))


# What is wanted


def wanted_attributes(dead_letter_arn: str | None = None, *, high_throughput: bool = True, kms_key: str = "") -> dict[str, str]:
    """The attributes a queue of ours has, as SQS names them; times in seconds, sizes in bytes. `dead_letter_arn` is None for what has no
    dead-letter queue, or where it does not matter."""
    wanted = {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "VisibilityTimeout": str(VISIBILITY_SECONDS),
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
        "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
    }
    wanted |= {"KmsMasterKeyId": kms_key} if kms_key else {"SqsManagedSseEnabled": "true"}
    if high_throughput:
        wanted |= _TOGETHER
    if dead_letter_arn:
        wanted["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": MAX_RECEIVE_COUNT})
    return wanted


def allowed_sources(arns: Sequence[str]) -> dict[str, str]:
    """The attribute of a dead-letter queue that lets these queues use it, and no other."""
    return {"RedriveAllowPolicy": json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": list(arns)})}


def neighbour_arn(arn: str, name: str) -> str:
    """The ARN of the queue of that name in the account and region of another."""
    return f"{arn.rpartition(':')[0]}:{name}"


def check_fifo_name(name: str) -> None:
    """Raise NotFifo for the name of a standard queue, BadQueueName for one that SQS would not accept."""
    if not name.endswith(".fifo"):
        raise NotFifo(
            f'"{name}" is the name of a standard queue: it keeps no order and may deliver a message more than once, and its type can\'t be '
            f'changed later. Name a FIFO queue, which ends in ".fifo": {name or "TradeStatus"}.fifo.'
        )
    check_name(name)


def require_fifo(name: str, found: Mapping[str, str]) -> None:
    """Raise NotFifo if these are the attributes of a standard queue."""
    if found.get("FifoQueue") != "true":
        raise NotFifo(
            f"{name} is a standard queue: it keeps no order and may deliver a message more than once, so the history of a trade would be "
            "wrong. The type of a queue can't be changed: create a FIFO queue of another name and set TRADES_QUEUE to it."
        )


# What differs


def explain(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[Difference]:
    """The attributes of a queue that are not as wanted, each with the reason why it matters and the command that changes it.

    `found` is what SQS reports (Queue.attributes()), `wanted` is of wanted_attributes(). A longer time, a larger size and a stronger
    encryption than wanted are no difference.
    """
    name = found.get("QueueArn", "QUEUE").rpartition(":")[2]
    return [
        Difference(attribute, _said(found, attribute), value, _why(attribute, found), fix(name, attribute, value))
        for attribute, value in wanted.items()
        if not _suits(attribute, found, value)
    ]


def fix(name: str, attribute: str, value: str, where: str = "") -> str:
    """The AWS CLI command that sets an attribute of a queue; `where` are its options for one that is elsewhere."""
    attributes = _TOGETHER if attribute in _TOGETHER else {attribute: value}
    return f"aws sqs set-queue-attributes {where or _url_of(name)} --attributes {shlex.quote(json.dumps(attributes))}"


def _url_of(name: str) -> str:
    return f'--queue-url "$(aws sqs get-queue-url --queue-name {shlex.quote(name)} --query QueueUrl --output text)"'


def _why(attribute: str, found: Mapping[str, str]) -> str:
    if attribute == "RedriveAllowPolicy" and _lets_in_some_alone(found.get(attribute)):
        return _WHY_LEFT_OUT
    return _WHY.get(attribute, "the portal relies on it")


def _lets_in_some_alone(policy: str | None) -> bool:
    """Whether a dead-letter queue of this RedriveAllowPolicy refuses queues; one that has none lets all in."""
    return bool(_policy(policy).get("redrivePermission", "allowAll") != "allowAll")


def _is_left(difference: Difference) -> bool:
    """Whether it is for a person to change: a dead-letter queue open to all may be used by queues that nobody named here."""
    return difference.attribute == "RedriveAllowPolicy" and not _lets_in_some_alone(difference.found)


def _said(found: Mapping[str, str], attribute: str) -> str:
    return found.get(attribute) or (NOT_SET if attribute in _REPORTED_ONCE_SET else NOT_REPORTED)


def _suits(attribute: str, found: Mapping[str, str], wanted: str) -> bool:
    value = found.get(attribute)
    if attribute == "SqsManagedSseEnabled" and found.get("KmsMasterKeyId"):
        return True
    if value is None:
        return False
    if attribute == "KmsMasterKeyId":  # an id, an alias, or the ARN of either
        return _key(value) == _key(wanted)
    if attribute in {"RedrivePolicy", "RedriveAllowPolicy"}:
        return _policy_suits(_policy(value), _policy(wanted))
    return _is_enough(attribute, value, wanted)


def _key(text: str) -> str:
    return text.rpartition(":")[2].removeprefix("key/")


def _policy_suits(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Every field as wanted; a list may hold more."""
    return all(
        set(found.get(key, ())) >= set(value) if isinstance(value, list) else _is_enough(key, str(found.get(key)), str(value))
        for key, value in wanted.items()
    )


def _is_enough(key: str, found: str, wanted: str) -> bool:
    if key in _MORE_IS_GOOD and found.isdecimal() and wanted.isdecimal():
        return int(found) >= int(wanted)
    return found == wanted


def _policy(text: str | None) -> dict[str, Any]:
    try:
        policy = json.loads(text or "{}")
    except ValueError:
        return {}
    return policy if isinstance(policy, dict) else {}


def _plain(policy: Mapping[str, Any], keys: Sequence[str]) -> str:
    values = {key: policy.get(key, NOT_SET) for key in keys}
    return ", ".join(f"{key} {' '.join(value) if isinstance(value, list) else value}" for key, value in values.items())


# Create, compare, change


def ensure_queues(names: Sequence[str], dead_letter_name: str, wishes: Wishes) -> list[Outcome]:
    """Create the dead-letter queue that all these queues share, then each of them, or compare those that exist with what is wanted;
    they are changed only where the wishes say `apply`. Raises NotFifo for a standard queue, QueueError.

    They share one because messages say which queue they come from, so that one worker and one figure tell of all dead letters. A
    queue that an existing dead-letter queue does not let in is not created: SQS would refuse it.
    """
    _check_names(names, dead_letter_name)
    dead, arn = _dead_letter_queue(dead_letter_name, names, wishes)
    return [dead, *(_queue(name, dead, arn, wishes) for name in names)]


def _dead_letter_queue(name: str, sources: Sequence[str], wishes: Wishes) -> tuple[Outcome, str]:
    """What became of it, and its ARN."""
    wanted = wanted_attributes(high_throughput=False, kms_key=wishes.kms_key)
    try:
        arn = open_queue(name).attributes()["QueueArn"]
    except QueueNotFound:
        return _new_dead_letter_queue(name, sources, wanted, wishes)
    return _ensure(name, wanted | _sources_too(name, arn, sources), wishes), arn


def _new_dead_letter_queue(name: str, sources: Sequence[str], wanted: dict[str, str], wishes: Wishes) -> tuple[Outcome, str]:
    """The ARNs of the queues that it lets in, which need not exist, are known only once it exists itself."""
    made = _ensure(name, wanted, wishes)
    arn = f"arn:aws:sqs:REGION:ACCOUNT:{name}" if wishes.dry_run else open_queue(name).attributes()["QueueArn"]
    allowed = allowed_sources([neighbour_arn(arn, source) for source in sources])
    if not wishes.dry_run:
        _set(name, allowed)
    return replace(made, wanted=wanted | allowed), arn


def _check_names(names: Sequence[str], dead_letter_name: str) -> None:
    for name in (*names, dead_letter_name):
        check_fifo_name(name)
    if dead_letter_name in names:
        raise QueueError(f"{dead_letter_name} can't be its own dead-letter queue. Give the two different names.")
    if len(names) > MAX_SOURCES:
        raise QueueError(
            f"{len(names)} queues can't share the dead-letter queue {dead_letter_name}: SQS lets it name {MAX_SOURCES} at most. "
            "Create them in parts, each with a --dead-letter-queue of its own."
        )


def _sources_too(dead_letter_name: str, arn: str, names: Sequence[str]) -> dict[str, str]:
    """The queues that may use an existing dead-letter queue, and these. Raises QueueError if they are too many."""
    policy = _policy(open_queue(dead_letter_name).attributes().get("RedriveAllowPolicy"))
    sources = list(dict.fromkeys([*policy.get("sourceQueueArns", []), *(neighbour_arn(arn, name) for name in names)]))
    if len(sources) > MAX_SOURCES:
        raise QueueError(
            f"{dead_letter_name} already serves {len(policy['sourceQueueArns'])} queues, and SQS lets it name {MAX_SOURCES} at most. "
            "Name another dead-letter queue with --dead-letter-queue or TRADES_DEAD_LETTER_QUEUE."
        )
    return allowed_sources(sources)


def _queue(name: str, dead: Outcome, dead_letter_arn: str, wishes: Wishes) -> Outcome:
    """The queue, unless it would be created behind a dead-letter queue that does not let it in."""
    is_refused = any(each.attribute == "RedriveAllowPolicy" and _lets_in_some_alone(each.found) for each in dead.differences)
    if is_refused and dead.done == "exists" and not _exists(name):
        return Outcome(name, "not created", f"{dead.name}, which does not let it in yet", {})
    return _ensure(name, wanted_attributes(dead_letter_arn, high_throughput=wishes.high_throughput, kms_key=wishes.kms_key), wishes)


def _exists(name: str) -> bool:
    try:
        open_queue(name)
    except QueueNotFound:
        return False
    return True


def _ensure(name: str, wanted: Mapping[str, str], wishes: Wishes) -> Outcome:
    try:
        queue = open_queue(name)
    except QueueNotFound:
        if wishes.dry_run:
            return Outcome(name, "would be created", "", wanted)
        with sentences(f"Creating the queue {name}"):
            url = client(2, HERE, **CALL_SECONDS).create_queue(QueueName=name, Attributes=dict(wanted), tags=dict(wishes.tags))["QueueUrl"]  # type: ignore[arg-type]
        return Outcome(name, "created", url, wanted)
    found = queue.attributes()
    require_fifo(name, found)
    explained, tags = explain(found, wanted), _explain_tags(queue, wishes.tags)
    left = [each for each in explained if _is_left(each)]
    attributes = [each for each in explained if each not in left]
    if not (attributes or tags) or not wishes.apply:
        return Outcome(name, "exists", queue.url, wanted, [*explained, *tags])
    differences = [*attributes, *tags]
    if wishes.dry_run:
        return Outcome(name, "would be changed", queue.url, wanted, differences, left)
    if attributes:
        _set(name, {each.attribute: each.wanted for each in attributes})
    if tags:
        with sentences(f"Tagging the queue {name}"):
            queue.sqs.tag_queue(QueueUrl=queue.url, Tags=dict(wishes.tags))
    return Outcome(name, "changed", queue.url, wanted, differences, left)


def _set(name: str, attributes: Mapping[str, str]) -> None:
    queue = open_queue(name)
    together = _TOGETHER if _TOGETHER.keys() & attributes.keys() else {}
    with sentences(f"Changing the queue {name}"):
        queue.sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={**attributes, **together})  # type: ignore[dict-item]


def _explain_tags(queue: Queue, wanted: Mapping[str, str]) -> list[Difference]:
    if not wanted:
        return []
    with sentences(f"Reading the tags of {queue.name}"):
        found = queue.sqs.list_queue_tags(QueueUrl=queue.url).get("Tags", {})
    return [
        Difference(
            f"tag {key}",
            found.get(key, NOT_SET),
            value,
            "bills and rules of the account go by tags",
            f"aws sqs tag-queue {_url_of(queue.name)} --tags {shlex.quote(f'{key}={value}')}",
        )
        for key, value in wanted.items()
        if found.get(key) != value
    ]
