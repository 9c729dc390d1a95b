"""The short run of `make chaos`, and the parts that it stands on."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.postgres import Postgres
from tests.chaos.report import Wanted
from tests.chaos.run import run
from tests.chaos.supervisor import Slot, Supervisor
from tests.support.processes import Process
from tests.support.waiting import wait_until

SERVICE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("service ready", flush=True)
time.sleep(600)
"""


@pytest.mark.xdist_group("chaos")
@pytest.mark.timeout(300)
def test_nothing_is_lost_repeated_or_reordered_under_violence() -> None:
    said: list[str] = []

    outcome = run(Wanted(messages=2_000, trades=200, seconds=20, seed=4, visibility_seconds=10), said.append)

    assert not outcome.violations, "\n".join([*said, *report.lines(outcome)])
    assert {"worker after SIGKILL: -9", "worker after SIGTERM: 0"} <= set(outcome.processes.ends)
    assert outcome.evidence
    assert {message.outcome for message in outcome.evidence.messages} == {"RECORDED", "QUARANTINED", "HELD"}


def test_the_supervisor_starts_what_ends_again_and_tells_how_it_ended() -> None:
    with Supervisor() as supervisor:
        supervisor.slots.append(Slot("service-1", "service", lambda: Process(sys.executable, "-c", SERVICE)))
        for number in (signal.SIGKILL, signal.SIGTERM):
            supervisor.tick()
            supervisor.lives[-1].process.wait_for_line("service ready")
            assert supervisor.send("service", 0.5, number)
            wait_until(lambda: supervisor.tick() or not supervisor.lives[-1].signals, "the process to be started again")

        assert supervisor.stop(20) == []

    assert [(life.signals, life.code) for life in supervisor.lives][:2] == [(["SIGKILL"], -9), (["SIGTERM"], 0)]


# On one worker: the package makes the user that PostgreSQL runs as, and two processes that both find none fail.
@pytest.mark.xdist_group("chaos")
def test_postgres_keeps_what_was_committed_when_it_is_killed(tmp_path: Path) -> None:
    with Postgres(tmp_path) as postgres:
        with postgres.connect() as connection:
            connection.execute("CREATE TABLE kept (number integer)")
            connection.execute("INSERT INTO kept VALUES (1)")

        postgres.restart("immediate")
        postgres.stop("fast")
        assert not postgres.socket.exists()
        postgres.start()

        with postgres.connect() as connection:
            assert connection.execute("SELECT number FROM kept").fetchall() == [(1,)]
    assert not postgres.socket.exists()
