"""The page of exceptions, and what people do there: own a trade, let go of it, note something, acknowledge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.core.signing import BadSignature, Signer
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from trades import exceptions as found
from trades import owning
from trades.exceptions import KINDS, Counts, Entry, Group, Search
from trades.web import exception_view, words
from trades.web.access import SEE, SETTLE, needs
from trades.web.exception_view import Choice, Row, Section
from trades.web.fragments import fragment, nothing_new, wants_fragment

FIRST = 20  # of each group
SIZE = 50  # of one group
LONGEST_KEY = 18  # digits
OWNERS = (("", "Everybody's"), ("me", "Mine"), ("none", "Nobody's"))
NO_NOTE = "Write the note first."
NOT_TICKED = "No trade is ticked. Tick at least one, then say what to do."
SIGNER = Signer(salt="exceptions.1", sep=".")


class SearchForm(forms.Form):
    """What the page is narrowed to. A bad value is an error of its field and filters nothing."""

    group = forms.ChoiceField(required=False, choices=[(group.value, exception_view.NAMES[group]) for group in Group])
    age = forms.TypedChoiceField(required=False, choices=[(str(n), word) for n, word in enumerate(exception_view.AGE_WORDS)], coerce=int)
    owner = forms.ChoiceField(required=False, choices=OWNERS)


class Asked:
    """What an address asks for, and the addresses beside it."""

    def __init__(self, params: Mapping[str, str], me: int) -> None:
        form = SearchForm(params)
        form.is_valid()
        values = form.cleaned_data
        self.group = Group(values["group"]) if values.get("group") else None
        self.age: int | None = values["age"] if values.get("age") not in (None, "") else None
        self.owner: str = values.get("owner", "")
        self.errors = [f"There is no {form[name].label.lower()} “{params[name][:60]}”." for name in form.errors]
        self.after = _cursor_of(params.get("after", "")) if self.group else None
        self.search = Search(
            (self.group,) if self.group else tuple(Group), self.age, {"": None, "me": me, "none": found.NOBODY}[self.owner]
        )

    def address(self, **change: str) -> str:
        """The address with something changed ("" drops it), always from the first row."""
        values = {"group": self.group or "", "age": "" if self.age is None else str(self.age), "owner": self.owner} | change
        query = urlencode({name: value for name, value in values.items() if value})
        return f"{reverse('exceptions')}{'?' if query else ''}{query}"

    @property
    def is_filtered(self) -> bool:
        """Whether anything is left out."""
        return bool(self.group or self.owner or self.age is not None)


@needs(SEE)
@require_safe
def exceptions(request: HttpRequest) -> HttpResponse:
    """What is wrong with trades just now, or for htmx what changes on the page: 204 when nothing did."""
    asked = Asked(request.GET.dict(), _me(request).pk)
    context = _context(request, asked)
    if not wants_fragment(request):
        return fragment(render(request, "trades/exceptions.html", context))
    if request.GET.get("seen") == context["version"]:
        return nothing_new()
    return fragment(render(request, "trades/exceptions_body.html", context))


def _context(request: HttpRequest, asked: Asked) -> dict[str, object]:
    now, me = timezone.now(), _me(request)
    counts = found.count(now, asked.search.owner)
    most = SIZE if asked.group else FIRST
    entries = found.oldest(asked.search, now, most + 1, asked.after)
    rows = exception_view.rows_of(entries, found.known_of(entries), me.pk, now)
    sections = _sections(asked, rows, counts, most)
    shown = [row for section in sections for row in section.rows]
    cut = bool(counts.cut.intersection(asked.search.groups))
    total = counts.of(asked.search.groups, asked.age)
    last = found.last_acknowledged() if not shown and not asked.is_filtered else None
    return {
        "asked": asked,
        "sections": sections,
        "groups": _group_choices(asked, counts),
        "ages": exception_view.age_choices(counts, asked.search.groups, asked.age, _age_addresses(asked)),
        "owners": [Choice(word, "", asked.address(owner=key), key == asked.owner, key) for key, word in OWNERS],
        "total": exception_view.number(total, cut),
        "count": total,
        "older": _older(asked, entries, most),
        "version": exception_view.version_of(rows, sorted(counts.by_part.items())),
        "here": request.get_full_path() if request.method == "GET" else asked.address(),
        "may_settle": request.user.has_perm(SETTLE),
        "last": last,
        "last_at": words.clock(last.at) if last else "",
        "most_ticked": owning.MOST,
    }


def _sections(asked: Asked, rows: Sequence[tuple[str, Row]], counts: Counts, most: int) -> list[Section]:
    sections = []
    for group in asked.search.groups:
        of_group = [row for key, row in rows if key == group][:most]
        if of_group:
            number = exception_view.number(max(counts.of([group], asked.age), len(of_group)), group in counts.cut)
            icon = words.icon(exception_view.ICONS[group])
            all_href = "" if asked.group or counts.of([group], asked.age) <= most else asked.address(group=group.value)
            advice = exception_view.NEXT.get(group, "")
            sections.append(Section(group.value, exception_view.NAMES[group], icon, number, of_group, all_href, advice))
    return sections


def _group_choices(asked: Asked, counts: Counts) -> list[Choice]:
    return [
        Choice(
            exception_view.NAMES[group],
            exception_view.number(number, group in counts.cut),
            asked.address(group="" if group == asked.group else group.value),
            group == asked.group,
        )
        for group in Group
        if (number := counts.of([group], asked.age)) or group == asked.group
    ]


def _age_addresses(asked: Asked) -> list[str]:
    return [asked.address(age="" if part == asked.age else str(part)) for part in range(len(exception_view.AGE_WORDS))]


def _older(asked: Asked, entries: Sequence[Entry], most: int) -> str:
    """The address of what comes after one group's rows shown here."""
    if not asked.group or len(entries) <= most:
        return ""
    last = entries[most - 1]
    return asked.address(after=SIGNER.sign_object([last.since.isoformat(), last.key]))


