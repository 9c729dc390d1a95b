"""The quarantine workbench on the command line: list, show, replay, correct, discard, undo."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.db.models import Count, QuerySet
from django.utils import timezone
from rich.console import Console
from rich.progress import Progress

from trades import messages, payloads, quarantine, rehearsal, sqs
from trades.management import message_words
from trades.management.arguments import at_least, command_line
from trades.management.database import require_database
from trades.messages.facts import MessageRefused
from trades.messages.values import shorten
from trades.models import AuditEntry, Hold, Message
from trades.quarantine import Actor, Result

SETTLE = "trades.settle"
COLUMNS = "{:>8}  {:>9}  {:<20}  {:<24}  {:<24}  {:>7}  {}"
HEADING = ("id", "age", "code", "group", "trade", "waiting", "state")
MANY = 20
HEAVY = ("body", "attributes")
Outcome = Message.Outcome


class Command(BaseCommand):
    """`manage.py quarantine`: see help."""

    help = (
        "List and settle the messages in quarantine. A message is named by the id that `list` prints or by its SQS message id. "
        "What waits behind a settled message is recorded with it, in order."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One sub-command for each act."""
        acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
        for name, add, words in (
            ("list", _add_list, "list messages, newest first"),
            ("show", _add_show, "show one message: what is wrong with it, what it blocks, who did what"),
            ("replay", _add_replay, "read messages again, unchanged, and record what is understood now"),
            ("correct", _add_correct, "record a corrected text in the place of a message"),
            ("discard", _add_many, "set messages aside"),
            ("undo", _add_many, "take the discard of messages back"),
        ):
            add(acts.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}."))

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what the sub-command says."""
        require_database()
        try:
            getattr(self, f"_{options['act']}")(options)
        except DatabaseError as error:
            raise CommandError(f"The database can't be used: {str(error).strip()}. What is reported above is done.") from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted. What is reported above is done.", returncode=130) from None

    # Looking

    def _list(self, options: dict[str, Any]) -> None:
        rows = _listed(options)
        nothing = "Nothing in quarantine" if options["state"] == "open" else "No such message"
        if options["code"] and not rows:
            nothing += _with_code(options["code"])
        waiting, now = _waiting(rows), timezone.now()
        if options["as_json"]:
            self._write_json([message_words.facts_of(row, waiting[row.pk]) for row in rows])
            return
        if not rows:
            self.stdout.write(f"{nothing}.")
            return
        for values in (HEADING, *(message_words.columns_of(row, waiting[row.pk], now) for row in rows)):
            self.stdout.write(COLUMNS.format(*values).rstrip())
        if len(rows) == options["limit"]:
            self.stdout.write(f"These are the newest {len(rows):,}; --limit shows more.")

    def _show(self, options: dict[str, Any]) -> None:
        row = _find(options["id"])
        waiting = quarantine.waiting_behind(row)
        audit = list(AuditEntry.objects.filter(message=row).select_related("user").order_by("id"))
        if options["as_json"]:
            entries = [{"at": e.at.isoformat(), "who": quarantine.who(e), "action": e.action, "note": e.note} for e in audit]
            body = {"body": row.body} if row.payload_id is None else {"body_start": payloads.start_of(row, message_words.START)}
            self._write_json(message_words.facts_of(row, waiting) | {"audit": entries} | body)
            return
        for label, text in message_words.told(row, waiting):
            self.stdout.write(f"{label:<16}{text}")
        for line in message_words.excerpt(row):
            self.stdout.write(line)
        for entry in audit:
            note = f": {shorten(entry.note, 300)}" if entry.note else ""
            self.stdout.write(f"{message_words.time_of(entry.at)}  {quarantine.who(entry)}  {entry.action}{note}")

    def _write_json(self, value: object) -> None:
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False))

    # Acting

    def _replay(self, options: dict[str, Any]) -> None:
        actor, code = _actor(options["as_user"]), options["code"]
        if code and options["ids"]:
            raise CommandError("Give messages or --all-of-code, not both.")
        if not code and not options["ids"]:
            raise CommandError("Give the messages to replay, or --all-of-code CODE.")
        rows = list(_open(options).filter(code=code).defer(*HEAVY).order_by("id")) if code else _find_all(options["ids"])
        if not rows:
            self.stdout.write(f"Nothing in quarantine{_with_code(code)}.")
            return
        note = options["note"]
        self._settle(rows, "replayed", lambda row: quarantine.replay(row, actor=actor, note=note, now=timezone.now()))

    def _discard(self, options: dict[str, Any]) -> None:
        actor, reason = _actor(options["as_user"]), options["reason"]
        rows = _find_all(options["ids"])
        self._settle(rows, "discarded", lambda row: quarantine.discard(row, actor=actor, reason=reason, now=timezone.now()))

    def _undo(self, options: dict[str, Any]) -> None:
        actor, reason = _actor(options["as_user"]), options["reason"]
        rows = _find_all(options["ids"])
        self._settle(rows, "in quarantine again", lambda row: quarantine.undo_discard(row, actor=actor, reason=reason, now=timezone.now()))

    def _correct(self, options: dict[str, Any]) -> None:
        actor, reason, row = _actor(options["as_user"]), options["reason"], _find(options["id"])
        _refuse_large(row)
        text = _text_of(options["file"])
        if options["dry_run"]:
            self._rehearse(row, text)
            return
        if not reason:
            raise CommandError("Give --reason: it is kept with the message.")
        self._settle([row], "corrected", lambda row: quarantine.correct(row, text, actor=actor, reason=reason, now=timezone.now()))

    def _rehearse(self, row: Message, text: str) -> None:
        for line in rehearsal.difference(row.body, text):
            self.stdout.write(line.text if line.kind == "@" else f"{line.kind}{line.text}")
        effect = rehearsal.effect(row, text, now=timezone.now())
        if effect.refusal:
            raise CommandError(f"It would be refused: {effect.refusal}")
        self.stdout.write({"reference": "It would be kept as no trade event.", "duplicate": "It would be a copy, without effect."}.get(
            effect.outcome, "It would be recorded."
        ))  # fmt: skip
        for event in effect.events:
            states = event.state_after if event.is_new else f"{event.state_before} -> {event.state_after}"
            flags = f"  {' '.join(event.flags)}" if event.flags else ""
            self.stdout.write(f"{event.event_class} as event {event.position} of {event.trade_id}: {states}{flags}")
        self.stdout.write(f"{effect.waiting:,} wait behind it. Nothing was changed (--dry-run).")

    def _settle(self, rows: Sequence[Message], done: str, act: Callable[[Message], Result]) -> None:
        failed = recorded = 0
        with Progress(console=Console(stderr=True), disable=len(rows) < MANY or not sys.stderr.isatty()) as progress:
            task = progress.add_task("Settling", total=len(rows))
            for row, result in quarantine.settle_many(rows, act):
                if isinstance(result, DatabaseError):
                    raise result
                failed += isinstance(result, Exception) or bool(result.still)
                recorded += 0 if isinstance(result, Exception) else result.recorded
                self.stdout.write(f"{row.pk}  {message_words.became(row, result, done)}")
                progress.advance(task)
        self.stdout.write(
            f"{len(rows) - failed:,} of {len(rows):,} {done}; {message_words.plural(recorded, 'message')} went into the history."
        )
        if failed:
            raise CommandError(f"{failed:,} of {len(rows):,} could not be settled. The lines above say why.")


def _add_list(parser: ArgumentParser) -> None:
    parser.add_argument("--state", choices=["open", "settled", "all"], default="open", help="default %(default)s")
    parser.add_argument("--code", help="only those refused with this code")
    parser.add_argument("--queue", help="only messages of this queue")
    parser.add_argument("--group", help="only messages of this message group")
    parser.add_argument("--limit", type=at_least(1), default=50, metavar="N", help="the newest N (default %(default)s)")
    parser.add_argument("--json", action="store_true", dest="as_json", help="a JSON list")


def _add_show(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID")
    parser.add_argument(
        "--json", action="store_true", dest="as_json", help="one JSON object, with the text of the message (the start of a large one)"
    )


def _add_replay(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--all-of-code", dest="code", metavar="CODE", help="all in quarantine that were refused with this code")
    parser.add_argument("--queue", help="with --all-of-code: only messages of this queue")
    parser.add_argument("--note", default="", help="what to remember about it")
    _add_as(parser)


def _add_correct(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID")
    parser.add_argument("file", metavar="FILE", help="the corrected XML; - reads it from standard input")
    parser.add_argument("--reason", help="why; it is kept with the message")
    parser.add_argument("--dry-run", action="store_true", help="show the difference and what it would do, change nothing")
    _add_as(parser)


def _add_many(parser: ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--reason", required=True, help="why; it is kept with the message")
    _add_as(parser)


def _add_as(parser: ArgumentParser) -> None:
    parser.add_argument("--as", dest="as_user", metavar="USERNAME", help="the portal user who does it (default: the command line)")


def _actor(username: str | None) -> Actor:
    if username is None:
        return Actor(None, command_line())
    users = get_user_model()
    user = users.objects.filter(**{users.USERNAME_FIELD: username}).first()
    if user is None or not user.is_active:
        raise CommandError(f"No active portal user {username}. Leave --as out to act as the command line.")
    if not user.has_perm(SETTLE):
        raise CommandError(f"{username} may not settle messages: that takes the role operator or administrator.")
    return Actor(user, command_line())


# Finding messages


def _open(options: dict[str, Any]) -> QuerySet[Message]:
    rows = Message.objects.filter(outcome=Outcome.QUARANTINED)
    return rows.filter(queue=options["queue"]) if options["queue"] else rows


def _listed(options: dict[str, Any]) -> list[Message]:
    """The messages asked for, newest first: those in quarantine, then those settled."""
    asked = {"code": options["code"], "queue": options["queue"], "group_id": options["group"]}
    rows = Message.objects.filter(**{name: value for name, value in asked.items() if value}).defer(*HEAVY)
    found: list[Message] = []
    if options["state"] != "settled":
        found += rows.filter(outcome=Outcome.QUARANTINED).order_by("-id")[: options["limit"]]
    if options["state"] != "open":
        found += rows.filter(settled_at__isnull=False).order_by("-settled_at", "-id")[: options["limit"]]
    return found[: options["limit"]]


def _with_code(code: str) -> str:
    """What an empty list was narrowed to. Raises CommandError when no message in quarantine, or settled, has the code."""
    rows = Message.objects.exclude(code="").order_by()
    known = {*rows.filter(outcome=Outcome.QUARANTINED).values_list("code", flat=True).distinct()}
    if code not in known and not rows.filter(settled_at__isnull=False, code=code).exists() and known:
        raise CommandError(f"No message has the code {shorten(code)}. The codes in quarantine are: {', '.join(sorted(known))}.")
    return f" with code {shorten(code)}"


def _find_all(ids: Sequence[str]) -> list[Message]:
    """The messages, each once. Raises CommandError naming every id that is not known."""
    found, faults = {}, []
    for given in ids:
        try:
            row = _find(given)
            found[row.pk] = row
        except CommandError as error:
            faults.append(str(error))
    if faults:
        raise CommandError(" ".join([*faults, "Nothing was changed."]))
    return list(found.values())


def _find(given: str) -> Message:
    rows: list[Message] = []
    if given.isascii() and given.isdigit() and len(given) < 19:
        rows = list(Message.objects.filter(pk=int(given)))
    rows = rows or list(Message.objects.filter(message_id=given.replace("\0", "")[:100]).order_by("id")[:2])
    if not rows:
        raise CommandError(f"No message {shorten(given)}. `manage.py quarantine list` shows those in quarantine.")
    if len(rows) > 1:
        raise CommandError(f"Several queues brought a message {given}. Name it by its id: {', '.join(str(row.pk) for row in rows)}.")
    return rows[0]


def _waiting(rows: Sequence[Message]) -> dict[int, int]:
    """How many wait behind each. Two queries."""
    holds = list(Hold.objects.filter(message__in=rows))
    held = Message.objects.filter(outcome=Outcome.HELD, group_id__in=[hold.group_id for hold in holds]).order_by()
    counts = {(queue, group): n for queue, group, n in held.values_list("queue", "group_id").annotate(n=Count("id"))}
    return dict.fromkeys((row.pk for row in rows), 0) | {hold.message_id: counts.get((hold.queue, hold.group_id), 0) for hold in holds}


def _refuse_large(row: Message) -> None:
    """Raises CommandError for a message whose text is not corrected but handed in anew."""
    if row.payload_id is not None:
        raise CommandError(
            f"Message {row.pk} has {row.size:,} bytes, and a text of more than {sqs.MAX_MESSAGE_BYTES:,} is not corrected in its place. "
            f"Download it from its page, correct it, publish the file with `manage.py publish_trades`, and discard the message."
        )


def _text_of(file: str) -> str:
    """The text of a file. Raises CommandError for one that can't be read, and for more than a message of the queue may have."""
    most = sqs.MAX_MESSAGE_BYTES
    try:
        with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as source:
            content = source.read(most + 1)
        if len(content) > most:
            raise CommandError(
                f"{file}: it has more than {most:,} bytes. Publish it with `manage.py publish_trades`, and discard the message."
            )
        return messages.to_text(content)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}. Give a file that can be read.") from None
    except MessageRefused as refusal:
        raise CommandError(f"{file}: {refusal}") from None
