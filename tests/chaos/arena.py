"""What a run needs: PostgreSQL and a broker, each behind a proxy, an empty queue with its dead-letter queue, and a migrated database."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from tests.chaos.postgres import Postgres
from tests.chaos.proxy import Proxy
from tests.support.broker import running_broker
from tests.support.processes import manage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

QUEUE, DEAD_LETTERS = "Chaos.fifo", "ChaosDead.fifo"
# The highest that SQS allows: every receive counts, also those of a worker that is killed before it has read the message.
MAX_RECEIVE_COUNT = 1_000
# As between machines: without it hardly ever is a message in flight when something happens.
NETWORK_SECONDS = 0.001
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "chaos",
    "AWS_SECRET_ACCESS_KEY": "chaos",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True)
class Arena:
    """The servers of a run. `environment` leads a process to them through the proxies; `client` and `postgres` go past them."""

    folder: Path
    postgres: Postgres
    database: Proxy
    broker: Proxy
    client: SQSClient
    urls: dict[str, str]
    environment: dict[str, str]

    def depths(self) -> dict[str, tuple[int, int]]:
        """What each queue has: (waiting, in flight)."""
        return {name: self._depth(url) for name, url in self.urls.items()}

    def _depth(self, url: str) -> tuple[int, int]:
        found: Any = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])


@contextmanager
def arena(folder: Path, visibility_seconds: int) -> Iterator[Arena]:
    """Everything started in `folder`, and ended afterwards."""
    for name in ("postgres", "broker", "var"):
        (folder / name).mkdir()
    with (
        Postgres(folder / "postgres") as postgres,
        running_broker(folder / "broker") as local,
        Proxy(postgres.socket, NETWORK_SECONDS) as database,
        Proxy(local.port, NETWORK_SECONDS) as broker,
    ):
        client = boto3.client(
            "sqs",
            endpoint_url=local.url,
            region_name=ACCOUNT["AWS_REGION"],
            aws_access_key_id=ACCOUNT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ACCOUNT["AWS_SECRET_ACCESS_KEY"],
        )
        environment = ACCOUNT | {
            "AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{broker.port}",
            "DATABASE_URL": f"postgresql://postgres@127.0.0.1:{database.port}/postgres?sslmode=disable&gssencmode=disable&connect_timeout=5",
            "TRADES_VAR_DIR": str(folder / "var"),
            "TRADES_QUEUE": QUEUE,
            "TRADES_DEAD_LETTER_QUEUE": DEAD_LETTERS,
            "TRADES_HOLD": "on",
            "LOG_LEVEL": "INFO",
        }
        with manage("migrate", "-v", "0", environment=environment) as migrate:
            assert migrate.wait(120) == 0, migrate.output
        yield Arena(folder, postgres, database, broker, client, _queues(client, visibility_seconds), environment)


def _queues(client: SQSClient, visibility_seconds: int) -> dict[str, str]:
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    dead_url = client.create_queue(QueueName=DEAD_LETTERS, Attributes=fifo)["QueueUrl"]  # type: ignore[arg-type]
    arn = client.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT})
    attributes: Any = {**fifo, "VisibilityTimeout": str(visibility_seconds), "RedrivePolicy": redrive}
    return {QUEUE: client.create_queue(QueueName=QUEUE, Attributes=attributes)["QueueUrl"], DEAD_LETTERS: dead_url}
