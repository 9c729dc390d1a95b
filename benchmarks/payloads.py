"""Whether a worker's memory stays flat with large documents: a real worker process, messages whose text is in S3, a broker of its own.

`python -m benchmarks.payloads` sends one document of 64 MiB to a worker that has recorded a small one, then 1,000 of 1.5 MB to another;
`--count N` for another number, from 200. It prints what the process keeps for itself (RssAnon) and all of it that is in memory (VmRSS,
with the pages of the SQLite file that it maps). Exit status 1 means that a figure was missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.support.broker import Bucket, FifoQueue
    from tests.support.processes import Process

ONE, MANY, COUNT, AT_ONCE, EVERY = 64 * 1024 * 1024, 1_500_000, 1_000, 50, 100
PEAK_AT_MOST, GROWTH_AT_MOST = 200.0, 5.0  # MB


def memory(pid: int) -> dict[str, float]:
    """The process's memory in MB, by the names of /proc/PID/status."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 / 1e6 for words in lines if words[-1] == "kB"}


class Peak:
    """The most that a process kept for itself during a block, looked at 50 times a second; Linux itself remembers VmHWM alone."""

    def __init__(self, pid: int) -> None:
        self.pid, self.anonymous = pid, 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.anonymous = max(self.anonymous, memory(self.pid)["RssAnon"])


class Consumed:
    """Messages sent to a worker process, and waited for."""

    def __init__(self, queue: FifoQueue, bucket: Bucket) -> None:
        self.queue, self.bucket, self.sent = queue, bucket, 0

    def documents(self, *texts: str) -> None:
        """Let the worker record these documents; their objects are removed from S3 afterwards."""
        from tests.support.extended import send_large
        from trades.models import Message

        keys = [f"document-{self.sent + number}" for number in range(len(texts))]
        for key, text in zip(keys, texts, strict=True):
            send_large(self.queue, self.bucket, text, group=key, key=key)
        self.sent += len(texts)
        while Message.objects.filter(outcome=Message.Outcome.RECORDED).count() < self.sent:
            time.sleep(0.05)
        for key in keys:
            self.bucket.client.delete_object(Bucket=self.bucket.name, Key=key)


@contextmanager
def a_worker(queue: FifoQueue) -> Iterator[Process]:
    """A worker process that has recorded one small message."""
    from tests.support.processes import manage

    with manage("consume_trades", "--wait", "1", environment=queue.environment) as worker:
        worker.wait_for_line("consume_trades ready")
        yield worker
        worker.signal()
        worker.wait()


def documents_of_64_mib() -> Iterator[tuple[str, str]]:
    """Kind and text of documents as large as may be."""
    from benchmarks.large import CASES
    from tests.messages.hostile import Lab
    from tests.support.extended import large

    yield "native, one comment", large(size=ONE)
    for kind in ("FpML, one attachment in base64", "FpML, 48,000 elements and attachments of 2 MB"):
        yield kind, str(CASES[kind].build(Lab("", Path(), ONE)))


def one_large(consumed: Consumed, kind: str, text: str) -> bool:
    """Print what one document of 64 MiB adds; gives whether it stays within the figure."""
    from tests.support.native import native

    with a_worker(consumed.queue) as worker:
        consumed.documents(native(kind))
        before = memory(worker.pid)
        with Peak(worker.pid) as peak:
            consumed.documents(text)
        after = memory(worker.pid)
    grown, own = after["VmHWM"] - before["VmRSS"], peak.anonymous - before["RssAnon"]
    words = f"{kind} of {len(text.encode()):,} bytes: {before['VmRSS']:.0f} MB before, {after['VmHWM']:.0f} MB at most"
    return judged(f"{words}, grown by {grown:.0f} MB, {own:.0f} MB of them its own (RssAnon)", grown, PEAK_AT_MOST)


def many_large(consumed: Consumed, count: int) -> bool:
    """Print the memory after every hundred of so many documents of 1.5 MB; gives whether the second half stays within the figure."""
    from tests.support.extended import large

    seen: list[float] = []
    with a_worker(consumed.queue) as worker:
        for step in range(0, count, AT_ONCE):
            consumed.documents(*(large(f"T-{number}", size=MANY) for number in range(step, min(count, step + AT_ONCE))))
            if (step + AT_ONCE) % EVERY == 0:
                found = memory(worker.pid)
                seen.append(found["RssAnon"])
                print(
                    f"{step + AT_ONCE:>10,} documents {found['RssAnon']:>8.1f} MB of its own {found['VmRSS']:>8.1f} MB in all", flush=True
                )
    half = len(seen) // 2
    grown = max(seen[half:]) - max(seen[:half])
    return judged(f"{count:,} documents of {MANY:,} bytes: the second half {grown:+.1f} MB on the first", grown, GROWTH_AT_MOST)


def judged(words: str, figure: float, most: float) -> bool:
    """Print a figure and whether it was reached."""
    print(f"{words}   at most {most:.0f}: {'reached' if figure <= most else 'MISSED'}", flush=True)
    return figure <= most


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tradeportal.settings",
            "TRADES_VAR_DIR": folder,
            "DATABASE_URL": f"sqlite:///{folder}/payloads.sqlite3",
            "LOG_LEVEL": "WARNING",
        }
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        from tests.support.broker import fresh_bucket, fresh_queue, running_broker

        (broker_folder := Path(folder) / "broker").mkdir()
        with running_broker(broker_folder) as broker:
            os.environ |= broker.client_environment
            bucket, queue = fresh_bucket(broker), fresh_queue(broker)
            os.environ["TRADES_PAYLOAD_BUCKET"] = bucket.name
            consumed = Consumed(queue, bucket)
            reached = [one_large(consumed, kind, text) for kind, text in documents_of_64_mib()]
            reached.append(many_large(consumed, options.count))
    sys.exit(0 if all(reached) else 1)


if __name__ == "__main__":
    main()
