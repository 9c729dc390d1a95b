"""Ask for a page, or send a form: gives what people read, and fails on another status."""

from __future__ import annotations

from html import unescape
from typing import Any

from django.test import Client


def page(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status, response.content.decode()
    return unescape(response.content.decode())


def post(client: Client, address: str, data: dict[str, Any], status: int = 200) -> str:
    response = client.post(address, data)
    assert response.status_code == status, response.content.decode()
    return unescape(response.content.decode())
