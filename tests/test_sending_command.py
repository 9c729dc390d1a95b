"""publish_trades with many files, interrupted and gone on with; relay_publications stopped in the middle."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import native
from tests.support.processes import Process
from tests.support.sending import Answers, answering
from trades import publishing, sending
from trades.handing_in import IncomingDocument, documents
from trades.management import progress
from trades.models import Document, OutboxLease, Publication, Upload
from trades.sqs import Outgoing

pytestmark = pytest.mark.django_db
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def write(folder: Path, count: int) -> Path:
    """So many files of a few trades, in the order of their versions."""
    folder.mkdir()
    for number in range(count):
        trade, version = f"T-{number % 20}", number // 20 + 1
        (folder / f"{number:05}.xml").write_text(native(trade, "BOOK" if version == 1 else "UPDATE", version))
    return folder


def published(*paths: Path, **options: Any) -> str:
    out = io.StringIO()
    call_command("publish_trades", *map(str, paths), stdout=out, **options)
    return out.getvalue()


def resume_command(output: str) -> list[str]:
    """The arguments of the command that the interrupted one names."""
    (line,) = re.findall(r"^python manage\.py (publish_trades .*)$", output, re.MULTILINE)
    return shlex.split(line)


def holding(release: Path, calls: int) -> str:
    """For a process of its own: after so many calls it says so and waits until the file is there, before it makes the next one."""
    return f"""
import os, time
from trades.sqs import Queue
send, made = Queue.send, []
def hold(self, messages):
    made.append(len(messages))
    if len(made) > {calls} and not os.path.exists({str(release)!r}):
        os.write(1, b"holding\\n")
        while not os.path.exists({str(release)!r}):
            time.sleep(0.05)
    return send(self, messages)
