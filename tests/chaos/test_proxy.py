"""The proxy does to connections what it is told, and else nothing."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy
from tests.support.waiting import is_open


class Echo(socketserver.StreamRequestHandler):
    """Answers each line with the same line, and remembers it."""

    heard: list[bytes] = []

    def handle(self) -> None:
        try:
            for line in self.rfile:
                self.heard.append(line)
                self.wfile.write(line)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture(params=["port", "socket"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy before an echo server on a port or on a Unix socket."""
    Echo.heard = []
    at_port = request.param == "port"
    with Server(("127.0.0.1", 0), Echo) if at_port else UnixServer(str(tmp_path / "echo"), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        target = int(server.socket.getsockname()[1]) if at_port else tmp_path / "echo"
        with Proxy(target) as proxy:
            yield proxy
        server.shutdown()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=30)


def ask(client: socket.socket, text: bytes) -> bytes:
    """The answer to one line, without its end; empty when the connection ends instead."""
    try:
        client.sendall(text + b"\n")
        answer = b""
        while not answer.endswith(b"\n") and (more := client.recv(65_536)):
            answer += more
    except ConnectionError:
        return b""
    return answer.rstrip(b"\n")


def test_it_passes_everything_on_in_both_directions(proxy: Proxy) -> None:
    long = b"0123456789" * 50_000

    with connect(proxy) as first, connect(proxy) as second:
        assert [ask(first, b"one"), ask(second, b"two"), ask(first, long)] == [b"one", b"two", long]


def test_slowly_everything_still_arrives(proxy: Proxy) -> None:
    proxy.delay = 0.01

    with connect(proxy) as client:
        assert [ask(client, b"one"), ask(client, b"x" * 300_000)] == [b"one", b"x" * 300_000]


def test_a_severed_connection_ends_and_a_new_one_works(proxy: Proxy) -> None:
    with connect(proxy) as old, connect(proxy) as other, connect(proxy) as new_later:
        assert [ask(client, b"one") for client in (old, other, new_later)] == [b"one"] * 3

        assert proxy.sever() == 3

        assert [ask(old, b"two"), ask(other, b"two")] == [b"", b""]
    with connect(proxy) as new:
        assert ask(new, b"three") == b"three"


def test_a_closed_port_refuses_and_ends_what_there_was_until_it_is_opened_again(proxy: Proxy) -> None:
    with connect(proxy) as old:
        assert ask(old, b"one") == b"one"

        proxy.close()

        assert not is_open(proxy.port)
        assert ask(old, b"two") == b""
    proxy.open()
    with connect(proxy) as new:
        assert ask(new, b"three") == b"three"


def test_an_answer_that_is_swallowed_is_lost_although_the_request_was_heard(proxy: Proxy) -> None:
    with connect(proxy) as client:
        assert ask(client, b"one") == b"one"
        proxy.swallow(on=True)
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(ask(client, b"two")))
        asking.start()
        while b"two\n" not in Echo.heard:
            assert asking.is_alive()

        proxy.swallow(on=False)
        asking.join(30)

    assert answers == [b""]
    with connect(proxy) as new:
        assert ask(new, b"three") == b"three"


def test_nobody_behind_it_is_a_connection_that_ends(tmp_path: Path) -> None:
    with Proxy(tmp_path / "nobody") as proxy, connect(proxy) as client:
        assert ask(client, b"one") == b""
