"""``verify``: what is opened, when, and what is said of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Done, run_here
from kept_edits import GAIN, HALF, keep_edits
from project import as_json, events, git
from staged import Played, Score, answer, audits, play

from agent import loop
from agent.campaign import notes, snapshot
from agent.campaign.events import Opened
from agent.campaign.openings import noted_openings
from agent.campaign.reading import load
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.steps import verify as verifying
from agent.steps.runtime import Runtime
from agent.steps.verify import FETCH
from trainer import measure
from trainer.measure import CheckResult

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that passed a check, which takes no training here."""
    found: list[str] = []

    def check(source: str, **_: Any) -> CheckResult:
        found.append(source)
        return CheckResult("ok")

    monkeypatch.setattr(measure, "check", check)
    return found


def sources(home: Path, count: int) -> list[str]:
    source = (home / "trainer/train.py").read_text()
    return [source, *(f"{source}\nEDITS = {n}\n" for n in range(1, count + 1))]


def gaining(each: float = 0.007, wobble: float = 0.0) -> Any:
    """Each edit gains so much, but for a wobble by seed."""

    def score(source: str, seed: int) -> Score:
        edits = int(source.rpartition("EDITS = ")[2]) if "EDITS" in source else 0
        return 1.6 - each * edits - wobble * (seed % 7) * edits + 0.001 * (seed % 5)

    return score


def verify(home: Path, *args: str) -> Any:
    done = run_here(home, "verify", "--json", *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def opened(home: Path) -> list[str]:
    return [event["by"] for event in events(home) if event["event"] == "opened"]


def test_each_of_ten_keeps_opens_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, checked: list[str]
) -> None:
    keep_edits(home, sources(home, 10), nulls=3).close()
    played = answer(monkeypatch, gaining())
    found = verify(home, "--each", "--seeds", "2")
    assert opened(home) == ["verify --each --seeds 2"]
    assert found["split"] == "test" and found["seeds"] == 2
    assert (found["opened"], found["openings"]) == (1, ["verify --each --seeds 2"])
    assert found["opened_at_least"] is False
    assert [one["trial"] for one in found["each"]] == list(range(1, 11))
    for one in found["each"]:
        assert one["gain"]["mean"] == pytest.approx(0.007)
        assert one["claimed"]["mean"] == GAIN
        assert one["claimed"]["low"] == pytest.approx(GAIN - HALF)
    assert found["gain"]["mean"] == pytest.approx(0.07)
    assert found["claimed_gain"]["mean"] == pytest.approx(0.1)
    assert found["baseline"]["mean"] - found["champion"]["mean"] == pytest.approx(0.07)
    assert (found["nulls"], found["nulls_kept"]) == (3, 1)
    assert len(checked) == 11, "each file was checked before"
    assert {options["split"] for options in played.options} == {"test"}
    # Of more files than one heat takes the next heat begins with the last file of the one before.
    (first, second), seeds = played.sources[:2], [own for (own, *_) in played.seeds]
    assert first[-1] == second[0] and len(first) + len(second) == 12
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]
    used = {t.seed for trial in load(Repo.open(home), "t").trials for t in trial.trainings}
    assert not used & set(seeds)
    for words in (said(home, "status"), said(home, "log"), said(home, "log", "--graph"),
                  said(home, "report", "--markdown")):  # fmt: skip
        assert "the test text was opened 1 time: by verify --each --seeds 2" in words.replace(
            "The", "the"
        )
    run_here(home, "report")
    assert "opened 1 time" in (home / "campaigns/t/report.html").read_text()
    status = as_json(home, "status")
    assert status["opened"] == 1 and status["verified"]["gain"] == found["gain"]
    assert as_json(home, "log")[0]["openings"] == found["openings"]
    text = run_here(home, "verify", "--seeds", "2").stdout
    for words in ("verified gain +0.0700", "claimed +0.1000", "opened 2 times", "1 of 3 nulls"):
        assert words in text


def said(home: Path, *args: str) -> str:
    return run_here(home, *args).stdout


