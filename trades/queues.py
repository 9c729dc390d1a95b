"""The queues as the portal needs them: create, or compare with what exists."""

from __future__ import annotations

import json

from trades.sqs import CALL_SECONDS, MAX_MESSAGE_BYTES, Queue, QueueNotFound, client, open_queue, sentences

VISIBILITY_SECONDS = 120
RETENTION_SECONDS = 14 * 24 * 60 * 60
# The highest that SQS allows: every receive of a batch counts for all its messages, also for those never tried.
MAX_RECEIVE_COUNT = 1_000


def wanted_attributes(dead_letter_arn: str | None = None) -> dict[str, str]:
    """The attributes our queues have, as SQS names them; times in seconds, sizes in bytes."""
    wanted = {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "true",
        "VisibilityTimeout": str(VISIBILITY_SECONDS),
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
        "MaximumMessageSize": str(MAX_MESSAGE_BYTES),
    }
    if dead_letter_arn:
        wanted["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": MAX_RECEIVE_COUNT})
    return wanted


def ensure_queue(name: str, dead_letter_arn: str | None = None) -> tuple[Queue, bool, dict[str, tuple[str, str]]]:
    """The queue, whether it was made just now, and for one that existed what differs: {attribute: (found, wanted)}.

    Nothing of an existing queue is changed. Raises QueueError.
    """
    wanted = wanted_attributes(dead_letter_arn)
    try:
        queue = open_queue(name)
    except QueueNotFound:
        with sentences(f"Creating the queue {name}"):
            url = client(**CALL_SECONDS).create_queue(QueueName=name, Attributes=wanted)["QueueUrl"]  # type: ignore[arg-type]
        return Queue(name, client(**CALL_SECONDS), url), True, {}
    found = queue.attributes()
    differs = {key: (found.get(key, "not set"), value) for key, value in wanted.items() if not _same(found.get(key), value)}
    return queue, False, differs


def _same(found: str | None, wanted: str) -> bool:
    if found is not None and wanted.startswith("{"):
        return {k: str(v) for k, v in json.loads(found).items()} == {k: str(v) for k, v in json.loads(wanted).items()}
    return found == wanted
