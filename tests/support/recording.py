"""What the product's own code asks of AWS: every API call of every boto3 client, and the IAM actions it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import botocore

from trades import sqs
from trades.routes import places

CHUNK = 64 * 1024  # bytes that SQS bills as one request
# Where the action is not named as the operation is. A batch is authorised by the action of one message (AWS, Amazon SQS API
# permissions), a part of an upload by that of the upload, and a HEAD by that of a GET (AWS, actions and condition keys for S3).
ACTIONS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
}


@dataclass(slots=True)
class Call:
    """One API call: `answer` is what the service said, {} for an error."""

    operation: str
    params: dict[str, Any]
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> str:
        """The IAM action that authorises it."""
        return ACTIONS.get(self.operation, self.operation)

    def arn(self, account: str, region: str) -> str:
        """The resource it is about."""
        if self.operation.startswith("s3:"):
            return "arn:aws:s3:::" + "/".join(self.params[part] for part in ("Bucket", "Key") if part in self.params)
        name = self.params.get("QueueName") or self.params["QueueUrl"].rpartition("/")[2]
        return f"arn:aws:sqs:{region}:{account}:{name}"

    @property
    def billed(self) -> int:
        """The requests it is billed as: SQS counts each started 64 KiB of what is sent or received, S3 each call."""
        messages = self.params.get("Entries", [self.params]) + self.answer.get("Messages", [])
        return max(1, -(-sum(_size(message) for message in messages) // CHUNK))


def _size(message: dict[str, Any]) -> int:
    """Bytes of a message, sent or received: the body, and of each attribute name, type and value; 0 for anything else."""
    body = message.get("MessageBody", message.get("Body", ""))
    attributes = message.get("MessageAttributes") or {}
    texts = (name + value["DataType"] + value.get("StringValue", "") for name, value in attributes.items())
    return len(body.encode()) + sum(len(text.encode()) for text in texts) if isinstance(body, str) else 0


class Calls(list[Call]):
    """Calls in the order in which they were made."""

    @property
    def operations(self) -> Counter[str]:
        """How often each operation was called."""
        return Counter(call.operation for call in self)

    @property
    def actions(self) -> set[str]:
        """The IAM actions that were needed."""
        return {call.action for call in self}

    @property
    def billed(self) -> int:
        """The requests all of them are billed as."""
        return sum(call.billed for call in self)


@contextmanager
def recorded() -> Iterator[Calls]:
    """The API calls that any client makes in the block; the product makes its clients anew for it, and after it."""
    calls = Calls()

    def note(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        service = model.service_model.service_name
        context["recorded"] = call = Call(f"{service}:{model.name}", dict(params))
        calls.append(call)

    def answer(parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        if "recorded" in context:
            context["recorded"].answer = parsed

    def listen(session: Any) -> None:
        session.register("provide-client-params.*.*", note)
        session.register("after-call.*.*", answer)

    botocore.register_initializer(listen)
    places._known.clear()  # so that queues are asked what they are
    sqs.forget_clients()
    try:
        yield calls
    finally:
        botocore.unregister_initializer(listen)
        sqs.forget_clients()


def statements(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(action, resource) pairs that a policy allows."""
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        for action in _list(statement["Action"]):
            yield from ((action, resource) for resource in _list(statement["Resource"]))


def allows(pair: tuple[str, str], action: str, arn: str) -> bool:
    """Whether an (action, resource) pair of a policy covers an action on a resource."""
    return pair[0] == action and fnmatchcase(arn, pair[1])


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
