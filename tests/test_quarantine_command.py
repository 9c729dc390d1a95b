"""`manage.py quarantine`: the workbench for people at a terminal."""

from __future__ import annotations

import getpass
import io
import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import OperationalError

from tests.support.native import NOON, native, received
from trades import history, quarantine
from trades.models import AuditEntry, Event, Hold, Message
from trades.quarantine import Actor

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome


def bad(trade_id: str = "T-1", version: int = 1) -> str:
    return native(trade_id, "BOOK" if version == 1 else "UPDATE", version).replace(f"<Version>{version}<", f"<Version>v{version}<")


def record(*bodies: str, group: str = "T-1", queue: str = "TradeStatus.fifo") -> None:
    history.record([received(body, group, queue=queue) for body in bodies], now=NOON)


def run(*arguments: str) -> list[str]:
    out = io.StringIO()
    call_command("quarantine", *arguments, stdout=out)
    return out.getvalue().splitlines()


def fails(*arguments: str) -> tuple[list[str], str]:
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command("quarantine", *arguments, stdout=out)
    return out.getvalue().splitlines(), str(error.value)


def mended(tmp_path: Path, message: Message) -> str:
    file = tmp_path / "mended.xml"
    file.write_text(message.body.replace("<Version>v", "<Version>"))
    return str(file)


# Looking


def test_the_list_shows_what_is_open_newest_first_and_what_waits() -> None:
    record(bad("T-1"), native("T-1", "UPDATE", 2), native("T-1", "CANCEL", 3))
    record("<broken", group="G-2")
    newest, oldest = Message.objects.filter(outcome=Outcome.QUARANTINED).order_by("-id")

    heading, first, second = run("list")

    assert heading.split() == ["id", "age", "code", "group", "trade", "waiting", "state"]
    assert re.fullmatch(rf" *{newest.pk} +\S.*  not-well-formed +G-2 +- +0  open", first)
    assert re.fullmatch(rf" *{oldest.pk} +\S.*  schema +T-1 +T-1 +2  open", second)


def test_the_list_can_be_narrowed_and_shows_what_was_settled() -> None:
    record(bad("T-1"), group="A")
    record("<broken", group="B")
    record("<broken", group="B", queue="Other.fifo")
    first = Message.objects.get(group_id="A")
    quarantine.discard(first, actor=Actor(None), reason="x", now=NOON)

    def listed(*arguments: str) -> list[str]:
        return [f"{row['group_id']} {row['state']}" for row in json.loads("\n".join(run("list", "--json", *arguments)))]

    assert listed() == ["B open", "B open"]
    assert listed("--queue", "Other.fifo") == listed("--limit", "1") == ["B open"]
    assert listed("--code", "schema") == []
    assert listed("--state", "settled") == listed("--state", "all", "--group", "A") == ["A discarded"]
    assert listed("--state", "all") == ["B open", "B open", "A discarded"]


def test_an_empty_list_says_so() -> None:
    assert run("list") == ["Nothing in quarantine."]
    assert run("list", "--state", "settled") == ["No such message."]
    assert json.loads(run("list", "--json")[0]) == []


def test_show_tells_what_is_wrong_where_what_it_blocks_and_who_did_what() -> None:
    record(bad("T-1"), native("T-1", "UPDATE", 2))
    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    quarantine.replay(message, actor=Actor(User.objects.create_user("alice")), note="after the fix", now=NOON)

    lines = run("show", message.message_id)

    shown = dict(line.split(maxsplit=1) for line in lines if line[:1].isalpha())
    assert shown["message"] == f"{message.pk}  {message.message_id}"
    assert shown["trade"] == "T-1"
    assert shown["blocks"] == "1 message behind it"
    assert shown["reason"].startswith(f"schema: line {message.line}, column {message.column}: Version")
    at = next(number for number, line in enumerate(lines) if "<Version>v1<" in line)
    assert lines[at + 1].index("^") == lines[at].index("<Version>")
    assert lines[-1] == "2026-11-20 12:00:00 UTC  alice  replay refused: after the fix"


