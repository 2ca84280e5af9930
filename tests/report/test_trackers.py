"""``--track``: written for real, offline, and read back; what fails does not reach the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from events import PRIOR, campaign
from sites import repository

from agent.campaign.state import State
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.report import trackers
from agent.report.trackers import points, refuse_missing, track, tracked
from agent.settings import SettingsError

pytestmark = pytest.mark.process

SECRET = "planted-0123456789"


def drawn() -> State:
    """The usual campaign, with categories that were drawn."""
    story = campaign()
    for event in story.events:
        if event["event"] == "trial" and event["category"] in PRIOR:
            event["categories"] = event["available"] = tuple(PRIOR)
    return story.state


def steps(count: int) -> Callable[[], bool]:
    """As many trials as that finish, then the run is over."""
    return iter([*[True] * count, False]).__next__


def test_each_trial_has_its_gain_the_champions_score_and_the_prior() -> None:
    found = {point.number: point.values for point in points(drawn())}
    assert list(found) == [0, 1, 2, 3, 4, 5, 6]
    assert found[1]["trial/gain"] == 0.013 and "trial/gain" not in found[2]
    assert found[6]["trial/gain"] == -0.06
    scores = [values["champion/val_bpb"] for values in found.values()]
    assert scores == pytest.approx([1.30075] + 6 * [1.28775])
    assert sum(v for k, v in found[4].items() if k.startswith("prior/")) == pytest.approx(1.0)
    assert {f"prior/{name}" for name in PRIOR} <= set(found[1])


def test_points_go_by_verdicts_where_trials_ran_side_by_side() -> None:
    state = drawn()
    state.ended = [0, 3, 1, 2, *state.ended[4:]]
    found = list(points(state))
    assert [point.number for point in found] == list(range(len(found)))
    assert found[2].values["trial/gain"] == 0.013, "trial 1, which ended third"


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    state = drawn()
    for _ in range(2):  # a run that was resumed writes all of it anew
        track("tensorboard", tmp_path, lambda: state, steps(2))
        read = EventAccumulator(str(tmp_path / "tensorboard"))
        read.Reload()
        gains = [(one.step, one.value) for one in read.Scalars("trial/gain")]
        assert gains == [
            (p.number, pytest.approx(p.values["trial/gain"]))
            for p in points(state)
            if "trial/gain" in p.values
        ]
        assert [one.step for one in read.Scalars("champion/val_bpb")] == list(range(7))
        assert "prior/schedule" in read.Tags()["scalars"]


def test_wandb_has_it_offline_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    monkeypatch.setattr(sys, "argv", ["agent", "run", "--llm", f"command:x --key {SECRET}"])
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    state = drawn()
    track("wandb", tmp_path, lambda: state, steps(1))
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    rows = list[dict[str, Any]]()
    for record in _records(path.read_bytes(), wandb_internal_pb2.Record):
        if items := record.history.item:
            keys = ["".join(item.nested_key) or item.key for item in items]
            rows.append(dict(zip(keys, (json.loads(i.value_json) for i in items), strict=True)))
    assert [row["_step"] for row in rows] == list(range(7))
    assert rows[1]["trial/gain"] == pytest.approx(0.013)
    assert rows[6]["champion/val_bpb"] == pytest.approx(1.28775)
    assert sum(v for k, v in rows[4].items() if k.startswith("prior/")) == pytest.approx(1.0)
    for file in (one for one in tmp_path.rglob("*") if one.is_file()):
        content = file.read_bytes()
        assert SECRET.encode() not in content
        assert b"longer warm-down" not in content, "no text of a model"


def _records(content: bytes, kind: type[Any]) -> list[Any]:
    """The records of a file of wandb's that is smaller than one block: LevelDB's log format."""
    found, at = [], 7
    while at + 7 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 6], "little")
        found.append(kind.FromString(content[at + 7 : at + 7 + size]))
        at += 7 + size
    return found


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes its time; no test is about how long that is."""
    monkeypatch.setattr(trackers, "END_SECONDS", 250.0)


@pytest.fixture
def place(tmp_path: Path) -> Campaign:
    """A campaign that nothing writes, as much of it as is needed to track it."""
    repo = Repo.open(repository(tmp_path, t=campaign()))
    folder = tmp_path / "campaigns" / "t"
    return cast(Campaign, SimpleNamespace(repo=repo, tag="t", folder=folder))


@pytest.mark.usefixtures("patient")
def test_a_process_of_its_own_writes_while_the_run_goes_on(place: Campaign) -> None:
    pytest.importorskip("tensorboard")
    told = list[str]()
    with tracked("tensorboard", place, told.append) as after_trial:
        after_trial()
    assert told == []
    assert len(list(place.folder.glob("tensorboard/events.out.tfevents.*"))) == 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "code",
    ["raise RuntimeError('no network')", "import os; os._exit(3)"],
)
def test_a_tracker_that_fails_is_told_once_and_ends_nothing(
    code: str, place: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/wandb.py").write_text(code)
    paths = [str(tmp_path / "broken"), *sys.path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    told, ran = list[str](), False
    with tracked("wandb", place, told.append) as after_trial:
        after_trial()
        ran = True
    assert ran and len(told) == 1
    assert told[0].startswith("--track wandb did not work (exit status ")
    assert ("no network" in told[0]) == ("network" in code)


def test_one_that_hangs_is_ended(
    place: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/wandb.py").write_text("import signal; signal.pause()")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "broken"), *sys.path]))
    monkeypatch.setattr(trackers, "END_SECONDS", 0.01)
    told = list[str]()
    with tracked("wandb", place, told.append) as after_trial:
        after_trial()
    assert len(told) == 1 and "to end" in told[0]


def test_it_is_refused_before_a_run_if_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_missing("none")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refuse_missing("none")
    with pytest.raises(SettingsError, match=r"--track wandb: it is not installed: pip .*\[track\]"):
        refuse_missing("wandb")


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    code = "import sys, agent.cli; print([m for m in ('wandb', 'tensorboard') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
