"""Whole campaigns that are recorded and replayed, by the command line as typed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from project import agent, as_json, clone_small, events, git, start, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow]  # tests/agent/models asks the same model

BUDGET = ("--budget", "6000tok", "--keep", "greedy", "--proposer", "llm")
PICKY = r'''
import re, sys

prompt = sys.stdin.read()
category = re.search(r"category \*\*(\w+)\*\*", prompt)[1]
line = re.search(r"^RATE = .*$", prompt, re.MULTILINE)[0]
tried = len(re.findall(r"^trial \d+, ", prompt, re.MULTILINE))
asked = prompt.count("You replied:")
search = line if asked else "RATE = nothing like it"
new = re.sub(r"= [\d.e-]+", f"= {0.001 + tried / 500:.4f}", line)
print(f"""category: {category}
hypothesis: reply {asked + 1} of trial {tried}
<<<<<<< SEARCH
{search}
=======
{new}
>>>>>>> REPLACE""")
'''
"""A model whose first reply of each trial does not apply, and whose second does, as long as it is
told what it replied."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, local_weights: Path) -> Path:
    return clone_small(tmp_path_factory.mktemp("project"))


def kill_at(folder: Path, tag: str, event: str, count: int, command: tuple[str, ...]) -> None:
    """Run it until there are so many of an event, then kill it as nothing can prevent."""
    process = start(folder, *command)
    wait_until(lambda: sum(e["event"] == event for e in events(folder, tag)) >= count, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def trees(folder: Path, tag: str) -> dict[str, str]:
    """Hash of the tree of each trial's commit; rejected trials have none."""
    refs = git(folder, "for-each-ref", f"refs/autoresearch/{tag}/trials", "--format=%(refname)")
    return {
        ref.rpartition("/")[2]: git(folder, "rev-parse", f"{ref}^{{tree}}")
        for ref in refs.splitlines()
    }


@pytest.fixture(scope="module")
def recorded(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cassette of a campaign of three trials that was the local model's alone."""
    tape = tmp_path_factory.mktemp("tape") / "tape.jsonl"
    llm = ("--llm", f"cassette:{tape}+local")
    agent(project, "run", "--tag", "local", *BUDGET, *llm, "--trials", "3")
    return tape


def test_local_drives_a_campaign_to_its_end(project: Path, recorded: Path) -> None:
    log, status = as_json(project, "log", "--tag", "local"), as_json(project, "status")
    assert [entry["trial"] for entry in log] == list(range(4))
    assert {entry["proposer"] for entry in log[1:]} == {"llm"}
    assert status["trials"] == 3
    assert status["rejected"] <= 2
    assert status["cost_usd"] == 0
    proposed = [e for e in events(project, "local") if e["event"] == "proposed"]
    assert all(e["usage"]["input"] > 100 and e["usage"]["output"] > 10 for e in proposed)
    assert len({entry["hypothesis"] for entry in log[1:]}) >= 2
    assert len(set(trees(project, "local").values())) == len(trees(project, "local"))
    shown = agent(project, "show", "1", "--tag", "local").stdout
    assert "<<<<<<< SEARCH" in shown


def test_a_recorded_campaign_replays_to_identical_trees_though_it_is_killed(
    project: Path, recorded: Path
) -> None:
    before = recorded.read_bytes()
    replay = ("run", "--tag", "again", *BUDGET, "--llm", f"cassette:{recorded}")
    kill_at(project, "again", "proposed", 2, (*replay, "--trials", "3"))
    agent(project, *replay, "--trials", "3")
    assert len(trees(project, "again")) >= 2
    assert trees(project, "again") == trees(project, "local")
    assert recorded.read_bytes() == before
    ended = agent(project, *replay, "--trials", "4", check=False)
    assert ended.returncode == 2
    assert "ends with trial 3" in ended.stderr


def test_a_replay_that_is_killed_between_the_replies_of_a_trial_goes_on_as_recorded(
    project: Path, tmp_path: Path
) -> None:
    program, tape = tmp_path / "picky.py", tmp_path / "tape.jsonl"
    program.write_text(PICKY)
    command = f"command:'{sys.executable}' '{program}'"
    one = (*BUDGET, "--trials", "1")
    agent(project, "run", "--tag", "picky", *one, "--llm", f"cassette:{tape}+{command}")
    assert len([e for e in events(project, "picky") if e["event"] == "turned_down"]) == 1
    assert len(trees(project, "picky")) == 2

    replay = ("run", "--tag", "killed", *one, "--llm", f"cassette:{tape}")
    kill_at(project, "killed", "turned_down", 1, replay)
    assert len([e for e in events(project, "killed") if e["event"] == "candidate"]) == 1
    agent(project, *replay)
    assert trees(project, "killed") == trees(project, "picky")
    replies = [
        [e["reply"] for e in events(project, tag) if e["event"] == "proposed"]
        for tag in ("picky", "killed")
    ]
    assert replies[0] == replies[1]
    assert len(replies[0]) == 2
