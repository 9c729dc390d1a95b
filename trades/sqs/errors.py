"""What goes wrong at Amazon, as sentences that say what was tried and what to do."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    EndpointConnectionError,
    InvalidConfigError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
)

# RequestThrottled, ThrottlingException, KmsThrottled, OverLimit, RequestLimitExceeded and their like, old and new spelling.
THROTTLING = re.compile(r"throttl|overlimit|limitexceeded|toomanyrequests|slowdown", re.IGNORECASE)
# The same request would be refused again.
BAD_REQUEST = re.compile(r"InvalidParameter|InvalidAttribute|MissingParameter|Validation")
# S3 says "404" alone to a HEAD, which has no body.
NO_OBJECT = {"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "404"}
DENIED = {"AccessDenied", "AccessDeniedException", "403"}
# A host of AWS, of a VPC too, has its region as one of the words between its dots (AWS General Reference, Amazon SQS endpoints).
_AWS_ENDPOINT = re.compile(r"https?://(?P<host>[\w.-]+\.(?:amazonaws\.com(?:\.cn)?|api\.aws))(?::\d+)?(?:/|$)", re.IGNORECASE)


class QueueError(Exception):
    """SQS could not be asked, or its answer was lost: one sentence with what to do. What was asked may have been done."""


class Refused(QueueError):
    """SQS answered, and did nothing."""


class Throttled(Refused):
    """SQS is asked too often, or more is in flight than it allows: ask again later and less often."""


class BadRequest(Refused):
    """SQS finds fault with the request itself, such as its attempt id: asked again, it is refused again."""


class QueueNotFound(Refused):
    """The queue does not exist in this account and region."""


class NotConfigured(QueueError):
    """Nothing was asked, for settings are missing or wrong: region, credentials, profile or address."""


class BadQueueName(QueueError):
    """The name can't be that of a FIFO queue."""


class Denied(Refused):
    """The role or user may not do this."""


class ObjectNotFound(Refused):
    """S3 has no such object, or no such bucket: asked again, it will not be there either."""


def broker_name(service: str = "SQS", endpoint: str | None = None, in_region: str | None = None) -> str:
    """Where requests for SQS or S3 will be sent, for messages to people; never holds a credential."""
    found = endpoint or ("" if is_of_another_region(in_region) else configured_endpoint(service))
    if found and found != f"https://{service.lower()}.{in_region}.amazonaws.com":
        return found
    return f"Amazon {service}, region {in_region or region() or _region_of_files() or 'not set'}"


def configured_endpoint(service: str = "SQS") -> str:
    """The endpoint that the environment names for SQS or S3, "" for none."""
    return os.environ.get(f"AWS_ENDPOINT_URL_{service}") or os.environ.get("AWS_ENDPOINT_URL") or ""


def is_of_another_region(in_region: str | None) -> bool:
    """Whether the environment's endpoint for SQS is one of AWS that can't be asked for a queue of this region. Whatever else it names,
    such as a local broker, has queues of every region."""
    aws = _AWS_ENDPOINT.match(configured_endpoint())
    return bool(aws and in_region and in_region not in aws["host"].lower().split("."))


@functools.cache
def _region_of_files() -> str | None:
    return boto3.session.Session().region_name


def region() -> str | None:
    """The region that AWS_REGION names. boto3 itself reads only AWS_DEFAULT_REGION, unlike every other SDK of AWS and its CLI."""
    return os.environ.get("AWS_REGION") or None


@contextmanager
def sentences(doing: str, service: str = "SQS", at: str = "") -> Iterator[None]:
    """Turn what boto3 raises into a QueueError that says what was tried, what went wrong and what to do. `at` names the place where
    it is another than the environment's."""
    place = at or broker_name(service)
    try:
        yield
    except NoRegionError:
        raise NotConfigured(f"{doing}: no AWS region is set. Set AWS_REGION, or start the local broker with `make run`.") from None
    except ProfileNotFound as error:
        raise NotConfigured(f"{doing}: {error}. Add it to the AWS files, or name another profile in the queues file.") from None
    except NoCredentialsError:
        raise NotConfigured(
            f"{doing}: no AWS credentials were found. Set a profile or role, or start the local broker with `make run`."
        ) from None
    except EndpointConnectionError:
        raise QueueError(f"{doing}: nothing answers at {place}. Check that the broker runs and is reachable.") from None
    except ClientError as error:
        raise _answered(doing, place, error, is_elsewhere=bool(at)) from None
    except (PartialCredentialsError, InvalidConfigError, ConfigParseError, SSOError) as error:
        raise NotConfigured(f"{doing}: {str(error).rstrip('.')}. Correct the AWS settings or files.") from None
    except BotoCoreError as error:
        raise QueueError(f"{doing}: {place}: {str(error).rstrip('.')}.") from None
    except ValueError as error:
        raise NotConfigured(f"{doing}: {error}. Check AWS_ENDPOINT_URL_{service}, which is written like http://127.0.0.1:4566.") from None


def _answered(doing: str, place: str, error: ClientError, *, is_elsewhere: bool) -> QueueError:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if "NonExistentQueue" in code or "QueueDoesNotExist" in code:
        ask = (
            "`python manage.py create_queues` creates it, or says what it needs for that; on its local broker `make run` does so by itself "
            "when it starts. A partner's queue is made by the partner."
        )
        if is_elsewhere:
            ask = "The queues file says that it is there: have it made there, a partner's by the partner, or correct the file."
        return QueueNotFound(f"{doing}: the queue does not exist at {place}. {ask}")
    sentence = f"{doing}: {place} answered {code}: {message.rstrip('.')}."
    if code in NO_OBJECT:
        return ObjectNotFound(sentence)
    if code in DENIED:
        return Denied(sentence)
    if status == 429 or THROTTLING.search(code):
        return Throttled(sentence)
    if status == 400 and BAD_REQUEST.search(code):
        return BadRequest(sentence)
    # A server's own fault says nothing about how far it came.
    return Refused(sentence) if 400 <= status < 500 else QueueError(sentence)
