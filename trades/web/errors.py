"""Pages for what went wrong before a view could say so itself; one sentence for what asks from within a page."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.template import loader
from django.template.defaultfilters import filesizeformat
from django.utils.http import url_has_allowed_host_and_scheme

from trades.web import request_ids
from trades.web.fragments import fragment, wants_fragment
from trades.web.preferences import theme_of

RETRY_AFTER = 30  # seconds, of a database that is away
NOT_ALLOWED = "Your account may not open this page."
NOT_FOUND = "The address may be mistyped, or what it showed is gone."
TITLES = {
    400: "That request could not be read",
    409: "That has changed meanwhile",
    413: "That is too large",
    415: "That kind of file is not accepted",
    429: "Too many attempts",
}


class UploadTooLarge(RequestDataTooBig):
    """More was sent than an upload may have: one sentence, without having read it."""


def asks_in_page(request: HttpRequest) -> bool:
    """Whether a script of a page asks, htmx or fetch, so that a whole page is of no use to it."""
    return (
        wants_fragment(request) or request.headers.get("Sec-Fetch-Dest") == "empty" or request.headers.get("X-Requested-With") is not None
    )


def compact(sentence: str, status: int) -> HttpResponse:
    """What went wrong as one sentence, which the page shows as a toast."""
    return fragment(HttpResponse(sentence, status=status, content_type="text/plain; charset=utf-8"))


def refused(request: HttpRequest, status: int, sentence: str, *, title: str = "") -> HttpResponse:
    """The page, or the sentence, for a request that a view can't fulfil: 400, 409, 413, 415 or 429."""
    if asks_in_page(request):
        return compact(sentence, status)
    return render(request, "400.html", {"title": title or TITLES[status], "sentence": sentence}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for a request that can't be read: what was wrong with it and what to do."""
    return refused(request, 413 if isinstance(exception, RequestDataTooBig) else 400, _sentence(exception))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for what a person may not do: what is needed and who grants it."""
    sentence = str(exception) or NOT_ALLOWED
    if asks_in_page(request):
        return compact(sentence, 403)
    return render(request, "403.html", {"sentence": sentence}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for an address that leads nowhere, with quick find."""
    # The resolver raises a dictionary; only a view that says something writes a sentence.
    sentence = exception.args[0] if exception.args and isinstance(exception.args[0], str) and " " in exception.args[0] else NOT_FOUND
    if asks_in_page(request):
        return compact(sentence, 404)
    return render(request, "404.html", {"sentence": sentence}, status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """The page for a fault of the portal; also for a database that is away. Asks neither the database nor any context."""
    is_away = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    status = 503 if is_away else 500
    if asks_in_page(request):
        response = compact("The database does not answer. Try again in a moment." if is_away else "The portal failed to answer.", status)
    else:
        context = {"request_id": request_ids.current(), "theme": theme_of(request), "environment": settings.ENVIRONMENT_NAME}
        response = HttpResponse(loader.get_template(f"{status}.html").render(context), status=status)
    if is_away:
        response["Retry-After"] = str(RETRY_AFTER)
    return response


@login_not_required
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page for a form whose token is too old: a way back to where it can be opened anew."""
    if asks_in_page(request):
        return compact("This page was open too long. Reload it and send again; nothing was changed.", 403)
    return render(request, "403_csrf.html", {"back": _back(request)}, status=403)


def _back(request: HttpRequest) -> str:
    """Where the form was, if a page of this site says so; an address that takes only forms would lead nowhere."""
    came_from = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(came_from, {request.get_host()}, request.is_secure()):
        return resolve_url("blotter")
    parts = urlsplit(came_from)
    # A path of two slashes would be the name of another site.
    return "/" + parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")


def _sentence(exception: Exception) -> str:
    if isinstance(exception, TooManyFilesSent):
        return f"More than {settings.TRADES_MAX_UPLOAD_FILES} files were sent. Publish them in several uploads."
    if isinstance(exception, UploadTooLarge):
        return str(exception)
    if isinstance(exception, RequestDataTooBig):
        most = filesizeformat(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        return f"The pasted text is too large: a form may have {most} beside its files. Save the text as a file and choose that."
    if isinstance(exception, TooManyFieldsSent):
        return "The form has too many fields. Send fewer at a time."
    return str(exception) if isinstance(exception, BadRequest) else "The browser sent a request that the portal can't read."