def test_a_code_that_no_message_has_is_told_from_one_that_is_settled() -> None:
    record(bad("T-1"), group="A")
    record("<broken", group="B")
    quarantine.discard(Message.objects.get(group_id="A"), actor=Actor(None), reason="x", now=NOON)
    unknown = "No message has the code shema. The codes in quarantine are: not-well-formed."

    assert fails("list", "--code", "shema") == fails("replay", "--all-of-code", "shema") == ([], unknown)
    assert run("list", "--code", "schema") == run("replay", "--all-of-code", "schema") == ["Nothing in quarantine with code schema."]
    assert run("list", "--code", "not-well-formed", "--group", "A") == ["Nothing in quarantine with code not-well-formed."]


def test_show_of_a_settled_message_names_the_events_that_came_of_it() -> None:
    record(native("T-1"), bad("T-1", 2), native("T-1", "UPDATE", 3))
    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    assert not [line for line in run("show", str(message.pk)) if line.startswith("recorded as")]
    quarantine.correct(message, native("T-1", "UPDATE", 2), actor=Actor(None), reason="x", now=NOON)

    correction = Message.objects.get(corrects=message)
    for pk in (message.pk, correction.pk):
        assert "recorded as     event 2 of T-1" in run("show", str(pk))


def test_show_names_the_message_that_it_conflicts_with() -> None:
    publication_id = uuid.uuid4()
    for version, event in ((1, "BOOK"), (2, "CANCEL")):
        history.record([received(native("T-1", event, version), "T-1", publication_id=publication_id)], now=NOON)
    first, second = Message.objects.order_by("id")

    assert f"conflicts with  message {first.pk}, of the same publication" in run("show", str(second.pk))


def test_an_undo_of_what_is_not_discarded_says_what_it_is() -> None:
    record(bad("T-1"))
    pk = Message.objects.get().pk

    lines, _ = fails("undo", str(pk), "--reason", "x")

    assert lines[0] == f"{pk}  failed: Message {pk} is not discarded; it is quarantined."


def test_show_as_json_has_the_text_too() -> None:
    record("<broken")

    shown = json.loads("\n".join(run("show", str(Message.objects.get().pk), "--json")))

    assert (shown["body"], shown["code"], shown["waiting"], shown["audit"]) == ("<broken", "not-well-formed", 0, [])


# Acting


def test_replay_of_several_says_what_became_of_each_and_fails_when_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    record("<one", native("T-1"), group="A")
    record("<two", group="B")
    first, second = Message.objects.filter(outcome=Outcome.QUARANTINED).order_by("id")
    real = history.judge
    monkeypatch.setattr(history, "judge", lambda body: real(native("T-9") if body == "<one" else body))

    lines, error = fails("replay", str(second.pk), str(first.pk))

    assert lines[0] == f"{first.pk}  replayed: event 1 of T-9, 2 recorded"
    assert lines[1].startswith(f"{second.pk}  refused again: line 1, column ")
    assert lines[2] == "1 of 2 replayed; 2 messages went into the history."
    assert error == "1 of 2 could not be settled. The lines above say why."


def test_all_of_a_code_are_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        record(f"<bad {number}", group=f"G-{number}")
    record(bad(), group="other")
    real = history.judge
    monkeypatch.setattr(history, "judge", lambda body: real(native(f"T-{body[-1]}") if body.startswith("<bad") else body))

    lines = run("replay", "--all-of-code", "not-well-formed", "--note", "after the fix")

    assert lines[-1] == "3 of 3 replayed; 3 messages went into the history."
    assert set(AuditEntry.objects.values_list("note", "origin")) == {("after the fix", f"command line, {getpass.getuser()}")}


def test_correct_takes_a_file_and_a_dry_run_shows_what_it_would_do(tmp_path: Path) -> None:
    record(bad("T-1"), native("T-1", "UPDATE", 2))
    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    file = mended(tmp_path, message)

    lines = run("correct", str(message.pk), file, "--dry-run")

    assert [line for line in lines if line[:1] in "+-"] == [
        "-  <Version>v1</Version><Event>BOOK</Event>",
        "+  <Version>1</Version><Event>BOOK</Event>",
    ]
    assert lines[-3:] == ["It would be recorded.", "BOOK as event 1 of T-1: LIVE", "1 wait behind it. Nothing was changed (--dry-run)."]
    assert not Event.objects.exists()
    assert fails("correct", str(message.pk), file)[1] == "Give --reason: it is kept with the message."

    lines = run("correct", str(message.pk), file, "--reason", "version is a number")

    correction = Message.objects.get(corrects=message)
    assert lines[0] == f"{message.pk}  corrected by message {correction.pk}: event 1 of T-1, 2 recorded"
    assert AuditEntry.objects.get().note == "version is a number"


