"""Draws the pictures of README.md and docs/: a campaign in the terminal, and its page.

    python -m benchmarks.pictures campaigns/TAG [--share 0.7] [--to docs/pictures]

Writes ``terminal-light.svg`` and ``terminal-dark.svg``, the view of ``watch`` at that share of the
campaign's time, and ``page-light.png`` and ``page-dark.png``, the top of its report in Chromium
(through Playwright; without a browser these two are left as they are). ``python -m agent report``
writes that page first. All that they show is in the campaign's journal.
"""

from __future__ import annotations

import argparse
import io
import re
import time
from pathlib import Path

from playwright.sync_api import Error, sync_playwright
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI, TerminalTheme

from agent.campaign.live import Live
from agent.campaign.reading import shares_of
from agent.report.recorded import Recorded
from agent.report.terminal.panel import panel
from agent.report.terminal.rows import heading, row
from agent.report.view import view
from benchmarks.machine import ROOT
from benchmarks.record import record

WIDTH, ROWS = 100, 8
"""Columns of the terminal; finished trials above the panel."""
HEIGHT = 40
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": MONOKAI}
PAGE = {"width": 1100, "height": 900}
CHROMIUM = "/usr/bin/chromium"


def terminal(folder: Path, share: float) -> Console:
    """A recording of what ``watch`` shows when ``share`` of the campaign's time is over."""
    now = 0.0
    played = Recorded(record(folder, folder.name), seconds=1.0, clock=lambda: now)
    now = share
    try:
        list(played.news())
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
        console.print(heading(WIDTH), no_wrap=True)
        for trial in played.state.finished[-ROWS:]:
            console.print(row(trial, WIDTH))
        seen = view(played.state, folder.name, shares_of(played.state), pid=played.pid)
        live = played.live or Live.of(stage="choosing")
        for line in panel(live, seen, "", time.time(), WIDTH, HEIGHT):
            console.print(line)
    finally:
        played.close()
    return console


def drawn(console: Console, theme: TerminalTheme, title: str) -> str:
    """Without the fonts that the page would load from elsewhere."""
    svg = console.export_svg(title=title, theme=theme, clear=False)
    return re.sub(r"@font-face \{[^}]*\}", "", svg)


def photograph(report: Path, to: Path) -> None:
    """The top of the page by day and by night.

    Raises:
        playwright.sync_api.Error: there is no browser.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in THEMES:
            page = browser.new_page(viewport=PAGE, color_scheme=name)
            page.goto(report.resolve().as_uri())
            page.wait_for_selector("svg")
            page.screenshot(path=to / f"page-{name}.png")
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="campaigns/TAG")
    parser.add_argument("--share", type=float, default=0.7, help="of the campaign's time, 0 to 1")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "pictures")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    console = terminal(options.folder, options.share)
    for name, theme in THEMES.items():
        text = drawn(console, theme, f"python -m agent watch --tag {options.folder.name}")
        (options.to / f"terminal-{name}.svg").write_text(text)
    try:
        photograph(options.folder / "report.html", options.to)
    except Error as error:
        print(f"no picture of the page: {error.message.splitlines()[0]}")


if __name__ == "__main__":
    main()
