"""What a person chose for this browser, kept in cookies so that the server sets it before anything is painted."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

YEAR = 365 * 24 * 60 * 60  # seconds


@dataclass(frozen=True, slots=True)
class Preference:
    """One choice: its name, which is also the cookie's, and each value with its words. The first value is the default."""

    name: str
    label: str
    values: dict[str, str]

    def of(self, request: HttpRequest) -> str:
        """What was chosen in this browser."""
        chosen = request.COOKIES.get(self.name, "")
        return chosen if chosen in self.values else next(iter(self.values))

    def refusal(self) -> str:
        """What to say of any other value."""
        *most, last = self.values
        return f"The {self.label.lower()} is one of {', '.join(most)} and {last}."


THEME = Preference("theme", "Theme", {"system": "As the system", "light": "Light", "dark": "Dark"})
DENSITY = Preference("density", "Density of tables", {"compact": "Compact, 32 pixels a row", "regular": "Regular, 40 pixels a row"})
START = Preference("start", "Start page", {"blotter": "Blotter", "exceptions": "Exceptions"})
KEYS = Preference("keys", "Single-key shortcuts", {"on": "On", "off": "Off"})
RAIL = Preference("rail", "Navigation", {"wide": "With names", "icons": "Icons alone"})
PREFERENCES = {each.name: each for each in (THEME, DENSITY, START, KEYS, RAIL)}


def theme_of(request: HttpRequest) -> str:
    """The chosen theme; "system" follows the browser."""
    return THEME.of(request)


@login_not_required
@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Keep what was chosen and go back to the page that it was chosen on."""
    if refusal := refusal_of(request):
        return HttpResponseBadRequest(refusal, content_type="text/plain; charset=utf-8")
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        back = resolve_url("blotter")
    return kept(request, redirect(back))


def refusal_of(request: HttpRequest) -> str:
    """What is wrong with what was chosen, empty when nothing is."""
    chosen = [PREFERENCES[name] for name in request.POST if name in PREFERENCES]
    if not chosen:
        return THEME.refusal()
    return next((each.refusal() for each in chosen if request.POST[each.name] not in each.values), "")


def kept(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The answer, which makes the browser keep what was chosen."""
    for name in PREFERENCES.keys() & request.POST.keys():
        response.set_cookie(name, request.POST[name], max_age=YEAR, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax")
    return response