def test_with_nothing_kept_nothing_is_opened(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_edits(home, sources(home, 0)).close()
    played = answer(monkeypatch, gaining())
    found = verify(home)
    assert found["gain"] is None and found["opened"] == 0 and found["openings"] == []
    assert not opened(home) and not played.seeds
    text = run_here(home, "verify")
    assert text.returncode == 0 and "nothing is opened" in text.stdout
    assert "never opened" in text.stdout and "never opened" in said(home, "status")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--tag", "other"], "no campaign 'other'"),
        (["--tag", "a/b"], "--tag"),
        (["--seeds", "1"], "at least 2"),
        (["--seeds", "5", "--within", "0.001"], "not both"),
        (["--within", "0"], "above 0"),
        (["--within", "nan"], "above 0"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_opened(
    home: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: str
) -> None:
    keep_edits(home, sources(home, 1)).close()
    played = answer(monkeypatch, gaining())
    failed(run_here(home, "verify", *args), words)
    assert not opened(home) and not played.seeds
    assert not (home / "campaigns/other").exists()


def failed(done: Done, words: str) -> None:
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ") and words in line


def test_a_file_that_does_not_pass_its_check_opens_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_edits(home, sources(home, 1)).close()
    monkeypatch.setattr(measure, "check", lambda source, **_: CheckResult("oom", "memory: all"))
    failed(run_here(home, "verify"), "oom (memory: all)")
    assert not opened(home)


def test_a_run_under_way_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = keep_edits(home, sources(home, 1))
    answer(monkeypatch, gaining())
    failed(run_here(home, "verify"), "is being written by process")
    campaign.close()
    assert not opened(home)


def test_it_is_on_disk_and_in_the_notes_before_the_text_is_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_edits(home, sources(home, 1)).close()
    told: list[tuple[int, str]] = []

    def score(source: str, seed: int) -> Score:
        told.append((len(opened(home)), git(home, "for-each-ref", "refs/notes")))
        return 1.5

    answer(monkeypatch, score)
    verify(home, "--seeds", "2")
    assert {count for count, _ in told} == {1}
    assert all("autoresearch-openings/t" in refs for _, refs in told)


def test_a_failure_after_the_opening_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_edits(home, sources(home, 1)).close()
    answer(monkeypatch, lambda source, seed: {"status": "oom", "reason": "memory"})
    failed(run_here(home, "verify"), "opened 1 time")
    answer(monkeypatch, gaining())
    assert verify(home)["opened"] == 2


def test_a_champion_that_fails_on_a_seed_is_told(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gain over the seeds that are left says nothing of it."""
    keep_edits(home, sources(home, 1)).close()
    seeds: list[int] = []

    def score(source: str, seed: int) -> Score:
        seeds.append(seed)
        return {"status": "overtime"} if len(seeds) == 2 * 4 else gaining()(source, seed)

    answer(monkeypatch, score)
    text = run_here(home, "verify").stdout
    assert "over 3 seeds" in text and "ended after 3 seeds: file 1 of the heat: overtime" in text


@pytest.mark.parametrize(
    ("wobble", "within", "seeds", "is_within"),
    [(0.0, "0.001", 3, True), (0.01, "0.012", None, True), (0.01, "0.0001", 40, False)],
)
def test_seeds_are_added_until_it_is_narrow(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    wobble: float,
    within: str,
    seeds: int | None,
    is_within: bool,
) -> None:
    keep_edits(home, sources(home, 1)).close()
    answer(monkeypatch, gaining(wobble=wobble))
    found = verify(home, "--within", within)
    assert found["is_within"] is is_within
    assert found["seeds"] == seeds or (seeds is None and 3 < found["seeds"] < 40)
    width = found["gain"]["high"] - found["gain"]["mean"]
    assert (width <= float(within)) is is_within and len(opened(home)) == 1


def test_the_count_outlives_resumption_and_snapshots(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_edits(home, sources(home, 1)).close()
    answer(monkeypatch, gaining())
    verify(home)
    repo = Repo.open(home)
    before = load(repo, "t")
    campaign = Campaign(repo, "t")
    campaign.reconcile()
    snapshot.save(campaign.journal.path, campaign.state, campaign.journal.place)
    campaign.close()
    assert snapshot.restore(campaign.journal.path)[1].lines, "it is used"
    assert load(repo, "t").openings == before.openings == ["verify"]
    assert load(repo, "t").verified == before.verified
    assert verify(home)["opened"] == 2


def test_clean_removes_the_openings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_edits(home, sources(home, 1)).close()
    answer(monkeypatch, gaining())
    verify(home)
    done = run_here(home, "clean", "--yes")
    assert done.returncode == 0 and "YOURS" not in done.stdout
    assert "autoresearch" not in git(home, "for-each-ref")


@pytest.fixture
def ended(runtime: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A run with a champion, whose trials are all done."""
    play(monkeypatch, 1.5, (1.7, 1.66), (1.7, 1.66))
    audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    loop.one_trial(runtime)
    assert runtime.champion.trial == 1
    runtime.settings = runtime.settings.model_copy(update={"verify": True, "trials": 1})
    yield runtime


def end(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Played:
    runtime.settings = runtime.settings.model_copy(update=settings)
    first = runtime.campaign.source(runtime.campaign.state.trials[0].commit)
    played = answer(monkeypatch, lambda source, seed: 1.6 if source == first else 1.59)
    loop.run_campaign(runtime)
    assert runtime.campaign.state.stop_reason
    return played


def test_a_run_verifies_at_its_end(ended: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    played = end(ended, monkeypatch)
    state = ended.campaign.state
    assert state.openings == ["run --verify"] and len(played.seeds) == 5
    assert state.verified["gain"]["mean"] == pytest.approx(0.01)


def test_a_run_that_is_stopped_opens_nothing(
    ended: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended.stop.set()
    assert not end(ended, monkeypatch).seeds and not ended.campaign.state.openings


@pytest.mark.parametrize(
    ("hours", "heat_seconds", "seeds"), [(1.0, 40.0, 7), (1.0, 140.0, 2), (1.0, 160.0, 0)]
)
def test_a_tenth_of_the_hours_is_for_it(
    ended: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    hours: float,
    heat_seconds: float,
    seeds: int,
) -> None:
    """Heats of 40 s may take 48 s each: seven fit into 360 s."""
    now = [ended.began + 0.5 * 3600 * hours]
    monkeypatch.setattr("agent.steps.runtime.since_boot", lambda: now[0])
    monkeypatch.setattr(verifying, "since_boot", lambda: now[0])
    monkeypatch.setattr(verifying, "_heat_seconds", lambda keeps: heat_seconds)
    ended.settings = ended.settings.model_copy(update={"hours": hours})
    assert not ended.time_is_up()
    now[0] = ended.began + 0.9 * 3600 * hours
    assert ended.time_is_up()
    first = ended.campaign.source(ended.campaign.state.trials[0].commit)

    def score(source: str, seed: int) -> Score:
        now[0] += heat_seconds / 2
        return 1.6 if source == first else 1.59

    played = answer(monkeypatch, score)
    loop.run_campaign(ended)
    assert len(played.seeds) == seeds
    assert len(ended.campaign.state.openings) == (seeds > 0)
    assert now[0] <= ended.began + 3600 * hours


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
    failed(run_here(cloned, "verify", "--tag", "t"), FETCH)
    first = verify(home, "--each")
    fetch(cloned)
    found = verify(cloned, "--each")
    assert [one["claimed"] for one in found["each"]] == [one["claimed"] for one in first["each"]]
    assert [one["title"] for one in found["each"]] == ["edit 1", "edit 2"]
    for name in ("claimed_gain", "nulls", "nulls_kept"):
        assert found[name] == first[name]
    assert (found["opened"], found["opened_at_least"]) == (2, True)
    assert "at least 3 times" in run_here(cloned, "verify").stdout
    assert not (cloned / "campaigns").exists()
    # What a clone has opened counts where it is fetched, once.
    ref = "refs/notes/autoresearch-openings/t"
    git(home, "fetch", "-q", str(cloned), f"{ref}:{ref}")
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


def test_openings_that_a_kill_kept_out_of_the_notes_are_told_later(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = keep_edits(home, sources(home, 1))
    campaign.record(Opened(by="verify --each", commits=()))
    campaign.close()
    answer(monkeypatch, gaining())
    assert verify(home)["openings"] == ["verify --each", "verify"]
    repo = Repo.open(home)
    told = noted_openings(repo, "t", load(repo, "t").trials[0].commit)
    assert [line["by"] for line in told] == ["verify --each", "verify"]


def test_asked_to_stop_it_tells_what_it_has(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_edits(home, sources(home, 1)).close()
    seeds: list[int] = []

    def score(source: str, seed: int) -> Score:
        seeds.append(seed)
        if len(seeds) == 2 * 3:
            signal.raise_signal(signal.SIGINT)
            played.options[-1]["cancel"].wait(10)
            return {"status": "killed"}
        return gaining()(source, seed)

    played = answer(monkeypatch, score)
    found = verify(home, "--within", "1e-9")
    assert found["seeds"] == 2 and found["is_within"] is False
    assert "asked to stop" in found["ended"] and len(opened(home)) == 1
    assert "ended after 2 seeds: asked to stop" in said(home, "status")
    seeds[:] = [0, 0, 0, 0]
    failed(run_here(home, "verify"), "opened 2 times")
