"""System checks that ask SQS how our queues are set up: `manage.py check --deploy --tag queues`.

They are deployment checks because Django runs every other one with each command, whatever its tag. What stays wrong until a person
changes something is an error (no such queue, a standard queue) or a warning (no right or no setting to ask with, which may be there where
the portal itself runs). No answer just now is for information alone: it says nothing about the set-up, and passes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage

from trades import queues, routes, sqs

# boto3's own time-out for an answer: what arrives later than the visibility timeout is with somebody else already.
READ_TIMEOUT_SECONDS = 60
# SQS's default: what waits over a long weekend is still there.
LEAST_RETENTION_SECONDS = 4 * 24 * 60 * 60
# Of a queue whose batches come back a few times during an outage, no sound message is among the dead letters.
LEAST_RECEIVE_COUNT = 100
_ASKING = "docs/aws.md#rights names the policy that allows it (MonitorPolicyArn), and docs/settings.md the settings."
NUMBERS = {
    "ContentBasedDeduplication": "W020", "MaximumMessageSize": "W021", "VisibilityTimeout": "W022", "RedrivePolicy": "W023",
    "MessageRetentionPeriod": "W024",
}  # fmt: skip


def check_queues(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Each queue of ours must be FIFO and should be set up so that nothing is refused, lost or delivered needlessly."""
    if routes.faults():  # told by a check of their own
        return
    for name in dict.fromkeys([*routes.own_queues(), settings.TRADES_DEAD_LETTER_QUEUE]):
        yield from _check(name)


def warnings(name: str, found: Mapping[str, str]) -> list[str]:
    """What is amiss about a queue of these attributes, a sentence each with the command that puts it right."""
    return [f"{_sentence(name, each)} To change that: {each.fix}" for each in amiss(found, _where(name, found))]


def amiss(found: Mapping[str, str], where: str = "") -> Sequence[queues.Difference]:
    """The attributes of a queue that may cost messages, each with the command that sets what `create_queues` would; `where` are the
    options of that command for a queue that is elsewhere."""
    arn = found.get("QueueArn", "")
    is_dead_letter_queue = arn.endswith(f":{settings.TRADES_DEAD_LETTER_QUEUE}")
    neighbour = queues.neighbour_arn(arn, settings.TRADES_DEAD_LETTER_QUEUE)
    policy = json.loads(found.get("RedrivePolicy") or "{}")
    wanted = queues.wanted_attributes(None if is_dead_letter_queue else policy.get("deadLetterTargetArn", neighbour))
    least = {
        "ContentBasedDeduplication": "true",
        "MaximumMessageSize": str(sqs.MAX_MESSAGE_BYTES),
        "VisibilityTimeout": str(READ_TIMEOUT_SECONDS),
        "MessageRetentionPeriod": str(LEAST_RETENTION_SECONDS),
    }
    if "RedrivePolicy" in wanted:
        least["RedrivePolicy"] = json.dumps({**json.loads(wanted["RedrivePolicy"]), "maxReceiveCount": LEAST_RECEIVE_COUNT})
    name = arn.rpartition(":")[2]
    return [
        each._replace(wanted=wanted[each.attribute], fix=queues.fix(name, each.attribute, wanted[each.attribute], where))
        for each in queues.explain(found, least)
        if each.is_wrong
    ]


def _check(name: str) -> Iterable[CheckMessage]:
    try:
        found = routes.open_queue(name).attributes()
        queues.require_fifo(name, found)
    except queues.NotFifo as error:
        yield checks.Error(str(error), id="trades.E020")
    except sqs.QueueNotFound as error:
        yield checks.Error(f"{name} does not exist: {error}", id="trades.E021")
    except sqs.Throttled as error:
        yield checks.Info(f"{name} was not checked: {error}", id="trades.I020")
    except (sqs.NotConfigured, sqs.Refused) as error:
        yield checks.Warning(f"{name} could not be checked: {error}", hint=_ASKING, id="trades.W025")
    except sqs.QueueError as error:
        yield checks.Info(f"{name} was not checked: {error}", id="trades.I020")
    else:
        where = _where(name, found)
        for each in amiss(found, where):
            # The dead-letter queue goes with those that share it, and is none to name.
            named = "" if name == settings.TRADES_DEAD_LETTER_QUEUE else f" --queue {name}"
            # create_queues works here alone: it would make a second queue of that name.
            hint = each.fix if where else f"{each.fix}\n\tOr, for all of its attributes: manage.py create_queues{named} --apply"
            yield checks.Warning(_sentence(name, each), hint=hint, id=f"trades.{NUMBERS[each.attribute]}")


def _where(name: str, found: Mapping[str, str]) -> str:
    """The place of a queue that is elsewhere, as options of the AWS CLI; "" for one that is where the environment says."""
    definition = routes.in_use().queues.get(name)
    if definition is None or definition.place == sqs.HERE:
        return ""
    place, there = definition.place, sqs.client(place=definition.place, **sqs.CALL_SECONDS).meta
    before, _, called = found.get("QueueArn", "").rpartition(":")
    url = place.url or f"{there.endpoint_url.rstrip('/')}/{before.rpartition(':')[2]}/{called}"
    profile = ("--profile", place.profile) if place.profile else ()
    return shlex.join(["--queue-url", url, "--region", there.region_name, "--endpoint-url", there.endpoint_url, *profile])


def _sentence(name: str, each: queues.Difference) -> str:
    return f"{name}: {each.attribute} is {each.found}, which should be {each.wanted}: {each.why}."
