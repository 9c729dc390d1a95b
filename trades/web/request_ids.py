"""An id for each request: in the answer, in the log, and on the page that says that something failed."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponseBase

HEADER = "X-Request-ID"
_VALID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_current: ContextVar[str] = ContextVar("request_id", default="")


def current() -> str:
    """The id of the request that is being answered, empty outside of any."""
    return _current.get()


class RequestIds:
    """Gives every request an id, or keeps the one that a proxy gave it, and answers it as X-Request-ID."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """The answer, with the id in its header."""
        given = request.headers.get(HEADER, "")
        named = given if _VALID.fullmatch(given) else uuid.uuid4().hex
        token = _current.set(named)
        try:
            response = self.get_response(request)
        finally:
            _current.reset(token)
        response.headers[HEADER] = named
        return response


class NamesTheRequest(logging.Filter):
    """Adds the id of the request to each log line that is written while one is answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always lets the line through."""
        record.request_id = f" [request {current()}]" if current() else ""
        return True
