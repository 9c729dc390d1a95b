"""The contract of SQS FIFO held against the model, the local broker, moto and, with CONTRACT_AWS=1, a real account.

    python -m tests.fifo.contract     # or: make contract

Prints a table of checks by brokers. Where a broker is known to differ from AWS, EXPECTED says how; any other difference, and a
difference that is gone, is an error. In AWS it makes queues named contract-... and deletes them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto import mock_aws

from tests.fifo import checks_receiving, checks_sending
from tests.fifo.bench import Bench
from tests.fifo.differences import EXPECTED
from tests.fifo.model import FifoBroker, VirtualClock
from tests.support.broker import running_broker

# Checks spend their time waiting for timeouts, and do so side by side.
AT_ONCE = 8
ONCE = Config(retries={"total_max_attempts": 1}, max_pool_connections=AT_ONCE)
MADE_UP = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
CHECKS = checks_sending.CHECKS | checks_receiving.CHECKS
# These take minutes: only where time is virtual, or nobody waits for it.
LONG = {"deduplication_ends_after_five_minutes", "messages_end_with_their_retention"}
NOT_RUN = "not run"


@contextmanager
def model() -> Iterator[Iterable[Bench]]:
    """A model for each check, as waiting moves its clock."""

    def benches() -> Iterator[Bench]:
        while True:
            clock = VirtualClock()
            yield Bench(cast(Any, FifoBroker(clock).client), clock.advance)

    yield benches()


@contextmanager
def local_broker() -> Iterator[Iterable[Bench]]:
    """The broker that run_portal starts."""
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        client = boto3.client("sqs", endpoint_url=broker.url, config=ONCE, **MADE_UP)  # type: ignore[call-overload]
        yield benches_of(client)


@contextmanager
def moto() -> Iterator[Iterable[Bench]]:
    """moto in this process."""
    kept = {name: os.environ.pop(name) for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS") if name in os.environ}
    try:
        with mock_aws():
            yield benches_of(boto3.client("sqs", config=ONCE, **MADE_UP))  # type: ignore[call-overload]
    finally:
        os.environ |= kept


@contextmanager
def aws() -> Iterator[Iterable[Bench]]:
    """The account that boto3 finds."""
    client = boto3.client("sqs", region_name=os.environ.get("AWS_REGION") or None, config=Config(max_pool_connections=AT_ONCE))
    yield benches_of(client, patience=1)


def benches_of(client: Any, patience: int = 0) -> Iterator[Bench]:
    """One bench for each check, all with one client and real time."""
    while True:
        yield Bench(client, time.sleep, patience)


BROKERS = {"model": model, "local": local_broker, "moto": moto, "aws": aws}


def brokers_here() -> list[str]:
    """Those that can be asked: AWS only when CONTRACT_AWS=1 says so and boto3 finds credentials."""
    with_aws = os.environ.get("CONTRACT_AWS") == "1" and boto3.session.Session().get_credentials() is not None
    return [name for name in BROKERS if name != "aws" or with_aws]


def results(broker: str) -> dict[str, str]:
    """{check: what it found}: "" where the broker does as AWS, NOT_RUN, or a sentence."""
    chosen = [name for name in CHECKS if broker in {"model", "aws"} or name not in LONG]
    with BROKERS[broker]() as benches, ThreadPoolExecutor(1 if broker == "model" else AT_ONCE) as pool:
        found = dict(zip(chosen, pool.map(outcome, chosen, benches), strict=True))
    return {name: found.get(name, NOT_RUN) for name in CHECKS}


def outcome(name: str, bench: Bench) -> str:
    """What one check finds: "" or a sentence."""
    try:
        CHECKS[name](bench)
    except AssertionError as difference:
        return str(difference)
    except (ClientError, BotoCoreError, LookupError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        bench.clean_up()
    return ""


def surprise(broker: str, name: str, found: str) -> str:
    """What is wrong with a result, "" where it is as EXPECTED says."""
    known = (broker, name) in EXPECTED
    if found == NOT_RUN:
        return "is named as a difference, but was not run" if known else ""
    if found and not known:
        return f"differs and is not named: {found}"
    return "does as AWS now: take its difference off the table" if known and not found else ""


def main() -> int:
    """Print the table; gives 1 when anything differs from EXPECTED."""
    table = {broker: results(broker) for broker in brokers_here()}
    missing = [broker for broker in BROKERS if broker not in table]
    print(f"{'':<62}" + "".join(f"{broker:<10}" for broker in BROKERS))
    for name in CHECKS:
        cells = [table[broker][name] if broker in table else NOT_RUN for broker in BROKERS]
        print(f"{name.replace('_', ' '):<62}" + "".join(f"{_word(cell):<10}" for cell in cells).rstrip())
    print(f"\n{len(CHECKS)} checks. Differences:")
    for (broker, name), sentence in EXPECTED.items():
        print(f"  {broker}, {name.replace('_', ' ')}: {sentence}")
    for broker in missing:
        print(f"  {broker} was not asked. Set CONTRACT_AWS=1 with credentials to make queues there, and delete them again.")
    surprises = [
        f"  {broker}, {name.replace('_', ' ')}: {what}"
        for broker in table
        for name in CHECKS
        if (what := surprise(broker, name, table[broker][name]))
    ]
    print("\n".join(["\nUnexpected:", *surprises]) if surprises else "\nAll as expected.")
    return 1 if surprises else 0


def _word(found: str) -> str:
    return found if found == NOT_RUN else "differs" if found else "pass"


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")
    sys.exit(main())
