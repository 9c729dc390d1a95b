"""The local SQS broker for tests: the one run_portal starts, with queues and buckets made by bare boto3."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from tests.support.waiting import free_port, wait_until
from trades.portal.broker import LocalBroker

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.service_resource import SQSServiceResource


@dataclass(frozen=True)
class FifoQueue:
    """A fresh FIFO queue with its dead-letter queue, and a client that knows nothing of the portal."""

    name: str
    url: str
    dead_letter_name: str
    dead_letter_url: str
    client: SQSClient
    resource: SQSServiceResource
    environment: dict[str, str]

    def counts(self) -> tuple[int, int]:
        """(messages waiting, messages in flight)."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        waiting, in_flight = (int(found[name]) for name in names)  # type: ignore[index]
        return waiting, in_flight


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket, and a client that knows nothing of the portal."""

    name: str
    client: S3Client

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def keys(self) -> list[str]:
        """The keys of all objects."""
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", [])]


@contextmanager
def running_broker(folder: Path) -> Iterator[LocalBroker]:
    """A broker on a free port of 127.0.0.1, its state in `folder`, ended by its process id."""
    broker = LocalBroker(free_port(), folder)
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(
            broker.command,
            env={**os.environ, **broker.process_environment, "PERSIST_STATE": "0"},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: broker.answers() or process.poll() is not None, "the local broker to answer")
        assert process.poll() is None, (folder / "broker.log").read_text()
        yield broker
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def fresh_queue(broker: LocalBroker, visibility_seconds: int = 120) -> FifoQueue:
    """A queue with a name of its own, content-based deduplication on, and a dead-letter queue behind it."""
    unique = uuid.uuid4().hex[:12]
    name, dead_letter_name = f"Trades-{unique}.fifo", f"Dead-{unique}.fifo"
    client = boto3.client("sqs", endpoint_url=broker.url)
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    dead_letter_url = client.create_queue(QueueName=dead_letter_name, Attributes=fifo)["QueueUrl"]  # type: ignore[arg-type]
    arn = client.get_queue_attributes(QueueUrl=dead_letter_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 100})
    attributes = {**fifo, "VisibilityTimeout": str(visibility_seconds), "RedrivePolicy": redrive}
    return FifoQueue(
        name=name,
        url=client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"],  # type: ignore[arg-type]
        dead_letter_name=dead_letter_name,
        dead_letter_url=dead_letter_url,
        client=client,
        resource=boto3.resource("sqs", endpoint_url=broker.url),
        environment={"TRADES_QUEUE": name, "TRADES_DEAD_LETTER_QUEUE": dead_letter_name},
    )


def fresh_bucket(broker: LocalBroker) -> Bucket:
    """A bucket with a name of its own."""
    client = boto3.client("s3", endpoint_url=broker.url)
    name = f"payloads-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return Bucket(name, client)
