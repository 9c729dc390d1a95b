"""Rows made directly through the models, and people with roles."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group, User

from tests.support.native import native
from trades import foretelling, handing_in
from trades.handing_in import IncomingDocument
from trades.identifiers import trade_key
from trades.lifecycle import State
from trades.messages.facts import TradeId
from trades.models import (
    Document,
    Event,
    Hold,
    Message,
    Payload,
    PayloadPart,
    Publication,
    Trade,
    TradeIdentifier,
    TradeLink,
    Upload,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUEUE = "TradeStatus.fifo"
BODY = '<TradeStatus xmlns="urn:tradeportal:tradestatus:1">\n  <TradeId>{}</TradeId>\n  <!-- a comment -->\n</TradeStatus>'
_numbers = itertools.count(1)


def person(role: str = "", *, name: str = "", staff: bool = False) -> User:
    """A user with the password "secret" and, if named, a role."""
    user = User.objects.create_user(name or role or "nobody", password="secret", is_staff=staff)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return user


def trade(trade_id: str = "T-1", **fields: Any) -> Trade:
    """A live trade; `age` is how many seconds before noon it was updated."""
    scheme = fields.pop("scheme", "")
    at = NOON - timedelta(seconds=fields.pop("age", 0))
    defaults: dict[str, Any] = {
        "key": trade_key(TradeId(scheme, trade_id)), "state": State.LIVE.value, "status": "CHECKED", "version": 1, "last_class": "BOOK",
        "queue": QUEUE, "group_id": trade_id[:128], "product": "IRS 5Y EUR", "parties": "Northgate Bank / Kestrel Capital",
        "notional": "10000000.00 EUR", "trade_date": date(2026, 11, 20), "first_seen_at": at, "updated_at": at,
        "status_since": at,
    }  # fmt: skip
    made = Trade.objects.create(trade_id=trade_id, scheme=scheme, **{**defaults, **fields})
    TradeIdentifier.objects.create(key=made.key, scheme=scheme, value=trade_id, trade=made)
    return made


def other_id(of: Trade, value: str, scheme: str = "", *, is_uti: bool = False) -> TradeIdentifier:
    """A further id that the trade goes by."""
    return TradeIdentifier.objects.create(key=trade_key(TradeId(scheme, value)), scheme=scheme, value=value, trade=of, is_uti=is_uti)


def link(one: Trade, other: Trade, by: Message | None = None) -> TradeLink:
    """Two trades that a message says are one."""
    first, second = sorted((one, other), key=lambda trade: trade.pk)
    return TradeLink.objects.create(first=first, second=second, message=by or message(), since=NOON)


def message(outcome: str = "RECORDED", body: str = "", **fields: Any) -> Message:
    """A message in the given outcome."""
    body = body or BODY.format(f"T-{next(_numbers)}")
    text = body.encode()
    defaults: dict[str, Any] = {
        "queue": QUEUE, "message_id": str(uuid.uuid4()), "group_id": "T-1", "deduplication_id": uuid.uuid4().hex,
        "sequence_number": str(next(_numbers)).zfill(39), "size": len(text), "body_sha256": hashlib.sha256(text).hexdigest(),
        "body_md5": hashlib.md5(text).hexdigest(), "sent_at": NOON, "received_at": NOON, "recorded_at": NOON,
        "dialect": "native", "message_type": "TradeStatus",
    }  # fmt: skip
    return Message.objects.create(outcome=outcome, body=body, **{**defaults, **fields})


def large(content: bytes, outcome: str = "RECORDED", **fields: Any) -> Message:
    """A message whose text is kept as a payload, as of one that has more bytes than a row may hold."""
    sha256, size = hashlib.sha256(content).hexdigest(), 1024 * 1024
    payload = Payload.objects.create(sha256=sha256, size=len(content), created_at=NOON)
    for number, start in enumerate(range(0, len(content), size), start=1):
        PayloadPart.objects.create(payload=payload, number=number, content=content[start : start + size])
    made = message(outcome, "-", payload=payload, size=len(content), body_sha256=sha256, **fields)
    Message.objects.filter(pk=made.pk).update(body="")
    return Message.objects.get(pk=made.pk)


def event(of: Trade, **fields: Any) -> Event:
    """The trade's next event, with a message of its own."""
    brought_by = fields.pop("message", None) or message(group_id=of.group_id, body=fields.pop("body", "") or BODY.format(of.trade_id))
    of.event_count += 1
    of.flagged_count += bool(fields.get("flags"))
    of.save()
    defaults: dict[str, Any] = {
        "position": of.event_count, "place": of.event_count,
        "event_class": "BOOK", "version": 1, "event_time": NOON, "recorded_at": NOON, "sender": "FRONTOFFICE",
        "state_after": of.state, "status_after": of.status, "content_sha256": uuid.uuid4().hex,
        "details": {"price": "0.0275", "quantity": "5", "parties": [{"name": "Northgate Bank", "role": "buyer"}]},
    }  # fmt: skip
    return Event.objects.create(trade=of, message=brought_by, **{**defaults, **fields})


def quarantined(waiting: int = 0, *, group: str = "T-1", body: str = "<TradeStatus>\n  <broken\n</TradeStatus>") -> Message:
    """A message in quarantine that holds up its group, with so many behind it."""
    blocked = message(
        "QUARANTINED",
        body,
        group_id=group,
        code="not-well-formed",
        reason="The document is not well-formed XML: expected '>'.",
        line=3,
        column=1,
    )
    Hold.objects.create(queue=QUEUE, group_id=group, message=blocked, since=NOON)
    for _ in range(waiting):
        message("HELD", group_id=group)
    return blocked


def upload(files: int = 1, *, by: User | None = None, sent: bool = True) -> Upload:
    """An upload of so many files with one publication each."""
    made = Upload.objects.create(created_at=NOON, created_by=by, source=Upload.Source.WEB)
    for number in range(1, files + 1):
        document = Document.objects.create(
            upload=made, name=f"{number}.xml", content=b"<a/>", size=4, sha256="0" * 64, dialect="native", message_type="TradeStatus"
        )
        facts: dict[str, Any] = {"state": "SENT", "message_id": str(uuid.uuid4()), "md5": "d" * 32, "sent_at": NOON} if sent else {}
        Publication.objects.create(
            document=document, queue=QUEUE, group_id=f"T-{number}", deduplication_id=uuid.uuid4().hex, trade_id=f"T-{number}",
            summary=f"BOOK version 1 of T-{number}", body="<a/>", created_at=NOON, **facts,
        )  # fmt: skip
    return made


def upload_in_review(*contents: str, by: User | None = None) -> Upload:
    """An upload of these documents, or of a good one and a bad one, that is checked and waits for somebody to decide."""
    made = handing_in.begin(source=Upload.Source.WEB, user=by, now=NOON, stage=Upload.Stage.REVIEW)
    texts = contents or (native("T-77"), "<broken")
    documents = [IncomingDocument(f"{number}.xml", text.encode(), position=number) for number, text in enumerate(texts, start=1)]
    handing_in.keep_for_review(made, handing_in.read(documents, now=NOON, queue=QUEUE))
    foretelling.check(made, now=NOON)
    return made
