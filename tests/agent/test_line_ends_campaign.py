"""A real campaign on a train.py from another system: CRLF, a byte order mark, one line of its own.

The repository says that checkouts have CRLF, too, so that git has every reason to convert.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from project import TRAIN_PY, agent, as_json, clone, events, git, run_there, start, wait_until

pytestmark = pytest.mark.process

START = (
    "\ufeff"
    + TRAIN_PY.replace("RATE = 0.03 ", "RATE = 0.002 ")
    .replace("\n", "\r\n")
    .replace(
        "STD = 0.02  # of the embedding; range 0.001..1 log\r\n",
        "STD = 0.02  # ±; range 0.001..1 log\n",
    )
).encode()
REPLY = """title: a rate → 15 times as high
category: hyperparameters
hypothesis: nothing is learnt at the old one
<<<<<<< SEARCH
RATE = 0.002  # peak learning rate; range 0.0001..0.1 log
=======
RATE = 0.03  # peak learning rate; range 0.0001..0.1 log
MORE = 0  # a line of its own
>>>>>>> REPLACE
"""
PROGRAM = "---\nnulls: 0\n---\n## Categories\n\n- **hyperparameters**: numbers\n"


def blob(folder: Path, rev: str) -> bytes:
    shown = ["git", "cat-file", "blob", f"{rev}:trainer/train.py"]
    return subprocess.run(shown, cwd=folder, capture_output=True, check=True).stdout


def changed(old: bytes, new: bytes) -> list[bytes]:
    before, after = (text.decode("latin-1").splitlines(keepends=True) for text in (old, new))
    lines = difflib.ndiff(before, after)
    return [line.encode("latin-1") for line in lines if line[:2] in ("+ ", "- ")]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = clone(tmp_path_factory.mktemp("project"))
    (folder / "trainer/train.py").write_bytes(START)
    (folder / "program.md").write_text(PROGRAM)
    (folder / "reply.md").write_text(REPLY)
    git(folder, "commit", "-qam", "from another system")
    (folder / ".gitattributes").write_text("* text=auto\n")
    git(folder, "add", ".gitattributes")
    git(folder, "commit", "-qm", "a rule for other files")
    git(folder, "config", "core.autocrlf", "true")
    model = f"command:cat {folder / 'reply.md'}"
    common = ("run", "--tag", "t", "--budget", "6000tok", "--keep", "greedy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONIOENCODING", "ascii")
        first = run_there(folder, *common, "--proposer", "llm", "--llm", model, "--trials", "1")
        again = run_there(folder, *common, "--proposer", "tuner", "--llm", "none", "--trials", "2")
    assert "a rate -> 15 times as high" in first.stdout and " +- 0.0" in again.stdout
    assert "edits of yours" not in again.stdout
    return folder


@pytest.mark.slow  # tests/agent/edits/test_line_ends.py has the cases
def test_git_shows_the_edited_lines_and_no_other_byte_changes(campaign: Path) -> None:
    baseline, edited, tuned = (blob(campaign, f"refs/autoresearch/t/trials/{n}") for n in range(3))
    assert blob(campaign, "main") == START
    for old, new in ((START, baseline), (baseline, edited), (edited, tuned)):
        lines = changed(old, new)
        assert lines and all(line.endswith(b"\r\n") or b"STD" in line for line in lines)
    assert baseline.startswith(b"\xef\xbb\xbf") and b"VOCAB_SIZE = 2048\r\n" in baseline
    assert [line[:8] for line in changed(baseline, edited)] == [
        b"- RATE =",
        b"+ RATE =",
        b"+ MORE =",
    ]
    assert len(changed(edited, tuned)) in (2, 4, 6, 8), "the tuner's numbers"
    trial = as_json(campaign, "log")[1]
    assert (trial["verdict"], trial["lines_added"], trial["lines_removed"]) == ("keep", 2, 1)
    assert as_json(campaign, "log")[2]["verdict"] in ("keep", "revert")
    worktree = campaign / "campaigns/t/worktree"
    assert "MORE" in (worktree / "trainer/train.py").read_text(encoding="utf-8-sig")


@pytest.mark.slow  # tests/agent/edits/test_line_ends.py has the cases
def test_it_replays_and_shows_and_comes_as_a_patch(campaign: Path, tmp_path: Path) -> None:
    assert as_json(campaign, "replay", "refs/autoresearch/t/trials/1")["verdict"] == "bit-exact"
    shown = agent(campaign, "show", "1").stdout
    assert "+MORE = 0  # a line of its own\n" in shown and "\ufffd" not in shown
    sent = subprocess.run(
        [sys.executable, "-m", "agent", "adopt", "refs/autoresearch/t/trials/1", "--patch"],
        cwd=campaign, capture_output=True, check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert b"git am --keep-cr" in sent.stderr
    other = tmp_path / "other"
    git(campaign, "clone", "-q", "--no-hardlinks", ".", str(other))
    (other / "kept.patch").write_bytes(sent.stdout)
    git(other, "am", "-q", "--keep-cr", "kept.patch")
    assert blob(other, "HEAD") == blob(campaign, "refs/autoresearch/t/trials/1")


@pytest.mark.slow  # tests/agent/edits/test_line_ends.py has the cases
def test_it_is_harvested_after_a_kill_between_heats(campaign: Path) -> None:
    def heats() -> list[list[dict[str, Any]]]:
        found = [e["found"] for e in events(campaign) if e["event"] == "harvested"]
        return [one["pairs"] for one in found if "pairs" in one]

    process = start(campaign, "harvest", "--seeds", "2")
    wait_until(lambda: len(heats()) == 1, process)
    process.kill()
    process.communicate()

    done = run_here(campaign, "harvest", "--seeds", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    measured = [(one["seed"], one["first"], one["second"]) for pairs in heats() for one in pairs]
    assert len(set(measured)) == len(measured), "none is done twice"
    assert {seed for seed, *_ in measured} == set(found["seeds"])
    rate = found["keeps"][0]
    assert rate["title"] == "a rate → 15 times as high" and rate["alone"]["mean"] > 0.01
    for keep in filter(lambda keep: keep["branch"], found["keeps"]):  # two seeds may be too few
        lines = changed(START, blob(campaign, keep["branch"]))
        assert lines and all(line.endswith(b"\r\n") or b"STD" in line for line in lines)
    assert not [e for e in events(campaign) if e["event"] == "opened"]


@pytest.mark.slow
def test_a_file_of_any_form_is_measured(tmp_path: Path) -> None:
    same = []
    for name, source in (("own.py", START), ("plain.py", START[3:].replace(b"\r\n", b"\n"))):
        (tmp_path / name).write_bytes(source)
        found = as_trainer(tmp_path, "--file", name, "--budget", "6000tok", "--preset", "cpu")
        same.append(found["weights_sha256"])
    assert same[0] == same[1]


def as_trainer(folder: Path, *args: str) -> dict[str, str]:
    command = [sys.executable, "-m", "trainer", *args, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
