"""What live pages are told of: one look at the database in one query, and what the queue says it holds."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from trades import routes, sqs
from trades.web import health
from trades.web.counting import Counted
from trades.web.figures import open_exceptions
from trades.web.names import own_queues

logger = logging.getLogger(__name__)

DEAD_LETTER_SECONDS = 60.0
# A row may be committed after one with a higher number has been seen. So the mark changes now and then even if nothing seems to have.
SAFETY_SECONDS = 15
WORKERS_EVERY = timedelta(seconds=5)  # as often as they report

# Each part is read from the end of an index, or from a small partial one.
LOOK = """
SELECT (SELECT max(updated_at) FROM trades_trade),
       (SELECT max(id) FROM trades_message),
       (SELECT max(id) FROM trades_auditentry),
       (SELECT max(id) FROM trades_publication),
       (SELECT max(id) FROM trades_document),
       (SELECT max(id) FROM trades_draft),
       (SELECT max(id) FROM trades_repeat),
       (SELECT max(id) FROM trades_sendattempt),
       (SELECT count(*) FROM trades_publication WHERE state = 'PENDING'),
       (SELECT count(*) FROM trades_message WHERE outcome = 'QUARANTINED'),
       (SELECT count(*) FROM trades_tradeexception WHERE acknowledged_at IS NULL),
       (SELECT sent_at FROM trades_message ORDER BY id DESC LIMIT 1),
       (SELECT min(created_at) FROM trades_publication WHERE state = 'PENDING')
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at the database found. `mark` changes with every change that a page may show."""

    mark: str
    newest: datetime | None
    messages: int
    unsent: int
    quarantined: int
    exceptions: Counted
    newest_sent_at: datetime | None
    oldest_unsent: datetime | None
    workers: int
    lost_workers: int
    workers_at: datetime = field(compare=False)
    at: datetime = field(compare=False)


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """How much the queue holds: None until it has answered, the last known while `error` says why it does not."""

    visible: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    dead: int | None = None
    at: datetime | None = field(default=None, compare=False)
    empty_at: datetime | None = field(default=None, compare=False)
    error: str = ""


def look(last: Reading | None = None, now: datetime | None = None) -> Reading:
    """Look at the database, in one query; now and then, as often as workers report, in two more at them and at the exceptions.
    Raises DatabaseError."""
    now = now or timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(LOOK)
        *counted, sent_at, unsent_since = cursor.fetchone()
    digest = hashlib.sha256(repr(counted).encode()).hexdigest()[:12]
    if last and now - last.workers_at < WORKERS_EVERY:
        workers, lost, exceptions, workers_at = last.workers, last.lost_workers, last.exceptions, last.workers_at
    else:
        found = health.summed(health.newest_workers(), now)
        workers, lost, exceptions, workers_at = found.running, found.lost, open_exceptions(), now
    return Reading(
        mark=f"{digest}.{int(now.timestamp()) // SAFETY_SECONDS}",
        newest=_moment(counted[0]),
        messages=counted[1] or 0,
        unsent=counted[-3],
        quarantined=counted[-2],
        exceptions=exceptions,
        newest_sent_at=_moment(sent_at),
        oldest_unsent=_moment(unsent_since),
        workers=workers,
        lost_workers=lost,
        workers_at=workers_at,
        at=now,
    )


def _moment(value: datetime | str | None) -> datetime | None:
    """A moment as a bare query gives it: SQLite has text."""
    moment = parse_datetime(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


class QueueWatch:
    """Asks each of our queues how much it holds, and now and then the dead-letter queue. `figures` are of all of them together, `each`
    has them by queue."""

    def __init__(self) -> None:
        self.figures = QueueFigures()
        self.each: dict[str, QueueFigures] = {}
        self._dead_at = -DEAD_LETTER_SECONDS

    def ask(self) -> None:
        """Ask once; trouble becomes a sentence in the figures."""
        self.each = {queue: _asked(queue, self.each.get(queue, QueueFigures())) for queue in own_queues()}
        dead = self.figures.dead if any(found.error for found in self.each.values()) else self._dead()
        self.figures = _together(list(self.each.values()), dead)

    def _dead(self) -> int | None:
        if time.monotonic() - self._dead_at < DEAD_LETTER_SECONDS:
            return self.figures.dead
        self._dead_at = time.monotonic()
        try:
            found = routes.open_queue(settings.TRADES_DEAD_LETTER_QUEUE).attributes()
        except sqs.QueueError as error:
            logger.debug("no figures of the dead-letter queue: %s", error)
            return None
        return int(found.get("ApproximateNumberOfMessages", 0))


def _asked(queue: str, last: QueueFigures) -> QueueFigures:
    """What a queue says it holds, its dead letters aside; what it said last where it does not answer."""
    try:
        found = routes.open_queue(queue).attributes()
    except sqs.QueueError as error:
        return replace(last, error=str(error))
    visible, in_flight, delayed = (int(found.get(f"ApproximateNumberOfMessages{which}", 0)) for which in ("", "NotVisible", "Delayed"))
    now = timezone.now()
    return QueueFigures(visible, in_flight, delayed, None, now, last.empty_at if visible else now)


def _together(each: Sequence[QueueFigures], dead: int | None) -> QueueFigures:
    """The sums over those queues that have answered, as old as the oldest answer; the trouble of the first that does not answer."""
    known = [found for found in each if found.at]
    error = next((found.error for found in each if found.error), "")
    if not known:
        return QueueFigures(dead=dead, error=error)
    visible, in_flight, delayed = (sum(getattr(found, name) or 0 for found in known) for name in ("visible", "in_flight", "delayed"))
    # All were seen empty when the one was that was so longest ago.
    empty_at = min(found.empty_at for found in known if found.empty_at) if all(found.empty_at for found in known) else None
    return QueueFigures(visible, in_flight, delayed, dead, min(found.at for found in known if found.at), empty_at, error)
