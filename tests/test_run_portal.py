"""`manage.py run_portal` as a real process: everything starts, works together, stops in order, and keeps what it has."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import boto3
import pytest
from django.core.management import CommandError

from tests.support.processes import Process, manage
from tests.support.waiting import free_port, is_open, wait_until
from trades.portal.broker import LocalBroker
from trades.portal.processes import GaveUp
from trades.portal.run import Options, Portal

pytestmark = pytest.mark.timeout(240)
START_SECONDS = 90
STOP_SECONDS = 40
# state, status, version and number of events at the end of the demo day
STANDINGS: dict[str, tuple[str, str, int | None, int]] = {
    "T-10041": ("LIVE", "CONFIRMED", 2, 6),
    "T-10042": ("LIVE", "CONFIRMED", 2, 5),
    "T-10043": ("LIVE", "CONFIRMED", 2, 4),
    "T-10044": ("CANCELLED", "CHECKED", 2, 4),
    "T-10045": ("LIVE", "CONFIRMED", 3, 5),
    "T-10046": ("LIVE", "REJECTED", 1, 2),
    "T-10047": ("LIVE", "CONFIRMED", 1, 4),
    "T-10048": ("LIVE", "CHECKED", 1, 2),
    "T-10049": ("LIVE", "RECEIVED", 3, 3),
    "T-10050": ("LIVE", "RECEIVED", 1, 1),
    "CDS-7781": ("TERMINATED", "RECEIVED", 2, 2),
    "100201": ("LIVE", "RECEIVED", None, 1),
    "100202": ("CANCELLED", "RECEIVED", None, 3),
    "000000NRTHGATEBANK40FXF20261120088": ("LIVE", "RECEIVED", None, 1),
    "FXF-3302": ("LIVE", "CONFIRMED", None, 2),
}
DEMO_TRADES = set(STANDINGS)
# All events, the broken message, and the one that is held behind it.
MESSAGES = sum(standing[-1] for standing in STANDINGS.values()) + 2
BOOK = """<TradeStatus xmlns="urn:tradeportal:tradestatus:1">
  <Header><MessageId>L-1</MessageId><Sender>TEST</Sender><SentAt>2026-11-20T17:00:01Z</SentAt></Header>
  <TradeId>T-LATE</TradeId><Version>1</Version><Event>BOOK</Event><EventTime>2026-11-20T17:00:00Z</EventTime>
  <TradeDetails><TradeDate>2026-11-20</TradeDate><Party role="buyer">Bank A</Party><Party role="seller">Fund B</Party>
    <Product>Bond</Product></TradeDetails>
</TradeStatus>"""


@dataclass
class Site:
    """A var folder and two ports, on which a portal is run."""

    var: Path
    port: int = field(default_factory=free_port)
    broker_port: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str | None]:
        # What a user has who never heard of AWS.
        return {
            "HOME": str(self.var.parent),
            "TRADES_VAR_DIR": str(self.var),
            "DATABASE_URL": f"sqlite:///{self.var / 'portal.sqlite3'}",
            **{name: None for name in os.environ if name.startswith("AWS_")},
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def manage(self, *arguments: str, stdin: str | None = None, **environment: str) -> Process:
        return manage(*arguments, environment={**self.environment, **environment}, stdin=stdin)

    def run_portal(self, *arguments: str, **environment: str) -> Process:
        ports = ("--port", str(self.port), "--broker-port", str(self.broker_port))
        return self.manage("run_portal", *ports, *arguments, **environment)

    def query(self, sql: str) -> list[tuple]:
        with closing(sqlite3.connect(self.var / "portal.sqlite3", timeout=20)) as database:
            return database.execute(sql).fetchall()

    def outcomes(self) -> dict[str, int]:
        return dict(self.query("SELECT outcome, count(*) FROM trades_message GROUP BY outcome"))

    def first_page(self) -> str:
        """What a browser shows that follows the banner's address."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=30) as answer:
            assert answer.status == 200
            return str(answer.read(), "utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "var")


@pytest.fixture
def portal(site: Site) -> Iterator[Callable[..., Process]]:
    """Starts a portal and waits until it says that it is ready. Whatever still runs at the end is stopped."""
    started: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        process = site.run_portal(*arguments, **environment)
        started.append(process)
        process.wait_for_line("Ctrl-C", START_SECONDS)
        return process

    yield start
    for process in started:
        if process.running:
            process.signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)
        process.__exit__()


