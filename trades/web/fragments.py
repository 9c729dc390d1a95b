"""Parts of pages that htmx asks for at the page's own address."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails


def wants_fragment(request: HttpRequest) -> bool:
    """Whether htmx asks, so that only the part that changes is wanted."""
    return bool(HtmxDetails(request))


def fragment(response: HttpResponse) -> HttpResponse:
    """Say that page and fragment share the address and neither is kept, so that Back never shows a bare fragment."""
    patch_vary_headers(response, ["HX-Request"])
    response["Cache-Control"] = "no-store"
    return response


def nothing_new() -> HttpResponse:
    """The answer to a refresh when what the browser shows is what there is."""
    return fragment(HttpResponse(status=204))
