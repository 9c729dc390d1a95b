"""What was recorded and has not been given to the handler of its queue yet.

Whoever records a message of a queue that has a handler leaves a row here, in the same transaction; the worker that runs the handler
takes the row away in the transaction in which it calls it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db.models import QuerySet

from trades.models import Handler, Message, Unhandled

TO_HANDLE = {Message.Outcome.RECORDED, Message.Outcome.REFERENCE}


def leave(messages: Iterable[Message]) -> None:
    """Leave those of these saved messages, in this order, that are recorded, or of no trade, to the handler of their queue."""
    rows = [Unhandled(message=message, queue=message.queue) for message in messages if message.outcome in TO_HANDLE]
    Unhandled.objects.bulk_create(rows, ignore_conflicts=True)


def leave_where_handled(messages: Iterable[Message]) -> None:
    """As `leave`, for messages of queues that may have no handler."""
    recorded = [message for message in messages if message.outcome in TO_HANDLE]
    queues = {message.queue for message in recorded}
    handled = set(Handler.objects.filter(queue__in=queues).values_list("queue", flat=True)) if queues else set()
    leave(message for message in recorded if message.queue in handled)


def of_groups(queue: str, groups: Iterable[str]) -> QuerySet[Unhandled]:
    """What waits in these message groups, in the order of recording."""
    return Unhandled.objects.filter(queue=queue, message__group_id__in=set(groups)).order_by("id")


def oldest(queue: str, but: Collection[str], at_most: int) -> list[tuple[int, str]]:
    """(key, message group) of what has waited longest, in the order of recording, without what is of the groups `but`."""
    waiting = Unhandled.objects.filter(queue=queue).order_by("id")
    if but:
        waiting = waiting.exclude(message__group_id__among=but)
    return list(waiting.values_list("pk", "message__group_id")[:at_most])
