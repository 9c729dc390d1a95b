"""A cast for the pages: vera views, otto operates, ada administers, nemo has no role."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client

from tests.web import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    """The counts over the blotter are kept for two seconds; a test must not see another's."""
    cache.clear()
    yield
    cache.clear()


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
