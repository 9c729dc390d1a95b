"""The dialects in use: those that come with the portal, then those of TRADES_DIALECTS_DIR. Whatever reads a message asks here.

They are read once in a process, so that all messages of a batch are read alike; a changed folder counts after a restart.
"""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

from django.conf import settings

from trades.messages import MappingError, Registry, builtin, load
from trades.messages.registry import FOLDER

logger = logging.getLogger(__name__)


def in_use() -> Registry:
    """The dialects in use; those of the portal alone while the folder has faults (`faults` says which, and so does every start)."""
    return _in_use(settings.TRADES_DIALECTS_DIR)


def faults() -> tuple[str, ...]:
    """What is wrong with the folder of further dialects, a sentence for each fault with its file and key; none when all is well."""
    try:
        _read(settings.TRADES_DIALECTS_DIR)
    except MappingError as error:
        return tuple(map(str, error.args))
    return ()


@cache
def _in_use(folder: str) -> Registry:
    try:
        return _read(folder)
    except MappingError as error:
        logger.error("TRADES_DIALECTS_DIR is passed over: %s", error)
        return builtin()


def _read(folder: str) -> Registry:
    if not folder:
        return builtin()
    path = Path(folder)
    if not path.is_dir():
        raise MappingError(f"{folder} is no folder that can be read; expected one with a TOML file for each dialect.")
    return load(FOLDER / "dialects", path)
