"""The commands as a person at a terminal, or a script, uses them."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.support.broker import FifoQueue
from tests.support.native import NOON, native, received, several
from tests.support.processes import ROOT, Process
from trades import history, publishing, queues, sqs
from trades.handing_in import IncomingDocument
from trades.management.commands import relay_publications
from trades.models import Publication, Trade, Upload

pytestmark = pytest.mark.django_db


def printed(*command: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(*command, stdout=out, **options)
    return out.getvalue()


# publish_trades


def test_a_folder_is_published_in_order_of_name(queue: FifoQueue, tmp_path: Path) -> None:
    for number in (2, 1, 3):
        (tmp_path / f"{number}.xml").write_text(native("T-1", "UPDATE", number))

    lines = printed("publish_trades", str(tmp_path)).splitlines()

    assert [line.split(": ")[1] for line in lines[::3]] == [f"UPDATE version {n} of T-1" for n in (1, 2, 3)]
    assert sum("MessageId: " in line for line in lines) == sum("MD5OfMessageBody: " in line for line in lines) == 3


def test_json_gives_one_object_a_message_and_refusal(queue: FifoQueue, tmp_path: Path) -> None:
    (tmp_path / "1.xml").write_text(several(native("T-1"), native("T-2")))
    (tmp_path / "2.xml").write_text("<broken")
    out = io.StringIO()

    with pytest.raises(CommandError):
        call_command("publish_trades", str(tmp_path), "--json", stdout=out)

    first, second, refused = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["state"], first["group"], second["group"]) == ("SENT", "T-1", "T-2")
    assert first["MD5OfMessageBody"] == Publication.objects.get(trade_id="T-1").md5
    assert (refused["refused"], refused["line"]) == ("not-well-formed", 1)


def test_when_the_queue_is_away_it_says_that_the_messages_wait_and_fails(tmp_path: Path) -> None:
    file = tmp_path / "1.xml"
    file.write_text(native("T-1"))
    out = io.StringIO()

    with pytest.raises(CommandError) as failure:
        call_command("publish_trades", str(file), stdout=out)

    assert failure.value.returncode == 1
    assert "waits in the outbox" in out.getvalue()
    assert Publication.objects.unsent().count() == 1


@pytest.mark.parametrize(("path", "words"), [("nowhere.xml", "no such file"), (".", "no .xml file")])
def test_a_path_that_gives_nothing_is_a_sentence(path: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CommandError, match=words):
        call_command("publish_trades", path)


@pytest.mark.django_db(transaction=True)
def test_standard_input_is_a_document(queue: FifoQueue, command: Callable[..., Process], shared_database: str) -> None:
    process = command("publish_trades", "-", stdin=native("T-1"))

    assert process.wait() == 0
    assert "standard input: BOOK version 1 of T-1" in process.output


@pytest.mark.django_db(transaction=True)
def test_on_a_terminal_without_arguments_it_asks_for_a_file_name(
    queue: FifoQueue, shared_database: str, var_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "book.xml"
    file.write_text(native("T-1"))

    output = at_a_terminal([sys.executable, str(ROOT / "manage.py"), "publish_trades"], "Please enter file name: ", f"{file}\n")

    assert "BOOK version 1 of T-1" in output
    assert Publication.objects.get().state == "SENT"


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_answer_publishes_nothing(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "book.xml").write_text(native("T-1"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: name)

    with pytest.raises(CommandError, match="No file name"):
        call_command("publish_trades")

    assert not Publication.objects.exists()


def test_a_queue_that_does_not_exist_is_refused_before_anything_is_stored(queue: FifoQueue, tmp_path: Path) -> None:
    (tmp_path / "book.xml").write_text(native("T-1"))

    with pytest.raises(CommandError, match="create_queues"):
        call_command("publish_trades", str(tmp_path), queue="Typo.fifo")

    assert not Publication.objects.exists()


def test_a_queue_that_is_held_up_does_not_hold_up_the_others(
    queue: FifoQueue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The steps run inside the test's transaction, whose connection must stay.
    monkeypatch.setattr(relay_publications, "close_old_connections", lambda: None)
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=NOON)
    for name in ("Typo.fifo", queue.name):
        publishing.store(upload, [IncomingDocument("book.xml", native(name[:4]).encode())], queue=name, now=NOON)
    relay = relay_publications.Relay(Signal())

    for _ in range(3):
        relay.step()
    publishing.store(upload, [IncomingDocument("late.xml", native("T-2").encode())], queue=queue.name, now=NOON)
    relay.step()

    assert list(Publication.objects.filter(state="PENDING").values_list("queue", flat=True)) == ["Typo.fifo"]
    assert sum("Typo.fifo is held up" in record.getMessage() for record in caplog.records) == 1


def at_a_terminal(command: list[str], prompt: str, answer: str) -> str:
    """What the command prints at a terminal where the answer is typed at the prompt."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tradeportal.settings"
        os.execv(command[0], command)
    output, answered = "", False
    while True:
        try:
            chunk = os.read(terminal, 4096).decode()
        except OSError:  # how Linux says that the other side is closed
            chunk = ""
        if not chunk:
            break
        output += chunk
        if not answered and prompt in output:
            os.write(terminal, answer.encode())
            answered = True
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, output
    return output


