"""Child processes: started, watched, started again when they die, and stopped in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from django.conf import settings

LEASH = Path(__file__).with_name("leash.py")
GRACE_SECONDS = 15.0
POLL_SECONDS = 0.1
# A child that lives shorter than this died quickly; after so many quick deaths in a row it is not started again.
QUICK_SECONDS = 20.0
QUICK_DEATHS = 5
FIRST_PAUSE_SECONDS = 0.5


class Stopped(Exception):
    """A signal asked the portal to stop."""


class GaveUp(Exception):
    """A child died again and again: one sentence with what to look at."""


class Child:
    """
    One child process in a session of its own, so that Ctrl-C reaches only the parent, which then stops all in order.

    `on_restart` runs after it was started again; `stops_last` children outlive the others, which may need them to stop well. What a
    `quiet` child prints is only kept, in `lines`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        on_restart: Callable[[], None] | None = None,
        stops_last: bool = False,
        quiet: bool = False,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment or {})
        self.on_restart = on_restart
        self.stops_last = stops_last
        self.quiet = quiet
        self.lines: list[str] = []
        self.quick_deaths = 0
        self.restart_at: float | None = None
        self._started_at = 0.0
        self._process: subprocess.Popen[str] | None = None
        self._pump: threading.Thread | None = None

    def start(self) -> None:
        """Start the process; its output lines appear on ours, led by its name."""
        self.restart_at = None
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-S", str(LEASH), str(os.getpid()), *self.command],
            cwd=settings.BASE_DIR,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._pump = threading.Thread(target=self._print_output, args=(self._process,), daemon=True)
        self._pump.start()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def terminate(self) -> None:
        """Ask it to stop."""
        if self._process is not None and self.running:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended and its output is printed; killed, with a sentence, when it takes longer than `seconds`."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            say(f"{self.name} did not stop within {GRACE_SECONDS:.0f} s and was killed.")
            self.kill()
            self._process.wait()
        if self._pump is not None:
            self._pump.join(2)

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def death(self, now: float) -> str:
        """
        Note that it died unexpectedly and when to start it again; gives the sentence to print.

        Raises GaveUp after QUICK_DEATHS quick deaths in a row.
        """
        ending = f"ended unexpectedly with {exit_words(self.exit_code)}"
        self.quick_deaths = self.quick_deaths + 1 if now - self._started_at < QUICK_SECONDS else 1
        if self.quick_deaths >= QUICK_DEATHS:
            raise GaveUp(f"{self.name} {ending}, {QUICK_DEATHS} times within seconds of its start. What it printed above says why.")
        pause = FIRST_PAUSE_SECONDS * 2**self.quick_deaths
        self.restart_at = now + pause
        return f"{self.name} {ending}. Starting it again in {pause:.0f} s."

    def _print_output(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    self._print_line(line.rstrip())

    def _print_line(self, line: str) -> None:
        if self.quiet:
            self.lines.append(line)
        else:
            say(f"{self.name:<8} | {line}")


class Supervisor:
    """
    Starts children, keeps them running and stops them. Leaving the context stops all, whatever the reason.

    The first SIGINT or SIGTERM stops in order, a second one kills everything at once.
    """

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.stopping = False
        self._old_handlers: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old_handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop_all()
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def start(self, child: Child) -> None:
        """Start a child and watch it from now on."""
        self.raise_if_stopping()
        self.children.append(child)
        child.start()

    def run(self, child: Child) -> int | None:
        """Start a child that does one thing, wait for its end without limit and give its exit code. Raises Stopped."""
        self.start(child)
        while child.running:
            self._pause()
        self.children.remove(child)
        child.wait(0)
        return child.exit_code

    def wait_until(self, condition: Callable[[], bool], child: Child, seconds: float) -> bool:
        """Whether the condition came true within so many seconds, while the child ran. Raises Stopped."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not child.running or time.monotonic() > deadline:
                return False
            self._pause()
        return True

    def watch(self) -> None:
        """Keep the children running until a signal comes, which raises Stopped. Raises GaveUp when one cannot be kept running."""
        while True:
            for child in self.children:
                self._look_after(child, time.monotonic())
            self._pause()

    def raise_if_stopping(self) -> None:
        """Raise Stopped once a signal has come."""
        if self.stopping:
            raise Stopped

    def _look_after(self, child: Child, now: float) -> None:
        if child.running:
            return
        if child.restart_at is None:
            say(child.death(now))
        elif now >= child.restart_at:
            child.start()
            if child.on_restart is not None:
                child.on_restart()

    def _pause(self) -> None:
        self.raise_if_stopping()
        time.sleep(POLL_SECONDS)

    def _stop_all(self) -> None:
        for last in (False, True):
            group = [child for child in self.children if child.stops_last is last]
            for child in group:
                child.terminate()
            deadline = time.monotonic() + GRACE_SECONDS
            for child in group:
                child.wait(max(0.0, deadline - time.monotonic()))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            for child in self.children:
                child.kill()
            os._exit(128 + number)
        self.stopping = True
        # Not print(): the signal may have come in the middle of another print, whose lock is not to be taken twice.
        with suppress(OSError):
            os.write(1, b"\nStopping. A second signal kills at once and loses what is queued in the local broker.\n")


def say(line: str) -> None:
    """Print one line at once and whole, though several threads print."""
    with suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def exit_words(code: int | None) -> str:
    """An exit code in words: "exit code 1" or "signal SIGKILL"."""
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
