"""What rows a history of some shape leads to: found by recording one such history, and undoing it.

Nothing here knows the rules of recording. A story of the shape is made of values that occur nowhere else, recorded by the portal's
own code in a transaction that is rolled back, and in the rows that this left those values are the places for another story's.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db import connection, models, transaction
from django.db.models import Q

from trades.models import AuditEntry, Document, Event, Hold, Message, Publication, Repeat, Trade, TradeException, TradeIdentifier, Upload
from trades.simulator import recording
from trades.simulator.market import Layout
from trades.simulator.shapes import Shape
from trades.simulator.stories import HEAD, WIDTH, At, Of, Story, sender_of

# In the order in which the rows of one step must be written.
MODELS: tuple[type[models.Model], ...] = (
    Upload, Document, Publication, Message, Trade, TradeIdentifier, TradeException, Event, Repeat, Hold, AuditEntry,
)  # fmt: skip
LONG_AGO = datetime(2001, 1, 1)  # noqa: DTZ001 - see calendar.EPOCH
QUEUE = "zq-template.fifo"


class NotTold(Exception):
    """A row holds something that the story does not say, so that it can't be made for another story."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A column that points at another row of the story: at the message of a step, else at the latest row of the model."""

    column: int
    model: type[models.Model]
    step: int = 0


@dataclass(frozen=True, slots=True)
class RowTemplate:
    """One row: its values by column, and where to put those of the story, alone or joined with text."""

    model: type[models.Model]
    values: tuple[Any, ...]
    slots: tuple[tuple[int, int], ...]
    joined: tuple[tuple[int, tuple[str | int, ...]], ...]
    references: tuple[Reference, ...]


@dataclass(slots=True)
class Template:
    """The rows of a whole history, by the step at which they are written."""

    rows: list[list[RowTemplate]] = field(default_factory=list)


class Templates:
    """The templates that were needed so far."""

    def __init__(self) -> None:
        self._made: dict[tuple[Shape, Layout, bool], Template] = {}

    def __len__(self) -> int:
        return len(self._made)

    def of(self, story: Story) -> Template:
        """The template for a story."""
        key = (story.shape, story.layout, story.is_published)
        if key not in self._made:
            self._made[key] = _recorded(marked(*key))
        return self._made[key]


# Stories of marks


def marked(shape: Shape, layout: Layout, is_published: bool) -> Story:
    """A story of this shape in which every value is another one."""
    pair, counted = layout is Layout.PAIR, layout in (Layout.SHARES, Layout.DATED)
    values = [
        QUEUE, "zqTrade", "", "zqOther", "", "zqBuyer", "ZQ0000000000BUYER001", "zqSeller", "ZQ000000000SELLER002", "zqProduct",
        "zqAssetClass", "zqIsin" if counted else "", "zqUnit" if counted else "", "XQA", "XQB" if pair else "", "zqPriceType", "1987-06-17",
        "1987-06-19", "1988-07-21",
    ]  # fmt: skip
    story = Story(shape, layout, is_published, values)
    for step in range(len(shape.steps)):
        values += _marks(story, step, pair, counted)
    recording.name_trade(story)
    return story


def _marks(story: Story, index: int, pair: bool, counted: bool) -> list[Any]:
    step, at = story.shape.steps[index], LONG_AGO + timedelta(seconds=1_000 * index)
    moments = [str(at + timedelta(seconds=number, microseconds=number)) for number in range(1, At.DELETED - At.CREATED + 2)]
    publication = str(uuid.UUID(int=0x4A00_0000_0000 + index)) if story.is_published else ""
    message_id, published = f"zqMessage{index:05}", [publication, publication.replace("-", "")]
    if step.copy_of is not None:
        values = story.values[story.at(step.copy_of) : story.at(step.copy_of) + WIDTH]
        values[At.CREATED : At.DELETED + 1] = moments
        values[At.MESSAGE_ID], values[At.PUBLICATION : At.PUBLICATION_HEX + 1] = message_id, published
        return values
    happened = datetime.fromisoformat(story.value(index - 1, At.HAPPENED)) - timedelta(seconds=4) if step.is_late else at
    reason = step.event in ("CORRECT", "CANCEL", "TERMINATE") or step.status in ("REJECTED", "DISPUTED")
    return [
        str(happened), f"{happened.isoformat()}Z", *moments, message_id, f"{sender_of(step)[1]}-zq{index:05}", f"zqWorker{index:05}",
        f"{7_100_000 + index}.25", f"{7_300_000 + index}.25" if pair else "", f"{7_500_000 + index}" if counted else "",
        f"{7_700_000 + index}.125", f"zqReason{index:05}" if reason else "", *published, f"zqFile{index:05}.xml",
        "", "", None, None, 0, 0, "", "",
    ]  # fmt: skip


# Recording and reading


def _recorded(story: Story) -> Template:
    with transaction.atomic():
        for step in range(len(story.shape.steps)):
            recording.make_message(story, step, 31_337_000 + step)
            recording.record(story, step)
        template = _Reading(story).template()
        transaction.set_rollback(True)
    return template


