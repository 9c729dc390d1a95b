"""What every page's shell shows: environment, time, preferences, and whether messages flow."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from trades.web import words
from trades.web.counting import Counted
from trades.web.figures import open_exceptions
from trades.web.health import health_of, waiting_for
from trades.web.preferences import DENSITY, KEYS, RAIL, START, THEME

__all__ = ["shell", "waiting_for"]


def shell(request: HttpRequest) -> dict[str, object]:
    """The context of the shell. Costs two queries at most, and only for a signed-in person on a page that shows the shell."""
    now = timezone.now()
    return {
        "environment": settings.ENVIRONMENT_NAME,
        "theme": THEME.of(request),
        "density": DENSITY.of(request),
        "rail": RAIL.of(request),
        "single_keys": KEYS.of(request),
        "start_page": START.of(request),
        "now": now,
        "now_clock": words.clock(now),
        "now_day": f"{now:%A} {words.day(now)}",
        "sprite": words.sprite(),
        "open_exceptions": SimpleLazyObject(lambda: open_exceptions() if request.user.is_authenticated else Counted(0)),
        "waiting": SimpleLazyObject(lambda: waiting_for(request)),
        "health": SimpleLazyObject(lambda: health_of(request)),
    }
