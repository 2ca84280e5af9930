"""Keys of the environment that servers and programs show: nowhere in what a campaign leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Done
from model_server import Answer, Failure, Server
from project import agent, clone, git
from replies import block

pytestmark = pytest.mark.process

KEYS = {
    "AUTORESEARCH_API_KEY": "sk-planted-0123456789abcdef",
    "OPENAI_API_KEY": "Q7hf3.planted.0002",
    "MY_DATABASE_PASSWORD": "plain words planted 3",
    "GITHUB_TOKEN": "ghp_planted0004",
}
SAID = " and ".join(KEYS.values())
PROGRAM = f"""\
# Research

Lower val_bpb. My key is {KEYS["GITHUB_TOKEN"]}.

## Categories

- **schedule**: anything
"""
EDIT = f"""\
title: fewer rows, {KEYS["GITHUB_TOKEN"]}
category: schedule
hypothesis: fewer rows make more steps, as {SAID} says
{block("ROWS = 8" + chr(10), f"ROWS = 4  # {SAID}" + chr(10))}"""
SHOWS = """
import os, sys
from pathlib import Path
seen = Path(__file__).with_suffix(".seen")
count = len(seen.read_text()) if seen.exists() else 0
seen.write_text("x" * (count + 1))
keys = " and ".join(os.environ[name] for name in {names!r})
assert keys == {said!r}
assert not any(key in sys.stdin.read() for key in keys.split(" and "))
print(keys, file=sys.stderr)
if count == 0:
    print("API Error: Rate limit reached for", keys, "try again in 1s")
elif count == 1:
    sys.exit(f"overloaded: {{keys}}, try again in 1s")
elif count == 2:
    print("I was given", keys)
elif count == 3:
    print({edit!r})
else:
    print("Invalid API key", keys)
"""


def run(folder: Path, *args: str) -> Done:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "run", "--tag", "t", "-v", "--sequential", *args],
        cwd=folder, env={**os.environ, **KEYS}, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def left(folder: Path) -> dict[str, bytes]:
    """All that the campaign wrote, in files and in git, and what is told of it."""
    files = {str(p): p.read_bytes() for p in (folder / "campaigns").rglob("*") if p.is_file()}
    objects = ["git", "cat-file", "--batch-all-objects", "--batch"]
    told = [agent(folder, *asked) for asked in (["status"], ["log"], ["show", "1"], ["report"])]
    return {
        **files,
        "git": subprocess.run(objects, cwd=folder, capture_output=True, check=True).stdout,
        "refs": git(folder, "for-each-ref").encode(),
        "told": "".join(done.stdout + done.stderr for done in told).encode(),
    }


@pytest.mark.parametrize("kind", [pytest.param("command", marks=pytest.mark.slow), "server"])
def test_planted_keys_are_nowhere(tmp_path: Path, kind: str) -> None:
    folder = clone(tmp_path / "project")
    tiny = (Path(__file__).parents[1] / "tiny_train.py").read_text()
    (folder / "trainer/train.py").write_text(tiny)
    git(folder, "commit", "-qam", "a small train.py")
    (folder / "program.md").write_text(PROGRAM)  # not committed, and read all the same
    program = tmp_path / "shows.py"
    program.write_text(SHOWS.format(names=[*KEYS], said=SAID, edit=EDIT))
    script = [
        *[Failure(529, f"overloaded: {SAID}")] * 5,
        Answer(stop="refusal", why=SAID),
        Answer(EDIT, model=KEYS["GITHUB_TOKEN"]),
        Failure(401, f"Incorrect API key provided: {SAID}", "authentication_error"),
    ]
    with Server(*script) as server:
        spec = {"command": f"command:'{sys.executable}' '{program}'"}.get(
            kind, f"openai:m@{server.url}"
        )
        one = ("--llm", spec, "--proposer", "llm", "--budget", "20000tok", "--keep", "greedy")
        done = run(folder, *one, "--trials", "2")
        sent = str([(post.headers, post.body) for post in server.posts])
    assert done.returncode == 2, "the key is revoked before the second trial"
    assert "key" in done.stderr.splitlines()[-1]
    found = left(folder) | {"out": repr(done).encode()}
    (journal,) = [content for name, content in found.items() if name.endswith("journal.jsonl")]
    assert b"fewer rows make more steps, as [key] and [key]" in journal, "they were really shown"
    assert b"ROWS = 4  # [key]" in found["git"]
    assert any(name.endswith("report.html") for name in found)
    for key in KEYS.values():
        assert [name for name, content in found.items() if key.encode() in content] == []
        assert key not in sent or key == KEYS["AUTORESEARCH_API_KEY"], "the prompt has none"
