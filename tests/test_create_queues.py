"""Queues and bucket are made as the portal needs them; what exists is compared, explained, and changed only on request."""

from __future__ import annotations

import io
import json
import shlex
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from tests.support import stack as stacks
from tests.support.broker import FifoQueue
from trades import queues, sqs, storage
from trades.queues import Difference, Wishes

AS_AWS_REPORTS = {
    "QueueArn": "arn:aws:sqs:eu-west-1:123456789012:TradeStatus.fifo",
    "FifoQueue": "true",
    "ContentBasedDeduplication": "true",
    "DeduplicationScope": "messageGroup",
    "FifoThroughputLimit": "perMessageGroupId",
    "VisibilityTimeout": "120",
    "MessageRetentionPeriod": "1209600",
    "MaximumMessageSize": "1048576",
    "SqsManagedSseEnabled": "true",
}
DEAD_ARN = "arn:aws:sqs:eu-west-1:123456789012:Dead.fifo"


def create_queues(*arguments: str) -> tuple[int, str]:
    """(exit status, everything it says) of `manage.py create_queues ARGUMENTS`."""
    out = io.StringIO()
    try:
        call_command("create_queues", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


@pytest.fixture
def names(queue: FifoQueue) -> list[str]:
    """The options for two queues and a dead-letter queue that do not exist yet."""
    unique = uuid.uuid4().hex[:8]
    return ["--queue", f"New-{unique}.fifo", "--queue", f"Prices-{unique}.fifo", "--dead-letter-queue", f"Dead-{unique}.fifo"]


def attributes(name: str) -> dict[str, str]:
    return sqs.open_queue(name).attributes()


def tags(name: str) -> Mapping[str, str]:
    queue = sqs.open_queue(name)
    return queue.sqs.list_queue_tags(QueueUrl=queue.url).get("Tags", {})


def differing(**found: str | None) -> list[Difference]:
    """What differs in a queue that is as wanted but for these attributes; None for one that is not reported."""
    reported = {key: value for key, value in {**AS_AWS_REPORTS, **found}.items() if value is not None}
    return queues.explain(reported, queues.wanted_attributes(DEAD_ARN if "RedrivePolicy" in found else None))


# Creating


def test_queues_are_created_once_and_verified_afterwards(names: list[str]) -> None:
    first, second = create_queues(*names), create_queues(*names)

    assert (first[0], first[1].count(": created at http")) == (0, 3)
    assert (second[0], second[1].count(": exists at http")) == (0, 3), second[1]
    assert "should be" not in second[1]
    assert "not reported" not in second[1]


def test_a_new_queue_has_every_attribute_the_portal_needs(names: list[str]) -> None:
    create_queues(*names)

    made = attributes(names[1])
    assert {key: made[key] for key in queues.wanted_attributes()} == queues.wanted_attributes()
    redrive = json.loads(made["RedrivePolicy"])
    assert (redrive["deadLetterTargetArn"], redrive["maxReceiveCount"]) == (attributes(names[5])["QueueArn"], 1000)


def test_several_queues_share_one_dead_letter_queue_that_lets_in_them_alone(names: list[str]) -> None:
    create_queues(*names)

    allowed = json.loads(attributes(names[5])["RedriveAllowPolicy"])
    assert allowed["redrivePermission"] == "byQueue"
    assert allowed["sourceQueueArns"] == [attributes(names[1])["QueueArn"], attributes(names[3])["QueueArn"]]


def test_high_throughput_mode_can_be_left_off(names: list[str]) -> None:
    status, _ = create_queues(*names, "--no-high-throughput")

    assert status == 0
    assert attributes(names[1]).get("FifoThroughputLimit", "perQueue") == "perQueue"
    assert create_queues(*names, "--no-high-throughput")[0] == 0


def test_a_kms_key_takes_the_place_of_the_keys_of_sqs(names: list[str]) -> None:
    create_queues(*names, "--kms-key", "alias/trades")

    assert attributes(names[1])["KmsMasterKeyId"] == attributes(names[5])["KmsMasterKeyId"] == "alias/trades"
    assert attributes(names[1]).get("SqsManagedSseEnabled") != "true"


def test_what_is_created_carries_the_tags(names: list[str]) -> None:
    create_queues(*names, "--tag", "desk=rates", "--tag", "owner=middle office")

    assert tags(names[1]) == tags(names[5]) == {"desk": "rates", "owner": "middle office"}


def test_a_tag_without_a_value_is_a_sentence() -> None:
    with pytest.raises(CommandError, match="'desk' is no tag: write KEY=VALUE"):
        call_command("create_queues", "--tag", "desk")


def test_a_dry_run_says_what_would_be_created_and_creates_nothing(names: list[str]) -> None:
    status, said = create_queues(*names, "--dry-run", "--bucket", "payloads-of-a-dry-run")

    assert (status, said.count(": would be created")) == (0, 4)
    assert "  VisibilityTimeout: 120" in said
    with pytest.raises(sqs.QueueNotFound):
        sqs.open_queue(names[1])
    with pytest.raises(sqs.QueueNotFound):
        sqs.open_queue(names[5])


def test_all_queues_of_the_queues_file_that_are_here_are_meant(broker: Any, tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "queues.toml"
    file.write_text(
        """[[routes]]\nname = "prices"\nmessage_type = "Price"\nqueue = "Prices.fifo"\n
        [queues."Prices.fifo"]\n[queues."Partner.fifo"]\nurl = "https://sqs.eu-west-1.amazonaws.com/222233334444/Partner.fifo"\n"""
    )
    settings.TRADES_QUEUES_FILE = str(file)

    status, said = create_queues("--dry-run")

    assert status == 0
    assert [line.split(":")[0] for line in said.splitlines() if not line.startswith(" ")] == [
        settings.TRADES_DEAD_LETTER_QUEUE,
        settings.TRADES_QUEUE,
        "Prices.fifo",
    ]


# Comparing


def test_an_existing_queue_that_differs_is_explained_and_left_alone(names: list[str], queue: FifoQueue) -> None:
    create_queues(*names)
    target = sqs.open_queue(names[1])
    target.sqs.set_queue_attributes(QueueUrl=target.url, Attributes={"VisibilityTimeout": "30"})

    status, said = create_queues(*names)

    assert status == 3
    assert "VisibilityTimeout is 30, should be 120: a message that is recorded more slowly" in said
    assert f'aws sqs set-queue-attributes --queue-url "$(aws sqs get-queue-url --queue-name {names[1]}' in said
    assert attributes(names[1])["VisibilityTimeout"] == "30"


def test_what_differs_is_changed_on_request_alone(names: list[str]) -> None:
    create_queues(*names)
    target = sqs.open_queue(names[1])
    wrong = {"VisibilityTimeout": "30", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue", "SqsManagedSseEnabled": "false"}
    target.sqs.set_queue_attributes(QueueUrl=target.url, Attributes=wrong)  # type: ignore[arg-type]

    would = create_queues(*names, "--tag", "desk=rates", "--apply", "--dry-run")
    assert (would[0], would[1].count("would be changed")) == (0, 3)
    assert attributes(names[1])["VisibilityTimeout"] == "30"

    did = create_queues(*names, "--tag", "desk=rates", "--apply")

    assert (did[0], did[1].count(": changed at")) == (0, 3)
    assert "VisibilityTimeout was 30, has been set to 120" in did[1]
    assert create_queues(*names, "--tag", "desk=rates")[0] == 0
    assert tags(names[3]) == {"desk": "rates"}


def test_a_dead_letter_queue_that_lets_others_in_alone_is_asked_before_a_queue_is_made_behind_it(names: list[str]) -> None:
    create_queues(*names[:2], *names[4:])

    status, said = create_queues(*names[2:])

    assert (status, ": not created behind " in said) == (1, True)
    assert f"Not created: {names[3]}." in said
    with pytest.raises(sqs.QueueNotFound):
        sqs.open_queue(names[3])
    assert create_queues(*names[2:], "--apply")[0] == 0
    assert len(json.loads(attributes(names[5])["RedriveAllowPolicy"])["sourceQueueArns"]) == 2
    assert create_queues(*names)[0] == 0


def test_what_the_broker_does_not_report_is_not_called_wrong(queue: FifoQueue) -> None:
    """A queue made by bare boto3 on the local broker, which then says nothing of encryption."""
    _, said = create_queues("--queue", queue.name, "--dead-letter-queue", queue.dead_letter_name)

    (silent, *_) = [line for line in said.splitlines() if "not reported" in line]
    assert "RedriveAllowPolicy" not in silent
    assert "SqsManagedSseEnabled" in silent
    assert "nothing is known to be wrong" in silent


def test_a_queue_as_wanted_has_no_difference() -> None:
    assert differing() == []


def test_more_than_wanted_is_no_difference() -> None:
    assert differing(VisibilityTimeout="900", SqsManagedSseEnabled="false", KmsMasterKeyId="alias/trades") == []


@pytest.mark.parametrize(
    ("attribute", "found", "reason"),
    [
        ("VisibilityTimeout", "30", "second worker"),
        ("MaximumMessageSize", "262144", "made before August 2025"),
        ("MessageRetentionPeriod", "345600", "it is lost"),
        ("ContentBasedDeduplication", "false", "without a deduplication id"),
        ("DeduplicationScope", "queue", "300 calls a second"),
        ("SqsManagedSseEnabled", "false", "unencrypted"),
        ("RedrivePolicy", json.dumps({"deadLetterTargetArn": DEAD_ARN, "maxReceiveCount": 3}), "every receive counts"),
        ("RedrivePolicy", json.dumps({"deadLetterTargetArn": f"{DEAD_ARN}-other", "maxReceiveCount": 1000}), "dead-letter queue"),
        ("RedrivePolicy", None, "blocks its group"),
    ],
)
def test_a_difference_says_why_it_matters_and_what_changes_it(attribute: str, found: str | None, reason: str) -> None:
    (difference,) = differing(**{attribute: found})

    assert (difference.attribute, difference.found) == (attribute, found or "not set")
    assert difference.is_wrong
    assert reason in difference.why
    given = json.loads(shlex.split(difference.fix)[-1])
    assert given[attribute] == difference.wanted


def test_of_a_policy_only_what_differs_is_told() -> None:
    (difference,) = differing(RedrivePolicy=json.dumps({"deadLetterTargetArn": DEAD_ARN, "maxReceiveCount": 3}))

    assert difference.told() == "RedrivePolicy is maxReceiveCount 3, should be maxReceiveCount 1000"


def test_the_maximum_that_is_allowed_already_is_no_difference() -> None:
    assert differing(RedrivePolicy=json.dumps({"deadLetterTargetArn": DEAD_ARN, "maxReceiveCount": "1000"})) == []


def test_an_attribute_that_aws_always_reports_is_unknown_where_it_is_missing() -> None:
    (difference,) = differing(SqsManagedSseEnabled=None)

    assert (difference.found, difference.is_wrong) == ("not reported", False)


@pytest.mark.parametrize("key", ["1234-ab", "alias/trades", "arn:aws:kms:eu-west-1:1:key/1234-ab", "arn:aws:kms:eu-west-1:1:alias/trades"])
def test_a_kms_key_is_known_by_id_alias_and_arn(key: str) -> None:
    wanted = {"KmsMasterKeyId": key}

    assert queues.explain({"KmsMasterKeyId": key.rpartition(":")[2].removeprefix("key/")}, wanted) == []
    assert queues.explain({"KmsMasterKeyId": "another"}, wanted)[0].is_wrong


# Refusing


@pytest.mark.parametrize("name", ["TradeStatus", "TradeStatus.fifo.", ""])
def test_a_name_of_a_standard_queue_is_refused_with_the_reason(name: str) -> None:
    status, said = create_queues("--queue", name)

    assert status == 1
    assert "keeps no order and may deliver a message more than once" in said


def test_a_queue_is_not_its_own_dead_letter_queue() -> None:
    assert "can't be its own" in create_queues("--queue", "A.fifo", "--dead-letter-queue", "A.fifo")[1]


def test_more_queues_than_a_dead_letter_queue_may_name_are_refused() -> None:
    asked = [word for number in range(11) for word in ("--queue", f"Q{number}.fifo")]

    assert "11 queues can't share the dead-letter queue" in create_queues(*asked)[1]


# The bucket


@pytest.fixture
def bucket(broker: Any, names: list[str]) -> str:
    """The name of a bucket that does not exist yet."""
    return f"payloads-{uuid.uuid4().hex[:8]}"


def test_a_bucket_is_created_closed_and_with_an_end_for_payloads(names: list[str], bucket: str, broker: Any) -> None:
    first, second = create_queues(*names, "--bucket", bucket), create_queues(*names, "--bucket", bucket)

    assert f"{bucket}: created at s3://{bucket}" in first[1]
    assert second == (0, second[1])
    s3 = boto3.client("s3", endpoint_url=broker.url)
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert (rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) == ("trades/", 35)


def test_an_open_bucket_without_rules_is_explained_and_closed_on_request(names: list[str], bucket: str, broker: Any) -> None:
    s3 = boto3.client("s3", endpoint_url=broker.url)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    other: Any = {"ID": "reports", "Status": "Enabled", "Filter": {"Prefix": "reports/"}, "Expiration": {"Days": 7}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [other]})
    create_queues(*names)

    status, said = create_queues(*names, "--bucket", bucket)
    assert status == 3
    assert "public access is not set, should be blocked" in said
    assert "expiry of payloads is not set, should be 35 days" in said

    status, said = create_queues(*names, "--bucket", bucket, "--apply")

    assert (status, f"{bucket}: changed" in said) == (0, True)
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert {rule["ID"] for rule in rules} == {"reports", "tradeportal-payloads"}
    assert create_queues(*names, "--bucket", bucket)[0] == 0


def test_a_rule_of_others_that_deletes_payloads_too_early_is_named_and_left_to_them(names: list[str], bucket: str, broker: Any) -> None:
    s3 = boto3.client("s3", endpoint_url=broker.url)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    rule: Any = {"ID": "sweep", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 7}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})

    status, said = create_queues(*names, "--bucket", bucket, "--apply")

    assert status == 3
    assert "expiry of payloads is 7 days, should be 35 days: a message may wait for four weeks" in said
    assert '"sweep"' in said


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ({"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 7}}, 7),
        ({"Status": "Enabled", "Prefix": "", "Expiration": {"Days": 7}}, 7),
        ({"Status": "Enabled", "Filter": {"And": {"Prefix": "trades/", "ObjectSizeGreaterThan": 1}}, "Expiration": {"Days": 7}}, 7),
        ({"Status": "Disabled", "Filter": {}, "Expiration": {"Days": 7}}, None),
        ({"Status": "Enabled", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 7}}, None),
        ({"Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 7}}, None),
        ({"Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}}, None),
        ({"ID": storage.RULE, "Status": "Enabled", "Filter": {"Prefix": "trades/"}, "Expiration": {"Days": 7}}, 7),
    ],
)
def test_a_rule_counts_where_it_deletes_payloads(rule: Any, days: int | None) -> None:
    early = storage.too_early([rule])

    assert (early["Expiration"]["Days"] if early else None) == days


# Another broker


@pytest.fixture
def in_moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS as moto has it, in this process."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name, raising=False)
    with stacks.account():
        yield


def test_a_standard_queue_is_refused_with_the_reason(in_moto: None) -> None:
    """AWS has no standard queue of such a name; moto makes one."""
    sqs.client().create_queue(QueueName="TradeStatus.fifo")

    status, said = create_queues("--queue", "TradeStatus.fifo")

    assert status == 1
    assert "TradeStatus.fifo is a standard queue: it keeps no order" in said


def test_it_works_against_moto_too(in_moto: None) -> None:
    assert create_queues("--bucket", "payloads")[0] == 0

    status, said = create_queues("--bucket", "payloads", "--tag", "desk=rates", "--apply")

    assert (status, said.count(": changed at")) == (0, 2)
    assert "should be" not in said
    assert "not reported" not in create_queues()[1]


def test_the_oldest_region_is_named_by_no_name(in_moto: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    sqs.forget_clients()

    assert storage.ensure_bucket("payloads", Wishes(tags={"desk": "rates"})).done == "created"
    assert not storage.ensure_bucket("payloads", Wishes()).differs
