"""The snippets of docs/integrate.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.support.broker import Bucket, FifoQueue
from tests.support.native import native
from tests.support.processes import ROOT
from trades.models import Event, Message

SNIPPETS = {
    name: text
    for text in re.findall(r"```(?:python|sh)\n(.*?)```", (ROOT / "docs" / "integrate.md").read_text(encoding="utf-8"), re.DOTALL)
    if (found := re.match(r"# (\w+\.(?:py|sh))\n", text)) and (name := found[1])
}
BROKER_TOOLS = ROOT / ".broker" / "bin"

pytestmark = pytest.mark.django_db(transaction=True)


def run(name: str, folder: Path, *arguments: str, python: str = sys.executable) -> str:
    """What a snippet prints, run in this folder."""
    (folder / name).write_text(SNIPPETS[name], encoding="utf-8")
    command = [python, name, *arguments] if name.endswith(".py") else ["bash", "-eu", "-o", "pipefail", name]
    environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trade.xml").write_text(native("T-10045"), encoding="utf-8")
    # Version 1 of the CLI does not ask AWS_ENDPOINT_URL_SQS where SQS is.
    aws = tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    aws.write_text(f'#!/bin/sh\nexec {BROKER_TOOLS / "aws"} --endpoint-url "$AWS_ENDPOINT_URL" "$@"\n')
    aws.chmod(0o755)
    return tmp_path


def consume() -> Message:
    call_command("consume_trades", until_empty=True, wait=0, stdout=StringIO())
    return Message.objects.get()


def test_every_snippet_with_a_name_is_run_by_a_test_of_this_file() -> None:
    source = Path(__file__).read_text(encoding="utf-8")

    assert [name for name in SNIPPETS if f'"{name}"' not in source] == []


def test_what_plain_boto3_sends_is_recorded(queue: FifoQueue, folder: Path) -> None:
    printed = run("send.py", folder, "trade.xml", "T-10045").split()

    message = consume()

    assert [message.message_id, message.body_md5] == printed
    assert Event.objects.get().trade.trade_id == "T-10045"


def test_a_resend_under_the_same_publication_id_takes_effect_once(queue: FifoQueue, folder: Path) -> None:
    publication_id = str(uuid.uuid4())

    for _ in range(2):
        run("send_safely.py", folder, "trade.xml", "T-10045", publication_id)
    message = consume()

    assert str(message.publication_id) == publication_id
    assert message.attributes["traceparent"] == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert Event.objects.count() == 1


def test_plain_boto3_receives_and_deletes_what_the_portal_published(queue: FifoQueue, folder: Path) -> None:
    call_command("publish_trades", str(folder / "trade.xml"), stdout=StringIO())

    printed = run("receive.py", folder)

    assert printed.startswith("T-10045 <TradeStatus")
    assert queue.counts() == (0, 0)


def test_the_aws_cli_sends(queue: FifoQueue, folder: Path) -> None:
    sent = json.loads(run("send.sh", folder))

    message = consume()

    assert (message.message_id, message.group_id, message.body) == (sent["MessageId"], "T-10045", native_text(folder))


def test_the_aws_cli_receives_and_deletes(queue: FifoQueue, folder: Path) -> None:
    call_command("publish_trades", str(folder / "trade.xml"), stdout=StringIO())

    run("receive.sh", folder)

    (received,) = json.loads((folder / "received.json").read_text())["Messages"]
    assert received["Body"] == native_text(folder)
    assert uuid.UUID(received["MessageAttributes"]["PublicationId"]["StringValue"])
    assert queue.counts() == (0, 0)


def test_what_amazons_python_extended_client_sends_is_recorded(queue: FifoQueue, bucket: str, folder: Path) -> None:
    (folder / "trade.xml").write_text(large(1_500_000), encoding="utf-8")

    run("send_large.py", folder, "trade.xml", "T-10045", "one", python=str(BROKER_TOOLS / "python"))
    message = consume()

    assert (message.outcome, message.size) == (Message.Outcome.RECORDED, len(native_text(folder)))
    assert message.attributes["ExtendedPayloadSize"] == str(message.size)


def test_what_amazons_java_extended_client_sends_is_recorded(queue: FifoQueue, bucket: str, folder: Path) -> None:
    run("send_pointer.sh", folder)

    message = consume()

    assert (message.outcome, message.body) == (Message.Outcome.RECORDED, native_text(folder))
    assert "4c1a3e52-0d3f-4c6e-9a55-1f2d7b1c9f10" in message.pointer


RECEIVE_LARGE = """
import os, sys, boto3, sqs_extended_client
client = boto3.client("sqs")
client.large_payload_support = os.environ["TRADES_PAYLOAD_BUCKET"]
assert client.delete_payload_from_s3 is False
url = client.get_queue_url(QueueName=os.environ["TRADES_QUEUE"])["QueueUrl"]
(message,) = client.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
sys.stdout.write(message["Body"])
"""


def test_amazons_python_extended_client_reads_what_the_portal_published(queue: FifoQueue, bucket: str, folder: Path) -> None:
    (folder / "trade.xml").write_text(large(1_500_000), encoding="utf-8")
    call_command("publish_trades", str(folder / "trade.xml"), stdout=StringIO())

    command = [str(BROKER_TOOLS / "python"), "-c", RECEIVE_LARGE]
    received = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert received == native_text(folder)


def test_one_object_serves_every_message_of_a_text_so_no_consumer_may_delete_it(queue: FifoQueue, bucket: Bucket, folder: Path) -> None:
    """The Java client does so unless told otherwise."""
    (folder / "trade.xml").write_text(large(1_500_000), encoding="utf-8")
    for _ in range(2):
        call_command("publish_trades", str(folder / "trade.xml"), stdout=StringIO())

    (key,) = bucket.keys()
    bucket.client.delete_object(Bucket=bucket.name, Key=key)
    call_command("consume_trades", until_empty=True, wait=0, stdout=StringIO())

    # The second is held behind the first.
    assert list(Message.objects.order_by("pk").values_list("outcome", "code")) == [("QUARANTINED", "payload-missing"), ("HELD", "")]
    page = (ROOT / "docs" / "integrate.md").read_text(encoding="utf-8")
    assert "new ExtendedClientConfiguration().withPayloadSupportEnabled(s3, bucket, false);" in page
    assert "`payload-missing`" in page


def native_text(folder: Path) -> str:
    return (folder / "trade.xml").read_text(encoding="utf-8")


def large(size: int) -> str:
    return native("T-10045").replace("</TradeStatus>", f"<!-- {'x' * size} --></TradeStatus>")
