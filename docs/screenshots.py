"""Take the pictures in docs/ from the running product: `python -m docs.screenshots` (needs `make test`'s environment and Chromium).

Starts the portal on an empty folder of its own, with the demo day, and signs in as the demo operator.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.support import browser as chrome
from tests.support.processes import manage
from tests.support.waiting import free_port

DOCS = Path(__file__).resolve().parent
PICTURES = {"blotter": "/", "trade": "/trades/T-10041/"}
SHOTS = [("light", 1440, 900, ""), ("dark", 1440, 900, "-dark"), ("light", 390, 844, "-phone")]


def main() -> None:
    """Start, wait for the demo day, take every picture in light, dark and phone width, stop."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        alone = {name: None for name in os.environ if name.startswith("AWS_")}
        environment = {**alone, "TRADES_VAR_DIR": folder}
        with manage("run_portal", "--port", str(port), "--broker-port", str(free_port()), environment=environment) as portal:
            portal.wait_for_line("Stop ", 120)
            password = json.loads((Path(folder) / "demo-users.json").read_text())["operator"]
            take(f"http://127.0.0.1:{port}", password)
            portal.signal()
            portal.wait(60)


def take(site: str, password: str) -> None:
    """The pictures, as the operator sees the pages."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chrome.chromium(), args=chrome.arguments())
        page = browser.new_page()
        page.goto(site)
        page.get_by_label("Name").fill("operator")
        page.get_by_label("Password", exact=True).fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="T-10050").wait_for()
        page.goto(site + "/quarantine/")
        correct = (page.locator("tbody a[href^='/quarantine/']").first.get_attribute("href") or "") + "correct/"
        for scheme, width, height, suffix in SHOTS:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": height})
            for name, path in {**PICTURES, "correct": correct}.items():
                shoot(page, site + path, DOCS / f"{name}{suffix}.png")
        browser.close()


def shoot(page: Page, address: str, file: Path) -> None:
    """One picture of the window."""
    page.goto(address)
    page.screenshot(path=file)


if __name__ == "__main__":
    main()
