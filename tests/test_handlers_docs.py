"""The example of docs/handlers.md, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

from tests.support.broker import FifoQueue
from tests.support.native import native
from tests.support.processes import ROOT, Process
from tests.test_worker import send
from trades.models import Message

pytestmark = pytest.mark.django_db(transaction=True)
FILE = re.compile(r"^`(firm/[\w/]+\.py)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORKER = ("consume_trades", "--until-empty", "--wait", "1", "--handler", "firm.bookings.handlers:book")


@pytest.fixture
def firm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The firm's folder, with every file that the page shows."""
    files = FILE.findall((ROOT / "docs" / "handlers.md").read_text(encoding="utf-8"))
    assert len(files) == 3
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for folder in ("firm", "firm/bookings"):
        (tmp_path / folder / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_the_example_books_each_event_once_and_refuses_what_has_no_account(
    queue: FifoQueue, command: Callable[..., Process], shared_database: str, firm: Path
) -> None:
    def done(*arguments: str) -> str:
        process = command(*arguments, environment={"DJANGO_SETTINGS_MODULE": "firm.settings"})
        assert process.wait(60) == 0, process.output
        return process.output

    unknown = native("T-2").replace("IRS 5Y EUR", "Cocoa Future")
    done("makemigrations", "bookings")
    done("migrate", "bookings")
    try:
        send(queue, native("T-1"), native("T-1", "STATUS", 1, "CHECKED"))
        send(queue, unknown, group="T-2")
        done(*WORKER)
        done(*WORKER)

        with connection.cursor() as cursor:
            cursor.execute("SELECT account, status FROM bookings_booking ORDER BY id")
            assert cursor.fetchall() == [("rates-eur", "RECEIVED"), ("rates-eur", "CHECKED")]
        refused = Message.objects.get(outcome="QUARANTINED")
        assert (refused.code, refused.group_id) == ("handler-refused", "T-2")
        assert refused.reason.startswith('No account for the product "Cocoa Future".')
    finally:
        done("migrate", "bookings", "zero")
