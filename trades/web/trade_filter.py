"""The parameters of a list of trades: what each may be, and which trades it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import BooleanField, Exists, F, Func, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL

from trades.lifecycle import State, Status
from trades.messages.facts import EventClass
from trades.models import Event, Trade, TradeException, TradeIdentifier, choices_of
from trades.web import words
from trades.web.names import AllNames
from trades.web.prefix import prefixed
from trades.web.spans import Span, SpanField

SIZES = (25, 50, 100, 200)
SIZE = 50
MOST_VALUES = 50
MOST_LISTED = 5_000  # values in one condition; SQLite takes some 32,000 parameters in all
EXCEPTIONS = [(kind.value.lower(), kind.label) for kind in TradeException.Kind]
SORTS = {
    "-updated": "Updated, newest first", "updated": "Updated, oldest first", "trade": "Trade id", "-trade": "Trade id, descending",
    "-first": "First seen, newest first", "first": "First seen, oldest first", "-since": "In status, shortest first",
    "since": "In status, longest first",
}  # fmt: skip
# The parameters that leave something out, in the order in which the page names them.
NARROWING = (
    "state", "status", "product", "party", "traded", "updated", "first", "owner", "last", "flagged", "exception", "queue", "q",
)  # fmt: skip
LABELS = {
    "state": "State", "status": "Status", "product": "Product", "party": "Party", "traded": "Trade date", "updated": "Updated",
    "first": "First seen", "owner": "Owner", "last": "Last event", "flagged": "Flagged", "exception": "Exception", "queue": "Queue",
    "q": "Text",
}  # fmt: skip


UNFINISHED = {State.PENDING.value, State.LIVE.value}
# Whose index leaves most out, the best first; where none of these is stated the database chooses.
SELECTIVE = {
    "owner": "owner", "exception": "pk", "party": "parties", "product": "product", "updated": "updated_at", "first": "first_seen_at",
    "traded": "trade_date",
}  # fmt: skip


class AnyOf(forms.MultipleChoiceField):
    """Repeated parameter; keeps the values that are known and says which are not."""

    widget = forms.CheckboxSelectMultiple()

    def validate(self, value: list[str]) -> None:
        """Raise ValidationError with the values that are possible, if one is not."""
        if unknown := [item for item in value if not self.valid_value(item)]:
            known = ", ".join(str(choice) for choice, _ in self.widget.choices)
            raise ValidationError(f"“{words.cut(unknown[0], 60)}” is not one of {known}.")


class OneOf(forms.ChoiceField):
    """A parameter with one of some values."""

    def validate(self, value: str) -> None:
        """Raise ValidationError with the values that are possible, if it is another."""
        if value and not self.valid_value(value):
            known = ", ".join(str(choice) for choice, _ in self.widget.choices)
            raise ValidationError(f"“{words.cut(value, 60)}” is not one of {known}.")


class Texts(forms.Field):
    """Repeated parameter of any text."""

    widget = forms.SelectMultiple()

    def clean(self, value: Any) -> list[str]:
        """The texts that are not empty. Raises ValidationError for too many, too long ones, or null characters."""
        texts = [text for text in value or [] if text]
        if len(texts) > MOST_VALUES:
            raise ValidationError(f"At most {MOST_VALUES} values can be asked for; these are {len(texts)}.")
        for text in texts:
            if len(text) > 500 or "\0" in text:
                raise ValidationError("A value has at most 500 characters and no null characters.")
        return texts


class TradeFilter(forms.Form):
    """The parameters of a list of trades. All are optional; any other parameter is ignored."""

    state = AnyOf(required=False, choices=choices_of(State))
    status = AnyOf(required=False, choices=choices_of(Status))
    product = Texts(label="Product")
    party = Texts(label="Party")
    traded = SpanField(label="Trade date")
    updated = SpanField(label="Updated", moments=True)
    first = SpanField(label="First seen", moments=True)
    owner = Texts(label="Owner")
    last = AnyOf(required=False, choices=choices_of(EventClass), label="Last event")
    flagged = OneOf(required=False, choices=[("yes", "Flagged only")], label="Flagged")
    exception = AnyOf(required=False, choices=EXCEPTIONS, label="Exception")
    queue = Texts(label="Queue")
    q = forms.CharField(required=False, max_length=255, label="Text")
    sort = OneOf(required=False, choices=list(SORTS.items()), label="Sort")
    n = OneOf(required=False, choices=[(str(size), str(size)) for size in SIZES], label="Rows")


class Walked(Func):
    """A column that SQLite looks at row by row: without statistics it would take its index and then sort all that it finds."""

    arity = 1
    template = "%(expressions)s"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """With the sign that keeps SQLite from using an index."""
        return super().as_sql(compiler, connection, template="+%(expressions)s", **context)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which trades a list keeps: any of the values of each, all of what is stated."""

    state: Sequence[str] = ()
    status: Sequence[str] = ()
    product: Sequence[str] = ()
    party: Sequence[str] = ()
    traded: Span | None = None
    updated: Span | None = None
    first: Span | None = None
    owner: Sequence[str] = ()
    last: Sequence[str] = ()
    flagged: str = ""
    exception: Sequence[str] = ()
    queue: Sequence[str] = ()
    q: str = ""
    me: str = field(default="", compare=False)

    @property
    def stated(self) -> list[str]:
        """The names of the parameters that leave something out."""
        return [name for name in NARROWING if getattr(self, name)]

    @property
    def is_unfinished_in_statuses(self) -> bool:
        """Whether the index of what is pending or live, by status, holds exactly these trades."""
        return self.stated == ["state", "status"] and set(self.state) == UNFINISHED

    def condition(self, names: AllNames | None, at: Callable[[str], str] = str) -> Q:
        """What the trades have in common, but for the text. `at` says how a column of a trade is reached."""
        asked = Q()
        for key, name in (("state", "state"), ("status", "status"), ("last", "last_class"), ("product", "product"), ("queue", "queue")):
            if values := getattr(self, key):
                is_unfinished = key == "state" and at(name) == "state" and set(values) == UNFINISHED
                asked &= unfinished() if is_unfinished else Q(**{f"{at(name)}__in": list(values)})
        for span, name in ((self.updated, "updated_at"), (self.first, "first_seen_at")):
            asked &= span.condition(at(name)) if span else Q()
        asked &= self.traded.of_days(at("trade_date")) if self.traded else Q()
        asked &= Q(**{f"{at('flagged_count')}__gt": 0}) if self.flagged else Q()
        asked &= self._of_parties(names, at("parties")) if self.party else Q()
        asked &= self._of_owners(at("owner")) if self.owner else Q()
        return asked & self._in_exceptions(at("pk")) if self.exception else asked

    def _of_parties(self, names: AllNames | None, column: str) -> Q:
        if names is not None and names.parties.is_whole and len(texts := names.texts_with(self.party)) <= MOST_LISTED:
            return Q(**{f"{column}__in": texts})
        asked = Q()
        for party in self.party:
            asked |= Q(**{column: party}) | Q(**{f"{column}__startswith": f"{party} / "})
            asked |= Q(**{f"{column}__endswith": f" / {party}"}) | Q(**{f"{column}__contains": f" / {party} / "})
        return asked

    def _of_owners(self, column: str) -> Q:
        people = [self.me if name == "me" else name for name in self.owner if name != "none"]
        asked = Q(**{f"{column}__username__in": people}) if people else Q()
        return asked | Q(**{f"{column}__isnull": True}) if "none" in self.owner else asked

    def _in_exceptions(self, column: str) -> Q:
        kinds = [kind.upper() for kind in self.exception]
        open_ones = TradeException.objects.filter(kind__in=kinds, acknowledged_at__isnull=True)
        return Q(**{f"{column}__in": open_ones.values("trade")})

    def walk(self, trades: QuerySet[Trade], names: AllNames | None, ordered_by: str | None) -> QuerySet[Trade]:
        """The trades, asked so that the database walks them in their order and looks at each."""
        trades = self._looked_at(trades, names, ordered_by)
        return trades.filter(self._holds_text(names)) if self.q else trades

    def legs(self, names: AllNames | None, *, are_many: bool = False) -> list[QuerySet[Any, Any]]:
        """The ids of the trades, asked so that the database takes its best index; a trade may come in several legs. Those of a queue
        alone that is known to have many are met soonest among all trades."""
        if self.is_unfinished_in_statuses:
            found = Trade.objects.filter(unfinished()).order_by()
            return [found.filter(status=status).values_list("pk", flat=True) for status in self.status]
        if self.queue and not (are_many and self.stated == ["queue"]) and not self.q and not any(getattr(self, key) for key in SELECTIVE):
            found = self._looked_at(of_queues(self.queue), names, None, "trade__")
            return [found.order_by().values_list("trade_id", flat=True).distinct()]
        if not self.q:
            best = next((column for key, column in SELECTIVE.items() if getattr(self, key)), None)
            found = self._looked_at(Trade.objects.all(), names, best) if best else Trade.objects.filter(self.condition(names))
            return [found.order_by().values_list("pk", flat=True)]
        by_id = self._looked_at(TradeIdentifier.objects.filter(prefixed("value", self.q)), names, None, "trade__")
        legs: list[QuerySet[Any, Any]] = [by_id.order_by().values_list("trade_id", flat=True)]
        for column, values in self._named(names).items():
            if values is None or values:
                found = self._looked_at(Trade.objects.filter(_holding(column, self.q, values)), names, None)
                legs.append(found.order_by().values_list("pk", flat=True))
        return legs

    def _looked_at(self, rows: QuerySet[Any], names: AllNames | None, plain: str | None, path: str = "") -> QuerySet[Any]:
        """The rows whose trades meet the condition, with no index taken for it but that of one column."""
        at = _Walk(plain, path)
        asked = self.condition(names, at)
        looked_at: QuerySet[Any] = rows.alias(**{name: Walked(F(column)) for name, column in at.walked.items()}).filter(asked)
        return looked_at

    def _holds_text(self, names: AllNames | None) -> Q:
        asked = Q(Exists(TradeIdentifier.objects.filter(prefixed("value", self.q), trade=OuterRef("pk"))))
        for column, values in self._named(names).items():
            asked = _holding(column, self.q, values) | asked
        return asked

    def _named(self, names: AllNames | None) -> dict[str, list[str] | None]:
        """The products and the texts of parties that hold the text; None where there are too many to list."""
        known = {"product": names.products, "parties": names.parties} if names else {}
        held = {column: found.holding(self.q) if found.is_whole else None for column, found in known.items()}
        return {column: None if values is not None and len(values) > MOST_LISTED else values for column, values in held.items()}


