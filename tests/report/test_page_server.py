"""The page on loopback: who gets it, and what a click does."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from events import campaign
from pages import TOKEN, Site, served, site_of
from project import clone_without_model, git

from agent.campaign.files import PAUSE
from agent.campaign.following import Following
from agent.campaign.reading import CampaignError
from agent.campaign.submissions import waiting
from agent.git.repo import Repo
from agent.program import load_program
from agent.steps import steer
from agent.steps.steer import Steering, answers
from trainer.errors import UserError


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of(tmp_path) as found:
        yield found


def data_in(page: str) -> Any:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])  # type: ignore[index]


def test_who_has_the_token_gets_the_page_and_no_script_but_its_own(site):
    status, text, headers = site.ask(f"/{TOKEN}/")
    assert status == 200 and '"live":true' in text
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy and headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers and TOKEN not in text


def test_of_a_recorded_campaign_nothing_is_advised_that_this_machine_has_not(site):
    own = data_in(site.ask(f"/{TOKEN}/")[1])["view"]
    assert "agent verify --tag t" in json.dumps(own["next"])
    site.told.recorded = "RECORDED"
    with served(site.told, None) as port:
        site.port, site.host = port, f"127.0.0.1:{port}"
        view = data_in(site.ask(f"/{TOKEN}/")[1])["view"]
    assert [one["command"] for one in view["next"]] == ["python -m agent run"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 404),
        (f"/{TOKEN}x/", {}, 404),
        ("/wrong/trial/1", {}, 404),
        (f"/{TOKEN}/", {"Host": "evil.example"}, 421),
        (f"/{TOKEN}/", {"Host": "127.0.0.1"}, 421),
        (f"/{TOKEN}/events", {"Host": "evil.example:80"}, 421),
        (f"/{TOKEN}/", {"Origin": "http://evil.example"}, 403),
        (f"/{TOKEN}/", {"Origin": "null"}, 403),
        (f"/{TOKEN}/", {"Origin": "", "Sec-Fetch-Site": "cross-site"}, 403),
        (f"/{TOKEN}/trial/99", {}, 404),
        (f"/wrong/trial/{5000 * '9'}", {}, 404),
    ],
)
def test_who_else_asks_gets_nothing(site, path, headers, status):
    found, text, _ = site.ask(path, None, headers)
    assert found == status and "schedule" not in text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_another_site_cannot_click(site, headers, status):
    assert site.ask(f"/{TOKEN}/stop", {}, headers)[0] == status
    assert site.clicks == []


def test_clicks_are_done_and_failures_are_told(site):
    assert site.ask(f"/{TOKEN}/pause", {"on": True})[:2] == (200, '{"said":"pause done"}')
    assert site.ask(f"/{TOKEN}/stop", {"fail": True})[:2] == (409, "it was not done")
    assert site.ask(f"/{TOKEN}/other", {})[0] == 404
    assert site.ask(f"/{TOKEN}/stop", [1])[0] == 400
    assert site.ask(f"/{TOKEN}/idea", {"source": 3_000_000 * "x"})[0] == 413
    assert [name for name, _ in site.clicks] == ["pause", "stop"]


def test_trials_and_notes(site):
    status, text, _ = site.ask(f"/{TOKEN}/trial/1")
    assert status == 200 and json.loads(text)["heats"][0]["number"] == 1
    assert json.loads(site.ask(f"/{TOKEN}/notes")[1])["notes"] == "a hunch"


def test_news_come_as_they_happen(site):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=120)
    with contextlib.closing(connection):
        connection.request("GET", f"/{TOKEN}/events")
        answer = connection.getresponse()

        def news() -> dict[str, Any]:
            while not (line := answer.readline()).startswith(b"data: "):
                pass
            return json.loads(line.removeprefix(b"data: "))

        first = news()
        assert len(first["rows"]) == 7 and "settings" in first["head"]["more"]
        site.told.story.rejected("optimizer", "no such text")
        second = news()
        assert [row["trial"] for row in second["rows"]] == [7]
        site.told.pid = None
        third = news()
        assert (third["head"]["view"]["run"]["state"], third["rows"]) == ("stopped", [])


# --- what clicks do ---


@pytest.fixture
def steering(tmp_path: Path) -> Steering:
    root = clone_without_model(tmp_path / "project")
    folder = root / "campaigns" / "t"
    folder.mkdir(parents=True)
    story = campaign()
    lines = [json.dumps(event) for event in story.events]
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    return Steering(Repo.open(root), "t", root / "program.md")


def test_notes_are_written_and_nothing_else_is(steering):
    steering.program.chmod(0o640)
    before, seen = load_program(steering.program), steering.notes()
    done = steering.write_notes("try Lion", seen["version"])
    after = load_program(steering.program)
    assert after.notes == "try Lion" and after.prose == before.prose
    assert steering.program.stat().st_mode & 0o777 == 0o640
    assert done["version"] == steering.notes()["version"]
    changed = git(steering.program.parent, "diff", "--stat", "--", ".")
    assert "program.md" in changed and "1 file changed" in changed


def test_notes_of_a_file_that_was_changed_meanwhile_are_refused(steering):
    seen = steering.notes()
    steering.program.write_bytes(steering.program.read_bytes() + b"\nmine\n")
    before = steering.program.read_bytes()
    with pytest.raises(CampaignError, match="changed meanwhile"):
        steering.write_notes("theirs", seen["version"])
    assert steering.program.read_bytes() == before


def test_half_a_character_is_written_as_a_question_mark(steering):
    steering.write_notes("a\ud800b", steering.notes()["version"])
    assert steering.notes()["notes"] == "a?b"


def test_of_two_pages_that_save_at_once_one_is_refused(steering, monkeypatch):
    seen, replace = steering.notes(), steer._replace
    both = threading.Barrier(2)

    def slow(path: Path, data: bytes) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)  # the other one comes here only if nothing holds it back
        replace(path, data)

    monkeypatch.setattr(steer, "_replace", slow)
    with ThreadPoolExecutor() as pool:
        saves = [pool.submit(steering.write_notes, text, seen["version"]) for text in "ab"]
    refused = [save.exception() for save in saves if save.exception()]
    assert len(refused) == 1 and "changed meanwhile" in str(refused[0])


@pytest.mark.parametrize("begins_anew", [False, True])
def test_a_campaign_that_was_removed_is_said_to_be(steering, begins_anew):
    folder = steering.repo.root / "campaigns" / "t"
    following = Following(steering.repo, "t")
    with served(following, answers(steering), steering.notes) as port:
        site = Site(following, port, [])  # type: ignore[arg-type]
        shutil.rmtree(folder)
        if begins_anew:
            folder.mkdir()
            (folder / "journal.jsonl").write_text("")
        status, text, _ = site.ask(f"/{TOKEN}/")
        assert status == 409 and "was removed" in text
        status, text, _ = site.ask(f"/{TOKEN}/events")
        assert text.startswith("event: gone") and "was removed" in text


def test_an_edit_is_queued_for_the_next_trial(steering):
    source = (steering.repo.root / "trainer/train.py").read_text()
    assert steering.queue("a hunch", source) == "train.py is queued: the next trial of the next run"
    (one,) = waiting(steering.repo.root / "campaigns" / "t")
    assert (one.title, one.origin, one.source) == ("a hunch", "person", source)


@pytest.mark.parametrize(("idea", "source"), [("words", ""), ("", ""), ("", "no train.py")])
def test_an_idea_that_nobody_would_read_is_refused(steering, idea, source):
    before = steering.program.read_bytes()
    with pytest.raises(UserError):
        steering.queue(idea, source)
    assert waiting(steering.repo.root / "campaigns" / "t") == []
    assert steering.program.read_bytes() == before


def test_what_does_not_run_cannot_be_paused_or_stopped(steering):
    for act in (lambda: steering.pause(True), steering.stop):
        with pytest.raises(CampaignError, match="not running"):
            act()
    assert not (steering.repo.root / "campaigns" / "t" / PAUSE).exists()
