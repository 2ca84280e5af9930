"""The page live in a real browser: news and controls, and a real campaign."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import SLOW, chromium, needs_browser, visit
from pages import TOKEN, Site, served, site_of
from playwright.sync_api import Browser, expect
from project import RUN, clone, events, start, wait_until

from agent.campaign.following import Following
from agent.git.repo import Repo
from agent.steps.steer import Steering, answers

pytestmark = [needs_browser, pytest.mark.process]
expect.set_options(timeout=SLOW)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of(tmp_path) as found:
        yield found


def test_news_are_shown_and_what_has_the_focus_keeps_it(browser, site):
    with visit(browser, site.address) as seen:
        page = seen.page
        expect(page.locator("#link")).to_have_text("live")
        page.locator("#keeps button").focus()
        site.told.story.rejected("optimizer", "no such <b>text</b>")
        expect(page.locator("#count")).to_have_text("8 of 8 trials")
        assert "<b>text</b>" in page.inner_text("#rows tr:last-child")
        site.told.pid = None
        expect(page.locator("#state")).to_have_text("stopped")
        assert all(url.startswith(site.address) for url in seen.asked)
        page.click('[data-open="1"]')
        expect(page.locator("#trial .body")).to_contain_text("Heat 1")


def test_every_control_is_a_click(browser, site):
    with visit(browser, site.address) as seen:
        page = seen.page
        expect(page.locator("#notes")).to_have_value("a hunch")
        for button in ("pause", "resume", "stop"):
            page.click(f"#{button}")
            done = "pause" if button == "resume" else button
            expect(page.locator("#answer")).to_have_text(f"{done} done")
            page.evaluate("document.getElementById('answer').textContent = ''")
        page.fill("#idea", "try Lion")
        page.click("#send")
        expect(page.locator("#answer")).to_have_text("idea done")
        page.fill("#notes", "another")
        page.click("#save")
        expect(page.locator("#answer")).to_have_text("notes done")
    assert site.clicks == [
        ("pause", {"on": True}),
        ("pause", {"on": False}),
        ("stop", {}),
        ("idea", {"idea": "try Lion", "source": ""}),
        ("notes", {"notes": "another", "version": "v"}),
    ]


def test_a_real_campaign_is_followed_steered_and_stopped(browser, tmp_path, request):
    root = clone(tmp_path / "project")
    run = start(root, *RUN)
    request.addfinalizer(run.kill)  # if this test fails before it is stopped
    wait_until(lambda: any(e["event"] == "trial" for e in events(root)), run)
    repo = Repo.open(root)
    steering = Steering(repo, "t", root / "program.md")
    following = Following(repo, "t")
    with (
        served(following, answers(steering), steering.notes) as port,
        visit(browser, f"http://127.0.0.1:{port}/{TOKEN}/") as seen,
    ):
        page = seen.page
        expect(page.locator("#rows tr")).to_contain_text("the starting point")
        page.fill("#notes", "leave the schedule alone")
        page.click("#save")
        expect(page.locator("#answer")).to_contain_text("the notes are written")
        (root / "program.md").write_text((root / "program.md").read_text() + "mine\n")
        page.click("#save")
        expect(page.locator("#answer")).to_contain_text("changed meanwhile")
        page.click("#pause")
        expect(page.locator("#answer")).to_contain_text("pauses after this trial")
        page.click("#stop")
        expect(page.locator("#state")).to_have_text("stopped")
        seen.complaints = [one for one in seen.complaints if "409" not in one]
    assert run.wait(timeout=120) == 0
    program = (root / "program.md").read_text()
    assert "leave the schedule alone" in program and program.endswith("mine\n")
