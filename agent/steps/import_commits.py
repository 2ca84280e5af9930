"""Read what others have committed, and what they claim of it, as submissions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent.campaign.results import HEADER
from agent.campaign.state import State
from agent.campaign.submissions import Submission, waiting
from agent.git.command import RepoError, run_git
from agent.git.objects import CommitInfo
from agent.git.repo import TRAIN_FILE, Repo
from trainer.errors import UserError
from trainer.source import plain
from trainer.untrusted import one_line

PATHS = (TRAIN_FILE, "train.py")
"""Where they may have it; the ancestor has it at the top."""
KEPT = ("keep", "kept", "baseline")
_GAIN = re.compile(r"(?im)^gain:\s*(?>([+-]?\d*\.\d+(?:e[+-]?\d+)?))(?!\s*%)")
_SCORE = re.compile(r"(?i)\s*\(?val[_ -]bpb\W{0,3}?(?:(\d*\.\d+)\s*(?:[-=]>|→|to)\s*)?(\d*\.\d+).*")
_TRAILER = re.compile(r"[\w-]+: ")


@dataclass
class Imports:
    """What is to be tried, oldest first, and what is not, in words with the reason."""

    found: list[Submission] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read_imports(repo: Repo, state: State, folder: Path, what: str) -> Imports:
    """The commits of a branch that HEAD has not, a commit, those of a range, or what an ancestor's
    results.tsv says was kept.

    Args:
        folder: the campaign's, with what waits there.

    Raises:
        UserError: there is no such thing, or nothing in it changes a train.py.
    """
    imports, known = Imports(), {one.commit: "it waits" for one in waiting(folder)}
    for trial in state.trials:
        if trial.status != "unjudged":
            own = (trial.commit, trial.submitted.get("commit", ""))
            known |= dict.fromkeys(own, f"it was trial {trial.trial}")
    if Path(what).is_file():
        _read_table(repo, Path(what), known, imports)
    else:
        for sha, *parents in _commits(repo, what):
            info = repo.commit_for(sha)
            if len(parents) > 1:
                imports.skipped.append(f"{sha[:7]}: a merge: its own edits are not taken")
            else:
                _read(repo, info, known, imports, info.sha[:7], "", _claim(repo, info))
    if imports == Imports():
        raise UserError(f"{what}: nothing in it changes a train.py, or HEAD has it already")
    return imports


def _commits(repo: Repo, what: str) -> list[list[str]]:
    """Full hashes, oldest first; behind each those of its parents."""
    end = ["--end-of-options", what]
    if ".." not in what:
        if repo.resolve(what) is None:
            raise UserError(f"{what} is no file, and no branch, commit or range in {repo.root}")
        named = run_git("rev-parse", "--symbolic-full-name", what, cwd=repo.root).stdout
        is_branch = named.startswith((b"refs/heads/", b"refs/remotes/")) and what != "HEAD"
        end = ["--not", "HEAD", "--not", *end] if is_branch else ["--no-walk", *end]
    args = ("rev-list", "--reverse", "--topo-order", "--parents", *end, "--")
    return [line.split() for line in repo.git(*args).decode().splitlines()]


def _read(
    repo: Repo, info: CommitInfo, known: dict[str, str], imports: Imports, name: str, title: str,
    claimed: float | None,
) -> None:  # fmt: skip
    """What one commit changes in a train.py, relative to its first parent."""
    subject, _, body = info.message.strip().partition("\n\n")
    title = one_line(title or _SCORE.sub("", subject) or subject) or info.sha[:7]
    name += f" ({one_line(title, 60)})"
    try:
        new = _texts(repo, info.sha)
        old = _texts(repo, info.parent) if info.parent else {}
    except RepoError as error:
        return imports.unread.append(f"{name}: {error}")
    if len(old) == len(new) == 1:  # it may have been moved
        old = dict(zip(new, old.values(), strict=True))
    path = next((path for path in PATHS if new.get(path) != old.get(path)), "")
    if not path or path not in new or path not in old or info.sha in known:
        why = known.get(info.sha, "") or ("it begins or ends their train.py" if path else "")
        return imports.skipped.append(f"{name}: {why or 'no change of a train.py'}")
    known[info.sha] = "it stands above"
    reason = one_line(body.partition("\n\n")[0], 600)
    reason = title if not reason or _TRAILER.match(reason) else reason
    imports.found.append(
        Submission(new[path], title, reason, "import", claimed, base=old[path], commit=info.sha)
    )


def _texts(repo: Repo, rev: str) -> dict[str, str]:
    listed = repo.git("ls-tree", "-z", "--name-only", rev, "--", *PATHS).decode().split("\0")
    texts = {path: plain(repo.read_file(rev, path)) for path in PATHS if path in listed}
    if any("\0" in text for text in texts.values()):
        raise RepoError(f"train.py in {rev[:7]} is no text: it has NUL bytes")
    return texts


def _claim(repo: Repo, info: CommitInfo) -> float | None:
    """The gain that a commit's message names, or val_bpb there less that in its parent's."""
    if gain := _GAIN.search(info.message):
        return float(gain[1])
    own = _SCORE.search(info.message)
    if own and own[1]:
        return round(float(own[1]) - float(own[2]), 9)
    before = _SCORE.search(repo.commit_for(info.parent).message) if own and info.parent else None
    return round(float(before[2]) - float(own[2]), 9) if own and before else None


def _read_table(repo: Repo, path: Path, known: dict[str, str], imports: Imports) -> None:
    """What was kept there, each with its gain over what was kept before it."""
    repos = [repo]
    with contextlib.suppress(RepoError):  # the table may stand alone
        beside = Repo.open(path.resolve().parent)
        repos = [beside, repo] if beside.common_dir != repo.common_dir else repos
    last = 0.0
    for number, (commit, bpb, status, title) in _rows(path):
        name = f"row {number}: {one_line(commit, 40)}"
        score = float(bpb) if re.fullmatch(r"\d*\.?\d+", bpb) else 0.0
        about = f"{name} ({one_line(title, 60)})"
        if status.lower() not in KEPT:
            where = imports.skipped if status else imports.unread
            where.append(f"{about}: {one_line(status, 20) or 'no status'} there, no claim")
            continue
        claimed = round(last - score, 9) if last and score else None
        is_start = not last and "baseline" in f"{status} {title}".lower()
        last = score or last
        is_hash = re.fullmatch("[0-9a-f]{4,64}", commit.lower())
        own = next((one for one in repos if is_hash and one.resolve(commit)), None)
        if is_start:
            imports.skipped.append(f"{about}: their baseline")
        elif own is None:
            roots = " or ".join(str(one.root) for one in repos)
            imports.unread.append(f"{about}: there is no such commit in {roots}")
        else:
            _read(own, own.commit_for(commit), known, imports, name, title, claimed)


def _rows(path: Path) -> Iterator[tuple[int, tuple[str, str, str, str]]]:
    """Line, commit, score, status and description of all rows but header and comments."""
    columns = list(HEADER)
    text = plain(path.read_bytes().decode("utf-8", "replace"))
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = line.split("\t") if "\t" in line else line.split(None, len(columns) - 1)
        cells = [cell.strip().strip('"') for cell in cells]
        names = [cell.lower() for cell in cells]
        if {"commit", "status"} <= set(names):
            columns = names
            continue
        row = dict(zip(columns, cells, strict=False))
        values = [row.get(name, "") for name in HEADER]
        yield number, (values[0], values[1], values[3], values[4])
