"""How large the report of a long campaign is, and how long a browser takes to draw it.

    python -m benchmarks.page --json     1,000 trials, opened once
    python -m benchmarks.page --full     1,000 trials, opened five times; kept in results/

The trials are those of the recorded campaign that is shipped, over and over, each with its own
diff, a prompt of the usual length, of which the next one shares all but its end, and a reply. What
is measured is the time from the start of loading the file to the next picture after it is drawn.
Playwright drives the system's Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

from agent.campaign.reading import prior_of
from agent.campaign.state import State
from agent.report.page.build import write_report
from agent.report.recorded import Recorded
from benchmarks.machine import keep, stamp

TRIALS = 1000
PROMPT_LINES = 500
SHOWN = """() => new Promise(done => requestAnimationFrame(() => setTimeout(() =>
    done(performance.now()))))"""


def long_campaign(folder: Path, count: int) -> State:
    """A campaign of so many trials after the baseline; its files go into ``folder``."""
    times = iter([0.0])
    with closing(Recorded(clock=lambda: next(times, 1e9))) as recorded:
        for _ in recorded.news():
            pass
        state, first = recorded.state, recorded.folder
        real = cycle([trial for trial in state.finished if trial.trial > 0])
        program = "".join(f"line {n} of what all prompts say alike\n" for n in range(PROMPT_LINES))
        state.trials, state.ended = state.trials[:1], [*range(count + 1)]
        for number in range(1, count + 1):
            trial = next(real)
            place = folder / "trials" / str(number)
            place.mkdir(parents=True)
            diff = first / "trials" / str(trial.trial) / "diff.patch"
            if diff.exists():
                shutil.copy(diff, place)
            told = "".join(f"trial {n} was tried\n" for n in range(max(0, number - 40), number))
            (place / "prompt.md").write_text(program + told)
            (place / "reply.md").write_text(40 * f"Because of trial {number} I change this.\n")
            state.trials.append(replace(trial, trial=number))
    return state


def measure(opened: int) -> dict[str, Any]:
    """Build the page, and open it so many times."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with tempfile.TemporaryDirectory() as place:
        state = long_campaign(Path(place), TRIALS)
        began = time.perf_counter()
        _, page = write_report(Path(place), state, prior_of(state).probabilities())
        found = {"trials": TRIALS, "build_seconds": round(time.perf_counter() - began, 2)}
        found |= {"megabytes": round(page.stat().st_size / 1e6, 2)}
        if path is None:
            return found | {"open_seconds": None, "why": "no Chromium is installed"}
        seconds = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            for _ in range(opened):
                tab = browser.new_page()
                tab.goto(page.as_uri(), timeout=300_000)
                tab.wait_for_selector("html[data-drawn]", state="attached", timeout=300_000)
                seconds.append(tab.evaluate(SHOWN) / 1000)
                tab.close()
            browser.close()
    return found | {
        "open_seconds": round(statistics.median(seconds), 2),
        "each": [round(one, 2) for one in seconds],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON value")
    parser.add_argument("--full", action="store_true", help="five times, kept in results/")
    asked = parser.parse_args()
    found = stamp(f"python -m benchmarks.page {'--full' if asked.full else '--json'}")
    found |= measure(5 if asked.full else 1)
    if asked.full:
        keep("page", found)
    print(json.dumps(found) if asked.json else json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
