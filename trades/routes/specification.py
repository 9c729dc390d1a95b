"""What a queues file may hold.

Every fault is one sentence: the key ("routes[2].xpath", counted from 1), what it holds, what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from trades import sqs
from trades.messages import checks, specification
from trades.messages.checks import Check, Faults
from trades.messages.facts import EventClass

MAX_NAME = 60  # characters of a route's name, which is kept with each message
MAX_WORDS = 200  # of one condition
EXPLICIT, BY_CONTENT = "explicit", "content"
WORDS = ("dialect", "message_type", "product")
CONDITIONS = (*WORDS, "event_class", "xpath")
OF_TRADES = ("event_class", "product")  # what a message about no trade does not have
PLACE = ("owner", "region", "endpoint", "profile", "queue")
# The region in the address of a queue of AWS: of today, of long ago, through a VPC endpoint, over IPv6.
_AWS_HOST = re.compile(
    r"(?:[\w.-]+\.)?sqs\.(?P<region>[a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)"
    r"|(?P<old>[a-z0-9-]+)\.queue\.amazonaws\.com(?:\.cn)?|(?P<oldest>queue)\.amazonaws\.com"
)
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d+")
_OWNER = re.compile(r"[0-9]{12}")


def faults(spec: Mapping[str, Any], *, dead_letters: str = "") -> list[str]:
    """What is wrong with a queues file that is TOML: a sentence for each fault. `dead_letters` is the dead-letter queue, which is for
    SQS alone to send to."""
    route, queue = _keys(spec, dead_letters)
    found = [
        *_whole(route, queue)("", spec),
        *_repeated_names(spec),
        *_unreachable(spec, checks.table({**route, "name": _anything, "queue": _anything})),
        *_unfit_groups(spec),
        *_unfit_places(spec, checks.table(queue)),
    ]
    return list(dict.fromkeys(found))


def routes_of(spec: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each route that is a table, with its number, whatever it holds."""
    routes = spec.get("routes")
    for number, route in enumerate(routes if isinstance(routes, list) else [], 1):
        if isinstance(route, dict):
            yield number, route


def xpath_check(spec: Mapping[str, Any]) -> Check:
    """The check of an XPath that uses the prefixes of this file."""
    namespaces = spec.get("namespaces")
    return specification.xpath(namespaces if isinstance(namespaces, dict) else {})


def place_of(url: str) -> tuple[str, str]:
    """The region and the endpoint that the address of a queue tells; "" for what it does not. A queue is asked nowhere but at its own
    address: an endpoint of the environment is another place."""
    parts = urlsplit(url)
    aws = _AWS_HOST.fullmatch(parts.hostname or "")
    region = aws["region"] or aws["old"] or "us-east-1" if aws else ""
    return region, f"{parts.scheme}://{parts.netloc}" if url else ""


def _keys(spec: Mapping[str, Any], dead_letters: str) -> tuple[dict[str, Check], dict[str, Check]]:
    """The checks of the keys of a route, and of a queue."""
    xpath = xpath_check(spec)
    route: dict[str, Check] = {
        **dict.fromkeys(WORDS, _words),
        "name": checks.short(MAX_NAME),
        "queue": _queue_unless(dead_letters),
        "event_class": _event_classes,
        "xpath": xpath,
        "group": _group,
        "group_xpath": xpath,
    }
    queue: dict[str, Check] = {
        "deduplication": checks.one_of(EXPLICIT, BY_CONTENT),
        "partner": checks.switch,
        "url": _url,
        "owner": _owner,
        "region": _region,
        "endpoint": _endpoint,
        "profile": checks.short(MAX_WORDS),
        "queue": _queue,
    }
    return route, queue


def _whole(route: Mapping[str, Check], queue: Mapping[str, Check]) -> Check:
    return checks.table(
        {
            "namespaces": checks.each(checks.text),
            "routes": checks.list_of(checks.table(route, required=("name", "queue"))),
            "queues": _named(checks.table(queue)),
        }
    )


# One key


def _anything(key: str, value: Any) -> Faults:
    yield from ()


def _queue(key: str, value: Any) -> Faults:
    """The name of a FIFO queue."""
    if not isinstance(value, str):
        yield checks.wrong(key, value, "the name of a FIFO queue, as text")
        return
    try:
        sqs.check_name(value)
    except sqs.QueueError as error:
        yield f"{key}: {error}"


def _queue_unless(dead_letters: str) -> Check:
    def check(key: str, value: Any) -> Faults:
        yield from _queue(key, value)
        if value == dead_letters:
            yield f"{key} is '{value}', the dead-letter queue, where SQS alone puts messages; expected another queue."

    return check


def _named(check_one: Check) -> Check:
    """A table by the names of queues."""

    def check(key: str, value: Any) -> Faults:
        if not isinstance(value, dict):
            yield checks.wrong(key, value, 'a table of queues, such as [queues."Prices.fifo"]')
            return
        for name, below in value.items():
            where = f'{key}."{name}"'
            # [queues.Prices.fifo], without the quotation marks, is a table within a table.
            if isinstance(below, dict) and isinstance(below.get("fifo"), dict):
                yield f'{key}.{name}.fifo: a name with a dot needs quotation marks; expected [queues."{name}.fifo"].'
                continue
            yield from _queue(where, name)
            yield from check_one(where, below)

    return check


