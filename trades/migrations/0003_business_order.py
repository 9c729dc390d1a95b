"""Several ids of one trade, links between trades, business order, and messages that are no trade events."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from typing import Any

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import F

CHUNK = 2_000


def place_events(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Events stand in queue order until their trade is told anew, which its next event brings about (order.Marks.UNKNOWN)."""
    apps.get_model("trades", "Event").objects.update(place=F("position"))


def identify_trades(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Each trade is found by the id it is kept under, and by those other ids that its events state and no other trade claims."""
    Trade, TradeIdentifier = apps.get_model("trades", "Trade"), apps.get_model("trades", "TradeIdentifier")
    leading = Trade.objects.order_by("id").values_list("key", "scheme", "trade_id", "id")
    for rows in _chunks(leading.iterator(CHUNK)):
        TradeIdentifier.objects.bulk_create(_identifier(TradeIdentifier, *row) for row in rows)
    claims: dict[str, tuple[str, str, int] | None] = {}
    stating = apps.get_model("trades", "Event").objects.filter(details__has_key="other_ids").values_list("trade_id", "details")
    for trade_id, details in stating.iterator(CHUNK):
        for other in details["other_ids"]:
            claim: tuple[str, str, int] | None = (other["scheme"], other["id"], trade_id)
            key = hashlib.sha256(f"{other['scheme']}\x1f{other['id']}".encode()).hexdigest()
            claims[key] = claim if claims.get(key, claim) == claim else None
    for keys in _chunks(iter(claims)):
        taken = set(TradeIdentifier.objects.filter(key__in=keys).values_list("key", flat=True))
        found = [(key, *claim) for key in keys if key not in taken and (claim := claims[key]) is not None]
        TradeIdentifier.objects.bulk_create(_identifier(TradeIdentifier, *row) for row in found)


def rename_flags(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """GAP is about versions now; a gap of the message group has a name of its own. A late event is put in its place instead."""
    Event, Trade = apps.get_model("trades", "Event"), apps.get_model("trades", "Trade")
    flagged = Event.objects.exclude(flags=[]).only("id", "trade_id", "flags").order_by("id")
    cleared: Counter[int] = Counter()
    for events in _chunks(flagged.iterator(CHUNK)):
        for event in events:
            event.flags = ["GROUP_GAP" if flag == "GAP" else flag for flag in event.flags if flag != "OLD_VERSION"]
            cleared[event.trade_id] += not event.flags
        Event.objects.bulk_update(events, ["flags"], batch_size=500)
    for trade_id, count in cleared.items():
        if count:
            Trade.objects.filter(pk=trade_id).update(flagged_count=F("flagged_count") - count)


def _identifier(model: Any, key: str, scheme: str, value: str, trade_id: int) -> Any:
    return model(key=key, scheme=scheme[:255], value=value[:255], trade_id=trade_id)


def _chunks(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


make_groups = import_module("trades.migrations.0002_roles").make_groups  # viewers may see the new tables too


class Migration(migrations.Migration):
    dependencies = [
        ("trades", "0002_roles"),
    ]

    operations = [
        migrations.CreateModel(
            name="TradeIdentifier",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(help_text="SHA-256 of scheme and id", max_length=64, unique=True)),
                ("scheme", models.CharField(blank=True, max_length=255)),
                ("value", models.CharField(db_index=True, max_length=255)),
                ("is_uti", models.BooleanField(default=False, help_text="a unique transaction identifier (ISO 23897)")),
            ],
        ),
        migrations.CreateModel(
            name="TradeLink",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("since", models.DateTimeField()),
            ],
        ),
        migrations.RemoveField(
            model_name="trade",
            name="once_booked",
        ),
        migrations.AddField(
            model_name="event",
            name="place",
            field=models.PositiveIntegerField(default=0, help_text="1..n within the trade, in business order"),
        ),
        migrations.AddField(
            model_name="message",
            name="mapping_version",
            field=models.CharField(blank=True, help_text="of the dialect it was read with", max_length=64),
        ),
        migrations.AddField(
            model_name="trade",
            name="highest_version",
            field=models.BigIntegerField(help_text="of all events that state one", null=True),
        ),
        migrations.AddField(
            model_name="trade",
            name="order_marks",
            field=models.PositiveSmallIntegerField(default=4, help_text="order.Marks"),
        ),
        migrations.AlterField(
            model_name="message",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("RECORDED", "Recorded"),
                    ("DUPLICATE", "Duplicate"),
                    ("HELD", "Held"),
                    ("QUARANTINED", "Quarantined"),
                    ("DISCARDED", "Discarded"),
                    ("REFERENCE", "Not a trade event"),
                ],
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="message",
            name="reason",
            field=models.TextField(blank=True, help_text="why it was quarantined, or why it is no trade event"),
        ),
        migrations.AlterField(
            model_name="trade",
            name="last_class",
            field=models.CharField(
                blank=True,
                choices=[
                    ("BOOK", "Book"),
                    ("UPDATE", "Update"),
                    ("CORRECT", "Correct"),
                    ("RETRACT", "Retract"),
                    ("CANCEL", "Cancel"),
                    ("TERMINATE", "Terminate"),
                    ("REINSTATE", "Reinstate"),
                    ("STATUS", "Status"),
                    ("REQUEST", "Request"),
                    ("SNAPSHOT", "Snapshot"),
                ],
                help_text="of the newest event",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="trade",
            name="last_event_time",
            field=models.DateTimeField(help_text="the latest that an event states", null=True),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(condition=models.Q(("outcome", "REFERENCE")), fields=["-id"], name="message_reference"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["trade", "place"], name="event_business_order"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(condition=models.Q(("correlation_id__gt", "")), fields=["correlation_id"], name="event_thread"),
        ),
        migrations.AddField(
            model_name="tradeidentifier",
            name="trade",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="identifiers", to="trades.trade"),
        ),
        migrations.AddField(
            model_name="tradelink",
            name="first",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="links_to_later", to="trades.trade"
            ),
        ),
        migrations.AddField(
            model_name="tradelink",
            name="message",
            field=models.ForeignKey(
                help_text="the first that says so", on_delete=django.db.models.deletion.PROTECT, related_name="links", to="trades.message"
            ),
        ),
        migrations.AddField(
            model_name="tradelink",
            name="second",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="links_to_earlier", to="trades.trade"),
        ),
        migrations.AddConstraint(
            model_name="tradelink",
            constraint=models.UniqueConstraint(fields=("first", "second"), name="link_once_per_pair"),
        ),
        # Last: PostgreSQL changes no table that has rows with constraints yet to be checked.
        migrations.RunPython(place_events, migrations.RunPython.noop),
        migrations.RunPython(identify_trades, migrations.RunPython.noop),
        migrations.RunPython(rename_flags, migrations.RunPython.noop),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
