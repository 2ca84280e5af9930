"""A disk that fills up, or goes read-only, in the middle of a commit: one line, nothing lost.

The file system is real and small, mounted for the processes of one test only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = "run --tag t --budget 600tok --llm none --trials 0 --isolation off"
BREAK = {"full": 'cat /dev/zero > "$DISK/filler"', "read-only": "mount -o remount,bind,ro .git"}
MEND = {"full": 'rm "$DISK/filler"', "read-only": "mount -o remount,bind,rw .git"}
ADVICE = {
    "": "nothing is lost",
    "full": "; free some space, then run again: nothing is lost",
    "read-only": "; make it writable, then run again: nothing is lost",
}
JUDGED = 'grep -q \'"event":"verdict"\' "$DISK/project/campaigns/t/journal.jsonl" &&'
MOMENTS = (
    ("full", '*" unpack-objects "*', "", 2),
    ("read-only", '*" unpack-objects "*', "", 2),
    ("read-only", '*" update-ref "*', "", 2),  # goes on until the verdict's commit
    ("read-only", '*" unpack-objects "*', JUDGED, 0),  # of its note
)
"""What happens in one run after the other, when git is called with these arguments and if this is
so; exit code."""
START = """
set -u
mount -t tmpfs -o size=40m tmpfs "$DISK" && cp -r "$PROJECT" "$DISK/project" || exit 77
cd "$DISK/project" && mount --bind .git .git || exit 78
"""
TRY = """
python -P -m agent $RUN > "$OUT/said-{n}" 2>&1
echo $? > "$OUT/code-{n}"
{mend}
"""
LOOK = """
cp "$DISK/project/campaigns/t/journal.jsonl" "$OUT"
git status --porcelain > "$OUT/status"
git rev-parse autoresearch/t > "$OUT/tip"
git fsck --strict
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_disk_that_fails_in_the_middle_of_a_commit(tmp_path: Path) -> None:
    private = ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*private, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system allows no mounts of one's own")
    folders = {name: tmp_path / name.lower() for name in ("DISK", "BIN", "OUT", "PROJECT")}
    for folder in folders.values():
        folder.mkdir()
    _project(folders["PROJECT"])
    fails_once = "".join(
        f'case "$*" in {arguments}) {condition}'
        f'test -e "$OUT/code-{n - 1}" -a ! -e "$OUT/code-{n}" &&\n'
        f"{BREAK[fault]} 2> /dev/null;; esac\n"
        for n, (fault, arguments, condition, _) in enumerate(MOMENTS, start=1)
    )
    (folders["BIN"] / "git").write_text(
        f'#!/bin/sh\n{fails_once}exec "{shutil.which("git")}" "$@"\n'
    )
    (folders["BIN"] / "git").chmod(0o755)
    (folders["OUT"] / "code-0").write_text("")
    variables = {name: str(folder) for name, folder in folders.items()}
    path = f"{folders['BIN']}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables |= {"RUN": RUN, "PYTHONPATH": str(ROOT), "PATH": path}
    mends = [MEND[fault] for fault, *_ in MOMENTS] + [":"]
    tries = "".join(TRY.format(n=n, mend=mend) for n, mend in enumerate(mends, start=1))
    done = subprocess.run(
        [*private, "sh", "-c", START + tries + LOOK],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    out = {path.name: path.read_text() for path in folders["OUT"].iterdir()}
    assert done.returncode == 0, (done.stderr, out)
    for n, (fault, *_, code) in enumerate((*MOMENTS, ("", "", "", 0)), start=1):
        said = out[f"said-{n}"]
        assert out[f"code-{n}"] == f"{code}\n", (n, said)
        assert "Traceback" not in said
        assert [ADVICE[fault] in line for line in said.splitlines()].count(True) == bool(fault)
    happened = [json.loads(line) for line in out["journal.jsonl"].splitlines()]
    verdicts = [event for event in happened if event["event"] == "verdict"]
    assert [event["verdict"] for event in verdicts] == ["keep"]
    assert out["tip"].strip() == verdicts[0]["commit"]
    assert out["status"] == ""


def _project(folder: Path) -> None:
    (folder / "trainer").mkdir()
    shutil.copy(ROOT / "tests/tiny_train.py", folder / "trainer/train.py")
    shutil.copy(ROOT / "program.md", folder)
    (folder / ".gitignore").write_text("campaigns/\n")
    who = ("-c", "user.name=A User", "-c", "user.email=user@example.org")
    for args in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        subprocess.run(["git", *who, *args], cwd=folder, check=True)
