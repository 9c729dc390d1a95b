"""What a person chose for this browser: the theme, kept in a cookie so that the server sets it before anything is painted."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

THEMES = ("system", "light", "dark")
COOKIE = "theme"
YEAR = 365 * 24 * 60 * 60  # seconds


def theme_of(request: HttpRequest) -> str:
    """The chosen theme; "system" follows the browser."""
    theme = request.COOKIES.get(COOKIE, "system")
    return theme if theme in THEMES else "system"


@login_not_required
@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Keep the theme in a cookie and go back to the page that it was chosen on."""
    theme, back = request.POST.get("theme"), request.POST.get("next", "")
    if theme not in THEMES:
        return HttpResponseBadRequest("The theme is one of system, light and dark.")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        back = resolve_url("blotter")
    response = redirect(back)
    response.set_cookie(COOKIE, theme, max_age=YEAR, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax")
    return response
