"""A trade as it was known at a moment: what had been recorded by then, told by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from trades import description, retelling
from trades.course import Chapter, Story
from trades.models import Event, Trade

LAST_MICROSECOND = 999_999  # a moment that ends with it was stated to the second


def moment_of(text: str, *, zone: tzinfo | None = UTC) -> datetime:
    """The moment (UTC) that a text in ISO 8601 states; one that names no zone is taken to be in `zone`.

    Without a fraction of a second, as times are shown to people, it is the end of that second: what was recorded within it was known.
    Raises ValueError for what is no time, and for one that names no zone where none is given.
    """
    stated = datetime.fromisoformat(text)
    if stated.tzinfo is None and zone is None:
        raise ValueError(f"{text} names no zone")
    if not {".", ","} & set(text):
        stated = stated.replace(microsecond=LAST_MICROSECOND)
    try:
        return (stated if stated.tzinfo else stated.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text} is out of range") from error


def is_whole_second(moment: datetime) -> bool:
    """Whether the moment includes the whole second that it is stated to."""
    return moment.microsecond == LAST_MICROSECOND


def as_stated(moment: datetime) -> str:
    """The text that `moment_of` reads as this moment, in UTC: "2026-11-21T14:32:07+00:00", or to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="seconds" if is_whole_second(moment) else "microseconds")


@dataclass(frozen=True, slots=True)
class Told:
    """One event with its place, flags and effect as they were known."""

    event: Event
    chapter: Chapter

    @property
    def flags(self) -> list[str]:
        """The event's flags: those of the business order as known, and those that it got when it arrived."""
        return retelling.sorted_flags(self.chapter.flags, retelling.of_arrival(self.event.flags))


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of a trade; `moment` None is now. Without events the trade was not known yet."""

    trade: Trade
    moment: datetime | None
    events: Sequence[Event]
    story: Story
    values: description.Values = field(default_factory=dict)

    def in_queue_order(self) -> list[Told]:
        """The events in the order in which they were recorded."""
        return [Told(event, chapter) for event, chapter in zip(self.events, self.story.chapters, strict=True)]

    def in_business_order(self) -> list[Told]:
        """The events in the order that the documents themselves state."""
        return sorted(self.in_queue_order(), key=lambda told: told.chapter.place)


def as_known_at(trade: Trade, moment: datetime | None = None) -> Known:
    """State, description and history of the trade as they were known at that moment (UTC): the events recorded until then, without
    their details (deferred), told anew. None gives what is known now. Costs as much as the trade has events."""
    rows = Event.objects.filter(trade=trade).select_related("message").defer("details", "message__body").order_by("position")
    events = list(rows if moment is None else rows.filter(recorded_at__lte=moment))
    course = retelling.course_of(events)
    story = course.tell()
    search = description.search_for(course.happenings, story.chapters, [event.pk for event in events])
    description.find([search])
    return Known(trade, moment, events, story, search.values)
