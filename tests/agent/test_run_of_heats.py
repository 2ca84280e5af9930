"""A real campaign under a time budget: trained side by side, watched, replayed."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import agent, as_json, clone, clone_small, events

pytestmark = [pytest.mark.process, pytest.mark.slow]  # test_heat and test_evaluate are quick

RUN = ("run", "--tag", "t", "--budget", "2s", "--llm", "none", "--proposer", "tuner")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = clone_small(tmp_path_factory.mktemp("project"))
    done = agent(folder, *RUN, "--trials", "1", "--keep", "greedy")  # one heat
    (folder / "run.txt").write_text(done.stdout)
    return folder


def test_champion_and_candidate_of_a_heat_share_seed_and_time(campaign: Path) -> None:
    heats = [event["trainings"] for event in events(campaign) if event["event"] == "heat"]
    assert heats
    for champion, candidate in heats:
        assert (champion["role"], candidate["role"]) == ("champion", "candidate")
        assert champion["seed"] == candidate["seed"]
        assert champion["how"] == candidate["how"] == "side by side"
        assert len(champion["losses"]) == len(candidate["losses"]) == 20
    assert "side by side" in (campaign / "run.txt").read_text()


def test_the_log_has_the_differences_of_the_scores(campaign: Path) -> None:
    trial = as_json(campaign, "log")[1]
    heats = [event["trainings"] for event in events(campaign) if event["event"] == "heat"]
    scored = [
        a["val_bpb"] + a["leak_bound_bpb"] - b["val_bpb"] - b["leak_bound_bpb"]
        for a, b in heats
        if None not in (a["val_bpb"], b["val_bpb"]) and b["counted"]
    ]
    assert trial["differences"] == pytest.approx(scored, abs=0.01)  # less what an audit charges
    status = as_json(campaign, "status")
    assert status["noise_sigma"] > status["noise"]["numbers"] > 0
    assert (status["nulls"], status["nulls_kept"]) == (0, 0)


def test_candidates_share_a_heat(tmp_path: Path) -> None:
    """Also under a budget of tokens, one after the other, if program.md or the user asks for it.

    The first trial meets the baseline's own training, which has a seed already.
    """
    folder = clone(tmp_path)
    run = ("run", "--tag", "t", "--budget", "6000tok", "--llm", "none", "--proposer", "tuner")
    agent(folder, *run, "--trials", "4", "--heat", "3", "--keep", "greedy")
    heats = [event["trainings"] for event in events(folder) if event["event"] == "heat"]
    shared = [pair for pair in heats if pair[0]["reused"]]
    for champion, candidate in shared:
        same = [one for one, _ in heats if one["seed"] == candidate["seed"] == champion["seed"]]
        assert len({one["weights_sha256"] for one in same}) == 1
        assert [one["reused"] for one in same].count(False) <= 1
    kept = [trial for trial in as_json(folder, "log") if trial["verdict"] == "keep"]
    assert len({trial["parent"] for trial in kept}) == len(kept), "one keep of each champion"


def test_a_training_that_took_turns_replays_alone(campaign: Path) -> None:
    for trial in (0, 1):
        found = as_json(campaign, "replay", f"refs/autoresearch/t/trials/{trial}")
        assert found["verdict"] == "bit-exact", found
