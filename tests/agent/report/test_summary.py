from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest
from events import PRIOR, Story, campaign, sha
from shown import log_graph, log_json, log_text, status_text

from agent.campaign import evidence
from agent.campaign.evidence import noise_of
from agent.campaign.state import State
from agent.report.details import show_json, show_text
from agent.report.summary import paragraph, standing, status_json
from agent.report.throughput import device_words, throughput
from trainer.presets import find_preset

STATUS = {"tag", "state", "trials", "kept", "reverted", "rejected", "baseline_bpb", "best_bpb"}
STATUS |= {"nulls", "nulls_kept", "noise_sigma", "noise", "cost_usd", "champion", "prior"}
STATUS |= {"tokens", "cached_share", "cost_per_gain_usd", "unanswered", "rewards_clipped"}
STATUS |= {"capped", "capped_usd", "opened", "openings", "verified", "objective", "summed"}
STATUS |= {"prior_over_time", "exhausted", "ideas_waiting", "notebook", "proposers"}
STATUS |= {"without_ideas", "throughput", "drafts"}
LOG = {"trial", "commit", "parent", "category", "hypothesis", "proposer", "verdict", "status"}
LOG |= {"scores", "differences", "val_bpb", "gain", "reward", "seconds"}
LOG |= {"lines_added", "lines_removed"}

BASELINE = fmean([1.3000, 1.3020, 1.3000, 1.3010])
CPU = find_preset("cpu")


def test_status() -> None:
    status = status_json(campaign().state, "t", 4711, PRIOR)
    assert set(status) == STATUS
    assert json.loads(json.dumps(status)) == status
    assert (status["tag"], status["state"]) == ("t", "running")
    assert [status[k] for k in ("trials", "kept", "reverted", "rejected")] == [5, 1, 3, 1]
    # The baseline's own score and the three that it got as champion in trial 1.
    assert status["baseline_bpb"] == pytest.approx(BASELINE)
    # The champion's gain below that, whatever it scored itself.
    assert status["best_bpb"] == pytest.approx(BASELINE - 0.0130)
    assert status["champion"] == sha("final 1")
    assert status["cost_usd"] == 0.0
    assert status["prior"] == PRIOR
    assert status_json(campaign().state, "t", None, PRIOR)["state"] == "stopped"


def test_the_notebook_is_named_where_there_is_one() -> None:
    story = campaign()
    assert "notebook" not in status_text(story.state)
    story.add("notebook", text="x", model="m", usage={"input": 1}, cost_usd=0.0)
    told = status_text(story.state)
    assert "\nnotebook  campaigns/t/notebook.md\n" in told


def test_the_noise_of_both_kinds_is_told() -> None:
    """The preset's until heats were repeated, then what they say."""
    story = Story()
    story.baseline()
    status = status_json(story.state, "t", None, {})
    presets = {"numbers": CPU.noise_numbers, "structure": CPU.noise_structure}
    assert status["noise"] == pytest.approx(presets)
    assert status["noise_sigma"] == status["noise"]["structure"]
    assert "noise     0.0050 for numbers, 0.0160 for structure" in status_text(story.state)
    for _ in range(8):
        story.trial("optimizer", "x", [(1.30, 1.30), (1.30, 1.40), (1.30, 1.20)])
    status = status_json(story.state, "t", None, {})
    assert status["noise"]["numbers"] == pytest.approx(CPU.noise_numbers)
    assert status["noise_sigma"] == status["noise"]["structure"] > 2 * CPU.noise_structure


def test_the_champions_are_chained_by_their_gains() -> None:
    """The machine became slow after the first keep: no score of later is compared with that."""
    story = Story()
    story.baseline(1.30)
    story.trial("schedule", "x", [(1.30, 1.27)], verdict="keep", gain=0.02, gain_half=0.003)
    assert status_json(story.state, "t", None, {})["best_bpb"] == pytest.approx(1.28)
    story.trial("optimizer", "y", [(1.47, 1.45)], verdict="keep", gain=0.01, gain_half=0.004)
    story.trial("optimizer", "z", [(1.48, 1.58)], gain_half=0.05)
    status = status_json(story.state, "t", None, {})
    assert status["baseline_bpb"] == pytest.approx(1.30)
    assert status["best_bpb"] == pytest.approx(1.27)
    assert (
        "claimed +0.0300 (+0.0250 to +0.0350): val_bpb of the baseline 1.3000, champion 1.2700"
        in status_text(story.state)
    )
    assert "cut off" not in status_text(story.state)
    gain = standing(story.state).gain
    assert gain is not None
    assert (gain.mean, gain.half) == pytest.approx((0.03, 0.005))


