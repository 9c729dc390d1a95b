from importlib import import_module
from itertools import groupby
from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

make_groups = import_module("trades.migrations.0002_roles").make_groups  # viewers may see the new tables too

KINDS = {
    "GAP": ("GAP", 1), "GROUP_GAP": ("GAP", 1),
    "LATE": ("LATE", 2), "OVERTAKEN": ("LATE", 2),
    "VERSION_CONFLICT": ("CONFLICT", 4), "ORDER_CONFLICT": ("CONFLICT", 4), "TWO_TRADES": ("CONFLICT", 4),
    "AFTER_END": ("AFTER_END", 8),
}  # fmt: skip

# The first event, in queue order, after the last one that left another status.
STATUS_SINCE = """
UPDATE trades_trade SET status_since = COALESCE(
    (SELECT MIN(e.recorded_at) FROM trades_event e WHERE e.trade_id = trades_trade.id AND e.position > COALESCE(
        (SELECT MAX(p.position) FROM trades_event p WHERE p.trade_id = trades_trade.id AND p.status_after <> trades_trade.status), 0)),
    updated_at)
"""


def find_exceptions(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """What the flags of recorded events say is wrong with their trades, since the first event that says so."""
    Trade, Event = apps.get_model("trades", "Trade"), apps.get_model("trades", "Event")
    TradeException = apps.get_model("trades", "TradeException")
    flagged = Event.objects.filter(trade__flagged_count__gt=0).order_by("trade", "position").values_list("trade", "flags", "recorded_at")
    for trade, events in groupby(flagged.iterator(2_000), key=lambda row: row[0]):
        since: dict[str, Any] = {}
        marks = 0
        for _, flags, recorded_at in events:
            for kind, bit in (KINDS[flag] for flag in flags if flag in KINDS):
                since.setdefault(kind, recorded_at)
                marks |= bit
        TradeException.objects.bulk_create(TradeException(trade_id=trade, kind=kind, since=at) for kind, at in since.items())
        Trade.objects.filter(pk=trade).update(exception_marks=marks)


class Migration(migrations.Migration):

    dependencies = [
        ('trades', '0004_quarantine_workbench'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Draft',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('part', models.PositiveIntegerField(default=1)),
                ('queue', models.CharField(max_length=80)),
                ('group_id', models.CharField(max_length=128)),
                ('trade_id', models.CharField(blank=True, max_length=255)),
                ('message_type', models.CharField(blank=True, max_length=100)),
                ('summary', models.CharField(blank=True, help_text='what was understood, in words', max_length=255)),
                ('body', models.TextField()),
                ('size', models.PositiveIntegerField(help_text='bytes, as SQS counts them')),
                ('body_sha256', models.CharField(max_length=64)),
                ('effect', models.JSONField(help_text='what it would do (foretelling.Effect), None before that is known', null=True)),
            ],
        ),
        migrations.CreateModel(
            name='Repeat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('received_at', models.DateTimeField()),
                ('receive_count', models.PositiveIntegerField(default=1)),
                ('sqs_message_id', models.CharField(blank=True, help_text='of this delivery; another one where it was sent twice', max_length=100)),
                ('worker', models.CharField(blank=True, max_length=150)),
            ],
        ),
        migrations.CreateModel(
            name='SavedView',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=60)),
                ('query', models.TextField(blank=True, help_text="the query part of the blotter's address")),
            ],
        ),
        migrations.CreateModel(
            name='SendAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('error', models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name='TradeException',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('GAP', 'Gap'), ('LATE', 'Late'), ('CONFLICT', 'Conflict'), ('AFTER_END', 'After the end')], max_length=10)),
                ('since', models.DateTimeField(help_text='when an event gave cause for it; the first since it was last acknowledged')),
                ('acknowledged_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name='auditentry',
            name='trade',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='audit', to='trades.trade'),
        ),
        migrations.AddField(
            model_name='auditentry',
            name='upload',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='audit', to='trades.upload'),
        ),
        migrations.AddField(
            model_name='document',
            name='position',
            field=models.PositiveIntegerField(default=0, help_text='its place in the upload, from 1; 0: by its key'),
        ),
        migrations.AddField(
            model_name='message',
            name='deleted_at',
            field=models.DateTimeField(help_text='when the queue confirmed that it was deleted; reported some seconds later', null=True),
        ),
        migrations.AddField(
            model_name='message',
            name='worker',
            field=models.CharField(blank=True, help_text='host and process that received it first', max_length=150),
        ),
        migrations.AddField(
            model_name='trade',
            name='exception_marks',
            field=models.PositiveSmallIntegerField(default=0, help_text='bits of TradeException.Kind that its events give cause for'),
        ),
        migrations.AddField(
            model_name='trade',
            name='owned_since',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='trade',
            name='owner',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='trades', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='trade',
            name='status_since',
            field=models.DateTimeField(default=django.utils.timezone.now, help_text='when it came into its status: as the document states it, but no later than recorded'),
        ),
        migrations.AddField(
            model_name='upload',
            name='checked_at',
            field=models.DateTimeField(help_text='when the effect of its drafts was last foretold', null=True),
        ),
        migrations.AddField(
            model_name='upload',
            name='decided_at',
            field=models.DateTimeField(help_text='when a person published or withdrew what was in review', null=True),
        ),
        migrations.AddField(
            model_name='upload',
            name='stage',
            field=models.CharField(choices=[('REVIEW', 'In review'), ('PUBLISHED', 'Published'), ('WITHDRAWN', 'Withdrawn')], default='PUBLISHED', max_length=10),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='action',
            field=models.CharField(choices=[('replay', 'Replay'), ('replay refused', 'Replay refused'), ('correct', 'Correct and replay'), ('discard', 'Discard'), ('undo discard', 'Undo discard'), ('held', 'Wait behind an earlier message'), ('assign', 'Assign'), ('release', 'Release'), ('note', 'Note'), ('acknowledge', 'Acknowledge'), ('publish', 'Publish'), ('withdraw', 'Withdraw')], max_length=40),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='message',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='audit', to='trades.message'),
        ),
        migrations.AlterField(
            model_name='document',
            name='name',
            field=models.CharField(db_index=True, max_length=255),
        ),
        migrations.AddIndex(
            model_name='document',
            index=models.Index(fields=['sha256'], name='document_content'),
        ),
        migrations.AddIndex(
            model_name='event',
            index=models.Index(condition=models.Q(('document_message_id__gt', '')), fields=['document_message_id'], name='event_document_message'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=models.Q(('outcome', 'QUARANTINED')), fields=['queue', 'group_id', 'id'], name='message_quarantined_group'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['body_md5'], name='message_md5'),
        ),
        migrations.AddIndex(
            model_name='publication',
            index=models.Index(condition=models.Q(('md5__gt', '')), fields=['md5'], name='publication_md5'),
        ),
        migrations.AddIndex(
            model_name='trade',
            index=models.Index(models.F('product'), models.OrderBy(models.F('updated_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='trade_product_newest'),
        ),
        migrations.AddIndex(
            model_name='trade',
            index=models.Index(models.F('parties'), models.OrderBy(models.F('updated_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='trade_parties_newest'),
        ),
        migrations.AddIndex(
            model_name='trade',
            index=models.Index(models.OrderBy(models.F('updated_at'), descending=True), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('flagged_count__gt', 0)), name='trade_flagged_newest'),
        ),
        migrations.AddIndex(
            model_name='trade',
            index=models.Index(models.OrderBy(models.F('first_seen_at'), descending=True), models.OrderBy(models.F('id'), descending=True), name='trade_first_seen'),
        ),
        migrations.AddIndex(
            model_name='trade',
            index=models.Index(models.OrderBy(models.F('status_since'), descending=True), models.OrderBy(models.F('id'), descending=True), name='trade_status_since'),
        ),
        migrations.AddIndex(
            model_name='trade',
            index=models.Index(fields=['trade_date'], name='trade_trade_date'),
        ),
        migrations.AddIndex(
            model_name='trade',
            index=models.Index(condition=models.Q(('state__in', ['PENDING', 'LIVE'])), fields=['status', 'status_since', 'id'], name='trade_unfinished'),
        ),
        migrations.AddConstraint(
            model_name='auditentry',
            constraint=models.CheckConstraint(condition=models.Q(('message__isnull', False), ('trade__isnull', False), ('upload__isnull', False), _connector='OR'), name='audit_is_about_something'),
        ),
        migrations.AddField(
            model_name='draft',
            name='document',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='drafts', to='trades.document'),
        ),
        migrations.AddField(
            model_name='repeat',
            name='message',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='trades.message'),
        ),
        migrations.AddField(
            model_name='savedview',
            name='user',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='views', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='sendattempt',
            name='publication',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='failures', to='trades.publication'),
        ),
        migrations.AddField(
            model_name='tradeexception',
            name='trade',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='exceptions', to='trades.trade'),
        ),
        migrations.AddConstraint(
            model_name='draft',
            constraint=models.UniqueConstraint(fields=('document', 'part'), name='draft_once_per_part'),
        ),
        migrations.AddConstraint(
            model_name='savedview',
            constraint=models.UniqueConstraint(fields=('user', 'name'), name='view_name_once_per_user'),
        ),
        migrations.AddIndex(
            model_name='tradeexception',
            index=models.Index(condition=models.Q(('acknowledged_at__isnull', True)), fields=['kind', 'since', 'id'], name='exception_open'),
        ),
        migrations.AddConstraint(
            model_name='tradeexception',
            constraint=models.UniqueConstraint(fields=('trade', 'kind'), name='exception_once_per_kind'),
        ),
        migrations.RunSQL(STATUS_SINCE, migrations.RunSQL.noop),
        migrations.RunPython(find_exceptions, migrations.RunPython.noop),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
