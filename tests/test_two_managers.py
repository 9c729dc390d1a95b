"""Two managers: two portals, each with a database, an account and a local queue of its own, and an alias to the partner's queue.

The local broker takes the account from the access key and knows queues of other accounts by URL and by QueueOwnerAWSAccountId. It asks for
no queue policy: what AWS itself would refuse without one (docs/two-managers.md) is not shown here.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from tests.support.native import native
from tests.support.processes import Process, manage
from tests.support.waiting import wait_until
from trades import routes, sqs
from trades.portal.broker import LocalBroker

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REGION = "eu-west-1"
LOCAL, PARTNER = "TradeStatus.fifo", "Partner.fifo"
FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "60"}
TRADES = ("T-1", "T-2", "T-3")


@dataclass(frozen=True)
class Account:
    """An AWS account on the local broker, with its local queue."""

    number: str
    client: SQSClient
    url: str

    def counts(self) -> tuple[int, int]:
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])["Attributes"]
        return int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"])


@dataclass(frozen=True)
class Manager:
    """One portal: its account, its folder with database and queues file, and its processes."""

    account: Account
    folder: Path
    environment: dict[str, str | None]
    running: ExitStack

    def run(self, *arguments: str) -> Process:
        return self.running.enter_context(manage(*arguments, environment=self.environment))

    def publish(self, name: str, *bodies: str) -> None:
        """To the partner and into our own history, in this order."""
        folder = self.folder / name
        folder.mkdir()
        for number, body in enumerate(bodies):
            (folder / f"{number:03}.xml").write_text(body)
        publishing = [self.run("publish_trades", str(folder), "--queue", queue) for queue in (PARTNER, LOCAL)]
        for process in publishing:
            assert process.wait(60) == 0, process.output

    def history(self, trade_id: str) -> list[tuple[int, str, int | None, str]]:
        with closing(sqlite3.connect(self.folder / "portal.sqlite3")) as database:
            rows: list[tuple[int, str, int | None, str]] = database.execute(
                "SELECT position, event_class, e.version, e.document_message_id FROM trades_event e "
                "JOIN trades_trade t ON t.id = e.trade_id WHERE t.trade_id = ? ORDER BY position",
                [trade_id],
            ).fetchall()
        return rows

    def queues_received_from(self) -> set[str]:
        with closing(sqlite3.connect(self.folder / "portal.sqlite3")) as database:
            return {queue for (queue,) in database.execute("SELECT DISTINCT queue FROM trades_message")}


@pytest.fixture
def account(broker: LocalBroker) -> Callable[[], Account]:
    """Makes an account that nobody has used, with its local queue."""

    def make() -> Account:
        number = str(uuid.uuid4().int)[:12]
        client = boto3.client("sqs", endpoint_url=broker.url, region_name=REGION, aws_access_key_id=number, aws_secret_access_key="x")
        return Account(number, client, client.create_queue(QueueName=LOCAL, Attributes=FIFO)["QueueUrl"])  # type: ignore[arg-type]

    return make


@pytest.fixture
def manager(aws: None, tmp_path: Path) -> Iterator[Callable[[Account, str], Manager]]:
    """Makes a portal in an account, whose queues file has this about the partner's queue."""
    with ExitStack() as running:

        def make(account: Account, alias: str) -> Manager:
            folder = tmp_path / account.number
            folder.mkdir()
            (folder / "queues.toml").write_text(f'[queues."{PARTNER}"]\n{alias}\n')
            environment: dict[str, str | None] = {
                "DATABASE_URL": f"sqlite:///{folder / 'portal.sqlite3'}",
                "TRADES_VAR_DIR": str(folder),
                "TRADES_QUEUES_FILE": str(folder / "queues.toml"),
                "TRADES_QUEUE": LOCAL,
                "TRADES_DEAD_LETTER_QUEUE": "Dead.fifo",
                "AWS_ACCESS_KEY_ID": account.number,
            }
            made = Manager(account, folder, environment, running)
            if (tmp_path / "empty.sqlite3").exists():
                shutil.copy(tmp_path / "empty.sqlite3", folder / "portal.sqlite3")
                return made
            process = made.run("migrate", "--verbosity", "0")
            assert process.wait(100) == 0, process.output
            with closing(sqlite3.connect(folder / "portal.sqlite3")) as database:
                database.execute("VACUUM INTO ?", [str(tmp_path / "empty.sqlite3")])
            return made

        yield make


