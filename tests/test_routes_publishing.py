"""Routes at work: what is handed in goes to the queues of its routes, and each queue's own worker records it."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from tests.messages.documents import fpml, trade
from tests.support.broker import FifoQueue
from tests.support.native import NOON, native, several
from tests.support.processes import Process
from tests.support.routing import FIX_BOOK, FPML_BOOK, PRICE, use
from trades import deciding, foretelling, handing_in, publishing, sending
from trades.handing_in import IncomingDocument
from trades.models import Draft, Event, Message, Publication, Refusal, Upload
from trades.portal.broker import LocalBroker

pytestmark = pytest.mark.django_db
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Servers:
    """Queues of three processing servers and of prices, with the file that routes to them."""

    def __init__(self, broker: LocalBroker, ours: str) -> None:
        self.client = boto3.client("sqs", endpoint_url=broker.url)
        self.ours = ours
        self.fpml, self.fix, self.prices = (f"{word}-{uuid.uuid4().hex[:12]}.fifo" for word in ("Fpml", "Fix", "Prices"))
        for name in (self.fpml, self.fix, self.prices):
            self.client.create_queue(QueueName=name, Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})
        self.file = (
            f'[[routes]]\nname = "fpml"\nqueue = "{self.fpml}"\ndialect = "fpml-*"\n'
            f'[[routes]]\nname = "fix"\nqueue = "{self.fix}"\ndialect = "fixml"\n'
            f'[[routes]]\nname = "prices"\nqueue = "{self.prices}"\ngroup_xpath = "*/f:Instrmt/@ID"\n'
            f'[namespaces]\nf = "*"\n[queues."{self.prices}"]\ndeduplication = "content"\n'
        )

    def received(self, name: str) -> list[tuple[str, str]]:
        """(body, group) of what waits in a queue."""
        answer = self.client.receive_message(
            QueueUrl=self.client.get_queue_url(QueueName=name)["QueueUrl"], MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        return [(message["Body"], message["Attributes"]["MessageGroupId"]) for message in answer.get("Messages", [])]


@pytest.fixture
def servers(queue: FifoQueue, broker: LocalBroker, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Servers:
    servers = Servers(broker, queue.name)
    monkeypatch.setenv("TRADES_QUEUES_FILE", str(use(settings, tmp_path, servers.file)))
    return servers


def publish(*texts: str, queue: str | None = None) -> Upload:
    documents = [IncomingDocument(f"{number}.xml", text.encode()) for number, text in enumerate(texts)]
    return publishing.publish(documents, source=Upload.Source.COMMAND, user=None, clock=timezone.now, queue=queue)


def test_each_message_goes_to_the_queue_of_its_route(servers: Servers) -> None:
    publish(several(native("T-1"), native("T-2")), FPML_BOOK, FIX_BOOK, PRICE)

    rows = Publication.objects.order_by("id").values_list("queue", "route", "group_id", "state")
    assert list(rows) == [
        (servers.ours, "", "T-1", "SENT"),
        (servers.ours, "", "T-2", "SENT"),
        (servers.fpml, "fpml", "F-1", "SENT"),
        (servers.fix, "fix", "100007", "SENT"),
        (servers.prices, "prices", "EURUSD", "SENT"),
    ]
    assert servers.received(servers.fpml) == [(FPML_BOOK, "F-1")]
    assert servers.received(servers.fix) == [(FIX_BOOK, "100007")]
    assert servers.received(servers.prices) == [(PRICE, "EURUSD")]
    assert [group for _, group in servers.received(servers.ours)] == ["T-1", "T-2"]


def test_a_queue_that_is_named_gets_everything_and_no_route_is_asked(servers: Servers) -> None:
    publish(native("T-1"), FPML_BOOK, PRICE, queue=servers.fix)

    assert list(Publication.objects.order_by("id").values_list("queue", "route")) == [(servers.fix, ""), (servers.fix, "")]
    assert Refusal.objects.get().code == "reference"


def test_a_message_about_no_trade_is_refused_with_the_way_to_publish_it(queue: FifoQueue) -> None:
    publish(PRICE)

    refusal = Refusal.objects.get()
    assert (refusal.code, Publication.objects.count()) == ("reference", 0)
    assert refusal.reason.startswith("Market or reference data, not about one trade. It is kept with the upload and not published")
    assert "A route with a group publishes such messages (docs/queues.md)" in refusal.reason


def test_a_publication_knows_its_size_its_trace_and_its_deduplication_id(servers: Servers) -> None:
    upload = publishing.begin(source=Upload.Source.COMMAND, user=None, now=NOON, traceparent=TRACEPARENT)
    documents = [IncomingDocument("book.xml", native("T-1").encode()), IncomingDocument("price.xml", PRICE.encode())]

    publishing.store(upload, documents, now=NOON)

    book, price = Publication.objects.order_by("id")
    assert (book.deduplication_id, price.deduplication_id) == (book.publication_id.hex, "")
    assert {book.traceparent, price.traceparent} == {TRACEPARENT}
    for row in (book, price):
        outgoing = handing_in.outgoing(row.body, row.group_id, row.deduplication_id, row.publication_id, row.traceparent)
        assert row.size == outgoing.size


def test_a_queue_that_is_away_holds_up_only_what_is_for_it(servers: Servers, settings: Settings, tmp_path: Path) -> None:
    partner = '[[routes]]\nname = "b"\nqueue = "FirmB.fifo"\ndialect = "native"\n[queues."FirmB.fifo"]\nurl = "http://127.0.0.1:9/1/B.fifo"'
    use(settings, tmp_path, servers.file.replace("[namespaces]", f"{partner}\n[namespaces]"))

    publish(native("T-1"), FPML_BOOK)

    rows = Publication.objects.order_by("id").values_list("queue", "state")
    assert list(rows) == [("FirmB.fifo", "PENDING"), (servers.fpml, "SENT")]
    assert "nothing answers at http://127.0.0.1:9" in Publication.objects.get(queue="FirmB.fifo").last_error
    assert sending.waiting_queues() == ["FirmB.fifo"]


def test_drafts_have_their_routes_and_a_decision_sends_to_every_queue(servers: Servers) -> None:
    user = User.objects.create_user("otto")
    upload = handing_in.begin(source=Upload.Source.WEB, user=user, now=NOON, stage=Upload.Stage.REVIEW)
    texts = [native("T-1"), FPML_BOOK, PRICE, native("T-1", "UPDATE", 2)]
    documents = [IncomingDocument(f"{number}.xml", text.encode(), position=number) for number, text in enumerate(texts, start=1)]
    handing_in.keep_for_review(upload, handing_in.read(documents, now=NOON))
    drafts = Draft.objects.order_by("document__position")
    assert [(draft.queue, draft.route) for draft in drafts] == [
        (servers.ours, ""),
        (servers.fpml, "fpml"),
        (servers.prices, "prices"),
        (servers.ours, ""),
    ]
    foretelling.check(upload, now=NOON)
    assert [(draft.effect or {})["outcome"] for draft in drafts.all()] == ["RECORDED", "RECORDED", "REFERENCE", "RECORDED"]

    deciding.decide(upload, deciding.Choice.ALL, user=user, clock=timezone.now)

    rows = Publication.objects.order_by("id").values_list("queue", "route", "group_id", "state")
    assert list(rows) == [
        (servers.ours, "", "T-1", "SENT"),
        (servers.fpml, "fpml", "F-1", "SENT"),
        (servers.prices, "prices", "EURUSD", "SENT"),
        (servers.ours, "", "T-1", "SENT"),
    ]


# Content-based deduplication


def test_of_a_b_and_a_again_the_queue_of_prices_delivers_two(servers: Servers) -> None:
    other = PRICE.replace("1.0871", "1.0872")

    publish(PRICE, other, PRICE)

    first, second, again = Publication.objects.order_by("id")
    assert [body for body, _ in servers.received(servers.prices)] == [PRICE, other]
    assert first.message_id == again.message_id != second.message_id
    assert [row.swallowed for row in (first, second, again)] == [False, False, True]


def test_of_a_b_and_a_again_a_queue_of_trades_delivers_all(servers: Servers) -> None:
    first, second = native("T-1", "UPDATE", 1), native("T-1", "UPDATE", 2)

    publish(first, second, first)

    assert [row.swallowed for row in Publication.objects.all()] == [False, False, False]
    assert len(set(Publication.objects.values_list("message_id", flat=True))) == 3


# From the terminal, and end to end


def test_publish_trades_goes_by_the_routes_unless_a_queue_is_named(servers: Servers, tmp_path: Path) -> None:
    for number, text in enumerate((native("T-1"), FPML_BOOK, PRICE)):
        (tmp_path / f"{number}.xml").write_text(text)
    files = sorted(str(path) for path in tmp_path.glob("*.xml"))
    printed = io.StringIO()

    call_command("publish_trades", *files, "--json", stdout=printed)
    assert [json.loads(line)["state"] for line in printed.getvalue().splitlines()] == ["SENT"] * 3
    call_command("publish_trades", *files[:2], "--queue", servers.fix, stdout=printed)

    queues = [servers.ours, servers.fpml, servers.prices, servers.fix, servers.fix]
    assert list(Publication.objects.order_by("id").values_list("queue", flat=True)) == queues


def test_a_partners_queue_that_does_not_exist_holds_up_only_what_is_for_it(servers: Servers, settings: Settings, tmp_path: Path) -> None:
    use(settings, tmp_path, servers.file.replace(servers.fix, "Partner.fifo") + '[queues."Partner.fifo"]\npartner = true\n')
    files = [tmp_path / "1.xml", tmp_path / "2.xml"]
    for file, text in zip(files, (native("T-1"), FIX_BOOK), strict=True):
        file.write_text(text)

    with pytest.raises(CommandError, match="Not everything was published"):
        call_command("publish_trades", *map(str, files), stdout=io.StringIO())

    assert Publication.objects.get(queue=servers.ours).state == "SENT"
    waiting = Publication.objects.get(queue="Partner.fifo")
    assert (waiting.state, waiting.attempts) == ("PENDING", 1)
    assert "does not exist" in waiting.last_error


def test_a_queue_that_is_away_does_not_hide_one_of_ours_that_does_not_exist(servers: Servers, settings: Settings, tmp_path: Path) -> None:
    away = '[queues."Away.fifo"]\nendpoint = "http://127.0.0.1:9"\npartner = false\n'
    use(settings, tmp_path, servers.file.replace(servers.fpml, "Away.fifo").replace(servers.fix, "Missing.fifo") + away)
    (tmp_path / "1.xml").write_text(native("T-1"))

    with pytest.raises(CommandError, match=r"Missing\.fifo: the queue does not exist"):
        call_command("publish_trades", str(tmp_path / "1.xml"))

    assert not Upload.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_upload_is_recorded_by_the_workers_of_three_queues(
    servers: Servers, shared_database: str, command: Callable[..., Process]
) -> None:
    update = fpml("executionAdvice", trade("F-2"))
    publish(several(native("T-1"), native("T-1", "UPDATE", 2)), FPML_BOOK, FIX_BOOK, update, PRICE)
    names = [servers.ours, servers.fpml, servers.fix]

    workers = [command("consume_trades", "--queue", name, "--until-empty", "--wait", "1") for name in names]

    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    recorded = Event.objects.order_by("message__queue", "id").values_list("message__queue", "trade__trade_id", "event_class")
    assert sorted(recorded) == sorted(
        [
            (servers.ours, "T-1", "BOOK"),
            (servers.ours, "T-1", "UPDATE"),
            (servers.fpml, "F-1", "BOOK"),
            (servers.fpml, "F-2", "BOOK"),
            (servers.fix, "100007", "BOOK"),
        ]
    )
    prices = command("consume_trades", "--queue", servers.prices, "--until-empty", "--wait", "1")
    assert prices.wait(60) == 0
    assert list(Message.objects.filter(queue=servers.prices).values_list("outcome", "group_id")) == [("REFERENCE", "EURUSD")]


def test_a_partners_queue_is_published_to_and_never_consumed(servers: Servers, settings: Settings, tmp_path: Path) -> None:
    use(settings, tmp_path, f'{servers.file}\n[queues."{servers.fix}"]\npartner = true')

    publish(FIX_BOOK)

    assert servers.received(servers.fix) == [(FIX_BOOK, "100007")]
    with pytest.raises(CommandError, match=f"{servers.fix} is a partner's queue: we publish to it"):
        call_command("consume_trades", "--queue", servers.fix, "--until-empty")