def stop(process: Process, number: int = signal.SIGTERM) -> int:
    process.signal(number)
    return process.wait(STOP_SECONDS)


def children(pid: int) -> set[int]:
    """Process ids of all descendants."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    found = {int(child) for child in listed.read_text().split()} if listed.exists() else set()
    return found.union(*(children(child) for child in found)) if found else found


def alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_command_shows_a_trading_day_and_stops_without_a_trace(site: Site, portal: Callable[..., Process]) -> None:
    process = portal()

    assert 'type="password"' in site.first_page()
    assert f"http://127.0.0.1:{site.port}/" in process.output
    wait_until(lambda: sum(site.outcomes().values()) == MESSAGES, "all messages of the day", 60)
    assert site.outcomes() == {"RECORDED": MESSAGES - 2, "QUARANTINED": 1, "HELD": 1}
    standings = {row[0]: row[1:] for row in site.query("SELECT trade_id, state, status, version, event_count FROM trades_trade")}
    assert standings == STANDINGS
    assert site.query("SELECT count(*) FROM trades_publication WHERE state <> 'SENT'") == [(0,)]
    users = json.loads((site.var / "demo-users.json").read_text())
    assert set(users) == {"viewer", "operator", "administrator"}
    assert all(password in process.output for password in users.values())
    assert (site.var / "demo-users.json").stat().st_mode & 0o777 == 0o600
    descendants = children(process.pid)
    assert len(descendants) >= 4 or not Path("/proc").exists()

    assert stop(process, signal.SIGINT) == 0, process.output
    assert [pid for pid in descendants if alive(pid)] == []
    assert not is_open(site.port)
    assert not is_open(site.broker_port)
    assert not (site.var / "local-broker.env").exists()
    assert "Traceback" not in process.output


def test_a_restart_keeps_data_users_and_what_is_still_queued(site: Site, portal: Callable[..., Process]) -> None:
    first = portal("--no-worker", "--no-web")
    with site.manage("publish_trades", "-", stdin=BOOK) as publishing:
        assert publishing.wait() == 0, publishing.output
    uploads, users = site.query("SELECT count(*) FROM trades_upload"), (site.var / "demo-users.json").read_text()
    assert site.outcomes() == {}
    assert stop(first) == 0, first.output

    second = portal("--no-web")

    wait_until(lambda: site.query("SELECT 1 FROM trades_trade WHERE trade_id = 'T-LATE'"), "the message of the first run", 60)
    wait_until(
        lambda: {row[0] for row in site.query("SELECT trade_id FROM trades_trade")} == DEMO_TRADES | {"T-LATE"}, "the rest of it", 60
    )
    assert site.query("SELECT count(*) FROM trades_upload") == uploads
    assert (site.var / "demo-users.json").read_text() == users
    assert stop(second) == 0, second.output


def test_a_part_that_dies_is_started_again(site: Site, portal: Callable[..., Process]) -> None:
    process = portal("--no-web", "--no-relay", "--no-demo")
    process.wait_for_line("consume_trades ready")
    worker = next(pid for pid in children(process.pid) if b"consume_trades" in Path(f"/proc/{pid}/cmdline").read_bytes())

    os.kill(worker, signal.SIGKILL)

    process.wait_for_line("worker ended unexpectedly with signal SIGKILL. Starting it again in 1 s.")
    wait_until(lambda: process.output.count("consume_trades ready") == 2, "a second worker")
    assert stop(process) == 0


def test_every_queue_of_the_queues_file_gets_a_worker_of_its_own(site: Site, portal: Callable[..., Process]) -> None:
    file = site.var.parent / "queues.toml"
    file.write_text('[[routes]]\nname = "FpML"\nqueue = "Derivatives.fifo"\ndialect = "fpml-*"\n')

    process = portal("--no-web", TRADES_QUEUES_FILE=str(file))

    wait_until(lambda: sum(site.outcomes().values()) == MESSAGES, "all messages of the day", 60)
    by_queue = dict(site.query("SELECT queue, count(DISTINCT worker) FROM trades_message GROUP BY queue"))
    assert by_queue == {"TradeStatus.fifo": 1, "Derivatives.fifo": 1}
    assert "TradeStatus.fifo, Derivatives.fifo on the local broker" in process.output
    assert {row[0]: row[1:] for row in site.query("SELECT trade_id, state, status, version, event_count FROM trades_trade")} == STANDINGS
    assert stop(process) == 0, process.output


def test_a_queues_file_that_is_added_later_gets_its_queues_at_the_next_start(site: Site, portal: Callable[..., Process]) -> None:
    assert stop(portal("--no-web", "--no-demo", "--no-worker", "--no-relay")) == 0
    file = site.var.parent / "queues.toml"
    file.write_text('[[routes]]\nname = "fix"\nqueue = "Fix.fifo"\ndialect = "fixml"\n[[routes]]\nname = "rest"\nqueue = "Rest.fifo"\n')

    process = portal("--no-web", "--no-demo", TRADES_QUEUES_FILE=str(file))

    assert "let it in" not in process.output
    with site.manage("publish_trades", "-", stdin=BOOK, TRADES_QUEUES_FILE=str(file)) as publishing:
        assert publishing.wait() == 0, publishing.output
    with site.manage("publish_trades", "--queue", "Fix.fifo", "-", stdin=BOOK, TRADES_QUEUES_FILE=str(file)) as publishing:
        assert publishing.wait() == 0, publishing.output
    wait_until(lambda: {row[0] for row in site.query("SELECT queue FROM trades_message")} == {"Fix.fifo", "Rest.fifo"}, "both", 60)
    assert "unexpectedly" not in process.output
    assert stop(process) == 0, process.output


def test_a_broker_of_others_is_left_as_it_is_and_nothing_is_started_without_its_queues(site: Site, broker: LocalBroker) -> None:
    endpoint = {
        "AWS_ENDPOINT_URL_SQS": broker.url,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    unique = site.broker_port
    own = {**endpoint, "TRADES_QUEUE": f"First-{unique}.fifo", "TRADES_DEAD_LETTER_QUEUE": f"Dead-{unique}.fifo"}
    with site.manage("create_queues", **own) as creating:
        assert creating.wait() == 0, creating.output

    with site.run_portal("--no-web", "--no-demo", **{**own, "TRADES_QUEUE": f"Late-{unique}.fifo"}) as process:
        assert process.wait(START_SECONDS) == 1

    assert f"Not created: Late-{unique}.fifo. Dead-{unique}.fifo must let such a queue in first" in process.output
    assert "`create_queues --apply`" in process.output
    assert "consume_trades" not in process.output


def test_after_a_part_was_given_up_it_says_that_only_a_new_start_helps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(Portal, "_prepare", Mock(side_effect=GaveUp("worker ended unexpectedly.")))

    with pytest.raises(CommandError, match="The local broker has stopped too, so no command can reach its queues: put that right"):
        Portal(Options(web=False, broker_port=free_port())).run()


def test_a_queues_file_that_can_not_be_used_is_told_before_anything_is_started(site: Site) -> None:
    with site.run_portal(TRADES_QUEUES_FILE=str(site.var / "none.toml")) as process:
        assert process.wait(START_SECONDS) == 1

    assert "TRADES_QUEUES_FILE" in process.output
    assert not is_open(site.broker_port)


def test_a_part_that_always_dies_ends_the_portal(site: Site) -> None:
    with site.run_portal("--no-web", "--no-relay", "--no-demo", DATABASE_POOL_SIZE="8", TRADES_QUEUE="NotFifo") as process:
        code = process.wait(START_SECONDS)

    assert code == 1
    assert ".fifo" in process.output
    assert not is_open(site.broker_port)


@pytest.mark.parametrize("option", ["--port", "--broker-port"])
def test_a_taken_port_is_told_in_a_sentence_before_anything_is_started(site: Site, option: str) -> None:
    import socket

    taken = site.port if option == "--port" else site.broker_port
    with socket.create_server(("127.0.0.1", taken)), site.run_portal() as process:
        code = process.wait()

    assert code == 1
    assert f"Port {taken} of 127.0.0.1 cannot be used: address already in use." in process.output
    assert f"choose another port: {option} {taken + 1}" in process.output
    assert not (site.var / "portal.sqlite3").exists()
    assert "Traceback" not in process.output


def test_a_second_portal_on_the_same_folder_is_refused(site: Site, portal: Callable[..., Process]) -> None:
    portal("--no-web", "--no-worker", "--no-relay", "--no-demo")

    with Site(site.var).run_portal() as second:
        assert second.wait() == 1

    assert "A portal is already running on this folder" in second.output
    assert (site.var / "local-broker.env").exists()


def test_the_local_broker_has_a_bucket_for_payloads_that_other_commands_find(site: Site, portal: Callable[..., Process]) -> None:
    portal("--no-web", "--no-worker", "--no-relay", "--no-demo")

    told = dict(line.split("=", 1) for line in (site.var / "local-broker.env").read_text().splitlines() if "=" in line)
    s3 = boto3.client("s3", endpoint_url=told["AWS_ENDPOINT_URL_S3"])
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [told["TRADES_PAYLOAD_BUCKET"]] == ["tradeportal-payloads"]


def test_a_broker_that_is_configured_is_used_and_none_is_started(site: Site, portal: Callable[..., Process], broker: object) -> None:
    endpoint = broker.url  # type: ignore[attr-defined]
    own = {"AWS_ENDPOINT_URL_SQS": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-west-1"}

    process = portal(
        "--no-web", "--no-worker", "--no-relay", "--no-demo", TRADES_QUEUE="Own.fifo", TRADES_DEAD_LETTER_QUEUE="OwnDead.fifo", **own
    )

    assert f"SQS broker: {endpoint} (AWS_ENDPOINT_URL_SQS)" in process.output
    assert not is_open(site.broker_port)
    assert not (site.var / "local-broker.env").exists()


def test_nothing_outlives_a_portal_that_is_killed(site: Site, portal: Callable[..., Process]) -> None:
    if not Path("/proc/self/task").exists():
        pytest.skip("children end with their parent on Linux only")
    process = portal("--no-web", "--no-demo")
    descendants = children(process.pid)
    assert len(descendants) >= 3

    process.signal(signal.SIGKILL)

    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: not any(alive(pid) for pid in descendants), "the end of all children")
    # The file it could not remove does not hinder the next start.
    assert (site.var / "local-broker.env").exists()
    assert stop(portal("--no-web", "--no-worker", "--no-relay", "--no-demo")) == 0


STUBBORN = """
import sys
from trades.portal import processes
processes.GRACE_SECONDS = {grace}
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
try:
    with processes.Supervisor() as supervisor:
        supervisor.start(processes.Child("stubborn", [sys.executable, "-c", deaf]))
        supervisor.watch()
