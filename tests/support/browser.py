"""Headless Chromium as the operating system provides it; none is downloaded."""

from __future__ import annotations

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium was found; install it (Debian and Ubuntu: apt-get install chromium) to run the browser tests"
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
)


def chromium() -> str | None:
    """Path of an installed Chromium or Chrome, None when there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def arguments() -> list[str]:
    """Command-line switches: nothing that calls home, and no sandbox for root, for whom Chromium has none."""
    return [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else [*QUIET]
