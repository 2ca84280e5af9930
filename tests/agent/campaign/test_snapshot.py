"""A snapshot beside a journal: the state that it gives is the one that the whole journal gives."""

from __future__ import annotations

import inspect
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from events import Story, campaign
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.campaign import snapshot
from agent.campaign.events import CampaignBegun, read_event
from agent.campaign.journal import JournalError
from agent.campaign.lines import START, Place, Reader, write_line
from agent.campaign.records import Training, Trial
from agent.campaign.snapshot import SNAPSHOT, read_state, restore, save
from agent.campaign.state import State, fold
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.settings import Settings


def written(story: Story, path: Path) -> list[bytes]:
    """A journal as a run writes it; returns its lines."""
    lines = [write_line(read_event(event)) for event in story.events]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(lines))
    return lines


def save_after(path: Path, events: int) -> State:
    """Take a snapshot of the first events; returns their state."""
    reader, state = Reader(path), State()
    for number, event in enumerate(reader, start=1):
        fold([event], state)
        if number == events:
            save(path, state, reader.place)
            return state
    raise AssertionError("so many there are not")


def long_story() -> Story:
    """Campaigns' kinds of trial, with a repair, an audit, and replies with all kinds of letters."""
    story = campaign()
    number = story.draw("optimizer", available=["optimizer", "schedule"], categories=["optimizer"])
    story.add(
        "proposed",
        trial=number,
        proposer="llm",
        reply="half a letter \ud800, ± \u2028 \x00",
        data={"before": {"A": 1}, "after": {"A": [1, 2.0, None, True]}},
        model="m",
        usage={"input": 5, "output": None},
        cost_usd=0.1,
        prompt_tokens={"rules": 3, "focus": 1},
    )
    story.add("turned_down", trial=number, reason="no", misapplied=True)
    story.candidate(number, "first", hunks=["code:1", "number:2"])
    story.heat(number, 1.3, None, reason="crash")
    story.add("repair", trial=number, reason="it crashed")
    story.candidate(number, "second", sign="no crossing")
    story.heat(number, 1.3, 1.2999999999999998, losses=(3.0, 0.1 + 0.2, None, -0.0, 1e-320))
    audit = {"trial": number, "commit": "c", "ok": True, "status": "ok", "trainings": 2}
    story.add("audit", **audit)
    story.end(number, "revert", "so", reward=-0.1, difference=(0.1, 0.2), noise=0.3)
    story.draw("schedule")
    return story


@given(st.data())
@settings(deadline=None, max_examples=40)
def test_a_snapshot_and_the_rest_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    story = long_story()
    path = tmp_path_factory.mktemp("campaign") / "journal.jsonl"
    lines = written(story, path)
    events = data.draw(st.integers(1, len(lines)))
    half = save_after(path, events)
    found, place = restore(path)
    assert found == half and place.lines == events
    assert all(type(run.losses) is tuple for trial in found.trials for run in trial.trainings)
    assert repr(read_state(path)) == repr(fold(map(read_event, story.events)))


@pytest.mark.parametrize(
    "values",
    [[0.0, -0.0], [(1, 2.0), (1.0, 2)], [1, True, 1.0, "1"], [{"a": 1}, {"a": True}], [None, ()]],
)
def test_a_column_keeps_values_apart_that_are_equal(values: list[object]) -> None:
    stored = json.loads(json.dumps(snapshot._column(values * 3)))
    assert repr(snapshot._values(stored)) == repr(values * 3)


def test_a_champions_training_is_one_object_in_both_places(tmp_path: Path) -> None:
    """Else its further trainings would be forgotten, and memory be taken twice."""
    path = tmp_path / "journal.jsonl"
    save_after(path, len(written(long_story(), path)))
    state, _ = restore(path)
    runs = [run for runs in state.champion_runs.values() for run in runs]
    known = {id(run) for trial in state.trials for run in trial.trainings}
    assert runs and {id(run) for run in runs} <= known


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_another_version(path: Path) -> None:
    body = path.read_bytes()[9:].replace(snapshot._version().encode(), b"0" * 64)
    path.write_bytes(b"%08x\n%b" % (zlib.crc32(body), body))


def rewritten_journal(path: Path) -> None:
    """As long as it was, but for a word at its beginning."""
    story = campaign()
    story.events[0]["device"] = "gpu"
    written(story, path.with_name("journal.jsonl"))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "flipped": flipped,
    "deleted": Path.unlink,
    "of another version of the code": of_another_version,
    "of another journal": rewritten_journal,
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_snapshot_that_does_not_fit_is_not_used(how: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    save_after(path, len(written(campaign(), path)) - 1)
    assert restore(path)[1] != START
    DAMAGE[how](path.with_name(SNAPSHOT))
    assert restore(path) == (State(), START)
    assert read_state(path) == fold(Reader(path))


@pytest.mark.parametrize("kind", [State, Trial, Training, CampaignBegun, Place])
def test_other_code_of_what_is_stored_is_another_version(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, compute = inspect.getsource, snapshot._version.__wrapped__
    before = compute()
    monkeypatch.setattr(
        inspect, "getsource", lambda of: real(of) + "#" * (of.__name__ == kind.__module__)
    )
    assert compute() != before


@pytest.mark.parametrize("left", [0, 1, 500])
def test_a_journal_that_was_cut_is_told_by_its_snapshot(left: int, tmp_path: Path) -> None:
    """At the end of a line nothing else would show it."""
    path = tmp_path / "journal.jsonl"
    lines = written(campaign(), path)
    save_after(path, len(lines))
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(JournalError, match=r"journal.jsonl has .* it was cut; .*snapshot"):
        read_state(path)
    path.with_name(SNAPSHOT).unlink()
    read_state(path)


def test_a_run_takes_snapshots_and_starts_from_them(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(snapshot, "EVENTS", 5)
    made = Campaign(repo, "t")
    path = made.journal.path
    made.begin(Settings(preset="cpu", budget="20s", llm="none"), {"device": "cpu"})
    story = campaign()
    counts = []
    for event in map(read_event, story.events[1:]):
        made.record(event)  # type: ignore[arg-type]
        made._save_snapshot()
        counts.append(restore(path)[1].lines)
    state = made.state
    made.close()
    assert counts[:10] == [0, 0, 0, 5, 5, 5, 5, 5, 10, 10]
    damaged = path.read_bytes()
    again = Campaign(repo, "t")
    assert again.state == state == fold(Reader(path))
    assert again.journal.place.lines == damaged.count(b"\n")
    again.close()


def test_a_long_campaign_is_written_ever_more_seldom() -> None:
    """All of it is written each time, so that this costs a trial the same."""
    between = [snapshot.events_between(lines) for lines in (0, 5_000, 50_000, 200_000)]
    assert between == [snapshot.EVENTS, snapshot.EVENTS, 5_000, 20_000]
