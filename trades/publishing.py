"""Publish documents through the outbox: the rows are saved first, then sent (`trades.sending`)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from trades import bulk, handing_in, routes
from trades.handing_in import Groups, IncomingDocument, OutgoingMessage, ReadDocument, begin
from trades.models import Document, Draft, Publication, Upload
from trades.sending import Clock, deliver_for_person

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


def publish(
    documents: Sequence[IncomingDocument],
    *,
    source: Upload.Source,
    user: AbstractBaseUser | None,
    clock: Clock,
    queue: str | None = None,
    group: str | None = None,
    traceparent: str = "",
) -> Upload:
    """Store the documents and their publications, then send them to every queue that got any. What can't be sent now stays in the
    outbox; the upload's publications say which.

    The routes choose the queue of each message, unless `queue` is given: then all goes there.
    """
    upload, groups = begin(source=source, user=user, now=clock(), traceparent=traceparent), Groups()
    queues: dict[str, None] = {}
    for chunk in handing_in.chunks(documents):
        rows = store(upload, chunk, queue=queue, group=group, groups=groups, now=clock())
        queues |= dict.fromkeys(queues_of(rows))
    deliver_for_person(queues, clock=clock)
    return upload


def store(
    upload: Upload,
    documents: Sequence[IncomingDocument],
    *,
    now: datetime,
    queue: str | None = None,
    group: str | None = None,
    groups: Groups | None = None,
) -> list[Document]:
    """Save documents with their publications (outbox rows) and refusals, in one transaction. Without a `queue` the routes choose it.

    With `group` a document that is not understood is published all the same, under that message group, as it is. `groups` must be the
    same for all calls of one upload.
    """
    read = handing_in.read(documents, now=now, group=group, queue=queue, traceparent=upload.traceparent)
    return store_read(upload, read, now=now, group=group, groups=groups)


def store_read(
    upload: Upload, documents: Sequence[ReadDocument], *, now: datetime, group: str | None = None, groups: Groups | None = None
) -> list[Document]:
    """As `store`, of documents that are read already."""
    with transaction.atomic():
        rows, outgoing = handing_in.save(upload, documents, group=group, groups=groups)
        bulk.insert([publication(each, now=now, traceparent=upload.traceparent) for each in outgoing])
    return rows


def queues_of(documents: Iterable[Document]) -> list[str]:
    """The queues that these documents were published to, in the order of their names. One query."""
    rows = Publication.objects.filter(document__in=[document.pk for document in documents])
    return list(rows.values_list("queue", flat=True).distinct().order_by("queue"))


def publication(message: OutgoingMessage | Draft, *, now: datetime, traceparent: str = "") -> Publication:
    """A new row of the outbox for a message (not saved)."""
    publication_id = uuid.uuid4()
    return bulk.new(
        Publication,
        publication_id=publication_id,
        document_id=message.document.pk,
        part=message.part,
        queue=message.queue,
        route=message.route,
        group_id=message.group_id,
        deduplication_id="" if routes.content_deduplication(message.queue) else publication_id.hex,
        trade_id=message.trade_id,
        message_type=message.message_type,
        summary=message.summary,
        body=message.body,
        payload_id=message.payload and message.payload.pk,
        size=message.size,
        traceparent=traceparent,
        created_at=now,
    )
