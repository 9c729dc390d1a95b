"""The live stream of a page, and the same for pages that must ask for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from http import HTTPStatus
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_GET

from trades.web import chips
from trades.web.access import SEE, needs
from trades.web.pulse import Full, pulse

RETRY_SECONDS = 60

View = Callable[[HttpRequest], HttpResponseBase]


def for_scripts(view: View) -> View:
    """Ask by GET only, and answer 401, not with the page to sign in on, to who is not signed in."""

    @login_not_required
    @require_GET
    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return HttpResponse("Sign in to continue.", status=HTTPStatus.UNAUTHORIZED, content_type="text/plain")
        response = needs(SEE)(view)(request)
        response["Cache-Control"] = "no-store"
        return response

    return guarded


@for_scripts
def live(request: HttpRequest) -> HttpResponseBase:
    """The event stream of a tab. 503 when this process has no stream left: the tab then asks `live_now`."""
    try:
        stream = pulse.open(partial(may_see, request.session.session_key))
    except Full:
        return _away("No live stream is free. Ask again later.", RETRY_SECONDS)
    response = StreamingHttpResponse(stream, content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"  # nginx would otherwise keep the events to itself
    return response


@for_scripts
def live_now(request: HttpRequest) -> HttpResponse:
    """What the stream says, once."""
    try:
        return HttpResponse(chips.told(pulse.now(), pulse.queue.figures), content_type="application/json")
    except (DatabaseError, InterfaceError):
        return _away("The database does not answer.", 5)


def may_see(session_key: str | None) -> bool:
    """Whether the session is still that of somebody who may see trades."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return get_user(request).has_perm(SEE)


def _away(sentence: str, seconds: int) -> HttpResponse:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    return HttpResponse(sentence, status=status, content_type="text/plain", headers={"Retry-After": str(seconds)})
