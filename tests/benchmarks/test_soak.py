"""The soak's own parts; the trials are the benchmark itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.campaign import snapshot
from agent.campaign.files import JOURNAL
from agent.campaign.journal import read_events
from agent.campaign.state import fold
from benchmarks import soak


def test_recorded_trials_are_a_whole_campaign_with_a_snapshot(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    soak.write_journal(path, 150)
    state, place = snapshot.restore(path)
    assert len(state.trials) == 50 and place.n + 1 == len(read_events(path)[: place.lines])
    whole = fold(read_events(path))
    assert snapshot.read_state(path) == whole
    assert len(whole.finished) == 151
    assert {len(trial.differences) for trial in whole.trials[1:]} == {3}


@pytest.mark.slow
@pytest.mark.process
def test_resuming_is_timed_with_and_without_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "RECORDED", (120,))
    (found,) = soak.resuming(tmp_path, times=1)
    assert found["trials"] == 120
    assert found["seconds_from_snapshot"] > 0 and found["seconds"] > 0


def test_slopes_are_those_of_the_longest_run() -> None:
    def reading(run: int, trial: int, mb: float) -> soak.Reading:
        return {
            "run": run,
            "trial": trial,
            "seconds": 2.0,
            "parent_cpu_seconds": 0.1,
            "rss_mb": mb,
        }

    readings = [reading(0, trial, 900.0) for trial in range(1, 4)]
    readings += [reading(1, trial, 100 + 0.5 * trial) for trial in range(4, 24)]
    found = soak.summary(readings)
    assert (found["trials"], found["interruptions"]) == (20, 1)
    assert found["rss_mb"] == {
        "first_tenth": 102.25,
        "last_tenth": 111.25,
        "slope_per_100_trials": pytest.approx(50.0),
        "last_change_at_trial": 23,
    }
    assert found["seconds"]["slope_per_100_trials"] == pytest.approx(0.0)


def test_a_busy_machine_is_not_taken_for_growth() -> None:
    readings = [
        {
            "run": 0,
            "trial": trial,
            "seconds": (seconds := 2.0 + trial % 7 + trial / 50),
            "parent_cpu_seconds": 0.1 * seconds + grows * trial,
            "rss_mb": 100.0,
        }
        for grows in (0.0, 0.001)
        for trial in range(1, 51)
    ]
    for half, slope in ((readings[:50], 0.0), (readings[50:], 0.1)):
        found = soak.summary(half)
        assert found["parent_cpu_seconds"]["slope_at_equal_seconds"] == pytest.approx(slope)
        assert found["rss_mb"]["last_change_at_trial"] == 1
    assert soak.columns(readings)["trial"][:2] == [1, 2]
