"""Null trials, which change nothing: where they are seen, and where they must not count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from events import PRIOR, Story, sha
from shown import log_graph, log_json, log_text, status_text

from agent.campaign.learning import rebuild_prior
from agent.campaign.results import write_tsv
from agent.report.details import show_json, show_text
from agent.report.summary import paragraph, status_json


@pytest.fixture
def story() -> Story:
    """A keep, then a null trial of each kind, of which the second is kept, falsely."""
    story = Story()
    story.baseline(1.30)
    story.trial("schedule", "x", [(1.30, 1.28)], verdict="keep", gain=0.02, reward=0.5)
    story.null([(1.28, 1.29)])
    story.null([(1.28, 1.27), (1.28, 1.26)], verdict="keep", constant="WARMDOWN")
    return story


def test_they_are_counted_apart(story: Story) -> None:
    status = status_json(story.state, "t", None, PRIOR)
    assert [status[k] for k in ("trials", "kept", "reverted", "rejected")] == [1, 1, 0, 0]
    assert (status["nulls"], status["nulls_kept"]) == (2, 1)
    assert "trials    1: 1 kept, 0 reverted, 0 rejected" in status_text(story.state)
    assert paragraph(story.state).startswith("1 trial: 1 kept, 0 reverted. ")


def test_the_meter_is_where_the_keeps_are_told(story: Story) -> None:
    words = "1 of 2 nulls kept (below 97 % with 95 % confidence)"
    assert f"false-keep meter: {words}" in status_text(story.state)
    assert f"False-keep meter: {words}." in paragraph(story.state)
    empty = Story()
    empty.baseline()
    assert "false-keep meter: no null trial yet" in status_text(empty.state)


def test_one_that_nobody_could_judge_says_nothing_about_false_keeps(story: Story) -> None:
    number = story.null([], status="unjudged")
    assert story.state.trials[number].outcome == "null"
    assert status_json(story.state, "t", None, PRIOR)["nulls"] == 2


def test_one_that_is_kept_is_no_champion(story: Story) -> None:
    status = status_json(story.state, "t", None, PRIOR)
    assert status["champion"] == sha("final 1")
    assert status["best_bpb"] == pytest.approx(1.28)
    runs = story.state.runs_of(story.state.trials[1])
    assert [run.val_bpb for run in runs] == [1.28, 1.28, 1.28], "only what it scored as champion"
    story.trial("optimizer", "y", [(1.28, 1.27)], verdict="keep", gain=0.01)
    now = status_json(story.state, "t", None, PRIOR)
    assert now["best_bpb"] == pytest.approx(1.27), "nor is there a gain in the chain from it"


def test_the_log_has_them(story: Story) -> None:
    rows = log_json(story.state)
    assert json.loads(json.dumps(rows)) == rows
    seed, number = rows[2], rows[3]
    for row in (seed, number):
        assert (row["category"], row["commit"], row["parent"]) == ("null", None, sha("final 1"))
        assert row["reward"] is None
    assert [row["verdict"] for row in (seed, number)] == ["revert", "keep"]
    assert [row["kind"] for row in (seed, number)] == ["structure", "numbers"]
    assert seed["differences"] == pytest.approx([-0.01])
    text = log_text(story.state)
    assert "null: the champion under another seed" in text
    assert "null: WARMDOWN times 1 + 1e-6" in text
    assert "     null trial, kept, falsely: better" in text


def test_the_graph_has_no_null_on_the_trunk(story: Story) -> None:
    lines = log_graph(story.state).splitlines()
    assert [line[:3] for line in lines[:4]] == ["●  ", "●  ", "├─◌", "├─◌"]


def test_show_tells_both_seeds_and_what_was_changed(story: Story, tmp_path: Path) -> None:
    shown = json.loads(json.dumps(show_json(story.state, 2)))
    champion, candidate = shown["trainings"]
    assert champion["commit"] == candidate["commit"] == sha("final 1")
    assert champion["seed"] != candidate["seed"]
    constant = json.loads(json.dumps(show_json(story.state, 3)))
    assert constant["null_constant"] == "WARMDOWN"
    assert len({training["seed"] for training in constant["trainings"]}) == 2, "one a heat"
    text = show_text(story.state, 2, tmp_path)
    assert "differences: -0.0100" in text
    assert "lines" not in text, "it has no change to count"


def test_seeds_are_never_handed_out_twice(story: Story) -> None:
    """A null trial of another seed takes two, so the next one must know of both."""
    heats = [heat for trial in story.state.trials for heat in trial.heats]
    seeds = [{heat.champion.seed, heat.candidate.seed} for heat in heats]
    assert len(set.union(*seeds)) == sum(len(pair) for pair in seeds)
    assert story.state.seeds_used == 1 + sum(len(pair) for pair in seeds)


def test_the_prior_learns_nothing_from_them(story: Story) -> None:
    names = tuple(PRIOR)
    trials = story.state.finished
    real = [trial for trial in trials if not trial.is_null]
    assert rebuild_prior(names, 0, trials).probabilities() == (
        rebuild_prior(names, 0, real).probabilities()
    )


def test_results_tsv_leaves_them_out(story: Story, tmp_path: Path) -> None:
    write_tsv(tmp_path / "results.tsv", story.state)
    lines = (tmp_path / "results.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [sha("final 0")[:7], sha("final 1")[:7]]
