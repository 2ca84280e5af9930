"""Campaigns begun with earlier versions: what they left is read as they read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from events import Story, sha
from project import agent, as_json, clone, git
from shown import log_json

from agent.campaign.events import read_event
from agent.campaign.evidence import noise_guess
from agent.campaign.journal import read_events
from agent.campaign.results import write_tsv
from agent.campaign.state import State, fold
from agent.report.details import show_text
from agent.report.summary import status_json
from trainer.presets import find_preset

RECORDED = Path(__file__).parent / "recorded"
BEFORE_HEATS = RECORDED / "2026-11-25.jsonl"
BEFORE_TYPES = RECORDED / "2026-11-28.jsonl"
CHANGED = {"noise_sigma"}
"""What is another quantity since heats: it was the noise of a score, not of a difference."""


@pytest.mark.parametrize("journal", sorted(RECORDED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_status_is_what_the_version_that_wrote_it_said(journal: Path, tmp_path: Path) -> None:
    campaign = clone(tmp_path) / "campaigns" / "old"
    campaign.mkdir(parents=True)
    shutil.copy(journal, campaign / "journal.jsonl")
    said = json.loads(journal.with_suffix(".status.json").read_text())
    status = as_json(tmp_path, "status", "--tag", "old")
    same = said.keys() - {"prior", "noise"} - (CHANGED if journal == BEFORE_HEATS else set())
    assert {name: status[name] for name in same} == {name: said[name] for name in same}
    if "noise" in said:
        assert status["noise"] == pytest.approx(said["noise"])  # summed in another order
    prior = status["prior"]  # of the same rewards by another rule
    assert prior.keys() == said["prior"].keys() and sum(prior.values()) == pytest.approx(1)
    if journal == BEFORE_HEATS:  # in the other one there was only one category to draw from
        assert len(set(prior.values())) > 2
    if journal == BEFORE_HEATS:
        assert (status["nulls"], status["nulls_kept"]) == (0, 0)
        guess = noise_guess(fold(read_events(journal)), "structure", find_preset("cpu"))
        assert status["noise_sigma"] == pytest.approx(guess.scale), "it has no heat to learn of"


@pytest.mark.slow  # the others load the same journal
@pytest.mark.process
def test_a_campaign_that_a_kill_ended_before_events_were_typed_goes_on(tmp_path: Path) -> None:
    """It was cut off in the first heat of its fourth trial."""
    git(tmp_path, "init", "-q", "-b", "main")
    with BEFORE_TYPES.with_suffix(".fast-export").open("rb") as history:
        subprocess.run(["git", "fast-import", "--quiet"], cwd=tmp_path, stdin=history, check=True)
    git(tmp_path, "checkout", "-q", "main")
    journal = tmp_path / "campaigns" / "old" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    # It was measured on another machine, which a campaign refuses; here only the code is another.
    before = re.sub(r'"fingerprint":{[^}]*}', '"fingerprint":{}', BEFORE_TYPES.read_text())
    before = '{"n":0,"time":1.0,"event":"of_the_future"}\n' + before
    journal.write_text(before)
    begun = json.loads(before.splitlines()[-1])
    assert (begun["event"], begun["trial"], begun["heat"]) == ("heat_started", 4, 0)

    said = agent(tmp_path, "run", "--tag", "old", "--trials", "2")
    log = journal.with_name("run.log").read_text()
    for text in (said.stdout + said.stderr, log):
        assert text.count("(of_the_future) are of a newer version") == 1
    assert journal.read_text().startswith(before)
    state = fold(read_events(journal))
    assert state.open_trial is None and state.unknown == ["of_the_future"]
    trial = state.trials[4]
    assert [trial.heats[0].champion.seed, trial.heats[0].candidate.seed] == begun["seeds"]
    assert git(tmp_path, "rev-parse", "refs/autoresearch/old/trials/4") == trial.commit
    recorded = json.loads(BEFORE_TYPES.with_suffix(".status.json").read_text())
    status = as_json(tmp_path, "status", "--tag", "old")
    assert (status["trials"], status["nulls"]) == (recorded["trials"] + 1, recorded["nulls"])
    assert [row["gain"] for row in as_json(tmp_path, "log", "--tag", "old")][:4] == [
        trial.gain for trial in state.trials[:4]
    ]


def test_a_trial_that_a_kill_cut_off_is_open_with_its_reply() -> None:
    state = fold(read_events(BEFORE_HEATS))
    assert state.unknown == []
    trial = state.open_trial
    assert trial is not None and trial.trial == 3
    assert trial.wants_proposal and "SCALAR_LR" in trial.reply
    assert [t.outcome for t in state.trials] == ["kept", "reverted", "reverted", "open"]


def recorded(**changes: Any) -> tuple[list[dict[str, Any]], State]:
    """The events of the campaign before heats, ``changes`` in its last verdict, and their state."""
    events = [json.loads(line) for line in BEFORE_HEATS.read_text().splitlines()]
    last = max(n for n, event in enumerate(events) if event["event"] == "verdict")
    events[last] = events[last] | changes
    return events, fold(map(read_event, events))


def test_verdicts_scores_and_rewards_stand(tmp_path: Path) -> None:
    events, state = recorded()
    verdicts = [event for event in events if event["event"] == "verdict"]
    rows = log_json(state)
    for name in ("verdict", "words", "status", "val_bpb", "gain", "gain_half", "reward", "commit"):
        assert [row[name] for row in rows] == [event[name] for event in verdicts]
    scores: list[list[float]] = [[], [], []]
    for event in events:
        if event["event"] == "training" and event["role"] == "candidate":
            scores[event["trial"]].append(event["val_bpb"])
    assert [row["scores"] for row in rows] == scores
    assert [row["differences"] for row in rows] == [[], [], []], "there were no heats"
    assert "champion   3           ok        1.766560" in show_text(state, 1, tmp_path)


def test_results_tsv_has_the_scores_that_the_trials_were_judged_by(tmp_path: Path) -> None:
    _, state = recorded()
    write_tsv(tmp_path / "results.tsv", state)
    lines = (tmp_path / "results.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[1] for line in lines] == ["1.780234", "1.798982", "1.792210"]


def test_what_was_called_abandoned_is_unjudged() -> None:
    """Then it was a fault of the machine; now it is a hopeless candidate, which has a forecast."""
    _, state = recorded(status="abandoned", val_bpb=None, gain=None, reward=None)
    trial = state.trials[2]
    assert (trial.status, trial.outcome, trial.tried) == ("unjudged", "failed", ())
    _, state = recorded(status="abandoned", val_bpb=None, gain=-0.05, gain_half=0.02)
    trial = state.trials[2]
    assert (trial.status, trial.outcome) == ("abandoned", "reverted")
    assert trial.tried == (trial.source_sha256,)


def test_it_goes_on_with_heats_from_what_its_champion_scored() -> None:
    """The last champion is one that was kept then; new gains come off its mean of then."""
    events, state = recorded(verdict="keep", val_bpb=1.75, gain=0.03)
    story = Story()
    story.events, story.champion = events[:-2], state.trials[2].commit
    assert status_json(story.state, "old", None, {})["best_bpb"] == pytest.approx(1.75)
    story.trial("schedule", "x", [(1.90, 1.86)], verdict="keep", gain=0.02)
    story.null([(1.88, 1.87)])
    status = status_json(story.state, "old", None, {})
    assert status["champion"] == sha("final 3")
    assert status["best_bpb"] == pytest.approx(1.73)
    assert status["baseline_bpb"] == pytest.approx(1.780234, abs=1e-6)
    assert (status["trials"], status["kept"], status["nulls"]) == (3, 2, 1)


@pytest.mark.process
def test_events_of_a_newer_version_are_one_clear_line(tmp_path: Path) -> None:
    campaign = clone(tmp_path) / "campaigns" / "new"
    campaign.mkdir(parents=True)
    newer = '{"n":99,"time":1.0,"event":"merged","with":"another"}\n'
    (campaign / "journal.jsonl").write_text(BEFORE_HEATS.read_text() + newer * 2)
    command = [sys.executable, "-m", "agent", "status", "--tag", "new", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["trials"] == 2
    (line,) = done.stderr.splitlines()
    assert "2 of the journal's events (merged) are of a newer version" in line
