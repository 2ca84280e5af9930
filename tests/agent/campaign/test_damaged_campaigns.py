"""A campaign whose files are damaged or gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from events import campaign

from agent.campaign.events import read_event
from agent.campaign.lines import write_line
from agent.campaign.reading import last_active, load, read_trace
from agent.campaign.records import Trial
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.steps.replay import find_trial
from trainer.errors import UserError


@pytest.mark.parametrize("left", ["refs", "trials"])
@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(bytes(9000))],
)
def test_a_journal_that_is_gone_is_told_as_such(
    damage: Callable[[Path], None], left: str, repo: Repo
) -> None:
    journals = []
    for tag in ("t", "u"):
        journals.append(repo.root / "campaigns" / tag / "journal.jsonl")
        journals[-1].parent.mkdir(parents=True)
        lines = [write_line(read_event(event)) for event in campaign().events]
        journals[-1].write_bytes(b"".join(lines))
    damage(journals[1])
    told = r"journal .*is gone or empty: restore .*u/journal.jsonl from a copy.* clean --tag u"
    if left == "trials":
        (journals[1].parent / "trials").mkdir()
        with pytest.raises(UserError, match=told):
            load(repo, "u")
    else:
        repo.git("update-ref", "refs/autoresearch/u/trials/0", "HEAD")
        with pytest.raises(UserError, match=r"there is no campaign 'u' .*; there are: t$"):
            load(repo, "u")
    with pytest.raises(UserError, match=told):
        Campaign(repo, "u")
    with pytest.raises(UserError, match=r"there are: t$"):
        load(repo, "another")
    assert last_active(repo) == "t"


@pytest.mark.parametrize(
    ("note", "found"),
    [
        ("", None),
        ("{", None),
        ("[1]", None),
        ('{"a": 1}', None),
        ('{"traces": 3}', None),
        ('{"traces": {"8": "x"}}', None),
        ('{"traces": {"7": null}}', None),
        ('{"traces": {"7": "1.5 2"}}', "1.5 2"),
    ],
)
def test_a_damaged_trace_is_looked_for_in_the_note_and_then_none(
    note: str, found: str | None, repo: Repo
) -> None:
    trial = Trial(3, commit=repo.head())
    path = repo.root / "campaigns/t/trials/3/training-7.trace"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1.5 \xff")
    if note:
        repo.add_note("t", trial.commit, note)
    assert read_trace(repo, "t", trial, 7) == found


GOOD = {
    "trial": 3,
    "verdict": "keep",
    "settings": {"budget": "20s", "preset": "cpu", "data": "apidocs", "isolation": "off"},
    "trainings": [{"trial": 3, "role": "candidate", "commit": "c", "seed": 7, "status": "ok"}],
}


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\0\ufffd",
        "{",
        "[" * 100_000,
        "[1]",
        "3",
        *[json.dumps({k: v for k, v in GOOD.items() if k != name}) for name in GOOD],
        *[json.dumps(GOOD | {name: None}) for name in GOOD if name != "verdict"],
        json.dumps(GOOD | {"settings": {"preset": "cpu"}}),
        json.dumps(GOOD | {"trainings": [{"seed": "x\ny"}]}),
    ],
)
def test_a_damaged_note_is_told_on_one_line(note: str, repo: Repo) -> None:
    newer = {"new": 1, "trainings": [GOOD["trainings"][0] | {"new": 1}]}  # type: ignore[index]
    repo.add_note("t", repo.head(), json.dumps(GOOD | newer))
    assert find_trial(repo, "HEAD")[2].trainings[0].seed == 7
    repo.add_note("t", repo.head(), note)
    with pytest.raises(UserError, match=r"the note of .* git fetch origin") as caught:
        find_trial(repo, "HEAD")
    assert "\n" not in str(caught.value)
