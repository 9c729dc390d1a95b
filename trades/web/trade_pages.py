"""The pages of one trade: its facts, its history in either order as known now or then, and one event with its message."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRefresh

from trades.models import Event, Message, Publication, Trade
from trades.web import trade_view, words
from trades.web.access import SEE, needs
from trades.web.addresses import TradeAddress, asked_trade_id
from trades.web.facts_view import field_groups
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.history_view import Lister
from trades.web.identity import Meant, meant_by, own_address
from trades.web.reading import TABS, reading_of
from trades.web.telling import tell
from trades.web.xml_view import xml_view


@needs(SEE)
@require_safe
def trade(request: HttpRequest, trade_id: str) -> HttpResponse:
    """A trade with its newest event open; a choice when several schemes gave the same id; a page of advice when none did."""
    return _trade_page(request, trade_id, None)


@needs(SEE)
@require_safe
def event(request: HttpRequest, trade_id: str, position: int) -> HttpResponse:
    """A trade with one of its events open."""
    return _trade_page(request, trade_id, position)


@needs(SEE)
@require_safe
def event_raw(request: HttpRequest, trade_id: str, position: int) -> HttpResponse:
    """The exact text of the message behind an event, in UTF-8, to save."""
    trade = _meant(request, trade_id).trade
    if trade is None:
        raise Http404("No such event, or more than one trade has this id. Open the trade and choose.")
    shown = get_object_or_404(Event.objects.select_related("message").only("position", "message__body"), trade=trade, position=position)
    return xml_attachment(shown.message.body.encode(), f"{trade.trade_id}-{position}.xml")


def xml_attachment(content: bytes, name: str) -> HttpResponse:
    """XML to save under a name, never to be shown by the browser as a page of this site."""
    response = HttpResponse(content, content_type="application/xml")
    safe_name = "".join(character if character.isalnum() or character in "-_. " else "_" for character in name)
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=safe_name) or "attachment"
    return response


def _meant(request: HttpRequest, trade_id: str) -> Meant:
    return meant_by(asked_trade_id(request, trade_id), request.GET.get("scheme"))


def _trade_page(request: HttpRequest, trade_id: str, position: int | None) -> HttpResponse:
    meant = _meant(request, trade_id)
    shown = meant.trade
    if wants_fragment(request):
        return _news(request, meant)
    if not meant.candidates:
        return _not_found(request, meant.trade_id)
    if shown is None:
        choices = [(row, TradeAddress(meant.trade_id, row.scheme).page()) for row in meant.candidates]
        return render(request, "trades/trade_choice.html", {"trade_id": meant.trade_id, "choices": choices})
    if shown.trade_id != meant.trade_id:
        return redirect(_own_address(request, shown, position))
    reading = reading_of(request.GET, timezone.now())
    lister = Lister(shown, meant.address, tell(shown, reading.as_of), reading, timezone.now())
    if reading.as_of and not lister.telling.count:
        return _unknown_then(request, lister)
    selected, note = _selected(lister, position)
    context = trade_view.context_of(lister, selected) | _reading_context(lister, selected) | {"note": note}
    if reading.as_of is None:
        context |= _watch(meant.address, shown)
    if selected:
        context |= _event_context(lister, selected)
    return render(request, "trades/trade.html", context)


def _own_address(request: HttpRequest, shown: Trade, position: int | None) -> str:
    """Where the page of a trade is that was asked for by another of its ids."""
    address = own_address(shown)
    query = {name: request.GET[name] for name in request.GET if name not in ("id", "scheme")}
    return address.page(**query) if position is None else address.event(position, **query)


def _reading_context(lister: Lister, selected: Event | None) -> dict[str, object]:
    reading, telling = lister.reading, lister.telling
    position = selected.position if selected else 0

    def here(**change: str) -> str:
        return lister.address.event(position, **reading.query(**change)) if position else lister.address.page(**reading.query(**change))

    kept = {**reading.query(as_of=""), **({"id": lister.trade.trade_id} if lister.address.is_in_query else {})}
    kept |= {"scheme": lister.address.scheme} if lister.address.scheme is not None else {}
    return {
        "reading": reading,
        "as_of": reading.as_of_tag,
        "as_of_fields": kept,
        "as_of_action": here().partition("?")[0],
        "back": here(as_of=""),
        "known": f"{telling.count:,} of {words.plural(lister.trade.event_count, 'event')}",
        "tabs": [(name, here(tab=key), key == reading.tab) for key, name in TABS.items()] if selected else [],
        "tab": reading.tab,
    }


def _unknown_then(request: HttpRequest, lister: Lister) -> HttpResponse:
    """The page of a trade of which nothing was known at the moment that is asked for."""
    first = Event.objects.filter(trade=lister.trade, position=1).only("position", "recorded_at").first()
    context = _reading_context(lister, None) | {
        "trade": lister.trade,
        "first": words.full_tag(first.recorded_at) if first else "",
        "first_href": lister.known_right_after(first) if first else "",
    }
    return render(request, "trades/trade_unknown_then.html", context)


def _news(request: HttpRequest, meant: Meant) -> HttpResponse:
    """What htmx asks for from an open page: a line that says which events came since, 204 when none did. A page that found no trade
    is loaded again once there is one."""
    seen, shown = request.GET.get("seen", ""), meant.trade
    if not meant.candidates or (shown and seen == str(shown.event_count)):
        return nothing_new()
    if seen == "0" or shown is None:
        return fragment(HttpResponseClientRefresh())
    return fragment(render(request, "trades/trade_news.html", {"trade": shown, "address": meant.address} | _watch(meant.address, shown)))


def _watch(address: TradeAddress, shown: Trade | None) -> dict[str, object]:
    count = shown.event_count if shown else 0
    return {"watch": address.page(seen=str(count)), "newest": address.page()}


def _selected(lister: Lister, position: int | None) -> tuple[Event | None, str]:
    """The event to open, by default the newest, and a sentence if it is not the one asked for. Raises Http404 for a position that the
    history does not have."""
    shown, known = lister.trade, lister.telling.count
    if position is not None and not 1 <= position <= max(known, shown.event_count):
        raise Http404(f"Trade {shown.trade_id} has {shown.event_count} events; there is no event {position}.")
    wanted = min(position or known, known)
    note = f"Event {position} was not known yet. Event {wanted}, the newest that was, is open." if position and wanted < position else ""
    return Event.objects.filter(trade=shown, position=wanted).select_related("message__corrects").first(), note


def _event_context(lister: Lister, selected: Event) -> dict[str, object]:
    message, tab = selected.message, lister.reading.tab
    copies = trade_view.copies_of(message, lister.reading.as_of)
    context: dict[str, object] = {
        "message": message,
        "publication": _publication_of(message),
        "copies": [(trade_view.message_address(copy), words.full_tag(copy.received_at)) for copy in copies[: trade_view.MOST_COPIES]],
        "copy_count": copies.count(),
    }
    if tab == "message":
        context["xml"] = xml_view(message.body)
    elif tab == "fields":
        context["groups"] = field_groups(selected, lister.trade, lister.telling)
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
