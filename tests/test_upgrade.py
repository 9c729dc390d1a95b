"""Databases of earlier releases are taken over by the migrations."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tests.support.native import NOON, native, received
from trades import history
from trades.identifiers import trade_key
from trades.messages.facts import TradeId
from trades.models import Event, Message, Trade, TradeIdentifier

BEFORE = [("trades", "0002_roles")]


@pytest.fixture
def models_before(transactional_db: None) -> Iterator[Callable[[str], Any]]:
    """The models as they were, on a database taken back to them; the newest is restored afterwards."""
    executor = MigrationExecutor(connection)
    executor.migrate(BEFORE)
    apps = executor.loader.project_state(BEFORE).apps
    yield lambda name: apps.get_model("trades", name)
    call_command("migrate", verbosity=0)


def test_trades_of_the_release_before_keep_their_histories_and_are_told_anew_at_their_next_event(
    models_before: Callable[[str], Any],
) -> None:
    def trade(value: str) -> Any:
        key, moments = trade_key(TradeId("", value)), {"first_seen_at": NOON, "updated_at": NOON}
        return models_before("Trade").objects.create(
            key=key, trade_id=value, state="LIVE", version=2, event_count=2, flagged_count=2, **moments
        )

    def event(of: Any, position: int, event_class: str, version: int, flags: list[str], *other_ids: str) -> None:
        moments = {"received_at": NOON, "recorded_at": NOON}
        message = models_before("Message").objects.create(
            queue="Q", message_id=uuid.uuid4(), group_id="G", size=1, outcome="RECORDED", **moments
        )
        models_before("Event").objects.create(
            trade=of, position=position, message=message, event_class=event_class, version=version, flags=flags, state_after="LIVE",
            details={"other_ids": [{"scheme": "", "id": value} for value in other_ids]} if other_ids else {"product": "swap"},
            content_sha256=uuid.uuid4().hex, recorded_at=NOON,
        )  # fmt: skip

    one, two = trade("T-1"), trade("T-2")
    event(one, 1, "UPDATE", 2, ["PENDING"], "U-1", "SHARED", "T-2")
    event(one, 2, "BOOK", 1, ["OLD_VERSION", "GAP"])
    event(two, 1, "BOOK", 1, ["GAP"], "SHARED")
    event(two, 2, "UPDATE", 1, ["OLD_VERSION"])

    call_command("migrate", verbosity=0)

    found = {row.value: row.trade.trade_id for row in TradeIdentifier.objects.select_related("trade")}
    assert found == {"T-1": "T-1", "T-2": "T-2", "U-1": "T-1"}
    assert list(Event.objects.order_by("id").values_list("place", "flags")) == [
        (1, ["PENDING"]), (2, ["GROUP_GAP"]), (1, ["GROUP_GAP"]), (2, []),
    ]  # fmt: skip
    assert list(Trade.objects.order_by("id").values_list("flagged_count", flat=True)) == [2, 1]

    history.record([received(native("U-1", "UPDATE", 3))], now=NOON)

    assert list(Event.objects.filter(trade__trade_id="T-1").order_by("place").values_list("version", "flags")) == [
        (1, ["GROUP_GAP"]), (2, []), (3, []),
    ]  # fmt: skip


def test_what_was_settled_in_the_release_before_keeps_its_time_and_viewers_see_the_workers(models_before: Callable[[str], Any]) -> None:
    def message(outcome: str, *actions: str) -> None:
        moments = {"received_at": NOON, "recorded_at": NOON}
        row = models_before("Message").objects.create(queue="Q", message_id=uuid.uuid4(), group_id="G", size=1, outcome=outcome, **moments)
        for number, action in enumerate(actions):
            at = NOON + timedelta(minutes=number)
            models_before("AuditEntry").objects.create(at=at, action=action, message=row)

    message("QUARANTINED", "replay refused")
    message("RECORDED", "replay refused", "replay")
    message("DISCARDED", "discard")
    message("RECORDED")

    call_command("migrate", verbosity=0)

    assert list(Message.objects.order_by("id").values_list("settled_at", flat=True)) == [None, NOON + timedelta(minutes=1), NOON, None]
    assert Group.objects.get(name="viewer").permissions.filter(codename="view_worker").exists()
