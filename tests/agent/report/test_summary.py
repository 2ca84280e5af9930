from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest
from events import PRIOR, Story, campaign, sha

from agent.judge import t_quantile
from agent.report.summary import (
    NoSuchTrial,
    baseline_scores,
    best_scores,
    log_graph,
    log_json,
    log_text,
    noise,
    paragraph,
    show_json,
    show_text,
    standing,
    status_json,
    status_text,
)

STATUS = {"tag", "state", "trials", "kept", "reverted", "rejected", "baseline_bpb", "best_bpb"}
STATUS |= {"noise_sigma", "cost_usd", "champion", "prior"}
STATUS |= {"tokens", "cached_share", "cost_per_gain_usd", "unanswered"}
LOG = {"trial", "commit", "parent", "category", "hypothesis", "proposer", "verdict", "status"}
LOG |= {"scores", "val_bpb", "gain", "reward", "seconds", "lines_added", "lines_removed"}


def test_status() -> None:
    status = status_json(campaign().state, "t", 4711, PRIOR, 0.004)
    assert set(status) == STATUS
    assert json.loads(json.dumps(status)) == status
    assert (status["tag"], status["state"]) == ("t", "running")
    assert [status[k] for k in ("trials", "kept", "reverted", "rejected")] == [4, 1, 2, 1]
    # The baseline's own score and the two that it got as champion of trial 1.
    assert status["baseline_bpb"] == pytest.approx(fmean([1.3000, 1.3020, 1.2980]))
    # The champion as measured afresh in trial 4, not what made it champion.
    assert status["best_bpb"] == pytest.approx(fmean([1.2876, 1.2884]))
    assert status["champion"] == sha("final 1")
    assert status["cost_usd"] == 0.0
    assert status["prior"] == PRIOR
    assert status_json(campaign().state, "t", None, PRIOR, 0.004)["state"] == "stopped"


def test_until_the_champion_is_measured_afresh_its_verdict_stands() -> None:
    story = Story()
    story.baseline(1.30)
    story.trial("schedule", "x", [1.20, 1.26, 1.28], verdict="keep", val_bpb=1.27)
    assert best_scores(story.state) == [1.26, 1.28]
    assert status_json(story.state, "t", None, {}, 0.004)["best_bpb"] == pytest.approx(1.27)


def test_status_of_a_campaign_that_has_just_begun() -> None:
    status = status_json(Story().state, "t", 1, PRIOR, None)
    assert status["baseline_bpb"] is status["best_bpb"] is status["champion"] is None
    assert json.loads(json.dumps(status)) == status
    assert "not measured yet" in status_text(status)
    assert paragraph(Story().state) == "Nothing is measured yet."
    assert log_json(Story().state) == []


def test_what_the_model_cost_for_what_was_gained() -> None:
    story = Story(llm="anthropic:m")
    story.baseline(1.30)
    number = story.draw("schedule")
    usage = {"input": 100, "output": 50, "cache_read": 800, "cache_write": 100}
    story.add(
        "proposed", trial=number, proposer="llm", reply="x", model="m", usage=usage, cost_usd=0.5
    )
    status = status_json(story.state, "t", None, {}, 0.004)
    assert (status["tokens"], status["cached_share"]) == (1050, 0.8)
    assert status["cost_per_gain_usd"] is None
    story = Story()
    story.baseline(1.30)
    story.trial("schedule", "x", [1.10, 1.10, 1.10], verdict="keep", val_bpb=1.10)
    state = story.state
    gained, state.cost = standing(state).gain, 0.5
    assert gained is not None
    found = status_json(state, "t", None, {}, 0.004)["cost_per_gain_usd"]
    assert found == pytest.approx(0.5 * standing(state).noise.sigma / 0.20)
    state.cost = None
    assert status_json(state, "t", None, {}, 0.004)["cost_per_gain_usd"] is None
    shown = status_text(status | {"cost_per_gain_usd": 0.25})
    assert "1,050, 80% of the prompts from a cache" in shown
    assert "$0.25 for each sigma gained" in shown


def test_audits_and_quarantine_are_shown(tmp_path: Path) -> None:
    story = Story()
    story.baseline(1.30)
    number = story.draw("schedule")
    story.candidate(number, "x")
    story.train(number, "candidate", 0.9, counted=False, quarantined=True)
    reason = "causality: the prefix alone gives another loss"
    story.add("audit", trial=number, commit=sha(f"candidate {number}"), ok=False,
              status="invalid", reason=reason, leak_bound_bpb=0.0)  # fmt: skip
    shown = show_text(story.state, number, tmp_path)
    assert "(quarantined)" in shown
    assert f"audited on prefixes alone: {reason}" in shown


