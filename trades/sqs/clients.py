"""The clients of boto3: made once per process and way of calling, by its environment variables, files and roles."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from trades.sqs.errors import broker_name, is_of_another_region, region, sentences

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_making_clients = threading.Lock()

# A queue that is silent must hold up neither a sender nor the end of a worker.
CALL_SECONDS = {"connect_timeout": 2, "read_timeout": 5}
# What a receive may take beyond its long poll.
ANSWER_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a queue is that is not where the environment says: each field "" for what the environment says. `url` is the queue's own
    address, `owner` the 12 digits of the AWS account that has it, `profile` one of the AWS files."""

    url: str = ""
    owner: str = ""
    region: str = ""
    endpoint: str = ""
    profile: str = ""

    @property
    def words(self) -> str:
        """The place for people, "" for that of the environment."""
        return broker_name("SQS", self.endpoint, self.region) if self != HERE else ""


HERE = Place()


def client(attempts: int = 2, place: Place = HERE, **seconds: float) -> SQSClient:
    """One SQS client per process, place, number of attempts and time-outs; clients are thread-safe, but must not cross a fork."""
    with _making_clients:  # boto3.client() itself is not thread-safe (boto3 guide, clients)
        return _client(attempts, place.region, place.endpoint, place.profile, **seconds)


def receiving_client(wait: int, place: Place = HERE) -> SQSClient:
    """The client for receives of so long a poll. It asks once: who lost an answer asks again with the same attempt id, which boto3
    would not tell from a refusal that comes after it."""
    return client(1, place, connect_timeout=CALL_SECONDS["connect_timeout"], read_timeout=wait + ANSWER_SECONDS)


def s3_client() -> S3Client:
    """The one S3 client of the process."""
    with _making_clients:
        return _s3_client()


def forget_clients() -> None:
    """Make clients anew from the environment as it is now."""
    _client.cache_clear()
    _s3_client.cache_clear()


@functools.cache
def _client(attempts: int, in_region: str, endpoint: str, profile: str, **seconds: float) -> SQSClient:
    with sentences("Opening Amazon SQS"):
        session = boto3.session.Session(profile_name=profile or None)
        config = _config(attempts, **seconds)
        if is_of_another_region(in_region):
            config = config.merge(Config(ignore_configured_endpoint_urls=True))  # type: ignore[call-arg]
        return session.client("sqs", region_name=in_region or region(), endpoint_url=endpoint or None, config=config)


@functools.cache
def _s3_client() -> S3Client:
    with sentences("Opening Amazon S3", "S3"):
        return boto3.session.Session().client("s3", region_name=region(), config=_config(2, **CALL_SECONDS))


def _config(attempts: int, **seconds: float) -> Config:
    return Config(
        # Named here, boto3 does not make its own name anew for every request, which costs a tenth of a call.
        user_agent="TradePortal",
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=64,
        **seconds,  # type: ignore[arg-type]
    )
