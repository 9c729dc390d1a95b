"""What quick find finds. Every look is exact or by prefix, over an index, and bounded, so that it answers at once over millions of rows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from trades.models import Document, Event, Message, Publication, TradeIdentifier, Upload
from trades.web import access, words
from trades.web.addresses import TradeAddress
from trades.web.names import all_queues
from trades.web.prefix import prefixed, starting

MOST = 8  # of a group
FETCHED = 40  # rows, for several ids may be of one trade
_UPLOAD = re.compile(r"(?:upload\s*)?#?([0-9]{1,18})", re.IGNORECASE)
_MD5 = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be opened: what it is called, what it is, and whether its id is exactly what was typed."""

    label: str
    detail: str
    href: str
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Options of one kind."""

    name: str
    options: Sequence[Option]


@dataclass(frozen=True, slots=True)
class Answer:
    """All that was found, by kind; pages and actions come last."""

    groups: Sequence[Group] = ()

    @property
    def exact(self) -> str:
        """Where to go at once, empty unless things of exactly this id are found and all lead to one place."""
        leads = {option.href for group in self.groups for option in group.options if option.is_exact}
        return leads.pop() if len(leads) == 1 else ""

    @property
    def count(self) -> int:
        """How many options there are."""
        return sum(len(group.options) for group in self.groups)


def found(request: HttpRequest, text: str) -> Answer:
    """What could be meant by the text."""
    pages = Group("Pages and actions", _pages(request, text))
    if not text:
        return Answer((pages,))
    groups = (
        Group("Trades", _trades(text)),
        Group("Messages", _messages(text)),
        Group("Uploads", _uploads(text)),
        pages,
    )
    return Answer([group for group in groups if group.options])


def _trades(text: str) -> list[Option]:
    ids = _identifiers(text)
    if not ids and text.upper() != text:
        ids = _identifiers(text.upper())
    options: dict[int, Option] = {}
    several = len({each.trade_id for each in ids if each.value == ids[0].value}) > 1
    for each in ids:
        trade = each.trade
        is_exact = each.value in (text, text.upper())
        known_as = "" if each.value == trade.trade_id else f"known as {each.value}"
        scheme = trade.scheme if several and trade.trade_id == ids[0].trade.trade_id else None
        detail = ", ".join(filter(None, (known_as, str(trade.get_state_display()), trade.product, trade.parties)))
        options.setdefault(trade.pk, Option(trade.trade_id, detail, TradeAddress(trade.trade_id, scheme).page(), is_exact))
    return list(options.values())[:MOST]


def _identifiers(text: str) -> list[TradeIdentifier]:
    rows = TradeIdentifier.objects.filter(starting("value", text)).order_by("value", "id").select_related("trade")
    return list(rows[:FETCHED])


def _messages(text: str) -> list[Option]:
    found = [*_received(text), *_sent(text), *_stated(text)]
    return list({option.href: option for option in reversed(found)}.values())[::-1][:MOST]


def _received(text: str) -> list[Option]:
    asked = Q(queue__in=all_queues(), message_id=text)
    if key := _uuid(text):
        asked |= Q(publication_id=key)
    if _MD5.fullmatch(text):
        asked |= Q(body_md5=text.lower())
    rows = Message.objects.filter(asked).only("id", "message_id", "outcome", "group_id", "received_at")[:MOST]
    return [
        Option(message.message_id, f"{message.get_outcome_display()}, group {message.group_id}", _page_of(message), is_exact=True)
        for message in rows
    ]


def _page_of(message: Message) -> str:
    at_work = message.outcome in (Message.Outcome.QUARANTINED, Message.Outcome.HELD)
    return reverse("message" if at_work else "trace_message", args=[message.pk])


def _sent(text: str) -> list[Option]:
    """Publications that have not arrived; those that have are found as messages."""
    asked = Q(message_id=text)
    if key := _uuid(text):
        asked |= Q(publication_id=key)
    if _MD5.fullmatch(text):
        asked |= Q(md5=text.lower(), md5__gt="")
    arrived = Message.objects.filter(publication_id=OuterRef("publication_id"))
    rows = Publication.objects.filter(asked, ~Exists(arrived)).only("publication_id", "summary")[:MOST]
    return [
        Option(
            str(row.publication_id), f"Publication, {row.summary}", reverse("trace_publication", args=[row.publication_id]), is_exact=True
        )
        for row in rows
    ]


def _stated(text: str) -> list[Option]:
    """Events whose document calls itself so."""
    rows = Event.objects.filter(document_message_id=text, document_message_id__gt="").select_related("trade")[:MOST]
    return [
        Option(
            text,
            f"{words.class_word(event.event_class)} of {event.trade.trade_id}",
            TradeAddress(event.trade.trade_id).event(event.position),
            True,
        )
        for event in rows
    ]


def _uploads(text: str) -> list[Option]:
    options = []
    if (number := _UPLOAD.fullmatch(text)) and (upload := Upload.objects.filter(pk=int(number[1])).first()):
        options.append(Option(f"Upload {upload.pk}", words.full(upload.created_at), reverse("upload", args=[upload.pk]), is_exact=True))
    rows = Document.objects.filter(prefixed("name", text)).values_list("name", "upload_id")[:MOST]
    options += [Option(name, f"File of upload {upload}", reverse("upload", args=[upload])) for name, upload in rows]
    return options[:MOST]


PAGES = (
    ("Blotter", "All trades", "trades", access.SEE),
    ("Exceptions", "What is wrong with trades just now", "exceptions", access.SEE),
    ("Quarantine", "Messages that could not be recorded", "quarantine", access.SEE),
    ("Uploads", "What was handed in", "uploads", access.SEE),
    ("Upload XML", "Hand in documents", "upload_new", access.PUBLISH),
    ("Trace a message", "From the file to the screen", "trace", access.SEE),
    ("Outbox", "What is on its way to the queue", "outbox", access.SEE),
    ("Queue & workers", "Monitor: whether messages flow", "monitor", access.SEE),
    ("Inspect a document", "Try it out without storing it", "inspect", access.INSPECT),
    ("Preferences", "Theme, density, start page, shortcuts", "account", access.SEE),
)


def _pages(request: HttpRequest, text: str) -> list[Option]:
    """Pages with a word that starts with the text, and the blotter's own search for it."""
    allowed = [(label, detail, reverse(name)) for label, detail, name, needed in PAGES if request.user.has_perm(needed)]
    if request.user.is_staff:
        allowed.append(("Admin", "Users and rows", reverse("admin:index")))
    asked = text.lower()
    options = [Option(*page) for page in allowed if any(word.startswith(asked) for word in _words(page, asked))]
    if text:
        address = f"{reverse('trades')}?{urlencode({'q': text})}"
        options.append(Option(f"Trades with “{words.cut(text, 40)}”", "In the blotter: any id, product or party", address))
    return options[: len(PAGES) + 1]


def _words(page: tuple[str, str, str], asked: str) -> list[str]:
    """The words that a page is found by; those that only describe it are too many for one or two letters."""
    label, detail, _ = page
    return f"{label} {detail if len(asked) > 2 or not asked else ''}".lower().split()


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
