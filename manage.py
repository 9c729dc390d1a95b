#!/usr/bin/env python
"""Django's command line: `python manage.py help` lists the portal's commands."""

import os
import sys


def main() -> None:
    """Run the command named on the command line; a setting that can't work ends it with one sentence."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tradeportal.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed for this Python. Run `make run`, or use .venv/bin/python.")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"{error}")
    except BrokenPipeError:
        # Whoever read our output has gone (`... | head`). What is left to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
