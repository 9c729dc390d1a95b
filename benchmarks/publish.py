"""What publishing costs: a bare loop of send_message_batch, and `publish_trades` with files, checks and outbox, of the same messages.

`python -m benchmarks.publish` runs both in turn, each as a process of its own on a local broker and a queue of its own, and compares
messages per second; then it counts the requests of `relay_publications` for a backlog. Importing and starting up are left out for
all. Exit status 1 means that a figure was not reached.
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
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

MESSAGES = 10_000
SHARE_OF_TRADES = 4  # a trade has so many messages
ROUNDS = 3
RATIO_AT_LEAST, REQUESTS_AT_MOST = 0.7, 0.25
QUEUE = "Bench.fifo"


@dataclass(frozen=True)
class Cost:
    """Milliseconds and requests a message."""

    cpu: float
    wall: float
    requests: float


class Meter:
    """Measures CPU (of this process, all threads), wall time and requests to AWS from its making on."""

    def __init__(self) -> None:
        from botocore.httpsession import URLLib3Session

        self.requests = 0
        session_class: Any = URLLib3Session
        send = session_class.send

        def counted(session: Any, request: Any) -> Any:
            self.requests += 1
            return send(session, request)

        session_class.send = counted
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def report(self, messages: int) -> None:
        """Print the cost a message, as the last line."""
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.wall
        print(json.dumps(asdict(Cost(1000 * cpu / messages, 1000 * wall / messages, self.requests / messages))))


# The contenders: each sends the files of a folder in a process of its own


def bare(folder: Path) -> None:
    """send_message_batch of 10, nothing else; the messages are in memory already."""
    import boto3

    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    messages = [(file.stem, file.stem.split("-")[1], file.read_text()) for file in sorted(folder.glob("*.xml"))]
    meter = Meter()
    for start in range(0, len(messages), 10):
        entries: Any = [
            {"Id": name, "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": name}
            for name, group, body in messages[start : start + 10]
        ]
        answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
        assert not answer.get("Failed"), answer
    meter.report(len(messages))


def portal(folder: Path) -> None:
    """`manage.py publish_trades FOLDER`: read, check, keep, send, print."""
    import django
    from django.core.management import call_command

    django.setup()
    from trades import dialects, routes

    dialects.in_use()
    routes.open_queue(QUEUE)
    out, meter = StringIO(), Meter()
    call_command("publish_trades", str(folder), queue=QUEUE, stdout=out)
    meter.report(out.getvalue().count("MessageId: "))


def relay(folder: Path) -> None:
    """`manage.py relay_publications` with everything waiting in the outbox."""
    from threading import Event

    import django

    django.setup()
    from django.utils import timezone

    from trades import handing_in, publishing
    from trades.handing_in import Groups, IncomingDocument
    from trades.management.commands.relay_publications import Relay
    from trades.models import Publication, Upload

    upload, groups = publishing.begin(source=Upload.Source.COMMAND, user=None, now=timezone.now()), Groups()
    files = [IncomingDocument(file.name, path=file) for file in sorted(folder.glob("*.xml"))]
    for chunk in handing_in.chunks(files):
        publishing.store(upload, chunk, queue=QUEUE, groups=groups, now=timezone.now())
    work, meter = Relay(Event()), Meter()
    while work.step():
        pass
    meter.report(Publication.objects.filter(state=Publication.State.SENT).count())


CONTENDERS: dict[str, Callable[[Path], None]] = {"bare": bare, "portal": portal, "relay": relay}
WORDS = {"bare": "bare send_message_batch loop", "portal": "publish_trades", "relay": "relay_publications"}


# The run


def write(folder: Path, count: int) -> None:
    """Files of so many native messages: the books of all trades, then their updates, round after round."""
    from tests.support.native import native

    folder.mkdir()
    trades = max(1, count // SHARE_OF_TRADES)
    for number in range(count):
        trade, version = f"T{number % trades:06}", number // trades + 1
        (folder / f"{number:06}-{trade}.xml").write_text(native(trade, "BOOK" if version == 1 else "UPDATE", version))


def run(contender: str, files: Path, folder: Path) -> Cost:
    """One contender with an empty database, on a broker of its own: one slows down with what it has seen lately."""
    import boto3

    from tests.support.broker import running_broker

    folder.mkdir()
    with running_broker(folder) as broker:
        environment = {**os.environ, "AWS_ENDPOINT_URL_SQS": broker.url, "TRADES_VAR_DIR": str(folder), "LOG_LEVEL": "WARNING"}
        attributes: Any = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        boto3.client("sqs", endpoint_url=broker.url).create_queue(QueueName=QUEUE, Attributes=attributes)
        if contender != "bare":
            manage = [sys.executable, "manage.py"]
            subprocess.run([*manage, "migrate", "-v", "0"], env=environment, check=True)
            subprocess.run([*manage, "flush", "--no-input", "-v", "0"], env=environment, check=True)
        command = [sys.executable, "-m", "benchmarks.publish", "--contender", contender, "--files", str(files)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def compare(count: int, rounds: int) -> bool:
    """Run all in turn and print the table; gives whether the figures were reached."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tradeportal.settings")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "files", count)
        costs = [
            {contender: run(contender, folder / "files", folder / f"{contender}-{number}") for contender in ("bare", "portal")}
            for number in range(rounds)
        ]
        relayed = run("relay", folder / "files", folder / "relay")
    return show(count, costs, relayed)


def show(count: int, rounds: list[dict[str, Cost]], relayed: Cost) -> bool:
    """Print the table of medians with ratios and figures. A ratio is the median of the rounds' own ratios: a machine that is faster
    in one minute than in the next is so for both contenders of a round."""
    database = os.environ.get("DATABASE_URL", "sqlite").split(":")[0]
    print(f"\n{count:,} messages, {SHARE_OF_TRADES} to a trade, {database}, medians of {len(rounds)} rounds")
    print(f"{'':<32}{'CPU ms':>9}{'wall ms':>9}{'messages/s':>12}{'requests':>10}")
    for name, text in WORDS.items():
        found = [relayed] if name == "relay" else [costs[name] for costs in rounds]
        cpu, wall, requests = (median(getattr(cost, what) for cost in found) for what in ("cpu", "wall", "requests"))
        print(f"{text:<32}{cpu:>9.2f}{wall:>9.2f}{1000 / wall:>12.0f}{requests:>10.3f}")
    ratio = median(costs["bare"].wall / costs["portal"].wall for costs in rounds)
    fast, frugal = ratio >= RATIO_AT_LEAST, relayed.requests <= REQUESTS_AT_MOST
    print(f"{'throughput of ours / bare loop':<41}{ratio:>9.2f}   at least {RATIO_AT_LEAST}: {'reached' if fast else 'MISSED'}")
    said = "reached" if frugal else "MISSED"
    print(f"{'requests a message of the relay':<41}{relayed.requests:>9.3f}   at most {REQUESTS_AT_MOST}: {said}")
    return fast and frugal


def main() -> None:
    """Without arguments the whole comparison, with --contender one of its runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--contender", choices=CONTENDERS)
    parser.add_argument("--files", type=Path)
    options = parser.parse_args()
    if options.contender:
        CONTENDERS[options.contender](options.files)
    else:
        sys.exit(0 if compare(options.messages, options.rounds) else 1)


if __name__ == "__main__":
    main()
