import uuid
from importlib import import_module

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

make_groups = import_module("trades.migrations.0002_roles").make_groups  # viewers may see the new table too


def date_settled(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """What was replayed or discarded before was settled when the audit trail says."""
    Message, AuditEntry = apps.get_model("trades", "Message"), apps.get_model("trades", "AuditEntry")
    entries = AuditEntry.objects.filter(message=models.OuterRef("pk"), action__in=["replay", "discard"]).order_by("-id")
    Message.objects.filter(audit__action__in=["replay", "discard"]).update(settled_at=models.Subquery(entries.values("at")[:1]))


class Migration(migrations.Migration):
    dependencies = [
        ("trades", "0003_business_order"),
    ]

    operations = [
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("host", models.CharField(max_length=255)),
                ("pid", models.PositiveIntegerField()),
                ("version", models.CharField(max_length=40)),
                ("queue", models.CharField(max_length=80)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("STARTING", "Starting"),
                            ("IDLE", "Idle"),
                            ("WORKING", "Working"),
                            ("WAITING", "Waiting for queue or database"),
                            ("STOPPING", "Stopping"),
                            ("STOPPED", "Stopped"),
                        ],
                        default="STARTING",
                        max_length=10,
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField(help_text="last heartbeat")),
                ("last_poll_at", models.DateTimeField(help_text="when the queue last answered a receive, empty or not", null=True)),
                ("received", models.PositiveBigIntegerField(default=0, help_text="messages, since it started")),
                ("recorded", models.PositiveBigIntegerField(default=0, help_text="of these, stored for the first time")),
                ("repeats", models.PositiveBigIntegerField(default=0, help_text="of these, acknowledged without effect")),
                ("failures", models.PositiveBigIntegerField(default=0, help_text="times that the queue or the database was away")),
                ("last_error", models.TextField(blank=True)),
            ],
        ),
        migrations.AlterModelOptions(
            name="message",
            options={"permissions": [("settle", "Can replay, correct and discard quarantined messages")]},
        ),
        migrations.AddField(
            model_name="auditentry",
            name="origin",
            field=models.CharField(
                blank=True, help_text="where it was done if nobody was signed in: the command and its user", max_length=150
            ),
        ),
        migrations.AddField(
            model_name="message",
            name="conflicts_with",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="conflicts",
                to="trades.message",
            ),
        ),
        migrations.AddField(
            model_name="message",
            name="corrects",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="corrections",
                to="trades.message",
            ),
        ),
        migrations.AddField(
            model_name="message",
            name="settled_at",
            field=models.DateTimeField(help_text="when a person replayed, corrected or discarded it", null=True),
        ),
        migrations.AddField(
            model_name="message",
            name="stated_trade_id",
            field=models.CharField(blank=True, help_text="the trade a refused message names, if that could be read", max_length=255),
        ),
        migrations.AddField(
            model_name="message",
            name="via_dead_letter",
            field=models.BooleanField(default=False, help_text="SQS had given up delivering it; taken from the dead-letter queue"),
        ),
        migrations.AlterField(
            model_name="auditentry",
            name="action",
            field=models.CharField(
                choices=[
                    ("replay", "Replay"),
                    ("replay refused", "Replay refused"),
                    ("correct", "Correct and replay"),
                    ("discard", "Discard"),
                    ("undo discard", "Undo discard"),
                    ("held", "Wait behind an earlier message"),
                ],
                max_length=40,
            ),
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
                    ("CORRECTED", "Corrected"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(condition=models.Q(("conflicts_with__isnull", False)), fields=["conflicts_with"], name="message_conflicts"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(condition=models.Q(("stated_trade_id__gt", "")), fields=["stated_trade_id"], name="message_stated_trade"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                models.OrderBy(models.F("settled_at"), descending=True),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(("settled_at__isnull", False)),
                name="message_settled",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("settled_at__isnull", False)), fields=["queue", "group_id", "id"], name="message_settled_group"
            ),
        ),
        migrations.AddConstraint(
            model_name="message",
            constraint=models.UniqueConstraint(
                condition=models.Q(("corrects__isnull", False)), fields=("corrects",), name="message_corrected_once"
            ),
        ),
        migrations.AddIndex(
            model_name="worker",
            index=models.Index(fields=["-seen_at"], name="worker_seen"),
        ),
        migrations.RunPython(date_settled, migrations.RunPython.noop),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
