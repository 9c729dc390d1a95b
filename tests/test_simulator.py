"""Made-up history: what is written directly is what recording the same messages leaves."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import models, transaction
from django.test import Client
from pytest_django.fixtures import Settings

from tests.web import factories
from tests.web.asking import page
from trades.models import Document, Event, Message, Publication, Trade, TradeIdentifier, Upload
from trades.simulator import market, recording, stories
from trades.simulator.direct import Writer
from trades.simulator.shapes import WEIGHTS, Choice, shape
from trades.simulator.stories import At, Plan, Story
from trades.simulator.templates import MODELS, Templates, marked

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
PLAN = Plan(trades=60, events=300, now=NOW, queue="TradeStatus.fifo")
# What rows are known by, whatever their keys are.
NAMES = {Message: "message_id", Trade: "trade_id", Document: "name"}
# A command of its own for each document, or one for several.
GROUPED = {(Document, "upload"), (Document, "position")}


def rows() -> dict[str, list[str]]:
    """Every column of every row but keys; a row that another points at stands for itself by its name."""
    named = {model: dict(model._default_manager.values_list("pk", name)) for model, name in NAMES.items()}
    found: dict[str, list[str]] = {}
    for model in [model for model in MODELS if model is not Upload]:
        fields = [field for field in model._meta.concrete_fields if not field.primary_key and (model, field.name) not in GROUPED]
        made = [
            json.dumps({field.name: plain(row, field, named) for field in fields}, sort_keys=True) for row in model._default_manager.all()
        ]
        found[model.__name__] = sorted(made)
    return found


def plain(row: models.Model, field: models.Field[Any, Any], named: dict[Any, dict[Any, str]]) -> Any:
    value = getattr(row, field.attname)
    if field.related_model in named and value is not None:
        return named[field.related_model][value]
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return value if isinstance(value, (dict, list, int, bool)) or value is None else str(value)


def of_every_shape() -> Iterator[tuple[Story, int]]:
    return stories.told_of(PLAN, list(WEIGHTS))


@pytest.mark.django_db
def test_rows_written_directly_are_those_that_recording_the_same_messages_leaves() -> None:
    with transaction.atomic():
        Writer().write(of_every_shape())
        direct = rows()
        transaction.set_rollback(True)

    for number, (story, step) in enumerate(of_every_shape(), start=1):
        recording.name_trade(story)
        recording.make_message(story, step, number)
        recording.record(story, step)

    recorded = rows()
    for name, expected in recorded.items():
        assert direct[name] == expected, name
    assert [name for name, found in recorded.items() if not found] == []


@pytest.mark.django_db
def test_a_template_leaves_nothing_behind() -> None:
    templates = Templates()

    templates.of(marked(shape("BOOK CHECKED= UPDATE? CONFIRMED discard"), market.Layout.PAIR, is_published=False))
    templates.of(marked(shape("BOOK CHECKED%"), market.Layout.RATE, is_published=True))

    assert len(templates) == 2
    assert {model.__name__: model._default_manager.count() for model in MODELS if model._default_manager.exists()} == {}


@pytest.mark.django_db
def test_keys_rise_in_the_order_of_time_and_go_on_after_those_that_are_there() -> None:
    there = factories.message()

    Writer().write(stories.told(PLAN))
    after = factories.message()

    keys = list(Message.objects.exclude(pk__in=[there.pk, after.pk]).order_by("recorded_at", "pk").values_list("pk", flat=True))
    assert keys == sorted(keys)
    assert there.pk < keys[0]
    assert keys[-1] < after.pk


def test_the_same_seed_tells_the_same_and_another_seed_something_else() -> None:
    def bodies(seed: int) -> list[str]:
        return [story.body(step) for story, step in stories.told(Plan(20, 100, NOW, "TradeStatus.fifo", seed))]

    assert bodies(1) == bodies(1)
    assert bodies(1) != bodies(2)


@pytest.mark.parametrize(("trades", "events"), [(1, 1), (1, 40), (300, 300), (300, 900), (300, 1_500), (300, 6_000)])
def test_there_are_as_many_events_as_were_asked_for(trades: int, events: int) -> None:
    choice = Choice(trades, events, random.Random(3))

    assert sum(choice.next().events for _ in range(trades)) == events


def test_the_market_is_large_and_names_nothing_twice() -> None:
    assert len(market.PRODUCTS) == len({product.name for product in market.PRODUCTS}) >= 120
    assert len(market.COUNTERPARTIES) == len({house.lei for house in market.COUNTERPARTIES}) == 40


def test_time_goes_from_a_month_ago_to_now_and_most_of_it_in_working_hours() -> None:
    times = [datetime.fromisoformat(story.value(step, At.RECORDED)) for story, step in stories.told(Plan(400, 2_000, NOW, "Q.fifo"))]
    by_day = Counter(time.weekday() > 4 for time in times)
    working = sum(7 <= time.hour < 17 for time in times)

    assert times == sorted(times)
    assert NOW.replace(tzinfo=None) - timedelta(days=50) < times[0]
    assert times[-1] < NOW.replace(tzinfo=None) + timedelta(seconds=5)
    assert by_day[True] < len(times) / 20
    assert working > len(times) * 0.8


def test_one_trade_follows_its_own_order() -> None:
    for story, step in stories.told(Plan(100, 500, NOW, "Q.fifo")):
        moments = [story.value(step, name) for name in (At.SENT, At.ACKNOWLEDGED, At.RECEIVED, At.RECORDED, At.DELETED)]
        assert moments == sorted(moments)
        assert step == 0 or story.value(step - 1, At.AGAIN) < story.value(step, At.SENT)


@pytest.mark.django_db
def test_the_command_fills_an_empty_database_and_says_how_fast() -> None:
    output = StringIO()

    call_command("simulate_trades", trades=30, events=120, direct=True, long=50, stdout=output)

    assert "30 trades with 120 events" in output.getvalue()
    assert Trade.objects.count() == 31
    assert Event.objects.count() == 170
    longest = Trade.objects.order_by("-event_count")[0]
    assert (longest.event_count, longest.flagged_count) == (50, 0)
    assert not Trade.objects.exclude(pk__in=TradeIdentifier.objects.values("trade")).exists()
    assert longest.trade_date is not None
    assert longest.trade_date > date(2020, 1, 1)


@pytest.mark.django_db
def test_the_command_adds_to_trades_only_when_told_to() -> None:
    call_command("simulate_trades", trades=5, events=20, direct=True, stdout=StringIO())

    with pytest.raises(CommandError, match="--add"):
        call_command("simulate_trades", trades=5, events=20, direct=True, stdout=StringIO())
    call_command("simulate_trades", trades=5, events=20, direct=True, add=True, stdout=StringIO())

    assert Trade.objects.count() == 10


@pytest.mark.django_db
def test_the_command_makes_nothing_up_in_production(settings: Settings) -> None:
    settings.PRODUCTION = True

    with pytest.raises(CommandError, match="PRODUCTION is on"):
        call_command("simulate_trades", trades=5, events=20, direct=True)
    assert not Trade.objects.exists()


@pytest.mark.django_db
def test_the_command_refuses_fewer_events_than_trades() -> None:
    with pytest.raises(CommandError, match="each has one at least"):
        call_command("simulate_trades", trades=5, events=4, direct=True)


@pytest.mark.django_db
def test_pages_show_made_up_trades_like_any_other() -> None:
    Writer().write(of_every_shape())
    client = Client()
    client.force_login(factories.person("operator"), backend="django.contrib.auth.backends.ModelBackend")
    trade = Trade.objects.order_by("-event_count")[0]
    upload = Publication.objects.order_by("pk")[0].document.upload

    assert trade.trade_id in page(client, f"/trades/?q={trade.trade_id}")
    assert "CHECKED" in page(client, f"/trades/{trade.trade_id}/").upper()
    assert upload.documents.order_by("pk")[0].name in page(client, f"/uploads/{upload.pk}/")
    assert Message.objects.filter(outcome="QUARANTINED").order_by("-pk")[0].group_id in page(client, "/quarantine/")