Queue.send = hold
"""


def versions(queue: FifoQueue) -> dict[str, list[int]]:
    """The versions of each trade in the queue, in its order."""
    found: dict[str, list[int]] = {}
    while got := queue.client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10).get("Messages"):
        for message in got:
            trade, version = re.findall(r"<TradeId>(.*?)<|<Version>(\d+)", message["Body"])
            found.setdefault(trade[0], []).append(int(version[1]))
            queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
    return found


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_publishing_is_gone_on_with_and_nothing_is_there_twice(
    number: signal.Signals, queue: FifoQueue, command: Callable[..., Process], shared_database: str, tmp_path: Path
) -> None:
    folder, release = write(tmp_path / "files", 1500), tmp_path / "release"
    process = command("publish_trades", str(folder), before=holding(release, 70))  # of at most 10, of 500 files at a time
    process.wait_for_line("holding")
    process.signal(number)
    release.touch()
    code = process.wait(60)
    stored = Document.objects.count()
    assert 0 < stored < 1500
    if number == signal.SIGKILL:
        again = ["publish_trades", str(folder), "--resume"]
    else:
        assert code == 130
        assert f"Interrupted after {stored:,} of 1,500 files" in process.output
        # Nobody has to wait for the lease of who was interrupted.
        assert OutboxLease.objects.get().expires_at <= timezone.now()
        again = resume_command(process.output)

    resumed = command(*again)

    assert resumed.wait(120) == 0, resumed.output
    assert f"Going on with upload {Upload.objects.get().pk}, which has {stored:,} of 1,500 files." in resumed.output
    assert list(Document.objects.order_by("position").values_list("position", flat=True)) == list(range(1, 1501))
    assert Publication.objects.filter(state="SENT").count() == Publication.objects.count() == 1500
    assert versions(queue) == {f"T-{trade}": list(range(1, 76)) for trade in range(20)}


@pytest.mark.django_db(transaction=True)
def test_who_is_interrupted_when_all_is_stored_and_not_sent_is_told_how_to_send_the_rest(
    queue: FifoQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "files", 100)
    interrupts: list[signal.Signals] = []

    def interrupt(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        if not interrupts:  # a second one would end this process at once
            interrupts.append(signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return answers

    with monkeypatch.context() as context:
        context.setattr(sending, "CALLS_AT_ONCE", 1)
        answering(context, interrupt)
        with pytest.raises(CommandError, match="Interrupted after 100 of 100 files") as interrupted:
            published(folder)
    assert interrupted.value.returncode == 130
    assert Publication.objects.filter(state="SENT").count() < Publication.objects.count() == 100

    call_command(*resume_command(str(interrupted.value)), stdout=io.StringIO())

    assert Publication.objects.filter(state="SENT").count() == 100


def test_who_loses_a_file_in_the_middle_is_told_how_to_go_on(queue: FifoQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "files", 6)
    monkeypatch.setattr(documents, "CHUNK", 2)
    last, text = folder / "00005.xml", (folder / "00005.xml").read_text()

    def lose(messages: Sequence[Outgoing], answers: Answers) -> Answers:
        last.unlink(missing_ok=True)  # long before it is looked at
        return answers

    with monkeypatch.context() as context:
        answering(context, lose)
        with pytest.raises(CommandError, match=r"00005\.xml: No such file or directory\. What was stored is in the outbox") as lost:
            published(folder)
    assert Publication.objects.count() == 2
    last.write_text(text)

    call_command(*resume_command(str(lost.value)), stdout=io.StringIO())

    assert list(Document.objects.order_by("pk").values_list("name", flat=True)) == [f"{n:05}.xml" for n in range(6)]
    assert Publication.objects.filter(state="SENT").count() == Publication.objects.count() == 6


def test_who_loses_the_database_in_the_middle_is_told_how_to_go_on(
    queue: FifoQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "files", 2)
    with monkeypatch.context() as context:
        context.setattr(publishing, "store_read", Mock(side_effect=OperationalError("database is locked")))
        with pytest.raises(
            CommandError, match=r"The database can't be used: database is locked\. What was stored is in the outbox"
        ) as lost:
            published(folder)

    call_command(*resume_command(str(lost.value)), stdout=io.StringIO())

    assert Publication.objects.filter(state="SENT").count() == 2


@pytest.mark.django_db(transaction=True)
def test_an_output_that_nobody_reads_any_more_is_said_with_how_to_go_on(
    queue: FifoQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "files", 2)
    out = io.StringIO()
    monkeypatch.setattr(out, "write", Mock(side_effect=BrokenPipeError(32, "Broken pipe")))

    with pytest.raises(CommandError, match=r"^The output: Broken pipe\. What was stored is in the outbox.*\n.* --resume \d+$"):
        call_command("publish_trades", str(folder), stdout=out)


def test_what_is_complete_is_not_published_again(queue: FifoQueue, tmp_path: Path) -> None:
    folder = write(tmp_path / "files", 3)
    published(folder)

    assert published(folder, resume=-1) == ""

    assert Publication.objects.count() == 3


def test_going_on_with_other_files_says_which_differs(queue: FifoQueue, tmp_path: Path) -> None:
    folder = write(tmp_path / "files", 3)
    published(folder)
    (folder / "00001.xml").write_text(native("T-1", "CANCEL", 2))
    number = Upload.objects.get().pk

    with pytest.raises(CommandError, match=f"Upload {number} was begun with other files: 00001.xml has changed"):
        published(folder, resume=number)
    with pytest.raises(CommandError, match="No interrupted upload was begun with these files"):
        published(folder, resume=-1)
    with pytest.raises(CommandError, match="There is no upload 4711"):
        published(folder, resume=4711)

    assert Publication.objects.count() == 3


def test_messages_that_name_a_trade_by_another_id_go_to_its_group_after_an_interruption_too(queue: FifoQueue, tmp_path: Path) -> None:
    folder = write(tmp_path / "files", 1)
    linked = native("T-0").replace("</TradeId>", '</TradeId><OtherTradeId scheme="urn:uti">U-1</OtherTradeId>')
    (folder / "00000.xml").write_text(linked)
    published(folder)
    later = native("U-1", "UPDATE", 2, scheme="urn:uti")
    (folder / "00001.xml").write_text(later)

    published(folder, resume=-1)

    assert list(Publication.objects.order_by("id").values_list("group_id", flat=True)) == ["T-0", "T-0"]


def test_progress_is_told_now_and_then_with_rate_and_time_left(
    queue: FifoQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_ITEMS", 100)
    monkeypatch.setattr("trades.handing_in.documents.CHUNK", 100)
    folder = write(tmp_path / "files", 210)

    published(folder)

    first, second, *_ = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"100 of 210 files, [\d,]+ a second, .+ left", first)
    assert second.startswith("200 of 210 files, ")


def test_who_names_a_group_is_told_what_becomes_of_documents_that_nobody_understands(
    queue: FifoQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "files", 1)
    (folder / "broken.xml").write_text("<broken")

    published(folder, group="T-0")

    said = capsys.readouterr().err
    assert "Warning: 1 document is not understood and went out as is in message group T-0." in said
    assert "puts it into quarantine, and what follows it in that group waits" in said


def test_a_message_about_no_trade_is_no_reason_for_that_warning(
    queue: FifoQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "heartbeat.xml"
    file.write_text('<FIXML v="5.0"><Batch><Hdr/></Batch></FIXML>')

    assert published(file, group="HEART").startswith("heartbeat.xml: A heartbeat: a batch")

    assert "Warning" not in capsys.readouterr().err
    assert Publication.objects.get().group_id == "HEART"


@pytest.mark.parametrize(
    ("group", "wrong"),
    [
        ("bad group é", "has a space at place 4"),
        ("é", "has the character 'é' at place 1"),
        ("", "is empty"),
        ("x" * 129, "has 129 characters"),
    ],
)
def test_a_group_that_sqs_does_not_allow_is_refused_before_anything_is_stored(
    queue: FifoQueue, tmp_path: Path, group: str, wrong: str
) -> None:
    with pytest.raises(CommandError, match=re.escape(f"--group: The message group {wrong}. SQS takes 1 to 128 letters (a to z, A to Z)")):
        published(write(tmp_path / "files", 1), group=group)

    assert not Upload.objects.exists()


@pytest.mark.parametrize("by", ["option", "environment"])
def test_the_trace_context_of_the_caller_travels_along(by: str, queue: FifoQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "environment":
        monkeypatch.setenv("TRACEPARENT", TRACEPARENT)

    published(write(tmp_path / "files", 1), **({"traceparent": TRACEPARENT} if by == "option" else {}))

    (message,) = queue.client.receive_message(QueueUrl=queue.url, MessageAttributeNames=["All"])["Messages"]
    assert message["MessageAttributes"]["traceparent"]["StringValue"] == TRACEPARENT
    assert Upload.objects.get().traceparent == TRACEPARENT


def test_a_trace_context_that_is_none_is_said_and_left_out(queue: FifoQueue, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published(write(tmp_path / "files", 1), traceparent="mine")

    assert "'mine' is no traceparent" in capsys.readouterr().err
    assert Upload.objects.get().traceparent == ""


# relay_publications


@pytest.mark.django_db(transaction=True)
def test_a_relay_that_is_stopped_in_the_middle_lets_the_next_one_begin_at_once(
    queue: FifoQueue, command: Callable[..., Process], shared_database: str, tmp_path: Path
) -> None:
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=timezone.now())
    # One group is sent one message a call.
    documents = [IncomingDocument(f"{n}.xml", native("T-1", "UPDATE", n).encode()) for n in range(1, 401)]
    publishing.store(upload, documents, now=timezone.now())
    relay = command("relay_publications", "--until-empty", before=holding(tmp_path / "release", 20))
    relay.wait_for_line("holding")
    relay.signal(signal.SIGTERM)
    (tmp_path / "release").touch()

    assert relay.wait() == 0
    assert Publication.objects.filter(state="SENT").exists()
    assert Publication.objects.unsent().exists()
    assert OutboxLease.objects.get().expires_at <= timezone.now()
    second = command("relay_publications", "--until-empty")
    assert second.wait(60) == 0
    assert "nothing is left" in second.output
    assert versions(queue) == {"T-1": list(range(1, 401))}


@pytest.mark.django_db(transaction=True)
def test_a_relay_until_empty_ends_when_only_what_can_not_be_sent_is_left(
    queue: FifoQueue, command: Callable[..., Process], shared_database: str
) -> None:
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=timezone.now())
    publishing.store(upload, [IncomingDocument(f"{n}.xml", native(f"T-{n}").encode()) for n in range(2)], now=timezone.now())
    Publication.objects.filter(group_id="T-1").update(body="a \ufffe b")

    relay = command("relay_publications", "--until-empty")

    assert relay.wait(60) == 1
    assert "message group T-1 is held up" in relay.output
    assert Publication.objects.get(group_id="T-0").state == "SENT"
    assert Publication.objects.get(group_id="T-1").last_error
