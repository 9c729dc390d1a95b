"""Threads that pass a baton: exactly one runs at a time, and a seeded generator says which. Time is virtual.

A process is one or more actors (threads). It dies at any pause: from then on nothing that its threads do has an effect, as if the
machine had been switched off. Nothing here waits for real time.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace, TracebackType

from django.db import connections

from tests.fifo.model import VirtualClock

# Real seconds after which an actor that gave no sign is taken for stuck; a fault of the suite, not of the product.
STUCK_SECONDS = 60.0
# How often an actor in the middle of a statement is looked at, in real seconds.
LOOK_SECONDS = 0.002
NEVER = float("inf")
Body = Callable[["Actor"], None]


class Died(BaseException):
    """The process of this thread is gone. No `except Exception` may stop it."""


class Stuck(Exception):
    """An actor holds the baton and does not come back: the suite itself waits for something real."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the log: who went on from where, at what virtual time, or what struck there."""

    number: int
    at: float
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.number:5}  {self.at:10.3f} s  {self.who:22} {self.what}"


@dataclass
class Outcome:
    """What came of one seed."""

    seed: int
    steps: int = 0
    accepted: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    log: list[Step] = field(default_factory=list)


@dataclass(eq=False)
class Process:
    """What lives and dies together. `body` runs in its first actor, again and again: each time as a new process would."""

    name: str
    body: Body
    actors: list[Actor] = field(default_factory=list)
    weight: int = 1
    frozen_until: float = 0.0
    is_dying: bool = False
    lives: int = 0
    stop: VirtualEvent | None = None

    @property
    def kind(self) -> str:
        """What it is, without its number: worker of "worker 2"."""
        return self.name.split(maxsplit=1)[0]


class Actor:
    """One thread of a process."""

    def __init__(self, scheduler: Scheduler, process: Process, name: str, target: Callable[[Actor], None]) -> None:
        self.scheduler = scheduler
        self.process = process
        self.name = name
        self.life = process.lives
        self.wake_at = 0.0
        self.in_transaction = False
        self.backend = 0
        self.blocked = False
        self.must_report = False
        self.finished = False
        # Both are taken but for an instant: `go` while it may not run, `back` until it pauses.
        self.go, self.back = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.back.acquire()
        self.thread = threading.Thread(target=self._run, args=(target,), name=name, daemon=True)
        self.thread.start()

    @property
    def is_dead(self) -> bool:
        """Whether the process it belongs to is gone, or another life of it runs."""
        return self.process.is_dying or self.life != self.process.lives or self.scheduler.is_over

    def check(self) -> None:
        """Raise Died where the process is gone."""
        if self.is_dead:
            raise Died

    def pause(self, point: str, until: float = 0.0) -> None:
        """Give the baton away, and go on when the scheduler says so: not before the virtual time `until`."""
        self.check()
        self.wake_at = until
        self.scheduler.take_back(self, point)
        self.check()

    def sleep(self, seconds: float) -> None:
        """Pause for so many virtual seconds."""
        self.pause("sleeps", self.scheduler.clock.now + seconds)

    def _run(self, target: Callable[[Actor], None]) -> None:
        self.go.acquire()
        try:
            if not self.scheduler.is_over:
                target(self)
        except Died:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever ends an actor is told in the end
            self.scheduler.failed(self, error)
        finally:
            _forget_connections()
            self.finished = True
            self.back.release()


