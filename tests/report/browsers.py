"""A headless Chromium for the tests of the page."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PATH = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
needs_browser = pytest.mark.skipif(not PATH, reason="no browser: install Debian's chromium")
SLOW = 120_000
"""Milliseconds that a browser may take on a machine that is busy."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; as root it has no sandbox of its own, and pages here need none."""
    flags = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=flags, timeout=SLOW)
        yield browser
        browser.close()


class Visit:
    """A page that was opened; all that it asked for and complained of."""

    def __init__(self, browser: Browser, address: str, **how: object) -> None:
        self.page: Page = browser.new_page(**how)  # type: ignore[arg-type]
        self.page.set_default_timeout(SLOW)
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-drawn]", state="attached")

    def close(self) -> None:
        self.page.close()
        assert self.complaints == []


@contextlib.contextmanager
def visit(browser: Browser, where: Path | str, **how: object) -> Iterator[Visit]:
    """Open a file or an address; at the end nothing may have been complained of."""
    visit = Visit(browser, where.as_uri() if isinstance(where, Path) else where, **how)
    yield visit
    visit.close()
