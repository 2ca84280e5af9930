"""A disk that is full or read-only: a real small file system, in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from project import RUN, as_json, clone_without_model, git

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("small_disk.py")
NAMESPACE = ("unshare", "--map-root-user", "--mount")


def with_disk(folder: Path, size: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder whose ``campaigns/`` is an empty disk of ``size``."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody mount a file system of his own")
    (folder / "campaigns").mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o size={size} none campaigns && exec "$@"'
    return subprocess.run(
        [*NAMESPACE, "sh", "-c", mount, "sh", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("journal_line", "journal.jsonl could not be written: No space left on device; free space"),
        ("trial_file", "trials/1/reply.md could not be written: No space left on device; free"),
        (
            "weights_file",
            "campaigns/training-1.safetensors could not be written: No space left on device; free",
        ),
        ("snapshot_file", "snapshot could not be written: No space left on device; free"),
        ("read_only", "journal.jsonl could not be opened for writing: Read-only file system; free"),
    ],
)
def test_it_is_one_line_and_nothing_is_lost(what: str, told: str, tmp_path: Path) -> None:
    folder = clone_without_model(tmp_path)
    done = with_disk(folder, "512k", sys.executable, str(SCRIPT), what)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert told in line


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_in_order_and_goes_on_when_there_is_space(tmp_path: Path) -> None:
    """It is filled by the campaign itself, in the middle of its baseline."""
    folder = clone_without_model(tmp_path)
    own = (ROOT / "tests" / "tiny_train.py").read_text()
    (folder / "trainer" / "train.py").write_text(own)
    git(folder, "commit", "-qam", "a small file")
    run = f"{sys.executable} -m agent {' '.join(RUN)} --trials 0"
    script = f"""
    {run}; echo "code $?"
    tail -c 1 campaigns/t/journal.jsonl | od -An -c
    mount -o remount,size=64m campaigns
    {run}; echo "code $?"
    cp -r campaigns saved
    """
    done = with_disk(folder, "48k", "sh", "-c", script)
    first, _, second = done.stdout.partition("code 2\n")
    assert "code 0\n" in second, done.stdout + done.stderr
    assert second.split()[0] == "\\n", "the journal ends with a whole line"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "No space left on device" in errors[0], done.stderr
    assert "Traceback" not in first + done.stderr
    (folder / "campaigns").rmdir()
    (folder / "saved").rename(folder / "campaigns")
    assert [row["verdict"] for row in as_json(folder, "log")] == ["keep"]
