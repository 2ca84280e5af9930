"""How a trial is judged when the machine is busy; measurements are stood in for, git is real."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from project import clone

from agent import judging, loop, start
from agent import program as programs
from agent.campaign import Campaign
from agent.journal import read
from agent.propose.choose import make
from agent.repo import Repo
from agent.report.plain import PlainDisplay
from agent.run import Run, Stopped
from agent.settings import Settings
from trainer import measure
from trainer.measure import CheckResult, Measurement

QUIET, BUSY = 0.02, 0.5
Measure = Callable[..., Measurement]


def measured(val_bpb: float, disturbance: float, seed: int) -> Measurement:
    values: dict[str, Any] = {f.name: 0 for f in dataclasses.fields(Measurement)}
    texts = ("reason", "trace", "weights_sha256", "detail", "output")
    values |= dict.fromkeys(texts, "") | {"status": "ok", "isolation": "os", "curve": ()}
    values |= {"fingerprint": {}, "budget": "20s", "preset": "cpu"}
    return Measurement(**{**values, "val_bpb": val_bpb, "disturbance": disturbance, "seed": seed})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    folder = clone(tmp_path)
    fine = CheckResult(True, "ok", "", "", 0.0, 0.0)
    monkeypatch.setattr(measure, "check", lambda source, **options: fine)
    settings = Settings(preset="cpu", budget="20s", llm="none")
    campaign = Campaign(Repo.open(folder), "t")
    campaign.begin(settings, {"device": "cpu"})
    campaign.agree()
    program = programs.load(folder / "program.md")
    with (tmp_path / "out.txt").open("w") as out:
        yield Run(
            campaign,
            settings,
            program,
            make("hybrid", None, 0),
            PlainDisplay(out),
            threading.Event(),
        )
    campaign.close()


def play(monkeypatch: pytest.MonkeyPatch, *scores: tuple[float, float]) -> None:
    left = list(scores)

    def next_one(source: str, *, seed: int, **options: Any) -> Measurement:
        return measured(*left.pop(0), seed)

    monkeypatch.setattr(measure, "measure", next_one)


def test_a_disturbed_training_is_done_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, (1.9, BUSY), (1.5, QUIET), (1.9, BUSY), (1.7, QUIET), (1.51, QUIET))
    loop.baseline(run)
    assert run.champion_scores() == [1.5]
    loop.one_trial(run)
    trial = run.campaign.state.trials[1]
    assert (trial.verdict, trial.scores, trial.champion_scores) == ("revert", (1.7,), (1.51,))


def test_on_a_busy_machine_nothing_is_judged_and_nothing_learnt(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, *[(1.9, BUSY)] * 3, *[(1.0, BUSY)] * 4)
    monkeypatch.setattr(judging, "UNJUDGED_TRIALS", 1)
    monkeypatch.setattr(judging, "BUSY_SECONDS", 0.0)
    loop.baseline(run)
    assert run.champion.val_bpb == 1.9
    assert run.champion_scores() == []
    before = run.prior.probabilities()
    with pytest.raises(IndexError):  # the champion is due first: three more, and no fourth
        loop.one_trial(run)
        loop.one_trial(run)
    trial = run.campaign.state.trials[1]
    assert (trial.verdict, trial.status, trial.reward) == ("revert", "abandoned", None)
    assert "not judged" in trial.words
    assert run.prior.probabilities() == before
    assert "waiting" in [event["event"] for event in read(run.campaign.journal.path)]


def test_greedy_keeps_one_lucky_score(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.settings = dataclasses.replace(run.settings, keep="greedy")
    play(monkeypatch, (1.5, QUIET), (1.49, QUIET), (1.48, QUIET))
    loop.baseline(run)
    loop.one_trial(run)
    loop.one_trial(run)
    assert [trial.verdict for trial in run.campaign.state.trials] == ["keep"] * 3
    assert run.champion.val_bpb == 1.48


def test_new_tags_are_free_ones(run: Run) -> None:
    first = start.new_tag(run.campaign.repo)
    Campaign(run.campaign.repo, first).close()
    assert start.new_tag(run.campaign.repo) == f"{first}-2"


def test_limits_written_into_program_md_hold_from_the_next_trial(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, (1.5, QUIET), (1.9, QUIET), (1.5, QUIET), (1.9, QUIET), (1.5, QUIET))
    loop.baseline(run)
    loop.one_trial(run)
    path = run.program.path
    path.write_text(path.read_text().replace("---\n", "---\ntrials: 1\n", 1))
    loop.one_trial(run)
    with pytest.raises(Stopped):
        loop.one_trial(run)
    run.settings = dataclasses.replace(run.settings, trials=9, hours=0.0)
    with pytest.raises(Stopped, match="time is up"):
        loop.one_trial(run)
