"""A recorded campaign as ``watch --demo`` plays it, and how a record is made."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from events import campaign

from agent.campaign.events import read_event
from agent.campaign.lines import write_line
from agent.campaign.state import fold
from agent.report.display import Display
from agent.report.narrate import narrate
from agent.report.recorded import Recorded
from benchmarks.record import record


class Clock:
    """Time goes on when it is looked at, or waited for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shipped(clock: Clock) -> Iterator[Recorded]:
    with closing(Recorded(clock=clock)) as found:
        yield found


def test_the_shipped_campaign_is_played_to_its_end(shipped: Recorded, clock: Clock) -> None:
    stream = io.StringIO()
    narrate(shipped, Display(stream, now=clock), wait=clock.wait)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("note: RECORDED 20"), "it is said before anything else"
    assert "nothing is trained now" in lines[0]
    state = shipped.state
    assert len(state.finished) > 10
    assert state.counts["keep"] >= 1
    for trial in state.finished:
        assert sum(line.startswith(f"trial {trial.trial}: ") for line in lines) >= 1
    assert state.verified, "what it found was verified, or the demo would show claims alone"
    assert 90 < clock.now < 110


def test_it_ends_with_its_reader(shipped: Recorded, clock: Clock) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "w") as stream:
        narrate(shipped, Display(stream, now=clock), wait=clock.wait)
    assert clock.now < 10
    assert not shipped.is_over


def test_it_is_small_and_holds_no_more_than_views_show(shipped: Recorded) -> None:
    path = Path(__file__).parents[2] / "agent" / "report" / "night.jsonl.gz"
    assert path.stat().st_size < 100_000
    text = gzip.decompress(path.read_bytes()).decode("ascii")
    for word in ("/tmp", "/root", "/home", '"reply":"#'):
        assert word not in text
    assert (shipped.folder / "trials" / "1" / "diff.patch").read_text()
    shipped.close()
    assert not shipped.folder.exists()


def test_curves_grow_along_what_was_measured(shipped: Recorded, clock: Clock) -> None:
    seen: dict[tuple[int, int], list[int]] = {}
    stages = set()
    while not shipped.is_over and len(shipped.state.trials) < 8:
        list(shipped.news())
        live = shipped.live
        assert live is not None
        stages.add(live.stage)
        if live.heat is not None and live.trial is not None:
            counts = seen.setdefault((live.trial, live.heat), [])
            counts.append(len(live.candidate))
            assert live.both <= 1.0
        clock.wait(0.05)
    assert {"drafting", "training", "scoring", "judging", "choosing"} >= stages
    assert {"training", "scoring"} <= stages
    assert all(counts == sorted(counts) for counts in seen.values())
    assert any(max(counts) == 20 for counts in seen.values())


def test_a_record_is_the_campaign_without_its_texts(tmp_path: Path, clock: Clock) -> None:
    story = campaign()
    story.add("stop", reason="6 trials are done")
    folder = tmp_path / "night"
    (folder / "trials" / "1").mkdir(parents=True)
    (folder / "trials" / "1" / "diff.patch").write_text("+ a line\n")
    happened = [read_event(event) for event in story.events]
    (folder / "journal.jsonl").write_bytes(b"".join(map(write_line, happened)))
    made = record(folder, "of a \x1b[31mtest\nof it")
    assert made == record(folder, "of a \x1b[31mtest\nof it")
    with closing(Recorded(made, seconds=10, clock=clock)) as played:
        assert played.tag == "night"
        assert played.recorded.isprintable()
        assert "of a" in played.recorded
        assert played.pid is not None
        clock.wait(11)
        list(played.news())
        assert played.is_over
        assert played.pid is None
        assert played.live is None
        whole = fold(happened)
        for was, now in zip(whole.trials, played.state.trials, strict=True):
            assert (was.verdict, was.gain, was.words) == (now.verdict, now.gain, now.words)
            assert was.differences == now.differences
            assert now.reply == ""
        assert [p.name for p in played.folder.rglob("*.patch")] == ["diff.patch"]


def test_a_folder_without_a_trial_is_no_campaign_to_play(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no finished trial"):
        record(tmp_path, "nothing")


def test_the_lines_of_a_record_are_json(shipped: Recorded) -> None:
    path = Path(__file__).parents[2] / "agent" / "report" / "night.jsonl.gz"
    about, *rest = map(json.loads, gzip.decompress(path.read_bytes()).splitlines())
    assert about["what"]
    assert all("event" in line or "diff" in line for line in rest)
