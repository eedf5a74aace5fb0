"""A reader with a browser: where to find one, and what to write down while reading."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOW = "no Chromium found: apt-get install chromium, or playwright install chromium, or set CHROMIUM to its path"


def chromium(playwright: Playwright) -> str | None:
    """Path of a Chromium: the one that CHROMIUM names, one on the PATH, or Playwright's own."""
    own = playwright.chromium.executable_path
    found = (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES), own if Path(own).is_file() else None)
    return next((path for path in found if path), None)


@dataclass
class Visitor:
    """One window, which remembers every error and every request to another host."""

    page: Page
    address: str
    troubles: list[str] = field(default_factory=list)

    def open(self, name: str) -> Page:
        """Open a page of the book and wait until nothing more is loaded."""
        self.page.goto(f"{self.address}/{name}.html", wait_until="networkidle")
        return self.page

    def watch(self, context: BrowserContext) -> None:
        """Write down console errors, exceptions, failed answers and requests that leave the machine."""
        home = (self.address, "data:", "blob:")
        context.on("request", lambda r: r.url.startswith(home) or self.troubles.append(f"asked for {r.url}"))
        context.on("response", lambda r: r.status < 400 or self.troubles.append(f"{r.status} for {r.url}"))
        self.page.on("console", lambda m: m.type == "error" and self.troubles.append(f"console: {m.text}"))
        self.page.on("pageerror", lambda error: self.troubles.append(f"exception: {error}"))
