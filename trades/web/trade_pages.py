"""The pages of one trade: its facts, its history in either order as known now or then, and one event with its message."""

from __future__ import annotations

from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe
from django_htmx.http import HttpResponseClientRefresh

from trades import payloads
from trades.models import Event, Message, Payload, Publication, Trade
from trades.web import asides, event_view, reasons, trade_view, words
from trades.web.access import SEE, needs
from trades.web.addresses import TradeAddress, asked_trade_id
from trades.web.fragments import fragment, nothing_new, wants_fragment
from trades.web.history_view import Lister
from trades.web.identity import Meant, meant_by, own_address
from trades.web.neighbours import listed, listed_query
from trades.web.reading import TABS, Reading, as_text, reading_of
from trades.web.telling import tell

MOST_FOUND = 20  # messages that a page without a trade lists


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
def event_raw(request: HttpRequest, trade_id: str, position: int) -> HttpResponseBase:
    """The exact text of the message behind an event, in UTF-8, to save."""
    trade = _meant(request, trade_id).trade
    if trade is None:
        raise Http404("No such event, or more than one trade has this id. Open the trade and choose.")
    rows = Event.objects.select_related("message__payload").only("position", "message__body", "message__payload__size")
    shown = get_object_or_404(rows, trade=trade, position=position).message
    return xml_attachment(shown.payload or shown.body.encode(), f"{trade.trade_id}-{position}.xml")


def xml_attachment(content: bytes | Payload, name: str) -> HttpResponseBase:
    """XML to save under a name, never to be shown by the browser as a page of this site; a payload is sent while it is read."""
    response: HttpResponseBase
    if isinstance(content, Payload):
        response = StreamingHttpResponse(payloads.pieces(content), content_type="application/xml")
        response["Content-Length"] = str(content.size)
    else:
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
    return _page_of(request, meant, shown, position)


def _page_of(request: HttpRequest, meant: Meant, shown: Trade, position: int | None) -> HttpResponse:
    reading = _reading(request)
    if len(ticked := _ticked(request)) == 2:
        return redirect(meant.address.event(max(ticked), **reading.here(compare=str(min(ticked)), tab="")))
    lister = Lister(shown, meant.address, tell(shown, reading.as_of), reading, timezone.now())
    if reading.as_of and not lister.telling.count:
        return _unknown_then(request, lister)
    wanted, notes = _wanted(lister, position)
    if "e" in request.GET:
        notes.append("Tick two events of the history to compare them.")
    compared = _compared(lister, wanted, notes)
    lister.load(wanted, [compared])
    selected = lister.rows.get(wanted)
    context = trade_view.context_of(lister, selected, meant) | _reading_context(lister, selected) | {"notes": notes}
    context["listed"] = listed(request, shown, reading.listed)
    if reading.as_of is None:
        context |= _watch(meant.address, shown, reading)
    if selected:
        context |= event_view.context_of(lister, selected, lister.rows.get(compared))
    return render(request, "trades/trade.html", context)


def _reading(request: HttpRequest) -> Reading:
    """What the address asks for; a list that the page was reached from is carried along as one that the address names."""
    came_from = listed_query(request)
    params = request.GET.dict() if came_from is None else request.GET.dict() | {"from": came_from}
    return reading_of({name: str(value) for name, value in params.items()}, timezone.now())


def _ticked(request: HttpRequest) -> set[int]:
    """The events that were ticked to be compared."""
    return {int(value) for value in request.GET.getlist("e") if value.isascii() and value.isdigit() and 0 < len(value) < 10}


def _own_address(request: HttpRequest, shown: Trade, position: int | None) -> str:
    """Where the page of a trade is that was asked for by another of its ids."""
    address = own_address(shown)
    query = {name: request.GET[name] for name in request.GET if name not in ("id", "scheme")}
    return address.page(**query) if position is None else address.event(position, **query)


