"""What people set of the payload bucket stays, where it is no danger to payloads."""

from __future__ import annotations

import uuid
from typing import Any

import boto3

from tests.support.broker import FifoQueue
from trades import storage
from trades.portal.broker import LocalBroker
from trades.queues import Wishes


def test_payloads_that_are_kept_longer_are_still_kept_longer_when_access_is_closed(queue: FifoQueue, broker: LocalBroker) -> None:
    s3, bucket = boto3.client("s3", endpoint_url=broker.url), f"payloads-{uuid.uuid4().hex[:8]}"
    storage.ensure_bucket(bucket, Wishes())
    longer: Any = {**storage.OUR_RULE, "Expiration": {"Days": 400}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [longer]})
    s3.delete_public_access_block(Bucket=bucket)

    outcome = storage.ensure_bucket(bucket, Wishes(apply=True))

    assert (outcome.done, [each.attribute for each in outcome.differences]) == ("changed", ["public access"])
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["Expiration"]["Days"] == 400
