"""Views of the blotter that a person keeps under a name of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from trades.models import SavedView
from trades.web.access import SEE, needs
from trades.web.trade_query import TradeQuery

MOST = 30  # views of one person
LONGEST = 4_000  # characters
EVERYTHING = "sort=-updated"  # what a view without filters says: one that said nothing would be no view


class ViewForm(forms.Form):
    """A view to keep or to drop."""

    name = forms.CharField(max_length=60, label="Name")
    query = forms.CharField(max_length=LONGEST, required=False)
    do = forms.ChoiceField(choices=[("save", "Save"), ("delete", "Delete")])


def own_views(request: HttpRequest) -> Sequence[SavedView]:
    """The views that the person keeps, by name. One query."""
    return list(SavedView.objects.filter(user=request.user.pk).order_by("name")) if request.user.is_authenticated else []


def query_of(request: HttpRequest, own: Sequence[SavedView] | None = None, params: QueryDict | None = None) -> TradeQuery:
    """The reading of an address, or of the parameters of another, with the saved view that it may name."""
    params = request.GET if params is None else params
    name = params.get("view", "")
    if own is None:
        own = own_views(request) if name else ()
    saved = next((view.query for view in own if view.name == name), "")
    return TradeQuery(params, me=request.user.get_username(), saved=saved)


@needs(SEE)
@require_POST
def views(request: HttpRequest) -> HttpResponse:
    """Keep the filters that the page shows under a name, in place of what the name stood for, or drop one."""
    form = ViewForm(request.POST)
    if not form.is_valid():
        for field, errors in form.errors.items():
            messages.error(request, f"The view was not kept. {form[field].label}: {' '.join(map(str, errors))}")
        return redirect(f"{reverse('trades')}?{request.POST.get('query', '')[:LONGEST]}")
    name = form.cleaned_data["name"]
    if form.cleaned_data["do"] == "delete":
        SavedView.objects.filter(user=request.user.pk, name=name).delete()
        messages.success(request, f"The view {name} is gone.")
        return redirect("trades")
    return _keep(request, name, TradeQuery(QueryDict(form.cleaned_data["query"])).as_view() or EVERYTHING)


def _keep(request: HttpRequest, name: str, query: str) -> HttpResponse:
    own = SavedView.objects.filter(user=request.user.pk)
    if not own.filter(name=name).exists() and own.count() >= MOST:
        messages.error(request, f"The view was not kept: there are {MOST} already. Delete one first.")
        return redirect(f"{reverse('trades')}?{query}")
    SavedView.objects.update_or_create(user=cast("User", request.user), name=name, defaults={"query": query})
    messages.success(request, f"The view {name} is kept.")
    return redirect(f"{reverse('trades')}?{urlencode({'view': name})}")
