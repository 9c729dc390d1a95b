"""What people do with the outbox: cancel, send again, and see what may arrive twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from tests.support.broker import FifoQueue
from tests.support.native import NOON, native
from trades import leases, outbox, publishing, sending
from trades.handing_in import IncomingDocument
from trades.models import AuditEntry, Publication, Upload
from trades.quarantine import Actor

pytestmark = pytest.mark.django_db
State = Publication.State


@pytest.fixture
def otto() -> Actor:
    return Actor(User.objects.create(username="otto"))


def store(*contents: str) -> list[Publication]:
    """Outbox rows that nobody has tried to send."""
    upload = publishing.begin(source=Upload.Source.WEB, user=None, now=timezone.now())
    documents = [IncomingDocument(f"{number}.xml", content.encode()) for number, content in enumerate(contents, start=1)]
    publishing.store(upload, documents, now=timezone.now())
    return list(Publication.objects.order_by("id"))


def deliver(queue: FifoQueue) -> sending.Delivery:
    return sending.deliver(queue.name, clock=timezone.now)


def bodies(queue: FifoQueue) -> list[str]:
    """What the queue has, in its order; nothing is deleted."""
    return [message["Body"] for message in queue.client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10).get("Messages", [])]


# Cancelling


def test_what_is_cancelled_is_never_sent_and_its_group_goes_on(queue: FifoQueue, otto: Actor) -> None:
    first, second = store(native("T-1"), native("T-1", "UPDATE", 2))

    done = outbox.cancel([first.pk], actor=otto, reason="booked twice", clock=timezone.now)
    deliver(queue)

    assert ([row.pk for row in done.publications], done.warning) == ([first.pk], "")
    assert bodies(queue) == [second.body]
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.publication_id, entry.note, entry.user) == ("cancel", first.pk, "booked twice", otto.user)
    assert Publication.objects.get(pk=first.pk).state == State.CANCELLED


def test_cancelling_needs_a_reason(otto: Actor) -> None:
    (row,) = store(native("T-1"))

    with pytest.raises(ValueError, match="reason"):
        outbox.cancel([row.pk], actor=otto, reason=" ", clock=timezone.now)

    assert not AuditEntry.objects.exists()


def test_cancelling_warns_of_what_may_be_in_the_queue(otto: Actor) -> None:
    (row,) = store(native("T-1"))
    Publication.objects.update(uncertain_since=NOON)

    done = outbox.cancel([row.pk], actor=otto, reason="booked twice", clock=timezone.now)

    assert done.warning.startswith("It may be in the queue already")


def test_what_was_sent_meanwhile_is_not_cancelled_nor_anything_with_it(queue: FifoQueue, otto: Actor) -> None:
    first, _ = rows = store(native("T-1"), native("T-2"))
    Publication.objects.filter(pk=first.pk).update(state=State.SENT, sent_at=NOON, message_id="m-1")

    with pytest.raises(outbox.Conflict, match="It was sent at 12:00:00 UTC on 20 Nov 2026, as message m-1"):
        outbox.cancel([row.pk for row in rows], actor=otto, reason="booked twice", clock=timezone.now)

    assert sorted(Publication.objects.values_list("state", flat=True)) == ["PENDING", "SENT"]


def test_who_cancels_second_is_told_who_was_first(otto: Actor) -> None:
    (row,) = store(native("T-1"))
    outbox.cancel([row.pk], actor=otto, reason="booked twice", clock=timezone.now)

    with pytest.raises(outbox.Conflict, match=r"otto cancelled it at \d\d:\d\d:\d\d UTC\. Nothing was changed by you"):
        outbox.cancel([row.pk], actor=Actor(None, "command line"), reason="booked twice", clock=timezone.now)


def test_nothing_is_done_while_a_sender_is_at_work(otto: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PATIENCE_SECONDS", 0)
    (row,) = store(native("T-1"))

    with leases.holding(row.queue, timezone.now), pytest.raises(outbox.Conflict, match="A sender is at work on"):
        outbox.cancel([row.pk], actor=otto, reason="booked twice", clock=timezone.now)

    assert Publication.objects.get().state == State.PENDING


# Sending again


def test_what_failed_is_tried_at_once(queue: FifoQueue, otto: Actor) -> None:
    (row,) = store(native("T-1"))
    Publication.objects.update(attempts=3, last_error="nothing answered")

    done = outbox.resend([row.pk], actor=otto, clock=timezone.now)

    row.refresh_from_db()
    assert (row.state, bodies(queue)) == (State.SENT, [row.body])
    assert done.sentences == [f"BOOK version 1 of T-1: sent as message {row.message_id}."]
    assert AuditEntry.objects.get().note == "After 3 attempts that failed."


def test_what_was_sent_goes_again_as_the_same_publication_under_another_deduplication_id(queue: FifoQueue, otto: Actor) -> None:
    row, *_ = store(native("T-1"), native("T-1", "UPDATE", 2))
    deliver(queue)
    before = Publication.objects.get(pk=row.pk)

    done = outbox.resend([row.pk], actor=otto, reason="lost by the partner", clock=timezone.now)

    after = Publication.objects.get(pk=row.pk)
    assert (after.state, after.publication_id, after.swallowed) == (State.SENT, before.publication_id, False)
    assert after.deduplication_id != before.deduplication_id
    assert after.message_id != before.message_id
    assert queue.counts()[0] == 3
    assert "It goes behind 1 later message of its group." in done.sentences[0]
    note = AuditEntry.objects.get().note
    assert note.startswith("lost by the partner Sent before at ")
    assert all(fact in note for fact in (before.message_id, before.deduplication_id, before.md5, before.sequence_number))


def test_who_sends_again_what_another_person_sent_again_is_told(queue: FifoQueue, otto: Actor) -> None:
    (row,) = store(native("T-1"))
    deliver(queue)
    seen = {row.pk: outbox.revision(Publication.objects.get())}
    outbox.resend([row.pk], actor=otto, clock=timezone.now, seen=seen)

    with pytest.raises(outbox.Conflict, match="otto had it sent again at"):
        outbox.resend([row.pk], actor=Actor(None, "command line"), clock=timezone.now, seen=seen)

    assert queue.counts()[0] == 2


def test_what_the_relay_sent_since_a_person_looked_is_not_sent_twice(queue: FifoQueue, otto: Actor) -> None:
    (row,) = store(native("T-1"))
    seen = {row.pk: outbox.revision(row)}
    deliver(queue)

    with pytest.raises(outbox.Conflict, match=r"It was sent at \d\d:\d\d:\d\d UTC, as message"):
        outbox.resend([row.pk], actor=otto, clock=timezone.now, seen=seen)

    assert queue.counts()[0] == 1
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("count", [1, 5])
def test_what_goes_behind_is_counted_at_once_for_all(queue: FifoQueue, otto: Actor, count: int) -> None:
    rows = store(*(native("T-1", "UPDATE", version) for version in range(1, 1 + count)), native("T-2"))
    deliver(queue)

    with CaptureQueriesContext(connection) as queries:
        done = outbox.resend([row.pk for row in rows], actor=otto, clock=timezone.now)

    assert [done.behind[row.pk] for row in rows] == [*reversed(range(count)), 0]
    assert len([query for query in queries if '"group_id" IN' in query["sql"] or '"group_id" = ' in query["sql"]]) == 1


def test_what_can_not_be_sent_again_now_says_why(otto: Actor) -> None:
    (row,) = store(native("T-1"))

    done = outbox.resend([row.pk], actor=otto, clock=timezone.now)

    assert done.sentences[0].startswith("BOOK version 1 of T-1: waits in the outbox. ")
    assert "nothing answers" in done.sentences[0]


# Looking


def test_what_may_be_in_the_queue_is_named_before_sqs_forgets_it() -> None:
    early, late, _ = store(native("T-1"), native("T-2"), native("T-3"))
    Publication.objects.filter(pk=early.pk).update(uncertain_since=NOON)
    Publication.objects.filter(pk=late.pk).update(uncertain_since=NOON + timedelta(minutes=2))

    assert list(outbox.near_horizon(NOON + timedelta(minutes=4))) == [early]
    assert "1 publication may be in the queue already" in outbox.horizon_warning(1)


def test_the_outbox_is_counted_in_one_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    rows = store(native("T-1"), native("T-2"), native("T-3"))
    Publication.objects.filter(pk=rows[0].pk).update(attempts=1, uncertain_since=NOON)
    Publication.objects.filter(pk=rows[1].pk).update(state=State.SENT)

    with django_assert_num_queries(1):
        counts = outbox.counts(NOON + timedelta(minutes=5))

    assert (counts.pending, counts.failing, counts.uncertain, counts.near_horizon) == (2, 1, 1, 1)
    assert counts.oldest == rows[0].created_at
