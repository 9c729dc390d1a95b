"""A format that nobody knew: quarantined first, then read after a mapping file was added, in order, with what waited."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from tests.support.firms import ACME, IB_FLEX, ORE, SAMPLES, blotter, deal
from tests.support.native import NOON, native, received
from tests.support.processes import Process
from trades import history
from trades.models import AuditEntry, Event, Hold, Message, Trade

pytestmark = pytest.mark.django_db
Outcome = Message.Outcome

needs_samples = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample messages are not beside this checkout")


@pytest.fixture
def learn(settings: Settings, tmp_path: Path) -> Callable[..., None]:
    """Put mapping files into the firm's folder and use it, as after a restart."""

    def add(**files: str) -> None:
        for name, text in files.items():
            (tmp_path / f"{name}.toml").write_text(text)
        settings.TRADES_DIALECTS_DIR = ""
        from trades import dialects

        dialects._in_use.cache_clear()
        settings.TRADES_DIALECTS_DIR = str(tmp_path)

    return add


def record(*bodies: str, group: str = "G") -> None:
    history.record([received(body, group) for body in bodies], now=NOON)


def reprocess(*options: str) -> list[str]:
    out = io.StringIO()
    call_command("reprocess_messages", *options, stdout=out)
    return out.getvalue().splitlines()


def outcomes() -> list[str]:
    return list(Message.objects.order_by("pk").values_list("outcome", flat=True))


def manifest(folder: str) -> list[tuple[str, list[str]]]:
    with (SAMPLES / "manifest.tsv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["file"], row["trade_ids"].split(" | ")) for row in rows if row["file"].startswith(folder)]


@needs_samples
@pytest.mark.parametrize("folder", ["private-ore/", "private-ib-flex/"])
def test_a_private_format_is_unknown_first_and_read_after_configuration_alone(folder: str, learn: Callable[..., None]) -> None:
    files = manifest(folder)
    for file, _ in files:
        record((SAMPLES / file).read_text(), group=file)
    assert outcomes() == [Outcome.QUARANTINED] * len(files)
    assert set(Message.objects.values_list("code", flat=True)) == {"unknown-dialect"}

    learn(ore=ORE, flex=IB_FLEX)
    reprocess()

    assert outcomes() == [Outcome.RECORDED] * len(files)
    for file, trade_ids in files:
        assert {event.trade.trade_id for event in Event.objects.filter(message__group_id=file)} == set(trade_ids)
    assert AuditEntry.objects.count() == len(files)


def test_what_waited_is_recorded_behind_it_in_order(learn: Callable[..., None]) -> None:
    record(blotter(deal()), blotter(deal(action="A", version=2, stamp="20261120;100000")), native("T-1"))
    assert outcomes() == [Outcome.QUARANTINED, Outcome.HELD, Outcome.HELD]

    learn(acme=ACME)
    lines = reprocess()

    assert outcomes() == [Outcome.RECORDED] * 3
    assert not Hold.objects.exists()
    assert [event.event_class for event in Trade.objects.get(trade_id="D-1").events.order_by("position")] == ["BOOK", "UPDATE"]
    assert lines == ["1 read again: 1 recorded.", "3 messages went into the history, those that waited included."]
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.note) == ("replay", "reprocess_messages, read as acme-blotter")
    assert entry.origin.startswith("command line")


def test_what_is_still_unknown_stays_with_its_reason_and_without_a_trace(learn: Callable[..., None]) -> None:
    record(blotter(deal()), group="G-1")
    record("<Other/>", group="G-2")
    record("<Other/>", group="G-3")

    learn(acme=ACME)
    lines = reprocess()

    assert outcomes() == [Outcome.RECORDED, Outcome.QUARANTINED, Outcome.QUARANTINED]
    assert lines[0] == "3 read again: 2 still refused, 1 recorded."
    assert lines[2].startswith("      2  unknown-dialect: The root element Other in no namespace is not known here.")
    assert AuditEntry.objects.count() == 1


def test_a_new_reason_replaces_the_old_one(learn: Callable[..., None]) -> None:
    record(blotter(deal(action="Z")))

    learn(acme=ACME)
    reprocess()

    message = Message.objects.get()
    assert (message.outcome, message.code, message.dialect) == (Outcome.QUARANTINED, "invalid-field", "acme-blotter")
    assert message.reason == "Action is 'Z'; expected one of N, A, X."
    assert AuditEntry.objects.get().action == "replay refused"


