"""Waiting for a condition, never for a time."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import connection

T = TypeVar("T")
# Below the ports that systems give to connections by themselves, any of which could take a port between the look and its use.
# Each test process has its own of them.
PORTS = range(10_000 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8, 32_000, 8)
_given: set[int] = set()
# Of this database alone: other tests wait for locks on the same server. A lock for a transaction names no database,
# but who waits for one holds locks on tables too.
WAITING = """SELECT count(*) FROM pg_locks AS waiting WHERE NOT granted AND EXISTS (
    SELECT 1 FROM pg_locks AS held JOIN pg_database ON pg_database.oid = held.database
    WHERE held.pid = waiting.pid AND datname = current_database())"""


def wait_until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """The first truthy value of `condition`, asked again and again. Fails with `what` was awaited after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} seconds in vain: {what}")
        time.sleep(0.05)


def some_lock_is_waited_for() -> bool:
    """Whether a transaction of the test's own database waits for another's lock (PostgreSQL)."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return bool(cursor.fetchone()[0])


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago, another one each time, and that no connection gets by chance."""
    while True:
        port = secrets.choice(PORTS)
        if port in _given:
            continue
        with socket.socket() as server:
            try:
                server.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def is_open(port: int) -> bool:
    """Whether anything accepts connections on that port of 127.0.0.1."""
    with socket.socket() as client:
        client.settimeout(2)
        return client.connect_ex(("127.0.0.1", port)) == 0
