"""Signing in, and where people who want the admin go."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django_htmx.http import HttpResponseClientRefresh

from trades.web.fragments import wants_fragment


@method_decorator(login_not_required, name="dispatch")
class SignIn(LoginView):
    """The sign-in page. A refresh of a part of a page gets an order to reload instead, so that this page never lands in a table."""

    redirect_authenticated_user = True

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """The page, or the order to reload."""
        if wants_fragment(request):
            return HttpResponseClientRefresh()
        return super().dispatch(request, *args, **kwargs)


@login_not_required
def admin_sign_in(request: HttpRequest) -> HttpResponse:
    """The admin has no sign-in page of its own: this sends people to the portal's, or says that they may not enter."""
    target = request.GET.get("next", "/admin/")
    if not request.user.is_authenticated:
        return redirect_to_login(target)
    if not request.user.is_staff:
        raise PermissionDenied("The admin is for staff. An administrator of the portal makes an account a staff account.")
    return redirect("admin:index")
