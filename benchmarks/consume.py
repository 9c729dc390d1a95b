"""What consuming costs: the bare boto3 loop, the plain script, and `consume_trades`, on the same queue contents and broker.

`python -m benchmarks.consume` fills a fresh queue per contender and run on a local broker of its own, runs each contender as a
process of its own, and prints CPU and wall time a message with the ratios. CPU is that of the consuming process from its first
receive on; importing and starting up are left out for all. Exit status 1 means that a figure was not reached.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

MESSAGES, TRADES = 2_000, 500
ROUNDS = 5
CPU_AT_MOST, THROUGHPUT_AT_LEAST = 2.2, 6.0


@dataclass(frozen=True)
class Cost:
    """Milliseconds a message."""

    cpu: float
    wall: float


class Stopwatch:
    """Measures CPU (of this process, all threads) and wall time from `start` on."""

    def start(self) -> None:
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def report(self) -> None:
        cost = {"cpu": time.process_time() - self.cpu, "wall": time.perf_counter() - self.wall}
        print(json.dumps({name: 1000 * seconds / MESSAGES for name, seconds in cost.items()}))


# The contenders: each consumes MESSAGES messages of one queue in a process of its own


def bare(name: str) -> None:
    """receive 10, delete_message_batch, nothing else."""
    import boto3

    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    left, watch = MESSAGES, Stopwatch()
    watch.start()
    while left:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)["Messages"]
        sqs.delete_message_batch(
            QueueUrl=url, Entries=[{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        )
        left -= len(messages)
    watch.report()


def plain(name: str) -> None:
    """receive_messages() of one, parse, save through the ORM, delete one. It saves one row a message and keeps no history."""
    import boto3
    import django
    from django.utils import timezone

    django.setup()
    from trades import messages
    from trades.models import Message

    queue = boto3.resource("sqs").get_queue_by_name(QueueName=name)
    left, watch = MESSAGES, Stopwatch()
    watch.start()
    while left:
        for message in queue.receive_messages():
            parsed = messages.parse(message.body)
            now = timezone.now()
            Message.objects.create(
                queue=name, message_id=message.message_id, group_id=parsed.events[0].trade_id.value, body=message.body,
                size=len(message.body), outcome="RECORDED", received_at=now, recorded_at=now,
            )  # fmt: skip
            message.delete()
            left -= 1
    watch.report()


def portal(name: str) -> None:
    """`manage.py consume_trades --receivers 1`."""
    import django
    from django.core.management import call_command

    django.setup()
    watch = Stopwatch()

    class Output(StringIO):
        def write(self, text: str) -> int:
            if "ready" in text:
                watch.start()
            return super().write(text)

    call_command("consume_trades", queue=name, receivers=1, wait=1, max_messages=MESSAGES, stdout=Output())
    watch.report()


CONTENDERS: dict[str, Callable[[str], None]] = {"bare": bare, "plain": plain, "portal": portal}


# The run


def fill(name: str) -> None:
    """A fresh queue with MESSAGES native messages over TRADES trades: a book, then updates."""
    import boto3

    from tests.support.native import native

    sqs = boto3.client("sqs")
    attributes: Any = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "300"}
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    for start in range(0, MESSAGES, 10):
        entries: Any = []
        for n in range(start, start + 10):
            trade, version = f"T-{n % TRADES:05}", n // TRADES + 1
            body = native(trade, "BOOK" if version == 1 else "UPDATE", version)
            entries.append({"Id": str(n), "MessageBody": body, "MessageGroupId": trade})
        assert not sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def run(contender: str, number: int, folder: Path) -> Cost:
    """One contender on a freshly filled queue and an empty database."""
    name = f"Bench-{contender}-{number}.fifo"
    fill(name)
    environment = {**os.environ, "TRADES_VAR_DIR": str(folder), "TRADES_QUEUE": name, "LOG_LEVEL": "WARNING"}
    if contender != "bare":
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "migrate", "-v", "0"], env=environment, check=True)
        subprocess.run([*manage, "flush", "--no-input", "-v", "0"], env=environment, check=True)
    command = [sys.executable, "-m", "benchmarks.consume", "--contender", contender, "--queue", name]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def compare() -> bool:
    """Run all contenders in turn and print the table; gives whether the figures were reached."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tradeportal.settings")
    with tempfile.TemporaryDirectory() as folder:
        rounds = [{name: on_fresh_broker(name, number, Path(folder)) for name in CONTENDERS} for number in range(ROUNDS)]
    return show(rounds)


def on_fresh_broker(name: str, number: int, folder: Path) -> Cost:
    """One run. A broker slows down with what it has seen lately, so each run gets a fresh one."""
    from tests.support.broker import running_broker

    path = folder / f"{name}-{number}"
    path.mkdir()
    with running_broker(path) as broker:
        os.environ["AWS_ENDPOINT_URL_SQS"] = broker.url
        return run(name, number, path)


def show(rounds: list[dict[str, Cost]]) -> bool:
    """Print the table of medians with ratios and figures. A ratio is the median of the rounds' own ratios: a machine that is faster
    in one minute than in the next is so for all contenders of a round."""
    database = os.environ.get("DATABASE_URL", "sqlite").split(":")[0]
    print(f"\n{MESSAGES:,} messages over {TRADES} trades, {database}, medians of {len(rounds)} rounds")
    print(f"{'':<36}{'CPU ms':>9}{'wall ms':>9}{'messages/s':>12}")
    words = {"bare": "bare boto3 loop", "plain": "plain script, one by one", "portal": "consume_trades --receivers 1"}
    for name, text in words.items():
        cpu, wall = (median(getattr(costs[name], what) for costs in rounds) for what in ("cpu", "wall"))
        print(f"{text:<36}{cpu:>9.2f}{wall:>9.2f}{1000 / wall:>12.0f}")
    cpu = median(costs["portal"].cpu / costs["bare"].cpu for costs in rounds)
    throughput = median(costs["plain"].wall / costs["portal"].wall for costs in rounds)
    cheap, fast = cpu <= CPU_AT_MOST, throughput >= THROUGHPUT_AT_LEAST
    print(f"{'CPU of ours / bare loop':<36}{cpu:>9.2f}   at most {CPU_AT_MOST}: {'reached' if cheap else 'MISSED'}")
    print(f"{'throughput of ours / plain':<36}{throughput:>9.2f}   at least {THROUGHPUT_AT_LEAST}: {'reached' if fast else 'MISSED'}")
    return cheap and fast


def main() -> None:
    """Without arguments the whole comparison, with --contender one of its runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--queue")
    options = parser.parse_args()
    if options.contender:
        CONTENDERS[options.contender](options.queue)
    else:
        sys.exit(0 if compare() else 1)


if __name__ == "__main__":
    main()
