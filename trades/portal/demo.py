"""What makes an empty portal worth looking at: one user per role, and a trading day written for the project."""

from __future__ import annotations

import json
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.utils.crypto import get_random_string

from trades.models import Message, Upload

ROLES = ("viewer", "operator", "administrator")
FOLDER = Path(__file__).resolve().parent.parent / "demo"
# One trade's update is broken. It is published all the same, as another system would, under the group of its trade.
BROKEN_GROUP = "T-10048"


class DemoRefused(Exception):
    """Demo users are not made where PRODUCTION is on."""


def ensure_demo_users() -> dict[str, str]:
    """
    One user per role, named like it, with the password kept in VAR_DIR/demo-users.json: {name: password}.

    The file is readable by its owner only and passwords in it stay the same from run to run; a demo user whose password was
    changed elsewhere gets the one of the file back. Raises DemoRefused in production.
    """
    if settings.PRODUCTION:
        raise DemoRefused("PRODUCTION is on, and demo users have passwords that are printed. Make users with `manage.py createsuperuser`.")
    passwords = _passwords(Path(settings.VAR_DIR) / "demo-users.json")
    with transaction.atomic():
        for role, password in passwords.items():
            _ensure_user(role, password)
    return passwords


def _passwords(path: Path) -> dict[str, str]:
    kept = json.loads(path.read_text()) if path.is_file() else {}
    passwords = {role: kept.get(role) or get_random_string(14) for role in ROLES}
    if passwords != kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(passwords, indent=2) + "\n")
    return passwords


def _ensure_user(role: str, password: str) -> None:
    user, _ = User.objects.get_or_create(username=role)
    user.is_staff = role == "administrator"
    if not user.check_password(password):
        user.set_password(password)
    user.save()
    user.groups.set([Group.objects.get(name=role)])


def is_empty() -> bool:
    """Whether nothing was ever handed in or received."""
    return not Upload.objects.exists() and not Message.objects.exists()


def publishing_steps() -> list[list[str]]:
    """Arguments for `manage.py publish_trades`, call by call: the day, a broken message, and what then waits behind it."""
    return [
        [str(FOLDER / "day")],
        ["--group", BROKEN_GROUP, str(FOLDER / "bad")],
        [str(FOLDER / "behind")],
    ]
