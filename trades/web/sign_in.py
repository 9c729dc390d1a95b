"""Signing in, also again from within a page, and where people who want the admin go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from axes.helpers import get_cool_off, get_failure_limit
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from trades.web import words
from trades.web.errors import asks_in_page, compact

SIGN_IN_AGAIN = "Your session has ended. Sign in again to continue."
NO_MATCH = "The name and password do not match an account. Check both and try again."


class RequireSignIn(LoginRequiredMiddleware):
    """Sends strangers to the sign-in page, but answers 401 to a script, so that this page never lands in a table."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., HttpResponseBase], view_args: tuple[Any, ...], view_kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        """The way to the sign-in page, or the refusal; None for whoever may go on."""
        way_to_sign_in = super().process_view(request, view_func, view_args, view_kwargs)
        return compact(SIGN_IN_AGAIN, 401) if way_to_sign_in is not None and asks_in_page(request) else way_to_sign_in


@method_decorator(login_not_required, name="dispatch")
class SignIn(LoginView):
    """The sign-in page."""

    redirect_authenticated_user = True

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """The page, or the refusal for a part of another page."""
        if asks_in_page(request):
            return compact(SIGN_IN_AGAIN, 401)
        return super().dispatch(request, *args, **kwargs)


@login_not_required
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def session(request: HttpRequest) -> HttpResponse:
    """For scripts: whether the session still holds (204 with a token for forms, or 401 with one to sign in with), and signing in."""
    if request.method == "POST":
        return _sign_in_again(request)
    if request.user.is_authenticated:
        name = quote(request.user.get_username())
        return HttpResponse(status=204, headers={"X-Signed-In": name, "X-CSRF-Token": get_token(request)})
    return JsonResponse({"token": get_token(request)}, status=401)


def _sign_in_again(request: HttpRequest) -> HttpResponse:
    form = AuthenticationForm(request, data=request.POST)
    if not form.is_valid():
        return JsonResponse({"error": NO_MATCH}, status=422)
    login(request, form.get_user())
    return JsonResponse({"user": form.get_user().get_username(), "token": get_token(request)})


def locked_out(request: HttpRequest, _response: object, credentials: dict[str, str] | None = None) -> HttpResponse:
    """The answer to too many failed attempts: when to try again."""
    length = get_cool_off(request)
    until = words.clock(timezone.now() + length) if length else ""
    attempts = get_failure_limit(request, credentials)
    sentence = f"Signing in with this name is stopped after {attempts} failed attempts."
    advice = f"Try again after {until} or ask an administrator." if until else "Ask an administrator."
    if asks_in_page(request):
        response: HttpResponse = JsonResponse({"error": f"{sentence} {advice}"}, status=429)
    else:
        response = render(request, "registration/locked.html", {"sentence": sentence, "advice": advice}, status=429)
    if length:
        response["Retry-After"] = str(int(length.total_seconds()))
    return response


@login_not_required
def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """The admin has no sign-in page of its own: this sends people to the portal's, or says that they may not enter."""
    target = request.GET.get("next", "/admin/")
    if not request.user.is_authenticated:
        return redirect_to_login(target)
    if not request.user.is_staff:
        raise PermissionDenied("The admin is for staff. An administrator of the portal makes an account a staff account.")
    return redirect("admin:index")
