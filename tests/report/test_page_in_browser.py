"""report.html in a real browser, opened from disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import chromium, needs_browser, visit
from events import PRIOR, Story, campaign
from playwright.sync_api import Browser, Page
from test_page import HOSTILE, long_campaign

from agent.report.page.build import write_report

pytestmark = [needs_browser, pytest.mark.process]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    for n, text in ((1, "one\ntwo\n"), (4, "one\nthree\n")):
        (folder / "trials" / str(n)).mkdir(parents=True)
        (folder / "trials" / str(n) / "prompt.md").write_text(text)
    (folder / "trials/1/diff.patch").write_text("--- a\n+++ b\n@@ -1 +1 @@\n-a = 1\n+a = 2\n")
    return write_report(folder, campaign().state, PRIOR)[1]


def rows(page: Page) -> list[str]:
    return page.locator("#rows tr td:first-child").all_inner_texts()


def test_it_answers_in_order_from_disk_and_loads_nothing(browser, report):
    with visit(browser, report) as seen:
        assert seen.page.locator("h2:visible").all_inner_texts()[:6] == [
            "What it found",
            "Progress",
            "Can it be believed?",
            "What it does now",
            "What to do next",
            "What was kept, as a story",
        ]
        assert "not verified yet" in seen.page.inner_text("#found")
        assert rows(seen.page) == [str(n) for n in range(7)]
        assert seen.asked == [report.as_uri()]


def test_hover_shows_the_hypothesis_and_a_click_opens_the_trial(browser, report):
    with visit(browser, report) as seen:
        page = seen.page
        mark = page.locator('#chart [data-trial="1"]')
        mark.hover()
        assert "It may help." in page.inner_text(".tip")
        mark.click()
        assert page.inner_text("#trial-title") == (
            "● Trial 1: longer warm-down, the last 60 % of the budget"
        )
        page.wait_for_selector("#trial pre.diff")
        assert page.locator("pre.diff .add").all_inner_texts() == ["+a = 2"]
        assert page.locator("pre.diff .del").all_inner_texts() == ["-a = 1"]
        page.click("#trial summary >> text=prompt.md")
        assert page.inner_text("#trial details pre") == "one\ntwo\n"


def test_by_keyboard_alone(browser, report):
    with visit(browser, report) as seen:
        page = seen.page
        page.locator('[data-open="0"]').focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Enter")
        assert "Trial 1:" in page.inner_text("#trial-title")
        page.keyboard.press("ArrowRight")
        assert "Trial 2:" in page.inner_text("#trial-title")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Escape")
        assert page.locator("#trial[open]").count() == 0
        assert page.evaluate("document.activeElement.dataset.open") == "1"
        page.locator("#chart").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert "trial 1, kept" in page.inner_text("#said")
        page.keyboard.press("Enter")
        assert "Trial 1:" in page.inner_text("#trial-title")


def test_filters(browser, report):
    with visit(browser, report) as seen:
        page = seen.page
        page.select_option("#outcome", "kept")
        assert rows(page) == ["0", "1"]
        page.select_option("#outcome", "")
        page.select_option("#category", "architecture")
        assert rows(page) == ["2", "6"]
        page.fill("#search", "WIDE")
        assert rows(page) == ["6"]
        assert page.inner_text("#count") == "1 of 7 trials"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_for_who_cannot_see_it(browser, report, scheme):
    with visit(browser, report, color_scheme=scheme, bypass_csp=True) as seen:
        for is_open in (False, True):
            if is_open:
                seen.page.click('[data-open="1"]')
                seen.page.wait_for_selector("#trial pre.diff")
            found = Axe().run(seen.page).response["violations"]
            assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def test_light_and_dark_by_a_button(browser, report):
    with visit(browser, report, color_scheme="light") as seen:
        paper = "getComputedStyle(document.body).backgroundColor"
        before = seen.page.evaluate(paper)
        seen.page.click("#theme")
        assert seen.page.evaluate(paper) != before


def test_hostile_texts_stay_text(browser, tmp_path):
    story = Story()
    story.baseline()
    number = story.trial(HOSTILE, HOSTILE, [(None, None)], words=HOSTILE, hypothesis=HOSTILE)
    (tmp_path / "trials" / str(number)).mkdir(parents=True)
    for name in ("diff.patch", "prompt.md", "reply.md", "training-1.log"):
        (tmp_path / "trials" / str(number) / name).write_text(f"+{HOSTILE}\n")
    with visit(browser, write_report(tmp_path, story.state, PRIOR)[1]) as seen:
        seen.page.click(f'[data-open="{number}"]')
        seen.page.wait_for_selector("#trial pre.diff")
        assert "<script>alert(1)</script>" in seen.page.inner_text("#trial-title")
        assert seen.page.locator("script").count() == 2
        assert seen.page.locator("[onload]").count() == 0


@pytest.mark.slow
def test_a_thousand_trials_are_drawn(browser, tmp_path):
    state = long_campaign(tmp_path, 1000)
    with visit(browser, write_report(tmp_path, state, PRIOR)[1]) as seen:
        assert len(rows(seen.page)) == 1001
        assert seen.page.evaluate("document.querySelectorAll('*').length") < 20_000
        seen.page.fill("#search", "edit number 777")
        assert rows(seen.page) == ["777"]
        seen.page.click('[data-open="777"]')
        seen.page.click("#trial summary >> text=prompt.md")
        assert "history up to trial 777" in seen.page.inner_text("#trial details[open] pre")