class _Reading:
    """Makes a template of the rows that a story left."""

    def __init__(self, story: Story) -> None:
        self.story = story
        steps = range(len(story.shape.steps))
        self.of_trade = dict(_placed(story, range(HEAD)))
        self.of_step = [dict(_placed(story, range(story.at(step), story.at(step) + WIDTH))) for step in steps]
        self.of_all: dict[Any, int] = {}
        for places in (*self.of_step, self.of_trade):
            self.of_all |= places
        self.step_of: dict[int, int] = {}
        self._patterns: dict[int | None, re.Pattern[str]] = {}

    def template(self) -> Template:
        made = Template([[] for _ in self.story.shape.steps])
        messages = list(Message.objects.filter(queue=QUEUE).order_by("id"))
        steps = {self.story.value(step, At.MESSAGE_ID): step for step in range(len(self.of_step))}
        self.step_of = {message.pk: steps[message.message_id] for message in messages}
        for model in MODELS:
            for row, step in self._found(model):
                made.rows[step].append(self._row(row, step))
        events = sum(row.model is Event for rows in made.rows for row in rows)
        if events != self.story.shape.events:
            raise NotTold(f"{self.story.shape.text} makes {events} events and not {self.story.shape.events}")
        return made

    def _found(self, model: type[models.Model]) -> Iterator[tuple[models.Model, int]]:
        """The rows of a model, each with the step at which it is to be written."""
        at = self.step_of
        by_message = {Repeat: Q(message__in=at), AuditEntry: Q(message__in=at), Event: Q(message__in=at), Hold: Q(message__in=at)}
        rows = model._default_manager.order_by("pk")  # noqa: SLF001
        if model is Message:
            yield from ((row, at[row.pk]) for row in rows.filter(pk__in=at))
        elif model in by_message:
            yield from ((row, at[row.message_id]) for row in rows.filter(by_message[model]))  # type: ignore[attr-defined]
        elif model in (Trade, TradeIdentifier, TradeException):
            first = min(at[pk] for pk in Event.objects.filter(message__in=at).values_list("message_id", flat=True))
            key = self.story.values[Of.KEY]
            yield from ((row, first) for row in rows.filter(**{"key" if model is Trade else "trade__key": key}))
        else:
            yield from self._handed_in(model, rows)

    def _handed_in(self, model: type[models.Model], rows: models.QuerySet[Any]) -> Iterator[tuple[models.Model, int]]:
        steps = {self.story.value(step, At.PUBLICATION): step for step in range(len(self.of_step))}
        published = Publication.objects.filter(publication_id__in=[uuid.UUID(text) for text in steps if text])
        for publication in published.select_related("document").order_by("id"):
            wanted = {Publication: publication.pk, Document: publication.document_id, Upload: publication.document.upload_id}[model]
            yield rows.get(pk=wanted), steps[str(publication.publication_id)]

    def _row(self, row: models.Model, step: int) -> RowTemplate:
        values: list[Any] = []
        slots: list[tuple[int, int]] = []
        joined: list[tuple[int, tuple[str | int, ...]]] = []
        references: list[Reference] = []
        of_trade_alone = isinstance(row, (Trade, TradeIdentifier, TradeException))
        for column, named in enumerate(row._meta.concrete_fields):  # noqa: SLF001
            value = getattr(row, named.attname)
            target = named.related_model
            if named.primary_key or value is None:
                values.append(None)
            elif isinstance(target, type):
                values.append(None)
                references.append(Reference(column, target, self.step_of[value] if target is Message else 0))
            elif named.name == "size":
                values.append(0)
                slots.append((column, self.story.at(step) + (At.SIZE_SENT if isinstance(row, Publication) else At.SIZE)))
            else:
                found = self._parts(value, None if of_trade_alone else step)
                values.append(named.get_db_prep_save(value, connection) if found is None else None)
                if isinstance(found, int):
                    slots.append((column, found))
                elif found:
                    joined.append((column, found))
        return RowTemplate(type(row), tuple(values), tuple(slots), tuple(joined), tuple(references))

    def _parts(self, value: Any, step: int | None) -> int | tuple[str | int, ...] | None:
        """The place in the story that a value is from, or its parts; None for one that any story of the shape leads to."""
        if isinstance(value, (bool, int)) or value == "":
            return None
        places = self.of_all if step is None else self.of_all | self.of_step[step] | self.of_trade
        key = _key(value)
        if (place := places.get(key)) is not None:
            return place
        if isinstance(value, (datetime, date, uuid.UUID, bytes)):
            raise NotTold(f"{value!r} is not in the story")
        nearby = self.of_all if step is None else self.of_step[step] | self.of_trade
        if step not in self._patterns:
            marks = sorted((mark for mark in nearby if isinstance(mark, str)), key=len, reverse=True)
            self._patterns[step] = re.compile(f"({'|'.join(map(re.escape, marks))})")
        cut: list[str] = [part for part in self._patterns[step].split(key) if part]
        parts: tuple[str | int, ...] = tuple(nearby.get(part, part) for part in cut)
        return None if len(parts) == 1 and not isinstance(value, (dict, list)) else parts


def _placed(story: Story, places: Sequence[int]) -> Iterator[tuple[Any, int]]:
    return ((story.values[place], place) for place in places if isinstance(story.values[place], (str, bytes)) and story.values[place])


def _key(value: Any) -> Any:
    """A value as the story would hold it."""
    if isinstance(value, datetime):
        return str(value.replace(tzinfo=None))
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, memoryview):
        return bytes(value)
    return value.isoformat() if isinstance(value, date) else value
