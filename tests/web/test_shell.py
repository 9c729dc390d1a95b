"""The frame of every page: navigation, banners and toasts, the id of the request, and pages for what goes wrong."""

from __future__ import annotations

import logging
import re

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.web import factories
from tests.web.asking import page
from trades.web.context import shell
from trades.web.request_ids import NamesTheRequest

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of uploads fails."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("trades.web.uploads.upload_list.listed", fail)


def rail(html: str) -> list[str]:
    """What the navigation leads to."""
    return re.findall(r'<a class="nav"[^>]*>.*?<span>(.*?)</span>', html.partition('<nav class="rail"')[2].partition("</nav>")[0])


def test_the_navigation_leads_everywhere_one_may_go(vera: Client, otto: Client, ada: Client) -> None:
    everybody = ["Blotter", "Exceptions", "Quarantine", "Uploads", "Trace", "Outbox", "Queue &amp; workers"]

    assert rail(vera.get("/uploads/").content.decode()) == everybody
    assert rail(otto.get("/uploads/").content.decode()) == everybody
    assert rail(ada.get("/uploads/").content.decode()) == [*everybody, "Inspect", "Admin"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/", "Blotter"),
        ("/trades/?q=x", "Blotter"),
        ("/quarantine/", "Quarantine"),
        ("/uploads/", "Uploads"),
        ("/outbox/", "Outbox"),
        ("/monitor/", "Queue &amp; workers"),
    ],
)
def test_the_navigation_marks_where_one_is(vera: Client, address: str, name: str) -> None:
    html = vera.get(address).content.decode().partition('<nav class="rail"')[2].partition("</nav>")[0]

    assert re.findall(r'aria-current="page">.*?<span>(.*?)</span>', html) == [name]


def test_the_shell_costs_two_queries_at_most_and_none_for_strangers(rf: RequestFactory) -> None:
    factories.quarantined()
    for user, most in ((AnonymousUser(), 0), (factories.person("viewer"), 2)):
        request = rf.get("/")
        request.user = user
        with CaptureQueriesContext(connection) as captured:
            context = shell(request)
            assert str(context["waiting"]).count("quarantined=1") == (most > 0)
            assert str(context["health"])
            assert str(context["open_exceptions"]) == "0"
        assert len(captured) == most


def test_counts_stand_beside_the_pages_that_they_are_of(vera: Client) -> None:
    factories.quarantined()
    factories.trade("T-9", status="REJECTED")

    html = page(vera, "/uploads/")

    assert '<span class="cnt bad" data-exceptions>1<' in html
    assert '<span class="cnt warn" data-quarantined>1<' in html


