"""Is the database there and up to date? Asked by long-running commands before they start."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


def require_database() -> None:
    """Raise CommandError with what to do when the database can't be reached or lacks migrations."""
    try:
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(f"The database can't be used: {str(error).strip()}. Check DATABASE_URL and that the server runs.") from None
    if pending:
        raise CommandError(f"The database lacks {len(pending)} migrations. Run `python manage.py migrate` first.")
