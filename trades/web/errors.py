"""Pages for what went wrong before a view could say so itself."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page for a request that can't be read: what was wrong with it and what to do."""
    return render(request, "400.html", {"sentence": _sentence(exception)}, status=400)


def _sentence(exception: Exception) -> str:
    if isinstance(exception, TooManyFilesSent):
        return f"More than {settings.TRADES_MAX_UPLOAD_FILES} files were sent. Publish them in several uploads."
    if isinstance(exception, RequestDataTooBig):
        return f"The pasted text is too large. A document may have {filesizeformat(settings.TRADES_MAX_DOCUMENT_BYTES)}."
    if isinstance(exception, TooManyFieldsSent):
        return "The form has too many fields. Send fewer at a time."
    return str(exception) if isinstance(exception, BadRequest) else "The browser sent a request that the portal can't read."