# create_queues


def test_the_region_is_taken_from_the_variable_that_other_aws_tools_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")

    assert sqs.client().meta.region_name == "eu-central-1"


def test_an_unreachable_broker_is_a_sentence() -> None:
    with pytest.raises(CommandError, match="nothing answers at"):
        call_command("create_queues")


def test_who_may_use_a_dead_letter_queue_is_said_once_for_all_queues_that_wait_for_it(queue: FifoQueue) -> None:
    dead_letter_queue = ["--dead-letter-queue", f"Dead-{queue.name}"]
    printed("create_queues", "--queue", f"First-{queue.name}", *dead_letter_queue)
    out = io.StringIO()

    with pytest.raises(CommandError, match=f"Not created: B-{queue.name}, C-{queue.name}.*create_queues --apply` does that"):
        call_command("create_queues", "--queue", f"B-{queue.name}", "--queue", f"C-{queue.name}", *dead_letter_queue, stdout=out)

    said = out.getvalue()
    assert said.count("RedriveAllowPolicy is ") == 1
    assert "a queue that it does not let in can't be created behind it, nor put its messages there" in said
    assert "any queue of the account" not in said


def test_a_dead_letter_queue_that_lets_everyone_in_is_explained_as_one_that_does() -> None:
    (difference,) = queues.explain({"RedriveAllowPolicy": '{"redrivePermission": "allowAll"}'}, queues.allowed_sources(["arn"]))

    assert difference.why.startswith("any queue of the account may put its messages among the dead letters. ")


# trade_history


def test_the_history_is_printed_in_order_under_labelled_columns() -> None:
    history.record(
        [received(native("T-1")), received(native("T-1", "STATUS", 1, "CHECKED")), received(native("T-1", "CANCEL", 2))], now=NOON
    )

    title, heading, *lines = printed("trade_history", "T-1").splitlines()

    assert title == "T-1  CANCELLED  CHECKED  version 2  3 events"
    assert heading.split()[:3] == ["queue", "business", "event"]
    assert [line.split()[:3] for line in lines] == [["1", "1", "BOOK"], ["2", "2", "STATUS"], ["3", "3", "CANCEL"]]


def test_the_history_is_printed_in_business_order_on_request() -> None:
    history.record([received(native("T-1", "UPDATE", 2)), received(native("T-1"))], now=NOON)

    by_queue = printed("trade_history", "T-1").splitlines()[2:]
    by_business = printed("trade_history", "T-1", "--order", "business").splitlines()[2:]

    assert [line.split()[:3] for line in by_queue] == [["1", "2", "UPDATE"], ["2", "1", "BOOK"]]
    assert [line.split()[:3] for line in by_business] == [["2", "1", "BOOK"], ["1", "2", "UPDATE"]]
    assert "PENDING" in by_queue[0]
    assert by_business[0].endswith("LATE")
    assert "PENDING" not in by_business[1]


def test_the_history_is_printed_as_it_was_known_at_a_moment() -> None:
    history.record([received(native("T-1", "UPDATE", 2))], now=NOON)
    history.record([received(native("T-1"))], now=NOON + timedelta(hours=1))

    then = printed("trade_history", "T-1", "--as-of", "2026-11-20T13:30:00+01:00")
    data = json.loads(printed("trade_history", "T-1", "--as-of", "2026-11-20T12:30:00Z", "--json"))

    assert then.splitlines()[0] == "T-1  PENDING  RECEIVED  version 2  1 event, 1 flagged  as known at 2026-11-20 12:30:00 UTC"
    assert (data["state"], data["as_of"], len(data["events"])) == ("PENDING", "2026-11-20T12:30:00+00:00", 1)
    assert (data["events"][0]["flags"], data["events"][0]["place"]) == (["PENDING"], 1)
    with pytest.raises(CommandError, match="Nothing was known of trade T-1 at 2026-11-19 12:00:00 UTC"):
        call_command("trade_history", "T-1", "--as-of", "2026-11-19T12:00:00Z")


