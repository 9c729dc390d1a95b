"""Fixtures shared by all tests. None of them can reach a real AWS account."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypotheses
from playwright.sync_api import expect
from pytest_django.fixtures import Settings

from tests.support import browser as chrome
from tests.support.broker import Bucket, FifoQueue, fresh_bucket, fresh_queue, running_broker
from tests.support.processes import Process, manage
from tests.support.waiting import wait_until
from trades import sqs
from trades.portal.broker import LocalBroker
from trades.routes import places

# Playwright's synchronous API runs inside an event loop, where Django would refuse the database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
# What a live page shows comes by a worker, a look a second and a script: awaited as long as any other condition.
expect.set_options(timeout=30_000)  # ms
# Of itself it fails an example that takes 200 ms, or texts that take a second to make up, as both may on a busy machine, and a test
# that by chance assumes most of its first examples away.
BY_CHANCE = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
hypotheses.register_profile("tests", hypotheses.default, deadline=None, suppress_health_check=BY_CHANCE)
hypotheses.load_profile("tests")

CLOSED_PORT = "http://127.0.0.1:9"
NO_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]
os.environ |= NO_ACCOUNT | {"AWS_ENDPOINT_URL": CLOSED_PORT, "AWS_ENDPOINT_URL_SQS": CLOSED_PORT}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures they use, so that `-m django_db` and `-m browser` find all of them."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & {"page", "context", "browser"}:
            item.add_marker(pytest.mark.browser)
        marker = item.get_closest_marker("django_db")
        options = dict(marker.kwargs) if marker else {}
        if names & {"transactional_db", "live_server"} or options.get("transaction"):
            # The flush after such a test would otherwise take the roles that a migration made.
            options |= {"transaction": True, "serialized_rollback": True}
        if marker or options or "db" in names:
            item.add_marker(pytest.mark.django_db(**options), append=False)


# Queues


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """The local SQS broker on a free port. Starting it takes about a second, once per test process."""
    with running_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(autouse=True)
def aws(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every AWS call of a test goes to its broker, or without one to a closed port."""
    uses_broker = not {"broker", "queue", "bucket"}.isdisjoint(request.fixturenames)
    endpoint = request.getfixturevalue("broker").url if uses_broker else CLOSED_PORT
    for name, value in {**NO_ACCOUNT, "AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_SQS": endpoint}.items():
        monkeypatch.setenv(name, value)
    sqs.forget_clients()
    yield
    sqs.forget_clients()


@pytest.fixture
def queue(aws: None, broker: LocalBroker, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FifoQueue:
    """A fresh FIFO queue, which is the portal's queue for this test and for the processes it starts."""
    queue = fresh_queue(broker)
    settings.TRADES_QUEUE, settings.TRADES_DEAD_LETTER_QUEUE = queue.name, queue.dead_letter_name
    for name, value in queue.environment.items():
        monkeypatch.setenv(name, value)
    return queue


@pytest.fixture
def small(queue: FifoQueue) -> FifoQueue:
    """A queue whose messages have at most 2,048 bytes."""
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"MaximumMessageSize": "2048"})
    places._known.clear()
    return queue


@pytest.fixture
def bucket(aws: None, broker: LocalBroker, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A fresh bucket, which is the portal's payload bucket for this test and for the processes it starts."""
    bucket = fresh_bucket(broker)
    settings.TRADES_PAYLOAD_BUCKET, settings.TRADES_PAYLOAD_BUCKETS = bucket.name, [bucket.name]
    monkeypatch.setenv("TRADES_PAYLOAD_BUCKET", bucket.name)
    return bucket


# Databases and processes


@pytest.fixture
def shared_database(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of the test's own database, which processes can open too; rows are read through the ORM as ever."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        url = f"sqlite:///{database['NAME']}"
    else:
        socket_folder = quote(database["OPTIONS"].get("host") or database["HOST"], safe="/")
        url = f"postgresql://{database['USER']}@/{database['NAME']}?host={socket_folder}"
    monkeypatch.setenv("DATABASE_URL", url)
    return url


@pytest.fixture
def var_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty var folder for the processes of this test."""
    folder = tmp_path / "var"
    folder.mkdir()
    monkeypatch.setenv("TRADES_VAR_DIR", str(folder))
    return folder


@pytest.fixture
def command(var_dir: Path) -> Iterator[Callable[..., Process]]:
    """Starts `manage.py ARGUMENTS` as a process: `command("create_queues").wait()`. What still runs at the end is killed."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(manage(*arguments, **options))


@pytest.fixture
def worker_process(command: Callable[..., Process], queue: FifoQueue, shared_database: str) -> Callable[..., Process]:
    """Starts a worker on the test's queue and database and waits until it is ready: `worker_process("--wait", "1")`."""

    def start(*arguments: str, **options: Any) -> Process:
        worker = command("consume_trades", *arguments, **options)
        worker.wait_for_line("consume_trades ready")
        return worker

    return start


@pytest.fixture(autouse=True)
def last_heartbeat(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in the test's own process is over only after its last heartbeat, which would else be a row of the next test."""
    marker = request.node.get_closest_marker("django_db")
    if marker and marker.kwargs.get("transaction"):
        monkeypatch.setattr("trades.heartbeat.LAST_SECONDS", 60)


# The browser


@pytest.fixture(autouse=True)
def end_of_live_streams(request: pytest.FixtureRequest) -> Iterator[None]:
    """The streams of the pages that a test had open end with it, before its database goes."""
    if "live_server" not in request.fixturenames:
        yield
        return
    from trades.web.pulse import pulse

    request.getfixturevalue("live_server")
    request.getfixturevalue("transactional_db")
    yield
    pulse.stop()
    with pulse._changed:
        pulse._changed.notify_all()
    wait_until(lambda: not pulse.streams and not pulse._threads, "the end of all live streams")
    pulse.stopping, pulse.reading = False, None


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium. Without one browser tests are skipped, but fail where CI is set."""
    path = chrome.chromium()
    if path is None and os.environ.get("CI"):
        pytest.fail(chrome.MISSING)
    if path is None:
        pytest.skip(chrome.MISSING)
    return {**browser_type_launch_args, "executable_path": path, "args": chrome.arguments()}
