"""What browsers are told when something changed: the mark, and the figures of the chips in words."""

from __future__ import annotations

import json
from datetime import timedelta

from trades.web import words
from trades.web.health import Health, Waiting, Workers
from trades.web.readings import QueueFigures, Reading

BEHIND, MANY = timedelta(minutes=1), 1_000

Chip = dict[str, str]


def told(reading: Reading, figures: QueueFigures) -> str:
    """The reading and the queue's figures as JSON."""
    return json.dumps(
        {
            "mark": reading.mark,
            "at": reading.at.isoformat(),
            "newest": reading.newest and reading.newest.isoformat(),
            "messages": reading.messages,
            "quarantined": f"{reading.quarantined:,}",
            "exceptions": str(reading.exceptions),
            "queue": queue_chip(reading, figures),
            "workers": workers_chip(reading),
        }
    )


def queue_chip(reading: Reading, figures: QueueFigures) -> Chip:
    """How much waits: in the outbox when the queue takes nothing, else in the queue, and for how long if that is long."""
    title = _queue_title(reading, figures)
    outbox = Health(Waiting(unsent=reading.unsent, oldest_unsent=reading.oldest_unsent), _workers(reading), reading.at)
    if figures.error:
        return _chip("Queue", "unreachable", "bad", title)
    if outbox.outbox_is_stuck:
        return _chip("Outbox", outbox.unsent_words, "bad", title)
    if figures.visible is None:
        return _chip("Queue", "not asked yet", "", title)
    behind = _behind(reading, figures)
    if behind >= BEHIND:
        return _chip("Queue", f"{figures.visible:,}, {words.duration(behind)} behind", "warn", title)
    return _chip("Queue", f"{figures.visible:,}", "warn" if figures.visible >= MANY else "", title)


def workers_chip(reading: Reading) -> Chip:
    """How many workers run, of those that should."""
    workers = _workers(reading)
    if not workers.running:
        return _chip("Workers", workers.words, "bad", "No worker runs, so nothing is taken from the queue")
    title = f"{words.plural(workers.lost, 'worker')} fell silent" if workers.lost else "All workers report"
    return _chip("Workers", workers.words, "warn" if workers.lost else "", title)


def _workers(reading: Reading) -> Workers:
    return Workers(reading.workers, reading.lost_workers)


def _chip(name: str, value: str, tone: str, title: str) -> Chip:
    return {"name": name, "value": value, "tone": tone, "title": title}


def _behind(reading: Reading, figures: QueueFigures) -> timedelta:
    """What waits is at most so old: it was sent after the newest message that arrived, and after the queue was last seen empty."""
    known = [moment for moment in (reading.newest_sent_at, figures.empty_at) if moment]
    return reading.at - max(known) if figures.visible and known else timedelta()


def _queue_title(reading: Reading, figures: QueueFigures) -> str:
    parts = [figures.error.rstrip(".")] if figures.error else []
    if figures.visible is not None and figures.at:
        parts.append(f"At {words.clock(figures.at)}: {figures.visible:,} visible, {figures.in_flight:,} in flight")
    if figures.dead:
        parts.append(f"{figures.dead:,} in the dead-letter queue")
    if reading.unsent:
        parts.append(f"{reading.unsent:,} in the outbox")
    return ". ".join(parts)
