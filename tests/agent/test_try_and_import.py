"""``try`` and ``import`` as typed: a real campaign, to which people and others hand their edits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from project import agent, as_json, clone, events, git, start, wait_until
from test_run import training_of

from benchmarks.kills_campaign import TRAIN_PY, made_up_text

pytestmark = pytest.mark.process

SET_OFF = TRAIN_PY.replace("RATE = 0.003", "RATE = 0.002")
REAL = ("RATE = 0.002", "RATE = 0.004")
NOTHING = ("LAST_STEP = 1000000", "LAST_STEP = 2000000")
UNUSED = ("\n\nclass Small", "\nUNUSED = 1\n\n\nclass Small")
PROGRAM = """---
budget: 8000tok
data: files:{text}
nulls: 0
llm: none
---
## Categories

- **architecture**: what the model computes
- **hyperparameters**: learning rates
"""


def their_repository(root: Path) -> Path:
    """Three claims in the ancestor's form, of which the second is real; returns their table."""
    root.mkdir()
    git(root, "init", "-q", "-b", "master")
    rows, text = [], SET_OFF
    for number, (old, new) in enumerate([("", ""), NOTHING, REAL, UNUSED]):
        text = text.replace(old, new) if old else text
        (root / "train.py").write_text(text)
        git(root, "add", "-A")
        git(root, "commit", "-qm", f"idea {number}")
        title = f"idea {number}" if number else "baseline"
        score = f"{1.2 - number / 100:.6f}"
        rows.append(
            "\t".join((git(root, "rev-parse", "--short", "HEAD"), score, "1.0", "keep", title))
        )
    table = root / "results.tsv"
    table.write_text("\n".join(["commit\tval_bpb\tmemory_gb\tstatus\tdescription", *rows, ""]))
    return table


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project without a campaign."""
    folder = clone(tmp_path_factory.mktemp("project"))
    (folder / "trainer/train.py").write_text(SET_OFF)
    text = tmp_path_factory.mktemp("data") / "text.txt"
    text.write_text(made_up_text())  # a small one is scored quickly
    (folder / "program.md").write_text(PROGRAM.format(text=text))
    git(folder, "commit", "-qam", "a small file, with a constant set off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTORESEARCH_CACHE", str(text.parent / "cache"))
        yield folder


@pytest.fixture(scope="module")
def imported(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], str]:
    """The project after an import; what that printed."""
    table = their_repository(tmp_path_factory.mktemp("theirs") / "repo")
    done = agent(project, "import", str(table), "--tag", "t", "--json")
    return project, json.loads(done.stdout), str(table)


@pytest.mark.slow
def test_of_three_claims_exactly_the_real_one_is_kept(
    imported: tuple[Path, dict[str, Any], str],
) -> None:
    folder, found, table = imported
    assert len(found["skipped"]) == 1 and "baseline" in found["skipped"][0]
    assert found["unread"] == [] and found["running"] is None
    trials = found["trials"]
    assert [row["title"] for row in trials] == ["idea 1", "idea 2", "idea 3"]
    assert [row["verdict"] for row in trials] == ["revert", "keep", "revert"]
    assert [row["claimed"] for row in trials] == [0.01, 0.01, 0.01]
    assert [row["category"] for row in trials] == ["hyperparameters"] * 2 + ["schedule"]
    assert {row["proposer"] for row in trials} == {"import"}
    assert trials[0]["words"].startswith("claimed +0.0100, here ") and trials[1]["gain"] > 0.01
    assert as_json(folder, "log")[1:] == trials
    shown = git(folder, "show", "autoresearch/t", "--", "trainer/train.py")
    assert "+RATE = 0.004 " in shown and "VOCAB_SIZE" not in shown
    theirs = git(Path(table).parent, "rev-parse", "HEAD~1")
    assert f"Imported: {theirs}" in git(folder, "show", "-s", "autoresearch/t")
    assert "claimed +0.0100, here kept" in agent(folder, "report", "--markdown").stdout
    again = as_json(folder, "import", table)
    assert again["trials"] == [] and "it was trial 2" in " ".join(again["skipped"])


PROBLEMS = {
    "missing.py": (None, "there is no such file"),
    "latin.py": (b"# caf\xe9\n", "line 1 is not UTF-8"),
    "syntax.py": (TRAIN_PY.replace("class Small(", "class Small((").encode(), "train.py line"),
    "nothing.py": (TRAIN_PY.replace("def train(", "def trains(").encode(), "no function train"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_no_train_py_is_one_line_and_no_trial(tmp_path: Path, name: str) -> None:
    folder = clone(tmp_path / "project")
    content, reason = PROBLEMS[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = agent(folder, "try", str(tmp_path / name), check=False)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and name in line and reason in line
    assert not (folder / "campaigns").exists()


@pytest.mark.slow  # test_try_beside_a_run_is_its_next_trial shows most of it
def test_try_alone_runs_that_trial_and_no_other(
    imported: tuple[Path, dict[str, Any], str], tmp_path: Path
) -> None:
    folder, _, _ = imported
    count = len(as_json(folder, "log"))
    mine = tmp_path / "mine.py"
    mine.write_bytes(
        b"\xef\xbb\xbf" + SET_OFF.replace("= 0.3", "= 0.5").replace("\n", "\r\n").encode()
    )
    done = agent(folder, "try", str(mine), "--hypothesis", "A higher floor.")
    assert f"{count:>3}" in done.stdout and "made from" in done.stdout
    entry = as_json(folder, "log")[-1]
    assert (entry["trial"], entry["title"], entry["proposer"]) == (
        count,
        "A higher floor.",
        "person",
    )
    assert entry["verdict"] in ("keep", "revert")
    shown = git(folder, "diff", "-U0", entry["parent"], entry["commit"]).splitlines()[-2:]
    assert [line.partition("  #")[0] for line in shown] == ["-FLOOR = 0.3", "+FLOOR = 0.5"], (
        "the kept rate is still there, and no CR"
    )
    again = agent(folder, "try", str(mine), "--json", check=False)
    assert again.returncode == 1 and len(again.stdout.splitlines()) == 1
    (row,) = json.loads(again.stdout)["trials"]
    assert row["verdict"] == "rejected" and ("tried" in row["words"] or "nothing" in row["words"])
    log = events(folder)
    assert [e["trial"] for e in log if e["event"] == "trial"] == [*range(count + 2)]
    assert log[-1]["event"] == "stop" and not list((folder / "campaigns/t/submissions").iterdir())


def begun(folder: Path) -> list[dict[str, Any]]:
    return [event for event in events(folder) if event["event"] == "trial"]


def test_try_beside_a_run_is_its_next_trial(project: Path, tmp_path: Path) -> None:
    folder = project
    number = len(as_json(folder, "log")) if (folder / "campaigns").exists() else 1
    mine = tmp_path / "mine.py"
    mine.write_text(SET_OFF.replace("= 1000000", "= 3000000"))
    process = start(folder, "run", "--tag", "t")
    wait_until(lambda: training_of(folder, number), process)
    found = as_json(folder, "try", str(mine))
    assert (found["running"], found["trials"]) == (process.pid, [])
    seen = len(begun(folder))
    wait_until(lambda: any(trial["submitted"] for trial in begun(folder)[number:]), process)
    agent(folder, "stop")
    process.communicate()
    (trial,) = [trial for trial in begun(folder)[number:] if trial["submitted"]]
    assert trial["submitted"]["title"] == "mine.py" and trial["category"] == "hyperparameters"
    assert trial["trial"] <= seen, "no other was begun before it"
