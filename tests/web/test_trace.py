"""Where a message is: the sentence, the hops and their times, for everything that can become of a message."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.support.native import received
from tests.web import factories, scenes
from tests.web.asking import page
from trades import history, quarantine, receipts, sqs
from trades.models import AuditEntry, Document, Message, Publication, Refusal, SendAttempt, Upload, Worker

pytestmark = pytest.mark.django_db
NOON = factories.NOON
OTTO = quarantine.Actor(None, "otto")
SHA256 = "ab" * 32


def published(body: str = "", *, by: User | None = None, group: str = "T-1", **fields: Any) -> Publication:
    """A publication handed in at noon; sent 50 ms later, unless the fields say otherwise."""
    body = body or scenes.told("BOOK", 1, 0, trade_id=group)
    upload = Upload.objects.create(created_at=NOON, created_by=by, source=Upload.Source.WEB)
    document = Document.objects.create(
        upload=upload,
        name="book.xml",
        content=body.encode(),
        size=len(body),
        sha256=SHA256,
        dialect="native",
        message_type="TradeStatus",
    )
    publication_id = uuid.uuid4()
    facts: dict[str, Any] = {
        "publication_id": publication_id, "queue": factories.QUEUE, "group_id": group, "deduplication_id": publication_id.hex, "body": body,
        "trade_id": group, "message_type": "TradeStatus", "summary": f"BOOK version 1 of {group}", "created_at": NOON, "state": "SENT",
        "attempts": 1, "sent_at": NOON + timedelta(milliseconds=60), "message_id": str(uuid.uuid4()), "md5": sqs.md5_of(body),
        "sequence_number": "18870" + "1" * 15,
    }  # fmt: skip
    return Publication.objects.create(document=document, **facts | fields)


def delivered(publication: Publication, seconds: float = 2.0, **fields: Any) -> sqs.Received:
    """The delivery of a publication, received so many seconds after noon."""
    made = received(publication.body, publication.group_id, message_id=publication.message_id, publication_id=publication.publication_id)
    at = NOON + timedelta(seconds=seconds)
    return replace(made, sent_at=NOON + timedelta(milliseconds=50), received_at=at, queue=publication.queue, **fields)


def recorded(publication: Publication, seconds: float = 2.0, **fields: Any) -> Message:
    """The message of a publication, recorded 100 ms after it was received, by a worker."""
    with receipts.as_worker():
        history.record([delivered(publication, seconds, **fields)], now=NOON + timedelta(seconds=seconds + 0.1))
    return Message.objects.get(publication_id=publication.publication_id)


def of(row: Publication | Message) -> str:
    if isinstance(row, Publication):
        return reverse("trace_publication", args=[row.publication_id])
    return reverse("trace_message", args=[row.pk])


def answer(html: str) -> str:
    found = re.search(r'<p class="answer wrap">(.*?)</p>', html, re.DOTALL)
    assert found
    return _plain(found[1])


def hops(html: str) -> list[tuple[str, str, str]]:
    """(state, name, time since the hop before) of each hop."""
    told = []
    for item in re.findall(r'<li class="(done|bad|warn|next|unknown)">(.*?)</li>', html, re.DOTALL):
        name = re.search(r"<h3>(.*?)(<span|</h3>)", item[1], re.DOTALL)
        gap = re.search(r"<span>(after [^<]*|clocks differ)</span>", item[1])
        assert name
        told.append((item[0], _plain(name[1]), gap[1] if gap else ""))
    return told


def names(html: str) -> list[str]:
    return [name for _, name, _ in hops(html)]


def _plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


# From the file to the screen


def test_a_recorded_publication_shows_every_hop_with_its_time(vera: Client) -> None:
    publication = published(by=factories.person(name="ines"))
    message = recorded(publication)
    Message.objects.filter(pk=message.pk).update(deleted_at=NOON + timedelta(seconds=2.15))

    html = page(vera, of(publication))

    assert answer(html) == "Recorded as event 1 of T-1 2.1 s after it was handed in."
    assert hops(html) == [
        ("done", "Handed in", ""),
        ("done", "Checked", ""),
        ("done", "Outbox", "after 0 ms"),
        ("done", "Accepted by SQS", "after 50 ms"),
        ("done", "Received", "after 1.9 s"),
        ("done", "Recorded", "after 100 ms"),
        ("done", "Deleted from the queue", "after 50 ms"),
        ("done", "Shown", ""),
    ]
    assert "By ines on the web page." in _plain(html)
    assert "2.1 s from “Handed in” to “Deleted from the queue”" in html
    assert html.count("longest") == 1
    for fact in (
        publication.message_id,
        publication.deduplication_id,
        publication.sequence_number,
        SHA256,
        publication.md5,
        message.worker,
    ):
        assert f'data-copy="{fact}"' in html
    assert "(equals ours)" in html


def test_publication_and_message_show_the_same_page(vera: Client) -> None:
    publication = published()
    message = recorded(publication)

    both = [page(vera, address) for address in (of(publication), of(message))]

    ways = [html[html.index('<section class="panel hd"') : html.index("</ol>")] for html in both]
    assert ways[0] == ways[1]


def test_a_text_that_sqs_took_otherwise_is_told(vera: Client) -> None:
    assert "(differs from ours)" in page(vera, of(published(md5="0" * 32)))


def test_a_message_of_another_program_starts_at_the_queue(vera: Client) -> None:
    history.record([replace(received(scenes.told("BOOK", 1, 0)), sent_at=NOON, received_at=NOON)], now=NOON + timedelta(seconds=4))

    html = page(vera, of(Message.objects.get()))

    assert answer(html) == "Recorded as event 1 of T-1 4.0 s after it was sent."
    assert names(html) == ["Sent", "Received", "Recorded", "Deleted from the queue", "Shown"]
    assert "(equals that of its text)" in html
    assert "By a worker whose name was not kept." in html


def test_a_clock_that_is_behind_is_told_instead_of_a_negative_time(vera: Client) -> None:
    publication = published()
    recorded(publication, seconds=-3)

    html = page(vera, of(publication))

    assert ("done", "Received", "clocks differ") in hops(html)
    assert answer(html) == "Recorded as event 1 of T-1."
    assert "after -" not in html


def test_each_further_delivery_is_a_hop(vera: Client) -> None:
    publication = published()
    recorded(publication)
    with receipts.as_worker():
        history.record([delivered(publication, 32, receive_count=2)], now=NOON + timedelta(seconds=32))

    html = page(vera, of(publication))

    assert ("warn", "Delivered again", "after 29.9 s") in hops(html)
    assert "It was stored already: acknowledged without effect." in html


def test_deliveries_that_were_only_counted_are_told(vera: Client) -> None:
    publication = published()
    Message.objects.filter(pk=recorded(publication).pk).update(repeats=3)

    html = page(vera, of(publication))

    assert "3 more deliveries were only counted; none had an effect." in html


def test_a_delete_that_nobody_reported_says_why_that_can_be(vera: Client) -> None:
    html = page(vera, of(recorded(published())))

    assert ("unknown", "Deleted from the queue", "") in hops(html)
    assert "Delete not reported. A worker that was killed loses this note" in html


# What has not happened yet


def test_a_publication_that_cannot_be_sent_shows_each_attempt(vera: Client) -> None:
    publication = published(state="PENDING", attempts=3, last_error="third", sent_at=None, message_id="", md5="", sequence_number="")
    for number, error in enumerate(("first", "second"), start=1):
        SendAttempt.objects.create(publication=publication, at=NOON + timedelta(seconds=number), error=error)

    html = page(vera, of(publication))

    assert answer(html) == "Waits in the outbox: attempt 3 failed: third"
    assert hops(html)[3:6] == [
        ("warn", "Attempt 1 to send failed", "after 1.0 s"),
        ("warn", "Attempt 2 to send failed", "after 1.0 s"),
        ("warn", "Attempts to send failed", ""),
    ]
    assert [state for state, _, _ in hops(html)][6:] == ["next"] * 5
    assert "1 attempt of which only the number was kept." in html


def test_a_publication_waits_behind_the_first_unsent_one_of_its_group(vera: Client) -> None:
    unsent: dict[str, Any] = {"state": "PENDING", "attempts": 0, "sent_at": None, "message_id": "", "md5": ""}
    first, second = published(**unsent), published(**unsent)

    html = page(vera, of(second))

    assert answer(html) == "Waits in the outbox, behind an earlier message of its group that is not sent yet."
    assert of(first) in html


@pytest.mark.parametrize(
    ("worker", "told"),
    [
        (None, "none has ever reported on this queue"),
        ({"state": "STOPPED", "seen_at": NOON}, "the last heartbeat was on 20 Nov 2026 12:00:00 UTC"),
        ({"state": "IDLE", "seen_at": NOON}, "the last heartbeat was on 20 Nov 2026 12:00:00 UTC"),
    ],
)
def test_a_message_in_the_queue_says_that_no_worker_runs(vera: Client, worker: dict[str, Any] | None, told: str) -> None:
    if worker:
        Worker.objects.create(host="host", pid=4711, version="1", queue=factories.QUEUE, started_at=NOON, **worker)

    html = page(vera, of(published()))

    assert answer(html) == "In the queue since 20 Nov 2026 12:00:00 UTC; no worker has received it, and none runs on this queue."
    assert told in html
    assert [hop[1] for hop in hops(html) if hop[0] == "next"] == ["Received", "Recorded", "Deleted from the queue", "Shown"]


def test_a_message_in_the_queue_names_the_worker_that_runs(vera: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trades.web.trace_pages.timezone.now", lambda: NOON + timedelta(seconds=20))
    Worker.objects.create(host="host", pid=4711, version="1", queue=factories.QUEUE, started_at=NOON, seen_at=NOON, state="IDLE")

    html = page(vera, of(published()))

    assert answer(html) == "In the queue since 20 Nov 2026 12:00:00 UTC; no worker has received it."
    assert "host 4711 runs on this queue" in html


# What people are needed for


def test_a_quarantined_message_and_one_behind_it_say_what_they_wait_for(vera: Client) -> None:
    scenes.blocked_trade()
    bad = Message.objects.get(outcome="QUARANTINED")
    held = Message.objects.filter(outcome="HELD").first()
    assert held

    first, second = page(vera, of(bad)), page(vera, of(held))

    assert answer(first).startswith("In quarantine since 20 Nov 2026 10:01:00 UTC: ")
    assert ("bad", "Quarantined") in [hop[:2] for hop in hops(first)]
    assert "Waits for a person to replay, correct or discard it." in first
    assert answer(second) == f"Waits behind message {bad.pk} in quarantine since 20 Nov 2026 10:01:00 UTC."
    assert ("next", "Recorded", "") in hops(second)
    assert of(bad) in second


def test_what_people_did_is_on_the_way_of_the_message_and_of_its_correction(vera: Client) -> None:
    trade, bad = scenes.blocked_trade()
    quarantine.correct(bad, scenes.UPDATE, actor=OTTO, reason="version mistyped", now=scenes.START + timedelta(minutes=70))
    correction = Message.objects.get(corrects=bad)
    held = Message.objects.exclude(pk__in=[bad.pk, correction.pk]).order_by("-pk").first()
    assert held

    original, stand_in, waited = page(vera, of(bad)), page(vera, of(correction)), page(vera, of(held))

    assert answer(original) == (
        f"Corrected by otto on 20 Nov 2026 10:40:00 UTC: message {correction.pk} stands in for it, recorded as event 2 of T-1."
    )
    assert names(original)[-3:] == ["Deleted from the queue", "Corrected and replayed", "Shown"]
    assert "By otto: “version mistyped”" in original
    assert answer(stand_in).startswith("Recorded as event 2 of T-1")
    assert names(stand_in) == ["Recorded", "Corrected and replayed", "Shown"]
    assert f"stand in for message {bad.pk}" in _plain(stand_in)
    assert [hop[1] for hop in hops(waited)][-4:] == ["Held", "Deleted from the queue", "Recorded", "Shown"]
    assert trade.trade_id == "T-1"


def test_a_discarded_message_says_who_and_why(vera: Client) -> None:
    _, bad = scenes.blocked_trade()
    quarantine.discard(bad, actor=OTTO, reason="a fragment", now=scenes.START + timedelta(minutes=70))

    assert answer(page(vera, of(bad))) == "Discarded by otto on 20 Nov 2026 10:40:00 UTC: “a fragment”"


def test_a_duplicate_names_the_message_and_the_event(vera: Client) -> None:
    body = scenes.told("BOOK", 1, 0)
    scenes.record(body)
    scenes.record(body, minute=5)
    first, second = Message.objects.order_by("pk")

    html = page(vera, of(second))

    assert answer(html) == f"Duplicate of message {first.pk}, event 1 of T-1; it had no effect."
    assert names(html)[-1] == "Shown"


def test_every_state_of_a_message_has_a_page(vera: Client) -> None:
    scenes.repaired_trade()
    scenes.late_trade()
    kept = factories.message("REFERENCE", reason="A rate fixing, about no trade.")

    answers = {message.outcome: answer(page(vera, of(message))) for message in Message.objects.all()}

    assert set(answers) == {"RECORDED", "DUPLICATE", "QUARANTINED", "DISCARDED", "CORRECTED", "REFERENCE"}
    assert answers["REFERENCE"] == f"Kept for reference, no trade event: {kept.reason}"


# The upload alone


def document(upload: Upload, name: str, **fields: Any) -> Document:
    return Document.objects.create(upload=upload, name=name, content=b"<a/>", size=4, sha256=uuid.uuid4().hex * 2, **fields)


def test_a_refused_document_is_traced_to_its_refusal(vera: Client) -> None:
    upload = Upload.objects.create(created_at=NOON, source=Upload.Source.COMMAND)
    refused = document(upload, "broken.xml")
    Refusal.objects.create(document=refused, code="not-well-formed", reason="A tag is not closed.", line=3, column=7)

    html = page(vera, reverse("trace") + f"?q={refused.sha256}")

    assert answer(html) == "Refused at upload, line 3, column 7: A tag is not closed."
    assert hops(html) == [("done", "Handed in", ""), ("bad", "Refused", "")]


def test_a_document_in_review_waits_for_a_person(vera: Client) -> None:
    upload = Upload.objects.create(created_at=NOON, source=Upload.Source.WEB, stage="REVIEW", checked_at=NOON + timedelta(seconds=3))
    waiting = document(upload, "review.xml")
    waiting.drafts.create(queue=factories.QUEUE, group_id="T-1", body="<a/>", size=4, body_sha256="0" * 64)

    html = page(vera, reverse("trace") + "?q=review.xml")

    assert answer(html) == "In review, not published."
    assert hops(html) == [("done", "Handed in", ""), ("done", "Checked", "after 3.0 s"), ("next", "Published", "")]


def test_the_decision_of_a_review_is_a_hop(vera: Client) -> None:
    otto = factories.person(name="otto")
    publication = published(created_at=NOON + timedelta(minutes=3), sent_at=NOON + timedelta(minutes=3))
    AuditEntry.objects.create(
        at=NOON + timedelta(minutes=3), user=otto, action="publish", upload=publication.document.upload, note="checked"
    )

    html = page(vera, of(publication))

    assert names(html)[2:4] == ["Published", "Outbox"]
    assert "By otto: “checked”" in html


# The page itself


def test_nothing_is_sent_again_while_nothing_is_new(vera: Client) -> None:
    publication = published()
    address = of(publication)
    seen = re.search(r'"seen": "(\w+)"', page(vera, address))
    assert seen

    same = vera.get(address, {"seen": seen[1]}, headers={"HX-Request": "true"})
    recorded(publication)
    new = vera.get(address, {"seen": seen[1]}, headers={"HX-Request": "true"})

    assert same.status_code == 204
    assert new.status_code == 200
    assert "<html" not in new.content.decode()
    assert "Recorded as" in new.content.decode()
    assert new["Cache-Control"] == "no-store"


def test_only_people_with_a_role_may_see_it(nemo: Client) -> None:
    publication = published()

    for address in (of(publication), reverse("trace"), reverse("trace_message", args=[1])):
        assert nemo.get(address).status_code == 403


def test_what_does_not_exist_leads_to_the_search(vera: Client) -> None:
    for address in (reverse("trace_publication", args=[uuid.uuid4()]), reverse("trace_message", args=[999])):
        assert reverse("trace") in page(vera, address, 404)


Counted = Callable[[int], Any]


def test_the_number_of_queries_does_not_depend_on_how_much_happened(vera: Client, django_assert_max_num_queries: Counted) -> None:
    def busy(times: int) -> Publication:
        group = f"T-{times}"
        publication = published(group=group, attempts=times + 1)
        for n in range(times):
            SendAttempt.objects.create(publication=publication, at=NOON, error=f"try {n}")
        message = recorded(publication)
        for n in range(times):
            history.record([delivered(publication, 10 + n)], now=NOON + timedelta(seconds=10 + n))
            AuditEntry.objects.create(at=NOON, action="note", message=message, note=str(n))
        return publication

    def cost(publication: Publication) -> int:
        with django_assert_max_num_queries(12) as queries:
            page(vera, of(publication))
        return len(queries)

    page(vera, reverse("trace"))  # what the shell keeps for some seconds
    assert cost(busy(1)) == cost(busy(12))


@pytest.mark.parametrize("state", ["outbox", "queue", "quarantined", "held", "corrected", "refused"])
def test_every_state_costs_at_most_twelve_queries(vera: Client, state: str, django_assert_max_num_queries: Counted) -> None:
    _, bad = scenes.blocked_trade()
    if state == "corrected":
        quarantine.correct(bad, scenes.UPDATE, actor=OTTO, reason="mistyped", now=scenes.START + timedelta(minutes=70))
    held = Message.objects.exclude(pk=bad.pk).order_by("-pk").first()
    assert held
    address = {
        "outbox": lambda: of(published(state="PENDING", attempts=1, sent_at=None)),
        "queue": lambda: of(published()),
        "quarantined": lambda: of(bad),
        "held": lambda: of(held),
        "corrected": lambda: of(bad),
        "refused": lambda: reverse("trace") + f"?q={_refused().sha256}",
    }[state]()

    with django_assert_max_num_queries(12):
        page(vera, address)


def _refused() -> Document:
    refused = document(Upload.objects.create(created_at=NOON, source=Upload.Source.COMMAND), "broken.xml")
    Refusal.objects.create(document=refused, code="not-well-formed", reason="A tag is not closed.")
    return refused


def test_moments_are_told_in_utc_with_milliseconds(vera: Client) -> None:
    html = page(vera, of(published(created_at=datetime.fromisoformat("2026-11-20T13:00:00.042+01:00"))))

    assert ">20 Nov 2026 12:00:00.042 UTC</time>" in html
