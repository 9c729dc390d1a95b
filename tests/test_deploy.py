"""deploy/tradeportal.yaml: linted, created in moto, used by the portal; its policies allow what the portal's code does and no more."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.support import stack as stacks
from tests.support.native import native
from tests.support.recording import Calls, allows, recorded, statements
from tests.support.stack import ACCOUNT, BUCKET_POLICIES, REGION, TEMPLATE, Stack
from trades import publishing, quarantine, queue_checks, sqs, storage
from trades.consumer import Shared
from trades.models import Event, Message, Publication, Upload
from trades.publishing import IncomingDocument
from trades.sqs.buckets import PAYLOAD_SIZE, Pointer, key_of
from trades.web.readings import QueueWatch

BUCKET = "tradeportal-payloads"
LARGE = f"{native('T-2')}<!-- {' ' * 1_100_000} -->"
DEAD_LETTER = native("T-3")
MISSING = native("T-5")
PARTNER = "222233334444"
PARTNER_QUEUE = f"arn:aws:sqs:{REGION}:{PARTNER}:TheirTrades.fifo"
FURTHER_QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:Prices.fifo"


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account, which every client of this test asks."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"):
        monkeypatch.delenv(name)
    with stacks.account():
        yield


@pytest.fixture
def stack(account: None, settings: Settings) -> Stack:
    """The stack with a bucket of that name, and the portal set up as its outputs say."""
    stack = stacks.created(BucketName=BUCKET)
    for name, value in stack.settings.items():
        setattr(settings, name, value)
    settings.TRADES_PAYLOAD_BUCKETS = [BUCKET]
    return stack


def attributes(arn: str) -> dict[str, str]:
    return sqs.open_queue(arn.rpartition(":")[2]).attributes()


def statement(policy: dict[str, Any], sid: str) -> dict[str, Any]:
    (found,) = [each for each in policy["Statement"] if each["Sid"] == sid]
    return dict(found)


# The template


def test_cfn_lint_finds_nothing() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), "--include-checks", "I", "--template", str(TEMPLATE)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert (lint.returncode, lint.stdout) == (0, ""), lint.stderr
    assert "ignore_checks" not in TEMPLATE.read_text()


class Loader(yaml.SafeLoader):
    """Reads `!Sub text` as {"Sub": "text"}."""


Loader.add_multi_constructor(
    "!",
    lambda loader, tag, node: {
        tag: loader.construct_scalar(node)
        if isinstance(node, yaml.ScalarNode)
        else loader.construct_sequence(node, deep=True)
        if isinstance(node, yaml.SequenceNode)
        else None
    },
)


def template() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(TEMPLATE.read_text(), Loader)
    return found


def test_every_parameter_is_described_and_bounded_and_stands_in_a_group() -> None:
    parameters = template()["Parameters"]

    grouped = [
        name for group in template()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"] for name in group["Parameters"]
    ]
    assert sorted(grouped) == sorted(parameters)
    for name, parameter in parameters.items():
        assert parameter["Description"], name
        assert parameter.keys() & {"AllowedPattern", "AllowedValues", "MaxValue"}, name


def test_every_output_is_described() -> None:
    assert all(output["Description"] for output in template()["Outputs"].values())


def test_payloads_outlive_every_message_that_points_to_them() -> None:
    """moto takes no lifecycle rules from a template, so the template itself is read."""
    resources = template()["Resources"]
    (rule,) = resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    seconds = sum(resources[name]["Properties"]["MessageRetentionPeriod"] for name in ("Queue", "DeadLetterQueue"))

    assert rule["ExpirationInDays"] == storage.EXPIRY_DAYS > timedelta(seconds=seconds).days
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == storage.ABORT_DAYS
    assert resources["Bucket"]["Properties"]["PublicAccessBlockConfiguration"] == storage.BLOCKED


def test_what_holds_trades_outlives_the_stack() -> None:
    for name, resource in template()["Resources"].items():
        if resource["Type"] in {"AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::KMS::Key"}:
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain"), name


# The stack


def test_create_queues_finds_nothing_to_change(stack: Stack) -> None:
    out = io.StringIO()

    call_command("create_queues", stdout=out)

    assert out.getvalue().count(": exists at") == 2
    assert "should be" not in out.getvalue()


def test_nothing_is_taken_or_given_without_tls(stack: Stack) -> None:
    queue, dead = (json.loads(attributes(stack.outputs[name])["Policy"]) for name in ("QueueArn", "DeadLetterQueueArn"))

    for policy, actions, resource in (
        (queue, "sqs:*", stack.outputs["QueueArn"]),
        (dead, "sqs:*", stack.outputs["DeadLetterQueueArn"]),
        (BUCKET_POLICIES[BUCKET], "s3:*", [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]),
    ):
        denied = statement(policy, "TlsOnly")
        assert (denied["Effect"], denied["Principal"], denied["Action"], denied["Resource"]) == ("Deny", "*", actions, resource)
        assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_key_of_ones_own_encrypts_queues_and_bucket(account: None) -> None:
    stack = stacks.created(Encryption="customer-key", BucketName=BUCKET)

    key = stack.outputs["KeyArn"]
    assert {attributes(stack.outputs[name])["KmsMasterKeyId"] for name in ("QueueArn", "DeadLetterQueueArn")} == {key}
    (rule,) = stacks.client("s3").get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    allowed = {name: {pair for pair in statements(stack.policy(name)) if pair[0].startswith("kms:")} for name in POLICIES}
    assert allowed == {
        "PublisherPolicyArn": {("kms:GenerateDataKey", key), ("kms:Decrypt", key)},
        "WorkerPolicyArn": {("kms:Decrypt", key)},
        "DeadLetterPolicyArn": {("kms:Decrypt", key)},
        "OperatorPolicyArn": {("kms:Decrypt", key)},
        "MonitorPolicyArn": set(),
    }


def test_without_a_key_of_ones_own_no_policy_speaks_of_one(stack: Stack) -> None:
    assert not [pair for name in POLICIES for pair in statements(stack.policy(name)) if pair[0].startswith("kms:")]


def test_a_partner_may_publish_and_read_what_it_was_sent_and_the_portal_may_publish_to_it(account: None) -> None:
    stack = stacks.created(BucketName=BUCKET, PartnerAccountId=PARTNER, PartnerQueueArn=PARTNER_QUEUE, PartnerBucketName="theirs")

    partner = {"AWS": f"arn:aws:iam::{PARTNER}:root"}
    publishes = statement(json.loads(attributes(stack.outputs["QueueArn"])["Policy"]), "PartnerPublishes")
    assert (publishes["Principal"], "sqs:SendMessage" in publishes["Action"]) == (partner, True)
    reads = statement(BUCKET_POLICIES[BUCKET], "PartnerReadsPayloads")
    assert (reads["Principal"], reads["Action"]) == (partner, "s3:GetObject")
    assert ("sqs:SendMessage", PARTNER_QUEUE) in set(statements(stack.policy("PublisherPolicyArn")))
    assert ("s3:GetObject", "arn:aws:s3:::theirs/*") in set(statements(stack.policy("WorkerPolicyArn")))


def test_a_further_queue_shares_dead_letter_queue_and_bucket(account: None) -> None:
    stacks.created(BucketName=BUCKET, FurtherQueueArns=FURTHER_QUEUE)

    further = stacks.created("prices", SharedParts="existing", QueueName="Prices.fifo", BucketName=BUCKET)

    assert json.loads(attributes(FURTHER_QUEUE)["RedrivePolicy"])["deadLetterTargetArn"].endswith(":TradeStatusDeadLetter.fifo")
    assert "DeadLetterPolicyArn" not in further.outputs
    assert {resource for _, resource in statements(further.policy("WorkerPolicyArn"))} == {
        FURTHER_QUEUE,
        f"arn:aws:s3:::{BUCKET}",
        f"arn:aws:s3:::{BUCKET}/*",
    }
    assert further.settings["TRADES_PAYLOAD_BUCKET"] == BUCKET


# The parts of the portal at work. Each leaves its calls behind.


def documents(*contents: str) -> list[IncomingDocument]:
    return [IncomingDocument(f"{number}.xml", content.encode()) for number, content in enumerate(contents)]


def publish(stack: Stack) -> None:
    """The web process and the relay: a small document, one too large for SQS, and one that was left in the outbox."""
    publishing.publish(documents(native("T-1"), LARGE), source=Upload.Source.WEB, user=None, clock=timezone.now)
    publishing.store(
        Upload.objects.latest("id"), documents(native("T-1", "UPDATE", 2)), queue=stack.settings["TRADES_QUEUE"], now=timezone.now()
    )
    call_command("relay_publications", "--until-empty", stdout=io.StringIO())


def work(stack: Stack, *options: str, arn: str = "QueueArn") -> None:
    """A worker: what it holds is kept longer, given back, then recorded and deleted."""
    name = stack.outputs[arn].rpartition(":")[2]
    queue = sqs.open_queue(name)
    shared = Shared.of(queue, timezone.now, Signal())
    lease = shared.keeper.lease()
    lease.messages = held = queue.receive()
    assert held
    shared.keeper.clock = lambda: timezone.now() + timedelta(seconds=100)
    shared.keeper.extend_if_due(lease)
    assert queue.release(held) == []
    call_command("consume_trades", "--until-empty", "--wait", "0", *options, stdout=io.StringIO())


def take_dead_letters(stack: Stack) -> None:
    work(stack, "--dead-letter", arn="DeadLetterQueueArn")


def monitor(stack: Stack) -> None:
    """What live pages and `check --deploy --tag queues` ask of the queues."""
    watch = QueueWatch()
    watch.ask()
    assert (watch.figures.error, watch.figures.dead) == ("", 0)
    assert list(queue_checks.check_queues(None)) == []


def operate(stack: Stack) -> None:
    """A person replays a message whose payload was missing when it came."""
    missing = Message.objects.get(group_id="T-5")
    assert missing.outcome == Message.Outcome.QUARANTINED
    quarantine.replay(missing, actor=quarantine.Actor(None, "test"), now=timezone.now())


def send(name: str, group: str, body: str, **attributes: int) -> None:
    client = stacks.client("sqs")
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    marked = {key: {"DataType": "Number", "StringValue": str(value)} for key, value in attributes.items()}
    client.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageAttributes=marked)


def send_pointer(name: str, group: str, content: str) -> str:
    """Gives the key of the payload."""
    pointer = Pointer(BUCKET, key_of(hashlib.sha256(content.encode()).hexdigest()), len(content))
    send(name, group, pointer.body, **{PAYLOAD_SIZE: pointer.size})
    return pointer.key


POLICIES = ("PublisherPolicyArn", "WorkerPolicyArn", "DeadLetterPolicyArn", "OperatorPolicyArn", "MonitorPolicyArn")
# What a policy allows although no call names it, and why.
NEEDED_ALL_THE_SAME = {
    # Who may not list a bucket is told "access denied" of a missing object, not that it is missing (AWS, GetObject, permissions).
    "s3:ListBucket": {"WorkerPolicyArn", "DeadLetterPolicyArn", "OperatorPolicyArn"},
}


@pytest.fixture
def calls(stack: Stack, transactional_db: None) -> dict[str, Calls]:
    """The calls each part made, by the output that names its policy."""
    queue, dead = stack.settings["TRADES_QUEUE"], stack.settings["TRADES_DEAD_LETTER_QUEUE"]
    made = {}
    with recorded() as made["MonitorPolicyArn"]:
        monitor(stack)
    with recorded() as made["PublisherPolicyArn"]:
        publish(stack)
    key = send_pointer(queue, "T-5", MISSING)
    with recorded() as made["WorkerPolicyArn"]:
        work(stack)
    send(dead, "T-3", DEAD_LETTER)
    send_pointer(dead, "T-2", LARGE)
    with recorded() as made["DeadLetterPolicyArn"]:
        take_dead_letters(stack)
    stacks.client("s3").put_object(Bucket=BUCKET, Key=key, Body=MISSING.encode())
    with recorded() as made["OperatorPolicyArn"]:
        operate(stack)
    return made


def test_what_the_stack_made_carries_messages_from_publishing_to_the_history(stack: Stack, calls: dict[str, Calls]) -> None:
    assert set(Publication.objects.values_list("state", flat=True)) == {Publication.State.SENT}
    assert list(Event.objects.order_by("trade__trade_id", "position").values_list("trade__trade_id", "version")) == [
        ("T-1", 1),
        ("T-1", 2),
        ("T-2", 1),
        ("T-5", 1),
    ]
    assert Message.objects.get(outcome=Message.Outcome.QUARANTINED, group_id="T-3").body == DEAD_LETTER
    # The large document was stored once and fetched once.
    assert calls["PublisherPolicyArn"].operations["s3:PutObject"] == 1
    fetched = [call.params["Key"] for call in calls["WorkerPolicyArn"] if call.operation == "s3:GetObject"]
    assert fetched.count(key_of(hashlib.sha256(LARGE.encode()).hexdigest())) == 1
    for name in ("QueueArn", "DeadLetterQueueArn"):
        found = attributes(stack.outputs[name])
        assert (found["ApproximateNumberOfMessages"], found["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


def refused(stack: Stack, policy: str, calls: Calls) -> set[tuple[str, str]]:
    """The (action, resource) pairs of the calls that a policy does not allow."""
    allowed = list(statements(stack.policy(policy)))
    needed = {(call.action, call.arn(ACCOUNT, REGION)) for call in calls}
    return {(action, arn) for action, arn in needed if not any(allows(pair, action, arn) for pair in allowed)}


def unused(stack: Stack, policy: str, calls: Calls) -> set[str]:
    """The actions that a policy allows on something no call is about."""
    needed = {(call.action, call.arn(ACCOUNT, REGION)) for call in calls}
    return {pair[0] for pair in statements(stack.policy(policy)) if not any(allows(pair, action, arn) for action, arn in needed)}


def test_each_policy_allows_what_its_part_of_the_portal_does_and_no_more(stack: Stack, calls: dict[str, Calls]) -> None:
    assert {name: refused(stack, name, made) for name, made in calls.items()} == {name: set() for name in POLICIES}
    assert {name: unused(stack, name, made) for name, made in calls.items()} == {
        name: {action for action, names in NEEDED_ALL_THE_SAME.items() if name in names} for name in POLICIES
    }
    # The comparison itself tells one policy from another.
    assert ("sqs:SendMessage", stack.outputs["QueueArn"]) in refused(stack, "WorkerPolicyArn", calls["PublisherPolicyArn"])
    assert ("sqs:DeleteMessage", stack.outputs["QueueArn"]) in refused(stack, "DeadLetterPolicyArn", calls["WorkerPolicyArn"])
    assert "sqs:DeleteMessage" in unused(stack, "WorkerPolicyArn", calls["PublisherPolicyArn"])


def test_a_live_page_asks_each_queue_with_two_requests(stack: Stack) -> None:
    with recorded() as calls:
        QueueWatch().ask()

    assert calls.operations == {"sqs:GetQueueUrl": 2, "sqs:GetQueueAttributes": 2}


def test_no_policy_names_a_whole_service_or_every_resource(stack: Stack) -> None:
    for name in POLICIES:
        for action, resource in statements(stack.policy(name)):
            assert "*" not in action
            assert resource.startswith((f"arn:aws:sqs:{REGION}:{ACCOUNT}:", f"arn:aws:s3:::{BUCKET}"))
