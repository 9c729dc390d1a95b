"""The model of S3, and what the model of SQS tells of what it swallows."""

from __future__ import annotations

import io
import json

import pytest
from botocore.exceptions import IncompleteReadError

from tests.fifo.bucket import ModelS3
from tests.fifo.model_bench import ModelBench, outgoing
from trades import sqs
from trades.sqs import buckets
from trades.sqs.buckets import Pointer

TEXT = b"<a>" + b"x" * 3000 + b"</a>"
POINTER = Pointer("payloads", "one.xml", len(TEXT))


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> ModelS3:
    model = ModelS3("payloads")
    monkeypatch.setattr(buckets, "s3_client", lambda: model)
    return model


def test_the_portal_reads_what_it_stored(s3: ModelS3) -> None:
    buckets.put(POINTER, io.BytesIO(TEXT))

    assert list(buckets.read(POINTER)) == [TEXT[:1024], TEXT[1024:2048], TEXT[2048:]]
    assert s3.place_in(POINTER.body) == ("payloads", "one.xml")


def test_what_is_not_there_is_not_found(s3: ModelS3) -> None:
    for pointer in (POINTER, Pointer("elsewhere", "one.xml", 1)):
        with pytest.raises(sqs.ObjectNotFound):
            list(buckets.read(pointer))


def test_a_store_of_other_content_than_the_key_says_is_refused(s3: ModelS3) -> None:
    with pytest.raises(sqs.Refused, match="BadDigest"):
        buckets.put(Pointer("payloads", buckets.key_of("0" * 64), len(TEXT)), io.BytesIO(TEXT))
    with pytest.raises(sqs.Refused, match="IncompleteBody"):
        buckets.put(Pointer("payloads", "one.xml", 7), io.BytesIO(TEXT))

    assert not s3.objects


def test_it_tells_what_was_stored_first_whatever_became_of_it(s3: ModelS3) -> None:
    buckets.put(POINTER, io.BytesIO(TEXT))
    s3.spoil(("payloads", "one.xml"), None)

    assert s3.stored["payloads", "one.xml"] == TEXT
    with pytest.raises(sqs.ObjectNotFound):
        list(buckets.read(POINTER))
    s3.restore(("payloads", "one.xml"))
    assert b"".join(buckets.read(POINTER)) == TEXT


def test_a_fault_sees_each_request_and_each_piece(s3: ModelS3) -> None:
    class Cutting:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def at_s3(self, point: str, bucket: str, key: str) -> None:
            self.seen.append(point)
            if point == "in get":
                raise IncompleteReadError(actual_bytes=1024, expected_bytes=3007)

    s3.faults = faults = Cutting()
    buckets.put(POINTER, io.BytesIO(TEXT))

    with pytest.raises(sqs.QueueError, match="1024 read"):
        list(buckets.read(POINTER))
    assert faults.seen == ["before put", "after put", "before get", "after get", "in get"]


def test_what_is_no_pointer_leads_nowhere(s3: ModelS3) -> None:
    for body in ("this is no XML", "[]", json.dumps(["kind", {}]), json.dumps(7)):
        assert s3.place_in(body) is None


def test_the_model_tells_what_a_queue_swallowed() -> None:
    bench = ModelBench()
    bench.queue.send([outgoing("a", "g", "one")])
    bench.queue.send([outgoing("b", "g", "one")])

    (first,) = bench.broker.accepted["Trades.fifo"]
    (swallowed,) = bench.broker.swallowed
    assert (swallowed.queue, swallowed.message_id, swallowed.publication_id) == ("Trades.fifo", first.message_id, "p-b")
