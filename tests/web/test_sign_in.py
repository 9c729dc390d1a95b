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


def test_a_refresh_after_the_session_ended_reloads_the_page_instead_of_putting_the_sign_in_page_into_it(client: Client) -> None:
    response = client.get("/", headers={"HX-Request": "true"}, follow=True)

    assert response["HX-Refresh"] == "true"
    assert response.content == b""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_is_set_by_the_server_before_anything_is_painted(vera: Client, theme: str) -> None:
    response = vera.post(reverse("theme"), {"theme": theme, "next": "/uploads/"})

    assert response["Location"] == "/uploads/"
    assert f'<html lang="en" data-theme="{theme}">' in vera.get("/").content.decode()


def test_the_theme_follows_the_system_by_default_and_other_values_are_refused(vera: Client) -> None:
    assert vera.post(reverse("theme"), {"theme": "<b>"}).status_code == 400
    assert '<html lang="en">' in vera.get("/").content.decode()


def test_choosing_a_theme_never_leads_to_another_site(vera: Client) -> None:
    response = vera.post(reverse("theme"), {"theme": "dark", "next": "https://elsewhere.example/"})

    assert response["Location"] == "/"


def test_the_admin_sends_people_to_the_portals_sign_in_page_and_lets_only_staff_in(client: Client, vera: Client, ada: Client) -> None:
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == "/sign-in/?next=/admin/"
    refused = vera.get("/admin/", follow=True)
    assert refused.status_code == 403
    assert "The admin is for staff" in refused.content.decode()
    assert ada.get("/admin/").status_code == 200
