"""Standard queues are refused with the reason; what is amiss about a FIFO queue is warned of, with the fix."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import boto3
import pytest
from django.core.checks import ERROR, WARNING, run_checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from pytest_django.fixtures import Settings

from tests.conftest import CLOSED_PORT
from tests.support.broker import FifoQueue
from tests.support.native import native
from tests.support.processes import Process
from trades import queue_checks, queues, routes, sqs
from trades.models import Publication
from trades.portal.broker import LocalBroker

ARN = "arn:aws:sqs:eu-west-1:111122223333:"
SOUND = {
    "QueueArn": f"{ARN}TradeStatus.fifo",
    "FifoQueue": "true",
    "ContentBasedDeduplication": "true",
    "MaximumMessageSize": "1048576",
    "VisibilityTimeout": "60",
    "MessageRetentionPeriod": "345600",
    "RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{ARN}Another.fifo", "maxReceiveCount": 100}),
}


def checked() -> list[str]:
    return [str(found.id) for found in run_checks(tags=["queues"], include_deployment_checks=True)]


@pytest.fixture
def sound_queue(queue: FifoQueue) -> FifoQueue:
    """A queue, and behind it a dead-letter queue, of which no warning is given."""
    queue.client.set_queue_attributes(QueueUrl=queue.dead_letter_url, Attributes={"VisibilityTimeout": "60"})
    return queue


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes.places, "_known", {})


# Standard queues


@pytest.mark.parametrize(
    "command",
    [
        ("consume_trades", "--queue", "Trades"),
        ("create_queues", "--queue", "Trades"),
        ("create_queues", "--dead-letter-queue", "Trades"),
        ("publish_trades", "--queue", "Trades"),
    ],
    ids=" ".join,
)
@pytest.mark.django_db
def test_a_standard_queue_is_refused_by_its_name_with_the_reason(queue: FifoQueue, command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(native("T-1"))
    files = [str(tmp_path / "one.xml")] if command[0] == "publish_trades" else []

    with pytest.raises(CommandError) as caught:
        call_command(command[0], *files, *command[1:], stdout=io.StringIO())

    sentence = str(caught.value)
    assert '"Trades" is the name of a standard queue' in sentence
    assert "no order" in sentence
    assert "twice" in sentence or "more than once" in sentence
    assert '".fifo"' in sentence
    assert not Publication.objects.exists()


def test_the_settings_refuse_a_standard_queue(settings: Settings) -> None:
    settings.TRADES_QUEUE = "Trades"

    (found,) = [each for each in run_checks() if each.id == "trades.E001"]

    assert '"Trades" is the name of a standard queue' in found.msg


@pytest.mark.parametrize("name", ["Tra des.fifo", "x" * 76 + ".fifo", ".fifo"])
def test_a_name_that_no_queue_can_have_is_told_from_that_of_a_standard_queue(name: str) -> None:
    with pytest.raises(sqs.BadQueueName, match="cannot be a FIFO queue"):
        sqs.check_name(name)


@pytest.mark.django_db
def test_a_queue_that_says_it_is_not_fifo_is_refused(queue: FifoQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs.Queue, "attributes", lambda self: {"QueueArn": f"{ARN}{self.name}", "VisibilityTimeout": "60"})

    with pytest.raises(CommandError, match="is a standard queue"):
        call_command("consume_trades", "--until-empty")
    assert checked() == ["trades.E020", "trades.E020"]


# FIFO queues


def test_a_sound_queue_needs_nothing() -> None:
    assert queue_checks.warnings("TradeStatus.fifo", SOUND) == []


@pytest.mark.parametrize(
    ("attribute", "value", "said", "fix"),
    [
        ("ContentBasedDeduplication", "false", "without a deduplication id", '{"ContentBasedDeduplication": "true"}'),
        ("MaximumMessageSize", "262144", "262,144 bytes", '{"MaximumMessageSize": "1048576"}'),
        ("VisibilityTimeout", "59", "second worker", '{"VisibilityTimeout": "120"}'),
        ("MessageRetentionPeriod", "345599", "is lost", '{"MessageRetentionPeriod": "1209600"}'),
    ],
)
def test_what_is_amiss_is_a_warning_with_the_fix(attribute: str, value: str, said: str, fix: str) -> None:
    (warning,) = queue_checks.warnings("TradeStatus.fifo", {**SOUND, attribute: value})

    assert warning.startswith(f"TradeStatus.fifo: {attribute} is {value}, which should be ")
    assert said in warning
    assert "aws sqs set-queue-attributes" in warning
    assert fix in warning


def test_a_low_receive_count_keeps_its_dead_letter_queue_in_the_fix() -> None:
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}Another.fifo", "maxReceiveCount": 3})

    (found,) = queue_checks.amiss({**SOUND, "RedrivePolicy": policy})

    assert json.loads(found.wanted) == {"deadLetterTargetArn": f"{ARN}Another.fifo", "maxReceiveCount": 1000}
    assert "every receive counts for the whole batch" in found.why


def test_a_queue_without_a_dead_letter_queue_is_told_of_ours(settings: Settings) -> None:
    settings.TRADES_DEAD_LETTER_QUEUE = "Dead.fifo"

    (found,) = queue_checks.amiss({name: value for name, value in SOUND.items() if name != "RedrivePolicy"})

    assert found.found == "not set"
    assert json.loads(found.wanted)["deadLetterTargetArn"] == f"{ARN}Dead.fifo"


def test_the_dead_letter_queue_needs_none_itself(settings: Settings) -> None:
    settings.TRADES_DEAD_LETTER_QUEUE = "TradeStatus.fifo"

    assert queue_checks.amiss({name: value for name, value in SOUND.items() if name != "RedrivePolicy"}) == []


def test_what_the_broker_does_not_report_is_no_warning() -> None:
    assert queue_checks.amiss({name: value for name, value in SOUND.items() if name != "MaximumMessageSize"}) == []


# The checks


def test_the_queues_are_asked_by_deployment_checks_alone(sound_queue: FifoQueue) -> None:
    sound_queue.client.set_queue_attributes(
        QueueUrl=sound_queue.url, Attributes={"VisibilityTimeout": "30", "ContentBasedDeduplication": "false"}
    )

    assert sorted(checked()) == ["trades.W020", "trades.W022"]
    assert not [each for each in run_checks() if each.id in {"trades.W020", "trades.W022"}]


def test_the_fix_names_the_command_for_all(sound_queue: FifoQueue) -> None:
    sound_queue.client.set_queue_attributes(QueueUrl=sound_queue.url, Attributes={"VisibilityTimeout": "30"})

    (found,) = run_checks(tags=["queues"], include_deployment_checks=True)

    assert found.hint is not None
    assert f"manage.py create_queues --queue {sound_queue.name} --apply" in found.hint


def test_the_command_for_the_dead_letter_queue_is_one_that_works(queue: FifoQueue) -> None:
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "60"})
    allowed = queues.allowed_sources([routes.attributes_of(queue.name)["QueueArn"]])  # what the command leaves to a person
    queue.client.set_queue_attributes(QueueUrl=queue.dead_letter_url, Attributes=allowed)  # type: ignore[arg-type]

    first, *_ = run_checks(tags=["queues"], include_deployment_checks=True)
    assert queue.dead_letter_name in first.msg
    assert first.hint is not None
    call_command(*first.hint.rpartition("manage.py ")[2].split(), stdout=io.StringIO())

    assert checked() == []


def test_partners_queues_are_not_asked(sound_queue: FifoQueue, settings: Settings, tmp_path: Path) -> None:
    settings.TRADES_QUEUES_FILE = str(tmp_path / "queues.toml")
    (tmp_path / "queues.toml").write_text('[queues."Partner.fifo"]\nowner = "444455556666"\n')

    assert checked() == []


def elsewhere(broker: LocalBroker, settings: Settings, folder: Path, **attributes: str) -> str:
    """A queue of ours that the queues file has in another region; gives its name. Nothing is asked where the environment says."""
    name = f"Q-{uuid.uuid4().hex[:12]}.fifo"
    client = boto3.client("sqs", endpoint_url=broker.url, region_name="us-east-2")
    if attributes:
        client.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **attributes})  # type: ignore[dict-item]
    settings.TRADES_QUEUES_FILE = str(folder / "queues.toml")
    (folder / "queues.toml").write_text(f'[queues."{name}"]\nregion = "us-east-2"\nendpoint = "{broker.url}"\npartner = false\n')
    return name


def test_the_fix_of_a_queue_that_is_elsewhere_names_its_place_and_no_command_that_works_here(
    broker: LocalBroker, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = elsewhere(broker, settings, tmp_path, ContentBasedDeduplication="true", VisibilityTimeout="30")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", CLOSED_PORT)

    hints = {str(each.id): each.hint or "" for each in run_checks(tags=["queues"], include_deployment_checks=True) if name in each.msg}
    logged = queue_checks.warnings(name, routes.attributes_of(name))

    where = f"--queue-url {broker.url}/000000000000/{name} --region us-east-2 --endpoint-url {broker.url}"
    wanted = """--attributes '{"VisibilityTimeout": "120"}'"""
    assert hints["trades.W022"] == f"aws sqs set-queue-attributes {where} {wanted}"
    assert any(sentence.endswith(f"aws sqs set-queue-attributes {where} {wanted}") for sentence in logged)
    assert not [hint for hint in hints.values() if "create_queues" in hint]


def test_a_profile_of_a_queue_that_is_elsewhere_is_named_in_the_fix(
    broker: LocalBroker, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text("[desk two]\naws_access_key_id = 444455556666\naws_secret_access_key = test\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    settings.TRADES_QUEUES_FILE = str(tmp_path / "queues.toml")
    (tmp_path / "queues.toml").write_text('[queues."TradeStatus.fifo"]\nprofile = "desk two"\npartner = false\n')

    (warning,) = queue_checks.warnings("TradeStatus.fifo", {**SOUND, "VisibilityTimeout": "30"})

    assert f"--queue-url {broker.url}/111122223333/TradeStatus.fifo --region eu-west-1" in warning
    assert f"--endpoint-url {broker.url} --profile 'desk two' --attributes" in warning


def test_a_queue_that_does_not_exist_elsewhere_is_not_to_be_made_here(broker: LocalBroker, settings: Settings, tmp_path: Path) -> None:
    name = elsewhere(broker, settings, tmp_path)

    (found,) = [each for each in run_checks(tags=["queues"], include_deployment_checks=True) if name in each.msg]

    assert found.id == "trades.E021"
    assert f"does not exist at {broker.url}. The queues file says that it is there" in found.msg
    assert "create_queues" not in found.msg


def test_a_queue_that_can_t_be_asked_is_no_failure_of_the_check(settings: Settings) -> None:
    found = run_checks(tags=["queues"], include_deployment_checks=True)

    assert {each.id for each in found} == {"trades.I020"}
    assert found[0].msg.startswith(f"{settings.TRADES_QUEUE} was not checked: ")


def test_a_queue_that_does_not_exist_is_an_error(sound_queue: FifoQueue, settings: Settings) -> None:
    settings.TRADES_QUEUE = f"Missing-{sound_queue.name}"

    (found,) = run_checks(tags=["queues"], include_deployment_checks=True)

    assert (found.id, found.level) == ("trades.E021", ERROR)
    assert "create_queues" in found.msg
    with pytest.raises(SystemCheckError, match="does not exist"):
        call_command("check", "--deploy", "--tag", "queues", stdout=io.StringIO(), stderr=io.StringIO())


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        (("AWS_REGION", "AWS_DEFAULT_REGION"), "no AWS region is set"),
        (("AWS_SECRET_ACCESS_KEY",), "Partial credentials"),
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "no AWS credentials were found"),
    ],
)
def test_settings_that_no_queue_can_be_asked_with_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lacking: tuple[str, ...], sentence: str
) -> None:
    for name in lacking:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(tmp_path / "none"), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    sqs.forget_clients()

    found = run_checks(tags=["queues"], include_deployment_checks=True)

    sqs.forget_clients()
    assert {(each.id, each.level) for each in found} == {("trades.W025", WARNING)}
    assert all(sentence in each.msg for each in found)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (sqs.Denied("AccessDenied"), "trades.W025"),
        (sqs.Refused("InvalidClientTokenId"), "trades.W025"),
        (sqs.Throttled("asked too often"), "trades.I020"),
        (sqs.QueueError("no answer in time"), "trades.I020"),
    ],
)
def test_a_refusal_is_a_warning_and_no_answer_just_now_is_none(
    sound_queue: FifoQueue, monkeypatch: pytest.MonkeyPatch, error: sqs.QueueError, code: str
) -> None:
    monkeypatch.setattr(sqs.Queue, "attributes", Mock(side_effect=error))

    assert checked() == [code, code]


@pytest.mark.django_db(transaction=True)
def test_a_worker_logs_what_is_amiss_when_it_starts(queue: FifoQueue, worker_process: Callable[..., Process]) -> None:
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "30"})

    worker = worker_process("--until-empty", "--wait", "0")

    assert worker.wait() == 0
    assert f"{queue.name}: VisibilityTimeout is 30, which should be 120" in worker.output