def test_a_tie_is_kept_at_no_gain() -> None:
    story = Story()
    story.baseline(1.30)
    number = story.draw("simplification")
    story.candidate(number, "no dead branch", size_delta=-3)
    story.heat(number, 1.31, 1.31, proof="same")
    words = "kept: shorter, and the same numbers to the last bit"
    story.end(number, "keep", words, gain=0.0, gain_half=0.0, tie=True, tie_cost=0.0)
    assert story.state.trials[number].tie
    status = status_json(story.state, "t", None, {})
    assert status["best_bpb"] == status["baseline_bpb"] == pytest.approx(1.305)
    assert status["champion"] == sha("final 1")
    assert "a claimed gain of +0.0000 ± 0.0000" in paragraph(story.state)


def test_status_of_a_campaign_that_has_just_begun() -> None:
    status = status_json(Story().state, "t", 1, PRIOR)
    assert status["baseline_bpb"] is status["best_bpb"] is status["champion"] is None
    assert json.loads(json.dumps(status)) == status
    assert "not measured yet" in status_text(Story().state)
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
    status = status_json(story.state, "t", None, {})
    assert (status["tokens"], status["cached_share"]) == (1050, 0.8)
    assert status["cost_per_gain_usd"] is None
    story = Story()
    story.baseline(1.30)
    story.trial("schedule", "x", [(1.30, 1.10)], verdict="keep", gain=0.20, gain_half=0.19)
    state = story.state
    state.cost = 0.5
    found = status_json(state, "t", None, {})["cost_per_gain_usd"]
    assert found == pytest.approx(0.5 / 20), "a hundredth of a bit, of which there are 20"
    state.cost = None
    assert status_json(state, "t", None, {})["cost_per_gain_usd"] is None
    story = Story()
    story.baseline(1.30)
    story.trial("schedule", "x", [(1.30, 1.10)], verdict="keep", gain=0.20, gain_half=0.21)
    assert status_json(story.state, "t", None, {})["cost_per_gain_usd"] is None, "it may be none"


def test_the_cost_is_told_with_what_it_bought() -> None:
    story = Story(llm="anthropic:m")
    story.baseline(1.30)
    number = story.draw("schedule")
    usage = {"input": 100, "output": 50, "cache_read": 800, "cache_write": 100}
    story.add(
        "proposed", trial=number, proposer="llm", reply="x", model="m", usage=usage, cost_usd=5.0
    )
    story.candidate(number, "x")
    story.heat(number, 1.30, 1.10)
    story.end(number, "keep", "kept", gain=0.20, gain_half=0.19)
    told = "$5.00, 1,050 tokens, 80% of the prompts from a cache, $0.25 for each 0.01 bits per byte"
    assert told in status_text(story.state)


def test_audits_and_quarantine_are_shown(tmp_path: Path) -> None:
    story = Story()
    story.baseline(1.30)
    number = story.draw("schedule")
    story.candidate(number, "x")
    story.heat(number, 1.30, 0.9, counted=False, quarantined=True)
    reason = "causality: the prefix alone gives another loss"
    story.add("audit", trial=number, commit=sha(f"candidate {number}"), ok=False,
              status="invalid", reason=reason, leak_bound_bpb=0.0)  # fmt: skip
    shown = show_text(story.state, number, tmp_path)
    assert "(quarantined)" in shown
    assert "differences:" not in shown, "a quarantined score is not judged"
    assert f"audited on prefixes alone: {reason}" in shown


def test_a_reply_at_an_unknown_price_makes_the_cost_unknown() -> None:
    story = Story(llm="anthropic:m")
    assert status_json(story.state, "t", None, {})["cost_usd"] == 0
    number = story.draw("schedule")
    reply = {"trial": number, "proposer": "llm", "reply": "x", "model": "m"}
    story.add("proposed", **reply, usage={"input": 10, "output": None}, cost_usd=0.25)
    assert status_json(story.state, "t", None, {})["cost_usd"] == 0.25
    assert story.state.usage == {"input": 10, "output": 0}
    story.add("proposed", **reply, usage={"input": 5, "output": 1}, cost_usd=None)
    assert status_json(story.state, "t", None, {})["cost_usd"] is None


