"""Queues by name: where each is, how much it takes, whose it is; and what a route may do to the order of a trade."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.conftest import CLOSED_PORT
from tests.support.native import NOON, native, received
from tests.support.routing import use
from trades import consumer, history, queues, routes, sqs
from trades.apps import check_queues_file
from trades.models import Event, Trade
from trades.portal.broker import LocalBroker

Use = Callable[[str], Path]
FIFO = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
PARTNER = "444455556666"  # an account, which a local broker takes from the access key


@pytest.fixture
def file(settings: Settings, tmp_path: Path) -> Use:
    return lambda text: use(settings, tmp_path, text)


def name() -> str:
    return f"Q-{uuid.uuid4().hex[:12]}.fifo"


def create(broker: LocalBroker, called: str, *, account: str = "test", region: str = "eu-west-1", **attributes: str) -> str:
    """A queue in an account and region; gives its URL."""
    client = boto3.client("sqs", endpoint_url=broker.url, region_name=region, aws_access_key_id=account, aws_secret_access_key="test")
    return client.create_queue(QueueName=called, Attributes={**FIFO, **attributes})["QueueUrl"]  # type: ignore[dict-item]


def bodies(broker: LocalBroker, called: str, *, account: str = "test", region: str = "eu-west-1") -> list[str]:
    """What waits in a queue, asked for by its owner."""
    client = boto3.client("sqs", endpoint_url=broker.url, region_name=region, aws_access_key_id=account, aws_secret_access_key="test")
    url = client.get_queue_url(QueueName=called)["QueueUrl"]
    return [message["Body"] for message in client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])]


def send(called: str, body: str) -> None:
    (answer,) = routes.open_queue(called).send([sqs.Outgoing(body, "g", uuid.uuid4().hex)])
    assert isinstance(answer, sqs.Sent), answer


# Where a queue is


def test_a_queue_of_another_account_is_opened_by_its_owner(broker: LocalBroker, file: Use) -> None:
    real = name()
    create(broker, real, account=PARTNER)
    file(f'[queues."FirmB.fifo"]\nqueue = "{real}"\nowner = "{PARTNER}"')

    send("FirmB.fifo", "hello")

    assert bodies(broker, real, account=PARTNER) == ["hello"]
    assert routes.open_queue("FirmB.fifo").name == "FirmB.fifo"


def test_a_queue_is_opened_by_its_url_wherever_the_environment_points(
    broker: LocalBroker, file: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = name()
    url = create(broker, real)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", CLOSED_PORT)
    file(f'[queues."There.fifo"]\nurl = "{url}"')

    send("There.fifo", "hello")

    assert bodies(broker, real) == ["hello"]


def test_a_queue_is_opened_in_its_region_at_its_endpoint(broker: LocalBroker, file: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    real = name()
    create(broker, real, region="us-east-2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", CLOSED_PORT)
    file(f'[queues."{real}"]\nregion = "us-east-2"\nendpoint = "{broker.url}"')

    send(real, "hello")

    assert bodies(broker, real, region="us-east-2") == ["hello"]


def test_a_profile_says_whose_credentials_are_used(broker: LocalBroker, file: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = name()
    create(broker, real, account=PARTNER)
    (tmp_path / "credentials").write_text(f"[repository]\naws_access_key_id = {PARTNER}\naws_secret_access_key = test\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    file(f'[queues."{real}"]\nprofile = "repository"\n[queues."Other.fifo"]\nprofile = "nobody"')

    send(real, "hello")

    assert bodies(broker, real, account=PARTNER) == ["hello"]
    with pytest.raises(sqs.QueueError, match=r"profile .nobody. could not be found.* name another profile in the queues file"):
        routes.open_queue("Other.fifo")


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/444455556666/A.fifo", "eu-central-1", "https://sqs.eu-central-1.amazonaws.com"),
        ("https://eu-west-2.queue.amazonaws.com/444455556666/A.fifo", "eu-west-2", "https://eu-west-2.queue.amazonaws.com"),
        ("https://queue.amazonaws.com/444455556666/A.fifo", "us-east-1", "https://queue.amazonaws.com"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/444455556666/A.fifo", "cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn"),
        ("https://sqs.eu-west-1.api.aws/444455556666/A.fifo", "eu-west-1", "https://sqs.eu-west-1.api.aws"),
        (
            "https://vpce-1a-2b.sqs.eu-west-1.vpce.amazonaws.com/1/A.fifo",
            "eu-west-1",
            "https://vpce-1a-2b.sqs.eu-west-1.vpce.amazonaws.com",
        ),
        ("http://127.0.0.1:4566/000000000000/A.fifo", "", "http://127.0.0.1:4566"),
    ],
)
def test_the_url_of_a_queue_tells_its_endpoint_and_its_region(file: Use, url: str, region: str, endpoint: str) -> None:
    file(f'[queues."A.fifo"]\nurl = "{url}"')

    place = routes.in_use().queues["A.fifo"].place

    assert (place.url, place.region, place.endpoint) == (url, region, endpoint)


VPC = "https://vpce-1a-2b.sqs.eu-west-1.vpce.amazonaws.com"  # that of our own region
OWN_BROKER = "http://127.0.0.1:4566"


@pytest.mark.parametrize(
    ("environment", "about", "asked", "said"),
    [
        (VPC, f'url = "https://sqs.eu-central-1.amazonaws.com/{PARTNER}/A.fifo"', "https://sqs.eu-central-1.amazonaws.com", ""),
        (VPC, 'region = "eu-central-1"', "https://sqs.eu-central-1.amazonaws.com", ""),
        (f"{VPC}:443/", 'region = "eu-central-1"', "https://sqs.eu-central-1.amazonaws.com", ""),
        ("https://sqs.eu-west-1.api.aws", 'region = "eu-central-1"', "https://sqs.eu-central-1.amazonaws.com", ""),
        (VPC, f'region = "eu-west-1"\nowner = "{PARTNER}"', VPC, VPC),
        (VPC, f'owner = "{PARTNER}"', VPC, VPC),
        (VPC, 'region = "eu-central-1"\nendpoint = "https://sqs.example.com"', "https://sqs.example.com", "https://sqs.example.com"),
        (OWN_BROKER, 'region = "eu-central-1"', OWN_BROKER, OWN_BROKER),
        ("", 'region = "eu-central-1"', "https://sqs.eu-central-1.amazonaws.com", ""),
    ],
)
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"])
def test_no_queue_of_another_region_is_asked_for_at_an_endpoint_of_ours(
    file: Use, monkeypatch: pytest.MonkeyPatch, variable: str, environment: str, about: str, asked: str, said: str
) -> None:
    for each in ("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(each)
    if environment:
        monkeypatch.setenv(variable, environment)
    file(f'[queues."A.fifo"]\n{about}')

    place = routes.in_use().queues["A.fifo"].place

    for client in (sqs.client(place=place), sqs.receiving_client(10, place)):
        assert client.meta.endpoint_url == asked
        assert client.meta.region_name == (place.region or "eu-west-1")
    assert place.words == (said or "Amazon SQS, region eu-central-1")


def test_a_queue_of_another_region_is_one_of_the_local_broker_where_the_environment_names_that(broker: LocalBroker, file: Use) -> None:
    real = name()
    create(broker, real, region="us-east-2")
    file(f'[queues."{real}"]\nregion = "us-east-2"')

    send(real, "hello")

    assert bodies(broker, real, region="us-east-2") == ["hello"]


@pytest.mark.django_db(transaction=True)
def test_a_worker_says_where_its_queue_is(broker: LocalBroker, file: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    real = name()
    create(broker, real, region="us-east-2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", CLOSED_PORT)
    file(f'[queues."{real}"]\nregion = "us-east-2"\nendpoint = "{broker.url}"\npartner = false')
    lines: list[str] = []

    consumer.run(real, consumer.Settings(wait=0, until_empty=True), threading.Event(), timezone.now, lines.append)

    assert lines == [f"ready: queue {real} at {broker.url}, 1 receiving, wait 0 s"]


def test_a_queue_that_says_it_is_a_standard_queue_is_refused(broker: LocalBroker, file: Use) -> None:
    real = name()
    url = create(broker, real, FifoQueue="false", ContentBasedDeduplication="false")
    file(f'[queues."There.fifo"]\nurl = "{url}"')

    with pytest.raises(queues.NotFifo, match=r"There.fifo is a standard queue: it keeps no order"):
        routes.open_queue("There.fifo")


def test_a_partners_queue_is_one_that_is_elsewhere_unless_the_file_says_otherwise(file: Use) -> None:
    file(
        '[queues."A.fifo"]\ndeduplication = "content"\n[queues."B.fifo"]\nowner = "444455556666"\n'
        '[queues."C.fifo"]\nregion = "eu-west-2"\npartner = false\n[queues."D.fifo"]\npartner = true'
    )

    assert [called for called in routes.known_queues() if routes.is_partners(called)] == ["B.fifo", "D.fifo"]
    assert [called for called in routes.known_queues() if routes.content_deduplication(called)] == ["A.fifo"]


def test_the_dead_letter_queue_is_none_of_those_that_are_consumed_as_any_other(file: Use, settings: Settings) -> None:
    file(f'[queues."{settings.TRADES_DEAD_LETTER_QUEUE}"]\ndeduplication = "content"')

    assert routes.own_queues() == [settings.TRADES_QUEUE]


# How much it takes


def test_the_limit_is_that_of_the_queue(broker: LocalBroker) -> None:
    small, large = name(), name()
    create(broker, small, MaximumMessageSize="262144")
    create(broker, large)

    assert (routes.limit_of(small), routes.limit_of(large)) == (262_144, 1_048_576)


def test_a_queue_is_asked_for_its_limit_once_in_a_while(broker: LocalBroker) -> None:
    called = name()
    url = create(broker, called, MaximumMessageSize="262144")
    assert routes.limit_of(called) == 262_144

    boto3.client("sqs", endpoint_url=broker.url).delete_queue(QueueUrl=url)

    assert routes.limit_of(called) == 262_144


def test_a_queue_that_does_not_answer_is_not_asked_each_time(file: Use) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        file(f'[queues."There.fifo"]\nurl = "http://127.0.0.1:{silent.getsockname()[1]}/1/There.fifo"')

        assert [routes.limit_of("There.fifo") for _ in range(3)] == [sqs.MAX_MESSAGE_BYTES] * 3

        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


# What a route may do to a trade


def warned() -> list[tuple[str, str]]:
    return [(str(message.id), str(message.msg)) for message in check_queues_file(None)]


def route(called: str, to: str, conditions: str = "") -> str:
    return f'[[routes]]\nname = "{called}"\nqueue = "{to}"\n{conditions}\n'


@pytest.mark.parametrize("condition", ['event_class = "CANCEL"', 'xpath = "self::a"', 'message_type = "*Retracted"', 'product = "swap"'])
def test_a_route_that_divides_a_trade_is_warned_of(file: Use, condition: str) -> None:
    file(route("some", "Some.fifo", condition))

    ((code, sentence),) = warned()
    assert code == "trades.W006"
    assert sentence == (
        f'TRADES_QUEUES_FILE: routes[1] ("some") sends to Some.fifo by {condition.partition(" ")[0]}, and other messages of the same trade '
        "may go to TradeStatus.fifo: SQS keeps no order between queues, so a later message may be recorded first."
    )


@pytest.mark.parametrize(
    "text",
    [
        route("fix", "Fix.fifo", 'dialect = "fixml"') + route("rest", "Rest.fifo"),
        route("here", "TradeStatus.fifo", 'event_class = "CANCEL"'),
        route("ends", "Fix.fifo", 'dialect = "fixml"\nevent_class = "CANCEL"') + route("fix", "Fix.fifo", 'dialect = "fixml"'),
        route("ends", "Q.fifo", 'event_class = "CANCEL"') + route("rest", "Q.fifo"),
        route("prices", "Prices.fifo", 'group = "p"\nmessage_type = "Mkt*"'),
    ],
)
def test_routes_that_keep_each_trade_together_are_not(file: Use, text: str) -> None:
    file(text)

    assert warned() == []


def test_a_route_of_a_dialect_that_is_not_in_use_is_warned_of(file: Use) -> None:
    file(route("fix", "Fix.fifo", 'dialect = ["fixlm", "fpml-5-confirmation", "acme*"]'))

    ((code, sentence),) = warned()
    assert code == "trades.W007"
    assert "routes[1].dialect is 'fixlm'; no dialect in use has that name" in sentence


@pytest.mark.parametrize(
    ("called", "expected"), [("Fix.fifo", 'routes[1] ("fix")'), ("TradeStatus.fifo", "The default"), ("Prices.fifo", "")]
)
def test_trade_events_for_a_queue_that_goes_by_the_content_are_warned_of(file: Use, called: str, expected: str) -> None:
    prices = route("prices", "Prices.fifo", 'group = "p"')
    file(route("fix", "Fix.fifo", 'dialect = "fixml"') + prices + f'[queues."{called}"]\ndeduplication = "content"')

    found = warned()

    assert [code for code, _ in found] == ["trades.W008"] * bool(expected)
    assert all(f"{expected} sends trade events to {called}" in sentence for _, sentence in found)


@pytest.mark.django_db
def test_a_cancellation_that_came_first_by_another_queue_ends_the_trade_all_the_same() -> None:
    late, early = native("T-1"), native("T-1", "CANCEL", 2)
    history.record([received(early, queue="Ends.fifo")], now=NOON, hold=True)
    assert "PENDING" in Event.objects.get().flags

    history.record([received(late, queue="Books.fifo")], now=NOON, hold=True)

    trade = Trade.objects.get()
    assert trade.state == "CANCELLED"
    events = trade.events.order_by("place").values_list("event_class", "position", "flags")
    assert list(events) == [("BOOK", 2, ["LATE"]), ("CANCEL", 1, [])]
