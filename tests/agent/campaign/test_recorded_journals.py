"""Campaigns begun with earlier versions: what they left is read as they read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from project import as_json, clone

from agent.campaign.journal import read_events
from agent.campaign.state import fold

RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize("journal", sorted(RECORDED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_the_status_is_what_the_version_that_wrote_it_said(journal: Path, tmp_path: Path) -> None:
    campaign = clone(tmp_path) / "campaigns" / "old"
    campaign.mkdir(parents=True)
    shutil.copy(journal, campaign / "journal.jsonl")
    said = json.loads(journal.with_suffix(".status.json").read_text())
    status = as_json(tmp_path, "status", "--tag", "old")
    assert {name: status[name] for name in said} == said


def test_a_trial_that_a_kill_cut_off_is_open_with_its_reply() -> None:
    state = fold(read_events(RECORDED / "2026-11-25.jsonl"))
    assert state.unknown == 0
    trial = state.open_trial
    assert trial is not None and trial.trial == 3
    assert trial.wants_proposal and "SCALAR_LR" in trial.reply
    assert [t.outcome for t in state.trials] == ["kept", "reverted", "reverted", "open"]
