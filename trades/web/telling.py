"""A trade's events told for a page: where each stands in either order, what is out of place about it, and what it is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from trades import description, retelling
from trades.course import Chapter, Course, Story
from trades.lifecycle import Flag, Happening
from trades.messages.facts import EventClass
from trades.models import Event, Trade
from trades.web.reading import Reading


@dataclass(frozen=True, slots=True)
class Known:
    """What telling a trade needs of one of its events."""

    pk: int
    happening: Happening
    flags: list[str]
    recorded_at: datetime
    reason: str

    @property
    def time(self) -> datetime:
        """When it happened as the document states it, else when it was recorded."""
        return self.happening.time or self.recorded_at


@dataclass(frozen=True, slots=True)
class Relation:
    """A word about another event of the same trade: "Corrects", and that event's position."""

    word: str
    position: int


class Telling:
    """The events of a trade that were known at a moment, by position (from 1), with the story they tell."""

    def __init__(self, events: Sequence[Known]) -> None:
        self.events = events
        self.happenings = [known.happening for known in events]
        self.story: Story = Course(self.happenings).tell()
        self.chapters: Sequence[Chapter] = self.story.chapters
        order = sorted(range(len(events)), key=lambda index: self.chapters[index].place)
        self.business_order = [index + 1 for index in order]
        self._relations = _relations(self.happenings, self.chapters)

    @property
    def count(self) -> int:
        """How many events were known."""
        return len(self.events)

    def positions(self, reading: Reading) -> Sequence[int]:
        """The positions of all events in the order that is asked for, the earliest first."""
        return self.business_order if reading.is_business else range(1, self.count + 1)

    def place(self, position: int, reading: Reading) -> int:
        """Where an event stands in the order that is asked for, from 1."""
        return self.chapters[position - 1].place if reading.is_business else position

    def flags(self, position: int) -> list[str]:
        """What is out of place about an event: by the business order, and since its arrival."""
        arrived_with = retelling.of_arrival(self.events[position - 1].flags)
        return retelling.sorted_flags(self.chapters[position - 1].flags, arrived_with)

    def relations(self, position: int) -> list[Relation]:
        """The other events that an event is about, or that are about it."""
        return self._relations.get(position, [])

    def missing_versions(self) -> dict[int, tuple[int, int]]:
        """The first and last version that are missing right before an event in business order, by the event's position."""
        missing, highest = {}, None
        for position in self.business_order:
            version = self.happenings[position - 1].version
            if version is not None and highest is not None and Flag.GAP in self.chapters[position - 1].flags and version > highest + 1:
                missing[position] = (highest + 1, version - 1)
            if version is not None:
                highest = version if highest is None else max(highest, version)
        return missing

    def in_business_order(self) -> Iterator[tuple[Known, Chapter]]:
        """Every event with its chapter, the earliest first."""
        return ((self.events[position - 1], self.chapters[position - 1]) for position in self.business_order)

    def most_telling(self) -> list[int]:
        """The rows of the events in force, those first whose values describe the trade."""
        search = description.search_for(self.happenings, self.chapters, [known.pk for known in self.events])
        return [source for source in search.sources if isinstance(source, int)]


def tell(trade: Trade, moment: datetime | None) -> Telling:
    """The trade as it was known at the moment (UTC), None for now. One query for the few columns it takes, of every event."""
    rows = Event.objects.filter(trade=trade).order_by("position")
    rows = rows if moment is None else rows.filter(recorded_at__lte=moment)
    columns = rows.values_list("pk", "flags", "recorded_at", "reason", *retelling.LIGHT)
    return Telling([Known(pk, retelling.happening_of_row(light), flags, at, why) for pk, flags, at, why, *light in columns.iterator(2_000)])


def _relations(happenings: Sequence[Happening], chapters: Sequence[Chapter]) -> dict[int, list[Relation]]:
    relations: dict[int, list[Relation]] = defaultdict(list)
    alike: dict[tuple[EventClass, int | None], list[int]] = defaultdict(list)
    for position, (happening, chapter) in enumerate(zip(happenings, chapters, strict=True), start=1):
        if chapter.addresses is not None:
            target, is_correction = chapter.addresses + 1, happening.event_class is EventClass.CORRECT
            relations[position].append(Relation("Corrects" if is_correction else "Retracts", target))
            relations[target].append(Relation("Corrected by" if is_correction else "Retracted by", position))
        if Flag.VERSION_CONFLICT in chapter.flags:
            alike[happening.event_class, happening.version].append(position)
    for positions in alike.values():
        for position in positions:
            relations[position] += [Relation("Conflicts with", other) for other in positions[:4] if other != position]
    return relations
