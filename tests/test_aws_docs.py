"""docs/aws.md stays true: the requests it counts are those the portal's code makes, its commands know their options."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as Signal

import pytest
from django.core.management import call_command, load_command_class
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import native
from tests.support.processes import ROOT
from tests.support.recording import Calls, recorded
from trades import consumer, publishing, sqs
from trades.consumer import Receiver, Settings
from trades.models import Message, Publication, Upload
from trades.portal.broker import LocalBroker
from trades.publishing import IncomingDocument
from trades.receiving import Quota

pytestmark = pytest.mark.django_db

DOCUMENT = ROOT / "docs" / "aws.md"
TRADES = 40  # of which each step of a day is one message; a multiple of 20
SIZES = (1_000, 3_000, 9_000)  # bytes: about what a native, a FIXML and an FpML document have
OPERATIONS = ("GetQueueUrl", "SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch")


def day(book: str = "A") -> Iterator[str]:
    """Each trade is booked, checked and confirmed; every fifth is updated in between, every twentieth cancelled."""
    for event, version, status, every in (
        ("BOOK", 1, "", 1),
        ("STATUS", 1, "CHECKED", 1),
        ("UPDATE", 2, "", 5),
        ("STATUS", 1, "CONFIRMED", 1),
        ("CANCEL", 3, "", 20),
    ):
        for number in range(0, TRADES, every):
            text = native(f"{book}-{number}", event, version, status)
            yield f"{text}<!-- {' ' * (SIZES[number % 3] - len(text))} -->"


MESSAGES = len(list(day()))


@pytest.fixture(autouse=True)
def _one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker runs inside the test's transaction, whose connection must stay."""
    monkeypatch.setattr(consumer, "close_old_connections", lambda: None)


def publish(*contents: str) -> None:
    documents = [IncomingDocument(f"{number}.xml", content.encode()) for number, content in enumerate(contents)]
    publishing.publish(documents, source=Upload.Source.WEB, user=None, clock=timezone.now)


@contextmanager
def counted(queue: FifoQueue) -> Iterator[tuple[Receiver, Calls]]:
    """A worker and the calls of the block, after a first message: what is asked once in a process is asked."""
    with recorded() as calls:
        worker = Receiver(sqs.open_queue(queue.name), Settings(wait=0), Quota(None), Signal(), timezone.now)
        publish(native())
        assert worker.step() == 1
        calls.clear()
        yield worker, calls


def one_at_a_time(queue: FifoQueue) -> Calls:
    """Each document is handed in by itself, and consumed before the next one comes."""
    with counted(queue) as (worker, calls):
        for content in day():
            publish(content)
            assert worker.step() == 1
    return calls


def in_bulk(queue: FifoQueue) -> Calls:
    """All documents are one upload, and the worker starts when all of them wait."""
    with counted(queue) as (worker, calls):
        publish(*day("B"))
        while worker.step():
            pass
    return calls


def per_thousand(calls: Calls) -> dict[str, int]:
    """{operation: calls per thousand trades}, and all of them as SQS bills them; without receives that bring nothing."""
    busy = Calls(call for call in calls if call.operation != "sqs:ReceiveMessage" or call.answer.get("Messages"))
    assert set(busy.operations) <= {f"sqs:{operation}" for operation in OPERATIONS}
    counts = {operation: busy.operations[f"sqs:{operation}"] * 1000 // TRADES for operation in OPERATIONS}
    return counts | {"all, as billed": busy.billed * 1000 // TRADES}


def table() -> dict[str, list[int]]:
    """The rows of the table in docs/aws.md: {operation: [one at a time, in bulk]}."""
    rows = re.findall(r"^\| `?([\w, ]+?)`? \| ([\d,]+) \| ([\d,]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    return {name: [int(number.replace(",", "")) for number in numbers] for name, *numbers in rows}


def test_the_table_has_the_requests_that_are_counted(queue: FifoQueue) -> None:
    single, bulk = per_thousand(one_at_a_time(queue)), per_thousand(in_bulk(queue))

    assert set(Publication.objects.values_list("state", flat=True)) == {Publication.State.SENT}
    assert Message.objects.filter(outcome=Message.Outcome.RECORDED).count() == 2 * (MESSAGES + 1)
    assert table() == {name: [single[name], bulk[name]] for name in single}
    assert f"{MESSAGES * 1000 // TRADES:,} messages" in DOCUMENT.read_text()


def test_the_rights_that_create_queues_needs_are_those_that_are_named(broker: LocalBroker) -> None:
    unique = uuid.uuid4().hex[:8]
    options = ["--queue", f"Q-{unique}.fifo", "--dead-letter-queue", f"D-{unique}.fifo", "--bucket", f"b-{unique}"]
    with recorded() as calls:
        call_command("create_queues", *options, "--tag", "desk=rates", stdout=io.StringIO())
        call_command("create_queues", *options, "--tag", "desk=equity", "--apply", stdout=io.StringIO())

    paragraph = next(part for part in DOCUMENT.read_text().split("\n\n") if "Who runs it needs" in part)
    assert set(re.findall(r"`(\w+:\w+)`", paragraph)) == calls.actions


def test_every_parameter_and_output_that_is_named_is_one_of_the_template() -> None:
    text, template = DOCUMENT.read_text(), (ROOT / "deploy" / "tradeportal.yaml").read_text()
    known = set(re.findall(r"^  (\w+):$", template, re.MULTILINE))

    named = set(re.findall(r"\b([A-Z][A-Za-z]+)=", text)) - {"Name", "Value"} | set(re.findall(r"`([A-Z]\w+(?:Arn|Name|Id))`", text))
    assert named
    assert named - {"QueueName"} <= known
    assert "QueueName" in known


def test_every_option_that_is_named_is_one_of_its_command() -> None:
    for name, options in re.findall(
        r"`?(?:manage.py )?(create_queues|consume_trades|publish_trades)((?: --[\w-]+(?: \d+)?)+)", DOCUMENT.read_text()
    ):
        parser = load_command_class("trades", name).create_parser("manage.py", name)
        known = {option for action in parser._actions for option in action.option_strings}
        assert set(re.findall(r"--[\w-]+", options)) <= known, name


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", DOCUMENT.read_text()):
        assert (DOCUMENT.parent / target).exists(), target


def test_a_reader_of_a_partners_bucket_is_told_both_rights_that_the_template_gives() -> None:
    partners = (ROOT / "docs" / "two-managers.md").read_text()
    template = (ROOT / "deploy" / "tradeportal.yaml").read_text()

    given = {
        action
        for sid in ("PartnerReadsPayloads", "PartnerIsToldWhatIsMissing")
        for action in re.findall(rf"{sid}.*?Action: (\S+)", template, re.DOTALL)[:1]
    }
    assert given == {"s3:GetObject", "s3:ListBucket"}
    paragraph = next(part for part in partners.split("\n\n") if part.startswith("A large document"))
    assert all(f"`{action}`" in paragraph for action in given)
