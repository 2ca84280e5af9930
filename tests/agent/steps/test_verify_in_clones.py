"""``verify`` in a clone that has no journal: what it goes by, and how it counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import run_here
from kept_edits import keep_edits
from project import as_json, git
from staged import answer
from verified import failed, gaining, opened, sources, verify

from agent.campaign import notes
from agent.campaign.notes import FETCH
from agent.campaign.reading import load
from agent.git.repo import Repo

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("checked")]


@pytest.fixture
def cloned(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a campaign's repository that has fetched nothing but branches."""
    keep_edits(home, sources(home, 2), nulls=2).close()
    answer(monkeypatch, gaining())
    folder = tmp_path / "clone"
    git(home, "clone", "-q", str(home), str(folder))
    return folder


def fetch(folder: Path) -> None:
    git(folder, "fetch", "-q", "origin", *(part.strip("'") for part in FETCH.split()[3:]))


def test_a_clone_says_what_to_fetch_then_counts_openings_in_notes(cloned: Path, home: Path) -> None:
    for args in ([], ["--tag", "t"]):
        failed(run_here(cloned, "verify", *args), FETCH)
    assert (Path(__file__).parents[3] / "docs/using.md").read_text().count(FETCH) == 2
    first = verify(home, "--each")
    fetch(cloned)
    found = verify(cloned, "--each")
    assert [one["claimed"] for one in found["each"]] == [one["claimed"] for one in first["each"]]
    assert [one["title"] for one in found["each"]] == ["edit 1", "edit 2"]
    for name in ("claimed_gain", "nulls", "nulls_kept"):
        assert found[name] == first[name]
    assert (found["opened"], found["opened_at_least"]) == (2, True)
    assert "at least 3 times" in run_here(cloned, "verify").stdout
    assert not set(first["seed_numbers"]) & set(found["seed_numbers"])
    assert not (cloned / "campaigns").exists()
    # What a clone has opened counts where it is fetched, once.
    ref = "refs/notes/autoresearch-openings/t"
    git(home, "fetch", "-q", str(cloned), f"{ref}:{ref}")
    for args in (["status"], ["log"], ["log", "--graph"], ["report", "--markdown"]):
        words = " ".join(run_here(home, *args).stdout.split())
        assert "opened at least 3 times" in words and "verify (in a clone)" in words
    assert as_json(home, "status")["opened"] == len(as_json(home, "log")[0]["openings"]) == 3
    again = verify(home)
    assert (again["opened"], again["opened_at_least"]) == (4, True)
    assert again["openings"][-2:] == ["verify --each (in a clone)", "verify (in a clone)"]
    assert opened(home) == ["verify --each", "verify"]


def test_a_clone_that_cannot_note_an_opening_opens_nothing(
    cloned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(cloned)
    folder = cloned / ".git/refs/notes"
    (cloned / ".git/refs/notes/autoresearch-openings").write_text("in the way")
    assert folder.exists()
    played = answer(monkeypatch, gaining())
    assert run_here(cloned, "verify").returncode == 2
    assert not played.seeds


def test_a_campaign_whose_notes_cannot_be_written_goes_by_its_journal(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_edits(home, sources(home, 1)).close()
    (home / ".git/refs/notes/autoresearch-openings").write_text("in the way")
    answer(monkeypatch, gaining())
    assert verify(home)["opened"] == len(opened(home)) == 1


@pytest.mark.parametrize("lost", [notes.TOLD, ("baseline", "nulls", "transfers", *notes.TOLD)])
def test_notes_of_earlier_versions_tell_what_they_know(
    cloned: Path, home: Path, lost: tuple[str, ...]
) -> None:
    repo = Repo.open(home)
    for commit in repo.noted("t"):
        note = json.loads(repo.read_note("t", commit) or "")
        repo.add_note("t", commit, json.dumps({k: v for k, v in note.items() if k not in lost}))
    fetch(cloned)
    found = verify(cloned, "--each")
    assert found["claimed_gain"] is None and found["each"][0]["claimed"] is None
    assert "edit 1" in found["each"][0]["title"]
    assert found["gain"]["mean"] == pytest.approx(0.014)


def test_a_damaged_note_is_one_line(cloned: Path, home: Path) -> None:
    repo = Repo.open(home)
    for text in ("[1", "[]", '{"verdict": "keep"}'):
        repo.add_note("t", load(repo, "t").trials[1].commit, text)
        git(cloned, "fetch", "-q", "origin", "+refs/notes/*:refs/notes/*")
        failed(run_here(cloned, "verify"), "is damaged")


@pytest.mark.parametrize("lost", [1, 2])
def test_notes_that_are_not_all_there_are_refused(cloned: Path, home: Path, lost: int) -> None:
    """Of the champion or of a keep before it: else another commit would be taken for it."""
    fetch(cloned)
    commit = load(Repo.open(home), "t").trials[lost].commit
    git(cloned, "notes", "--ref=autoresearch/t", "remove", commit)
    failed(run_here(cloned, "verify"), FETCH)
    assert "autoresearch-openings" not in git(cloned, "for-each-ref")


def test_a_branch_that_was_not_fetched_again_is_no_matter(cloned: Path, home: Path) -> None:
    fetch(cloned)
    commit = load(Repo.open(home), "t").trials[1].commit
    git(cloned, "update-ref", "refs/remotes/origin/autoresearch/t", commit)
    assert verify(cloned)["trial"] == 2


def test_of_several_campaigns_the_tags_are_named(cloned: Path, home: Path) -> None:
    fetch(cloned)
    git(cloned, "update-ref", "refs/notes/autoresearch/u", "refs/notes/autoresearch/t")
    failed(run_here(cloned, "verify"), "give one of --tag t, u")
