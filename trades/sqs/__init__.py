"""Amazon SQS FIFO, and S3 for payloads: open a queue, send, receive, extend, delete, release. The only place that imports boto3.

boto3's environment variables choose broker, region and credentials.
"""

from trades.sqs.clients import CALL_SECONDS, HERE, Place, client, forget_clients, receiving_client
from trades.sqs.errors import (
    BadQueueName,
    BadRequest,
    Denied,
    NotConfigured,
    ObjectNotFound,
    QueueError,
    QueueNotFound,
    Refused,
    Throttled,
    broker_name,
    region,
    sentences,
)
from trades.sqs.limits import (
    ID_PATTERN,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_QUEUE_NAME,
    MAX_VISIBILITY_SECONDS,
    MAX_WAIT_SECONDS,
    batches,
    check_name,
    group_id_for,
    md5_of,
)
from trades.sqs.queue import Queue, new_attempt_id, open_queue, runs_of_groups
from trades.sqs.wire import Failed, Outgoing, Received, Sent

__all__ = [
    "CALL_SECONDS", "HERE", "ID_PATTERN", "MAX_BATCH", "MAX_BATCH_BYTES", "MAX_MESSAGE_BYTES", "MAX_QUEUE_NAME",
    "MAX_VISIBILITY_SECONDS", "MAX_WAIT_SECONDS", "BadQueueName", "BadRequest", "Denied", "Failed", "NotConfigured", "ObjectNotFound",
    "Outgoing", "Place", "Queue", "QueueError", "QueueNotFound", "Received", "Refused", "Sent", "Throttled", "batches", "broker_name",
    "check_name", "client", "forget_clients", "group_id_for", "md5_of", "new_attempt_id", "open_queue", "receiving_client", "region",
    "runs_of_groups", "sentences",
]  # fmt: skip