def test_a_correction_that_is_no_better_is_refused_with_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(bad("T-1"))
    pk = str(Message.objects.get().pk)
    (tmp_path / "worse.xml").write_bytes(b"<worse")
    (tmp_path / "binary.xml").write_bytes(b"<a>\xff</a>")

    lines, _ = fails("correct", pk, str(tmp_path / "worse.xml"), "--reason", "x")
    _, missing = fails("correct", pk, str(tmp_path / "none.xml"), "--reason", "x")
    _, binary = fails("correct", pk, str(tmp_path / "binary.xml"), "--reason", "x")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Message.objects.get().body.encode())))
    unchanged, _ = fails("correct", pk, "-", "--reason", "x")

    assert lines[0].startswith(f"{pk}  failed: line 1, column ")
    assert missing == f"{tmp_path / 'none.xml'}: No such file or directory. Give a file that can be read."
    assert "UTF-8" in binary
    assert unchanged[0] == f"{pk}  failed: The text is unchanged. Change what is wrong in it, or replay the message as it is."
    assert not AuditEntry.objects.exists()


def test_discard_and_undo_are_audited_with_the_user_who_may(tmp_path: Path) -> None:
    operator, viewer = User.objects.create_user("olga"), User.objects.create_user("victor")
    operator.groups.add(Group.objects.get(name="operator"))
    viewer.groups.add(Group.objects.get(name="viewer"))
    record(bad("T-1"), native("T-1", "UPDATE", 2))
    message = Message.objects.get(outcome=Outcome.QUARANTINED)
    pk = str(message.pk)

    assert fails("discard", pk, "--reason", "x", "--as", "victor")[1].startswith("victor may not settle messages")
    assert fails("discard", pk, "--reason", "x", "--as", "nobody")[1].startswith("No active portal user nobody.")
    assert not AuditEntry.objects.exists()
    assert run("discard", pk, "--reason", "wrong file", "--as", "olga")[0] == f"{pk}  discarded, 1 recorded"
    assert run("undo", message.message_id, "--reason", "right file")[0] == f"{pk}  in quarantine again"

    assert list(AuditEntry.objects.order_by("id").values_list("action", "user__username", "note")) == [
        ("discard", "olga", "wrong file"),
        ("undo discard", None, "right file"),
    ]
    assert Hold.objects.get().message == message


def test_what_somebody_else_settled_is_said() -> None:
    record(bad("T-1"))
    message = Message.objects.get()
    quarantine.discard(message, actor=Actor(User.objects.create_user("alice")), reason="wrong file", now=NOON)

    lines, _ = fails("replay", str(message.pk))

    assert lines[0].startswith(
        f"{message.pk}  failed: Message {message.pk} is not in quarantine; it is discarded. alice discarded this message at 12:00:00 UTC"
    )


def test_ids_that_are_not_known_or_not_clear_change_nothing() -> None:
    history.record([received(bad("T-1"), "A", message_id="same"), received(bad("T-2"), "B")], now=NOON)
    history.record([received(bad("T-3"), "C", message_id="same", queue="Other.fifo")], now=NOON)
    pks = list(Message.objects.filter(message_id="same").order_by("id").values_list("pk", flat=True))

    _, unknown = fails("discard", str(pks[0]), "nothing", "9" * 30, "--reason", "x")

    assert unknown.count("No message ") == 2
    assert unknown.endswith("Nothing was changed.")
    assert f"Name it by its id: {pks[0]}, {pks[1]}." in fails("show", "same")[1]
    assert fails("replay")[1] == "Give the messages to replay, or --all-of-code CODE."
    assert fails("replay", "--all-of-code", "schema", str(pks[0]))[1] == "Give messages or --all-of-code, not both."
    assert not AuditEntry.objects.exists()


def test_an_empty_reason_is_refused_for_each() -> None:
    record(bad("T-1"))

    lines, _ = fails("discard", str(Message.objects.get().pk), "--reason", " ")

    assert lines[0].endswith("failed: A reason is needed to discard a message.")


def test_a_database_that_goes_away_ends_it_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    record(bad("T-1"))

    def away(*args: Any, **kwargs: Any) -> quarantine.Result:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(quarantine, "discard", away)

    _, error = fails("discard", str(Message.objects.get().pk), "--reason", "x")

    assert error == "The database can't be used: server closed the connection. What is reported above is done."
