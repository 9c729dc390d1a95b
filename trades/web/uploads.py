"""Handing in documents, and what became of them."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from trades import publishing
from trades.models import Document, Upload
from trades.web import keyset, upload_view
from trades.web.access import PUBLISH, SEE, needs
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.trade_pages import xml_attachment
from trades.web.upload_form import UploadForm

NEWEST = keyset.Ordering("uploads")
SIZE = 50


@needs(SEE)
@require_safe
def uploads(request: HttpRequest) -> HttpResponse:
    """All uploads, newest first."""
    page = keyset.page(Upload.objects.select_related("created_by"), NEWEST, size=SIZE, params=request.GET)
    return render(request, "trades/uploads.html", {"page": page, "rows": upload_view.listed(page.rows, timezone.now())})


@needs(PUBLISH)
@require_http_methods(["GET", "HEAD", "POST"])
def upload_new(request: HttpRequest) -> HttpResponse:
    """Hand in files or pasted XML; after publishing, the upload's own page says what became of each."""
    form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
    if form.is_bound and form.is_valid():
        return redirect("upload", publish_form(request, form, Upload.Source.WEB).pk)
    return render(request, "trades/upload_new.html", {"form": form, "queue": settings.TRADES_QUEUE}, status=422 if form.errors else 200)


def publish_form(request: HttpRequest, form: UploadForm, source: Upload.Source) -> Upload:
    """Publish what a valid form carries; what the form left out is said on the next page."""
    user = request.user if request.user.is_authenticated else None
    upload = publishing.publish(form.documents, source=source, user=user, clock=timezone.now)
    for sentence in form.left_out:
        messages.warning(request, sentence)
    return upload


@needs(SEE)
@require_safe
def upload(request: HttpRequest, pk: int) -> HttpResponse:
    """What became of each document of an upload; htmx asks again until everything is recorded, and gets 204 when nothing changed."""
    shown = get_object_or_404(Upload.objects.select_related("created_by"), pk=pk)
    context = upload_view.context_of(shown, request.GET, timezone.now())
    if wants_fragment(request) and request.GET.get("seen") == context["version"]:
        return nothing_new()
    return fragment(render(request, "trades/upload_files.html" if wants_fragment(request) else "trades/upload.html", context))


@needs(SEE)
@require_safe
def document_original(request: HttpRequest, pk: int, document_pk: int) -> HttpResponse:
    """The exact bytes that were handed in, to save."""
    document = get_object_or_404(Document, pk=document_pk, upload=pk)
    return xml_attachment(bytes(document.content), document.name)
