"""Which SQS broker the portal uses, and the local one that run_portal starts when nothing else is configured."""

from __future__ import annotations

import configparser
import http.client
import json
import os
import socket
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import environ
from django.conf import settings
from django.core.management.base import CommandError

HOST = "127.0.0.1"
DEFAULT_REGION = "us-east-1"
BUCKET = "tradeportal-payloads"
ENDPOINTS = ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL")
# Where boto3 looks for credentials, apart from its files and the machine's own role:
# https://docs.aws.amazon.com/boto3/latest/guide/credentials.html
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
CREDENTIAL_KEYS = {"aws_access_key_id", "credential_process", "role_arn", "sso_session", "sso_start_url", "login_session"}


@dataclass(frozen=True)
class LocalBroker:
    """ministack on 127.0.0.1, from an environment of its own; what is queued is kept in `folder` across restarts."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where boto3 finds it."""
        return f"http://{HOST}:{self.port}"

    @property
    def python(self) -> Path:
        """The interpreter of the environment that `make run` builds for it."""
        return Path(settings.BASE_DIR) / ".broker" / "bin" / "python"

    @property
    def command(self) -> list[str]:
        """What to run."""
        return [str(self.python), "-m", "ministack"]

    @property
    def process_environment(self) -> dict[str, str]:
        """What the broker itself needs. It saves its state when it is stopped by SIGTERM, and only then."""
        return {
            "BIND_HOST": HOST,
            "MINISTACK_HOST": HOST,
            "GATEWAY_PORT": str(self.port),
            "SERVICES": "sqs,s3,sts",
            "LOG_LEVEL": "WARNING",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.folder),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "TMPDIR": str(self.folder),
        }

    @property
    def client_environment(self) -> dict[str, str]:
        """What boto3 needs to find it, and the bucket for payloads. The credentials are made up: the broker asks for some and checks
        none."""
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION
        return {
            "AWS_ENDPOINT_URL_SQS": self.url,
            "AWS_ENDPOINT_URL_S3": self.url,
            "TRADES_PAYLOAD_BUCKET": settings.TRADES_PAYLOAD_BUCKET or BUCKET,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }

    def answers(self) -> bool:
        """Whether it is up."""
        return is_local_broker(self.port)


def configured_broker(environment: Mapping[str, str]) -> str | None:
    """The broker that the environment or the AWS files choose, in words; None when nothing is configured."""
    for name in ENDPOINTS:
        if environment.get(name):
            return f"{environment[name]} ({name})"
    for name in CREDENTIALS:
        if environment.get(name):
            return f"Amazon SQS (credentials from {name})"
    for name, default in (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config")):
        path = Path(environment.get(name) or default).expanduser()
        if _has_credentials(path):
            return f"Amazon SQS (credentials from {path})"
    return None


def _has_credentials(path: Path) -> bool:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path)
    except (OSError, configparser.Error, UnicodeDecodeError):
        return False
    return any(CREDENTIAL_KEYS & set(parser[section]) for section in parser.sections())


# The file through which other commands find the local broker


def client_file() -> Path:
    """Where run_portal tells other commands how to reach its broker; settings.py reads it."""
    return Path(settings.VAR_DIR) / "local-broker.env"


def write_client_file(broker: LocalBroker) -> None:
    """Let `manage.py publish_trades` in another terminal find this broker."""
    lines = ["# Written by run_portal while its local broker runs, and removed when it stops."]
    lines += [f"{name}={value}" for name, value in broker.client_environment.items()]
    client_file().write_text("\n".join(lines) + "\n")


def remove_client_file() -> None:
    """The local broker has stopped."""
    client_file().unlink(missing_ok=True)


def forget_dead_broker(environment: MutableMapping[str, str]) -> None:
    """Drop what a run_portal left that had no chance to clean up. Raises CommandError if its broker still answers."""
    if not client_file().is_file():
        return
    left = _read_client_file()
    port = int(left.get("AWS_ENDPOINT_URL_SQS", ":0").rpartition(":")[2])
    if is_local_broker(port):
        raise CommandError(
            f"A portal is already running on this folder: its local broker answers at {HOST}:{port}. Stop that one first with Ctrl-C in "
            "its terminal, set TRADES_VAR_DIR to another folder to run a second portal, or add --no-broker to share its broker."
        )
    for name, value in left.items():
        if environment.get(name) == value:
            del environment[name]
    remove_client_file()


def _read_client_file() -> dict[str, str]:
    class Left(environ.Env):  # type: ignore[misc]
        ENVIRON: dict[str, str] = {}

    Left.read_env(client_file())
    return dict(Left.ENVIRON)


# Ports


def is_local_broker(port: int) -> bool:
    """Whether a ministack answers on that port of 127.0.0.1."""
    with suppress(OSError, http.client.HTTPException, ValueError):
        connection = http.client.HTTPConnection(HOST, port, timeout=2)
        try:
            connection.request("GET", "/_ministack/health")
            return "services" in json.loads(connection.getresponse().read())
        finally:
            connection.close()
    return False


def check_port(host: str, port: int, option: str) -> None:
    """Raise CommandError unless a server could listen there; `option` is the one that chooses another port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do, so that connections just closed do not count.
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise CommandError(_port_sentence(host, port, option, error)) from None


def _port_sentence(host: str, port: int, option: str, error: OSError) -> str:
    place = f"Port {port} of {host}"
    if isinstance(error, PermissionError):
        return f"{place} may not be used by this user. Choose one above 1023: {option} {port + 8000}."
    if isinstance(error, socket.gaierror):
        return f"{host} is not an address of this machine: {error.strerror}. Choose one with --host, such as 127.0.0.1."
    if is_local_broker(port):
        return (
            f"{place} is taken by an SQS broker that is already running. Use it by setting AWS_ENDPOINT_URL_SQS=http://{host}:{port}, "
            f"stop it, or choose another port: {option} {port + 1}."
        )
    reason = (error.strerror or str(error)).lower()
    return f"{place} cannot be used: {reason}. Stop what uses it, or choose another port: {option} {port + 1}."
