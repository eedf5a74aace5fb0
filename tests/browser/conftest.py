"""A headless Chromium on the built site, served from this machine; skipped where there is none, except in CI."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visitor import HOW, QUIET, Visitor, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser, or a skip that says how to get one; a failure where CI is set."""
    with sync_playwright() as playwright:
        path = chromium(playwright)
        if path is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW)
        running = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield running
        running.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep requests out of the tests' output."""


@pytest.fixture(scope="session")
def address(browser: Browser, site: Path) -> Iterator[str]:
    """Address of the served site; the browser comes first, so that nothing is built where there is none."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def width() -> int:
    """Width of the window in pixels, for tests that are not parametrised with one."""
    return 1366


@pytest.fixture
def visit(browser: Browser, address: str, width: int) -> Iterator[Visitor]:
    """A fresh window on the site; after the test, no trouble may be written down."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme="light")
    context.set_default_timeout(15_000)
    visitor = Visitor(context.new_page(), address)
    visitor.watch(context)
    yield visitor
    context.close()
    assert visitor.troubles == []