class _Walk:
    """How columns are reached, with those that are to be looked at row by row."""

    COLUMNS = frozenset(
        ("state", "status", "last_class", "product", "queue", "updated_at", "first_seen_at", "trade_date", "flagged_count", "parties")
    )

    def __init__(self, plain: str | None, path: str) -> None:
        self.plain, self.path, self.walked = plain, path, dict[str, str]()

    def __call__(self, name: str) -> str:
        # One column is left as it is, so that its index is entered in the right place.
        if name == self.plain or name not in self.COLUMNS:
            return self.path + name
        self.walked[f"walked_{name}"] = self.path + name
        return f"walked_{name}"


def unfinished() -> Q:
    """Trades that are pending or live. SQLite takes the partial index of these only where the condition stands in the text itself."""
    return Q(RawSQL("trades_trade.state IN ('PENDING', 'LIVE')", (), BooleanField()))


def of_queues(queues: Sequence[str]) -> QuerySet[Event]:
    """The events whose messages came from these queues, of trades whose newest event came from one of them: a queue with few messages is
    found by the index of messages, where an index of trades by queue would serve nothing else."""
    return Event.objects.filter(message__queue__in=list(queues), trade__queue__in=list(queues))


def _holding(column: str, text: str, values: list[str] | None) -> Q:
    return Q(**{f"{column}__icontains": text}) if values is None else Q(**{f"{column}__in": values})
