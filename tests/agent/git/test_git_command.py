"""One git command: its environment, the folder that it runs in, and what Ctrl-C does to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from project import wait_until

from agent.git import worktree
from agent.git.command import RepoError, forget_inherited, inherited_environment, run_git
from agent.git.repo import Repo

if TYPE_CHECKING:
    from tests.agent.conftest import Campaign, Git

MOVES_TWO_REFS = """
import sys, threading
from pathlib import Path
from agent.git.repo import Repo
from agent.steps.stop import heeding

repo, stop = Repo.open(Path(sys.argv[1])), threading.Event()
with heeding(stop, lambda asked_by: None):
    repo.update_refs([(f"refs/autoresearch/t/{name}", repo.head(), None) for name in "ab"])
    print(stop.wait(60))
"""


@pytest.mark.process
def test_ctrl_c_does_not_cut_a_transaction_short(repo: Repo, git: Git, tmp_path: Path) -> None:
    """The terminal sends it to all processes of the group, git among them."""
    waiting, go_on, folder = tmp_path / "waiting", tmp_path / "go on", tmp_path / "bin"
    folder.mkdir()
    os.mkfifo(go_on)
    (folder / "git").write_text(
        "#!/bin/sh\n"
        f'case "$*" in *update-ref*) touch "{waiting}"; read line < "{go_on}";; esac\n'
        f'exec "{shutil.which("git")}" "$@"\n'
    )
    (folder / "git").chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", MOVES_TWO_REFS, str(repo.root)],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(waiting.exists, process)
    os.killpg(process.pid, signal.SIGINT)
    with go_on.open("w") as pipe:
        pipe.write("\n")
    assert process.communicate(timeout=60)[0] == "True\n"
    moved = git(repo.root, "for-each-ref", "--format=%(refname)", "refs/autoresearch").split()
    assert moved == ["refs/autoresearch/t/a", "refs/autoresearch/t/b"]


def test_what_points_git_elsewhere_is_forgotten_and_who_the_user_is_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GIT_DIR", "GIT_CEILING_DIRECTORIES", "GIT_AUTHOR_NAME", "GIT_TRACE"):
        monkeypatch.setenv(name, "1")
    forget_inherited()
    assert {"GIT_DIR", "GIT_TRACE"} <= inherited_environment().keys()
    left = [name for name in os.environ if name.startswith("GIT_") and os.environ[name] == "1"]
    assert sorted(left) == ["GIT_AUTHOR_NAME", "GIT_CEILING_DIRECTORIES"]


def test_a_command_never_runs_in_another_folder_than_asked(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitPython would take the present one, which here is a repository."""
    monkeypatch.chdir(repo.root)
    assert run_git("rev-parse", "HEAD", cwd=tmp_path / "gone").returncode != 0
    assert run_git("rev-parse", "HEAD", cwd=Path()).returncode == 0
    with pytest.raises(RepoError, match="No such file"):
        Repo.open(tmp_path / "gone")


def test_a_hook_of_the_users_hears_the_users_language(
    repo: Repo, git: Git, campaign: Campaign, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, champion = campaign.cycle(repo)
    heard, hook = tmp_path / "heard", repo.root / ".git/hooks/post-merge"
    hook.write_text(f'#!/bin/sh\necho "$LC_ALL $LANGUAGE" > "{heard}"\n')
    hook.chmod(0o755)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    worktree.adopt(repo, champion, patch=False)
    assert heard.read_text() == "C.UTF-8 de\n"
