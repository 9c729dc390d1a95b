"""The strip over the blotter: what there is and how fast it comes, each figure a link to what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.cache import cache
from django.db.models import QuerySet
from django.urls import reverse

from trades import exceptions as trouble
from trades.lifecycle import State, Status
from trades.models import Message, Trade
from trades.web import words
from trades.web.counting import KEPT, Counted, Leg
from trades.web.trade_filter import unfinished

NEWEST = 200  # messages whose way is measured
TARGET = timedelta(seconds=5)
UNCONFIRMED = (Status.RECEIVED.value, Status.CHECKED.value, Status.ALLEGED.value)
WRONG = (Status.DISPUTED.value, Status.REJECTED.value)
IN_PROGRESS = "?state=PENDING&state=LIVE&status=RECEIVED&status=CHECKED&status=ALLEGED"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, a line about it, and where it leads."""

    key: str
    name: str
    value: str
    told: str
    href: str
    tone: str = ""
    icon: str = ""


def legs(now: datetime) -> dict[str, Leg]:
    """What has to be counted for the strip."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    hour_ago = (now - timedelta(hours=1)).replace(second=0, microsecond=0)
    trades = Trade.objects.order_by().values_list("pk")
    return {
        "today": Leg(trades.filter(first_seen_at__gte=midnight)),
        "hour": Leg(trades.filter(first_seen_at__gte=hour_ago)),
        "progress": Leg(in_progress()),
        "pending": Leg(trades.filter(state=State.PENDING.value)),
        "confirmed": Leg(trades.filter(status=Status.CONFIRMED.value)),
        "confirmed today": Leg(trades.filter(status=Status.CONFIRMED.value, updated_at__gte=midnight)),
        "settled": Leg(trades.filter(status=Status.SETTLED.value)),
        "settled today": Leg(trades.filter(status=Status.SETTLED.value, updated_at__gte=midnight)),
        "wrong": Leg(trades.filter(unfinished(), status__in=WRONG)),
        "quarantine": Leg(Message.objects.filter(outcome=Message.Outcome.QUARANTINED).order_by().values_list("pk")),
        "groups": Leg(trouble.waiting_groups().order_by().values_list("pk")),
    }


def in_progress() -> QuerySet[Any, Any]:
    """The trades that are neither ended nor confirmed yet, asked status by status as the index has them."""
    trades = Trade.objects.filter(unfinished()).order_by().values_list("pk")
    first, *others = (trades.filter(status=status) for status in UNCONFIRMED)
    return first.union(*others, all=True)


def figures(counts: Mapping[str, Counted]) -> list[Figure]:
    """The strip. Two queries at most: for the exceptions, and for the times that the newest messages took."""
    trades, slow = reverse("trades"), latency()
    today = {name: f"{counts[name + ' today']} updated today" for name in ("confirmed", "settled")}
    exceptions, quarantine = open_exceptions(), counts["quarantine"]
    return [
        Figure("today", "Trades today", str(counts["today"]), f"+{counts['hour']} in the last hour", f"{trades}?first=today"),
        Figure("progress", "In progress", str(counts["progress"]), f"{counts['pending']} pending, not booked yet", trades + IN_PROGRESS),
        Figure("confirmed", "Confirmed", str(counts["confirmed"]), today["confirmed"], f"{trades}?status=CONFIRMED"),
        Figure("settled", "Settled", str(counts["settled"]), today["settled"], f"{trades}?status=SETTLED"),
        Figure(
            "exceptions", "Exceptions", str(exceptions), f"{counts['wrong']} rejected or disputed", reverse("exceptions"),
            "bad" if exceptions else "", "triangle-alert",
        ),
        Figure(
            "quarantine", "Quarantine", str(quarantine), _groups(counts["groups"]), reverse("quarantine"),
            "warn" if quarantine else "", "inbox",
        ),
        Figure(
            "latency", "Queue to screen, p95", seconds(slow), f"target under {words.duration(TARGET)}",
            reverse("monitor"),
            "warn" if slow is not None and slow > TARGET else "",
        ),
    ]  # fmt: skip


def latency() -> timedelta | None:
    """How long 95 of 100 of the newest messages took at most from the queue into the history; None where none tells."""
    kept: list[timedelta | None] | None = cache.get("latency")
    if kept is None:
        newest = Message.objects.order_by("-id").values_list("sent_at", "recorded_at")[:NEWEST]
        took = sorted(recorded - sent for sent, recorded in newest if sent is not None)
        kept = [took[min(len(took) - 1, len(took) * 95 // 100)] if took else None]
        cache.set("latency", kept, KEPT)
    return kept[0]


def seconds(length: timedelta | None) -> str:
    """A length of time as a figure: "1.9 s" below a minute."""
    if length is None:
        return "–"
    return f"{max(0.0, length.total_seconds()):.1f} s" if length < timedelta(minutes=1) else words.duration(length)


def _groups(number: Counted) -> str:
    return "no group waits" if not number else "1 group waits" if number == Counted(1) else f"{number} groups wait"


def open_exceptions() -> Counted:
    """How many exceptions there are, as the page of exceptions counts them."""
    counts = trouble.open_counts()
    return Counted(counts.of(trouble.Group), bool(counts.cut))
