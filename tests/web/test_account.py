"""Preferences: kept in cookies, so that the server sets them before anything is painted, and without any script."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.web.asking import page, post

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_is_set_by_the_server_before_anything_is_painted(vera: Client, theme: str) -> None:
    response = vera.post(reverse("choose"), {"theme": theme, "next": "/uploads/"})

    assert response["Location"] == "/uploads/"
    assert f'<html lang="en" data-theme="{theme}">' in page(vera, "/uploads/")


def test_the_theme_follows_the_system_by_default(vera: Client) -> None:
    assert '<html lang="en">' in page(vera, "/uploads/")


@pytest.mark.parametrize(("chosen", "mark"), [({"density": "regular"}, 'data-density="regular"'), ({"rail": "icons"}, 'data-rail="icons"')])
def test_density_and_the_fold_of_the_navigation_are_set_by_the_server(vera: Client, chosen: dict[str, str], mark: str) -> None:
    assert mark not in page(vera, "/uploads/")

    vera.post(reverse("choose"), {**chosen, "next": "/uploads/"})

    assert mark in page(vera, "/uploads/")


@pytest.mark.parametrize("name", ["theme", "density", "rail", "start", "keys"])
def test_other_values_are_refused_in_a_sentence_and_a_forged_cookie_means_the_default(vera: Client, name: str) -> None:
    before = page(vera, "/uploads/")

    assert "is one of" in post(vera, reverse("choose"), {name: "<b>"}, status=400)
    assert "is one of" in post(vera, reverse("account"), {name: "<b>"}, status=422)
    vera.cookies[name] = "<b>"

    assert page(vera, "/uploads/").partition("<body")[2].partition(">")[0] == before.partition("<body")[2].partition(">")[0]


def test_choosing_leads_back_but_never_to_another_site(vera: Client) -> None:
    assert vera.post(reverse("choose"), {"theme": "dark", "next": "/monitor/"})["Location"] == "/monitor/"
    assert vera.post(reverse("choose"), {"theme": "dark", "next": "https://elsewhere.example/"})["Location"] == "/"


def test_the_start_page_is_the_one_that_was_chosen_but_the_blotter_stays_where_it_is(vera: Client) -> None:
    assert vera.get("/").status_code == 200

    post(vera, reverse("account"), {"start": "exceptions"}, status=302)

    assert vera.get("/")["Location"] == reverse("exceptions")
    assert vera.get("/?q=T-1").status_code == 200
    assert 'href="/trades/"' in page(vera, "/uploads/")
    assert vera.get("/trades/").status_code == 200


def test_the_page_shows_what_is_chosen_and_saves_all_of_it_at_once(vera: Client) -> None:
    chosen = {"theme": "dark", "density": "regular", "start": "exceptions", "keys": "off", "rail": "icons"}

    response = vera.post(reverse("account"), chosen, follow=True)

    html = response.content.decode()
    assert response.status_code == 200
    for name, value in chosen.items():
        assert f'name="{name}" value="{value}" checked' in html
    assert "Preferences saved in this browser." in html
    assert 'data-keys="off"' in html
    cookies = vera.cookies
    assert all(cookies[name]["httponly"] and cookies[name]["samesite"] == "Lax" for name in chosen)


def test_somebody_without_a_role_has_preferences_too(nemo: Client) -> None:
    assert "No role yet" in page(nemo, reverse("account"))
