"""Is the database there and up to date? Asked by long-running commands before they start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor


def require_database() -> None:
    """Raise CommandError with what to do when the database can't be reached or lacks migrations."""
    with database_needed():
        executor = MigrationExecutor(connection)
        pending = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if pending:
        raise CommandError(f"The database lacks {len(pending)} migrations. Run `python manage.py migrate` first.")


@contextmanager
def database_needed() -> Iterator[None]:
    """Raise CommandError with what to do in place of a database's own errors: for what a command does before its work begins."""
    try:
        yield
    except DatabaseError as error:
        raise CommandError(f"The database can't be used: {str(error).strip()}. Check DATABASE_URL and that the server runs.") from None
