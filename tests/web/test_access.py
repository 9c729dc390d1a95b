"""Who gets in: every address, for every role, and nothing by GET that changes anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from tests.web import factories
from trades.models import AuditEntry, Message
from trades.web import urls

pytestmark = pytest.mark.django_db

OPEN = {"login", "choose", "session"}
FOR_VIEWERS = {
    "blotter", "trades", "trade", "event", "event_raw", "uploads", "upload", "document_original", "quarantine", "reference", "message",
    "upload_sample", "upload_errors",
    "message_raw", "monitor", "find",
    "trades_csv", "trades_xlsx", "preview", "trade_history_zip", "trade_history_json", "trade_history_csv",
    "exceptions", "trace", "trace_publication", "trace_message", "outbox", "publication",
}  # fmt: skip
FOR_OPERATORS = {
    "upload_new", "upload_begin", "upload_files", "upload_check", "upload_decide",
    "replay", "discard", "undo", "correct", "settle", "correct_many", "exception_act", "outbox_act",
}  # fmt: skip
FOR_ADMINISTRATORS = {"inspect"}
FOR_EVERYBODY = {"views", "account"}
FOR_SCRIPTS = {"live", "live_now"}  # they answer with a status, never with a page (test_live)
POST_ONLY = {
    "views", "upload_begin", "upload_files", "upload_check", "upload_decide", "replay", "discard", "undo", "choose", "logout",
    "exception_act",
}  # fmt: skip


@pytest.fixture
def addresses() -> dict[str, str]:
    """Every named address, with rows behind it."""
    trade = factories.trade("T-1")
    factories.event(trade)
    blocked = factories.quarantined(group="T-2")
    upload = factories.upload()
    document = upload.documents.get()
    arguments: dict[str, list[str | int]] = {
        "trade": ["T-1"],
        "preview": [trade.pk],
        "event": ["T-1", 1],
        "event_raw": ["T-1", 1],
        "upload": [upload.pk],
        "document_original": [upload.pk, document.pk],
        **{name: [upload.pk] for name in ("upload_files", "upload_check", "upload_decide", "upload_errors")},
        **{name: ["T-1"] for name in ("trade_history_zip", "trade_history_json", "trade_history_csv")},
        **{name: [str(document.publications.get().publication_id)] for name in ("trace_publication", "publication")},
        "trace_message": [blocked.pk],
        **{name: [blocked.pk] for name in ("message", "message_raw", "replay", "discard", "undo", "correct")},
    }
    return {name: reverse(name, args=arguments.get(name, [])) for name in names()}


def names() -> Iterator[str]:
    for pattern in urls.urlpatterns:
        assert isinstance(pattern, URLPattern)
        assert pattern.name
        yield pattern.name


def status_of(client: Client, address: str) -> int:
    """The status of a page or of a file, which is read to its end."""
    response = client.get(address)
    response.getvalue()
    return response.status_code


def test_every_address_is_named_in_these_tests() -> None:
    assert set(names()) == OPEN | FOR_VIEWERS | FOR_OPERATORS | FOR_ADMINISTRATORS | FOR_EVERYBODY | FOR_SCRIPTS | {"logout"}
    assert {pattern.pattern.regex.pattern for pattern in get_resolver().url_patterns} >= {"^admin/"}


def test_nobody_gets_anywhere_without_signing_in(client: Client, addresses: dict[str, str]) -> None:
    for name in set(addresses) - OPEN - FOR_SCRIPTS - {"logout"}:
        for response in (client.get(addresses[name]), client.post(addresses[name])):
            assert response.status_code == 302, name
            assert response["Location"].startswith(reverse("login")), name


def test_somebody_without_a_role_is_told_what_is_needed(nemo: Client, addresses: dict[str, str]) -> None:
    for name in FOR_VIEWERS | FOR_OPERATORS | FOR_ADMINISTRATORS:
        response = nemo.post(addresses[name]) if name in POST_ONLY else nemo.get(addresses[name])
        assert response.status_code == 403, name
        assert "you need the role" in response.content.decode(), name


def test_viewers_see_everything_and_change_nothing(vera: Client, addresses: dict[str, str]) -> None:
    for name in FOR_VIEWERS:
        assert status_of(vera, addresses[name]) == 200, name
    for name in FOR_OPERATORS | FOR_ADMINISTRATORS:
        response = vera.post(addresses[name])
        assert response.status_code == 403, name
        assert "administrator" in response.content.decode()
    assert not AuditEntry.objects.exists()
    assert "Upload XML" not in vera.get(addresses["blotter"]).content.decode()


@pytest.mark.parametrize("who", ["otto", "ada"])
def test_operators_and_administrators_may_publish_and_settle(who: str, request: pytest.FixtureRequest, addresses: dict[str, str]) -> None:
    client: Client = request.getfixturevalue(who)

    for name in FOR_VIEWERS | {"upload_new"}:
        assert status_of(client, addresses[name]) == 200, name
    assert client.post(addresses["discard"], {"reason": "a test"}).status_code == 302
    assert Message.objects.filter(outcome="DISCARDED").count() == 1


def test_only_administrators_inspect_documents(otto: Client, ada: Client, addresses: dict[str, str]) -> None:
    for name in FOR_ADMINISTRATORS:
        assert otto.get(addresses[name]).status_code == 403, name
        assert ada.get(addresses[name]).status_code == 200, name


def test_nothing_changes_by_get(otto: Client, addresses: dict[str, str]) -> None:
    before = list(Message.objects.order_by("pk").values())
    for name in POST_ONLY:
        assert otto.get(addresses[name]).status_code in (302, 405), name
    assert list(Message.objects.order_by("pk").values()) == before
    assert not AuditEntry.objects.exists()


def test_reading_pages_refuse_post(otto: Client, addresses: dict[str, str]) -> None:
    for name in FOR_VIEWERS:
        assert otto.post(addresses[name]).status_code == 405, name


def test_forms_without_a_token_are_refused_with_a_page_that_says_what_to_do(addresses: dict[str, str]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.person("operator"), backend="django.contrib.auth.backends.ModelBackend")

    response = client.post(addresses["discard"], {"reason": "forged"})

    assert response.status_code == 403
    assert "Page was open too long" in response.content.decode()
    assert not AuditEntry.objects.exists()
