"""Trace: where a message is. One page from the file to the screen, found by any id, and the same at its publication and its message."""

from __future__ import annotations

import uuid
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_safe

from trades.models import Trade
from trades.web import trace_story, words
from trades.web.access import SEE, needs
from trades.web.addresses import TradeAddress
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.trace import way_of
from trades.web.trace_find import LONGEST, find
from trades.web.trace_story import Story


@needs(SEE)
@require_safe
def trace(request: HttpRequest) -> HttpResponse:
    """Find a publication or a message by any of its ids; an only one is shown at once."""
    text = request.GET.get("q", "").strip()
    found = find(text)
    if len(found.hits) == 1 and not found.has_more:
        (hit,) = found.hits
        if hit.document is None:
            return redirect(hit.href)
        address = f"{reverse('trace')}?{urlencode({'q': text})}"
        return _way(request, trace_story.of_document(hit.document, timezone.now()), address, text)
    context = {
        "text": text,
        "found": found,
        "hits": [(hit, words.full_tag(hit.at)) for hit in found.hits],
        "is_too_long": len(text) > LONGEST,
        "trade": _trade_of(text) if text and not found.hits else "",
    }
    return fragment(render(request, "trades/trace_find.html", context))


def _trade_of(text: str) -> str:
    """The address of the trade with this id, "" if there is none."""
    is_id = len(text) <= LONGEST and "\x00" not in text
    return TradeAddress(text).page() if is_id and Trade.objects.filter(trade_id=text).exists() else ""


@needs(SEE)
@require_safe
def trace_publication(request: HttpRequest, publication_id: uuid.UUID) -> HttpResponse:
    """The way of a publication. The number of queries is bounded, whatever happened to it."""
    publication = trace_story.published().filter(publication_id=publication_id).first()
    if publication is None:
        message = trace_story.arrived().filter(publication_id=publication_id).first()
        if message is None:
            raise _unknown(f"publication {publication_id}")
        return redirect("trace_message", message.pk)
    return _way(request, trace_story.of_publication(publication, timezone.now()), request.path)


@needs(SEE)
@require_safe
def trace_message(request: HttpRequest, pk: int) -> HttpResponse:
    """The way of a message: the same page as that of the publication that it came from."""
    message = trace_story.arrived().filter(pk=pk).first()
    if message is None:
        raise _unknown(f"message {pk}")
    return _way(request, trace_story.of_message(message, timezone.now()), request.path)


def _unknown(what: str) -> Http404:
    return Http404(format_html('There is no {}. <a href="{}">Look for it by another id</a>.', what, reverse("trace")))


def _way(request: HttpRequest, story: Story, address: str, text: str = "") -> HttpResponse:
    way = way_of(story)
    if wants_fragment(request) and request.GET.get("seen") == way.seen:
        return nothing_new()
    context = {"way": way, "address": address, "text": text}
    name = "trades/trace_way.html" if wants_fragment(request) else "trades/trace.html"
    return fragment(render(request, name, context))