def lives(trades: Sequence[str], versions: int) -> list[str]:
    """Trades that are booked and amended, their messages by turns."""
    return [native(trade, "BOOK" if version == 1 else "UPDATE", version) for version in range(1, versions + 1) for trade in trades]


@pytest.mark.timeout(300)
def test_two_portals_exchange_trades_through_two_accounts_one_alias_by_owner_one_by_url(
    account: Callable[[], Account], manager: Callable[[Account, str], Manager]
) -> None:
    at_a, at_b = account(), account()
    a = manager(at_a, f'queue = "{LOCAL}"\nowner = "{at_b.number}"')
    b = manager(at_b, f'url = "{at_a.url}"')
    workers = [each.run("consume_trades", "--wait", "1") for each in (a, b)]
    for worker in workers:
        worker.wait_for_line("consume_trades ready", 60)

    a.publish("bookings", *lives(TRADES, 4))
    wait_until(lambda: all(len(each.history(trade)) == 4 for each in (a, b) for trade in TRADES), "both to have the bookings", 60)
    b.publish("statuses", *(native(trade, "STATUS", 4, status) for status in ("CHECKED", "CONFIRMED") for trade in TRADES))
    wait_until(lambda: all(len(each.history(trade)) == 6 for each in (a, b) for trade in TRADES), "both to have the statuses", 60)

    for trade in TRADES:
        assert a.history(trade) == b.history(trade)
        assert [kind for _, kind, _, _ in a.history(trade)] == ["BOOK", "UPDATE", "UPDATE", "UPDATE", "STATUS", "STATUS"]
        assert [version for _, _, version, _ in a.history(trade)] == [1, 2, 3, 4, 4, 4]
    for worker in workers:
        worker.signal(signal.SIGTERM)
        assert worker.wait(60) == 0, worker.output
    assert a.queues_received_from() == b.queues_received_from() == {LOCAL}
    assert at_a.counts() == at_b.counts() == (0, 0)


@pytest.mark.parametrize("way", ["url", "owner", "profile"])
def test_an_alias_leads_to_the_partners_queue_and_not_to_our_own_of_the_same_name(
    way: str, broker: LocalBroker, account: Callable[[], Account], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = account(), account()
    alias = {
        "url": f'url = "{theirs.url}"',
        "owner": f'queue = "{LOCAL}"\nowner = "{theirs.number}"',
        "profile": f'queue = "{LOCAL}"\nprofile = "partner"',
    }[way]
    settings.TRADES_QUEUE, settings.TRADES_QUEUES_FILE = LOCAL, str(tmp_path / "queues.toml")
    (tmp_path / "queues.toml").write_text(f'[queues."{PARTNER}"]\n{alias}\n')
    (tmp_path / "credentials").write_text(f"[partner]\naws_access_key_id = {theirs.number}\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ours.number)

    routes.open_queue(PARTNER).send([sqs.Outgoing(native("T-1"), "T-1", uuid.uuid4().hex)])

    assert routes.is_partners(PARTNER)
    assert not routes.is_partners(LOCAL)
    assert (ours.counts(), theirs.counts()) == ((0, 0), (1, 0))


@pytest.mark.django_db
@pytest.mark.parametrize("options", [[], ["--dead-letter"]])
def test_a_partners_queue_is_never_consumed(options: list[str], settings: Settings, tmp_path: Path) -> None:
    settings.TRADES_QUEUES_FILE = str(tmp_path / "queues.toml")
    (tmp_path / "queues.toml").write_text(f'[queues."{PARTNER}"]\nowner = "444455556666"\n')

    with pytest.raises(CommandError, match=f"^{PARTNER} is a partner's queue: we publish to it"):
        call_command("consume_trades", "--queue", PARTNER, *options)


def test_the_policy_of_the_set_up_lets_the_partner_send_and_nothing_else() -> None:
    text = (Path(__file__).parent.parent / "docs" / "two-managers.md").read_text(encoding="utf-8")

    policy = json.loads(text.split("```json\n")[1].split("```")[0])

    (statement,) = policy["Statement"]
    assert statement["Effect"] == "Allow"
    assert set(statement["Action"]) == {"sqs:SendMessage", "sqs:GetQueueUrl", "sqs:GetQueueAttributes"}
    assert statement["Resource"] == "arn:aws:sqs:eu-west-2:444455556666:TradeStatus.fifo"
    assert statement["Principal"] == {"AWS": "arn:aws:iam::111122223333:role/trade-portal"}