def _reading_context(lister: Lister, selected: Event | None) -> dict[str, object]:
    reading, telling = lister.reading, lister.telling
    position = selected.position if selected else 0

    def here(**change: str) -> str:
        return lister.address.event(position, **reading.here(**change)) if position else lister.address.page(**reading.query(**change))

    kept = {**reading.here(as_of=""), **({"id": lister.trade.trade_id} if lister.address.is_in_query else {})}
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
        "downloads": [(form, lister.address.history(form)) for form in ("zip", "json", "csv")],
        "ticking": lister.address.page().partition("?")[0],
        "ticking_fields": kept | ({"as_of": as_text(reading.as_of)} if reading.as_of else {}),
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
    context = {"trade": shown, "address": meant.address} | _watch(meant.address, shown, _reading(request))
    return fragment(render(request, "trades/trade_news.html", context))


def _watch(address: TradeAddress, shown: Trade | None, reading: Reading) -> dict[str, object]:
    count = shown.event_count if shown else 0
    return {"watch": address.page(**reading.query(seen=str(count))), "newest": address.page(**reading.query())}


def _wanted(lister: Lister, position: int | None) -> tuple[int, list[str]]:
    """The event to open (its position), by default the newest, and a sentence if it is not the one asked for. Raises Http404 for a
    position that the history does not have."""
    shown, known = lister.trade, lister.telling.count
    if position is not None and not 1 <= position <= max(known, shown.event_count):
        raise Http404(f"Trade {shown.trade_id} has {shown.event_count} events; there is no event {position}.")
    wanted = min(position or known, known)
    is_later = bool(position) and wanted < (position or 0)
    return wanted, [f"Event {position} was not known yet. Event {wanted}, the newest that was, is open."] if is_later else []


def _compared(lister: Lister, wanted: int, notes: list[str]) -> int:
    """The event to compare with: the one asked for, else the one before; 0 where there is none."""
    asked = lister.reading.compare
    if 1 <= asked <= lister.telling.count and asked != wanted:
        return asked
    if asked:
        before = "itself" if asked == wanted else f"event {asked}, which is not in this history"
        notes.append(f"Event {wanted} can't be compared with {before}. It is compared with the event before it.")
    return lister.telling.before(wanted, lister.reading) if wanted else 0


# A trade that is not here


def _not_found(request: HttpRequest, trade_id: str) -> HttpResponse:
    """Where a trade that is not here may still be: in the outbox, in the queue, waiting, or in quarantine. One of which there are only
    refused messages has a page that says so."""
    now = timezone.now()
    named = _listed_messages(Message.objects.filter(stated_trade_id=trade_id) if trade_id else Message.objects.none())
    # What is too large to be looked through is told by its message group.
    holds_it = Q(body__contains=trade_id) | Q(payload__isnull=False, group_id=trade_id)
    names = Message.objects.filter(holds_it).exclude(stated_trade_id=trade_id)
    held, quarantined = names.filter(outcome=Message.Outcome.HELD), names.filter(outcome=Message.Outcome.QUARANTINED)
    publications = Publication.objects.filter(trade_id=trade_id).order_by()
    states = dict(publications.values_list("state").annotate(n=Count("pk")))
    context: dict[str, object] = {
        "trade_id": trade_id,
        "named": [asides.listed(message, now) for message in named],
        "uploads": list(_uploads_of(trade_id)),
        "unsent": Publication.objects.unsent().filter(trade_id=trade_id).count(),
        "in_queue": states.get(Publication.State.SENT, 0),
        "held": [
            (message.pk, trade_view.message_address(message), words.full_tag(message.received_at)) for message in _listed_messages(held)
        ],
        "in_quarantine": quarantined.count(),
        "quarantined": [
            (message.pk, trade_view.message_address(message), reasons.code_word(message.code) if message.code else "In quarantine")
            for message in _listed_messages(quarantined)
        ],
    }
    context |= _watch(TradeAddress(trade_id), None, Reading())
    return render(request, "trades/trade_not_found.html", context, status=200 if named else 404)


def _listed_messages(rows: QuerySet[Message]) -> list[Message]:
    return list(rows.defer("body", "attributes").order_by("-pk")[:MOST_FOUND])


def _uploads_of(trade_id: str) -> QuerySet[Publication, int]:
    """The newest uploads that hold messages of a trade."""
    uploads = Publication.objects.filter(trade_id=trade_id).order_by("-document__upload")
    return uploads.values_list("document__upload", flat=True).distinct()[:5]
