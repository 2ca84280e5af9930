"""What a model's program is given of the user's environment, and that no secret of it is kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from project import clone_small, events, run_there

pytestmark = pytest.mark.process

SECRET = "correct-horse-battery"


@pytest.mark.slow
def test_a_program_gets_gits_variables_and_their_secrets_are_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for those of another repository than its folder. The campaign's own git is given none."""
    folder = tmp_path / "project"
    folder.mkdir()
    clone_small(folder)
    seen, program = tmp_path / "seen.json", tmp_path / "program.py"
    program.write_text(
        f"import json, os, pathlib\n"
        f"pathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ)))\n"
        "print('category: optimizer\\nhypothesis: of no use,', os.environ['GIT_TOKEN'])\n"
    )
    given = {"GIT_TOKEN": SECRET, "GIT_SSH_COMMAND": "ssh -i key", "GIT_DIR": "/nowhere"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    done = run_there(  # a process keeps what it was given
        folder, "run", "--tag", "t", "--budget", "6000tok", "--trials", "1", "--proposer", "llm",
        "--llm", f"command:'{sys.executable}' '{program}' {SECRET}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    del given["GIT_DIR"]
    found = json.loads(seen.read_text())
    assert given.items() <= found.items() and "GIT_DIR" not in found
    assert [e["verdict"] for e in events(folder) if e["event"] == "verdict"] == ["keep", "rejected"]
    kept = [path.read_text() for path in (folder / "campaigns/t").rglob("*.*") if path.is_file()
            and path.suffix in (".md", ".jsonl", ".html", ".log", ".tsv")]  # fmt: skip
    assert len(kept) > 5 and not any(SECRET in text for text in kept)
    assert SECRET not in done.stdout + done.stderr
