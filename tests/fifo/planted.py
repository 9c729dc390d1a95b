"""Classic faults of order, planted into the product one at a time, to show that the suite can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest import mock

from django.db import connection, models

from trades import backlog, consumer, fetching, history, leases, outbox, outbox_rows, quarantine, sending
from trades.models import Message, Publication
from trades.sqs import QueueError, Received, buckets


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
    with mock.patch.object(backlog.Backlog, "stop", backlog.Backlog.go_on):
        yield


@contextmanager
def order_by_sequence_text() -> Iterator[None]:
    """The worker sorts what it received by the text of the sequence number, as SQS gives it."""
    record = consumer.Receiver._stored

    def sorting(self: consumer.Receiver, batch: Sequence[Received]) -> history.Report:
        return record(self, sorted(batch, key=lambda received: received.sequence_number.lstrip("0")))

    with mock.patch.object(consumer.Receiver, "_stored", sorting):
        yield


@contextmanager
def pointer_before_put() -> Iterator[None]:
    """A sender sends the pointer whether the payload was stored or not."""
    put = buckets.put

    def careless(*values: Any) -> None:
        with suppress(QueueError):
            put(*values)

    with mock.patch.object(buckets, "put", careless):
        yield


@contextmanager
def acknowledged_unread() -> Iterator[None]:
    """The worker deletes what it received, even where the payload could not be had."""
    record = consumer.Receiver._recorded

    def all_done(self: consumer.Receiver, batch: Sequence[Received]) -> Sequence[Received]:
        record(self, batch)
        return batch

    with mock.patch.object(consumer.Receiver, "_recorded", all_done):
        yield


@contextmanager
def any_bucket() -> Iterator[None]:
    """The worker reads whatever bucket a message names."""
    with mock.patch.object(fetching, "_check"):
        yield


@contextmanager
def unverified_payload() -> Iterator[None]:
    """The worker takes what it finds under the key, whatever its hash."""
    with mock.patch.object(buckets.Pointer, "sha256", ""):
        yield


@contextmanager
def payload_removed_when_done() -> Iterator[None]:
    """The worker removes the object once its message is deleted, as Amazon's Extended Clients do."""
    delete = consumer.Receiver._delete

    def and_the_object(self: consumer.Receiver, batch: Sequence[Received]) -> None:
        delete(self, batch)
        for message in batch:
            if isinstance(message, fetching.Fetched):
                pointer = buckets.pointer_of(replace(message, body=message.pointer))
                buckets.s3_client().delete_object(Bucket=pointer.bucket, Key=pointer.key)

    with mock.patch.object(consumer.Receiver, "_delete", and_the_object):
        yield


@contextmanager
def cancelled_without_lease() -> Iterator[None]:
    """A publication is cancelled whoever is sending it just now."""

    def undisturbed(publications: Any, clock: Any) -> AbstractContextManager[list[int]]:
        return nullcontext(sorted(set(publications)))

    with mock.patch.object(outbox, "_undisturbed", undisturbed):
        yield


@contextmanager
def swallowed_is_sent() -> Iterator[None]:
    """What SQS took for a repetition of another publication counts as any other that was sent."""
    note = outbox_rows.note_sent

    def believing(*values: Any) -> None:
        note(*values)
        Publication.objects.filter(swallowed=True).update(swallowed=False)

    with mock.patch.object(outbox_rows, "note_sent", believing):
        yield


@contextmanager
def nothing_in_hand() -> Iterator[None]:
    """A sender that dies leaves nobody the publications that it may have sent."""
    with mock.patch.object(leases.Lease, "take_in_hand", lambda lease, publications: lease.renew()):
        yield


@contextmanager
def two_in_doubt() -> Iterator[None]:
    """The next of a group sets off before it is noted that the one before it was sent."""
    plan = sending.Sender._plan

    def planning(sender: sending.Sender) -> bool:
        with mock.patch.object(sender, "_note"):
            return plan(sender)

    with mock.patch.object(sending.Sender, "_plan", planning):
        yield


@contextmanager
def unhandled_row_dropped() -> Iterator[None]:
    """What a person lets into the history is not left to the handler of its queue."""
    with mock.patch.object(quarantine.unhandled, "leave_where_handled"):
        yield


PLANTED: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "delete-before-commit": delete_before_commit,
    "no-group-stop": no_group_stop,
    "no-inbox-key": no_inbox_key,
    "relay-that-skips": relay_that_skips,
    "order-by-sequence-text": order_by_sequence_text,
    "pointer-before-put": pointer_before_put,
    "acknowledged-unread": acknowledged_unread,
    "any-bucket": any_bucket,
    "unverified-payload": unverified_payload,
    "payload-removed-when-done": payload_removed_when_done,
    "cancelled-without-lease": cancelled_without_lease,
    "swallowed-is-sent": swallowed_is_sent,
    "nothing-in-hand": nothing_in_hand,
    "two-in-doubt": two_in_doubt,
    "unhandled-row-dropped": unhandled_row_dropped,
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The product with that fault; "" is the product as it is."""
    with ExitStack() as stack:
        if name:
            stack.enter_context(PLANTED[name]())
        yield
