"""What every page's shell shows: environment, time, theme, and how much waits in quarantine and outbox."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db.models import CharField, Count, Value
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from trades.models import Message, Publication
from trades.web import words
from trades.web.preferences import theme_of

COUNTED = "trades.waiting"


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages are in quarantine and how many publications are not sent yet."""

    quarantined: int = 0
    unsent: int = 0


def shell(request: HttpRequest) -> dict[str, object]:
    """The context of the shell. Costs one query, and only for a signed-in person on a page that shows the counts."""
    now = timezone.now()
    return {
        "environment": settings.ENVIRONMENT_NAME,
        "theme": theme_of(request),
        "now": now,
        "now_clock": words.clock(now),
        "now_day": f"{now:%A} {words.day(now)}",
        "sprite": words.sprite(),
        "waiting": SimpleLazyObject(lambda: waiting_for(request)),
    }


def waiting_for(request: HttpRequest) -> Waiting:
    """The counts, nothing for somebody who is not signed in. Read once per request, in one query over two partial indexes."""
    counted: Waiting | None = request.META.get(COUNTED)
    if counted is None:
        counted = request.META[COUNTED] = _count() if request.user.is_authenticated else Waiting()
    return counted


def _count() -> Waiting:
    quarantined = Message.objects.filter(outcome=Message.Outcome.QUARANTINED)
    unsent = Publication.objects.filter(state=Publication.State.PENDING)
    counts = [
        rows.order_by().annotate(what=Value(what, CharField())).values("what").annotate(n=Count("pk")).values_list("what", "n")
        for what, rows in (("quarantined", quarantined), ("unsent", unsent))
    ]
    return Waiting(**dict(counts[0].union(counts[1], all=True)))
