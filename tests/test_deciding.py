"""Deciding about what is in review: once, whoever is first, and in the order of the upload."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import NOON, native, received, several
from tests.web import factories
from trades import deciding, foretelling, handing_in, history
from trades.deciding import Choice, Conflict, Decision
from trades.handing_in import IncomingDocument, NotInReview
from trades.models import AuditEntry, Document, Draft, Publication, Refusal, Upload

pytestmark = pytest.mark.django_db


def in_review(*contents: str, positions: tuple[int, ...] = (), queue: str = "TradeStatus.fifo") -> Upload:
    upload = handing_in.begin(source=Upload.Source.WEB, user=None, now=NOON, stage=Upload.Stage.REVIEW)
    for number, content in enumerate(contents):
        document = IncomingDocument(f"{number}.xml", content.encode(), position=positions[number] if positions else number + 1)
        handing_in.keep_for_review(upload, handing_in.read([document], now=NOON, queue=queue))
    foretelling.check(upload, now=NOON)
    return upload


def decide(upload: Upload, choice: Choice, expected: int | None = None, by: User | None = None) -> Decision:
    user = by or User.objects.first() or factories.person("operator", name="otto")
    return deciding.decide(upload, choice, user=user, clock=timezone.now, expected=expected)


def test_nothing_is_in_the_outbox_before_a_person_decides() -> None:
    in_review(native("T-1"), "<broken")

    assert not Publication.objects.exists()
    draft = Draft.objects.get()
    assert (draft.group_id, draft.trade_id, draft.summary) == ("T-1", "T-1", "BOOK version 1 of T-1")
    assert draft.size == len(draft.body.encode()) + len("PublicationId") + len("String") + 36
    assert Refusal.objects.get().document.name == "1.xml"


def test_the_outbox_has_the_order_of_the_upload_and_not_that_in_which_files_came(queue: FifoQueue) -> None:
    upload = in_review(native("T-1", "UPDATE", 3), several(native("T-1"), native("T-1", "UPDATE", 2)), positions=(2, 1), queue=queue.name)

    assert decide(upload, Choice.ALL) == Decision(3, 0)

    rows = Publication.objects.order_by("id")
    assert [row.summary for row in rows] == ["BOOK version 1 of T-1", "UPDATE version 2 of T-1", "UPDATE version 3 of T-1"]
    assert [row.state for row in rows] == ["SENT", "SENT", "SENT"]
    assert sorted(row.sequence_number for row in rows) == [row.sequence_number for row in rows]
    assert not Draft.objects.exists()
    upload.refresh_from_db()
    assert (upload.stage, upload.decided_at is not None) == ("PUBLISHED", True)


def test_only_the_good_ones_are_published_and_the_audit_says_what_was_left_out() -> None:
    book = native("T-1")
    history.record([received(book)], now=NOON)
    upload = in_review(book, native("T-2"), "<broken", native("T-3", "UPDATE", 4))

    assert decide(upload, Choice.GOOD, expected=1) == Decision(1, 2)

    assert [row.trade_id for row in Publication.objects.all()] == ["T-2"]
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.upload) == ("publish", upload)
    assert entry.note == (
        "1 of 3 messages published. Left out: BOOK version 1 of T-1 (0.xml, message 1); UPDATE version 4 of T-3 (3.xml, message 1)."
    )


def test_none_keeps_the_files_and_publishes_nothing() -> None:
    upload = in_review(native("T-1"))

    assert decide(upload, Choice.NONE) == Decision(0, 1)

    upload.refresh_from_db()
    assert (upload.stage, Publication.objects.count(), Draft.objects.count(), Document.objects.count()) == ("WITHDRAWN", 0, 0, 1)
    assert AuditEntry.objects.get().action == "withdraw"


def test_an_upload_that_was_decided_is_not_decided_again() -> None:
    upload = in_review(native("T-1"))
    decide(upload, Choice.ALL)

    with pytest.raises(Conflict, match=r"otto published this upload at \d\d:\d\d:\d\d UTC. Nothing was changed by you."):
        decide(upload, Choice.NONE)

    assert (Publication.objects.count(), AuditEntry.objects.count()) == (1, 1)


def test_a_number_of_messages_that_is_not_so_any_more_stops_the_decision() -> None:
    upload = in_review(native("T-1"), native("T-2"))

    with pytest.raises(Conflict, match="2 instead of 3 messages"):
        decide(upload, Choice.ALL, expected=3)

    upload.refresh_from_db()
    assert (upload.stage, Publication.objects.count(), Draft.objects.count()) == ("REVIEW", 0, 2)


def test_nothing_can_be_added_after_the_decision() -> None:
    upload = in_review(native("T-1"))
    decide(upload, Choice.ALL)

    with pytest.raises(NotInReview):
        handing_in.keep_for_review(upload, handing_in.read([IncomingDocument("late.xml", b"<a/>")], now=NOON))

    assert Document.objects.count() == 1


def test_a_message_that_was_never_rehearsed_is_not_good() -> None:
    upload = in_review(native("T-1"))
    Draft.objects.update(effect=None)

    assert decide(upload, Choice.GOOD) == Decision(0, 1)


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_decide_at_once_exactly_one_does() -> None:
    people = [factories.person("", name=name) for name in ("ana", "ben")]
    upload = in_review(*(native(f"T-{n}") for n in range(20)))
    together = threading.Barrier(2)
    decisions: list[Decision] = []
    refusals: list[str] = []

    def press(user: User, choice: Choice) -> None:
        try:
            together.wait()
            decisions.append(decide(upload, choice, by=user))
        except Conflict as conflict:
            refusals.append(str(conflict))
        finally:
            connection.close()

    threads = [threading.Thread(target=press, args=pair) for pair in zip(people, (Choice.ALL, Choice.GOOD), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert decisions == [Decision(20, 0)]
    assert len(refusals) == 1
    assert "published this upload" in refusals[0]
    assert (Publication.objects.count(), AuditEntry.objects.count()) == (20, 1)
    assert timezone.now() - Upload.objects.get().decided_at < timedelta(minutes=5)  # type: ignore[operator]
