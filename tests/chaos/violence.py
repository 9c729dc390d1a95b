"""Doing what the plan says to running processes, PostgreSQL and the network, and ending it."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Self

from tests.chaos.arena import Arena
from tests.chaos.plan import Act
from tests.chaos.supervisor import Supervisor

SLOW_DELAY = 0.05
# What waited for a moment is not done all at once.
MOMENT_PAUSE = 0.5


class Violence:
    """Carries out a plan step by step. An act without a target just now waits for one, and one with a moment of its own
    ("busy", "sending") for that. Use as a context manager: leaving it puts everything back in order."""

    def __init__(self, acts: Sequence[Act], arena: Arena, supervisor: Supervisor, moments: Mapping[str, Callable[[], bool]]) -> None:
        self.arena = arena
        self.supervisor = supervisor
        self.moments = moments
        self.done: Counter[str] = Counter()
        self.due = list(acts)
        self._ends: list[tuple[float, Callable[[], object]]] = []
        self._controlling: Future[None] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="postgres")
        self._over = Event()
        self._not_before: dict[str, float] = {}
        self.proxies = {"database": arena.database, "broker": arena.broker}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for ending in self._ends:
            ending[1]()
        self._pool.shutdown()
        if self._controlling:
            self._controlling.result()

    def tick(self, elapsed: float) -> None:
        """Do what is due `elapsed` seconds after the beginning, and end what has lasted."""
        for ending in [ending for ending in self._ends if ending[0] <= elapsed]:
            self._ends.remove(ending)
            ending[1]()
        for act in [act for act in self.due if act.at <= elapsed]:
            if self._is_the_moment(act, elapsed) and self._perform(act, elapsed):
                self.due.remove(act)
                self.done[f"{act.what} {act.whom}"] += 1

    def _is_the_moment(self, act: Act, elapsed: float) -> bool:
        word, _, what = act.whom.partition(" ")
        if not what:
            return True
        if elapsed < self._not_before.get(word, 0) or not self.moments[word]():
            return False
        self._not_before[word] = elapsed + MOMENT_PAUSE
        return True

    def _perform(self, act: Act, elapsed: float) -> bool:
        whom = act.whom.rpartition(" ")[2]
        if act.what in {"SIGKILL", "SIGTERM"}:
            return self.supervisor.send(whom, act.chance, signal.Signals[act.what])
        if whom == "database" and act.what.split()[0] in {"restart", "stop"}:
            return self._control(act)
        proxy = self.proxies[whom]
        if act.what == "sever":
            return proxy.sever() > 0
        if act.what == "slow":
            proxy.delay = SLOW_DELAY
            self._ends.append((elapsed + act.seconds, partial(setattr, proxy, "delay", proxy.usual)))
        elif act.what == "swallow answers":
            proxy.swallow(on=True)
            self._ends.append((elapsed + act.seconds, partial(proxy.swallow, on=False)))
        else:
            proxy.close()
            self._ends.append((elapsed + act.seconds, proxy.open))
        return True

    def _control(self, act: Act) -> bool:
        if self._controlling and not self._controlling.done():
            return False
        if self._controlling:
            self._controlling.result()
        self._controlling = self._pool.submit(self._restart, act)
        return True

    def _restart(self, act: Act) -> None:
        postgres = self.arena.postgres
        if act.what == "restart fast":
            postgres.restart("fast")
        elif act.what == "restart immediate":
            postgres.restart("immediate")
        else:
            postgres.stop("fast" if act.chance < 0.5 else "immediate")
            self._over.wait(act.seconds)
            postgres.start()
