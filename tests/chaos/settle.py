"""People settle what was quarantined, with the portal's own commands: some is replayed by those who can read it, the rest discarded."""

from __future__ import annotations

from contextlib import ExitStack

from tests.chaos.arena import Arena
from tests.support.processes import manage

MOST_ROUNDS = 3


def settle_everything(arena: Arena) -> tuple[int, int, list[str]]:
    """With the dialect of the poison in use, replay every other quarantined message and discard the others; again where one is left.

    Gives how many were replayed and discarded, and what the commands printed where they failed.
    """
    replayed = discarded = 0
    knowing = {**arena.environment, "TRADES_DIALECTS_DIR": str(arena.folder / "files" / "dialects")}
    for _ in range(MOST_ROUNDS):
        waiting = _quarantined(arena)
        if not waiting:
            return replayed, discarded, []
        readable, others = waiting[::2], waiting[1::2]
        with ExitStack() as stack:
            acting = [
                stack.enter_context(manage("quarantine", action, *ids, *options, environment=knowing))
                for action, ids, options in (("replay", readable, ()), ("discard", others, ("--reason", "chaos")))
                if ids
            ]
            problems = [process.output for process in acting if process.wait(120)]
        if problems:
            return replayed, discarded, problems
        replayed, discarded = replayed + len(readable), discarded + len(others)
    return replayed, discarded, [f"after {MOST_ROUNDS} rounds messages are still quarantined"]


def _quarantined(arena: Arena) -> list[str]:
    with arena.postgres.connect() as connection:
        rows = connection.execute("SELECT id FROM trades_message WHERE outcome = 'QUARANTINED' ORDER BY id").fetchall()
    return [str(pk) for (pk,) in rows]
