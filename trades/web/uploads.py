"""Handing in documents, and what became of them."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from trades import foretelling, handing_in, publishing, routes
from trades.models import Document, Upload
from trades.web import keyset, upload_errors, upload_list, upload_review, upload_view, words
from trades.web.access import PUBLISH, SEE, needs
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.trade_pages import xml_attachment
from trades.web.upload_form import UploadForm, form_of, placed
from trades.web.upload_steps import begin_review, traceparent_of

NEWEST = keyset.Ordering("uploads")
SIZE = 50
SAMPLE = Path(settings.BASE_DIR) / "trades" / "demo" / "day" / "01-T-10041-book.xml"
SAMPLE_NAME = "sample-trade.xml"


@needs(SEE)
@require_safe
def uploads(request: HttpRequest) -> HttpResponse:
    """All uploads, newest first, or those that wait in review."""
    in_review = Upload.objects.filter(stage=Upload.Stage.REVIEW)
    is_review = request.GET.get("stage") == "review"
    rows = (in_review if is_review else Upload.objects.all()).select_related("created_by")
    page = keyset.page(rows, NEWEST, size=SIZE, params=request.GET)
    context = {
        "page": page,
        "rows": upload_list.listed(page.rows, timezone.now()),
        "is_review": is_review,
        "in_review": in_review.count(),
        "pager_query": "&stage=review" if is_review else "",
    }
    return render(request, "trades/uploads.html", context)


@needs(PUBLISH)
@require_http_methods(["GET", "HEAD", "POST"])
def upload_new(request: HttpRequest) -> HttpResponse:
    """Hand in files or pasted XML; the upload's own page then says what each message would do, and asks what to publish."""
    with form_of(request) as form:
        if form.is_bound and form.is_valid():
            return redirect("upload", _keep_for_review(request, form).pk)
        queues = routes.known_queues()
        context = {"form": form, "queue": queues[0] if len(queues) == 1 else "", "holds": settings.TRADES_HOLD}
        return render(request, "trades/upload_new.html", context, status=422 if form.errors else 200)


def _keep_for_review(request: HttpRequest, form: UploadForm) -> Upload:
    upload = begin_review(request, form.cleaned_data["group"])
    handing_in.take_for_review(upload, placed(form.documents), now=timezone.now())
    foretelling.check(upload, now=timezone.now())
    return upload


def publish_form(request: HttpRequest, form: UploadForm, source: Upload.Source) -> Upload:
    """Publish what a valid form carries at once; what can't be published is said on the next page."""
    user = request.user if request.user.is_authenticated else None
    upload = publishing.publish(placed(form.documents), source=source, user=user, clock=timezone.now, traceparent=traceparent_of(request))
    if refused := upload.documents.filter(refusals__isnull=False).distinct().count():
        was = "was" if refused == 1 else "were"
        messages.warning(request, f"{words.plural(refused, 'file')} {was} refused, whole or in part; the reasons are below.")
    return upload


@needs(SEE)
@require_safe
def upload(request: HttpRequest, pk: int) -> HttpResponse:
    """The review of an upload, or what became of each of its messages; then htmx asks again when something has changed, and gets
    only the rows that did, or 204."""
    people = Upload.objects.select_related("created_by")
    shown = get_object_or_404(upload_view.with_totals(upload_review.with_counts(people)), pk=pk)
    now = timezone.now()
    about = {"who": upload_list.who(shown), "when": words.full_tag(shown.created_at), "age": words.age_tag(shown.created_at, now)}
    if shown.stage == Upload.Stage.REVIEW:
        return fragment(render(request, "trades/upload_review.html", upload_review.context_of(shown, request.GET, now) | about))
    context = upload_view.context_of(shown, request.GET, now) | about
    if not wants_fragment(request):
        return fragment(render(request, "trades/upload.html", context))
    if request.GET.get("seen") == context["version"]:
        return nothing_new()
    return fragment(render(request, "trades/upload_changes.html", context))


@needs(SEE)
@require_safe
def document_original(request: HttpRequest, pk: int, document_pk: int) -> HttpResponseBase:
    """The exact bytes that were handed in, to save."""
    document = get_object_or_404(Document.objects.select_related("payload"), pk=document_pk, upload=pk)
    return xml_attachment(document.payload or bytes(document.content), document.name)


@needs(SEE)
@require_safe
def errors_csv(request: HttpRequest, pk: int) -> HttpResponse:
    """What was refused or quarantined of an upload, as a table to save."""
    return upload_errors.response(get_object_or_404(Upload, pk=pk))


@needs(SEE)
@require_safe
def sample(request: HttpRequest) -> HttpResponseBase:
    """A small valid document, to save and hand in."""
    return xml_attachment(SAMPLE.read_bytes(), SAMPLE_NAME)
