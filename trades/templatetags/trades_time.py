"""Times in templates that no view fills."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import template
from django.utils import timezone

from trades.web import words

register = template.Library()


@register.filter
def later(moment: datetime | None, length: timedelta | None) -> str:
    """The time of day that lies so much later: "14:45:00 UTC"."""
    return words.clock((moment or timezone.now()) + (length or timedelta()))
