"""The queues file, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from lxml import etree

from trades import sqs
from trades.messages import checks
from trades.messages.fields import as_list
from trades.routes import specification
from trades.routes.table import Definition, Opened, Query, Route, Table


class BadQueuesFile(ImproperlyConfigured):
    """The queues file can't be used: a sentence for each fault, with the file and the key."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


def in_use() -> Table:
    """The routes and queues in use. Raises BadQueuesFile: no queue is better than a wrong one."""
    return _in_use(settings.TRADES_QUEUES_FILE)


def faults() -> tuple[str, ...]:
    """What is wrong with the queues file, a sentence for each fault with the file and the key; none when all is well."""
    try:
        in_use()
    except BadQueuesFile as error:
        return tuple(map(str, error.args))
    return ()


def stated_dialects() -> list[tuple[int, str]]:
    """Each word that a route of the queues file states about the dialect, with the number of the route, as far as the file can be read,
    whatever else is wrong with it."""
    try:
        spec = _parsed(Path(settings.TRADES_QUEUES_FILE)) if settings.TRADES_QUEUES_FILE else {}
    except BadQueuesFile:
        return []
    routes = specification.routes_of(spec)
    return [(number, word) for number, route in routes for word in as_list(route.get("dialect", [])) if isinstance(word, str) and word]


@cache
def _in_use(file: str) -> Table:
    return _table(_read(Path(file))) if file else Table()


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise BadQueuesFile(f"{file.name}: byte {error.start + 1} is not UTF-8; expected a TOML file, which is in UTF-8.") from None
    except OSError as error:
        raise BadQueuesFile(f"{file}: {error.strerror}; expected a file that can be read.") from None
    except tomllib.TOMLDecodeError as error:
        raise BadQueuesFile(f"{file.name}: {error}; expected TOML.") from None


def _read(file: Path) -> dict[str, Any]:
    spec = _parsed(file)
    found = [*specification.faults(spec, dead_letters=settings.TRADES_DEAD_LETTER_QUEUE), *_failing(spec)]
    if found:
        raise BadQueuesFile(*(f"{file.name}: {fault}" for fault in found))
    return spec


def _failing(spec: dict[str, Any]) -> Iterator[str]:
    """The XPaths that fail on any document, such as sum(1)."""
    check, namespaces = specification.xpath_check(spec), spec.get("namespaces", {})
    if any(checks.each(checks.text)("namespaces", namespaces)):
        return
    for number, route in specification.routes_of(spec):
        for key in ("xpath", "group_xpath"):
            try:
                if key in route and not any(check(key, route[key])):
                    Query(route[key], namespaces).text(Opened("<a/>", max_bytes=4))
            except etree.XPathError as error:
                yield f"routes[{number}].{key} is {checks.shown(route[key])}; expected one that can be evaluated ({error})."


def _table(spec: dict[str, Any]) -> Table:
    namespaces = spec.get("namespaces", {})
    routes = (_route(route, namespaces) for route in spec.get("routes", []))
    return Table(tuple(routes), {name: _definition(queue) for name, queue in spec.get("queues", {}).items()})


def _route(spec: dict[str, Any], namespaces: dict[str, str]) -> Route:
    words = {key: tuple(as_list(spec.get(key, []))) for key in (*specification.WORDS, "event_class")}
    # As XPath 1.0 takes any value for a condition: nothing found, an empty text and zero are false.
    xpath = Query(f"boolean({spec['xpath']})", namespaces) if "xpath" in spec else None
    group_xpath = Query(spec["group_xpath"], namespaces) if "group_xpath" in spec else None
    return Route(spec["name"], spec["queue"], **words, xpath=xpath, group=spec.get("group", ""), group_xpath=group_xpath)


def _definition(spec: dict[str, Any]) -> Definition:
    region, endpoint = specification.place_of(spec.get("url", ""))
    place = sqs.Place(
        url=spec.get("url", ""),
        owner=spec.get("owner", ""),
        region=spec.get("region", region),
        endpoint=spec.get("endpoint", endpoint),
        profile=spec.get("profile", ""),
    )
    by_content = spec.get("deduplication") == specification.BY_CONTENT
    return Definition(spec.get("queue", ""), place, by_content, spec.get("partner", place != sqs.HERE))
