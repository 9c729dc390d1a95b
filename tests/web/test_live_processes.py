"""Live streams of a real gunicorn: it ends with them open, and they hold no database connection."""

from __future__ import annotations

import http.client
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from tests.support.processes import Process
from tests.support.waiting import free_port, is_open, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Site:
    """A gunicorn as production starts it, and a reader who is signed in."""

    def __init__(self, reader: Client, stack: ExitStack) -> None:
        self.stack = stack
        self.port = free_port()
        # Two tests at once may have a site each, on the same PostgreSQL.
        self.name = f"portal-of-test-{self.port}"
        self.cookie = f"sessionid={reader.cookies['sessionid'].value}"
        environment = {
            "DJANGO_SETTINGS_MODULE": "tradeportal.settings",
            "SECRET_KEY": settings.SECRET_KEY,
            "DATABASE_POOL_SIZE": "2",
            "PGAPPNAME": self.name,
        }
        # A stop that waits for the streams would last longer than any test does.
        command = (
            "-m",
            "gunicorn",
            "tradeportal.wsgi",
            "--bind",
            f"127.0.0.1:{self.port}",
            "--graceful-timeout",
            "300",
            "--no-control-socket",
        )
        self.process = stack.enter_context(Process(sys.executable, *command, environment=environment))
        wait_until(lambda: is_open(self.port) or not self.process.running, "gunicorn to listen")
        assert self.process.running, self.process.output

    def ask(self, address: str) -> http.client.HTTPResponse:
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        asking.request("GET", address, headers={"Cookie": self.cookie, "Connection": "close"})
        return self.stack.enter_context(closing(asking.getresponse()))

    def open_stream(self) -> http.client.HTTPResponse:
        """A stream that has told its first news."""
        stream = self.ask("/live/")
        assert stream.status == 200, stream.read()
        while line := stream.readline():
            if line.startswith(b"data: "):
                return stream
        raise AssertionError(f"the stream ended; gunicorn printed:\n{self.process.output}")

    def answer(self, address: str) -> int:
        """The status of a page, read to its end."""
        answer = self.ask(address)
        answer.read()
        return answer.status


@pytest.fixture
def site(shared_database: str, var_dir: Path, roles: None, vera: Client) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(vera, stack)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_asked_to_stop_ends_with_pages_open(site: Site, number: signal.Signals) -> None:
    streams = [site.open_stream() for _ in range(2)]

    site.process.signal(number)

    assert site.process.wait(30) == 0, site.process.output
    # More news may have come before the signal; what is left to read after the line of the first ends where an event ends.
    assert all((b"\n" + stream.read()).endswith(b"\n\n") for stream in streams)
    assert "Traceback" not in site.process.output


def test_streams_leave_the_connections_to_the_pages(site: Site) -> None:
    streams = [site.open_stream() for _ in range(6)]

    assert [site.answer("/reference/") for _ in range(4)] == [200] * 4
    assert site.answer("/live/now") == 200
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [site.name])
            assert 1 <= cursor.fetchone()[0] <= 2
    assert len(streams) == 6


def test_a_browser_that_has_gone_gives_its_place_back(site: Site) -> None:
    streams = [site.open_stream() for _ in range(settings.TRADES_LIVE_STREAMS)]
    assert site.answer("/live/") == 503

    streams[0].close()

    wait_until(lambda: site.ask("/live/").status == 200, "a place for another stream")