def test_a_dry_run_changes_nothing(learn: Callable[..., None]) -> None:
    record(blotter(deal()), blotter(deal(action="X")))

    learn(acme=ACME)
    lines = reprocess("--dry-run", "--json")

    assert outcomes() == [Outcome.QUARANTINED, Outcome.HELD]
    assert not AuditEntry.objects.exists()
    line = json.loads(lines[0])
    assert (line["outcome"], line["reason"]) == (
        "would be recorded",
        "read as acme-blotter, Deals; 1 that wait behind it would follow",
    )
    assert reprocess("--dry-run")[-1] == "Nothing was changed (--dry-run)."


def test_running_it_again_adds_nothing(learn: Callable[..., None]) -> None:
    record(blotter(deal()))
    learn(acme=ACME)
    reprocess()

    assert reprocess() == ["No message in quarantine was refused for this reason."]
    assert Event.objects.count() == 1


def test_it_can_be_interrupted_and_run_again(learn: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        record(blotter(deal(f"D-{number}")), group=f"G-{number}")
    learn(acme=ACME)
    real, seen = history.judge, []

    def interrupted(body: str) -> Any:
        seen.append(body)
        if len(seen) == 5:  # each is judged twice: before and in its replay
            raise KeyboardInterrupt
        return real(body)

    monkeypatch.setattr(history, "judge", interrupted)
    out = io.StringIO()
    with pytest.raises(CommandError, match="Interrupted") as error:
        call_command("reprocess_messages", stdout=out)
    assert error.value.returncode == 130
    assert out.getvalue().startswith("2 read again: 2 recorded.")
    monkeypatch.undo()

    reprocess()

    assert outcomes() == [Outcome.RECORDED] * 4
    assert Event.objects.count() == 4


def test_other_codes_and_one_queue_can_be_chosen(learn: Callable[..., None]) -> None:
    learn(acme=ACME)
    record(blotter(deal(action="Z")), group="G-1")
    history.record([received(blotter(deal("D-2", action="Z")), "G-1", queue="Other.fifo")], now=NOON)
    assert set(Message.objects.values_list("code", flat=True)) == {"invalid-field"}

    learn(acme=ACME.replace('X = "CANCEL"', 'X = "CANCEL", Z = "CANCEL"'))
    reprocess()
    assert outcomes() == [Outcome.QUARANTINED] * 2

    reprocess("--code", "invalid-field", "--queue", "Other.fifo")

    assert outcomes() == [Outcome.QUARANTINED, Outcome.RECORDED]


def test_what_was_taken_for_no_trade_event_can_be_read_again(learn: Callable[..., None]) -> None:
    notice = '[[messages]]\nreference = "A list of deals."\n'
    learn(acme=ACME.replace("[[messages]]\n", notice))
    record(blotter(deal()))
    assert outcomes() == [Outcome.REFERENCE]

    learn(acme=ACME)
    assert reprocess() == ["No message in quarantine was refused for this reason."]
    reprocess("--code", "reference")

    assert outcomes() == [Outcome.RECORDED]


def test_an_unknown_code_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CommandError, match=r"invalid choice: 'nonsense' .*no-trade-id"):
        call_command("reprocess_messages", "--code", "nonsense")


def test_what_stays_costs_the_same_number_of_queries_however_much_it_is(
    learn: Callable[..., None], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        record("<Other/>", group=f"G-{number}")

    with django_assert_max_num_queries(30 + 12):  # one body each
        reprocess()


@pytest.mark.django_db(transaction=True)
@needs_samples
def test_real_files_become_history_by_a_folder_in_the_environment(
    shared_database: str, command: Callable[..., Process], tmp_path: Path
) -> None:
    file = SAMPLES / "private-ib-flex" / "TestForCoding.xml"
    record(file.read_text())
    folder = tmp_path / "dialects"
    folder.mkdir()
    environment = {"TRADES_DIALECTS_DIR": str(folder)}

    shown = command("inspect_message", str(file), "--json", environment=environment)
    assert shown.wait() == 1
    assert json.loads(shown.lines[0])["expect"] == "private"
    (folder / "flex.toml").write_text(IB_FLEX.replace('"BOOK"', '"BOOKED"').replace("'BOOK'", "'BOOKED'"))
    broken = command("reprocess_messages", environment=environment)
    assert broken.wait() == 1
    assert "flex.toml: fields.event_class.xpath is 'BOOKED'; expected one of BOOK" in broken.output
    (folder / "flex.toml").write_text(IB_FLEX)
    shown = command("inspect_message", str(file), "--json", environment=environment)
    assert shown.wait() == 0, shown.output
    done = command("reprocess_messages", environment=environment)
    assert done.wait() == 0, done.output

    assert "1 read again: 1 recorded." in done.output
    expected = manifest("private-ib-flex/")[0][1]
    assert list(Event.objects.order_by("part").values_list("trade__trade_id", flat=True)) == expected
    assert json.loads(shown.lines[0])["trade_ids"] == expected
