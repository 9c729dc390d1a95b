"""What pages cost when there are a hundred times as many trades.

`python -m benchmarks.pages` fills two databases with made-up history (`manage.py simulate_trades`), 2,000 trades with 10,000 events and
200,000 with 1,000,000, and one trade of 10,000 events in each; then it asks both for the same pages in turn, as a signed-in operator
through every middleware, and prints the median times and their ratio. Times are measured with the portal's short-lived caches emptied
before each request, and beside them with the caches as people meet them, which the ratio is of. Exit status 1 means that a figure was not
reached.

DATABASE_URL may name a PostgreSQL server (`python -m tests.support.with_postgres benchmarks.pages`), where the two databases are made.
--keep FOLDER keeps the SQLite files there (on PostgreSQL the databases) and uses those that are there already.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

TRADES, SMALLER, EVENTS_EACH, LONG = 200_000, 100, 5, 10_000
DEPTH, LARGEST_PAGE = 10_000, 200
ROUNDS, WARM_UP = 15, 4
RATIO_AT_MOST, QUERIES_AT_MOST, BLOTTER_BYTES_AT_MOST = 1.5, 12, 60_000


# The one who asks: a process for each database, which takes one line for each request


@dataclass(frozen=True)
class Sizes:
    """How many trades a database has, besides the long one, and how deep the page at depth is."""

    trades: int
    depth: int


class Asker:
    """Asks the portal for pages, and takes the time."""

    def __init__(self, sizes: Sizes) -> None:
        from django.contrib.auth.models import Group, User
        from django.test import Client

        self.sizes = sizes
        user, is_new = User.objects.get_or_create(username="bench")
        if is_new:
            user.groups.add(Group.objects.get(name="operator"))
        self.client = Client()
        self.client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")

    def ask(self, address: str, *, emptied: bool) -> dict[str, float]:
        """One request: milliseconds, status and bytes."""
        from django.core.cache import cache

        if emptied:
            cache.clear()
        started = time.perf_counter()
        response = self.client.get(address)
        took = 1000 * (time.perf_counter() - started)
        return {"ms": took, "status": response.status_code, "bytes": len(response.content)}

    def count(self, address: str) -> dict[str, object]:
        """The queries of one request."""
        from django.core.cache import cache
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        cache.clear()
        with CaptureQueriesContext(connection) as captured:
            self.client.get(address)
        slowest = max(captured.captured_queries, key=lambda query: float(query["time"]), default={"sql": ""})
        return {"queries": len(captured), "slowest": slowest["sql"][:2000]}

    def addresses(self) -> dict[str, str]:
        """Where each page is to be had in this database; pages that there is nothing for are left out."""
        return {name: address for name, find in PAGES.items() if (address := find(self))}

    def body(self, address: str) -> str:
        return str(self.client.get(address).content.decode())


def deep(asker: Asker) -> str:
    """The page so many trades down, reached as people reach it: by the link to what is older."""
    address = f"/trades/?n={LARGEST_PAGE}"
    for _ in range(asker.sizes.depth // LARGEST_PAGE):
        links = [unescape(link) for link in re.findall(r'href="([^"]*[?&;]after=[^"]*)"', asker.body(address))]
        if not links:
            return ""
        address = urlunsplit(("", "", "/trades/", urlsplit(links[0]).query, ""))
    return re.sub(r"\bn=\d+&|&n=\d+\b", "", address)


def trade_of(events: int) -> Callable[[Asker], str]:
    """The page of a trade with so many events, from the middle of the data."""

    def find(asker: Asker) -> str:
        from trades.models import Trade

        from_middle = Trade.objects.filter(event_count=events, pk__gte=asker.sizes.trades // 2 if events < LONG else 1)
        trade = from_middle.order_by("pk").first()
        return f"/trades/{quote(trade.trade_id)}/" if trade else ""

    return find


def upload(asker: Asker) -> str:
    """An upload of the size that most documents come in."""
    from django.db.models import Count

    from trades.models import Upload

    found = Upload.objects.annotate(documents_in=Count("documents")).filter(documents_in=20).order_by("-pk").first()
    return f"/uploads/{found.pk}/" if found else ""


def message(asker: Asker) -> str:
    """The way of one published message."""
    from trades.models import Message

    found = Message.objects.filter(publication_id__isnull=False, pk__gte=asker.sizes.trades).order_by("pk").first()
    return f"/trace/messages/{found.pk}/" if found else ""


def at(path: str, **query: str) -> Callable[[Asker], str]:
    return lambda _: f"{path}?{urlencode(query)}" if query else path


PAGES: dict[str, Callable[[Asker], str]] = {
    "blotter, first page": at("/trades/"),
    "blotter, at depth": deep,
    "blotter, status disputed": at("/trades/", status="DISPUTED"),
    "blotter, a word": at("/trades/", q="Kestrel"),
    "quick find, an id's beginning": at("/find/", q="S-100019"),
    "trade": trade_of(5),
    f"trade of {LONG:,} events": trade_of(LONG),
    "blotter, a product": at("/trades/", product="EUR interest rate swap 5Y against 6M EURIBOR"),
    "blotter, an id's beginning": at("/trades/", q="S-100019"),
    "blotter, a word of none": at("/trades/", q="zebra"),
    "quick find, a word": at("/find/", q="Kestrel"),
    "exceptions": at("/exceptions/"),
    "quarantine": at("/quarantine/"),
    "uploads": at("/uploads/"),
    "upload": upload,
    "trace of a message": message,
    "monitor": at("/monitor/"),
}
FIGURES = list(PAGES)[:7]


def serve(sizes: Sizes) -> None:
    """Answer one line of JSON with another, until there are no more."""
    import django

    django.setup()
    asker = Asker(sizes)
    acts: dict[str, Callable[..., Any]] = {"ask": asker.ask, "count": asker.count, "addresses": asker.addresses}
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(acts[asked.pop("act")](**asked)), flush=True)


class Process:
    """A process that serves one database."""

    def __init__(self, sizes: Sizes, environment: dict[str, str], stack: ExitStack) -> None:
        command = [sys.executable, "-m", "benchmarks.pages", "--serve", str(sizes.trades), "--depth", str(sizes.depth)]
        self.process = stack.enter_context(
            subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(self.process.terminate)

    def __call__(self, act: str, **values: object) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"act": act, **values}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A page failed; what went wrong is told above.")
        return json.loads(line)


# The databases


@contextmanager
def databases(keep: Path | None) -> Iterator[Callable[[str], dict[str, str]]]:
    """The environment of a process that uses the database of this name."""
    url = os.environ.get("DATABASE_URL", "")
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradeportal-pages-")))
        folder.mkdir(parents=True, exist_ok=True)

        def environment(name: str) -> dict[str, str]:
            var = folder / name
            var.mkdir(exist_ok=True)
            database = f"sqlite:///{var / 'portal.sqlite3'}" if not url.startswith("postgres") else _named(url, f"pages_{name}")
            return {**os.environ, **SETTINGS, "TRADES_VAR_DIR": str(var), "DATABASE_URL": database}

        yield environment


SETTINGS = {
    "DJANGO_SETTINGS_MODULE": "tradeportal.settings", "PRODUCTION": "off", "DEBUG": "off", "LOG_LEVEL": "ERROR",
    "ALLOWED_HOSTS": "testserver", "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9",
}  # fmt: skip


def _named(url: str, name: str) -> str:
    """The address of the database of this name on the same server, which is made if it is not there."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as server:
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            server.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def build(trades: int, environment: dict[str, str]) -> None:
    """Fill the database, unless it is there already."""
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "migrate", "-v", "0"], env=environment, check=True)
    script = "from trades.models import Trade; print(Trade.objects.count())"
    asked = subprocess.run([*manage, "shell", "-v", "0", "-c", script], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    there = int(asked.stdout.split()[-1])
    if there == trades + 1:
        print(f"{trades:,} trades are there already", flush=True)
        return
    if there:
        raise SystemExit(f"There are {there:,} trades where {trades + 1:,} are to be. Remove the kept data, or name another folder.")
    size = ["--trades", str(trades), "--events", str(EVENTS_EACH * trades), "--long", str(LONG)]
    subprocess.run([*manage, "simulate_trades", "--direct", *size], env=environment, check=True)


# The comparison


@dataclass
class Line:
    """What was measured of one page: medians, small and large."""

    name: str
    emptied: tuple[float, float]
    kept: tuple[float, float]
    queries: tuple[int, int]
    size: int
    slowest: str = ""

    @property
    def ratio(self) -> float:
        return self.kept[1] / self.kept[0]

    def faults(self) -> list[str]:
        """What does not reach its figure."""
        faults = []
        if self.name in FIGURES and self.ratio > RATIO_AT_MOST:
            faults.append(f"ratio over {RATIO_AT_MOST}")
        if self.queries[0] != self.queries[1]:
            faults.append("other number of queries")
        if max(self.queries) > QUERIES_AT_MOST:
            faults.append(f"over {QUERIES_AT_MOST} queries")
        if self.name == "blotter, first page" and self.size > BLOTTER_BYTES_AT_MOST:
            faults.append(f"over {BLOTTER_BYTES_AT_MOST:,} bytes")
        return faults


def compare(trades: int, rounds: int, keep: Path | None) -> bool:
    """Fill both, ask both, print the table; gives whether the figures were reached."""
    sizes = (Sizes(trades // SMALLER, trades // SMALLER // 2), Sizes(trades, min(DEPTH, trades // 2)))
    with databases(keep) as environment, ExitStack() as stack:
        of_both = [environment(name) for name in ("small", f"large_{trades}")]
        for size, one in zip(sizes, of_both, strict=True):
            build(size.trades, one)
        small, large = (Process(size, one, stack) for size, one in zip(sizes, of_both, strict=True))
        return show(list(measured(small, large, rounds)), sizes)


def measured(small: Process, large: Process, rounds: int) -> Iterator[Line]:
    """The pages, each asked in both databases in turn, so that whatever else the machine does hits both."""
    both = (small, large)
    addresses = [asked("addresses") for asked in both]
    for name in PAGES:
        places = [found.get(name, "") for found in addresses]
        first = [asked("ask", address=place, emptied=True) if place else {"status": 404} for asked, place in zip(both, places, strict=True)]
        if any(answer["status"] != 200 for answer in first):
            print(f"{name}: left out, the answers are {first[0]['status']} and {first[1]['status']} at {places[0] or '(nothing)'}")
            continue
        counted = [asked("count", address=place) for asked, place in zip(both, places, strict=True)]
        medians = []
        for emptied in (True, False):
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(WARM_UP + rounds):
                for asked, place, taken in zip(both, places, times, strict=True):
                    answer = asked("ask", address=place, emptied=emptied)
                    if number >= WARM_UP:
                        taken.append(answer["ms"])
            medians.append((median(times[0]), median(times[1])))
        queries = (counted[0]["queries"], counted[1]["queries"])
        yield Line(name, medians[0], medians[1], queries, int(first[1]["bytes"]), counted[1]["slowest"])


def show(lines: list[Line], sizes: tuple[Sizes, Sizes]) -> bool:
    """Print the table and what does not reach its figure."""
    database = "PostgreSQL" if os.environ.get("DATABASE_URL", "").startswith("postgres") else "SQLite"
    small, large = (f"{size.trades:,}" for size in sizes)
    print(f"\n{small} and {large} trades, {database}: median ms, caches emptied (as people meet them; the ratio is of these)")
    print(f"{'':<32}{small:>18}{large:>18}{'ratio':>8}{'queries':>10}{'HTML KB':>9}")
    reached = True
    for line in lines:
        cells = [f"{emptied:.1f} ({kept:.1f})" for emptied, kept in zip(line.emptied, line.kept, strict=True)]
        queries = f"{line.queries[0]}" if line.queries[0] == line.queries[1] else f"{line.queries[0]}/{line.queries[1]}"
        faults = ", ".join(line.faults())
        print(f"{line.name:<32}{cells[0]:>18}{cells[1]:>18}{line.ratio:>8.2f}{queries:>10}{line.size / 1000:>9.1f}  {faults}")
        reached &= not line.faults()
    missing = [name for name in FIGURES if name not in {line.name for line in lines}]
    if missing:
        print(f"not measured: {', '.join(missing)}")
    reached &= not missing
    word = "reached" if reached else "MISSED"
    print(f"the first {len(FIGURES)} at most {RATIO_AT_MOST} times as long, each page at most {QUERIES_AT_MOST} queries: {word}")
    if os.environ.get("PAGES_EXPLAIN"):
        for line in lines:
            print(f"\n{line.name}: slowest query\n  {line.slowest}")
    return reached


def main() -> None:
    """Without arguments the whole comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    trades = int(os.environ.get("PAGES_TRADES") or TRADES)
    parser.add_argument("--trades", type=int, default=trades, help="trades of the large database (default %(default)s, or PAGES_TRADES)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="requests of each page that count (default %(default)s)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the databases, and use those that are there")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--depth", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(Sizes(options.serve, options.depth))
    else:
        sys.exit(0 if compare(options.trades, options.rounds, options.keep) else 1)


if __name__ == "__main__":
    main()
