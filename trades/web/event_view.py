"""One event of a trade and its message, tab by tab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Case, F, OuterRef, Q, Subquery, TextField, Value, When
from django.utils.safestring import SafeString

from trades.models import Event, Message, Publication
from trades.web import changes, compare, texts, trade_view, words
from trades.web.facts_view import Fact, FieldGroup, field_groups
from trades.web.history_view import Lister
from trades.web.line_changes import formatted
from trades.web.time_in_status import took
from trades.web.xml_view import HIGHLIGHT_UP_TO, xml_view

MOST_COPIES = 20
LEAST_DELAY = 0.05  # seconds, between sending and receiving
FEW_LINES, LONG_TEXT = 3, 300  # a text of fewer lines and more characters is formatted unless the original is asked for
WITHOUT_TEXT = ("body",)


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages that a page needs whole, by row, and the first copies of the one that is open."""

    whole: Mapping[int, Message]
    copies: list[Message]


def messages_of(selected: Event, other: Event | None, moment: datetime | None) -> Messages:
    """The messages of the event that is open and of the one it is compared with, and the copies of the former, as far as known at the
    moment. One query, in which copies come without their text."""
    wanted = [event.message_id for event in (selected, other) if event is not None]
    copies = trade_view.copies_of(selected.message, moment).values("pk")[:MOST_COPIES]
    text = Case(When(pk__in=wanted, then=F("body")), default=Value(""), output_field=TextField())
    rows = list(
        Message.objects.filter(Q(pk__in=wanted) | Q(pk__in=copies))
        .select_related("payload")
        .defer(*WITHOUT_TEXT)
        .annotate(text=text, **_published())
        .order_by("pk")
    )
    whole = {row.pk: row for row in rows if row.pk in wanted}
    for row in whole.values():
        row.body = getattr(row, "text", "")
    return Messages(whole, [row for row in rows if row.pk not in whole])


def context_of(lister: Lister, selected: Event, other: Event | None) -> dict[str, object]:
    """The context of the event that is open, with its tab."""
    reading, address = lister.reading, lister.address
    found = messages_of(selected, other, reading.as_of)
    message = found.whole[selected.message_id]
    context: dict[str, object] = {
        "message": message,
        "copies": [(trade_view.message_address(copy), words.full_tag(copy.received_at)) for copy in found.copies],
        "copy_count": getattr(selected, "copies", 0),
        "received": words.full_tag(message.received_at),
        "delay": _delay(message),
        "other": other,
        "choices": changes.choices(lister, selected.position, other.position if other else 0),
        "compare_fields": _hidden(lister),
        "compare_action": address.event(selected.position).partition("?")[0],
    }
    tab = reading.tab
    if tab == "changes":
        context["changes"] = _changes(lister, selected, other, found)
    elif tab == "xml":
        context |= _xml(lister, selected, message) | {"publication": _publication_of(message)}
    elif tab == "fields":
        context |= _fields(lister, selected, message)
    else:
        context |= {"transport": transport_of_event(selected, message, reading.as_of), "publication": _publication_of(message)}
    return context


def _changes(lister: Lister, selected: Event, other: Event | None, found: Messages) -> changes.Changes:
    message = found.whole[selected.message_id]
    if other is None:
        return changes.first_event(message, selected.position)
    return changes.changes_between(lister, other, selected, (found.whole[other.message_id], message))


def _hidden(lister: Lister) -> dict[str, str]:
    """What a form that chooses another event to compare with carries along."""
    kept = lister.reading.query(tab="")
    if lister.address.is_in_query:
        kept["id"] = lister.address.trade_id
    if lister.address.scheme is not None:
        kept["scheme"] = lister.address.scheme
    return kept


def _delay(message: Message) -> str:
    if message.sent_at is None or message.received_at < message.sent_at:
        return ""
    delay = message.received_at - message.sent_at
    if delay.total_seconds() < LEAST_DELAY:
        return ""
    return f"{delay.total_seconds():.1f} s" if delay.total_seconds() < 60 else took(delay)


# XML


