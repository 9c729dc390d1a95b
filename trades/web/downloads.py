"""The whole history of a trade as files: every event in queue order with its message's own bytes, and what made no event."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from trades import payloads, quarantine
from trades.models import AuditEntry, Event, Message, Trade
from trades.web.access import SEE, needs
from trades.web.addresses import asked_trade_id
from trades.web.asides import not_events
from trades.web.identity import meant_by

CHUNK = 50  # events read at a time
IN_MEMORY = 1_000_000  # bytes of the list of events that are kept out of a temporary file
OF_EVENT = (
    "position", "place", "part", "event_class", "event_kind", "status", "version", "sequence", "sender", "document_message_id",
    "correlation_id", "in_reply_to", "event_time", "event_time_text", "trade_date", "reason", "flags", "state_after", "status_after",
    "recorded_at",
)  # fmt: skip
OF_MESSAGE = (
    "message_id", "group_id", "sequence_number", "deduplication_id", "publication_id", "outcome", "code", "sent_at", "received_at",
    "receive_count", "repeats", "worker", "dialect", "message_type", "size", "body_sha256", "body_md5", "via_dead_letter",
)  # fmt: skip
COLUMNS = ("file", "record", *OF_EVENT, "message", "corrects", *OF_MESSAGE, "stored_at", "duplicates", "handling")
STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = dict[str, Any]


@needs(SEE)
@require_safe
def history_zip(request: HttpRequest, trade_id: str) -> StreamingHttpResponse:
    """Every message as a file of its own bytes, and the list of events as JSON and CSV."""
    trade, ids = _meant(request, trade_id)
    return _file(zipped(trade, ids), trade, "zip", "application/zip")


@needs(SEE)
@require_safe
def history_json(request: HttpRequest, trade_id: str) -> StreamingHttpResponse:
    """The list of events as JSON."""
    trade, ids = _meant(request, trade_id)
    return _file(as_json(trade, rows_of(trade, ids)), trade, "json", "application/json")


@needs(SEE)
@require_safe
def history_csv(request: HttpRequest, trade_id: str) -> StreamingHttpResponse:
    """The list of events as CSV."""
    trade, ids = _meant(request, trade_id)
    return _file(as_csv(rows_of(trade, ids)), trade, "csv", "text/csv; charset=utf-8")


def _meant(request: HttpRequest, trade_id: str) -> tuple[Trade, list[str]]:
    meant = meant_by(asked_trade_id(request, trade_id), request.GET.get("scheme"))
    if meant.trade is None:
        raise Http404("No such trade, or more than one has this id. Open the trade and choose.")
    return meant.trade, [identifier.value for identifier in meant.identifiers]


def _file(content: Iterable[bytes], trade: Trade, form: str, content_type: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(content, content_type=content_type)
    name = "".join(character if character.isalnum() or character in "-_." else "_" for character in trade.trade_id)[:100]
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=f"{name}-history.{form}") or "attachment"
    response["Cache-Control"] = "no-store"
    return response


# The rows


def rows_of(trade: Trade, ids: Sequence[str]) -> Iterator[Row]:
    """What a list of the history holds: each event in queue order, then each message that made none."""
    for row, _message in _recorded(trade, with_text=False):
        yield row
    yield from _not_recorded(trade, ids)


def _recorded(trade: Trade, *, with_text: bool) -> Iterator[tuple[Row, Message]]:
    copies = Message.objects.filter(repeats_message=OuterRef("message"), outcome=Message.Outcome.DUPLICATE)
    count = copies.order_by().values("repeats_message").annotate(n=Count("pk")).values("n")
    events = Event.objects.filter(trade=trade).select_related("message__payload").annotate(duplicates=Coalesce(Subquery(count), 0))
    events = (events if with_text else events.defer("message__body")).order_by("position")
    last = 0
    while chunk := list(events.filter(position__gt=last)[:CHUNK]):
        last = chunk[-1].position
        handled = _handled([event.message for event in chunk])
        for event in chunk:
            yield _row(event, handled), event.message


def _row(event: Event, handled: dict[int, list[Row]]) -> Row:
    message = event.message
    acts = [*handled.get(message.corrects_id or 0, ()), *handled.get(message.pk, ())]
    own = {name: getattr(event, name) for name in OF_EVENT} | {"details": event.details}
    return {"file": _name(event), "record": "event"} | own | _of_message(message, acts) | {"duplicates": getattr(event, "duplicates", 0)}


def _not_recorded(trade: Trade, ids: Sequence[str]) -> Iterator[Row]:
    found = not_events(trade, ids)
    handled = _handled(found)
    for message in found:
        said = {"file": "", "record": "no event", "reason": message.reason, "stated_trade_id": message.stated_trade_id}
        yield said | _of_message(message, handled.get(message.pk, []))


def _of_message(message: Message, acts: list[Row]) -> Row:
    facts = {name: getattr(message, name) for name in OF_MESSAGE}
    return facts | {"message": message.pk, "corrects": message.corrects_id, "stored_at": message.recorded_at, "handling": acts}


def _handled(messages: Sequence[Message]) -> dict[int, list[Row]]:
    """What people did to these messages, and to those that they correct."""
    keys = {key for message in messages for key in (message.pk, message.corrects_id) if key is not None}
    found: dict[int, list[Row]] = defaultdict(list)
    for entry in AuditEntry.objects.filter(Q(message__in=keys)).select_related("user").order_by("pk"):
        act = {"action": entry.action, "at": entry.at, "by": quarantine.who(entry), "note": entry.note}
        found[entry.message_id or 0].append(act)
    return found


def _name(event: Event) -> str:
    return f"{event.position:04}-{event.event_class}.xml"


# The files


def as_json(trade: Trade, rows: Iterable[Row]) -> Iterator[bytes]:
    """The rows as one JSON object, the trade's own facts first."""
    names = ("trade_id", "scheme", "state", "status", "version", "event_count", "flagged_count", "first_seen_at", "updated_at")
    head = {name: getattr(trade, name) for name in names} | {"exported_at": timezone.now(), "order": "queue"}
    yield _dumped(head)[:-1].encode() + b',\n"records": ['
    for number, row in enumerate(rows):
        yield (b",\n" if number else b"\n") + _dumped(row).encode()
    yield b"\n]}\n"


