"""Classic faults of order, planted into the product one at a time, to show that the suite can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from typing import Any
from unittest import mock

from django.db import connection, models

from trades import consumer, history, publishing
from trades.models import Message
from trades.sqs import Received


@contextmanager
def delete_before_commit() -> Iterator[None]:
    """The worker acknowledges what it received, then records it."""
    record = consumer.Receiver._stored

    def hasty(self: consumer.Receiver, batch: Sequence[Received]) -> history.Report:
        self._delete(batch)
        return record(self, batch)

    with mock.patch.object(consumer.Receiver, "_stored", hasty):
        yield


@contextmanager
def no_group_stop() -> Iterator[None]:
    """What follows a quarantined message in its group is recorded as if nothing were wrong."""
    settle = history._settle

    def unstopped(rows: Any, blocked: set[str], gaps: set[str], hold: bool) -> Any:
        return settle(rows, set(), gaps, hold=False)

    with mock.patch.object(history, "_settle", unstopped):
        yield


@contextmanager
def no_inbox_key() -> Iterator[None]:
    """Nothing tells a message that was recorded before: neither the worker nor the constraints of the table."""
    known = history._Arrivals.row_for

    def always_new(self: Any, received: Received, judgement: Any, now: datetime) -> Any:
        self.message_ids.clear()
        self.publications.clear()
        return known(self, received, judgement, now)

    with mock.patch.object(history._Arrivals, "row_for", always_new), _without_unique_keys():
        yield


@contextmanager
def _without_unique_keys() -> Iterator[None]:
    key = next(each for each in Message._meta.constraints if each.name == "message_once_per_queue")
    unique = Message._meta.get_field("publication_id")
    plain = models.UUIDField(null=True)
    plain.set_attributes_from_name("publication_id")
    plain.model = Message
    with connection.schema_editor() as editor:
        editor.remove_constraint(Message, key)
        editor.alter_field(Message, unique, plain)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for table in ("tradelink", "auditentry", "hold", "event", "message"):
                cursor.execute(f"DELETE FROM trades_{table}")
        with connection.schema_editor() as editor:
            editor.alter_field(Message, plain, unique)
            editor.add_constraint(Message, key)


@contextmanager
def relay_that_skips() -> Iterator[None]:
    """A sender goes on with a group although one of its publications could not be sent."""
    send = publishing._send

    def careless(*values: Any) -> set[str]:
        send(*values)
        return set()

    with mock.patch.object(publishing, "_send", careless):
        yield


@contextmanager
def order_by_sequence_text() -> Iterator[None]:
    """The worker sorts what it received by the text of the sequence number, as SQS gives it."""
    record = consumer.Receiver._stored

    def sorting(self: consumer.Receiver, batch: Sequence[Received]) -> history.Report:
        return record(self, sorted(batch, key=lambda received: received.sequence_number.lstrip("0")))

    with mock.patch.object(consumer.Receiver, "_stored", sorting):
        yield


PLANTED: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "delete-before-commit": delete_before_commit,
    "no-group-stop": no_group_stop,
    "no-inbox-key": no_inbox_key,
    "relay-that-skips": relay_that_skips,
    "order-by-sequence-text": order_by_sequence_text,
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The product with that fault; "" is the product as it is."""
    with ExitStack() as stack:
        if name:
            stack.enter_context(PLANTED[name]())
        yield