def _cursor_of(text: str) -> tuple[datetime, int] | None:
    try:
        since, key = SIGNER.unsign_object(text)
    except (BadSignature, ValueError):
        return None
    return datetime.fromisoformat(since), key


# Acts


@needs(SEE)
@needs(SETTLE)
@require_POST
def exception_act(request: HttpRequest) -> HttpResponse:
    """Do something about one trade or the ticked ones; then the page again, with what was done."""
    user, now = _me(request), timezone.now()
    act, rows = _wanted(request.POST)
    seen = [row for text in rows if (row := _seen(text))]
    text = request.POST.get("note", "").replace("\0", "").strip()
    if complaint := _complaint(act, seen, text):
        return _answer(request, complaint, is_good=False, status=422)
    if act == "note":
        result = owning.note(seen, text, user=user, now=now)
    else:
        result = {"assign": owning.assign, "release": owning.release, "acknowledge": owning.acknowledge}[act](seen, user=user, now=now)
    sentence = _told(act, result)
    return _answer(request, sentence, is_good=not result.refused, status=409 if result.refused else 200)


def _wanted(params: QueryDict) -> tuple[str, list[str]]:
    """The act, and the rows: one named by its own button, else all that are ticked."""
    for act in ("assign", "release", "acknowledge"):
        if act in params:
            return act, params.getlist(act)[:1]
    return params.get("act", ""), params.getlist("t")


def _seen(text: str) -> owning.Seen | None:
    """What a row said when it was shown: "gap.12.0.4" is trade 12, which nobody owned, with 4 events."""
    group, *numbers = text.split(".")
    if group not in set(Group) or len(numbers) != 3 or not all(n.isdecimal() and len(n) <= LONGEST_KEY for n in numbers):
        return None
    trade, owner, events = map(int, numbers)
    kind = KINDS.get(Group(group))
    return owning.Seen(trade, owner, events, frozenset({kind}) if kind else frozenset())


def _complaint(act: str, seen: Sequence[owning.Seen], text: str) -> str:
    if act not in ("assign", "release", "note", "acknowledge"):
        return "The form did not say what to do. Reload the page and try again."
    if not seen:
        return NOT_TICKED
    if len(seen) > owning.MOST:
        return f"{len(seen):,} rows are ticked. Take at most {owning.MOST} at once."
    if act == "note" and not text:
        return NO_NOTE
    if act == "acknowledge" and not any(each.kinds for each in seen):
        return "These can't be acknowledged: they go when the trade's status changes, or when what waits is settled."
    return ""


def _told(act: str, result: owning.Result) -> str:
    count = len(result.done)
    name = result.done[0].trade_id if count == 1 else words.plural(count, "trade")
    done = {
        "assign": f"{name} {'is' if count == 1 else 'are'} yours.",
        "release": f"{name} {'has' if count == 1 else 'have'} no owner any more.",
        "note": f"The note is kept with {name}.",
        "acknowledge": f"{name}: acknowledged, until there is a new cause.",
    }[act]
    return " ".join([*([done] if count else []), *result.refused[:5]]) or "There was nothing to do."


def _answer(request: HttpRequest, sentence: str, *, is_good: bool, status: int) -> HttpResponse:
    """For htmx the page's body and an event for the toast; else the page by itself, where it is told."""
    next_url = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(next_url, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        next_url = reverse("exceptions")
    if wants_fragment(request):
        asked = Asked(QueryDict(next_url.partition("?")[2]).dict(), _me(request).pk)
        response = fragment(render(request, "trades/exceptions_body.html", _context(request, asked) | {"here": next_url}))
        return trigger_client_event(response, "portal:told", {"sentence": sentence, "error": not is_good})
    if status == 200:
        messages.success(request, sentence)
        return redirect(next_url)
    asked = Asked(QueryDict(next_url.partition("?")[2]).dict(), _me(request).pk)
    context = _context(request, asked) | {"here": next_url, "complaint": sentence}
    return fragment(render(request, "trades/exceptions.html", context, status=status))


def _me(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - needs() lets only people in who are signed in
    return request.user
