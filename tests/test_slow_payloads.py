"""Senders whose turn is over while they store a text in S3."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as Signal
from types import SimpleNamespace
from typing import BinaryIO

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.support.broker import Bucket, FifoQueue
from tests.support.sending import outbox, received
from trades import leases, sending, sqs
from trades.management.commands import relay_publications
from trades.models import OutboxLease, Publication
from trades.sqs import buckets

pytestmark = pytest.mark.django_db
State = Publication.State


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the sender's clock."""
    now = [1000.0]
    monkeypatch.setattr(relay_publications, "close_old_connections", lambda: None)
    monkeypatch.setattr(sending, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def two_large_ones_and_a_small_one(queue: FifoQueue) -> None:
    """T-1 and T-2 are larger than the queue takes, T-3 is not."""
    for row in outbox(queue.name, "T-1", "T-2", "T-3")[:2]:
        Publication.objects.filter(pk=row.pk).update(body=row.group_id * 1000, size=3000)


def putting(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> list[str]:
    """From now on this happens while a text is put; gives the keys of the puts."""
    real, keys = buckets.put, list[str]()

    def put(pointer: buckets.Pointer, text: BinaryIO) -> None:
        keys.append(pointer.key)
        meanwhile()
        real(pointer, text)

    monkeypatch.setattr(buckets, "put", put)
    return keys


def sent() -> list[str]:
    return list(Publication.objects.filter(state=State.SENT).order_by("id").values_list("group_id", flat=True))


def test_what_takes_longer_to_store_in_s3_than_a_turn_of_the_relay_is_sent_with_what_goes_with_it(
    small: FifoQueue, bucket: Bucket, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    two_large_ones_and_a_small_one(small)
    keys = putting(monkeypatch, lambda: now.__setitem__(0, now[0] + 2 * relay_publications.TURN_SECONDS))
    relay = relay_publications.Relay(Signal())

    turns = [(relay.step(), sent()) for _ in range(2)]

    assert turns == [(True, ["T-1", "T-3"]), (False, ["T-1", "T-2", "T-3"])]
    assert len(keys) == len(set(keys)) == 2
    assert [group for group, _ in received(small)] == ["T-1", "T-3", "T-2"]


def test_what_needs_no_payload_goes_on_while_s3_is_silent_for_longer_than_a_turn(
    small: FifoQueue, settings: Settings, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> None:
        now[0] += 14
        raise sqs.QueueError("Storing the payload: nothing answers.")

    settings.TRADES_PAYLOAD_BUCKET = "firm-payloads"
    two_large_ones_and_a_small_one(small)
    putting(monkeypatch, silent)

    assert relay_publications.Relay(Signal()).step()

    assert sent() == ["T-3"]
    assert "nothing answers" in Publication.objects.get(group_id="T-1").last_error


def test_who_lost_the_lease_while_a_text_was_stored_sends_nothing_of_it(
    small: FifoQueue, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_large_ones_and_a_small_one(small)
    putting(monkeypatch, lambda: OutboxLease.objects.update(holder="another", expires_at=timezone.now() + leases.LEASE))

    delivery = sending.deliver(small.name, clock=timezone.now)

    assert (delivery.sent, delivery.ended, sent(), received(small)) == (0, True, [], [])
