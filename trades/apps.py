"""The app, and the system checks that explain settings that can't work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig
from django.conf import settings
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


def check_queue_names(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Both queue names must be names of FIFO queues."""
    from trades import sqs

    for number, setting in enumerate(("TRADES_QUEUE", "TRADES_DEAD_LETTER_QUEUE"), start=1):
        try:
            sqs.check_name(getattr(settings, setting))
        except sqs.QueueError as error:
            yield Error(f"{setting}: {error}", hint=f"Set {setting} in the environment, e.g. TradeStatus.fifo.", id=f"trades.E00{number}")


def check_limits(app_configs: Any, **kwargs: Any) -> Iterable[CheckMessage]:
    """Sizes and counts must leave room for at least one document."""
    for number, setting in enumerate(("TRADES_MAX_DOCUMENT_BYTES", "TRADES_MAX_UPLOAD_FILES"), start=3):
        if getattr(settings, setting) < 1:
            yield Error(f"{setting} is {getattr(settings, setting)}.", hint="Set it to 1 or more.", id=f"trades.E00{number}")
