"""The openings of the sealed test text that clones of a repository know of.

They stand in notes on the baseline's commit, a line of JSON each, which begins with its time so
that git can merge them: ``git notes merge -s cat_sort_uniq``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from agent.campaign.state import State
from agent.git.command import run_git
from agent.git.repo import Repo
from trainer.errors import UserError

IN_A_CLONE = "(in a clone)"


def noted_openings(repo: Repo, tag: str) -> list[dict[str, Any]]:
    """The openings that notes tell of: ``by`` what, of which ``commits``, whether in a ``clone``,
    and ``on`` which baseline, since ``clean`` leaves those of an earlier campaign.

    Raises:
        UserError: a line cannot be read.
    """
    ref, found = repo.openings_ref(tag), []
    listed = run_git("notes", f"--ref={ref}", "list", cwd=repo.root).stdout.decode().split()
    try:
        for on in listed[1::2]:
            lines = filter(None, (repo.read_note(tag, on, ref=ref) or "").splitlines())
            found += [{"by": "", "clone": True, **json.loads(line), "on": on} for line in lines]
    except (ValueError, TypeError):
        raise UserError(f"{ref} has a line that is no JSON object") from None
    return found


def known_openings(
    repo: Repo, tag: str, state: State, *, is_clone: bool = False
) -> tuple[list[str], bool]:
    """By what the text was opened, also by clones and an earlier campaign of this tag; and whether
    only "at least" by those. A clone has no journal, and goes by notes alone."""
    noted, found = noted_openings(repo, tag), [] if is_clone else list(state.openings)
    first = next((trial.commit for trial in state.trials if trial.kept), "")
    for one in noted:
        aside = "" if one["on"] == first else " (before this campaign)"
        if (aside := f" {IN_A_CLONE}" if one["clone"] else aside) or is_clone:
            found.append(f"{one['by']}{aside}")
    return found, is_clone or any(one["clone"] for one in noted)


def add_opening(
    repo: Repo, tag: str, baseline: str, by: str, commits: Sequence[str], *, clone: bool
) -> None:
    """Add an opening to the notes, on disk when this returns.

    Raises:
        RepoError: git could not write it.
    """
    ref, told = repo.openings_ref(tag), {"by": by, "commits": list(commits), "clone": clone}
    before = repo.read_note(tag, baseline, ref=ref) or ""
    line = json.dumps({"time": round(time.time(), 3), **told})
    repo.add_note(tag, baseline, f"{before}{line}\n", ref=ref)
