"""The addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from trades.web import (
    blotter,
    correct_many,
    correct_pages,
    inspect_pages,
    many_pages,
    message_pages,
    preferences,
    quarantine_list,
    sign_in,
    trade_pages,
    uploads,
)

urlpatterns = [
    path("", blotter.blotter, name="blotter"),
    path("trades/", blotter.blotter, name="trades"),
    # The longer addresses first: a trade id may hold slashes.
    path("trades/<path:trade_id>/events/<int:position>/raw", trade_pages.event_raw, name="event_raw"),
    path("trades/<path:trade_id>/events/<int:position>/", trade_pages.event, name="event"),
    path("trades/<path:trade_id>/", trade_pages.trade, name="trade"),
    path("uploads/", uploads.uploads, name="uploads"),
    path("uploads/new/", uploads.upload_new, name="upload_new"),
    path("uploads/<int:pk>/", uploads.upload, name="upload"),
    path("uploads/<int:pk>/documents/<int:document_pk>/original", uploads.document_original, name="document_original"),
    path("quarantine/", quarantine_list.quarantine_list, name="quarantine"),
    path("reference/", quarantine_list.reference_list, name="reference"),
    path("quarantine/settle/", many_pages.settle, name="settle"),
    path("quarantine/correct/", correct_many.correct_many, name="correct_many"),
    path("quarantine/<int:pk>/", message_pages.message, name="message"),
    path("quarantine/<int:pk>/raw", message_pages.message_raw, name="message_raw"),
    path("quarantine/<int:pk>/replay/", message_pages.replay, name="replay"),
    path("quarantine/<int:pk>/discard/", message_pages.discard, name="discard"),
    path("quarantine/<int:pk>/undo/", message_pages.undo, name="undo"),
    path("quarantine/<int:pk>/correct/", correct_pages.correct, name="correct"),
    path("inspect/", inspect_pages.inspect, name="inspect"),
    path("theme/", preferences.choose_theme, name="theme"),
    path("sign-in/", sign_in.SignIn.as_view(), name="login"),
    path("sign-out/", LogoutView.as_view(), name="logout"),
]
