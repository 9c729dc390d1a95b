"""Real processes: started as a user starts them, read line by line, stopped by real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
# manage.py with something done before.
PROGRAM = """
import sys, django
django.setup()
{before}
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
# A worker that ends gives its last heartbeat some seconds, in which a busy machine may not write it.
PATIENT = "from trades import heartbeat; heartbeat.LAST_SECONDS = 60"


class Process:
    """A process in its own session, whose output is collected as it comes. Use as a context manager: leaving it ends the process.

    `environment` is added to ours; a variable set to None is taken out.
    """

    def __init__(self, *command: str, environment: Mapping[str, str | None] | None = None, stdin: str | None = None) -> None:
        self.lines: list[str] = []
        wanted: dict[str, str | None] = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env={name: value for name, value in wanted.items() if value is not None},
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if stdin is not None and self._popen.stdin:
            self._popen.stdin.write(stdin)
            self._popen.stdin.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stdout
        with self._popen.stdout:
            self.lines.extend(line.rstrip("\n") for line in self._popen.stdout)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def output(self) -> str:
        """Everything printed so far, standard error included."""
        return "\n".join(self.lines)

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait_for_line(self, text: str, seconds: float = 30) -> str:
        """The first line that holds `text`. Fails, showing the output, when the process ends without it or time runs out."""

        def seen() -> str | bool:
            running = self.running
            return next((line for line in list(self.lines) if text in line), "") or not running

        line = wait_until(seen, f"a line with {text!r} from process {self.pid}; it printed:\n{self.output}", seconds)
        if isinstance(line, str):
            return line
        self._reader.join(5)
        found = [line for line in self.lines if text in line]
        assert found, f"process ended with {self._popen.returncode} without printing {text!r}; it printed:\n{self.output}"
        return found[0]

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the process alone, not to its children."""
        self._popen.send_signal(number)

    def wait(self, seconds: float = 30) -> int:
        """The exit code, negative for a signal; all output has been read by then. Fails when it has not ended in time."""
        try:
            code = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"process {self.pid} still runs after {seconds} seconds; it printed:\n{self.output}") from None
        self._reader.join(5)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._reader.join(5)


def manage(*arguments: str, environment: Mapping[str, str | None] | None = None, stdin: str | None = None, before: str = "") -> Process:
    """`manage.py ARGUMENTS` under the product's own settings, not those of the tests, after statements of the test's."""
    own: dict[str, str | None] = {"DJANGO_SETTINGS_MODULE": "tradeportal.settings", **(environment or {})}
    program = ("-c", PROGRAM.format(before=before)) if before else (str(ROOT / "manage.py"),)
    return Process(sys.executable, *program, *arguments, environment=own, stdin=stdin)
