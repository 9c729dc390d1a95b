"""Amazon S3 in process, as far as payloads need it: it answers as boto3's client does, and raises what that raises.

`objects` is what is there now, `stored` what was first put under each key, whatever became of it since.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any, Protocol, cast

from botocore.exceptions import ClientError

PIECE = 1024  # bytes of an object that go over the line at a time
Place = tuple[str, str]


class S3Faults(Protocol):
    """Where faults enter: before put, after put, before get, after get, in get (between two pieces), before remove."""

    def at_s3(self, point: str, bucket: str, key: str) -> None:
        """May raise what boto3 would, kill the actor, or let time pass."""


class ModelS3:
    """The buckets of one account."""

    def __init__(self, *buckets: str, faults: S3Faults | None = None) -> None:
        self.buckets = set(buckets)
        self.faults = faults
        self.objects: dict[Place, bytes] = {}
        self.stored: dict[Place, bytes] = {}
        self.spoilt: set[Place] = set()  # removed or overwritten at some time by somebody else

    def put_object(self, **request: Any) -> dict[str, Any]:
        """Store an object. Raises ClientError where it is not what the request says."""
        place = self._place(request, "put")
        content = b"".join(iter(lambda: request["Body"].read(PIECE), b""))
        if len(content) != request.get("ContentLength", len(content)):
            raise _error("IncompleteBody", 400)
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        if request.get("ChecksumSHA256", checksum) != checksum:
            raise _error("BadDigest", 400)
        self.objects[place] = content
        self.stored.setdefault(place, content)
        self._meet("after put", place)
        return {"ETag": f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'}

    def get_object(self, **request: Any) -> dict[str, Any]:
        """An object, to be read piece by piece. Raises ClientError where there is none."""
        place = self._place(request, "get")
        if place not in self.objects:
            raise _error("NoSuchKey", 404)
        content = self.objects[place]
        self._meet("after get", place)
        return {"ContentLength": len(content), "Body": Body(self, place, content)}

    def delete_object(self, **request: Any) -> dict[str, Any]:
        """Remove an object. Nothing of the portal may ask for this."""
        self.objects.pop(self._place(request, "remove"), None)
        return {}

    # What others do

    def spoil(self, place: Place, content: bytes | None) -> None:
        """Put other content under the key, None: remove the object, as a lifecycle rule does."""
        self.spoilt.add(place)
        self.objects.pop(place, None)
        if content is not None:
            self.objects[place] = content

    def restore(self, place: Place) -> None:
        """Put back what was stored first."""
        self.objects[place] = self.stored[place]

    def place_in(self, body: str) -> Place | None:
        """Where a message of this body points, None if it is no pointer."""
        try:
            _, where = json.loads(body)
            return where["s3BucketName"], where["s3Key"]
        except (ValueError, TypeError, KeyError):
            return None

    def _place(self, request: dict[str, Any], operation: str) -> Place:
        place = request["Bucket"], request["Key"]
        self._meet(f"before {operation}", place)
        if place[0] not in self.buckets:
            raise _error("NoSuchBucket", 404)
        return place

    def _meet(self, point: str, place: Place) -> None:
        if self.faults is not None:
            self.faults.at_s3(point, *place)


class Body:
    """As botocore's StreamingBody."""

    def __init__(self, s3: ModelS3, place: Place, content: bytes) -> None:
        self.s3 = s3
        self.place = place
        self.content = content

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        """The content in pieces of up to so many bytes."""
        for start in range(0, len(self.content), min(size, PIECE)):
            if start:
                self.s3._meet("in get", self.place)
            yield self.content[start : start + min(size, PIECE)]

    def close(self) -> None:
        """As StreamingBody."""


def _error(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "said by the model"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(cast(Any, answer), "object")
