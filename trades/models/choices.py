"""Choices of a column from an enum."""

from __future__ import annotations

from trades.lifecycle import State, Status
from trades.messages.facts import EventClass


def choices_of(enum: type[State | Status | EventClass]) -> list[tuple[str, str]]:
    """Django choices of an enum, each shown as a word: ("PENDING", "Pending")."""
    return [(member.value, member.value.replace("_", " ").capitalize()) for member in enum]
