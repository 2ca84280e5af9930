"""kill -9 while several trials are open: none is lost, none is done twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from agent.campaign import reading
from agent.git.repo import Repo
from benchmarks import kills_campaign, kills_compare
from benchmarks.kills_campaign import Kill

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(900)]
TRIALS = 6
KILLS: tuple[Kill, ...] = (
    {"kind": "heat_started", "side": "after"},
    {"kind": "asking", "side": "after"},
    {"kind": "heat", "side": "after"},
    {"kind": "candidate", "side": "before"},
    {"kind": "verdict", "side": "after"},
    {"kind": "heat", "side": "before"},
)


def test_lanes_go_on_after_each_kill(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    site = kills_campaign.make(tmp_path / "site", shared, TRIALS)
    program = site.repo / "program.md"
    program.write_text(program.read_text().replace("sequential: true", "heat: 3"))
    me = ("-c", "user.name=A User", "-c", "user.email=a@example.org")
    kills_campaign.git(site, *me, "commit", "-qam", "three candidates a heat")
    most = 0
    for moment in KILLS:
        status, output = kills_campaign.run(site, moment)
        assert status in (0, -9) and "still there" not in output, output
        most = max(most, len(reading.load(Repo.open(site.repo), kills_campaign.TAG).open_trials))
    status, output = kills_campaign.run(site)
    assert status == 0, output
    assert most > 1, "several were open at a kill"
    assert not kills_compare.left(site)
    state = reading.load(Repo.open(site.repo), kills_campaign.TAG)
    assert not state.open_trials and sum(state.counts.values()) == TRIALS
    heats = Counter((t.trial, t.heat, t.role) for trial in state.trials for t in trial.trainings)
    assert set(heats.values()) == {1}
    champion = None
    for trial in (one for one in state.real if one.kept):
        assert champion is None or trial.parent == champion.commit
        champion = trial
