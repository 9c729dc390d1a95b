"""The outbox: saved first, sent in order, verified, resent when it has to be."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from tests.support.broker import FifoQueue
from tests.support.native import native, several
from trades import publishing, sending, sqs
from trades.handing_in import IncomingDocument
from trades.models import Document, OutboxLease, Publication, Refusal, Upload

pytestmark = pytest.mark.django_db
State = Publication.State


def publish(*contents: bytes | str, group: str | None = None) -> Upload:
    documents = [
        IncomingDocument(f"{number}.xml", content if isinstance(content, bytes) else content.encode())
        for number, content in enumerate(contents, start=1)
    ]
    return publishing.publish(documents, source=Upload.Source.WEB, user=None, clock=timezone.now, group=group)


def store(*contents: str) -> list[Publication]:
    """Outbox rows that nobody has tried to send."""
    upload = publishing.begin(source=Upload.Source.WEB, user=None, now=timezone.now())
    documents = [IncomingDocument(f"{number}.xml", content.encode()) for number, content in enumerate(contents, start=1)]
    publishing.store(upload, documents, now=timezone.now())
    return list(Publication.objects.order_by("id"))


def drain(queue: FifoQueue) -> list[dict]:
    """Everything in the queue, received and deleted by bare boto3, in the order it came."""
    found: list[dict] = []
    while got := queue.client.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"]
    ).get("Messages"):
        found += got  # type: ignore[arg-type]
        for message in got:
            queue.client.delete_message(QueueUrl=queue.url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_a_published_document_is_in_the_queue_as_it_was_with_its_facts_on_the_row(queue: FifoQueue) -> None:
    body = native("T-10045")

    publish(body)

    (message,) = drain(queue)
    row = Publication.objects.get()
    assert message["Body"] == body
    assert message["Attributes"]["MessageGroupId"] == "T-10045"
    assert message["MessageAttributes"]["PublicationId"]["StringValue"] == str(row.publication_id)
    assert (row.state, row.message_id, row.md5) == (State.SENT, message["MessageId"], hashlib.md5(body.encode()).hexdigest())
    assert row.sequence_number == message["Attributes"]["SequenceNumber"]
    assert row.summary == "BOOK version 1 of T-10045"


def test_a_group_of_many_messages_is_sent_in_order(queue: FifoQueue) -> None:
    publish(*(native("T-1", "UPDATE", n) for n in range(1, 26)))

    versions = [int(re.findall(r"<Version>(\d+)", message["Body"])[0]) for message in drain(queue)]

    assert versions == list(range(1, 26))


def test_the_messages_of_one_document_go_to_the_groups_of_their_trades(queue: FifoQueue) -> None:
    publish(several(native("T-1"), native("T-2"), native("T-1", "CANCEL", 2)))

    groups = [message["Attributes"]["MessageGroupId"] for message in drain(queue)]

    assert sorted(groups) == ["T-1", "T-1", "T-2"]


@pytest.mark.parametrize("trade_id", ["LN 2962", "Zürich-1", "x" * 99 + "é"])
def test_a_trade_id_that_sqs_does_not_allow_gets_a_stable_group(queue: FifoQueue, trade_id: str) -> None:
    publish(native(trade_id), native(trade_id, "CANCEL", 2))

    groups = {message["Attributes"]["MessageGroupId"] for message in drain(queue)}

    assert groups == {"sha256-" + hashlib.sha256(trade_id.encode()).hexdigest()}


def test_a_refused_document_is_kept_with_its_reason_and_the_others_go_on(queue: FifoQueue) -> None:
    publish("<TradeStatus>", native("T-1"), "<unknown/>")

    assert list(Refusal.objects.order_by("id").values_list("document__name", "code")) == [
        ("1.xml", "not-well-formed"),
        ("3.xml", "unknown-dialect"),
    ]
    assert bytes(Document.objects.get(name="1.xml").content) == b"<TradeStatus>"
    assert len(drain(queue)) == 1


def test_a_document_that_is_about_no_trade_is_kept_as_a_reference_and_not_published(queue: FifoQueue) -> None:
    publish('<FIXML v="5.0"><Batch><Hdr/></Batch></FIXML>', '<FIXML v="5.0"><Order ID="1"/><TrdCaptRpt TrdID="T-1" TransTyp="0"/></FIXML>')

    assert list(Refusal.objects.order_by("id").values_list("document__name", "part", "code")) == [
        ("1.xml", 1, "reference"),
        ("2.xml", 1, "reference"),
    ]
    assert Document.objects.get(name="1.xml").dialect == "fixml"
    (message,) = drain(queue)
    assert "TrdCaptRpt" in message["Body"]
    assert "Order" not in message["Body"]


def test_a_file_of_several_trades_goes_out_as_one_message_each_in_the_groups_of_their_trades(queue: FifoQueue) -> None:
    reports = "".join(f'<TrdCaptRpt TrdID="{trade}" TransTyp="{kind}"/>' for trade, kind in (("A", 0), ("B", 0), ("A", 1)))

    publish(f'<FIXML v="5.0"><Batch><Hdr SID="ACME"/>{reports}</Batch></FIXML>')

    messages = [(message["Attributes"]["MessageGroupId"], message["Body"].count("<TrdCaptRpt ")) for message in drain(queue)]
    assert sorted(messages) == [("A", 1), ("A", 1), ("B", 1)]
    assert bytes(Document.objects.get().content).count(b"<TrdCaptRpt ") == 3


def test_a_document_above_the_limit_of_sqs_is_refused_counting_bytes(queue: FifoQueue) -> None:
    padding = "é" * (sqs.MAX_MESSAGE_BYTES // 2)

    publish(native("T-1") + f"<!--{padding}-->")

    refusal = Refusal.objects.get()
    assert refusal.code == "too-large"
    assert "1,048,576" in refusal.reason


def test_the_limit_counts_the_attributes_too() -> None:
    message = sqs.Outgoing("é", "g", "d", {"PublicationId": "x" * 36})

    assert message.size == 2 + len("PublicationId") + len("String") + 36


def test_another_encoding_becomes_text_and_the_original_bytes_are_kept(queue: FifoQueue) -> None:
    original = ('<?xml version="1.0" encoding="ISO-8859-1"?>' + native("T-1", reason="geprüft")).encode("iso-8859-1")

    publish(original)

    (message,) = drain(queue)
    assert "geprüft" in message["Body"]
    assert "ISO-8859-1" not in message["Body"]
    assert bytes(Document.objects.get().content) == original


def test_what_is_not_understood_can_be_published_under_a_named_group(queue: FifoQueue) -> None:
    publish("<broken", group="T-1")

    (message,) = drain(queue)
    assert (message["Body"], message["Attributes"]["MessageGroupId"]) == ("<broken", "T-1")


def test_text_that_sqs_would_refuse_is_refused_first_with_its_place() -> None:
    publish("ab\nc\x01d", group="T-1")

    refusal = Refusal.objects.get()
    assert (refusal.code, refusal.line, refusal.column) == ("forbidden-character", 2, 2)
    assert "U+0001" in refusal.reason


def test_when_the_queue_is_away_the_publications_stay_in_the_outbox_with_the_reason() -> None:
    publish(native("T-1"))

    row = Publication.objects.get()
    assert row.state == State.PENDING
    assert "nothing answers" in row.last_error


def test_the_relay_sends_what_was_left_once_and_in_order(queue: FifoQueue) -> None:
    store(*(native("T-1", "UPDATE", n) for n in (1, 2, 3)))

    first = sending.deliver(queue.name, clock=timezone.now)
    second = sending.deliver(queue.name, clock=timezone.now)

    assert (first.sent, second.sent) == (3, 0)
    assert len(drain(queue)) == 3


def test_a_resend_after_a_lost_answer_is_not_delivered_twice(queue: FifoQueue) -> None:
    store(native("T-1"))
    sending.deliver(queue.name, clock=timezone.now)
    Publication.objects.update(state=State.PENDING)

    sending.deliver(queue.name, clock=timezone.now)

    assert len(drain(queue)) == 1
    assert Publication.objects.get().state == State.SENT


def test_nothing_is_sent_past_a_publication_of_its_group_that_failed(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    store(native("T-1", "BOOK"), native("T-2", "BOOK"), native("T-1", "UPDATE", 2), native("T-2", "UPDATE", 2))
    send = sqs.Queue.send

    def failing(self: sqs.Queue, batch: list[sqs.Outgoing]) -> list[sqs.Sent | sqs.Failed]:
        good = [message for message in batch if not ("T-1<" in message.body and "BOOK" in message.body)]
        answers = iter(send(self, good)) if good else iter(())
        return [next(answers) if message in good else sqs.Failed("InternalError", "try again") for message in batch]

    monkeypatch.setattr(sqs.Queue, "send", failing)
    delivery = sending.deliver(queue.name, clock=timezone.now)
    monkeypatch.undo()

    assert (delivery.sent, delivery.failed) == (2, 1)
    assert list(Publication.objects.filter(state=State.PENDING).order_by("id").values_list("trade_id", flat=True)) == ["T-1", "T-1"]


def test_a_different_md5_is_not_taken_for_sent(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    store(native("T-1"))
    monkeypatch.setattr(sqs, "md5_of", lambda body: "0" * 32)

    sending.deliver(queue.name, clock=timezone.now)

    row = Publication.objects.get()
    assert row.state == State.PENDING
    assert "MD5" in row.last_error


def test_only_one_sender_at_a_time_and_a_dead_senders_lease_runs_out(queue: FifoQueue) -> None:
    store(native("T-1"))
    OutboxLease.objects.create(queue=queue.name, holder="another", expires_at=timezone.now() + timedelta(seconds=20))

    blocked = sending.deliver(queue.name, clock=timezone.now)
    later = sending.deliver(queue.name, clock=lambda: datetime.now(UTC) + timedelta(seconds=21))

    assert (blocked.sent, later.sent) == (0, 1)
    assert "Another sender" in blocked.problem
