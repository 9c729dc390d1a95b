"""What of a queue's outbox may be sent next, planned by key: the texts are read when they are sent."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from trades import sqs
from trades.models import Publication

WINDOW = 1000  # keys read at a time
MOST = 20_000  # keys held, whatever the number of their groups
LOOK = 20  # groups that may go next, before more keys are read for full calls
PLENTY = 50  # groups that may go next, for calls to be planned ahead
POINTER_BYTES = 1024  # a message whose text is in S3, attributes included, has at most so many


class Key(NamedTuple):
    """One unsent row, the bytes that it takes in a call, and those of its text."""

    pk: int
    group: str
    size: int
    text_size: int


class Backlog:
    """The unsent publications of one queue, oldest first. Of each group only the first is ever offered, and the next one when that
    is sent (`go_on`); one that was not sent stops its group (`stop`)."""

    def __init__(self, queue: str, limit: int, skip: Iterable[str] = ()) -> None:
        self._rows = Publication.objects.unsent().filter(queue=queue)
        self._limit = limit
        self._stopped = set(skip)
        self._groups: dict[str, deque[Key]] = {}
        self._heads: list[Key] = []
        self._held = 0
        self._last = 0
        self._is_read = False

    def take(self) -> list[Key]:
        """The rows of the next call, up to 10 messages and 1 MiB and never two of a group, so that one that fails can't be overtaken
        by the next of its group; none when there is nothing that may be sent."""
        self._fill()
        call: list[Key] = []
        later: list[Key] = []
        size = 0
        while self._heads and len(call) < sqs.MAX_BATCH and len(later) < sqs.MAX_BATCH:
            key = heapq.heappop(self._heads)
            if call and size + key.size > sqs.MAX_BATCH_BYTES:
                later.append(key)
            else:
                call.append(key)
                size += key.size
        for key in later:
            heapq.heappush(self._heads, key)
        return call

    @property
    def has_more(self) -> bool:
        """Whether another call could be made at once."""
        return bool(self._heads)

    @property
    def has_plenty(self) -> bool:
        """Whether so many groups may go on that calls can be planned ahead, and none will be half empty for it in the end."""
        return len(self._heads) >= PLENTY

    def go_on(self, group: str) -> None:
        """The group's row is done with: the next one may go."""
        keys = self._groups[group]
        keys.popleft()
        self._held -= 1
        if keys:
            heapq.heappush(self._heads, keys[0])
        else:
            del self._groups[group]

    def stop(self, group: str) -> None:
        """Offer nothing more of the group."""
        self._stopped.add(group)
        self._held -= len(self._groups.pop(group))

    def _fill(self) -> None:
        while len(self._heads) < LOOK and self._held < MOST and not self._is_read:
            rows = self._rows.filter(pk__gt=self._last)
            if self._stopped:
                rows = rows.exclude(group_id__among=self._stopped)
            found = list(rows.values_list("pk", "group_id", "size")[:WINDOW])
            self._is_read = not found
            for pk, group, size in found:
                self._add(Key(pk, group, self._in_call(size), size))

    def _add(self, key: Key) -> None:
        self._last = key.pk
        self._held += 1
        if key.group in self._groups:
            self._groups[key.group].append(key)
        else:
            self._groups[key.group] = deque([key])
            heapq.heappush(self._heads, key)

    def _in_call(self, size: int) -> int:
        # Of rows from before sizes were kept (0) nothing is known.
        return min(size, POINTER_BYTES) if size > self._limit else size or sqs.MAX_BATCH_BYTES
