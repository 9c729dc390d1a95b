"""The pages of one trade: its facts, its history in queue order, and one event with its message."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRefresh

from trades.models import Event, Message, Publication, Trade
from trades.web import trade_view
from trades.web.access import SEE, needs
from trades.web.addresses import TradeAddress, asked_trade_id
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.xml_view import xml_view

TABS = (("message", "Message"), ("fields", "Fields"), ("transport", "Transport"))
MOST_SCHEMES = 50


@needs(SEE)
@require_safe
def trade(request: HttpRequest, trade_id: str) -> HttpResponse:
    """A trade with its newest event open; a choice when several schemes gave the same id; a page of advice when none did."""
    return _trade_page(request, asked_trade_id(request, trade_id), None)


@needs(SEE)
@require_safe
def event(request: HttpRequest, trade_id: str, position: int) -> HttpResponse:
    """A trade with one of its events open."""
    return _trade_page(request, asked_trade_id(request, trade_id), position)


@needs(SEE)
@require_safe
def event_raw(request: HttpRequest, trade_id: str, position: int) -> HttpResponse:
    """The exact text of the message behind an event, in UTF-8, to save."""
    found, _ = _trades(request, asked_trade_id(request, trade_id))
    if len(found) != 1:
        raise Http404("No such event, or more than one trade has this id. Open the trade and choose.")
    shown = get_object_or_404(Event.objects.select_related("message").only("position", "message__body"), trade=found[0], position=position)
    return xml_attachment(shown.message.body.encode(), f"{found[0].trade_id}-{position}.xml")


def xml_attachment(content: bytes, name: str) -> HttpResponse:
    """XML to save under a name, never to be shown by the browser as a page of this site."""
    response = HttpResponse(content, content_type="application/xml")
    safe_name = "".join(character if character.isalnum() or character in "-_. " else "_" for character in name)
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=safe_name) or "attachment"
    return response


def _trades(request: HttpRequest, trade_id: str) -> tuple[list[Trade], str | None]:
    """The trades that an address can mean, and the scheme where the id alone does not tell."""
    if "\x00" in trade_id:
        raise BadRequest("A trade id has no NUL character.")
    found = list(Trade.objects.filter(trade_id=trade_id).order_by("scheme")[:MOST_SCHEMES])
    scheme = request.GET.get("scheme")
    if scheme is None or len(found) < 2:
        return found, None
    return [candidate for candidate in found if candidate.scheme == scheme] or found, scheme


def _trade_page(request: HttpRequest, trade_id: str, position: int | None) -> HttpResponse:
    found, scheme = _trades(request, trade_id)
    if wants_fragment(request):
        return _news(request, found, TradeAddress(trade_id, scheme))
    if not found:
        return _not_found(request, trade_id)
    if len(found) > 1:
        choices = [(candidate, TradeAddress(trade_id, candidate.scheme).page()) for candidate in found]
        return render(request, "trades/trade_choice.html", {"trade_id": trade_id, "choices": choices})
    shown, address = found[0], TradeAddress(trade_id, scheme)
    selected = _selected(shown, position)
    tab = request.GET.get("tab", "message")
    tab = tab if tab in dict(TABS) else "message"
    context = trade_view.context_of(shown, address, selected, request.GET) | {
        "tab": tab,
        "tabs": [(name, address.event(selected.position, tab=key), key == tab) for key, name in TABS] if selected else [],
    }
    context |= _watch(address, shown)
    if selected:
        context |= _event_context(selected, tab)
    return render(request, "trades/trade.html", context)


def _news(request: HttpRequest, found: list[Trade], address: TradeAddress) -> HttpResponse:
    """What htmx asks for from an open page: a line that says which events came since, 204 when none did. A page that found no trade
    is loaded again once there is one."""
    seen = request.GET.get("seen", "")
    if not found or (len(found) == 1 and seen == str(found[0].event_count)):
        return nothing_new()
    if seen == "0" or len(found) > 1:
        return fragment(HttpResponseClientRefresh())
    return fragment(render(request, "trades/trade_news.html", {"trade": found[0], "address": address} | _watch(address, found[0])))


def _watch(address: TradeAddress, shown: Trade | None) -> dict[str, object]:
    count = shown.event_count if shown else 0
    return {"watch": address.page(seen=str(count)), "newest": address.page()}


def _selected(shown: Trade, position: int | None) -> Event | None:
    """The event to open, by default the newest. Raises Http404 for a position that the history does not have."""
    wanted = position or shown.event_count
    selected = Event.objects.filter(trade=shown, position=wanted).select_related("message").first()
    if selected is None and position is not None:
        raise Http404(f"Trade {shown.trade_id} has {shown.event_count} events; there is no event {position}.")
    return selected


def _event_context(selected: Event, tab: str) -> dict[str, object]:
    message = selected.message
    publication = _publication_of(message)
    context: dict[str, object] = {
        "message": message,
        "publication": publication,
        "copies": Message.objects.filter(repeats_message=message, outcome=Message.Outcome.DUPLICATE).count() + message.repeats,
    }
    if tab == "message":
        context["xml"] = xml_view(message.body)
    elif tab == "fields":
        context["fields"] = trade_view.fields_of(selected)
    else:
        context["transport"] = trade_view.transport_of(message)
    return context


def _publication_of(message: Message) -> Publication | None:
    if message.publication_id is None:
        return None
    published = Publication.objects.select_related("document__upload__created_by").defer("body", "document__content")
    return published.filter(publication_id=message.publication_id).first()


def _not_found(request: HttpRequest, trade_id: str) -> HttpResponse:
    """Where a trade that is not here may still be: in the outbox, in the queue, or in quarantine."""
    held = Message.objects.filter(outcome=Message.Outcome.HELD, body__contains=trade_id).only("pk").order_by("pk")
    context: dict[str, object] = {
        "trade_id": trade_id,
        "unsent": Publication.objects.unsent().filter(trade_id=trade_id).count(),
        "in_queue": Publication.objects.filter(trade_id=trade_id, state=Publication.State.SENT).count(),
        "held": [trade_view.message_address(message) for message in held[:5]],
        "in_quarantine": Message.objects.filter(outcome=Message.Outcome.QUARANTINED, body__contains=trade_id).count(),
    }
    context |= _watch(TradeAddress(trade_id), None)
    return render(request, "trades/trade_not_found.html", context, status=404)
