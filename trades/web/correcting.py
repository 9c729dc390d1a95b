"""What a corrected text is understood to be and what it would do, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from trades import corrections, rehearsal, sqs
from trades.lifecycle import FLAG_WORDS, Flag
from trades.messages.facts import MessageRefused, TradeEvent
from trades.models import Message
from trades.web import reasons, words
from trades.web.addresses import trade_url
from trades.web.xml_view import Excerpt, excerpt

NARROW = 44  # characters of the excerpt beside the editor
MOST_EVENTS = 20  # of one text that are named


@dataclass(frozen=True, slots=True)
class Check:
    """What a text is understood to be: sentences, and where it is not understood, why and where."""

    understood: Sequence[str] = ()
    code: str = ""
    reason: str = ""
    line: int | None = None
    column: int | None = None
    excerpt: Excerpt | None = None
    is_unchanged: bool = False

    @property
    def place(self) -> str:
        """Where it is not understood: "line 3, column 7"."""
        return words.place(self.line, self.column)

    @property
    def is_good(self) -> bool:
        """Whether the text can be recorded in the place of the original."""
        return bool(self.understood) and not self.is_unchanged


def check(text: str, original: str) -> Check:
    """What the text is understood to be. Nothing is stored."""
    if too_large := why_too_large(len(text.encode(errors="replace"))):
        return Check(reason=too_large)
    unchanged = _with_plain_ends(text) == _with_plain_ends(original)
    judgement = corrections.judge(text)
    if isinstance(judgement, MessageRefused):
        return refused(judgement, text, is_unchanged=unchanged)
    kind = ", ".join(name for name in (judgement.message_type, judgement.dialect) if name)
    said = [_said(event) for event in judgement.events[:MOST_EVENTS]] or [judgement.reference or "It is about no trade event."]
    if (more := len(judgement.events) - MOST_EVENTS) > 0:
        said.append(f"And {words.plural(more, 'further event')}.")
    return Check([f"{kind}.", *said, *judgement.warnings], is_unchanged=unchanged)


def why_too_large(size: int) -> str:
    """Why a text of so many bytes can't stand in for a message, "" where it can: what a message of the queue may have."""
    if size <= sqs.MAX_MESSAGE_BYTES:
        return ""
    most = filesizeformat(sqs.MAX_MESSAGE_BYTES)
    return f"The corrected text would have {filesizeformat(size)}, and one may have {most}. Make it smaller, or hand it in as a file."


def refused(refusal: MessageRefused, text: str, *, is_unchanged: bool = False) -> Check:
    """Why a text is not understood, and where."""
    shown = _narrow(excerpt(text.encode(errors="replace"), refusal.line, refusal.column)) if refusal.line else None
    said = reasons.plain(refusal.message)
    return Check((), reasons.code_word(refusal.code), said, refusal.line, refusal.column, shown, is_unchanged=is_unchanged)


def _narrow(shown: Excerpt | None) -> Excerpt | None:
    """The excerpt cut around its caret, so that both stand in the narrow panel beside the editor."""
    if shown is None or len(shown.text) <= NARROW:
        return shown
    at = max(len(shown.caret) - 1, 0)
    start = max(0, min(at - NARROW // 2, len(shown.text) - NARROW))
    return Excerpt(shown.number, shown.text[start : start + NARROW], shown.caret[start:])


def _with_plain_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _said(event: TradeEvent) -> str:
    version = f" version {event.version}" if event.version is not None else ""
    return f"{words.class_word(event.event_class)}{version} of {event.trade_id.value}."


def told(effect: rehearsal.Effect) -> list[SafeString]:
    """What recording a correction would do, in sentences."""
    if effect.outcome == "duplicate":
        said = [format_html("{}", "The history has this content already: no event would be added.")]
    elif effect.outcome == "reference":
        said = [format_html("{}", "It is no trade event: it would be kept for reference, and no trade would change.")]
    else:
        said = [_on_trade(event) for event in effect.events[:MOST_EVENTS]]
        if (more := len(effect.events) - MOST_EVENTS) > 0:
            said.append(format_html("And {}.", words.plural(more, "further event")))
    if effect.waiting:
        said.append(format_html("{}", reasons.then_read(effect.waiting)))
    return said


def _on_trade(event: rehearsal.EffectOnTrade) -> SafeString:
    trade = format_html("the new trade {}", event.trade_id)
    if not event.is_new:
        trade = format_html('<a href="{}">{}</a>', trade_url(event.trade_id), event.trade_id)
    parts = [
        _turn("State", event.state_before if not event.is_new else "", event.state_after, words.STATES),
        _turn("Status", event.status_before if not event.is_new else "", event.status_after, words.STATUSES),
        *(FLAG_WORDS[Flag(flag)] for flag in event.flags if flag in Flag.__members__),
    ]
    return format_html(
        "Would be recorded as event {} of {}: {}. {}",
        event.position,
        trade,
        words.class_word(event.event_class),
        format_html_join(" ", "{}", ((part,) for part in parts if part)),
    )


def _turn(name: str, before: str, after: str, known: dict[str, words.Badge]) -> str:
    old, new = (known[value].word if value in known else value for value in (before, after))
    if old == new:
        return f"{name} {new} stays." if new else ""
    return f"{name} turns from {old} to {new}." if old else f"{name} becomes {new}."


def corrected_elsewhere(message: Message) -> Message | None:
    """The correction that stands in for a message, if there is one."""
    return Message.objects.filter(corrects=message).first()
