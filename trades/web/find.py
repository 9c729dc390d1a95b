"""Quick find: a thing by its id at once, else what could be meant."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from trades.web.access import SEE, needs
from trades.web.finding import found
from trades.web.fragments import fragment, wants_fragment

MOST = 255  # characters


@needs(SEE)
@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """What was found, as options for the dialog, or as a page; the page leads on at once where one thing has exactly this id."""
    text = request.GET.get("q", "").replace("\0", "").strip()[:MOST]
    answer = found(request, text)
    context = {"text": text, "answer": answer}
    if wants_fragment(request):
        return fragment(render(request, "trades/find_options.html", context))
    if answer.exact:
        return redirect(answer.exact)
    return fragment(render(request, "trades/find.html", context))
