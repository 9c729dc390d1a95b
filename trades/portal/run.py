"""The portal on one machine: prepare, start the commands that production uses, say where it is, keep them running, stop them."""

from __future__ import annotations

import http.client
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import OperationalError, connections

from trades import dialects, routes
from trades.portal import demo
from trades.portal.broker import (
    HOST,
    LocalBroker,
    check_port,
    configured_broker,
    forget_dead_broker,
    remove_client_file,
    write_client_file,
)
from trades.portal.processes import Child, GaveUp, Stopped, Supervisor, exit_words, say

WEB_SECONDS = 60.0
BROKER_SECONDS = 30.0
WEB_THREADS = 16  # for pages; each live stream has one of its own beside them
WORKER_WAIT_SECONDS = 2
QUEUES_DIFFER = 3  # exit status of create_queues for queues that exist with other attributes
EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104


@dataclass(frozen=True)
class Options:
    """What to run, and where."""

    host: str = HOST
    port: int = 8000
    broker_port: int = 4566
    broker: bool = True
    web: bool = True
    worker: bool = True
    relay: bool = True
    demo: bool = True
    workers: int = 1


class Portal:
    """Runs all parts of the portal until a signal comes."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.supervisor = Supervisor()
        self.local_broker: LocalBroker | None = None
        self.broker_words = "what boto3 finds by itself (--no-broker)"
        self.passwords: dict[str, str] = {}

    def run(self) -> None:
        """Returns after an orderly stop. Raises CommandError, everything stopped, when something cannot be started or kept running."""
        self._check_files()
        self._choose_broker()
        self._check_ports()
        try:
            with self.supervisor:
                self._prepare()
                self._start_parts()
                self._publish_demo_day()
                say(self._banner())
                self.supervisor.watch()
        except Stopped:
            say("Stopped.")
        except GaveUp as error:
            raise CommandError(f"Stopped, because {error}{self._what_helps()}") from None
        finally:
            if self.local_broker is not None:
                remove_client_file()

    # Before anything is started

    def _check_files(self) -> None:
        # Every part checks these as it starts, and would be started again and again.
        for setting, faults in (("TRADES_DIALECTS_DIR", dialects.faults()), ("TRADES_QUEUES_FILE", routes.faults())):
            if faults:
                raise CommandError(f"{setting} can't be used.\n" + "\n".join(faults))

    def _choose_broker(self) -> None:
        if not self.options.broker:
            self.broker_words = configured_broker(os.environ) or self.broker_words
            return
        forget_dead_broker(os.environ)
        if configured := configured_broker(os.environ):
            self.broker_words = configured
            return
        broker = LocalBroker(self.options.broker_port, Path(settings.VAR_DIR) / "broker")
        if not broker.python.is_file():
            raise CommandError(
                "No SQS broker is configured and the local one is not installed. Start with `make run`, which installs it in .broker, "
                "or set AWS_ENDPOINT_URL_SQS or AWS credentials to use another."
            )
        self.local_broker = broker
        self.broker_words = f"the local broker at {broker.url}"

    def _check_ports(self) -> None:
        if self.options.web:
            check_port(self.options.host, self.options.port, "--port")
        if self.local_broker is not None:
            check_port(HOST, self.local_broker.port, "--broker-port")

    # Database, broker, queues, users

    def _prepare(self) -> None:
        self._migrate()
        if self.local_broker is not None:
            self._start_broker(self.local_broker)
        self.supervisor.raise_if_stopping()
        say(f"SQS broker: {self.broker_words}")
        self._create_queues()
        if self._with_demo:
            self.passwords = demo.ensure_demo_users()
        close_database()

    def _migrate(self) -> None:
        # WhiteNoise warns when there is no folder of collected files, which only production has.
        Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except OperationalError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"The database cannot be used: {reason}. Check that it runs and that DATABASE_URL is right.") from None

    def _create_queues(self) -> None:
        # The local broker is the portal's own, and so is every queue on it; elsewhere a person decides about what exists.
        own = ["--apply", "--bucket", os.environ["TRADES_PAYLOAD_BUCKET"]] if self.local_broker is not None else []
        try:
            call_command("create_queues", *own)
        except CommandError as error:
            # Queues that differ are a warning; what can't be created or reached is the end.
            if error.returncode != QUEUES_DIFFER:
                raise
            say(str(error))

    def _start_broker(self, broker: LocalBroker) -> None:
        broker.folder.mkdir(parents=True, exist_ok=True)
        child = Child("broker", broker.command, broker.process_environment, stops_last=True)

        def restarted() -> None:
            # Killed, it has forgotten its queues.
            if self.supervisor.wait_until(broker.answers, child, BROKER_SECONDS):
                self._create_queues()

        child.on_restart = restarted
        self.supervisor.start(child)
        if not self.supervisor.wait_until(broker.answers, child, BROKER_SECONDS):
            raise CommandError(f"The local broker did not answer within {BROKER_SECONDS:.0f} seconds. What it printed above says why.")
        write_client_file(broker)
        os.environ |= broker.client_environment

    # The parts

    def _start_parts(self) -> None:
        options = self.options
        if options.worker:
            for queue in routes.own_queues():
                self._start_workers(queue)
        if options.relay:
            self.supervisor.start(Child("relay", manage("relay_publications")))
        if options.web:
            web = Child("web", self._web_command())
            self.supervisor.start(web)
            if not self.supervisor.wait_until(self._web_answers, web, WEB_SECONDS):
                raise CommandError(f"The web server did not answer within {WEB_SECONDS:.0f} seconds. What it printed above says why.")

    def _start_workers(self, queue: str) -> None:
        of = "worker" if queue == settings.TRADES_QUEUE else f"worker of {queue.removesuffix('.fifo')}"
        for number in range(1, self.options.workers + 1):
            name = of if self.options.workers == 1 else f"{of} {number}"
            self.supervisor.start(Child(name, manage("consume_trades", "--queue", queue, "--wait", str(WORKER_WAIT_SECONDS))))

    def _web_command(self) -> list[str]:
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        # One process: live pages share what they watch. gunicorn.conf.py says how their streams end.
        command = [sys.executable, "-m", "gunicorn", "tradeportal.wsgi", "--bind", f"{host}:{self.options.port}"]
        command += ["--worker-class", "gthread", "--workers", "1", "--threads", str(WEB_THREADS + settings.TRADES_LIVE_STREAMS)]
        return [*command, "--graceful-timeout", "5", "--no-control-socket", "--log-level", "warning"]

    def _web_answers(self) -> bool:
        host = HOST if self.options.host in EVERY_ADDRESS else self.options.host
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(host, self.options.port, timeout=30)
            try:
                connection.request("GET", "/")
                return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
            finally:
                connection.close()
        return False

    # The demo

    @property
    def _with_demo(self) -> bool:
        return self.options.demo and not settings.PRODUCTION

    def _publish_demo_day(self) -> None:
        empty = self._with_demo and demo.is_empty()
        close_database()
        if not empty:
            return
        say("The database is empty: publishing a trading day to look at.")
        published = 0
        for arguments in demo.publishing_steps():
            child = Child("demo", manage("publish_trades", *arguments), quiet=True)
            code = self.supervisor.run(child)
            published += sum("MessageId:" in line for line in child.lines)
            if code:
                say("\n".join(child.lines))
                say(f"The demo day was published only in part ({exit_words(code)}); the lines above say why.")
                return
        say(f"Published {published} messages.")

    # Words

    def _what_helps(self) -> str:
        if self.local_broker is None:
            return ""
        return (
            " The local broker has stopped too, so no command can reach its queues: put that right, then start all of it with `make run`."
        )

    def _banner(self) -> str:
        options = self.options
        rows: list[tuple[str, str]] = []
        if options.web:
            host = HOST if options.host in EVERY_ADDRESS else options.host
            rows.append(("Trade Portal", f"http://{f'[{host}]' if ':' in host else host}:{options.port}/"))
        for index, (name, password) in enumerate(self.passwords.items()):
            rows.append(("" if index else "Sign in as", f"{name:<14} password {password}"))
        rows.append(("Queue", f"{', '.join(routes.own_queues())} on {self.broker_words}"))
        rows.append(("Publish", f"{python_words()} manage.py publish_trades FILE.xml   (in another terminal)"))
        off = [name for name in ("web", "worker", "relay") if not getattr(options, name)]
        if off:
            rows.append(("Switched off", ", ".join(off)))
        rows.append(("Stop", "Ctrl-C; what is queued is kept"))
        line = "-" * 78
        return "\n".join([line, *(f"{label:<14} {text}" for label, text in rows), line])


def close_database() -> None:
    """Let go of every connection, pooled ones too: none should stay open for days."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        # PostgreSQL's alone has one.
        if close_pool := getattr(connection, "close_pool", None):
            close_pool()


def manage(*arguments: str) -> list[str]:
    """The command line of one of our management commands."""
    return [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments]


def python_words() -> str:
    """How to call the interpreter we run under, as short as it can be typed in the project's folder."""
    with suppress(ValueError):
        return str(Path(sys.executable).relative_to(settings.BASE_DIR))
    return sys.executable
