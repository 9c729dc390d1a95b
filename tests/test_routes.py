"""The queues file: what is said about one that cannot be used, and which message goes where."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from pytest_django.fixtures import Settings

from tests.messages.test_samples import SAMPLES, needs_samples, rows
from tests.support.native import native
from tests.support.processes import ROOT, Process
from tests.support.routing import FIX_BOOK, FPML_BOOK, PRICE, chosen, use
from trades import messages, routes
from trades.apps import check_queues_file
from trades.routes import specification

Use = Callable[[str], Path]
PAGE = ROOT / "docs" / "queues.md"
EXAMPLE, PARTNER = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
GOOD = """
[namespaces]
f = "http://www.fpml.org/FpML-5/confirmation"
[[routes]]
name = "swaps"
queue = "Swaps.fifo"
dialect = "fpml-*"
xpath = "f:trade/f:swap"
[[routes]]
name = "prices"
queue = "Prices.fifo"
group = "prices"
[queues."Prices.fifo"]
deduplication = "content"
[queues."Partner.fifo"]
owner = "123456789012"
"""


@pytest.fixture
def file(settings: Settings, tmp_path: Path) -> Use:
    return lambda text: use(settings, tmp_path, text)


def said(level: int = 0) -> list[str]:
    return [str(message.msg) for message in check_queues_file(None) if message.level >= level]


def went_to(text: str) -> tuple[str, str]:
    choice = chosen(text)
    assert choice
    return choice.queue, choice.route


# What is wrong with the file: old text -> new text, and the sentence.
FAULTS = [
    ("[namespaces]", "[namespaces", "Expected ']' at the end of a table declaration (at line 2, column 12); expected TOML."),
    ('name = "swaps"', "", "routes[1].name is missing."),
    ('name = "swaps"', "name = 7", "routes[1].name is 7; expected text of 1 to 60 characters."),
    ('name = "swaps"', 'name = "prices"', "routes[2].name is 'prices', as in routes[1]; expected another name."),
    ('queue = "Swaps.fifo"', "", "routes[1].queue is missing."),
    ('queue = "Swaps.fifo"', "queue = 7", "routes[1].queue is 7; expected the name of a FIFO queue, as text."),
    ('queue = "Swaps.fifo"', 'queue = "Swaps"', "routes[1].queue: "),
    ('queue = "Swaps.fifo"', 'queue = "S waps.fifo"', 'routes[1].queue: The queue name "S waps.fifo" cannot be a FIFO queue'),
    (
        'queue = "Swaps.fifo"',
        'queue = "TradeStatusDeadLetter.fifo"',
        "routes[1].queue is 'TradeStatusDeadLetter.fifo', the dead-letter queue",
    ),
    ('dialect = "fpml-*"', "dialect = 5", "routes[1].dialect is 5; expected a word, a pattern with *, or a list of them."),
    ('dialect = "fpml-*"', "dialect = []", "routes[1].dialect is []; expected a word"),
    (
        'dialect = "fpml-*"',
        'dialekt = "fpml-*"',
        "routes[1]: 'dialekt' is not known; expected one of dialect, event_class, group, group_xpath, ",
    ),
    ('dialect = "fpml-*"', 'event_class = ["BOOK", "NEW"]', "routes[1].event_class is 'NEW'; expected one of BOOK, UPDATE, "),
    ('"f:trade/f:swap"', "5", "routes[1].xpath is 5; expected an XPath, as text."),
    ('"f:trade/f:swap"', '"f:trade["', "routes[1].xpath is 'f:trade['; expected an XPath 1.0 expression ("),
    ('"f:trade/f:swap"', '"g:trade"', "routes[1].xpath: the prefix g is not in [namespaces]; expected one of f."),
    ('"f:trade/f:swap"', "\"document('x')\"", "routes[1].xpath: the function document is not taken; expected one of boolean, ceiling"),
    ('"f:trade/f:swap"', "\"f:matches(., 'x')\"", "routes[1].xpath: the function f:matches is not taken; expected the core functions"),
    ('"f:trade/f:swap"', '"$event/f:x[$top]"', "routes[1].xpath: the variable $top is not known; expected one of $root, $header"),
    ('"f:trade/f:swap"', '"sum(1) > 0"', "routes[1].xpath is 'sum(1) > 0'; expected one that can be evaluated ("),
    ('dialect = "fpml-*"\nxpath = "f:trade/f:swap"', "", None),
    ('group = "prices"', 'group = "two words"', "routes[2].group is 'two words'; expected a message group: up to 128 letters"),
    ('group = "prices"', 'group_xpath = "g:x"', "routes[2].group_xpath: the prefix g is not in [namespaces]"),
    ('group = "prices"', 'group = "p"\nproduct = "fx"', "routes[2].product: a route with a group is for messages about no trade"),
    (
        'group = "prices"',
        "[[routes]]\nname = 'x'\nqueue = 'X.fifo'",
        "routes[3] is never reached: routes[2] has no conditions and takes everyth",
    ),
    (
        'group = "prices"',
        'dialect = "fpml-*"\nxpath = "f:trade/f:swap"',
        "routes[2] is never reached: routes[1] has the same conditions; expected it before, or not at all.",
    ),
    (
        'deduplication = "content"',
        'deduplication = "off"',
        "queues.\"Prices.fifo\".deduplication is 'off'; expected one of explicit, content.",
    ),
    ('deduplication = "content"', 'partner = "yes"', "queues.\"Prices.fifo\".partner is 'yes'; expected true or false."),
    ('deduplication = "content"', 'color = "red"', "queues.\"Prices.fifo\": 'color' is not known; expected one of deduplication, endpoint"),
    ('"Prices.fifo"]', "Prices.fifo]", 'queues.Prices.fifo: a name with a dot needs quotation marks; expected [queues."Prices.fifo"].'),
    ('"Prices.fifo"]', '"Prices"]', 'queues."Prices": '),
    ('"123456789012"', "123456789012", 'queues."Partner.fifo".owner is 123456789012; expected the 12 digits of an AWS account, as text'),
    ('owner = "123456789012"', 'region = "EU"', "queues.\"Partner.fifo\".region is 'EU'; expected the name of an AWS region"),
    ('owner = "123456789012"', 'endpoint = "sqs"', "queues.\"Partner.fifo\".endpoint is 'sqs'; expected the URL of SQS there"),
    ('owner = "123456789012"', 'url = "sqs/x.fifo"', "queues.\"Partner.fifo\".url is 'sqs/x.fifo'; expected the URL of a queue"),
    ('owner = "123456789012"', 'url = "https://sqs.eu-west-1.amazonaws.com/1/Standard"', 'queues."Partner.fifo".url: '),
    ('owner = "', 'url = "https://h/1/P.fifo"\nowner = "', 'queues."Partner.fifo".owner is beside url, which says it already'),
    (
        'owner = "123456789012"',
        'queue = "Ours.fifo"',
        "queues.\"Partner.fifo\".queue is 'Ours.fifo', a queue of our own; expected its place",
    ),
    (
        '[queues."Partner.fifo"]',
        '[queues."Again.fifo"]\nqueue = "Partner.fifo"\nowner = "123456789012"\n[queues."Partner.fifo"]',
        'queues."Partner.fifo" is the same queue as queues."Again.fifo"; expected one name for it',
    ),
    ("[namespaces]", "[names]\n[namespaces]", "'names' is not known; expected one of namespaces, queues, routes."),
]


@pytest.mark.parametrize(("old", "new", "sentence"), FAULTS)
def test_every_fault_is_told_with_file_and_key(file: Use, old: str, new: str, sentence: str | None) -> None:
    assert old in GOOD
    file(GOOD.replace(old, new, 1))

    found = said(40)

    if sentence is None:
        assert found == []
    else:
        assert any(fault.startswith(f"TRADES_QUEUES_FILE: queues.toml: {sentence}") for fault in found), found
        with pytest.raises(routes.BadQueuesFile):
            routes.choose(None, "<a/>")


def test_all_faults_are_told_at_once(file: Use) -> None:
    file(GOOD.replace('"fpml-*"', "5").replace('"content"', '"off"').replace('"f:trade', '"g:trade'))

    assert len(said(40)) == 3


def test_what_goes_together_is_told_beside_what_each_key_holds(file: Use) -> None:
    """One run names a wrong key, a route never reached, a name twice, an XPath that fails, an alias of our own, and an unknown dialect."""
    text = GOOD.replace('name = "swaps"', 'name = "prices"').replace('"f:trade/f:swap"', '"sum(1) > 0"').replace('"content"', '"off"')
    text += 'queue = "Ours.fifo"\n' + "".join(f"[[routes]]\nname = 'r{n}'\nqueue = 'R.fifo'\ndialect = 'fixlm'\n" for n in (3, 4))
    file(text.replace('owner = "123456789012"\n', ""))

    faults, warned = said(40), [sentence for sentence in said() if sentence not in said(40)]

    assert sorted(fault.removeprefix("TRADES_QUEUES_FILE: queues.toml: ").split(";")[0] for fault in faults) == [
        "queues.\"Partner.fifo\".queue is 'Ours.fifo', a queue of our own",
        "queues.\"Prices.fifo\".deduplication is 'off'",
        "routes[1].xpath is 'sum(1) > 0'",
        "routes[2].name is 'prices', as in routes[1]",
        "routes[4] is never reached: routes[3] has the same conditions",
    ]
    assert [sentence.split(";")[0] for sentence in warned] == [f"TRADES_QUEUES_FILE: routes[{n}].dialect is 'fixlm'" for n in (3, 4)]


def test_a_misspelt_condition_makes_no_later_route_look_out_of_reach(file: Use) -> None:
    file(GOOD.replace('dialect = "fpml-*"\nxpath = "f:trade/f:swap"', 'dialekt = "fpml-*"') + "[[routes]]\nname = 'x'\nqueue = 'X.fifo'\n")

    (fault,) = said()
    assert "'dialekt' is not known" in fault


def test_no_dialect_is_called_unknown_while_those_of_the_firm_can_t_be_read(file: Use, settings: Settings, tmp_path: Path) -> None:
    settings.TRADES_DIALECTS_DIR = str(tmp_path / "none")
    file(GOOD.replace('"fpml-*"', '"acme"').replace('"content"', '"off"'))

    assert ["off" in sentence for sentence in said()] == [True]


def test_a_file_that_is_no_text_and_one_that_is_not_there_are_told(file: Use, settings: Settings) -> None:
    file("").write_bytes(b"\xff\xfe")
    assert said() == ["TRADES_QUEUES_FILE: queues.toml: byte 1 is not UTF-8; expected a TOML file, which is in UTF-8."]

    settings.TRADES_QUEUES_FILE = "/no/such/queues.toml"
    assert said() == ["TRADES_QUEUES_FILE: /no/such/queues.toml: No such file or directory; expected a file that can be read."]


def test_neither_commands_nor_the_web_server_start_with_a_file_that_cannot_be_used(file: Use) -> None:
    path = file(GOOD.replace('"fpml-*"', "5"))

    with pytest.raises(SystemCheckError, match=r"queues.toml: routes\[1\].dialect is 5; expected a word"):
        call_command("check", stdout=io.StringIO())
    with Process(
        *(str(ROOT / ".venv/bin/python"), "-c", "import tradeportal.wsgi"), environment={"TRADES_QUEUES_FILE": str(path)}
    ) as server:
        assert server.wait() == 1
    assert server.lines[-1].endswith("queues.toml: routes[1].dialect is 5; expected a word, a pattern with *, or a list of them.")


def test_the_file_is_read_once_in_a_process(file: Use) -> None:
    path = file(GOOD)
    first = routes.in_use()

    path.write_text("broken")

    assert routes.in_use() is first


# docs/queues.md


def test_the_example_of_the_page_can_be_used_as_it_is(file: Use) -> None:
    file(EXAMPLE)

    assert said() == []
    assert routes.known_queues() == ["TradeStatus.fifo", "FpmlTrades.fifo", "FixTrades.fifo", "Prices.fifo", "Repository.fifo"]
    assert [name for name in routes.known_queues() if routes.is_partners(name)] == ["Repository.fifo"]
    assert [name for name in routes.known_queues() if routes.content_deduplication(name)] == ["Prices.fifo"]
    assert [went_to(text)[1] for text in (native(), FPML_BOOK, FIX_BOOK, PRICE)] == ["", "fpml", "fix", "prices"]
    assert chosen(PRICE) == routes.Choice("Prices.fifo", "prices", "EURUSD")


@needs_samples
def test_the_example_of_the_page_routes_real_messages_by_their_kind(file: Use) -> None:
    file(EXAMPLE)
    expected = {"fpml": "FpmlTrades.fifo", "fixml": "FixTrades.fifo", "iso20022": "Repository.fifo"}
    found: dict[str, int] = {}

    for row in (row for row in rows() if row["expect"] == "event"):
        for part in messages.prepare((SAMPLES / row["file"]).read_bytes()):
            if part.message and part.message.events:
                choice = routes.choose(part.message, part.text)
                assert choice
                assert choice.queue == expected.get(part.message.dialect.split("-")[0], "TradeStatus.fifo"), row["file"]
                found[choice.queue] = found.get(choice.queue, 0) + 1

    assert min(found[queue] for queue in expected.values()) >= 1
    assert sum(found.values()) > 60


def test_the_partners_of_the_page_are_published_to_and_never_consumed(file: Use) -> None:
    file(PARTNER)

    assert said() == []
    assert routes.is_partners("FirmB.fifo")
    assert not routes.is_partners("TradeStatus.fifo")


def test_the_page_names_every_key_and_class() -> None:
    page = PAGE.read_text("utf-8")
    route, queue = (
        {"name", "queue", *specification.CONDITIONS, "group", "group_xpath"},
        {"deduplication", "partner", "url", *specification.PLACE},
    )

    assert [key for key in sorted(route | queue) if f"`{key}`" not in page] == []
    assert [word for word in messages.EventClass if word not in page] == []
