"""`manage.py create_demo_users`: one user per role, to try the portal with."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from trades.portal.demo import DemoRefused, ensure_demo_users


class Command(BaseCommand):
    """Make or repair the demo users and print how to sign in."""

    help = "Make one demo user per role (viewer, operator, administrator) and print their passwords. Refused where PRODUCTION is on."

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them and print name and password of each."""
        try:
            passwords = ensure_demo_users()
        except DemoRefused as error:
            raise CommandError(str(error)) from None
        for name, password in passwords.items():
            self.stdout.write(f"{name:<14} password {password}")
