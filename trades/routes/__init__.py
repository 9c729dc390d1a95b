"""The queues that the portal knows, where each is, and which message goes to which: a TOML file (TRADES_QUEUES_FILE).

It is read once in a process, so that all messages of an upload go by the same routes; a changed file counts after a restart.
"""

from trades.routes.advice import Warned, warnings
from trades.routes.file import BadQueuesFile, faults, in_use
from trades.routes.places import attributes_of, choose, content_deduplication, is_partners, known_queues, limit_of, open_queue, own_queues
from trades.routes.table import Choice, Definition, Route, Table

__all__ = [
    "BadQueuesFile",
    "Choice",
    "Definition",
    "Route",
    "Table",
    "Warned",
    "attributes_of",
    "choose",
    "content_deduplication",
    "faults",
    "in_use",
    "is_partners",
    "known_queues",
    "limit_of",
    "open_queue",
    "own_queues",
    "warnings",
]
