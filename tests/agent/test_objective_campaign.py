"""A real campaign under an objective: it ends a training early, then takes too much memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import run_here
from project import agent, as_json, clone, git

from benchmarks.kills_campaign import TRAIN_PY, made_up_text

pytestmark = [pytest.mark.process, pytest.mark.slow]

PROGRAM = """---
budget: 4000tok
data: files:{text}
nulls: 0
llm: none
keep: greedy
objective: {objective}
---
## Categories

- **schedule**: what changes with progress
"""
LOOP = "while not session.done():"
EARLY = TRAIN_PY.replace(LOOP, "while not session.done() and session.progress() < 0.5:")
HEAD = "        self.head = nn.Linear(WIDTH, vocab_size)\n"
FAT = EARLY.replace(HEAD, f"{HEAD}        self.held = torch.ones(100_000_000)\n")


def test_time_to_a_target_then_a_bound_on_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    text, folder = tmp_path / "text.txt", clone(tmp_path / "project")
    text.write_text(made_up_text())
    (folder / "trainer/train.py").write_text(TRAIN_PY)

    def tried(source: str, objective: str) -> dict[str, object]:
        (folder / "program.md").write_text(PROGRAM.format(text=text, objective=objective))
        (tmp_path / "mine.py").write_text(source)
        done = run_here(folder, "try", str(tmp_path / "mine.py"), "--tag", "t", "--json")
        (row,) = json.loads(done.stdout.splitlines()[-1])["trials"]
        return dict(row)

    (folder / "program.md").write_text(PROGRAM.format(text=text, objective="val_bpb"))
    git(folder, "commit", "-qam", "a small file")
    early = tried(EARLY, "{target: 9, doubling: 0.5}")
    assert early["verdict"] == "keep"
    assert str(early["words"]).endswith("reaches 9 in 2,048 tokens, champion in 4,096 tokens")
    assert early["differences"] == [pytest.approx(0.5, abs=0.03)]
    replayed = json.loads(run_here(folder, "replay", str(early["commit"]), "--json").stdout)
    assert replayed["verdict"] == "bit-exact", "of a training that ended by itself"
    champion = max(run["peak_memory_mb"] for run in as_json(folder, "show", "1")["trainings"])
    fat = tried(FAT, f"{{memory_limit: {(champion + 100) / 1024:.3f} GB}}")
    assert (fat["verdict"], fat["status"]) == ("revert", "oversize"), fat["words"]
    assert "above the objective's" in str(fat["words"])
    status = as_json(folder, "status")
    assert status["objective"].keys() == {"memory_limit"} and status["kept"] == 1
    assert "by time to val_bpb 9" in agent(folder, "status").stdout
