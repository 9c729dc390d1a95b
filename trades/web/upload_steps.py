"""The steps of an upload: begin it, add files one by one, check what they would do, decide. Pages with a script take all of them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from trades import deciding, foretelling, handing_in
from trades.deciding import Choice
from trades.handing_in import IncomingDocument
from trades.models import Document, Publication, Refusal, Upload
from trades.web import errors, upload_form, words
from trades.web.access import PUBLISH, needs
from trades.web.archives import shown_name
from trades.web.sent_files import most_together
from trades.web.upload_rows import NO_CONTENT

STEP = 10_000  # places that one file of the list may take: a zip has many documents


@needs(PUBLISH)
@require_POST
def upload_begin(request: HttpRequest) -> HttpResponse:
    """A new upload in review, with the addresses of its further steps. `group` is the message group for what is not understood."""
    group = request.POST.get("group", "").strip()
    if group and (fault := handing_in.group_fault(group)):
        return errors.refused(request, 400, fault)
    upload = begin_review(request, group)
    steps = {name: reverse(f"upload_{name}", args=[upload.pk]) for name in ("files", "check", "decide")}
    return JsonResponse({"upload": upload.pk, "page": reverse("upload", args=[upload.pk]), **steps}, status=201)


def begin_review(request: HttpRequest, group: str) -> Upload:
    """A new upload in review, by the person who asks for it and of the trace that the request belongs to."""
    return handing_in.begin(
        source=Upload.Source.WEB,
        user=cast("AbstractBaseUser", request.user),
        now=timezone.now(),
        stage=Upload.Stage.REVIEW,
        group=group,
        traceparent=traceparent_of(request),
    )


def traceparent_of(request: HttpRequest) -> str:
    """The W3C Trace Context that a request came with, valid or not, "" for none."""
    return request.headers.get(handing_in.TRACEPARENT, "")


@needs(PUBLISH)
@require_POST
def upload_files(request: HttpRequest, pk: int) -> HttpResponse:
    """Add one file, or pasted text, at its place in the upload. The same place again is answered as the first time; what of it was
    not stored then, because the request broke off, is."""
    upload = get_object_or_404(Upload, pk=pk)
    if upload.created_by_id != request.user.pk:
        raise PermissionDenied("Only the person who began an upload adds files to it.")
    place = request.POST.get("position", "")
    if not (place.isascii() and place.isdigit() and len(place) < 10 and 0 < int(place) <= settings.TRADES_MAX_UPLOAD_FILES):
        return errors.refused(request, 400, f"A position from 1 to {settings.TRADES_MAX_UPLOAD_FILES} is needed.")
    with TemporaryDirectory(prefix="upload-") as folder:
        return _add(request, upload, int(place) * STEP, Path(folder))


def _add(request: HttpRequest, upload: Upload, first: int, folder: Path) -> HttpResponse:
    there = Document.objects.filter(upload=upload, position__range=(first, first + STEP - 1))
    documents = _incoming(request, upload, there, folder)
    if isinstance(documents, str):
        return errors.refused(request, 413, documents)
    if not documents:
        return errors.refused(request, 400, "No file came with the request.")
    if there.count() >= len(documents):
        return JsonResponse(_standing(there))
    try:
        handing_in.take_for_review(upload, upload_form.placed(documents, first), now=timezone.now())
    except handing_in.NotInReview:
        upload.refresh_from_db()
        return errors.refused(request, 409, deciding.decided(upload, timezone.now()))
    return JsonResponse(_standing(there), status=201)


def _incoming(request: HttpRequest, upload: Upload, there: QuerySet[Document], folder: Path) -> list[IncomingDocument] | str:
    """The documents of a request, or why there is no room for them beside those that are in other places."""
    others = upload.documents.exclude(pk__in=there.values("pk"))
    taken: dict[str, Any] = others.aggregate(files=Count("pk"), size=Sum("size", filter=~Q(sha256=NO_CONTENT)))
    files = settings.TRADES_MAX_UPLOAD_FILES - taken["files"]
    room = most_together() - (taken["size"] or 0)
    pasted, file = request.POST.get("pasted", ""), request.FILES.get("file")
    documents: list[IncomingDocument] = []
    if file is not None:
        name = shown_name(request.POST.get("name") or file.name or "file")
        documents = upload_form.documents_of(file, folder, name=name, most_files=max(files, 0), most_bytes=max(room, 0))
    elif pasted.strip():
        documents = [IncomingDocument(upload_form.PASTED_NAME, upload_form.encode_pasted(pasted))]
    if len(documents) > files or upload_form.taken(documents) > room:
        return f"The upload is full. {upload_form.UploadForm().limits} Hand the rest in in another upload."
    return documents


def _standing(documents: QuerySet[Document]) -> dict[str, Any]:
    """What is stored at a place of an upload."""
    counts = documents.aggregate(files=Count("pk", distinct=True), drafts=Count("drafts"))
    refusals = Refusal.objects.filter(document__in=documents).order_by("document__position", "part")
    reasons = [
        f"{place}: {reason}" if (place := words.place(line, column)) else reason
        for line, column, reason in refusals.values_list("line", "column", "reason")[:3]
    ]
    return {"files": counts["files"], "messages": counts["drafts"], "refused": refusals.count(), "reasons": reasons}


@needs(PUBLISH)
@require_POST
def upload_check(request: HttpRequest, pk: int) -> HttpResponse:
    """Foretell anew what the messages in review would do."""
    upload = get_object_or_404(Upload, pk=pk)
    if upload.stage == Upload.Stage.REVIEW:
        foretelling.check(upload, now=timezone.now())
    page = reverse("upload", args=[pk])
    return JsonResponse({"page": page}) if errors.asks_in_page(request) else redirect(page)


@needs(PUBLISH)
@require_POST
def upload_decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Publish all messages of an upload, the good ones, or none."""
    upload = get_object_or_404(Upload, pk=pk)
    choice, expected = request.POST.get("choice", ""), request.POST.get("messages", "")
    if choice not in set(Choice):
        return errors.refused(request, 400, "Choose what to publish: all messages, the good ones, or none.")
    count = int(expected) if expected.isascii() and expected.isdigit() and len(expected) < 10 else None
    try:
        user = cast("AbstractBaseUser", request.user)
        decision = deciding.decide(upload, Choice(choice), user=user, clock=timezone.now, expected=count)
    except deciding.Conflict as conflict:
        messages.warning(request, str(conflict))
    else:
        unsent = Publication.objects.filter(document__upload=upload, state=Publication.State.PENDING).count()
        (messages.warning if unsent else messages.success)(request, _told(upload, Choice(choice), decision, unsent))
    return redirect("upload", pk)


def _told(upload: Upload, choice: Choice, decision: deciding.Decision, unsent: int) -> str:
    """What was decided, in a sentence or two."""
    if choice is Choice.NONE:
        return "Nothing was published. The files are kept with the upload."
    said = [f"Published {words.plural(decision.published, 'message')}."]
    if decision.left_out:
        said.append(f"{words.plural(decision.left_out, 'message')} {'was' if decision.left_out == 1 else 'were'} left out.")
    if refused := upload.documents.filter(refusals__isnull=False).distinct().count():
        said.append(f"{words.plural(refused, 'file')} {'was' if refused == 1 else 'were'} refused.")
    if unsent:
        said.append(f"The queue has not taken {unsent:,} of them yet; the outbox keeps {'it' if unsent == 1 else 'them'} and tries again.")
    return " ".join(said)
