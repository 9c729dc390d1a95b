"""Addresses of trade pages. A trade id is any text, so it is not always something a path can carry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from django.http import HttpRequest
from django.urls import reverse

# Stands in the path for an id that travels in the query instead: `/trades/-/?id=...`.
IN_QUERY = "-"
# Browsers resolve dot segments, servers merge empty ones, "events/" and "preview/" belong to our own addresses.
_AWKWARD = re.compile(r"[\x00-\x1f\x7f]|(^|/)(\.{0,2})(/|$)|(^|/)events/|^preview/|(^|/)history\.(zip|json|csv)$|^-$")


@dataclass(frozen=True, slots=True)
class TradeAddress:
    """Where the pages of a trade are. The scheme is stated only where the id alone would not tell which trade is meant."""

    trade_id: str
    scheme: str | None = None

    @property
    def is_in_query(self) -> bool:
        """Whether the id stands in the query of the address, since no path could carry it."""
        return _AWKWARD.search(self.trade_id) is not None

    def page(self, **query: str) -> str:
        """The trade's page."""
        return self._build("", query)

    def event(self, position: int, **query: str) -> str:
        """The page of the trade's n-th event."""
        return self._build(f"events/{position}/", query)

    def raw(self, position: int) -> str:
        """The exact text of the message behind the n-th event."""
        return self._build(f"events/{position}/raw", {})

    def history(self, form: str) -> str:
        """The whole history as a file: "zip", "json" or "csv"."""
        return self._build(f"history.{form}", {})

    def _build(self, tail: str, query: dict[str, str]) -> str:
        shown, params = quote(self.trade_id, safe=""), {}
        if self.is_in_query:
            shown, params = IN_QUERY, {"id": self.trade_id}
        if self.scheme is not None:
            params["scheme"] = self.scheme
        params |= query
        return f"{reverse('trades')}{shown}/{tail}" + (f"?{urlencode(params)}" if params else "")


def asked_trade_id(request: HttpRequest, in_path: str) -> str:
    """The trade id that an address names."""
    return request.GET.get("id", in_path) if in_path == IN_QUERY else in_path


def trade_url(trade_id: str) -> str:
    """The address of the page of the trade with this id."""
    return TradeAddress(trade_id).page()
