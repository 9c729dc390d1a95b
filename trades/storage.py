"""The payload bucket as the portal needs it: create, or compare with what exists and explain each difference."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from trades.queues import NOT_SET, RETENTION_SECONDS, Difference, Outcome, Wishes
from trades.sqs import ObjectNotFound, Refused, sentences
from trades.sqs.clients import s3_client

PREFIX = "trades/"
RULE = "tradeportal-payloads"
# A payload must outlive every message that points to it: its time in the queue, then in the dead-letter queue, then a week for people.
EXPIRY_DAYS = 2 * RETENTION_SECONDS // 86_400 + 7
ABORT_DAYS = 2
BLOCKED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
OUR_RULE: Any = {
    "ID": RULE,
    "Status": "Enabled",
    "Filter": {"Prefix": PREFIX},
    "Expiration": {"Days": EXPIRY_DAYS},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_DAYS},
}
WANTED = {"public access": "blocked", "expiry of payloads": f"{EXPIRY_DAYS} days"}


def ensure_bucket(name: str, wishes: Wishes) -> Outcome:
    """Create the bucket, or compare it with what is wanted; an existing one is changed only where the wishes say `apply`.

    Rules of the bucket that are not the portal's stay as they are. Raises QueueError.
    """
    if not _exists(name):
        if wishes.dry_run:
            return Outcome(name, "would be created", "", WANTED)
        _create(name, wishes.tags)
        return Outcome(name, "created", f"s3://{name}", WANTED)
    blocked, rules = _public_access(name), _rules(name)
    differences = explain(name, blocked, rules)
    if not differences or not wishes.apply:
        return Outcome(name, "exists", f"s3://{name}", WANTED, differences)
    if wishes.dry_run:
        return Outcome(name, "would be changed", f"s3://{name}", WANTED, differences)
    if blocked != BLOCKED:
        _block(name)
    early = too_early(rules)
    if not any(map(_days, rules)) or (early is not None and early.get("ID") == RULE):
        _keep_rules(name, rules)
    left = explain(name, _public_access(name), _rules(name))
    return Outcome(name, "exists" if left else "changed", f"s3://{name}", WANTED, left or differences)


def explain(name: str, blocked: Mapping[str, bool], rules: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """What of a bucket's public access block and lifecycle rules is not as wanted, why it matters, and what changes it."""
    differences = []
    if blocked != BLOCKED:
        found = ", ".join(key for key, value in blocked.items() if value) or NOT_SET
        words = f"aws s3api put-public-access-block --bucket {name} --public-access-block-configuration {shlex.quote(json.dumps(BLOCKED))}"
        differences.append(
            Difference("public access", found, "blocked", "a policy made by mistake could show trade documents to all", words)
        )
    early, days = too_early(rules), [_days(rule) for rule in rules if _days(rule)]
    if early is not None:
        why = "a message may wait for four weeks in the queue and its dead-letter queue, and would then point to nothing"
        words = f'change or remove the lifecycle rule "{early.get("ID", "")}" of the bucket, which expires objects under {PREFIX}'
        differences.append(Difference("expiry of payloads", f"{_days(early)} days", WANTED["expiry of payloads"], why, words))
    elif not days:
        configuration = json.dumps({"Rules": [*rules, OUR_RULE]}, default=str)
        words = f"aws s3api put-bucket-lifecycle-configuration --bucket {name} --lifecycle-configuration {shlex.quote(configuration)}"
        why = "payloads are never deleted otherwise: no worker may delete what another message may still point to"
        differences.append(Difference("expiry of payloads", NOT_SET, WANTED["expiry of payloads"], why, words))
    return differences


def too_early(rules: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The lifecycle rule that would delete payloads while messages may still point to them, if there is one."""
    return next((rule for rule in rules if 0 < _days(rule) < EXPIRY_DAYS), None)


def _days(rule: Mapping[str, Any]) -> int:
    """After how many days a rule deletes payloads of ours; 0 if it does not."""
    chosen = rule.get("Filter", {})
    chosen = chosen.get("And", chosen)
    prefix = chosen.get("Prefix", rule.get("Prefix", ""))
    is_for_others = "Tag" in chosen or "Tags" in chosen or not (PREFIX.startswith(prefix) or prefix.startswith(PREFIX))
    days: int = rule.get("Expiration", {}).get("Days", 0)
    return 0 if is_for_others or rule.get("Status") != "Enabled" else days


def _exists(name: str) -> bool:
    try:
        with sentences(f"Opening the bucket {name}", "S3"):
            s3_client().head_bucket(Bucket=name)
    except ObjectNotFound:
        return False
    return True


def _create(name: str, tags: Mapping[str, str]) -> None:
    s3 = s3_client()
    region: Any = s3.meta.region_name
    # S3 refuses the name of its oldest region here, which it takes for none (AWS, CreateBucket).
    where: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with sentences(f"Creating the bucket {name}", "S3"):
        s3.create_bucket(Bucket=name, **where)
        if tags:
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]})
    _block(name)
    _keep_rules(name, [])


def _public_access(name: str) -> Mapping[str, bool]:
    try:
        with sentences(f"Reading the public access block of {name}", "S3"):
            found: Any = s3_client().get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    except Refused as error:
        if "NoSuchPublicAccessBlockConfiguration" in str(error):
            return {}
        raise
    return dict(found)


def _block(name: str) -> None:
    with sentences(f"Blocking public access to {name}", "S3"):
        s3_client().put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=BLOCKED)  # type: ignore[arg-type]


def _rules(name: str) -> list[Any]:
    try:
        with sentences(f"Reading the lifecycle rules of {name}", "S3"):
            return list(s3_client().get_bucket_lifecycle_configuration(Bucket=name)["Rules"])
    except Refused as error:
        if "NoSuchLifecycleConfiguration" in str(error):
            return []
        raise


def _keep_rules(name: str, others: Sequence[Any]) -> None:
    rules = [rule for rule in others if rule.get("ID") != RULE]
    with sentences(f"Setting the lifecycle rules of {name}", "S3"):
        s3_client().put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [*rules, OUR_RULE]})
