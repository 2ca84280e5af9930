"""What a campaign leaves on the disk."""

from __future__ import annotations

import json
import logging
from contextlib import closing
from pathlib import Path

import pytest
from events import Story, campaign

from agent.campaign import disk
from agent.campaign.disk import Disk
from agent.campaign.events import read_event
from agent.campaign.lines import write_line
from agent.campaign.reading import read_curve
from agent.campaign.records import Training
from agent.campaign.store import Campaign
from agent.git.repo import Repo

NAMES = ("prompt.md", "reply.md", "diff.patch", "training-1.log", "training-1.curve.json")


def a_kept_and_two_lost() -> Story:
    story = Story()
    story.baseline()
    story.trial("schedule", "x", [(1.3, 1.2)], verdict="keep", gain=0.1)
    story.trial("schedule", "y", [(1.3, 1.31)])
    story.trial("schedule", "z", [(1.3, 1.31)])
    return story


def fill(folder: Path, trials: int, size: int) -> None:
    for trial in range(trials):
        (folder / "trials" / str(trial)).mkdir(parents=True)
        for name in NAMES:
            (folder / "trials" / str(trial) / name).write_bytes(bytes(size))


def left(folder: Path, trial: int) -> set[str]:
    return {path.name for path in (folder / "trials" / str(trial)).iterdir()}


def test_the_oldest_that_were_not_kept_lose_their_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    state = a_kept_and_two_lost().state
    fill(tmp_path, 4, size=1000)
    monkeypatch.setattr(disk, "MOST_BYTES", 4 * len(NAMES) * 1000)
    Disk(tmp_path, state).after(state.trials[3], state)
    assert caplog.messages == []
    monkeypatch.setattr(disk, "MOST_BYTES", 19_000)
    Disk(tmp_path, state).after(state.trials[3], state)
    assert caplog.messages == ["trial 2 keeps only reply and diff: the disk is limited"]
    assert left(tmp_path, 2) == {"reply.md", "diff.patch"}
    assert all(left(tmp_path, trial) == {*NAMES} for trial in (0, 1, 3))


def test_kept_trials_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    story.baseline()
    fill(tmp_path, 1, size=1000)
    monkeypatch.setattr(disk, "MOST_BYTES", 10)
    Disk(tmp_path, story.state).after(story.state.trials[0], story.state)
    assert left(tmp_path, 0) == {*NAMES}


def test_a_new_start_removes_what_kills_left(repo: Repo) -> None:
    """Weights after the verdict, and files that were being written; of an open trial all stays."""
    folder = repo.root / "campaigns" / "t"
    story = campaign()
    story.candidate(story.draw("optimizer"), "still open")
    folder.mkdir(parents=True)
    lines = [write_line(read_event(event)) for event in story.events]
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    last, under_way = len(story.state.trials) - 2, len(story.state.trials) - 1
    for trial in (2, last, under_way):
        (folder / "trials" / str(trial)).mkdir(parents=True)
        (folder / "trials" / str(trial) / "training-7.safetensors").write_bytes(b"weights")
        (folder / "trials" / str(trial) / ".x.curve.json.12.tmp").write_bytes(b"half")
    (folder / ".results.tsv.12.tmp").write_bytes(b"half")
    with closing(Campaign(repo, "t")) as made:
        assert not list(folder.glob(".*.tmp"))
        assert left(folder, last) == set()
        assert len(left(folder, under_way)) == 2, "its audit may need them"
        made._disk.after(made.state.trials[last], made.state)
        assert left(folder, 2) == set(), "those of earlier kills, at the first verdict"


@pytest.mark.parametrize(
    "content", [b"", b"[[0.1, 1, 2.5], [0.2, 2,", b"\0" * 64, b"\xff\xfe", b'{"a": 1}', b"[[1]]"]
)
def test_a_curve_that_is_not_whole_is_none(content: bytes, tmp_path: Path) -> None:
    training = Training(3, "candidate", "c", 7, "ok")
    path = tmp_path / "trials" / "3" / "training-7.curve.json"
    path.parent.mkdir(parents=True)
    assert read_curve(tmp_path, training) == []
    path.write_bytes(content)
    assert read_curve(tmp_path, training) == []
    path.write_text(json.dumps([(0.1, 1, 2.5), (0.2, 2, float("nan"))]))
    assert [tuple(point[:2]) for point in read_curve(tmp_path, training)] == [(0.1, 1), (0.2, 2)]
