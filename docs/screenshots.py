"""Take the pictures in docs/ from the running product: `python -m docs.screenshots` (needs `make test`'s environment and Chromium).

Starts the portal on an empty folder of its own, with the demo day, and signs in as the demo operator.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.support import browser as chrome
from tests.support.native import native
from tests.support.processes import manage
from tests.support.waiting import free_port

DOCS = Path(__file__).resolve().parent
PICTURES = {
    "blotter": "/trades/",
    "trade": "/trades/T-10041/events/4/",
    "compare": "/trades/T-10041/events/4/?compare=1",
    "exceptions": "/exceptions/",
    "quarantine": "/quarantine/",
    "monitor": "/monitor/",
}
SHOTS = [("light", 1440, 900, ""), ("dark", 1440, 900, "-dark"), ("light", 390, 844, "-phone")]
IN_THREE_LOOKS = {"blotter", "trade", "correct"}


def main() -> None:
    """Start, wait for the demo day, take every picture, stop."""
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
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(site)
        page.get_by_label("Name").fill("operator")
        page.get_by_label("Password", exact=True).fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="T-10050").wait_for()
        pictures = {**PICTURES, "correct": first_link(page, site + "/quarantine/", "/quarantine/") + "correct/"}
        pictures |= {"review": review(page, site), "trace": trace(page, site)}
        for scheme, width, height, suffix in SHOTS:
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": width, "height": height})
            for name, path in pictures.items():
                if not suffix or name in IN_THREE_LOOKS:
                    shoot(page, site + path, DOCS / f"{name}{suffix}.png")
        browser.close()


def first_link(page: Page, address: str, start: str) -> str:
    """Where the first row of a table leads."""
    page.goto(address)
    return page.locator(f"tbody a[href^='{start}']:not([href$='/new/'])").first.get_attribute("href") or ""


def trace(page: Page, site: str) -> str:
    """The address of the way of a message of a trade."""
    page.goto(site + "/trades/T-10041/?tab=transport")
    return page.locator("main a[href^='/trace/']").first.get_attribute("href") or ""


def review(page: Page, site: str) -> str:
    """The address of an upload in review: good messages, one that is there already, and one that is not well-formed."""
    texts = [native("T-20001"), native("T-20001", "UPDATE", 2), native("T-20002", "UPDATE", 3), "<TradeStatus>\n  <broken\n"]
    files = [{"name": f"{number:02}.xml", "mimeType": "text/xml", "buffer": text.encode()} for number, text in enumerate(texts, start=1)]
    page.goto(site + "/uploads/new/")
    page.locator("input[type=file]").first.set_input_files(files)  # type: ignore[arg-type]
    page.get_by_role("button", name="Check").first.click()
    page.wait_for_url(re.compile(r"/uploads/\d+/$"))
    return page.url.removeprefix(site)


def shoot(page: Page, address: str, file: Path) -> None:
    """One picture of the window."""
    page.goto(address)
    page.screenshot(path=file)


if __name__ == "__main__":
    main()