def _xml(lister: Lister, selected: Event, message: Message) -> dict[str, object]:
    reading, is_whole = lister.reading, not texts.is_large(message)
    is_dense = message.body.count("\n") < FEW_LINES and LONG_TEXT < len(message.body) <= HIGHLIGHT_UP_TO
    is_formatted = is_whole and (reading.form == "formatted" or (is_dense and not reading.form))

    def here(**change: str) -> str:
        return lister.address.event(selected.position, **reading.here(**change))

    raw = lister.address.raw(selected.position)
    forms = [("Formatted", here(text="formatted"), is_formatted), ("Original bytes", here(text="original"), not is_formatted)]
    return {
        "xml": xml_view(formatted(message.body)) if is_formatted else texts.xml_of(message, texts.shown_text(message), raw),
        "is_whole": is_whole,
        "forms": forms if is_whole else [],
        "wraps": [("Wrap", here(wrap=""), reading.is_wrapped), ("No wrap", here(wrap="no"), not reading.is_wrapped)],
        "is_wrapped": reading.is_wrapped,
        "size": words.plural(message.size, "byte"),
    }


# Fields


def _fields(lister: Lister, selected: Event, message: Message) -> dict[str, object]:
    find = lister.reading.find
    groups = field_groups(selected, lister.trade, lister.telling)
    document = compare.fields_of(message.body)
    count = sum(len(group.fields) for group in groups) + len(document)
    if find:
        sought = find.casefold()
        groups = [FieldGroup(group.title, [fact for fact in group.fields if _holds(fact, sought)]) for group in groups]
        document = [field for field in document if sought in f"{field.name} {field.path} {field.value}".casefold()]
    left = sum(len(group.fields) for group in groups) + len(document)
    kept = {name: value for name, value in _hidden(lister).items() if name != "tab"} | {"tab": "fields"}
    return {
        "groups": [group for group in groups if group.fields],
        "document": document,
        "is_cut": len(document) == compare.MOST_SHOWN,
        "not_listed": f"The document has {words.plural(message.size, 'byte')}, too many for its values to be listed here."
        if texts.is_large(message)
        else "",
        "find": find,
        "found": f"{left:,} of {words.plural(count, 'field')}" if find else words.plural(count, "field"),
        "find_fields": kept,
    }


def _holds(fact: Fact, sought: str) -> bool:
    return any(sought in str(part).casefold() for part in fact)


# Transport


def transport_of_event(event: Event, message: Message, moment: datetime | None = None) -> list[tuple[str, str | SafeString, bool]]:
    """The facts of the message's way, with what became of it here: which of the times is the event's, and how long each part took.
    As known at the moment, None for now: when it was delivered again nobody knows, so that is told of the present alone."""
    facts = [fact for fact in trade_view.transport_of(message) if moment is None or fact[0] != "Repeated deliveries"]
    at = next(number for number, fact in enumerate(facts) if fact[0] == "Recorded")
    stored = ("Stored as a message", facts[at][1], True)
    recorded = (f"Recorded as event {event.position}", words.exact_tag(event.recorded_at), True)
    return [*facts[:at], stored, recorded, *_deleted(message, moment), *_stages(message, event), *facts[at + 1 :]]


def _deleted(message: Message, moment: datetime | None) -> Iterator[tuple[str, str | SafeString, bool]]:
    if message.deleted_at is not None and (moment is None or message.deleted_at <= moment):
        yield "Deleted from the queue", words.exact_tag(message.deleted_at), True


def _stages(message: Message, event: Event) -> Iterator[tuple[str, str | SafeString, bool]]:
    moments = [("in the queue", message.sent_at), ("until stored", message.received_at), ("until recorded", message.recorded_at)]
    ends = [message.received_at, message.recorded_at, event.recorded_at]
    spans = zip(moments, ends, strict=True)
    said = [f"{_exactly(end - start)} {word}" for (word, start), end in spans if start is not None and end > start]
    if said:
        yield "Time in each stage", ", ".join(said), True


def _exactly(length: timedelta) -> str:
    """A length of time, in milliseconds where it is under a second."""
    return f"{length // timedelta(milliseconds=1)} ms" if length < timedelta(seconds=1) else took(length)


# Publication


@dataclass(frozen=True, slots=True)
class Published:
    """Where a message was published: the upload, its file, and who handed it in ("" from the command line)."""

    upload: int
    document: int
    name: str
    by: str


def _published() -> dict[str, Subquery]:
    """Of each message, what it was published from; as annotations, so that it costs no query of its own."""
    rows = Publication.objects.filter(publication_id=OuterRef("publication_id"))
    paths = {"upload": "document__upload", "document": "document", "name": "document__name", "by": "document__upload__created_by__username"}
    return {f"published_{name}": Subquery(rows.values(path)[:1]) for name, path in paths.items()}


def _publication_of(message: Message) -> Published | None:
    upload, document, name, by = (getattr(message, f"published_{name}", None) for name in ("upload", "document", "name", "by"))
    return None if upload is None or document is None else Published(upload, document, name or "", by or "")
