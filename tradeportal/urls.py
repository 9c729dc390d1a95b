"""Addresses: the admin, and the pages of the trades app."""

from django.contrib import admin
from django.urls import include, path

from trades.web.sign_in import admin_sign_in

handler400 = "trades.web.errors.bad_request"

urlpatterns = [
    path("admin/login/", admin_sign_in),
    path("admin/", admin.site.urls),
    path("", include("trades.web.urls")),
]
