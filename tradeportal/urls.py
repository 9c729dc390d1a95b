"""Addresses: the admin, and the pages of the trades app."""

from django.contrib import admin
from django.urls import include, path

from trades.web.sign_in import admin_sign_in

handler400 = "trades.web.errors.bad_request"
handler403 = "trades.web.errors.permission_denied"
handler404 = "trades.web.errors.not_found"
handler500 = "trades.web.errors.server_error"

urlpatterns = [
    path("admin/login/", admin_sign_in),
    path("admin/", admin.site.urls),
    path("", include("trades.web.urls")),
]
