"""Look at pages in headless Chromium: sign in, and let axe and the width of the window judge what is shown."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import SimpleNamespace

from axe_playwright_python.sync_playwright import Axe
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import connection
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SIZES = [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)]
PASSWORD = "correct horse battery"


def make_people(*names: str, role: str = "operator") -> None:
    """People of a role. Beside a browser the roles that a migration made have to be made again."""
    importlib.import_module("trades.migrations.0002_roles").make_groups(apps, SimpleNamespace(connection=connection))
    for name in names:
        User.objects.create_user(name, password=PASSWORD).groups.add(Group.objects.get(name=role))


def sign_in(page: Page, live_server: LiveServer, name: str = "ana") -> None:
    """Sign in through the form."""
    page.goto(live_server.url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
    page.wait_for_load_state()  # the heading can be seen before the scripts have run


def look(page: Page, name: str, scheme: str, width: int) -> None:
    """The page fits and axe finds nothing; a picture of it is kept where PICTURES names a folder."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is wider than the window"
    violations = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    assert [(name, v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations] == []
    if "PICTURES" in os.environ:
        page.screenshot(path=Path(os.environ["PICTURES"]) / f"{name}-{scheme}-{width}.png", full_page=True)
