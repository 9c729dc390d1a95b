"""A cast for the pages: vera views, otto operates, ada administers, nemo has no role."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.db import connection
from django.test import Client

from tests.web import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The counts over the blotter are kept for two seconds; a test must not see another's. Where no live page waits for their end they
    are kept for the whole test, so that what a page costs is not up to how quickly the next one is asked for."""
    cache.clear()
    if "live_server" not in request.fixturenames:
        monkeypatch.setattr(BaseCache, "get_backend_timeout", lambda self, timeout=None: None)
    yield
    cache.clear()


@pytest.fixture
def roles(transactional_db: None) -> None:
    """The roles that a migration made, made again if a test in a browser took them."""
    if not Group.objects.exists():
        importlib.import_module("trades.migrations.0002_roles").make_groups(apps, SimpleNamespace(connection=connection))


def signed_in(role: str, name: str, *, staff: bool = False) -> Client:
    client = Client()
    client.force_login(factories.person(role, name=name, staff=staff), backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def vera(db: None) -> Client:
    return signed_in("viewer", "vera")


@pytest.fixture
def otto(db: None) -> Client:
    return signed_in("operator", "otto")


@pytest.fixture
def ada(db: None) -> Client:
    return signed_in("administrator", "ada", staff=True)


@pytest.fixture
def nemo(db: None) -> Client:
    return signed_in("", "nemo")