def test_a_reply_at_an_unknown_price_makes_the_cost_unknown() -> None:
    story = Story(llm="anthropic:m")
    assert status_json(story.state, "t", None, {}, 0.0)["cost_usd"] == 0
    number = story.draw("schedule")
    reply = {"trial": number, "proposer": "llm", "reply": "x", "model": "m"}
    story.add("proposed", **reply, usage={"input": 10, "output": None}, cost_usd=0.25)
    assert status_json(story.state, "t", None, {}, 0.0)["cost_usd"] == 0.25
    assert story.state.usage == {"input": 10, "output": 0}
    story.add("proposed", **reply, usage={"input": 5, "output": 1}, cost_usd=None)
    assert status_json(story.state, "t", None, {}, 0.0)["cost_usd"] is None


def test_a_run_that_waits_for_its_model_says_so() -> None:
    story = Story(llm="anthropic:m")
    number = story.draw("schedule")
    story.add("waiting", reason="429", usage=None, cost_usd=None)
    assert status_json(story.state, "t", 1, {}, 0.0)["state"] == "waiting"
    assert status_json(story.state, "t", None, {}, 0.0)["state"] == "stopped"
    story.add(
        "proposed", trial=number, proposer="llm", reply="x", model="m", cost_usd=0.1, usage=None
    )
    assert status_json(story.state, "t", 1, {}, 0.0)["state"] == "running"


def test_gain_is_claimed_with_its_interval() -> None:
    state = campaign().state
    now, sigma = standing(state), noise(state)
    assert now.gain is not None
    assert now.gain.mean == pytest.approx(fmean(baseline_scores(state)) - 1.2880)
    half = t_quantile(0.975, sigma.dof) * sigma.sigma * (1 / 3 + 1 / 2) ** 0.5
    assert now.gain.half == pytest.approx(half)
    assert "claimed gain of +0.0120 ±" in paragraph(state)


def test_a_baseline_that_is_still_champion_has_no_gain() -> None:
    story = Story()
    story.baseline()
    assert standing(story.state).gain is None
    assert "still the champion, at val_bpb 1.3000" in paragraph(story.state)


def test_log() -> None:
    rows = log_json(campaign().state)
    assert json.loads(json.dumps(rows)) == rows
    assert all(set(row) >= LOG for row in rows)
    assert [row["trial"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["verdict"] for row in rows] == ["keep", "keep", "revert", "rejected", "revert"]
    assert rows[1]["scores"] == [1.29, 1.288, 1.286]
    assert rows[1]["commit"] == sha("final 1")
    assert rows[1]["parent"] == sha("final 0")
    assert rows[2]["status"] == "crashed"
    assert rows[3]["commit"] is rows[3]["status"] is rows[3]["val_bpb"] is None


def test_log_for_people() -> None:
    text = log_text(campaign().state)
    assert "  1  " + sha("final 1")[:7] + "  1.2870 ± 0.0060  +0.0130    1:00  schedule: " in text
    assert "     beat the champion once, lost on fresh seeds, reverted" in text


def test_graph_has_kept_trials_on_the_trunk() -> None:
    lines = log_graph(campaign().state).splitlines()
    assert [line[:3] for line in lines[:5]] == ["●  ", "●  ", "├─×", "├─·", "├─○"]


def test_show_tells_all(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "1"
    folder.mkdir(parents=True)
    (folder / "prompt.md").write_text("what was asked")
    (folder / "reply.md").write_text("what was \x1b[31manswered")
    (folder / "diff.patch").write_text("+WARMDOWN = 0.6\n" + 50_000 * "y")
    text = show_text(campaign().state, 1, tmp_path)
    for words in (
        "schedule: longer warm-down",
        "kept: better on 2 fresh seeds",
        "It may help.",
        "proposer   deck",
        "+0.500",
        sha("final 1"),
        "1.302000",
        "--- prompt.md ---\nwhat was asked",
        "+WARMDOWN = 0.6",
        "characters left out",
    ):
        assert words in text
    assert "\x1b" not in text
    assert len(text) < 10_000


def test_show_tells_why_a_trial_was_rejected(tmp_path: Path) -> None:
    text = show_text(campaign().state, 3, tmp_path)
    assert "rejected before training: SEARCH text is not in the file" in text
    assert "turned down: SEARCH text is not in the file" in text


def test_show_json_round_trips() -> None:
    shown = show_json(campaign().state, 1)
    assert json.loads(json.dumps(shown))["trainings"][1]["role"] == "champion"


def test_a_trial_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoSuchTrial, match="there is no trial 9; there are 0 to 4"):
        show_text(campaign().state, 9, tmp_path)


def test_prompts_and_replies_are_shown_in_turn(tmp_path: Path) -> None:
    story = Story()
    story.baseline(1.30)
    number = story.draw("schedule")
    folder = tmp_path / "trials" / str(number)
    folder.mkdir(parents=True)
    for name in ("prompt-10", "prompt-2", "prompt", "reply-2", "reply"):
        (folder / f"{name}.md").write_text("x" * 7000)
    shown = show_text(story.state, number, tmp_path)
    told = [line.split()[1].rstrip(",") for line in shown.splitlines() if line.startswith("---")]
    assert told == ["prompt.md", "reply.md", "prompt-2.md", "reply-2.md", "prompt-10.md"]
    assert f"all of it in {folder / 'prompt.md'}" in shown
