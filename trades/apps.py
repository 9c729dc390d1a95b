"""The app, and the system checks that explain settings that can't work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register


class TradesConfig(AppConfig):
    """The one app of the portal."""

    name = "trades"
    verbose_name = "Trade Portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and let SQLite take a whole batch in one statement."""
        from django.db.backends.sqlite3.base import DatabaseWrapper

        # Django 5.2 assumes 999, the default before SQLite 3.32; since then it is 32,766 (https://www.sqlite.org/limits.html).
        setattr(DatabaseWrapper.features_class, "max_query_params", 32_766)  # noqa: B010 - a plain number in 5.2
        register(check_queue_names)
        register(check_limits)
        register(check_status_limits)
        register(check_dialects)
        register(check_real_queues, "queues", deploy=True)
        register(check_queues_file)


def check_queue_names(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Both queue names must be names of FIFO queues."""
    from trades import sqs

    for number, setting in enumerate(("TRADES_QUEUE", "TRADES_DEAD_LETTER_QUEUE"), start=1):
        try:
            sqs.check_name(getattr(settings, setting))
        except sqs.QueueError as error:
            yield Error(f"{setting}: {error}", hint=f"Set {setting} in the environment, e.g. TradeStatus.fifo.", id=f"trades.E00{number}")


def check_real_queues(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """The queues themselves, asked of SQS."""
    from trades import queue_checks

    return queue_checks.check_queues(app_configs, **kwargs)


def check_limits(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Sizes and counts must leave room for at least one document."""
    for number, setting in enumerate(("TRADES_MAX_DOCUMENT_BYTES", "TRADES_MAX_UPLOAD_FILES"), start=3):
        if getattr(settings, setting) < 1:
            yield Error(f"{setting} is {getattr(settings, setting)}.", hint="Set it to 1 or more.", id=f"trades.E00{number}")


def check_status_limits(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Limits may be set for statuses that there are."""
    from trades.lifecycle import Status

    for word in settings.TRADES_STATUS_LIMITS:
        if word not in set(Status):
            hint = f"The statuses are {', '.join(Status)}."
            yield Error(f"TRADES_STATUS_LIMITS: {word} is no status.", hint=hint, id="trades.E006")


def check_dialects(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Every mapping file of the firm's own must be one that the engine can use."""
    from trades import dialects

    hint = "docs/dialects.md describes every key; `manage.py inspect_message FILE --dialect MAPPING.toml` tries a mapping out."
    for fault in dialects.faults():
        yield Error(f"TRADES_DIALECTS_DIR: {fault}", hint=hint, id="trades.E005")
    folder = settings.TRADES_DIALECTS_DIR
    if folder and Path(folder).is_dir() and not any(Path(folder).glob("*.toml")):
        sentence = f"TRADES_DIALECTS_DIR: {folder} holds no .toml file."
        yield checks.Warning(sentence, hint="Put a mapping file in it, or unset it.", id="trades.W005")


def check_queues_file(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """The queues file must be one that routes can be made of."""
    from trades import routes

    faults = routes.faults()
    hint = "docs/queues.md describes every key, with a file to start from."
    yield from (Error(f"TRADES_QUEUES_FILE: {fault}", hint=hint, id="trades.E007") for fault in faults)
    for warned in routes.warnings():
        yield checks.Warning(f"TRADES_QUEUES_FILE: {warned.sentence}", hint=warned.hint, id=warned.code)
