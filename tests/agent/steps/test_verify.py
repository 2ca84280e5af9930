"""``verify``: what is opened, when, and what is said of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from kept_edits import GAIN, HALF, keep_edits
from project import as_json, git
from staged import Played, Score, TwoDevices, answer, audits, play
from verified import failed, gaining, opened, said, sources, verify

from agent import loop
from agent.campaign import snapshot
from agent.campaign.events import Opened, Verified
from agent.campaign.notes import FETCH
from agent.campaign.openings import noted_openings
from agent.campaign.reading import load
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.steps import verify as verifying
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.errors import UserError
from trainer.measure import CheckResult

pytestmark = [pytest.mark.process, pytest.mark.usefixtures("checked")]


def test_each_of_ten_keeps_opens_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, checked: list[Any]
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
    for _, how in checked:
        assert (how["preset"], how["data"]) == ("cpu", "apidocs"), "as the campaign trains"
    assert {options["split"] for options in played.options} == {"test"}
    # Of more files than one heat takes the next heat begins with the last file of the one before.
    (first, second), seeds = played.sources[:2], [own for (own, *_) in played.seeds]
    assert first[-1] == second[0] and len(first) + len(second) == 12
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]
    used = {t.seed for trial in load(Repo.open(home), "t").trials for t in trial.trainings}
    assert not used & set(seeds) and min(seeds) >= 1 << 40, "other campaigns' trials, too"
    assert found["seed_numbers"] == seeds[::2]
    kept = load(Repo.open(home), "t").trials
    assert found["commits"] == {"baseline": kept[0].commit, "champion": kept[10].commit}
    assert (found["budget"], found["preset"]) == ("20s", "cpu")
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


def test_with_nothing_kept_nothing_is_opened(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_edits(home, sources(home, 0)).close()
    played = answer(monkeypatch, gaining())
    found = verify(home)
    assert found["gain"] is None and found["opened"] == 0 and found["openings"] == []
    assert not opened(home) and not played.seeds
    text = run_here(home, "verify")
    assert text.returncode == 0 and "nothing is opened" in text.stdout
    assert "never opened by this campaign" in text.stdout and "never opened" in said(home, "status")


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
    assert "over 3 seeds" in text and "ended after 3 seeds: trial 1: overtime" in text


@pytest.mark.parametrize(
    ("wobble", "within", "seeds", "is_within"),
    [(0.0, "0.001", 8, True), (0.01, "0.012", None, True), (0.01, "0.0001", 40, False)],
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
    played = answer(monkeypatch, gaining(wobble=wobble))
    found = verify(home, "--within", within)
    for (seed, _), how in zip(played.seeds, played.options, strict=True):
        assert how["champion_first"] is (seed % 2 == 0), "neither is always first"
    assert found["is_within"] is is_within
    assert found["seeds"] == seeds or (seeds is None and 8 <= found["seeds"] < 40)
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


def test_clean_leaves_the_openings_which_the_next_campaign_counts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_edits(home, sources(home, 1)).close()
    played = answer(monkeypatch, gaining())
    verify(home)
    done = run_here(home, "clean", "--yes")
    ref = "refs/notes/autoresearch-openings/t"
    assert done.returncode == 0 and "YOURS" not in done.stdout and f"stays: {ref}" in done.stdout
    assert git(home, "for-each-ref", "--format=%(refname)", "refs/notes", "refs/autoresearch",
               "refs/heads/autoresearch").split() == [ref]  # fmt: skip
    keep_edits(home, sources(home, 2)[1:]).close()
    assert "opened 1 time: by verify (before this campaign)" in said(home, "status")
    found = verify(home)
    assert found["openings"] == ["verify", "verify (before this campaign)"]
    assert not found["opened_at_least"]
    assert not {s for s, _ in played.seeds[:5]} & {s for s, _ in played.seeds[5:]}


def test_a_verification_of_an_earlier_champion_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = keep_edits(home, sources(home, 1))
    champion = campaign.state.trials[1].commit
    found = {"gain": {"mean": 0.01, "low": 0.0, "high": 0.02}, "seeds": 5, "claimed_gain": None}
    stale = "(of trial 1; the champion is another now)"
    for commit, is_stale in ((champion, False), ("0" * 40, True)):
        told = {**found, "trial": 1, "commits": {"champion": commit}}
        campaign.record(Verified(found=told))
        for args in (["status"], ["report", "--markdown"]):
            assert (stale in said(home, *args)) is is_stale
    campaign.close()


def test_a_full_disk_keeps_the_seeds_before_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_edits(home, sources(home, 1)).close()
    asked: list[int] = []

    def score(source: str, seed: int) -> Score:
        asked.append(seed)
        if len(asked) > 2 * 4:
            raise UserError("no space left")
        return gaining()(source, seed)

    answer(monkeypatch, score)
    found = verify(home)
    assert (found["seeds"], found["ended"]) == (4, "no space left")


def test_without_a_campaign_it_says_how_a_clone_gets_one(home: Path) -> None:
    failed(run_here(home, "verify"), FETCH)


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
    # The next end finds the same champion, and leaves the text sealed.
    assert not end(ended, monkeypatch).seeds and state.openings == ["run --verify"]


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
    now[0] = ended.began + 0.9 * 3600 * hours + 1e-3  # of such sums the last digits are lost
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


def test_each_of_several_devices_has_seeds_in_that_time(
    ended: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    monkeypatch.setattr(verifying, "since_boot", lambda: ended.began + 0.9 * 3600)
    monkeypatch.setattr(verifying, "_heat_seconds", lambda keeps: 140.0)
    monkeypatch.setattr(verifying, "verify", lambda keeps, how, by: asked.append(how.seeds))
    monkeypatch.setattr(verifying, "one_line_of", lambda found: "so")
    ended.settings = ended.settings.model_copy(update={"hours": 1.0})
    ended.devices.executor = TwoDevices()
    verifying.verify_at_end(ended)
    assert asked == [4]


def test_openings_that_a_kill_kept_out_of_the_notes_are_told_later(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = keep_edits(home, sources(home, 1))
    campaign.record(Opened(by="verify --each", commits=()))
    campaign.close()
    answer(monkeypatch, gaining())
    assert verify(home)["openings"] == ["verify --each", "verify"]
    repo = Repo.open(home)
    told = noted_openings(repo, "t")
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
