"""Which message goes to which queue: against real documents, and against a naive reading of the routes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from lxml import etree
from pytest_django.fixtures import Settings

from tests.messages.documents import fpml, identified
from tests.messages.test_samples import SAMPLES, rows
from tests.support.native import native
from tests.support.routing import FIX_BOOK, FPML_BOOK, PRICE, chosen, use
from trades import messages, routes
from trades.routes import specification
from trades.routes.file import _table
from trades.routes.table import Opened

Use = Callable[[str], Path]
DOCUMENTS = {"fix": FIX_BOOK, "fpml": FPML_BOOK, "update": native("T-1", "UPDATE", 2), "cancel": native("T-2", "CANCEL")}


@pytest.fixture
def file(settings: Settings, tmp_path: Path) -> Use:
    return lambda text: use(settings, tmp_path, text)


def went_to(text: str) -> tuple[str, str]:
    choice = chosen(text)
    assert choice
    return choice.queue, choice.route


# Which message goes where


def test_without_a_file_everything_goes_to_the_portals_queue(settings: Settings) -> None:
    settings.TRADES_QUEUE = "Ours.fifo"

    assert [chosen(text) for text in (native(), FPML_BOOK, FIX_BOOK)] == [routes.Choice("Ours.fifo")] * 3
    assert chosen(PRICE) is None
    assert routes.known_queues() == ["Ours.fifo"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ('dialect = "fixml"', "fix"),
        ('dialect = ["fixml", "native"]', "fix update cancel"),
        ('dialect = "fpml-5-*"', "fpml"),
        ('message_type = "execution?dvice"', "fpml"),
        ('event_class = "BOOK"', "fix fpml"),
        ('event_class = ["BOOK", "CANCEL"]', "fix fpml cancel"),
        ('product = "sw*"', "fpml"),
        ('product = "*"', "fix fpml update cancel"),
        ('xpath = "f:trade/f:swap"', "fpml"),
        ("xpath = \"starts-with(f:header/f:messageId, 'M-')\"", "fpml"),
        ('xpath = "count(//@*) > 8"', "fix"),
        ('xpath = "n:TradeId"', "update cancel"),
        ('xpath = "count(//@none)"', ""),
        ('xpath = "n:TradeId | f:trade"', "fpml update cancel"),
        ('xpath = "true()"', "fix fpml update cancel"),
        ('xpath = "f:nothing"', ""),
        ('dialect = "native"\nevent_class = "CANCEL"', "cancel"),
        ('dialect = "fixml"\nevent_class = "CANCEL"', ""),
    ],
)
def test_all_conditions_of_a_route_must_hold(file: Use, conditions: str, expected: str) -> None:
    namespaces = '[namespaces]\nf = "http://www.fpml.org/FpML-5/confirmation"\nn = "*"'
    file(f'{namespaces}\n[[routes]]\nname = "it"\nqueue = "It.fifo"\n{conditions}')

    taken = [name for name, text in DOCUMENTS.items() if went_to(text) == ("It.fifo", "it")]

    assert taken == expected.split()


def test_the_first_route_that_fits_has_the_message(file: Use) -> None:
    file(
        '[[routes]]\nname = "fix"\nqueue = "Fix.fifo"\ndialect = "fixml"\n'
        '[[routes]]\nname = "books"\nqueue = "Books.fifo"\nevent_class = "BOOK"\n'
        '[[routes]]\nname = "rest"\nqueue = "Rest.fifo"\n'
    )

    assert [went_to(text)[1] for text in (FIX_BOOK, FPML_BOOK, native("T-1", "CANCEL"))] == ["fix", "books", "rest"]
    assert routes.known_queues() == ["TradeStatus.fifo", "Fix.fifo", "Books.fifo", "Rest.fifo"]


def test_a_prefix_may_stand_for_the_namespace_of_the_message_whichever_it_is(file: Use) -> None:
    file('[namespaces]\nf = "*"\n[[routes]]\nname = "it"\nqueue = "It.fifo"\nxpath = "f:header/f:messageId"')
    body = f"<originatingEvent>Trade</originatingEvent>{identified('tradeIdentifier')}"

    views = [fpml("executionAdvice", body, view=view) for view in ("confirmation", "reporting", "recordkeeping")]

    assert [routes.choose(None, text) for text in views] == [routes.Choice("It.fifo", "it")] * 3


def test_an_xpath_starts_at_the_message_inside_its_envelope(file: Use) -> None:
    file('[namespaces]\nf = "*"\n[[routes]]\nname = "it"\nqueue = "It.fifo"\nxpath = "f:trade/f:swap"')
    envelope = f'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>{FPML_BOOK}</e:Body></e:Envelope>'

    assert went_to(envelope) == ("It.fifo", "it")


def test_a_large_document_is_read_from_its_file(file: Use, tmp_path: Path) -> None:
    file('[namespaces]\nf = "*"\n[[routes]]\nname = "it"\nqueue = "It.fifo"\nxpath = "f:trade/f:swap"')
    filler = "<!-- -->" * 200_000
    source = FPML_BOOK.replace("<swap/>", f"{filler}<swap/>").encode()
    large = messages.write_text([source], tmp_path / "large.xml", max_bytes=64 * 1024 * 1024)

    assert large.size > 1024 * 1024
    assert chosen(large) == routes.Choice("It.fifo", "it")


def test_the_document_is_read_again_only_when_an_xpath_asks(file: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    file(
        '[[routes]]\nname = "x"\nqueue = "X.fifo"\ndialect = "fixml"\nxpath = "*"\n[[routes]]\nname = "y"\nqueue = "Y.fifo"\nxpath = "*/*"'
    )
    (part,) = messages.prepare(native().encode())
    routes.in_use()
    read: list[Any] = []
    monkeypatch.setattr(messages, "read", lambda document, **_: read.append(document) or etree.fromstring(document))

    routes.choose(part.message, part.text)
    assert len(read) == 1  # not for the route whose dialect is another; once for the other

    file('[[routes]]\nname = "x"\nqueue = "X.fifo"\ndialect = "native"')
    routes.choose(part.message, part.text)
    assert len(read) == 1


def test_what_is_not_understood_is_taken_by_xpath_or_without_conditions_alone(file: Use) -> None:
    file(
        '[[routes]]\nname = "dialect"\nqueue = "D.fifo"\ndialect = "*"\n'
        '[[routes]]\nname = "xpath"\nqueue = "X.fifo"\nxpath = "self::deal"\n'
        '[[routes]]\nname = "prices"\nqueue = "P.fifo"\ngroup = "g"\n'
    )

    assert routes.choose(None, "<deal/>") == routes.Choice("X.fifo", "xpath")
    assert routes.choose(None, "no XML at all") == routes.Choice("TradeStatus.fifo")


def test_an_xpath_that_fails_on_a_document_refuses_it(file: Use) -> None:
    file('[[routes]]\nname = "odd"\nqueue = "X.fifo"\nxpath = "self::deal[sum(1)]"')

    with pytest.raises(messages.MessageRefused, match='The XPath of the route "odd" fails on this message') as refusal:
        routes.choose(None, "<deal/>")
    assert refusal.value.code == "route-failed"


# Messages about no trade


def test_a_message_about_no_trade_needs_a_route_with_a_group(file: Use) -> None:
    file('[[routes]]\nname = "all"\nqueue = "All.fifo"\ndialect = "*"')
    assert chosen(PRICE) is None

    file('[[routes]]\nname = "prices"\nqueue = "Prices.fifo"\ngroup = "prices"\nmessage_type = "Mkt*"')
    assert chosen(PRICE) == routes.Choice("Prices.fifo", "prices", "prices")
    assert chosen(FIX_BOOK) == routes.Choice("TradeStatus.fifo")


@pytest.mark.parametrize(
    ("keys", "group"),
    [
        ('group_xpath = "*/f:Instrmt/@ID"', "EURUSD"),
        ('group_xpath = "*/f:Instrmt/@ID"\ngroup = "prices"', "EURUSD"),
        ('group_xpath = "*/f:Instrmt/@Sym"\ngroup = "prices"', "prices"),
        ('group_xpath = "*/f:Instrmt/@Sym"', None),
        ("group_xpath = \"concat(*/f:Instrmt/@ID, ' spot')\"", "sha256-" + hashlib.sha256(b"EURUSD spot").hexdigest()),
    ],
)
def test_the_group_is_taken_from_the_document(file: Use, keys: str, group: str | None) -> None:
    file(f'[namespaces]\nf = "*"\n[[routes]]\nname = "prices"\nqueue = "Prices.fifo"\n{keys}')

    choice = chosen(PRICE)

    assert (choice.group if choice else None) == group


# Against a naive reading, and real documents


WORDS = {
    "dialect": ["fixml", "fpml-5-*", "fpml-5-confirmation", "native", "*", "iso20022"],
    "message_type": ["executionAdvice", "TrdCaptRpt", "Trade*", "*Retracted", "requestConfirmation", "auth.030.*"],
    "event_class": ["BOOK", "CANCEL", "UPDATE", "STATUS", "CORRECT"],
    "product": ["swap", "*CLM6*", "Credit:*", "fx*"],
}
XPATHS = {"f:trade": "trade", "f:header": "header", "f:TrdCaptRpt": "TrdCaptRpt", "f:TradeId": "TradeId"}
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        key: st.one_of(st.sampled_from(words), st.lists(st.sampled_from(words), min_size=1, max_size=3)) for key, words in WORDS.items()
    }
    | {"xpath": st.sampled_from(list(XPATHS))},
)


@cache
def understood() -> list[tuple[messages.ParsedMessage, str]]:
    """Messages of all kinds, and the real ones where they are."""
    made = [*DOCUMENTS.values(), native("T-3", "STATUS", status="MATCHED")]
    found = [text.encode() for text in made] + [(SAMPLES / row["file"]).read_bytes() for row in rows() if row["expect"] == "event"]
    parts = [part for document in found for part in messages.prepare(document)]
    return [(part.message, part.text) for part in parts if part.message and part.message.events and "<!DOCTYPE" not in part.text]


def naively(conditions: dict[str, Any], message: messages.ParsedMessage, text: str) -> bool:
    for key, wanted in conditions.items():
        words = wanted if isinstance(wanted, list) else [wanted]
        if key == "xpath":
            root = etree.fromstring(text.encode())
            if not [child for child in root.iterchildren("*") if etree.QName(child).localname == XPATHS[wanted]]:
                return False
            continue
        found = {
            "dialect": [message.dialect],
            "message_type": [message.message_type],
            "event_class": [str(event.event_class) for event in message.events],
            "product": [str(event.details.get("product", "")) for event in message.events],
        }[key]
        if not [1 for word in words for value in found if fnmatchcase(value, word)]:
            return False
    return True


@bounded(max_examples=12, deadline=None)
@given(tables=st.lists(CONDITIONS, min_size=1, max_size=6))
def test_routes_choose_as_a_naive_reading_of_them_does(tables: list[dict[str, Any]]) -> None:
    spec = {
        "namespaces": {"f": "*"},
        "routes": [{"name": f"r{number}", "queue": f"Q{number}.fifo", **conditions} for number, conditions in enumerate(tables)],
    }
    assert [fault for fault in specification.faults(spec) if "never reached" not in fault] == []
    table = _table(spec)

    for message, text in understood():
        expected = next(
            (f"Q{number}.fifo" for number, conditions in enumerate(tables) if naively(conditions, message, text)), "Default.fifo"
        )
        choice = table.choose(message, Opened(text, messages.MAX_BYTES), "Default.fifo")
        assert (choice.queue if choice else "") == expected, (message.message_type, tables)
