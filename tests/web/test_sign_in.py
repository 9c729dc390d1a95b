"""Signing in and out, and the theme."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from tests.web import factories

pytestmark = pytest.mark.django_db


def sign_in(client: Client, name: str, password: str) -> str:
    return client.post(reverse("login"), {"username": name, "password": password}).content.decode()


def test_signing_in_leads_to_the_page_that_was_asked_for(client: Client) -> None:
    factories.person("viewer")
    asked = client.get("/quarantine/")

    response = client.post(asked["Location"], {"username": "viewer", "password": "secret", "next": "/quarantine/"})

    assert response.status_code == 302
    assert response["Location"] == "/quarantine/"


def test_the_page_names_the_environment(client: Client, settings: Settings) -> None:
    settings.ENVIRONMENT_NAME = "UAT"

    assert "signing in to the UAT environment" in client.get(reverse("login")).content.decode()


def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(client: Client) -> None:
    factories.person("viewer")

    known, unknown = sign_in(client, "viewer", "wrong"), sign_in(client, "stranger", "wrong")

    message = "The name and password do not match an account."
    assert message in known
    assert message in unknown


def test_too_many_attempts_say_when_to_try_again(client: Client, settings: Settings) -> None:
    factories.person("viewer")
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        sign_in(client, "viewer", "wrong")

    last = sign_in(client, "viewer", "wrong")
    right = sign_in(client, "viewer", "secret")

    for page in (last, right):
        assert "Too many attempts" in page
        assert re.search(r"Try again after \d\d:\d\d:\d\d UTC or ask an administrator", page)


def test_signing_out_takes_a_post_and_leads_to_the_sign_in_page(vera: Client) -> None:
    response = vera.post(reverse("logout"))

    assert response["Location"] == reverse("login")
    assert vera.get("/").status_code == 302


@pytest.mark.parametrize("headers", [{"HX-Request": "true"}, {"Sec-Fetch-Dest": "empty"}, {"X-Requested-With": "fetch"}])
@pytest.mark.parametrize("address", ["/trades/", "/quarantine/", "/sign-in/"])
def test_a_script_of_a_page_whose_session_ended_is_refused_instead_of_being_given_the_sign_in_page(
    client: Client, headers: dict[str, str], address: str
) -> None:
    response = client.get(address, headers=headers)

    assert response.status_code == 401
    assert response.content.decode() == "Your session has ended. Sign in again to continue."
    assert response["Cache-Control"] == "no-store"


def test_the_session_is_asked_for_cheaply_and_says_whose_it_is(client: Client, vera: Client) -> None:
    over, held = client.get(reverse("session")), vera.get(reverse("session"))

    assert (over.status_code, held.status_code) == (401, 204)
    assert held["X-Signed-In"] == "vera"
    assert over.json()["token"]
    assert "no-store" in over["Cache-Control"]


def test_signing_in_again_from_within_a_page_gives_a_fresh_token(live_form: Client) -> None:
    factories.person("viewer")
    token = live_form.get(reverse("session")).json()["token"]

    wrong = live_form.post(reverse("session"), {"username": "viewer", "password": "wrong"}, headers={"X-CSRFToken": token})
    right = live_form.post(reverse("session"), {"username": "viewer", "password": "secret"}, headers={"X-CSRFToken": token})

    assert wrong.status_code == 422
    assert "do not match an account" in wrong.json()["error"]
    assert right.json()["user"] == "viewer"
    assert live_form.get(reverse("session")).status_code == 204
    kept = live_form.post(reverse("choose"), {"theme": "dark", "csrfmiddlewaretoken": right.json()["token"]})
    assert kept.status_code == 302


@pytest.fixture
def live_form() -> Client:
    """A browser that has to send the token of its forms."""
    return Client(enforce_csrf_checks=True)


def test_too_many_attempts_from_within_a_page_are_told_in_a_sentence(client: Client, settings: Settings) -> None:
    factories.person("viewer")
    for _ in range(settings.AXES_FAILURE_LIMIT):
        last = client.post(reverse("session"), {"username": "viewer", "password": "wrong"}, headers={"X-Requested-With": "fetch"})

    assert last.status_code == 429
    assert re.search(r"Try again after \d\d:\d\d:\d\d UTC or ask an administrator", last.json()["error"])
    assert last["Retry-After"] == "900"


def test_signing_in_from_within_a_page_takes_a_token(live_form: Client) -> None:
    factories.person("viewer")

    response = live_form.post(reverse("session"), {"username": "viewer", "password": "secret"})

    assert response.status_code == 403
    assert live_form.get(reverse("session")).status_code == 401


def test_the_admin_sends_people_to_the_portals_sign_in_page_and_lets_only_staff_in(client: Client, vera: Client, ada: Client) -> None:
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == "/sign-in/?next=/admin/"
    refused = vera.get("/admin/", follow=True)
    assert refused.status_code == 403
    assert "The admin is for staff" in refused.content.decode()
    assert ada.get("/admin/").status_code == 200