def as_csv(rows: Iterable[Row]) -> Iterator[bytes]:
    """The rows as CSV in UTF-8."""
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in COLUMNS])
        yield _taken(line)
    yield _taken(line)


def _taken(line: io.StringIO) -> bytes:
    text = line.getvalue()
    line.seek(0)
    line.truncate()
    return text.encode()


def _dumped(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def _cell(value: Any) -> str:
    """A cell; what a spreadsheet would take for a formula is made text by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, list):
        value = "; ".join(_act(item) if isinstance(item, dict) else str(item) for item in value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(STARTS_A_FORMULA) else value
    return _plain(value)


def _act(act: Row) -> str:
    return f"{act['action']} by {act['by']} at {_plain(act['at'])}" + (f": {act['note']}" if act["note"] else "")


class _Sink(io.RawIOBase):
    """Takes what a zip file is made of, to be passed on; it can't be sought in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken, self._parts = b"".join(self._parts), []
        return taken


def zipped(trade: Trade, ids: Sequence[str]) -> Iterator[bytes]:
    """A zip file of the history, made as it is read: memory holds a few messages at a time. The lists come last."""
    sink = _Sink()
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, mode="w+", encoding="utf-8") as listed:
        with ZipFile(sink, "w", ZIP_DEFLATED) as archive:
            for row, message in _recorded(trade, with_text=True):
                with archive.open(_entry(row["file"], message.recorded_at, message.size), "w") as entry:
                    for piece in _text_of(message):
                        entry.write(piece)
                        yield sink.take()
                listed.write(_dumped(row) + "\n")
                yield sink.take()
            for row in _not_recorded(trade, ids):
                listed.write(_dumped(row) + "\n")
            for name, made in _lists(trade):
                listed.seek(0)
                with archive.open(_entry(name, timezone.now()), "w") as entry:
                    for part in made(json.loads(line) for line in listed):
                        entry.write(part)
                        yield sink.take()
        yield sink.take()


def _lists(trade: Trade) -> list[tuple[str, Callable[[Iterable[Row]], Iterator[bytes]]]]:
    return [("history.json", lambda rows: as_json(trade, rows)), ("history.csv", as_csv)]


def _text_of(message: Message) -> Iterator[bytes]:
    if message.payload is None:
        yield message.body.encode()
    else:
        yield from payloads.pieces(message.payload)


def _entry(name: str, moment: datetime, size: int = 0) -> ZipInfo:
    entry = ZipInfo(name, moment.timetuple()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.file_size = size  # tells whether the entry needs room for large sizes, which can't be known afterwards
    return entry