@pytest.mark.parametrize("moment", ["yesterday", "2026-11-20T12:00:00", "2026-11-20"])
def test_a_moment_without_a_zone_is_refused_with_an_example(moment: str) -> None:
    with pytest.raises(CommandError, match="2026-11-22T10:00:00Z"):
        call_command("trade_history", "T-1", "--as-of", moment)


def test_a_history_is_found_by_any_id_and_names_the_others_and_the_trades_that_may_be_the_same() -> None:
    other = '</TradeId><OtherTradeId scheme="urn:uti">{}</OtherTradeId>'
    history.record([received(native("T-1").replace("</TradeId>", other.format("U-1"))), received(native("T-2"))], now=NOON)
    history.record([received(native("T-2", "UPDATE", 2).replace("</TradeId>", other.format("U-1")))], now=NOON)

    lines = printed("trade_history", "U-1").splitlines()
    data = json.loads(printed("trade_history", "T-2", "--json"))

    assert lines[:3] == ["T-1  LIVE  RECEIVED  version 1  1 event", "also known as: U-1", "perhaps the same trade as: T-2"]
    assert data["perhaps_same_as"] == [{"scheme": "", "id": "T-1"}]
    assert data["events"][1]["flags"] == ["TWO_TRADES"]


def test_a_history_as_known_at_a_moment_names_no_trade_that_was_linked_to_it_later() -> None:
    other = '</TradeId><OtherTradeId scheme="urn:uti">U-1</OtherTradeId>'
    history.record([received(native("T-1").replace("</TradeId>", other)), received(native("T-2"))], now=NOON)
    history.record([received(native("T-2", "UPDATE", 2).replace("</TradeId>", other))], now=NOON + timedelta(hours=1))

    assert json.loads(printed("trade_history", "T-1", "--as-of", "2026-11-20T12:30:00Z", "--json"))["perhaps_same_as"] == []
    assert len(json.loads(printed("trade_history", "T-1", "--as-of", "2026-11-20T13:00:00Z", "--json"))["perhaps_same_as"]) == 1


def test_the_history_as_json_has_facts_and_provenance() -> None:
    message = received(native("T-1"), "group-1")
    history.record([message], now=NOON)

    found = json.loads(printed("trade_history", "T-1", "--json"))

    assert (found["state"], found["status"], found["event_count"]) == ("LIVE", "RECEIVED", 1)
    (event,) = found["events"]
    assert (event["position"], event["event_class"], event["message_id"], event["group_id"]) == (1, "BOOK", message.message_id, "group-1")
    assert event["details"]["product"] == "IRS 5Y EUR"


def test_an_unknown_trade_says_where_it_may_be() -> None:
    with pytest.raises(CommandError, match="outbox or in quarantine"):
        call_command("trade_history", "T-404")


def test_an_id_in_two_schemes_lists_the_trades_and_asks_for_one() -> None:
    history.record([received(native("T-1", scheme="urn:a")), received(native("T-1", scheme="urn:b"))], now=NOON)

    with pytest.raises(CommandError, match=r"--scheme: 'urn:a' \(T-1, live\), 'urn:b' \(T-1, live\)"):
        call_command("trade_history", "T-1")
    assert printed("trade_history", "T-1", "--scheme", "urn:b").startswith("T-1")
    assert Trade.objects.count() == 2


# relay_publications


@pytest.mark.django_db(transaction=True)
def test_the_relay_sends_what_waits_and_stops_when_asked(
    queue: FifoQueue, command: Callable[..., Process], shared_database: str, tmp_path: Path
) -> None:
    file = tmp_path / "1.xml"
    file.write_text(native("T-1"))
    away = {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert command("publish_trades", str(file), environment=away).wait(60) == 1
    assert Publication.objects.unsent().exists()

    relay = command("relay_publications")
    relay.wait_for_line("sent 1")
    relay.signal()

    assert relay.wait() == 0
    assert Publication.objects.get().state == "SENT"
    assert queue.counts() == (1, 0)
