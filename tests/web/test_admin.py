"""The admin: everything can be looked up, nothing changed, and documents published by those who may."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.native import native
from tests.web import factories
from tests.web.asking import page
from trades.models import (
    AuditEntry,
    Document,
    Draft,
    Handler,
    Message,
    Publication,
    Repeat,
    SavedView,
    SendAttempt,
    Trade,
    TradeException,
    Unhandled,
    Upload,
    Worker,
)
from trades.web import words

pytestmark = pytest.mark.django_db
OURS = [model for model in admin.site._registry if model._meta.app_label == "trades"]


@pytest.fixture
def root(db: None) -> Client:
    client = Client()
    root = User.objects.create_superuser("root", password="secret")
    client.force_login(root, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def rows() -> None:
    trade = factories.trade("a/b")
    event = factories.event(trade, body="<a>&amp;" + "x" * 30_000 + "</a>")
    factories.quarantined()
    factories.upload()
    factories.link(trade, factories.trade("c"))
    AuditEntry.objects.create(at=factories.NOON, action="replay", message=event.message, origin="command line, root")
    AuditEntry.objects.create(at=factories.NOON, action="note", trade=trade, note="<b>")
    AuditEntry.objects.create(at=factories.NOON, action="withdraw", upload=Upload.objects.get())
    AuditEntry.objects.create(at=factories.NOON, action="cancel", publication=Publication.objects.get())
    Unhandled.objects.create(message=event.message, queue=factories.QUEUE)
    Handler.objects.create(queue=factories.QUEUE, name="firm.handle", since=factories.NOON)
    factories.large(b"<a>&amp;" + b"y" * 1_100_000 + b"</a>")
    TradeException.objects.create(trade=trade, kind="GAP", since=factories.NOON)
    SavedView.objects.create(user=factories.person(name="keeper"), name="mine", query="status=REJECTED")
    Draft.objects.create(document=Document.objects.get(), body="<a>", size=3, queue="q.fifo", group_id="g", body_sha256="0" * 64)
    SendAttempt.objects.create(publication=Publication.objects.get(), at=factories.NOON, error="away")
    Repeat.objects.create(message=event.message, received_at=factories.NOON)


def address(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:trades_{model._meta.model_name}_{page}", args=arguments)


def test_every_model_is_there() -> None:
    assert {model._meta.model_name for model in OURS} == {
        "trade", "event", "message", "upload", "document", "publication", "refusal", "hold", "auditentry", "outboxlease",
        "tradeidentifier", "tradelink", "worker", "tradeexception", "savedview", "draft", "sendattempt", "repeat", "payload",
        "handler", "unhandled",
    }  # fmt: skip


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_rows_can_be_listed_searched_and_opened_but_not_changed_even_by_a_superuser(root: Client, rows: None, model: type[Model]) -> None:
    assert root.get(address(model, "changelist")).status_code == 200
    assert root.get(address(model, "changelist"), {"q": "1"}).status_code == 200
    assert root.get(address(model, "add")).status_code == 403
    for row in model._default_manager.all()[:1]:
        shown = root.get(address(model, "change", row.pk))
        assert shown.status_code == 200
        assert 'name="_save"' not in shown.content.decode()
        assert root.post(address(model, "change", row.pk), {}).status_code == 403
        assert root.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403


def test_the_audit_trail_leads_to_message_trade_and_upload(root: Client, rows: None) -> None:
    html = root.get(address(AuditEntry, "changelist")).content.decode()

    for link in ('href="/trades/a%2Fb/">trade a/b<', 'href="/uploads/', 'href="/quarantine/'):
        assert link in html


def test_staff_without_a_role_see_nothing_of_ours(rows: None) -> None:
    client = Client()
    client.force_login(factories.person(name="stanley", staff=True), backend="django.contrib.auth.backends.ModelBackend")

    assert client.get(address(Trade, "changelist")).status_code == 403
    assert client.get(reverse("admin:trades_upload_publish")).status_code == 403


def test_the_header_names_the_environment(ada: Client) -> None:
    assert "Trade Portal (DEV)" in ada.get("/admin/").content.decode()


def test_the_audit_trail_says_where_something_was_done_and_messages_filter_by_the_dead_letter_queue(ada: Client, rows: None) -> None:
    factories.message("QUARANTINED", via_dead_letter=True, message_id="given-up")

    assert "command line, root" in ada.get(address(AuditEntry, "changelist")).content.decode()
    listed = ada.get(address(Message, "changelist"), {"via_dead_letter__exact": "1"}).content.decode()
    assert "given-up" in listed
    assert "1 message" in listed


def test_a_worker_that_was_not_seen_for_long_is_told_from_one_that_stopped(ada: Client) -> None:
    now = timezone.now()
    for state, silent in (("IDLE", timedelta(minutes=3, seconds=30)), ("STOPPED", timedelta(hours=1)), ("WORKING", timedelta(0))):
        Worker.objects.create(
            host="h",
            pid=1,
            version="1",
            queue="q",
            state=state,
            started_at=factories.NOON,
            seen_at=now - silent,
            last_poll_at=factories.NOON,
        )

    html = ada.get(address(Worker, "changelist")).content.decode()

    for shown in ("Idle, not seen for 3 m: killed, or without the database", "Stopped", "Working"):
        assert f'<td class="field-standing">{shown}</td>' in html
    assert f'<td class="field-seen">{words.full(now)}</td>' in html
    assert html.count('<td class="field-last_poll">20 Nov 2026 12:00:00 UTC</td>') == 3


def test_texts_are_escaped_and_cut(ada: Client, rows: None) -> None:
    longest, large = Message.objects.filter(payload=None).order_by("-size")[0], Message.objects.get(payload__isnull=False)

    html, of_large = (ada.get(address(Message, "change", message.pk)).content.decode() for message in (longest, large))

    assert "<pre>&lt;a&gt;&amp;amp;xxx" in html
    assert len(html) < 60_000
    assert "The first 20,000 of 1,100,012 bytes:</p><pre>&lt;a&gt;&amp;amp;yyy" in of_large
    assert len(of_large) < 60_000


def test_rows_lead_to_the_pages_of_the_portal(ada: Client, rows: None) -> None:
    assert 'href="/trades/a%2Fb/"' in ada.get(address(Trade, "changelist")).content.decode()


def test_a_trade_shows_all_its_ids_and_the_trades_that_may_be_the_same(ada: Client, rows: None) -> None:
    trade, other = Trade.objects.get(trade_id="a/b"), Trade.objects.get(trade_id="c")
    factories.other_id(trade, "<UTI>", "urn:uti", is_uti=True)

    html = ada.get(address(Trade, "change", trade.pk)).content.decode()

    assert "a/b (no scheme stated)<br>&lt;UTI&gt; (urn:uti, UTI)" in html
    assert f'<a href="{address(Trade, "change", other.pk)}">c</a> since 20 Nov 2026 12:00:00 UTC' in html
    assert "a/b" in ada.get(address(Trade, "changelist"), {"q": "<UTI>"}).content.decode()


def test_the_upload_list_has_a_button_that_publishes_for_those_who_may(ada: Client, rows: None) -> None:
    button = reverse("admin:trades_upload_publish")

    assert button in ada.get(address(Upload, "changelist")).content.decode()


def test_documents_published_from_the_admin_go_the_same_way(ada: Client) -> None:
    publish = reverse("admin:trades_upload_publish")
    assert ada.get(publish).status_code == 200

    response = ada.post(publish, {"xml_files": [SimpleUploadedFile("a.xml", native("T-3").encode())]})

    upload = Upload.objects.get()
    assert upload.source == "ADMIN"
    assert response["Location"] == f"/uploads/{upload.pk}/"
    assert "BOOK version 1 of T-3" in ada.get(response["Location"]).content.decode()


def test_publishing_nothing_says_so(ada: Client) -> None:
    response = ada.post(reverse("admin:trades_upload_publish"), {})

    assert response.status_code == 422
    assert "Choose at least one XML file" in response.content.decode()
    assert "<ul" in response.content.decode()


def test_the_outbox_in_the_admin_shows_attempts_and_errors_and_leads_to_what_can_be_done(ada: Client) -> None:
    upload = factories.upload(2, sent=False)
    rows = list(Publication.objects.filter(document__upload=upload).order_by("pk"))
    Publication.objects.filter(pk=rows[0].pk).update(attempts=3, last_error="nothing answers at the broker")
    SendAttempt.objects.create(publication=rows[0], at=factories.NOON, error="the first of three errors")

    listed = page(ada, "/admin/trades/publication/")
    answer = ada.post("/admin/trades/publication/", {"action": "cancel", "_selected_action": [row.pk for row in rows]})

    assert "nothing answers at the broker" in listed
    assert "the first of three errors" in page(ada, f"/admin/trades/publication/{rows[0].pk}/change/")
    assert answer.headers["Location"] == f"/outbox/act/?act=cancel&p={rows[0].pk}&p={rows[1].pk}"