except processes.Stopped:
    print("Stopped.")
"""


def test_a_part_that_does_not_stop_is_killed_after_a_while(site: Site) -> None:
    with site.manage("shell", "-c", STUBBORN.format(grace=1)) as process:
        process.wait_for_line("stubborn | deaf")
        parts = children(process.pid)

        assert stop(process) == 0

    assert "stubborn did not stop within 1 s and was killed." in process.output
    assert [pid for pid in parts if alive(pid)] == []


def test_a_second_signal_kills_at_once(site: Site) -> None:
    with site.manage("shell", "-c", STUBBORN.format(grace=600)) as process:
        process.wait_for_line("stubborn | deaf")
        parts = children(process.pid)
        process.signal(signal.SIGTERM)
        process.wait_for_line("Stopping. A second signal kills at once")

        assert stop(process) == 128 + signal.SIGTERM

    wait_until(lambda: not any(alive(pid) for pid in parts), "the end of the stubborn part")


def test_demo_users_are_refused_in_production(site: Site) -> None:
    own = {"PRODUCTION": "on", "SECRET_KEY": "s" * 60, "ALLOWED_HOSTS": "trades.example.com"}

    with site.manage("create_demo_users", **own) as process:
        assert process.wait() == 1

    assert "CommandError: PRODUCTION is on" in process.output
    assert not (site.var / "demo-users.json").exists()
