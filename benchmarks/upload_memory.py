"""What a document of 64 MiB costs the web process: uploaded, read, rehearsed, published to a local broker and its S3.

`python -m benchmarks.upload_memory` starts a gunicorn as production does, with an SQLite file in a temporary folder, and prints its
private and its resident memory after each step, and the most that it was while that step went on. Exit status 1 means that it grew by
more than the figure. `--count N` uploads N documents of 1.5 MB after it. Resident memory counts what is mapped of the database file,
up to 32 MB for each connection, which the system takes back when it needs it; private memory does not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.messages.documents import BOOK
from tests.support.broker import fresh_bucket, fresh_queue, running_broker
from tests.support.waiting import free_port, is_open, wait_until

GROWTH_AT_MOST = 200  # MB
LARGEST, SMALLER = 64 * 1024 * 1024, 1_500_000  # bytes
PIECE = 1024 * 1024
AGAIN, AN_UPLOAD = 3, 250  # further documents of the largest size; files of one upload


class Watched:
    """A process whose memory is looked at all the time."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most, self._ended = pid, (0.0, 0.0), threading.Event()
        self.first = self.now()
        threading.Thread(target=self._watch, daemon=True).start()

    def now(self) -> tuple[float, float]:
        """(private, resident) memory in MB. What is mapped of the database file is resident and not private."""
        _, resident, shared, *_ = map(int, Path(f"/proc/{self.pid}/statm").read_text().split())
        page = resource.getpagesize() / 1e6
        return (resident - shared) * page, resident * page

    def told(self, step: str) -> float:
        """Print what a step took, and begin the next; gives by how much the private memory grew in it at most."""
        most, self.most = self.most, (0.0, 0.0)
        grown = most[0] - self.first[0]
        print(f"{step:<42}{most[0]:>9.1f}{most[1]:>9.1f}{grown:>9.1f}", flush=True)
        return grown

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            with suppress(OSError):
                self.most = tuple(map(max, self.most, self.now()))  # type: ignore[assignment]


class Browser:
    """Somebody who is signed in and may publish."""

    def __init__(self, port: int, session: str) -> None:
        self.port, self.token = port, uuid.uuid4().hex
        self.headers = {"Cookie": f"sessionid={session}; csrftoken={self.token}", "X-CSRFToken": self.token}

    def get(self, address: str) -> str:
        """A page."""
        return self._ask("GET", address, None, {})

    def post(self, address: str, fields: dict[str, str], size: int = 0, number: int = 0) -> str:
        """The answer to a form, which may carry a document of that size."""
        boundary, parts = uuid.uuid4().hex, b""
        for name, value in fields.items():
            parts += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        if size:
            parts += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="large.xml"\r\n\r\n'.encode()
        end = (b"\r\n" if size else b"") + f"--{boundary}--\r\n".encode()
        content = document(size, number) if size else iter(())
        length = len(parts) + size + len(end)
        body = (piece for part in (iter([parts]), content, iter([end])) for piece in part)
        return self._ask(
            "POST", address, body, {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
        )

    def _ask(self, method: str, address: str, body: Any, headers: dict[str, str]) -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)) as asking:
            script = {"X-Requested-With": "XMLHttpRequest"} if headers else {}
            asking.request(method, address, body, {**self.headers, **script, **headers})
            answer = asking.getresponse()
            text = answer.read().decode()
            assert answer.status < 400, f"{address}: {answer.status} {text[:500]}"
            return text


def document(size: int, number: int) -> Iterator[bytes]:
    """A booking of exactly that many bytes: remarks of 1 MB before its header."""
    head, _, tail = BOOK.replace("T-10045", f"T-{number}").partition("<Header>")
    left = size - len(head.encode()) - len(f"<Header>{tail}".encode())
    yield head.encode()
    while left:
        length = left if left < 2 * PIECE else PIECE
        yield b"<!--" + b"x" * (length - 7) + b"-->"
        left -= length
    yield f"<Header>{tail}".encode()


def measure(browser: Browser, process: Watched, count: int) -> float:
    """Upload, check, look, publish and download; gives by how much the process grew at most."""
    print(f"{'MB':<42}{'private':>9}{'resident':>9}{'grown':>9}")
    begun = json.loads(browser.post("/uploads/begin/", {"group": ""}))
    process.told("a new upload")
    grown = [_told(process, "64 MiB uploaded and read", browser.post(begun["files"], {"position": "1"}, LARGEST))]
    browser.post(begun["check"], {})
    grown.append(process.told("rehearsed"))
    page = browser.get(begun["page"])
    grown.append(process.told("the review"))
    browser.post(begun["decide"], {"choice": "all"})
    page = browser.get(begun["page"])
    grown.append(process.told("published through S3"))
    assert "1 message published" in page, re.sub(r"\s+", " ", page)[:2_000]
    original = re.search(r'href="([^"]+/original)"', page)
    assert original
    assert len(browser.get(original[1])) == LARGEST
    grown.append(process.told("the original, downloaded"))
    for number in range(1, AGAIN + 1):  # as a rule another thread, with another connection
        begun = json.loads(browser.post("/uploads/begin/", {"group": ""}))
        grown.append(_told(process, "64 MiB again", browser.post(begun["files"], {"position": "1"}, LARGEST, number)))
    for number in range(count):
        if number % AN_UPLOAD == 0:
            begun = json.loads(browser.post("/uploads/begin/", {"group": ""}))
        browser.post(begun["files"], {"position": str(number % AN_UPLOAD + 1)}, SMALLER, number)
        if (number + 1) % max(1, count // 5) == 0:
            grown.append(process.told(f"{number + 1:,} documents of 1.5 MB"))
    return max(grown)


def _told(process: Watched, step: str, answer: str) -> float:
    assert json.loads(answer)["messages"] == 1, answer
    return process.told(step)


@contextmanager
def portal(environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    """A gunicorn of one worker; gives the port and the process id of the worker."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "tradeportal.wsgi", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        wait_until(lambda: is_open(port) or process.poll() is not None, "gunicorn to listen")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: children.read_text().split(), "the worker")
        yield port, int(children.read_text().split()[0])
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "DJANGO_SETTINGS_MODULE": "tradeportal.settings",
            "TRADES_VAR_DIR": folder,
            "DATABASE_URL": f"sqlite:///{folder}/portal.sqlite3",
            "SECRET_KEY": uuid.uuid4().hex,
            "LOG_LEVEL": "WARNING",
        }
        os.environ |= environment
        with running_broker(Path(folder)) as broker:
            os.environ |= broker.client_environment
            environment |= broker.client_environment | fresh_queue(broker).environment
            grown = _measured(environment | {"TRADES_PAYLOAD_BUCKET": fresh_bucket(broker).name}, options.count)
    verdict = "reached" if grown <= GROWTH_AT_MOST else "MISSED"
    print(f"grown by {grown:.1f} MB   at most {GROWTH_AT_MOST}: {verdict}")
    sys.exit(0 if grown <= GROWTH_AT_MOST else 1)


def _measured(environment: dict[str, str], count: int) -> float:
    session = _signed_in()
    with portal(environment) as (port, pid):
        browser = Browser(port, session)
        browser.get("/uploads/new/")
        time.sleep(0.5)
        process = Watched(pid)
        grown = measure(browser, process, count)
        process.end()
    return grown


def _signed_in() -> str:
    """A session of a new person who may publish, in a new database."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("otto", password=uuid.uuid4().hex))
    return client.cookies["sessionid"].value


if __name__ == "__main__":
    main()
