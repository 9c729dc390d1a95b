"""When a market is at work: moments on a scale of activity, where an hour at night is short. Pure."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import accumulate

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - all moments here are UTC without saying so, as the rows hold them
HOUR = 3600.0
BUSY = range(7, 17)
EDGE = (6, 17, 18)


def _weight(hour: datetime) -> float:
    if hour.weekday() > 4:
        return 0.02
    return 1.0 if hour.hour in BUSY else 0.25 if hour.hour in EDGE else 0.05


class Calendar:
    """The days up to a moment, measured in hours of full activity."""

    def __init__(self, now: datetime, days: int) -> None:
        self.now = now.astimezone(UTC).replace(tzinfo=None)
        first = (self.now - timedelta(days=days)).replace(minute=0, second=0, microsecond=0)
        hours = [first + timedelta(hours=number) for number in range(24 * days + 1)]
        self._first = (first - EPOCH).total_seconds()
        self._weights = [_weight(hour) for hour in hours]
        self._before = [0.0, *accumulate(self._weights)]
        self.total = self.activity(self.now)

    def activity(self, moment: datetime) -> float:
        """How much activity there was up to a moment."""
        hours, rest = divmod((moment - EPOCH).total_seconds() - self._first, HOUR)
        return self._before[int(hours)] + self._weights[int(hours)] * rest / HOUR

    def seconds(self, activity: float) -> float:
        """The moment, in seconds since 1970, up to which there was so much activity."""
        activity = min(max(activity, 0.0), self.total)
        hour = min(bisect_right(self._before, activity) - 1, len(self._weights) - 1)
        return self._first + HOUR * (hour + (activity - self._before[hour]) / self._weights[hour])
