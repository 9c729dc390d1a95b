"""Which trades a list shows: one reading of the address, shared by everything that lists trades."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.http import QueryDict

from trades.lifecycle import State, Status
from trades.models import Trade, TradeIdentifier, choices_of
from trades.web.keyset import Ordering

NEWEST = Ordering("trades", "updated_at")
SIZES = (25, 50, 100, 200)
SIZE = 50


class AnyOf(forms.MultipleChoiceField):
    """Repeated parameter; keeps the values that are known and says which are not."""

    widget = forms.CheckboxSelectMultiple()

    def validate(self, value: list[str]) -> None:
        """Raise ValidationError with the values that are possible, if one is not."""
        if unknown := [item for item in value if not self.valid_value(item)]:
            known = ", ".join(str(choice) for choice, _ in self.widget.choices)
            raise ValidationError(f"“{unknown[0][:60]}” is not one of {known}.")


class TradeFilter(forms.Form):
    """The parameters of a list of trades. All are optional; any other parameter is ignored."""

    state = AnyOf(required=False, choices=choices_of(State))
    status = AnyOf(required=False, choices=choices_of(Status))
    flagged = forms.ChoiceField(required=False, choices=[("yes", "Flagged only")])
    q = forms.CharField(required=False, max_length=255, label="Text")
    n = forms.TypedChoiceField(required=False, choices=[(str(size), str(size)) for size in SIZES], label="Rows")


@dataclass(frozen=True, slots=True)
class Chip:
    """One active filter and the address without it."""

    name: str
    value: str
    without: str


class TradeQuery:
    """A reading of the address of a list of trades. A bad value is an error of its field and filters nothing."""

    def __init__(self, params: QueryDict) -> None:
        self.params = params
        self.form = TradeFilter(params)
        self.form.is_valid()
        values = self.form.cleaned_data
        self.states: list[str] = values.get("state", [])
        self.statuses: list[str] = values.get("status", [])
        self.flagged: bool = values.get("flagged") == "yes"
        self.text: str = values.get("q", "")
        self.size = int(values.get("n") or SIZE)

    def apply(self, trades: QuerySet[Trade]) -> QuerySet[Trade]:
        """The trades that match, in no order."""
        if self.states:
            trades = trades.filter(state__in=self.states)
        if self.statuses:
            trades = trades.filter(status__in=self.statuses)
        if self.flagged:
            trades = trades.filter(flagged_count__gt=0)
        return trades.filter(self._matches_text()) if self.text else trades

    def _matches_text(self) -> Q:
        # All ids of a trade count. They match from their start only, never in the middle. The list is walked newest first and stops
        # when a page is full, so common words cost little; a rare word reads every trade once.
        by_id = TradeIdentifier.objects.filter(value__startswith=self.text).values("trade")
        return Q(pk__in=by_id) | Q(product__icontains=self.text) | Q(parties__icontains=self.text)

    @property
    def is_filtered(self) -> bool:
        """Whether anything is left out."""
        return bool(self.states or self.statuses or self.flagged or self.text)

    @property
    def errors(self) -> list[str]:
        """One sentence per parameter that could not be used."""
        return [f"{self.form[name].label}: {error}" for name, errors in self.form.errors.items() for error in errors]

    def chips(self) -> list[Chip]:
        """The active filters, each with the address that drops it."""
        chips = []
        for key, name, values in (("state", "State", self.states), ("status", "Status", self.statuses)):
            if values:
                chips.append(Chip(name, ", ".join(value.capitalize() for value in values), self.address(drop=[key])))
        if self.flagged:
            chips.append(Chip("Flagged", "yes", self.address(drop=["flagged"])))
        if self.text:
            chips.append(Chip("Text", self.text, self.address(drop=["q"])))
        return chips

    def address(self, *, drop: Iterable[str] = (), **change: str | list[str]) -> str:
        """The query part of this list's address with some parameters dropped or changed, always without a cursor."""
        params = QueryDict(mutable=True)
        for key in ("state", "status", "flagged", "q", "n", "live"):
            if key in self.params and key not in drop:
                params.setlist(key, self.params.getlist(key))
        for key, value in change.items():
            params.setlist(key, value if isinstance(value, list) else [value])
        return f"?{params.urlencode()}"


@dataclass(frozen=True, slots=True)
class View:
    """A tab over the list: a name and the filter it stands for."""

    key: str
    name: str
    states: tuple[str, ...] = ()
    flagged: bool = False
    tone: str = ""

    def condition(self) -> Q:
        """What the trades under this tab have in common."""
        condition = Q(state__in=self.states) if self.states else Q()
        return condition & Q(flagged_count__gt=0) if self.flagged else condition

    def is_shown_by(self, query: TradeQuery) -> bool:
        """Whether the query is exactly this view, text and status aside."""
        return tuple(query.states) == self.states and query.flagged == self.flagged

    def address(self, query: TradeQuery) -> str:
        """The query part of the address of this tab; the number of rows and the pause are kept."""
        change = {"state": list(self.states)} | ({"flagged": ["yes"]} if self.flagged else {})
        return query.address(drop=["state", "status", "flagged", "q"], **{key: value for key, value in change.items() if value})


VIEWS = (
    View("all", "All"),
    View("live", "Live", (State.LIVE.value,)),
    View("pending", "Pending", (State.PENDING.value,), tone="warn"),
    View("terminated", "Terminated", (State.TERMINATED.value,)),
    View("cancelled", "Cancelled", (State.CANCELLED.value,)),
    View("flagged", "Flagged", flagged=True, tone="warn"),
)


def count_views() -> dict[str, int]:
    """How many trades are under each tab. One query over all trades."""
    counts = {view.key: Count("pk", filter=condition) if (condition := view.condition()) else Count("pk") for view in VIEWS}
    return Trade.objects.aggregate(**counts)