class Scheduler:
    """Who moves next, and what time it is."""

    def __init__(self, rng: Random, clock: VirtualClock, pace: float) -> None:
        self.rng = rng
        self.clock = clock
        self.pace = pace
        self.began = clock.now
        self.processes: list[Process] = []
        self.actors: list[Actor] = []
        self.current: Actor | None = None
        self.is_over = False
        self.steps = 0
        self.log: list[Step] = []
        self.errors: list[tuple[Actor, BaseException]] = []
        self.prepare: Callable[[Actor], None] = lambda actor: None
        self.is_blocked: Callable[[Actor], bool] | None = None

    # Processes

    def start(self, name: str, body: Body, weight: int = 1) -> Process:
        """A process that runs `body`, and runs it anew when it has ended or died."""
        process = Process(name, body, weight=weight)
        self.processes.append(process)
        self.actors.append(Actor(self, process, name, self._lives_of(process)))
        return process

    def spawn(self, process: Process, name: str, target: Callable[[], None]) -> Actor:
        """A further thread of a process that is running."""

        def run(actor: Actor) -> None:
            self.prepare(actor)
            target()

        actor = Actor(self, process, f"{process.name} {name}", run)
        self.actors.append(actor)
        return actor

    def _lives_of(self, process: Process) -> Callable[[Actor], None]:
        def live(actor: Actor) -> None:
            while not self.is_over:
                process.lives += 1
                actor.life, process.is_dying, process.stop = process.lives, False, None
                _forget_connections()
                with suppress(Died):
                    self.prepare(actor)
                    process.body(actor)
                process.is_dying = False
                # Threads of the life that is over belong to no life any more.
                process.lives += 1
                actor.life = process.lives
                actor.in_transaction = False
                actor.sleep(self.rng.uniform(0.5, 5))

        return live

    def kill(self, process: Process) -> None:
        """From now on nothing that the process does has an effect. If it is the current one, the caller raises Died."""
        process.is_dying = True
        for actor in self.actors:
            if actor.process is process:
                actor.wake_at = 0.0

    def failed(self, actor: Actor, error: BaseException) -> None:
        """An actor ended with an error that nothing in the product handles."""
        self.errors.append((actor, error))

    # The baton

    def take_back(self, actor: Actor, point: str) -> None:
        """Called by the actor that runs: give the baton to the scheduler, and wait for it."""
        self.note(actor.name, point)
        self.current = None
        actor.back.release()
        actor.go.acquire()

    def report(self, actor: Actor) -> None:
        """Called by an actor that had to wait in the database, while another may run: wait for the baton."""
        actor.back.release()
        actor.go.acquire()

    def note(self, who: str, what: str) -> None:
        """A line in the log."""
        self.log.append(Step(self.steps, self.clock.now - self.began, who, what))

    def step(self) -> None:
        """One actor goes on to its next pause."""
        self.actors = [actor for actor in self.actors if not actor.finished]
        self.clock.advance(self.rng.random() * self.pace)
        movable = [actor for actor in self.actors if not actor.blocked]
        ready = [actor for actor in movable if self._ready_at(actor) <= self.clock.now]
        if not ready:
            first = min(self._ready_at(actor) for actor in movable)
            self.clock.advance(max(0.0, first - self.clock.now))
            ready = [actor for actor in movable if self._ready_at(actor) <= self.clock.now]
        self.steps += 1
        self.resume(self.rng.choices(ready, [actor.process.weight for actor in ready])[0])

    def _ready_at(self, actor: Actor) -> float:
        return 0.0 if actor.process.is_dying else max(actor.wake_at, actor.process.frozen_until)

    def resume(self, actor: Actor) -> None:
        """Hand the baton to the actor and wait until it comes back, or until the database makes the actor wait."""
        self.current = actor
        actor.go.release()
        self._await(actor)
        self.current = None
        for waiting in [each for each in self.actors if each.blocked]:
            self._await(waiting)

    def _await(self, actor: Actor) -> None:
        if self.is_blocked is None:
            if not actor.back.acquire(timeout=STUCK_SECONDS):
                raise _stuck(actor)
            actor.blocked = False
            return
        for _ in range(int(STUCK_SECONDS / LOOK_SECONDS)):
            if actor.back.acquire(timeout=0 if actor.blocked else LOOK_SECONDS):
                break
            if self.is_blocked(actor):
                if actor.back.acquire(blocking=False):
                    break
                # One who waits for a second lock right after the first may or may not be seen in between: told once.
                if not actor.must_report:
                    self.note(actor.name, "waits in the database")
                actor.blocked = actor.must_report = True
                return
            # It waits no more, and comes to its next pause by itself.
            actor.blocked = False
        else:
            raise _stuck(actor)
        actor.blocked = False

    def end(self) -> None:
        """Let every thread unwind."""
        self.is_over = True
        for _ in range(1000):
            living = [actor for actor in self.actors if not actor.finished]
            if not living:
                break
            for actor in [each for each in living if not each.blocked] or living:
                self.resume(actor)
        for actor in self.actors:
            actor.thread.join(STUCK_SECONDS)


def _forget_connections() -> None:
    """A new process makes its own connection, and knows nothing of those before."""
    connections.close_all()
    with suppress(AttributeError):
        del connections["default"]


def _stuck(actor: Actor) -> Stuck:
    frame = sys._current_frames().get(actor.thread.ident or 0)
    return Stuck(f"{actor.name} does not come back from\n{''.join(traceback.format_stack(frame)) if frame else 'nowhere'}")


# Stand-ins for what the product takes from `threading`


class VirtualEvent:
    """As threading.Event, on virtual time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.flag = False
        self.waiting: list[Actor] = []

    def is_set(self) -> bool:
        """As threading.Event."""
        return self.flag

    def set(self) -> None:
        """As threading.Event."""
        self.flag = True
        for actor in self.waiting:
            actor.wake_at = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        """As threading.Event."""
        actor = self.scheduler.current
        assert actor is not None
        actor.check()
        if not self.flag:
            self.waiting.append(actor)
            try:
                actor.pause("waits", self.scheduler.clock.now + (NEVER if timeout is None else timeout))
            finally:
                self.waiting.remove(actor)
        return self.flag


class VirtualLock:
    """As threading.Lock, for locks that may be held through a pause."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.is_held = False

    def __enter__(self) -> None:
        actor = self.scheduler.current
        assert actor is not None
        while self.is_held and not actor.is_dead:
            actor.pause("waits for a lock", self.scheduler.clock.now + 0.01)
        self.is_held = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.is_held = False


def virtual_threading(scheduler: Scheduler) -> SimpleNamespace:
    """The names that the product uses of the module `threading`."""

    def thread(target: Callable[[], None], name: str = "thread", **_: object) -> SimpleNamespace:
        current = scheduler.current
        assert current is not None
        return SimpleNamespace(start=lambda: scheduler.spawn(current.process, name, target))

    return SimpleNamespace(Lock=lambda: VirtualLock(scheduler), Event=lambda: VirtualEvent(scheduler), Thread=thread)