def _words(key: str, value: Any) -> Faults:
    """A text or a list of them; each may be a pattern."""
    words = value if isinstance(value, list) else [value]
    if not words or not all(isinstance(word, str) and word for word in words):
        yield checks.wrong(key, value, "a word, a pattern with *, or a list of them")


def _event_classes(key: str, value: Any) -> Faults:
    for word in value if isinstance(value, list) and value else [value]:
        if word not in list(EventClass):
            yield checks.wrong(key, word, f"one of {', '.join(EventClass)}, or a list of them")


def _group(key: str, value: Any) -> Faults:
    if not isinstance(value, str) or not sqs.ID_PATTERN.fullmatch(value):
        yield checks.wrong(key, value, "a message group: up to 128 letters, digits and signs of ASCII, no space")


def _url(key: str, value: Any) -> Faults:
    """The address of a queue."""
    if not _is_http(value):
        yield checks.wrong(key, value, "the URL of a queue, such as https://sqs.eu-west-1.amazonaws.com/123456789012/Trades.fifo")
        return
    try:
        sqs.check_name(urlsplit(value).path.rpartition("/")[2])
    except sqs.QueueError as error:
        yield f"{key}: {error}"


def _endpoint(key: str, value: Any) -> Faults:
    if not _is_http(value):
        yield checks.wrong(key, value, "the URL of SQS there, such as https://sqs.eu-west-1.amazonaws.com")


def _owner(key: str, value: Any) -> Faults:
    if not isinstance(value, str) or not _OWNER.fullmatch(value):
        yield checks.wrong(key, value, 'the 12 digits of an AWS account, as text ("123456789012")')


def _region(key: str, value: Any) -> Faults:
    if not isinstance(value, str) or not _REGION.fullmatch(value):
        yield checks.wrong(key, value, "the name of an AWS region, such as eu-west-1")


def _is_http(value: Any) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        return (
            parts is not None and parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0 and "@" not in value
        )
    except ValueError:
        return False


# What goes together: said of those parts that have the right form, whatever is wrong with others


def for_reference(route: Mapping[str, Any]) -> bool:
    """Whether a route is for messages about no trade."""
    return "group" in route or "group_xpath" in route


def _repeated_names(spec: Mapping[str, Any]) -> Faults:
    seen: dict[str, int] = {}
    for number, route in routes_of(spec):
        name = route.get("name")
        if isinstance(name, str) and name in seen:
            yield f"routes[{number}].name is {checks.shown(name)}, as in routes[{seen[name]}]; expected another name."
        elif isinstance(name, str):
            seen[name] = number


def _unreachable(spec: Mapping[str, Any], has_sound_conditions: Check) -> Faults:
    before: list[tuple[int, bool, dict[str, Any]]] = []
    for number, route in routes_of(spec):
        if any(has_sound_conditions("", route)):
            continue
        conditions = {key: route[key] for key in CONDITIONS if key in route}
        if "group" not in route and "group_xpath" in route:
            conditions["group_xpath"] = route["group_xpath"]
        kind = for_reference(route)
        found = next((earlier for earlier in before if earlier[1] == kind and (not earlier[2] or earlier[2] == conditions)), None)
        if found:
            why = "the same conditions" if found[2] else "no conditions and takes everything"
            yield f"routes[{number}] is never reached: routes[{found[0]}] has {why}; expected it before, or not at all."
        before.append((number, kind, conditions))


def _unfit_groups(spec: Mapping[str, Any]) -> Faults:
    for number, route in routes_of(spec):
        unfit = next((key for key in OF_TRADES if key in route), None)
        if for_reference(route) and unfit:
            yield (
                f"routes[{number}].{unfit}: a route with a group is for messages about no trade, which have none; "
                f"expected it without {unfit} or without a group."
            )


def _unfit_places(spec: Mapping[str, Any], is_sound: Check) -> Faults:
    tables = spec.get("queues")
    queues = {name: queue for name, queue in tables.items() if not any(is_sound("", queue))} if isinstance(tables, dict) else {}
    seen: dict[tuple[str, ...], str] = {}
    for name, queue in queues.items():
        key = f'queues."{name}"'
        beside = [word for word in ("owner", "queue") if "url" in queue and word in queue]
        yield from (f"{key}.{word} is beside url, which says it already; expected one of the two." for word in beside)
        place = (queue["url"],) if "url" in queue else (queue.get("queue", name), *(queue.get(word, "") for word in PLACE[:-1]))
        if place in seen:
            yield f'{key} is the same queue as queues."{seen[place]}"; expected one name for it, for each name has a sender of its own.'
        seen.setdefault(place, name)
    for name, queue in queues.items():
        other = queue.get("queue", name)
        if other != name and set(queue).isdisjoint({"url", *PLACE[:-1]}):
            yield f'queues."{name}".queue is {checks.shown(other)}, a queue of our own; expected its place too, or that name itself.'