def test_a_run_that_waits_for_its_model_says_so() -> None:
    story = Story(llm="anthropic:m")
    number = story.draw("schedule")
    story.add("waiting", reason="429", usage=None, cost_usd=None)
    assert status_json(story.state, "t", 1, {})["state"] == "waiting"
    assert status_json(story.state, "t", None, {})["state"] == "stopped"
    story.add(
        "proposed", trial=number, proposer="llm", reply="x", model="m", cost_usd=0.1, usage=None
    )
    assert status_json(story.state, "t", 1, {})["state"] == "running"


def test_gain_is_claimed_with_its_interval() -> None:
    state = campaign().state
    now = standing(state)
    assert now.gain is not None
    assert (now.gain.mean, now.gain.half) == pytest.approx((0.0130, 0.0080))
    assert "claimed gain of +0.0130 ± 0.0080 bits per byte" in paragraph(state)
    told = now.noise
    words = f"noise of a difference is {told['numbers']:.4f} for numbers, {told['structure']:.4f} f"
    assert words in paragraph(state)


def test_a_baseline_that_is_still_champion_has_no_gain() -> None:
    story = Story()
    story.baseline()
    assert standing(story.state).gain is None
    assert "still the champion, at val_bpb 1.3000" in paragraph(story.state)


def test_log() -> None:
    rows = log_json(campaign().state)
    assert json.loads(json.dumps(rows)) == rows
    assert all(set(row) >= LOG for row in rows)
    assert [row["trial"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["verdict"] for row in rows] == [
        "keep", "keep", "revert", "rejected", "revert", "revert", "revert",
    ]  # fmt: skip
    assert rows[1]["scores"] == [1.29, 1.286, 1.285]
    assert rows[1]["differences"] == pytest.approx([0.012, 0.014, 0.016])
    assert rows[1]["kind"] == "structure"
    assert rows[0]["scores"] == [1.3]
    assert rows[0]["differences"] == rows[2]["differences"] == []
    assert rows[1]["commit"] == sha("final 1")
    assert rows[1]["parent"] == sha("final 0")
    assert rows[2]["status"] == "crashed"
    assert rows[3]["commit"] is rows[3]["status"] is rows[3]["val_bpb"] is None


def test_an_abandoned_trial_has_a_forecast_and_no_score(tmp_path: Path) -> None:
    state = campaign().state
    row = log_json(state)[6]
    assert (row["status"], row["verdict"], row["val_bpb"]) == ("abandoned", "revert", None)
    assert (row["gain"], row["gain_half"]) == (-0.06, 0.02)
    assert row["scores"] == row["differences"] == []
    assert f"  6  {sha('final 6')[:7]}  abandoned        -0.0600    1:00  " in log_text(state)
    shown = show_text(state, 6, tmp_path)
    assert "gain       -0.0600 ± 0.0200" in shown
    assert "verdict    lost: forecast -0.0600 ± 0.0200, hopeless after 25% of a heat" in shown
    assert "no candidate is left" in shown, "why the champion's training ended"
    assert "differences" not in shown
    assert "0.0000" not in log_text(state), "it is no score of 0"


def test_log_for_people() -> None:
    text = log_text(campaign().state)
    assert "  1  " + sha("final 1")[:7] + "  1.2870 ± 0.0060  +0.0130    1:00  schedule: " in text
    assert "     inconclusive: worse by 0.0010 ± 0.0080 in 2 heats, reverted" in text
    assert text.count("inconclusive: ") == text.count("lost: ") == 1, (
        "a null trial has nothing to refute"
    )


def test_graph_has_kept_trials_on_the_trunk() -> None:
    lines = log_graph(campaign().state).splitlines()
    assert [line[:3] for line in lines] == ["●  ", "●  ", "├─×", "├─·", "├─○", "├─◌", "├─○"]
    gains = {line.index(sign) for line in lines for sign in ("+0.0", "-0.0") if sign in line}
    assert len(gains) == 1, "an abandoned trial's status is longer than a score"


def test_show_tells_all(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "1"
    folder.mkdir(parents=True)
    (folder / "prompt.md").write_text("what was asked")
    (folder / "reply.md").write_text("what was \x1b[31manswered")
    (folder / "diff.patch").write_text("+WARMDOWN = 0.6\n" + 50_000 * "y")
    text = show_text(campaign().state, 1, tmp_path)
    for words in (
        "schedule: longer warm-down",
        "kept: better by 0.0140 ± 0.0082 in 3 heats",
        "It may help.",
        "proposer   deck",
        "+0.500",
        sha("final 1"),
        "differences: +0.0120 +0.0140 +0.0160",
        "--- prompt.md ---\nwhat was asked",
        "+WARMDOWN = 0.6",
        "characters left out",
    ):
        assert words in text
    assert "\x1b" not in text
    assert len(text) < 10_000


def test_show_lists_each_heat_with_both_its_trainings(tmp_path: Path) -> None:
    lines = show_text(campaign().state, 1, tmp_path).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("heat  role"))
    rows = [line.split()[:5] for line in lines[first + 1 : first + 7]]
    assert rows[:3] == [
        ["1", "champion", "2", "ok", "1.302000"],
        ["1", "candidate", "2", "ok", "1.290000"],
        ["2", "champion", "3", "ok", "1.300000"],
    ]
    assert [row[0] for row in rows] == ["1", "1", "2", "2", "3", "3"]
    alone = show_text(campaign().state, 0, tmp_path).splitlines()
    assert any(line.startswith("      candidate  1  ") for line in alone), (
        "the baseline has no heat"
    )
    assert not any(line.startswith("differences") for line in alone)


def test_show_marks_what_was_trained_earlier(tmp_path: Path) -> None:
    """Under a token budget the champion's training with a seed is used again."""
    story = Story()
    story.baseline(1.30)
    number = story.draw("schedule")
    story.candidate(number, "x")
    story.heat(number, 1.30, 1.31, champion={"reused": True})
    assert show_text(story.state, number, tmp_path).count("an earlier training, used again") == 1
    runs = story.state.runs_of(story.state.trials[0])
    assert len(runs) == 1, "and is one training"


def test_show_tells_why_a_trial_was_rejected(tmp_path: Path) -> None:
    text = show_text(campaign().state, 3, tmp_path)
    assert "rejected before training: SEARCH text is not in the file" in text
    assert "turned down: SEARCH text is not in the file" in text


def test_show_json_round_trips() -> None:
    shown = json.loads(json.dumps(show_json(campaign().state, 1)))
    assert [t["role"] for t in shown["trainings"]] == 3 * ["champion", "candidate"]
    assert [t["heat"] for t in shown["trainings"]] == [0, 0, 1, 1, 2, 2]


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


def test_where_the_devices_time_went() -> None:
    """Each trial of the story takes a minute: a second an event, and the rest for its verdict."""
    story = campaign()
    found = status_json(story.state, "t", None, PRIOR)["throughput"]
    assert found["running_seconds"] > 0 and found["lost_seconds"]["drafting"] > 0
    counted = found["running_seconds"] / 3600 * found["experiments_an_hour"]
    assert counted == pytest.approx(4, abs=0.01)  # not the baseline, and not what was rejected
    lost = sum(s for cause, s in found["lost_seconds"].items() if cause != "stopped")
    assert found["device_seconds"] + lost == pytest.approx(found["running_seconds"])
    share = 100 * found["device_busy_share"]
    told = status_text(story.state)
    assert f"an hour, device busy {share:.0f} %, lost: bookkeeping" in told
    assert "device busy" not in status_text(State()) and "hidden" not in told
    assert ", drafting hidden 0:30, lost: " in device_words(
        throughput(story.state) | {"drafting_hidden_seconds": 30.0}
    )


def test_the_latest_trials_tell_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there were before: else a verdict would take ever longer."""
    story = Story()
    story.baseline()
    for _ in range(4):
        story.trial("optimizer", "x", [(1.30, 1.30), (1.30, 1.50), (1.30, 1.10)])
    for _ in range(4):
        story.trial("optimizer", "x", [(1.30, 1.300), (1.30, 1.301), (1.30, 1.299)])
    of_all = noise_of(story.state, "structure", CPU).scale
    monkeypatch.setattr(evidence, "LATEST", 4)
    assert noise_of(story.state, "structure", CPU).scale < of_all / 3