def test_a_count_of_exceptions_that_stopped_at_its_bound_says_so_everywhere(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trades.exceptions.COUNTED", 2)
    for number in range(3):
        factories.trade(f"T-{number}", status="REJECTED")

    assert '<span class="cnt bad" data-exceptions>2+<' in page(vera, "/uploads/")
    blotter = page(vera, "/trades/")
    assert re.findall(r'id="[nv]-exceptions">([^<]+)<', blotter) == ["2+", "2+"]
    assert vera.get("/live/now").json()["exceptions"] == "2+"


def test_two_groups_of_exceptions_below_their_bounds_are_an_exact_count(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trades.exceptions.COUNTED", 3)
    for number in range(4):
        factories.trade(f"T-{number}", status=("REJECTED", "DISPUTED")[number % 2])

    assert '<span class="cnt bad" data-exceptions>4<' in page(vera, "/uploads/")


# What went wrong


def test_every_answer_has_an_id_and_one_that_a_proxy_gave_is_kept(vera: Client) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", vera.get("/uploads/")["X-Request-ID"])
    assert vera.get("/uploads/")["X-Request-ID"] != vera.get("/uploads/")["X-Request-ID"]
    assert vera.get("/uploads/", headers={"X-Request-ID": "edge-1.42"})["X-Request-ID"] == "edge-1.42"
    for forged in ("a b", "x" * 65, "a\nb", "<b>"):
        assert re.fullmatch(r"[0-9a-f]{32}", vera.get("/uploads/", headers={"X-Request-ID": forged})["X-Request-ID"])


@pytest.mark.usefixtures("fault")
def test_a_fault_shows_the_id_that_its_log_line_has(vera: Client, caplog: pytest.LogCaptureFixture) -> None:
    vera.raise_request_exception = False
    caplog.handler.addFilter(NamesTheRequest())

    response = vera.get("/uploads/")

    html, named = response.content.decode(), response["X-Request-ID"]
    assert response.status_code == 500
    assert f'<code id="request-id">{named}</code>' in html
    assert f'data-copy="{named}"' in html
    assert "a fault" not in html
    failed = next(record for record in caplog.records if record.levelno == logging.ERROR)
    assert failed.request_id == f" [request {named}]"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("fault")
def test_a_part_of_a_page_that_fails_is_one_sentence(vera: Client) -> None:
    vera.raise_request_exception = False

    response = vera.get("/uploads/", headers=HTMX)

    assert response.status_code == 500
    assert response.content.decode() == "The portal failed to answer."
    assert response["Content-Type"].startswith("text/plain")


def test_a_database_that_is_away_gets_a_page_that_asks_nothing_of_it(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("django.contrib.sessions.backends.base.SessionBase._session", property(away))
    vera.raise_request_exception = False

    response, part = vera.get("/uploads/"), vera.get("/uploads/", headers=HTMX)

    assert response.status_code == part.status_code == 503
    assert response["Retry-After"] == "30"
    assert "The database does not answer" in response.content.decode()
    assert "closed the connection" not in response.content.decode()
    assert part.content.decode() == "The database does not answer. Try again in a moment."


def test_what_one_may_not_do_says_what_is_needed_and_who_grants_it(vera: Client) -> None:
    html = page(vera, "/uploads/new/", status=403)

    assert "you need the role operator or administrator" in html
    assert "An administrator grants roles" in html
    part = vera.get("/uploads/new/", headers=HTMX)
    assert part.status_code == 403
    assert part.content.decode() == "To upload and publish documents you need the role operator or administrator."


def test_an_unknown_address_has_quick_find(vera: Client) -> None:
    assert f'action="{reverse("find")}"' in page(vera, "/no/such/page/", status=404)
    assert vera.get("/no/such/page/", headers=HTMX).content.decode().startswith("The address may be mistyped")


def test_a_form_that_was_open_too_long_leads_back_to_where_it_can_be_opened_anew() -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(factories.person("operator"), backend="django.contrib.auth.backends.ModelBackend")

    def refused(**headers: str) -> str:
        response = strict.post("/quarantine/1/replay/", headers=headers)
        assert response.status_code == 403
        assert "Nothing was changed." in response.content.decode()
        found = re.search(r'class="btn" href="([^"]*)"', response.content.decode())
        assert found
        return found[1]

    assert refused() == "/"
    assert refused(Referer="http://testserver/quarantine/?code=x") == "/quarantine/?code=x"
    assert refused(Referer="https://elsewhere.example/quarantine/") == "/"
    assert refused(Referer="http://testserver//elsewhere.example/quarantine/") == "/elsewhere.example/quarantine/"
    part = strict.post("/quarantine/1/replay/", headers=HTMX)
    assert part.content.decode() == "This page was open too long. Reload it and send again; nothing was changed."


def test_results_of_ones_own_actions_are_told_in_the_region_for_toasts(vera: Client) -> None:
    html = vera.post(reverse("account"), {"theme": "dark"}, follow=True).content.decode()

    region = html.partition('id="toasts" role="status"')[2].partition("</div></div>")[0]
    assert '<div class="toast banner ok">' in region
    assert "Preferences saved" in region
