"""The page of a person's preferences, and the page that they chose to begin with."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from trades.web.blotter import blotter
from trades.web.fragments import wants_fragment
from trades.web.preferences import PREFERENCES, START, kept, refusal_of


def start(request: HttpRequest) -> HttpResponseBase:
    """The page to begin with: the blotter, unless the person chose another and asks for nothing in particular."""
    if START.of(request) == "exceptions" and not request.GET and not wants_fragment(request):
        return redirect("exceptions")
    return blotter(request)


@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """The preferences of this browser. Open to everybody who is signed in: they show nothing of any trade."""
    if request.method != "POST":
        return _page(request)
    if refusal := refusal_of(request):
        return _page(request, refusal)
    messages.success(request, "Preferences saved in this browser.")
    return kept(request, redirect("account"))


def _page(request: HttpRequest, refusal: str = "") -> HttpResponse:
    choices = [
        (preference, [(value, words, value == preference.of(request)) for value, words in preference.values.items()])
        for preference in PREFERENCES.values()
    ]
    context = {"choices": choices, "refusal": refusal, "roles": request.user.groups.order_by("name")}
    return render(request, "trades/account.html", context, status=422 if refusal else 200)
